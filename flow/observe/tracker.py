"""Keep a :class:`flow.plan.StatusTracker` in step with a run."""

from __future__ import annotations

from collections.abc import Callable

from flow.plan.status import StatusTracker
from flow.run import events
from flow.types import Status

_STATUS_AFTER = {
    events.NodeStarted: Status.RUNNING,
    events.NodeWaiting: Status.WAITING,
    events.NodeFinished: Status.COMPLETED,
    events.NodeFailed: Status.FAILED,
    events.NodeRetried: Status.READY,
    events.NodeSkipped: Status.SKIPPED,
    events.NodeBypassed: Status.BYPASSED,
    events.NodeCancelled: Status.CANCELLED,
}


def tracking(tracker: StatusTracker) -> Callable[[events.Event], None]:
    """Return an observer that writes a run's events into ``tracker``, so that others can watch it live.

    >>> tracker = flow.plan.StatusTracker(plan)
    >>> flow.run(plan, config=flow.Config(observers=(flow.observe.tracking(tracker),)))

    One tracker follows one run, the first that starts; the runs of Dags nested in it are left out.
    """
    followed: list[str] = []

    def observe(event: events.Event) -> None:
        if not followed:
            followed.append(event.run_id)
        status = event.status if isinstance(event, events.NodeKnown) else _STATUS_AFTER.get(type(event))
        if event.run_id != followed[0] or status is None or isinstance(event, (events.RunStarted, events.RunFinished)):
            return
        if status in (Status.RUNNING, Status.WAITING) and tracker[event.node] is Status.PENDING:
            tracker.set(event.node, Status.READY)
        if isinstance(event, events.NodeKnown) and status not in (Status.SKIPPED, Status.BYPASSED):
            for passed in (Status.READY, Status.RUNNING):
                tracker.set(event.node, passed)
        tracker.set(event.node, status)

    return observe
