import work

import flow

dag = flow.Dag("features")
for node in (work.events, work.spend, work.visits, work.model):
    dag.node(node)


def run() -> float:
    try:
        return flow.run(dag)["model"]
    except* ConnectionError as error:
        done = error.result
    return flow.run(dag, known=done)["model"]
