"""The page of one run: what is wrong, what it waits for, its graph, its nodes, its outputs, and what to do next.

Where nodes have asked language models, what that took stands there too.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from flow.draw.svg import draw
from flow.draw.text import safe
from flow.http.answers import ENDED, NodeError
from flow.http.board import NodeState
from flow.http.looking import View
from flow.http.page.graph import picture_of
from flow.http.page.parts import Cell, address, document, lasting, link, status, table, text, when
from flow.http.page.samples import sample_of
from flow.http.page.spent import spent
from flow.http.workflow import Workflow
from flow.plan.declared import type_text
from flow.reprs import counted

REFRESH: Final = 2
"""Seconds after which a browser asks for the page of a run again that goes on."""

MAX_NODES: Final = 500
"""Most nodes in the table."""

MAX_FAILED: Final = 50
"""Most nodes in the list of what failed."""

MAX_OUTPUTS: Final = 10_000
"""Most characters of the outputs."""

MAX_QUESTION: Final = 2_000
"""Most characters of what is asked of a person at one signal."""

_MAX_SIGNALS: Final = 20
_MAX_REASONS: Final = 3
_FIRST: Final = {"failed": 0, "running": 1, "waiting": 2, "cancelled": 3, "skipped": 4}
"""Which nodes come first in the table of a large run."""

_NOT: Final = ("failed", "skipped", "cancelled")


def run(
    view: View, workflow: Workflow, root: str, *, base: str = "", stored: bool | None = None, keys: bool | None = None
) -> bytes:
    """Return the page of a run. O(nodes + edges + outputs).

    :param root: the path before the service. :param base: the address of the service, up to ``root``, for the commands
        that the page shows: ``https://flow.example``.
    :param stored: the service has a store, so ended runs can be retried; None if that is not known.
    :param keys: requests need a key; None if that is not known.
    """
    states = _states(view, workflow)
    goes_on = view.status not in ENDED
    command = _Command((base or "http://localhost:8080") + root, keys is not False)
    parts = [
        f'<h1>Run <span class="id">{safe(view.id)}</span></h1>',
        _facts(view, root),
        _wrong(view, states),
        _waiting(view, workflow, command) if goes_on else "",
        _graph(workflow, states),
        _nodes(states, workflow),
        spent(view.usage),
        _outputs(view, root),
        _next(view, command, stored),
    ]
    title = f"{view.status}: {view.id}"
    api = address(root, "api", "v1", "runs", view.id)
    more = link(address(root, "", query={"workflow": view.workflow}), f"runs of {view.workflow}") + link(api, "JSON")
    return document(title, parts, root, REFRESH if goes_on else None, more)


def _states(view: View, workflow: Workflow) -> dict[str, NodeState]:
    """Return the state of each node: in the order of the plan, and then nodes that the plan has no more."""
    known = {state.node: state for state in view.nodes}
    states = {name: known.get(name) or NodeState(name, "pending") for name in workflow.plan.names}
    return states | known


def _facts(view: View, root: str) -> str:
    ended = view.ended is not None
    took = view.seconds if ended or view.seconds else max(0.0, time.time() - view.created)
    counts = ", ".join(f"{n:,} {name}" for name, n in view.counts.items())
    said = [
        status(view.status),
        f"workflow {link(address(root, '', query={'workflow': view.workflow}), view.workflow)}",
        f"asked for {when(view.created)} UTC",
        f"ended {when(view.ended)} UTC" if view.ended is not None else "",
        f"{'took' if ended else 'for'} {lasting(took)}",
        f"nodes: {safe(counts)}" if counts else "",
    ]
    return f'<ul class="facts">{"".join(f"<li>{one}</li>" for one in said if one)}</ul>'


def _wrong(view: View, states: Mapping[str, NodeState]) -> str:
    """Say which nodes failed, and why; and what ended the run, if that was no node."""
    failed = dict(view.errors)
    for name, state in states.items():
        if state.status == "failed" and name not in failed:
            failed[name] = state.error or NodeError("", "it is not known why")
    if not failed and not view.detail:
        return ""
    named = [(name, error, _attempt(states.get(name))) for name, error in list(failed.items())[:MAX_FAILED]]
    tries = any(attempt for _, _, attempt in named)
    columns = [("node", ""), ("error", ""), ("message", ""), *([("attempt", "right")] if tries else [])]
    rows = [
        [
            Cell(safe(name), is_head=True), Cell(safe(error.type), "id"), Cell(text(error.message), "text"),
            *([Cell(attempt, "right")] if tries else []),
        ]
        for name, error, attempt in named
    ]  # fmt: skip
    detail = f"<p>{text(view.detail)}</p>" if view.detail else ""
    more = f'<p class="dim">and {len(failed) - MAX_FAILED:,} more</p>' if len(failed) > MAX_FAILED else ""
    skipped = view.counts.get("skipped", 0)
    held = f"<p>{counted(skipped, 'node')} did not run for that.</p>" if skipped and failed else ""
    if view.status == "completed":
        held += "<p>The run has completed without that.</p>"
    listed = table("failed nodes", columns, rows) + more if rows else ""
    title = f"{counted(len(failed), 'node')} failed" if failed else "What ended the run"
    return f'<section class="wrong"><h2>{title}</h2>{detail}{listed}{held}</section>'


def _attempt(state: NodeState | None) -> str:
    return f"{state.attempt:,}" if state is not None and state.attempt else ""


def _waiting(view: View, workflow: Workflow, command: _Command) -> str:
    """Say what the run waits for, and how that is sent."""
    if not view.waiting:
        return ""
    parts = []
    for signal in view.waiting[:_MAX_SIGNALS]:
        found = workflow.signals.find(signal)
        if found is None:
            parts.append(f"<p><b>{safe(signal)}</b></p>")
            continue
        kind = getattr(found[0].wait, "type", None)
        known = "" if kind is None or kind is Any else f", which takes {safe(type_text(kind))}"
        body = msgspec.json.encode({"payload": sample_of(kind)}).decode()
        line = command.post("runs", view.id, "signals", signal, body=body)
        asked = _question(view.questions[signal]) if signal in view.questions else ""
        parts.append(f"<p>signal <b>{safe(signal)}</b>{known}:</p>{asked}{line}")
    left = len(view.waiting) - _MAX_SIGNALS
    more = f'<p class="dim">and {left:,} more</p>' if left > 0 else ""
    return f'<section class="asks"><h2>The run waits</h2>{"".join(parts)}{more}</section>'


def _question(asked: Any) -> str:
    said = msgspec.json.format(msgspec.json.encode(asked), indent=2).decode("utf-8", "replace")
    cut = said[:MAX_QUESTION] + (" ..." if len(said) > MAX_QUESTION else "")
    return f'<pre tabindex="0" role="region" aria-label="question">{text(cut)}</pre>'


def _graph(workflow: Workflow, states: Mapping[str, NodeState]) -> str:
    svg = draw(picture_of(workflow, states), alone=False)
    return f'<h2>Graph</h2><div class="wide" role="region" aria-label="graph" tabindex="0">{svg}</div>'


def _nodes(states: Mapping[str, NodeState], workflow: Workflow) -> str:
    shown = list(states.values())
    if len(shown) > MAX_NODES:
        shown.sort(key=lambda state: _FIRST.get(state.status, 9))
        del shown[MAX_NODES:]
    before = _before(shown, workflow)
    tries, timed = any(state.attempt for state in shown), any(state.seconds for state in shown)
    columns = [("node", ""), ("status", ""), *([("attempt", "right")] if tries else [])]
    columns += [*([("took", "right")] if timed else []), ("why", "")]
    rows = []
    for state in shown:
        row = [Cell(safe(state.node), is_head=True), Cell(status(state.status))]
        if tries:
            row.append(Cell(_attempt(state), "right"))
        if timed:
            row.append(Cell(lasting(state.seconds) if state.seconds else "", "right"))
        row.append(Cell(_why(state, states, before.get(state.node, ())), "text"))
        rows.append(row)
    left = len(states) - len(shown)
    more = f'<p class="dim">and {counted(left, "more node")}; those that failed stand first</p>' if left else ""
    return f"<h2>Nodes</h2>{table('nodes', columns, rows)}{more}"


def _before(shown: Sequence[NodeState], workflow: Workflow) -> dict[str, list[str]]:
    """Return by node that did not run the nodes before it. O(edges)."""
    wanted = {state.node for state in shown if state.status in ("skipped", "cancelled")}
    before: dict[str, list[str]] = {}
    if wanted:
        names = workflow.plan.names
        for i, to, _ in workflow.plan._nodes.edges():
            if names[to] in wanted:
                before.setdefault(names[to], []).append(names[i])
    return before


def _why(state: NodeState, states: Mapping[str, NodeState], before: Sequence[str]) -> str:
    if state.error is not None:
        return text(f"{state.error.type}: {state.error.message}")
    if state.status not in ("skipped", "cancelled"):
        return ""
    reasons = [f"{name} {states[name].status}" for name in before if name in states and states[name].status in _NOT]
    said = ", ".join(reasons[:_MAX_REASONS]) + (", ..." if len(reasons) > _MAX_REASONS else "")
    if not said and state.status == "cancelled":
        said = "the run ended first"
    return f'<span class="dim">{text(said)}</span>' if said else ""


def _outputs(view: View, root: str) -> str:
    raw = bytes(view.outputs)
    if raw in (b"{}", b""):
        return ""
    most = 4 * MAX_OUTPUTS
    said = raw[:most].decode("utf-8", "replace")
    if len(raw) <= most:
        try:
            said = msgspec.json.format(said, indent=2)
        except (msgspec.DecodeError, RecursionError):
            pass
    whole = link(address(root, "api", "v1", "runs", view.id), "the whole run as JSON")
    more = f'<p class="dim">cut: {whole}</p>' if len(raw) > most or len(said) > MAX_OUTPUTS else ""
    return (
        f'<h2>Outputs</h2><pre tabindex="0" role="region" aria-label="outputs">{text(said[:MAX_OUTPUTS])}</pre>{more}'
    )


def _next(view: View, command: _Command, stored: bool | None) -> str:
    if view.status not in ENDED:
        return f"<h2>End it</h2>{command.post('runs', view.id, 'cancel')}"
    if view.status == "completed" or stored is False:
        return ""
    only = "" if stored else ' <span class="dim">(a service with a store does that)</span>'
    what = "<p>What has completed stays; the rest runs again.</p>"
    return f"<h2>Retry it{only}</h2>{what}{command.post('runs', view.id, 'retry')}"


class _Command:
    """Writes commands that ask the service."""

    def __init__(self, base: str, keys: bool) -> None:
        self._base = base
        self._key = ' -H "Authorization: Bearer $FLOW_KEY"' if keys else ""

    def post(self, *parts: str, body: str = "") -> str:
        """Return a command, as HTML."""
        url = address(f"{self._base}/api/v1", *parts)
        data = f" -d {shlex.quote(body)}" if body else ""
        line = f"curl -X POST {shlex.quote(url)} -H 'Content-Type: application/json'{self._key}{data}"
        return f'<pre tabindex="0" role="region" aria-label="command">{text(line)}</pre>'


__all__ = ["MAX_FAILED", "MAX_NODES", "MAX_OUTPUTS", "MAX_QUESTION", "REFRESH", "run"]
