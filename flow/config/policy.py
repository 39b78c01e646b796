"""When a node is tried again, and how long it may take: :class:`Retry`, :class:`Timeout`.

They do not raise for their values: compiling a Dag lists *all* its faults in one error, and theirs belong in that list.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import msgspec

from flow.awaits import NEVER_AWAITED, UNAWAITED, is_unawaited, unawaited
from flow.config.fields import SettingsMeta, is_int, is_number, is_one_of, make
from flow.errors import shown

RetryIf: TypeAlias = type[BaseException] | tuple[type[BaseException], ...] | Callable[[Exception], bool]


class Retry(msgspec.Struct, frozen=True, metaclass=SettingsMeta):
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

    An exception may say more. If its attribute ``retryable`` is False, no other attempt is made. If ``retry_after`` is
    a number of seconds, the next attempt begins no earlier, also past ``max_delay``; if the node's overall limit, or
    that of the run, would pass before, there is none.
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
        if not is_one_of(self.backoff, ("constant", "linear", "exponential")):
            found.append(f"retry backoff must be 'constant', 'linear' or 'exponential', not {shown(self.backoff)}")
        if not is_number(self.multiplier) or self.multiplier < 1:
            found.append(f"retry multiplier must be a number >= 1, not {shown(self.multiplier)}")
        if not is_number(self.jitter) or not 0 <= self.jitter <= 1:
            found.append(f"retry jitter must be a fraction from 0 to 1, not {shown(self.jitter)}")
        if not _is_retry_if(self.retry_if):
            wanted = "an exception type, a tuple of them or a callable"
            found.append(f"retry_if must be {wanted}, not {shown(self.retry_if)}")
        elif is_unawaited(self.retry_if):
            found.append(f"retry_if {UNAWAITED} of the exception, not {shown(self.retry_if)}")
        return found

    def wants(self, error: BaseException) -> bool:
        """Tell whether another attempt follows after ``error``."""
        if not isinstance(error, Exception):
            return False
        condition = self.retry_if
        if isinstance(condition, (type, tuple)):
            return isinstance(error, condition)
        wants = condition(error)
        if type(wants) in NEVER_AWAITED:
            raise unawaited("retry_if", wants)
        return bool(wants)

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


class Timeout(msgspec.Struct, frozen=True, metaclass=SettingsMeta):
    """Time limits of one node, in seconds; None is no limit.

    :param attempt: each attempt on its own. ``timeout=2.0`` on a node is ``Timeout(attempt=2.0)``. Queueing for one of
        ``Config.threads`` is no part of it.
    :param node: from the first start of the function, including retries, their delays and their queueing.

    An async node is stopped when its limit passes. A sync function, inline or in a thread,
    cannot be interrupted: it runs to its end and then counts as timed out. (In a thread it can be left to itself:
    ``abandon_on_timeout`` of :meth:`flow.Dag.add`.)
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


UNLIMITED: Final = Timeout()
"""What limits nothing."""


def per_attempt(seconds: Any) -> Timeout:
    """Return the limit that ``timeout=seconds`` of a node is: ``Timeout(seconds)``, faster. (Compiling makes many.)"""
    limits: Timeout = make(Timeout, seconds)
    return limits


def _is_retry_if(value: object) -> bool:
    if callable(value) and not issubclass(type(value), type):  # (not isinstance: it may raise when asked for its class)
        return True
    if isinstance(value, tuple):
        return bool(value) and all(isinstance(item, type) and issubclass(item, BaseException) for item in value)
    return isinstance(value, type) and issubclass(value, BaseException)
