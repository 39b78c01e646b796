"""What stands around a call where a run has hooks, or a node has an admission. O(1) per call; nothing without them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from types import CoroutineType
from typing import Any

from flow.awaits import discard
from flow.data.context import Context
from flow.errors import UsageError
from flow.policy.middleware import is_awaitable
from flow.run.calls import Calls
from flow.run.unawaited import never_awaited, refuse_unless_async
from flow.types import ABSENT, MISSING, Status

Call = Callable[..., Any]


def hooked(run: Calls, i: int, call: Call, is_async: bool, names: Sequence[str]) -> Call:
    """Ask the call hook before ``call``, and tell the outcome hook what it has given, before anybody else gets that.

    What it raises is told by whoever decides what that means (:meth:`flow.run.calls.Calls.retry_delay`, ``fail``).

    :param names: of the parameters that the values are for; further ones are of ``*args``.
    """
    return _hooked_async(run, i, call, names) if is_async else _hooked_sync(run, i, call, names)


def _hooked_sync(run: Calls, i: int, call: Call, names: Sequence[str]) -> Call:
    hooks = run.hooks
    assert hooks is not None

    def told(*values: Any) -> Any:
        answer = hooks.ask(run.call_of(i, _named(names, values))) if hooks.asks is not None else None
        value = call(*values) if answer is None else run.answered(i, answer)
        if type(value) is CoroutineType:
            raise never_awaited(run, i, value)
        if hooks.tells:
            hooks.tell(run.outcome_of(i, Status.COMPLETED, run.output_of(i, value)))
        return value

    return told


def _hooked_async(run: Calls, i: int, call: Call, names: Sequence[str]) -> Call:
    hooks = run.hooks
    assert hooks is not None

    async def told(*values: Any) -> Any:
        answer = None
        if hooks.asks is not None:
            answer = await hooks.ask_awaiting(run.call_of(i, _named(names, values)))
        value = await call(*values) if answer is None else run.answered(i, answer)
        if type(value) is CoroutineType:
            refuse_unless_async(run, i, value)
        if hooks.tells:
            await hooks.tell_awaiting(run.outcome_of(i, Status.COMPLETED, run.output_of(i, value)))
        return value

    return told


def lifted(run: Calls, i: int, call: Call) -> Callable[..., Awaitable[Any]]:
    """Let a sync ``call`` be awaited, in contextvars of its own: around it there is something to await."""

    async def awaited(*values: Any) -> Any:
        value = copy_context().run(call, *values)
        if type(value) is CoroutineType:
            raise never_awaited(run, i, value)
        return value

    return awaited


def admitted(run: Calls, i: int, call: Call, is_async: bool, admission: Call, make: Callable[[], Context]) -> Call:
    """Let ``call`` begin once ``admission`` lets it in. While that is awaited, the node holds no slot.

    :param make: makes the Context that the admission is given.
    """

    async def let_in(*values: Any) -> Any:
        made = admission(make())
        if is_awaitable(made):
            async with run.released():
                await made
        return await call(*values)

    def let_in_at_once(*values: Any) -> Any:
        made = admission(make())
        if is_awaitable(made):
            discard(made)
            raise UsageError(f"the admission of node {run.name_of(i)!r} returned something to await: make it async")
        return call(*values)

    return let_in if is_async else let_in_at_once


def _named(names: Sequence[str], values: Sequence[Any]) -> dict[str, Any]:
    """The values by parameter, without those that are not there."""
    more = [f"args[{k}]" for k in range(len(values) - len(names))]
    pairs = zip((*names, *more), values, strict=False)
    return {name: value for name, value in pairs if value is not ABSENT and value is not MISSING}
