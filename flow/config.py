"""Frozen settings with named defaults: :class:`Config`, :class:`Retry`, :class:`Timeout`, and the clock seam.

``Retry`` and ``Timeout`` do not raise when made: compiling a Dag lists *all* its faults in one
error, and theirs belong in that list. ``Config`` raises at once and lists all of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isfinite
from typing import Any, Final, Literal, Protocol, TypeAlias, runtime_checkable

import msgspec

from flow.errors import ConfigError, shown

DEFAULT_WORKERS: Final = 8
"""Limit of ``mode="workers"`` when none is given."""

DEFAULT_THREADS: Final = 40
"""Threads one run may use at once for its thread nodes (anyio's own default)."""

DEFAULT_BLOCKING_AFTER: Final = 0.1
"""Seconds a node may hold the event loop before :class:`flow.errors.BlockingNodeWarning`."""

YIELD_EVERY: Final = 0.005
"""Seconds after which a run of nodes that never suspend lets the event loop turn once."""

Mode: TypeAlias = Literal["auto", "inline", "tasks", "workers"]
Observer: TypeAlias = Callable[[Any], object]
RetryIf: TypeAlias = type[BaseException] | tuple[type[BaseException], ...] | Callable[[BaseException], bool]


@runtime_checkable
class Clock(Protocol):
    """Time as a run sees it for retry delays and durations. See :class:`flow.testing.FakeClock`."""

    def now(self) -> float:
        """Seconds on a monotonic scale."""

    def sleep(self, seconds: float) -> None:
        """Block for ``seconds`` (runs without an event loop)."""

    async def wait(self, seconds: float) -> None:
        """Suspend for ``seconds`` (runs on an event loop)."""


class SystemClock:
    """The machine's monotonic clock and real sleeping."""

    __slots__ = ()

    now = staticmethod(time.perf_counter)
    sleep = staticmethod(time.sleep)

    async def wait(self, seconds: float) -> None:
        """Suspend on whichever event loop is running."""
        from anyio import sleep

        await sleep(seconds)

    def __repr__(self) -> str:
        return "SystemClock()"


SYSTEM_CLOCK: Final = SystemClock()


class Retry(msgspec.Struct, frozen=True):
    """How often, when and for which errors a node is tried again.

    :param attempts: calls in all, the first included; ``Retry(3)`` calls a failing node 3 times.
    :param delay: seconds before the second attempt.
    :param backoff: how the delay grows: ``constant``, ``linear`` (``delay * n``) or
        ``exponential`` (``delay * multiplier ** (n - 1)``).
    :param multiplier: base of the exponential backoff.
    :param max_delay: seconds no delay exceeds, jitter included.
    :param jitter: fraction of the delay drawn at random and added or subtracted, 0 to 1.
    :param retry_if: an exception type, a tuple of them, or a predicate on the exception.

    Only :class:`Exception` is ever retried: KeyboardInterrupt, SystemExit and cancellation never are.
    """

    attempts: int = 3
    delay: float = 0.1
    backoff: Literal["constant", "linear", "exponential"] = "exponential"
    multiplier: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.0
    retry_if: RetryIf = Exception

    def faults(self) -> list[str]:
        """Say what is out of range, one sentence each; empty if nothing is."""
        found = []
        if not is_int(self.attempts) or self.attempts < 1:
            found.append(f"retry attempts must be an integer of at least 1, not {shown(self.attempts)}")
        for label, value in (("delay", self.delay), ("max_delay", self.max_delay)):
            if not is_number(value) or value < 0:
                found.append(f"retry {label} must be a number of seconds >= 0, not {shown(value)}")
        if self.backoff not in ("constant", "linear", "exponential"):
            found.append(f"retry backoff must be 'constant', 'linear' or 'exponential', not {shown(self.backoff)}")
        if not is_number(self.multiplier) or self.multiplier < 1:
            found.append(f"retry multiplier must be a number >= 1, not {shown(self.multiplier)}")
        if not is_number(self.jitter) or not 0 <= self.jitter <= 1:
            found.append(f"retry jitter must be a fraction from 0 to 1, not {shown(self.jitter)}")
        if not _is_retry_if(self.retry_if):
            wanted = "an exception type, a tuple of them or a callable"
            found.append(f"retry_if must be {wanted}, not {shown(self.retry_if)}")
        return found

    def wants(self, error: BaseException) -> bool:
        """Tell whether ``error`` is one to try again after."""
        if not isinstance(error, Exception):
            return False
        condition = self.retry_if
        if isinstance(condition, (type, tuple)):
            return isinstance(error, condition)
        return bool(condition(error))

    def delay_after(self, attempt: int) -> float:
        """Seconds to wait after failed attempt number ``attempt`` (1 is the first)."""
        try:
            if self.backoff == "constant":
                base = self.delay
            elif self.backoff == "linear":
                base = self.delay * attempt
            else:
                base = self.delay * float(self.multiplier) ** (attempt - 1)
        except OverflowError:  # 2.0 ** 1999: past every cap
            base = self.max_delay if self.delay else 0.0
        if self.jitter:
            import random  # here: the module takes milliseconds to import

            base = min(base, self.max_delay) * (1 + self.jitter * (2 * random.random() - 1))
        return min(base, self.max_delay)


class Timeout(msgspec.Struct, frozen=True):
    """Time limits of one node, in seconds; None is no limit.

    :param attempt: each attempt on its own. ``timeout=2.0`` on a node is ``Timeout(attempt=2.0)``.
    :param node: from the first attempt's start, retries and their delays included.

    An async node is stopped when its limit passes. A sync function, inline or in a thread,
    cannot be interrupted: it runs to its end and then counts as timed out.
    """

    attempt: float | None = None
    node: float | None = None

    def faults(self) -> list[str]:
        """Say what is out of range, one sentence each; empty if nothing is."""
        found = []
        for label, value in (("timeout", self.attempt), ("node timeout", self.node)):
            if value is not None and (not is_number(value) or value <= 0):
                found.append(f"{label} must be a number of seconds > 0, not {shown(value)}")
        return found


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """How a run is driven. Immutable; :meth:`replace` makes a changed copy.

    :param mode: ``auto`` runs an all-sync plan inline and anything else on the event loop;
        ``inline`` runs one node at a time; ``tasks`` runs every ready node concurrently;
        ``workers`` runs at most ``limit`` nodes at a time (:data:`DEFAULT_WORKERS` if unset).
    :param limit: most nodes in flight; None is unbounded. Waiting for dependencies or for a
        retry's delay holds no slot.
    :param on_error: ``fail_fast`` cancels and awaits the rest and raises :class:`flow.RunError`;
        ``collect`` skips exactly the failed nodes' descendants, runs the rest and returns.
    :param timeout: seconds for the whole run, queueing and retries included.
    :param sync: where sync functions run: ``inline`` (on the caller's thread) or ``thread``.
    :param threads: most threads one run uses at once for its thread nodes.
    :param order: ready nodes are taken by priority, then by ``definition`` order or by the
        longest ``critical_path`` below them (weighted by each node's ``cost``).
    :param timing: record when every node started and ended (``Result.durations``, timelines).
    :param observers: callables that receive every event (see :mod:`flow.run.events`).
    :param blocking_after: seconds a node may hold the event loop before a
        :class:`flow.BlockingNodeWarning` names it; None turns the warning off.
    :param backend: event loop that :func:`flow.run` starts if one is needed.
    :param clock: source of time for retry delays, durations, and the limits of sync runs.
    :raises ConfigError: listing every setting that is out of range.
    """

    mode: Mode = "auto"
    limit: int | None = None
    on_error: Literal["fail_fast", "collect"] = "fail_fast"
    timeout: float | None = None
    sync: Literal["inline", "thread"] = "inline"
    threads: int = DEFAULT_THREADS
    order: Literal["definition", "critical_path"] = "definition"
    timing: bool = False
    observers: tuple[Observer, ...] = ()
    blocking_after: float | None = DEFAULT_BLOCKING_AFTER
    backend: Literal["asyncio", "uvloop", "trio"] = "asyncio"
    clock: Clock = SYSTEM_CLOCK

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise ConfigError("Config", faults)
        if not isinstance(self.observers, tuple):
            msgspec.structs.force_setattr(self, "observers", tuple(self.observers))

    def _faults(self) -> list[str]:
        found = []
        for label, value, allowed in (
            ("mode", self.mode, ("auto", "inline", "tasks", "workers")),
            ("on_error", self.on_error, ("fail_fast", "collect")),
            ("sync", self.sync, ("inline", "thread")),
            ("order", self.order, ("definition", "critical_path")),
            ("backend", self.backend, ("asyncio", "uvloop", "trio")),
        ):
            if value not in allowed:
                found.append(f"{label} must be one of {', '.join(map(repr, allowed))}, not {shown(value)}")
        if self.limit is not None and (not is_int(self.limit) or self.limit < 1):
            found.append(f"limit must be an integer of at least 1, or None for unbounded, not {shown(self.limit)}")
        if not is_int(self.threads) or self.threads < 1:
            found.append(f"threads must be an integer of at least 1, not {shown(self.threads)}")
        for label, seconds in (("timeout", self.timeout), ("blocking_after", self.blocking_after)):
            if seconds is not None and (not is_number(seconds) or seconds <= 0):
                found.append(f"{label} must be a number of seconds > 0, or None, not {shown(seconds)}")
        if not isinstance(self.timing, bool):
            found.append(f"timing must be True or False, not {shown(self.timing)}")
        if not isinstance(self.observers, (tuple, list)) or not all(map(callable, self.observers)):
            found.append(f"observers must be a tuple of callables, not {shown(self.observers)}")
        if not isinstance(self.clock, Clock):
            found.append(f"clock must have now, sleep and wait, not {shown(self.clock)}")
        return found

    def replace(self, **changes: Any) -> Config:
        """Return a copy with ``changes``, validated like a new one.

        :raises ConfigError: for an unknown field or a value out of range.
        """
        unknown = changes.keys() - set(self.__struct_fields__)
        if unknown:
            raise ConfigError("Config", [f"no setting is called {shown(name)}" for name in sorted(unknown)])
        return msgspec.structs.replace(self, **changes)


def is_int(value: object) -> bool:
    """Tell whether ``value`` is an integer and no bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Tell whether ``value`` is a finite number and no bool."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:  # an int beyond every float
        return False


def _is_retry_if(value: object) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(isinstance(item, type) and issubclass(item, BaseException) for item in value)
    if isinstance(value, type):
        return issubclass(value, BaseException)
    return callable(value)


DEFAULT_CONFIG: Final = Config()
"""What a run uses when it is given none."""
