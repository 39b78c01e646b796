"""Ways to do the same thing, timed in interleaved rounds, each checked for having done it; and memory, traced."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time
from types import FunctionType
from typing import Any

import anyio.lowlevel

from flow_bench.checks import Refused
from flow_bench.measure import Measured, Samples, schedule
from flow_bench.processes import environment


@dataclass(frozen=True)
class Way:
    """One contender.

    :ivar run: what is timed; where an event loop runs, it may return an awaitable.
    :ivar done: tells, from what ``run`` returned, whether all the work was done; not timed.
    :ivar per: operations in one ``run``.
    :ivar before: called before each ``run``, not timed.
    """

    label: str
    run: Callable[[], Any]
    done: Callable[[Any], bool]
    per: int = 1
    before: Callable[[], object] | None = None

    def checked(self, raw: Any) -> None:
        """:raises Refused: unless the work was done."""
        if not self.done(raw):
            raise Refused(self.label, ["a timed run did not do its work"])


def time_ways(ways: Sequence[Way], rounds: int, clock: Callable[[], float] = perf_counter) -> Samples:
    """Seconds per operation of each way, by label, round after round.

    :param clock: :func:`time.thread_time` leaves out what others do meanwhile, and what is only waited for.
    """
    samples: Samples = {way.label: [] for way in ways}
    for turn, which in schedule(len(ways), rounds):
        way = ways[which]
        if way.before is not None:
            way.before()
        cpu, began = process_time(), clock()
        raw = way.run()
        took, cpu = clock() - began, process_time() - cpu
        way.checked(raw)
        del raw  # not freed on the next one's time
        if turn >= 0:
            samples[way.label].append(Measured(took / way.per, cpu / way.per))
    return samples


async def time_ways_on_loop(ways: Sequence[Way], rounds: int, clock: Callable[[], float] = perf_counter) -> Samples:
    """As :func:`time_ways`, awaiting what ``run`` returns; the running loop turns once between two samples."""
    samples: Samples = {way.label: [] for way in ways}
    for turn, which in schedule(len(ways), rounds):
        way = ways[which]
        await anyio.lowlevel.checkpoint()
        began = clock()
        raw = await way.run()
        took = clock() - began
        way.checked(raw)
        del raw  # not freed on the next one's time
        if turn >= 0:
            samples[way.label].append(took / way.per)
    return samples


def again(run: Callable[[], Any], times: int) -> Callable[[], list[Any]]:
    """Return a function that calls ``run`` so often."""
    return lambda: [run() for _ in range(times)]


def again_on_loop(run: Callable[[], Awaitable[Any]], times: int) -> Callable[[], Awaitable[list[Any]]]:
    """As :func:`again`, awaiting each call."""

    async def runs() -> list[Any]:
        return [await run() for _ in range(times)]

    return runs


def fresh(function: Any) -> Any:
    """Return a copy of a function with code of its own.

    The interpreter adapts code to the types it meets: a loop shared by two contenders would serve neither.
    """
    code = function.__code__.replace(co_name=function.__name__)
    return FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)


def traced_peak(run: Callable[[], Any]) -> tuple[int, Any]:
    """Return the most bytes that Python objects took at once while ``run`` ran, above before, and its result."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = run()
        return tracemalloc.get_traced_memory()[1] - before, made
    finally:
        tracemalloc.stop()
        if was_on:
            gc.enable()


def child(module: str, *arguments: str | int) -> Any:
    """Run a module of this package in a new process and return the JSON it prints.

    :raises Refused: with the last line of its errors, if it fails.
    """
    command = [sys.executable, "-m", f"flow_bench.{module}", *map(str, arguments)]
    done = subprocess.run(command, env=environment(), check=False, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise Refused(" ".join(command[3:]), last)
    return json.loads(done.stdout)
