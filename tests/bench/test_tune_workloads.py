"""What tuning must find: a config at least 1.3 times as good as the default on four workloads, and none on a chain.

The backend's latency passes in virtual time, memory and blocking are counted; the other two are timed, by what this
process alone takes of the CPU.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import VirtualLoop

import flow
from flow.testing import FakeClock
from flow_bench.harness.contender import Refused
from flow_bench.suites.engine import tune as bench

pytestmark = pytest.mark.long  # some of it is timed, so a quiet machine says more

AT_LEAST = 1.3


class LoopsClock(FakeClock):
    """One time for all loops, each of which goes on from where the one before ended; no loop ever waits."""

    def now(self) -> float:
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return self.time


@pytest.fixture
def virtual_time(monkeypatch: pytest.MonkeyPatch) -> LoopsClock:
    clock = LoopsClock()

    class Loop(VirtualLoop):
        def __init__(self) -> None:
            super().__init__()
            self.jumping.time = clock.time

        def close(self) -> None:
            clock.time = self.jumping.time
            super().close()

    monkeypatch.setattr(asyncio.events, "new_event_loop", Loop)
    return clock


class BusiestThread:
    """Seconds slept by the busiest thread of each run: what blocking costs, whatever else the machine does."""

    def __init__(self) -> None:
        self.time = 0.0
        self.slept: Counter[int] = Counter()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / 10)  # so that others get a turn
        self.slept[threading.get_ident()] += seconds  # type: ignore[assignment]

    def now(self) -> float:
        self.time += max(self.slept.values(), default=0.0)
        self.slept.clear()
        return self.time


@pytest.fixture(autouse=True)
def collects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection takes long beside the tests of a whole suite, and on a fake clock no time at all."""
    monkeypatch.setattr("flow.tuning.measure.gc", SimpleNamespace(collect=lambda *_: 0))


def done(name: str, report: flow.tuning.TuneReport) -> flow.tuning.TuneReport:
    """Whatever was found, it does all of the work."""
    workload = bench.WORKLOADS[name]
    assert flow.run(workload.make(), config=report.best)["total"] == workload.total
    return report


@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("objective", ["throughput", "latency"])
def test_a_backend_that_degrades(virtual_time: LoopsClock, objective: Any) -> None:
    config = flow.Config(clock=virtual_time)  # for limit="auto", which goes by it
    report = flow.tune(bench.backend(), objective=objective, budget=3, config=config, timer=virtual_time.now)
    gains = {repr(t.settings.get("limit")): t.gain for t in report.trials if t.settings.keys() == {"limit"}}
    assert report.gain.low >= AT_LEAST
    assert report.best.limit is not None
    assert max(gains, key=lambda limit: gains[limit] or 0) in ("24", "32", "48", "64", "'auto'")
    assert [reason.setting for reason in report.why] == ["limit"]
    assert done("backend", report).seconds <= 3.5


def test_blocking_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    busiest = BusiestThread()
    monkeypatch.setattr(bench, "time", busiest)
    monkeypatch.setattr("flow.tuning.measure.BATCH", 0)  # one run a sample: nothing is timed
    report = done("blocking", flow.tune(bench.blocking(), budget=1.2, timer=busiest.now))
    assert report.best.executor == "thread" and report.gain.times >= AT_LEAST
    assert "executor" in [reason.setting for reason in report.why]


def test_much_memory() -> None:
    report = done("memory", flow.tune(bench.memory(), objective="memory", budget=10))
    assert report.best.keep == "targets" and report.gain.low >= 10


def test_light_work_on_shared_data() -> None:
    stores = [flow.Config(data=flow.DataConfig.preset(name)) for name in ("read_optimized", "metrics_disabled")]
    candidates = [flow.Config(executor="thread"), *stores]
    report = done("wide", flow.tune(bench.wide(), budget=1.5, candidates=candidates, timer=time.process_time))
    assert report.best.data is not None and report.best.data.metrics == "off"
    assert report.gain.times >= AT_LEAST


def test_a_plain_chain() -> None:
    for objective in ("throughput", "memory"):
        report = flow.tune(bench.chain(), objective=objective, budget=2, candidates=[  # type: ignore[arg-type]
            flow.Config(mode="tasks"), flow.Config(executor="thread"), flow.Config(order="critical_path", limit=2)
        ], timer=time.process_time)  # fmt: skip
        assert report.is_default, report


def test_a_workload_that_does_not_run_is_refused() -> None:
    broken = bench.Workload("broken", lambda: flow.topologies.linear(2), 5)
    with pytest.raises((Refused, flow.errors.MissingOutput)):
        bench.row(broken, 0.5)
    lazy = flow.Dag("lazy")
    lazy.add("total", lambda: 4)
    with pytest.raises(Refused, match="left 4, not 5"):
        bench.row(bench.Workload("lazy", lambda: lazy, 5), 0.5)


def test_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, "tune", partial(flow.tune, timer=time.process_time))
    row = bench.row(bench.WORKLOADS["memory"], 2.0)
    assert row.verdict == "PASS" and row.figure == pytest.approx(1 / row.figures["gain"])
    assert bench.row(bench.WORKLOADS["chain"], 0.5).note.startswith("default is as good; ")
    assert [len(table) for table in bench.run(bench.Effort(budget=0.5, sections=("chain",)))] == [1]
