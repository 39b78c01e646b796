"""A run of the suites as one self-contained HTML page: plots, and every row in a table beneath.

Plotly's script is in the page, which asks the network for nothing (its own content policy forbids it).
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from html import escape
from math import isfinite, log
from pathlib import Path
from typing import Any

from flow_bench.harness.rows import BELOW, Identity, Row, number, percentile, share
from flow_bench.report import plots
from flow_bench.report.changes import summary
from flow_bench.report.draw import DARK, SYMBOLS, figure, marker
from flow_bench.report.plots import Group, Plot, parted, shown
from flow_bench.report.tables import PERCENTILES, SUITES, TITLES
from flow_bench.session.compare import Change, Comparison, compare

TEMPLATE = Path(__file__).with_name("page.html")
READING = """
Figures are medians over rounds; the <b>spread</b> is the interquartile range over the median. A <b>ratio</b> is taken
within each round, to the baseline of its section (1.00x) or, where there is none, to a calibration loop that stands
beside every round: hand-written counters over 100 nodes that do nothing. Ratios bear a busy machine, and the move to
another one, far better than times do. Every row was checked for having done its work. Targets are upper limits, of the
ratio where they end in "x".
"""
SHAPES = {
    "circle": '<circle cx="11" cy="7" r="4.5"/>', "square": '<path d="M7 3h8v8H7z"/>',
    "diamond": '<path d="M11 1.5 16.5 7 11 12.5 5.500 7z"/>', "triangle-up": '<path d="M11 2l5 9H6z"/>',
    "x": '<path d="M7 3l8 8M15 3l-8 8" stroke-width="3"/>', "cross": '<path d="M11 2v10M6 7h10" stroke-width="3"/>',
    "star": '<path d="M11 1l1.800 4 4.200.4-3.200 2.800 1 4.300L11 10.300 7.200 12.500l1-4.300L5 5.400 9.200 5z"/>',
    "hexagon": '<path d="M8.500 2.500h5L16 7l-2.500 4.500h-5L6 7z"/>',
}  # fmt: skip

PERCENTS = ("efficiency", "schedule", "of_real")
"""Figures that are parts of 1."""
MOST_CHANGES = 20
"""That are drawn."""

Changes = Mapping[Identity, Change] | None
"""The rows' changes, if the page compares two runs."""


def write(document: dict[str, Any], path: Path, baseline: dict[str, Any] | None = None) -> None:
    """Write the page.

    :param document: what :meth:`flow_bench.session.passes.Session.document` returns.
    :param baseline: an earlier document; every row that it has too then shows its change.
    :raises ModuleNotFoundError: without plotly, saying how to get it.
    :raises OSError: if the file cannot be written.
    """
    path.write_text(page(document, baseline), encoding="utf-8")


def page(document: dict[str, Any], baseline: dict[str, Any] | None = None) -> str:
    """Return the whole page as text, about 5 MB, nearly all of it plotly's script."""
    figure()  # says what is missing before any work is done
    rows = [Row.from_dict(found) for found in document["rows"]]
    found = compare(baseline, document) if baseline else None
    changed = {change.identity: change for change in found.changes} if found else None
    suites = parted(rows, lambda row: row.suite)
    sections = "".join(suite_section(suite, mine, changed) for suite, mine in suites.items())
    first = changes_section(found, baseline["name"]) if baseline and found else ""
    main = f"<main>{first}{misses(rows)}{sections}</main>"
    body = f"{header(document, baseline, rows)}{navigation(suites)}{main}{FOOTER}"
    parts = {
        "title": f"flow benchmark: {escape(document['name'])}", "body": body,
        "plotly": importlib.import_module("plotly.offline").get_plotlyjs(), "colours": json.dumps(DARK),
    }  # fmt: skip
    template = TEMPLATE.read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)  # once: nothing is looked for in the parts


FOOTER = "<footer><p>Plots by plotly, without network. Names in a legend hide and show their curves.</p></footer>"


# -- top of the page -------------------------------------------------------------------------


def header(document: dict[str, Any], baseline: dict[str, Any] | None, rows: Sequence[Row]) -> str:
    """The name, machine facts, how to read the page, and its sums."""
    compared = ""
    if baseline:
        facts = baseline.get("machine", {})
        told = ", ".join(str(facts[key]) for key in ("date", "commit", "python") if facts.get(key))
        compared = f"<p>Compared with <b>{escape(baseline['name'])}</b>"
        compared += f" ({escape(told)}).</p>" if told else ".</p>"
    facts = "<br>".join(escape(line) for line in machine_lines(document))
    faults = "".join(
        f"<li>{escape(suite)}: {escape(str(fault))}</li>" for suite, fault in document.get("faults", {}).items()
    )
    faults = f'<ul class="missing">{faults}</ul>' if faults else ""
    return (
        f'<header><h1>flow benchmark: {escape(document["name"])}</h1><p class="soft">{facts}</p>{compared}'
        f"<details><summary>How to read the figures</summary><p>{READING}</p></details>"
        f"{strip(rows, document)}{faults}</header>"
    )


def machine_lines(document: dict[str, Any]) -> Iterator[str]:
    """Machine facts, in lines."""
    facts = document.get("machine", {})
    libraries = [f"{name} {version}" for name, version in facts.get("libraries", {}).items()]
    flow = f"flow {facts.get('flow', '?')}" + (f" at {facts['commit']}" if facts.get("commit") else "")
    yield ", ".join([str(facts.get("python", "")), flow, *libraries])
    load = " ".join(f"{value:.2f}" for value in facts.get("load", []))
    yield f"{facts.get('cpu', '')}, {facts.get('cores', '?')} cores, {facts.get('system', '')}, load average {load}"
    passes = document.get("passes")
    settings = document.get("settings", {})
    told = [str(facts.get("date", "")), f"{passes} passes, each in fresh processes" if passes else ""]
    told.append("quick: few rounds" if settings.get("quick") else "")
    if any(told):
        yield ", ".join(filter(None, told))


def strip(rows: Sequence[Row], document: dict[str, Any]) -> str:
    """Sums of the whole run."""
    judged = [row for row in rows if row.verdict]
    met = sum(row.verdict.upper() == "PASS" for row in judged)
    missing = sum(row.figure is None for row in rows)
    faults = [str(fault) for fault in document.get("faults", {}).values()]
    absent = sum(fault.startswith("n/a: ") for fault in faults)
    refused = len(faults) - absent
    cells = [
        ("good" if met == len(judged) else "bad", f"{met} of {len(judged)}", "targets met"),
        ("", f"{len(rows):,}", "rows"),
        ("", f"{len(dict.fromkeys(row.suite for row in rows))}", "suites"),
        ("bad" if refused else "good", f"{refused}", "suites refused: work not done"),
        ("", f"{missing + absent}", "not available here"),
    ]
    return '<ul class="strip">' + "".join(f'<li class="{c}"><b>{n}</b>{what}</li>' for c, n, what in cells) + "</ul>"


def navigation(suites: dict[str, list[Row]]) -> str:
    """Links to the suites."""
    links = "".join(f'<li><a href="#{escape(suite)}">{escape(suite)}</a></li>' for suite in suites)
    return f'<nav aria-label="suites"><ul>{links}</ul></nav>'


def misses(rows: Sequence[Row]) -> str:
    """The rows that miss a target that binds here."""
    missed = [row for row in rows if row.verdict == "MISS"]
    if not missed:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{escape(row.label.strip())}</th><td class="text">{escape(where(row))}</td>'
        f'<td class="bad">{escape(judged(row))}</td><td>{escape(str(row.target))}</td></tr>'
        for row in missed
    )
    head = '<tr><th>row</th><th class="text">where</th><th>measured</th><th>target</th></tr>'
    return (
        f'<section><h2 id="missed">Targets missed</h2><article><div class="table" tabindex="0">'
        f"<table><thead>{head}</thead><tbody>{lines}</tbody></table></div></article></section>"
    )


def where(row: Row) -> str:
    """Suite, section, size and series of a row."""
    size = f"{row.nodes:,} {plots.size_word(row)}" if row.nodes else ""
    return ", ".join(filter(None, [row.suite, title_of(row), size, row.topology]))


def judged(row: Row) -> str:
    """What the target judges."""
    return f"{row.ratio:.2f}x" if row.target is not None and row.target.of == "ratio" and row.ratio else shown(row)


# -- sections --------------------------------------------------------------------------------


def title_of(row: Row) -> str:
    """The section, as a heading says it."""
    return TITLES.get(row.section, row.section)


def suite_section(suite: str, rows: Sequence[Row], changed: Changes) -> str:
    """All sections of a suite under one heading."""
    said = f'<p class="soft">{escape(SUITES[suite])}</p>' if suite in SUITES else ""
    articles = "".join(article(mine, changed) for mine in parted(rows, lambda row: row.section).values())
    return f'<section><h2 id="{escape(suite)}">{escape(suite)}</h2>{said}{articles}</section>'


def article(rows: Sequence[Row], changed: Changes) -> str:
    """A section: its plots, what is missing in it, and its table."""
    found = plots.groups(rows)
    title = title_of(rows[0])
    drawn = "".join(group_of(title, group) for group in found)
    drawn = f'<div class="figures">{drawn}</div>' if drawn else ""
    missing = "".join(f"<li>{line}</li>" for line in missing_lines(rows))
    missing = f'<ul class="missing">{missing}</ul>' if missing else ""
    name = f'tabindex="0" role="region" aria-label="{escape(title)}"'
    full = f'<div class="table" {name}>{table(rows, changed)}</div>'
    if found:
        full = f"<details><summary>All {len(rows)} rows</summary>{full}</details>"
    return f"<article><h3>{escape(title)}</h3>{drawn}{missing}{full}</article>\n"


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
    panels = "".join(panel(title, plot) for plot in group.plots)
    legend = "".join(legend_button(name, style) for name, style in group.legend) if len(group.legend) > 1 else ""
    legend = f'<div class="legend">{legend}</div>' if legend else ""
    one = ' class="one"' if len(group.plots) == 1 else ""
    caption = f"<figcaption>{escape(group.caption)}</figcaption>"
    return f'<figure{one}>{caption}{legend}<div class="panels">{panels}</div></figure>'


def panel(title: str, plot: Plot) -> str:
    """One plot: a place to draw it in, and its data."""
    heading = f"<h4>{escape(plot.title)}</h4>" if plot.title else ""
    said = escape(": ".join(filter(None, [title, plot.title, plot.says])))
    found = json.dumps(plot.figure.to_plotly_json(), separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")
    return (
        f'<div>{heading}<div class="plot" role="img" aria-label="{said}" style="height:{plot.figure.layout.height}px">'
        f'</div><script type="application/json">{found}</script></div>'
    )


def legend_button(name: str, style: int) -> str:
    """A button that hides and shows the series of this name."""
    look = marker(style)
    dash = ' stroke-dasharray="4 3"' if style >= len(SYMBOLS) else ""
    sign = (
        f'<svg width="22" height="14" aria-hidden="true" data-colour="{look["color"]}" fill="currentColor" '
        f'stroke="currentColor"><path d="M0 7h22" stroke-width="2"{dash}/>{SHAPES[look["symbol"]]}</svg>'
    )
    text = escape(name)
    return f'<button type="button" aria-pressed="true" data-name="{text}">{sign}<span>{text}</span></button>'


# -- tables ----------------------------------------------------------------------------------

Column = tuple[str, Callable[[Row], str], str]
"""Heading, text of a row's cell, class of the cell."""


def table(rows: Sequence[Row], changed: Changes) -> str:
    """Every row of a section; columns in which no row has anything are left out."""
    columns = [column for column in _columns(rows, changed) if any(column[1](row) for row in rows)]
    head = "".join(f'<th scope="col" class="{kind}">{escape(name)}</th>' for name, _, kind in columns)
    lines = []
    for row in rows:
        cells = "".join(
            f'<td class="{_class(kind, row, changed)}">{escape(text(row))}</td>' for _, text, kind in columns
        )
        lines.append(f'<tr><th scope="row">{escape(row.label.strip())}</th>{cells}</tr>')
    return f'<table><thead><tr><th scope="col">what</th>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _columns(rows: Sequence[Row], changed: Changes) -> Iterator[Column]:
    yield plots.size_word(rows[0]), lambda row: f"{row.nodes:,}" if row.nodes else "", ""
    yield "series", lambda row: row.topology, "text"
    yield "median", shown, ""
    if changed is not None:
        yield "times what it was", lambda row: _change_text(changed.get(row.identity)), "change"
    yield "spread", lambda row: f"{row.spread:.0%}" if row.spread is not None else "", ""
    yield "ratio", lambda row: f"{row.ratio:,.2f}x" if row.ratio is not None else "", ""
    for name, percent in PERCENTILES.items():
        yield name.upper(), partial(_percentile, name=name, percent=percent), ""
    for name in dict.fromkeys(name for row in rows for name in row.figures if name not in PERCENTILES):
        yield name.replace("_", " "), partial(_extra, name=name), ""
    yield "rounds", lambda row: f"{len(row.samples):,}" if row.samples else "", ""
    yield "target", lambda row: str(row.target or ""), ""
    yield "", lambda row: row.verdict, "verdict"
    yield "note", lambda row: row.note, "text"


def _percentile(row: Row, name: str, percent: float) -> str:
    if name in row.figures:
        return number(row.figures[name])
    return number(percentile(row.samples, percent)) if row.each and row.samples else ""


def _extra(row: Row, name: str) -> str:
    value = row.figures.get(name)
    if value is None or not isfinite(value):
        return ""
    if name == BELOW:
        return share(value)
    return f"{value:.0%}" if name in PERCENTS else number(value)


def _class(kind: str, row: Row, changed: Changes) -> str:
    if kind == "verdict":
        return {"PASS": "good", "MISS": "bad"}.get(row.verdict, "")
    change = changed.get(row.identity) if changed and kind == "change" else None
    return {"slower": "bad", "faster": "good", "same": ""}[change.verdict] if change else kind


# -- changes ---------------------------------------------------------------------------------


def changes_section(found: Comparison, name: str) -> str:
    """What is slower or faster, and how many rows are not."""
    differing = sorted(found.of("slower") + found.of("faster"), key=lambda change: -abs(log(change.ratio)))
    drawn = group_of("changes", plots.changes(differing[:MOST_CHANGES], words)) if differing else ""
    rest = f"<p>The {MOST_CHANGES} largest; the tables have all.</p>" if len(differing) > MOST_CHANGES else ""
    machines = f"<p>Two machines: {escape('; '.join(found.machines))}.</p>" if found.machines else ""
    return (
        f'<section><h2 id="changes">Changes since {escape(name)}</h2><article><p>{escape(summary(found))}.</p>'
        f'{machines}<div class="figures">{drawn}</div>{rest}</article></section>'
    )


def words(change: Change) -> str:
    """The name of the row that changed."""
    suite, section, label, nodes, topology = change.identity
    section = TITLES.get(section, section)
    return ", ".join(filter(None, [f"{suite}: {label.strip()}", f"{nodes:,}" if nodes else "", topology, section]))


def _change_text(change: Change | None) -> str:
    if change is None:
        return "not compared"
    return f"{change.ratio:.2f}x ({change.low:.2f} to {change.high:.2f})" + (
        f" {change.verdict}" if change.verdict != "same" else ""
    )
