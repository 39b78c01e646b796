"""What tuning accepts and how it judges: arguments, runs that take too long, noise that must not win."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

import flow
from flow.testing import FakeClock
from flow.tuning.search import gain


@pytest.fixture(autouse=True)
def collects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.tuning.measure.gc", SimpleNamespace(collect=lambda *_: 0))


def one_node(fn: Callable[..., Any]) -> flow.Dag:
    dag = flow.Dag("one")
    dag.add("node", fn)
    return dag


def report_of(config: flow.Config) -> flow.tuning.TuneReport:
    clock = FakeClock()
    dag = one_node(lambda: clock.sleep(0.1))
    return flow.tune(dag, config=config, candidates=[config], budget=2, timer=clock.now)


class TestArguments:
    @pytest.mark.parametrize("candidates", [flow.Config(limit=3), 5, [], [3], {"limit": 3}])
    def test_candidates_are_a_list_of_configs(self, candidates: Any) -> None:
        with pytest.raises(flow.errors.ConfigError, match="candidates must be a list of flow.Configs"):
            flow.tune(one_node(lambda: 1), candidates=candidates)

    def test_inputs_that_the_first_run_uses_up(self) -> None:
        def rows() -> Iterator[int]:
            yield 1

        with pytest.raises(flow.errors.ConfigError, match="input 'rows' is used up by the first of many runs"):
            flow.tune(one_node(lambda rows: sum(rows)), {"rows": rows()})

    def test_functions_that_make_no_inputs(self) -> None:
        async def later() -> dict[str, Any]:
            return {}

        for make in (lambda day: {"rows": day}, later):
            with pytest.raises(
                flow.errors.ConfigError, match="inputs must be a mapping, or a plain function without arg"
            ):
                flow.tune(one_node(lambda rows: rows), make)  # type: ignore[arg-type]

    def test_the_default_as_the_only_candidate(self) -> None:
        assert report_of(flow.Config()).notes == ("there is nothing to try: the default is the only candidate",)

    def test_one_node_is_not_1_nodes(self) -> None:
        assert " runs of 1 node in " in str(report_of(flow.Config()))


class TestMeasuring:
    def test_a_run_that_is_far_too_long_is_not_repeated(self) -> None:
        clock, calls = FakeClock(), []
        with pytest.raises(flow.UsageError, match="takes 9.00 s, more than an eighth of the budget of 15.00 s"):
            flow.tune(one_node(lambda: calls.append(1) or clock.sleep(9.0)), budget=15, timer=clock.now)
        assert len(calls) == 1

    def test_outputs_that_change_with_time_are_no_candidates_fault(self) -> None:
        """The time in seconds is the same in two runs that follow one another, and not later."""
        clock, faster = FakeClock(), flow.Config(executor="thread")

        def node() -> int:
            import threading

            clock.time += 0.1 if threading.current_thread() is threading.main_thread() else 0.04
            return int(clock.time + 0.79)  # 0 in the first two runs

        report = flow.tune(one_node(node), candidates=[faster], budget=8, timer=clock.now)
        assert report.best == faster, report

    def test_nodes_that_wait_for_one_another_do_not_hang_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flow.tuning.search.PATIENT", 0.05)
        dag = flow.Dag("meet")
        queues: list[asyncio.Queue[int]] = []

        async def begin() -> None:
            queues[:] = [asyncio.Queue()]

        async def take() -> int:
            return await queues[0].get()

        async def give() -> None:
            await queues[0].put(1)

        first = dag.add("begin", begin)
        dag.add("take", take, after=[first])
        dag.add("give", give, after=[first])
        report = flow.tune(dag, candidates=[flow.Config(limit=1)], budget=5)
        one = next(t for t in report.trials if t.settings == {"limit": 1})
        assert one.note.startswith("not usable: one run had not ended after ")

    def test_equal_peaks_are_shown_as_equal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The default is the first to run after a full collection, which empties CPython's free lists."""
        monkeypatch.undo()  # collections are what this is about
        dag = flow.Dag("wide")

        async def node(*_: Any) -> list[list[int]]:
            return [[1] for _ in range(60)]

        for i in range(10):
            dag.add(f"n{i}", node)
        tried = [flow.Config(limit=n) for n in (100, 200, 300)]
        report = flow.tune(dag, objective="memory", candidates=tried, budget=5)
        assert report.is_default
        assert [t.gain for t in report.trials] == [pytest.approx(1.0, abs=0.05)] * 4, report

    def test_a_cold_first_run_is_not_what_a_config_is_judged_by(self) -> None:
        """Its imports and threads take long once."""
        clock, warm = FakeClock(), []

        def node() -> None:
            import threading

            if threading.current_thread() is threading.main_thread():
                clock.time += 0.01
            else:
                clock.time += 0.005 if warm else 0.3
                warm.append(1)

        report = flow.tune(one_node(node), candidates=[flow.Config(executor="thread")], budget=4, timer=clock.now)
        assert report.best.executor == "thread" and report.gain.times == pytest.approx(2.0)


@pytest.mark.slow
class TestNoise:
    @pytest.mark.parametrize("rounds", [3, 4, 6, 9])
    @pytest.mark.parametrize("spread", [0.3, 1.0])
    def test_noise_alone_hardly_ever_wins(self, rounds: int, spread: float) -> None:
        drawn = random.Random(rounds)

        def ratio() -> float:
            return drawn.lognormvariate(0, spread) / drawn.lognormvariate(0, spread)

        tries = 200  # with seeds of their own: no luck is left
        assert sum(gain([ratio() for _ in range(rounds)]).sure for _ in range(tries)) <= 0.02 * tries

    def test_a_clear_gain_of_few_rounds_still_counts(self) -> None:
        assert gain([2.1, 2.4, 3.0, 2.2]).sure and gain([1.15, 1.2, 1.12, 1.2]).sure
        assert not gain([1.2, 2.4, 3.0, 2.2]).sure

    def test_ties_are_the_default(self) -> None:
        clock, drawn = FakeClock(), random.Random(2)
        found = []
        for _ in range(10):
            dag = one_node(lambda: clock.sleep(drawn.lognormvariate(-2, 0.5)))
            tried = [flow.Config(timing=True), flow.Config(optimize=False), flow.Config(order="critical_path")]
            found.append(flow.tune(dag, candidates=tried, budget=random.Random(1).choice([5, 20]), timer=clock.now))
        assert all(report.is_default for report in found)


def test_a_thread_may_tune() -> None:
    dag = flow.topologies.linear(3)

    async def beside_a_loop() -> flow.tuning.TuneReport:
        return await asyncio.to_thread(flow.tune, dag, candidates=[flow.Config()], budget=5)

    assert asyncio.run(beside_a_loop()).nodes == 3

