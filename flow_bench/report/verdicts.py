"""What became of the targets: what failed first, then what could not be judged here, then the rest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from flow_bench.harness.rows import Row, number


@dataclass(frozen=True)
class Verdicts:
    """The rows that have a target.

    :ivar missed: those that miss a target that binds here.
    :ivar unjudged: those whose target does not bind here, or that have no figure.
    :ivar met: all others.
    """

    missed: list[Row]
    unjudged: list[Row]
    met: list[Row]

    @property
    def headline(self) -> str:
        """``1 missed, 24 not judged here, 92 met``."""
        if not (self.missed or self.unjudged or self.met):
            return "no figure here has a target"
        return f"{len(self.missed)} missed, {len(self.unjudged)} not judged here, {len(self.met)} met"


def verdicts(rows: Iterable[Row]) -> Verdicts:
    """Sort the rows that have a target by what became of it. O(rows)."""
    found = Verdicts([], [], [])
    for row in rows:
        if row.target is not None:
            kind = {"MISS": found.missed, "PASS": found.met}.get(row.verdict, found.unjudged)
            kind.append(row)
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
    if row.target is not None and text == number(row.target.at_most) and value > row.target.at_most:
        text = f"{value:,.{len(text.partition('.')[2]) + 2}f}"
    return f"{text}{'x' if by_ratio or row.unit == 'x' else ' ' + row.unit}"


def why_unjudged(row: Row) -> str:
    """Why nobody can say here whether the target is met; where it does not bind, what would be said."""
    if not row.verdict:
        return row.note or "no figure"
    return f"the target does not bind here; it would be {'met' if row.verdict == 'pass' else 'missed'}"
