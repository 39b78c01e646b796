"""The log of a run to the logger ``flow``: retries at INFO, failures that the run survives at WARNING.

What ends a run is raised, and not logged as well. Each line is one message, and each record has these attributes:
``flow_event`` (the event's name in :mod:`flow.run.events`), ``flow_run`` (the outermost run's id), ``flow_node``,
``flow_item`` (the index of a map's item; None for a node) and ``flow_attempt``.

All of this is called where something has been raised; :mod:`logging` is imported by the first failure that is survived.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from flow.logs import NAME, SILENT, fields, place_of, reason_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from logging import Logger

MAX_WARNINGS: Final = 20
"""Most failed items of one map that are logged at WARNING. Others are logged at INFO, and one WARNING counts all."""

_INFO: Final = 20
_WARNING: Final = 30


class LogsRuns:
    """The base of observers that log. A run with such an observer logs nothing by itself."""

    __slots__ = ()


def log_retry(calls: Any, i: int, attempt: int, error: BaseException, delay: float) -> None:
    """Log that attempt number ``attempt`` of ``calls``' node ``i`` failed, and the next begins in ``delay`` seconds."""
    logger = _logger(calls, _INFO)
    if logger is not None:
        _log(
            logger, _INFO, "%s: attempt %d of %d failed, the next begins in %g s: %s",
            (attempt, calls.retry_of(i).attempts, delay, reason_of(error)), calls, i, "Retried", attempt,
        )  # fmt: skip


def log_survived(calls: Any, i: int, error: BaseException, fallback: bool, count: int = 0) -> None:
    """Log a final failure of node ``i`` of ``calls`` after which the run goes on.

    :param fallback: the fallback of the node has become its output.
    :param count: number of items of its map that have failed like this, with this one.
    """
    level = _WARNING if count <= MAX_WARNINGS else _INFO
    logger = _logger(calls, level)
    if logger is not None:
        attempt = calls.attempts.get(i, 1)
        tries = f" after {attempt} attempts" if attempt > 1 else ""
        what = "its fallback stands in" if fallback else "the run goes on"
        text, event = f"%s: failed{tries}, {what}: %s", "Fallback" if fallback else "Failed"
        _log(logger, level, text, (reason_of(error),), calls, i, event, attempt)


def log_rest(calls: Any, failed: int, fallbacks: int) -> None:
    """Log the number of failed items at the end of a map, if some of them were logged only at INFO."""
    for number, event, what in ((failed, "ItemFailed", "failed"), (fallbacks, "ItemFallback", "have their fallback")):
        logger = _logger(calls, _WARNING) if number > MAX_WARNINGS else None
        if logger is not None:
            run = _outermost(calls)
            extra = fields(event, run.run_id, calls.name, None, None)
            place = place_of(calls.name, None, calls.outer.path)
            _emit(logger, _WARNING, "run %s: %s: in all, %d items %s", (run.run_id, place, number, what), extra)


def _logger(calls: Any, level: int) -> Logger | None:
    """Return the logger if it takes ``level`` and no observer logs this run."""
    if level < _WARNING and "logging" not in sys.modules:
        return None  # the program has not imported logging, so it wants no INFO
    logger = _found()
    if not logger.isEnabledFor(level) or SILENT.get():
        return None
    observers = calls.config.observers
    return None if observers and any(isinstance(one, LogsRuns) for one in observers) else logger


@cache
def _found() -> Logger:
    """Return the logger: asking :mod:`logging` each time takes a lock."""
    import logging

    return logging.getLogger(NAME)


def _outermost(calls: Any) -> Any:
    while calls.outer is not None:
        calls = calls.outer
    return calls


def _log(
    logger: Logger, level: int, text: str, arguments: tuple[object, ...], calls: Any, i: int, event: str, attempt: int
) -> None:
    path, node, item = calls.place(i)
    run = _outermost(calls).run_id
    extra = fields(("Node" if item is None else "Item") + event, run, node, item, attempt)
    _emit(logger, level, "run %s: " + text, (run, place_of(node, item, path), *arguments), extra)


def _emit(logger: Logger, level: int, text: str, arguments: tuple[object, ...], extra: Mapping[str, Any]) -> None:
    try:
        logger.log(level, text, *arguments, extra=extra)
    except Exception:  # a filter of the user's: a run does not fail for its log
        return
