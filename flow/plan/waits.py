"""What stands where a node's function stands and waits for something outside the run: a signal, or a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from msgspec import structs

from flow.clock import Clock, epoch_of
from flow.config.fields import is_number
from flow.errors import shown
from flow.plan.checks import policy_faults
from flow.plan.definition import PLAIN, Policy
from flow.signature import Composite, Nested, Shape

_SHAPE: Final = Shape((), False, False, True, 0, inferred=())

_NO_CALL: Final = (
    "retry", "timeout", "thread", "executor", "middleware", "admission", "abandon_on_timeout", "priority", "store",
)  # fmt: skip
"""Options of a node that say how its function is called."""


class Wait(Composite):
    """A node that waits, and calls nothing. It has no parameters: its edges come from ``after`` and ``when``.

    :ivar location: where it was defined, as ``file:line``.
    """

    __slots__ = ("_location",)

    around = None
    word = "wait"
    """What messages call it."""

    def __init__(self, location: str) -> None:
        self._location = location

    @property
    def is_async(self) -> bool:
        return True  # an event loop must be there to wait in

    @property
    def location(self) -> str:
        return self._location

    def define_at(self, location: str) -> None:
        """Say where it was defined, if that is no line of a program: in a workflow file."""
        self._location = location

    @property
    def output_type(self) -> Any:
        """The type of its output."""
        return None

    def shape(self) -> Shape:
        """No parameters."""
        return _SHAPE

    def seconds(self, clock: Clock) -> float | None:
        """Return the seconds that are left until it ends by itself, if it begins now; None if it never does."""
        raise NotImplementedError

    def own_faults(self) -> Iterator[str]:
        """Say what is wrong with its own settings, one sentence each."""
        raise NotImplementedError

    def faults(self, policy: Policy) -> list[str]:
        """Say what is wrong with its settings and the options of its node, one sentence each."""
        given = [name for name in _NO_CALL if getattr(policy, name) is not getattr(PLAIN, name)]
        found = [f"{name} is about calls of a function, and a {self.word} makes none: drop it" for name in given]
        rest = structs.replace(policy, **{name: getattr(PLAIN, name) for name in given})
        return [*self.own_faults(), *found, *policy_faults(rest, is_async=True)]


class Signal(Wait):
    """A node whose output is sent into the run (:meth:`flow.Dag.signal`).

    :ivar type: the type of what is sent. :ivar timeout: seconds after which it fails; None if it waits for ever.
    """

    __slots__ = ("timeout", "type")

    word = "signal"

    def __init__(self, kind: Any, timeout: float | None, location: str) -> None:
        super().__init__(location)
        self.type = kind
        self.timeout = timeout

    @property
    def output_type(self) -> Any:
        return self.type

    def seconds(self, clock: Clock) -> float | None:
        return self.timeout

    def own_faults(self) -> Iterator[str]:
        if self.timeout is not None and not (is_number(self.timeout) and self.timeout > 0):
            yield f"timeout must be a number of seconds > 0 or None, not {shown(self.timeout)}"
        if isinstance(self.type, (str, bytes, int, float, list, tuple, dict, set)):
            yield f"type must be the type of what is sent, not {shown(self.type)}"

    def __repr__(self) -> str:
        kind = self.type  # a union has a name as well, since 3.14: that of all unions
        is_class = isinstance(kind, type) and not hasattr(kind, "__args__")
        return f"<signal of type {kind.__name__ if is_class else shown(kind)}>"


class Timer(Wait):
    """A node that completes at a time (:meth:`flow.Dag.timer`).

    :ivar delay: seconds after it could begin; ``at`` is the date instead.
    """

    __slots__ = ("at", "delay")

    word = "timer"

    def __init__(self, delay: float | None, at: datetime | None, location: str) -> None:
        super().__init__(location)
        self.delay = delay
        self.at = at

    def seconds(self, clock: Clock) -> float:
        if self.at is None:
            assert self.delay is not None
            return self.delay
        return max(0.0, self.at.timestamp() - epoch_of(clock) - clock.now())

    def own_faults(self) -> Iterator[str]:
        delay, at = self.delay, self.at
        if (delay is None) == (at is None):
            yield "a timer takes seconds=... or at=..., and one of them only"
        if delay is not None and not (is_number(delay) and delay >= 0):
            yield f"seconds must be a number >= 0, not {shown(delay)}"
        if at is not None and not isinstance(at, datetime):
            yield f"at must be a datetime with a time zone, not {shown(at)}"
        elif at is not None and at.utcoffset() is None:
            yield f"at is {at.isoformat()} without a time zone: say which, as in datetime.now(timezone.utc)"

    def __repr__(self) -> str:
        return f"<timer of {self.delay:g} s>" if self.at is None else f"<timer until {self.at.isoformat()}>"


def plan_within(fn: Any) -> Any:
    """Return the plan that a node with the function ``fn`` runs, once or more often; None if it runs none."""
    while issubclass(type(fn), Composite) and not issubclass(type(fn), Nested):  # not isinstance: it may be anything
        fn = getattr(fn, "body", None) or getattr(fn, "fn", None)  # of a loop, of a map
    return fn.plan if issubclass(type(fn), Nested) else None


__all__ = ["Signal", "Timer", "Wait", "plan_within"]
