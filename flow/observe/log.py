"""An observer that logs all events of runs."""

from __future__ import annotations

from collections.abc import Callable
from logging import DEBUG, INFO, WARNING, Logger, getLevelNamesMapping, getLogger
from typing import Any, Final

from flow.errors import UsageError, shown
from flow.logs import NAME, fields, place_of, reason_of
from flow.run import events
from flow.run.log import LogsRuns
from flow.run.result import duration
from flow.tracebacks import ends_at_user


@ends_at_user
def logging(
    logger: Logger | str = NAME,
    *,
    level: int | str = INFO,
    failures: int | str = WARNING,
    items: int | str = DEBUG,
) -> Callable[[events.Event], None]:
    """Return an observer that logs every event, one line each: for ``Config(observers=...)``.

    >>> flow.run(dag, config=flow.Config(observers=(flow.observe.logging(),)))

    A run with this observer logs nothing by itself, so that no failure is logged twice. Each record has the attributes
    ``flow_event`` (the event's name), ``flow_run``, ``flow_node``, ``flow_item`` and ``flow_attempt``; what an event
    does not have is None. The run of a Dag within another has an id of its own.

    :param logger: the logger, or its name.
    :param level: level of the events of runs and nodes, retries included: a number or a name of :mod:`logging`.
    :param failures: level of final failures: of nodes, items and runs, and of those with a fallback.
    :param items: level of completed items of maps, of the rounds of loops, and of what nodes emit and report (the key
        or the kind, not the value).
    :raises UsageError: if ``logger`` is no logger, or a level is unknown.
    """
    if not isinstance(logger, (Logger, str)):
        raise UsageError(f"observe.logging(logger): a logging.Logger, or the name of one, not {shown(logger)}")
    log = getLogger(logger) if isinstance(logger, str) else logger
    return EventLog(log, _level("level", level), _level("failures", failures), _level("items", items))


class EventLog(LogsRuns):
    """The observer that :func:`logging` returns."""

    __slots__ = ("_failures", "_level", "_levels", "_logger")

    def __init__(self, logger: Logger, level: int, failures: int, items: int) -> None:
        self._logger = logger
        self._level = level
        self._levels: dict[type, int] = dict.fromkeys(_PARTS, items)
        self._levels.update(dict.fromkeys(_FAILURES, failures))
        self._failures = failures

    def __call__(self, event: events.Event) -> None:
        level = self._levels.get(type(event), self._level)
        if isinstance(event, events.RunFinished) and not event.ok:
            level = self._failures
        if not self._logger.isEnabledFor(level):
            return
        node, item = getattr(event, "node", None), getattr(event, "index", None)
        name = type(event).__name__
        extra = fields(name, event.run_id, node, item, getattr(event, "attempt", None))
        text, arguments = _SAID[type(event)](event)
        if node is not None:
            text, arguments = "%s: " + text, (place_of(node, item), *arguments)
        self._logger.log(level, "run %s: " + text, event.run_id, *arguments, extra=extra)


_PARTS: Final = (
    events.ItemFinished, events.NodeEmitted, events.NodeReported, events.RoundStarted, events.RoundFinished
)  # fmt: skip
_FAILURES: Final = (events.NodeFailed, events.NodeFallback, events.ItemFailed, events.ItemFallback)

Said = tuple[str, tuple[object, ...]]


def _run_finished(event: events.RunFinished) -> Said:
    counts = ", ".join(f"{count} {status}" for status, count in event.counts.items())
    return "dag %s ended %s in %s: %s", (event.dag, "ok" if event.ok else "NOT OK", duration(event.wall_time), counts)


def _failed(event: events.NodeFailed | events.ItemFailed) -> Said:
    tries = f" after {event.attempt} attempts" if event.attempt > 1 else ""
    return f"failed{tries}: %s", (reason_of(event.error),)


def _fell_back(event: events.NodeFallback | events.ItemFallback) -> Said:
    return "failed, its fallback stands in: %s", (reason_of(event.error),)


def _retried(event: events.NodeRetried | events.ItemRetried) -> Said:
    return "attempt %d failed, the next begins in %g s: %s", (event.attempt, event.delay, reason_of(event.error))


def _bypassed(event: events.NodeBypassed) -> Said:
    return ("bypassed by its condition", ()) if event.cause == event.node else ("bypassed, by %s", (event.cause,))


def _map_started(event: events.MapStarted) -> Said:
    return ("goes over items", ()) if event.items is None else ("goes over %d items", (event.items,))


_SAID: Final[dict[type, Callable[[Any], Said]]] = {
    events.RunStarted: lambda event: ("dag %s begins, nodes: %d", (event.dag, event.nodes)),
    events.RunFinished: _run_finished,
    events.NodeKnown: lambda event: ("known as %s", (event.status,)),
    events.NodeStarted: lambda event: ("attempt %d begins", (event.attempt,)),
    events.NodeWaiting: lambda event: ("begins to wait", ()),
    events.NodeFinished: lambda event: ("completed in %s", (duration(event.duration),)),
    events.NodeStored: lambda event: ("is stored", ()),
    events.NodeFallback: _fell_back,
    events.NodeFailed: _failed,
    events.NodeRetried: _retried,
    events.NodeSkipped: lambda event: ("skipped, for %s", (event.cause,)),
    events.NodeBypassed: _bypassed,
    events.NodeCancelled: lambda event: ("cancelled", ()),
    events.NodeEmitted: lambda event: ("emits %s", (event.key,)),
    events.NodeReported: lambda event: ("reports %s", (event.kind,)),
    events.MapStarted: _map_started,
    events.ItemFinished: lambda event: ("completed", ()),
    events.ItemFallback: _fell_back,
    events.ItemFailed: _failed,
    events.ItemRetried: _retried,
    events.RoundStarted: lambda event: ("round %d begins", (event.round,)),
    events.RoundFinished: lambda event: ("round %d completed", (event.round,)),
}


def _level(label: str, value: object) -> int:
    """Return a level of :mod:`logging` as its number. :raises UsageError: for an unknown level."""
    if type(value) is int:
        return value
    names = getLevelNamesMapping()
    if isinstance(value, str) and value.upper() in names:
        return names[value.upper()]
    raise UsageError(f"observe.logging({label}=...): a level's number or one of {', '.join(names)}, not {shown(value)}")
