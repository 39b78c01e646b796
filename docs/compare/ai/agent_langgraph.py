import work
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt


def refund(number: int, amount: int) -> str:
    """Refund an amount of an order, in EUR."""
    if not interrupt(("refund", {"number": number, "amount": amount})):
        return "a person has refused this"
    return work.refund(number, amount)


async def call(state: MessagesState) -> MessagesState:
    model = ChatOpenAI(model="gpt-4.1-mini").bind_tools(tools)
    return {"messages": [await model.ainvoke(state["messages"])]}


tools = [work.find_order, refund]
graph = StateGraph(MessagesState)
graph.add_node("model", call)
graph.add_node("tools", ToolNode(tools))
graph.add_edge(START, "model")
graph.add_conditional_edges("model", tools_condition)
graph.add_edge("tools", "model")
app = graph.compile(checkpointer=InMemorySaver())


async def run(question, approve):
    thread = {"configurable": {"thread_id": question}}
    found = await app.ainvoke({"messages": [("user", question)]}, thread)
    while waiting := found.get("__interrupt__"):
        found = await app.ainvoke(Command(resume=approve(*waiting[0].value)), thread)
    return found["messages"][-1].content
