"""Coroutines that nobody awaits: a sync function that calls an ``async def`` returns one, and its body never runs.

A plan's first run looks at what its sync functions return, each time one does; the runs after it call them as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def looking(run: RunState, fns: Sequence[Call]) -> Any:
    """Return what stands for a run's bound functions while it looks at their results: ``[i]`` is all that is asked."""
    return _Looking(run, fns)


class _Looking:
    """A run's bound functions, each with a look at its result around it, made when it is asked for.

    (Made beforehand, they would take a run of a million nodes 200 MB.)
    """

    __slots__ = ("_binders", "_fns", "_kinds", "_run")

    def __init__(self, run: RunState, fns: Sequence[Call]) -> None:
        self._run = run
        self._fns = fns
        self._kinds = run.plan.kinds
        self._binders = run.plan.binders

    def __getitem__(self, i: int) -> Call:
        fn = self._fns[i]
        if i in self._binders:
            user = self._binders[i].fn
            if isinstance(user, Composite) or is_async_callable(user):
                return fn
        elif self._kinds[i]:
            return fn
        return partial(_awaited_and_looked_at if self._run.kinds[i] else _looked_at, self._run, i, fn)

    def __len__(self) -> int:
        return len(self._fns)


def _looked_at(run: RunState, i: int, call: Call, *values: Any) -> Any:
    try:
        result = call(*values)
    finally:
        del values  # a traceback would keep them
    if type(result) is CoroutineType:
        raise _refused(run, i, result)
    return result


async def _awaited_and_looked_at(run: RunState, i: int, call: Call, *values: Any) -> Any:
    try:
        result = await call(*values)
    finally:
        del values  # as above
    if type(result) is CoroutineType:
        raise _refused(run, i, result)
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
                run.errors = {**run.errors, i: _refused(run, i, values[i])}
                values[i] = MISSING
    if run.resolver is None:
        plan.unchecked = [i for i in plan.unchecked if values[i] is MISSING]
    else:
        state = run.resolver.state
        plan.unchecked = [i for i in plan.unchecked if state[i] != DONE]


def _refused(run: RunState, i: int, made: Any) -> UsageError:
    made.close()  # so that nothing warns that it was never awaited
    where = f"node {run.name_of(i)!r} ({run.location(i)})"
    return UsageError(f"{where} returned a coroutine, which nothing awaits: did you mean `async def`, or to await it?")
