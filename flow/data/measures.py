"""Counts and times of stores, and their statistics."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from functools import partial
from threading import RLock
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from flow.data.arena import ArenaStatistics

RECENT: Final = 1_024
"""Latencies kept per operation; percentiles are of these."""

SLOW_KEPT: Final = 16
"""Slow operations kept, the last ones."""


class Latency(msgspec.Struct, frozen=True):
    """How long one kind of operation took, in seconds. ``p50`` and ``p99`` are of the last :data:`RECENT` timed."""

    timed: int
    mean: float
    p50: float
    p99: float
    max: float


class SlowOperation(msgspec.Struct, frozen=True):
    """An operation that took ``DataConfig.slow_after`` seconds or longer."""

    operation: str
    key: str
    seconds: float


class DataStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Size of a store, and its operations since it was made or reset.

    :ivar memory: name of the memory; of a callable, its own name.
    :ivar keys: how many it holds now.
    :ivar table_bytes: bytes of the table of keys, or of the list of slots; without the keys and values themselves.
    :ivar arena: blocks, used and wasted bytes; None unless ``memory="arena"``.
    :ivar operations: how many of each name; with ``metrics="sampled"`` an estimate, as hits and misses are.
    :ivar hits: gets (and ``data[key]``) that found a value.
    :ivar misses: gets that found none.
    :ivar latency: by operation, waiting for the lock not included; empty unless timed.
    :ivar slow: how many timed operations were slow.
    :ivar slow_operations: the last of them.
    :ivar lock_waits: how often a thread had to wait for the store's lock; counted where operations are timed.
    :ivar lock_seconds: how long in all.
    :ivar interning: the string pool's own statistics; None if there is no pool.
    """

    memory: str
    metrics: str
    keys: int
    table_bytes: int
    arena: ArenaStatistics | None
    interning: Any
    lock_waits: int
    lock_seconds: float
    operations: Mapping[str, int] = {}
    hits: int = 0
    misses: int = 0
    latency: Mapping[str, Latency] = {}
    slow: int = 0
    slow_operations: tuple[SlowOperation, ...] = ()


def memory_name(memory: Any) -> str:
    """Return how statistics call a store's memory."""
    if isinstance(memory, str):
        return memory
    return str(getattr(memory, "__qualname__", None) or type(memory).__name__)


class Recorder:
    """Durations of one kind of operation. Recording is O(1) and keeps a bounded number."""

    __slots__ = ("count", "longest", "recent", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = self.longest = 0.0
        self.recent: deque[float] = deque(maxlen=RECENT)

    def add(self, seconds: float) -> None:
        """Record one."""
        self.count += 1
        self.total += seconds
        if seconds > self.longest:
            self.longest = seconds
        self.recent.append(seconds)

    def latency(self) -> Latency:
        """Sum up what was recorded; at least one was."""
        ordered = sorted(self.recent.copy())
        last = len(ordered) - 1
        p50, p99 = ordered[round(last * 0.5)], ordered[round(last * 0.99)]
        return Latency(self.count, self.total / self.count, p50, p99, self.longest)


class MeteredLock:
    """A re-entrant lock that counts how often and how long threads wait for it."""

    # After a call, and when a function begins, Ctrl-C may raise KeyboardInterrupt. Were that between taking the lock
    # and the body of "with", or before releasing it, it would never be released. So it is taken by "for", which gets
    # its items without a call, and __exit__ is the lock's own.
    __slots__ = ("__exit__", "_tries", "_waiting", "seconds", "waits")

    def __init__(self) -> None:
        lock = RLock()
        self.__exit__ = lock.__exit__
        self._tries = iter(partial(lock.acquire, blocking=False), None)
        self._waiting = iter(lock.acquire, None)
        self.waits = 0
        self.seconds = 0.0

    def __enter__(self) -> None:
        for free in self._tries:
            if free:
                return
            break
        start = perf_counter()
        for _ in self._waiting:
            try:
                self.waits += 1  # we hold it: no other thread counts now
                self.seconds += perf_counter() - start
            except BaseException:
                self.__exit__(None, None, None)
                raise
            return
