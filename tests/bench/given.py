"""Cases given by a test, measured as those of the micro suites are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from flow_bench.harness.interleave import Samples
from flow_bench.harness.rows import Row
from flow_bench.micro.case import Case, table
from flow_bench.micro.measuring import Bench, Effort, measure_file, tables_of

CASES: list[Case] = []


@table
def test_given(quick: bool) -> list[Case]:
    """Pytest is told to collect this file by :func:`measured` alone: it has no test file's name."""
    return CASES


def measured(suite: str, cases: Sequence[Case], effort: Effort) -> list[Row]:
    """Measure these cases; return their rows."""
    CASES[:] = cases
    return measure_file(Path(__file__), Bench(effort, suite=suite))


def cases_of(suite: str, quick: bool = True) -> list[Case]:
    """Every case of a micro suite."""
    return [case for _, cases in tables_of(suite, quick) for case in cases]


def given_samples(seconds: dict[str, list[float]]) -> Samples:
    """What a table's contenders took."""
    samples = Samples()
    samples.update(seconds)
    return samples
