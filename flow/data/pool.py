"""Reuse of objects: :class:`ObjectPool`."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

import msgspec

from flow.awaits import UNAWAITED, is_unawaited
from flow.config.fields import is_int
from flow.errors import ConfigError, UsageError, shown
from flow.types import MISSING

T = TypeVar("T")

DEFAULT_IDLE: Final = 64
"""Idle objects a pool keeps."""


class PoolStatistics(msgspec.Struct, frozen=True, gc=False):
    """Counts of an :class:`ObjectPool`.

    :ivar created: calls of the factory that returned.
    :ivar reused: times an idle object was handed out.
    :ivar idle: objects waiting to be used again.
    :ivar in_use: objects handed out and not put back (yet).
    :ivar discarded: objects given up: the body or the reset raised, or enough were idle.
    """

    created: int
    reused: int
    idle: int
    in_use: int
    discarded: int


class ObjectPool(Generic[T]):
    """Hands out objects and takes them back for the next user.

    A pool pays if making an object costs more than resetting it: for example, a store whose blocks or layout stay. It
    does not pay for plain dicts and small objects.

    :param factory: makes an object when none is idle.
    :param reset: called with each object that is put back, before it is used again.
    :param capacity: most idle objects kept; beyond that the pool drops the objects that are idle longest.
    :raises ConfigError: if ``factory`` or ``reset`` is not callable or ``capacity`` no integer >= 0.

    >>> pool = ObjectPool(list, reset=list.clear)
    >>> with pool.acquire() as rows:
    ...     rows.append("a row")
    >>> with pool.acquire() as rows:
    ...     rows
    []

    Any number of threads may use it; no lock is taken, since a deque's and a set's operations are atomic.
    """

    __slots__ = ("_created", "_factory", "_idle", "_out", "_reset", "_reused")

    def __init__(
        self, factory: Callable[[], T], reset: Callable[[T], object] | None = None, capacity: int = DEFAULT_IDLE
    ) -> None:
        faults = []
        if not callable(factory):
            faults.append(f"factory must be callable, not {shown(factory)}")
        if reset is not None and not callable(reset):
            faults.append(f"reset must be callable or None, not {shown(reset)}")
        for label, fn in (("factory", factory), ("reset", reset)):
            if is_unawaited(fn):
                faults.append(f"{label} {UNAWAITED}, not {shown(fn)}")
        if not is_int(capacity) or capacity < 0:
            faults.append(f"capacity must be an integer >= 0, not {shown(capacity)}")
        if faults:
            raise ConfigError("ObjectPool", faults)
        self._factory = factory
        self._reset = reset
        self._idle: deque[T] = deque(maxlen=min(capacity, sys.maxsize))
        self._out: set[int] = set()  # ids, not references: an object that is never put back can be freed
        self._created = self._reused = 0

    def get(self) -> T:
        """Hand out an idle object, else a new one. Give it to :meth:`put` afterwards. O(1)."""
        try:
            item = self._idle.pop()
        except IndexError:
            item = self._factory()
            self._created += 1
        else:
            self._reused += 1
        self._out.add(id(item))
        return item

    def put(self, item: T) -> None:
        """Reset ``item`` and keep it for the next :meth:`get`.

        An error of the reset is raised, and the item given up.

        :raises UsageError: if ``item`` is not in use: put back before, or not from this pool.
        """
        self._end_use(item)
        if self._reset is not None:
            self._reset(item)
        self._idle.append(item)

    def discard(self, item: T) -> None:
        """Give ``item`` up instead of putting it back.

        :raises UsageError: as :meth:`put` does.
        """
        self._end_use(item)

    def _end_use(self, item: T) -> None:
        try:
            self._out.remove(id(item))
        except KeyError:
            raise UsageError(
                f"{shown(item)} is not in use: it was put back before, or it is not from this ObjectPool"
            ) from None

    def acquire(self) -> Lease[T]:
        """Return a context manager that gets an object and puts it back, or discards it if the body raises."""
        return Lease(self)

    def clear(self) -> None:
        """Give up all idle objects."""
        self._idle.clear()

    def statistics(self) -> PoolStatistics:
        """Count what was done; exact while no other thread uses the pool. O(1)."""
        created, idle, out = self._created, len(self._idle), len(self._out)
        return PoolStatistics(created, self._reused, idle, out, created - idle - out)

    def __repr__(self) -> str:
        return f"ObjectPool({len(self._idle)} idle, {len(self._out)} in use)"


class Lease(Generic[T]):
    """One use of a pool's object; see :meth:`ObjectPool.acquire`."""

    __slots__ = ("_item", "_pool")

    def __init__(self, pool: ObjectPool[T]) -> None:
        self._pool = pool
        self._item: Any = MISSING

    def __enter__(self) -> T:
        """:raises UsageError: if it is entered already."""
        if self._item is not MISSING:
            raise UsageError("this lease is entered already: call pool.acquire() for each use")
        self._item = item = self._pool.get()
        return item

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        item, self._item = self._item, MISSING
        if kind is None:
            self._pool.put(item)
        else:
            self._pool.discard(item)
