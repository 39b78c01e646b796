"""What the seams cost: hooks, observers, known outcomes, executors; each beside the same run without them."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import flow
from flow.metrics import Counts
from flow_bench.harness.contender import Contender, Operation, ready
from flow_bench.harness.interleave import interleave, interleave_on_loop
from flow_bench.harness.loops import HOT, LOOP, flow_execute, flow_run, on_graph, outputs_of
from flow_bench.harness.rows import Row
from flow_bench.harness.work import DONE, Work, noop

SECTION = "seams, per node"
EXECUTORS = "executors, per call"


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    rounds: int = 21
    nodes: int = 1_000  # of the graph that runs with hooks
    calls: int = 400  # nodes that run in an executor, all ready at once


QUICK = Effort(rounds=5)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield two tables: hooks and known outcomes, then executors."""
    work = Work.of(flow.topologies.sparse_random(effort.nodes, max_in_degree=3, seed=1))
    samples = interleave(_sync(), effort.rounds, work)
    rows = samples.rows(SECTION, "us", NONE, per=effort.nodes, prefix="sync, no event loop: ", nodes=effort.nodes)
    for kind, what in (("async", "async"), ("sync", "sync, on a loop")):
        ways = [
            on_graph(name, partial(flow_execute, kind=kind, config=config), outputs_of)
            for name, config in ((NONE, LOOP), *HOOKS.items())
        ]
        samples = asyncio.run(interleave_on_loop(ways, effort.rounds, work))
        rows += samples.rows(SECTION, "us", NONE, per=effort.nodes, prefix=f"{what}: ", nodes=effort.nodes)
    yield rows
    yield asyncio.run(_executors(effort))


def told(outcome: object) -> None:
    """Do nothing with an outcome."""


async def told_async(outcome: object) -> None:
    """Do nothing with an outcome, and do not suspend."""


def asked(call: object) -> None:
    """Have no answer to a call."""


def seen(event: object) -> None:
    """Do nothing with an event."""


HOOKS: Mapping[str, flow.Config] = {
    "on_outcome": flow.Config(on_outcome=lambda: told),
    "async on_outcome": flow.Config(on_outcome=lambda: told_async),
    "before_call": flow.Config(before_call=lambda: asked),
    "an observer": flow.Config(observers=(seen,)),
    "the observer of flow.metrics": flow.Config(observers=(Counts().observe,)),
}
NONE = "no hook"
NO_HOOK = {NONE: LOOP, "no hook, generated code": HOT}


def _sync() -> list[Contender]:
    def known(work: Work) -> Operation:
        return partial(flow.run, work.plan("sync"), known={work.names[0]: DONE}, config=LOOP)

    hooks = {name: HOOKS[name] for name in HOOKS if name != "async on_outcome"}
    return [
        *(on_graph(name, partial(flow_run, config=config), outputs_of) for name, config in (NO_HOOK | hooks).items()),
        on_graph("known= one node", known, outputs_of),
    ]


async def _executors(effort: Effort) -> list[Row]:
    """A run whose nodes are calls in an executor, beside ``submit`` alone."""
    dag = flow.Dag("calls")
    for k in range(effort.calls):
        dag.add(f"n{k}", noop, executor="pool")
    plan, rows, done = dag.compile(), [], [DONE] * effort.calls
    # not forked: this process has threads
    processes = partial(ProcessPoolExecutor, 2, mp_context=multiprocessing.get_context("spawn"))
    makers: dict[str, Callable[[], Executor]] = {"ThreadPoolExecutor": ThreadPoolExecutor, "two processes": processes}
    for what, make in makers.items():
        with make() as pool:
            config = flow.Config(executors={"pool": pool})
            ways = [
                ready("submit alone", partial(_submitted, pool, effort.calls), done.__eq__, effort.calls),
                ready("flow.execute", partial(flow.execute, plan, config=config),
                      lambda result: list(result.outputs.values()) == done, effort.calls),
            ]  # fmt: skip
            samples = await interleave_on_loop(ways, effort.rounds, waits=True)
        rows += samples.rows(EXECUTORS, "us", prefix=f"{what}: ", nodes=effort.calls)
    return rows


async def _submitted(pool: Executor, calls: int) -> list[str]:
    return [future.result() for future in [pool.submit(noop) for _ in range(calls)]]
