import asyncio
from typing import Any, TypedDict

import work
from langgraph.graph import START, StateGraph


class State(TypedDict, total=False):
    question: str
    search: str | None
    sums: int | None
    weather: str | None
    answer: str


def node(tool):
    async def call(state: State) -> dict[str, Any]:
        try:
            return {tool.__name__: await tool(state["question"])}
        except Exception:
            return {tool.__name__: None}

    return call


def decide(state: State) -> State:
    return {"answer": work.answer(state["search"], state["sums"], state["weather"])}


graph = StateGraph(State)
names = []
for tool in (work.search, work.sums, work.weather):
    names.append(f"call_{tool.__name__}")
    graph.add_node(names[-1], node(tool))
    graph.add_edge(START, names[-1])
graph.add_node("decide", decide)
graph.add_edge(names, "decide")
app = graph.compile()


def run(question: str) -> str:
    return asyncio.run(app.ainvoke({"question": question}))["answer"]
