"""The picture of a run, and the card of its Result in notebooks."""

from __future__ import annotations

from typing import Any, Final

from flow.blame import item_of, shortened, where
from flow.data.mapresult import MapResult
from flow.draw import html
from flow.draw.picture import MAX_NODES, Picture
from flow.errors import a_kind, described, shown
from flow.plan.pictured import pictured
from flow.plan.resolver import BYPASSED, DONE, FAILED, SKIPPED
from flow.plan.tokens import LIVE, TokenResolver
from flow.policy.mapping import Over
from flow.reprs import counted
from flow.run.draw.svg import seconds
from flow.run.state import PlanRun
from flow.signature import location_of
from flow.types import Status

MAX_OUTPUT: Final = 120
"""Most characters of an output."""

_RAN: Final = (Status.COMPLETED, Status.FAILED)
_ENDED: Final = (DONE, FAILED, SKIPPED, BYPASSED)


def picture_of(run: PlanRun) -> Picture:
    """Return the picture of the run's graph with statuses, times, attempts, known outcomes and fallbacks."""
    plan = run.plan
    status = {i: run.status(i) for i in range(len(plan))}
    if len(plan) > MAX_NODES:  # drawn by level, without notes
        return pictured(plan.name, plan._nodes, plan._level_of, status)
    notes = {i: note for i in range(len(plan)) if (note := ", ".join(_notes(run, i, status[i])))}
    tips = {i: described(error) + item_of(error) for i, error in run.errors.items()}
    return pictured(plan.name, plan._nodes, plan._level_of, status, notes, tips, dead_edges(run))


def dead_edges(run: PlanRun) -> frozenset[tuple[int, int]]:
    """Return the edges over which nothing came, by node indices: nothing unless the plan routes. O(edges)."""
    resolver = run.resolver
    if not isinstance(resolver, TokenResolver):
        return frozenset()
    state, token = resolver.state, resolver.token
    edges = run.nodes.edges()
    return frozenset([(i, s) for i, s, _ in edges if state[i] in _ENDED and token(i, s) != LIVE])


def card(run: PlanRun, text: str) -> str:
    """Return the card of a Result. ``text`` is for pages without HTML."""
    plan, extras = run.plan, run._extras
    head = [html.title(plan.name), html.said("\u2713 ok", "good") if run.ok else html.said("\u2717 NOT OK", "bad")]
    head.append(html.said(", ".join([f"{n:,} {status}" for status, n in run.counts.items()])))
    head.append(html.said(f"in {seconds(run.wall_time)}{', out of time' if run.timed_out else ''}"))
    fallbacks = {} if extras is None else extras.fallbacks
    return html.card(
        text,
        head,
        html.graph(picture_of(run)),
        _errors(run, "failed nodes", "error", dict(run.errors)),
        _errors(run, "fallbacks", "after", {i: _first(found) for i, found in fallbacks.items()}),
        _outputs(run),
    )


def _notes(run: PlanRun, i: int, status: Status) -> list[str]:
    extras = run._extras
    if extras is not None and i in extras.known:
        return ["known"]
    if status not in _RAN:
        return []
    notes = []
    if run.started is not None and run.finished is not None and run.finished[i] == run.finished[i]:  # not NEVER
        notes.append(seconds(run.finished[i] - run.started[i]))
    tries = run.attempts.get(i, 1)
    if tries > 1:
        notes.append(f"{tries} attempts")
    if extras is not None and i in extras.fallbacks:
        notes.append("fallback")
    if extras is not None and i in extras.rounds:
        notes.append(counted(extras.rounds[i], "round"))
    value = run.values[i]
    kind = type(value)
    collects = issubclass(kind, MapResult)  # not isinstance: an object may raise when asked for its class
    if collects or (issubclass(type(run.nodes.fns[i]), Over) and kind is list):
        failed = value.failed if collects else 0
        notes.append(counted(len(value), "item") + (f", {failed:,} failed" if failed else ""))
    return notes


def _first(found: Any) -> BaseException:
    error: BaseException = next(iter(found.values())) if isinstance(found, dict) else found
    return error


def _errors(run: PlanRun, caption: str, column: str, errors: dict[int, BaseException]) -> str:
    """Return a table of exceptions, each with its place in the user's code."""
    names, fns = run.plan.names, run.nodes.fns
    rows = []
    for i, error in list(errors.items())[: html.MAX_ROWS]:
        tries = run.attempts.get(i, 1)
        place = (where(error) or shortened(location_of(fns[i]))) + (f" (attempt {tries})" if tries > 1 else "")
        rows.append((names[i], described(error) + item_of(error), place))
    return html.table(caption, ("node", column, "at"), rows, len(errors))


def _outputs(run: PlanRun) -> str:
    """Return a table of the outputs that no other node takes."""
    plan = run.plan
    last = [i for i, after in enumerate(plan._nodes.successors) if not after and run.has_output(i)]
    show = _brief if run.config.show_values else a_kind
    rows = [(plan.names[i], show(run.values[i])) for i in last[: html.MAX_ROWS]]
    return html.table("outputs", ("node", "output"), rows, len(last))


def _brief(value: Any) -> str:
    if issubclass(type(value), MapResult):
        return f"{value.completed:,} of {counted(len(value), 'item')} completed, {value.failed:,} failed"
    return shown(value, MAX_OUTPUT)
