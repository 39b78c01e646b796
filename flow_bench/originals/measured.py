"""Measures the rows that stand beside the originals': each suite once, those of its sections that are needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flow_bench.harness.contender import Refused
from flow_bench.harness.rows import Identity, Row
from flow_bench.originals.table import Source
from flow_bench.session.passes import Fault, Part, one_pass


def needed(sources: Sequence[Source]) -> dict[str, list[str]]:
    """The sections that the sources' rows stand in, by suite."""
    found: dict[str, dict[str, None]] = {}
    for source in sources:
        for _, ours in source.rows():
            found.setdefault(ours.suite, {})[ours.only] = None
    return {suite: list(sections) for suite, sections in found.items()}


def measure(sources: Sequence[Source], *, quick: bool, say: Callable[[str], object]) -> Mapping[Identity, Row]:
    """Measure every row needed, one suite after the other, each in a process of its own.

    :raises Refused: if a suite was refused, or its process died.
    """
    rows: dict[Identity, Row] = {}
    for suite, sections in needed(sources).items():
        say(f"{suite}: {', '.join(sections)}")
        part = Part(suite, 1, tuple(flag for section in sections for flag in ("--only", section)))
        found = one_pass(part, quick=quick)
        if isinstance(found, Fault):
            raise Refused(suite, [found.text])
        rows |= {row.identity: row for row in map(Row.from_dict, found["rows"])}
    return rows


def missing(sources: Sequence[Source], rows: Mapping[Identity, Row]) -> list[str]:
    """Rows that a table names and no suite has."""
    beside = [one for source in sources for one in source.rows()]
    return [f"{there.name}: {' / '.join(map(str, o.identity))}" for there, o in beside if o.identity not in rows]
