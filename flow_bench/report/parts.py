"""What a reader looks for first: other libraries, scaling, latency, memory. The rows decide where they belong."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from flow_bench.harness.rows import Row
from flow_bench.report.plots import PEERS, parted, size_word
from flow_bench.session.compare import TIMES

PARTS = {
    "peers": "flow beside other libraries: the same graphs of nodes that do nothing, in each of them",
    "scaling": "what time does over the size of a graph",
    "latency": "single calls and single workflows: the median, and the tails P95 and P99",
    "memory": "bytes of nodes, plans and workflows; bytes and blocks that single operations take",
}
"""Of a page, in order; all other rows stay with their suites."""
PERCENTILES = re.compile(r"\bp(50|95|99)\b", re.IGNORECASE)
SIZES = re.compile(r"(bytes|[kMG]B)\b")


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
    series = parted((row for row in rows if row.nodes), lambda row: (row.label, row.topology)).values()
    several = any(len({row.nodes for row in mine}) > 1 for mine in series)
    return "scaling" if several and rows[0].unit in TIMES and size_word(rows[0]) == "nodes" else ""


def allocating(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the rows that know what one of their operations allocates, by suite. O(rows)."""
    return parted((row for row in rows if {"bytes", "blocks"} <= row.figures.keys()), lambda row: row.suite)
