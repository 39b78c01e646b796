"""Follow the status of every node of a run: :class:`StatusTracker`.

Legal transitions (:data:`TRANSITIONS`); all others raise :class:`flow.errors.TransitionError`::

    pending ──> ready ──> running | waiting ──> completed | failed | cancelled
       │          │ ^        │
       │          │ └────────┘ (a retry)
       └──────────┴──> skipped | bypassed | cancelled

A node goes from pending to running or waiting only through ready, and never leaves completed, failed, skipped,
bypassed or cancelled.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from math import isnan
from threading import Lock
from typing import Any, Final, NoReturn

import msgspec

from flow.awaits import UNAWAITED, is_unawaited
from flow.errors import TransitionError, UsageError, nearest, shown
from flow.logs import log_broken
from flow.plan.plan import Plan
from flow.types import TERMINAL, Status

TRANSITIONS: Final[Mapping[Status, tuple[Status, ...]]] = {
    Status.PENDING: (Status.READY, Status.SKIPPED, Status.BYPASSED, Status.CANCELLED),
    Status.READY: (Status.RUNNING, Status.WAITING, Status.SKIPPED, Status.BYPASSED, Status.CANCELLED),
    Status.RUNNING: (Status.COMPLETED, Status.FAILED, Status.CANCELLED, Status.READY),
    Status.WAITING: (Status.COMPLETED, Status.FAILED, Status.CANCELLED),
    Status.COMPLETED: (),
    Status.FAILED: (),
    Status.SKIPPED: (),
    Status.BYPASSED: (),
    Status.CANCELLED: (),
}
"""Where a node may go from each status."""

_STATUSES: Final = tuple(Status)  # a status's code is its place here
_CODES: Final = {status: code for code, status in enumerate(_STATUSES)}
_LEGAL: Final = tuple(frozenset(map(_CODES.__getitem__, TRANSITIONS[status])) for status in _STATUSES)
_STARTED: Final = frozenset((_CODES[Status.RUNNING], _CODES[Status.WAITING]))
_TERMINAL: Final = frozenset(map(_CODES.__getitem__, TERMINAL))
_UNSET: Final = float("nan")


class StatusChange(msgspec.Struct, frozen=True, gc=False):
    """The record that subscribers get. ``at`` is the time of the tracker's clock, in seconds."""

    node: str
    old: Status
    new: Status
    at: float


class StatusStatistics(msgspec.Struct, frozen=True, gc=False):
    """Number of nodes in each state, at one moment.

    :ivar finished: nodes that are completed, failed, skipped, bypassed or cancelled.
    :ivar done: whether all nodes are finished.
    :ivar elapsed: seconds from the first node's start to now, or to the last change once done;
        None before, and without timestamps.
    """

    pending: int
    ready: int
    running: int
    completed: int
    failed: int
    skipped: int
    bypassed: int
    cancelled: int
    total: int
    finished: int
    done: bool
    elapsed: float | None = None
    waiting: int = 0


class StatusTracker(Mapping[str, Status]):
    """The status of every node by name, changed only in legal ways.

    A read-only mapping (``tracker["x"]``, iteration over names, ``dict(tracker)``) plus
    :meth:`set`. One byte per node, and 16 more with timestamps.

    Thread-safe: changes and :meth:`statistics` hold a lock while they touch
    the state, never while they call subscribers. So one node's records come in order if one
    thread at a time changes that node; between nodes changed by different threads none is kept.

    :param names: node names, all different, or a Plan. All begin as pending.
    :param timestamps: note when each node started and finished.
    :param clock: seconds on a monotonic scale.
    :raises UsageError: if a name occurs twice.
    """

    __slots__ = (
        "_clock", "_codes", "_counts", "_finished_at", "_first_start", "_index", "_last_change", "_lock",
        "_names", "_started_at", "_subscribers", "_timestamps",
    )  # fmt: skip

    def __init__(
        self,
        names: Iterable[str] | Plan,
        *,
        timestamps: bool = False,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if isinstance(names, Plan):
            self._names, self._index = names._nodes.names, names._nodes.index
        else:
            self._names = list(names)
            self._index = {name: i for i, name in enumerate(self._names)}
            if len(self._index) != len(self._names):
                twice = [name for i, name in enumerate(self._names) if self._index[name] != i]
                raise UsageError(f"node names must differ; there twice: {', '.join(map(repr, dict.fromkeys(twice)))}")
        if is_unawaited(clock):
            raise UsageError(f"the clock of a StatusTracker {UNAWAITED}, not {shown(clock)}")
        self._lock = Lock()
        self._subscribers: tuple[list[Callable[[StatusChange], object]], ...] = ()
        self._timestamps = timestamps
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        """Make every node pending again and forget all timestamps. Subscribers stay and are not told. O(nodes)."""
        count = len(self._names)
        with self._lock:
            self._codes = bytearray(count)
            self._counts = [count] + [0] * (len(_STATUSES) - 1)
            self._started_at = array("d", [_UNSET]) * (count if self._timestamps else 0)
            self._finished_at = self._started_at[:]
            self._first_start = self._last_change = _UNSET

    # -- change ------------------------------------------------------------------------------

    def set(self, name: str, status: Status | str) -> None:
        """Move a node to ``status`` and tell the subscribers. O(1), plus the subscribers.

        :raises TransitionError: if :data:`TRANSITIONS` forbids it; nothing has changed then.
        :raises UsageError: if the node or the status is unknown.
        """
        i = self._find(name)
        new = _code(status)
        subscribers, at = self._subscribers, 0.0
        with self._lock:
            old = self._codes[i]
            if new not in _LEGAL[old]:
                _refuse(name, _STATUSES[old], _STATUSES[new])
            self._codes[i] = new
            self._counts[old] -= 1
            self._counts[new] += 1
            if self._timestamps or subscribers:
                at = self._clock()
                if self._timestamps:
                    self._stamp(i, new, at)
        if subscribers:
            _tell(subscribers, StatusChange(name, _STATUSES[old], _STATUSES[new], at))

    def _stamp(self, i: int, new: int, at: float) -> None:
        self._last_change = at
        if new in _STARTED:
            if isnan(self._started_at[i]):  # not a retry
                self._started_at[i] = at
            if isnan(self._first_start):
                self._first_start = at
        elif new in _TERMINAL:
            self._finished_at[i] = at

    def subscribe(self, callback: Callable[[StatusChange], object]) -> Callable[[], None]:
        """Call ``callback`` with a :class:`StatusChange` after every change, in the thread that made it.

        An exception of the callback is logged (logger ``flow``) and has no other effect.

        :return: a function that ends this subscription; calling it again does nothing.
        """
        if not callable(callback):
            raise UsageError(f"subscribe takes a function of a StatusChange, not {shown(callback)}")
        if is_unawaited(callback):
            raise UsageError(f"subscribe: the callback {UNAWAITED}, not {shown(callback)}")
        entry = [callback]  # its identity tells two subscriptions of one callback apart
        with self._lock:
            self._subscribers = (*self._subscribers, entry)

        def unsubscribe() -> None:
            with self._lock:
                self._subscribers = tuple(other for other in self._subscribers if other is not entry)

        return unsubscribe

    # -- look --------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Status:
        """The node's status. O(1). :raises UsageError: for an unknown node, naming the nearest ones."""
        return _STATUSES[self._codes[self._find(name)]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._index

    def get(self, name: str, default: Any = None) -> Any:
        """The node's status, or ``default`` for an unknown node."""
        if name not in self:
            return default
        return self[name]

    def __repr__(self) -> str:
        shown = ", ".join(f"{status}={count}" for status, count in self.counts.items() if count)
        return f"StatusTracker({shown})"

    def names_in(self, status: Status | str) -> list[str]:
        """Names of the nodes that have ``status``, in definition order. One scan of the bytes."""
        code = _code(status)
        found = []
        i = self._codes.find(code)
        while i >= 0:
            found.append(self._names[i])
            i = self._codes.find(code, i + 1)
        return found

    def count(self, status: Status | str) -> int:
        """How many nodes have ``status``. O(1). :raises UsageError: if there is no such status."""
        return self._counts[_code(status)]

    @property
    def counts(self) -> dict[Status, int]:
        """How many nodes have each status, zeros included."""
        return dict(zip(_STATUSES, self._counts, strict=True))

    def statistics(self) -> StatusStatistics:
        """A consistent, immutable snapshot of the counts. O(1)."""
        with self._lock:
            counts = self._counts.copy()
            first, last = self._first_start, self._last_change
        total = len(self._names)
        finished = sum(counts[code] for code in _TERMINAL)
        done = finished == total
        elapsed = None if isnan(first) else (last if done else self._clock()) - first
        pending, ready, running, waiting, completed, failed, skipped, bypassed, cancelled = counts
        return StatusStatistics(
            pending, ready, running, completed, failed, skipped, bypassed, cancelled, total, finished, done, elapsed,
            waiting,
        )  # fmt: skip

    # -- timestamps --------------------------------------------------------------------------

    def started(self, name: str) -> float | None:
        """When the node's first attempt began, by the tracker's clock; None if it has not.

        :raises UsageError: for an unknown node, or a tracker made without timestamps.
        """
        return self._stamped(self._started_at, name)

    def finished(self, name: str) -> float | None:
        """When the node reached its last status (skipped, bypassed and cancelled too); None if it has not.

        :raises UsageError: as :meth:`started`.
        """
        return self._stamped(self._finished_at, name)

    def duration(self, name: str) -> float | None:
        """Seconds from the first attempt's start to the end, retries included; None if it lacks either.

        :raises UsageError: as :meth:`started`.
        """
        started, finished = self.started(name), self.finished(name)
        return None if started is None or finished is None else finished - started

    def _stamped(self, stamps: array[float], name: str) -> float | None:
        i = self._find(name)
        if not self._timestamps:
            raise UsageError("this tracker keeps no times: make it with StatusTracker(..., timestamps=True)")
        at = stamps[i]
        return None if isnan(at) else at

    def _find(self, name: str) -> int:
        i = self._index.get(name)
        if i is None:
            raise UsageError(f"there is no node {shown(name)}{nearest(name, self._names)}")
        return i


def _code(status: Status | str) -> int:
    code = _CODES.get(status) if isinstance(status, str) else None  # type: ignore[call-overload]
    if code is None:
        raise UsageError(f"{shown(status)} is no status; one of {', '.join(_STATUSES)} is")
    return code  # type: ignore[no-any-return]


def _refuse(name: str, old: Status, new: Status) -> NoReturn:
    legal = TRANSITIONS[old]
    allowed = f"it may become {', '.join(legal)}" if legal else "it stays so"
    raise TransitionError(f"node {shown(name)} cannot go from {old} to {new}: it is {old}, and {allowed}")


def _tell(subscribers: tuple[list[Callable[[StatusChange], object]], ...], change: StatusChange) -> None:
    for (callback,) in subscribers:
        try:
            callback(change)
        except Exception:
            log_broken("a subscriber of %s raised; the change stands", shown(change), node=change.node)


__all__ = ["TRANSITIONS", "StatusChange", "StatusStatistics", "StatusTracker"]
