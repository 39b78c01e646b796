import operator
from decimal import Decimal
from typing import Annotated, Any, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from langgraph.types import Send

INPUT, OUTPUT = Decimal("0.40") / 1_000_000, Decimal("1.60") / 1_000_000


class State(TypedDict, total=False):
    documents: list[str]
    found: Annotated[dict[int, str], operator.or_]


async def run(documents, budget):
    model = ChatOpenAI(model="gpt-4.1-mini", max_tokens=60)
    spent = held = Decimal(0)

    async def summarise(item: dict[str, Any]) -> State:
        nonlocal spent, held
        prompt = f"Summarise:\n{item['document']}"
        most = (len(prompt) + 100) * INPUT + 60 * OUTPUT  # a token is a character at the shortest
        if spent + held + most > Decimal(budget):
            return {}
        held += most
        try:
            reply = await model.ainvoke(prompt)
        finally:
            held -= most
        spent += reply.usage_metadata["input_tokens"] * INPUT + reply.usage_metadata["output_tokens"] * OUTPUT
        return {"found": {item["number"]: reply.content}}

    def each(state: State) -> list[Send]:
        return [Send("summarise", {"number": n, "document": one}) for n, one in enumerate(state["documents"])]

    graph = StateGraph(State)
    graph.add_node("summarise", summarise)
    graph.add_conditional_edges(START, each, ["summarise"])
    found = await graph.compile().ainvoke({"documents": documents}, {"max_concurrency": 10})
    return [found["found"].get(number) for number in range(len(documents))], spent
