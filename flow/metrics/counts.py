"""Count what runs and a service do: :class:`Counts`. Nothing here needs prometheus_client, which only shows it.

What happens is appended to a list, which is one call in C: threads that count at once lose nothing, and wait for
nobody. Now and then, and at each scrape, one of them adds what has come to the arrays.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping
from threading import Lock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flow.errors import ConfigError, UsageError, shown
from flow.metrics import names
from flow.metrics.names import API_BOUNDS, COUNTED, OTHER, RUN_BOUNDS
from flow.metrics.snapshot import Reading, Snapshot, add_routes, of_runs
from flow.metrics.tallies import BATCH, ENDINGS, PER_HISTOGRAM, Mark, RouteCounts, Row, Workflow, new_row
from flow.metrics.usage import count_in
from flow.run import events
from flow.usage import KIND

if TYPE_CHECKING:
    from flow.plan.plan import Plan
    from flow.run.result import Result

MOST_SERIES: Final = 20_000
"""Time series of workflows and nodes that there may be, if nothing else is said: 800 nodes."""

_NAME: Final = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")


class Noted(msgspec.Struct, frozen=True, gc=False):
    """What is kept of an event that holds an error: its type, run and node. (An error holds the frames of its run.)"""

    kind: type
    run_id: str
    node: str


class Counts:
    """What has been counted of runs, and of a service that has it.

    >>> counts = flow.metrics.Counts()
    >>> flow.run(dag, config=flow.Config(observers=(counts.observe,)))

    Labels are names: of workflows and nodes (those of a run within a run are of its own Dag's name), of routes,
    methods and statuses. No id is a label. A workflow or node that would need more time series than ``series`` is
    counted as ``other``, so that names made at run time cannot fill a Prometheus.

    :param series: most time series that workflows and nodes have; a node needs 25, a language model 24.
    :ivar lock: held by who writes to the arrays.
    :ivar active: requests that are being answered: the service raises and lowers it, on one thread.
    :raises ConfigError: if ``series`` is no integer of at least 1.
    """

    __slots__ = (
        "__weakref__", "_came", "_limits", "_most", "_readings", "_routes", "_runs", "_seconds", "_shared",
        "_shows", "_taken", "_waiting", "_workflows", "active", "lock",
    )  # fmt: skip

    def __init__(self, *, series: int = MOST_SERIES) -> None:
        if type(series) is not int or series < 1:
            raise ConfigError("Counts", [f"series must be an integer of at least 1, not {shown(series)}"])
        self.active = 0
        self._most, self._taken = series, 0
        self.lock = Lock()
        self._came: list[Any] = []
        self._workflows: dict[str, Workflow] = {}
        self._runs: dict[str, Workflow] = {}
        self._shared: dict[str, int] = {}  # further runs of one id that go on at once
        self._waiting: dict[str, set[str]] = {}  # nodes by run
        self._limits: dict[tuple[str, str], int] = {}
        self._routes: dict[tuple[str, str], RouteCounts] = {}
        self._seconds: dict[str, Row] = {}  # by route
        self._readings: dict[str, Reading] = {}
        self._shows: Any = None  # what writes them as text, once somebody has asked

    # -- runs --------------------------------------------------------------------------------

    def observe(self, event: events.Event) -> None:
        """Count an event of a run: an observer, for ``Config(observers=...)``. From any thread. O(1)."""
        kind = type(event)
        if kind in _KEPT:
            came = self._came
            came.append(event)
            if len(came) >= BATCH:
                self._fold_unless_busy()
        elif kind in _HOLD_ERRORS:
            self._came.append(Noted(kind, event.run_id, event.node))  # type: ignore[union-attr]
        elif isinstance(event, events.NodeReported) and event.kind == KIND:
            self._came.append(event)

    def expect(self, plan: Plan) -> None:
        """Show a plan and its nodes before its first run, with zeros. O(nodes).

        Prometheus sees how much a number grows from the first scrape that has it: what appears with the first failure
        would hide that one.
        """
        with self.lock:
            rows = self.workflow(plan.name).rows
            for node in plan:
                rows[node]

    def ended(self, result: Result) -> None:
        """Take from a Result what events do not tell: the limits that ``limit="auto"`` has found. O(limits)."""
        limits = result.limits
        if limits:
            with self.lock:
                name = self.workflow(result.plan.name).name
                for node, found in limits.items():
                    key = (name, node)
                    if key in self._limits or self._may(1):
                        self._limits[key] = found.limit

    def _fold_unless_busy(self) -> None:
        """Add what has come to the arrays, unless somebody does."""
        if self.lock.acquire(blocking=False):
            try:
                self._fold()
            finally:
                self.lock.release()

    def _fold(self) -> None:
        """Add what has come to the arrays. The caller holds the lock."""
        came, runs, waiting = self._came, self._runs, self._waiting
        batch = came[:]
        del came[: len(batch)]  # what has come meanwhile stands behind them
        of, rows = "", None
        for event in batch:
            if type(event) is not events.NodeFinished:
                self._add(event)
                rows = None  # the id may be another run's from here on
                continue
            if event.run_id != of or rows is None:
                of = event.run_id
                workflow = runs.get(of)
                if workflow is None:  # a call left behind in a thread has ended after its run
                    continue
                rows = workflow.rows
            seconds = event.duration
            row = rows[event.node]
            row[bisect_left(RUN_BOUNDS, seconds)] += 1
            row[-1] += seconds
            if waiting:
                self._waits_no_more(of, event.node)

    def _add(self, event: Any) -> None:
        """Add an event of another kind."""
        kind = type(event)
        if kind is events.RunStarted:
            self._begin(event)
        elif kind is events.RunFinished:
            self._end(event)
        else:
            kind = event.kind if kind is Noted else kind
            reported = kind is events.NodeReported
            workflow = self._runs.get((event.outermost if reported else "") or event.run_id)
            if workflow is None:
                return
            if reported:
                count_in(workflow.models, event.value)
                return
            for mark in _MARKS[kind]:
                workflow.add(event.node, mark)
            if kind is events.NodeWaiting:
                self._waiting.setdefault(event.run_id, set()).add(event.node)
            elif kind in _ENDINGS and self._waiting:
                self._waits_no_more(event.run_id, event.node)

    def _begin(self, event: events.RunStarted) -> None:
        workflow = self.workflow(event.dag)
        workflow.begun += 1
        if event.run_id in self._runs:
            self._shared[event.run_id] = self._shared.get(event.run_id, 0) + 1
        self._runs[event.run_id] = workflow

    def _end(self, event: events.RunFinished) -> None:
        workflow, status = self.workflow(event.dag), _status_of(event)
        workflow.ended[status] = workflow.ended.get(status, 0) + 1
        workflow.seconds[bisect_left(RUN_BOUNDS, event.wall_time)] += 1
        workflow.seconds[-1] += event.wall_time
        further = self._shared.pop(event.run_id, 0)
        if further:
            if further > 1:
                self._shared[event.run_id] = further - 1
            return
        self._runs.pop(event.run_id, None)
        self._waiting.pop(event.run_id, None)

    def _waits_no_more(self, run_id: str, node: str) -> None:
        waiting = self._waiting.get(run_id)
        if waiting is not None:
            waiting.discard(node)
            if not waiting:
                del self._waiting[run_id]

    def workflow(self, name: str) -> Workflow:
        """Return what is counted of the runs of one name. The caller holds the lock."""
        found = self._workflows.get(name)
        if found is None:
            if name != OTHER and not self._may(PER_HISTOGRAM + 2 + len(ENDINGS)):
                return self.workflow(OTHER)
            found = self._workflows[name] = Workflow(name, self._may)
        return found

    def _may(self, series: int) -> bool:
        """Tell whether there may be so many time series more, which are there then."""
        if self._taken + series > self._most:
            return False
        self._taken += series
        return True

    # -- a service ---------------------------------------------------------------------------

    def route(self, route: str, method: str) -> RouteCounts:
        """Return what counts the requests of one route and method; the same for the same. O(1).

        :param route: the route's pattern (``/api/v1/runs/{id}``), never the path that was asked for.
        """
        with self.lock:
            found = self._routes.get((route, method))
            if found is None:
                seconds = self._seconds.setdefault(route, new_row(API_BOUNDS))
                found = self._routes[route, method] = RouteCounts(route, method, seconds, self.lock)
            return found

    def gauge(self, name: str, help: str, read: Callable[[], float]) -> None:
        """Show what ``read`` returns at each scrape, under ``name``. It is called on the thread that scrapes.

        :raises UsageError: if the name is no name of Prometheus, or is taken.
        """
        self._read(name, Reading("gauge", help, read))

    def counter(self, name: str, help: str, read: Callable[[], float]) -> None:
        """As :meth:`gauge`, of a number that only grows; its name ends with ``_total``.

        :raises UsageError: if the name is no name of a counter, or is taken.
        """
        if not name.endswith("_total"):
            raise UsageError(f"Counts.counter: the name of a counter ends with _total, and {shown(name)} does not")
        self._read(name, Reading("counter", help, read))

    def _read(self, name: str, reading: Reading) -> None:
        if not _NAME.fullmatch(name):
            raise UsageError(f"Counts.{reading.kind}: {shown(name)} is no name of a metric: letters, digits, _ and :")
        if name in self._readings or any(name == metric.name for metric in COUNTED):
            raise UsageError(f"Counts.{reading.kind}: {name} is there already; give it another name")
        self._readings[name] = reading

    # -- what there is -----------------------------------------------------------------------

    def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """Return everything as a body for ``/metrics``, and its content type. O(time series), 1 to 2 us per series.

        :param accept: the header Accept of the request: OpenMetrics or the text format.
        :raises UsageError: if prometheus_client is not installed.
        """
        if self._shows is None:
            from flow.metrics.exposing import Exposition  # here: it needs prometheus_client

            self._shows = Exposition(self)
        body: tuple[bytes, str] = self._shows.written(accept)
        return body

    def snapshot(self) -> Snapshot:
        """Return all that has been counted until now. O(time series)."""
        with self.lock:
            self._fold()
            for route in self._routes.values():
                route.fold()
            waiting = [(self._runs[run].name, nodes) for run, nodes in self._waiting.items()]
            by_node = Counter((name, node) for name, nodes in waiting for node in nodes)
            found = of_runs(self._workflows.values(), by_node, Counter(name for name, _ in waiting))
            found.values[names.LIMITS] = dict(self._limits.items())
            found.values[names.SERIES] = {(): self._taken}
            found.values[names.REQUESTS_ACTIVE] = {(): self.active}
            add_routes(found, self._routes.values())
            return found

    @property
    def readings(self) -> Mapping[str, Reading]:
        """What is read at each scrape, by name."""
        return MappingProxyType(self._readings)


def _status_of(event: events.RunFinished) -> str:
    """Return how a run ended. One that ran out of time, or was cancelled, has cancelled nodes and none that failed."""
    if event.ok:
        return "completed"
    if event.counts.get("waiting"):
        return "waiting"
    return "cancelled" if event.counts.get("cancelled") and not event.counts.get("failed") else "failed"


_MARKS: Final[Mapping[type, tuple[Mark, ...]]] = {
    events.NodeFailed: (("executions", "failed"), ("errors", "")),
    events.NodeFallback: (("errors", ""), ("fallbacks", "")),
    events.NodeRetried: (("retries", ""),),
    events.NodeSkipped: (("executions", "skipped"),),
    events.NodeBypassed: (("executions", "bypassed"),),
    events.NodeCancelled: (("executions", "cancelled"),),
    events.NodeWaiting: (("waits", ""),),
    events.ItemFinished: (("items", "completed"),),
    events.ItemFailed: (("items", "failed"),),
    events.ItemFallback: (("fallbacks", ""),),
    events.ItemRetried: (("retries", ""),),
    events.RoundFinished: (("rounds", ""),),
}
"""What is counted of a node at each type of event."""

_HOLD_ERRORS: Final = frozenset(
    {events.NodeFailed, events.NodeFallback, events.NodeRetried, events.ItemFailed, events.ItemFallback,
     events.ItemRetried}
)  # fmt: skip
_KEPT: Final = frozenset({events.NodeFinished, events.RunStarted, events.RunFinished, *_MARKS} - _HOLD_ERRORS)
"""Events that hold plain data."""

_ENDINGS: Final = frozenset({events.NodeFailed, events.NodeCancelled})
"""What ends the waiting of a node, besides its completion."""

Counts.observe.wants = _KEPT | _HOLD_ERRORS | {events.NodeReported}  # type: ignore[attr-defined]  # see flow.events.is_wanted
