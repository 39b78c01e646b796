"""Turn a node's function and its policies into the one callable that a driver calls.

At compile time a :class:`Binder` is made for each node that needs more than ``fn(*values)``;
at the start of a run it is bound to that run. Layers, from the inside out: the function with its
keywords and Context, a thread, middleware, the time limits. A node without a Binder is called
as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from math import inf
from typing import Any, ClassVar, Final, Protocol

import msgspec

from flow.awaits import may_return_awaitable
from flow.clock import Clock
from flow.config import Timeout
from flow.data.context import Context
from flow.errors import NodeTimeout
from flow.policy.admission import Gates
from flow.policy.arguments import Optionals, leaving_out
from flow.policy.middleware import Middleware, compose, settled
from flow.signature import Composite, is_async_callable
from flow.types import ABSENT, MISSING

Call = Callable[..., Any]


class Timed(Protocol):
    """What a time limit asks of its run."""

    clock: Clock

    def name_of(self, i: int) -> str:
        """Return node ``i``'s name."""
        ...

    def time_left(self, i: int) -> float | None:
        """Seconds until node ``i``'s overall limit; None if it has none."""
        ...

    def postpone(self, i: int, seconds: float) -> None:
        """Move node ``i``'s overall limit, if it has one: it began so much later."""
        ...


class Run(Timed, Protocol):
    """What a bound node may ask of its run."""

    @property
    def on_loop(self) -> bool:
        """True if an event loop drives it: a map of sync functions must let that turn, and is awaited."""
        ...

    def context(self, i: int) -> Context:
        """Make the Context of node ``i``'s present attempt."""
        ...

    def given(self, i: int) -> Sequence[bool]:
        """Tell of each of node ``i``'s values whether it is there: all but those of optional inputs not given."""
        ...

    def leased_context(self, i: int) -> Context:
        """Make it for an attempt that may be left behind in its thread."""
        ...

    def in_thread(self, call: Call, limit: ThreadLimit | None) -> Call:
        """Return an async callable that runs ``call`` in a worker thread, with its time limit, if it has one."""
        ...

    def in_executor(self, name: str, fn: Call) -> Call:
        """Return an async callable that has ``fn`` called by the executor of that name."""
        ...

    def waiting_for(self, name: str, fn: Call) -> Call:
        """Return a sync callable that has ``fn`` called by that executor, and waits for it: for a thread to do."""
        ...


Expand = Callable[[Composite, int, str, str], tuple[Call, bool]]
"""Gives what runs a Dag, a map or a fold as node ``i`` of a run, and whether that is awaited: called with it, ``i``,
where sync functions run, and the place in the run that nodes within it are said to be at."""


class Binder(msgspec.Struct, frozen=True):
    """How one node is called.

    ``is_async`` says whether the bound callable returns an awaitable, as far as the run's settings do not decide.
    ``executor`` says where a sync function runs: "inline", "thread" or a name; None leaves it to the run.
    ``optional`` is there if some of its values may be missing. ``defaults`` are
    those of parameters, by position among the values, whose node may fail and be tolerated: no value comes for them
    then.
    """

    fn: Call
    is_async: bool
    keywords: tuple[str, ...] = ()
    context: int | str = -1
    executor: str | None = None
    middleware: tuple[Middleware, ...] = ()
    timeout: Timeout | None = None
    optional: Optionals | None = None
    defaults: tuple[tuple[int, Any], ...] = ()
    abandons: bool = False
    admission: Gates | None = None

    def with_policy(
        self,
        executor: str | None,
        middleware: tuple[Middleware, ...],
        timeout: Timeout | None,
        abandons: bool = False,
        admission: Gates | None = None,
    ) -> Binder:
        """Return a copy with these policies."""
        waits = executor not in (None, "inline") or (admission is not None and admission.is_async)
        return msgspec.structs.replace(
            self,
            is_async=self.is_async or waits or any(map(is_async_callable, middleware)),
            executor=executor,
            middleware=middleware,
            timeout=timeout,
            abandons=abandons,
            admission=admission,
        )

    def bind(self, run: Run, i: int, expand: Expand, default: str = "inline") -> tuple[Call, bool]:
        """Return the callable for node ``i`` of ``run``, and whether it is awaited.

        :param default: where sync functions run that do not say so themselves.
        """
        context = partial(run.leased_context if self.abandons else run.context, i)
        executor, layers, limit, detail = self.executor or default, self.middleware, None, ""
        # Plain middleware next to a sync function stays next to it: both go into the thread.
        outer = max((k + 1 for k, layer in enumerate(layers) if is_async_callable(layer)), default=0)
        fn, is_async = self.fn, is_async_callable(self.fn)
        if isinstance(fn, Composite):
            fn, is_async = expand(fn, i, executor, run.name_of(i))
            executor = executor if executor == "thread" else "inline"  # a named one is for what is within
        elif not is_async and executor not in ("inline", "thread"):
            detail = f"; it ran in executor {executor!r}, which cannot be interrupted, and was waited for"
            if layers[outer:]:  # a thread waits for the executor, as plain middleware cannot
                fn, executor = run.waiting_for(executor, fn), "thread"
            else:
                fn, is_async = run.in_executor(executor, fn), True
        call = self._with_arguments(fn, run, i, context)
        if self.defaults:
            call = self._with_defaults(fn, call, run, i, context)
        if not isinstance(self.fn, Composite) and may_return_awaitable(self.fn):
            call = settled(call)
        if not is_async and executor == "thread":
            if layers[outer:]:
                call = compose(call, False, layers[outer:], context)
            if self.timeout is not None:
                limit = ThreadLimit(run, i, self.timeout, self.abandons)
            call, layers, is_async = run.in_thread(call, limit), layers[:outer], True
        if layers:
            call = compose(call, is_async, layers, context)
            is_async = is_async or any(map(is_async_callable, layers))
        if self.timeout is None:
            return call, is_async
        if limit is not None:
            return limit.around(call), True
        if is_async:
            return limited_async(call, run, i, self.timeout, detail), True
        return limited_sync(call, run, i, self.timeout), False

    def _with_defaults(self, fn: Call, call: Call, run: Run, i: int, make: Callable[[], Context]) -> Call:
        """Let ``call`` have defaults for what tolerated failures lack; a parameter that takes none is left out."""
        defaults = self.defaults
        leaves_out = not isinstance(self.fn, Composite) and any(default is ABSENT for _, default in defaults)

        def called(*values: Any) -> Any:
            found = with_defaults(values, defaults)
            if leaves_out and not all(given := [value is not ABSENT for value in found]):
                return self._with_arguments(fn, run, i, make, given)(*found)
            return call(*found)

        return called

    def _with_arguments(
        self, fn: Call, run: Run, i: int, make: Callable[[], Context], given: Sequence[bool] | None = None
    ) -> Call:
        """Return what calls ``fn`` with the Context and the keyword arguments in their places.

        Values arrive by position. ``fn`` gets arguments and nothing of the run: it may be called anywhere.

        :param make: makes the Context.
        :param given: by value, whether it is there; by default as at the start of the run.
        """
        keywords, context = self.keywords, self.context
        given = run.given(i) if given is None and self.optional is not None else given
        if self.optional is not None and given is not None and not all(given):
            at = self.optional.names[context] if isinstance(context, int) and context >= 0 else context
            name = at if isinstance(at, str) else None
            return leaving_out(fn, self.optional, keywords, name, make, given)
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
                named[context] = make()
            elif context >= 0:
                positional = (*positional[:context], make(), *positional[context:])
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


def _exceeded(run: Timed, i: int, timeout: Timeout, overall: bool, detail: str = "") -> NodeTimeout:
    scope, seconds = ("its overall limit", timeout.node) if overall else ("its attempt limit", timeout.attempt)
    error = NodeTimeout(f"node {run.name_of(i)!r} exceeded {scope} of {seconds:g} s{detail}")
    error.overall = overall
    return error


_TOO_LATE: Final = " before this attempt began"


def limited_async(call: Call, run: Timed, i: int, timeout: Timeout, detail: str = "") -> Callable[..., Awaitable[Any]]:
    """Stop ``call`` when its time is up.

    :param detail: what the NodeTimeout is to say besides.
    """
    from anyio import move_on_after

    async def limited(*values: Any) -> Any:
        limit = _shortest(run, i, timeout)
        if limit <= 0:
            raise _exceeded(run, i, timeout, True, _TOO_LATE)
        with move_on_after(limit):
            return await call(*values)  # in the same tick as the limit: the result stands
        raise _exceeded(run, i, timeout, limit != timeout.attempt, detail)

    return limited


def limited_sync(call: Call, run: Timed, i: int, timeout: Timeout) -> Call:
    """Fail ``call`` if it took too long: nothing can stop it before."""
    now = run.clock.now

    def limited(*values: Any) -> Any:
        limit = _shortest(run, i, timeout)
        if limit <= 0:
            raise _exceeded(run, i, timeout, True, _TOO_LATE)
        started = now()
        result = call(*values)
        took = now() - started
        if took > limit:
            detail = f": it took {took:.3g} s; a sync function cannot be interrupted (make it async)"
            raise _exceeded(run, i, timeout, limit != timeout.attempt, detail)
        return result

    return limited


class ThreadLimit:
    """The time limits of one node in a thread: what wraps the call, and what the thread's room tells it.

    The limit of an attempt stands still while the call queues for a thread. So does the overall one before the first
    attempt has begun; from then on it covers everything. Times are the event loop's.

    :ivar abandons: when its time is up the call is left behind; else it is waited for.
    :ivar begun: its function has begun once.
    :ivar left: the call that an attempt has left behind, until another attempt sees that it has returned.
    :ivar detail: what a NodeTimeout is to say besides.
    """

    __slots__ = ("_ends", "_paused", "abandons", "begun", "detail", "i", "left", "overall", "run", "scope", "timeout")

    QUEUED: ClassVar = "; it was waiting for a free thread"
    WAITED_FOR: ClassVar = "; it ran in a thread, which cannot be interrupted, and was waited for"
    ABANDONED: ClassVar = "; it ran in a thread, which cannot be interrupted, and was abandoned there"
    HELD: ClassVar = "; the call that an earlier attempt abandoned in its thread has not returned"

    def __init__(self, run: Timed, i: int, timeout: Timeout, abandons: bool) -> None:
        self.run = run
        self.i = i
        self.timeout = timeout
        self.abandons = abandons
        self.begun = False
        self.left: Any = None
        self.detail = ""
        self.overall = False
        self.scope: Any = None
        self._ends = self._paused = 0.0

    @property
    def name(self) -> str:
        """The node's name."""
        return self.run.name_of(self.i)

    def around(self, call: Call) -> Callable[..., Awaitable[Any]]:
        """Stop waiting for ``call`` when its time is up."""
        from anyio import CancelScope, current_time

        async def limited(*values: Any) -> Any:
            left = self.run.time_left(self.i)
            if left is not None and left <= 0:
                raise _exceeded(self.run, self.i, self.timeout, True, _TOO_LATE)
            with CancelScope() as self.scope:
                self.restart(current_time())
                return await call(*values)
            raise _exceeded(self.run, self.i, self.timeout, self.overall, self.detail)

        return limited

    def restart(self, now: float) -> None:
        """The attempt begins now."""
        self._ends = inf if self.timeout.attempt is None else now + self.timeout.attempt
        self._set(now)

    def pause(self, now: float) -> None:
        """The call queues for a thread."""
        left = self.run.time_left(self.i) if self.begun else None
        self._paused = now
        self._set_to(inf if left is None else now + left, True, self.QUEUED)

    def resume(self, began: float, now: float) -> None:
        """It has got one, at the time ``began``."""
        queued = began - self._paused
        self._ends += queued
        if not self.begun:
            self.begun = True
            self.run.postpone(self.i, queued)
        self._set(now)

    def _set(self, now: float) -> None:
        left = self.run.time_left(self.i)
        ends = inf if left is None else now + left
        self._set_to(min(ends, self._ends), ends < self._ends)

    def _set_to(self, deadline: float, overall: bool, detail: str = "") -> None:
        if not self.scope.cancel_called:  # else it is decided which limit has passed, and when
            self.scope.deadline, self.overall, self.detail = deadline, overall, detail

    def kept(self, ended: float) -> bool:
        """Tell whether a call that ended then kept its limit, though the event loop came to see it later."""
        return bool(self.scope.cancel_called and ended <= self.scope.deadline)
