"""Counts runs that nobody observes: :class:`Unobserved`. To make events of a short run costs as much as to run it."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any

from flow.metrics.names import RUN_BOUNDS
from flow.run import events
from flow.types import Status

if TYPE_CHECKING:
    from flow.metrics.counts import Counts
    from flow.plan.plan import Plan
    from flow.run.result import Result

_EVENTS: Any = {Status.SKIPPED: events.NodeSkipped, Status.BYPASSED: events.NodeBypassed}


class Unobserved:
    """Counts the runs of one plan by what they leave behind: they are timed (``Config(timing=True)``), not observed.

    It is for plans of plain functions: of retries, items, rounds and runs within a run a Result does not tell enough.

    :param counts: what they are added to.
    """

    __slots__ = ("_counts", "_plan", "_rows", "_workflow")

    def __init__(self, counts: Counts, plan: Plan) -> None:
        counts.expect(plan)
        self._counts = counts
        self._plan = plan
        with counts.lock:
            self._workflow = counts.workflow(plan.name)
            self._rows = [self._workflow.rows[node] for node in plan.names]

    @staticmethod
    def fits(plan: Plan) -> bool:
        """Tell whether the Results of a plan's runs tell all that is counted."""
        nodes = plan._nodes
        return nodes.routes is None and not (nodes.binders or nodes.retries or nodes.fallbacks)

    def completed(self, run: Any) -> None:
        """Count a run (a ``PlanRun``) whose nodes have all completed. O(nodes)."""
        workflow, seconds = self._workflow, run.wall_time
        with self._counts.lock:
            workflow.begun += 1
            workflow.ended["completed"] += 1
            workflow.seconds[bisect_left(RUN_BOUNDS, seconds)] += 1
            workflow.seconds[-1] += seconds
            for row, began, ended in zip(self._rows, run.started, run.finished, strict=True):
                took = ended - began
                row[bisect_left(RUN_BOUNDS, took)] += 1
                row[-1] += took

    def broken(self) -> None:
        """Count a run of which there is no Result: an exit has ended it."""
        with self._counts.lock:
            self._workflow.begun += 1
            self._workflow.ended["failed"] += 1

    def ended(self, result: Result) -> None:
        """Count any other run, by the events that it would have had. O(nodes)."""
        run, tell, at = result._run, self._counts.observe, 0.0
        run_id = result.run_id
        tell(events.RunStarted(run_id, self._plan.name, len(self._plan), at))
        errors, times = result.errors, result.durations
        for node, status in result.status.items():
            if status is Status.COMPLETED:
                tell(events.NodeFinished(run_id, node, 1, times[node], at))
            elif status is Status.FAILED:
                tell(events.NodeFailed(run_id, node, 1, errors[node], at))
            elif status in _EVENTS:
                tell(_EVENTS[status](run_id, node, "", at))
            else:
                tell(events.NodeCancelled(run_id, node, at))
        counts = {str(status): n for status, n in result.counts.items()}
        tell(events.RunFinished(run_id, self._plan.name, result.ok, counts, run.wall_time, at))


__all__ = ["Unobserved"]
