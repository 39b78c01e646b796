"""Nodes that wait for a time, or for a signal with a time limit, in runs that nothing is sent to; on every loop."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import anyio
import pytest

import flow
from flow.plan import StatusTracker
from flow.run import events
from flow.run.hooks import NodeOutcome
from flow.testing import FakeClock

MODES: Mapping[str, dict[str, Any]] = {
    "asyncio": {},
    "bounded": {"limit": 1},
    "workers": {"mode": "workers", "limit": 2},
    "threads": {"executor": "thread"},
    "trio": {"backend": "trio"},
    "bounded trio": {"backend": "trio", "limit": 1},
    "uvloop": {"backend": "uvloop"},
    "collect": {"on_error": "collect"},
    "critical": {"order": "critical_path"},
}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(MODES[request.param])


def run(dag: flow.Dag, mode: Mapping[str, Any], **settings: Any) -> flow.Result:
    """Run it; a run that failed gives its Result as well."""
    try:
        return flow.run(dag, config=flow.Config(**mode, **settings))
    except flow.RunError as error:
        return error.result


def statuses(result: flow.Result) -> dict[str, str]:
    return {name: str(status) for name, status in result.status.items()}


class TestTimers:
    def test_one_after_the_other(self, mode: dict[str, Any]) -> None:
        clock = FakeClock()
        dag = flow.Dag("d")
        dag.timer("first", seconds=5)
        dag.timer("second", seconds=2.5, after="first")
        dag.add("now", lambda: clock.now(), after="second")
        result = run(dag, mode, clock=clock)
        assert result["now"] == 7.5
        assert result["first"] is None
        assert result.ok
        assert result.why("first") == "node 'first' completed when its time had come"

    def test_side_by_side_whatever_the_limit(self, mode: dict[str, Any]) -> None:
        clock = FakeClock()
        dag = flow.Dag("d")
        for k in range(20):
            dag.timer(f"t{k}", seconds=1 + k % 3)
        dag.add("now", lambda: clock.now(), after=[f"t{k}" for k in range(20)])
        assert run(dag, mode, clock=clock)["now"] == 3

    def test_a_time_begins_although_no_slot_is_free(self, mode: dict[str, Any]) -> None:
        clock = FakeClock()
        dag = flow.Dag("d")

        @dag.node
        async def works() -> float:
            await clock.wait(10)
            return clock.now()

        dag.timer("beside", seconds=4)
        dag.timer("behind", seconds=4, after="beside")
        result = run(dag, mode, clock=clock, timing=True)
        assert result.spans() == {"works": (0, 10), "beside": (0, 4), "behind": (4, 8)}

    def test_a_date(self, mode: dict[str, Any]) -> None:
        start = datetime(2030, 1, 1, 12, tzinfo=UTC)
        clock = FakeClock(start=100.0, epoch=start.timestamp() - 100.0)
        dag = flow.Dag("d")
        dag.timer("soon", at=(start + timedelta(minutes=2)).astimezone(timezone(timedelta(hours=5))))
        dag.timer("past", at=start - timedelta(days=1))
        dag.add("now", lambda: clock.now(), after=["soon", "past"])
        assert run(dag, mode, clock=clock)["now"] == pytest.approx(220)

    def test_a_date_that_is_put_off(self) -> None:
        """The machine's date is set back while the run waits: the timer waits for its date again."""

        class Shifted(FakeClock):
            @property
            def epoch(self) -> float:
                return 0.0 if self.time < 10 else -5.0

            @epoch.setter
            def epoch(self, value: float) -> None: ...

        clock = Shifted()
        dag = flow.Dag("d")
        dag.timer("soon", at=datetime.fromtimestamp(10, UTC))
        dag.add("now", lambda: clock.now(), after="soon")
        assert flow.run(dag, config=flow.Config(clock=clock))["now"] == 15

    def test_the_real_clock(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.timer("soon", seconds=0.01)
        dag.timer("at_once", seconds=0)
        dag.timer("dated", at=datetime.now(UTC) + timedelta(seconds=0.01))
        assert run(dag, mode).ok

    def test_far_away_times_are_cancelled_with_the_run(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.timer("far", seconds=1e9)
        dag.timer("soon", seconds=0.001)
        dag.add("bad", lambda: 1 / 0, after="soon")
        mode.pop("on_error", None)
        assert statuses(run(dag, mode)) == {"far": "cancelled", "soon": "completed", "bad": "failed"}

    def test_routing_leads_to_it_or_not(self, mode: dict[str, Any]) -> None:
        clock = FakeClock()
        dag = flow.Dag("d")
        dag.route("choose", lambda: "short", to={"short": "short", "long": "long"})
        dag.timer("short", seconds=1)
        dag.timer("long", seconds=100)
        dag.merge("outcome", of=["short", "long"])
        dag.timer("asked", seconds=50, when=lambda choose: choose == ("long",))
        dag.timer("any", seconds=1, join="some", after=["long", "short"])
        assert statuses(run(dag, mode, clock=clock)) == {
            "choose": "completed", "short": "completed", "long": "bypassed", "outcome": "completed",
            "asked": "bypassed", "any": "completed",
        }  # fmt: skip
        assert clock.now() == 2

    def test_a_condition_that_raises_fails_it(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("first", lambda: 1)
        for name, after in (("early", ()), ("late", "first")):
            dag.timer(name, seconds=100, when=lambda: 1 / 0, after=after)
            dag.add(f"{name}_handler", lambda: 1, after={name: "failed"})
        result = run(dag, mode, clock=FakeClock())
        assert isinstance(result.errors["early"], ZeroDivisionError)
        assert statuses(result) == {
            "first": "completed", "early": "failed", "early_handler": "completed", "late": "failed",
            "late_handler": "completed",
        }  # fmt: skip

    def test_a_long_chain_of_conditions_that_say_no(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.add("n0", lambda: 1)
        for k in range(1, 3_000):
            dag.timer(f"n{k}", seconds=9, after=f"n{k - 1}", join="none_failed", when=lambda: False)
        result = run(dag, mode, clock=FakeClock())
        assert result.counts == {flow.Status.COMPLETED: 1, flow.Status.BYPASSED: 2_999}


class TestTimeouts:
    def test_it_fails(self, mode: dict[str, Any]) -> None:
        clock = FakeClock()
        dag = flow.Dag("d")
        dag.signal("ask", timeout=30)
        dag.add("next", lambda ask: ask)
        result = run(dag, mode, clock=clock)
        error = result.errors["ask"]
        assert isinstance(error, flow.NodeTimeout)
        assert str(error) == "node 'ask' got no signal within its limit of 30 s"
        assert error.__notes__[0].startswith("in node 'ask' (")
        assert "test_waiting.py:" in error.__notes__[0]
        assert statuses(result) == {"ask": "failed", "next": "skipped"}
        assert clock.now() == 30

    def test_a_fallback_stands_in(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.signal("ask", timeout=30, fallback=lambda error: type(error).__name__)
        dag.add("next", lambda ask: ask)
        result = run(dag, mode, clock=FakeClock())
        assert result["next"] == "NodeTimeout"
        assert result.ok
        assert result.why("ask").startswith("node 'ask' completed by its fallback, after NodeTimeout")

    def test_a_tolerated_failure(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.signal("ask", timeout=30, continue_on_error=True)
        dag.add("next", lambda ask="nobody": ask)
        result = run(dag, mode, clock=FakeClock())
        assert result["next"] == "nobody"
        assert result.ok

    def test_a_handler(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.signal("ask", timeout=30)
        dag.add("remind", lambda: "reminded", after={"ask": "failed"})
        dag.timer("wait", seconds=5, after="remind")
        result = run(dag, mode, clock=FakeClock())
        assert result["remind"] == "reminded"
        assert result.ok

    def test_the_limit_of_the_run_is_enough(self, mode: dict[str, Any]) -> None:
        dag = flow.Dag("d")
        dag.signal("ask")
        result = run(dag, mode, timeout=0.01)
        assert result.timed_out
        assert statuses(result) == {"ask": "cancelled"}


class TestRefused:
    def nested(self) -> flow.Dag:
        inner = flow.Dag("inner")
        inner.signal("ask")
        inner.timer("pause", seconds=1)
        dag = flow.Dag("outer")
        dag.add("box", inner)
        body = flow.Dag("body")
        body.signal("each")
        body.add("out", lambda item: item)
        dag.map("items", body, over="names")
        return dag

    def test_a_run_that_would_wait_for_ever(self, mode: dict[str, Any]) -> None:
        with pytest.raises(flow.UsageError) as caught:
            flow.run(self.nested(), {"names": []}, config=flow.Config(**mode))
        assert str(caught.value) == (
            "dag 'outer' would wait for ever, as nothing can be sent to this run: 'box.ask', 'items#N.each'. "
            "Run it by 'async with flow.start(...) as run', or give the signal a timeout=..."
        )

    def test_without_an_event_loop(self) -> None:
        with pytest.raises(flow.UsageError) as caught:
            flow.run(self.nested(), {"names": []}, config=flow.Config(mode="inline"))
        assert str(caught.value) == (
            "dag 'outer' cannot run under mode='inline', where nothing else goes on while a node waits: "
            "'box.ask', 'box.pause', 'items#N.each'"
        )

    def test_nothing_has_run(self) -> None:
        called: list[int] = []
        dag = self.nested()
        dag.add("first", lambda: called.append(1))
        for config in (flow.Config(), flow.Config(mode="inline")):
            with pytest.raises(flow.UsageError):
                flow.run(dag, {"names": []}, config=config)
        assert called == []

    def test_a_limit_around_it_is_enough(self) -> None:
        inner = flow.Dag("inner")
        inner.signal("ask")
        inner.add("out", lambda item="x": item)
        dag = flow.Dag("outer")
        dag.add("box", inner, timeout=0.01, fallback=None)
        dag.map("items", inner, over="names", timeout=0.01, fallback=1)
        assert flow.run(dag, {"names": [1, 2]})["items"] == [1, 1]

    def test_a_part_without_it_runs_without_an_event_loop(self) -> None:
        dag = flow.Dag("d")
        dag.add("first", lambda: 1)
        dag.signal("ask", after="first")
        dag.add("last", lambda ask, first: (ask, first))
        config = flow.Config(mode="inline")
        assert flow.run(dag, targets=["first"], config=config)["first"] == 1
        assert flow.run(dag, known={"ask": 5}, config=config)["last"] == (5, 1)
        earlier = flow.run(dag, known={"ask": 5})
        assert flow.run(dag, known=earlier)["last"] == (5, 1)


class TestNested:
    def test_timers_within(self, mode: dict[str, Any]) -> None:
        clock = FakeClock()
        inner = flow.Dag("inner")
        inner.timer("pause", seconds=3)
        inner.add("now", lambda item=0: clock.now(), after="pause")
        dag = flow.Dag("outer")
        dag.add("box", inner)
        dag.map("items", inner, over="names", after="box")
        result = flow.run(dag, {"names": [1, 2, 3]}, config=flow.Config(**mode, clock=clock))
        assert result["box"]["now"] == 3
        times = [item["now"] for item in result["items"]]
        assert times in ([6, 6, 6], [6, 9, 12], [6, 6, 9]), "an item keeps its slot while a node within it waits"

    def test_included(self, mode: dict[str, Any]) -> None:
        clock = FakeClock()

        async def around(call: Any, ctx: flow.Context) -> Any:
            return await call()

        inner = flow.Dag("inner", middleware=[around])
        inner.timer("pause", seconds=3, after={"first": "done"})
        inner.add("first", lambda: 1)
        dag = flow.Dag("outer")
        dag.include(inner, prefix="in")
        dag.add("now", lambda: clock.now(), after="in.pause")
        assert run(dag, mode, clock=clock)["now"] == 3

    def test_a_part_of_the_dag(self) -> None:
        dag = flow.Dag("d")
        dag.timer("pause", seconds=3)
        dag.add("a", lambda: 1, after="pause")
        dag.add("b", lambda: 1)
        assert flow.run(dag.subgraph("a"), config=flow.Config(clock=FakeClock())).ok
        assert flow.run(dag.compile().subgraph("a"), config=flow.Config(clock=FakeClock())).ok


class TestWatched:
    def dag(self) -> flow.Dag:
        dag = flow.Dag("d")
        dag.add("first", lambda: 1, executor="inline")  # a FakeClock does not wait for threads
        dag.timer("pause", seconds=3, after="first")
        dag.signal("ask", timeout=5, fallback=0, after="first")
        dag.signal("late", timeout=7, continue_on_error=True)
        return dag

    def test_events(self, mode: dict[str, Any]) -> None:
        seen: list[Any] = []
        run(self.dag(), mode, clock=FakeClock(), observers=[seen.append])
        told = [(type(e).__name__, e.at) for e in seen if getattr(e, "node", "") in ("pause", "ask", "late")]
        assert sorted(told[:3]) == [("NodeWaiting", 0.0)] * 3
        assert told[3:] == [
            ("NodeFinished", 3.0), ("NodeFallback", 5.0), ("NodeFinished", 5.0), ("NodeFailed", 7.0),
        ]  # fmt: skip
        durations = {e.node: e.duration for e in seen if isinstance(e, events.NodeFinished) and e.node != "first"}
        assert durations == {"pause": 3.0, "ask": 5.0}

    def test_a_cancelled_one(self, mode: dict[str, Any]) -> None:
        seen: list[Any] = []
        dag = flow.Dag("d")
        dag.signal("ask")
        result = run(dag, mode, timeout=0.01, observers=[seen.append])
        kinds = [type(e).__name__ for e in seen]
        assert kinds == ["RunStarted", "NodeWaiting", "NodeCancelled", "RunFinished"]
        assert "ask" in result.spans()

    def test_times(self, mode: dict[str, Any]) -> None:
        result = run(self.dag(), mode, clock=FakeClock(), timing=True)
        assert {name: end - start for name, (start, end) in result.spans().items() if name != "first"} == {
            "pause": 3.0, "ask": 5.0, "late": 7.0,
        }  # fmt: skip
        assert "waited" in result.timeline("svg")
        assert result.timeline()

    def test_a_tracker_and_the_display(self, mode: dict[str, Any]) -> None:
        dag = self.dag()
        tracker, changes = StatusTracker(dag.compile(), timestamps=True), list[tuple[str, str]]()
        tracker.subscribe(lambda change: changes.append((change.node, str(change.new))))
        progress = flow.observe.Progress()
        most: list[int] = []
        watch = (flow.observe.tracking(tracker), progress, lambda event: most.append(progress.statistics().waiting))
        run(dag, mode, clock=FakeClock(), observers=watch)
        assert [new for node, new in changes if node == "pause"] == ["ready", "waiting", "completed"]
        assert [new for node, new in changes if node == "late"] == ["ready", "waiting", "failed"]
        statistics = progress.statistics()
        assert (max(most), statistics.waiting, statistics.running) == (3, 0, 0)
        assert (statistics.completed, statistics.failed) == (3, 1)

    def test_an_outcome_hook(self, mode: dict[str, Any]) -> None:
        told: list[NodeOutcome] = []
        run(self.dag(), mode, clock=FakeClock(), on_outcome=lambda: told.append)
        assert [(one.node, str(one.status), one.output) for one in told if one.node != "first"] == [
            ("pause", "completed", None), ("ask", "completed", 0), ("late", "failed", None),
        ]  # fmt: skip
        assert isinstance(told[-1].error, flow.NodeTimeout)

    def test_an_async_hook_is_awaited_before_a_dependant_begins(self, mode: dict[str, Any]) -> None:
        told: list[str] = []

        async def hook(outcome: NodeOutcome) -> None:
            await anyio.sleep(0)
            told.append(outcome.node)

        dag = self.dag()
        dag.add("next", lambda pause: list(told))
        dag.timer("after", seconds=1, after="next")
        result = run(dag, mode, clock=FakeClock(), on_outcome=lambda: hook)
        assert "pause" in result["next"]
        assert "after" in told

    @pytest.mark.parametrize("name", ["pause", "ask", "late"])
    def test_a_hook_that_raises_ends_the_run(self, mode: dict[str, Any], name: str) -> None:
        def hook(outcome: NodeOutcome) -> None:
            if outcome.node == name:
                raise LookupError("from the hook")

        with pytest.raises(LookupError, match="from the hook"):
            flow.run(self.dag(), config=flow.Config(**mode, clock=FakeClock(), on_outcome=lambda: hook))

    def test_an_exit_within_a_condition_ends_the_run(self, mode: dict[str, Any]) -> None:
        def leave() -> bool:
            raise SystemExit(3)

        dag = flow.Dag("d")
        dag.timer("pause", seconds=1)
        dag.add("next", lambda: 1, after="pause", when=leave)
        with pytest.raises(SystemExit):
            flow.run(dag, config=flow.Config(**mode, clock=FakeClock()))

    def test_freed_outputs_and_plain_data(self, mode: dict[str, Any]) -> None:
        dag = self.dag()
        dag.add("end", lambda ask: ask)
        result = run(dag, mode, clock=FakeClock(), keep=["end"])
        assert list(result) == ["end"]
        plain = result.to_dict()
        assert plain["nodes"]["late"]["status"] == "failed"
        assert plain["counts"] == {"completed": 4, "failed": 1}


def test_statuses_while_it_runs() -> None:
    seen: list[dict[str, str]] = []
    clock = FakeClock()
    dag = flow.Dag("d")
    dag.timer("pause", seconds=2)

    @dag.node
    async def look(ctx: flow.Context) -> None:
        await clock.wait(1)
        seen.append({name: str(status) for name, status in ctx.data.statuses.items()})

    flow.run(dag, config=flow.Config(clock=clock))
    assert seen == [{"pause": "waiting", "look": "running"}]


def test_pictures_say_what_it_is() -> None:
    dag = flow.Dag("d")
    dag.signal("ask", type=int)
    dag.timer("pause", seconds=1)
    plan = dag.compile()
    assert "signal" in flow.render.to_svg(plan)
    assert "timer" in plan._repr_html_()


def test_types_are_compared() -> None:
    dag = flow.Dag("d")
    dag.signal("ask", type=int)
    dag.timer("pause", seconds=1)

    def takes(ask: str, pause: int) -> None: ...

    dag.add("takes", takes)
    with pytest.warns(flow.DefinitionWarning) as caught:
        dag.compile(check_types=True)
    assert len(caught) == 2


def test_a_plan_without_it_has_none() -> None:
    plan = flow.topologies.linear(3).compile()
    assert not plan._nodes.waits
    assert plan._nodes.routes is None
