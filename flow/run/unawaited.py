"""Coroutines without an await: a sync function that calls an ``async def`` returns one, and its body never runs.

Drivers look at what sync functions return. What they do not see (a map's items while all goes well, folds) is looked at
in a plan's first run; what generated code has called, at the end of that (:func:`flow.run.state.end_of_looking`).
"""

from __future__ import annotations

from collections.abc import Callable
from types import CoroutineType
from typing import Any

from flow.errors import UsageError
from flow.run.calls import Calls
from flow.signature import Composite, is_async_callable


def looked_at(run: Calls, i: int, fn: Callable[..., Any]) -> Callable[..., Any]:
    """Put a look around the sync function ``fn``, which node ``i`` of ``run`` calls."""

    def looking(*values: Any, **named: Any) -> Any:
        try:
            result = fn(*values, **named)
        finally:
            del values, named  # a traceback would keep them
        if type(result) is CoroutineType:
            raise never_awaited(run, i, result)
        return result

    return looking


def refuse_unless_async(run: Calls, i: int, made: Any) -> None:
    """Raise the error of node ``i`` if its function is sync and has returned the coroutine ``made`` in a thread."""
    fn = run.function(i)
    if not isinstance(fn, Composite) and not is_async_callable(fn):
        raise never_awaited(run, i, made)


def never_awaited(run: Calls, i: int, made: Any) -> UsageError:
    """Return the error of node ``i``, whose sync function has returned the coroutine ``made``."""
    made.close()  # so that nothing warns that it was never awaited
    where = f"node {run.name_of(i)!r} ({run.location(i)})"
    return UsageError(f"{where} returned a coroutine, which nothing awaits: did you mean `async def`, or to await it?")
