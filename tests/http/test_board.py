"""The newest states of the nodes of a run: what a board keeps of the events, and what it tells whom."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.http.board import Board
from flow.run import events
from flow.types import Status


def board_of(*names: str) -> tuple[Board, list[Any]]:
    told: list[Any] = []
    board = Board(names, lambda: told.append("began"), told.append)
    board(events.RunStarted("r", "d", len(names), 0.0))
    return board, told


def states(board: Board, seq: int = 0) -> list[tuple[str, str]]:
    return [(state.node, state.status) for _, state in board.since(seq)]


def test_it_tells_nothing_before_the_run_has_begun() -> None:
    told: list[Any] = []
    board = Board(["a"], lambda: told.append("began"))
    board(events.NodeStarted("r", "a", 1, 0.0))
    assert board.since(0) == [] and board.statuses() == ["pending"] and told == [] and board.seq == 0
    board(events.RunStarted("r", "d", 1, 0.0))
    board(events.RunStarted("inner", "e", 1, 0.0, ("a",)))
    assert told == ["began"] and board.run_id == "r"


def test_the_states_of_a_real_run() -> None:
    dag = flow.Dag("d")
    tries: list[int] = []

    @dag.node(retry=flow.Retry(3, delay=0))
    def a() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise OSError("again")
        return 1

    dag.add("b", lambda a: 1 / 0, needs=["a"])
    dag.add("c", lambda b: b, needs=["b"])
    dag.add("d", lambda a: a, needs=["a"], when=lambda a: a > 1)
    board = Board(dag.compile().names, lambda: None)
    config = flow.Config(on_error="collect", observers=(board,))
    result = flow.run(dag, config=config)
    assert board.statuses() == [str(result.status[name]) for name in ("a", "b", "c", "d")]
    assert board.statuses() == ["completed", "failed", "skipped", "bypassed"]
    assert board.counts() == {"completed": 1, "failed": 1, "skipped": 1, "bypassed": 1}
    found = {state.node: state for _, state in board.since(0)}
    assert found["a"].attempt == 3 and found["a"].seconds >= 0
    error = found["b"].error
    assert error is not None and error.type == "ZeroDivisionError"


def test_what_is_known_comes_from_a_store() -> None:
    store, dag, fails = flow.store.memory(), flow.Dag("d"), [True]
    dag.add("a", lambda: 1)

    @dag.node
    def b(a: int) -> int:
        if fails.pop() if fails else False:
            raise ValueError("no")
        return a

    with pytest.raises(flow.RunError):
        flow.run(dag, run_id="r", store=store)
    board = Board(["a", "b"], lambda: None)
    flow.run(dag, run_id="r", store=store, on_conflict="retry", config=flow.Config(observers=(board,)))
    assert board.statuses() == ["completed", "completed"]


def test_runs_within_change_no_state_but_their_signals_are_waited_for() -> None:
    board, told = board_of("outer")
    board(events.NodeStarted("r", "outer", 1, 0.0))
    board(events.NodeFinished("inner", "outer", 1, 0.1, 0.0))
    board(events.NodeWaiting("inner", "ask", 0.0, "outer.ask"))
    assert states(board) == [("outer", "running")] and board.waiting == ("outer.ask",)
    board(events.NodeFinished("inner", "ask", 1, 0.1, 0.0))
    assert board.waiting == () and not board.resting and told == ["began"]


def test_it_rests_when_all_that_goes_on_is_waiting() -> None:
    board, told = board_of("a", "s", "t")
    board(events.NodeStarted("r", "a", 1, 0.0))
    board(events.NodeWaiting("r", "s", 0.0, "s"))
    assert not board.resting
    board(events.NodeFinished("r", "a", 1, 0.1, 0.0))
    assert board.resting and told == ["began", True]
    board(events.NodeWaiting("r", "t", 0.0, "t"))
    board(events.NodeFinished("r", "s", 1, 0.1, 0.0))
    assert board.resting and told == ["began", True]
    board(events.NodeCancelled("r", "t", 0.0))
    assert not board.resting and told == ["began", True, False]


KINDS: list[Any] = [
    lambda node: events.NodeStarted("r", node, 1, 0.0),
    lambda node: events.NodeFinished("r", node, 1, 0.5, 0.0),
    lambda node: events.NodeFailed("r", node, 2, ValueError(node), 0.0),
    lambda node: events.NodeRetried("r", node, 1, ValueError(node), 0.0, 0.0),
    lambda node: events.NodeSkipped("r", node, "x", 0.0),
    lambda node: events.NodeWaiting("r", node, 0.0, node),
    lambda node: events.NodeKnown("r", node, Status.COMPLETED, 0.0),
    lambda node: events.NodeStarted("other", node, 1, 0.0),
    lambda node: events.NodeStarted("r", "unknown", 1, 0.0),
]


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, len(KINDS) - 1), st.booleans())))
def test_who_asks_at_whatever_times_knows_the_last_states(steps: list[tuple[int, int, bool]]) -> None:
    board, _ = board_of("a", "b", "c")
    seen, seq, known = dict.fromkeys("abc", "pending"), 0, 0
    for node, kind, asks in steps:
        board(KINDS[kind]("abc"[node]))
        if asks:
            changes = board.since(seq)
            marks = [mark for mark, _ in changes]
            assert marks == sorted(set(marks)) and all(mark > seq for mark in marks) and len(changes) <= 3
            seen.update({state.node: state.status for _, state in changes})
            seq = marks[-1] if marks else seq
            known += 1
            assert list(seen.values()) == board.statuses()
            assert sum(board.counts().values()) == 3
            assert board._running == board.statuses().count("running")


def test_threads_may_change_and_look_at_once() -> None:
    names = [f"n{i}" for i in range(50)]
    board, _ = board_of(*names)

    def change(part: list[str]) -> None:
        for _ in range(100):
            for name in part:
                board(events.NodeStarted("r", name, 1, 0.0))
                board(events.NodeFinished("r", name, 1, 0.1, 0.0))

    threads = [threading.Thread(target=change, args=(names[k::4],)) for k in range(4)]
    for thread in threads:
        thread.start()
    seen, seq = dict[str, str](), 0
    while any(thread.is_alive() for thread in threads) or board.since(seq):
        for seq, state in board.since(seq):
            seen[state.node] = state.status
    for thread in threads:
        thread.join()
    assert seen == dict.fromkeys(names, "completed") and board._running == 0
    assert board.seq == 100 * 50 * 2
