"""LangGraph with its OpenAI client: a graph of one node; a graph of the model and a ToolNode for the agent."""

from __future__ import annotations

from typing import Any

from langchain_openai import ChatOpenAI  # type: ignore[import-not-found,unused-ignore]
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from flow_bench.harness.rules import MODEL
from flow_bench.suites.ai.callers import KEY, look_up


class Caller:
    def __init__(self, url: str) -> None:
        model = ChatOpenAI(model=MODEL, base_url=url, api_key=KEY, max_retries=0)
        self.one = self._graph(model).compile()
        agent = self._graph(model.bind_tools([look_up]))
        agent.add_node("tools", ToolNode([look_up]))
        agent.add_conditional_edges("model", tools_condition)
        agent.add_edge("tools", "model")
        self.agent = agent.compile()

    def _graph(self, model: Any) -> Any:
        async def call(state: MessagesState) -> dict[str, Any]:
            return {"messages": [await model.ainvoke(state["messages"])]}

        graph: Any = StateGraph(MessagesState)
        graph.add_node("model", call)
        graph.add_edge(START, "model")
        return graph

    async def ask(self, text: str) -> str:
        return str((await self.one.ainvoke({"messages": [("user", text)]}))["messages"][-1].content)

    async def work(self, text: str) -> str:
        return str((await self.agent.ainvoke({"messages": [("user", text)]}))["messages"][-1].content)
