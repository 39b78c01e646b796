"""Print a Result: for people as a few lines, for machines as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click
import msgspec

from flow.blame import item_of, shortened, where
from flow.cli.terminal import Styled, styled
from flow.data.mapresult import MapResult
from flow.errors import printable
from flow.plan.tokens import TokenResolver
from flow.reprs import MIN_NAME, cells, counted, cut, fitted
from flow.run.plain import brief, encoded
from flow.run.result import Result, duration
from flow.signature import location_of
from flow.store.told import said, stored_place
from flow.types import Status

MAX_ROWS: Final = 20
"""Failed nodes that are listed."""

MAX_REASONS: Final = 10
"""Nodes that did not run, or whose failure was handled, of which it is said why."""

MAX_SINKS: Final = 10
"""Outputs that are listed, without ``--all``."""

_IDLE: Final = frozenset((Status.SKIPPED, Status.BYPASSED))

MAX_LINE: Final = 200
"""Cells of a table's line where there is no terminal to say how many fit."""


def headline(result: Result, width: int | None = None) -> Styled:
    """``report: ok, 3 of 3 nodes completed in 1.2 ms``. The name fills half of ``width`` cells at most."""
    name = printable(result.plan.name)
    name = name if width is None else fitted(name, width // 2)
    verdict = styled("ok", fg="green") if result.ok else styled("FAILED", fg="red", bold=True)
    verdict = styled("waiting", fg="yellow") if result.waiting else verdict
    return Styled(f"{name}: {verdict}, {summary(result)}")


def summary(result: Result) -> str:
    """``2 of 3 nodes completed, 1 failed in 1.2 ms``."""
    counts = result.counts
    done = f"{counts.get(Status.COMPLETED, 0):,} of {counted(len(result.plan), 'node')} completed"
    rest = "".join(f", {n:,} {status}" for status, n in counts.items() if status is not Status.COMPLETED)
    rest += f", {len(result.fallbacks):,} by fallback" if result.fallbacks else ""
    retried = sum(tries > 1 for tries in result.attempts.values())
    rest += f", {retried:,} retried" if retried else ""
    return f"{done}{rest} in {duration(result.wall_time)}"


def sinks(result: Result, everything: bool, width: int | None) -> list[str]:
    """A line for each output that no other node takes, None aside, no longer than ``width`` cells."""
    plan = result.plan
    names = [name for name, after in plan.successors.items() if not after]
    outputs = [(name, result[name]) for name in names if name in result and result[name] is not None]
    lines = []
    for name, value in outputs if everything else outputs[:MAX_SINKS]:
        name, text = printable(name), without_secrets(result, value)
        if width is not None:
            name = fitted(name, width // 2)
            text = cut(text, max(MIN_NAME, width - cells(name) - 5))
        lines.append(f"  {name} = {text}")
    if len(lines) < len(outputs):
        lines.append(f"  ... and {counted(len(outputs) - len(lines), 'more output')} (--all or --json prints them)")
    return lines


def failures(result: Result, width: int | None) -> list[str]:
    """The failed nodes: name, exception, the user's file and line."""
    rows = []
    for name, error in list(result.errors.items())[:MAX_ROWS]:
        tries = result.attempts.get(name, 1)
        place = _place(result, name, error)
        rows.append((name, said(error) + item_of(error), f"{place} (attempt {tries})" if tries > 1 else place))
    count = len(result.errors)
    heading = f"{counted(count, 'node')} failed:"
    return _listed(heading, "red", ("node", "error", "at"), rows, count, "failed node", width)


def reasons(result: Result, width: int | None) -> list[str]:
    """A line for each failure that another node has handled, and for each node that was skipped or bypassed: why."""
    handled = [name for name in result.errors if _is_handled(result, name)]
    idle: list[str] = []
    if not _IDLE.isdisjoint(result.counts):
        idle = [name for name, status in result.status.items() if status in _IDLE]
    return [
        *_why(result, f"{counted(len(handled), 'failure')} handled:", handled, width),
        *_why(result, f"{counted(len(idle), 'node')} did not run:", idle, width),
    ]


def _is_handled(result: Result, name: str) -> bool:
    resolver = result._run.resolver
    return isinstance(resolver, TokenResolver) and bool(resolver.handlers(result.plan.find(name)))


def _why(result: Result, heading: str, names: list[str], width: int | None) -> list[str]:
    if not names:
        return []
    told = [printable(result.why(name)) for name in names[:MAX_REASONS]]
    lines = [f"  {cut(line, (width or MAX_LINE) - 2)}" for line in told]
    if len(names) > len(lines):
        lines.append(f"  ... and {len(names) - len(lines):,} more (--json prints all statuses)")
    return [styled(heading, fg="yellow", bold=True), *lines]


def items_lost(result: Result, width: int | None) -> list[str]:
    """The maps that completed though items of theirs failed: name, the first exception, the user's file and line."""
    found = [(name, value.errors) for name, value in result.outputs.items() if type(value) is MapResult]
    lost = [(name, errors) for name, errors in found if errors]
    rows = []
    for name, errors in lost[:MAX_ROWS]:
        error = next(iter(errors.values()))
        rows.append((name, said(error) + item_of(error) + _more(len(errors)), _place(result, name, error)))
    heading = f"{counted(sum(len(errors) for _, errors in lost), 'item')} failed:"
    return _listed(heading, "yellow", ("map", "error", "at"), rows, len(lost), "map", width)


def stand_ins(result: Result, width: int | None) -> list[str]:
    """The nodes, and maps, for which a fallback has stood in: name, exception, the user's file and line."""
    fallbacks = result.fallbacks
    rows = []
    for (name, found), error in zip(list(fallbacks.items())[:MAX_ROWS], stood_in_for(result), strict=False):
        more = _more(len(found)) if isinstance(found, dict) else ""
        rows.append((name, said(error) + item_of(error) + more, _place(result, name, error)))
    heading = f"{counted(len(fallbacks), 'fallback')} taken:"
    return _listed(heading, "yellow", ("node", "fallback after", "at"), rows, len(fallbacks), "fallback", width)


def _more(count: int) -> str:
    return f" and {count - 1:,} more" if count > 1 else ""


def _place(result: Result, name: str, error: BaseException) -> str:
    return where(error) or stored_place(error) or shortened(location_of(result.plan._nodes.fns[result.plan.find(name)]))


def _listed(
    heading: str,
    colour: str,
    titles: tuple[str, str, str],
    rows: list[tuple[str, str, str]],
    count: int,
    what: str,
    width: int | None,
) -> list[str]:
    """``rows`` as a table if it fits, else one below the other."""
    if not rows:
        return []
    rows = [(printable(name), printable(error), printable(place)) for name, error, place in rows]
    lines = table([titles, *rows], colour)
    if max(cells(click.unstyle(line)) for line in lines) > (width or MAX_LINE):
        lines = []
        for name, error, place in rows:
            name = name if width is None else fitted(name, width - 2)
            lines += [Styled(f"  {styled(name, fg=colour)}"), f"    {error}", f"    at {place}"]
    if count > len(rows):
        lines.append(f"  ... and {counted(count - len(rows), f'more {what}')} (--json prints all)")
    return [styled(heading, fg=colour, bold=True), *lines]


def stood_in_for(result: Result) -> list[BaseException]:
    """The exceptions after which fallbacks were taken, the first one of each map."""
    return [next(iter(found.values())) if isinstance(found, dict) else found for found in result.fallbacks.values()]


def table(rows: Sequence[Sequence[str]], colour: str | None = None) -> list[str]:
    """Align ``rows``, of which the first is the heading (ours), in columns; the first column may have a colour."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    padded = [[cell + " " * (w - cells(cell)) for cell, w in zip(row, widths, strict=True)] for row in rows]
    lines = [Styled(f"  {styled('  '.join(padded[0]).rstrip(), dim=True)}")]
    for first, *rest in padded[1:]:
        name = first if colour is None else styled(first, fg=colour)
        lines.append(Styled(f"  {'  '.join([name, *rest]).rstrip()}"))
    return list(lines)


def as_json(result: Result, **more: Any) -> bytes:
    """``Result.to_dict`` as one JSON document; what JSON cannot hold is given as a short repr."""
    document, masks = result.to_dict(outputs=False), result._run.masks
    for name, value in result.outputs.items():
        document["nodes"][name]["output"] = encoded(value, masks)
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


def without_secrets(result: Result, value: Any) -> str:
    """As :func:`brief`, of an output of ``result``."""
    masks = result._run.masks
    return brief(value) if masks is None else masks.text(brief(masks.value(value)))
