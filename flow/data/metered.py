"""Stores that count and time operations: :class:`Counting`, :class:`Timed`, :class:`Sampled`.

The hot operations of ``Counting`` and ``Sampled`` repeat their base's few lines instead of calling them: the call
would cost more than the operation.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache
from itertools import cycle
from time import perf_counter
from typing import Any, Final

from flow.data.key import plain_key, refuse
from flow.data.measures import SLOW_KEPT, MeteredLock, Recorder, SlowOperation
from flow.data.standard import Store
from flow.types import MISSING


class Counting(Store):
    """``metrics="counting"``.

    Counters are floats, exact up to 2**53: CPython recycles float objects, so adding to one is cheaper than
    adding to an int. No call stands between reading and writing one, so under the GIL no count is lost.
    """

    __slots__ = ("_deletes", "_gets", "_has", "_increments", "_misses", "_sets", "_updates")

    def _forget(self) -> None:
        self._sets = self._gets = self._misses = self._deletes = self._has = self._increments = self._updates = 0.0

    def set(self, key: str, value: Any) -> None:
        if key.__class__ is not str:
            key = plain_key(key)
        self._sets += 1.0
        try:
            self._values[key] = value
        except TypeError:
            with self._lock:
                self._unshared()[key] = value

    def get(self, key: str, default: Any = None, /) -> Any:
        self._gets += 1.0
        try:
            return self._values[key]
        except KeyError:
            self._misses += 1.0
            return default
        except TypeError:
            refuse(key)

    def __getitem__(self, key: str) -> Any:
        self._gets += 1.0
        try:
            return self._values[key]
        except KeyError:
            self._misses += 1.0
            raise self._missing(key) from None
        except TypeError:
            refuse(key)

    def delete(self, key: str) -> bool:
        self._deletes += 1.0
        return super().delete(key)

    def has(self, key: object) -> bool:
        self._has += 1.0
        try:
            return key in self._values
        except TypeError:
            refuse(key)

    def increment(self, key: str, by: float = 1) -> Any:
        self._increments += 1.0
        return super().increment(key, by)

    def update(self, key: str, fn: Callable[[Any], Any], default: Any = MISSING) -> Any:
        self._updates += 1.0
        return super().update(key, fn, default)

    def _counts(self) -> dict[str, Any]:
        counted = {
            "set": self._sets, "get": self._gets, "delete": self._deletes, "has": self._has,
            "increment": self._increments, "update": self._updates,
        }  # fmt: skip
        return {
            "operations": {name: int(count) for name, count in counted.items() if count},
            "hits": int(self._gets - self._misses),
            "misses": int(self._misses),
        }


class Timed(Store):
    """``metrics="timing"``: each operation is timed, from within the store's lock where it takes one."""

    __slots__ = ("_every", "_misses", "_recorders", "_slow", "_slow_after", "_slow_count")

    def _new_lock(self) -> Any:
        return MeteredLock()

    def _forget(self) -> None:
        self._lock.waits, self._lock.seconds = 0, 0.0
        self._every = 1  # one in so many operations is timed
        self._recorders: dict[str, Recorder] = {}
        self._misses = 0
        self._slow_after = self._config.slow_after if self._config.slow_after is not None else float("inf")
        self._slow_count = 0
        self._slow: deque[SlowOperation] = deque(maxlen=SLOW_KEPT)

    def _record(self, operation: str, key: str, start: float) -> None:
        seconds = perf_counter() - start
        recorder = self._recorders.get(operation)
        if recorder is None:
            recorder = self._recorders.setdefault(operation, Recorder())
        recorder.add(seconds)
        if seconds >= self._slow_after:
            self._slow_count += 1
            self._slow.append(SlowOperation(operation, str(key), seconds))

    def set(self, key: str, value: Any) -> None:
        start = perf_counter()
        Store.set(self, key, value)
        self._record("set", key, start)

    def get(self, key: str, default: Any = None, /) -> Any:
        value = self._looked_up(key)
        return default if value is MISSING else value

    def __getitem__(self, key: str) -> Any:
        value = self._looked_up(key)
        if value is MISSING:
            raise self._missing(key)
        return value

    def _looked_up(self, key: str) -> Any:
        start = perf_counter()
        value = Store.get(self, key, MISSING)
        self._record("get", key, start)
        if value is MISSING:
            self._misses += 1
        return value

    def delete(self, key: str) -> bool:
        start = perf_counter()
        was_there = Store.delete(self, key)
        self._record("delete", key, start)
        return was_there

    def has(self, key: object) -> bool:
        start = perf_counter()
        there = Store.has(self, key)
        self._record("has", str(key), start)
        return there

    def increment(self, key: str, by: float = 1) -> Any:
        start = perf_counter()
        new = Store.increment(self, key, by)
        self._record("increment", key, start)
        return new

    def update(self, key: str, fn: Callable[[Any], Any], default: Any = MISSING) -> Any:
        start = perf_counter()
        new = Store.update(self, key, fn, default)
        self._record("update", key, start)
        return new

    def _counts(self) -> dict[str, Any]:
        misses = self._misses * self._every  # first: a get is recorded before its miss is counted
        recorders = self._recorders.copy()
        timed = {name: recorder.latency() for name, recorder in recorders.items() if recorder.recent}
        operations = {name: latency.timed * self._every for name, latency in timed.items()}
        return {
            "operations": operations,
            "hits": operations.get("get", 0) - misses,
            "misses": misses,
            "latency": timed,
            "slow": self._slow_count,
            "slow_operations": tuple(self._slow.copy()),
        }


_RAREST: Final = 1e12
"""Operations between two timed ones; one divided by a very small rate is infinite."""


@cache
def _gaps(every: int) -> tuple[int, ...]:
    """Return how many operations pass between timed ones: ``every - 1`` on average, but not the same each time.

    A fixed step would see only the gets of a program that sets and gets in turn. A linear congruential generator
    will do: nobody gains by guessing.
    """
    seed, found = 1, []
    for _ in range(499):
        seed = (seed * 1_103_515_245 + 12_345) & 0x7FFFFFFF
        found.append(seed * (2 * every - 1) >> 31)
    return tuple(found)


_TICKS: Final = 256
"""Operations counted by one iterator, at most: CPython keeps the ints below it, and makes an object for any other."""


class Sampled(Timed):
    """``metrics="sampled"``: one in ``1 / sample_rate`` operations is timed, by a countdown over all of them.

    The countdown is a range's iterator: taking its next item in a ``for`` is cheaper than counting in a slot.
    """

    __slots__ = ("_left", "_ticks", "_upcoming")

    def _forget(self) -> None:
        super()._forget()
        self._every = round(min(1 / self._config.sample_rate, _RAREST))
        self._upcoming = cycle(_gaps(self._every))
        self._wind_up(next(self._upcoming))

    def _wind_up(self, operations: int) -> None:
        """Let so many operations pass."""
        now = operations if operations < _TICKS else _TICKS
        self._left = operations - now
        self._ticks = iter(range(now))

    def set(self, key: str, value: Any) -> None:
        for _ in self._ticks:
            if key.__class__ is not str:
                key = plain_key(key)
            try:
                self._values[key] = value
            except TypeError:
                with self._lock:
                    self._unshared()[key] = value
            return
        if self._ran_out():
            Timed.set(self, key, value)
        else:
            Store.set(self, key, value)

    def get(self, key: str, default: Any = None, /) -> Any:
        for _ in self._ticks:
            try:
                return self._values[key]
            except KeyError:
                return default
            except TypeError:
                refuse(key)
        return Timed.get(self, key, default) if self._ran_out() else Store.get(self, key, default)

    def __getitem__(self, key: str) -> Any:
        return Timed.__getitem__(self, key) if self._due() else Store.__getitem__(self, key)

    def delete(self, key: str) -> bool:
        return Timed.delete(self, key) if self._due() else Store.delete(self, key)

    def has(self, key: object) -> bool:
        return Timed.has(self, key) if self._due() else Store.has(self, key)

    def increment(self, key: str, by: float = 1) -> Any:
        return Timed.increment(self, key, by) if self._due() else Store.increment(self, key, by)

    def update(self, key: str, fn: Callable[[Any], Any], default: Any = MISSING) -> Any:
        return Timed.update(self, key, fn, default) if self._due() else Store.update(self, key, fn, default)

    def _due(self) -> bool:
        """Count an operation, and tell whether it is to be timed."""
        for _ in self._ticks:
            return False
        return self._ran_out()

    def _ran_out(self) -> bool:
        """Count an operation that found no tick, and tell whether it is to be timed."""
        left = self._left
        self._wind_up(left - 1 if left else next(self._upcoming))
        return not left
