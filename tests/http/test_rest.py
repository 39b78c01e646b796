"""Whether a run rests: what the board counts, of runs within runs too, against what really goes on in them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st
from running import on_loop

import flow
from flow.http.board import Board
from flow.run import events
from flow.run.signals import signals_of


class Leaves:
    """Functions that go on until somebody opens their gates. :ivar inside: the gates of those that go on now."""

    def __init__(self) -> None:
        self.inside: list[asyncio.Event] = []
        self.fails = False

    async def go_on(self, _: int = 0) -> int:
        gate = asyncio.Event()
        self.inside.append(gate)
        try:
            await gate.wait()
            if self.fails:
                raise ValueError("no")
        finally:
            self.inside.remove(gate)
        return 1


def in_one(leaves: Leaves) -> Any:
    """Return a function that starts a run itself, in which something goes on."""
    called = flow.Dag("called")

    @called.node
    async def leaf() -> int:
        return await leaves.go_on()

    async def calls(ctx: flow.Context) -> int:
        await ctx.execute(called.compile())
        return 1

    return calls


def made(parts: Any, leaves: Leaves, names: Any) -> flow.Dag:
    """Build a Dag of these parts: each a kind, what it holds, a number, and whether it comes after the one before."""
    dag, before = flow.Dag(f"d{next(names)}"), ""
    for kind, held, number, follows in parts:
        name = f"{kind}{next(names)}"
        options: dict[str, Any] = {"after": [before]} if before and follows else {}
        if kind == "leaf":

            async def leaf() -> int:
                return await leaves.go_on()

            dag.add(name, leaf, retry=flow.Retry(number, delay=0), **options)
        elif kind == "calls":
            dag.add(name, in_one(leaves), **options)
        elif kind == "ask":
            dag.signal(name, **options)
        elif kind == "timed":
            dag.timer(name, seconds=3600.0, **options)
        elif kind == "dag":
            dag.add(name, made(held, leaves, names), retry=flow.Retry(number, delay=0), **options)
        elif kind == "loop":
            body, turns = made(held, leaves, names), itertools.count(1)
            body.add("last", lambda: next(turns))
            dag.loop(name, body, until=lambda last, n=number: last % n == 0, max_iterations=9, **options)
        else:
            dag.add(f"{name}-over", lambda n=number: list(range(n)))
            over: Any = leaves.go_on
            if kind == "map":
                over = made(held, leaves, names)
                over.add("first", lambda item: item)
            dag.map(name, over, over=f"{name}-over", concurrency=None if number % 2 else 1, **options)
        before = name
    return dag


SIMPLE = st.tuples(
    st.sampled_from(["leaf", "ask", "ask", "calls", "each", "timed"]), st.none(), st.integers(1, 3), st.booleans()
)
PARTS = st.recursive(
    st.lists(SIMPLE, min_size=1, max_size=3),
    lambda inner: st.lists(
        SIMPLE | st.tuples(st.sampled_from(["dag", "map", "loop"]), inner, st.integers(1, 3), st.booleans()),
        min_size=1,
        max_size=3,
    ),
    max_leaves=6,
)


@settings(max_examples=25, deadline=None)
@given(PARTS, st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9)), max_size=14))
def test_it_rests_if_nothing_but_waiting_goes_on(parts: Any, steps: list[tuple[int, int]]) -> None:
    @on_loop
    async def main() -> None:
        leaves, told = Leaves(), list[bool]()
        plan = made(parts, leaves, itertools.count()).compile()
        board = Board(plan.names, lambda: None, told.append, signals_of(plan))
        timed: set[tuple[str, str]] = set()

        def watch(event: Any) -> None:
            node: Any = getattr(event, "node", None)
            if type(event) is events.NodeWaiting and signals_of(plan).find(event.address) is None:
                timed.add((event.run_id, node))
            elif node is not None:
                timed.discard((event.run_id, node))

        config = flow.Config(observers=(board, watch), on_error="collect", blocking_after=None)
        # The end of the block raises what maps were told by items before they were cancelled.
        with contextlib.suppress(flow.RunError):
            await driven(plan, config, board, steps, leaves, timed)
        assert not board.waiting
        if board._going_on is not None:
            assert board._going_on.count == 0

    main()


async def driven(plan: flow.Plan, config: flow.Config, board: Board, steps: Any, leaves: Leaves, timed: Any) -> None:
    async with flow.start(plan, config=config) as run:
        for what, which in steps:
            await anyio.wait_all_tasks_blocked()
            check(board, leaves, run, timed)
            leaves.fails = what == 5
            if what % 2 and leaves.inside:
                leaves.inside[which % len(leaves.inside)].set()
            elif run.waiting:
                run.send(run.waiting[which % len(run.waiting)])
        await anyio.wait_all_tasks_blocked()
        check(board, leaves, run, timed)
        run.cancel()


def check(board: Board, leaves: Leaves, run: Any, timed: Any) -> None:
    waits = bool(run.waiting) or bool(timed)
    assert set(board.waiting) == set(run.waiting)
    assert board.resting == (waits and not leaves.inside), (run.waiting, timed, leaves.inside)


def test_a_map_that_is_given_its_items_as_they_come_goes_on() -> None:
    page, dag = flow.Dag("page"), flow.Dag("book")
    page.signal("approve", type=int)
    page.add("text", lambda number, approve: number)
    dag.map("pages", page, over="numbers")
    board = Board(dag.compile().names, lambda: None, lambda _: None, signals_of(dag.compile()))
    for event in (
        events.RunStarted("r", "book", 1, 0.0),
        events.NodeStarted("r", "pages", 1, 0.0),
        events.MapStarted("r", "pages", None, 0.0),
        events.RunStarted("s", "page", 2, 0.0, ("pages[0]",)),
        events.NodeWaiting("s", "approve", 0.0, "pages#0.approve"),
    ):
        board(event)
    assert board.waiting == ("pages#0.approve",) and not board.resting
    board(events.NodeCancelled("r", "pages", 0.0))
    assert board.resting  # what has not ended of it
    board(events.NodeCancelled("s", "approve", 0.0))
    board(events.RunFinished("s", "page", False, {}, 0.1, 0.0))
    assert not board.resting


def test_a_loop_between_two_rounds_goes_on() -> None:
    body, dag = flow.Dag("body"), flow.Dag("both")
    body.signal("ask", type=bool)
    dag.loop("asks", body, until=lambda ask: ask, max_iterations=3)
    dag.signal("other")
    plan, told = dag.compile(), list[bool]()
    board = Board(plan.names, lambda: None, told.append, signals_of(plan))
    for event in (
        events.RunStarted("r", "both", 2, 0.0),
        events.NodeStarted("r", "asks", 1, 0.0),
        events.NodeWaiting("r", "other", 0.0, "other"),
        events.RunStarted("s", "body", 1, 0.0, ("asks#1",)),
        events.NodeWaiting("s", "ask", 0.0, "asks#1.ask"),
    ):
        board(event)
    assert board.resting
    board(events.NodeFinished("s", "ask", 1, 0.1, 0.0))
    assert board.resting  # the other is waited for
    board(events.RunFinished("s", "body", True, {}, 0.1, 0.0))
    assert not board.resting
    board(events.RunStarted("t", "body", 1, 0.0, ("asks#2",)))
    assert board.resting
    board(events.NodeFinished("r", "asks", 1, 0.1, 0.0))
    board(events.RunFinished("t", "body", True, {}, 0.1, 0.0))
    assert board.resting and board._going_on is not None and board._going_on.count == 0
