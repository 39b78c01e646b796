"""Whole workflows, call by call beside the same functions called by hand, and a hundred at once, some of which fail."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Any

import flow
from flow_bench.harness.contender import Operation
from flow_bench.micro import ai_nodes
from flow_bench.micro.case import Case, table
from flow_bench.micro.test_node import branch, choose, pair, route

COLLECT = flow.Config(on_error="collect")
FAIL_FAST = flow.Config()
RATES = (0, 10, 50)
TOGETHER = 100
"""Workflows at once in the section of failures."""
WAIT = 0.001
LINES = 20


# -- three nodes in a row --------------------------------------------------------------------


def add_one(value: int) -> int:
    """Return one more."""
    return value + 1


async def add_one_async(value: int) -> int:
    """Return one more without suspending."""
    return value + 1


async def add_one_waiting(value: int) -> int:
    """Return one more after 1 ms."""
    await asyncio.sleep(WAIT)
    return value + 1


def linear(fn: Callable[..., Any]) -> flow.Plan:
    """Three nodes, one after the other; the first takes the input ``value``."""
    dag = flow.Dag("linear")
    dag.add("first", fn)
    dag.add("second", fn, needs=["first"])
    dag.add("third", fn, needs=["second"])
    return dag.compile()


@table
def test_linear(quick: bool) -> Iterator[Case]:
    """Run three nodes in a row."""

    def by_hand() -> int:
        return add_one(add_one(add_one(0)))

    def awaiting(fn: Callable[[int], Awaitable[int]]) -> Operation:
        async def workflow() -> int:
            return await fn(await fn(await fn(0)))

        return workflow

    start: dict[str, Any] = {"value": 0}
    waits: dict[str, Any] = {"unit": "ms", "waits": True, "ideal": 3 * WAIT, "rounds": 6}
    three, waiting = awaiting(add_one_async), awaiting(add_one_waiting)
    yield from pair("linear", "3 sync nodes", by_hand, linear(add_one), 3, start)
    yield from pair("linear", "3 async nodes", three, linear(add_one_async), 3, start, is_async=True)
    label = "3 async nodes that wait 1 ms"
    yield from pair("linear", label, waiting, linear(add_one_waiting), 3, start, is_async=True, **waits)


# -- routing, parallel nodes and a map -------------------------------------------------------


def checked(order: dict[str, Any]) -> dict[str, Any]:
    """Refuse an empty order."""
    if not order["lines"]:
        raise ValueError("an order without lines")
    return order


def priced(line: tuple[str, int]) -> float:
    """What a line of the order costs."""
    return line[1] * 2.5


def looked_up(what: str, order: dict[str, Any]) -> str:
    """Answer one of four questions about an order."""
    return f"{what} of order {order['id']}"


def receipt(prices: list[float], sent: str, *answers: str) -> dict[str, Any]:
    """All that came out."""
    return {"total": sum(prices), "sent": sent, "answers": answers}


QUESTIONS = ("stock", "tax", "address", "credit")
ORDER = {"id": 7, "kind": "urgent", "lines": [(f"product-{k}", k) for k in range(LINES)]}
RECEIPT = {
    "total": 2.5 * sum(range(LINES)),
    "sent": "sent by express",
    "answers": tuple(f"{question} of order 7" for question in QUESTIONS),
}


def suspending(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The same function after a turn of the event loop."""

    async def suspends(*values: Any) -> Any:
        await asyncio.sleep(0)
        return fn(*values)

    return suspends


def order_plan(kind: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda fn: fn) -> flow.Plan:
    """A router to one of three branches, four nodes in parallel and a map over twenty lines: 13 nodes, 20 items."""
    dag = flow.Dag("order")
    dag.add("checked", checked)
    route(dag, lambda order: choose(order["kind"]), needs=["checked"])
    for question in QUESTIONS:
        dag.add(question, kind(partial(looked_up, question)), needs=["checked"])
    dag.add("lines", lambda order: order["lines"], needs=["checked"])
    dag.map("prices", kind(priced), over="lines", concurrency=LINES)
    dag.add("receipt", receipt, needs=["prices", "sent", *QUESTIONS])
    return dag.compile()


def order_by_hand() -> dict[str, Any]:
    """The same calls, one after the other."""
    order = checked(ORDER)
    sent = branch(choose(order["kind"]))
    answers = [looked_up(question, order) for question in QUESTIONS]
    return receipt([priced(line) for line in order["lines"]], sent, *answers)


async def order_gathered() -> dict[str, Any]:
    """The same calls, what can be together in one gather."""
    order = checked(ORDER)
    sent = branch(choose(order["kind"]))
    one, price = suspending(looked_up), suspending(priced)
    found = await asyncio.gather(*[one(q, order) for q in QUESTIONS], *[price(line) for line in order["lines"]])
    return receipt(found[len(QUESTIONS) :], sent, *found[: len(QUESTIONS)])


@table
def test_complex(quick: bool) -> Iterator[Case]:
    """Route, run in parallel, and map."""
    what, inputs = "routing, 4 parallel, map of 20", {"order": ORDER}
    yield from pair("complex", f"{what}: sync", order_by_hand, order_plan(), RECEIPT, inputs, bypassed=2)
    label = f"{what}: async, 24 calls wait a turn"
    plan = order_plan(suspending)
    yield from pair("complex", label, order_gathered, plan, RECEIPT, inputs, is_async=True, bypassed=2)


# -- nodes that ask a model ------------------------------------------------------------------


@table
def test_ai(quick: bool) -> Iterator[Case]:
    """Ask a model that is in this process."""
    yield from ai_nodes.cases()


# -- failures --------------------------------------------------------------------------------


def fails(number: int, rate: int) -> bool:
    """Tell whether workflow ``number`` of a hundred is to fail at ``rate`` per cent."""
    return bool(rate) and number % (TOGETHER // rate) == 0


def failing(rate: int) -> flow.Plan:
    """Five nodes, the third of which fails in so many of a hundred workflows."""
    dag = flow.Dag("failing")

    async def first(number: int) -> int:
        await asyncio.sleep(0)
        return number + 1

    def third(value: int, number: int) -> int:
        if fails(number, rate):
            raise ValueError(f"workflow {number}")
        return value + 1

    dag.add("first", first)
    dag.add("second", add_one_async, needs=["first"])
    dag.add("third", third, needs={"value": "second"})
    dag.add("fourth", add_one_async, needs=["third"])
    dag.add("fifth", add_one, needs=["fourth"])
    return dag.compile()


async def together(plan: flow.Plan, config: flow.Config) -> list[flow.Result]:
    """A hundred workflows at once; the partial results of those that fail."""

    async def one(number: int) -> flow.Result:
        try:
            return await flow.execute(plan, {"number": number}, config=config)
        except flow.RunError as error:
            result: flow.Result = error.result
            return result

    return await asyncio.gather(*[one(number) for number in range(TOGETHER)])


def as_told(rate: int, results: Sequence[flow.Result]) -> str | None:
    """Say which workflow did not end as it was to: its output, or its error and the two nodes skipped."""
    for number, result in enumerate(results):
        if fails(number, rate):
            skipped = result.counts.get(flow.Status.SKIPPED, 0)
            if str(result.errors.get("third")) != f"workflow {number}" or skipped != 2:
                return f"workflow {number} was to fail in its third node, not to end as {result!r}"
        elif not result.ok or result["fifth"] != number + 5:
            return f"workflow {number} was to return {number + 5}, not to end as {result!r}"
    failed = sum(not result.ok for result in results)
    return None if failed == rate and len(results) == TOGETHER else f"{failed} of {len(results)} failed"


@table
def test_failures(quick: bool) -> Iterator[Case]:
    """Run a hundred workflows, some of which fail."""
    for how, config in (("collect", COLLECT), ("fail_fast", FAIL_FAST)):
        for rate in RATES:
            yield Case(
                f"{TOGETHER} workflows of 5 nodes, {rate} % fail, {how}",
                section="failures", per=TOGETHER, is_async=True,
                make=partial(partial, together, failing(rate), config), check=partial(as_told, rate),
            )  # fmt: skip


# -- scalability -----------------------------------------------------------------------------

SIZES = (10, 100, 1_000)
WORKERS = (1, 2, 4, 8, 16, 32)
STAR = 100
KNOWN = "known"
"""The output of nodes that are not called."""
ALL_RUN, NONE_RUN = "a chain of no-op nodes", "the same, each outcome known: no node is called"


def counted(value: int = 0) -> int:
    """One more than the node before."""
    return value + 1


async def counted_async(value: int = 0) -> int:
    """The same as an async function."""
    return value + 1


def chain(fn: Callable[..., Any], nodes: int) -> flow.Plan:
    """So many nodes in a row, each of which is given the output of the one before."""
    dag = flow.Dag("chain")
    for k in range(nodes):
        dag.add(f"n{k}", fn, needs={"value": f"n{k - 1}"} if k else ())
    return dag.compile()


def star() -> flow.Plan:
    """A hub and 99 nodes that are given its output."""
    dag = flow.Dag("star")
    dag.add("n0", counted_async)
    for k in range(1, STAR):
        dag.add(f"n{k}", counted_async, needs={"value": "n0"})
    return dag.compile()


def outputs_are(wanted: Sequence[Any], known: Sequence[str], result: flow.Result) -> str | None:
    """Say what is wrong with the outputs, or with which nodes were known."""
    if result.known != tuple(known):
        return f"{len(result.known)} nodes were known where {len(known)} were to be"
    found = list(result.outputs.values())
    wrong = sum(a != b for a, b in zip(found, wanted, strict=False)) + abs(len(found) - len(wanted))
    return f"{wrong} of {len(wanted)} outputs are not those that the nodes return" if wrong else None


@table
def test_scalability(quick: bool) -> Iterator[Case]:
    """Run chains, and chains of which all is known."""
    for nodes in SIZES:
        ordered = list(range(1, nodes + 1))
        for fn, call, series in ((counted, flow.run, "sync"), (counted_async, flow.execute, "async")):
            plan = chain(fn, nodes)
            shape: dict[str, Any] = {"section": "scalability", "size": nodes, "series": series}
            shape["is_async"] = series == "async"
            run, given = partial(partial, call, plan), dict.fromkeys(plan, KNOWN)
            yield Case(ALL_RUN, run, partial(outputs_are, ordered, ()), **shape)
            yield Case(
                NONE_RUN, partial(run, known=given), partial(outputs_are, [KNOWN] * nodes, plan.names), **shape
            )


@table
def test_workers(quick: bool) -> Iterator[Case]:
    """Run a star by more and more workers."""
    plan = star()
    for workers in WORKERS:
        config = flow.Config(mode="workers", limit=workers)
        yield Case(
            f'{STAR - 1} no-op nodes after a known one, mode="workers"',
            partial(partial, flow.execute, plan, known={"n0": 1}, config=config),
            partial(outputs_are, [1, *[2] * (STAR - 1)], ["n0"]),
            section="workers", size=workers, is_async=True,
        )  # fmt: skip
