import asyncio

import work
from pydantic_graph import GraphBuilder, StepContext, reduce_dict_update

g = GraphBuilder(input_type=str, output_type=str)


def asking(tool):
    async def ask(ctx: StepContext[None, None, str]) -> dict[str, object]:
        try:
            return {tool.__name__: await tool(ctx.inputs)}
        except Exception:
            return {tool.__name__: None}

    return g.step(ask, node_id=tool.__name__)


@g.step
async def decide(ctx: StepContext[None, None, dict[str, object]]) -> str:
    return work.answer(**ctx.inputs)


gathered = g.join(reduce_dict_update, initial_factory=dict)
steps = [asking(tool) for tool in (work.search, work.sums, work.weather)]
g.add(
    g.edge_from(g.start_node).to(*steps),
    g.edge_from(*steps).to(gathered),
    g.edge_from(gathered).to(decide),
    g.edge_from(decide).to(g.end_node),
)
graph = g.build()


def run(question: str) -> str:
    return asyncio.run(graph.run(inputs=question))
