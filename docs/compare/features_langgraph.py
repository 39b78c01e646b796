from typing import TypedDict

import work
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    events: list[int]
    spend: int
    visits: int
    model: float


graph = StateGraph(State)
graph.add_node("load", lambda state: {"events": work.events()})
graph.add_node("add_spend", lambda state: {"spend": work.spend(state["events"])})
graph.add_node("add_visits", lambda state: {"visits": work.visits(state["events"])})
graph.add_node("fit", lambda state: {"model": work.model(state["spend"], state["visits"])})
graph.add_edge(START, "load")
graph.add_edge("load", "add_spend")
graph.add_edge("load", "add_visits")
graph.add_edge(["add_spend", "add_visits"], "fit")


def run() -> float:
    app = graph.compile(checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "features"}}
    try:
        return app.invoke({}, thread)["model"]
    except ConnectionError:
        return app.invoke(None, thread)["model"]
