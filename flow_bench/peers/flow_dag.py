"""flow, dependencies named with ``needs=``: ``flow.run`` and ``flow.execute`` of a compiled Dag."""

from __future__ import annotations

import flow
from flow_bench.peers.graph import Graph


def build(graph: Graph) -> flow.Plan:
    dag = flow.Dag("bench")
    for name, function, needs in graph.nodes():
        dag.add(name, function, needs=needs)
    return dag.compile()


def run(plan: flow.Plan) -> flow.Result:
    return flow.run(plan)


async def run_async(plan: flow.Plan) -> flow.Result:
    return await flow.execute(plan)
