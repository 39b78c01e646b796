"""A service in a process of its own: ``python served_runs.py OPTIONS``. It prints its port once it listens.

Its workflows: ``steps`` (async, three nodes that take a while), ``sync`` (the same in a thread), ``spin`` and ``spins``
(nodes that compute), ``blocks`` (an async node that sleeps as it must not), ``stuck`` and ``stuck_mixed`` (nodes that
never return).
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import time
from typing import Any

import msgspec

import flow
from flow.http import Limits, Service, driving, service
from flow.http.server.listening import listen
from flow.http.server.server import Serving, serve


def spun(seconds: float) -> int:
    count, until = 0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        count += 1
    return count


def steps() -> flow.Dag:
    dag = flow.Dag("steps")

    @dag.node
    async def one(n: int, seconds: float = 0.01) -> int:
        await asyncio.sleep(seconds)
        return n + 1

    @dag.node
    async def two(one: int, seconds: float = 0.01) -> int:
        await asyncio.sleep(seconds)
        return one + 1

    @dag.node
    async def three(two: int) -> int:
        return two + 1

    return dag


def sync() -> flow.Dag:
    dag = flow.Dag("sync")

    @dag.node
    def one(n: int, seconds: float = 0.01) -> int:
        time.sleep(seconds)
        return n + 1

    @dag.node
    def two(one: int, seconds: float = 0.01) -> int:
        time.sleep(seconds)
        return one + 1

    return dag


def spin() -> flow.Dag:
    """A sync plan: it runs in one thread as a whole."""
    dag = flow.Dag("spin")
    dag.add("spun", lambda seconds: spun(seconds))
    return dag


def spins() -> flow.Dag:
    """A mixed plan: its sync nodes have a thread each."""
    dag = flow.Dag("spins")

    @dag.node
    async def before(seconds: float) -> float:
        return seconds

    for i in range(4):
        dag.add(f"spun{i}", lambda before: spun(before))
    return dag


def blocks() -> flow.Dag:
    dag = flow.Dag("blocks")

    @dag.node
    async def sleeps(seconds: float) -> None:
        time.sleep(seconds)

    return dag


def stuck(mixed: bool) -> flow.Dag:
    dag = flow.Dag("stuck_mixed" if mixed else "stuck")

    async def before() -> None: ...

    def never() -> None:
        print("stuck", flush=True)
        threading.Event().wait()

    if mixed:
        dag.add("before", before)
    dag.add("never", never, after=["before"] if mixed else [])
    return dag


def main(
    store: str = "", grace: float = 30.0, ending: float = 5.0, recovery: float = 5.0,
    limits: dict[str, Any] | None = None, durability: Any = "async",
) -> None:  # fmt: skip
    driving.ENDING, service.RECOVERY = ending, recovery  # type: ignore[misc]
    dags = [steps(), sync(), spin(), spins(), blocks(), stuck(False), stuck(True)]
    sockets, made = listen("127.0.0.1", [0]), Limits(**(limits or {}))
    with contextlib.ExitStack() as opened:
        durable = opened.enter_context(flow.store.open(store, durability)) if store else None
        app = Service({dag.name: dag for dag in dags}, store=durable, limits=made)
        print(sockets[0].getsockname()[1], flush=True)
        serve(app, sockets, Serving(limits=made, grace=grace))


if __name__ == "__main__":
    main(**msgspec.json.decode(sys.argv[1]))
