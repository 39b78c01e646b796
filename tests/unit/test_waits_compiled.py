"""Nodes that wait, as the compiler and the resolver see them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

import flow
from flow.errors import DefinitionError
from flow.plan.awaiting import WaitingResolver
from flow.plan.resolver import ResolverStatistics
from flow.plan.tokens import TokenResolver
from flow.run.signals import signals_of


def faults(dag: flow.Dag) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        dag.compile()
    return [fault.partition(": ")[2] for fault in caught.value.faults]


class TestFaults:
    @pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "5", True])
    def test_a_timeout_out_of_range(self, timeout: Any) -> None:
        dag = flow.Dag("d")
        dag.signal("ask", timeout=timeout)
        assert faults(dag) == [f"timeout must be a number of seconds > 0 or None, not {timeout!r}"]

    @pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf"), "5"])
    def test_seconds_out_of_range(self, seconds: Any) -> None:
        dag = flow.Dag("d")
        dag.timer("pause", seconds=seconds)
        assert faults(dag) == [f"seconds must be a number >= 0, not {seconds!r}"]

    def test_dates(self) -> None:
        class Naive(tzinfo):
            def utcoffset(self, at: datetime | None) -> timedelta | None:
                return None

        dag = flow.Dag("d")
        wrong: list[Any] = [datetime(2030, 1, 1), datetime(2030, 1, 1, tzinfo=Naive()), "2030-01-01", 5]  # noqa: DTZ001
        for k, at in enumerate(wrong):
            dag.timer(f"t{k}", at=at)
        dag.timer("well", at=datetime(2030, 1, 1, tzinfo=timezone.utc))  # noqa: UP017
        without = "at is 2030-01-01T00:00:00 without a time zone: say which, as in datetime.now(timezone.utc)"
        assert faults(dag) == [
            without, without, "at must be a datetime with a time zone, not '2030-01-01'",
            "at must be a datetime with a time zone, not 5",
        ]  # fmt: skip

    def test_one_of_seconds_and_at(self) -> None:
        dag = flow.Dag("d")
        dag.timer("neither")
        dag.timer("both", seconds=1, at=datetime(2030, 1, 1, tzinfo=timezone.utc))  # noqa: UP017
        assert faults(dag) == ["a timer takes seconds=... or at=..., and one of them only"] * 2

    @pytest.mark.parametrize(
        ("option", "value"),
        [
            ("retry", flow.Retry(3)), ("thread", True), ("executor", "inline"), ("middleware", [print]),
            ("admission", print), ("priority", 3), ("abandon_on_timeout", True),
            ("store", False), ("store", "pickle"), ("store", 5),
        ],
    )  # fmt: skip
    def test_options_about_calls(self, option: str, value: Any) -> None:
        dag = flow.Dag("d")
        dag.signal("ask", **{option: value})
        dag.timer("pause", seconds=1, **{option: value})
        assert faults(dag) == [
            f"{option} is about calls of a function, and a {word} makes none: drop it" for word in ("signal", "timer")
        ]

    def test_a_timeout_of_a_timer(self) -> None:
        dag = flow.Dag("d")
        dag.timer("pause", seconds=1, timeout=5)  # type: ignore[call-arg]
        assert faults(dag) == ["timeout is about calls of a function, and a timer makes none: drop it"]

    def test_all_at_once_each_with_its_line(self) -> None:
        dag = flow.Dag("d")
        dag.signal("ask", type=5, timeout=0, fallback=1, continue_on_error=True, after="nope", when=3)  # type: ignore[call-overload]
        dag.timer("pause", seconds=1, join="sum", cost=-1)  # type: ignore[arg-type]
        with pytest.raises(DefinitionError) as caught:
            dag.compile()
        assert len(caught.value.faults) == 7
        assert all("test_waits_compiled.py:" in fault for fault in caught.value.faults)

    def test_unknown_options(self) -> None:
        dag = flow.Dag("d")
        with pytest.raises(flow.UsageError, match=r"takes no option 'schema' \(did you mean type=\.\.\.\?\)"):
            dag.signal("ask", schema=int)  # type: ignore[call-overload]
        with pytest.raises(flow.UsageError, match=r"takes no option 'delay' \(did you mean seconds=5\?\)"):
            dag.timer("pause", delay=5)  # type: ignore[call-arg]
        with pytest.raises(flow.UsageError, match="takes no option 'needs'"):
            dag.signal("ask", needs=["a"])  # type: ignore[call-overload]
        assert len(dag) == 0


class TestPlan:
    def test_defined_again_in_a_notebook(self) -> None:
        dag = flow.Dag("d")
        dag.signal("ask", type=int)
        dag.add("next", lambda ask: ask)
        dag.compile()
        dag.signal("ask", type=str, timeout=3, replace=True)
        plan = dag.compile()
        assert list(plan.names) == ["ask", "next"]
        assert repr(plan._nodes.routes.waits[0]) == "<signal of type str>"  # type: ignore[union-attr]
        dag.timer("pause", seconds=3)
        assert list(dag.compile()._nodes.routes.waits) == [0, 2]  # type: ignore[union-attr]

    def test_reprs(self) -> None:
        dag = flow.Dag("d")
        dag.signal("a")
        dag.signal("b", type=int | None)
        dag.timer("c", seconds=2.5)
        dag.timer("d", at=datetime(2030, 1, 1, tzinfo=timezone.utc))  # noqa: UP017
        assert [repr(fn) for fn in dag.compile()._nodes.fns] == [
            "<signal of type Any>", "<signal of type int | None>", "<timer of 2.5 s>",
            "<timer until 2030-01-01T00:00:00+00:00>",
        ]  # fmt: skip

    def test_addresses(self) -> None:
        deep = flow.Dag("deep")
        deep.signal("ask")
        deep.timer("pause", seconds=1)
        middle = flow.Dag("middle")
        middle.add("box", deep, timeout=5)
        middle.loop("again", deep, until=lambda ask: ask, max_iterations=3)
        dag = flow.Dag("d")
        dag.signal("top", timeout=1)
        dag.add("one", middle)
        plan = dag.compile()
        signals = signals_of(plan)
        assert signals_of(plan) is signals
        assert sorted(signals.signals) == ["one.again#N.ask", "one.box.ask", "top"]
        pauses = [found.text for found in signals.waits if found.name == "pause"]
        assert pauses == ["one.box.pause", "one.again#N.pause"]
        assert signals.unbounded == ["one.again#N.ask"]
        found = signals.find("one.again#2.ask")
        assert found is not None
        assert found[1] == ["one", "one.again#2"]
        assert signals.find("one.again#12.ask") is None  # of three rounds
        assert signals.find("one.again#N.ask") is None
        assert plan.subgraph("top")._nodes.holders == set()

    def test_names_with_dots_and_signs(self) -> None:
        inner = flow.Dag("inner")
        inner.signal("a#1.b")
        dag = flow.Dag("d")
        dag.add("x.y#2", inner)
        dag.signal("x.z")
        signals = signals_of(dag.compile())
        assert [text for text in ("x.y#2.a#1.b", "x.z") if signals.find(text)] == ["x.y#2.a#1.b", "x.z"]


class Decisions:
    """Answers as a run would."""

    def __init__(self) -> None:
        self.values: list[Any] = [None] * 9
        self.told: list[tuple[str, int]] = []
        self.refuses: set[int] = set()

    def wants(self, i: int) -> bool:
        self.told.append(("wants", i))
        return True

    def begins_waiting(self, i: int) -> bool:
        self.told.append(("waits", i))
        return i not in self.refuses

    def left_out(self, nodes: Any, cause: int) -> bool:
        return False

    def is_telling(self) -> bool:
        return False

    def ended(self) -> None:
        self.told.append(("ended", -1))


def plan() -> flow.Plan:
    dag = flow.Dag("d")
    dag.add("first", lambda: 1)
    dag.signal("ask", after="first")
    dag.timer("pause", seconds=1)
    dag.add("last", lambda ask: ask, after="pause")
    return dag.compile()


def resolver(decisions: Any) -> Any:
    return WaitingResolver.begun(plan()._nodes, (), decisions)


def states(r: TokenResolver) -> list[str]:
    return [str(r.status(i)) for i in range(len(r))]


class TestResolver:
    def test_the_states_of_a_run(self) -> None:
        decisions = Decisions()
        r = resolver(decisions)
        assert states(r) == ["ready", "pending", "ready", "pending"]
        r.begin_waits()
        assert states(r) == ["ready", "pending", "waiting", "pending"]
        assert r.take() == 0
        r.done(0)
        assert states(r) == ["completed", "waiting", "waiting", "pending"]
        assert r.take() == -1
        assert r.unfinished == 3
        assert r.statistics() == ResolverStatistics(
            waiting=1, ready=0, taken=0, done=1, failed=0, skipped=0, cancelled=0, awaiting=2
        )
        r.resume(2)
        r.done(2)
        r.resume(1)
        r.done(1)
        assert r.take() == 3
        r.done(3)
        r.forget()
        assert states(r) == ["completed"] * 4
        assert decisions.told == [("waits", 2), ("waits", 1), ("ended", -1)]

    def test_one_that_fails(self) -> None:
        r = resolver(Decisions())
        r.begin_waits()
        r.resume(2)
        assert r.failed(2) == [3]
        assert states(r) == ["ready", "pending", "failed", "skipped"]

    def test_only_one_that_waits_goes_on(self) -> None:
        r = resolver(Decisions())
        with pytest.raises(flow.UsageError, match="node 1 cannot go on: it is pending, not waiting"):
            r.resume(1)

    @pytest.mark.parametrize("taken", [False, True])
    def test_cancelled_with_the_rest(self, taken: bool) -> None:
        r = resolver(Decisions())
        r.begin_waits()
        assert r.take() == 0
        r.cancel_rest(taken=taken)
        assert states(r) == ["cancelled" if taken else "running", "cancelled", "cancelled", "cancelled"]

    def test_one_that_must_fail_is_handed_out(self) -> None:
        decisions = Decisions()
        decisions.refuses = {2}
        r = resolver(decisions)
        r.begin_waits()
        assert states(r)[2] == "ready"
        assert [r.take(), r.take()] == [0, 2]

    def test_none_begins_once_the_run_is_halted(self) -> None:
        decisions = Decisions()
        r = resolver(decisions)
        r.halt()
        r.begin_waits()
        assert decisions.told == []
