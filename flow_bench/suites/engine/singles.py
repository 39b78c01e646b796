"""Single figures of the core suite: one node, nodes that wait, a ticker beside a run, two uneven chains, a picture."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import anyio

import flow
from flow_bench.harness.allocations import collecting
from flow_bench.harness.contender import Contender, Operation, ready, require
from flow_bench.harness.interleave import interleave, interleave_on_loop
from flow_bench.harness.loops import EAGER, eager
from flow_bench.harness.rows import Row, Target, percentile
from flow_bench.harness.work import DONE, Work, noop, noop_async

MS = 1e3
SECTION = "single figures"
TASKS = "eager tasks" if EAGER else "tasks"


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    batches: int = 101  # of one-node runs
    batch: int = 200
    waiting_nodes: int = 1_000
    waiting_rounds: int = 31
    ticker_nodes: int = 100_000
    ticker_runs: int = 40
    chain_rounds: int = 9
    pictures: int = 31
    crowd: int = 100
    crowd_nodes: int = 5_000
    crowd_rounds: int = 9


QUICK = Effort(batches=31, waiting_rounds=15, ticker_runs=10, chain_rounds=5, pictures=11, crowd_rounds=3)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows of one table after another."""
    rows = one_node_sync(effort)
    for one in (one_node_async, waiting, layers, two_chains):
        rows += asyncio.run(one(effort))
    yield rows + pictures(effort)
    yield asyncio.run(crowd(effort))
    yield asyncio.run(ticker(effort))


def at_most(most: float) -> Target:
    """What a figure is to be at most."""
    return Target(most, of="figure")


def one_node(fn: Callable[..., Any]) -> flow.Plan:
    """A compiled plan of one node."""
    return flow.topologies.linear(1, fn=fn).compile()


def one_node_sync(effort: Effort) -> list[Row]:
    """``flow.run`` of a compiled one-node sync plan: the fixed price of a run, and of looking the output up."""
    plan, batch = one_node(noop), range(effort.batch)
    (name,) = plan.names

    def look_up() -> Operation:
        results = [flow.run(plan) for _ in batch]
        return lambda: [result[name] for result in results]

    whole = "flow.run of one sync node"
    ways = [
        ready(whole, lambda: [flow.run(plan) for _ in batch], partial(_all_left, len(batch)), len(batch)),
        Contender("  and result[name]", look_up, partial(_missing, len(batch)), len(batch)),
    ]
    samples = interleave(ways, effort.batches, memory=False)
    return _alone(samples.rows(SECTION, "us", nodes=1, targets={whole: at_most(5.0)}))


async def one_node_async(effort: Effort) -> list[Row]:
    """``await flow.execute`` of a compiled one-node plan in a running loop, sync and async node."""
    rows, batch = [], range(effort.batch)
    for what, fn in (("async", noop_async), ("sync", noop)):
        plan = one_node(fn)

        async def executed(plan: flow.Plan = plan) -> list[flow.Result]:
            return [await flow.execute(plan) for _ in batch]

        label = f"await flow.execute of one {what} node"
        ways = [ready(label, executed, partial(_all_left, len(batch)), len(batch))]
        samples = await interleave_on_loop(ways, effort.batches, memory=False)
        rows += _alone(samples.rows(SECTION, "us", nodes=1, targets={label: at_most(10.0)}))
    return rows


def _alone(rows: list[Row]) -> list[Row]:
    """Rows that stand beside nothing."""
    for row in rows:
        row.ratios, row.cpu = [], []
    return rows


def _all_left(count: int, results: list[flow.Result]) -> bool:
    return [output for result in results for output in result.outputs.values()] == [DONE] * count


def _missing(count: int, outputs: list[Any]) -> str | None:
    return None if outputs.count(DONE) == count else "not every node left its output"


def pictures(effort: Effort) -> list[Row]:
    """``flow.render.to_svg`` of 300 nodes, the most that get a box each: laid out, untangled and written."""
    rows, nodes = [], 300
    for what, dag in (
        ("12 layers", flow.topologies.layered(12, nodes // 12, 2, seed=1)),
        ("random, long edges", flow.topologies.sparse_random(nodes, max_in_degree=2, seed=1)),
    ):
        label = f"picture of 300 nodes, {what}"
        drawn = partial(flow.render.to_svg, dag.compile())
        ways = [ready(label, drawn, lambda svg: svg.count('class="flow-box"') == nodes)]
        samples = interleave(ways, effort.pictures, memory=False)
        rows += _alone(samples.rows(SECTION, "ms", nodes=nodes, targets={label: at_most(10.0)}))
    return rows


async def _beside_tasks(
    what: str, dag: flow.Dag, by_hand: tuple[str, Operation, int], rounds: int, targets: dict[str, Target]
) -> list[Row]:
    """A run of ``dag``, beside tasks written by hand: their name, what starts them, and how many outputs they give."""
    label, tasks, count = by_hand
    plan = dag.compile()

    async def execute() -> list[str]:
        return list((await flow.execute(plan)).outputs.values())

    ways = [
        ready(label, tasks, lambda outputs: outputs.count(DONE) == count),
        ready("flow.execute", execute, lambda outputs: outputs.count(DONE) == len(plan)),
    ]
    samples = await interleave_on_loop(ways, rounds, waits=True, memory=False)
    rows = samples.rows(SECTION, "ms", prefix=f"{what}: ", nodes=len(plan), targets=targets)
    return _alone(rows[:1]) + rows[1:]


async def waiting(effort: Effort) -> list[Row]:
    """Independent nodes that each await ``anyio.sleep(0.01)``, beside a bare task for each; wall time."""
    count = effort.waiting_nodes

    async def wait() -> str:
        await anyio.sleep(0.01)
        return DONE

    dag = flow.Dag("waiting")
    for i in range(count):
        dag.add(f"n{i}", wait)

    async def tasks() -> list[str]:
        return [await task for task in [eager(wait()) for _ in range(count)]]

    what, targets = f"{count:,} nodes that sleep 10 ms", {"flow.execute": Target(1.1)}
    return await _beside_tasks(what, dag, (TASKS, tasks, count), effort.waiting_rounds, targets)


async def layers(effort: Effort) -> list[Row]:
    """Ten layers of nodes that each suspend once, beside as many tasks gathered layer by layer."""
    side = max(2, effort.waiting_nodes // 10)

    async def once(*values: str) -> str:
        await asyncio.sleep(0)
        return DONE

    dag = flow.Dag("layers")
    for layer in range(10):
        for k in range(side):
            dag.add(f"n{layer}-{k}", once, needs=[f"n{layer - 1}-{k}"] if layer else [])

    async def gathered() -> list[str]:
        values = [DONE] * side
        for _ in range(10):
            values = await asyncio.gather(*[eager(once(value)) for value in values])
        return values

    what = f"10 layers of {side} nodes that suspend once"
    return await _beside_tasks(what, dag, (f"gathered {TASKS}", gathered, side), effort.waiting_rounds, {})


async def two_chains(effort: Effort) -> list[Row]:
    """Chains of 10, 50, 10, 40 and 50, 10, 40, 10 ms: 110 ms each; with a barrier per level, 190 ms."""
    dag = flow.Dag("two-chains")
    for chain, steps in (("a", (10, 50, 10, 40)), ("b", (50, 10, 40, 10))):
        for k, ms in enumerate(steps):
            dag.add(f"{chain}{k}", partial(anyio.sleep, ms / MS), after=[f"{chain}{k - 1}"] if k else ())
    plan, samples = dag.compile(), []
    for _ in range(effort.chain_rounds):
        began = perf_counter()
        result = await flow.execute(plan)
        samples.append((perf_counter() - began) * MS)
        _require_all(result, "two chains")
    return [Row(SECTION, "two uneven chains, critical path 110 ms", "ms", samples, nodes=8, target=at_most(115.0))]


async def _crowd(long: flow.Plan, small: flow.Plan, count: int) -> tuple[float, list[float]]:
    """Run ``small`` behind ``count`` times ``long``; return in ms when it ended, and the length of the loop's turns."""
    began, over, gaps, ended = perf_counter(), asyncio.Event(), [], 0.0

    async def ticker() -> None:
        last = perf_counter()
        while not over.is_set():
            await asyncio.sleep(0)
            now = perf_counter()
            gaps.append((now - last) * MS)
            last = now

    async def late() -> flow.Result:
        nonlocal ended
        result = await flow.execute(small)
        ended = (perf_counter() - began) * MS
        return result

    beside = asyncio.ensure_future(ticker())
    runs = [asyncio.ensure_future(flow.execute(long)) for _ in range(count)]
    results = await asyncio.gather(late(), *runs)
    over.set()
    await beside
    for one in results:
        _require_all(one, "a crowd of runs")
    return ended, gaps


async def crowd(effort: Effort) -> list[Row]:
    """A small run that is submitted behind many long ones, all of nodes that never wait; and a ticker beside them."""
    long, small = (Work.of(flow.topologies.linear(n)).plan("sync") for n in (effort.crowd_nodes, 10))
    found = [await _crowd(long, small, effort.crowd) for _ in range(effort.crowd_rounds)]
    ended, longest = [one for one, _ in found], max(max(gaps) for _, gaps in found)
    section, what = "many runs on one loop", f"behind {effort.crowd} runs of {effort.crowd_nodes:,} sync nodes"
    return [
        Row(section, f"10 nodes {what}: ended after", "ms", ended, nodes=10, target=at_most(250.0)),
        Row(section, f"longest turn of the loop {what}", "ms", [longest], nodes=10),
    ]


async def ticker(effort: Effort) -> list[Row]:
    """How late a 1 ms ticker is beside large runs on its loop. Plans exist before; the collector is on, as usual."""
    work = Work.of(flow.topologies.sparse_random(effort.ticker_nodes, max_in_degree=3, seed=1))
    late, pauses = await _beside(partial(anyio.sleep, 0.05), effort.ticker_runs)
    rows = _lateness("nothing else on the loop", late, pauses, judged=False)
    for what, kind in (("async no-op", "async"), ("sync no-op", "sync"), ("async, 1st suspends", "suspending")):
        late, pauses = await _beside(partial(flow.execute, work.plan(kind)), effort.ticker_runs)
        rows += _lateness(f"{effort.ticker_nodes:,} {what} nodes", late, pauses, judged=True)
    return rows


async def _beside(operation: Callable[[], Awaitable[Any]], times: int) -> tuple[list[float], list[float]]:
    """How late, in ms, a ticker was while ``operation`` ran so often, and the collector's pauses meanwhile."""
    ticks: list[tuple[float, float]] = []
    late: list[float] = []
    pauses: list[float] = []

    async def tick() -> None:
        while True:
            due = perf_counter() + 0.001
            await asyncio.sleep(0.001)
            ticks.append((due, perf_counter()))

    turn = 0
    while turn < times or not late:  # a run shorter than a tick may see none
        turn += 1
        gc.collect()
        task = asyncio.create_task(tick())
        await asyncio.sleep(0.003)
        with collecting() as found:
            start = perf_counter()
            made = await operation()
            end = perf_counter()
        await asyncio.sleep(0.003)  # the tick that was due when the run ended counts too
        task.cancel()
        await asyncio.wait([task])
        if made is not None:
            _require_all(made, "a run beside the ticker")
        pauses += [seconds * MS for seconds in found]
        late += [(woke - due) * MS for due, woke in ticks if woke >= start and due <= end]
        ticks.clear()
    return late, pauses


def _lateness(what: str, late: list[float], pauses: list[float], *, judged: bool) -> list[Row]:
    worst = max(pauses, default=0.0)
    note = f"{len(late)} ticks; collector: {len(pauses)} pauses, {sum(pauses):.1f} ms in all, longest {worst:.1f} ms"
    row = partial(Row, "1 ms ticker, late by", unit="ms", samples=late)
    most, slow = (at_most(10.0), at_most(50.0)) if judged else (None, None)
    return [
        row(label=f"{what}: p50", figure=percentile(late, 50)),
        row(label=f"{what}: p99", figure=percentile(late, 99), target=most),
        row(label=f"{what}: max", figure=max(late), target=slow, note=note),
    ]


def _require_all(result: flow.Result, label: str) -> None:
    require(len(result) == len(result.plan), label, "not every node left its output")
