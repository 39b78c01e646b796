"""The node suite: single nodes of every kind, call by call.

Every call is a sample, so the percentiles are those of calls: ten, one after the other, to a round. A call is one
run of a plan compiled before. *node*: the figure is that run's time divided by its nodes; *parallel* and *error
handling*: it is that of the whole run. Beside each kind stands the same functions called by hand, without any engine.
Whether a call took less than a millisecond is asked of the whole run everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

import flow
from flow_bench.harness.contender import Operation, expect
from flow_bench.harness.rows import Target
from flow_bench.micro.case import Case, table

COLLECT = flow.Config(on_error="collect")
BY_HAND = ", by hand"
WAIT = 0.001
FOUR = range(4)
QUICK_ROUNDS, ROUNDS = 2, 20
"""Of cases that take milliseconds: :data:`~flow_bench.micro.measuring.EACH` calls each, in every pass."""
BELOW_1_MS = Target(1_000, of="figure")
"""Microseconds: the "sub-millisecond nodes" that AI Workflow Engine aims at."""


class Line(msgspec.Struct):
    """A line of an order."""

    product: str
    quantity: int
    price: float


class Order(msgspec.Struct):
    """An order, as it comes as JSON."""

    id: int
    lines: list[Line]
    total: float = 0.0


DOCUMENT = msgspec.json.encode(Order(7, [Line(f"product-{k}", k + 1, 9.5 + k) for k in range(20)]))
TOTAL = sum((k + 1) * (9.5 + k) for k in range(20))
SQUARES = sum(k * k for k in range(100))


class Refusal(Exception):
    """What failing nodes raise."""


# -- the nodes -------------------------------------------------------------------------------


def squares() -> int:
    """Add up a hundred squares: a few microseconds of work."""
    total = 0
    for k in range(100):
        total += k * k
    return total


async def at_once() -> int:
    """Return without suspending."""
    return SQUARES


async def after_a_turn() -> int:
    """Let the event loop turn once."""
    await asyncio.sleep(0)
    return SQUARES


async def after_a_wait(*before: int) -> int:
    """Wait 1 ms, as for a service that answers."""
    await asyncio.sleep(WAIT)
    return SQUARES


def many_squares(*before: int) -> int:
    """Add up squares for some tenths of a millisecond."""
    total = 0
    for k in range(5_000):
        total += k * k
    return total


def transform(document: bytes) -> bytes:
    """Decode and validate 1 KB of JSON, add up the order's lines, encode it again."""
    order = msgspec.json.decode(document, type=Order)
    order.total = sum(line.quantity * line.price for line in order.lines)
    return msgspec.json.encode(order)


def choose(kind: str) -> str:
    """Say which branch is to act."""
    return "express" if kind == "urgent" else "standard"


def branch(name: str) -> str:
    """Act, as the branch that was chosen."""
    return f"sent by {name}"


def succeeds() -> int:
    """Return at once."""
    return SQUARES


def fails() -> int:
    """Raise."""
    raise Refusal("as it should")


def fails_every_other_time() -> Callable[[], int]:
    """Return a function whose odd calls raise."""
    calls = 0

    def flaky() -> int:
        nonlocal calls
        calls += 1
        if calls % 2:
            raise Refusal(f"call {calls}")
        return calls

    return flaky


# -- their plans -----------------------------------------------------------------------------


def one(fn: Callable[..., Any], **options: Any) -> flow.Plan:
    """A plan of one node."""
    dag = flow.Dag("one")
    dag.add("only", fn, **options)
    return dag.compile()


def routing() -> flow.Plan:
    """A router, the three branches that it chooses among, and one node that takes what the chosen one did."""
    dag = flow.Dag("routing")
    route(dag, choose)
    return dag.compile()


def route(dag: flow.Dag, fn: Callable[[Any], str], **options: Any) -> None:
    """Add the router ``choice``, its branches, and the merge of them all."""
    dag.route("choice", fn, to={name: f"by_{name}" for name in ROUTES}, **options)
    for name in ROUTES:
        dag.add(f"by_{name}", partial(branch, name))
    dag.merge("sent", of=[f"by_{name}" for name in ROUTES])


ROUTES = ("standard", "express", "pickup")


def parallel() -> flow.Plan:
    """Four async nodes after one, and one that adds up what they return."""
    dag = flow.Dag("parallel")
    dag.add("start", at_once)
    for k in range(4):
        dag.add(f"part{k}", after_a_turn, after="start")
    dag.add("sum", lambda *parts: sum(parts), needs=[f"part{k}" for k in range(4)])
    return dag.compile()


def four(fn: Callable[..., Any], *, chained: bool = False, **options: Any) -> flow.Plan:
    """Four nodes, independent or one after the other, and one that adds up what they return."""
    dag = flow.Dag("four")
    for k in FOUR:
        dag.add(f"part{k}", fn, needs=[f"part{k - 1}"] if chained and k else [], **options)
    dag.add("sum", lambda *parts: sum(parts), needs=[f"part{k}" for k in FOUR])
    return dag.compile()


def failing() -> flow.Plan:
    """A node that raises, and one that needs it."""
    dag = flow.Dag("failing")
    dag.add("bad", fails)
    dag.add("skipped", lambda bad: bad)
    return dag.compile()


# -- by hand ---------------------------------------------------------------------------------


def route_by_hand(kind: str) -> str:
    """The two functions that the routing plan calls: the choice, and the branch chosen."""
    return branch(choose(kind))


async def parallel_by_hand() -> int:
    """Gather the four parts."""
    await at_once()
    return sum(await asyncio.gather(*[after_a_turn() for _ in range(4)]))


async def waits_by_hand() -> int:
    """Gather four waits."""
    return sum(await asyncio.gather(*[after_a_wait() for _ in FOUR]))


def retry_by_hand(flaky: Callable[[], int]) -> int:
    """Call at most twice."""
    try:
        return flaky()
    except Refusal:
        return flaky()


def fail_by_hand() -> str:
    """Catch what the node raises."""
    try:
        fails()
    except Refusal as error:
        return str(error)
    return ""


# -- cases -----------------------------------------------------------------------------------


def pair(
    section: str, label: str, hand: Operation, plan: flow.Plan, wanted: Any, inputs: dict[str, Any] | None = None, *,
    target: Target | None = None, is_async: bool = False, bypassed: int = 0, **more: Any,
) -> list[Case]:  # fmt: skip
    """The same work by hand and as a run of ``plan``, whose last node is to return what the hand does.

    :param bypassed: how many nodes the run is to leave out; all others are to complete.
    """
    run = partial(flow.execute if is_async else flow.run, plan, inputs)
    shown, last, nodes = expect(wanted), plan.names[-1], len(plan) - bypassed

    def complete(result: flow.Result) -> object:
        done, left_out = (result.counts.get(status, 0) for status in (flow.Status.COMPLETED, flow.Status.BYPASSED))
        if (done, left_out) == (nodes, bypassed):
            return shown(result[last])
        return f"{done} of {nodes} nodes completed, and {left_out} were bypassed"

    shape: dict[str, Any] = {"section": section, "each": True, "is_async": is_async} | more
    return [
        Case(label + BY_HAND, lambda: hand, shown, **shape),
        Case(label, lambda: run, complete, target=target, **shape),
    ]


def _pair(label: str, hand: Operation, plan: flow.Plan, wanted: Any, *given: Any, **more: Any) -> list[Case]:
    """A pair per node, which is to take less than a millisecond unless it waits for one."""
    target = None if "waits" in more else BELOW_1_MS
    return pair("node", label, hand, plan, wanted, *given, per=len(plan), target=target, **more)


@table
def test_kinds(quick: bool) -> list[Case]:
    """Call nodes of every kind."""
    waiting = {"unit": "ms", "waits": True, "ideal": WAIT, "rounds": QUICK_ROUNDS if quick else ROUNDS}
    threaded, document = partial(asyncio.to_thread, squares), {"document": DOCUMENT}
    return [
        *_pair("sync compute: a hundred squares", squares, one(squares), SQUARES),
        *_pair("async, never suspends", at_once, one(at_once), SQUARES, is_async=True),
        *_pair("async, one turn of the loop", after_a_turn, one(after_a_turn), SQUARES, is_async=True),
        *_pair("in a thread: a hundred squares", threaded, one(squares, thread=True), SQUARES, is_async=True),
        *_pair("JSON transform, 1 KB through msgspec", partial(transform, DOCUMENT), one(transform),
               transform(DOCUMENT), document),
        *_pair("I/O: waits 1 ms", after_a_wait, one(after_a_wait), SQUARES, is_async=True, **waiting),
    ]  # fmt: skip


@table
def test_patterns(quick: bool) -> list[Case]:
    """Route, and run in parallel."""
    routed, inputs, gathered = partial(route_by_hand, "urgent"), {"kind": "urgent"}, 4 * SQUARES
    return [
        *_pair("routing: dag.route, 3 branches (2 bypassed), merge", routed, routing(), "sent by express", inputs,
               bypassed=2),
        *_pair("parallel of 4: start, 4 that wait a turn, sum", parallel_by_hand, parallel(), gathered, is_async=True),
    ]  # fmt: skip


LOGS = "the line that is logged is written nowhere"
ALONE, AT_ONCE = "one after another", "at once"


@table
def test_speed_up(quick: bool) -> list[Case]:
    """Four nodes one after another and at once: waiting, where it pays, and computing, where the GIL lets one run."""
    rounds = QUICK_ROUNDS if quick else ROUNDS
    shape: dict[str, Any] = {"section": "parallel", "each": True, "unit": "ms", "is_async": True, "rounds": rounds}
    waits, computes, wait = "4 nodes that wait 1 ms", "4 nodes that compute", shape | {"waits": True}
    slowly, done, summed = f"{waits}, {ALONE}", _sum_is(4 * SQUARES), _sum_is(4 * many_squares())

    def run(fn: Callable[..., Any], **options: Any) -> Callable[[], Operation]:
        return partial(partial, flow.execute, four(fn, **options))

    return [
        Case(slowly, run(after_a_wait, chained=True), done, ideal=4 * WAIT, **wait),
        Case(f"{waits}, {AT_ONCE}{BY_HAND}", lambda: waits_by_hand, expect(4 * SQUARES), ideal=WAIT,
             speed_up_over=slowly, **wait),
        Case(f"{waits}, {AT_ONCE}", run(after_a_wait), done, ideal=WAIT, speed_up_over=slowly, **wait),
        Case(f"{computes}, {ALONE}", run(many_squares), summed, **shape),
        Case(f"{computes}, {AT_ONCE} in threads", run(many_squares, thread=True), summed,
             speed_up_over=f"{computes}, {ALONE}", **shape),
    ]  # fmt: skip


def _sum_is(wanted: int) -> Callable[[flow.Result], str | None]:
    """A check that all five nodes of :func:`four` completed, and that the parts add up."""
    return expect((5, wanted), lambda result: (result.counts.get(flow.Status.COMPLETED, 0), result.outputs.get("sum")))


@table
def test_error_handling(quick: bool) -> list[Case]:
    """One node that returns, without and with policies that it does not need; and one whose first attempt raises."""
    returns = "returns"
    shape: dict[str, Any] = {"section": "error handling", "each": True}
    beside: dict[str, Any] = shape | {"overhead_over": returns}
    policies: dict[str, Any] = {"retry": flow.Retry(2, delay=0), "fallback": -1}
    bad = one(fails)

    def run(fn: Callable[[], int], **options: Any) -> Callable[[], Operation]:
        return lambda: partial(flow.run, one(fn, **options))

    return [
        Case(returns, run(succeeds), _ended(SQUARES), **shape),
        Case("returns; retry= and fallback= are not needed", run(succeeds, **policies), _ended(SQUARES), **beside),
        Case("raises, and again after 1 retry: fallback", run(fails, **policies),
             _ended(-1, attempts=2, fell_back=True), note=LOGS, **beside),
        Case("raises: fallback", run(fails, fallback=-1), _ended(-1, fell_back=True), note=LOGS, **beside),
        Case("raises, then returns: retry", _retrying, _second_attempt, **beside),
        Case("raises: collected", lambda: partial(flow.run, bad, config=COLLECT), _alone_failed, note=LOGS, **beside),
        Case("raises: RunError", lambda: partial(_raising, bad), _alone_failed, **beside),
        Case(f"raises: RunError{BY_HAND}", lambda: fail_by_hand, expect("as it should"), **shape),
    ]  # fmt: skip


def _ended(wanted: int, *, attempts: int = 1, fell_back: bool = False) -> Callable[[flow.Result], str | None]:
    """A check of a run of one node: its output, how many attempts it took, and whether a fallback was the last."""

    def found(result: flow.Result) -> object:
        return result.outputs.get("only"), result.attempts["only"], "only" in result.fallbacks

    return expect((wanted, attempts, fell_back), found)


def _failed(result: flow.Result | None, name: str = "bad", skipped: Sequence[str] = ("skipped",)) -> str | None:
    """Check that this node failed as it should, and which others were skipped."""
    if result is None:
        return "no RunError was raised"
    found = {node: str(status) for node, status in result.status.items()}
    return expect(({name: "failed"} | dict.fromkeys(skipped, "skipped"), "as it should"))(
        (found, str(result.errors.get(name)))
    )


_alone_failed = partial(_failed, name="only", skipped=())


@table
def test_failures(quick: bool) -> list[Case]:
    """Retry, and fail."""
    shape: dict[str, Any] = {"section": "node", "each": True}
    retry, error, plan = "retry: raises once, then returns", "error path: raises, 1 node is skipped", failing()
    return [
        Case(retry + BY_HAND, lambda: partial(retry_by_hand, fails_every_other_time()), _even, **shape),
        Case(retry, _retrying, _second_attempt, **shape),
        Case(error + BY_HAND, lambda: fail_by_hand, expect("as it should"), per=2, **shape),
        Case(error, lambda: partial(flow.run, plan, config=COLLECT), _failed, per=2, **shape),
        Case(f"{error}, RunError", lambda: partial(_raising, plan), _failed, per=2, **shape),
    ]


def _retrying() -> Operation:
    return partial(flow.run, one(fails_every_other_time(), retry=flow.Retry(2, delay=0)))


def _raising(plan: flow.Plan) -> flow.Result | None:
    """Return the result that the run's error carries."""
    try:
        flow.run(plan)
    except flow.RunError as error:
        result: flow.Result = error.result
        return result
    return None


def _even(output: int) -> str | None:
    return None if output % 2 == 0 else f"call {output} should have raised"


def _second_attempt(result: flow.Result) -> str | None:
    tried = result.attempts["only"]
    return _even(result["only"]) if tried == 2 else f"{tried} attempts were made where 2 were to be"
