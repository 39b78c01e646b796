"""Print a plan: its size and critical path, and its nodes as a table, levels, JSON or a picture's text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from flow.cli.report import table
from flow.errors import shown
from flow.plan.nodes import executor_of, fallback_of, function_of
from flow.plan.plan import Plan
from flow.plan.routes import Choice
from flow.plan.waits import Wait
from flow.policy.looping import Looped
from flow.policy.mapping import Mapped
from flow.reprs import counted
from flow.run.result import duration
from flow.types import MISSING

MAX_ROWS: Final = 40
"""Rows of a table without ``--all``."""

MAX_LINE: Final = 100
"""Characters of a list of names without ``--all``; one name is always there."""


def size(plan: Plan) -> str:
    """``3 nodes, 2 edges, depth 3, width 1``."""
    nodes, edges = counted(len(plan), "node"), counted(plan.edge_count, "edge")
    return f"{nodes}, {edges}, depth {plan.depth:,}, width {plan.width:,}"


def lines(plan: Plan, form: str, everything: bool) -> list[str]:
    """Return ``plan`` in the format ``form``, which is not JSON."""
    if form in ("mermaid", "dot"):
        from flow.graph import render

        return [(render.to_mermaid if form == "mermaid" else render.to_dot)(plan).rstrip("\n")]
    body = _levels(plan, everything) if form == "levels" else _table(plan, everything)
    return [*_head(plan, everything), "", *body]


def as_json(plan: Plan) -> bytes:
    """Return :func:`as_dict` as one JSON document."""
    return msgspec.json.format(msgspec.json.encode(as_dict(plan)), indent=2)


def as_dict(plan: Plan) -> dict[str, Any]:
    """Return plain data: the figures, then every node with its level, dependencies and cost."""
    path = plan.critical_path()
    costs, levels, needs = plan.costs, plan.level_of, plan.dependencies
    nodes = [
        {"name": name, "level": levels[name], "needs": list(needs[name]), "cost": costs.get(name)} for name in plan
    ]
    for i, node in enumerate(nodes):
        node.update(_routing(plan, i))
        fallback = _fallback(plan, i)
        if fallback is not None:
            node["fallback"] = fallback
    return {
        "dag": plan.name,
        "counts": {"nodes": len(plan), "edges": plan.edge_count, "depth": plan.depth, "width": plan.width},
        "serial_time": plan.serial_time() if costs else None,
        "critical_path": {"nodes": path.nodes, "seconds": path.length if costs else None},
        "inputs": {"required": plan.required_inputs, "known": list(plan.inputs)},
        "nodes": nodes,
        "warnings": plan.warnings(),
    }


def left_out(plan: Plan) -> list[str]:
    """A line for each parameter that a plan which declares its inputs leaves out and that is named nearly as another.

    A run tells no more: what else is most likely wrong is for ``flow check``.
    """
    if plan._nodes.declared is None:
        return []
    return [f"Warning: {found}" for found in plan.warnings() if found.kind == "name"]


def warned(plan: Plan) -> list[str]:
    """A line for each thing in ``plan`` that is most likely wrong."""
    return [f"Warning: {found}" for found in plan.warnings()]


def _head(plan: Plan, everything: bool) -> Iterator[str]:
    yield f"{plan.name}: {size(plan)}"
    path = plan.critical_path()
    on_it = _some(path.nodes, everything, MAX_LINE, " -> ")
    if plan.costs:
        yield f"serial time {duration(plan.serial_time())}, critical path {duration(path.length)}: {on_it}"
    else:
        yield f"longest path: {on_it}"
    if plan.required_inputs:
        yield f"needs inputs: {', '.join(plan.required_inputs)}"


def _table(plan: Plan, everything: bool) -> list[str]:
    levels, names, costs, dependencies = plan._level_of, plan.names, plan.costs, plan._nodes.dependencies
    by_level = sorted(range(len(plan)), key=lambda i: (levels[i], i))
    listed = by_level if everything else by_level[:MAX_ROWS]
    rows = [["level", "node", "kind", "cost", "needs"]]
    for i in listed:
        needs = _some([names[d] for d in dependencies[i]], everything, MAX_LINE // 2)
        cost = duration(costs[names[i]]) if names[i] in costs else "-"
        rows.append([str(levels[i]), names[i], _kind(plan, i), cost, needs])
    if not costs:
        rows = [[cell for k, cell in enumerate(row) if k != 3] for row in rows]
    lines = table(rows)
    if len(listed) < len(by_level):
        lines.append(f"  ... and {counted(len(by_level) - len(listed), 'more node')} (--all shows them)")
    return lines


def _levels(plan: Plan, everything: bool) -> list[str]:
    levels = plan.levels()
    listed = levels if everything else levels[:MAX_ROWS]
    lines = [f"  {k}: {_some(names, everything, MAX_LINE)}" for k, names in enumerate(listed)]
    if len(listed) < len(levels):
        lines.append(f"  ... and {counted(len(levels) - len(listed), 'more level')} (--all shows them)")
    return lines


def _some(names: Sequence[str], everything: bool, width: int, separator: str = ", ") -> str:
    """As many of ``names`` as fit in ``width`` characters, and how many more there are."""
    used, count = 0, 0
    while count < len(names) and (everything or count == 0 or used + len(names[count]) <= width):
        used += len(names[count]) + len(separator)
        count += 1
    more = f" and {len(names) - count:,} more" if count < len(names) else ""
    return separator.join(names[:count]) + more


def _kind(plan: Plan, i: int) -> str:
    executor = executor_of(plan._nodes, i)
    how = "async" if plan._nodes.is_async[i] else "sync"
    how = how if executor in (None, "inline") else executor if executor == "thread" else f"executor {executor}"
    fn = function_of(plan._nodes, i)
    how = fn.word if isinstance(fn, Wait) else how
    how = f"map, {how}" if isinstance(fn, Mapped) else f"loop, {how}" if isinstance(fn, Looped) else how
    how = ", ".join([*(["router"] if _chosen(plan, i) else []), how, *_waits(plan, i)])
    return how if _fallback(plan, i) is None else f"{how}, fallback"


def _chosen(plan: Plan, i: int) -> Choice | None:
    routes = plan._nodes.routes
    return None if routes is None else routes.routers.get(i)


def _waits(plan: Plan, i: int) -> Iterator[str]:
    """What decides whether node ``i`` runs, in words."""
    routes = plan._nodes.routes
    if routes is None:
        return
    if i in routes.joins:
        yield f"join={routes.joins[i]}"
    if i in routes.whens:
        said = routes.whens[i].said
        yield "when" if said == "when" else f"when {said}"
    if i in routes.gated:
        yield "cleanup" if i in routes.cleanup else "teardown"


def _routing(plan: Plan, i: int) -> dict[str, Any]:
    """What decides whether node ``i`` runs, and what it decides, as plain data; nothing if it does neither."""
    routes, names = plan._nodes.routes, plan.names
    if routes is None:
        return {}
    found: dict[str, Any] = {}
    if i in routes.joins:
        found["join"] = routes.joins[i]
    if i in routes.conditions:
        found["after"] = {names[d]: condition for d, condition in routes.conditions[i].items()}
    if i in routes.whens:
        said = routes.whens[i].said
        found["when"] = True if said == "when" else said
    if i in routes.cleanup:
        found["cleanup"] = True
    if i in routes.setups:
        found["teardown_of"] = names[routes.setups[i]]
    choice = _chosen(plan, i)
    if choice is not None:
        found["to"] = {key if type(key) is str else shown(key): name for key, name in choice.to.items()}
        found["default"] = choice.default
    return found


def _fallback(plan: Plan, i: int) -> str | None:
    """What stands in for node ``i``'s output, or for those of its items, as text; None if nothing does."""
    fallback = fallback_of(plan._nodes, i)
    return None if fallback is MISSING else shown(fallback)
