"""How often the attempts of nodes begin: :class:`RateLimiter`.

The algorithm is GCRA, the Generic Cell Rate Algorithm: one theoretical arrival time, which each attempt that is let in
moves on by one interval. Attempts that come too early wait in one queue, of which only the first is active: it waits
for its time and for room, takes both at once, and hands over. So one that is cancelled leaves no hole, and the tasks of
several event loops may stand in one queue.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from math import inf
from threading import RLock
from typing import Any, Final

import msgspec

from flow.clock import Clock
from flow.data.context import Context
from flow.policy.admission import clock_of
from flow.policy.shared import check, count_faults, seconds_faults, shared
from flow.policy.waking import Waking, new_waking
from flow.tracebacks import ends_at_user

SLACK: Final = 0.001
"""Part of an interval by which an attempt may begin early: times of floats are not exact."""

LOOK_SECONDS: Final = 1.0
"""How often who waits behind another event loop looks whether that is still there."""


class RateStatistics(msgspec.Struct, frozen=True):
    """What a limiter has done so far.

    :ivar waiting: attempts that wait. :ivar in_flight: those that were let in and have not ended.
    :ivar admitted: those that were let in. :ivar waited: seconds that these have waited, all together.
    """

    waiting: int
    in_flight: int
    admitted: int
    waited: float


class RateLimiter:
    """Lets attempts begin at a rate, first come, first served: for ``admission=`` of any nodes and maps.

    >>> api = flow.RateLimiter(10, 1.0, concurrency=4)
    >>> dag.map("pages", fetch, over="urls", admission=api)

    After a pause up to ``burst`` attempts begin at once, then one each ``seconds / count``. So in any stretch of
    ``seconds`` at most ``burst + count`` begin; with ``burst=1`` they are evenly spaced. An attempt that waits holds no
    slot, and one that is cancelled meanwhile leaves no gap. Runs, threads and event loops may share a limiter. A node
    with a limiter needs an event loop, also if its function is a plain one. Each step is O(1).

    :param count: how many attempts may begin in ``seconds``.
    :param burst: how many may begin at once; ``count`` by default.
    :param concurrency: how many may be in flight; None is no bound.
    :param name: limiters of one name, made with the same settings, share their state. Without one each is its own.
    :param clock: None takes that of the run.
    :raises ConfigError: listing all that is out of range.
    :raises UsageError: if there is a limiter of this name with other settings.
    """

    __slots__ = ("__weakref__", "_lane", "name")

    @ends_at_user
    def __init__(
        self,
        count: int,
        seconds: float = 1.0,
        burst: int | None = None,
        concurrency: int | None = None,
        *,
        name: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        faults = count_faults(count=count) + seconds_faults(seconds)
        faults += [] if burst is None else count_faults(burst=burst)
        faults += [] if concurrency is None else count_faults(concurrency=concurrency)
        check("RateLimiter", faults, name, clock)
        settings = {
            "count": count,
            "seconds": seconds,
            "burst": count if burst is None else burst,
            "concurrency": concurrency,
            "clock": clock,
        }
        self.name = name
        self._lane = shared("RateLimiter", name, settings, _Lane)

    async def __call__(self, ctx: Context) -> None:
        """Return once an attempt may begin."""
        lane = self._lane
        clock = clock_of(ctx) if lane.clock is None else lane.clock
        waiter = lane.enter(clock.now())
        if waiter is None:
            return
        try:
            while True:
                seconds, waking = lane.step(waiter, clock)
                if waking is not None:
                    await _woken(waking, lane.waits_elsewhere(waiter))
                elif seconds > 0.0:
                    await clock.wait(seconds)
                else:
                    return
        except BaseException:
            lane.leave(waiter)
            raise

    def settled(self, ctx: Context, error: BaseException | None) -> None:
        """An attempt that was let in has ended, in whatever way."""
        self._lane.ended()

    def statistics(self) -> RateStatistics:
        """Return what it has done so far."""
        lane = self._lane
        with lane.lock:
            return RateStatistics(len(lane.waiters), lane.in_flight, lane.admitted, lane.waited)

    def __repr__(self) -> str:
        settings = self._lane.settings
        name = "" if self.name is None else f", name={self.name!r}"
        return f"RateLimiter({settings['count']}, {settings['seconds']:g}{name})"


class _Waiter:
    """An attempt in the queue."""

    __slots__ = ("since", "waking")

    def __init__(self, since: float) -> None:
        self.since = since
        self.waking: Waking = new_waking()


class _Lane:
    """The state of a limiter, or of all limiters of one name."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self.settings = settings
        self.clock: Clock | None = settings["clock"]
        self.lock = RLock()  # the collector may end a coroutine that waits here
        self.waiters: OrderedDict[_Waiter, None] = OrderedDict()
        self.in_flight = self.admitted = 0
        self.waited = 0.0
        self._interval: float = settings["seconds"] / settings["count"]
        self._slack = self._interval * SLACK
        self._ahead: float = (settings["burst"] - 1) * self._interval
        self._room: float = inf if settings["concurrency"] is None else settings["concurrency"]
        self._arrival = -inf  # when the next is due, if they come evenly

    def enter(self, now: float) -> _Waiter | None:
        """An attempt comes. Return None if it is let in at once, else its place in the queue."""
        with self.lock:
            if not self.waiters and self.in_flight < self._room and self._early(now) <= self._slack:
                self._take(now)
                return None
            waiter = _Waiter(now)
            self.waiters[waiter] = None
            return waiter

    def step(self, waiter: _Waiter, clock: Clock) -> tuple[float, Waking | None]:
        """Return what a place in the queue waits for: so many seconds, or something to come. Neither: it is let in."""
        with self.lock:
            now = clock.now()
            if self._first() is waiter:
                early = self._early(now)
                if early > self._slack:
                    return early, None
                if self.in_flight < self._room:
                    self._take(now)
                    self.waited += max(0.0, now - waiter.since)
                    del self.waiters[waiter]
                    self._wake_first()
                    return 0.0, None
            waiter.waking = new_waking()
            return 0.0, waiter.waking

    def waits_elsewhere(self, waiter: _Waiter) -> bool:
        """Tell whether this place is behind one on another event loop, which may end without giving it up."""
        with self.lock:
            first = self._first()
            return first is not None and first is not waiter and not first.waking.is_here

    def leave(self, waiter: _Waiter) -> None:
        """A place is given up."""
        with self.lock:
            was_first = self._first() is waiter
            self.waiters.pop(waiter, None)
            if was_first:
                self._wake_first()

    def ended(self) -> None:
        """One in flight has ended."""
        with self.lock:
            self.in_flight = max(0, self.in_flight - 1)
            self._wake_first()

    def _early(self, now: float) -> float:
        """By how many seconds one would be too early."""
        return self._arrival - now - self._ahead

    def _take(self, now: float) -> None:
        self._arrival = max(self._arrival, now) + self._interval
        self.in_flight += 1
        self.admitted += 1

    def _first(self) -> _Waiter | None:
        """Return who is the next. Those whose event loop has ended have gone without giving their place up."""
        while (first := next(iter(self.waiters), None)) is not None:
            if first.waking.is_here or not first.waking.is_gone:
                break
            del self.waiters[first]
        return first

    def _wake_first(self) -> None:
        while (first := self._first()) is not None and not first.waking.come():
            self.waiters.pop(first, None)


async def _woken(waking: Waking, looks: bool) -> None:
    """Wait until it has come; with ``looks`` for a while: nobody tells of an event loop that has ended."""
    if not looks:
        await waking.wait()
        return
    from anyio import move_on_after

    with move_on_after(LOOK_SECONDS):
        await waking.wait()


__all__ = ["RateLimiter", "RateStatistics"]
