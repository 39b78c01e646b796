"""What durability adds to a node: no-ops, nodes that wait, the items of a map; and how often it writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

import flow
from flow_bench.harness.contender import Contender, Operation, Refused, expect
from flow_bench.harness.interleave import Samples, interleave
from flow_bench.harness.rows import JUDGED, Row, Target, ratios
from flow_bench.harness.work import DONE, noop
from flow_bench.suites.durable.stores import (
    PLAIN,
    Folder,
    Mode,
    by_clock,
    by_hand,
    durable,
    folder,
    new_id,
    outputs_fault,
    plain,
    size_of,
    stored_fault,
    watched,
)

OF_PLAIN, OF_MANY = Target(4.0), Target(1.5, of="figure")
"""What 1,000 no-ops may take in async mode, beside the same run without a store, and beside one transaction by hand."""
OF_WAITING, OF_COMMITS = Target(1.1), Target(0.02, of="figure")
"""What nodes that wait may take in async mode, beside the same run without a store; and in sync mode, beside a commit
each."""
FEWER = Target(JUDGED / 10, of="figure", binding=True)
"""Transactions of 1,000 nodes, beside one a node."""
PLAINLY, GENERATED = "no store, no generated code", "no store"
ASYNC, EXIT, SYNC = "async", "exit", "sync"
MANY, EACH = "by hand: one transaction, executemany", "by hand: a commit a node"
MODES: tuple[Mode, ...] = ("async", "exit", "sync")


@dataclass(frozen=True)
class Effort:
    """How much to measure. ``safe_rounds`` are those in which each commit waits for the disk."""

    nodes: int = JUDGED
    rounds: int = 31
    safe_rounds: int = 7
    waits: tuple[int, ...] = (JUDGED, 100)
    milliseconds: int = 10
    wait_rounds: int = 15
    items: int = 10_000
    item_rounds: int = 15


QUICK = Effort(rounds=11, safe_rounds=3, wait_rounds=7, item_rounds=5)


def noops(nodes: int) -> flow.Plan:
    """Return a plan of sync nodes that do nothing."""
    return flow.topologies.sparse_random(nodes, seed=1, fn=noop).compile()


def waiting(nodes: int, milliseconds: int) -> flow.Plan:
    """Return a plan of async nodes that wait at the same time."""
    seconds = milliseconds / 1e3

    async def wait() -> str:
        await asyncio.sleep(seconds)
        return DONE

    dag = flow.Dag("waiting")
    for i in range(nodes):
        dag.add(f"n{i}", wait)
    return dag.compile()


def stored(where: Folder, label: str, plan: flow.Plan, mode: Mode, power_safe: bool = False) -> Contender:
    """Return a contender with a store of its own."""
    name = f"{new_id()}.db"
    return durable(label, plan, where.store(mode, power_safe, name), where.store("exit", name=name))


def whole(contender: Contender) -> Contender:
    """Return the same contender, whose figure is that of the whole run."""
    return replace(contender, per=1)


def one(section: str, label: str, samples: list[float], nodes: int, target: Target | None = None) -> Row:
    """Return a row of ratios."""
    return Row(section, label, "x", samples, nodes=nodes, target=target if nodes == JUDGED else None)


def added(samples: Samples, label: str, base: str) -> list[float]:
    """Round by round, what one took more than another; nothing if it took less."""
    return [max(mine - other, 0.0) for mine, other in zip(samples[label], samples[base], strict=True)]


def run(effort: Effort) -> Iterator[list[Row]]:
    """No-ops whose commits do not wait for the disk, and then whose commits do."""
    plan, nodes = noops(effort.nodes), effort.nodes
    judged = {ASYNC: OF_PLAIN} if nodes == JUDGED else {}
    with folder() as where:
        table = where.by_hand(safe=False)
        contenders = [
            plain(PLAINLY, plan, PLAIN), plain(GENERATED, plan), stored(where, ASYNC, plan, "async"),
            stored(where, EXIT, plan, "exit"), by_hand(MANY, table, table.many, plan),
            by_hand(EACH, table, table.each, plan),
        ]  # fmt: skip
        samples = by_clock(interleave(contenders, effort.rounds, memory=False))
    section = "no-op nodes, commits that a loss of power may undo: per node"
    rows = samples.rows(section, "us", targets=judged, nodes=nodes)
    rows.append(one(section, f"async / {MANY}", samples.over(ASYNC, MANY), nodes, OF_MANY))
    more = ratios(added(samples, ASYNC, PLAINLY), samples[MANY])
    rows.append(one(section, f"(async - {PLAINLY}) / {MANY}", more, nodes))
    yield rows
    yield _safe(effort, plan)


def _safe(effort: Effort, plan: flow.Plan) -> list[Row]:
    nodes = effort.nodes
    with folder() as where:
        table = where.by_hand(safe=True)
        contenders = [
            plain(PLAINLY, plan, PLAIN), stored(where, ASYNC, plan, "async", True),
            stored(where, EXIT, plan, "exit", True), stored(where, SYNC, plan, "sync"),
            by_hand(MANY, table, table.many, plan), by_hand(EACH, table, table.each, plan),
        ]  # fmt: skip
        samples = by_clock(interleave(contenders, effort.safe_rounds, memory=False))
    section = "no-op nodes, commits that a loss of power does not undo: per node"
    rows = samples.rows(section, "us", nodes=nodes)
    rows.append(one(section, f"async / {MANY}", samples.over(ASYNC, MANY), nodes))
    rows.append(one(section, f"sync / {EACH}", samples.over(SYNC, EACH), nodes))
    return rows


def waits(effort: Effort) -> Iterator[list[Row]]:
    """Nodes that wait: async mode beside no store, and sync mode beside a commit each."""
    rows: list[Row] = []
    section = f"async nodes that wait {effort.milliseconds} ms at the same time: the whole run"
    for nodes in effort.waits:
        plan = waiting(nodes, effort.milliseconds)
        with folder() as where:
            contenders = [whole(plain(GENERATED, plan)), whole(stored(where, ASYNC, plan, "async"))]
            samples = by_clock(interleave(contenders, effort.wait_rounds, memory=False))
        rows += samples.rows(section, "ms", nodes=nodes, targets={ASYNC: OF_WAITING})
    yield rows
    yield _grouped(effort)


def _grouped(effort: Effort) -> list[Row]:
    nodes, milliseconds = effort.waits[0], effort.milliseconds
    plan = waiting(nodes, milliseconds)
    with folder() as where:
        table = where.by_hand(safe=True)
        contenders = [
            whole(plain(GENERATED, plan)), whole(stored(where, SYNC, plan, "sync")),
            whole(by_hand(EACH, table, table.each, noops(nodes))),
        ]  # fmt: skip
        samples = by_clock(interleave(contenders, effort.safe_rounds, memory=False))
    section = f"async nodes that wait {milliseconds} ms, safe from a loss of power: the whole run"
    rows = samples.rows(section, "ms", nodes=nodes)
    rows.append(one(section, f"sync / {EACH}, no waits", samples.over(SYNC, EACH), nodes, OF_COMMITS))
    more = ratios(added(samples, SYNC, GENERATED), samples[EACH])
    rows.append(one(section, f"(sync - {GENERATED}) / {EACH}, no waits", more, nodes))
    return rows


def transactions(effort: Effort) -> list[Row]:
    """How many transactions a run has, of which a few begin and end it."""
    section, rows = "transactions of a run", []
    plans = {
        "no-op nodes": noops(effort.nodes),
        f"{effort.milliseconds} ms waits": waiting(effort.nodes, effort.milliseconds),
    }
    for what, plan in plans.items():
        for mode in MODES:
            counts = [_transactions(plan, mode) for _ in range(min(5, effort.safe_rounds))]
            by_one = mode == "sync" and plan.all_sync
            row = Row(section, f"{what}, {mode}", "writes", [float(n) for n in counts], nodes=effort.nodes)
            row.target = FEWER if effort.nodes == JUDGED and not by_one else None
            row.figures = {"nodes in each": effort.nodes * len(counts) / sum(counts)}
            row.note = "a commit a node: what runs one after another cannot wait for others" if by_one else ""
            rows.append(row)
    return rows


def _transactions(plan: flow.Plan, mode: Mode) -> int:
    with folder() as where:
        name = f"{new_id()}.db"
        store, watch = watched(where.store(mode, name=name))
        result = flow.run(plan, run_id=new_id(), store=store)
        if fault := outputs_fault(result) or stored_fault(result, plan, where.store("exit", name=name)):
            raise Refused(mode, [fault])
    return watch.count


def items(effort: Effort) -> list[Row]:
    """The items of a map, and what they take in the file."""
    dag = flow.Dag("mapped")
    dag.map("mapped", add_one, over="xs")
    plan, inputs = dag.compile(), {"xs": list(range(effort.items))}
    wanted = [x + 1 for x in inputs["xs"]]

    def way(label: str, store: flow.store.Store | None = None) -> Contender:
        def make() -> Operation:
            name = new_id()
            return lambda: flow.run(plan, inputs, run_id=name, store=store)

        def check(raw: flow.Result) -> str | None:
            fault = expect(wanted, lambda result: result["mapped"])(raw)
            if fault or store is None:
                return fault
            return expect(wanted)(flow.run(plan, run_id=raw.run_id, store=store)["mapped"])

        return Contender(label, make, check, effort.items)

    section = "items of a map: per item"
    with folder() as where:
        modes = [way(ASYNC, where.store("async")), way(EXIT, where.store("exit"))]
        samples = by_clock(interleave([way(GENERATED), *modes], effort.item_rounds, memory=False))
        rows = samples.rows(section, "us", nodes=effort.items)
        path = where.path / "bytes.db"
        bytes_of = []
        for _ in range(2):  # what a second run adds: the first one has made the tables
            with flow.store.open(path) as store:
                flow.run(plan, inputs, run_id=new_id(), store=store)
            bytes_of.append(size_of(path))
    more = (bytes_of[1] - bytes_of[0]) / effort.items
    return [*rows, Row(section, "in the file", "bytes", figure=more, nodes=effort.items)]


def add_one(xs: int) -> int:
    """An item."""
    return xs + 1
