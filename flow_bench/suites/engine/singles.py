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
from flow_bench.harness.contender import Refused
from flow_bench.harness.interleave import schedule
from flow_bench.harness.loops import EAGER
from flow_bench.harness.rows import US, Row, Target, percentile, ratios
from flow_bench.harness.work import DONE, Work, noop, noop_async

MS = 1e3
SECTION = "single figures"


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
    rows += asyncio.run(one_node_async(effort))
    rows += asyncio.run(waiting(effort))
    rows += asyncio.run(layers(effort))
    rows += asyncio.run(two_chains(effort))
    rows += pictures(effort)
    yield rows
    yield asyncio.run(crowd(effort))
    yield asyncio.run(ticker(effort))


def one_node(fn: Callable[..., Any]) -> flow.Plan:
    """A compiled plan of one node."""
    dag = flow.Dag("one")
    dag.add("only", fn)
    return dag.compile()


def one_node_sync(effort: Effort) -> list[Row]:
    """``flow.run`` of a compiled one-node sync plan: the fixed price of a run, and of looking the output up."""
    plan = one_node(noop)
    batch, samples, looked = range(effort.batch), [], []
    for turn, _ in schedule(1, effort.batches):
        began = perf_counter()
        results = [flow.run(plan) for _ in batch]
        between = perf_counter()
        outputs = [result["only"] for result in results]
        ended = perf_counter()
        _require(outputs.count(DONE) == len(batch), "flow.run of one node")
        if turn >= 0:
            samples.append((between - began) / len(batch) * US)
            looked.append((ended - between) / len(batch) * US)
    return [
        Row(SECTION, "flow.run of one sync node", "us", samples, nodes=1, target=Target(5.0, of="figure")),
        Row(SECTION, "  and result[name]", "us", looked, nodes=1),
    ]


def pictures(effort: Effort) -> list[Row]:
    """``flow.render.to_svg`` of 300 nodes, the most that get a box each: laid out, untangled and written."""
    rows = []
    nodes = 300
    for what, dag in (
        ("12 layers", flow.topologies.layered(12, nodes // 12, 2, seed=1)),
        ("random, long edges", flow.topologies.sparse_random(nodes, max_in_degree=2, seed=1)),
    ):
        plan, samples = dag.compile(), []
        for turn, _ in schedule(1, effort.pictures):
            began = perf_counter()
            svg = flow.render.to_svg(plan)
            took = perf_counter() - began
            _require(svg.count('class="flow-box"') == nodes, "a picture")
            if turn >= 0:
                samples.append(took * MS)
        label = f"picture of 300 nodes, {what}"
        rows.append(Row(SECTION, label, "ms", samples, nodes=nodes, target=Target(10.0, of="figure")))
    return rows


async def one_node_async(effort: Effort) -> list[Row]:
    """``await flow.execute`` of a compiled one-node plan in a running loop, sync and async node."""
    rows = []
    for what, fn in (("async", noop_async), ("sync", noop)):
        plan, batch, samples = one_node(fn), range(effort.batch), []
        for turn, _ in schedule(1, effort.batches):
            await asyncio.sleep(0)
            began = perf_counter()
            results = [await flow.execute(plan) for _ in batch]
            took = perf_counter() - began
            _require([r["only"] for r in results].count(DONE) == len(batch), "flow.execute of one node")
            if turn >= 0:
                samples.append(took / len(batch) * US)
        target = Target(10.0, of="figure")
        rows.append(Row(SECTION, f"await flow.execute of one {what} node", "us", samples, nodes=1, target=target))
    return rows


async def _in_turn(
    what: str, rounds: int, *runs: tuple[Callable[[], Awaitable[list[str]]], int]
) -> list[list[float]]:
    """Return the milliseconds that each of ``runs`` takes, by round; each comes with how many outputs it must give."""
    samples: list[list[float]] = [[] for _ in runs]
    for turn, which in schedule(len(runs), rounds):
        run, count = runs[which]
        await asyncio.sleep(0)
        began = perf_counter()
        outputs = await run()
        took = perf_counter() - began
        _require(outputs.count(DONE) == count, what)
        if turn >= 0:
            samples[which].append(took * MS)
    return samples


async def waiting(effort: Effort) -> list[Row]:
    """Independent nodes that each await ``anyio.sleep(0.01)``, beside a bare task for each; wall time."""
    count = effort.waiting_nodes

    async def wait() -> str:
        await anyio.sleep(0.01)
        return DONE

    dag = flow.Dag("waiting")
    for i in range(count):
        dag.add(f"n{i}", wait)
    plan = dag.compile()

    async def tasks() -> list[str]:
        loop = asyncio.get_running_loop()
        if EAGER:
            made = [asyncio.Task(wait(), loop=loop, eager_start=True) for _ in range(count)]  # type: ignore[call-arg,unused-ignore]
        else:
            made = [loop.create_task(wait()) for _ in range(count)]
        return [await task for task in made]

    async def execute() -> list[str]:
        return list((await flow.execute(plan)).outputs.values())

    samples = await _in_turn("waiting nodes", effort.waiting_rounds, (tasks, count), (execute, count))
    what = f"{count:,} nodes that sleep 10 ms"
    return [
        Row(SECTION, f"{what}: {'eager ' if EAGER else ''}tasks", "ms", samples[0], nodes=count),
        Row(
            SECTION, f"{what}: flow.execute", "ms", samples[1], ratios=ratios(samples[1], samples[0]), nodes=count,
            target=Target(1.1),
        ),
    ]  # fmt: skip


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
    plan = dag.compile()

    async def gathered() -> list[str]:
        loop, values = asyncio.get_running_loop(), [DONE] * side
        options: dict[str, Any] = {"eager_start": True} if EAGER else {}
        for _ in range(10):
            values = await asyncio.gather(*[asyncio.Task(once(value), loop=loop, **options) for value in values])
        return values

    async def execute() -> list[str]:
        return list((await flow.execute(plan)).outputs.values())

    samples = await _in_turn("layers", effort.waiting_rounds, (gathered, side), (execute, 10 * side))
    what = f"10 layers of {side} nodes that suspend once"
    return [
        Row(SECTION, f"{what}: gathered {'eager ' if EAGER else ''}tasks", "ms", samples[0], nodes=10 * side),
        Row(
            SECTION, f"{what}: flow.execute", "ms", samples[1], ratios=ratios(samples[1], samples[0]), nodes=10 * side,
        ),
    ]  # fmt: skip


async def _crowd(
    long: flow.Plan, small: flow.Plan, count: int, ended: list[float], gaps: list[float]
) -> list[flow.Result]:
    """Run ``small`` behind ``count`` times ``long``; note in ms when it ended, and the length of the loop's turns."""
    began, over = perf_counter(), asyncio.Event()

    async def ticker() -> None:
        last = perf_counter()
        while not over.is_set():
            await asyncio.sleep(0)
            now = perf_counter()
            gaps.append((now - last) * MS)
            last = now

    async def late() -> flow.Result:
        result = await flow.execute(small)
        ended.append((perf_counter() - began) * MS)
        return result

    beside = asyncio.ensure_future(ticker())
    runs = [asyncio.ensure_future(flow.execute(long)) for _ in range(count)]
    results = await asyncio.gather(late(), *runs)
    over.set()
    await beside
    return results


async def crowd(effort: Effort) -> list[Row]:
    """A small run that is submitted behind many long ones, all of nodes that never wait; and a ticker beside them."""
    long, small = (Work.of(flow.topologies.linear(n)).plan("sync") for n in (effort.crowd_nodes, 10))
    ended: list[float] = []
    gaps: list[float] = []
    for _ in range(effort.crowd_rounds):
        results = await _crowd(long, small, effort.crowd, ended, gaps)
        _require(all(len(result) == len(result.plan) for result in results), "a crowd of runs")
    section, what = "many runs on one loop", f"behind {effort.crowd} runs of {effort.crowd_nodes:,} sync nodes"
    return [
        Row(section, f"10 nodes {what}: ended after", "ms", ended, nodes=10, target=Target(250.0, of="figure")),
        Row(section, f"longest turn of the loop {what}", "ms", [max(gaps)], nodes=10),
    ]


async def two_chains(effort: Effort) -> list[Row]:
    """Chains of 10, 50, 10, 40 and 50, 10, 40, 10 ms: 110 ms each; with a barrier per level, 190 ms."""
    dag = flow.Dag("two-chains")
    for chain, steps in (("a", (10, 50, 10, 40)), ("b", (50, 10, 40, 10))):
        for k, ms in enumerate(steps):
            dag.add(f"{chain}{k}", partial(anyio.sleep, ms / MS), after=[f"{chain}{k - 1}"] if k else ())
    plan = dag.compile()
    samples = []
    for _ in range(effort.chain_rounds):
        began = perf_counter()
        result = await flow.execute(plan)
        samples.append((perf_counter() - began) * MS)
        _require(len(result) == len(plan), "two chains")
    target = Target(115.0, of="figure")
    return [Row(SECTION, "two uneven chains, critical path 110 ms", "ms", samples, nodes=8, target=target)]


async def ticker(effort: Effort) -> list[Row]:
    """How late a 1 ms ticker is beside large runs on its loop. Plans exist before; the collector is on, as usual."""
    work = Work.of(flow.topologies.sparse_random(effort.ticker_nodes, max_in_degree=3, seed=1))
    nodes = f"{effort.ticker_nodes:,}"
    rows = []
    late, pauses = await _beside(partial(anyio.sleep, 0.05), effort.ticker_runs)
    rows += _lateness("nothing else on the loop", late, pauses, judged=False)
    for what, kind in (("async no-op", "async"), ("sync no-op", "sync"), ("async, 1st suspends", "suspending")):
        plan = work.plan(kind)
        late, pauses = await _beside(partial(flow.execute, plan), effort.ticker_runs)
        rows += _lateness(f"{nodes} {what} nodes", late, pauses, judged=True)
    return rows


async def _beside(operation: Callable[[], Awaitable[Any]], times: int) -> tuple[list[float], list[float]]:
    """Run ``operation`` so often beside a ticker.

    :return: in ms, how late each tick was that was due while it ran, and the collector's pauses meanwhile.
    """
    ticks: list[tuple[float, float]] = []
    late: list[float] = []
    pauses: list[float] = []
    began = 0.0

    async def tick() -> None:
        while True:
            due = perf_counter() + 0.001
            await asyncio.sleep(0.001)
            ticks.append((due, perf_counter()))

    def collecting(phase: str, _: object) -> None:
        nonlocal began
        if phase == "start":
            began = perf_counter()
        else:
            pauses.append((perf_counter() - began) * MS)

    turn = 0
    while turn < times or not late:  # a run shorter than a tick may see none
        turn += 1
        gc.collect()
        task = asyncio.create_task(tick())
        await asyncio.sleep(0.003)
        gc.callbacks.append(collecting)
        start = perf_counter()
        made = await operation()
        end = perf_counter()
        gc.callbacks.remove(collecting)
        await asyncio.sleep(0.003)  # the tick that was due when the run ended counts too
        task.cancel()
        await asyncio.wait([task])
        _require(made is None or len(made) == len(made.plan), "a run beside the ticker")
        late += [(woke - due) * MS for due, woke in ticks if woke >= start and due <= end]
        ticks.clear()
    return late, pauses


def _lateness(what: str, late: list[float], pauses: list[float], *, judged: bool) -> list[Row]:
    worst = max(pauses, default=0.0)
    note = f"{len(late)} ticks; collector: {len(pauses)} pauses, {sum(pauses):.1f} ms in all, longest {worst:.1f} ms"
    figures = [
        ("p50", percentile(late, 50), None, ""),
        ("p99", percentile(late, 99), Target(10.0, of="figure"), ""),
        ("max", max(late), Target(50.0, of="figure"), note),
    ]
    return [
        Row(
            "1 ms ticker, late by", f"{what}: {label}", "ms", late, figure=figure, target=target if judged else None,
            note=text,
        )
        for label, figure, target, text in figures
    ]  # fmt: skip


def _require(true: bool, label: str) -> None:
    if not true:
        raise Refused(label, ["not every node left its output"])
