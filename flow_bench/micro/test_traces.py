"""The traces suite: real workflows as no-ops, and replayed with a bound on what runs at once.

``noop``: nodes that do nothing, so the figure is the engine's own cost per node.

``replay``: nodes that wait for their task's measured runtime, scaled so that the least possible time is
:data:`SECONDS`. That is the critical path or, with N at a time, ``max(critical path, serial / N)`` if that is
longer; the row's efficiency is it over the wall time. Little of what is missing to 1 is the engine's: asyncio waits
whole milliseconds, and many a task is scaled to less. So the figure ``schedule`` says what efficiency the same order
of tasks would have if each waited for milliseconds rounded up and nothing else took any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from heapq import heappop, heappush
from math import ceil
from pathlib import Path
from typing import Any

import flow
from flow_bench.harness.contender import Operation
from flow_bench.harness.work import DONE, noop, noop_async
from flow_bench.micro.case import Case, table

SECONDS, QUICK_SECONDS = 0.2, 0.1
LIMITS = (2, 8, 32, None)

TRACES = {
    "helloworld-chain-5-chameleon": 5,
    "srasearch-chameleon-10a-001": 22,
    "sarek-dirt02-001": 26,
    "1000genome-chameleon-2ch-100k-001": 52,
    "blast-chameleon-large-001": 103,
    "rnaseq-dirt02-001": 197,
    "epigenomics-chameleon-hep-3seq-50k-001": 445,
    "seismology-chameleon-500p-001": 501,
    "montage-chameleon-2mass-02d-001": 619,
    "debian12-gnome-closure": 887,
    "1000genome-chameleon-22ch-250k-001": 902,
    "bwa-chameleon-medium-001": 1_004,
    "epigenomics-chameleon-ilmn-6seq-50k-001": 1_695,
}
"""Every trace and its number of tasks."""

QUICK_REPLAYS = ("rnaseq-dirt02-001", "1000genome-chameleon-2ch-100k-001")
"""Two of those that come with the repository."""

_ROOT = Path(__file__).resolve().parents[2]
FOLDERS = (_ROOT / "tests" / "data", _ROOT.parent / "shared" / "workloads")
"""Where the traces may be: the few that come with the repository, and all of them beside it."""


def find(name: str) -> Path | None:
    """The file of a trace, plain or gzipped; None if it is in none of :data:`FOLDERS`."""
    files = [folder / f"{name}{suffix}" for folder in FOLDERS for suffix in (".json", ".json.gz")]
    return next((file for file in files if file.is_file()), None)


def _case(section: str, name: str, series: str, path: Path | None, **more: Any) -> Case:
    missing = "" if path else "its file is not here"
    return Case(name, section=section, size=TRACES[name], series=series, missing=missing, **more)


@table
def test_noop(quick: bool) -> Iterator[Case]:
    """Two rows per trace; where its file is not here, they say so."""
    for name, tasks in TRACES.items():
        for series, fn, go in (("sync", noop, flow.run), ("async", noop_async, flow.execute)):
            make = partial(_noop, find(name), fn, go)
            more: dict[str, Any] = {"is_async": series == "async", "per": tasks}
            yield _case("noop", name, series, find(name), make=make, check=partial(_fault, tasks), **more)


def _noop(path: Path | None, fn: Callable[..., Any], go: Callable[..., Any]) -> Operation:
    assert path is not None  # else the case is missing, and never made
    return partial(go, flow.traces.load(path, work=lambda task: fn).compile())


def _fault(tasks: int, result: flow.Result) -> str | None:
    """Every task has been run, and has returned what its function does."""
    done = list(result.outputs.values()).count(DONE)
    return None if result.ok and done == tasks == len(result.plan) else f"{done} of {tasks} tasks did their work"


class Replay:
    """One trace, one limit.

    :param plan: of the trace, with its measured runtimes as costs.
    :param seconds: what the least possible time is scaled to.
    """

    def __init__(self, path: Path, plan: flow.Plan, limit: int | None, seconds: float) -> None:
        self.path = path
        self.tasks = len(plan)
        self.limit = limit
        self.ideal = seconds
        self.scale = seconds / bound(plan, limit)
        self.running = self.most = 0
        self.plan = plan

    def make(self) -> Operation:
        """Load the trace with tasks that wait."""
        self.plan = flow.traces.load(self.path, work=self._work).compile()
        return self.run

    def _work(self, task: flow.traces.Task) -> Callable[..., Any]:
        seconds = (task.runtime or 0.0) * self.scale

        async def wait(*upstream: object) -> str:
            self.running += 1
            if self.running > self.most:
                self.most = self.running
            await asyncio.sleep(seconds)
            self.running -= 1
            return DONE

        return wait

    async def run(self) -> tuple[flow.Result, int]:
        """Run it; return the result, and how many tasks were running at most."""
        self.most = 0
        return await flow.execute(self.plan, config=flow.Config(limit=self.limit)), self.most

    def check(self, raw: tuple[flow.Result, int]) -> str | None:
        """Say what is wrong with a run: a task left out, more at once than allowed, or less waited than stated."""
        result, most = raw
        if fault := _fault(self.tasks, result):
            return fault
        if self.limit is not None and most > self.limit:
            return f"{most} tasks ran at once, and the limit is {self.limit}"
        if result.wall_time < 0.98 * self.ideal:
            return f"it took {result.wall_time:.4f} s, and cannot take less than {self.ideal:.4f} s"
        return None


@table
def test_replay(quick: bool) -> Iterator[Case]:
    """A row per trace and limit."""
    shape: dict[str, Any] = {"is_async": True, "waits": True, "unit": "ms", "rounds": 3 if quick else 7}
    for name in [name for name in TRACES if not quick or name in QUICK_REPLAYS]:
        path = find(name)
        plan = flow.traces.load(path).compile() if path else None
        for limit in LIMITS:
            series = "unbounded" if limit is None else f"{limit} at a time"
            if path is None or plan is None:
                yield _case("replay", name, series, path, make=lambda: None, check=lambda raw: None, **shape)
                continue
            replay = Replay(path, plan, limit, QUICK_SECONDS if quick else SECONDS)
            costs = [ceil(plan.costs.get(node, 0.0) * replay.scale * 1e3) / 1e3 for node in plan]
            figures = {"schedule": replay.ideal / makespan(plan, costs, limit)}
            more = shape | {"ideal": replay.ideal, "figures": figures}
            yield _case("replay", name, series, path, make=replay.make, check=replay.check, **more)


def bound(plan: flow.Plan, limit: int | None) -> float:
    """The least seconds that the plan's costs can take with ``limit`` nodes at a time."""
    critical = plan.critical_path().length
    return critical if limit is None else max(critical, plan.serial_time() / limit)


def makespan(plan: flow.Plan, costs: Sequence[float], limit: int | None) -> float:
    """Seconds until all is done with ``limit`` nodes at a time, if nothing but ``costs`` counts. O(n log n + e)."""
    resolver, now = flow.plan.Resolver(plan), 0.0
    running: list[tuple[float, int]] = []
    while True:
        while (limit is None or len(running) < limit) and (i := resolver.take()) >= 0:
            heappush(running, (now + costs[i], i))
        if not running:
            return now
        now, i = heappop(running)
        resolver.done(i)
