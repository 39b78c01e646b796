"""Attune's rows: every one has its place, every row beside it exists, and who does not do the work is refused."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

import flow
from flow_bench.harness.allocations import peak_of
from flow_bench.harness.child import child
from flow_bench.harness.contender import Contender, Refused
from flow_bench.harness.interleave import interleave
from flow_bench.harness.processes import environment
from flow_bench.harness.rows import Identity, Row
from flow_bench.originals.table import source
from flow_bench.suites.engine import contention, context, examples, handover, items, locks

SOURCE = source("attune")
pytestmark = pytest.mark.usefixtures("frozen")

TINY = context.Effort(
    rounds=1, deep_rounds=1, children=10, deep=10, sections=("child", "memory", "items", "examples", "handover"),
    items=items.Effort(rounds=1, patience=0.0, traced=10), examples=examples.Effort(rounds=1),
    handover=handover.Effort(rounds=1),
)  # fmt: skip
"""The sizes of the whole suite, because they are part of what rows are called."""
NAMES = {
    "context clone": ["empty", "10 tasks (100 KB)", "50 (500 KB)", "100 (1 MB)", "500 (5 MB)"],
    "with-items over 100 results (1 MB)": ["10 items", "100", "1,000", "10,000", "Memory for 1,000 items"],
    "examples": ["health check of 1,000 servers", "notifications to 5,000 users", "10,000 log entries"],
    "besides": [
        "lock contention with 100 concurrent completions", "completion by events instead of a 100 ms poll",
        "state written behind", "context export and import", "templates", "nested JSON rendering", "conditions",
        "publish", "item context",
    ],
}  # fmt: skip
"""What the original prints, and what was asked for besides."""


@pytest.fixture(scope="module")
def measured() -> dict[Identity, Row]:
    """All rows of the sections that Attune's rows point to."""
    found = {}
    suites: dict[str, Iterator[list[Row]]] = {"context": context.run(TINY), "concurrency": iter([contention.run(1)])}
    for suite, tables in suites.items():
        for row in (row for table in tables for row in table):
            row.suite = suite
            assert row.identity not in found
            found[row.identity] = row
    return found


def ran(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own."""
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment())


class TestSource:
    def test_every_row_of_the_original_has_its_place(self) -> None:
        assert {table.title: [row.name for row in table.rows] for table in SOURCE.tables} == NAMES

    def test_the_figures_are_those_that_it_prints(self) -> None:
        printed = {row.name: row.printed for table in SOURCE.tables for row in table.rows}
        assert printed["100 (1 MB)"] == "50,000 ns before (estimated), 100 ns after"
        assert printed["1,000"] == "50,000 us before (estimated), 211 us after"
        assert printed["notifications to 5,000 users"].endswith("200 KB, 1.05 ms, 4,761,905/s after")

    @pytest.mark.slow
    def test_every_row_beside_it_is_measured(self, measured: dict[Identity, Row]) -> None:
        ours = {row.identity for _, row in SOURCE.rows()}
        assert ours <= measured.keys()
        assert {row.label for identity, row in measured.items() if identity in ours and row.figure is None} == {
            "1,000 items: copy.deepcopy"  # with this little effort
        }

    def test_every_command_names_a_section_that_there_is(self) -> None:
        rows = [row for _, row in SOURCE.rows()]
        assert {(row.suite, row.only) for row in rows} == {
            *[("context", section) for section in TINY.sections], ("concurrency", "contention"),
        }  # fmt: skip
        assert set(TINY.sections) <= set(context.SECTIONS)

    def test_what_is_not_there_yet_is_said_and_not_faked(self) -> None:
        reasons = {row.name: row.why for table in SOURCE.tables for row in table.rows if not row.ours}
        assert {name for name, why in reasons.items() if "comes with workflow files" in why} == {
            "templates", "nested JSON rendering", "conditions",
        }  # fmt: skip
        assert set(reasons) - {"templates", "nested JSON rendering", "conditions"} == {
            "state written behind", "context export and import",
        }  # fmt: skip


class TestItems:
    def test_what_is_too_much_is_extrapolated_and_says_so(self) -> None:
        deep = items.Deep({"r": [1, 2]}, items.Effort(counts=(10, 40), patience=0.0, traced=10))
        first, second = (deep.row(count, [1e-6, 3e-6]) for count in (10, 40))
        assert (len(first.samples), first.note) == (3, "")
        assert second.note == "time extrapolated from 10 items, memory extrapolated from 10 items"
        assert second.samples == []
        assert second.figure == pytest.approx(4 * (first.figure or 0))
        assert second.figures["bytes"] == pytest.approx(4 * first.figures["bytes"])
        assert second.ratios == [pytest.approx((second.figure or 0) / 2)]

    def test_what_is_affordable_is_measured(self) -> None:
        deep = items.Deep({"r": [1, 2]}, items.Effort(counts=(10, 40), patience=5.0, traced=40))
        rows = [deep.row(count, [1e-6]) for count in (10, 40)]
        assert [(len(row.samples), row.note) for row in rows] == [(3, ""), (3, "")]

    @pytest.mark.parametrize(
        ("make", "fault"), [
            (lambda i: {"r": [1]}, None),
            (lambda i: SAME, "not all different"),
            (lambda i: {"r": [2]}, "item 0 has not"),
            (lambda i: {"r": [1 + i]}, "item 4 has not"),
        ],
    )  # fmt: skip
    def test_contexts_that_are_not_one_for_each_item_are_refused(
        self, make: Callable[[int], Any], fault: str | None
    ) -> None:
        way = items.held("copies", 5, make, lambda one, i: bool(one == {"r": [1]}))
        if fault is None:
            assert peak_of(way) > 0
            return
        for measure in (lambda: interleave([way], 1), lambda: peak_of(way)):
            with pytest.raises(Refused, match=fault):
                measure()

    def test_a_child_that_has_another_index_is_refused(self) -> None:
        class Shifted:
            data = flow.WorkflowData()

            def child(self, item: int, index: int) -> Any:
                return flow.testing.context(item=item, index=index + 1)

        with pytest.raises(Refused, match="'a child each'"):
            interleave([items.held_ways(3, Shifted())[0]], 1)  # type: ignore[arg-type]

    def test_a_deep_copy_that_shares_what_it_should_copy_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(items.copy, "deepcopy", dict)
        with pytest.raises(Refused, match=r"'copy.deepcopy each'"):
            items.Deep({"r": [1, 2]}, items.Effort()).row(10, [1e-6])

    def test_a_run_that_maps_fewer_is_refused(self) -> None:
        few = items.run_way(3)
        with pytest.raises(Refused, match="not every item was mapped"):
            interleave([Contender("few", few.make, items.run_way(4).check)], 1)


SAME = {"r": [1]}


class TestExamples:
    @pytest.mark.parametrize("which", range(4))
    def test_each_does_its_work_and_is_refused_if_not(self, which: int) -> None:
        example = [examples.health_check(300), *examples.notifications(250), examples.log_entries(200)][which]
        (row,) = examples.rows_of([example], 1)
        assert row.figures["per_s"] == pytest.approx(example.items / (row.figure or 0) * 1e3)
        assert row.figures["bytes"] > 0
        with pytest.raises(Refused, match="where 'more' was to be"):
            examples.rows_of([replace(example, wanted="more")], 1)

    def test_fewer_items_than_said_are_refused(self) -> None:
        example = replace(examples.notifications(30)[0], inputs={"users": range(29)})
        with pytest.raises(Refused, match=r"it left \(29, 29\) where \(30, 30\) was to be"):
            examples.rows_of([example], 1)

    def test_nothing_is_written_about_servers_that_are_down(self) -> None:
        code = "from flow_bench.suites.engine import examples as e; e.rows_of([e.health_check(9)], 1)"
        done = ran(code)
        assert done.returncode == 0
        assert (done.stdout, done.stderr) == ("", "")


class TestHandover:
    def test_every_dependant_notes_one_time(self) -> None:
        (rows,) = handover.run(handover.Effort(nodes=4, rounds=2))
        assert [row.label for row in rows] == list(handover.KINDS)
        assert {(len(row.samples), row.each) for row in rows} == {(6, True)}
        assert all(0 <= min(row.samples) <= row.figures["p50"] <= row.figures["p99"] for row in rows)

    def test_a_chain_that_is_not_run_is_refused(self) -> None:
        chain = handover.Chain(4, "sync")
        effort = handover.Effort(nodes=4, rounds=1)
        with pytest.raises(Refused, match="0 of 3 dependants"):
            handover.rows_of([Contender("idle", lambda: list, chain.check)], effort)
        with pytest.raises(Refused, match="began before"):
            handover.rows_of([Contender("early", lambda: lambda: [0.1, -0.1, 0.1], chain.check)], effort)


class TestLocks:
    def test_all_locks_of_a_hundred_completions_are_counted(self) -> None:
        counts = child("suites.engine.locks")
        assert [counts[how]["taken"] for how in contention.LOCKS] == [200, 200]  # the tracker's and the store's
        assert counts["run"]["flow"] == 0 < counts["run"]["taken"]
        rows = contention.lock_rows(counts)
        assert [(row.label, row.figure) for row in rows[:2]] == [
            ("locks taken: one by one", 200), ("locks taken: batched", 200),
        ]  # fmt: skip
        assert {(row.section, row.unit, row.nodes) for row in rows} == {("100 completions at one lock", "locks", 100)}

    def test_locks_that_do_not_count_are_refused(self) -> None:
        with pytest.raises(Refused, match="only 0 of flow's locks can be counted"):
            locks.counted("one")  # flow was imported before

    def test_lost_completions_are_refused(self) -> None:
        lose = (
            "from flow_bench.suites.engine import locks; locks.install()\n"
            "from flow_bench.suites.engine.contention import Books; Books.complete = lambda self, i: None\n"
            "locks.counted('batched')"
        )
        done = ran(lose)
        assert "not all completions were noted" in done.stderr

    def test_a_lock_counts_who_takes_it_and_who_waits(self) -> None:
        class Busy:
            """A lock that is not free at first, and never again once it was released."""

            def __init__(self) -> None:
                self.answers = [False, True, True, False, False]

            def acquire(self, blocking: bool, timeout: float = -1) -> bool:
                return self.answers.pop(0)

            def release(self) -> None:
                pass

        lock = locks.Counted(Busy)
        with lock:  # after a wait
            pass
        assert lock.acquire()  # at once
        assert not lock.acquire(timeout=0.1)  # not in time
        assert (lock.taken, lock.waited, lock.maker) == (2, 1, __name__)
        lock.reset()
        assert (lock.taken, lock.waited) == (0, 0)
