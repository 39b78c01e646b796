"""The full service beside the same work in other frameworks, and beside servers that do nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from flow_bench.harness.rows import Row, Target, ratios
from flow_bench.suites.api.server import App
from flow_bench.suites.api.trials import (
    BARE,
    CONNECTIONS,
    FULL,
    MS,
    SIZE,
    UNIT,
    Pool,
    Trial,
    by,
    cpu,
    measure,
    over,
    p99,
)  # fmt: skip

PROTOCOL = App("bare protocol, a constant", "protocol", works=False)
FASTAPI = App("FastAPI", "by_fastapi", "fastapi")
LITESTAR = App("Litestar", "by_litestar", "litestar")
SENT = "P99, driven by the client of flow_bench"
APPS = (PROTOCOL, BARE, FULL, FASTAPI, LITESTAR)
QUIET = Target(15_000, of="figure", binding=False, least=True)
"""Requests/s that are asked for on a quiet core."""


@dataclass(frozen=True)
class Effort:
    """How much to measure: seconds of a slice. :ivar rate: requests a second where all are to be given the same."""

    rounds: int = 5
    seconds: float = 1.5
    apps: Sequence[App] = APPS
    rate: float = 1_500.0
    paced_rounds: int = 3


QUICK = Effort(rounds=2, seconds=0.4, paced_rounds=1)


def run(effort: Effort, pool: Pool) -> Iterator[list[Row]]:
    """Yield the table of all, the ratios that are asked for, and latencies at a rate that none is full of."""
    present = [app for app in effort.apps if not app.missing]
    trials = {server.app: Trial(server.app.label, server) for server in pool(*present)}
    measure(list(trials.values()), effort.rounds, effort.seconds)
    section = f"three nodes, {SIZE:,} bytes, {CONNECTIONS} connections"
    yield [
        trials[app].row(section, trials[BARE], note=app.version, target=QUIET if app is FULL else None)
        if app in trials
        else Row(section, app.label, UNIT, note=app.missing)
        for app in effort.apps
    ]
    yield ratios_of(trials)
    paced = {app: by(trial, effort.rate) for app, trial in trials.items() if app in (BARE, FULL)}
    measure(list(paced.values()), effort.paced_rounds, effort.seconds)
    yield at_a_rate(paced, effort.rate)


def ratios_of(trials: dict[App, Trial]) -> list[Row]:
    """The service beside each of the others: by the clock, and by CPU time, which other programs do not change."""
    section, full, bare = "the full service over the others", trials[FULL], trials[BARE]
    rows = list[Row]()
    for app, least in ((FASTAPI, 3.0), (LITESTAR, 2.0)):
        if app in trials:
            clock = Target(least, of="figure", binding=False, least=True)
            times = [theirs / mine for theirs, mine in zip(cpu(trials[app]), cpu(full), strict=True)]
            found = ratios(full.samples, trials[app].samples)
            rows.append(over(section, f"requests/s / those of {app.label}", found, clock, better="higher"))
            label = f"requests per CPU second / those of {app.label}"
            rows.append(over(section, label, times, replace(clock, binding=True), better="higher"))
    most = Target(3.5, of="figure", binding=True)
    return [
        *rows,
        over(section, "CPU per request / that of bare ASGI", ratios(cpu(full), cpu(bare)), most),
        over(section, "P99 / that of bare ASGI, both full", ratios(p99(full), p99(bare)), better="none"),
    ]


def at_a_rate(trials: dict[App, Trial], rate: float) -> list[Row]:
    """Latencies where both are given the same. Those of full servers are as long as the servers are slow."""
    section = f"{rate:,.0f} requests/s, over {CONNECTIONS} connections"
    full, bare = trials[FULL], trials[BARE]
    rows = [
        Row(section, one.label, "ms", [s * MS for s in p99(one)], figures=one.figures(), better="none", note=SENT)
        for one in trials.values()
    ]
    twice = Target(2.0, of="figure", binding=False)
    return [*rows, over(section, "P99 / that of bare ASGI", ratios(p99(full), p99(bare)), twice, better="none")]
