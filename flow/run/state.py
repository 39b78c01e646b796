"""The state of one run of a plan, and the meaning of the outcomes of its nodes, for all drivers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import length_hint
from threading import RLock
from types import AsyncGeneratorType, CoroutineType, GeneratorType, MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from flow.clock import epoch_of
from flow.config import Config, DataConfig, Retry
from flow.config.data import DEFAULT_DATA_CONFIG
from flow.config.run import DEFAULT_WORKERS
from flow.data.context import Context, Scope, context_of
from flow.data.system import dated
from flow.errors import NodeAborted, note, shower
from flow.plan.bynode import ByNode
from flow.plan.nodes import Nodes
from flow.plan.plan import Plan
from flow.plan.resolver import AWAITING, CANCELLED, DONE, FAILED, READY, STATUS_OF, TAKEN, WAITING, Resolver, Step
from flow.run import events
from flow.run.calls import Calls
from flow.run.ending import Limited
from flow.run.frames import keep_users_frames, let_go
from flow.run.hooks import Hooks, NodeCall, NodeOutcome, Outcome, by_parameter
from flow.run.ids import new_run_id
from flow.run.log import log_survived
from flow.run.reports import ReportingCalls
from flow.run.routing import fallback_for, output_for, routed_resolver
from flow.run.unawaited import never_awaited
from flow.run.view import LiveView
from flow.run.watched import NEVER
from flow.signature import is_async_callable, location_of
from flow.types import ABSENT, MISSING, Status

if TYPE_CHECKING:
    from datetime import datetime

    from flow.data.emissions import Texts
    from flow.data.reports import Reports
    from flow.data.store import WorkflowData
    from flow.masking import Masks
    from flow.run.adaptive import LimitSearch
    from flow.run.journal import Journal
    from flow.run.spans import ItemSpans

NOTHING: Any = {}
"""What few runs have any of: errors, further attempts, inputs. Dicts are made at the first."""

UNBOUNDED: Final = 1 << 62

_FIRST = RLock()
"""Held while something of a run is made at its first use: nodes in threads may all be the first."""


class Stage(Protocol):
    """The run of a pipelined map whose items have been run with the map before it."""

    def outcome(self) -> Any:
        """What the map's node returns. :raises Exception: if it failed."""
        ...

    def forget(self) -> None:
        """Let go of the errors."""
        ...


class Extras:
    """What only some runs have.

    :ivar outer: the run that this one is a node of, and ``at`` its place there: the node, ``map[index]`` for an item.
    :ivar round: its number if it is a round of a loop. ``rounds`` are how many its own loops have begun, by node.
    :ivar stages: pipelined maps whose items have been run with the map before them, by node.
    :ivar limits: what moves limits, by map; "" is that of the nodes.
    :ivar fallbacks: what fallbacks have stood in for, by node: its exception, or those of a map's items by index.
    :ivar began: starts of failed attempts of nodes with a fallback, if they are timed.
    :ivar abandoned: calls left behind in threads that have not returned: who made them.
    :ivar caught: errors that are part of outputs: those of a map's items.
    :ivar known: outcomes that were there before the run, by node; once they are taken, only which nodes had one.
    :ivar epoch: of an outermost run, the Unix time of its clock's zero, once a Context has asked for a date.
    :ivar steps: what the resolver is to call for each node that ends.
    :ivar tries: starts and ends of the attempts of nodes that may be retried, if they are timed.
    :ivar items: those of maps' items, by map, if they are timed.
    :ivar refused: nodes whose condition has raised: they fail, whatever their retries and fallbacks.
    :ivar nested: runs that contexts of nodes have started: by node its attempt, and how many; None if there are none.
    :ivar texts: those that nodes have emitted; None if there are none.
    :ivar reports: what nodes have reported; None if that is nothing, or if nobody gets a Result of the run.
    :ivar masks: the texts of its secret inputs, and of the runs around it; None if it has none.
    :ivar ended_at: of an outermost run without an event loop, when an exit has ended it.
    :ivar grace: when cleanup that outlasts the run must have ended, by its clock, without an event loop.
    :ivar journal: what keeps its outcomes, and those of the runs around it; None if it is not durable.
    :ivar path: :attr:`RunRecord.path`, once something has asked for it. :ivar writes: what attempts of its nodes have
        written to the store so far, by node, if it is durable.
    :ivar rests: the signals that an outermost run waited for when it ended for that (``on_wait="return"``).
    """

    __slots__ = (
        "abandoned", "at", "began", "caught", "data", "ended_at", "epoch", "fallbacks", "grace", "hooks", "items",
        "journal", "known", "limits", "masks", "nested", "outer", "path", "refused", "reports", "rests", "round",
        "rounds", "stages", "steps", "texts", "tries", "view", "writes",
    )  # fmt: skip

    def __init__(self, data: WorkflowData | None, outer: PlanRun | None, at: str) -> None:
        self.data = data
        self.outer = outer
        self.at = at
        self.round: int | None = None
        self.stages: dict[int, Stage] = {}
        self.limits: dict[str, LimitSearch] = {}
        self.view: LiveView | None = None
        self.epoch: float | None = None
        self.fallbacks: dict[int, Any] = {}
        self.began: dict[int, float] = {}
        self.tries: dict[int, list[tuple[float, float]]] = {}
        self.items: dict[int, ItemSpans] = {}
        self.rounds: dict[int, int] = {}
        self.abandoned: Mapping[Any, str] = NOTHING
        self.caught: list[Exception] = []
        self.known: Mapping[int, Outcome | None] = NOTHING
        self.steps: Sequence[Step] = ()
        self.refused: set[int] = set()
        self.nested: dict[str, tuple[int, int]] | None = None
        self.texts: Texts | None = None
        self.reports: Reports | None = None
        self.grace: float | None = None
        self.ended_at: float | None = None
        around = None if outer is None else outer._extras
        self.hooks: Hooks | None = None if around is None else around.hooks
        self.masks: Masks | None = None if around is None else around.masks
        self.journal: Journal | None = None if around is None else around.journal
        self.path: tuple[str, ...] | None = None
        self.writes: dict[int, dict[str, Any]] = NOTHING
        self.rests: tuple[str, ...] | None = None

    @property
    def place(self) -> str:
        """The place in the run around this one: the node, ``map[index]`` for an item, ``loop#round`` for a round."""
        return self.at if self.round is None else f"{self.at}#{self.round}"


class Equipped(ReportingCalls, Limited):
    """What only some runs have, as drivers and calls ask for it. See :class:`Extras`."""

    __slots__ = ()

    _extras: Extras | None

    @property
    def hooks(self) -> Hooks | None:
        return None if self._extras is None else self._extras.hooks

    @property
    def journal(self) -> Journal | None:
        return None if self._extras is None else self._extras.journal

    @property
    def masks(self) -> Masks | None:
        return None if self._extras is None else self._extras.masks

    @property
    def rests(self) -> bool:
        """Tell whether a durable run was ended because it only waits for signals."""
        return self._extras is not None and self._extras.rests is not None


class RunRecord(Equipped):
    """What one run knows: what it was given, its parts made at first use, and how it stands.

    :param data: the store behind ``ctx.data``; if none is given, one is made when first asked for.
    :param outer: the run that this one is a node of, whose store it sees through an overlay.
    :param at: its place there.
    """

    __slots__ = (
        "_extras", "_given_id", "finished", "inputs", "nodes", "order", "plan", "ranks", "started", "started_at",
        "wall_time",
    )  # fmt: skip

    resolver: Resolver | None
    started_at: float

    def __init__(
        self,
        plan: Plan,
        inputs: Mapping[str, Any] | None,
        config: Config,
        run_id: str | None,
        data: WorkflowData | None = None,
        outer: Any = None,
        at: str = "",
    ) -> None:
        # As Calls.__init__, without the call: this is part of the fixed price of a run.
        self.config = config
        self.clock = config.clock
        self.resolver = None
        self.errors = self.attempts = NOTHING
        self._deadlines = {}  # of nodes in threads as well, which would race to make it
        self.timed_out = self.cut_off = False
        self.driver = None
        self.plan = plan
        nodes: Nodes = plan._nodes
        self.nodes = nodes
        self.inputs: Mapping[str, Any] = dict(inputs) if inputs else NOTHING
        self.values = [MISSING] * nodes.count
        if nodes.input_defaults:
            self.values += nodes.input_defaults
            for name, value in self.inputs.items():
                for slot in nodes.inputs.get(name, ()):
                    self.values[slot] = value
        self.fns = nodes.fns
        self.is_async = nodes.is_async
        self.order: Sequence[int] = nodes.order
        self.ranks: Sequence[int] | None = None
        if config.order == "critical_path":
            self.order, self.ranks = nodes.critical_order()
        self.started: list[float] | None = None
        self.finished: list[float] | None = None
        self.wall_time = NEVER
        self._given_id = run_id
        self._extras = None if data is None and outer is None else Extras(data, outer, at)
        if data is not None:
            self._watch_from(data)
        if nodes.routes is not None:
            self.resolve()

    @property
    def run_id(self) -> str:
        """The run's id: given by the caller, or made at first use."""
        if self._given_id is None:
            with _FIRST:
                if self._given_id is None:
                    self._given_id = new_run_id()
        return self._given_id

    # -- what only some runs have ------------------------------------------------------------

    @property
    def extras(self) -> Extras:
        """What only some runs have, made at the first of it."""
        if self._extras is None:
            with _FIRST:
                if self._extras is None:
                    self._extras = Extras(None, None, "")
        return self._extras

    @property
    def outer(self) -> Any:
        """The run that this one is a node of; None for an outermost one."""
        return None if self._extras is None else self._extras.outer

    @property
    def fallbacks(self) -> dict[int, Any]:
        """See :class:`Extras`."""
        return self.extras.fallbacks

    @property
    def refused(self) -> Collection[int]:
        """See :class:`Extras`."""
        return () if self._extras is None else self._extras.refused

    @property
    def path(self) -> tuple[str, ...]:
        """The places in the runs around this one that lead to it, the outermost first. O(depth), then O(1)."""
        extras = self._extras
        if extras is None:
            return ()
        if extras.path is None:
            extras.path = () if extras.outer is None else (*extras.outer.path, extras.place)
        return extras.path

    @property
    def data(self) -> WorkflowData:
        """The store that all nodes of the run share."""
        extras = self.extras
        if extras.data is None:
            with _FIRST:
                if extras.data is None:
                    data = _new_store(self.config) if extras.outer is None else extras.outer.data.child()
                    self._watch_from(data)
                    extras.data = data
        return extras.data

    @property
    def workflow(self) -> str:
        """The name of the Dag."""
        return self.plan.name

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Outputs so far, by name."""
        values = self.values
        return ByNode(self.plan, values.__getitem__, lambda i: values[i] is not MISSING)

    def dates(self) -> tuple[datetime, datetime]:
        """When the run started, and now, by its clock. Runs that nest agree on both. O(depth)."""
        outermost: RunRecord = self
        while outermost.outer is not None:
            outermost = outermost.outer
        extras, clock = outermost.extras, self.clock
        if extras.epoch is None:
            with _FIRST:
                if extras.epoch is None:
                    extras.epoch = epoch_of(clock)
        return dated(extras.epoch + self.started_at), dated(extras.epoch + clock.now())

    def _watch_from(self, data: WorkflowData) -> None:
        """Let ``data`` show this run's outputs and statuses."""
        view = self.extras.view = LiveView(self.plan, self.values, self.code)
        if self.wall_time == self.wall_time:  # the run has ended
            view.ended(self.resolver)
        data.attach(view)

    # -- limits ------------------------------------------------------------------------------

    @property
    def limit(self) -> int:  # type: ignore[override]
        """Most nodes in flight: one inline, ``Config.limit`` if given, else no bound."""
        config = self.config
        if config.mode == "inline":
            return 1
        if isinstance(config.limit, int):
            return config.limit
        return DEFAULT_WORKERS if config.mode == "workers" and config.limit is None else UNBOUNDED

    @property
    def adapts(self) -> bool:
        """True if the limit is "auto", and not one because it is the mode that says so."""
        config = self.config
        return config.limit == "auto" and config.mode != "inline"

    def adaptive(self, name: str = "", bound: int = UNBOUNDED) -> LimitSearch | None:
        """What moves the limit of this run's nodes, or of the map ``name``, which has that for itself."""
        if not (name or self.adapts):
            return None
        from flow.run.adaptive import resumed

        search = self.extras.limits[name] = resumed(self.plan, name, bound)
        return search

    # -- how it stands -----------------------------------------------------------------------

    def code(self, i: int) -> int:
        """Node ``i``'s state (:mod:`flow.plan.resolver`).

        While nothing is counted, nodes are run in a fixed order, and the first without an output is at hand. O(1)
        once counted or ended; O(log nodes) before.
        """
        resolver = self.resolver
        if resolver is not None:
            return resolver.state[i]
        values = self.values
        if values[i] is not MISSING or self.wall_time == self.wall_time:
            return DONE
        done = self.completed_ahead()
        if done < len(self.order) and i == self.order[done]:
            return TAKEN
        return READY if all(values[d] is not MISSING for d in self.nodes.dependencies[i]) else WAITING

    def completed_ahead(self) -> int:
        """How many nodes of the order have completed, while nothing is counted. O(log nodes)."""
        order, values = self.order, self.values
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            if values[order[middle]] is MISSING:
                high = middle
            else:
                low = middle + 1
        return low

    def status(self, i: int) -> Status:
        """Node ``i``'s status. As :meth:`code`."""
        return STATUS_OF[self.code(i)]

    @property
    def counts(self) -> dict[Status, int]:
        """Number of nodes by status at the end, those that occur."""
        if self.resolver is None:
            return {Status.COMPLETED: len(self.plan)}
        state = self.resolver.state
        return {status: n for code, status in enumerate(STATUS_OF) if (n := state.count(code))}

    @property
    def ok(self) -> bool:
        """True at the end if every node completed, apart from failures that ``continue_on_error`` allows."""
        if self.resolver is None:
            return True
        if self.timed_out or self.is_intolerable() or self.rests:
            return False
        return not self.resolver.has_amiss(self.nodes.order, self.nodes.dependencies)

    def is_intolerable(self) -> bool:
        """Tell whether something has happened that a run does not simply go on after: a failure, or a cancellation."""
        if self.resolver is None:
            return False
        return not all(map(self.resolver.is_handled, self.errors)) or CANCELLED in self.resolver.state

    def has_output(self, i: int) -> bool:
        """Tell at the end whether node ``i`` completed and its output was not freed."""
        return (self.resolver is None or self.resolver.state[i] == DONE) and self.values[i] is not MISSING

    def called_elsewhere(self, i: int) -> bool:
        return _place(self, i) != "inline"


def _place(run: RunRecord, i: int) -> str:
    """Where node ``i``'s function is called; an async one runs on the loop wherever sync ones do."""
    binder = run.nodes.binders.get(i)
    if binder is not None and binder.executor is not None:
        return binder.executor
    return "inline" if is_async_callable(run.function(i)) else run.config.executor


class PlanRun(RunRecord):
    """One run of a plan, as drivers and bound nodes see it. Made per run; what is expensive is made at first use."""

    __slots__ = ()

    ordered = True

    # -- what bound nodes ask (flow.policy.bind.Run) -----------------------------------------

    def call_kind(self, i: int) -> Any:
        from flow.run.adaptive import call_kind

        return call_kind(self.nodes.fns[i])

    @property
    def arguments(self) -> Sequence[tuple[int, ...]]:  # type: ignore[override]
        return self.nodes.arguments

    def name_of(self, i: int) -> str:
        return self.nodes.names[i]

    def place(self, i: int) -> tuple[tuple[str, ...], str, int | None]:
        return self.path, self.nodes.names[i], None

    def location(self, i: int) -> str:
        return location_of(self.nodes.fns[i])

    def function(self, i: int) -> Callable[..., Any]:
        return self.nodes.fns[i]

    def context(self, i: int) -> Context:
        """Make the Context of node ``i``'s present attempt."""
        return Context(self.scope(i), self.attempts.get(i, 1))

    def scope(self, i: int, published: dict[int, list[Any]] | None = None, calls: Any = None) -> Scope:
        """Make what all contexts of node ``i`` share. :param published: as of a map, and ``calls``."""
        extras, name, inputs = self._extras, self.nodes.names[i], MappingProxyType(self.inputs)
        recorded = None if extras is None or extras.journal is None else partial(recorded_for, self, i)
        return Scope(self.run_id, name, inputs, self, published, calls, recorded)

    def given(self, i: int) -> Sequence[bool]:
        return [self.values[slot] is not ABSENT for slot in self.nodes.arguments[i]]

    def leased_context(self, i: int) -> Context:
        """Make it for an attempt that may be left behind in its thread."""
        return context_of(self.scope(i), self.attempts.get(i, 1))

    def made(self, slot: int, value: Any) -> bool:
        """Tell whether the value at ``slot`` is a generator that a node has made, of this run or one around it.

        Not if it is an input or a known output of the caller's, handed on or not; nor if another node reads it too,
        which may go on with it. O(nodes + arguments) where it is a generator.
        """
        return _has_made(self, slot, value)

    def received(self, i: int) -> list[Any]:
        return [self.values[slot] for slot in self.nodes.arguments[i]]

    def node_limit(self, i: int) -> float | None:
        binder = self.nodes.binders.get(i)
        return None if binder is None or binder.timeout is None else binder.timeout.node

    def retry_of(self, i: int) -> Retry | None:
        return self.nodes.retries.get(i) if i not in self.refused else None

    # -- counting ----------------------------------------------------------------------------

    def resolve(self, done: Sequence[int] = ()) -> Resolver:
        """Make the Resolver of this run, of which the nodes ``done`` have completed. The one place that does."""
        steps = () if self._extras is None else self._extras.steps
        if self.nodes.routes is not None:
            self.resolver = routed_resolver(self, done, steps)
        else:
            self.resolver = Resolver.resumed(self.nodes, done, self.ranks, steps)
        return self.resolver

    def count_after(self, ended: int) -> Resolver:
        """Make it when so many nodes of the order have ended: all of them *completed*, as nothing was counted."""
        return self.resolve(self.order[:ended])

    def first_phase(self) -> Iterator[int]:
        return iter(self.order) if self.resolver is None else iter(())

    def start_counting(self, left: Iterator[int]) -> int:
        ended = len(self.order) - length_hint(left) - 1  # exact for the iterators of ranges and lists
        return self.count_after(ended).take()  # the best ready node, as the order had it

    def others_ready(self, i: int | None) -> bool:
        values, dependencies = self.values, self.nodes.dependencies
        if i is None:
            i = next((j for j in self.order if values[j] is MISSING), -1)
        return any(
            j != i and values[j] is MISSING and all(d != i and values[d] is not MISSING for d in dependencies[j])
            for j in self.order
        )

    # -- outcomes ----------------------------------------------------------------------------

    def fallback_of(self, i: int) -> BaseException | None:
        found = None if self._extras is None else self._extras.fallbacks.get(i)
        return found if isinstance(found, BaseException) else None  # (those of a map's items are a dict)

    def accepted(self, i: int, value: Any) -> Any:
        return output_for(self, i, value)

    def note_fallback(self, i: int, error: BaseException) -> None:
        self.fallbacks[i] = error

    def caught(self, errors: Iterable[Exception]) -> None:
        """Note that an output holds these errors."""
        self.extras.caught.extend(errors)

    def outcome_of(
        self, i: int, status: Status, output: Any, error: BaseException | None = None, final: bool = True
    ) -> NodeOutcome:
        assert self.hooks is not None
        attempt = 0 if status in (Status.SKIPPED, Status.BYPASSED) else self.attempts.get(i, 1)
        name, run_id, round = self.nodes.names[i], self.hooks.run_id, self.extras.round
        return NodeOutcome(run_id, self.path, name, None, round, status, output, error, attempt, final)

    def call_of(self, i: int, values: Sequence[Any]) -> NodeCall:
        assert self.hooks is not None
        arguments = by_parameter(self.nodes.parameters(i), values)
        name, attempt, fn = self.nodes.names[i], self.attempts.get(i, 1), self.nodes.fns[i]
        return NodeCall(self.hooks.run_id, self.path, name, None, self.extras.round, attempt, fn, arguments)

    def retried(self, i: int, attempt: int, error: BaseException, delay: float) -> None:
        now = self.clock.now()
        self.emit(events.NodeRetried(self.run_id, self.nodes.names[i], attempt, error, delay, now))

    def fail(self, i: int, error: BaseException) -> bool:
        """Record that node ``i`` failed for good, and what its fallback or its failure means for others.

        :return: True if the run must end.
        """
        assert self.resolver is not None
        nodes, journal = self.nodes, self.journal
        if journal is not None and isinstance(error, NodeAborted):
            journal.aborts()
        attempt = self.attempts.get(i, 1)
        tries = f", attempt {attempt}" if i in nodes.retries else ""
        self.conceal(error)
        keep_users_frames(error, nodes.fns[i])
        note(error, f"in node {nodes.names[i]!r} ({location_of(nodes.fns[i], shower(self.config))}){tries}")
        value = MISSING if i in self.refused else fallback_for(self, i, error)
        if value is not MISSING:
            self._fall_back(i, attempt, error, value)
            return False
        if i in nodes.fallbacks:
            self.conceal(error)  # which has a note now of what its fallback has raised
        if not isinstance(error, NodeAborted):
            self.tell(i, Status.FAILED, None, error)
            if self.survives(i):
                log_survived(self, i, error, fallback=False)
        self.take_failure(i, error)
        return self.config.on_error == "fail_fast" and not self.resolver.goes_on_after(i)

    def survives(self, i: int) -> bool:
        """Tell whether the run goes on after a failure of node ``i``. (What a nested run collects fails its node.)"""
        assert self.resolver is not None
        return self.resolver.goes_on_after(i) or (self.config.on_error == "collect" and self.outer is None)

    def take_failure(self, i: int, error: BaseException, known: bool = False) -> None:
        """The taken node ``i`` has failed: skip its dependants. A ``known`` failure is not told itself."""
        assert self.resolver is not None
        if not self.errors:
            self.errors = {}
        self.errors[i] = error
        skipped, name = self.resolver.failed(i), self.nodes.names[i]
        if self.config.observers and not known:
            self.emit(events.NodeFailed(self.run_id, name, self.attempts.get(i, 1), error, self.clock.now()))
        for s in skipped:
            self.skipped(s, name)

    def skipped(self, i: int, cause: str) -> None:
        """Node ``i`` was skipped or bypassed, because of the node ``cause``: tell observers and hooks."""
        status = self.status(i)
        if self.config.observers:
            event = events.NodeSkipped if status is Status.SKIPPED else events.NodeBypassed
            self.emit(event(self.run_id, self.nodes.names[i], cause, self.clock.now()))
        self.tell(i, status, None)

    def _fall_back(self, i: int, attempt: int, error: BaseException, value: Any) -> None:
        """Complete node ``i`` with ``value``."""
        assert self.resolver is not None
        extras = self.extras
        extras.fallbacks[i] = error
        log_survived(self, i, error, fallback=True)
        self.values[i] = value
        self.tell(i, Status.COMPLETED, value, error)
        self.resolver.done(i)
        began = extras.began.pop(i, None)
        if self.config.observers:
            now = self.clock.now()
            self.emit(events.NodeFallback(self.run_id, self.nodes.names[i], attempt, error, now))
            duration = 0.0 if began is None else now - began
            self.emit(events.NodeFinished(self.run_id, self.nodes.names[i], attempt, duration, now))

    # -- at the end --------------------------------------------------------------------------

    def end(self) -> None:
        """Cancel what never ended, take the wall time, tell observers."""
        resolver = self.resolver
        if resolver is not None and self.rests:
            _go_on_waiting(self.nodes.holders, resolver.state)
        elif resolver is not None and resolver.unfinished:
            resolver.cancel_rest(taken=True)
        if resolver is not None:
            resolver.forget()
        driver = self.driver
        if self.timed_out and (resolver is None or CANCELLED not in resolver.state):
            # All ended in the very tick of the limit, by themselves, unless a cancellation has reached one.
            self.timed_out = driver is not None and driver.interrupted
        if driver is not None:
            abandoned = driver.abandoned()
            if abandoned:
                self.extras.abandoned = abandoned
        # What was bound to this run points back at it; a Result should not need the garbage collector.
        self.fns, self.driver = self.nodes.fns, None
        if self.plan._kept.unchecked:
            end_of_looking(self)
        extras = self._extras
        if extras is not None:
            if extras.stages:
                for stage in extras.stages.values():
                    stage.forget()
                extras.stages.clear()
            extras.steps, extras.hooks = (), None
        now = self.clock.now()
        self.wall_time = now - self.started_at
        if extras is not None and extras.view is not None:
            extras.view.ended(self.resolver)
        if self.config.observers and (self.journal is None or self.outer is not None):
            emit_end(self, now)

    def forget(self) -> None:
        """Let go of errors, whose frames hold this object, and of outputs with errors: this run gets no Result."""
        self.errors, extras = NOTHING, self._extras
        if extras is not None and extras.journal is not None and extras.outer is None:
            extras.journal.interrupt()
        held = [] if extras is None else [*extras.caught, *_errors_in(extras.fallbacks)]
        if extras is None or not held:
            return
        extras.caught, extras.fallbacks = [], {}
        if extras.outer is not None:  # frames of the runs around it go on, so none can be cleared
            self.values[:] = [MISSING] * len(self.values)
            return
        self.values = [MISSING] * len(self.values)  # in another list: the caller's store shows the first
        for error in held:
            let_go(error)


def emit_end(run: PlanRun, now: float, ok: bool = True) -> None:
    """Tell observers of the nodes that were cancelled, and of the end. (Of a durable run, once that is stored.)

    :param ok: False if it is not.
    """
    if run.resolver is not None:
        for i, code in enumerate(run.resolver.state):
            if code == CANCELLED:
                run.emit(events.NodeCancelled(run.run_id, run.nodes.names[i], now))
    counts = {str(status): count for status, count in run.counts.items()}
    run.emit(events.RunFinished(run.run_id, run.plan.name, ok and run.ok, counts, run.wall_time, now))


def _has_made(run: PlanRun, slot: int, value: Any) -> bool:
    if not isinstance(value, (GeneratorType, AsyncGeneratorType)) or slot in run.extras.known:
        return False
    if sum([slot in slots for slots in run.nodes.arguments]) > 1:
        return False
    if all(value is not given for given in run.inputs.values()):
        return slot >= 0
    outer = run.outer
    if outer is None:
        return False
    handed_in = (at for slots in outer.nodes.arguments for at in slots if outer.values[at] is value)
    return any(outer.made(at, value) for at in handed_in)


def output_test(run: RunRecord) -> Callable[[int], bool]:
    """Return what :meth:`RunRecord.has_output` tells of a run that has ended. It does not hold the run."""
    values = run.values
    if run.resolver is None:
        return lambda i: values[i] is not MISSING
    state = run.resolver.state
    return lambda i: state[i] == DONE and values[i] is not MISSING


def shown_inputs(run: RunRecord) -> Mapping[str, Any]:
    """Return the inputs of a run as they may be shown: without secrets."""
    masks = run.masks
    return run.inputs if masks is None else masks.named(run.inputs, run.nodes.secret)


def is_sync_run(plan: Plan, config: Config) -> bool:
    """Tell whether a run needs no event loop at all."""
    return plan._nodes.all_sync and config.mode in ("auto", "inline") and config.executor == "inline"


def settled(run: PlanRun) -> PlanRun:
    """After the end, return what a Result is to show, where errors are left.

    They hold the functions' frames, which hold their Contexts, and their callers, which are ours, and have all come
    by ``run``. What has the errors is therefore another object.
    """
    extras = run._extras
    caught = [] if extras is None else [*extras.caught, *_errors_in(extras.fallbacks)]
    if not run.errors and not caught:
        return run
    shown = PlanRun.__new__(PlanRun)
    for name in (*Calls.__slots__, *RunRecord.__slots__):
        setattr(shown, name, getattr(run, name))
    run.extras.caught = []
    shown._extras = run._extras  # one store for both
    if run.fallbacks:
        run._extras = Extras(run.data, run.outer, "")
    run.errors = NOTHING
    if caught:
        run.values, run.resolver = [MISSING] * len(run.values), None  # (which may hold them too)
    for error in (*shown.errors.values(), *caught):
        let_go(error)
    return shown


def end_of_looking(run: PlanRun) -> None:
    """Note which nodes have been looked at, when a run ends. Fail those that generated code has called directly."""
    kept, values = run.plan._kept, run.values
    if run.config.optimize == "at_once":
        for i in kept.unchecked:
            if type(values[i]) is CoroutineType and not run.nodes.is_async[i]:
                resolver = run.count_after(len(run.order)) if run.resolver is None else run.resolver
                resolver.state[i] = FAILED
                run.errors = {**run.errors, i: never_awaited(run, i, values[i])}
                values[i] = MISSING
    if run.resolver is None:
        kept.unchecked = [i for i in kept.unchecked if values[i] is MISSING]
    else:
        state = run.resolver.state
        kept.unchecked = [i for i in kept.unchecked if state[i] != DONE]


def _errors_in(fallbacks: Mapping[int, Any]) -> list[Any]:
    """The errors after which fallbacks were taken, of nodes and of maps' items."""
    found: list[Any] = []
    for one in fallbacks.values():
        found += one.values() if isinstance(one, dict) else [one]
    return found


def _go_on_waiting(holders: Collection[int], state: bytearray) -> None:
    """Nodes whose runs waited when theirs was ended for that have not been cancelled: they wait."""
    for i in holders:
        if state[i] in (CANCELLED, TAKEN):
            state[i] = AWAITING


def recorded_for(run: PlanRun, i: int, data: WorkflowData) -> WorkflowData:
    """Return the store of a durable run as the present attempt of node ``i`` sees it: what it writes is noted."""
    from flow.data.recorded import recorded

    extras = run.extras
    if extras.writes is NOTHING:
        extras.writes = {}
    return recorded(data, extras.writes.setdefault(i, {}))


def _new_store(config: Config) -> WorkflowData:
    from flow.data.store import WorkflowData

    settings = config.data if isinstance(config.data, DataConfig) else DEFAULT_DATA_CONFIG  # (rules have been asked)
    return WorkflowData(settings if config.show_values else settings.replace(show_values=False))
