"""Listing the latest runs of a large store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import flow
from flow_bench.harness.contender import require
from flow_bench.harness.rows import Row, Target
from flow_bench.suites.durable.stores import folder, size_of

MILLISECONDS = Target(50.0, of="figure")
"""What listing the latest runs of a store of 1 GB may take."""
JOURNAL = 250_000
"""Bytes of the output that a run stores: less than what goes into a file of its own."""


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    stored: int = 4_000
    listed: int = 100
    rounds: int = 31


QUICK = Effort(stored=400, rounds=7)


def made(path: Path, runs: int) -> None:
    """Store runs, each with a journal of a quarter of a MB."""
    dag = flow.Dag("large")
    dag.add("large", lambda number: bytes([number % 256]) * JOURNAL)
    plan = dag.compile()
    with flow.store.open(path, "exit") as store:
        for number in range(runs):
            flow.run(plan, {"number": number}, run_id=f"r{number}", store=store)


def run(effort: Effort) -> list[Row]:
    """The latest runs: by a store that was just opened, and again by the same; and of some only."""
    listed = min(effort.listed, effort.stored)
    ways: dict[str, Callable[[flow.store.Store], Any]] = {
        "the latest, just opened": lambda store: store.runs(limit=listed),
        "the latest": lambda store: store.runs(limit=listed),
        "the latest completed ones": lambda store: store.runs(["completed"], limit=listed),
        "the latest of one dag": lambda store: store.runs(dag="large", limit=listed),
        "one that is not there": lambda store: store.runs(["failed"], limit=listed),
    }
    found: dict[str, list[float]] = {label: [] for label in ways}
    wanted = [f"r{number}" for number in range(effort.stored - 1, effort.stored - listed - 1, -1)]
    with folder() as where:
        path = where.path / "large.db"
        made(path, effort.stored)
        size = size_of(path)
        for turn in range(-1, effort.rounds):
            with flow.store.open(path) as store:
                for label, way in ways.items():
                    began = perf_counter()
                    rows = way(store)
                    took = perf_counter() - began
                    names = [row.id for row in rows]
                    require(names == ([] if label.startswith("one") else wanted), label, "other runs were listed")
                    if turn >= 0:
                        found[label].append(took * 1e3)
    section = f"listing {listed} of {effort.stored:,} runs"
    note = f"a store of {size / 1e6:,.0f} MB"
    return [Row(section, label, "ms", took, target=MILLISECONDS, note=note) for label, took in found.items()]
