"""Say in one sentence why a node ended as it did: :meth:`flow.Result.why`."""

from __future__ import annotations

from typing import Any

from flow.errors import described
from flow.plan.resolver import BYPASSED, DONE, FAILED, SKIPPED
from flow.plan.tokens import BYPASS, LIVE, TokenResolver
from flow.plan.waits import Signal
from flow.run.state import PlanRun
from flow.types import Status

_SHOWN = 3


def why(run: PlanRun, i: int) -> str:
    """Return the decision about node ``i`` of a run that has ended, and the node responsible. O(nodes + edges)."""
    name, status = run.nodes.names[i], run.status(i)
    extras = run._extras
    known = extras is not None and i in extras.known
    return f"node {name!r} {_verb(status)}{', which was known before the run' if known else _because(run, i, status)}"


def _verb(status: Status) -> str:
    return str(status) if status in (Status.COMPLETED, Status.FAILED) else f"was {status}"


def _because(run: PlanRun, i: int, status: Status) -> str:
    if status is Status.COMPLETED:
        return _completed(run, i)
    if status is Status.FAILED:
        return _failed(run, i)
    if status is Status.SKIPPED:
        return _skipped(run, i)
    return _bypassed(run, i) if status is Status.BYPASSED else ": the run ended first"


def _completed(run: PlanRun, i: int) -> str:
    error = None if run._extras is None else run.fallbacks.get(i)
    if isinstance(error, BaseException):
        return f" by its fallback, after {described(error)}"
    resolver = run.resolver
    if run.outlasts(i):
        return _cleaned(run, i)
    if isinstance(resolver, TokenResolver) and i in resolver.choices:
        return f", and chose {_some(list(resolver.choices[i]))}"
    wait = None if run.nodes.routes is None else run.nodes.routes.waits.get(i)
    if wait is not None:
        return " by a signal" if isinstance(wait, Signal) else " when its time had come"
    return ""


def _cleaned(run: PlanRun, i: int) -> str:
    routes = run.nodes.routes
    assert routes is not None
    if i in routes.setups:
        return f": it is the teardown of node {run.nodes.names[routes.setups[i]]!r}, which completed"
    return ": it runs whatever happened (cleanup)"


def _failed(run: PlanRun, i: int) -> str:
    error = run.errors.get(i)  # of a run that an exit has ended there is none
    what = "" if error is None else f": {described(error)}"
    if i in run.refused:
        what = f", as its condition ({_condition(run, i)}) could not be asked{what}"
    resolver, names = run.resolver, run.nodes.names
    handlers = resolver.handlers(i) if isinstance(resolver, TokenResolver) else []
    by = f"handled by {_some([names[s] for s in handlers])}" if handlers else ""
    if i in run.nodes.may_fail:
        return f"{what}; this is tolerated{f', and {by}' if by else ''}"
    return f"{what}; {by}" if by else what


def _skipped(run: PlanRun, i: int) -> str:
    """Follow what was skipped to the first node that failed."""
    assert run.resolver is not None
    state, names = run.resolver.state, run.nodes.names
    at, seen = i, {i}
    while True:
        before = [d for d in run.nodes.dependencies[at] if state[d] in (FAILED, SKIPPED) and d not in seen]
        if not before:
            break
        at = next((d for d in before if state[d] == FAILED), before[0])
        if state[at] == FAILED:
            break
        seen.add(at)
    if at == i:
        return ""
    return f": node {names[at]!r} {'failed' if state[at] == FAILED else 'was skipped'}"


def _bypassed(run: PlanRun, i: int) -> str:
    resolver, names, routes = run.resolver, run.nodes.names, run.nodes.routes
    assert isinstance(resolver, TokenResolver)
    assert routes is not None
    setup = routes.setups.get(i)
    if setup is not None and resolver.state[setup] != DONE:
        return f": node {names[setup]!r}, its setup, {_verb(run.status(setup))}"
    join: Any = routes.joins.get(i, "all")
    dependencies = run.nodes.dependencies[i]
    dead = [d for d in dependencies if resolver.token(d, i) != LIVE]
    if join == "failed":
        if not any(resolver.token(d, i) not in (LIVE, BYPASS) for d in dependencies):
            return ": no node before it failed (join='failed')"
        return f": its condition ({_condition(run, i)}) said no"
    if type(join) is int and len(dependencies) - len(dead) < join:
        return f": {len(dependencies) - len(dead)} of the {join} live edges that it waits for came (join={join})"
    starts = not dead or join in ("done", "none_failed") or type(join) is int
    if starts or (join == "some" and len(dead) < len(dependencies)):
        return f": its condition ({_condition(run, i)}) said no"
    cause = dead[0]
    if resolver.state[cause] == BYPASSED:
        return f": node {names[cause]!r} before it was bypassed"
    if resolver.state[cause] == DONE and cause in resolver.choices and names[i] not in resolver.choices[cause]:
        return f": router {names[cause]!r} chose {_some(list(resolver.choices[cause]))}"
    return f": node {names[cause]!r} completed, and this one runs if that fails"


def _condition(run: PlanRun, i: int) -> str:
    when = None if run.nodes.routes is None else run.nodes.routes.whens.get(i)
    return "when" if when is None else when.said


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


__all__ = ["why"]
