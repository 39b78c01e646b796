"""Going on with large runs: how long it takes to load them, and what a node takes in the file."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import msgspec

import flow
from flow_bench.harness.contender import require
from flow_bench.harness.rows import Row, Target
from flow_bench.harness.work import DONE, noop
from flow_bench.suites.durable.stores import folder, size_of

LARGE = 100_000
SECONDS = Target(2.0, of="figure")
BYTES = Target(80.0, of="figure", binding=True)
"""What 100,000 nodes may take to load, and one of them in the file beyond its output and its name."""
RUN = "large"


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    nodes: int = LARGE
    rounds: int = 7


QUICK = Effort(rounds=2)


class Calls:
    """A run's nodes, counted. ``cut``: the last one ends the process's part in the run, as Ctrl-C would."""

    def __init__(self) -> None:
        self.count = 0
        self.cut = False

    def dag(self, nodes: int) -> flow.Dag:
        """Return so many nodes that are counted, and a last one."""
        dag = flow.topologies.sparse_random(nodes, seed=1, fn=self.node)
        dag.add("last", self.last, needs=[f"n{nodes - 1}"])
        return dag

    def node(self, *values: object) -> str:
        """A node."""
        self.count += 1
        return noop(*values)

    def last(self, value: object) -> str:
        """The last node."""
        if self.cut:
            raise KeyboardInterrupt
        return self.node(value)


def made(path: Path, nodes: int) -> None:
    """Store a run of which all nodes but the last have completed."""
    calls = Calls()
    calls.cut = True
    with flow.store.open(path) as store:
        try:
            flow.run(calls.dag(nodes), run_id=RUN, store=store)
        except KeyboardInterrupt:
            pass
    require(calls.count == nodes, "the run to be loaded", f"{calls.count} of {nodes} nodes have run")


def gone_on(path: Path, nodes: int, left: int) -> float:
    """Seconds in which a run goes on and ends, of which so many nodes are left. A new Dag is made before."""
    calls = Calls()
    plan = calls.dag(nodes).compile()
    with flow.store.open(path) as store:
        began = perf_counter()
        result = flow.run(plan, run_id=RUN, store=store)
        took = perf_counter() - began
    require(calls.count == left, "loading", f"{calls.count} nodes have run where {left} were left")
    require(list(result.outputs.values()) == [DONE] * (nodes + 1), "loading", "outputs are missing")
    return took


def read(path: Path) -> float:
    """Seconds in which the journal is read, and not looked into."""
    with flow.store.open(path) as store:
        began = perf_counter()
        journal = store.load(RUN).journal
        took = perf_counter() - began
    require(sum(map(len, journal)) > 0, "reading", "the journal is empty")
    return took


def run(effort: Effort) -> Iterator[list[Row]]:
    """A large run is loaded: one with a node left, and one that has ended; and its bytes."""
    nodes, judged = effort.nodes, effort.nodes == LARGE
    section = "loading a run: the whole call"
    found: dict[str, list[float]] = {"one node is left: flow.run": [], "it has ended: flow.run": [], "its journal": []}
    first, second, third = found.values()
    with folder() as where:
        whole, ended = where.path / "whole.db", where.path / "ended.db"
        made(whole, nodes)
        for _ in range(effort.rounds):
            shutil.copy(whole, ended)
            first.append(gone_on(ended, nodes, 1))
            second.append(gone_on(ended, nodes, 0))
            third.append(read(ended))
        size = size_of(ended)
    targets = {label: SECONDS for label in found if judged and "flow.run" in label}
    yield [Row(section, label, "s", took, nodes=nodes, target=targets.get(label)) for label, took in found.items()]
    yield [*bytes_rows(size, nodes)]


def bytes_rows(size: int, nodes: int) -> Iterator[Row]:
    """Rows of what a node takes in the file: its output, its name, and the rest."""
    section = "bytes of a completed node in the file"
    output = len(msgspec.msgpack.encode(DONE))
    name = sum(len(f"n{i}") for i in range(nodes)) / nodes
    yield Row(section, "in all", "bytes", figure=size / nodes, nodes=nodes)
    target = BYTES if nodes == LARGE else None
    beyond = size / nodes - output - name
    yield Row(section, "beyond its output and its name", "bytes", figure=beyond, nodes=nodes, target=target)
