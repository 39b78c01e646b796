"""Coroutines that nobody awaits: a sync function that calls an ``async def`` returns one, and its body never runs.

A plan's first run looks at what its sync functions return, each time one does; the runs after it call them as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
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


def look_at_outputs(run: RunState, fns: list[Call]) -> None:
    """Put a look at the result around those of a run's bound functions that no run has called yet. O(nodes)."""
    plan = run.plan
    for i in plan.unchecked:
        binder = plan.binders.get(i)
        if binder is None:
            if plan.kinds[i]:
                continue
        elif isinstance(binder.fn, Composite) or is_async_callable(binder.fn):
            continue
        fns[i] = looked_at(fns[i], lambda i=i: _place(run, i), bool(run.kinds[i]))  # type: ignore[misc]


def looked_at(call: Call, where: Callable[[], str], is_async: bool = False) -> Call:
    """Return ``call`` with a look at its result. :raises UsageError: from there, if it is a coroutine."""

    def looked(*values: Any, **named: Any) -> Any:
        try:
            result = call(*values, **named)
        finally:
            del values, named  # a traceback would keep them
        if type(result) is CoroutineType:
            raise _refused(result, where())
        return result

    async def looked_async(*values: Any) -> Any:
        try:
            result = await call(*values)
        finally:
            del values  # as above
        if type(result) is CoroutineType:
            raise _refused(result, where())
        return result

    return looked_async if is_async else looked


def looked_at_items(run: RunState, i: int, fn: Call) -> Call:
    """As :func:`looked_at`, for the sync function of a map."""
    return looked_at(fn, lambda: _place(run, i)) if run.plan.unchecked else fn


def looked_at_fold(run: RunState, i: int, folded: Folded) -> Folded:
    """As :func:`looked_at`, for the function of a ``reduce``."""
    if not run.plan.unchecked or is_async_callable(folded.fn):
        return folded
    folded = copy(folded)
    folded.fn = looked_at(folded.fn, lambda: _place(run, i))
    return folded


def end_of_looking(run: RunState) -> None:
    """Note which nodes have been looked at, when a run ends. Fail those that generated code has called directly."""
    plan, values = run.plan, run.values
    for i in plan.unchecked:
        value = values[i]
        if type(value) is CoroutineType and not plan.kinds[i]:
            resolver = run.resolve(plan.order) if run.resolver is None else run.resolver
            resolver.state[i] = FAILED
            values[i] = MISSING
            run.errors = {**run.errors, i: _refused(value, _place(run, i))}
    if run.resolver is None:
        plan.unchecked = [i for i in plan.unchecked if values[i] is MISSING]
    else:
        state = run.resolver.state
        plan.unchecked = [i for i in plan.unchecked if state[i] != DONE]


def _place(run: RunState, i: int) -> str:
    return f"node {run.name_of(i)!r} ({run.location(i)})"


def _refused(made: Any, where: str) -> UsageError:
    made.close()  # so that nothing warns that it was never awaited
    return UsageError(f"{where} returned a coroutine, which nothing awaits: did you mean `async def`, or to await it?")
