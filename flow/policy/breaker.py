"""What stops calling a service that fails: :class:`Breaker`.

The pattern is that of Michael Nygard ("Release It!"): closed, open, half-open. The time is looked at when an attempt
comes, so nothing runs in the background.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from threading import RLock
from typing import Any, Final, Literal, TypeAlias
from weakref import WeakSet

import msgspec

from flow.awaits import UNAWAITED, is_unawaited
from flow.clock import Clock
from flow.data.context import Context
from flow.errors import BreakerOpen, shown
from flow.logs import NAME as LOGGER
from flow.logs import SILENT, fields, log_broken, reason_of
from flow.policy.admission import clock_of
from flow.policy.shared import check, count_faults, seconds_faults, shared
from flow.tracebacks import ends_at_user

State: TypeAlias = Literal["closed", "open", "half-open"]

SLACK: Final = 1e-6
"""Seconds by which an attempt may come early: times of floats are not exact, and callers wait as told."""


class BreakerChange(msgspec.Struct, frozen=True):
    """A breaker has changed its state.

    :ivar name: of the breaker; None if it has none. :ivar before: its state until now. :ivar after: from now on.
    :ivar error: the failure that has opened it; None if another change. :ivar at: the time by its clock.
    """

    name: str | None
    before: State
    after: State
    error: Exception | None
    at: float


class BreakerStatistics(msgspec.Struct, frozen=True):
    """What a breaker has seen so far.

    :ivar failures: those in a row. :ivar admitted: attempts let in. :ivar completed: of these; ``failed`` are those
        that counted. Attempts that were cancelled, or failed otherwise, are in neither.
    :ivar refused: attempts not let in. :ivar opened: how often it has opened.
    """

    state: State
    failures: int
    admitted: int
    completed: int
    failed: int
    refused: int
    opened: int


Observer: TypeAlias = Callable[[BreakerChange], object]


class Breaker:
    """Refuses attempts at once while a service fails: for ``admission=`` of any nodes and maps.

    >>> api = flow.Breaker(failures=5, seconds=30.0)
    >>> dag.add("fetch", fetch, admission=api, retry=flow.Retry(3), fallback=None)

    *Closed*, it lets all attempts in. After ``failures`` failures in a row it is *open*, and raises
    :class:`flow.errors.BreakerOpen` instead, whose ``retry_after`` a :class:`flow.Retry` waits for. After ``seconds``
    it is *half-open*: it lets one attempt in at a time; ``successes`` in a row close it, and a failure opens it again.
    Attempts that began before a change count no more. A cancelled attempt counts for nothing. Runs, threads and event
    loops may share a breaker. Each step is O(1).

    :param failures: how many in a row open it. :param successes: how many in a row close it.
    :param seconds: how long it is open.
    :param counts: tells whether an exception is a failure that counts; others count for nothing. By default each
        :class:`Exception` does whose attribute ``trips_breaker`` is not False.
    :param name: breakers of one name, made with the same settings, share their state. Without one each is its own.
    :param clock: None takes that of the run.
    :param on_change: called with a :class:`BreakerChange` after each change; what it raises is logged.
    :raises ConfigError: listing all that is out of range.
    :raises UsageError: if there is a breaker of this name with other settings.
    """

    __slots__ = ("__weakref__", "_circuit", "name", "on_change")

    @ends_at_user
    def __init__(
        self,
        failures: int = 5,
        successes: int = 2,
        seconds: float = 60.0,
        *,
        counts: Callable[[Exception], bool] | None = None,
        name: str | None = None,
        clock: Clock | None = None,
        on_change: Observer | None = None,
    ) -> None:
        faults = count_faults(failures=failures, successes=successes) + seconds_faults(seconds)
        for label, given, of in (("counts", counts, "the exception"), ("on_change", on_change, "the change")):
            if given is not None and not callable(given):
                faults.append(f"{label} must be a function of {of}, or None, not {shown(given)}")
            elif given is not None and is_unawaited(given):
                faults.append(f"{label} {UNAWAITED} of {of}, not {shown(given)}")
        check("Breaker", faults, name, clock)
        settings = {"failures": failures, "successes": successes, "seconds": seconds, "counts": counts, "clock": clock}
        self.name = name
        self.on_change = on_change
        self._circuit = shared("Breaker", name, settings, lambda settings: _Circuit(name, settings))
        if on_change is not None:
            with self._circuit.lock:
                self._circuit.observed.add(self)

    def __call__(self, ctx: Context) -> None:
        """Let an attempt in. :raises BreakerOpen: if it is not to begin."""
        circuit = self._circuit
        circuit.tell(circuit.enter(ctx, circuit.now(ctx)), ctx)

    def settled(self, ctx: Context, error: BaseException | None) -> None:
        """An attempt that was let in has ended: it completed (None), failed (an Exception), or was cancelled."""
        circuit = self._circuit
        circuit.tell(circuit.ended(ctx, error, circuit.now(ctx)), ctx)

    @property
    def state(self) -> State:
        """``"closed"``, ``"open"`` (until the first attempt after ``seconds``), or ``"half-open"``."""
        return self._circuit.state

    def statistics(self) -> BreakerStatistics:
        """Return what it has seen so far."""
        return self._circuit.statistics()

    def __repr__(self) -> str:
        name = "" if self.name is None else f"name={self.name!r}, "
        return f"<Breaker {name}{self.state}>"


class _Circuit:
    """The state of a breaker, or of all breakers of one name."""

    def __init__(self, name: str | None, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.settings = settings
        self.lock = RLock()  # the collector may end a coroutine that was let in
        self.state: State = "closed"
        self.observed: WeakSet[Breaker] = WeakSet()
        self._clock: Clock | None = settings["clock"]
        self._failures = self._successes = 0  # in a row
        self._until = 0.0  # when it is half-open, if it is open
        self._tries = False  # an attempt is being made, half-open
        self._last = ""  # the last failure: no exception, which would hold its frames
        self._changes = 0
        self._in_flight: dict[int, list[int]] = {}  # by Context, after how many changes it was let in
        self._admitted = self._completed = self._failed = self._refused = self._opened = 0

    def now(self, ctx: Context) -> float:
        return (clock_of(ctx) if self._clock is None else self._clock).now()

    def enter(self, ctx: Context, now: float) -> BreakerChange | None:
        """Let an attempt in; return the change that this is. :raises BreakerOpen: if it is not to begin."""
        with self.lock:
            change, left = None, self._until - now if self.state == "open" else 0.0
            if left > SLACK or self._tries:
                self._refused += 1
                raise BreakerOpen(self.name, self._failures, self._last, max(0.0, left))
            if self.state == "open":
                change = self._changed("half-open", None, now)
            self._tries = self.state == "half-open"
            self._admitted += 1
            self._in_flight.setdefault(id(ctx), []).append(self._changes)
            return change

    def ended(self, ctx: Context, error: BaseException | None, now: float) -> BreakerChange | None:
        """An attempt has ended; return the change that this is."""
        failure = error if isinstance(error, Exception) and self._counts(error) else None
        with self.lock:
            since = self._in_flight.get(id(ctx), [])
            is_of_now = bool(since) and since.pop() == self._changes
            if not since:
                self._in_flight.pop(id(ctx), None)
            self._completed += error is None
            self._failed += failure is not None
            if not is_of_now:
                return None
            self._tries = False
            if failure is not None:
                return self._count_failure(failure, now)
            return self._count_success(now) if error is None else None

    def _count_failure(self, failure: Exception, now: float) -> BreakerChange | None:
        self._failures += 1
        self._last = reason_of(failure)
        if self.state == "closed" and self._failures < self.settings["failures"]:
            return None
        self._until = now + self.settings["seconds"]
        self._opened += 1
        return self._changed("open", failure, now)

    def _count_success(self, now: float) -> BreakerChange | None:
        self._successes += 1
        if self.state == "closed":
            self._failures = 0
        elif self._successes >= self.settings["successes"]:
            self._failures = 0
            return self._changed("closed", None, now)
        return None

    def _changed(self, state: State, error: Exception | None, now: float) -> BreakerChange:
        before, self.state = self.state, state
        self._changes += 1
        self._successes = 0
        return BreakerChange(self.name, before, state, error, now)

    def _counts(self, error: Exception) -> bool:
        counts = self.settings["counts"]
        try:
            if counts is not None:
                return bool(counts(error))
            return getattr(error, "trips_breaker", None) is not False
        except Exception:
            if counts is not None:
                log_broken("counts of breaker %r raised; the failure counts", self.name)
            return True

    def tell(self, change: BreakerChange | None, ctx: Context) -> None:
        """Log that it has opened, and tell the observers. (Not under the lock: they may do anything.)"""
        if change is None:
            return
        if change.after == "open":
            self._log(ctx)
        with self.lock:
            observed = list(self.observed)
        for breaker in observed:
            try:
                assert breaker.on_change is not None
                breaker.on_change(change)
            except Exception:
                log_broken("on_change of breaker %r raised", self.name, run=ctx.run_id, node=ctx.node)

    def _log(self, ctx: Context) -> None:
        if SILENT.get():
            return
        import logging  # here: no cost where nothing fails

        what = "the breaker" if self.name is None else f"breaker {self.name!r}"
        text = "%s of node %r opens for %g s: failures in a row: %d, the last: %s"
        arguments = (what, ctx.node, self.settings["seconds"], self._failures, self._last)
        extra = fields(None, ctx.run_id, ctx.node, ctx.index, ctx.attempt)
        logging.getLogger(LOGGER).warning(text, *arguments, extra=extra)

    def statistics(self) -> BreakerStatistics:
        with self.lock:
            return BreakerStatistics(
                self.state, self._failures, self._admitted, self._completed, self._failed, self._refused, self._opened
            )


__all__ = ["Breaker", "BreakerChange", "BreakerStatistics", "Observer", "State"]
