"""The first page: the service, its workflows, its latest runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from flow.draw.text import safe
from flow.http.answers import RUNNING, STATUSES, WAITING
from flow.http.memory import Row
from flow.http.page.parts import Cell, address, document, lasting, link, status, table, text, when
from flow.http.workflow import Workflow
from flow.plan.declared import type_text
from flow.plan.interface import Input
from flow.reprs import counted

REFRESH: Final = 5
"""Seconds after which a browser asks for the first page again."""

_INPUTS: Final = 12
_WORKFLOWS: Final = 200

_COLUMNS: Final = (
    ("run", ""), ("workflow", ""), ("status", ""), ("asked for (UTC)", "when"), ("took", "right"), ("error", ""),
)  # fmt: skip


def index(
    workflows: Mapping[str, Workflow],
    rows: Sequence[Row],
    facts: Mapping[str, Any],
    query: Mapping[str, list[str]],
    cursor: str | None,
    root: str,
) -> bytes:
    """Return the first page. O(rows + workflows).

    :param facts: of the service: runs, queued, streams, status, store. :param query: what was asked for.
    :param cursor: where the next page begins; None if there is none. :param root: the path before the service.
    """
    later = "cursor" in query  # a page that is read does not change
    parts = [
        "<h1>Runs</h1>",
        _facts(facts),
        _filters(workflows, query, root),
        _runs(rows, root) if rows else '<p class="dim">No runs that fit.</p>' if _asked(query) else _none(root),
        _next(query, cursor, root),
        _workflows(workflows, root),
    ]
    more = "".join([
        link(f"{root}/health/detailed", "health"), link(f"{root}/metrics", "metrics"),
        link(f"{root}/openapi.json", "openapi.json"),
    ])  # fmt: skip
    return document("Runs", parts, root, None if later else REFRESH, more)


def _asked(query: Mapping[str, list[str]]) -> dict[str, str]:
    """Return what the query says of which runs are shown."""
    return {name: query[name][-1] for name in ("status", "workflow", "limit") if query.get(name)}


def _facts(facts: Mapping[str, Any]) -> str:
    store = facts.get("store")
    kept = "in memory: they are gone when the process ends" if store is None else f"in a store ({store})"
    runs = facts.get("runs", 0)
    queued = facts.get("queued", 0)
    said = [
        f"service: <b>{safe(str(facts.get('status', '')))}</b>",
        f"{counted(runs, 'run')} {'goes' if runs == 1 else 'go'} on",
        f"{queued:,} of them wait for a place" if queued else "",
        f"{counted(facts.get('streams', 0), 'stream')} of events",
        f"runs are kept {safe(kept)}",
    ]
    return f'<ul class="facts">{"".join(f"<li>{one}</li>" for one in said if one)}</ul>'


def _filters(workflows: Mapping[str, Workflow], query: Mapping[str, list[str]], root: str) -> str:
    asked = _asked(query)
    lines: list[tuple[str, str, tuple[str, ...]]] = [("status", "every status", STATUSES)]
    if len(workflows) > 1:
        lines.append(("workflow", "every workflow", tuple(workflows)[:_WORKFLOWS]))
    parts = []
    for name, every, values in lines:
        now = asked.get(name)
        links = []
        for value in (None, *values):
            changed = {key: said for key, said in asked.items() if key != name} | ({name: value} if value else {})
            current = ' aria-current="true"' if value == now else ""
            links.append(f"<li>{link(address(root, '', query=changed), value or every, current)}</li>")
        parts.append(f'<nav aria-label="by {name}"><ul class="filters">{"".join(links)}</ul></nav>')
    return "".join(parts)


def _runs(rows: Sequence[Row], root: str) -> str:
    return table("runs", _COLUMNS, [_row(row, root) for row in rows])


def _row(row: Row, root: str) -> list[Cell]:
    goes_on = row.status in (RUNNING, WAITING) and not row.seconds
    return [
        Cell(link(address(root, "runs", row.id), row.id), "id", is_head=True),
        Cell(safe(row.workflow)),
        Cell(status(row.status)),
        Cell(when(row.created), "when"),
        Cell("" if goes_on else lasting(row.seconds), "right"),
        Cell(text(row.error), "text"),
    ]


def _none(root: str) -> str:
    said = link(f"{root}/openapi.json", "openapi.json")
    return f'<p class="dim">No runs yet. {said} says how they are asked for.</p>'


def _next(query: Mapping[str, list[str]], cursor: str | None, root: str) -> str:
    links = []
    if "cursor" in query:
        links.append(f"<li>{link(address(root, '', query=_asked(query)), 'latest runs')}</li>")
    if cursor is not None:
        older = address(root, "", query={**_asked(query), "cursor": cursor})
        links.append("<li>" + link(older, "older runs", ' rel="next"') + "</li>")
    return f'<nav aria-label="pages"><ul class="filters">{"".join(links)}</ul></nav>' if links else ""


def _workflows(workflows: Mapping[str, Workflow], root: str) -> str:
    columns = (("workflow", ""), ("nodes", "right"), ("inputs", ""), ("see", ""))
    rows = []
    for name, workflow in list(workflows.items())[:_WORKFLOWS]:
        api = address(root, "api", "v1", "workflows", name)
        links = [
            link(f"{api}/{part}" if part else api, said, f' aria-label="{said} of {safe(name)}"')
            for part, said in (("graph.svg", "graph"), ("", "schema"))
        ]
        rows.append([
            Cell(link(address(root, "", query={"workflow": name}), name), is_head=True),
            Cell(f"{len(workflow.plan):,}", "right"),
            Cell(_inputs(workflow)),
            Cell(" ".join(links)),
        ])  # fmt: skip
    more = len(workflows) - len(rows)
    rest = f'<p class="dim">and {counted(more, "more workflow")}</p>' if more else ""
    return f"<h2>Workflows</h2>{table('workflows', columns, rows)}{rest}"


def _inputs(workflow: Workflow) -> str:
    inputs = list(workflow.inputs.all.values())
    said = [_input(one) for one in inputs[:_INPUTS]]
    if len(inputs) > _INPUTS:
        said.append(f"and {len(inputs) - _INPUTS:,} more")
    return ", ".join(said) or '<span class="dim">none</span>'


def _input(one: Input) -> str:
    kind = "" if one.type is Any else f": {safe(type_text(one.type))}"
    notes = [*([] if one.required else ["optional"]), *(["secret"] if one.secret else [])]
    return f"<code>{safe(one.name)}{kind}</code>" + (f' <span class="dim">({", ".join(notes)})</span>' if notes else "")


__all__ = ["REFRESH", "index"]
