"""Print a Result: for people as a few lines, for machines as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from flow.blame import item_of, shortened, where
from flow.cli.terminal import Styled, styled
from flow.data.mapresult import MapResult
from flow.errors import described, printable, shown
from flow.reprs import beginning
from flow.run.result import Result, duration
from flow.signature import location_of
from flow.types import Status

MAX_ROWS: Final = 20
"""Failed nodes, and sink outputs, that are listed."""

MAX_OUTPUT: Final = 100
"""Characters of an output that are shown."""


def headline(result: Result) -> Styled:
    """``report: ok, 3 of 3 nodes completed in 1.2 ms``."""
    counts = result.counts
    done = f"{counts.get(Status.COMPLETED, 0):,} of {len(result.plan):,} nodes completed"
    rest = "".join(f", {n:,} {status}" for status, n in counts.items() if status is not Status.COMPLETED)
    rest += f", {len(result.fallbacks):,} by fallback" if result.fallbacks else ""
    verdict = styled("ok", fg="green") if result.ok else styled("FAILED", fg="red", bold=True)
    return Styled(f"{printable(result.plan.name)}: {verdict}, {done}{rest} in {duration(result.wall_time)}")


def sinks(result: Result) -> list[str]:
    """A line for each output that no other node takes, None aside."""
    plan = result.plan
    names = [name for name, after in plan.successors.items() if not after]
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
        place = where(error) or shortened(location_of(result.plan._nodes.fns[result.plan.find(name)]))
        rows.append((name, described(error) + item_of(error), f"{place} (attempt {tries})" if tries > 1 else place))
    lines = table(rows) if errors else []
    if len(errors) > MAX_ROWS:
        lines.append(f"  ... and {len(errors) - MAX_ROWS:,} more failed nodes (--json prints all)")
    return lines


def stand_ins(result: Result) -> list[str]:
    """A table of the nodes, and maps, for which a fallback has stood in: name, exception, the user's file and line."""
    fallbacks = result.fallbacks
    rows = [("node", "fallback after", "at")]
    for (name, found), error in zip(list(fallbacks.items())[:MAX_ROWS], stood_in_for(result), strict=False):
        place = where(error) or shortened(location_of(result.plan._nodes.fns[result.plan.find(name)]))
        more = f" and {len(found) - 1:,} more" if isinstance(found, dict) and len(found) > 1 else ""
        rows.append((name, printable(described(error) + item_of(error) + more), place))
    lines = table(rows) if fallbacks else []
    if len(fallbacks) > MAX_ROWS:
        lines.append(f"  ... and {len(fallbacks) - MAX_ROWS:,} more fallbacks (--json prints all)")
    return lines


def stood_in_for(result: Result) -> list[BaseException]:
    """The exceptions after which fallbacks were taken, the first one of each map."""
    return [next(iter(found.values())) if isinstance(found, dict) else found for found in result.fallbacks.values()]


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align ``rows``, of which the first is the heading (ours), in columns."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [Styled(f"  {styled(padded[0], dim=True)}"), *(f"  {line}" for line in padded[1:])]


def as_json(result: Result, **more: Any) -> bytes:
    """``Result.to_dict`` as one JSON document; what JSON cannot hold is given as a short repr."""
    document = result.to_dict(outputs=False)
    for name, value in result.outputs.items():
        document["nodes"][name]["output"] = _encoded(value)
    for node in document["nodes"].values():
        if "error" in node:
            node["error"] = _text(node["error"])
        found = node.get("fallback")
        if found is not None:
            in_parts = isinstance(found, dict)
            node["fallback"] = {index: _text(error) for index, error in found.items()} if in_parts else _text(found)
    return msgspec.json.format(msgspec.json.encode({**document, **more}), indent=2)


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _encoded(value: Any) -> msgspec.Raw:
    try:
        return msgspec.Raw(msgspec.json.encode(value, enc_hook=_plain))
    except Exception:  # keys that are no text, cycles, lone surrogates, too deep: each is possible
        return msgspec.Raw(msgspec.json.encode(brief(value)))


def _plain(value: Any) -> Any:
    return value.to_dict() if isinstance(value, MapResult) else brief(value)


def brief(value: Any) -> str:
    """``repr(value)`` on one line, shortened and printable."""
    try:
        return printable(_repr(value))
    except Exception:  # its repr, its length or its class can be such
        return f"<{type(value).__name__} without a usable repr>"


def _repr(value: Any) -> str:
    if isinstance(value, MapResult):
        return f"{value.completed:,} of {len(value):,} items completed, {value.failed:,} failed"
    if isinstance(value, (bytes, bytearray, str)) and len(value) > MAX_OUTPUT:
        return shown(value) if isinstance(value, str) else f"<{len(value):,} bytes>"
    text = beginning(value, MAX_OUTPUT + 1)
    return text if len(text) <= MAX_OUTPUT else text[: MAX_OUTPUT - 3] + "..."
