"""What an exception says of being tried again: its attributes ``retryable`` and ``retry_after``."""

from __future__ import annotations

from math import isfinite
from typing import Any, Final

from flow.errors import note

LONGEST: Final = 1e9
"""Seconds for which anybody waits: 30 years. Clocks of the system take no more than some hundred years."""


def refuses(error: BaseException) -> bool:
    """Tell whether an exception says that another attempt would fail as well: its ``retryable`` is False."""
    return _said(error, "retryable") is False


def asked_delay(error: BaseException) -> float:
    """Return the seconds for which nothing is to be tried, as an exception says: ``retry_after``. 0 if it does not.

    What is no finite number of at least 0 says nothing.
    """
    seconds = _said(error, "retry_after")
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        return 0.0
    try:
        return min(float(seconds), LONGEST) if isfinite(seconds) and seconds > 0 else 0.0
    except OverflowError:  # an int past all floats
        return 0.0


def delay_before_next(calls: Any, i: int, delay: float, error: BaseException) -> float | None:
    """Return the seconds until node ``i`` of ``calls`` is tried again after ``error``, which may ask for more.

    None if no time is left for that, which a note on ``error`` says.
    """
    asked, now = asked_delay(error), calls.clock.now()
    delay = max(delay, asked)
    if i in calls._deadlines and now + delay >= calls._deadlines[i]:
        note(error, f"not retried: the node's overall limit of {calls.node_limit(i):g} s leaves no time")
        return None
    if asked == delay and asked and not calls.outlasts(i):
        run = calls
        while getattr(run, "outer", None) is not None:
            run = run.outer
        limit = run.config.timeout
        if limit is not None and now < run.started_at + limit <= now + delay:
            note(error, f"not retried: the run's time limit passes within the {asked:g} s that it asks for")
            return None
    return delay


def _said(error: BaseException, name: str) -> Any:
    """Return an attribute of a user's exception; None if it has none, or raises."""
    try:
        return getattr(error, name, None)
    except Exception:
        return None


__all__ = ["asked_delay", "delay_before_next", "refuses"]
