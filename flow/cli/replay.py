"""How well a replayed trace was run: its wall time beside the least time it could take."""

from __future__ import annotations

import os
import sys
from typing import Any, Literal, TypeAlias

import msgspec

from flow.config import Config
from flow.config.run import DEFAULT_WORKERS
from flow.graph.dag import Dag
from flow.run.api import run
from flow.run.result import Result

Work: TypeAlias = Literal["noop", "sleep", "cpu"]


class Figures(msgspec.Struct, frozen=True):
    """Seconds, except for ``efficiency`` (bound / wall) and ``overhead_us`` (microseconds per node).

    :ivar workers: nodes that can make progress at once; None is unbounded.
    :ivar bound: the least possible wall time: ``critical_path`` unbounded, else
        ``max(critical_path, serial / workers)``. No-ops have none.
    """

    work: str
    scale: float
    nodes: int
    wall_time: float
    workers: int | None
    critical_path: float
    serial: float
    bound: float
    efficiency: float | None
    overhead_us: float


def figures(result: Result, work: Work, scale: float, config: Config) -> Figures:
    """Compare a finished replay with its bounds."""
    plan, wall, workers = result.plan, result.wall_time, workers_of(work, config)
    critical, serial = (0.0, 0.0) if work == "noop" else (plan.critical_path().length, plan.serial_time())
    if not plan.costs:  # no node has a runtime: the plan would count nodes
        critical = serial = 0.0
    bound = critical if workers is None else max(critical, serial / workers)
    efficiency = bound / wall if bound > 0 else None
    return Figures(
        work, scale, len(plan), wall, workers, critical, serial, bound, efficiency, (wall - bound) / len(plan) * 1e6
    )


def warm_up(config: Config) -> None:
    """Load what the first sleep on an event loop loads, so that the replay's wall time is its own."""
    from anyio.lowlevel import checkpoint

    async def once() -> None:
        await checkpoint()

    dag = Dag("warm-up")
    dag.add("once", once)
    run(dag, config=Config(backend=config.backend, mode=config.mode, limit=config.limit, blocking_after=None))


def workers_of(work: Work, config: Config) -> int | None:
    """Return how many nodes can make progress at once under ``config``; None if nothing bounds them."""
    if config.mode == "inline":
        return 1
    limit = None if config.limit == "auto" else config.limit
    if config.mode == "workers" and config.limit is None:
        limit = DEFAULT_WORKERS
    if work != "cpu":
        return limit
    if config.executor == "inline" or _has_gil():  # one thread computes at a time, whatever the limit
        return 1
    cores = getattr(os, "process_cpu_count", os.cpu_count)() or 1  # 3.13, the first without a lock, tells those allowed
    return min(config.threads, cores, limit or config.threads)


def lines(f: Figures) -> list[str]:
    """The figures as aligned text."""
    if f.work == "noop":
        return [f"  overhead per node  {_readable(f.overhead_us)} us"]
    ratio = "critical path" if f.workers is None else f"max(critical path, serial / {f.workers})"
    if f.work == "cpu" and f.workers == 1:
        ratio += ": one thread computes at a time"
    rows: list[tuple[str, Any]] = [
        ("critical path", f"{f.critical_path:.4g} s"),
        ("serial", f"{f.serial:.4g} s"),
        ("bound", f"{f.bound:.4g} s = {ratio}"),
        ("efficiency", "-" if f.efficiency is None else f"{f.efficiency:.1%} of the bound"),
        ("overhead per node", f"{_readable(f.overhead_us)} us"),
    ]
    return [f"  {label:<17}  {value}" for label, value in rows]


def _has_gil() -> bool:
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def _readable(number: float) -> str:
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"
