"""The durable suite: every row is measured, what is not stored is refused, and peers that are missing are said."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import flow
from flow_bench.__main__ import main
from flow_bench.harness.contender import Refused
from flow_bench.harness.interleave import interleave
from flow_bench.peers import durable
from flow_bench.peers.registry import FLOW, Library
from flow_bench.peers.stored import FOLDER
from flow_bench.peers.suite import Effort as OfPeers
from flow_bench.suites.durable import listing, loading, nodes, resuming, stores, suite, writing

BARE = (durable.STORED, durable.SAFE, durable.BY_HAND, durable.LOOP, FLOW)
TINY = durable.Effort(
    nodes=nodes.Effort(
        nodes=20, rounds=2, safe_rounds=2, waits=(20, 10), milliseconds=1, wait_rounds=2, items=30, item_rounds=2
    ),
    loading=loading.Effort(nodes=40, rounds=1),
    listing=listing.Effort(stored=3, listed=2, rounds=1),
    resuming=resuming.Effort(times=3, warm=1, warm_each=1),
    writing=writing.Effort(size=2_000, times=2, rounds=1),
    beside=OfPeers((10,), rounds=2, sample=1e-6, budget=5.0, contenders=BARE),
)


@pytest.fixture(autouse=True)
def _no_collections(monkeypatch: pytest.MonkeyPatch) -> None:
    """What all other tests have left makes each of the collections between rounds take half a second."""
    monkeypatch.setattr(gc, "collect", lambda *generation: 0)


def section(name: str) -> dict[str, Any]:
    """The rows of a section, by label and size."""
    rows = [row for table in durable.run(replace(TINY, sections=(name,))) for row in table]
    assert len({row.identity for row in rows}) == len(rows)
    assert all(row.figure is not None for row in rows)
    return {f"{row.label}, {row.nodes}" if row.nodes else row.label: row for row in rows}


def test_it_has_the_sections_of_the_suite_and_one_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(durable.SECTIONS) == [*suite.SECTIONS, "beside"]
    assert main(["durable", "--quick", "--only", "nonsense"]) == 2
    assert "it has 'nodes', 'waits', 'transactions'" in capsys.readouterr().err


def test_targets_are_of_1000_nodes() -> None:
    assert not any(row.target for row in section("nodes").values())
    effort = replace(TINY.nodes, nodes=nodes.JUDGED, rounds=1, safe_rounds=1)
    first, second = nodes.run(replace(effort, nodes=nodes.JUDGED))
    judged = {row.label: row.target.at_most for row in first if row.target}
    assert judged == {nodes.ASYNC: 4.0, f"async / {nodes.MANY}": 1.5}
    assert [row.label for row in second][:4] == [nodes.PLAINLY, nodes.ASYNC, nodes.EXIT, nodes.SYNC]


def test_waits() -> None:
    rows = section("waits")
    assert rows[f"{nodes.GENERATED}, 20"].figure >= 1.0  # ms
    assert {f"{nodes.ASYNC}, 20", f"{nodes.ASYNC}, 10", f"{nodes.SYNC}, 20"} < set(rows)


def test_transactions_are_counted() -> None:
    rows = section("transactions")
    assert rows["no-op nodes, sync, 20"].figure >= 20
    assert rows["no-op nodes, exit, 20"].figure == 2
    assert rows["1 ms waits, async, 20"].figure < 20
    assert rows["no-op nodes, exit, 20"].figures == {"nodes in each": 10.0}


def test_a_map() -> None:
    assert {label.partition(",")[0] for label in section("map")} == {"no store", "async", "exit", "in the file"}


def test_loading_runs_what_was_left_alone() -> None:
    rows = section("load")
    assert {row.unit for row in rows.values()} == {"s", "bytes"}
    assert rows["in all, 40"].figure > rows["beyond its output and its name, 40"].figure > 0


def test_listing_and_writing() -> None:
    assert len(section("listing")) == 5
    assert set(section("write")) == {
        f"{safe}: {way}" for safe in ("fsync", "no fsync") for way in ("INSERT by hand", "Backend.write")
    }


def test_resumptions_in_a_process_of_their_own() -> None:
    tables = list(durable.run(replace(TINY, sections=("resumptions",))))
    assert [[row.label for row in table] for table in tables] == [
        ["resident memory", "open files", "threads", "run, interrupt, resume"]
    ] * 2
    assert all(table[1].figure <= 2 for table in tables), "a reader more or less: not one for each run"


class TestRefused:
    """What is timed must have been done."""

    def test_a_run_that_is_not_stored(self) -> None:
        plan = nodes.noops(4)
        with stores.folder() as where:
            elsewhere = stores.durable("async", plan, where.store("async"), where.store("exit"))
            with pytest.raises(Refused, match="the run is not stored"):
                interleave([elsewhere], 1, memory=False)

    def test_other_outputs_than_those_of_the_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        plan, real = nodes.noops(4), flow.run
        with stores.folder() as where:
            store = where.store("async")
            result = real(plan, run_id="a", store=store)
            assert stores.stored_fault(result, plan, store) is None
            monkeypatch.setattr(flow, "run", lambda *args, **more: real(flow.topologies.linear(4)))
            assert stores.stored_fault(result, plan, store) == "other outputs are stored than those of the run"

    def test_rows_by_hand_that_are_missing(self) -> None:
        plan = nodes.noops(4)
        with stores.folder() as where:
            table = where.by_hand(safe=False)
            lazy = stores.by_hand("lazy", table, lambda plan: lambda: "no-such-run", plan)
            with pytest.raises(Refused, match="0 of 4 rows are stored"):
                interleave([lazy], 1, memory=False)

    def test_a_node_that_runs_again(self, tmp_path: Path) -> None:
        loading.made(tmp_path / "runs.db", 5)
        with pytest.raises(Refused, match="1 nodes have run where 0 were left"):
            loading.gone_on(tmp_path / "runs.db", 5, 0)

    def test_runs_that_are_not_listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(flow.store.Store, "runs", lambda *args, **more: [])
        with pytest.raises(Refused, match="other runs were listed"):
            listing.run(TINY.listing)


class TestBeside:
    def test_what_storing_adds(self) -> None:
        whole, added = durable.beside(TINY.beside)
        assert [row.label for row in whole] == [one.label for one in BARE]
        assert [row.label for row in added] == ["flow, async", "flow, sync", "by hand: a commit a step"]
        assert all(len(row.samples) == 2 for row in [*whole, *added])
        assert FOLDER not in os.environ

    def test_all_of_them_where_they_are_installed(self) -> None:
        pytest.importorskip("dbos")
        pytest.importorskip("langgraph.checkpoint.sqlite")
        _, added = durable.beside(replace(TINY.beside, contenders=durable.ALL))
        assert all(row.samples for row in added)
        assert {row.label for row in added if row.target} == {
            "flow, async / LangGraph, SqliteSaver", "flow, async / DBOS"
        }  # fmt: skip

    def test_a_library_that_is_not_installed_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        missing = Library("flow_bench.peers.stored_dbos", "Nowhere", "no-such-distribution-of-anyone")
        monkeypatch.setattr(durable, "WITHOUT", {**durable.WITHOUT, missing: durable.LOOP})
        monkeypatch.setattr(durable, "COMPARED", ((durable.STORED, missing),))
        whole, added = durable.beside(replace(TINY.beside, contenders=(*BARE, missing)))
        notes = {row.label: row.note for row in [*whole, *added] if row.note}
        assert notes == {
            "Nowhere": "n/a: not installed (pip install '.[peers]')",
            "flow, async / Nowhere": "n/a: Nowhere has no figure",
        }

    def test_one_that_stores_too_little_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = "from flow_bench.peers.plain_loop import build, run\ndef stored(built):\n    return 9\n"
        (tmp_path / "fake_store.py").write_text(source)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
        with pytest.raises(Refused, match="contender 'fake' is refused: a timed run left 9 stored outputs, not 10"):
            list(durable.beside(replace(TINY.beside, contenders=(FLOW, Library("fake_store", "fake", "")))))
