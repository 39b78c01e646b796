"""Three everyday maps as whole runs, over a run that holds a megabyte of results, and nothing in them waits.

They are like the workflows of ``docs/examples``: ``health_check.py``, ``notify.py`` and ``log_entries.py``. There the
network takes its time; here it answers at once, so that what is left is the engine's share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import add
from statistics import median
from typing import Any

import flow
from flow_bench.harness.allocations import peak_of
from flow_bench.harness.contender import Contender, expect
from flow_bench.harness.interleave import interleave
from flow_bench.harness.logs import unwritten
from flow_bench.harness.rows import Row
from flow_bench.suites.engine.mapping import KILOBYTES, dag_of

HELD = 100
"""Task results that each run holds."""
SECTION = f"three examples over {HELD} results of {KILOBYTES} KB: whole runs in which nothing waits"
SERVICES = ("api", "billing", "search")
Times = dict[str, int]


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    servers: int = 1_000
    users: int = 5_000
    entries: int = 10_000
    rounds: int = 15


QUICK = Effort(rounds=3)


@dataclass(frozen=True)
class Example:
    """A workflow, what it is given, and what its last node is to return. :ivar items: how many it goes through."""
    label: str
    build: Callable[[flow.Dag], None]
    inputs: dict[str, Any]
    last: str
    wanted: Any
    items: int

    def contender(self) -> Contender:
        dag = dag_of(HELD)
        self.build(dag)
        plan = dag.compile()

        def make() -> Callable[[], flow.Result]:
            return partial(flow.run, plan, self.inputs, config=flow.Config(clock=flow.testing.FakeClock()))

        return Contender(self.label, make, expect(self.wanted, lambda result: result[self.last]))


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield one table: milliseconds of a run, items per second, bytes at the peak."""
    examples = [health_check(effort.servers), *notifications(effort.users), log_entries(effort.entries)]
    yield rows_of(examples, effort.rounds)


def rows_of(examples: list[Example], rounds: int) -> list[Row]:
    """Measure them in turns. :raises Refused: by the first whose last node returned something else."""
    ways = [example.contender() for example in examples]
    with unwritten():  # warnings about servers that are down
        samples = interleave(ways, rounds, memory=False)
        peaks = [peak_of(way) for way in ways]
    rows = []
    for example, peak in zip(examples, peaks, strict=True):
        seconds = samples[example.label]
        figures = {"per_s": example.items / median(seconds), "bytes": peak}
        rows.append(Row(SECTION, example.label, "ms", [s * 1e3 for s in seconds], nodes=example.items, figures=figures))
    return rows


async def check(server: int, ctx: flow.Context) -> int:
    """Ask a server; some are down, some answer only when asked again."""
    if server % 250 == 7:
        raise ConnectionRefusedError(f"srv-{server} is down")
    if server % 100 == 42 and ctx.attempt == 1:
        raise TimeoutError(f"srv-{server} did not answer")
    return 200 if server % 50 else 503


def report(checks: flow.MapResult[int]) -> tuple[dict[int, int], int]:
    """Count what servers answered."""
    return dict(Counter(checks)), checks.failed


def add_checks(dag: flow.Dag) -> None:
    """Add the nodes of the health check."""
    retry = flow.Retry(2, delay=0.001, retry_if=TimeoutError)
    dag.map("checks", check, over="servers", concurrency=100, on_error="collect", retry=retry, timeout=30.0)
    dag.add("report", report)


def health_check(servers: int) -> Example:
    """Ask every server, at most 100 at once; some are down, some answer only when asked again."""
    down = sum(server % 250 == 7 for server in range(servers))
    bad = sum(server % 50 == 0 for server in range(servers))
    wanted = {status: count for status, count in ((503, bad), (200, servers - bad - down)) if count}
    inputs = {"servers": range(servers)}
    return Example(f"health check of {servers:,} servers", add_checks, inputs, "report", (wanted, down), servers)


def notifications(users: int) -> tuple[Example, Example]:
    """Notify every user, one per call and a hundred per call; one call in ten is repeated, what was sent is counted."""

    async def send(user: int, index: int, ctx: flow.Context) -> bool:
        if index % 10 == 3 and ctx.attempt == 1:
            raise ConnectionError("the mail service is busy")
        ctx.publish("sent", 1, merge=add)
        return True

    async def send_batch(batch: list[int], index: int, ctx: flow.Context) -> list[bool]:
        if index // 100 % 10 == 3 and ctx.attempt == 1:
            raise ConnectionError("the mail service is busy")
        ctx.publish("sent", len(batch), merge=add)
        return [True] * len(batch)

    def summary(send: list[bool], ctx: flow.Context) -> tuple[int, int]:
        return sum(send), ctx.data.get_int("sent")

    def build(dag: flow.Dag, fn: Callable[..., Any], **batches: Any) -> None:
        retry = flow.Retry(3, delay=1.0, retry_if=ConnectionError)
        dag.map("send", fn, over="users", concurrency=8, retry=retry, **batches)
        dag.add("summary", summary)

    label, inputs, wanted = f"notifications to {users:,} users", {"users": range(users)}, (users, users)
    one, many = partial(build, fn=send), partial(build, fn=send_batch, batch_size=100)
    return (
        Example(f"{label}, one per call", one, inputs, "summary", wanted, users),
        Example(f"{label}, 100 per call", many, inputs, "summary", wanted, users),
    )


def entries(count: int) -> Iterator[str]:
    """Make log entries one by one; one in forty tells of a failure."""
    for k in range(count):
        yield f"{SERVICES[k % 3]} {500 if k % 40 == 0 else 200} {k % 97} ms " + f"request {k} " * 80


def log_entries(count: int) -> Example:
    """Go through entries that a generator makes one by one, and keep the slowest failure of each service."""

    def failed(entry: str) -> bool:
        return entry.split(" ", 2)[1] == "500"

    def parse(entry: str) -> tuple[str, int]:
        service, _, milliseconds, _ = entry.split(" ", 3)
        return service, int(milliseconds)

    def by_service(so_far: Times, failure: tuple[str, int]) -> Times:
        service, milliseconds = failure
        return {**so_far, service: max(milliseconds, so_far.get(service, 0))}

    def build(dag: flow.Dag) -> None:
        dag.add("entries", entries)
        dag.filter("failures", failed, over="entries")
        dag.map("parsed", parse, over="failures")
        dag.reduce("slowest", by_service, over="parsed", start=Times())

    wanted: Times = {}
    for k in range(0, count, 40):
        wanted[SERVICES[k % 3]] = max(k % 97, wanted.get(SERVICES[k % 3], 0))
    return Example(f"{count:,} log entries", build, {"count": count}, "slowest", wanted, count)
