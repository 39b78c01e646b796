from typing import TypedDict

import work
from langgraph.graph import START, StateGraph
from langgraph.types import RetryPolicy


class State(TypedDict, total=False):
    rows: list[str]
    clean: dict[str, int]
    stored: int


retry = RetryPolicy(max_attempts=3, initial_interval=0.001, jitter=False, retry_on=ConnectionError)
graph = StateGraph(State)
graph.add_node("extract", lambda state: {"rows": work.rows()}, retry_policy=retry)
graph.add_node("transform", lambda state: {"clean": work.clean(state["rows"])})
graph.add_node("load", lambda state: {"stored": work.stored(state["clean"])})
graph.add_edge(START, "extract")
graph.add_edge("extract", "transform")
graph.add_edge("transform", "load")
app = graph.compile()


def run() -> int:
    return app.invoke({})["stored"]
