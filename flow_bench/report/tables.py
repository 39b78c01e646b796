"""Rows as tables of plain text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from flow_bench.harness.rows import BELOW, Row, number, percentile, share
from flow_bench.report.verdicts import judged, verdicts

TITLES = {
    "sync": "sync, no event loop",
    "async": "async on asyncio",
    "trio": "async on trio",
    "uvloop": "async on uvloop",
    "build": "build and compile",
    "peers sync": "one run, sync nodes",
    "peers async": "one run, async nodes",
    "peers build": "from functions to something that can be run",
    "peers import": "resident memory of a process that imported it",
}
SUITES = {
    "core": "what running a graph costs per node, beside hand-written loops",
    "dag": "building, compiling and resolving graphs; statuses",
    "allocation": "an arena beside Python's allocator, interning, room made beforehand",
    "data": "the store: operations, presets, threads, memory and interning strategies",
    "node": "single nodes of every kind, call by call: mean, P50, P95, P99",
    "workflow": "whole workflows, one and thousands at once; failures; memory over time",
    "concurrency": "unbounded and bounded runs beside the ideal",
    "context": "children of a Context, maps over items, outputs freed after their last reader",
    "scenarios": "four everyday workflows with simulated waits",
    "traces": "real workflow traces, as no-ops and replayed",
    "memory": "bytes per node built, compiled and run; importing flow",
    "peers": "the same graphs in other libraries",
    "scale": "100,000 and 1,000,000 nodes: seconds, ratios, memory",
    "adaptive": "limit='auto' beside fixed limits, where a backend degrades and where nothing waits",
    "tune": "what flow.tune finds on five given workloads, as a share of the default",
    "experiments": "changes that might make runs faster: docs/experiments.md says what came of them",
}
"""Every suite, in words."""
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99}
SHARES = ("efficiency", BELOW)
COLUMNS = ("efficiency", *PERCENTILES, BELOW)
"""Figures that have a column of their own; others follow the row as ``name value``."""
HEADINGS = {BELOW: "below 1 ms"}


# -- tables ----------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> str:
    """The rows of one section as a table: topologies (or other series) across, or one figure per line."""
    return _across(rows) if any(row.topology for row in rows) else _lines(rows)


def _across(rows: Sequence[Row]) -> str:
    """One line per label and size, one column per series."""
    series = list(dict.fromkeys(row.topology for row in rows))
    sizes = list(dict.fromkeys(row.nodes for row in rows))
    units = {row.unit for row in rows} - {"x"}
    several = len(sizes) > 1
    figures = _figures_of(rows)
    header = ["", *(["size"] if several else []), *series, *_headings(figures), "spread", "target", ""]
    body = []
    for label, size in dict.fromkeys((row.label, row.nodes) for row in rows):
        mine = [row for row in rows if (row.label, row.nodes) == (label, size)]
        cells = {row.topology: _cell(row, with_unit=len(units) > 1) for row in mine}
        spread = max((row.spread for row in mine if row.spread is not None), default=None)
        target = next((str(row.target) for row in mine if row.target is not None), "")
        body.append([
            label, *([f"{size:,}"] if several else []), *(cells.get(name, "") for name in series),
            *(_shown_figure(mine, name) for name in figures), "" if spread is None else f"{spread:.0%}", target,
            _verdict(mine),
        ])  # fmt: skip
    of = "" if several or not sizes[0] else f", {sizes[0]:,} nodes"
    unit = f": {next(iter(units))}{' per node' if rows[0].section in TITLES else ''}" if len(units) == 1 else ":"
    base = next((row.label for row in rows if len(row.ratios) > 1 and set(row.ratios) == {1.0}), "")
    ratio = ", ratio to " + (f"baseline ({base!r})" if base else "the calibration loop")
    title = f"{TITLES.get(rows[0].section, rows[0].section)}{of}{unit}"
    text = title + (ratio if any(row.ratios for row in rows) else "") + "\n" + _grid(header, body)
    return "\n".join([text, *_reasons(rows)])


def _reasons(rows: Sequence[Row]) -> list[str]:
    """Why cells have no figure, and what a ratio is to, each once per label."""
    found: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.note and (row.unit == "x" or row.figure is None):
            found.setdefault((row.label.strip(), row.note), []).append(row.topology)
    return [f"{label}, {', '.join(series)}: {note}" for (label, note), series in found.items()]


def _cell(row: Row, *, with_unit: bool) -> str:
    if row.figure is None:
        return row.note.partition(":")[0]  # the reason is told below the table
    if row.unit == "x":
        return f"{number(row.figure)}x"
    ratio = "" if row.ratio is None else f" {row.ratio:5.2f}x" if row.ratio < 100 else f" {row.ratio:5,.0f}x"
    return f"{number(row.figure)}{' ' + row.unit if with_unit else ''}{ratio}"


def _verdict(rows: Sequence[Row]) -> str:
    """One word for all topologies; where it is missed, which."""
    verdicts = [row.verdict for row in rows if row.verdict]
    if not verdicts:
        return ""
    missed = [row for row in rows if row.verdict in ("MISS", "miss")]
    if not missed:
        return verdicts[0]
    return f"{missed[0].verdict}: {', '.join(row.topology for row in missed)}"


def _lines(rows: Sequence[Row]) -> str:
    """One line per row."""
    sizes = {row.nodes for row in rows}
    several = len(sizes) > 1 and len({row.label for row in rows}) < len(rows)
    figures = _figures_of(rows)
    header = ["", *(["size"] if several else []), "median", "ratio", *_headings(figures), "spread", "target", "", ""]
    body = []
    for row in rows:
        value = "" if row.figure is None else f"{number(row.figure)} {row.unit}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
        spread = f"{row.spread:.0%}" if row.spread is not None else ""
        body.append([
            row.label, *([f"{row.nodes:,}"] if several else []), value, ratio,
            *(_shown_figure([row], name) for name in figures), spread, str(row.target or ""), row.verdict, _note(row),
        ])  # fmt: skip
    return f"{TITLES.get(rows[0].section, rows[0].section)}\n" + _grid(header, body)


def _figures_of(rows: Sequence[Row]) -> list[str]:
    """The columns that any of these rows has."""
    found = {name for row in rows for name in row.figures}
    if any(row.each for row in rows):
        found |= PERCENTILES.keys()
    return [name for name in COLUMNS if name in found]


def _headings(figures: Sequence[str]) -> list[str]:
    return [HEADINGS.get(name, name) for name in figures]


def _shown_figure(rows: Sequence[Row], name: str) -> str:
    """A row's figure by name; of several rows, the worst."""
    values = [value for row in rows if (value := _figure(row, name)) is not None]
    if not values:
        return ""
    if name == BELOW:
        return share(min(values))
    return f"{min(values):.0%}" if name == "efficiency" else number(max(values))


def _figure(row: Row, name: str) -> float | None:
    if name in row.figures or name in SHARES:
        return row.figures.get(name)
    return percentile(row.samples, PERCENTILES[name]) if row.each and row.samples else None


def _note(row: Row) -> str:
    others = [f"{name} {number(value)}" for name, value in row.figures.items() if name not in COLUMNS]
    return ", ".join([*others, *filter(None, [row.note])])


def _grid(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Columns as wide as needed; labels, targets and notes to the left, figures to the right."""
    rows = [header, *body]
    widths = [max(len(row[k]) for row in rows) for k in range(len(header))]
    left = {0, *range(header.index("spread") + 1, len(header))}
    lines = []
    for row in rows:
        columns = enumerate(zip(row, widths, strict=True))
        cells = [cell.ljust(width) if k in left else cell.rjust(width) for k, (cell, width) in columns]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def summary(rows: Sequence[Row]) -> str:
    """What became of the targets: how many are missed and how many not judged here, then each that is missed."""
    found = verdicts(rows)
    missed = [[f"  MISS {where(row)}", judged(row), f"target {row.target}"] for row in found.missed]
    widths = [max(map(len, column)) for column in zip(*missed, strict=True)]
    lines = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in missed]
    small = " (small letters: a target that does not bind here)" if any(r.verdict for r in found.unjudged) else ""
    return "\n".join([found.headline + small, *lines])


def where(row: Row) -> str:
    """Suite, section, label, size and series of a row."""
    size = f"{row.nodes:,}" if row.nodes else ""
    named = [TITLES.get(row.section, row.section), row.label.strip(), size, row.topology]
    return f"[{row.suite}] " + ", ".join(filter(None, named))


def tables(rows: Iterable[Mapping[str, Any]]) -> str:
    """One table per section."""
    sections: dict[tuple[str, str], list[Row]] = {}
    for found in rows:
        row = Row.from_dict(dict(found))
        sections.setdefault((row.suite, row.section), []).append(row)
    return "\n\n".join(f"[{suite}] {table(section)}" for (suite, _), section in sections.items())
