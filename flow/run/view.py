"""The views of a run in its store: outputs and statuses, read from the run's own data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flow.plan.bynode import ByNode, always
from flow.plan.plan import Plan
from flow.plan.resolver import DONE, READY, STATUS_OF, Resolver
from flow.types import MISSING, Status


class LiveView:
    """A run as its store shows it, while it runs and after (:class:`flow.data.store.RunView`).

    :param values: the run's own list, by node.
    :param code: tells a node's state (:mod:`flow.plan.resolver`).
    """

    __slots__ = ("_code", "_outputs", "_plan", "_values")

    def __init__(self, plan: Plan, values: Sequence[Any], code: Callable[[int], int]) -> None:
        self._plan = plan
        self._values = values
        self._code = code
        self._outputs: Mapping[str, Any] | None = None

    def ended(self, resolver: Resolver | None) -> None:
        """Let go of the run, which holds the store that holds this."""
        self._code = _done if resolver is None else resolver.state.__getitem__

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
        code = self._code
        return ByNode(self._plan, lambda i: STATUS_OF[code(i)], always)

    def is_runnable(self, node: str) -> bool:
        """Tell whether all that ``node`` waits for has ended well and it has not begun.

        :raises UsageError: if there is no such node.
        """
        return self._code(self._plan.find(node)) == READY


def _done(i: int) -> int:
    return DONE
