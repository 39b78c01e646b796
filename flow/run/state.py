"""One run's state, and what all drivers share: binding nodes, failing, retrying, reporting.

A driver calls nodes and moves the Resolver; what an outcome *means* is decided here, once.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Any
from warnings import warn_explicit

from flow.config import DEFAULT_WORKERS, Config
from flow.data.context import Context
from flow.errors import BlockingNodeWarning, NodeTimeout, UsageError, described, note
from flow.plan.plan import Plan
from flow.plan.resolver import CANCELLED, Resolver
from flow.policy.bind import Binder
from flow.run import events
from flow.signature import Nested, location_of
from flow.types import MISSING

NEVER = float("nan")
"""Time of what did not happen; unlike any number it is not equal to itself."""

_UNBOUNDED = 1 << 62

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class RunState:
    """What one run knows. Made per run; everything expensive in it is made at first use."""

    __slots__ = (
        "_data", "_deadlines", "_given_id", "attempts", "blocking_after", "clock", "config", "errors", "finished",
        "fns", "in_thread", "inputs", "interrupted", "kinds", "limiter", "order", "plan", "ranks", "resolver",
        "started", "started_at", "timed_out", "values", "wall_time",
    )  # fmt: skip

    def __init__(self, plan: Plan, inputs: Mapping[str, Any] | None, config: Config, run_id: str | None) -> None:
        self.plan = plan
        self.config = config
        self.clock = config.clock
        self.inputs: dict[str, Any] = dict(inputs) if inputs else {}
        self.values: list[Any] = [MISSING] * plan.count
        if plan.tail:
            self.values += plan.tail
            for name, value in self.inputs.items():
                for slot in plan.inputs.get(name, ()):
                    self.values[slot] = value
        self.fns: Sequence[Callable[..., Any]] = plan.fns
        self.kinds: Sequence[int] = plan.kinds
        self.order: Sequence[int] = plan.order
        self.ranks: Sequence[int] | None = None
        if config.order == "critical_path":
            self.order, self.ranks = plan.critical_order()
        self.resolver: Resolver | None = None
        self.errors: dict[int, BaseException] = {}
        self.attempts: dict[int, int] = {}  # of nodes tried more than once
        self.started: list[float] | None = None
        self.finished: list[float] | None = None
        self.timed_out = False
        self.interrupted = False  # a cancellation has reached a node
        self.blocking_after = config.blocking_after or float("inf")
        self.in_thread: Callable[[Callable[..., Any]], Callable[..., Any]] = _no_threads
        self.limiter: Any = None  # of this run's threads
        self.wall_time = 0.0
        self._given_id = run_id
        self._data: dict[str, Any] | None = None
        self._deadlines: dict[int, float] = {}
        self.started_at = self.clock.now()

    # -- at the start ------------------------------------------------------------------------

    def prepare(self) -> None:
        """Bind what needs this run. A plan and config without specials skip all of it."""
        plan, config = self.plan, self.config
        threads = config.sync == "thread"
        watched = config.timing or bool(config.observers)
        if plan.binders or threads or watched:
            self._bind(threads, watched)
        if config.observers:
            self.emit(events.RunStarted(self.run_id, plan.name, plan.count, self.started_at))

    def _bind(self, threads: bool, watched: bool) -> None:
        plan = self.plan
        fns = list(plan.fns)
        if threads:
            self.kinds = bytearray(b"\1" * plan.count)
            for i, fn in enumerate(fns):
                if i not in plan.binders and not plan.kinds[i]:
                    fns[i] = Binder(fn, is_async=False).bind(self, i, all_threads=True)
        for i, binder in plan.binders.items():
            fns[i] = binder.bind(self, i, all_threads=threads)
        if watched:
            self.started = [NEVER] * plan.count
            self.finished = [NEVER] * plan.count
            for i, fn in enumerate(fns):
                fns[i] = (self._watched_async if self.kinds[i] else self._watched_sync)(i, fn)
        self.fns = fns

    def _watched_sync(self, i: int, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*values: Any) -> Any:
            began = self._begin(i)
            try:
                result = call(*values)
            finally:
                ended = self._end(i)
            self._completed(i, began, ended)
            return result

        return watched

    def _watched_async(self, i: int, call: Callable[..., Any]) -> Callable[..., Any]:
        async def watched(*values: Any) -> Any:
            began = self._begin(i)
            try:
                result = await call(*values)
            finally:
                ended = self._end(i)
            self._completed(i, began, ended)
            return result

        return watched

    def _begin(self, i: int) -> float:
        now = self.clock.now()
        assert self.started is not None
        attempt = self.attempts.get(i, 1)
        if attempt == 1:
            self.started[i] = now
        if self.config.observers:
            self.emit(events.NodeStarted(self.run_id, self.plan.names[i], attempt, now))
        return now

    def _end(self, i: int) -> float:
        assert self.finished is not None
        now = self.finished[i] = self.clock.now()
        return now

    def _completed(self, i: int, began: float, ended: float) -> None:
        if self.config.observers:
            attempt = self.attempts.get(i, 1)
            self.emit(events.NodeFinished(self.run_id, self.plan.names[i], attempt, ended - began, ended))

    # -- what bound nodes ask (flow.policy.bind.Run) -----------------------------------------

    @property
    def run_id(self) -> str:
        """The run's id: given by the caller, or made at first use."""
        if self._given_id is None:
            self._given_id = _new_run_id()
        return self._given_id

    @property
    def data(self) -> dict[str, Any]:
        """The dict that all nodes of the run share."""
        if self._data is None:
            self._data = {}
        return self._data

    def name_of(self, i: int) -> str:
        """Return node ``i``'s name."""
        return self.plan.names[i]

    def context(self, i: int) -> Context:
        """Make the Context of node ``i``'s present attempt."""
        inputs = MappingProxyType(self.inputs)
        return Context(self.run_id, self.plan.names[i], self.attempts.get(i, 1), inputs, self.data)

    def time_left(self, i: int) -> float | None:
        """Seconds until node ``i``'s overall limit, counted from its first attempt; None without one."""
        limit = self.node_limit(i)
        if limit is None:
            return None
        now = self.clock.now()
        return self._deadlines.setdefault(i, now + limit) - now

    def node_limit(self, i: int) -> float | None:
        """Return node ``i``'s overall limit in seconds."""
        binder = self.plan.binders.get(i)
        return None if binder is None or binder.timeout is None else binder.timeout.node

    def nested(self, fn: Nested) -> Callable[..., Any]:
        """Return the callable that runs a nested plan as one node, on its own slots."""
        from flow.run.api import execute_nested, run_nested

        run = run_nested if fn.plan.all_sync else execute_nested
        config = self.config

        def call(*values: Any) -> Any:
            inputs = {name: v for name, v in zip(fn.inputs, values, strict=True) if v is not Nested.UNSET}
            return run(fn.plan, inputs, config)

        return call

    # -- outcomes ----------------------------------------------------------------------------

    def resolve(self, done: Sequence[int] = ()) -> Resolver:
        """Make the Resolver of this run, of which the nodes ``done`` have ended well."""
        self.resolver = Resolver.resumed(self.plan, done, self.ranks)
        return self.resolver

    def retry_delay(self, i: int, error: BaseException) -> float | None:
        """Seconds to wait before node ``i`` is tried again after ``error``; None if it is not to be."""
        retry = self.plan.retries.get(i)
        attempt = self.attempts.get(i, 1)
        if retry is None or attempt >= retry.attempts:
            return None
        if isinstance(error, NodeTimeout) and error.overall:
            return None
        try:
            if not retry.wants(error):
                return None
        except Exception as broken:  # the user's predicate; the node's own error must not be masked
            note(error, f"retry_if raised {described(broken)}; not retried")
            return None
        delay = retry.delay_after(attempt)
        if i in self._deadlines and self.clock.now() + delay >= self._deadlines[i]:
            note(error, f"not retried: the node's overall limit of {self.node_limit(i):g} s leaves no time")
            return None
        self.attempts[i] = attempt + 1
        if self.config.observers:
            now = self.clock.now()
            self.emit(events.NodeRetried(self.run_id, self.plan.names[i], attempt, error, delay, now))
        return delay

    def fail(self, i: int, error: BaseException) -> bool:
        """Record that node ``i`` failed for good, skip what cannot run; return True if the run must end."""
        assert self.resolver is not None
        plan = self.plan
        name = plan.names[i]
        attempt = self.attempts.get(i, 1)
        tries = f", attempt {attempt}" if i in plan.retries else ""
        # The base's own methods: an exception may be frozen, or have others of these names.
        BaseException.with_traceback(error, _users_part(error.__traceback__, plan.fns[i]))
        note(error, f"in node {name!r} ({location_of(plan.fns[i])}){tries}")
        self.errors[i] = error
        skipped = self.resolver.failed(i)
        if self.config.observers:
            now = self.clock.now()
            self.emit(events.NodeFailed(self.run_id, name, attempt, error, now))
            for s in skipped:
                self.emit(events.NodeSkipped(self.run_id, plan.names[s], name, now))
        return self.config.on_error == "fail_fast" and i not in plan.tolerant

    def emit(self, event: events.Event) -> None:
        """Tell every observer; one that raises is logged and harms nothing."""
        for observer in self.config.observers:
            try:
                observer(event)
            except Exception:
                import logging

                logging.getLogger("flow").exception("observer %r raised on %s", observer, type(event).__name__)

    # -- at the end --------------------------------------------------------------------------

    def end(self) -> None:
        """Cancel what never ended, take the wall time, tell observers."""
        resolver = self.resolver
        if resolver is not None and resolver.unfinished:
            resolver.cancel_rest(taken=True)
        if self.timed_out and not self.interrupted and (resolver is None or CANCELLED not in resolver.state):
            self.timed_out = False  # all ended in the very tick of the limit, by themselves
        # What was bound to this run points back at it; a Result should not need the garbage collector.
        self.fns, self.in_thread, self.limiter = self.plan.fns, _no_threads, None
        now = self.clock.now()
        self.wall_time = now - self.started_at
        if self.config.observers:
            self._emit_end(now)

    def _emit_end(self, now: float) -> None:
        from flow.run.result import Result

        if self.resolver is not None:
            for i, code in enumerate(self.resolver.state):
                if code == CANCELLED:
                    self.emit(events.NodeCancelled(self.run_id, self.plan.names[i], now))
        result = Result(self)
        counts = {str(status): count for status, count in result.counts.items()}
        self.emit(events.RunFinished(self.run_id, self.plan.name, result.ok, counts, self.wall_time, now))


def warn_of_blocking(run: RunState, i: int, seconds: float) -> None:
    """Warn that node ``i`` held the event loop, pointing at its function."""
    file, _, line = location_of(run.plan.fns[i]).rpartition(":")
    where = (file, int(line)) if line.isdigit() else ("<node>", 1)
    warn_explicit(
        f"node {run.name_of(i)!r} held the event loop for {seconds:.3f} s; nothing else could run meanwhile. "
        "Await what it waits for, or run it with thread=True",
        BlockingNodeWarning,
        *where,
    )


def is_sync_run(plan: Plan, config: Config) -> bool:
    """Tell whether a run needs no event loop at all."""
    return plan.all_sync and config.mode in ("auto", "inline") and config.sync == "inline"


def limit_of(run: RunState) -> int:
    """Most hosts a run may have: one inline, ``limit`` if given, else no bound."""
    config = run.config
    if config.mode == "inline":
        return 1
    if config.limit is not None:
        return config.limit
    return DEFAULT_WORKERS if config.mode == "workers" else _UNBOUNDED


def _users_part(traceback: TracebackType | None, fn: Callable[..., Any]) -> TracebackType | None:
    """Drop the frames that lead to the user's function: ours, a thread pool's, a middleware's."""
    code = getattr(fn, "__code__", None)
    at = traceback
    while at is not None:
        if at.tb_frame.f_code is code:
            return at
        at = at.tb_next
    while traceback is not None and traceback.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        traceback = traceback.tb_next
    return traceback


def _no_threads(call: Callable[..., Any]) -> Callable[..., Any]:
    raise UsageError("thread nodes need an event loop: no driver is set")


_prefix = ""
_serial = 0


def _new_run_id() -> str:
    """``<random per process>-<number>``; cheap, unique across processes and after a fork."""
    global _prefix, _serial
    if not _prefix:
        _prefix = os.urandom(6).hex()
    _serial += 1
    return f"{_prefix}-{_serial}"


def _forget_prefix() -> None:
    global _prefix
    _prefix = ""


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_prefix)

