"""Calls of nodes whose times are taken, and of which observers are told. Other runs pay nothing for it."""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any, Final

from flow.run import events
from flow.run.unawaited import never_awaited, refuse_unless_async

Call = Callable[..., Any]

NEVER: Final = float("nan")
"""Time of what did not happen; unlike any number it is not equal to itself."""


def times(run: Any) -> None:
    """Make room for the times of the nodes of a run. O(nodes)."""
    run.started, run.finished = [NEVER] * run.nodes.count, [NEVER] * run.nodes.count


def takes_times(run: Any) -> bool:
    """Tell whether a driver takes the times of a run itself, which costs a fifth of a wrapper around each call.

    That is a run without an event loop whose nodes are called in the plan's order, with nothing else to be told.
    """
    if run.on_loop or run.resolver is not None or run.deadline is not None or run.nodes.routes is not None:
        return False
    extras = run._extras
    return extras is None or (extras.hooks is None and extras.journal is None and not extras.known)


def watched(run: Any) -> list[Call]:
    """Return the calls of ``run`` timed, and told to its observers. What all nodes share is looked up once."""
    started, finished = run.started, run.finished
    observers, names, now, emit = run.config.observers, run.nodes.names, run.clock.now, run.emit
    starts, ends = events.is_wanted(events.NodeStarted, observers), events.is_wanted(events.NodeFinished, observers)
    begins, completes, run_id = events.NodeStarted, events.NodeFinished, run.run_id if observers else ""
    retries = run.nodes.retries

    def begin(i: int, began: float) -> int:
        attempt: int = run.attempts.get(i, 1)
        if attempt == 1:
            started[i] = began
        if starts:
            emit(begins(run_id, names[i], attempt, began))
        return attempt

    def sync(i: int, call: Call) -> Call:
        def timed(*values: Any) -> Any:
            began = now()
            attempt = begin(i, began)
            try:
                result = call(*values)
                if type(result) is CoroutineType:
                    raise never_awaited(run, i, result)
            except BaseException as error:
                raised(run, finished, i, began, error)
                raise
            finished[i] = ended = now()
            if i in retries:
                tried(run, i, began, ended)
            if ends:
                emit(completes(run_id, names[i], attempt, ended - began, ended))
            return result

        return timed

    def awaited(i: int, call: Call) -> Call:
        async def timed(*values: Any) -> Any:
            began = now()
            attempt = begin(i, began)
            try:
                result = await call(*values)
                if type(result) is CoroutineType:
                    refuse_unless_async(run, i, result)
            except BaseException as error:
                raised(run, finished, i, began, error)
                raise
            finished[i] = ended = now()
            if i in retries:
                tried(run, i, began, ended)
            if ends:
                emit(completes(run_id, names[i], attempt, ended - began, ended))
            return result

        return timed

    make = (sync, awaited)
    return [make[run.is_async[i]](i, call) for i, call in enumerate(run.fns)]


def raised(run: Any, finished: list[float], i: int, began: float, error: BaseException) -> None:
    """Note the times of an attempt of node ``i`` that has raised."""
    finished[i] = ended = run.clock.now()
    if i in run.nodes.fallbacks and isinstance(error, Exception):
        run.extras.began[i] = began
    if i in run.nodes.retries:
        tried(run, i, began, ended)


def tried(run: Any, i: int, began: float, ended: float) -> None:
    """Note the times of an attempt of node ``i``, which may have several."""
    run.extras.tries.setdefault(i, []).append((began, ended))


__all__ = ["NEVER", "raised", "takes_times", "times", "tried", "watched"]
