"""The workflow suite: whole workflows, one at a time and thousands at once.

Sections: *linear*, *complex*, *ai*, *failures*, *scalability* and *workers* (:mod:`flow_bench.micro.test_workflow`),
*recovery* (:mod:`flow_bench.suites.load.recovery`), *live* (:mod:`flow_bench.suites.load.live`), *waiting*
(:mod:`flow_bench.suites.load.waiting`), *soak* (:mod:`flow_bench.suites.load.soak`) and *rate*
(:mod:`flow_bench.suites.load.rate`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flow_bench.harness.rows import Row, chosen
from flow_bench.micro import measuring
from flow_bench.suites.load import live, rate, recovery, soak, waiting

SUITE = "workflow"
SINGLE = ("linear", "complex", "ai", "failures", "scalability", "workers")


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    sections: Sequence[str] = ()  # all if empty
    cases: measuring.Effort = field(default_factory=measuring.Effort)
    recovery: recovery.Effort = field(default_factory=recovery.Effort)
    live: live.Effort = field(default_factory=live.Effort)
    waiting: waiting.Effort = field(default_factory=waiting.Effort)
    soak: soak.Effort = field(default_factory=soak.Effort)
    rate: rate.Effort = field(default_factory=rate.Effort)


QUICK = Effort((), measuring.QUICK, recovery.QUICK, live.QUICK, waiting.QUICK, soak.QUICK, rate.QUICK)
LOAD: Mapping[str, Callable[[Effort], Iterable[list[Row]]]] = {
    "recovery": lambda effort: [recovery.run(effort.recovery)],
    "live": lambda effort: [live.run(effort.live)],
    "waiting": lambda effort: [waiting.run(effort.waiting)],
    "soak": lambda effort: [soak.run(effort.soak)],
    "rate": lambda effort: [rate.run(effort.rate)],
}
SECTIONS = (*SINGLE, *LOAD)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows of one table after another."""
    if single := [name for name in SINGLE if not effort.sections or name in effort.sections]:
        yield from measuring.measure(SUITE, effort.cases, single)
    yield from chosen(LOAD, effort)
