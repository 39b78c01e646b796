import work

import flow

dag = flow.Dag("etl")
dag.node(work.rows, retry=flow.Retry(3, delay=0.001, retry_if=ConnectionError))
dag.node(work.clean)
dag.node(work.stored)


def run() -> int:
    return flow.run(dag)[work.stored]
