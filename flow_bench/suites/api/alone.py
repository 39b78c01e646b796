"""The full service by itself: sizes of requests, connections, the limiter, and beside runs that go on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from flow_bench.harness.contender import require
from flow_bench.harness.rows import US, Row
from flow_bench.suites.api import order
from flow_bench.suites.api.server import Server
from flow_bench.suites.api.trials import (
    BARE,
    CONNECTIONS,
    FULL,
    SIZE,
    Pool,
    Trial,
    cpu,
    measure,
)  # fmt: skip

FREE = replace(FULL, label="flow, no limiter", options=())
REFUSING = replace(FULL, label="flow, all refused", refuses=True, options=(("rate", 1e-6),))
BUSY = replace(FULL, label="flow, with runs in flight")
SIZES: Mapping[str, int] = {"small payload (256 B)": 256, "medium (1 KB)": 1_024, "large (4 KB)": 4_096}
CLOSED = "no keep-alive (1 KB)"


@dataclass(frozen=True)
class Effort:
    """How much to measure: seconds of a slice; ``waiting``: runs that go on."""

    rounds: int = 4
    seconds: float = 1.0
    connections: Sequence[int] = (1, 16, 64, 256)
    waiting: int = 1_000


QUICK = Effort(rounds=1, seconds=0.3)


def rows_of(section: str, trials: Sequence[Trial], effort: Effort) -> list[Row]:
    """Measure these, the bare app first, and return their rows."""
    measure(trials, effort.rounds, effort.seconds)
    return [trial.row(section, trials[0]) for trial in trials]


def payload(effort: Effort, pool: Pool) -> list[Row]:
    """Three sizes, and a connection for each request."""
    bare, full = pool(BARE, FULL)
    trials = [Trial(f"{bare.app.label} (1 KB)", bare)]
    trials += [Trial(label, full, size) for label, size in SIZES.items()]
    trials.append(Trial(CLOSED, full, close=True))
    return rows_of(f"payload, {CONNECTIONS} connections", trials, effort)


def connections(effort: Effort, pool: Pool) -> list[Row]:
    """Few connections and many, and how well they are used again."""
    bare, full = pool(BARE, FULL)
    trials = [Trial(f"{bare.app.label}, {CONNECTIONS} connections", bare)]
    trials += [Trial(f"connections: {count}", full, connections=count) for count in effort.connections]
    rows = rows_of(f"connections, {SIZE:,} bytes", trials, effort)
    for row in rows:
        row.note += f", a connection for {1 / row.figures['connections per request']:,.0f} requests"
    return rows


def limiter(effort: Effort, pool: Pool) -> list[Row]:
    """Without a limiter, with one that lets all in, and with one that refuses all."""
    bare, free, full, refusing = pool(BARE, FREE, FULL, REFUSING)
    trials = [
        Trial(bare.app.label, bare),
        Trial("without a limiter", free),
        Trial("with one that lets all in", full),
        Trial("with one that refuses all: 429s", refusing),
    ]
    rows = rows_of(f"limiter, {SIZE:,} bytes, {CONNECTIONS} connections", trials, effort)
    more = median([mine - without for mine, without in zip(cpu(trials[2]), cpu(trials[1]), strict=True)]) * US
    rows[2].note += f", {more:.1f} us of CPU time per request more than without one"
    return rows


def mixed(effort: Effort, pool: Pool) -> list[Row]:
    """The same while other runs go on, which wait."""
    bare, full, busy = pool(BARE, FULL, BUSY)
    begin_waiting(busy, effort.waiting)
    label = f"with {effort.waiting:,} runs in flight"
    trials = [Trial(bare.app.label, bare), Trial("nothing else runs", full), Trial(label, busy)]
    rows = rows_of(f"mixed, {SIZE:,} bytes, {CONNECTIONS} connections", trials, effort)
    refuse_unless_waiting(busy, effort.waiting)
    return rows


def begin_waiting(server: Server, count: int) -> None:
    """Begin runs that wait for an hour. :raises Refused: if one is not begun."""
    body = json.dumps({"inputs": {"seconds": 3_600.0}}).encode()
    for _ in range(count):
        status, answer = server.ask("POST", order.WAITS_PATH, body, server.headers(Prefer="respond-async"))
        require(status == 202, server.app.label, f"it answers {status} to a run that waits: {answer}")
    refuse_unless_waiting(server, count)


def refuse_unless_waiting(server: Server, count: int) -> None:
    """:raises Refused: unless so many runs go on."""
    live = server.ask("GET", "/health/detailed")[1]["runs"]["live"]
    require(live == count, server.app.label, f"{live} runs go on, not {count}")
