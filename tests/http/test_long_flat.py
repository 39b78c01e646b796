"""Requests leave nothing behind but the summaries that are kept, however many come."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from running import API, Calls, Reader, chain, eventually, on_loop, served

import flow
from flow.http import Limits

PROGRAM = Path(__file__).parent / "programs" / "served_runs.py"


def objects() -> Counter[str]:
    """Count the objects that there are by kind, but for the timers that were cancelled: asyncio keeps up to 100.

    And but for what is logged, which pytest keeps: so much a second, the more the slower the machine is.
    """
    for handler in logging.getLogger().handlers:
        getattr(handler, "records", []).clear()
    gc.collect()
    found = Counter(type(one).__qualname__ for one in gc.get_objects())
    del found["TimerHandle"], found["Context"]
    return found


def mixed() -> flow.Dag:
    dag = flow.Dag("mixed")

    @dag.node
    async def one(n: int) -> int:
        await asyncio.sleep(0)
        return n

    dag.add("two", lambda one: one + 1)
    return dag


async def flat(ask: Any, rounds: int, each: int) -> None:
    """Check that no kind of objects becomes more with every round of requests: by one in four of them, say.

    (In one round or another some do: what is imported late.)
    """
    counts = []
    for _ in range(rounds):
        for n in range(each):
            await ask(n)
        counts.append(objects())
    pairs = list(zip(counts, counts[1:], strict=False))
    grown = {kind: [after[kind] - before[kind] for before, after in pairs] for kind in counts[-1]}
    more = {kind: by for kind, by in grown.items() if min(by) > each / 4}
    assert not more, more


@on_loop
async def test_quick_runs_in_the_handler() -> None:
    dag = flow.Dag("quick")
    dag.add("one", lambda n: {"n": n})
    async with served(dag, limits=Limits(finished=100)) as door:

        async def ask(n: int) -> None:
            got = await door.sent(f"{API}/workflows/quick/runs", {"inputs": {"n": n}})
            assert got.status == 200

        await flat(ask, rounds=10, each=2_000)  # 20,000 in all
        assert door.service.runs.statistics["ended"] == 100


@pytest.mark.parametrize("durable", [False, True], ids=["memory", "store"])
@on_loop
async def test_other_ways(durable: bool) -> None:
    """In threads, on the loop, failed, refused, cancelled, watched, listed."""
    calls = Calls()
    calls.fails = True
    store = {"store": flow.store.memory()} if durable else {}
    workflows = {"chain": chain(calls, holds=""), "mixed": mixed()}
    async with served(workflows, limits=Limits(finished=10), **store) as door:

        async def ask(n: int) -> None:
            for name in workflows:
                got = await door.sent(f"{API}/workflows/{name}/runs", {"inputs": {"n": n} if name == "mixed" else {}})
                assert got.status == 200
            run = got.json["id"]
            assert (await door.sent(f"{API}/workflows/mixed/runs", {"inputs": {"m": n}})).status == 422
            assert (await door.got(f"{API}/runs/{run}")).status == 200
            assert (await door.cancel(run)).status == 409
            assert (await Reader(door, run).ended()).status == 200
            assert (await door.got(f"{API}/runs?limit=3")).status == 200
            calls.made.clear()
            if durable:
                await eventually(lambda: not door.service.runs.live)
                door.service.store.delete([row.id for row in door.service.store.runs()])  # type: ignore[union-attr]

        await flat(ask, rounds=5, each=30)


@on_loop
async def test_runs_that_are_cancelled_and_clients_that_go() -> None:
    dag = flow.Dag("waits")

    @dag.node
    async def waits() -> None:
        await asyncio.Event().wait()

    async with served(dag, limits=Limits(finished=10)) as door:

        async def ask(n: int) -> None:
            run = await door.run_of("waits")
            reader = Reader(door, run)
            await reader.until(lambda r: r.of("run"))
            await reader.leave()
            await door.cancel(run)
            await door.until(run, "cancelled")

        await flat(ask, rounds=5, each=20)


class Asking(threading.Thread):
    """Sends so many requests on one connection."""

    def __init__(self, port: int, count: int) -> None:
        super().__init__()
        self.port, self.count = port, count
        self.statuses: Counter[int] = Counter()

    def run(self) -> None:
        body, headers = json.dumps({"inputs": {"seconds": 0}}), {"content-type": "application/json"}
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            for _ in range(self.count):
                connection.request("POST", f"{API}/workflows/spin/runs", body, headers)
                answer = connection.getresponse()
                answer.read()
                self.statuses[answer.status] += 1


WRK = """
wrk.method = "POST"
wrk.body = '{"inputs": {"seconds": 0}}'
wrk.headers["content-type"] = "application/json"
"""


def asked_by_wrk(port: int, count: int, script: Path) -> None:
    """Send at least so many requests by wrk, which takes a fraction of the time."""
    script.write_text(WRK, encoding="utf-8")
    url, done = f"http://127.0.0.1:{port}{API}/workflows/spin/runs", 0
    while done < count:
        told = subprocess.run(
            ["wrk", "-t1", "-c8", "-d5s", "-s", str(script), url], capture_output=True, encoding="utf-8", check=True
        ).stdout
        found = re.search(r"(\d+) requests in", told)
        assert found is not None and "Non-2xx" not in told and "Socket errors" not in told, told
        done += int(found[1])


def asked_by_threads(port: int, count: int) -> None:
    """Send so many requests, where there is no wrk."""
    threads = [Asking(port, count // 8) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum((thread.statuses for thread in threads), Counter()) == {200: count // 8 * 8}


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_million_requests_leave_the_memory_flat(tmp_path: Path) -> None:
    pytest.importorskip("uvicorn")
    from served import process

    asked: Any = partial(asked_by_wrk, script=tmp_path / "post.lua") if shutil.which("wrk") else asked_by_threads
    with process([sys.executable, str(PROGRAM), "{}"]) as server:
        port = int(server.line(str.isdigit))
        asked(port, 50_000)  # fills what is kept of ended runs
        before = resident(server.process.pid)
        asked(port, 1_000_000)
        grown = resident(server.process.pid) - before
        assert grown < 4 * 2**20, f"{grown / 2**20:.1f} MB"
