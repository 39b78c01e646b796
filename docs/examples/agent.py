"""An agent without a model: it asks for tools, runs them side by side, and asks again until it can answer."""

from collections.abc import Callable
from typing import Any

import flow

Message = tuple[str, str]  # who, and what

TOOLS: dict[str, Callable[[str], str]] = {
    "price": lambda what: f"{what} costs {len(what)}",
    "stock": lambda what: f"{2 * len(what)} of {what} are left",
}


def model(messages: list[Message]) -> dict[str, Any]:
    """What a model would say: first the price, then the stock of what is cheap, then the answer."""
    said = [text for who, text in messages if who == "tool"]
    if not said:
        return {"kind": "tools", "calls": [("price", "tea"), ("price", "coffee")]}
    if len(said) == 2:
        return {"kind": "tools", "calls": [("stock", "tea")]}
    return {"kind": "answer", "text": "; ".join(said)}


def turn() -> flow.Dag:
    dag = flow.Dag("turn")
    dag.add("ask", model)
    dag.route("next", lambda ask: ask["kind"], to={"tools": "calls", "answer": "answer"})
    dag.add("calls", lambda ask: ask["calls"])
    dag.map("tools", lambda call: TOOLS[call[0]](call[1]), over="calls", concurrency=4)
    dag.add("answer", lambda ask: ask["text"])

    @dag.node(join="none_failed")
    def history(messages: list[Message], tools: list[str] | None = None) -> list[Message]:
        return [*messages, *[("tool", text) for text in tools or ()]]

    @dag.node(join="none_failed")
    def done(answer: str | None = None) -> bool:
        return answer is not None

    return dag


def build() -> flow.Dag:
    dag = flow.Dag("agent")
    dag.loop("turns", turn(), carry={"messages": "history"}, until=lambda done: done, max_iterations=5, history=True)
    dag.add("reply", lambda turns: turns[-1]["answer"])
    return dag


def main() -> None:
    result = flow.run(build(), {"messages": [("user", "what shall I buy?")]})
    for k, outputs in enumerate(result["turns"], 1):
        print(f"turn {k}: chose {outputs['next'][0]}, tools said {outputs.get('tools', 'nothing')}")
    print(result["reply"])


if __name__ == "__main__":
    main()
