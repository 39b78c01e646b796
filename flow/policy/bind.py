"""Turn a node's function and its policies into the one callable that a driver calls.

At compile time a :class:`Binder` is made for each node that needs more than ``fn(*values)``;
at the start of a run it is bound to that run. Layers, from the inside out: the function with its
keywords and Context, a thread, middleware, the time limits. A node without a Binder is called
as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from flow.awaits import may_return_awaitable
from flow.clock import Clock
from flow.config import Timeout
from flow.data.context import Context
from flow.errors import NodeTimeout
from flow.policy.arguments import Optionals, leaving_out
from flow.policy.mapping import Mapped
from flow.policy.middleware import Middleware, compose, settled
from flow.signature import Composite, is_async_callable
from flow.types import ABSENT, MISSING

Call = Callable[..., Any]


class Timed(Protocol):
    """What a time limit asks of its run."""

    clock: Clock

    def name_of(self, i: int) -> str:
        """Return node ``i``'s name."""

    def time_left(self, i: int) -> float | None:
        """Seconds until node ``i``'s overall limit; None if it has none."""


class Run(Timed, Protocol):
    """What a bound node may ask of its run."""

    @property
    def on_loop(self) -> bool:
        """True if an event loop drives it: a map of sync functions must let that turn, and is awaited."""

    def context(self, i: int) -> Context:
        """Make the Context of node ``i``'s present attempt."""

    def given(self, i: int) -> Sequence[bool]:
        """Tell of each of node ``i``'s values whether it is there: all but those of optional inputs not given."""

    def expanded(self, fn: Composite, i: int) -> Call:
        """Return the callable that runs a nested plan, or a map, as node ``i`` of this run."""

    def in_thread(self, call: Call) -> Call:
        """Return an async callable that runs ``call`` in a worker thread."""


class Binder(msgspec.Struct, frozen=True):
    """How one node is called.

    ``is_async`` says whether the bound callable returns an awaitable; in a run that puts all sync
    functions into threads every one does. ``optional`` is there if some of its values may be missing. ``defaults`` are
    those of parameters, by position among the values, whose node may fail and be tolerated: no value comes for them
    then.
    """

    fn: Call
    is_async: bool
    keywords: tuple[str, ...] = ()
    context: int | str = -1
    thread: bool = False
    middleware: tuple[Middleware, ...] = ()
    timeout: Timeout | None = None
    optional: Optionals | None = None
    defaults: tuple[tuple[int, Any], ...] = ()

    def with_policy(self, thread: bool, middleware: tuple[Middleware, ...], timeout: Timeout | None) -> Binder:
        """Return a copy with these policies."""
        is_async = self.is_async or thread or any(map(is_async_callable, middleware))
        return msgspec.structs.replace(self, is_async=is_async, thread=thread, middleware=middleware, timeout=timeout)

    def bind(self, run: Run, i: int, all_threads: bool = False) -> Call:
        """Return the callable for node ``i`` of ``run``; ``all_threads`` puts sync functions in threads."""
        call = self._with_arguments(run, i)
        if self.defaults:
            call = self._with_defaults(call, run, i)
        if not isinstance(self.fn, Composite) and may_return_awaitable(self.fn):
            call = settled(call)
        context = partial(run.context, i)
        layers = self.middleware
        is_async = is_async_callable(self.fn) or (run.on_loop and isinstance(self.fn, Mapped))
        threaded = not is_async and (self.thread or all_threads)
        if threaded:
            # Plain middleware next to a sync function stays next to it: both go into the thread.
            outer = max((k + 1 for k, layer in enumerate(layers) if is_async_callable(layer)), default=0)
            if layers[outer:]:
                call = compose(call, False, layers[outer:], context)
            call, layers, is_async = run.in_thread(call), layers[:outer], True
        if layers:
            call = compose(call, is_async, layers, context)
            is_async = is_async or any(map(is_async_callable, layers))
        if self.timeout is not None:
            limited = limited_async if is_async else limited_sync
            call = limited(call, run, i, self.timeout, threaded)
        return call

    def _with_defaults(self, call: Call, run: Run, i: int) -> Call:
        """Let ``call`` have defaults for what tolerated failures lack; a parameter that takes none is left out."""
        defaults = self.defaults
        leaves_out = not isinstance(self.fn, Composite) and any(default is ABSENT for _, default in defaults)

        def called(*values: Any) -> Any:
            found = with_defaults(values, defaults)
            if leaves_out and not all(given := [value is not ABSENT for value in found]):
                return self._with_arguments(run, i, given)(*found)
            return call(*found)

        return called

    def _with_arguments(self, run: Run, i: int, given: Sequence[bool] | None = None) -> Call:
        """Place the Context and the keyword arguments; values arrive by position.

        :param given: by value, whether it is there; by default as at the start of the run.
        """
        fn, keywords, context = self.fn, self.keywords, self.context
        if isinstance(fn, Composite):
            fn = run.expanded(fn, i)
        given = run.given(i) if given is None and self.optional is not None else given
        if self.optional is not None and given is not None and not all(given):
            at = self.optional.names[context] if isinstance(context, int) and context >= 0 else context
            name = at if isinstance(at, str) else None
            return leaving_out(fn, self.optional, keywords, name, partial(run.context, i), given)
        if not keywords and context == -1:
            return fn
        count = len(keywords)

        def call(*values: Any) -> Any:
            named: dict[str, Any] = {}
            positional = values
            if count:
                named = dict(zip(keywords, values[-count:], strict=True))
                positional = values[:-count]
            if isinstance(context, str):
                named[context] = run.context(i)
            elif context >= 0:
                positional = (*positional[:context], run.context(i), *positional[context:])
            return fn(*positional, **named)

        return call


def with_defaults(values: Sequence[Any], defaults: Sequence[tuple[int, Any]]) -> list[Any]:
    """Return ``values`` with the default at each position of ``defaults`` for which no value has come."""
    found = list(values)
    for at, default in defaults:
        if found[at] is MISSING:
            found[at] = default
    return found


def _shortest(run: Timed, i: int, timeout: Timeout) -> float:
    limits = [s for s in (timeout.attempt, run.time_left(i)) if s is not None]
    return min(limits)


def _exceeded(run: Timed, i: int, timeout: Timeout, limit: float, detail: str) -> NodeTimeout:
    overall = limit != timeout.attempt
    scope, seconds = ("its overall limit", timeout.node) if overall else ("its attempt limit", timeout.attempt)
    error = NodeTimeout(f"node {run.name_of(i)!r} exceeded {scope} of {seconds:g} s{detail}")
    error.overall = overall
    return error


def limited_async(call: Call, run: Timed, i: int, timeout: Timeout, threaded: bool) -> Callable[..., Awaitable[Any]]:
    """Stop ``call`` when its time is up; one in a thread is waited for."""
    from anyio import move_on_after

    async def limited(*values: Any) -> Any:
        limit = _shortest(run, i, timeout)
        if limit <= 0:
            raise _exceeded(run, i, timeout, limit, " before this attempt began")
        with move_on_after(limit) as scope:
            result = await call(*values)
            if not (threaded and scope.cancel_called):
                return result  # in the same tick as the limit: the result stands
        detail = "; it ran in a thread, which cannot be interrupted, and was waited for" if threaded else ""
        raise _exceeded(run, i, timeout, limit, detail)

    return limited


def limited_sync(call: Call, run: Timed, i: int, timeout: Timeout, threaded: bool) -> Call:
    """Fail ``call`` if it took too long: nothing can stop it before."""
    now = run.clock.now

    def limited(*values: Any) -> Any:
        limit = _shortest(run, i, timeout)
        if limit <= 0:
            raise _exceeded(run, i, timeout, limit, " before this attempt began")
        started = now()
        result = call(*values)
        took = now() - started
        if took > limit:
            detail = f": it took {took:.3g} s; a sync function cannot be interrupted (make it async)"
            raise _exceeded(run, i, timeout, limit, detail)
        return result

    return limited
