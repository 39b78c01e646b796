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


async def wait_100us() -> str:
    """Ask for 100 us."""
    await asyncio.sleep(0.0001)
    return DONE


async def wait_1ms() -> str:
    """Ask for 1 ms."""
    await asyncio.sleep(0.001)
    return DONE


async def compute() -> str:
    """Add up five hundred squares."""
    return DONE if sum(k * k for k in range(500)) == 41_541_750 else "a wrong sum"


def block_1ms() -> str:
    """Hold a thread for 1 ms."""
    time.sleep(0.001)
    return DONE


WORK = (
    Work("no-op", nothing),
    Work("wait 100 us", wait_100us, 0.0001),
    Work("wait 1 ms", wait_1ms, 0.001),
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


EAGERLY, SEMAPHORE = "bare eager tasks", f"bare tasks, Semaphore({LIMIT})"
LIMITS = (
    bounded(EAGERLY, eager_tasks, None, EAGERLY),
    bounded("flow, unbounded", executed(flow.Config()), None, EAGERLY, outputs_of),
    bounded(SEMAPHORE, semaphore(LIMIT), LIMIT, SEMAPHORE),
    bounded(f"flow, limit={LIMIT}", executed(flow.Config(limit=LIMIT)), LIMIT, SEMAPHORE, outputs_of),
)


FEW = 4
FEW_SEMAPHORE = f"bare tasks, Semaphore({FEW})"
FOUR = (
    bounded(FEW_SEMAPHORE, semaphore(FEW), FEW, FEW_SEMAPHORE),
    bounded(f"flow, limit={FEW}", executed(flow.Config(limit=FEW)), FEW, FEW_SEMAPHORE, outputs_of),
)


def workers(limit: int) -> tuple[Bounded, Bounded]:
    """So many workers on the loop."""
    config = flow.Config(mode="workers", limit=limit)
    return (
        bounded("bare tasks, Semaphore(workers)", semaphore(limit), limit, "bare tasks, Semaphore(workers)"),
        bounded('flow, mode="workers"', executed(config), limit, "bare tasks, Semaphore(workers)", outputs_of),
    )


def threads(limit: int) -> tuple[Bounded, Bounded]:
    """So many worker threads."""
    bare = "ThreadPoolExecutor(workers)"
    made = executed(flow.Config(mode="workers", limit=limit), thread=True)
    return bounded(bare, pool(limit), limit, bare), bounded('flow, mode="workers"', made, limit, bare, outputs_of)


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


async def limits(
    work: Work, contenders: Sequence[Bounded], sizes: Sequence[int], rounds: int, large_rounds: int
) -> list[Row]:
    """One kind of work, all numbers of tasks. :param large_rounds: rounds from 1,000 tasks on."""
    section = f"tasks at once: {work.label}" if contenders is LIMITS else f"{FEW} tasks at a time: {work.label}"
    rows: list[Row] = []
    for contender in contenders:
        await check(contender)
    for tasks in sizes:
        few = rounds if tasks < 1_000 else large_rounds
        samples = await interleave_on_loop(ways(work, contenders, tasks), few, waits=True)
        rows += rows_of(section, work, contenders, tasks, samples, tasks)
    return rows


async def worker_rows(
    section: str, work: Work, contenders: Callable[[int], Sequence[Bounded]], effort: Effort
) -> list[Row]:
    """One number of tasks, all numbers of workers."""
    rows: list[Row] = []
    for count in WORKERS:
        made, tasks = contenders(count), effort.worker_tasks
        for contender in made:
            if work is not BLOCKING:
                await check(contender)
        samples = await interleave_on_loop(ways(work, made, tasks), effort.worker_rounds, waits=True)
        rows += rows_of(section, work, made, tasks, samples, count)
    return rows


def worker_section(effort: Effort) -> Iterator[list[Row]]:
    """On the loop, then in threads."""
    tasks = effort.worker_tasks
    for what, work, contenders in (("wait", WORK[2], workers), ("block", BLOCKING, threads)):
        yield asyncio.run(worker_rows(f"{tasks} tasks that {what} 1 ms", work, contenders, effort))


SECTIONS: Mapping[str, Callable[[Effort], Iterable[list[Row]]]] = {
    "limits": lambda effort: (
        asyncio.run(limits(work, LIMITS, effort.tasks, effort.rounds, effort.large_rounds)) for work in WORK
    ),
    "four": lambda effort: (
        asyncio.run(limits(work, FOUR, effort.tasks, effort.four_rounds, effort.four_rounds)) for work in WORK[:2]
    ),
    "workers": worker_section,
    "contention": lambda effort: [contention.run(effort.contention_rounds)],
}
run = partial(chosen, SECTIONS)
