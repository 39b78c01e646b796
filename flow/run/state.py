"""One run's state: binding its nodes, and what their outcomes mean, whichever driver reports them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import length_hint
from threading import RLock
from types import AsyncGeneratorType, CoroutineType, GeneratorType, MappingProxyType
from typing import TYPE_CHECKING, Any

from flow.config import DEFAULT_DATA_CONFIG, DEFAULT_WORKERS, Config, Retry
from flow.data.context import Context, Scope, context_of
from flow.errors import a_kind, note, shower, shown
from flow.plan.plan import Plan
from flow.plan.resolver import CANCELLED, Resolver
from flow.policy.bind import Binder
from flow.policy.fallback import value_for
from flow.policy.mapping import Folded, Mapped
from flow.run import events
from flow.run.driven import Driven
from flow.run.frames import keep_users_frames, let_go
from flow.run.ids import new_run_id
from flow.run.loading import load
from flow.run.outputs import end_of_looking, looked_at_fold, never_awaited, refuse_unless_async
from flow.run.view import LiveView
from flow.signature import Composite, Nested, location_of
from flow.types import ABSENT, MISSING

if TYPE_CHECKING:
    from flow.data.store import WorkflowData
    from flow.run.adaptive import Climb
    from flow.run.items import Items

_NOTHING: Any = {}
"""What few runs have any of: errors, further attempts, inputs. Dicts are made at the first."""

NEVER = float("nan")
"""Time of what did not happen; unlike any number it is not equal to itself."""

_UNBOUNDED = 1 << 62

_FIRST = RLock()
"""Held while something of a run is made at its first use: nodes in threads may all be the first."""


class _More:
    """What only some runs have."""

    __slots__ = ("abandoned", "began", "caught", "data", "fallbacks", "limits", "outer", "stages", "view")

    def __init__(self, data: WorkflowData | None, outer: RunState | None) -> None:
        self.data = data
        self.outer = outer
        self.stages: dict[int, Items] = {}
        self.limits: dict[str, Climb] = {}
        self.view: LiveView | None = None
        self.fallbacks: dict[int, Any] = {}  # per node its exception, or per map those of items by index
        self.began: dict[int, float] = {}  # failed attempts of nodes with a fallback, if they are timed
        self.abandoned: Mapping[Any, str] = _NOTHING
        self.caught: list[Exception] = []  # errors that are part of outputs: those of a map's items


class RunState(Driven):
    """What one run knows. Made per run; everything expensive in it is made at first use.

    :param data: the store behind ``ctx.data``; if none is given, one is made when first asked for.
    :param outer: the run that this one is a node of, whose store it sees through an overlay.
    """

    __slots__ = (
        "_given_id", "_more", "finished", "inputs", "order", "plan", "ranks", "started", "started_at", "wall_time",
    )  # fmt: skip

    ordered = True
    resolver: Resolver | None

    def __init__(
        self,
        plan: Plan,
        inputs: Mapping[str, Any] | None,
        config: Config,
        run_id: str | None,
        data: WorkflowData | None = None,
        outer: RunState | None = None,
    ) -> None:
        # As Driven.__init__, without the call: this is part of the fixed price of a run.
        self.config = config
        self.clock = config.clock
        self.resolver = None
        self.errors = self.attempts = _NOTHING
        self._deadlines = {}  # of nodes in threads as well, which would race to make it
        self.timed_out = self.cut_off = False
        self.tasks = None
        self.plan = plan
        self.inputs: Mapping[str, Any] = dict(inputs) if inputs else _NOTHING
        self.values = [MISSING] * plan.count
        if plan.tail:
            self.values += plan.tail
            for name, value in self.inputs.items():
                for slot in plan.inputs.get(name, ()):
                    self.values[slot] = value
        self.fns = plan.fns
        self.kinds = plan.kinds
        self.order: Sequence[int] = plan.order
        self.ranks: Sequence[int] | None = None
        if config.order == "critical_path":
            self.order, self.ranks = plan.critical_order()
        self.started: list[float] | None = None
        self.finished: list[float] | None = None
        self.wall_time = NEVER
        self._given_id = run_id
        self._more = None if data is None and outer is None else _More(data, outer)
        if data is not None:
            self._watch_from(data)

    # -- at the start ------------------------------------------------------------------------

    def prepare(self) -> None:
        """Start the clock, and bind what needs this run. A plan and config without specials skip all of that.

        The clock starts here, once the event loop runs and what drives the run is imported.
        """
        self.started_at = self.clock.now()
        plan, config = self.plan, self.config
        threads = config.executor == "thread"
        watched = config.timing or bool(config.observers)
        if plan.binders or threads or watched:
            self._bind(threads, watched)
        if config.observers:
            self.emit(events.RunStarted(self.run_id, plan.name, plan.count, self.started_at))

    def _bind(self, threads: bool, watched: bool) -> None:
        plan = self.plan
        if (plan.binders or threads) and load(plan, self.tasks, threads):
            self.started_at = self.clock.now()
        fns = list(plan.fns)
        if threads:
            self.kinds = bytearray(b"\1" * plan.count)
            for i, fn in enumerate(fns):
                if i not in plan.binders and not plan.kinds[i]:
                    fns[i] = Binder(fn, is_async=False).bind(self, i, all_threads=True)
        for i, binder in plan.binders.items():
            fns[i] = binder.bind(self, i, all_threads=threads)
            if self.on_loop and not self.kinds[i] and isinstance(binder.fn, Mapped):
                self.kinds = kinds = bytearray(self.kinds)
                kinds[i] = 1
        self.fns = fns
        if watched:
            self.started = [NEVER] * plan.count
            self.finished = [NEVER] * plan.count
            make = (self._watched_sync, self._watched_async)
            self.fns = [make[bool(self.kinds[i])](i, self.fns[i]) for i in range(plan.count)]

    def _watched_sync(self, i: int, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*values: Any) -> Any:
            began = self._begin(i)
            try:
                result = call(*values)
                if type(result) is CoroutineType:
                    raise never_awaited(self, i, result)
            except Exception:
                self._raised(i, began)
                raise
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
                if type(result) is CoroutineType:
                    refuse_unless_async(self, i, result)
            except Exception:
                self._raised(i, began)
                raise
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

    def _raised(self, i: int, began: float) -> None:
        if i in self.plan.fallbacks:
            self._with_more().began[i] = began

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
            with _FIRST:
                if self._given_id is None:
                    self._given_id = new_run_id()
        return self._given_id

    @property
    def limit(self) -> int:  # type: ignore[override]
        """Most nodes in flight: one inline, ``Config.limit`` if given, else no bound."""
        config = self.config
        if config.mode == "inline":
            return 1
        if isinstance(config.limit, int):
            return config.limit
        return DEFAULT_WORKERS if config.mode == "workers" and config.limit is None else _UNBOUNDED

    @property
    def adapts(self) -> bool:
        """True if the limit is "auto", and not one because it is the mode that says so."""
        config = self.config
        return config.limit == "auto" and config.mode != "inline"

    def adaptive(self, name: str = "", bound: int = _UNBOUNDED) -> Climb | None:
        """What moves the limit of this run's nodes, or of the map ``name``, which has that for itself."""
        if not (name or self.adapts):
            return None
        from flow.run.adaptive import resumed

        climb = self.limits[name] = resumed(self.plan, name, bound)
        return climb

    def kind_of(self, i: int) -> Any:
        from flow.run.adaptive import kind_of

        return kind_of(self.plan.fns[i])

    @property
    def limits(self) -> dict[str, Climb]:
        """What moves limits, by map; "" is that of the nodes."""
        return self._with_more().limits

    @property
    def stages(self) -> dict[int, Items]:
        """Pipelined maps whose items have been run with the map before them, by node."""
        return self._with_more().stages

    @property
    def fallbacks(self) -> dict[int, Any]:
        """What fallbacks have stood in for, by node: its exception, or those of a map's items by index."""
        return self._with_more().fallbacks

    @property
    def deadline(self) -> float | None:
        """When the run must have ended; without an event loop, that of the run it is part of as well."""
        limit = self.config.timeout
        if limit is not None:
            return self.started_at + limit
        if self._more is None:
            return None
        outer = self._more.outer
        return None if outer is None or outer.on_loop else outer.deadline

    @property
    def abandoned(self) -> Mapping[Any, str]:
        """Calls left behind in threads that have not returned: who made them."""
        return _NOTHING if self._more is None else self._more.abandoned

    @property
    def data(self) -> WorkflowData:
        """The store that all nodes of the run share."""
        more = self._with_more()
        if more.data is None:
            with _FIRST:
                if more.data is None:
                    data = _new_store(self.config) if more.outer is None else more.outer.data.child()
                    self._watch_from(data)
                    more.data = data
        return more.data

    def _watch_from(self, data: WorkflowData) -> None:
        """Let ``data`` show this run's outputs and statuses."""
        view = self._with_more().view = LiveView(self)
        if self.wall_time == self.wall_time:  # the run has ended
            view.ended()
        data.attach(view)

    def _with_more(self) -> _More:
        if self._more is None:
            with _FIRST:
                if self._more is None:
                    self._more = _More(None, None)
        return self._more

    @property
    def arguments(self) -> Sequence[tuple[int, ...]]:  # type: ignore[override]
        return self.plan.arguments

    def name_of(self, i: int) -> str:
        return self.plan.names[i]

    def location(self, i: int) -> str:
        return location_of(self.plan.fns[i])

    def context(self, i: int) -> Context:
        """Make the Context of node ``i``'s present attempt."""
        return Context(self._scope(i), self.attempts.get(i, 1))

    def _scope(self, i: int) -> Scope:
        return Scope(self.run_id, self.plan.names[i], MappingProxyType(self.inputs), self)

    def given(self, i: int) -> Sequence[bool]:
        return [self.values[slot] is not ABSENT for slot in self.plan.arguments[i]]

    def leased_context(self, i: int) -> Context:
        """Make it for an attempt that may be left behind in its thread."""
        return context_of(self._scope(i), self.attempts.get(i, 1))

    def made(self, slot: int, value: Any) -> bool:
        """Tell whether the value at ``slot`` is a generator that a node has made, of this run or one around it.

        Not if it is an input of the caller's, handed on or not; nor if another node reads it too, which may go on with
        it. O(nodes + arguments) where it is a generator.
        """
        if not isinstance(value, (GeneratorType, AsyncGeneratorType)):
            return False
        if sum([slot in slots for slots in self.plan.arguments]) > 1:
            return False
        if all(value is not given for given in self.inputs.values()):
            return slot >= 0
        outer = None if self._more is None else self._more.outer
        if outer is None:
            return False
        handed_in = (at for slots in outer.plan.arguments for at in slots if outer.values[at] is value)
        return any(outer.made(at, value) for at in handed_in)

    def received(self, i: int) -> list[Any]:
        return [self.values[slot] for slot in self.plan.arguments[i]]

    def node_limit(self, i: int) -> float | None:
        binder = self.plan.binders.get(i)
        return None if binder is None or binder.timeout is None else binder.timeout.node

    def expanded(self, fn: Composite, i: int) -> Callable[..., Any]:
        """Return the callable that runs a nested plan, or a map, as node ``i``."""
        if isinstance(fn, Mapped):
            from flow.run.items import map_inline, map_on_loop

            return partial(map_on_loop if self.on_loop else map_inline, self, i, fn)
        if isinstance(fn, Folded):
            fn = looked_at_fold(self, i, fn)
            slot, fold = self.plan.arguments[i][0], fn.fold_awaiting if fn.is_async else fn.fold
            show = shown if self.config.show_values else a_kind
            return lambda items: fold(items, self.made(slot, items), show)
        from flow.run.api import execute_nested, run_nested

        assert isinstance(fn, Nested)
        nested, run = fn, run_nested if not fn.is_async else execute_nested

        def call(*values: Any) -> Any:
            inputs = {name: v for name, v in zip(nested.inputs, values, strict=True) if v is not ABSENT}
            return run(nested.plan, inputs, self)

        return call

    # -- outcomes ----------------------------------------------------------------------------

    def resolve(self, done: Sequence[int] = ()) -> Resolver:
        """Make the Resolver of this run, of which the nodes ``done`` have ended well."""
        self.resolver = Resolver.resumed(self.plan, done, self.ranks)
        return self.resolver

    def first_phase(self) -> Iterator[int]:
        return iter(self.order) if self.resolver is None else iter(())

    def start_counting(self, left: Iterator[int]) -> int:
        done = len(self.order) - length_hint(left) - 1  # exact for the iterators of ranges and lists
        return self.resolve(self.order[:done]).take()  # the best ready node, as the order had it: order[done]

    def function(self, i: int) -> Callable[..., Any]:
        return self.plan.fns[i]

    def retry_of(self, i: int) -> Retry | None:
        return self.plan.retries.get(i)

    def caught(self, errors: Iterable[Exception]) -> None:
        """Note that an output holds these errors."""
        self._with_more().caught.extend(errors)

    def retried(self, i: int, attempt: int, error: BaseException, delay: float) -> None:
        now = self.clock.now()
        self.emit(events.NodeRetried(self.run_id, self.plan.names[i], attempt, error, delay, now))

    def fail(self, i: int, error: BaseException) -> bool:
        """Record that node ``i`` failed for good, and what its fallback or its failure means for others.

        :return: True if the run must end.
        """
        assert self.resolver is not None
        plan = self.plan
        name = plan.names[i]
        attempt = self.attempts.get(i, 1)
        tries = f", attempt {attempt}" if i in plan.retries else ""
        keep_users_frames(error, plan.fns[i])
        note(error, f"in node {name!r} ({location_of(plan.fns[i], shower(self.config))}){tries}")
        value = value_for(plan.fallbacks.get(i, MISSING), error)
        if value is not MISSING:
            self._fall_back(i, attempt, error, value)
            return False
        if not self.errors:
            self.errors = {}
        self.errors[i] = error
        skipped = self.resolver.failed(i)
        if self.config.observers:
            now = self.clock.now()
            self.emit(events.NodeFailed(self.run_id, name, attempt, error, now))
            for s in skipped:
                self.emit(events.NodeSkipped(self.run_id, plan.names[s], name, now))
        return self.config.on_error == "fail_fast" and i not in plan.tolerant

    @property
    def failures(self) -> int:
        return len(self.errors.keys() - self.plan.tolerant)

    def others_ready(self, i: int | None) -> bool:
        values, dependencies = self.values, self.plan.dependencies
        if i is None:
            i = next((j for j in self.order if values[j] is MISSING), -1)
        return any(
            j != i and values[j] is MISSING and all(d != i and values[d] is not MISSING for d in dependencies[j])
            for j in self.order
        )

    def _fall_back(self, i: int, attempt: int, error: BaseException, value: Any) -> None:
        """Complete node ``i`` with ``value``."""
        assert self.resolver is not None
        more = self._with_more()
        more.fallbacks[i] = error
        self.values[i] = value
        self.resolver.done(i)
        began = more.began.pop(i, None)
        if self.config.observers:
            now = self.clock.now()
            self.emit(events.NodeFallback(self.run_id, self.plan.names[i], attempt, error, now))
            self._completed(i, now if began is None else began, now)

    # -- at the end --------------------------------------------------------------------------

    def end(self) -> None:
        """Cancel what never ended, take the wall time, tell observers."""
        resolver = self.resolver
        if resolver is not None and resolver.unfinished:
            resolver.cancel_rest(taken=True)
        if self.timed_out and (resolver is None or CANCELLED not in resolver.state):
            # All ended in the very tick of the limit, by themselves, unless a cancellation has reached one.
            self.timed_out = self.tasks is not None and self.tasks.interrupted
        tasks = self.tasks
        if tasks is not None:
            pool = (tasks.outermost or tasks).pool
            if pool is not None and pool.abandoned:
                self._with_more().abandoned = pool.abandoned
        # What was bound to this run points back at it; a Result should not need the garbage collector.
        self.fns, self.tasks = self.plan.fns, None
        if self.plan.unchecked:
            end_of_looking(self)
        more = self._more
        if more is not None:
            for stage in more.stages.values():
                stage.forget()
            more.stages.clear()
            if more.view is not None:
                more.view.ended()
        now = self.clock.now()
        self.wall_time = now - self.started_at
        if self.config.observers:
            self._emit_end(now)

    def forget(self) -> None:
        """Nobody will ask how it went: let go of the errors, as :meth:`settled` does."""
        self.errors = _NOTHING
        if self._more is not None:
            self._more.caught = []

    def settled(self) -> RunState:
        """After the end, return what a Result is to show, where errors are left.

        They hold the functions' frames, which hold their Contexts, and their callers, which are ours, and have all come
        by this object. What has the errors is therefore another.
        """
        caught = [] if self._more is None else [*self._more.caught, *_errors_in(self._more.fallbacks)]
        if not self.errors and not caught:
            return self
        shown = RunState.__new__(RunState)
        for name in (*Driven.__slots__, *RunState.__slots__):
            setattr(shown, name, getattr(self, name))
        self._with_more().caught = []
        shown._more = self._more  # one store for both
        if self.fallbacks:
            self._more = _More(self.data, self._with_more().outer)
        self.errors = _NOTHING
        if caught:
            self.values, self.resolver = [MISSING] * len(self.values), None  # (which may hold them too)
        for error in (*shown.errors.values(), *caught):
            let_go(error)
        return shown

    def _emit_end(self, now: float) -> None:
        from flow.run.result import Result

        if self.resolver is not None:
            for i, code in enumerate(self.resolver.state):
                if code == CANCELLED:
                    self.emit(events.NodeCancelled(self.run_id, self.plan.names[i], now))
        result = Result(self)
        counts = {str(status): count for status, count in result.counts.items()}
        self.emit(events.RunFinished(self.run_id, self.plan.name, result.ok, counts, self.wall_time, now))


def is_sync_run(plan: Plan, config: Config) -> bool:
    """Tell whether a run needs no event loop at all."""
    return plan.all_sync and config.mode in ("auto", "inline") and config.executor == "inline"


def _errors_in(fallbacks: Mapping[int, Any]) -> list[Any]:
    """The errors after which fallbacks were taken, of nodes and of maps' items."""
    found: list[Any] = []
    for one in fallbacks.values():
        found += one.values() if isinstance(one, dict) else [one]
    return found


def _new_store(config: Config) -> WorkflowData:
    from flow.data.store import WorkflowData

    settings = DEFAULT_DATA_CONFIG if config.data is None else config.data
    return WorkflowData(settings if config.show_values else settings.replace(show_values=False))
