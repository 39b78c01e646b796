from typing import Annotated

from annotated_types import Gt
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel, ValidationError


class Invoice(BaseModel):
    number: str
    total: Annotated[float, Gt(0)]
    currency: str


class State(MessagesState):
    tries: int
    invoice: Invoice | None


async def extract(state: State) -> State:
    model = ChatOpenAI(model="gpt-4.1-mini").with_structured_output(Invoice)
    try:
        return {"invoice": await model.ainvoke(state["messages"])}
    except ValidationError as fault:
        if state["tries"] == 1:
            raise
        return {"messages": [("user", f"Correct this: {fault}")], "tries": 1}


graph = StateGraph(State)
graph.add_node("extract", extract)
graph.add_edge(START, "extract")
graph.add_conditional_edges("extract", lambda state: END if state.get("invoice") else "extract", ["extract", END])
app = graph.compile()


async def run(text):
    asked = {"messages": [("system", "Extract the invoice."), ("user", text)], "tries": 0}
    return (await app.ainvoke(asked))["invoice"]
