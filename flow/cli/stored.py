"""Print stored runs: a list of them, and one with its nodes; for people as tables, for machines as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flow.cli import report
from flow.cli.terminal import Styled, styled
from flow.errors import StoreError, printable
from flow.reprs import MIN_NAME, cells, counted, cut
from flow.run import plain
from flow.run.questions import QUESTION, questions_of
from flow.run.result import duration
from flow.store.inputs import kept_of
from flow.store.owner import is_driven
from flow.store.story import Node, Story, value_of

if TYPE_CHECKING:
    from flow.store import RunRow, Store
    from flow.store.backend import Stored

MAX_ROWS: Final = 40
"""Nodes of a table without ``--all``."""

MAX_EVENTS: Final = 20
"""What has happened last, without ``--all``."""

_COLOURS: Final = {"completed": "green", "failed": "red", "cancelled": "red", "waiting": "yellow", "running": "cyan"}


# -- lists -----------------------------------------------------------------------------------


def table_of(rows: Sequence[RunRow], width: int | None) -> list[str]:
    """A line for each run, no longer than ``width`` cells as far as the error goes."""
    lines = [["run", "dag", "status", "nodes", "begun", "took", "error"]]
    lines += [
        [row.id, row.dag, _status(row), _completed(row), local(row.created), _took(row), _line(row.error)]
        for row in rows
    ]
    used = sum(max(cells(printable(line[k])) for line in lines) + 2 for k in range(len(lines[0]) - 1)) + 2
    room = max(MIN_NAME, (width or report.MAX_LINE) - used)
    for line in lines:
        line[-1] = cut(printable(line[-1]), room)
    return report.table([line if any(row.error for row in rows) else line[:-1] for line in lines])


def list_as_json(store: str, rows: Sequence[RunRow]) -> bytes:
    """Return the runs as one JSON document."""
    return _json({"store": store, "runs": [row_as_dict(row) for row in rows]})


def row_as_dict(row: RunRow) -> dict[str, Any]:
    """Return the row of a run as plain data, with times in ISO 8601."""
    return {
        "id": row.id,
        "dag": row.dag,
        "status": row.status,
        "driven": is_driven(row),
        "owner": row.owner or None,
        "claims": row.token,
        "cancel_asked": row.cancel,
        "created": iso(row.created),
        "updated": iso(row.updated),
        "ended": iso(row.ended) if row.ended else None,
        "seconds": row.owned,
        "error": row.error or None,
        "counts": _counts(row),
    }


def _counts(row: RunRow) -> dict[str, int] | None:
    try:
        return msgspec.msgpack.decode(row.counts, type=dict[str, int]) if row.counts else None
    except msgspec.MsgspecError:
        return None


def _completed(row: RunRow) -> str:
    counts = _counts(row)
    return "" if counts is None else f"{counts.get('completed', 0):,}/{sum(counts.values()):,}"


def _status(row: RunRow) -> str:
    more = ", to be cancelled" if row.cancel and not row.ended else ""
    return f"{row.status}{more}" if row.status != "running" or is_driven(row) else f"running, no process{more}"


def _took(row: RunRow) -> str:
    return spelled(row.owned) if row.owned else ""


def _line(text: str) -> str:
    return next(iter(text.splitlines()), "")


# -- one run ---------------------------------------------------------------------------------


def lines_of(store: Store, stored: Stored, story: Story, everything: bool, values: bool) -> list[str]:
    """Tell of one run."""
    return [
        *_head(store, stored, story, values),
        *_nodes(store, story, stored.row.created, everything, values),
        *_spent(story, everything),
        *_errors(story),
        *_timeline(story, stored.row.created, everything),
    ]


def _head(store: Store, stored: Stored, story: Story, values: bool) -> Iterator[str]:
    row = stored.row
    status = _status(row)
    yield Styled(
        f"run {printable(row.id)} of {printable(row.dag)}: {styled(status, fg=_COLOURS.get(row.status, 'white'))}"
    )
    ended = f", ended {local(row.ended)}" if row.ended else f", last written {local(row.updated)}"
    yield f"  begun {local(row.created)}{ended}, {spelled(row.owned)} in its processes"
    if is_driven(row):
        yield f"  driven by {row.owner}"
    if row.error:
        yield f"  error: {_line(row.error)}"
    inputs = _inputs(store, row, values)
    if inputs:
        yield "  inputs: " + ", ".join(f"{name}{f' = {text}' if text else ''}" for name, text in inputs.items())
    asked = _questions(story)
    for wait in story.waits:
        until = f" until {local(wait.until)}" if wait.until is not None else ""
        sent = ", which has been sent, and is taken once the run goes on" if wait.sent else ""
        yield f"  waits for {wait.address}{until}{sent}"
        if wait.address in asked:
            yield f"    question: {_line(plain.brief(asked[wait.address]))}"


def _questions(story: Story) -> dict[str, Any]:
    return questions_of(report.value for report in story.reports if report.kind == QUESTION)


def _inputs(store: Store, row: RunRow, values: bool) -> dict[str, str]:
    """Return a text for each input of a run: its value if that is wanted, or that it is not stored."""
    found = kept_of(row, store.name)
    return {
        name: "(not stored)" if data is None else plain.brief(_value(store, data)) if values else ""
        for name, data in found.items()
    }


def _value(store: Store, data: bytes) -> Any:
    try:
        return value_of(store, data)
    except StoreError as error:
        return f"<cannot be read: {_line(str(error))}>"


def _nodes(store: Store, story: Story, zero: float, everything: bool, values: bool) -> list[str]:
    items = Counter((node.path, node.name) for node in story.nodes if node.item is not None)
    wanted = [node for node in story.nodes if everything or node.item is None or node.status != "completed"]
    listed = wanted if everything else wanted[:MAX_ROWS]
    rows = [["node", "status", "attempt", "ended", "took", "stored", *(["output"] if values else [])]]
    for node in listed:
        row = [node.place, _node_status(node, items), str(node.attempt or ""), *_times(node, zero), _size(node)]
        if values:
            row.append("" if node.output is None else plain.brief(_value(store, node.output)))
        rows.append(row)
    lines = report.table(rows) if len(rows) > 1 else []
    if len(listed) < len(wanted):
        lines.append(f"  ... and {counted(len(wanted) - len(listed), 'more row')} (--all shows them)")
    return lines


def _spent(story: Story, everything: bool) -> list[str]:
    if not story.reports:
        return []
    from flow.cli import spent  # here: few runs have any

    return spent.lines_of(story.reports, None if everything else MAX_ROWS)


def _node_status(node: Node, items: Counter[tuple[tuple[str, ...], str]]) -> str:
    count = items.get((node.path, node.name), 0) if node.item is None else 0
    by_fallback = ", fallback" if node.status == "completed" and node.error else ""
    of_items = f", {counted(count, 'item')}" if count else ""
    return f"{node.status}{by_fallback}{of_items}"


def _times(node: Node, zero: float) -> tuple[str, str]:
    if node.ended is None:
        return "", ""
    took = spelled(node.ended - node.began) if node.began is not None and node.ended > node.began else ""
    return f"+{spelled(max(0.0, node.ended - zero))}", took


def _size(node: Node) -> str:
    if node.output is None:
        return ""
    return "in a file" if node.size is None else f"{node.size:,} bytes"


def _errors(story: Story) -> list[str]:
    failed = [node for node in story.nodes if node.error]
    if not failed:
        return []
    lines = [styled(f"{counted(len(failed), 'error')}:", fg="red", bold=True)]
    for node in failed[:MAX_ROWS]:
        lines.append(Styled(f"  {styled(printable(node.place), fg='red')}"))
        lines.append(Styled(printable(f"    {node.error}{f' at {node.at}' if node.at else ''}")))
    if len(failed) > MAX_ROWS:
        lines.append(Styled(f"  ... and {counted(len(failed) - MAX_ROWS, 'more error')} (--json prints all)"))
    return list[str](lines)


def _timeline(story: Story, zero: float, everything: bool) -> list[str]:
    wanted = [event for event in story.events if everything or not event.minor]
    listed = wanted if everything else wanted[-MAX_EVENTS:]
    lines = [styled("timeline:", bold=True)]
    if len(listed) < len(wanted):
        lines.append(Styled(f"  {len(wanted) - len(listed):,} earlier ... (--all shows them)"))
    rows = [(f"+{spelled(max(0.0, event.at - zero))}", event.what) for event in listed]
    wide = max(len(at) for at, _ in rows)
    return [*lines, *(f"  {at:>{wide}}  {_line(what)}" for at, what in rows)]


def as_json(store: Store, stored: Stored, story: Story, values: bool) -> bytes:
    """Return one run as a JSON document."""
    nodes = []
    for node in story.nodes:
        told = msgspec.to_builtins(node)
        told.pop("output", None)
        told["path"] = list(node.path)
        told |= {name: iso(told[name]) for name in ("began", "ended") if told.get(name) is not None}
        if values and node.output is not None:
            told["output"] = plain.encoded(_value(store, node.output))
        nodes.append(told)
    kept = kept_of(stored.row, store.name)
    inputs = {name: _input(store, data, values) for name, data in kept.items()}
    waits = [{**msgspec.to_builtins(one), **({"until": iso(one.until)} if one.until else {})} for one in story.waits]
    asked = _questions(story)
    waits = [one | ({"question": asked[one["address"]]} if one["address"] in asked else {}) for one in waits]
    timeline = [{"at": iso(event.at), "what": event.what} for event in story.events]
    whole = {"store": store.name, **row_as_dict(stored.row), "inputs": inputs, "waits": waits}
    return _json({**whole, **_spent_as_dict(story), "nodes": nodes, "timeline": timeline})


def _spent_as_dict(story: Story) -> dict[str, Any]:
    if not story.reports:
        return {}
    from flow.cli import spent

    return spent.as_dict(story.reports)


def _input(store: Store, data: bytes | None, values: bool) -> dict[str, Any]:
    if data is None:
        return {"stored": False}
    return {"stored": True, **({"value": plain.encoded(_value(store, data))} if values else {})}


# -- times -----------------------------------------------------------------------------------


def local(at: float) -> str:
    """A Unix time, for people: by the clock of this machine."""
    try:
        return datetime.fromtimestamp(at).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return str(at)


def spelled(seconds: float) -> str:
    """Seconds as text: durable runs may take days."""
    for unit, size, less, small in (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= 2 * size:
            whole, rest = divmod(int(seconds), size)
            return f"{whole} {unit} {rest // small} {less}"
    return duration(seconds)


def iso(at: float) -> str:
    """A Unix time in ISO 8601, in UTC."""
    try:
        return datetime.fromtimestamp(at, UTC).isoformat()
    except (OverflowError, OSError, ValueError):
        return str(at)


def _json(document: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2)


__all__ = ["as_json", "iso", "lines_of", "list_as_json", "local", "row_as_dict", "spelled", "table_of"]
