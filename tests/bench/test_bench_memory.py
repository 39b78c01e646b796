"""The memory suite: bytes per phase and node, and what importing flow loads."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest

import flow
from flow_bench.__main__ import main
from flow_bench.harness.contender import Refused
from flow_bench.harness.work import noop
from flow_bench.suites.engine import importing, memory
from flow_bench.suites.engine.importing import Process

pytestmark = pytest.mark.usefixtures("frozen")

TINY = memory.Effort(sizes=(10,), topologies=("linear", "sparse_random"), imports=importing.Effort(rounds=1))


def test_the_whole_suite_end_to_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "QUICK", TINY)
    file = tmp_path / "rows.json"
    assert main(["memory", "--quick", "--json", str(file)]) == 0
    rows = json.loads(file.read_text())["rows"]
    assert len({(row["section"], row["label"], row["nodes"], row["topology"]) for row in rows}) == len(rows)
    assert sum(row["section"] == memory.SECTION for row in rows) == len(memory.PHASES) * 2
    assert {row["unit"] for row in rows} == {"bytes", "ms", "modules", "x"}
    judged, aimed_at = [row for row in rows if row["target"]]
    assert (judged["label"], judged["target"]["at_most"]) == ("import flow, above bare Python", 60.0)
    assert (aimed_at["label"], aimed_at["target"]["at_most"]) == ("import flow", 0.75)
    assert "none of anyio, asyncio" in capsys.readouterr().out


class TestBytes:
    def test_what_is_held_grows_with_the_nodes(self) -> None:
        small, large = memory.bytes_of("linear", 200), memory.bytes_of("linear", 400)
        assert set(small) == set(memory.PHASES)
        for phase in (memory.BUILT, memory.COMPILED):
            assert 1.8 * small[phase] < large[phase] < 2.2 * small[phase], phase
        assert large[memory.BUILT] > 400 * 50  # a name alone takes as much
        assert 8 * 400 <= large[memory.RUN] < 8 * 400 + 2_000  # a pointer per output, and the Result
        assert not tracemalloc.is_tracing()

    def test_a_run_that_leaves_nodes_out_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        run = flow.run(flow.topologies.linear(9, fn=noop))
        monkeypatch.setattr(memory, "_ran", lambda plan: run)
        with pytest.raises(Refused, match="a run left .* and 9 outputs"):
            memory.bytes_of("linear", 10)
        assert not tracemalloc.is_tracing()

    def test_a_child_that_fails_is_refused(self) -> None:
        with pytest.raises(Refused, match="no-such-graph"):
            memory.bytes_rows(memory.Effort(sizes=(10,), topologies=("no-such-graph",)))


def process(*loaded: str, seconds: float = 0.0) -> Process:
    return Process(seconds, seconds, 0, frozenset(loaded))


class TestImporting:
    def test_a_module_that_is_only_for_some_programs_is_refused(self) -> None:
        importing.check("flow", [process("flow", "flow.run")])
        with pytest.raises(Refused, match="it loads asyncio, rich, which only some programs need"):
            importing.check("flow", [process("flow"), process("flow", "rich", "asyncio")])
        with pytest.raises(Refused, match="it was not loaded"):
            importing.check("flow", [process("flow"), process()])

    def test_it_is_refused_in_a_real_process(self, tmp_path: Path) -> None:
        loaded = importing.start("asyncio", str(tmp_path))
        with pytest.raises(Refused, match="it loads asyncio"):
            importing.check("asyncio", [loaded])
        assert loaded.seconds > loaded.processor > 0
        assert loaded.held > 1_000_000

    def test_a_module_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(Refused, match=r"import nothing_like_it.*No module named"):
            importing.start("nothing_like_it", str(tmp_path))

    def test_figures_are_above_bare_python_round_by_round(self) -> None:
        found = {module: [process(seconds=0.030), process(seconds=0.050)] for module in importing.MODULES}
        found[importing.BARE] = [process(seconds=0.010), process(seconds=0.020)]
        rows = importing.rows(found, "time", "ms", lambda one: one.seconds * 1e3)
        assert [row.label for row in rows][:2] == ["bare Python", "import msgspec, above bare Python"]
        assert rows[-1].samples == pytest.approx([20.0, 30.0])

    def test_shares_are_those_of_what_is_above_bare_python(self) -> None:
        seconds = {importing.BARE: 0.01, "msgspec": 0.02, "asyncio": 0.05, "flow": 0.04}
        found = {name: [Process(0.0, seconds[name], 0, frozenset())] * 2 for name in importing.MODULES}
        rows = {row.label: row.samples for row in importing.share_rows(found)}
        assert rows == {"import msgspec": pytest.approx([0.25] * 2), "import flow": pytest.approx([0.75] * 2)}
