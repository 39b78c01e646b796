"""Cases run under pytest-benchmark, each round beside a calibration loop.

pytest-benchmark times the rounds. What stands between them is ours: before each, untimed by it, a
sample of the *calibration loop* is taken (hand-written counters over 100 no-op nodes, the work of a workflow
engine without one), so that each round has its own measure of how fast the machine was just then; after each,
the result is checked, and a case that did not do its work ends the suite.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from time import perf_counter, process_time
from typing import Any

import flow
from flow_bench.case import UNITS, Case
from flow_bench.checks import Refused
from flow_bench.contenders import counter_loop
from flow_bench.measure import Measured, Row, percentile, ratios
from flow_bench.work import Work

CALIBRATION_NODES = 100
EACH = 10
"""Calls per round, one after the other, of cases whose every call is a sample."""


@dataclass(frozen=True)
class Effort:
    """How much to measure: rounds per row, and the least seconds of one sample."""

    rounds: int = 40
    sample: float = 0.002
    each_rounds: int = 2_000
    """Calls of cases whose every call is a sample; :data:`EACH` of them are one round."""


QUICK = Effort(rounds=9, sample=0.0005, each_rounds=300)


def measure(suite: str, cases: Sequence[Case], effort: Effort) -> list[Row]:
    """Run every case under pytest-benchmark; return their rows, in order.

    :raises Refused: by the first case that did not do its work.
    """
    session = Session(suite, [case for case in cases if not case.missing], effort)
    if session.cases:
        _run(session)
    rows = iter(session.rows)
    return [_absent(suite, case) if case.missing else next(rows) for case in cases]


def _absent(suite: str, case: Case) -> Row:
    note = f"n/a: {case.missing}"
    return Row(case.section, case.label, case.unit, nodes=case.size, topology=case.series, note=note, suite=suite)


def _run(session: Session) -> None:
    import pytest

    here = Path(__file__).parent
    arguments = [
        str(here / "bench_case.py"), "-c", os.devnull, "--rootdir", str(here), "-q", "--no-header", "--exitfirst",
        "-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider", "-o", "python_files=bench_*.py",
        "-o", "python_functions=bench_*", "--benchmark-disable-gc", "--benchmark-warmup=off", "--benchmark-quiet",
    ]  # fmt: skip
    printed = io.StringIO()
    was_on = gc.isenabled()
    try:
        with redirect_stdout(printed), _no_other_plugins():
            code = pytest.main(arguments, plugins=[session])
    finally:
        session.close()
        if was_on:
            gc.enable()
    if session.refused is not None:
        raise session.refused
    if code != 0 or len(session.rows) != len(session.cases):
        done = f"{len(session.rows)} of {len(session.cases)} rows"
        raise RuntimeError(f"pytest-benchmark ended with {code!r} after {done}:\n{printed.getvalue()}")


@contextmanager
def _no_other_plugins() -> Iterator[None]:
    """Let pytest load none that happens to be installed: importing them takes longer than many a row."""
    name = "PYTEST_DISABLE_PLUGIN_AUTOLOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


class Session:
    """The plugin that gives pytest the cases and takes their rounds."""

    def __init__(self, suite: str, cases: Sequence[Case], effort: Effort) -> None:
        self.suite = suite
        self.cases = cases
        self.effort = effort
        self.rows: list[Row] = []
        self.refused: Refused | None = None
        self._runner: asyncio.Runner | None = None
        self._calibration = counter_loop(Work.of(flow.topologies.sparse_random(CALIBRATION_NODES, seed=1)))

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of every case."""
        metafunc.parametrize("case", self.cases, ids=[f"{c.section}-{c.label}-{c.size}-{c.series}" for c in self.cases])
        metafunc.parametrize("session", [self], ids=[self.suite])

    def run(self, case: Case, benchmark: Any) -> None:
        """Measure one case and keep its row."""
        gc.collect()
        gc.freeze()  # what pytest and the suite hold need not be looked at again between rounds
        try:
            self.rows.append(self._row(case, benchmark))
        except Refused as error:
            self.refused = error
            raise

    def close(self) -> None:
        """Close the event loop of async cases, and show the collector again what was kept from it."""
        gc.unfreeze()
        if self._runner is not None:
            self._runner.close()

    def _row(self, case: Case, benchmark: Any) -> Row:
        shared = None if case.fresh else case.make()
        repeat = self._repeat(case, shared)
        calibration: list[Measured] = []
        cpu: list[float] = []
        last: list[Any] = []
        calls: list[float] = []  # seconds of every single one, if each is a sample

        def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
            last.clear()
            operations = [case.make() for _ in range(repeat)] if shared is None else [shared] * repeat
            if not case.each:
                gc.collect()
            if not case.waits:
                calibration.append(self._calibrate())
            return (operations,), {}

        def teardown(operations: Any) -> None:
            for raw in last[0]:
                case.refuse_unless_done(raw)

        def sample(operations: Sequence[Callable[[], Any]]) -> None:
            raw, used = self._call(case, operations, calls if case.each else None)
            last.append(raw)
            cpu.append(used)

        rounds = case.rounds or (-(-self.effort.each_rounds // EACH) if case.each else self.effort.rounds)
        benchmark.pedantic(sample, setup=setup, teardown=teardown, rounds=rounds)
        took = [sum(calls[k : k + repeat]) for k in range(0, len(calls), repeat)] or benchmark.stats.stats.data
        seconds = [Measured(one / repeat, used / repeat) for one, used in zip(took, cpu, strict=True)]
        scale = UNITS[case.unit] / case.per
        figures = dict(case.figures)
        row = Row(
            case.section, case.label, case.unit, [s * scale for s in calls or seconds],
            ratios=ratios(seconds, calibration) if calibration else [],
            nodes=case.size, topology=case.series, target=case.target, note=case.note, suite=self.suite,
            each=case.each, figures=figures,
        )  # fmt: skip
        if calls:
            figures["mean"] = fmean(row.samples)
            figures |= {f"p{percent}": percentile(row.samples, percent) for percent in (50, 95, 99)}
        if case.ideal is not None and row.figure:
            figures["efficiency"] = case.ideal * scale / row.figure
        return row

    def _repeat(self, case: Case, shared: Callable[[], Any] | None) -> int:
        """Calls per sample: as many as make it long against the clock; the first two are for warming up."""
        took = 0.0
        for _ in range(2):
            operation = case.make() if shared is None else shared
            began = perf_counter()
            raw, _ = self._call(case, [operation])
            took = perf_counter() - began
            case.refuse_unless_done(raw[0])
        if case.each:
            return EACH
        if took >= self.effort.sample:
            return 1
        return min(10_000, int(self.effort.sample / max(took, 1e-7)) + 1)

    def _call(
        self, case: Case, operations: Sequence[Callable[[], Any]], calls: list[float] | None = None
    ) -> tuple[list[Any], float]:
        """Call all, one after the other; append to ``calls``, if given, how long each took.

        :return: what they returned, and the CPU seconds they took, without the event loop's starting and stopping.
        """
        if case.is_async:
            if self._runner is None:
                self._runner = asyncio.Runner()
            return self._runner.run(_await_all(operations, calls))
        began = process_time()
        raw = [operation() for operation in operations] if calls is None else _timed(operations, calls)
        return raw, process_time() - began

    def _calibrate(self) -> Measured:
        """Seconds of the calibration loop: the lesser of two, since it is short."""
        took, cpu = [], []
        for _ in range(2):
            used, began = process_time(), perf_counter()
            self._calibration()
            took.append(perf_counter() - began)
            cpu.append(process_time() - used)
        return Measured(min(took), min(cpu))


def _timed(operations: Sequence[Callable[[], Any]], calls: list[float]) -> list[Any]:
    raw = []
    for operation in operations:
        began = perf_counter()
        made = operation()
        calls.append(perf_counter() - began)
        raw.append(made)
    return raw


async def _await_all(operations: Sequence[Callable[[], Any]], calls: list[float] | None) -> tuple[list[Any], float]:
    began = process_time()
    raw = [await operation() for operation in operations] if calls is None else await _await_timed(operations, calls)
    return raw, process_time() - began


async def _await_timed(operations: Sequence[Callable[[], Any]], calls: list[float]) -> list[Any]:
    raw = []
    for operation in operations:
        began = perf_counter()
        made = await operation()
        calls.append(perf_counter() - began)
        raw.append(made)
    return raw
