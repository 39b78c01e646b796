"""Outcomes that are there before a run: ``known=`` of :func:`flow.run`.

A known node is not called, and waits for nothing: what only known nodes need is no part of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flow.config import Config
from flow.errors import RouteError, UsageError, a_kind, listing, nearest, shower, shown
from flow.plan.nodes import ends_of
from flow.plan.plan import Plan, find_all
from flow.plan.resolver import READY, WAITING
from flow.plan.routes import Choice
from flow.run import events
from flow.run.hooks import Outcome
from flow.run.reports import reports_of
from flow.run.result import Result
from flow.run.routing import choice_known, output_for, some_of
from flow.run.spent import is_iterator
from flow.run.state import PlanRun
from flow.types import MISSING, Status

if TYPE_CHECKING:
    from flow.run.journal import Journal

_LEFT_OUT = (Status.SKIPPED, Status.BYPASSED)


def known_outcomes(plan: Plan, known: Any, config: Config) -> dict[str, Outcome]:
    """Return the outcomes that ``known`` gives, by name.

    Cleanup always runs: none of its outcomes is known, nor that of a setup whose teardown has run in that Result.

    Of a :class:`flow.Result` those are the completed nodes which ``plan`` has and whose outputs are there. An
    iterator is not known, since a reader may have gone over it.

    :raises UsageError: if it is neither a mapping nor a Result; listing the names that are no nodes, or the routers
        that cannot have chosen what is known.
    """
    outcomes = _outcomes(plan, known)
    routers = {} if plan._nodes.routes is None else plan._nodes.routes.routers
    chosen = [(name, routers[plan.find(name)]) for name in outcomes if plan.find(name) in routers] if routers else []
    faults = [_fault_of(name, choice, outcomes[name], shower(config)) for name, choice in chosen]
    if any(faults):
        raise UsageError(listing("known is refused", list(filter(None, faults))))
    return outcomes


def _fault_of(name: str, choice: Choice, outcome: Outcome, show: Any) -> str:
    """Say what is wrong with the outcome of a router; "" if nothing is."""
    value = outcome.value
    if outcome.status is not Status.COMPLETED:
        return ""
    try:
        choice_known(choice, value)
        return ""
    except RouteError:
        keys, names = list(choice.to), [*dict.fromkeys(choice.to.values()), *filter(None, [choice.default])]
        meant = nearest(value, [key for key in [*keys, *names] if isinstance(key, str)]) if type(value) is str else ""
        return (
            f"router {shown(name)} cannot have chosen {show(value)}{meant}: give a key, or several ({some_of(keys)}), "
            f"or the tuple of the nodes chosen ({some_of(names)})"
        )


def _outcomes(plan: Plan, known: Any) -> dict[str, Outcome]:
    if isinstance(known, Result):
        stood_in = {name: error for name, error in known.fallbacks.items() if isinstance(error, Exception)}
        runs = _runs_again(plan, known)
        there = [
            (name, value)
            for name, value in known.items()
            if name in plan and name not in runs and not is_iterator(value)
        ]
        return {name: Outcome(value=value, error=stood_in.get(name)) for name, value in there}
    if not isinstance(known, Mapping):
        wanted = "a mapping of nodes to outputs (or to flow.Outcome), or a Result"
        raise UsageError(f"known is {wanted}, not {a_kind(known)}")
    values = [value if isinstance(value, Outcome) else Outcome(value=value) for value in known.values()]
    names, routes = [plan.names[i] for i in find_all(plan, known, "known")], plan._nodes.routes
    cleanup = set() if routes is None else {plan.names[i] for i in routes.gated}
    return {name: value for name, value in zip(names, values, strict=True) if name not in cleanup}


def _runs_again(plan: Plan, earlier: Result) -> set[str]:
    """Return the nodes of ``plan`` that clean up, and those that an earlier run has torn down or begun to."""
    routes, names, found = plan._nodes.routes, plan.names, set[str]()
    if routes is None:
        return found
    for i in routes.gated:
        found.add(names[i])
        if i in routes.setups and earlier.status.get(names[i], Status.BYPASSED) not in _LEFT_OUT:
            found.add(names[routes.setups[i]])
    return found


def part_with(plan: Plan, known: Mapping[str, Outcome], targets: tuple[Any, ...] | None) -> Plan:
    """Return the plan of what runs: what ``targets`` need (by default: everything), and nothing that only known do."""
    indices = frozenset([plan.find(name) for name in known])
    if targets is not None:
        return plan._part(plan._starts(targets), indices)
    return plan._part(indices.union(ends_of(plan._nodes)), indices)


def give(run: PlanRun, known: Mapping[str, Outcome]) -> None:
    """Let ``run`` begin with the known outcomes, and count from its start."""
    mine = {run.plan.find(name): outcome for name, outcome in known.items() if name in run.plan}
    run.extras.known = mine
    done = []
    for i, outcome in mine.items():
        if outcome.status is Status.COMPLETED:
            run.values[i] = output_for(run, i, outcome.value)
            done.append(i)
            if outcome.error is not None:
                run.fallbacks[i] = outcome.error
    run.resolve(done)


def prime(run: PlanRun, journal: Journal) -> None:
    """Let a durable ``run`` keep its outcomes in ``journal``, and begin with those that are stored."""
    try:
        _prime(run, journal)
    except BaseException:
        journal.interrupt()
        raise


def _prime(run: PlanRun, journal: Journal) -> None:
    run.extras.journal, known = journal, journal.known
    reported = journal.reported(run)
    if reported:
        reports_of(run, reported)
    if known is None:
        if run.resolver is not None:
            run.resolve()  # its decisions are kept
        return
    index, done = run.nodes.index, []
    if known.attempts:
        run.attempts = {index[name]: attempt for name, attempt in known.attempts.items() if name in index}
    routes, values = run.nodes.routes, run.values
    routers = {} if routes is None else routes.routers
    for name, value in known.outputs.items():
        i = index[name]
        done.append(i)
        if value is not MISSING:
            values[i] = output_for(run, i, value) if i in routers else value
    mine = {index[name]: outcome for name, outcome in known.outcomes.items() if name in index}
    run.extras.known = mine
    for i, outcome in mine.items():
        if outcome.status is Status.COMPLETED:
            done.append(i)
            if outcome.value is not MISSING:
                run.values[i] = output_for(run, i, outcome.value)
            if outcome.error is not None:
                run.fallbacks[i] = outcome.error
    run.resolve(done)


def replay(run: PlanRun) -> None:
    """Let a durable ``run`` that has ended before be as it was then: nothing is driven, nobody is told."""
    journal = run.journal
    assert journal is not None
    run.started_at = run.clock.now()
    config, run.config = run.config, run.config._changed(observers=())
    take_known(run)
    journal.restore(run)
    run.end()
    run.config = config


def take_known(run: PlanRun) -> None:
    """At the run's start, take known failures and skips: what is skipped for them is."""
    resolver, config = run.resolver, run.config
    assert resolver is not None
    known, journal = run.extras.known, run.journal  # outputs may be freed
    for name in () if journal is None or not config.observers else journal.known_names():
        run.emit(events.NodeKnown(run.run_id, name, Status.COMPLETED, run.started_at))
    run.extras.known = dict.fromkeys(known) if run.journal is None else {}  # a durable run has had them itself
    for i, outcome in known.items():
        assert outcome is not None
        if outcome.error is not None:
            run.conceal(outcome.error)
        if config.observers:
            name, status = run.nodes.names[i], Status(outcome.status)
            run.emit(events.NodeKnown(run.run_id, name, status, run.started_at))
        if outcome.status is Status.FAILED:
            assert outcome.error is not None
            resolver.claim(i, waiting=True)  # what it depends on runs again, perhaps: that is not stored
            run.take_failure(i, outcome.error, known=True)
            if config.on_error == "fail_fast" and not resolver.goes_on_after(i):
                resolver.halt()
        elif outcome.status in (Status.SKIPPED, Status.BYPASSED) and resolver.state[i] in (WAITING, READY):
            leave_out = resolver.skip if outcome.status is Status.SKIPPED else resolver.bypass
            for s in leave_out(i):
                if s != i:
                    run.skipped(s, run.nodes.names[i])
    resolver.tell_known()
