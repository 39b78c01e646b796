"""What stands in for the output of a node, or an item of a map, that has failed for good: ``fallback=``."""

from __future__ import annotations

from typing import Any

from flow.awaits import NEVER_AWAITED, unawaited
from flow.errors import NodeAborted, described, ends_tasks, note, shown
from flow.policy.fresh import fresh, fresh_faults
from flow.signature import is_async_callable, location_of, takes_one
from flow.types import MISSING


def value_for(fallback: Any, error: BaseException) -> Any:
    """Return what stands in for an output after ``error``; MISSING if nothing does.

    What a fallback function raises is noted on ``error``, which then stands.
    """
    if fallback is MISSING or isinstance(error, NodeAborted):  # the latter ends the run
        return MISSING
    try:
        value = fallback(error) if callable(fallback) else fresh(fallback)
        if callable(fallback) and type(value) in NEVER_AWAITED:
            raise unawaited("fallback", value)
        return value
    except BaseException as broken:
        if not isinstance(broken, Exception) and not ends_tasks(broken):
            raise
        note_broken(error, broken, fallback)
        return MISSING


def note_broken(error: BaseException, broken: BaseException, fallback: Any) -> None:
    """Say on ``error`` that the fallback itself raised ``broken``."""
    where = f" ({location_of(fallback)})" if callable(fallback) else ""
    note(error, f"its fallback{where} raised {described(broken)}")


def fallback_faults(fallback: Any) -> list[str]:
    """Say what is wrong with a fallback, one sentence each; empty if nothing is."""
    if not callable(fallback):
        found = fresh_faults("fallback", fallback)
        return [f"{fault}: give a function of the exception, such as lambda error: value" for fault in found]
    if is_async_callable(fallback):
        return ["fallback is an async function, which nothing would await: make it sync"]
    if not takes_one(fallback):
        return [f"fallback is a function of the exception, and {shown(fallback)} cannot be called with one argument"]
    return []
