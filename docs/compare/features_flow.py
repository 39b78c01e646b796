import work

import flow

dag = flow.Dag("features")
for node in (work.events, work.spend, work.visits, work.model):
    dag.node(node)


def run() -> float:
    try:
        return flow.run(dag)[work.model]
    except flow.RunError as error:
        return flow.run(dag, known=error.result)[work.model]
