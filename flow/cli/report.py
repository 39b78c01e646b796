"""Print a Result: for people as a few lines, for machines as JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec

from flow.cli.blame import shortened, where
from flow.data.mapresult import MapResult
from flow.errors import described, shown
from flow.reprs import beginning
from flow.run.result import Result, duration
from flow.signature import location_of
from flow.types import Status

MAX_ROWS: Final = 20
"""Failed nodes, and sink outputs, that are listed."""

MAX_OUTPUT: Final = 100
"""Characters of an output that are shown."""

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def headline(result: Result) -> str:
    """``report: ok, 3 of 3 nodes completed in 1.2 ms``."""
    counts = result.counts
    done = f"{counts.get(Status.COMPLETED, 0):,} of {len(result.plan):,} nodes completed"
    rest = "".join(f", {n:,} {status}" for status, n in counts.items() if status is not Status.COMPLETED)
    verdict = click.style("ok", fg="green") if result.ok else click.style("FAILED", fg="red", bold=True)
    return f"{result.plan.name}: {verdict}, {done}{rest} in {duration(result.wall_time)}"


def sinks(result: Result) -> list[str]:
    """A line for each output that no other node takes, None aside."""
    plan = result.plan
    names = [plan.names[i] for i, after in enumerate(plan.successors) if not after]
    outputs = [(name, result[name]) for name in names if name in result and result[name] is not None]
    lines = [f"  {name} = {brief(value)}" for name, value in outputs[:MAX_ROWS]]
    if len(outputs) > MAX_ROWS:
        lines.append(f"  ... and {len(outputs) - MAX_ROWS:,} more outputs (--json prints all)")
    return lines


def failures(result: Result) -> list[str]:
    """A table of the failed nodes: name, exception, the user's file and line."""
    errors = result.errors
    rows = [("node", "error", "at")]
    for name, error in list(errors.items())[:MAX_ROWS]:
        tries = result.attempts.get(name, 1)
        place = where(error) or shortened(location_of(result.plan.fns[result.plan.find(name)]))
        text = printable(described(error) + _item(error))
        rows.append((name, text, f"{place} (attempt {tries})" if tries > 1 else place))
    lines = table(rows) if errors else []
    if len(errors) > MAX_ROWS:
        lines.append(f"  ... and {len(errors) - MAX_ROWS:,} more failed nodes (--json prints all)")
    return lines


def _item(error: BaseException) -> str:
    """Which item of a map it was, by the note that the map has put on its exception."""
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith(("in item ", "in the batch "))]
    return f" ({notes[0].removeprefix('in ').partition(' of map ')[0]})" if notes else ""


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align ``rows``, of which the first is the heading, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return ["  " + click.style(padded[0], dim=True), *(f"  {line}" for line in padded[1:])]


def as_json(result: Result, **more: Any) -> str:
    """``Result.to_dict`` as one JSON document; what JSON cannot hold is given as a short repr."""
    document = result.to_dict(outputs=False)
    for name, value in result.outputs.items():
        document["nodes"][name]["output"] = _encoded(value)
    for node in document["nodes"].values():
        if "error" in node:
            node["error"] = node["error"].encode("utf-8", "backslashreplace").decode()
    return msgspec.json.format(msgspec.json.encode({**document, **more}), indent=2).decode()


def _encoded(value: Any) -> msgspec.Raw:
    try:
        return msgspec.Raw(msgspec.json.encode(value, enc_hook=_plain))
    except Exception:  # keys that are no text, cycles, lone surrogates, too deep: each is possible
        return msgspec.Raw(msgspec.json.encode(brief(value)))


def _plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, MapResult) else brief(value)


def brief(value: Any) -> str:
    """``repr(value)`` on one line, shortened and printable."""
    if isinstance(value, MapResult):
        return f"{value.completed:,} of {len(value):,} items completed, {value.failed:,} failed"
    if isinstance(value, (bytes, bytearray, str)) and len(value) > MAX_OUTPUT:
        return shown(value) if isinstance(value, str) else f"<{len(value):,} bytes>"
    text = beginning(value, MAX_OUTPUT + 1)
    return printable(text if len(text) <= MAX_OUTPUT else text[: MAX_OUTPUT - 3] + "...")


def printable(text: str) -> str:
    """``text`` without control characters, which could rewrite the terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)
