"""The workflow suite: whole workflows, one at a time and thousands at once.

Sections: *linear*, *complex*, *failures*, *scalability* and *workers* (:mod:`flow_bench.micro.test_workflow`),
*recovery* (:mod:`flow_bench.suites.load.recovery`), *live* (:mod:`flow_bench.suites.load.live`), *soak*
(:mod:`flow_bench.suites.load.soak`) and *rate* (:mod:`flow_bench.suites.load.rate`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from flow_bench.harness.rows import Row
from flow_bench.micro import measuring
from flow_bench.suites.load import live, rate, recovery, soak

SUITE = "workflow"
SINGLE = ("linear", "complex", "failures", "scalability", "workers")
SECTIONS = (*SINGLE, "recovery", "live", "soak", "rate")


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    sections: Sequence[str] = ()  # all if empty
    cases: measuring.Effort = field(default_factory=measuring.Effort)
    recovery: recovery.Effort = field(default_factory=recovery.Effort)
    live: live.Effort = field(default_factory=live.Effort)
    soak: soak.Effort = field(default_factory=soak.Effort)
    rate: rate.Effort = field(default_factory=rate.Effort)


QUICK = Effort(
    cases=measuring.QUICK, recovery=recovery.QUICK, live=live.QUICK, soak=soak.QUICK, rate=rate.QUICK
)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows of one table after another."""
    wanted = effort.sections or SECTIONS
    if single := [name for name in SINGLE if name in wanted]:
        yield from measuring.measure(SUITE, effort.cases, single)
    if "recovery" in wanted:
        yield recovery.run(effort.recovery)
    if "live" in wanted:
        yield live.run(effort.live)
    if "soak" in wanted:
        yield soak.run(effort.soak)
    if "rate" in wanted:
        yield rate.run(effort.rate)
