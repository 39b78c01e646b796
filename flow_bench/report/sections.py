"""Sections of the HTML report: plots, what is missing, and every row in a table beneath."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from html import escape
from math import isfinite

from flow_bench.harness.rows import Identity, Row
from flow_bench.report import plots
from flow_bench.report.draw import COLOURS, colour, mark_of
from flow_bench.report.plots import Group, Plot, parted, shown
from flow_bench.report.tables import PERCENTILES, figure, said, title_of
from flow_bench.session.compare import Change

LISTED = 3
"""Articles of a section that need no list of them."""

Changes = Mapping[Identity, Change] | None
"""The rows' changes, if the page compares two runs."""


def section(name: str, says: str, rows: Sequence[Row], changed: Changes, more: Sequence[tuple[str, str]] = ()) -> str:
    """Articles under one heading, an article for each section of the rows; with a list of them if they are many.

    :param name: the heading, and the anchor.
    :param more: titles and contents of further articles.
    """
    anchor = escape(name.replace(" ", "-"))
    suites = {row.suite for row in rows} | ({"", " "} if more else set())
    found: list[tuple[str, str]] = []
    for (suite, _), mine in parted(rows, lambda row: (row.suite, row.section)).items():
        tag = f" ({suite})" if len(suites) > 1 else ""
        found.append((title_of(mine[0]) + tag, content(mine, changed)))
    found += more
    articles = "".join(
        f'<article id="{anchor}-{k}"><h3>{escape(title)}</h3>{text}</article>\n'
        for k, (title, text) in enumerate(found)
    )
    links = "".join(f'<li><a href="#{anchor}-{k}">{escape(title)}</a></li>' for k, (title, _) in enumerate(found))
    listed = f"<details><summary>{len(found)} sections</summary><ul>{links}</ul></details>"
    listed = listed if len(found) > LISTED else ""
    said = f'<p class="soft">{escape(says)}</p>' if says else ""
    return f'<section><h2 id="{anchor}">{escape(name)}</h2>{said}{listed}{articles}</section>'


def content(rows: Sequence[Row], changed: Changes) -> str:
    """A section of rows: its plots, what is missing in it, and its table."""
    title = title_of(rows[0])
    found = plots.groups(rows)
    drawn = "".join(group_of(title, group) for group in found)
    missing = "".join(f"<li>{line}</li>" for line in missing_lines(rows))
    missing = f'<ul class="missing">{missing}</ul>' if missing else ""
    columns = list(_columns(rows, changed))
    return _figures(drawn) + missing + _table_of(title, rows, columns, changed, closed=bool(found))


def allocations(suite: str, rows: Sequence[Row]) -> tuple[str, str]:
    """Title and content of what the operations of one suite allocate."""
    title = f"bytes and blocks per operation ({suite})"
    drawn = group_of(title, plots.allocations(rows)) if len(rows) > 1 else ""
    columns: list[Column] = [("of", title_of, "text"), *_size_columns(rows)]
    columns += [(name, partial(_figure, name=name), "") for name in ("bytes", "blocks")]
    return title, _figures(drawn) + _table_of(title, rows, columns, None, closed=bool(drawn))


def _figures(drawn: str) -> str:
    return f'<div class="figures">{drawn}</div>' if drawn else ""


def missing_lines(rows: Sequence[Row]) -> Iterator[str]:
    """Why rows have no figure; one line for all series and sizes of the same reason."""
    absent = [row for row in rows if row.figure is None]
    for (label, note), mine in parted(absent, lambda row: (row.label.strip(), row.note)).items():
        series = ", ".join(dict.fromkeys(row.topology for row in mine if row.topology))
        every = len(mine) == sum(row.label.strip() == label for row in rows)
        only = f" ({escape(series)})" if series and not every else ""
        yield f"<b>{escape(label)}</b>{only}: {escape(note or 'no figure')}"


def group_of(title: str, group: Group) -> str:
    """Plots beside each other, with their legend and caption."""
    panels = "".join(_panel(title, plot) for plot in group.plots)
    legend = "".join(_button(name, style) for name, style in group.legend) if len(group.legend) > 1 else ""
    legend = f'<div class="legend">{legend}</div>' if legend else ""
    one = ' class="one"' if len(group.plots) == 1 else ""
    caption = f"<figcaption>{escape(group.caption)}</figcaption>"
    return f'<figure{one}>{caption}{legend}<div class="panels">{panels}</div></figure>'


def _panel(title: str, plot: Plot) -> str:
    """One plot, with what it shows in words."""
    heading = f"<h4>{escape(plot.title)}</h4>" if plot.title else ""
    said = escape(": ".join(filter(None, [title, plot.title, plot.says])))
    return f'<div>{heading}<div class="plot" role="img" aria-label="{said}">{plot.drawn}</div></div>'


def _button(name: str, style: int) -> str:
    """A button that hides and shows the series of this number."""
    dash = ' class="dashed"' if style >= COLOURS else ""
    sign = f'<path d="M0 7h22"{dash}/><use href="#mark-{mark_of(style)}" x="11" y="7"/></svg>'
    sign = f'<svg width="22" height="14" aria-hidden="true" class="{colour(style)}">{sign}<span>{escape(name)}</span>'
    return f'<button type="button" aria-pressed="true" data-series="s{style}">{sign}</button>'


Column = tuple[str, Callable[[Row], str], str]
"""Heading, text of a row's cell, class of the cell."""


def _table_of(title: str, rows: Sequence[Row], columns: Sequence[Column], changed: Changes, *, closed: bool) -> str:
    """A table that scrolls by itself; closed, where a plot shows most of it."""
    name = f'tabindex="0" role="region" aria-label="{escape(title)}"'
    full = f'<div class="table" {name}>{table(rows, columns, changed)}</div>'
    rest = f"All {len(rows)} rows" if len(rows) > 1 else "The row"
    return f"<details><summary>{rest}</summary>{full}</details>" if closed else full


def table(rows: Sequence[Row], columns: Sequence[Column], changed: Changes) -> str:
    """Every row of a section; columns in which no row has anything are left out."""
    columns = [column for column in columns if any(column[1](row) for row in rows)]
    head = "".join(f'<th scope="col"{_classed(kind)}>{escape(name)}</th>' for name, _, kind in columns)
    lines = []
    for row in rows:
        made = [f"<td{_classed(_class(kind, row, changed))}>{escape(text(row))}</td>" for _, text, kind in columns]
        cells = "".join(made)
        lines.append(f'<tr><th scope="row">{escape(row.label.strip())}</th>{cells}</tr>')
    return f'<table><thead><tr><th scope="col">what</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _size_columns(rows: Sequence[Row]) -> Iterator[Column]:
    yield plots.size_word(rows[0]), lambda row: f"{row.nodes:,}" if row.nodes else "", ""
    yield "series", lambda row: row.topology, "text"


def _columns(rows: Sequence[Row], changed: Changes) -> Iterator[Column]:
    yield from _size_columns(rows)
    yield "median", shown, ""
    if changed is not None:
        yield "times what it was", lambda row: _change_text(changed.get(row.identity)), "change"
    yield "spread", lambda row: f"{row.spread:.0%}" if row.spread is not None else "", ""
    yield "ratio", lambda row: f"{row.ratio:,.2f}x" if row.ratio is not None else "", ""
    for name in PERCENTILES:
        yield name.upper(), partial(_figure, name=name), ""
    for name in dict.fromkeys(name for row in rows for name in row.figures if name not in PERCENTILES):
        yield name.replace("_", " "), partial(_figure, name=name), ""
    yield "rounds", lambda row: f"{len(row.samples):,}" if row.samples else "", ""
    yield "target", lambda row: str(row.target or ""), ""
    yield "", lambda row: row.verdict, "verdict"
    yield "note", lambda row: row.note, "text"


def _figure(row: Row, name: str) -> str:
    value = figure(row, name)
    return "" if value is None or not isfinite(value) else said(name, value)


def _change_text(change: Change | None) -> str:
    if change is None:
        return "not compared"
    verdict = f" {change.verdict}" if change.verdict != "same" else ""
    return f"{change.ratio:.2f}x ({change.low:.2f} to {change.high:.2f}){verdict}"


def _class(kind: str, row: Row, changed: Changes) -> str:
    if kind == "verdict":
        return {"PASS": "good", "MISS": "bad"}.get(row.verdict, "")
    change = changed.get(row.identity) if changed and kind == "change" else None
    return {"slower": "bad", "faster": "good", "same": ""}[change.verdict] if change else kind


def _classed(kind: str) -> str:
    return f' class="{kind}"' if kind else ""
