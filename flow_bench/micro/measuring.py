"""Cases run under pytest-benchmark, each round beside a calibration loop.

pytest-benchmark times the rounds, and keeps, prints, compares and draws them as its own flags say. What stands between
the rounds is ours: before each, untimed by it, a sample of the *calibration loop* is taken (hand-written counters over
100 no-op nodes, the work of a workflow engine without one), so that each round has its own measure of how fast the
machine was just then; after each, the result is checked, and a case that did not do its work fails. What one operation
allocates is looked at in a further, untimed round.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import io
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from time import perf_counter, process_time
from typing import Any
from unittest.mock import patch

import pytest

import flow
from flow_bench.harness.allocations import WANTED, Allocated, allocated, allocated_on_loop
from flow_bench.harness.contender import Refused
from flow_bench.harness.logs import unwritten
from flow_bench.harness.loops import counter_loop
from flow_bench.harness.rows import UNITS, Measured, Row, of_calls, ratios
from flow_bench.harness.work import Work
from flow_bench.micro.case import CASES, Case, Measure

CALIBRATION_NODES = 100
NO_OTHER_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
"""Of those that happen to be installed: importing them takes longer than many a row."""
EACH = 10
"""Calls per round, one after the other, of cases whose every call is a sample."""


@dataclass(frozen=True)
class Effort:
    """How much to measure: rounds per row, and the least seconds of one sample."""

    rounds: int = 40
    sample: float = 0.002
    each_rounds: int = 2_000
    """Calls of cases whose every call is a sample; :data:`EACH` of them are one round."""
    quick: bool = False


QUICK = Effort(rounds=9, sample=0.0005, each_rounds=300, quick=True)


def measure(suite: str, effort: Effort, only: Sequence[str] = ()) -> Iterator[list[Row]]:
    """Run the tests of ``flow_bench/micro/test_SUITE.py``; yield their rows, table by table.

    :param only: these tables, by their titles or by their tests' names without ``test_``; all if empty.
    :raises Refused: by the first case that did not do its work.
    """
    rows = measure_file(Path(__file__).with_name(f"test_{suite}.py"), Bench(effort, only))
    for section in dict.fromkeys(row.section for row in rows):
        yield [row for row in rows if row.section == section]


def tables_of(suite: str, quick: bool) -> list[tuple[str, list[Case]]]:
    """Return a suite's tests by name, without ``test_``, and their cases."""
    module = importlib.import_module(f"flow_bench.micro.test_{suite}")
    tests = [(name.removeprefix("test_"), one) for name, one in vars(module).items() if name.startswith("test_")]
    return [(name, list(getattr(one, CASES)(quick))) for name, one in tests]


def measure_file(file: Path, bench: Bench) -> list[Row]:
    """Run the tests of one file; return their rows. :raises Refused: by the first case that did not do its work."""
    arguments = [
        str(file), "-c", str(Path(__file__).with_name("pytest.ini")), "-q", "--no-header", "--exitfirst",
        "-p", "pytest_benchmark.plugin", "-p", "no:cacheprovider", "--benchmark-quiet",
    ]  # fmt: skip
    printed = io.StringIO()
    was_on = gc.isenabled()
    try:
        with redirect_stdout(printed), patch.dict(os.environ, NO_OTHER_PLUGINS):
            code = pytest.main(arguments, plugins=[bench])
    finally:
        if was_on:
            gc.enable()
    if bench.refused is not None:
        raise bench.refused
    if code == pytest.ExitCode.INTERRUPTED:
        raise KeyboardInterrupt
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        raise RuntimeError(f"pytest-benchmark ended with {code!r} after {len(bench.rows)} rows:\n{printed.getvalue()}")
    return bench.rows


class Bench:
    """The plugin that gives the tests their cases, and measures them.

    :param suite: of the rows; by default what the tests' file is called.
    :ivar rows: of the cases measured so far, in order.
    :ivar refused: what ended the session, if a case did not do its work.
    """

    def __init__(self, effort: Effort, only: Sequence[str] = (), suite: str = "") -> None:
        self.suite = suite
        self.effort = effort
        self.only = only
        self.rows: list[Row] = []
        self.refused: Refused | None = None
        self._loop = asyncio.Runner()
        self._calibration = counter_loop(Work.of(flow.topologies.sparse_random(CALIBRATION_NODES, seed=1)))

    # -- pytest's hooks

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of every case."""
        make = getattr(metafunc.function, CASES, None)
        if make is not None:
            cases = self.wanted(metafunc.function.__name__.removeprefix("test_"), make(self.effort.quick))
            metafunc.parametrize("case", cases, ids=[case.name for case in cases])

    def pytest_collection_modifyitems(self, config: Any, items: list[Any]) -> None:
        """Leave out the tests of tables that have no case here: pytest would call them skipped."""
        empty = [item for item in items if not isinstance(item.callspec.params.get("case"), Case)]
        config.hook.pytest_deselected(items=empty)
        items[:] = [item for item in items if item not in empty]

    def pytest_unconfigure(self) -> None:
        """Close the event loop of async cases, and show the collector again what was kept from it."""
        gc.unfreeze()
        self._loop.close()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: Any) -> None:
        """Keep the row of a case that cannot be measured here: it says why."""
        case = item.callspec.params["case"]
        if case.missing:
            self.rows.append(self._row(item.path, case))
            pytest.skip(case.missing)

    @pytest.fixture
    def bench(self, request: pytest.FixtureRequest, benchmark: Any) -> Measure:
        """Measure a case; with ``--benchmark-disable``, run it once and check it."""

        def run(case: Case) -> None:
            if benchmark.disabled:
                made = self._call(case, [case.make()])[0]
                benchmark(case.refuse_unless_done, made[0])
            else:
                self._measure(self._row(request.path, case), case, benchmark)

        return run

    def _row(self, file: Path, case: Case) -> Row:
        suite = self.suite or file.stem.removeprefix("test_")
        note = f"n/a: {case.missing}" if case.missing else case.note
        return Row(case.section, case.label, case.unit, nodes=case.size, topology=case.series, suite=suite, note=note)

    # -- one case

    def wanted(self, test: str, cases: Iterable[Case]) -> list[Case]:
        """Return the cases of a test that are to be measured."""
        return [case for case in cases if not self.only or test in self.only or case.section in self.only]

    def _measure(self, row: Row, case: Case, benchmark: Any) -> None:
        """Measure one case and keep its row."""
        gc.collect()
        gc.freeze()  # what pytest and the suite hold need not be looked at again between rounds
        try:
            benchmark.group = case.section
            with unwritten():
                row = self._measured(row, case, benchmark)
        except BaseException as error:
            benchmark.skipped = True  # else its plugin says besides that nothing was timed
            if isinstance(error, Refused):
                self.refused = error
            raise
        row.figures |= self._beside(case, row)
        self.rows.append(row)
        benchmark.extra_info.update(row.figures, row=row.identity, figure=row.figure, per=case.per, unit=case.unit)
        if row.ratio is not None:
            benchmark.extra_info["ratio to the calibration loop"] = row.ratio

    def _measured(self, named: Row, case: Case, benchmark: Any) -> Row:
        shared = None if case.fresh else case.make()
        repeat = self._repeat(case, shared)
        calibration: list[Measured] = []
        used: list[Measured] = []  # by a call of the operation
        last: list[Any] = []
        calls: list[float] = []  # seconds of every single one, if each is a sample

        def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
            last.clear()
            if benchmark.stats is not None:
                benchmark.stats.iterations = repeat  # a call of sample() is so many of the operation
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
            raw, took = self._call(case, operations, calls if case.each else None)
            last.append(raw)
            used.append(Measured(took / repeat, took.cpu / repeat))

        rounds = case.rounds or (-(-self.effort.each_rounds // EACH) if case.each else self.effort.rounds)
        benchmark.pedantic(sample, setup=setup, teardown=teardown, rounds=rounds)
        del calls[rounds * repeat :], calibration[rounds:], used[rounds:]  # a profile, if asked for, takes more
        timed = benchmark.stats.stats.data
        if case.is_async:
            timed[:] = map(float, used)  # without the event loop's starting and stopping
        took = [fmean(calls[k : k + repeat]) for k in range(0, len(calls), repeat)] or timed
        seconds = [Measured(one, of.cpu) for one, of in zip(took, used, strict=True)]
        scale = UNITS[case.unit] / case.per
        figures = dict(case.figures)
        if WANTED:
            memory = self._allocated(case, shared).per(case.per)
            figures |= {"bytes": memory.bytes, "blocks": memory.blocks}
        row = replace(
            named, samples=[s * scale for s in calls or seconds], target=case.target, each=case.each, figures=figures,
            ratios=ratios(seconds, calibration) if calibration else [],
        )  # fmt: skip
        if calls:
            figures |= of_calls(calls, row.samples)
        if case.ideal is not None and row.figure:
            figures["efficiency"] = case.ideal * scale / row.figure
        return row

    def _beside(self, case: Case, row: Row) -> dict[str, float]:
        """How the row stands to those of its table that the case names; nothing if these were not measured."""
        figures = {one.label: one.figure for one in self.rows if one.section == case.section and one.figure}
        mine, found = row.figure or 0.0, {}
        if mine and case.speed_up_over in figures:
            found["speed_up"] = figures[case.speed_up_over] / mine
        if mine and case.overhead_over in figures:
            found["overhead"] = mine - figures[case.overhead_over]
        return found

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

    def _allocated(self, case: Case, shared: Callable[[], Any] | None) -> Allocated:
        """What one operation allocates: the least of three, or of one that waits."""
        make = case.make if shared is None else lambda: shared
        found = [
            self._loop.run(allocated_on_loop(make)) if case.is_async else allocated(make)
            for _ in range(1 if case.waits else 3)
        ]
        return Allocated(min(one.bytes for one in found), min(one.blocks for one in found))

    def _call(
        self, case: Case, operations: Sequence[Callable[[], Any]], calls: list[float] | None = None
    ) -> tuple[list[Any], Measured]:
        """Call all, one after the other; append to ``calls``, if given, how long each took.

        :return: what they returned, and the seconds they took, without the event loop's starting and stopping.
        """
        if case.is_async:
            return self._loop.run(_await_all(operations, calls))
        cpu, began = process_time(), perf_counter()
        raw = [operation() for operation in operations] if calls is None else _timed(operations, calls)
        return raw, Measured(perf_counter() - began, process_time() - cpu)

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


async def _await_all(operations: Sequence[Callable[[], Any]], calls: list[float] | None) -> tuple[list[Any], Measured]:
    cpu, whole = process_time(), perf_counter()
    if calls is None:
        raw = [await operation() for operation in operations]
        return raw, Measured(perf_counter() - whole, process_time() - cpu)
    raw = []
    for operation in operations:
        began = perf_counter()
        made = await operation()
        calls.append(perf_counter() - began)
        raw.append(made)
    return raw, Measured(perf_counter() - whole, process_time() - cpu)
