"""One transaction of a backend: a segment of 20 KB, beside the same row by hand."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any

import flow
from flow_bench.harness.contender import Contender, Operation
from flow_bench.harness.interleave import interleave
from flow_bench.harness.rows import Row
from flow_bench.harness.work import noop
from flow_bench.suites.durable.stores import ByHand, Folder, by_clock, folder, new_id, watched


@dataclass(frozen=True)
class Effort:
    """How much to measure. ``times``: writes in one sample."""

    size: int = 20_000
    times: int = 20
    rounds: int = 31


QUICK = Effort(rounds=7)


def run(effort: Effort) -> list[Row]:
    """Writes that wait for the disk, and writes that do not."""
    rows = []
    section = f"a write of {effort.size / 1e3:g} KB"
    for safe in (False, True):
        with folder() as where:
            ways = [_hand(where.by_hand(safe), effort), _write(where, safe, effort)]
            samples = by_clock(interleave(ways, effort.rounds, memory=False))
        prefix = "fsync: " if safe else "no fsync: "
        rows += samples.rows(section, "us", prefix=prefix)
    return rows


def _hand(table: ByHand, effort: Effort) -> Contender:
    numbers, segment = count(), bytes(effort.size)

    def make() -> Operation:
        name = new_id()

        def write() -> str:
            for _ in range(effort.times):
                table.sql.execute("INSERT INTO outcome VALUES (?, ?, '', ?)", (name, next(numbers), segment))
            return name

        return write

    def check(name: str) -> str | None:
        found = table.sql.execute("SELECT count(*) FROM outcome WHERE run = ?", (name,)).fetchone()[0]
        return None if found == effort.times else f"{found} of {effort.times} rows are stored"

    return Contender("INSERT by hand", make, check, effort.times)


def _write(where: Folder, safe: bool, effort: Effort) -> Contender:
    """What the first write of a segment was given is given again and again, with another segment."""
    name = f"{new_id()}.db"
    store, other = where.store("sync" if safe else "async", name=name), where.store("exit", name=name)
    plan, segment = flow.topologies.linear(1, fn=noop).compile(), bytes(effort.size)

    def make() -> Operation:
        counted, watch = watched(store)
        flow.run(plan, run_id=new_id(), store=counted)
        run, token, change = watch.given["write"][:3]
        before = len(other.load(run).journal)

        def write() -> tuple[Any, int]:
            for _ in range(effort.times):
                store.backend.write(run, token, change, segment)
            return run, before

        return write

    def check(raw: tuple[Any, int]) -> str | None:
        found = len(other.load(raw[0]).journal) - raw[1]
        return None if found == effort.times else f"{found} of {effort.times} segments are stored"

    return Contender("Backend.write", make, check, effort.times)
