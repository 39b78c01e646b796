"""``limit="auto"``: a limit that follows what calls in flight do to one another's latency.

By Little's law throughput is calls in flight over latency. So one more step up pays as long as latency grows by
less, in proportion, than the number in flight; past the point where a backend degrades it grows by as much or more.
This *gradient* is what TCP Vegas (Brakmo and Peterson, 1995), Netflix's concurrency-limits (``Gradient2Limit``) and
Envoy's adaptive concurrency filter steer by. They correct a limit a little with each sample, for services that never
end. A run has some hundreds to thousands of calls, so here it is a line search:

1. Grow by :data:`GROWTH` as long as it pays (slow start), the less the less it did.
2. Where it does not, go back, and try in between: latency never falls as more is in flight, which bounds what may be
   gained above (by the number in flight) and below (by the latency). The larger is tried first.
3. With no more than some per cent to gain on either side, hold; after some windows, try both sides again.

Latencies are compared between two levels *per kind of call* (functions of the same code, items of the same map), so
a slow function does not look like a crowded backend. A window has the calls that began since the limit last changed,
and only while it was the limit that held others back. It ends when the calls that have come back account for a good
part of the time that all slots had: else the quick ones alone would be judged.
"""

from __future__ import annotations

from functools import partial
from math import exp, inf, log, sqrt
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flow.signature import Composite

if TYPE_CHECKING:
    from flow.plan.plan import Plan

START: Final = 16
"""The limit that a plan's first run begins with."""

GROWTH: Final = 1.75
"""Factor of one step up, at most. (Latency is known one step late: a backend is overshot by that much.)"""

CAREFUL: Final = 1.25
"""The same when a limit that was held is questioned."""

HOLD: Final = 16
"""Windows for which a limit is held before that; doubled each time it turns out to be right."""

FEWEST: Final = 6
"""Calls that a window has at least."""

SHARE: Final = 0.3
"""Part of the slots' time that calls which have come back must account for."""

CROWDED: Final = 0.6
"""A call counts if, at its start, at least this part of the limit was in flight."""

PAYS: Final = 0.1
"""Part of a step that must be gained in throughput: between two equally good limits, the lower."""

NOISE: Final = 0.05
"""A difference of two throughputs that may be chance."""

GAP_ABOVE: Final = log(1.24)
GAP_BELOW: Final = log(1.15)
"""What may be gained at most on either side when the search ends."""


class AdaptedLimit(msgspec.Struct, frozen=True):
    """How a limit that adapts has moved in one run. See :attr:`flow.Result.limits`.

    :ivar limit: the best that was found, with which the next run begins.
    :ivar lowest: the lowest one.
    :ivar highest: the highest one.
    :ivar changes: how often it changed.
    """

    limit: int
    lowest: int
    highest: int
    changes: int


class Level:
    """What was seen at one limit: of each kind, calls, seconds, and seconds squared."""

    __slots__ = ("calls", "flight", "kinds", "limit", "look", "seconds", "since")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.calls = self.flight = 0  # in flight when each began, added up
        self.seconds = 0.0
        self.since = -1.0
        self.look = FEWEST
        self.kinds: dict[Any, list[float]] = {}

    def remember(self, before: Level) -> None:
        """Add what was seen at the same limit before, at half the weight. O(kinds)."""
        for kind, sums in before.kinds.items():
            mine = self.kinds.get(kind, (0.0, 0.0, 0.0))
            self.kinds[kind] = [a + b / 2 for a, b in zip(mine, sums, strict=True)]

    def latency_against(self, other: Level) -> tuple[float, float] | None:
        """Log of how many times longer the same kinds of calls took than at ``other``, and its standard error.

        None if the two have no kind in common. O(kinds).
        """
        mine = theirs = variance = 0.0
        for kind, (n, total, _) in self.kinds.items():
            known = other.kinds.get(kind)
            if known is not None:
                m, before, squares = known
                weight, mean = min(n, m), before / m
                mine += weight * total / n
                theirs += weight * mean
                variance += weight * weight * max(0.0, squares / m - mean * mean) * (1 / n + 1 / m)
        return (log(mine / theirs), sqrt(variance) / theirs) if mine and theirs else None


Call = tuple[Level, int, float]
"""A call in flight that counts: the window it began in, calls in flight then, and when."""


class LimitSearch:
    """The search for the best limit. It knows no clock and no event loop: it is told when calls begin and end.

    :param start: the first limit.
    :ivar bound: the limit is from 1 to this.
    :ivar limit: most calls in flight, at present.
    """

    __slots__ = ("_below", "_beyond", "_held", "_hold", "_reach", "_top", "_window", "bound", "changes", "highest",
                 "limit", "lowest")  # fmt: skip

    def __init__(self, start: int = START, bound: int = 1 << 62) -> None:
        self.bound = bound
        self._top: Level | None = None  # the best so far
        self._below: Level | None = None  # one below it that is worse
        self._beyond: int | None = None  # a limit above it that is worse
        self._reach = 1.0  # part of a whole step that the next one up may be
        self._held, self._hold = 0, HOLD
        self.limit = self.lowest = self.highest = max(1, min(start, bound))
        self.changes = 0
        self._window = Level(self.limit)

    def again(self, bound: int) -> LimitSearch:
        """Return one that goes on, in another run, from what this one knows."""
        other = LimitSearch(self.best, bound)
        other._top, other._below, other._beyond = self._top, self._below, self._beyond
        other._reach, other._held, other._hold = self._reach, self._held, self._hold
        return other

    @property
    def best(self) -> int:
        """The best limit so far (the present one may be a try)."""
        return self.limit if self._top is None else self._top.limit

    def seen(self) -> AdaptedLimit:
        """Return where it has been."""
        return AdaptedLimit(self.best, self.lowest, self.highest, self.changes)

    # -- what it is told ---------------------------------------------------------------------

    def began(self, in_flight: int, now: float) -> Call | None:
        """A call waits, as one of ``in_flight``. Return what :meth:`ended` needs; None if it does not count. O(1)."""
        window = self._window
        if in_flight < CROWDED * window.limit:
            return None
        if window.since < 0.0:
            window.since = now
        return window, in_flight, now

    def ended(self, call: Call, kind: Any, now: float) -> None:
        """That call, of this kind, has come back; the limit may change. O(1), and O(kinds) at times."""
        window, in_flight, since = call
        if window is not self._window:
            return
        took = max(now - since, 1e-9)
        seen = window.kinds.setdefault(kind, [0, 0.0, 0.0])
        seen[0] += 1
        seen[1] += took
        seen[2] += took * took
        window.calls += 1
        window.seconds += took
        window.flight += in_flight
        if window.calls >= window.look:
            window.look += max(1, window.calls // 8)
            self._look(now)

    def _look(self, now: float) -> None:
        """Judge the window if it tells enough."""
        window, top = self._window, self._top
        slower = None if top is None or top.limit == window.limit else window.latency_against(top)
        if slower is not None and top is not None and window.limit > top.limit:
            ratio, error = slower
            if self._gain(window, top, ratio) < -2 * error - NOISE:  # and those still out are slower yet
                self._judge(ratio)
                return
        patience = 4 * window.limit
        full = window.seconds >= SHARE * window.limit * (now - window.since)
        if full and (slower is not None or top is None or top.limit == window.limit or window.calls > patience):
            self._judge(None if slower is None else slower[0])
        elif window.calls > patience:  # the slots were not all in use
            self._window = Level(self.limit)

    @staticmethod
    def _gain(window: Level, top: Level, slower: float) -> float:
        """Log of the throughput against that at ``top``, less what a step must pay."""
        return (1 - PAYS) * log(window.flight * top.calls / (window.calls * top.flight)) - slower

    # -- what it decides ---------------------------------------------------------------------

    def _judge(self, slower: float | None) -> None:
        window, top = self._window, self._top
        if top is None:
            self._top = window
        elif window.limit == top.limit:
            window.remember(top)
            self._top = window
            self._held += 1
        elif slower is None or self._gain(window, top, slower) > 0:
            self._move_to(window, top, slower)
        elif window.limit > top.limit:
            self._beyond = window.limit
        else:
            self._below = window
        self._set(self._next())

    def _move_to(self, window: Level, top: Level, slower: float | None) -> None:
        """``window`` is the better one."""
        self._top, self._hold = window, HOLD
        if window.limit < top.limit:
            self._beyond = top.limit
            return
        self._below = top
        step = log(window.flight * top.calls / (window.calls * top.flight))
        self._reach = 1.0 if slower is None or step <= 0 else min(1.0, max(0.0, 1 - slower / step))

    def _set(self, limit: int) -> None:
        limit = max(1, min(limit, self.bound))
        self.changes += limit != self.limit
        self.limit = limit
        self.lowest, self.highest = min(limit, self.lowest), max(limit, self.highest)
        self._window = Level(limit)

    def _next(self) -> int:
        """The limit to try next: above the best so far, below it, or that itself. O(kinds)."""
        assert self._top is not None
        at = self._top.limit
        if self._held >= self._hold:
            self._held, self._hold = 0, 2 * self._hold
            self._below = self._beyond = None
            self._reach = log(CAREFUL) / log(GROWTH)
        step = exp(self._reach * log(GROWTH))
        up, down = self._above(step), self._under()
        if up > GAP_ABOVE and (up >= down or down < GAP_BELOW):
            return max(at + 1, round(at * (step if self._beyond is None else (self._beyond / at) ** (1 / 3))))
        if down > GAP_BELOW:
            return min(at - 1, round(at / step if self._below is None else sqrt(at * self._below.limit)))
        return at

    def _above(self, step: float) -> float:
        """Log of what may be gained at most above the best so far: as much as more would be in flight."""
        assert self._top is not None
        at, beyond = self._top.limit, self._beyond
        if at >= self.bound or (beyond is not None and beyond - at <= 1):
            return 0.0
        return log(step if beyond is None else beyond / at)

    def _under(self) -> float:
        """The same below it: as much as calls would be quicker. (Looked at only once there is no way up.)"""
        top, below = self._top, self._below
        assert top is not None
        if below is None:
            return inf if top.limit > 1 and (self._beyond is not None or top.limit >= self.bound) else 0.0
        slower = top.latency_against(below) if top.limit - below.limit > 1 else None
        return 0.0 if slower is None else slower[0]


def resumed(plan: Plan, name: str, bound: int) -> LimitSearch:
    """Return the limit of the plan's own nodes (name ""), or of a map's items: as the run before has left it.

    It is kept with the plan; runs of it that overlap each go on by themselves, and the last to begin is remembered.
    """
    remembered = plan._kept.limits
    before = remembered.get(name)
    search = LimitSearch(bound=bound) if before is None else before.again(bound)
    remembered[name] = search
    return search


def call_kind(fn: Any) -> Any:
    """What calls of ``fn`` are compared with: those of functions with the same code, or objects of the same class."""
    while isinstance(fn, partial):
        fn = fn.func
    if isinstance(fn, Composite):  # a map, or a Dag: each is its own
        return fn
    return getattr(fn, "__code__", type(fn))


__all__ = ["AdaptedLimit", "LimitSearch", "call_kind", "resumed"]
