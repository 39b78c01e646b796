"""Nodes that compute, and nodes that block as they must not: the service answers, and says whose fault it is."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from client import PATIENCE
from running import API, eventually, on_loop, served
from served import process

import flow
from flow.errors import BlockingNodeWarning

PROGRAM = Path(__file__).parent / "programs" / "served_runs.py"


class Ticking:
    """A sync run in a thread that counts until the test ends it."""

    def __init__(self) -> None:
        self.ticks, self.ended = 0, threading.Event()
        self.dag = flow.Dag("ticks")
        self.dag.add("count", self._count)

    def _count(self) -> int:
        while not self.ended.wait(0.001):
            self.ticks += 1
        return self.ticks


@on_loop
async def test_a_node_that_blocks_the_loop_is_named_and_threads_go_on() -> None:
    ticking, dag = Ticking(), flow.Dag("blocks", config=flow.Config(blocking_after=0.01))

    @dag.node
    async def blocks() -> int:
        before, until = ticking.ticks, time.monotonic() + PATIENCE
        while ticking.ticks < before + 20 and time.monotonic() < until:  # no one else has the loop meanwhile
            time.sleep(0.001)
        return ticking.ticks - before

    @dag.node
    async def waits() -> None:
        await asyncio.sleep(0)

    async with served({"ticks": ticking.dag, "blocks": dag}) as door:
        run = await door.run_of("ticks")
        await eventually(lambda: ticking.ticks)
        with pytest.warns(BlockingNodeWarning, match="node 'blocks' held the event loop"):
            got = await door.sent(f"{API}/workflows/blocks/runs")
        assert got.json["outputs"]["blocks"] >= 20
        ticking.ended.set()
        await door.until(run, "completed")


@on_loop
async def test_sync_nodes_of_mixed_plans_leave_the_loop_to_others() -> None:
    """Several at once: each waits in its thread until the loop has answered a request."""
    answered, inside, dag = threading.Event(), list[threading.Thread](), flow.Dag("mixed")

    @dag.node
    async def before() -> int:
        return 1

    def computes(before: int) -> bool:
        inside.append(threading.current_thread())
        return answered.wait(PATIENCE)

    for i in range(3):
        dag.add(f"computes{i}", computes)
    async with served(dag) as door:
        runs = [await door.run_of("mixed") for _ in range(2)]
        await eventually(lambda: len(inside) == 6)
        assert threading.main_thread() not in inside and len(set(inside)) == 6
        assert (await door.got("/health")).json == {"status": "ok"}
        answered.set()
        for run in runs:
            outputs = (await door.until(run, "completed"))["outputs"]
            assert outputs == {"computes0": True, "computes1": True, "computes2": True}


def latencies(port: int, seconds: float) -> list[float]:
    """Ask for /health again and again on one connection; return how long each answer took."""
    found, until = [], time.perf_counter() + seconds
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        while time.perf_counter() < until:
            began = time.perf_counter()
            connection.request("GET", "/health")
            assert connection.getresponse().read() == b'{"status":"ok"}'
            found.append(time.perf_counter() - began)
            time.sleep(0.005)
    return found


def post(port: int, path: str, body: Any) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request("POST", API + path, json.dumps(body), {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="processes are ended by signals")
def test_nodes_that_compute_do_not_hold_health() -> None:
    """By real time, beside what the machine itself does to an idle service: A14 says 100 ms."""
    told = []
    with process([sys.executable, str(PROGRAM), "{}"]) as server:
        port = int(server.line(str.isdigit))
        for _ in range(5):
            idle = max(latencies(port, 0.7))
            for name in ("spin", "spin", "spin", "spins"):  # 3 threads for runs, and 4 for nodes
                assert post(port, f"/workflows/{name}/runs?wait=0", {"inputs": {"seconds": 0.8}})[0] == 202
            busy = max(latencies(port, 0.7))
            told.append((idle, busy))
            if busy < 0.1:
                return
            for _ in range(3):
                post(port, "/workflows/spin/runs", {"inputs": {"seconds": 0.01}})  # waits until threads are free
    assert min(busy / max(idle, 0.02) for idle, busy in told) < 5, told


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="processes are ended by signals")
def test_nodes_that_never_return_do_not_keep_the_process_from_ending() -> None:
    with process([sys.executable, str(PROGRAM), '{"grace": 0.1, "ending": 0.1}']) as server:
        port = int(server.line(str.isdigit))
        for name in ("stuck", "stuck_mixed"):
            assert post(port, f"/workflows/{name}/runs?wait=0", {"inputs": {}})[0] == 202
        server.line(lambda _: server.lines.count("stuck") == 2)
        server.send(signal.SIGTERM)
        assert server.ended() == 0
        assert server.text.count("has not ended 0.1 s after its cancellation") == 2
