"""What resumptions leave behind in a process: memory, open files, threads."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, TypeAlias

import psutil

import flow
from flow_bench.harness.child import answer, child
from flow_bench.harness.contender import require
from flow_bench.harness.rows import Row, Target
from flow_bench.harness.work import DONE
from flow_bench.suites.durable.stores import Folder, folder

NONE = Target(0.0, of="figure", binding=True)
OF_MEMORY = Target(1.0, of="figure", binding=True)
"""MB that thousands of resumptions may leave: pages that SQLite and the allocator keep."""
Opened: TypeAlias = Callable[[], AbstractContextManager[flow.store.Store]]
WAYS = {"one": "one store, kept open", "each": "a store opened for each"}


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    :ivar warm: resumptions before, with one store: until SQLite has filled its caches, of 2 MB a connection.
    :ivar warm_each: the same with a store for each, which has nothing to fill.
    """

    times: int = 5_000
    warm: int = 6_000
    warm_each: int = 500


QUICK = Effort(times=1_000, warm_each=300)


class Node:
    """The second of three nodes: it ends the process's part in the run once, as Ctrl-C would."""

    def __init__(self) -> None:
        self.cuts = True
        self.count = 0

    def __call__(self, first: str) -> str:
        """Stop, or go on."""
        if self.cuts:
            raise KeyboardInterrupt
        self.count += 1
        return first


def held() -> dict[str, float]:
    """What this process has."""
    gc.collect()
    process = psutil.Process()
    files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
    found = {"MB": process.memory_info().rss / 1e6, "files": files, "threads": threading.active_count()}
    return found | {"blocks": sys.getallocatedblocks()}


def resumed(way: str, times: int, warm: int) -> dict[str, Any]:
    """Interrupt runs and go on with them, so often; return what is held more than before, and seconds."""
    node = Node()
    dag = flow.Dag("resumed")
    dag.add("first", lambda: DONE)
    dag.add("second", node)
    dag.add("third", lambda second: second)
    plan, before, began = dag.compile(), {}, 0.0
    with folder() as where:
        kept = nullcontext(where.store("async")) if way == "one" else None
        opened = partial(_opened, where) if kept is None else lambda: kept
        for turn in range(-warm, times):
            if turn == 0:
                before, began = held(), perf_counter()
            _one(plan, node, f"r{turn + warm}", opened)
        took = perf_counter() - began
        after = held()
    require(node.count == warm + times, way, f"{node.count} of {warm + times} runs have gone on")
    return {name: after[name] - before[name] for name in before} | {"seconds": took}


@contextmanager
def _opened(where: Folder) -> Iterator[flow.store.Store]:
    with flow.store.open(where.path / "runs.db") as store:
        yield store


def _one(plan: flow.Plan, node: Node, name: str, opened: Opened) -> None:
    for cuts in (True, False):
        node.cuts = cuts
        try:
            with opened() as store:
                result = flow.run(plan, run_id=name, store=store)
            require(not cuts and result["third"] == DONE, "a resumption", "its last node has not run")
        except KeyboardInterrupt:
            require(cuts, "a resumption", "it was cut off")


def run(effort: Effort) -> Iterator[list[Row]]:
    """What resumptions leave behind, with one store and with a store for each."""
    for way, label in WAYS.items():
        warm = effort.warm if way == "one" else effort.warm_each
        found = child("suites.durable.resuming", "resumed", way, effort.times, warm)
        section = f"what {effort.times:,} resumptions in one process leave behind: {label}"
        each = found["seconds"] / effort.times * 1e3
        per = {"blocks_per_1000": found["blocks"] * 1_000 / effort.times}
        yield [
            Row(section, "resident memory", "MB", figure=found["MB"], better="zero", target=OF_MEMORY, figures=per),
            Row(section, "open files", "files", figure=found["files"], better="zero", target=NONE),
            Row(section, "threads", "threads", figure=found["threads"], better="zero", target=NONE),
            Row(section, "run, interrupt, resume", "ms", figure=each),
        ]


if __name__ == "__main__":
    answer(resumed)
