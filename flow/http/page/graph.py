"""The graph of a workflow, as the page and ``graph.svg`` show it: without the places of functions in files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from flow.draw.picture import MAX_NODES, Picture
from flow.draw.svg import draw
from flow.http.board import NodeState
from flow.http.workflow import Workflow
from flow.plan.pictured import pictured
from flow.run.draw.svg import seconds
from flow.types import Status

_NOT: Final = (Status.SKIPPED, Status.BYPASSED)
_KNOWN: Final = {str(status): status for status in Status}


def graph(workflow: Workflow) -> bytes:
    """Return the graph of a workflow as an SVG of its own. O(nodes + edges)."""
    plan = workflow.plan
    picture = pictured(workflow.name, plan._nodes, plan._level_of)
    return draw(msgspec.structs.replace(picture, tips={}), alone=True).encode()


def picture_of(workflow: Workflow, states: Mapping[str, NodeState]) -> Picture:
    """Return the graph of a run, with the status and the time of each node, and why it failed. O(nodes + edges)."""
    plan = workflow.plan
    found = [states.get(name) for name in plan.names]
    status = {i: _KNOWN[one.status] for i, one in enumerate(found) if one is not None and one.status in _KNOWN}
    if len(plan) > MAX_NODES:
        return pictured(workflow.name, plan._nodes, plan._level_of, status)
    notes = {i: note for i, one in enumerate(found) if one is not None and (note := _note(one))}
    tips = {i: f"{e.type}: {e.message}" for i, one in enumerate(found) if one is not None and (e := one.error)}
    dead = frozenset([
        (i, to) for i, to, _ in plan._nodes.edges() if status.get(i) in _NOT or status.get(to) is Status.BYPASSED
    ])  # fmt: skip
    picture = pictured(workflow.name, plan._nodes, plan._level_of, status, notes, tips, dead)
    return msgspec.structs.replace(picture, tips=tips)


def _note(state: NodeState) -> str:
    notes = [seconds(state.seconds)] if state.seconds else []
    if state.attempt > 1:
        notes.append(f"{state.attempt} attempts")
    return ", ".join(notes)


__all__ = ["graph", "picture_of"]
