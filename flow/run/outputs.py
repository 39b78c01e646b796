"""Coroutines that nobody awaits: a sync function that calls an ``async def`` returns one, and its body never runs.

Drivers look at what sync functions return. What they do not see (a map's items while all goes well, folds) is looked at
in a plan's first run; what generated code has called, at the end of that.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from flow.errors import UsageError
from flow.plan.resolver import DONE, FAILED
from flow.policy.mapping import Folded
from flow.signature import Composite, is_async_callable
from flow.types import MISSING

if TYPE_CHECKING:
    from flow.run.state import RunState

Call = Callable[..., Any]


def _looked_at(run: RunState, i: int, call: Call, *values: Any) -> Any:
    try:
        result = call(*values)
    finally:
        del values  # a traceback would keep them
    if type(result) is CoroutineType:
        raise never_awaited(run, i, result)
    return result


def looked_at_items(run: RunState, i: int, fn: Call) -> Call:
    """Put a look around the sync function of map ``i``, if no run has ended with it."""
    if not run.plan.unchecked:
        return fn

    def looked_at(*values: Any, **named: Any) -> Any:
        return _looked_at(run, i, partial(fn, **named) if named else fn, *values)

    return looked_at


def looked_at_fold(run: RunState, i: int, folded: Folded) -> Folded:
    """Put a look around the sync function of the ``reduce`` that is node ``i``, if no run has ended with it."""
    if not run.plan.unchecked or is_async_callable(folded.fn):
        return folded
    folded = copy(folded)
    folded.fn = partial(_looked_at, run, i, folded.fn)
    return folded


def end_of_looking(run: RunState) -> None:
    """Note which nodes have been looked at, when a run ends. Fail those that generated code has called directly."""
    plan, values = run.plan, run.values
    if run.config.optimize == "at_once":
        for i in plan.unchecked:
            if type(values[i]) is CoroutineType and not plan.kinds[i]:
                resolver = run.resolve(plan.order) if run.resolver is None else run.resolver
                resolver.state[i] = FAILED
                run.errors = {**run.errors, i: never_awaited(run, i, values[i])}
                values[i] = MISSING
    if run.resolver is None:
        plan.unchecked = [i for i in plan.unchecked if values[i] is MISSING]
    else:
        state = run.resolver.state
        plan.unchecked = [i for i in plan.unchecked if state[i] != DONE]


def refuse_unless_async(run: Any, i: int, made: Any) -> None:
    """Raise the error of node ``i`` if its function is sync and has returned the coroutine ``made`` in a thread."""
    plan = getattr(run, "plan", None)
    if plan is not None and not isinstance(plan.fns[i], Composite) and not is_async_callable(plan.fns[i]):
        raise never_awaited(run, i, made)


def never_awaited(run: Any, i: int, made: Any) -> UsageError:
    """Return the error of node ``i``, whose sync function has returned the coroutine ``made``."""
    made.close()  # so that nothing warns that it was never awaited
    where = f"node {run.name_of(i)!r} ({run.location(i)})"
    return UsageError(f"{where} returned a coroutine, which nothing awaits: did you mean `async def`, or to await it?")
