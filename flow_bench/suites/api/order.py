"""What all servers of the suite do: price an order, in three sync nodes. And a workflow that only waits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

import flow

NAME = "order"
PATH = f"/api/v1/workflows/{NAME}/runs"
WAITS = "waiting"
WAITS_PATH = f"/api/v1/workflows/{WAITS}/runs"
LINE = 128
"""Bytes of a request for each line of its order: a line is 46 of them, the note is as long as the rest."""


class Item(Protocol):
    """A line of an order, whoever has read it from JSON."""

    @property
    def name(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def price(self) -> float: ...


class Line(msgspec.Struct, frozen=True):
    """A line of an order, as msgspec reads it."""

    name: str
    count: int
    price: float


def subtotal(lines: list[Line]) -> float:
    """Add up the lines."""
    return sum([line.count * line.price for line in lines])


def discount(subtotal: float, customer: str) -> float:
    """Return what regular customers need not pay."""
    return subtotal * 0.1 if customer.startswith("regular") else 0.0


def receipt(subtotal: float, discount: float, note: str) -> dict[str, float]:
    """Return what is to be paid."""
    return {"total": subtotal - discount, "discount": discount, "note": len(note)}


async def wait(seconds: float) -> float:
    """Wait."""
    await asyncio.sleep(seconds)
    return seconds


def order() -> flow.Dag:
    """Return the workflow of three nodes."""
    dag = flow.Dag(NAME)
    for node in (subtotal, discount, receipt):
        dag.add(node.__name__, node)
    return dag


def waiting() -> flow.Dag:
    """Return a workflow of one node, which waits."""
    dag = flow.Dag(WAITS)
    dag.add("wait", wait)
    return dag


dag, waits = order(), waiting()
"""What ``flow serve flow_bench.suites.api.order:dag`` serves."""


def inputs_of(size: int, customer: str = "regular customer") -> dict[str, Any]:
    """Return the inputs of an order whose request (:func:`body_of`) has ``size`` bytes."""
    lines = [{"name": f"item {k:03}", "count": k % 5 + 1, "price": 2.5 + k % 7} for k in range(max(1, size // LINE))]
    found = {"customer": customer, "lines": lines, "note": ""}
    found["note"] = "n" * (size - len(body_of(found)))
    return found


def body_of(inputs: dict[str, Any]) -> bytes:
    """Return the body of a request for a run."""
    return json.dumps({"inputs": inputs}, separators=(",", ":")).encode()


def receipt_of(inputs: dict[str, Any]) -> dict[str, float]:
    """Return what the last node gives, worked out by hand."""
    whole = sum([line["count"] * line["price"] for line in inputs["lines"]])
    less = whole * 0.1 if inputs["customer"].startswith("regular") else 0.0
    return {"total": whole - less, "discount": less, "note": len(inputs["note"])}


def answer_fault(answer: Any, inputs: dict[str, Any]) -> str | None:
    """Say what an answer lacks of what all have: its fields, and what the nodes return."""
    wanted: dict[str, Any] = {
        "status": "completed", "outputs": {"receipt": receipt_of(inputs)}, "errors": {}, "counts": {"completed": 3},
    }  # fmt: skip
    if not isinstance(answer, dict):
        return "its answer is no object"
    wrong = [name for name, value in wanted.items() if answer.get(name) != value]
    wrong += [name for name in ("id", "seconds") if not answer.get(name)]
    return f"its answer has no right {', '.join(wrong)}" if wrong else None


def run(plan: flow.Plan, customer: str, lines: Sequence[Item], note: str) -> flow.Result:
    """Run the workflow as apps of other frameworks do: a run that fails is an answer too."""
    try:
        result: flow.Result = flow.run(plan, {"customer": customer, "lines": lines, "note": note})
    except flow.RunError as error:
        result = error.result
    return result
