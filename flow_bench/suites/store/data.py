"""The data suite: what a store's operations cost, by configuration, and that nothing is lost among threads.

Operations and presets (``cost``), threads (``threads``), memory strategies and interning (``memory``), growing stores
and runs (:mod:`flow_bench.micro.test_data`); here: all of a store at once, and a run as its store shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from operator import eq
from typing import Any

import msgspec

import flow
from flow_bench.harness.contender import Contender, again, ready, repeated
from flow_bench.harness.interleave import Samples, interleave
from flow_bench.harness.rows import Row, Target, chosen
from flow_bench.harness.work import Work
from flow_bench.micro import measuring
from flow_bench.suites.store import cost as data_cost
from flow_bench.suites.store import memory as data_memory
from flow_bench.suites.store import threads as data_threads

CASES = ("keys", "strings", "nodes", "configurations", "arena", "saved")
"""The sections that are tests of :mod:`flow_bench.micro.test_data`."""
STANDARD = flow.DataConfig.preset("metrics_disabled")


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    sizes: tuple[int, ...] = (10, 1_000, 100_000)  # keys
    stores: int = 20  # snapshots, and so on, in one sample
    rounds: int = 15
    reads: int = 1_000  # of a run's outputs and statuses, in one sample
    read_rounds: int = 31
    run_rounds: int = 101
    encoded: int = 1_000  # values
    sections: tuple[str, ...] = ()  # all if empty
    cost: data_cost.Effort = field(default_factory=data_cost.Effort)
    cases: measuring.Effort = field(default_factory=measuring.Effort)
    threads: data_threads.Effort = field(default_factory=data_threads.Effort)
    memory: data_memory.Effort = field(default_factory=lambda: data_memory.Effort(rounds=3))


QUICK = Effort(
    stores=8, rounds=5, read_rounds=9, run_rounds=15, cost=data_cost.QUICK, cases=measuring.QUICK,
    threads=data_threads.QUICK, memory=data_memory.QUICK,
)  # fmt: skip


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows of one table after another."""
    yield from chosen(INTERLEAVED, effort)
    if cases := [name for name in CASES if not effort.sections or name in effort.sections]:
        yield from measuring.measure("data", effort.cases, cases)  # pytest is started once for all


CONSTANT = ("snapshot", "restore", "clone")
OPERATIONS = (*CONSTANT, "restore that frees what was written", "first write after a snapshot")


class Stores:
    """Several stores of ``keys`` values, each with a snapshot of them."""

    def __init__(self, keys: int, stores: int) -> None:
        self.values = {f"key:{i}": i for i in range(keys)}
        self.held = [flow.WorkflowData(STANDARD) for _ in range(stores)]
        for data in self.held:
            for key, value in self.values.items():
                data.set(key, value)
        self.first = [data.snapshot() for data in self.held]
        self.second: list[flow.data.Snapshot] = []

    def write(self, value: int = -1) -> list[flow.WorkflowData]:
        for data in self.held:
            data.set("key:0", value)
        return self.held

    def write_unseen(self) -> None:
        """Set one key, of which nobody holds a snapshot."""
        self.second = []
        self.write()

    def write_and_snapshot(self) -> None:
        """Set one key, and hold snapshots of that."""
        self.write()
        self.second = [data.snapshot() for data in self.held]

    def restore(self) -> list[flow.WorkflowData]:
        for data, snapshot in zip(self.held, self.first, strict=True):
            data.restore(snapshot)
        return self.held

    def hold(self, value: int, found: list[Any]) -> bool:
        """Tell whether the last that was found has all values, and ``value`` under the first key."""
        return len(found) == len(self.held) and dict(found[-1].items()) == {**self.values, "key:0": value}


def whole_ways(keys: int, stores: int) -> list[Contender]:
    """Each operation on stores that were written to since the last one."""
    mine = Stores(keys, stores)
    operations: list[tuple[Callable[[], Any], Callable[[], object], int]] = [
        (lambda: [data.snapshot() for data in mine.held], mine.write_unseen, -1),
        (mine.restore, mine.write_and_snapshot, 0),
        (lambda: [data.clone() for data in mine.held], mine.write_unseen, -1),
        (mine.restore, mine.write_unseen, 0),
        (partial(mine.write, -2), mine.write_and_snapshot, -2),
    ]
    return [
        ready(f"{name}, {keys:,} keys", operation, partial(mine.hold, value), stores, before)
        for name, (operation, before, value) in zip(OPERATIONS, operations, strict=True)
    ]


def whole_section(effort: Effort) -> Iterator[list[Row]]:
    """O(1) until the first write after; what is left of 10,000 times the keys is the processor's caches."""
    section = "all of a standard store, ratio to the smallest"
    ways = [way for keys in effort.sizes for way in whole_ways(keys, effort.stores)]
    samples = interleave(ways, effort.rounds)
    rows: list[Row] = []
    for name in OPERATIONS:
        first, *larger = (f"{name}, {keys:,} keys" for keys in effort.sizes)
        flat = dict.fromkeys(larger if name in CONSTANT else (), Target(3.0))
        rows += samples.only(first, *larger).rows(section, "us", targets=flat)
    yield rows


def bytes_section(effort: Effort) -> Iterator[list[Row]]:
    """To bytes and back, beside msgspec with a dict, which checks nothing."""
    section = f"{effort.encoded:,} small records to bytes and back, ratio to msgspec alone with a dict"
    values = {f"user:{i}": {"id": i, "name": f"user {i}", "score": i / 2} for i in range(effort.encoded)}
    data = flow.WorkflowData(STANDARD)
    for key, value in values.items():
        data.set(key, value)
    rows = []
    for name, codec, write, read in (
        ("JSON", msgspec.json, data.to_json, flow.WorkflowData.from_json),
        ("msgpack", msgspec.msgpack, data.to_msgpack, flow.WorkflowData.from_msgpack),
    ):
        ways = [
            ready(f"{name}: msgspec", _there_and_back(codec.encode, codec.decode, values), values.__eq__),
            ready(f"{name}: WorkflowData", _there_and_back(write, read), lambda found: dict(found.items()) == values),
        ]
        rows += interleave(ways, effort.read_rounds).rows(section, "ms")
    yield rows


def _there_and_back(write: Callable[..., bytes], read: Callable[[bytes], Any], *values: Any) -> Callable[[], Any]:
    return lambda: read(write(*values))


GET = "ctx.data.get(key)"
LOOKS: dict[str, tuple[str, Any]] = {
    "ctx.data.outputs[name]": ('data.outputs["n7"]', 7),
    "ctx.data.statuses[name]": ('data.statuses["n7"]', flow.Status.COMPLETED),
    "ctx.data.is_runnable(name)": ('data.is_runnable("n7")', False),
    GET: ('data.get("key")', 7),
}
"""Ways to look, each with its expression and what that gives."""
LOOP = """
def looks(data, times):
    found = None
    for _ in range(times):
        found = {}
    return found
"""


def access_section(effort: Effort) -> Iterator[list[Row]]:
    """From inside the last of 100 nodes, in each way that a run knows what is done; and after the run."""
    section = "a run as its store shows it (100 nodes), ratio to getting a value"
    rows = []
    for what, config in (("fixed order", flow.Config()), ("counting", flow.Config(keep=["n7", "looks"]))):
        rows += looked_at(config, effort).rows(section, "us", GET, prefix=f"inside a run, {what}: ")
    yield rows + looked_at(None, effort).rows(section, "us", GET, prefix="after a run: ")


def looked_at(config: flow.Config | None, effort: Effort) -> Samples:
    """Seconds per look, from a node that depends on 100 others; None: from outside, when the run has ended."""
    dag = flow.Dag("looked-at")
    for i in range(100):
        dag.add(f"n{i}", partial(int, i))

    def looks(ctx: flow.Context) -> Samples:
        return look(ctx.data, effort)

    if config is None:
        return look(flow.run(dag).data, effort)
    dag.add("looks", looks, after=[f"n{i}" for i in range(100)])
    samples: Samples = flow.run(dag, config=config)["looks"]
    return samples


def look(data: flow.WorkflowData, effort: Effort) -> Samples:
    """Seconds per look of each kind."""
    data.set("key", 7)
    ways = []
    for label, (expression, expected) in LOOKS.items():
        made: dict[str, Any] = {}
        exec(LOOP.format(expression), made)  # code of its own for each, as timeit makes it
        ways.append(ready(label, partial(made["looks"], data, effort.reads), partial(eq, expected), effort.reads))
    return interleave(ways, effort.read_rounds)


def unused_section(effort: Effort) -> Iterator[list[Row]]:
    """What a run pays for a store that no node asks for: nothing per node, and setting one attribute per run."""
    section = "a run that does not use its store: us per run, ratio to the same run"
    store = flow.WorkflowData()
    rows = []
    for nodes in (1, 1_000):
        plan = Work.of(flow.topologies.linear(nodes)).plan("sync")
        times = max(1, 1_000 // nodes)
        label = f"{nodes:,} node{'s' if nodes > 1 else ''}"
        forget = partial(store.attach, None)  # what it shows of the run before is not freed on this one's time
        ways = [
            repeated(label, partial(flow.run, plan), times, _all_left),
            repeated(f"{label}, again", partial(flow.run, plan), times, _all_left),
            repeated(f"{label}, data=store", partial(flow.run, plan, data=store), times, _all_left, before=forget),
        ]
        targets = {ways[-1].label: Target(1.1)} if nodes > 1 else {}
        rows += interleave(ways, effort.run_rounds).rows(section, "us", targets=targets)
    yield rows


def _all_left(result: flow.Result) -> bool:
    return result.ok and len(result.outputs) == len(result.plan)


def recycled_section(effort: Effort) -> Iterator[list[Row]]:
    """What could be used again from run to run: the store, and the list that a run keeps its outputs in."""
    dag = flow.Dag("writes")
    dag.add("write", _write)
    plan = dag.compile()
    times, settings = 1_000, flow.DataConfig.preset("metrics_disabled")
    pool = flow.WorkflowData.pool(settings)
    config = flow.Config(data=settings)
    done = partial(eq, len(_KEYS))
    ways = [
        repeated("its own store", lambda: flow.run(plan, config=config)["write"], times, done),
        repeated("a store from a pool", partial(_run_pooled, plan, pool), times, done),
    ]
    section = "a run of one node that writes ten values to its store, ratio to one with its own"
    yield interleave(ways, effort.run_rounds).rows(section, "us")
    rows = []
    for nodes in (10, 1_000):
        blank, outputs = [None] * nodes, [object()] * nodes
        used = outputs.copy()
        done = partial(_is_blank, nodes)
        loops = max(1, 100_000 // nodes)
        ways = [
            ready(f"{nodes:,} outputs, made anew", again(lambda n=nodes: [None] * n, loops), done, loops),  # type: ignore[misc]
            ready(f"{nodes:,} outputs, reset by a slice", again(partial(_reset, used, blank), loops), done, loops,
                  partial(_reset, used, outputs)),
        ]  # fmt: skip
        section = "the list of a run's outputs, ratio to one made anew"
        rows += interleave(ways, effort.run_rounds).rows(section, "us")
    yield rows


def _write(ctx: flow.Context) -> int:
    for key in _KEYS:
        ctx.data[key] = 1
    return len(ctx.data)


_KEYS = [f"key {i}" for i in range(10)]


def _run_pooled(plan: flow.Plan, pool: flow.memory.ObjectPool[flow.WorkflowData]) -> Any:
    with pool.acquire() as data:
        return flow.run(plan, data=data)["write"]


def _reset(used: list[Any], blank: list[Any]) -> list[Any]:
    used[:] = blank
    return used


def _is_blank(nodes: int, found: list[list[Any]]) -> bool:
    return all(len(one) == nodes for one in found) and set(found[-1]) == {None}


INTERLEAVED: Mapping[str, Callable[[Effort], Iterator[list[Row]]]] = {
    "cost": lambda effort: data_cost.cost_rows(effort.cost),
    "mixed": lambda effort: data_cost.mixed_rows(effort.cost),
    "presets": lambda effort: data_cost.preset_rows(effort.cost),
    "whole": whole_section,
    "bytes": bytes_section,
    "access": access_section,
    "unused": unused_section,
    "recycled": recycled_section,
    "threads": lambda effort: data_threads.run(effort.threads),
    "memory": lambda effort: data_memory.run(effort.memory),
}
SECTIONS = (*INTERLEAVED, *CASES)
