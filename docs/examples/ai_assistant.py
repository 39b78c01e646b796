"""A model that finds an order, and asks a person before it pays money back."""

import asyncio
from typing import Any

import flow
from flow import ai
from flow.ai import Reply, Request, ToolCall

paid: list[tuple[int, int]] = []


def find_order(number: int) -> str:
    """Find an order by its number."""
    return f"order {number}: a lamp, 30 EUR, sent"


@ai.tool(approve=True)
def refund(number: int, amount: int) -> str:
    """Refund an amount of an order, in EUR."""
    paid.append((number, amount))
    return f"refunded {amount}"


def answer(request: Request) -> Reply:
    """What a model would answer: it looks the order up, asks for a refund, and says what came of it."""
    told = [message for message in request.messages if message.role == "tool"]
    if not told:
        return Reply(tool_calls=(ToolCall("c1", "find_order", '{"number": 7}'),))
    if len(told) == 1:
        return Reply(tool_calls=(ToolCall("c2", "refund", '{"number": 7, "amount": 30}'),))
    return Reply(f"I am sorry: {told[-1].content}" if told[-1].is_error else "Your money is on its way")


MODEL = ai.Model(ai.Scripted(answer), "large", input_price="2", output_price="8")

dag = flow.Dag("refunds")
ai.agent(dag, "reply", model=MODEL, system="You serve customers.", prompt="{{ mail }}", tools=[find_order, refund])


async def serve(mail: str, approval: ai.Approval) -> None:
    def watch(event: Any) -> None:  # what is to be approved; in your program: a message to a person
        if isinstance(event, flow.events.NodeReported) and event.kind == "question":
            print(f"{event.value['tool']} {event.value['arguments']}?", "yes" if approval.yes else "no")

    async with flow.start(dag, {"mail": mail}, config=flow.Config(observers=(watch,))) as run:
        while (address := await run.next_waiting()) is not None:
            run.send(address, approval)
        result = await run.result()
    print(f"{result['reply']} ({ai.usage(result).total.requests} requests, paid {paid})")


def main() -> None:
    asyncio.run(serve("The lamp is broken", ai.Approval(yes=True, by="Ann")))
    asyncio.run(serve("I want more money", ai.Approval(yes=False, by="Bob", comment="done")))


if __name__ == "__main__":
    main()
