"""Two runs compared, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from flow_bench.harness.rows import Identity, number
from flow_bench.session.compare import NEWS, Change, Comparison


def text(found: Comparison, before: Mapping[str, Any], after: Mapping[str, Any], *, every_row: bool = False) -> str:
    """Rows that differ, under their verdicts: the ratio, its interval, both values; then what is in one run only.

    :param every_row: those that are the same or cannot be compared as well, not just how many each suite has.
    """
    lines = [f"{_named(after)} compared with {_named(before)}; ratio of the second to the first, and its interval"]
    if found.machines:
        times = sum(change.by == "time" for change in found.changes)
        lines.append(f"two machines: {'; '.join(found.machines)}")
        lines.append(f"{times} rows have times only, marked with *: these are their machines' as well")
    if before["settings"] != after["settings"] or before["passes"] != after["passes"]:
        lines.append("the runs were made with other flags or passes: rows may differ for that alone")
    same = [] if every_row else [change.identity for change in found.of("same")]
    for verdict in ("same", "faster", "slower"):
        changes = found.of(verdict)
        if changes:
            counted = same if verdict == "same" else []
            lines += ["", f"{verdict} ({len(changes)}){_by_suite(counted)}"]
            lines += [] if counted else _lines(changes, two_machines=bool(found.machines))
    apart = [] if every_row else [identity for identity, why in found.apart if not why.startswith(NEWS)]
    if found.apart:
        lines += ["", f"not compared ({len(found.apart)}){_by_suite(apart)}"]
        lines += [f"  {_words(identity)}: {why}" for identity, why in found.apart if identity not in apart]
    if same or apart:
        lines += ["", "--every-row lists those that are only counted"]
    return "\n".join([*lines, "", summary(found)])


def _by_suite(identities: Iterable[Identity]) -> str:
    counts = Counter(suite for suite, *_ in identities)
    return f": {', '.join(f'{suite} {count}' for suite, count in counts.items())}" if counts else ""


def summary(found: Comparison) -> str:
    """How many rows are what, and how small a difference would have been seen in half of them."""
    counts = ", ".join(f"{len(found.of(verdict))} {verdict}" for verdict in ("slower", "faster", "same"))
    if not found.changes:
        return f"{len(found.apart)} rows, none compared"
    reach = median(change.high / change.ratio for change in found.changes)
    return (
        f"{len(found.changes)} rows compared: {counts}; {len(found.apart)} not; half of them to within {reach - 1:.0%}"
    )


def _lines(changes: Iterable[Change], *, two_machines: bool) -> list[str]:
    names = {change.identity: _words(change.identity) for change in changes}
    width = max(map(len, names.values()))
    found = []
    for c in changes:
        unit = "x" if c.by == "ratio" else f" {c.unit}"
        mark = " *" if two_machines and c.by == "time" else ""
        values = f"{number(c.before)}{unit} -> {number(c.after)}{unit}{mark}"
        found.append(f"  {names[c.identity]:<{width}}  {c.ratio:5.2f}x ({c.low:.2f} to {c.high:.2f})  {values}")
    return found


def _words(identity: Identity) -> str:
    suite, section, label, nodes, topology = identity
    return f"[{suite}] " + ", ".join(filter(None, [section, label.strip(), f"{nodes:,}" if nodes else "", topology]))


def _named(document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    facts = ", ".join(filter(None, [machine.get("date", ""), machine.get("commit", "")]))
    return f"{document['name']!r}" + (f" ({facts})" if facts else "")
