"""Rows as tables of plain text, and what became of their targets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from flow_bench.harness.rows import BELOW, Row, number, percentile, share

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
    "spec": "workflow files: loading them, their expressions and their maps, beside PyYAML and Python",
    "durable": "durable runs: what a store adds, beside no store, SQL by hand, DBOS and LangGraph; loading, listing",
    "api": "the service over HTTP: requests/s and latencies, beside bare ASGI, FastAPI and Litestar; its memory",
    "ai": "nodes that ask a model: what they add to the bare call, beside LangGraph and pydantic-ai; limits, imports",
    "experiments": "changes that might make runs faster: docs/experiments.md says what came of them",
}
"""Every suite, in words."""
PERCENTILES = {"p50": 50, "p95": 95, "p99": 99}
SHARES = ("efficiency", BELOW)
PERCENTS = ("efficiency", "schedule", "of_real")
"""Figures that are parts of 1."""
COLUMNS = ("efficiency", *PERCENTILES, BELOW)
"""Figures that have a column of their own; others follow the row as ``name value``."""
HEADINGS = {BELOW: "below 1 ms"}


def title_of(row: Row) -> str:
    """The section, as a heading says it."""
    return TITLES.get(row.section, row.section)


def table(rows: Sequence[Row]) -> str:
    """The rows of one section as a table: topologies (or other series) across, or one figure per line."""
    return _across(rows) if any(row.topology for row in rows) else _lines(rows)


def _across(rows: Sequence[Row]) -> str:
    """One line per label and size, one column per series."""
    series = list(dict.fromkeys(row.topology for row in rows))
    sizes = list(dict.fromkeys(row.nodes for row in rows))
    units = {row.unit for row in rows} - {"x"}
    several, figures = len(sizes) > 1, _figures_of(rows)
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
    title = f"{title_of(rows[0])}{of}{unit}" + (ratio if any(row.ratios for row in rows) else "")
    header = ["", *(["size"] if several else []), *series, *_headings(figures), "spread", "target", ""]
    return "\n".join([title, _grid(header, body), *_reasons(rows)])


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
    missed = [row for row in rows if row.verdict in ("MISS", "miss")]
    if not missed:
        return next((row.verdict for row in rows if row.verdict), "")
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
    return f"{title_of(rows[0])}\n{_grid(header, body)}"


def _figures_of(rows: Sequence[Row]) -> list[str]:
    """The columns that any of these rows has."""
    return [name for name in COLUMNS if any(figure(row, name) is not None for row in rows)]


def _headings(figures: Sequence[str]) -> list[str]:
    return [HEADINGS.get(name, name) for name in figures]


def _shown_figure(rows: Sequence[Row], name: str) -> str:
    """A row's figure by name; of several rows, the worst."""
    values = [value for row in rows if (value := figure(row, name)) is not None]
    if not values:
        return ""
    return said(name, min(values) if name in SHARES else max(values))


def figure(row: Row, name: str) -> float | None:
    """A figure by name; percentiles are also taken from samples that are single calls."""
    if name in PERCENTILES and name not in row.figures and row.each and row.samples:
        return percentile(row.samples, PERCENTILES[name])
    return row.figures.get(name)


def said(name: str, value: float) -> str:
    """A figure as it is written, by its name."""
    return share(value) if name == BELOW else f"{value:.0%}" if name in PERCENTS else number(value)


def _note(row: Row) -> str:
    others = [f"{name} {number(value)}" for name, value in row.figures.items() if name not in COLUMNS]
    return ", ".join([*others, *filter(None, [row.note])])


def _grid(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """Columns as wide as needed; labels, targets and notes to the left, figures to the right."""
    rows = [header, *body]
    widths = [max(len(row[k]) for row in rows) for k in range(len(header))]
    left = {0, *range(header.index("spread") + 1, len(header))}
    fit = [str.ljust if k in left else str.rjust for k in range(len(header))]
    lines = ([to(cell, width) for to, cell, width in zip(fit, row, widths, strict=True)] for row in rows)
    return "\n".join("  ".join(line).rstrip() for line in lines)


class Verdicts(NamedTuple):
    """The rows that have a target: ``unjudged`` are those whose target does not bind here, or that have no figure."""

    missed: list[Row]
    unjudged: list[Row]
    met: list[Row]

    @property
    def headline(self) -> str:
        """``1 missed, 24 not judged here, 92 met``."""
        if not any(self):
            return "no figure here has a target"
        return f"{len(self.missed)} missed, {len(self.unjudged)} not judged here, {len(self.met)} met"


def verdicts(rows: Iterable[Row]) -> Verdicts:
    """Sort the rows that have a target by what became of it. O(rows)."""
    found = Verdicts([], [], [])
    for row in rows:
        if row.target is not None:
            {"MISS": found.missed, "PASS": found.met}.get(row.verdict, found.unjudged).append(row)
    return found


def judged(row: Row) -> str:
    """What the target judges: the ratio or the figure, in its unit; ``n/a`` if there is none.

    A figure that would read like the limit that it misses has two digits more.
    """
    by_ratio = row.target is not None and row.target.of == "ratio"
    value = row.ratio if by_ratio else row.figure
    if value is None:
        return "n/a"
    text = number(value)
    if row.target is not None and text == number(row.target.at_most) and not row.target.is_met(value):
        text = f"{value:,.{len(text.partition('.')[2]) + 2}f}"
    return f"{text}{'x' if by_ratio or row.unit == 'x' else ' ' + row.unit}"


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
    return f"[{row.suite}] " + ", ".join(filter(None, [title_of(row), row.label.strip(), size, row.topology]))


def tables(rows: Iterable[Mapping[str, Any]]) -> str:
    """One table per section."""
    sections: dict[tuple[str, str], list[Row]] = {}
    for found in rows:
        row = Row.from_dict(dict(found))
        sections.setdefault((row.suite, row.section), []).append(row)
    return "\n\n".join(f"[{suite}] {table(section)}" for (suite, _), section in sections.items())
