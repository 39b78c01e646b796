from typing import Literal, TypedDict

from langchain_openai import ChatOpenAI
from langgraph.graph import START, StateGraph
from pydantic import BaseModel


class Class(BaseModel):
    kind: Literal["billing", "technical", "other"]


class State(TypedDict, total=False):
    mail: str
    kind: str
    answer: str


PROMPTS = {
    "billing": "You work at the billing desk. Answer this mail.",
    "technical": "You work at the technical desk. Answer this mail.",
    "other": "Answer this mail.",
}


async def classify(state: State) -> State:
    model = ChatOpenAI(model="gpt-4.1-mini").with_structured_output(Class)
    return {"kind": (await model.ainvoke([("system", "Classify this mail."), ("user", state["mail"])])).kind}


def desk(prompt):
    async def answer(state: State) -> State:
        model = ChatOpenAI(model="gpt-4.1-mini")
        return {"answer": (await model.ainvoke([("system", prompt), ("user", state["mail"])])).content}

    return answer


graph = StateGraph(State)
graph.add_node("classify", classify)
graph.add_edge(START, "classify")
for name, prompt in PROMPTS.items():
    graph.add_node(name, desk(prompt))
graph.add_conditional_edges("classify", lambda state: state["kind"], list(PROMPTS))
app = graph.compile()


async def run(mail):
    return (await app.ainvoke({"mail": mail}))["answer"]
