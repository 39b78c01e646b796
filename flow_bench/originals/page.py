"""The originals' tables as Markdown, our figures beside theirs: what ``python -m flow_bench originals`` prints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flow_bench.harness import machine
from flow_bench.harness.rows import BELOW, UNITS, Identity, Row, number, share
from flow_bench.originals.table import Original, Ours, Source, Table

HEAD = "| row | it printed | flow | measured by |"
FIGURES = 3
"""The column of our figures: what alone differs from one machine to the next."""
TITLE = """# The originals' tables, row by row

`flow` grew out of three designs. Whoever knows the tables of one of them finds each row here: what the original
printed, what stands beside it in `flow`, and what one operation really does where a name does not say it.

This page is made by `{command}`. The command in the last column measures the table that the row stands in.
"""
MEASURED = """Figures of `flow`: {where}. Measured {when}. Bytes are the most that one operation had at once, blocks \
what it left allocated while its result was alive; Go counts every byte ever allocated.
"""
CALLS = {"mean": "mean", "p50": "P50", "p95": "P95", "p99": "P99", "overhead": "overhead"}
"""Figures in the row's own unit, and what they are called."""
OF_CALLS = {"requests/s": "ms"}
"""By unit of a row that counts calls a second, that of what it tells of single calls."""
GROWTH = "blocks_per_1000"
ROUNDS = ("ns", "us", "ms", "s")


def page(sources: Sequence[Source], rows: Mapping[Identity, Row], facts: Mapping[str, Any], command: str) -> str:
    """Return the whole page.

    :param rows: what was measured, by identity; a row that is missing has "not measured" for a figure.
    :param facts: of the machine that measured.
    :param command: what makes the page.
    """
    where = machine.heading(dict(facts)).replace("\n", "; ")
    when = ", ".join(filter(None, [facts["date"][:10], facts.get("commit", "")]))
    parts = [TITLE.format(command=command), MEASURED.format(where=where, when=when)]
    for source in sources:
        parts.append(f"## {source.name}\n\nIts figures: {source.machine}.\n")
        parts += [_table(table, rows) for table in source.tables]
        if source.advice:
            lines = "\n".join(f"| {_cell(what)} | {_cell(here)} |" for what, here in source.advice)
            parts.append(f"### What it recommends\n\n| there | here |\n|---|---|\n{lines}\n")
    return "\n".join(parts)


def _table(table: Table, rows: Mapping[Identity, Row]) -> str:
    note = f"{table.note}\n\n" if table.note else ""
    lines = "\n".join(line for one in table.rows for line in _lines(one, rows))
    return f"### {table.title}\n\n{note}{HEAD}\n|---|---|---|---|\n{lines}\n"


def _lines(original: Original, rows: Mapping[Identity, Row]) -> Iterator[str]:
    """One line of the page for each row here; one that says why there is none."""
    name, does = f"`{original.name}`", f"<br>{original.does}" if original.does else ""
    if not original.ours:
        yield f"| {name}{does} | {_cell(original.printed)} | - | {_cell(original.why)} |"
    for what, ours in original.ours.items():
        figure = shown(ours, rows.get(ours.identity))
        told = f" ({what})" if what else ""
        yield f"| {name}{told}{does} | {_cell(original.printed)} | {figure} | `{ours.command}` |"
        does = ""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def shown(ours: Ours, row: Row | None) -> str:
    """Our figure for one operation of the original, with bytes and blocks where they are known."""
    if row is None:
        return "not measured"
    if row.figure is None:
        return row.note or "n/a"
    found = [_amount(row.figure, row.unit, ours.times)]
    for name, word in CALLS.items():
        if name in row.figures:
            found.append(f"{word} {_amount(row.figures[name], OF_CALLS.get(row.unit, row.unit), ours.times)}")
    if BELOW in row.figures:
        found.append(f"below 1 ms: {share(row.figures[BELOW])}")
    if "speed_up" in row.figures:
        found.append(f"{number(row.figures['speed_up'])} times as fast as one after another")
    if GROWTH in row.figures:
        found.append(f"{number(row.figures[GROWTH])} blocks more per 1,000 workflows")
    found += [f"{number(row.figures[name] * ours.times)} {name}" for name in ("bytes", "blocks") if name in row.figures]
    if "per_s" in row.figures:
        found.append(f"{number(row.figures['per_s'])} a second")
    return ", ".join(found) + (f" ({row.note})" if row.note else "")


def _amount(figure: float, unit: str, times: int) -> str:
    """A figure per one of many, for all of them, in the unit that suits it."""
    if unit not in UNITS:
        return f"{number(figure * times)} {unit}"
    seconds = figure * times / UNITS[unit]
    fit = next((one for one in ROUNDS if seconds * UNITS[one] < 1_000), "s")
    return f"{number(seconds * UNITS[fit])} {fit}"


def without_figures(text: str) -> str:
    """The page without what differs from one machine to the next: our figures and the machine's line."""
    found = []
    for line in text.splitlines():
        cells = line.split(" | ")
        if line.startswith("Figures of `flow`:"):
            continue
        found.append(" | ".join([*cells[: FIGURES - 1], "", *cells[FIGURES:]]) if len(cells) == 4 else line)
    return "\n".join(found)
