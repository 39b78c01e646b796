"""The peers suite: workers really run the graphs, wrong runs are refused, what cannot be had is n/a with a reason."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flow
from flow_bench.harness.contender import Refused
from flow_bench.harness.rows import Row
from flow_bench.harness.work import Work
from flow_bench.peers import registry, suite, worker
from flow_bench.peers.graph import DONE, Graph
from flow_bench.peers.peer import Peer, PeerFault, refuse_unless_right
from flow_bench.peers.registry import CONTENDERS, DASK_DICT, FLOW, Library
from flow_bench.report import tables as report

pytestmark = pytest.mark.usefixtures("frozen")

TINY = suite.Effort(nodes=(20,), rounds=2, sample=1e-6, budget=5.0, topologies=("layered", "tree"))
BARE = [one for one in CONTENDERS if one.label in ("flow", "graphlib loop", "asyncio TaskGroup")]

LOOP = """
def build(graph):
    return graph

def run(graph):
    found = {}
    for name, function, needs in zip(graph.names, graph.functions, graph.needs):
        found[name] = function(*[found[need] for need in needs])
    return found
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Write a contender's module that workers can import."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    def write(source: str, **changes: Any) -> Library:
        (tmp_path / "fake_peer.py").write_text(source)
        return replace(Library("fake_peer", "fake", ""), **changes)

    return write


def by_label(rows: list[Row], section: str, label: str) -> list[Row]:
    return [row for row in rows if row.section == section and row.label == label]


def measured(*contenders: Library, **changes: Any) -> list[Row]:
    return [row for table in suite.run(replace(TINY, contenders=contenders, **changes)) for row in table]


class TestGraph:
    def test_every_node_has_a_function_with_its_needs_as_parameters(self) -> None:
        graph = Graph([(), (), (0, 1)])
        assert graph.functions[2].__annotations__ == {"n0": str, "n1": str, "return": str}
        assert [function(*needs) for function, needs in zip(graph.functions, graph.needs, strict=True)] == [DONE] * 3

    def test_recording_nodes_note_what_they_are_given_and_return_their_number(self) -> None:
        graph = Graph([(), (0,)], record=True)
        assert [graph.functions[0](), graph.functions[1](0)] == [0, 1]
        assert graph.calls == [(0, ()), (1, (0,))]

    def test_outputs_are_read_from_lists_and_from_mappings(self) -> None:
        graph = Graph([(), (0,)])
        assert graph.outputs(("a", "b")) == graph.outputs({"n1": "b", "n0": "a"}) == ["a", "b"]


class TestSuite:
    def test_contenders_that_need_no_library_really_run(self) -> None:
        rows = measured(*BARE)
        assert {row.suite for row in rows} == {"peers"}
        assert len({(r.section, r.label, r.nodes, r.topology) for r in rows}) == len(rows)
        for section, label in (
            ("peers sync", "flow"), ("peers sync", "graphlib loop"), ("peers async", "flow"),
            ("peers async", "asyncio TaskGroup"), ("peers build", "flow"), ("peers build", "graphlib loop"),
        ):  # fmt: skip
            mine = by_label(rows, section, label)
            assert [row.topology for row in mine] == ["tree", "layered"]
            for row in mine:
                assert (row.unit, row.nodes, row.note) == ("us", 20, "")
                assert len(row.samples) == len(row.ratios) == 2
                assert min(row.samples) > 0
        assert not by_label(rows, "peers build", "asyncio TaskGroup"), "it builds nothing"
        assert not by_label(rows, "peers sync", "asyncio TaskGroup"), "it awaits"
        assert [row.note for row in by_label(rows, "peers sync", suite.FASTEST)] == [
            "n/a: no engine to compare with"
        ] * 2
        (row,) = by_label(rows, "peers import", "flow")
        assert row.note == f"flow {flow.__version__}"
        assert row.figure is not None
        assert row.figures["import ms"] > 0

    def test_a_contender_that_skips_a_node_is_refused(self, fake: Any) -> None:
        skips = LOOP.replace("found[name] = function(", "found[name] = 7 if name == 'n7' else function(")
        with pytest.raises(Refused, match="contender 'fake' is refused: nodes never called: 7"):
            measured(FLOW, fake(skips))

    def test_a_contender_that_mistreats_arguments_is_refused(self, fake: Any) -> None:
        with pytest.raises(Refused, match="node 1 was given 9, not 0"):
            measured(FLOW, fake(LOOP.replace("found[need] for", "9 for")))

    def test_a_timed_run_that_leaves_too_little_is_refused(self, fake: Any) -> None:
        cheats = LOOP.replace("return found", "return found | ({'n3': None} if found['n0'] == 'done' else {})")
        with pytest.raises(Refused, match="a timed run left 19 outputs, not 20"):
            measured(FLOW, fake(cheats))

    def test_an_uninstalled_library_is_not_available(self) -> None:
        missing = Library("flow_bench.peers.dask_get", "Nowhere", "no-such-distribution-of-anyone", is_async=True)
        rows = [row for row in measured(FLOW, missing) if row.label == "Nowhere"]
        assert {row.section for row in rows} == {f"peers {section}" for section in suite.SECTIONS}
        assert {row.note for row in rows} == {"n/a: not installed (pip install '.[peers]')"}
        assert {row.figure for row in rows} == {None}

    def test_a_worker_that_dies_is_not_available_and_the_next_graph_has_a_new_one(self, fake: Any) -> None:
        dies = LOOP.replace("    found = {}", "    import os; len(graph.needs[-1]) > 1 and os._exit(5)\n    found = {}")
        rows = by_label(measured(FLOW, fake(dies)), "peers sync", "fake")
        assert {row.topology: row.note for row in rows} == {"tree": "", "layered": "n/a: its process died: exit code 5"}
        assert [bool(row.samples) for row in rows] == [True, False]

    def test_an_exception_is_not_available_and_says_which(self, fake: Any) -> None:
        rows = measured(FLOW, fake(LOOP.replace("return graph", "raise ValueError('too deep\\nand wide')")))
        assert {row.note for row in by_label(rows, "peers sync", "fake")} == {"n/a: ValueError: too deep"}

    def test_what_takes_too_long_is_not_available(self, fake: Any) -> None:
        hangs = fake(LOOP.replace("    found = {}", "    import threading; threading.Event().wait()"))
        peer = Peer(hangs, 10)
        try:
            peer.ask("graph", dependencies=[[]], is_async=False)
            peer.patience = 0.05
            with pytest.raises(PeerFault, match=r"check did not end within 0.05 s"):
                peer.ask("check")
        finally:
            peer.close()

    def test_flow_itself_must_run(self, fake: Any) -> None:
        broken = fake("def build(graph):\n    raise KeyError(1)", label="flow", ours=True)
        with pytest.raises(Refused, match="contender 'flow' is refused: KeyError: 1"):
            measured(broken)

    def test_only_the_sections_asked_for(self) -> None:
        rows = measured(*BARE, sections=("build",))
        assert {row.section for row in rows} == {"peers build"}

    def test_flow_is_judged_against_the_fastest_engine(self, fake: Any) -> None:
        slow = fake(LOOP, label="engine")
        rows = measured(FLOW, slow, nodes=(1_000,), topologies=("tree",), sections=("sync", "build"))
        row = by_label(rows, "peers sync", suite.FASTEST)[0]
        (peer,) = (r for r in by_label(rows, "peers sync", "engine") if r.topology == row.topology)
        assert row.note == "fastest: engine"
        assert sorted(row.samples) == pytest.approx(sorted(1 / ratio for ratio in peer.ratios))
        assert row.target is not None
        assert row.target.at_most == 1 / 8
        assert by_label(rows, "peers build", "flow / Dask's dict, unchecked")[0].target is None


class TestWorker:
    def test_what_a_library_prints_does_not_spoil_the_answers(self, fake: Any) -> None:
        peer = Peer(fake("print('hello')\n" + LOOP.replace("    found = {}", "    print('x'); found = {}")), 20)
        try:
            peer.ask("graph", dependencies=[[], [0]], is_async=False)
            assert peer.ask("check") == {"calls": [[0, []], [1, [0]]], "outputs": [0, 1]}
            answer = peer.ask("run", repeat=3)
            assert answer["done"] == 2
            assert answer["seconds"] > 0
            with pytest.raises(PeerFault, match="AttributeError: 'Worker' object has no attribute 'nonsense'"):
                peer.ask("nonsense")
        finally:
            peer.close()

    def test_commands_are_answered_line_by_line(self) -> None:
        answers: list[str] = []
        mine = worker.Worker("flow_bench.peers.graphlib_loop")
        commands = [{"do": "graph", "dependencies": [[], [0]], "is_async": False}, {"do": "build", "repeat": 2}]
        worker.serve(mine, [json.dumps(one) for one in commands], answers.append)
        assert json.loads(answers[0]) == {}
        assert json.loads(answers[1])["seconds"] > 0

    @pytest.mark.parametrize("contender", CONTENDERS, ids=lambda one: one.label)
    def test_an_installed_contender_passes_the_check(self, contender: Library) -> None:
        if contender.package and not contender.version:
            pytest.skip(f"{contender.package} is not installed")
        plan = flow.topologies.layered(3, 4, 2, seed=1).compile()
        work = Work(plan._nodes.dependencies, [print] * len(plan), [print] * len(plan))
        peer = Peer(contender, 60)
        try:
            for is_async in (False, True):
                if contender.is_async if is_async else contender.sync:
                    peer.ask("graph", dependencies=plan._nodes.dependencies, is_async=is_async)
                    refuse_unless_right(contender.label, work, peer.ask("check"))
        finally:
            peer.close()


def test_the_registry_names_modules_that_exist() -> None:
    here = Path(registry.__file__).parent
    assert all((here / f"{one.module.rpartition('.')[2]}.py").exists() for one in CONTENDERS)
    assert len({one.label for one in CONTENDERS}) == len(CONTENDERS)
    assert DASK_DICT in CONTENDERS


def test_the_table_tells_reasons_below() -> None:
    rows = [
        Row("peers sync", "flow", "us", [1.0, 1.0], ratios=[1.0, 1.0], nodes=20, topology="tree"),
        Row("peers sync", "peer", "us", nodes=20, topology="tree", note="n/a: it died: twice"),
        Row("peers sync", "flow / peer", "x", [0.0123], nodes=20, topology="tree", note="fastest: peer"),
    ]
    text = report.table(rows)
    assert "0.012x" in text
    assert text.endswith("peer, tree: n/a: it died: twice\nflow / peer, tree: fastest: peer")
