"""What stands for the run of contexts that belong to none: :class:`Standalone`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from flow.clock import SYSTEM_CLOCK, Clock
from flow.data.emissions import Emission, Emitter, Texts
from flow.data.reports import Report, Reports
from flow.data.store import WorkflowData
from flow.errors import UsageError, shown
from flow.types import Status

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Standalone:
    """What contexts ask their run for (:class:`flow.data.context.Shared`), where there is none.

    :param data: their store.
    :param workflow: the name of the Dag that they say they are of.
    :param dates: gives the start of the run and the present time.
    :param outputs: those of the run, by node.
    :param clock: by which what a node awaits may wait.
    :ivar emissions: what its contexts have emitted. :ivar reports: what they have reported.
    """

    __slots__ = ("_dates", "_texts", "clock", "config", "data", "emissions", "outputs", "reports", "workflow")

    def __init__(
        self,
        data: WorkflowData,
        workflow: str,
        dates: Callable[[], tuple[datetime, datetime]],
        outputs: Mapping[str, Any] = _NOTHING,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.data = data
        self.config = data._settings  # which say, too, whether messages may repeat values
        self.workflow = workflow
        self.outputs = outputs
        self.clock = clock
        self._dates = dates
        self._texts = Texts()
        self.emissions: list[Emission] = []
        self.reports = Reports()

    def dates(self) -> tuple[datetime, datetime]:
        """The start of the run, and the present time."""
        return self._dates()

    @asynccontextmanager
    async def released(self) -> AsyncIterator[None]:
        """There are no slots."""
        yield

    def emitted(self, call: Emitter, key: str, value: Any, append: bool) -> None:
        """Keep it."""
        index = None if call._parent is None else call.index

        def keep(offset: int) -> None:
            self.emissions.append(Emission(call.node, key, value, append, offset, index))

        self._texts.told((call.node, key), call.attempt, value, append, keep)

    def report(self, call: Emitter, kind: str, value: Any) -> None:
        """Keep it."""
        index = None if call._parent is None else call.index
        self.reports.add(Report(kind, value, call.node, (), index, call.attempt, self.clock.now()))

    def reported(self, call: Emitter, kind: str) -> list[Any]:
        """Return what a node or an item has reported so far."""
        return self.reports.of_call(kind, (), call.node, None if call._parent is None else call.index)

    def run_reported(self, kind: str) -> list[Any]:
        """Return all that has been reported so far."""
        return self.reports.of_kind(kind)


class PastRun:
    """The outputs of a run elsewhere, as a store shows them (:class:`flow.data.store.RunView`)."""

    __slots__ = ("outputs",)

    def __init__(self, outputs: Mapping[str, Any]) -> None:
        self.outputs = outputs

    @property
    def statuses(self) -> Mapping[str, Status]:
        """Of other nodes than those with an output, nothing is known."""
        return dict.fromkeys(self.outputs, Status.COMPLETED)

    def is_runnable(self, node: str) -> bool:
        """:raises UsageError: always: nothing runs."""
        raise UsageError(f"is_runnable({shown(node)}): this store is an imported Context's, and belongs to no run")
