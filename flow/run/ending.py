"""When a run must have ended, and which of its nodes go on after that: those that clean up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow.run.calls import Calls

if TYPE_CHECKING:
    from flow.plan.nodes import Nodes


class Limited(Calls):
    """What a run of a plan knows of its end."""

    __slots__ = ()

    nodes: Nodes
    started_at: float
    _extras: Any

    @property
    def deadline(self) -> float | None:
        """When the run must have ended; without an event loop, that of the run it is part of as well."""
        limit, extras = self.config.timeout, self._extras
        grace: float | None = None if extras is None else extras.grace
        if grace is not None:
            return grace
        if limit is not None:
            return self.started_at + limit
        outer = None if extras is None else extras.outer
        around: float | None = None if outer is None or outer.on_loop else outer.deadline
        return around

    def outlasts(self, i: int) -> bool:
        return self.nodes.routes is not None and i in self.nodes.routes.gated

    @property
    def failures(self) -> int:
        failed = self.errors.keys() - self.nodes.may_fail
        return sum([not self.outlasts(i) for i in failed]) if failed and self.nodes.cleans else len(failed)


__all__ = ["Limited"]
