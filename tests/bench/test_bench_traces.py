"""The traces suite: every trace or "n/a", replays checked against what they cannot beat, schedules by hand."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from conftest import VirtualLoop
from given import cases_of, measured

import flow
from flow_bench.__main__ import REFUSED, main
from flow_bench.harness.work import DONE
from flow_bench.micro import measuring as harness
from flow_bench.micro import test_traces as traces
from flow_bench.micro.case import Case
from flow_bench.report import tables as report

pytestmark = pytest.mark.usefixtures("frozen")

SMALL = "sarek-dirt02-001"


@pytest.fixture
def only_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clone without the folder beside it."""
    monkeypatch.setattr(traces, "FOLDERS", traces.FOLDERS[:1])


def names(cases: list[Case]) -> list[tuple[Any, ...]]:
    return [(case.section, case.label, case.size, case.series) for case in cases]


def replay(limit: int | None, seconds: float = 60.0) -> traces.Replay:
    path = traces.find(SMALL)
    assert path is not None
    return traces.Replay(path, flow.traces.load(path).compile(), limit, seconds)


def run(one: traces.Replay) -> tuple[flow.Result, int]:
    operation = one.make()
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        raw: tuple[flow.Result, int] = runner.run(operation())
    return raw


def test_rows_have_names_that_do_not_depend_on_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    everywhere = names(cases_of("traces", False))
    assert len(set(everywhere)) == len(everywhere) == 13 * (2 + 4)
    monkeypatch.setattr(traces, "FOLDERS", ())
    assert names(cases_of("traces", False)) == everywhere
    assert set(names(cases_of("traces", True))) < set(everywhere)


@pytest.mark.usefixtures("only_here")
def test_what_is_not_here_is_said() -> None:
    missing = {case.label for case in cases_of("traces", True) if case.missing}
    assert len(missing) == 7
    assert missing == {name for name in traces.TRACES if traces.find(name) is None}
    assert any(not case.missing for case in cases_of("traces", True) if case.section == "replay")


@pytest.mark.usefixtures("only_here")
def test_found_traces_have_the_tasks_stated() -> None:
    found = {name: path for name in traces.TRACES if (path := traces.find(name))}
    assert len(found) == 6
    for name, path in found.items():
        assert len(flow.traces.load(path)) == traces.TRACES[name]


def test_a_missing_case_is_a_row_without_a_figure() -> None:
    here = Case("here", lambda: int, lambda raw: None, section="s", rounds=1)
    gone = Case(
        "gone", lambda: int, lambda raw: None, section="s", size=5, series="x", missing="its file is not here"
    )
    rows = measured("traces", [gone, here, gone], harness.QUICK)
    assert [row.note for row in rows] == ["n/a: its file is not here", "", "n/a: its file is not here"]
    assert (rows[0].figure, rows[0].nodes, rows[0].topology, rows[0].suite) == (None, 5, "x", "traces")
    assert measured("traces", [gone], harness.QUICK)[0].figure is None
    assert "n/a: its file is not here" in report.table(rows[:1])


def test_no_ops_are_checked() -> None:
    sync, unlike = (case for case in cases_of("traces", True) if case.label == SMALL)
    result = sync.make()()
    assert (sync.check(result), sync.per, unlike.is_async) == (None, 26, True)
    lazy = flow.run(flow.traces.load(traces.find(SMALL) or "", work=lambda task: lambda *_: None))
    assert sync.check(lazy) == "0 of 26 tasks did their work"


@pytest.mark.parametrize("limit", traces.LIMITS)
def test_a_replay_on_virtual_time_takes_what_the_schedule_says(limit: int | None) -> None:
    one = replay(limit)
    trace = one.plan
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        began = runner.get_loop().time()
        result, most = runner.run(one.make()())
        took = runner.get_loop().time() - began
    assert list(result.outputs.values()) == [DONE] * 26
    assert most == min(limit or 99, most)
    costs = [trace.costs.get(name, 0.0) * one.scale for name in trace]
    assert took == pytest.approx(traces.makespan(trace, costs, limit), rel=0.1)  # of equals another may go first
    assert took >= one.ideal * 0.999


def test_a_replay_that_does_not_wait_is_refused() -> None:
    one = replay(2)
    fault = one.check(run(one))  # virtual time: the wall clock has hardly moved
    assert fault is not None
    assert "cannot take less than 60.0000 s" in fault


def test_a_replay_beyond_its_limit_is_refused() -> None:
    one = replay(2)
    one.limit = None
    raw = run(one)
    one.limit = 2
    fault = one.check(raw)
    assert fault is not None
    assert "tasks ran at once, and the limit is 2" in fault


def test_the_suite_refuses_tasks_that_do_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(traces, "TRACES", {SMALL: 26})
    monkeypatch.setattr(traces, "noop", lambda *_: None)
    assert main(["traces", "--quick", "--only", "noop"]) == REFUSED
    assert f"'noop: {SMALL}' is refused: 0 of 26 tasks did their work" in capsys.readouterr().err


def test_the_suite_end_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(traces, "TRACES", {SMALL: 26, "not-here": 9})
    monkeypatch.setattr(traces, "QUICK_REPLAYS", (SMALL,))
    monkeypatch.setattr(traces, "LIMITS", (8,))
    monkeypatch.setattr(traces, "QUICK_SECONDS", 0.03)
    file = tmp_path / "rows.json"
    assert main(["traces", "--quick", "--json", str(file)]) == 0
    assert "n/a: its file is not here" in capsys.readouterr().out
    rows = json.loads(file.read_text())["rows"]
    assert [row["topology"] for row in rows] == ["sync", "async", "sync", "async", "8 at a time"]
    assert rows[-1]["unit"] == "ms"
    assert rows[-1]["figures"]["efficiency"] == pytest.approx(30 / rows[-1]["figure"])
    assert rows[-1]["figure"] >= 30 / 1.02
    assert 0.1 < rows[-1]["figures"]["schedule"] <= 1


def test_makespans_by_hand() -> None:
    dag = flow.Dag("d")
    for name in "abc":
        dag.add(name, lambda: None)
    dag.add("d", lambda a: None, needs=["a"])
    plan = dag.compile()
    costs = [1.0, 2.0, 3.0, 4.0]
    assert [traces.makespan(plan, costs, limit) for limit in (1, 2, 3, None)] == [10.0, 6.0, 5.0, 5.0]
