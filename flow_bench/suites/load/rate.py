"""Resident memory at a steady rate: idle, and while 100 and 1,000 workflows a second arrive.

Each rate has a process of its own that has done nothing before, so what it holds is the interpreter, ``flow``, this
package and the workflows (and psutil, half a megabyte, which it looks at itself with). All processes run at the same
time: together they keep less than half a core busy.

**Arrivals.** Workflow k is due at the start plus k / rate, by the clock: one that begins late makes no other one late.
A workflow is that of the soak. Only samples of the memory are kept, 16 bytes each. The line that a failure logs is
made, and written nowhere.

**Figures** are as docs/benchmarks.md says. From less than a minute no growth is given, since one page more in three
seconds would be 5 MB an hour.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import warnings
from array import array
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import flow
from flow_bench.harness.child import child
from flow_bench.harness.logs import unwritten
from flow_bench.harness.processes import peak_mb, resident
from flow_bench.harness.rows import Row, Target
from flow_bench.suites.load import live
from flow_bench.suites.load.soak import COLLECT, Soak, plan, slope

SECTION = "rate"
MODULE = "suites.load.rate"
RATES = (0, 100, 1_000)
ALIVE = 1_000
WAIT = 0.01
MB, MS, HOUR = 1e6, 1e3, 3_600.0
REACHED = 0.95
"""The least part of a rate that counts as the rate. A pause of the machine of 0.1 s at the end of a quick watch is as
much as that; of three minutes it is nothing."""
TELLING = 60.0
"""Seconds of watch from which a growth by the hour may be told."""
BLOCKS = "blocks_per_1000"
"""Figure of a growth: blocks more in use at the end of the watch than in its middle, per 1,000 workflows."""
BASELINE = Target(100, of="figure")
"""MB: what AI Workflow Engine aims at."""


@dataclass
class Arrivals:
    """Begins workflows when they are due."""

    rate: int  # per second
    clock: Callable[[], float]  # with ``sleep``, where time comes from
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    begun: int = 0  # how many have been
    late: float = 0.0  # seconds by which they began late, added up; ``latest``: the most
    latest: float = 0.0

    async def __call__(self, count: int, begin: Callable[[int], object], start: float) -> None:
        """Begin ``count`` more."""
        for _ in range(count):
            due = start + self.begun / self.rate
            await self.sleep(max(0.0, due - self.clock()))  # one that is due lets the loop turn, as a request would
            while (now := self.clock()) < due:  # a timer may fire a little early
                await self.sleep(due - now)
            self.late += now - due
            self.latest = max(self.latest, now - due)
            self.begun += 1
            begin(self.begun)


@dataclass
class Watched:
    """What a process at one rate tells."""

    rate: int
    seconds: float  # of the watch, after the warm-up
    ended: int  # workflows that ended within it
    whole: int  # workflows in all, each judged
    points: list[tuple[float, int]]  # seconds by the clock, and resident bytes then
    late: float = 0.0  # seconds by which a workflow began late, on average; ``latest``: the most
    latest: float = 0.0
    crowd: int = 0  # the most workflows that were alive at once
    blocks: int = 0  # of the allocator, in use at the end of the watch beyond those in its middle
    peak: float = 0.0  # MB

    @property
    def reached(self) -> float:
        return self.ended / self.seconds


async def watch(rate: int, warm: float, seconds: float, every: float, made: flow.Plan | None = None) -> Watched:
    """Let workflows arrive for ``warm`` and for ``seconds`` more, looking at the memory all ``every`` seconds."""
    workflow, soak = made or plan(WAIT), Soak()
    clock = asyncio.get_running_loop().time
    arrivals = Arrivals(rate, clock)

    async def one(number: int) -> None:
        soak.judge(number, await flow.execute(workflow, {"number": number}, config=COLLECT))

    await one(1)  # the idle one too has run a workflow
    soak = Soak()
    times, sizes = array("d"), array("q")  # no blocks of their own, or they would be counted
    crowd, start = 0, clock()
    try:
        async with asyncio.TaskGroup() as running:
            looking = running.create_task(_look(times, sizes, clock, start + warm, every))

            def begin(number: int) -> None:
                nonlocal crowd
                soak.begun = number
                crowd = max(crowd, number - soak.ended)
                running.create_task(one(number))

            ended, took, blocks = await _stretches(arrivals, begin, soak, start, warm, seconds)
            times.append(clock())
            sizes.append(resident())
            looking.cancel()
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
    soak.refuse_unless_whole()
    late = arrivals.late / max(arrivals.begun, 1)
    points = list(zip(times, sizes, strict=True))
    return Watched(rate, took, ended, soak.ended, points, late, arrivals.latest, crowd, blocks, peak_mb())


async def _stretches(
    arrivals: Arrivals, begin: Callable[[int], object], soak: Soak, start: float, warm: float, seconds: float
) -> tuple[int, float, int]:
    """Warm up, then go on; return how many ended while going on, how long that took, and the blocks of its half."""
    clock, rate = arrivals.clock, arrivals.rate
    if not rate:
        await asyncio.sleep(warm + seconds / 2)
        middle = _blocks()
        await asyncio.sleep(seconds / 2)
        return 0, clock() - start - warm, _blocks() - middle
    await arrivals(round(rate * warm), begin, start)
    before, began = soak.ended, clock()
    half = round(rate * seconds) // 2
    await arrivals(half, begin, start)
    middle = _blocks()
    await arrivals(round(rate * seconds) - half, begin, start)
    ended, took = soak.ended - before, clock() - began
    return ended, took, _blocks() - middle


def _blocks() -> int:
    """Blocks of Python's allocator in use, those of workflows that are alive among them."""
    gc.collect()
    return sys.getallocatedblocks()


async def _look(
    times: array[float], sizes: array[int], clock: Callable[[], float], begin: float, every: float
) -> None:
    """Note the resident memory again and again, from ``begin`` on."""
    await asyncio.sleep(max(0.0, begin - clock()))
    while True:
        times.append(clock())
        sizes.append(resident())
        await asyncio.sleep(every)


async def alive(count: int, nodes: int = live.NODES) -> float:
    """Resident MB while ``count`` workflows all wait in their sixth node."""
    return await live.all_waiting(live.WAYS[0], count, resident, _begun, nodes) / MB


def _begun(workflow: live.Workflow) -> Awaitable[int]:
    return asyncio.ensure_future(workflow())


def rows_of(found: Watched) -> list[Row]:
    """The rows of one rate; without figures if it was not reached."""
    what = f"{found.rate:,} workflows/s" if found.rate else "idle"
    reached = found.reached >= REACHED * found.rate
    missing = "" if reached else f"n/a: {found.rate:,} workflows/s were to be reached, and {found.reached:,.1f} were"
    rows = [
        _row(f"{what}: baseline", "MB", found.points[0][1] / MB, missing, target=BASELINE),
        _row(f"{what}: peak", "MB", found.peak, missing),
        _growth(what, found, missing),
    ]
    if found.rate:
        note = missing or (
            f"{found.whole:,} workflows, {found.whole // 10:,} failed; begun {found.late * MS:.1f} ms late on average, "
            f"{found.latest * MS:.0f} ms at most; {found.crowd:,} alive at once at most"
        )
        rows.append(Row(SECTION, f"{what}: reached", "workflows/s", figure=found.reached, note=note, better="higher"))
    return rows


def _row(label: str, unit: str, figure: float, missing: str, note: str = "", **more: Any) -> Row:
    return Row(SECTION, label, unit, figure=None if missing else figure, note=missing or note, **more)


def _growth(what: str, found: Watched, missing: str) -> Row:
    span = found.points[-1][0] - found.points[0][0]
    if not missing and span < TELLING:
        missing = f"n/a: it takes a minute to tell, and these were {span:.1f} s: measure without --quick"
    first, last = found.points[0][1] / MB, found.points[-1][1] / MB
    note = f"extrapolated from {span:.0f} s: {first:.1f} MB, then {last:.1f} MB"
    grows = slope(found.points) / MB * HOUR
    figures = {BLOCKS: found.blocks / found.ended * 2_000} if found.rate and not missing else {}
    return _row(f"{what}: growth", "MB/hour", grows, missing, note=note, better="zero", figures=figures)


@dataclass(frozen=True)
class Effort:
    """How long, in seconds: the warm-up, the watch after it, and from one look at the memory to the next."""
    warm: float = 20.0
    seconds: float = 180.0
    every: float = 0.5
    rates: Sequence[int] = RATES
    alive: int = ALIVE


QUICK = Effort(warm=0.5, seconds=1.2, every=0.05)


def run(effort: Effort) -> list[Row]:
    """Return the rows of all rates, and of many workflows alive at once."""
    held = child(MODULE, "alive", effort.alive)
    with ThreadPoolExecutor(len(effort.rates)) as threads:
        watched = threads.map(partial(_watched_in_child, effort), effort.rates)
        rows = [row for found in watched for row in rows_of(found)]
    label, note = f"{effort.alive:,} workflows alive at once: resident", "each waits in its sixth of ten nodes"
    return [*rows, Row(SECTION, label, "MB", figure=held, target=BASELINE, note=note)]


def _watched_in_child(effort: Effort, rate: int) -> Watched:
    found = child(MODULE, "watch", rate, *map(str, (effort.warm, effort.seconds, effort.every)))
    return Watched(**found)


def main(what: str, *arguments: str) -> None:
    """Entry of the child process: ``watch RATE WARM SECONDS EVERY`` or ``alive COUNT``."""
    if what == "alive":
        print(json.dumps(asyncio.run(alive(int(arguments[0])))))
        return
    warm, seconds, every = map(float, arguments[1:])
    with unwritten(), warnings.catch_warnings():
        warnings.simplefilter("ignore", flow.errors.BlockingNodeWarning)  # others had the processor, as the rows tell
        found = asyncio.run(watch(int(arguments[0]), warm, seconds, every))
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main(*sys.argv[1:])
