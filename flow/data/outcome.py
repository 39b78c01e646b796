"""How a node ended, as plain data: given to a run, returned by hooks, received by parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

import msgspec

from flow.errors import UsageError, shown
from flow.tracebacks import ends_at_user
from flow.types import Status

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T_co = TypeVar("T_co", covariant=True, default=Any)
else:
    from flow.types import T_co

_GIVEN = (Status.COMPLETED, Status.FAILED, Status.SKIPPED, Status.BYPASSED)


class Outcome(msgspec.Struct, Generic[T_co], frozen=True):
    """How a node ended: given to ``known=`` of :func:`flow.run`, or returned by a call hook.

    A parameter annotated ``flow.Outcome[T]`` gets it of the node whose output it would take, in whatever way that node
    has ended.

    :param status: ``completed``, ``failed``, ``skipped`` or ``bypassed``. Cleanup may be given one that is
        ``cancelled``, or ``pending``: of a node that is no part of the run (``targets``, ``known``).
    :param value: the output of a completed node.
    :param error: the exception of a failed node; for a completed node, the exception before its fallback.
    :raises UsageError: for another status, or a failure without an exception.
    """

    status: Status | str = Status.COMPLETED
    value: T_co | None = None
    error: BaseException | None = None

    @ends_at_user
    def __post_init__(self) -> None:
        if not isinstance(self.status, str) or self.status not in _GIVEN:
            raise UsageError(
                f"an Outcome is 'completed', 'failed', 'skipped' or 'bypassed', not {shown(self.status)}"
            )
        msgspec.structs.force_setattr(self, "status", Status(self.status))
        if self.status is Status.FAILED and not isinstance(self.error, Exception):
            raise UsageError(f"an Outcome that failed needs its exception as error=, not {shown(self.error)}")
        if self.error is not None and not isinstance(self.error, Exception):
            raise UsageError(f"the error of an Outcome is an exception, not {shown(self.error)}")


def received_outcome(status: Status, value: Any = None, error: BaseException | None = None) -> Outcome[Any]:
    """Return how a node has ended, for a parameter that asks for it: in whatever way, by whatever exception."""
    made: Outcome[Any] = Outcome()
    for field, found in (("status", status), ("value", value), ("error", error)):
        msgspec.structs.force_setattr(made, field, found)
    return made


__all__ = ["Outcome", "received_outcome"]
