"""The concurrency suite: limits are really held and used, every task is done, efficiencies are what they say."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from given import given_samples

import flow
from flow_bench.harness.contender import Refused
from flow_bench.harness.interleave import interleave
from flow_bench.harness.work import DONE
from flow_bench.suites.engine import concurrency, contention
from flow_bench.suites.engine.concurrency import ALONE, BLOCKING, FOUR, LIMITS, WORK, Bounded, bounded

pytestmark = pytest.mark.usefixtures("frozen")

TINY = concurrency.Effort(
    rounds=1, large_rounds=1, tasks=(3, 12), worker_rounds=1, worker_tasks=5, contention_rounds=1, four_rounds=1
)  # fmt: skip


def contender(label: str) -> Bounded:
    return next(one for one in LIMITS if one.label == label)


class TestSuite:
    def test_every_row_is_measured_and_unlike_the_others(self) -> None:
        rows = [row for table in concurrency.run(TINY) for row in table]
        assert len({row.identity for row in rows}) == len(rows)
        assert all(row.figure is not None and row.figure > 0 for row in rows)
        assert {row.nodes for row in rows} == {3, 12, *concurrency.WORKERS, contention.COMPLETIONS}

    @pytest.mark.parametrize("section", concurrency.SECTIONS)
    def test_sections_can_be_chosen(self, section: str) -> None:
        chosen = concurrency.Effort((section,), 1, 1, (3,), 1, 2, 1, 1)
        tables = list(concurrency.run(chosen))
        assert len(tables) == {"limits": len(WORK), "four": 2, "workers": 2, "contention": 1}[section]

    def test_the_cpu_work_is_done(self) -> None:
        assert asyncio.run(concurrency.compute()) == DONE


class TestCheck:
    @pytest.mark.parametrize("honest", (*LIMITS, *FOUR), ids=lambda c: c.label)
    def test_the_contenders_hold_and_use_their_limits(self, honest: Bounded) -> None:
        asyncio.run(concurrency.check(honest))

    def test_a_limit_that_is_exceeded_is_refused(self) -> None:
        loose = bounded("loose", concurrency.eager_tasks, 8, "loose")
        with pytest.raises(Refused, match="50 tasks were under way at once, not 8"):
            asyncio.run(concurrency.check(loose))

    def test_a_limit_that_is_not_used_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(concurrency, "PATIENCE", 0.05)
        tight = bounded("tight", concurrency.executed(flow.Config(limit=4)), 8, "tight")
        with pytest.raises(Refused, match="4 tasks were under way at once, not 8"):
            asyncio.run(concurrency.check(tight))

    def test_a_task_that_is_not_run_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(concurrency, "PATIENCE", 0.05)
        short = bounded("short", lambda fn, tasks: concurrency.eager_tasks(fn, tasks - 1), None, "short")
        with pytest.raises(Refused, match="49 calls were made for 50 tasks"):
            asyncio.run(concurrency.check(short))

    def test_a_timed_run_that_loses_an_output_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def sometimes() -> str | None:
            return None

        lossy = concurrency.Work("lossy", sometimes)
        way = concurrency.ways(lossy, LIMITS[:1], 4)[0]
        raw = asyncio.run(way.make()())
        with pytest.raises(Refused, match="0 of 4 tasks left their output"):
            way.refuse_unless_done(raw)
        with pytest.raises(Refused, match="3 of 4"):
            way.refuse_unless_done([DONE] * 3)
        way.refuse_unless_done([DONE] * 4)


class TestRows:
    def test_waits_are_held_against_what_was_asked_for_and_what_a_wait_took(self) -> None:
        samples = given_samples({one.label: [0.100, 0.100] for one in LIMITS} | {ALONE: [0.002, 0.003]})
        rows = {r.label: r for r in concurrency.rows_of("s", WORK[2], LIMITS, 80, samples, 80)}
        bounded, unbounded = rows["flow, limit=8"].figures, rows["flow, unbounded"].figures
        assert bounded == pytest.approx({"efficiency": 0.1, "of_real": 0.2})  # 80 x 1 ms / 8, in 100 ms
        assert unbounded == pytest.approx({"efficiency": 0.01, "of_real": 0.02})
        assert rows[ALONE].figure == pytest.approx(2.5)

    def test_work_on_the_cpu_takes_as_long_however_many_are_at_once(self) -> None:
        samples = given_samples({one.label: [0.100] for one in LIMITS} | {ALONE: [0.001]})
        rows = list(concurrency.rows_of("s", WORK[3], LIMITS, 80, samples, 80))
        assert [row.figures for row in rows[:-1]] == [pytest.approx({"efficiency": 0.8})] * len(LIMITS)

    def test_no_ops_have_no_ideal_and_ratios_are_to_the_bare_tasks_of_the_round(self) -> None:
        samples = given_samples({one.label: [1.0 + k, 2.0] for k, one in enumerate(LIMITS)})
        rows = list(concurrency.rows_of("s", WORK[0], LIMITS, 10, samples, 10))
        assert all(row.figures == {} for row in rows)
        assert rows[1].ratios == [2.0, 1.0]
        assert rows[3].ratios == [pytest.approx(4 / 3), 1.0]

    def test_fewer_tasks_than_the_limit_have_no_shorter_ideal(self) -> None:
        assert WORK[2].ideal(4, 8, 0.001) == 0.001
        assert BLOCKING.ideal(4, 1, 0.001) == 0.004


class TestContention:
    def test_each_way_notes_a_hundred_completions(self) -> None:
        assert {len(samples) for samples in interleave(contention.trials(), 1).values()} == {1}

    @pytest.mark.parametrize("how", ["each", "batched", "one"])
    def test_a_completion_that_is_lost_is_refused(self, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
        complete = contention.Books.complete
        monkeypatch.setattr(contention.Books, "complete", lambda self, i: None if i == 7 else complete(self, i))
        way = trial(how)
        with pytest.raises(Refused, match="did not do its work"):
            interleave([way], 1)

    def test_a_thread_that_does_not_take_part_is_refused(self) -> None:
        made = contention.Trial("batched")
        made.prepare()
        made.run()
        assert contention.Trial.done(made)
        made.acted.pop()
        assert not contention.Trial.done(made)


def trial(how: str) -> Any:
    labels = list(contention.WAYS.values())
    return contention.trials()[labels.index(how)]
