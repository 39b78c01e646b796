"""Tables as plain text, machine facts, JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Sequence
from importlib import metadata
from typing import Any

import flow
from flow_bench.measure import Row

LIBRARIES = ("anyio", "msgspec", "trio", "uvloop")
TITLES = {
    "sync": "sync, no event loop",
    "async": "async on asyncio",
    "trio": "async on trio",
    "uvloop": "async on uvloop",
    "build": "build and compile",
}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "flow": flow.__version__,
        "libraries": {name: _version(name) for name in LIBRARIES},
        "load": list(os.getloadavg()) if hasattr(os, "getloadavg") else [],
    }


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or "unknown CPU"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def heading(facts: dict[str, Any]) -> str:
    """Machine facts in two lines."""
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items())
    load = " ".join(f"{value:.2f}" for value in facts["load"])
    return (
        f"{facts['python']}, flow {facts['flow']}, {libraries}\n"
        f"{facts['cpu']}, {facts['cores']} cores, {facts['system']}, load average {load}"
    )


def table(rows: Sequence[Row]) -> str:
    """The rows of one section (and size) as a table: topologies across, or one figure per line."""
    if any(row.topology for row in rows):
        return _across(rows)
    return _lines(rows)


def _across(rows: Sequence[Row]) -> str:
    first = rows[0]
    topologies = list(dict.fromkeys(row.topology for row in rows))
    header = ["", *topologies, "spread", "target", ""]
    body = []
    for label in dict.fromkeys(row.label for row in rows):
        mine = [row for row in rows if row.label == label]
        spread = max(row.spread or 0.0 for row in mine)
        target = next((str(row.target) for row in mine if row.target is not None), "")
        body.append([label, *map(_cell, mine), f"{spread:.0%}", target, _verdict(mine)])
    title = f"{TITLES.get(first.section, first.section)}, {first.nodes:,} nodes: us per node, ratio to baseline"
    base = next((row.label for row in rows if row.ratios and set(row.ratios) == {1.0}), "")
    return f"{title} ({base!r})\n" + _grid(header, body)


def _cell(row: Row) -> str:
    if row.figure is None:
        return row.note
    if row.unit == "x":
        return f"{row.figure:.2f}x"
    ratio = "" if row.ratio is None else f" {row.ratio:5.2f}x"
    return f"{_number(row.figure)}{ratio}"


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
    body = []
    for row in rows:
        value = "" if row.figure is None else f"{_number(row.figure)} {row.unit}"
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}x"
        spread = f"{row.spread:.0%}" if row.spread is not None else ""
        body.append([row.label, value, ratio, spread, str(row.target or ""), row.verdict, row.note])
    return f"{TITLES.get(rows[0].section, rows[0].section)}\n" + _grid(
        ["", "median", "ratio", "spread", "target", "", ""], body
    )


def _number(value: float) -> str:
    """Three significant digits, without an exponent."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


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
    """How many targets are met."""
    judged = [row for row in rows if row.verdict]
    missed = [row for row in judged if row.verdict in ("MISS", "miss")]
    binding = sum(row.verdict == "MISS" for row in missed)
    text = f"{len(judged) - len(missed)} of {len(judged)} figures meet their target"
    small = " (small letters: a target that does not bind here)" if any(r.verdict.islower() for r in judged) else ""
    return f"{text}; {binding} MISS{small}"
