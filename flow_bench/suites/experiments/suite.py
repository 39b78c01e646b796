"""The experiments: changes that might make runs faster, each beside what flow does now.

docs/experiments.md says what each was to find out, and what it found.

All of it is computing, so it is timed by the thread's own clock, which others' work on the machine does not move. A
ratio is seconds over the seconds of what flow does now, in the same round. A change is
kept where it is at most 1 / 1.3 = 0.77 on whole runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from flow_bench.harness.rows import Row
from flow_bench.suites.experiments import cache, guarded, reuse


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    :ivar rounds: interleaved rounds of the experiments in this process.
    :ivar sections: all if empty.
    """

    rounds: int = 41
    sections: Sequence[str] = ()


QUICK = Effort(rounds=9)

_EXPERIMENTS: Mapping[str, Callable[[Effort], Iterator[list[Row]]]] = {
    "cache": lambda effort: cache.run(effort.rounds),
    "reuse": lambda effort: reuse.run(effort.rounds),
    "guarded": lambda effort: guarded.run(effort.rounds),
}
SECTIONS = tuple(_EXPERIMENTS)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows of one table after another."""
    for name, experiment in _EXPERIMENTS.items():
        if not effort.sections or name in effort.sections:
            for rows in experiment(effort):
                yield [replace(row, suite="experiments") for row in rows]
