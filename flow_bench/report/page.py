"""A run of the suites as one self-contained HTML page: what failed, plots, and every row in a table beneath.

The page asks the network for nothing (its own content policy forbids it), and its plots need no script: a small one
shows figures beside the pointer and lets legends hide their series.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import log
from pathlib import Path
from typing import Any

from flow_bench.harness.rows import Row
from flow_bench.report import plots, sections
from flow_bench.report.changes import summary
from flow_bench.report.plots import PEERS, by_size, parted, size_word
from flow_bench.report.sections import Changes
from flow_bench.report.tables import SUITES, TITLES, judged, title_of, verdicts
from flow_bench.session.compare import TIMES, Change, Comparison, compare

PARTS = {
    "peers": "flow beside other libraries: the same graphs of nodes that do nothing, in each of them",
    "scaling": "what time does over the size of a graph",
    "latency": "single calls and single workflows: the median, and the tails P95 and P99",
    "memory": "bytes of nodes, plans and workflows; bytes and blocks that single operations take",
}
"""Of a page, in order; all other rows stay with their suites."""
PERCENTILES = re.compile(r"\bp(50|95|99)\b", re.IGNORECASE)
SIZES = re.compile(r"(bytes|[kMG]B)\b")
TEMPLATE = Path(__file__).with_name("page.html")
MOST_CHANGES = 20
"""That are drawn."""


def write(document: dict[str, Any], path: Path, baseline: dict[str, Any] | None = None) -> None:
    """Write the page.

    :param document: what :meth:`flow_bench.session.passes.Session.document` returns.
    :param baseline: an earlier document; every row that it has too then shows its change.
    :raises OSError: if the file cannot be written.
    """
    path.write_text(page(document, baseline), encoding="utf-8")


def page(document: dict[str, Any], baseline: dict[str, Any] | None = None) -> str:
    """Return the whole page as text: about 0.7 MB for 1,000 rows. O(rows)."""
    rows = [Row.from_dict(found) for found in document["rows"]]
    found = compare(baseline, document) if baseline else None
    changed = {change.identity: change for change in found.changes} if found else None
    anchored = dict(_sections(rows, changed))
    if baseline and found:
        anchored = {"changes": changes_section(found, baseline["name"])} | anchored
    parts = {
        "title": f"flow benchmark: {escape(document['name'])}",
        "headline": headline(rows, document),
        "facts": "<br>".join(escape(line) for line in machine_lines(document)),
        "compared": _compared(baseline) if baseline else "",
        "sums": strip(rows, document),
        "navigation": navigation(anchored),
        "main": "".join(anchored.values()),
    }
    template = TEMPLATE.read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)  # once: nothing is looked for in the parts


def _sections(rows: Sequence[Row], changed: Changes) -> Iterator[tuple[str, str]]:
    """Yield anchors and markup: the parts that a reader looks for, then all that stayed with its suite."""
    parts, suites = divided(rows)
    parts[PEERS].sort(key=lambda row: row.unit not in ("x", *TIMES))  # times first
    parts["latency"].sort(key=lambda row: (not row.each, row.suite != "node"))  # single calls first, of nodes above all
    parts["memory"].sort(key=lambda row: {"memory": 0, "workflow": 1}.get(row.suite, 2))  # nodes, then workflows
    for name, says in PARTS.items():
        operations = allocating(rows) if name == "memory" else {}
        more = [sections.allocations(suite, mine) for suite, mine in operations.items()]
        if parts[name] or more:
            yield name, sections.section(name, says, parts[name], changed, more)
        elif name == PEERS and rows:
            yield name, sections.section(name, "Not measured in this run: --peers and --all do that.", [], None)
    for suite, mine in suites.items():
        yield f"suite-{suite}", sections.section(f"suite {suite}", SUITES.get(suite, ""), mine, changed)


def divided(rows: Iterable[Row]) -> tuple[dict[str, list[Row]], dict[str, list[Row]]]:
    """Return the rows by part, and all others by suite; each row once. O(rows).

    The rows of a section that have the same unit stay together; factors (unit ``x``) stay with the first of them.
    """
    parts: dict[str, list[Row]] = {name: [] for name in PARTS}
    suites: dict[str, list[Row]] = {}
    for (suite, _), section in parted(rows, lambda row: (row.suite, row.section)).items():
        blocks = parted(section, lambda row: row.unit)
        of_unit = {unit: _part(block) for unit, block in blocks.items()}
        measured = [name for unit, name in of_unit.items() if unit != "x"]
        of_unit["x"] = measured[0] if measured else ""
        for row in section:
            name = of_unit[row.unit]
            parts[name].append(row) if name else suites.setdefault(suite, []).append(row)
    return parts, suites


def _part(rows: Sequence[Row]) -> str:
    """The part of rows of one section and unit; empty if they stay with their suite."""
    if rows[0].suite == PEERS:
        return PEERS
    if SIZES.match(rows[0].unit):
        return "memory"
    if any(row.each or PERCENTILES.search(row.label) for row in rows):
        return "latency"
    return "scaling" if by_size(rows) and rows[0].unit in TIMES and size_word(rows[0]) == "nodes" else ""


def allocating(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows that know what one of their operations allocates, by suite. O(rows)."""
    return parted((row for row in rows if {"bytes", "blocks"} <= row.figures.keys()), lambda row: row.suite)


def _compared(baseline: dict[str, Any]) -> str:
    facts = baseline.get("machine", {})
    told = ", ".join(str(facts[key]) for key in ("date", "commit", "python") if facts.get(key))
    return f"<p>Compared with <b>{escape(baseline['name'])}</b>{f' ({escape(told)})' if told else ''}.</p>"


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


def headline(rows: Sequence[Row], document: dict[str, Any]) -> str:
    """What failed, in one line; beneath it the rows that did, and those that nobody can judge here."""
    found = verdicts(rows)
    faults = {suite: str(fault) for suite, fault in document.get("faults", {}).items()}
    refused = sum(not fault.startswith("n/a: ") for fault in faults.values())
    first = f"{refused} {'suite' if refused == 1 else 'suites'} refused, " if refused else ""
    kind = "bad" if refused or found.missed else "good" if found.met else ""
    lines = "".join(f"<li>{escape(suite)}: {escape(fault)}</li>" for suite, fault in faults.items())
    text = f'<p class="headline {kind}">{first}{found.headline}</p>'
    text += f'<ul class="missing">{lines}</ul>' if lines else ""
    if found.missed:
        lines = "".join(_judged(row, "bad") for row in found.missed)
        text += f'<div class="card"><h2 id="missed">Targets missed</h2><ul class="judged">{lines}</ul></div>'
    if found.unjudged:
        lines = "".join(_judged(row, "", _why_unjudged(row)) for row in found.unjudged)
        listed = f'<div class="card"><ul class="judged">{lines}</ul></div>'
        text += f"<details><summary>{len(found.unjudged)} targets not judged here</summary>{listed}</details>"
    return text


def _why_unjudged(row: Row) -> str:
    """Why nobody can say here whether the target is met; where it does not bind, what would be said."""
    if not row.verdict:
        return row.note or "no figure"
    return f"the target does not bind here; it would be {'met' if row.verdict == 'pass' else 'missed'}"


def _judged(row: Row, kind: str, why: str = "") -> str:
    """A row's name, figure and target; beneath, where it stands, and what else there is to say."""
    beneath = escape(": ".join(filter(None, [where(row), why])))
    return (
        f'<li><span>{escape(row.label.strip())}</span><b><em class="{kind}">{escape(judged(row))}</em>, '
        f'target {escape(str(row.target))}</b><small class="soft">{beneath}</small></li>'
    )


def where(row: Row) -> str:
    """Suite, section, size and series of a row."""
    size = f"{row.nodes:,} {plots.size_word(row)}" if row.nodes else ""
    return ", ".join(filter(None, [row.suite, title_of(row), size, row.topology]))


def strip(rows: Sequence[Row], document: dict[str, Any]) -> str:
    """Sums of the whole run."""
    faults = [str(fault) for fault in document.get("faults", {}).values()]
    absent = sum(fault.startswith("n/a: ") for fault in faults)
    missing = sum(row.figure is None for row in rows)
    cells = [
        ("", len(rows), "rows"),
        ("", len({row.suite for row in rows}), "suites"),
        ("bad" if len(faults) > absent else "", len(faults) - absent, "suites refused: work not done"),
        ("", missing + absent, "not available here"),
    ]
    return '<ul class="strip">' + "".join(f'<li class="{c}"><b>{n:,}</b>{what}</li>' for c, n, what in cells) + "</ul>"


def navigation(anchors: Iterable[str]) -> str:
    """Links to the parts, then to what else the suites have."""
    links = [
        f'<li{sort}><a href="#{escape(anchor)}">{escape(anchor.removeprefix("suite-"))}</a></li>'
        for anchor in anchors
        for sort in [' class="suite"' if anchor.startswith("suite-") else ""]
    ]
    return f'<nav aria-label="sections"><ul>{"".join(links)}</ul></nav>'


def changes_section(found: Comparison, name: str) -> str:
    """What is slower or faster, and how many rows are not."""
    differing = sorted(found.of("slower") + found.of("faster"), key=lambda change: -abs(log(change.ratio)))
    drawn = sections.group_of("changes", plots.changes(differing[:MOST_CHANGES], words)) if differing else ""
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
