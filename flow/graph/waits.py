"""Nodes of a Dag that wait for something outside the run: a signal, or a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack, overload

from flow.graph.options import WaitOptions, unknown_options
from flow.graph.routes import WAITS
from flow.graph.teardowns import Teardowns
from flow.plan.definition import Policy
from flow.plan.waits import Signal, Timer
from flow.tracebacks import ends_at_user, users_line
from flow.types import NodeRef

if TYPE_CHECKING:
    from datetime import datetime

T = TypeVar("T")

_KNOWN: Final = {*Policy.__struct_fields__, "after", "replace"} - {"routing"}


class Waits(Teardowns):
    """The methods of a Dag that add nodes which wait."""

    __slots__ = ()

    @overload
    def signal(
        self, name: str, *, type: type[T], timeout: float | None = None, **options: Unpack[WaitOptions]
    ) -> NodeRef[T]: ...

    @overload
    def signal(
        self, name: str, *, type: Any = Any, timeout: float | None = None, **options: Unpack[WaitOptions]
    ) -> NodeRef[Any]: ...

    @ends_at_user
    def signal(self, name: str, *, type: Any = Any, timeout: float | None = None, **options: Any) -> NodeRef[Any]:
        """Add a node that waits until something is sent to it (:meth:`flow.RunHandle.send`). That is its output.

        It calls no function. While it waits it has the status *waiting*, and holds no slot, no thread and no task. It
        begins to wait when its dependencies have ended, whatever the limit of the run is.

        :param type: the type of what is sent, as :func:`msgspec.convert` takes it. What is sent is converted.
        :param timeout: seconds after which the node fails with a :class:`flow.NodeTimeout`. None: it waits until the
            run ends; such a Dag is run by :func:`flow.start`, or under ``Config(timeout=...)``.
        :param options: ``after``, ``join``, ``when``, ``fallback``, ``continue_on_error``, ``cost`` and ``replace`` of
            :meth:`add`.
        :raises UsageError: for an option that there is not. Options that are about the call of a function are faults
            when the Dag is compiled.
        """
        return _added(self, "signal", name, Signal(type, timeout, users_line()), ("type", "timeout"), options)

    @ends_at_user
    def timer(
        self,
        name: str,
        *,
        seconds: float | None = None,
        at: datetime | None = None,
        **options: Unpack[WaitOptions],
    ) -> NodeRef[None]:
        """Add a node that completes after a time, or at a time. Its output is None.

        It waits as a node of :meth:`signal` does. A date that has passed lets it complete at once.

        :param seconds: the time from when its dependencies have ended.
        :param at: the date instead, with a time zone. Times are those of ``Config.clock``.
        :param options: as of :meth:`signal`.
        :raises UsageError: as :meth:`signal`.
        """
        return _added(self, "timer", name, Timer(seconds, at, users_line()), ("seconds", "at"), options)


def _added(dag: Waits, place: str, name: str, wait: Any, own: tuple[str, ...], options: Any) -> NodeRef[Any]:
    unknown = {option: value for option, value in options.items() if option not in _KNOWN}
    if unknown:
        raise unknown_options(place, name, unknown, [*WaitOptions.__annotations__, *own])
    return dag.add(name, wait, **{**options, WAITS: True})


__all__ = ["Waits"]
