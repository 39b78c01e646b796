"""What lets the attempts of a node in: ``admission=``, one callable or several, asked in their order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from flow.awaits import UNAWAITED, is_unawaited
from flow.clock import SYSTEM_CLOCK, Clock
from flow.data.context import Context
from flow.errors import shown
from flow.signature import is_async_callable

Admission: TypeAlias = Callable[[Context], Awaitable[object] | object]
"""What a node's attempt asks before it takes a slot: ``admission=`` of :meth:`flow.Dag.add`.

An object may have a method ``settled(ctx, error)`` as well, which is called after each attempt that it has let in.
``error`` is None if that has completed, an Exception if it has failed, and another BaseException if nothing can be
said: it was cancelled, or never began, as a later admission has not let it in (:class:`NotBegun`).
"""


class NotBegun(BaseException):
    """Tells an admission that an attempt which it has let in was not let in by a later one. It is never raised.

    :ivar error: what that one has raised.
    """

    def __init__(self, error: BaseException) -> None:
        super().__init__("another admission has not let it in")
        self.error = error


class Gates(msgspec.Struct, frozen=True):
    """The admissions of a node. :ivar settles: one of them is told how attempts end. :ivar is_async: one is awaited."""

    each: tuple[Admission, ...]
    settles: bool
    is_async: bool


def gates_of(given: Any) -> Gates | None:
    """Return what ``admission=`` says; None if nothing is asked."""
    each = _each(given)
    if not each:
        return None
    return Gates(each, any(_settled(gate) is not None for gate in each), any(map(is_async_callable, each)))


def admission_faults(given: Any) -> list[str]:
    """Say what is wrong with ``admission=``, one sentence each; empty if nothing is."""
    found = []
    for gate in _each(given):
        if not callable(gate):
            found.append(f"admission must be a callable (ctx), a list of them, or None, not {shown(gate)}")
        elif (settled := _settled(gate)) is not None and not callable(settled):
            found.append(f"admission {shown(gate)}: settled must be a method (ctx, error), not {shown(settled)}")
        elif settled is not None and is_unawaited(settled):
            found.append(f"admission {shown(gate)}: settled {UNAWAITED} of the attempt's end, not {shown(settled)}")
    return found


def _each(given: Any) -> tuple[Any, ...]:
    if given is None:
        return ()
    return tuple(given) if isinstance(given, (list, tuple)) and not callable(given) else (given,)


def _settled(gate: Any) -> Any:
    return getattr(gate, "settled", None)


def clock_of(ctx: Any) -> Clock:
    """Return the clock of the run that a Context is of; that of the machine, if it is no Context."""
    return ctx._scope.shared.clock if isinstance(ctx, Context) else SYSTEM_CLOCK


Admissions: TypeAlias = Admission | Sequence[Admission]
"""One admission, or several that are asked one after the other."""

__all__ = ["Admission", "Admissions", "Gates", "NotBegun", "admission_faults", "clock_of", "gates_of"]
