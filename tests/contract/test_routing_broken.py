"""What somebody found who did not build routing and tried to break it: hooks that raise, known choices, soft skips."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Mapping
from typing import Any

import pytest

import flow

WAYS: Mapping[str, dict[str, Any]] = {
    "inline": {},
    "asyncio": {"mode": "tasks"},
    "uvloop": {"mode": "tasks", "backend": "uvloop"},
    "trio": {"mode": "tasks", "backend": "trio"},
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(WAYS[request.param])


def raising_at(says: Callable[[Any], bool]) -> Callable[[], Callable[[Any], None]]:
    def hook(outcome: Any) -> None:
        if says(outcome):
            raise RuntimeError("hook")

    return lambda: hook


BYPASSED = raising_at(lambda outcome: str(outcome.status) == "bypassed")


def bad() -> None:
    raise ValueError("bad")


class TestHooks:
    def test_one_that_raises_while_tasks_are_started(self) -> None:
        """It is told of a node left out by the code that starts tasks, where no node's call stands around it."""

        async def waits() -> int:
            await asyncio.sleep(0.001)
            return 1

        dag = flow.Dag("d")
        dag.add("a", waits)
        dag.add("b", waits, after=["a"])
        dag.add("c", lambda a: 1, when=lambda a: False)
        with pytest.raises(RuntimeError, match="hook"):
            flow.run(dag, config=flow.Config(on_outcome=BYPASSED))

    def test_cleanup_runs_though_one_raises_at_a_bypass(self, way: dict[str, Any]) -> None:
        ran: list[str] = []
        dag = flow.Dag("d")
        dag.route("choose", lambda: "a", to={"a": "a", "b": "b"})
        dag.add("a", lambda: 1)
        dag.add("b", lambda: 2)
        dag.add("close", lambda: ran.append("closed"), cleanup=True)
        with pytest.raises(RuntimeError, match="hook"):
            flow.run(dag, config=flow.Config(on_outcome=BYPASSED, **way))
        assert ran == ["closed"]

    def test_the_rest_of_cleanup_runs_though_one_raises_in_it(self, way: dict[str, Any]) -> None:
        ran: list[str] = []
        dag = flow.Dag("d")
        dag.add("bad", bad)
        dag.add("first", lambda: ran.append("first"), cleanup=True)
        dag.add("second", lambda: ran.append("second"), after=["first"], cleanup=True)
        hook = raising_at(lambda outcome: outcome.node == "first")
        with pytest.raises(RuntimeError, match="hook") as caught:
            flow.run(dag, config=flow.Config(on_outcome=hook, **way))
        assert ran == ["first", "second"]
        assert caught.value.__notes__ == ["while the run ended, node 'bad' raised ValueError: bad"]

    def test_cleanup_runs_though_a_condition_exits_before_anything_else(self) -> None:
        ran: list[str] = []

        def exits() -> bool:
            raise SystemExit(3)

        dag = flow.Dag("d")
        dag.timer("late", seconds=0, when=exits)
        dag.add("close", lambda: ran.append("closed"), cleanup=True)
        with pytest.raises(SystemExit):
            flow.run(dag)
        assert ran == ["closed"]


def test_an_exit_in_cleanup_after_a_failure_leaves_the_rest(way: dict[str, Any]) -> None:
    ran: list[str] = []

    def exits() -> None:
        raise KeyboardInterrupt

    dag = flow.Dag("d")
    dag.add("bad", bad)
    dag.add("first", exits, cleanup=True)
    dag.add("second", lambda: ran.append("second"), after=["first"], cleanup=True)
    with pytest.raises(KeyboardInterrupt) as caught:
        flow.run(dag, config=flow.Config(**way))
    assert ran == ["second"]
    assert "while the run ended, node 'bad' raised ValueError: bad" in caught.value.__notes__


@pytest.mark.parametrize("routes", [False, True])
@pytest.mark.parametrize(
    ("takes", "status"), [({"after": ["read"]}, "skipped"), ({"needs": {"read": "read"}}, "completed")]
)
def test_a_soft_skip_is_the_same_in_plans_that_route(routes: bool, takes: dict[str, Any], status: str) -> None:
    dag = flow.Dag("d")
    dag.add("bad", bad, continue_on_error=True)
    dag.add("read", lambda bad: bad)
    dag.add("next", (lambda read=None: 1) if "needs" in takes else (lambda: 1), **takes)
    if routes:
        dag.add("other", lambda: 1, when=lambda: True)
    assert str(flow.run(dag).status["next"]) == status


def test_a_router_whose_failure_is_tolerated_has_chosen_none(way: dict[str, Any]) -> None:
    dag = flow.Dag("d")
    dag.route("choose", lambda: "neither", to={"a": "a", "b": "b"}, continue_on_error=True)
    dag.add("a", lambda: 1)
    dag.add("b", lambda: 2)
    dag.add("later", lambda: 3, after=["choose"])
    result = flow.run(dag, config=flow.Config(**way))
    assert [str(result.status[name]) for name in ("a", "b", "later")] == ["bypassed", "bypassed", "completed"]


def test_what_a_known_choice_leaves_out_is_told_once_the_run_has_begun(way: dict[str, Any]) -> None:
    seen: list[tuple[str, str]] = []
    told: list[tuple[str, str]] = []

    def watch(event: flow.events.Event) -> None:
        seen.append((type(event).__name__, getattr(event, "node", "")))

    def hook(outcome: Any) -> None:
        told.append((outcome.node, str(outcome.status)))

    dag = flow.Dag("d")
    dag.route("choose", lambda: "a", to={"a": "a", "b": "b"})
    dag.add("a", lambda: 1)
    dag.add("b", lambda: 2)
    dag.add("c", lambda b: 1)
    config = flow.Config(observers=(watch,), on_outcome=lambda: hook, **way)
    assert flow.run(dag, known={"choose": "a"}, config=config).ok
    assert seen[:4] == [("RunStarted", ""), ("NodeKnown", "choose"), ("NodeBypassed", "b"), ("NodeBypassed", "c")]
    assert told == [("b", "bypassed"), ("c", "bypassed"), ("a", "completed")]


def test_why_after_an_exit() -> None:
    def exits() -> None:
        raise KeyboardInterrupt

    dag = flow.Dag("d")
    dag.add("a", exits)
    with pytest.raises(KeyboardInterrupt) as caught:
        flow.run(dag, config=flow.Config(mode="tasks"))
    assert caught.value.result.why("a") == "node 'a' failed"  # type: ignore[attr-defined]


@pytest.mark.parametrize("join", ["some", "failed", 1])
def test_cleanup_that_joins_edges_which_the_targets_leave_out_does_not_run(join: Any) -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 1)
    dag.add("b", lambda: 1)
    dag.add("close", lambda: 1, after=["a"], join=join, cleanup=True)
    assert str(flow.run(dag, targets="b").status["close"]) == "bypassed"


class TestMerges:
    def test_its_place_is_the_users_line(self) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda: 1)
        dag.add("b", lambda: 2)
        dag.merge("both", of=["a", "b"])
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag)
        (note,) = caught.value.exceptions[0].__notes__
        assert "test_routing_broken.py" in note

    def test_options_that_it_has_not(self) -> None:
        with pytest.raises(flow.UsageError, match="node 'm' takes no option 'join'"):
            flow.Dag("d").merge("m", of=["a"], join="all")  # type: ignore[call-overload]


@pytest.mark.parametrize(("address", "sent"), [("again#0.ask", False), ("again#1.ask", True), ("again#4.ask", False)])
def test_a_round_that_there_cannot_be_is_sent_nothing(address: str, sent: bool) -> None:
    body = flow.Dag("body")
    body.signal("ask", timeout=0.01, fallback=True)
    dag = flow.Dag("d")
    dag.loop("again", body, until=lambda ask: ask, max_iterations=3)

    async def asked() -> None:
        async with flow.start(dag) as run:
            run.send(address, True)

    if sent:
        asyncio.run(asked())
    else:
        with pytest.raises(flow.errors.SignalError, match="has no signal"):
            asyncio.run(asked())


def test_an_inner_run_that_left_a_node_out_is_freed_without_the_garbage_collector() -> None:
    inner = flow.Dag("inner")
    inner.route("choose", lambda: "a", to={"a": "a", "b": "b"})
    inner.add("a", lambda: 1)
    inner.add("b", lambda: 2)
    dag = flow.Dag("d")
    dag.add("sub", inner)
    plan = dag.compile()
    assert flow.run(plan)["sub"] == {"choose": ("a",), "a": 1}
    gc.collect()
    gc.disable()
    try:
        flow.run(plan)
        assert gc.collect() == 0
    finally:
        gc.enable()
