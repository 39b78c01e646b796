"""The concurrency suite: independent tasks at once and bounded, beside bare asyncio and the ideal.

*limits*: 10, 100 and 1,000 tasks, unbounded and eight at a time. *four*: four at a time, as in the tables of Flow
Orchestrator. *workers*: 64 tasks under limits from 1 to 32.
*contention*: a hundred completions at one lock (:mod:`flow_bench.suites.engine.contention`).

The ideal of n tasks of t seconds is n * t / limit: what waiting alone takes (without a limit, t), or, for work
on the CPU, n * t however many there are at once, since they share one thread. The efficiency of a row is that ideal
over what it took. asyncio's timers follow the clock of its selector, which on Linux is a millisecond (epoll): a wait
of 100 us takes about 1.1 ms if the loop has nothing else to do (and less if it is busy until then). So in every round
one task alone is timed as well: its least time is the t of work on the CPU, and gives waits a second efficiency,
``of_real``, which is above 1 where a busy loop made waits shorter. The ratio is to the bare tasks of the same round.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from inspect import iscoroutinefunction
from statistics import median
from typing import Any, TypeAlias

import flow
from flow_bench.harness.contender import Contender, ready, require
from flow_bench.harness.interleave import Samples, interleave_on_loop
from flow_bench.harness.loops import eager, outputs_of
from flow_bench.harness.rows import Row, chosen
from flow_bench.harness.work import DONE
from flow_bench.suites.engine import contention

MS = 1e3
LIMIT = 8
WORKERS = (1, 2, 4, 8, 16, 32)
ALONE = "one task alone"
PATIENCE = 5.0
"""Seconds after which a contender under check that has not begun as many tasks as it may is refused."""

Run = Callable[[], Any]


@dataclass(frozen=True)
class Work:
    """What each task does."""

    label: str
    fn: Callable[[], Any]
    seconds: float = 0.0  # it is to wait so long; 0 if it does not wait
    on_cpu: bool = False  # it computes, so one thread does one at a time

    def ideal(self, tasks: int, limit: int | None, seconds: float | None) -> float | None:
        """What ``tasks`` of ``seconds`` each take if nothing else costs anything; None if there is no telling."""
        if not seconds:
            return None
        at_once = 1 if self.on_cpu else tasks if limit is None else min(limit, tasks)
        return tasks * seconds / at_once


@dataclass(frozen=True)
class Bounded(Contender):
    """A way to run so many independent tasks of a function: these two are the subject."""

    limit: int | None = None  # so many at a time, at most
    bare: str = ""  # the label of the contender that it is compared with


Make: TypeAlias = Callable[[Callable[..., Any], int], Run]


def bounded(
    label: str, make: Make, limit: int | None, bare: str, outputs: Callable[[Any], Sequence[Any]] = lambda raw: raw
) -> Bounded:
    """Return a contender that is to leave an output of every task."""

    def check(raw: Any, fn: Callable[..., Any], tasks: int) -> str | None:
        done = list(outputs(raw))
        return None if done == [DONE] * tasks else f"{done.count(DONE)} of {tasks} tasks left their output"

    return Bounded(label, make, check, is_async=True, limit=limit, bare=bare)


async def nothing() -> str:
    """Return at once."""
    return DONE


def wait(seconds: float) -> Callable[[], Any]:
    """Return a function that asks for so long."""

    async def waits() -> str:
        await asyncio.sleep(seconds)
        return DONE

    return waits


async def compute() -> str:
    """Add up five hundred squares."""
    return DONE if sum(k * k for k in range(500)) == 41_541_750 else "a wrong sum"


def block_1ms() -> str:
    """Hold a thread for 1 ms."""
    time.sleep(0.001)
    return DONE


WORK = (
    Work("no-op", nothing),
    Work("wait 100 us", wait(0.0001), 0.0001),
    Work("wait 1 ms", wait(0.001), 0.001),
    Work("CPU, 500 squares", compute, on_cpu=True),
)
BLOCKING = Work("block 1 ms in a thread", block_1ms, 0.001)


def eager_tasks(fn: Callable[[], Any], tasks: int) -> Run:
    """A task for each, all at once."""

    async def run() -> list[Any]:
        made = [eager(fn()) for _ in range(tasks)]
        return [await task for task in made]

    return run


def semaphore(limit: int) -> Make:
    """A task for each, of which a semaphore lets so many go on."""

    def make(fn: Callable[[], Any], tasks: int) -> Run:
        async def run() -> list[Any]:
            free = asyncio.Semaphore(limit)

            async def one() -> Any:
                async with free:
                    return await fn()

            made = [eager(one()) for _ in range(tasks)]
            return [await task for task in made]

        return run

    return make


def pool(limit: int) -> Make:
    """A thread pool of the standard library, made for each run."""

    def make(fn: Callable[[], Any], tasks: int) -> Run:
        async def run() -> list[Any]:
            loop = asyncio.get_running_loop()
            with ThreadPoolExecutor(limit) as threads:
                return await asyncio.gather(*[loop.run_in_executor(threads, fn) for _ in range(tasks)])

        return run

    return make


def executed(config: flow.Config, **options: Any) -> Make:
    """``flow.execute`` of a plan of independent nodes, compiled before."""

    def make(fn: Callable[..., Any], tasks: int) -> Run:
        dag = flow.Dag("tasks")
        for k in range(tasks):
            dag.add(f"n{k}", fn, **options)
        return partial(flow.execute, dag.compile(), config=config)

    return make


def two(bare: str, by_hand: Make, ours: str, config: flow.Config, limit: int | None, **options: Any) -> list[Bounded]:
    """A way by hand, and flow's beside it."""
    return [bounded(bare, by_hand, limit, bare), bounded(ours, executed(config, **options), limit, bare, outputs_of)]


def limited(limit: int) -> list[Bounded]:
    """So many at a time."""
    bare, config = f"bare tasks, Semaphore({limit})", flow.Config(limit=limit)
    return two(bare, semaphore(limit), f"flow, limit={limit}", config, limit)


LIMITS = (*two("bare eager tasks", eager_tasks, "flow, unbounded", flow.Config(), None), *limited(LIMIT))
FEW = 4
FOUR = limited(FEW)


def workers(limit: int) -> list[Bounded]:
    """So many workers on the loop."""
    bare, config = "bare tasks, Semaphore(workers)", flow.Config(mode="workers", limit=limit)
    return two(bare, semaphore(limit), 'flow, mode="workers"', config, limit)


def threads(limit: int) -> list[Bounded]:
    """So many worker threads."""
    bare, config = "ThreadPoolExecutor(workers)", flow.Config(mode="workers", limit=limit)
    return two(bare, pool(limit), 'flow, mode="workers"', config, limit, thread=True)


async def check(contender: Bounded, tasks: int = 50) -> None:
    """Run tasks that record. :raises Refused: unless each was called once, and as many at a time as there may be."""
    running = most = called = 0
    wanted = tasks if contender.limit is None else min(contender.limit, tasks)
    full, over = asyncio.Event(), asyncio.Event()

    async def node() -> str:
        nonlocal running, most, called
        called += 1
        running += 1
        most = max(most, running)
        if running == wanted:
            full.set()
        await over.wait()
        running -= 1
        return DONE

    async def hold() -> None:
        """Let none end until as many are under way as may be, and then some turns more: there must be no others."""
        with suppress(TimeoutError):
            await asyncio.wait_for(full.wait(), PATIENCE)
        for _ in range(20):
            await asyncio.sleep(0)
        over.set()

    await asyncio.gather(contender.make(node, tasks)(), hold())
    require(called == tasks, contender.label, f"{called} calls were made for {tasks} tasks")
    require(most == wanted, contender.label, f"{most} tasks were under way at once, not {wanted}")


def ways(work: Work, contenders: Sequence[Bounded], tasks: int) -> list[Contender]:
    """All contenders with so many tasks, and one task alone, if it takes any time."""
    made = [one.once(work.fn, tasks) for one in contenders]
    if work.seconds or work.on_cpu:
        times = 5 if work.seconds else 50
        made.append(ready(ALONE, partial(_alone, work, times), lambda outputs: outputs == [DONE] * times, per=times))
    return made


async def _alone(work: Work, times: int) -> list[Any]:
    """One after another, nothing else on the loop; blocking ones on this thread."""
    return [await work.fn() if iscoroutinefunction(work.fn) else work.fn() for _ in range(times)]


def rows_of(
    section: str, work: Work, contenders: Sequence[Bounded], tasks: int, samples: Samples, size: int
) -> Iterator[Row]:
    """Milliseconds per run of all tasks, with efficiencies and the ratio to bare tasks."""
    alone = min(samples[ALONE]) if ALONE in samples else None
    for one in contenders:
        seconds = samples[one.label]
        ideals = {
            "efficiency": work.ideal(tasks, one.limit, work.seconds or alone),
            "of_real": work.ideal(tasks, one.limit, alone) if work.seconds else None,
        }
        figures = {name: ideal / median(seconds) for name, ideal in ideals.items() if ideal is not None}
        (row,) = samples.only(one.label).rows(section, "ms", samples[one.bare], nodes=size)
        yield replace(row, figures=figures | row.figures)
    if alone is not None and size == tasks:
        yield Row(section, ALONE, "ms", [s * MS for s in samples[ALONE]], nodes=size)


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    sections: Sequence[str] = ()  # all if empty
    rounds: int = 31
    large_rounds: int = 15
    tasks: Sequence[int] = (10, 100, 1_000)
    worker_rounds: int = 15
    worker_tasks: int = 64
    contention_rounds: int = 31
    four_rounds: int = 15


QUICK = Effort(rounds=11, large_rounds=5, worker_rounds=5, contention_rounds=9, four_rounds=2)


async def table(section: str, work: Work, cases: Sequence[tuple[Sequence[Bounded], int, int, int]]) -> list[Row]:
    """One kind of work; of each case: contenders, tasks, rounds, and the row's size."""
    rows: list[Row] = []
    for contenders, tasks, rounds, size in cases:
        if work is not BLOCKING:
            for contender in contenders:
                await check(contender)
        samples = await interleave_on_loop(ways(work, contenders, tasks), rounds, waits=True)
        rows += rows_of(section, work, contenders, tasks, samples, size)
    return rows


def limit_section(effort: Effort) -> Iterator[list[Row]]:
    """All kinds of work, all numbers of tasks."""
    rounds = {tasks: effort.rounds if tasks < 1_000 else effort.large_rounds for tasks in effort.tasks}
    for work in WORK:
        yield asyncio.run(table(f"tasks at once: {work.label}", work, [(LIMITS, n, rounds[n], n) for n in rounds]))


def four_section(effort: Effort) -> Iterator[list[Row]]:
    """Four at a time."""
    for work in WORK[:2]:
        cases = [(FOUR, tasks, effort.four_rounds, tasks) for tasks in effort.tasks]
        yield asyncio.run(table(f"{FEW} tasks at a time: {work.label}", work, cases))


def worker_section(effort: Effort) -> Iterator[list[Row]]:
    """One number of tasks, all numbers of workers: on the loop, then in threads."""
    tasks = effort.worker_tasks
    for what, work, contenders in (("wait", WORK[2], workers), ("block", BLOCKING, threads)):
        cases = [(contenders(count), tasks, effort.worker_rounds, count) for count in WORKERS]
        yield asyncio.run(table(f"{tasks} tasks that {what} 1 ms", work, cases))


SECTIONS: Mapping[str, Callable[[Effort], Iterable[list[Row]]]] = {
    "limits": limit_section,
    "four": four_section,
    "workers": worker_section,
    "contention": lambda effort: [contention.run(effort.contention_rounds)],
}
run = partial(chosen, SECTIONS)
