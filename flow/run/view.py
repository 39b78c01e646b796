"""What a run's store shows of the run: outputs and statuses, read where the run itself has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flow.plan.plan import Plan
from flow.plan.resolver import READY, STATUS_OF
from flow.run.result import ByNode
from flow.types import MISSING, Status

if TYPE_CHECKING:
    from flow.run.state import RunState


class LiveView:
    """A run as its store shows it, while it runs and after (:class:`flow.data.store.RunView`)."""

    __slots__ = ("_outputs", "_plan", "_resolver", "_run", "_values")

    def __init__(self, run: RunState) -> None:
        self._run: RunState | None = run
        self._plan: Plan = run.plan
        self._values = run.values
        self._resolver: Any = None
        self._outputs: Mapping[str, Any] | None = None

    def ended(self) -> None:
        """Let go of the run, which holds the store that holds this."""
        if self._run is not None:
            self._resolver, self._run = self._run.resolver, None

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Outputs so far, by name."""
        found = self._outputs
        if found is None:
            values = self._values
            found = self._outputs = ByNode(self._plan, values.__getitem__, lambda i: values[i] is not MISSING)
        return found

    @property
    def statuses(self) -> Mapping[str, Status]:
        """Every node's status, by name."""
        return ByNode(self._plan, self._status, _always)

    def is_runnable(self, node: str) -> bool:
        """Tell whether all that ``node`` waits for has ended well and it has not begun.

        :raises UsageError: if there is no such node.
        """
        return self._status(self._plan.find(node)) is STATUS_OF[READY]

    def _status(self, i: int) -> Status:
        run = self._run  # once: it may end while another thread looks
        resolver = self._resolver if run is None else run.resolver
        if resolver is not None:
            return STATUS_OF[resolver.state[i]]
        # Nothing is counted: the nodes are run in a fixed order, and the first without an output is at hand.
        if run is None or self._values[i] is not MISSING:
            return Status.COMPLETED
        if i == self._at_hand(run):
            return Status.RUNNING
        ready = all(self._values[d] is not MISSING for d in self._plan.dependencies[i])
        return Status.READY if ready else Status.PENDING

    def _at_hand(self, run: RunState) -> int:
        order, values = run.order, self._values
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            if values[order[middle]] is MISSING:
                high = middle
            else:
                low = middle + 1
        return order[low] if low < len(order) else -1


def _always(i: int) -> bool:
    return True
