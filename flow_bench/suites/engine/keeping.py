"""Outputs freed after their last reader: the peak of a chain that passes on megabytes, and the price per node."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import flow
from flow_bench.harness.allocations import traced_peak
from flow_bench.harness.contender import Contender, repeated, require
from flow_bench.harness.interleave import interleave, interleave_on_loop
from flow_bench.harness.rows import Row, Target
from flow_bench.harness.work import Work

MEGABYTE = 1_000_000
TARGETS = flow.Config(keep="targets")
ALL = flow.Config(keep="all")


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    nodes: int = 10_000
    rounds: int = 21


QUICK = Effort(nodes=2_000, rounds=7)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows of two tables."""
    yield list(_peaks(effort))
    yield [*_prices("sync", effort), *_prices("async", effort)]


def passed_on(before: bytearray | None = None) -> bytearray:
    """Return a new megabyte that says how many were before it."""
    made = bytearray(MEGABYTE)
    made[:4] = (1 + (0 if before is None else int.from_bytes(before[:4], "big"))).to_bytes(4, "big")
    return made


async def passed_on_async(before: bytearray | None = None) -> bytearray:
    """As :func:`passed_on`."""
    return passed_on(before)


def chain(fn: Callable[..., Any], nodes: int) -> flow.Plan:
    """Each node is given the output of the one before."""
    return flow.topologies.linear(nodes, fn=fn).compile()


def _peaks(effort: Effort) -> Iterator[Row]:
    section = f'a chain of {effort.nodes:,} nodes that pass on 1 MB each, Config(keep="targets")'
    for label, fn, drive in (
        ("sync", passed_on, lambda plan: flow.run(plan, config=TARGETS)),
        ("async on asyncio", passed_on_async, lambda plan: asyncio.run(flow.execute(plan, config=TARGETS))),
        ("async on trio", passed_on_async, _on_trio),
    ):
        try:
            yield peak_row(section, label, chain(fn, effort.nodes), drive)
        except ImportError:
            yield Row(section, label, "MB", note="n/a: trio is not installed")


def peak_row(section: str, label: str, plan: flow.Plan, drive: Callable[[flow.Plan], flow.Result]) -> Row:
    """Run once, traced; the last output tells that all nodes ran, each on the output before."""
    nodes = len(plan)
    peak, result = traced_peak(partial(drive, plan))
    last = plan.names[-1]
    whole = set(result.outputs) == {last} and int.from_bytes(result[last][:4], "big") == nodes
    require(whole, label, f"it should keep one output, of node {nodes:,}")
    note = f"kept, all would take {nodes:,} MB"
    return Row(section, label, "MB", [peak / MEGABYTE], target=Target(20, of="figure", binding=True), note=note)


def _on_trio(plan: flow.Plan) -> flow.Result:
    trio = importlib.import_module("trio")
    result: flow.Result = trio.run(partial(flow.execute, plan, config=TARGETS))
    return result


SECTION = "price of keeping less: no-op nodes in a chain, us per node, ratio to keep='all' before"


def _prices(kind: str, effort: Effort) -> list[Row]:
    ways = [way for nodes in (1_000, effort.nodes) for way in price_ways(kind, nodes)]
    sync = kind == "sync"
    samples = interleave(ways, effort.rounds) if sync else asyncio.run(interleave_on_loop(ways, effort.rounds))
    labels, rows = list(samples), samples.rows(SECTION, "us")
    for i, row in enumerate(rows):  # every other row is the baseline of the next
        over = samples.over(labels[i], labels[i - 1]) if i % 2 else []
        rows[i] = replace(row, ratios=over, cpu=[])
    return rows


def price_ways(kind: str, nodes: int) -> list[Contender]:
    """The same chain, keeping all and keeping only what its last node left."""
    plan, times = Work.of(flow.topologies.linear(nodes)).plan(kind), max(1, 10_000 // nodes)
    ways = []
    for keep, config, kept in (("all", ALL, nodes), ("targets", TARGETS, 1)):
        call: Any = flow.run if kind == "sync" else flow.execute
        run: Any = partial(call, plan, config=config)
        label, left = f'{nodes:,} {kind} nodes: keep="{keep}"', partial(_left, kept)
        ways.append(repeated(label, run, times, left, nodes, on_loop=kind == "async"))
    return ways


def _left(kept: int, result: flow.Result) -> bool:
    return result.ok and len(result.outputs) == kept
