"""The micro benchmarks are ordinary pytest-benchmark tests: its flags work, and its figures are of one operation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from given import measured

import flow
from flow_bench.harness.contender import expect
from flow_bench.harness.processes import environment
from flow_bench.micro import measuring
from flow_bench.micro.case import Case

pytestmark = pytest.mark.usefixtures("frozen")

TINY = measuring.Effort(rounds=2, sample=0.0, each_rounds=measuring.EACH)


def run(*flags: str, folder: Path, code: int = 0) -> str:
    """Run pytest as a user does, without plugins but its own."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", str(ROOT / "flow_bench" / "micro"), *flags]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_pytests_own_flags(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    flags = ("-k", "status_reading", "--benchmark-storage", str(tmp_path / "kept"))
    printed = run(*flags, f"--benchmark-json={file}", "--benchmark-autosave", folder=tmp_path)
    assert "benchmark 'status tracking'" in printed
    rows = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
    by_size = {one["extra_info"]["row"][3]: one for one in rows if "per node" in one["extra_info"]["row"][2]}
    assert set(by_size) == {10, 100, 1_000}
    assert all(one["extra_info"]["ratio to the calibration loop"] > 0 for one in rows)
    assert all({"bytes", "blocks"} <= one["extra_info"].keys() for one in rows)
    assert "(0001_" in run(*flags, "--benchmark-compare", folder=tmp_path)  # the run kept before, beside this one


def test_a_figure_is_of_one_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls a sample has: the row's figure, and pytest-benchmark's."""
    calls: list[int] = []
    kept: list[Any] = []
    measure = measuring.Bench._measure

    def keeping(self: Any, row: Any, case: Case, benchmark: Any) -> None:
        measure(self, row, case, benchmark)
        kept.append(benchmark.stats)

    monkeypatch.setattr(measuring.Bench, "_measure", keeping)
    monkeypatch.setattr(measuring.Bench, "_repeat", lambda self, case, shared: 7)
    (found,) = measured("any", [Case("l", lambda: lambda: calls.append(1), expect(None), section="s")], TINY)
    assert len(calls) == 2 * 7 + 3  # rounds, and three to see what one allocates
    (stats,) = kept
    assert stats.iterations == 7
    assert found.samples == pytest.approx([one * 1e6 for one in stats.stats.data])
    stats.update(7.0)
    assert stats.stats.data[-1] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flag", "told"),
    [
        ("--benchmark-only", "passed"), ("--benchmark-disable", "passed"), ("--benchmark-skip", "skipped"),
        ("--benchmark-cprofile=cumtime", "passed"), ("--benchmark-histogram=drawn", "passed"),
    ],
)  # fmt: skip
def test_flags_that_change_how_tests_are_run(flag: str, told: str, tmp_path: Path) -> None:
    if "histogram" in flag and find_spec("pygal") is None:  # not imported here: it changes how all else is
        pytest.skip("pygal is not installed")
    counted = run("-k", "status_reading", flag, folder=tmp_path).splitlines()[-1]
    assert re.search(rf"\b\d+ {told}\b", counted) and "failed" not in counted and "error" not in counted
    assert ("histogram" in flag) == bool(list(tmp_path.glob("drawn*.svg")))


def test_what_cannot_be_measured_is_skipped_and_has_a_row() -> None:
    gone = Case("gone", lambda: int, expect(0), section="s", missing="its file is not here")
    here = Case("here", lambda: int, expect(0), section="s")
    assert [(row.label, row.note) for row in measured("any", [gone, here], TINY)] == [
        ("gone", "n/a: its file is not here"),
        ("here", ""),
    ]


def test_the_json_says_of_how_many_things_a_figure_is(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    run("-k", "topologies and linear and compile", f"--benchmark-json={file}", folder=tmp_path)
    rows = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
    assert rows
    for one in rows:
        info = one["extra_info"]
        assert info["figure"] * info["per"] == pytest.approx(one["stats"]["median"] * 1e6)
        assert info["unit"] == "us"


@pytest.mark.parametrize("is_async", [False, True])
def test_a_result_of_an_earlier_run_is_refused(is_async: bool) -> None:
    dag = flow.Dag("one")
    dag.add("only", lambda: 7)
    plan = dag.compile()
    old = flow.run(plan)

    async def awaited() -> flow.Result:
        return old

    def seven(result: flow.Result) -> object:
        return result["only"] != 7

    operation: Any = awaited if is_async else lambda: old
    with pytest.raises(measuring.Refused, match="1 of 1 results are those of earlier runs"):
        measured("any", [Case("l", lambda: operation, seven, is_async=is_async, section="s")], TINY)
    honest: Any = partial(flow.execute, plan) if is_async else partial(flow.run, plan)
    assert measured("any", [Case("l", lambda: honest, seven, is_async=is_async, section="s")], TINY)


def test_what_an_operation_allocates_stands_beside_its_time() -> None:
    def made() -> list[bytes]:
        return [bytes(1_000) for _ in range(50)]

    async def awaited() -> list[bytes]:
        return made()

    cases = [
        Case("sync", lambda: made, lambda raw: len(raw) != 50, per=50, section="s"),
        Case("async", lambda: awaited, lambda raw: len(raw) != 50, per=50, is_async=True, section="s"),
        Case("fresh", lambda: made, lambda raw: len(raw) != 50, per=50, fresh=True, section="s"),
    ]
    for row in measured("any", cases, TINY):
        assert row.figures["bytes"] == pytest.approx(1_050, rel=0.1)
        assert row.figures["blocks"] == pytest.approx(1, abs=0.2)


def test_later_passes_leave_it_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "WANTED", False)
    (row,) = measured("any", [Case("l", lambda: int, expect(0), section="s")], TINY)
    assert row.figures == {}


def test_a_wrong_operation_fails_its_test() -> None:
    with pytest.raises(measuring.Refused, match="'s: l' is refused: it left 0 where 1 was to be"):
        measured("any", [Case("l", lambda: int, expect(1), section="s")], TINY)


def test_an_operation_that_raises_says_where() -> None:
    def broken() -> Any:
        raise LookupError("nowhere")

    with pytest.raises(RuntimeError, match="nowhere"):
        measured("any", [Case("l", lambda: broken, expect(1), section="s")], TINY)
