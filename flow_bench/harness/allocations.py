"""What an operation allocates."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from flow_bench.harness.contender import Contender

WANTED_BY = "FLOW_BENCH_ALLOCATIONS"
"""The environment variable that is 0 in the later passes of a run: what an operation allocates, the first one says."""
WANTED = os.environ.get(WANTED_BY) != "0"


def traced_peak(run: Callable[[], Any]) -> tuple[int, Any]:
    """Return the most bytes that Python objects took at once while ``run`` ran, above before, and its result."""
    with _collected():
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            made = run()
            return tracemalloc.get_traced_memory()[1] - before, made
        finally:
            tracemalloc.stop()


def peak_of(way: Contender) -> float:
    """Most bytes at once of one operation, traced. :raises Refused: if it did not do its work."""
    peak, made = traced_peak(way.make())
    way.refuse_unless_done(made)
    return float(peak)


@contextmanager
def collecting() -> Iterator[list[float]]:
    """Note the collector's pauses, in seconds."""
    pauses: list[float] = []
    began = 0.0

    def note(phase: str, _: object) -> None:
        nonlocal began
        if phase == "start":
            began = perf_counter()
        else:
            pauses.append(perf_counter() - began)

    gc.callbacks.append(note)
    try:
        yield pauses
    finally:
        gc.callbacks.remove(note)


@dataclass(frozen=True)
class Allocated:
    """What one operation takes of memory while what it returned is alive.

    :ivar bytes: the most that it had at once, above before (``tracemalloc``). What it freed and took again counts once,
        where Go's ``B/op`` counts each time.
    :ivar blocks: that it left allocated (:func:`sys.getallocatedblocks`), which Go's ``allocs/op`` come nearest to.
    """

    bytes: float
    blocks: float

    def per(self, count: int) -> Allocated:
        return Allocated(self.bytes / count, self.blocks / count)


def allocated(make: Callable[[], Callable[[], Any]]) -> Allocated:
    """Make an operation and call it, untimed. Tracing takes no blocks: it keeps its notes elsewhere."""
    operation = make()
    with _traced() as found:
        made = operation()
        found()
    del made
    return found.allocated


async def allocated_on_loop(make: Callable[[], Callable[[], Awaitable[Any]]]) -> Allocated:
    """As :func:`allocated`, awaiting the operation on the running loop."""
    operation = make()
    with _traced() as found:
        made = await operation()
        found()
    del made
    return found.allocated


class _Look:
    """What there is more than when it was made, once called."""

    def __init__(self) -> None:
        self.allocated = Allocated(0, 0)
        self._bytes = tracemalloc.get_traced_memory()[0]
        self._blocks = sys.getallocatedblocks()

    def __call__(self) -> None:
        blocks = sys.getallocatedblocks() - self._blocks
        self.allocated = Allocated(tracemalloc.get_traced_memory()[1] - self._bytes, max(0, blocks))


@contextmanager
def _traced() -> Iterator[_Look]:
    with _collected():
        tracemalloc.start()
        try:
            yield _Look()
        finally:
            tracemalloc.stop()


@contextmanager
def _collected() -> Iterator[None]:
    """Collect garbage, then let nobody collect any."""
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
