"""The rounds of a loop: what each is given, what comes of it, and which one is the last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from math import inf
from types import MappingProxyType
from typing import Any

from flow.awaits import NEVER_AWAITED, discard
from flow.config import Config
from flow.data.context import Context, Scope
from flow.errors import LoopLimit, NodeTimeout, UsageError, note, shower
from flow.plan.plan import Plan
from flow.policy.looping import Looped, Until
from flow.reprs import counted
from flow.run import events
from flow.run.calls import OutOfTime
from flow.run.drive.threads import job_at_hand
from flow.run.journal import Journal
from flow.run.result import Result
from flow.run.spans import RoundSpans
from flow.run.state import PlanRun, settled
from flow.signature import remedy_of, said_of
from flow.types import ABSENT, MISSING


class Rounds:
    """One attempt of a loop that is node ``node`` of the run ``outer``. Rounds are numbered from 1.

    :param at: the place in ``outer`` that the loop is said to be at.
    :param config: of the rounds. :param values: what the node is called with.
    :param fill: gives a run's inputs with what its Dag declares.
    :ivar inputs: of the next round.
    :ivar history: the outputs of the rounds that have ended, if they are asked for.
    :ivar last: the run of the last round, once it is known to be that.
    """

    __slots__ = (
        "_at", "_began", "_config", "_copy", "_declares", "_fill", "_job", "_journal", "_limit", "_node", "_spans",
        "_until", "_watched", "history", "inputs", "last", "looped", "name", "number", "outer", "plan",
    )  # fmt: skip

    def __init__(
        self,
        outer: PlanRun,
        node: int,
        looped: Looped,
        at: str,
        config: Config,
        values: Sequence[Any],
        fill: Callable[[Plan, Mapping[str, Any], Config], Mapping[str, Any]],
    ) -> None:
        assert looped.body is not None
        assert looped.until is not None
        self.outer, self.looped, self.plan = outer, looped, looped.body.plan
        self.name, self.number = outer.nodes.names[node], 0
        given = zip(looped.body.inputs, values, strict=True)
        self._config, self._at, self._node = config, at, node
        inputs = fill(self.plan, {name: value for name, value in given if value is not ABSENT}, config)
        self.inputs = dict(inputs)
        self._fill, self._declares = fill, self.plan._nodes.declared is not None
        self.history: list[Any] = []
        self.last: PlanRun | None = None
        self._until = looped.until
        self._copy = copy_context().copy  # the condition has contextvars of its own, as a node has
        self._job = job_at_hand()
        self._limit = _limit_of(outer, node)
        self._began = 0.0
        self._spans: RoundSpans | None = None
        if config.timing:
            self._spans = outer.extras.items[node] = RoundSpans()  # of the loop's last attempt
        self._watched = config.timing or bool(config.observers)
        self._journal = outer.journal

    def begin(self) -> PlanRun:
        """Return the run of the next round.

        :raises OutOfTime: if nobody waits for the loop any more. :raises NodeTimeout: if its own limit has passed.
        """
        outer, number = self.outer, self.number
        if number:
            if self._job is not None and self._job.unwanted:
                raise OutOfTime
            if self._limit is not None and outer.clock.now() >= self._limit.ends:
                raise self._limit.exceeded(self.name, number)
        self.number = number = number + 1
        run = PlanRun(self.plan, self.inputs, self._config, None, None, outer, self._at)
        extras: Any = run._extras
        extras.round = number
        if self._watched:
            self._began = outer.clock.now()
            outer.emit(events.RoundStarted(outer.run_id, self.name, number, self._began))
        return run

    def is_last(self, run: PlanRun) -> bool:
        """Take in the round whose run has ended; tell whether no other follows.

        :raises Exception: what has failed the round.
        """
        extras: Any = run._extras
        if run.resolver is not None or extras.caught or extras.fallbacks:
            run = self._settled(run)
        if self.looped.history:
            self.history.append(self._output_of(run))
        done = self._holds(run) if self._journal is None else self._decided(run, self._journal)
        if self._watched:
            self._finished()
        if done or self.number >= self.looped.most:
            self.last = run if done or self.looped.returns else None
            return True
        if self.looped.carried:
            self._carry(run)
        return False

    def broke(self, error: BaseException) -> None:
        """Note that ``error`` has ended the round at hand."""
        self.outer.extras.rounds[self._node] = self.number
        if isinstance(error, Exception):
            note(error, f"in round {self.number} of loop {self.name!r}")
        if self._spans is not None:
            self._spans.add(self.number, 1, self._began, self.outer.clock.now(), raised=True)

    def output(self) -> Any:
        """What the loop's node returns. :raises LoopLimit: if none of the rounds was to be the last."""
        self.outer.extras.rounds[self._node] = self.number
        if self.last is None:
            raise LoopLimit(self.name, self.number, said_of(self._until.fn, shower(self._config)))
        return tuple(self.history) if self.looped.history else self._output_of(self.last)

    # -- a round's end -----------------------------------------------------------------------

    def _settled(self, run: PlanRun) -> PlanRun:
        """Return what of ``run`` holds its errors, if none is against it.

        :raises Exception: that of the function, or of a Dag's run.
        """
        run = settled(run)
        error: Exception | None = Result(run).error(tolerated=False)
        if error is None:
            return run
        if self.looped.output is not None and run.errors:
            error = next((e for e in run.errors.values() if isinstance(e, Exception)), error)
        try:
            raise error
        finally:
            del error, run  # its traceback holds this frame: no cycle

    def _output_of(self, run: PlanRun) -> Any:
        slot = self.looped.output
        return Result(run).outputs if slot is None else run.values[slot]

    def _carry(self, run: PlanRun) -> None:
        """Let the next round take outputs of this one."""
        inputs, values = self.inputs, run.values
        for name, slot in self.looped.carried:
            value = values[slot]
            if value is MISSING:
                raise UsageError(
                    f"carry gives input {name!r} the output of {self.plan.names[slot]!r}, which is {run.status(slot)} "
                    "and has none: merge it with what is to be taken then"
                )
            inputs[name] = value
        if self._declares:
            self.inputs = dict(self._fill(self.plan, inputs, self._config))

    def _finished(self) -> None:
        outer = self.outer
        now = outer.clock.now()
        if self._spans is not None:
            self._spans.add(self.number, 1, self._began, now, raised=False)
        outer.emit(events.RoundFinished(outer.run_id, self.name, self.number, now))

    # -- the condition -----------------------------------------------------------------------

    def _decided(self, run: PlanRun, journal: Journal) -> bool:
        """Ask the condition about a round of a durable run, unless its answer is stored."""
        done = journal.last_round(run)
        if done is None:
            done = self._holds(run)
            journal.decide_round(run, done)
        return done

    def _holds(self, run: PlanRun) -> bool:
        """Ask the condition about a round."""
        until, values = self._until, run.values
        if until.plain:
            found = [values[slot] for slot in until.slots]  # type: ignore[index]  # none is None
            for value in found:
                if value is MISSING or value is ABSENT:
                    break
            else:
                return self._checked(self._copy().run(until.fn, *found))
        found = [MISSING if slot is None else values[slot] for slot in until.slots]
        return self._checked(self._copy().run(_asking, until, found, self._context(run)))

    def _checked(self, answer: Any) -> bool:
        if answer is True or answer is False:
            return answer
        if type(answer) in NEVER_AWAITED:
            discard(answer)
        said = shower(self._config)
        wrong = UsageError(f"until ({said_of(self._until.fn, said)}) returns True or False, not {said(answer)}")
        wrong.final = True
        raise wrong

    def _context(self, run: PlanRun) -> Context:
        """The Context of the condition: the loop's name, and the round's data, outputs and inputs."""
        outer = self.outer
        scope = Scope(outer.run_id, self.name, MappingProxyType(run.inputs), run)
        return Context(scope, outer.attempts.get(self._node, 1))


class _Limit:
    """When an attempt of a loop must have ended that nothing interrupts: it is looked at between rounds."""

    __slots__ = ("_overall", "_seconds", "ends")

    def __init__(self, ends: float, seconds: float, overall: bool) -> None:
        self.ends = ends
        self._seconds = seconds
        self._overall = overall

    def exceeded(self, name: str, rounds: int) -> NodeTimeout:
        """Return the error of the loop ``name`` after so many rounds."""
        what = "its overall limit" if self._overall else "its attempt limit"
        ran = counted(rounds, "round")
        error = NodeTimeout(f"node {name!r} exceeded {what} of {self._seconds:g} s: it had run {ran}")
        error.overall = self._overall
        return error


def _limit_of(outer: PlanRun, node: int) -> _Limit | None:
    """Return the time limit of node ``node``, if it has one and no event loop sees to it."""
    binder = None if outer.on_loop else outer.nodes.binders.get(node)
    timeout = None if binder is None else binder.timeout
    if timeout is None:
        return None
    now, left = outer.clock.now(), outer.time_left(node)
    attempt = inf if timeout.attempt is None else timeout.attempt
    if left is not None and left < attempt:
        assert timeout.node is not None
        return _Limit(now + left, timeout.node, True)
    return _Limit(now + attempt, attempt, False)


def _asking(until: Until, found: list[Any], context: Context) -> Any:
    """Call a condition that takes more than values by position, or for which a value is not there."""
    given: list[tuple[str, Any]] = []
    for at, (name, value) in enumerate(zip(until.names, found, strict=True)):
        if value is MISSING or value is ABSENT:
            if at not in until.defaults:
                place, how = said_of(until.fn), remedy_of(until.fn)
                raise UsageError(f"until ({place}) takes {name!r}, which this round does not have: {how}")
            value = until.defaults[at][0]
        given.append((name, value))
    if until.context:
        given.insert(until.context_at, (until.context, context))
    positional: list[Any] = []
    named: dict[str, Any] = {}
    by_position = True
    for at, (name, value) in enumerate(given):
        by_position = by_position and at < until.count and value is not ABSENT  # what follows a gap goes by name
        if by_position:
            positional.append(value)
        elif value is not ABSENT:
            named[name] = value
    return until.fn(*positional, **named)


__all__ = ["Rounds"]
