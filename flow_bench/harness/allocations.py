"""What an operation allocates."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

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
        """The same for one of so many things."""
        return Allocated(self.bytes / count, self.blocks / count)


def allocated(make: Callable[[], Callable[[], Any]]) -> Allocated:
    """Make two operations and call them, untimed: one for the blocks, one for the bytes, which tracing would change."""
    operation = make()
    with _collected():
        before = sys.getallocatedblocks()
        made = operation()
        blocks = sys.getallocatedblocks() - before
        del made
    return Allocated(traced_peak(make())[0], max(0, blocks))


async def allocated_on_loop(make: Callable[[], Callable[[], Awaitable[Any]]]) -> Allocated:
    """As :func:`allocated`, awaiting the operations on the running loop."""
    operation = make()
    with _collected():
        before = sys.getallocatedblocks()
        made = await operation()
        blocks = sys.getallocatedblocks() - before
        del made
    operation = make()
    with _collected():
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            await operation()
            return Allocated(tracemalloc.get_traced_memory()[1] - before, max(0, blocks))
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
