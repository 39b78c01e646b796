import work

import flow

dag = flow.Dag("top-word")
for node in (work.text, work.words, work.top):
    dag.node(node)
