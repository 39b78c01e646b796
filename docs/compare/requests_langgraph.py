import asyncio
import operator
from typing import Annotated, TypedDict

import work
from langgraph.graph import START, StateGraph
from langgraph.types import Send


class State(TypedDict):
    urls: list[str]
    pages: Annotated[list[int], operator.add]
    errors: Annotated[list[Exception], operator.add]


async def fetch(url: str):
    try:
        return {"pages": [await work.page(url)]}
    except ConnectionError as error:
        return {"errors": [error]}


graph = StateGraph(State)
graph.add_node("fetch", fetch)
graph.add_conditional_edges(START, lambda state: [Send("fetch", url) for url in state["urls"]], ["fetch"])
app = graph.compile()


def run() -> tuple[list[int], list[Exception]]:
    found = asyncio.run(app.ainvoke({"urls": work.URLS}, {"max_concurrency": 20}))
    return found["pages"], found["errors"]
