"""The end of a service: what is asked of it then, and what becomes of the runs that go on."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from client import PATIENCE
from running import API, Calls, Reader, asking, chain, eventually, on_loop, served

import flow
from flow.http import Limits, driving
from flow.store.store import Store

both = pytest.mark.parametrize("durable", [False, True], ids=["memory", "store"])
RUNS = f"{API}/workflows/chain/runs"


def stores(durable: bool) -> dict[str, Any]:
    return {"store": flow.store.memory()} if durable else {}


@both
@on_loop
async def test_no_new_run_and_no_retry_while_it_ends(durable: bool) -> None:
    calls = Calls()
    async with served(chain(calls), **stores(durable)) as door:
        asked = asyncio.create_task(door.sent(RUNS, {"run_id": "r"}))
        await calls.in_node()
        assert (await door.got("/ready")).json == {"status": "ready"}
        draining = asyncio.create_task(door.service.drain(PATIENCE))
        await asyncio.sleep(0)
        ready = await door.got("/ready")
        assert (ready.status, ready.json) == (503, {"status": "draining"})
        for path in (RUNS, f"{API}/workflows/trigger", f"{API}/runs/r/retry"):
            got = await door.sent(path, {"workflow": "chain"} if "trigger" in path else None)
            assert got.status == 503 and got.headers["retry-after"] and "shutting down" in got.json["detail"], path
        assert (await door.got("/live")).status == 200
        assert (await door.got("/health")).json["status"] == "draining"
        assert (await door.view("r"))["status"] == "running"
        assert not draining.done()
        calls.opened.set()
        await draining
        got = await asked
        assert (got.status, got.json["status"]) == (200, "completed")


@both
@on_loop
async def test_queued_runs_run_as_well_within_the_grace(durable: bool) -> None:
    calls = Calls()
    async with served(chain(calls), limits=Limits(runs=1), **stores(durable)) as door:
        asked = [asyncio.create_task(door.sent(RUNS)) for _ in range(3)]
        await calls.in_node()
        await eventually(lambda: door.service.places.queued == 2)
        draining = asyncio.create_task(door.service.drain(PATIENCE))
        calls.opened.set()
        await draining
        assert [(await one).json["status"] for one in asked] == ["completed"] * 3


@on_loop
async def test_streams_end_first_and_runs_in_their_time() -> None:
    calls = Calls()
    async with served(chain(calls)) as door:
        run = await door.run_of("chain")
        await calls.in_node()
        reader = Reader(door, run)
        await reader.until(lambda r: r.of("node"))
        draining = asyncio.create_task(door.service.drain(PATIENCE))
        await reader.ended()
        assert not draining.done() and door.service.streams == 0
        late = await Reader(door, run).ended()  # one that comes now ends at once
        assert late.of("end") == []
        calls.opened.set()
        await draining


@on_loop
async def test_after_the_grace_runs_are_cancelled_with_their_cleanup() -> None:
    calls, tidied = Calls(), list[str]()
    dag = flow.Dag("async")

    @dag.node
    async def waits() -> None:
        await asyncio.Event().wait()

    dag.add("tidy", lambda: tidied.append("tidy"), after=["waits"], cleanup=True)
    async with served({"chain": chain(calls), "async": dag}, limits=Limits(runs=2)) as door:
        paths = [RUNS, f"{API}/workflows/async/runs"]
        asked = [asyncio.create_task(door.sent(path)) for path in paths]
        await calls.in_node()
        await eventually(lambda: any(live.handle for live in door.service.runs.live.values()))
        asked.append(asyncio.create_task(door.sent(RUNS)))
        await eventually(lambda: door.service.places.queued)
        draining = asyncio.create_task(door.service.drain(0.01))
        await eventually(lambda: tidied)
        calls.opened.set()
        await draining
        found = [await one for one in asked]
        assert [(one.status, one.json["status"]) for one in found] == [(200, "cancelled")] * 3
        assert calls.made == ["a", "b", "tidy"] and found[2].json["detail"] == "it was cancelled before it began"
        assert not door.service.runs.live and not door.service.drives._tasks


@on_loop
async def test_with_a_store_the_next_service_goes_on_where_they_were() -> None:
    backend, calls, more = flow.store.memory().backend, Calls(), Calls()
    async with served(chain(calls), store=Store(backend)) as door:
        asked = asyncio.create_task(door.sent(RUNS, {"run_id": "r"}))
        await calls.in_node()
        draining = asyncio.create_task(door.service.drain(0.01))
        live = door.service.runs.live["r"]
        await eventually(lambda: live.asked)
        calls.opened.set()
        await draining
        got = await asked  # it has been accepted: it goes on, and where is said
        assert got.status == 202 and got.headers["location"] == f"{API}/runs/r"
        assert got.json["detail"] == "the service is shutting down: the run goes on at its next start"
        assert got.json["status"] == "running" and "cancelled" not in got.json["counts"]
        assert Store(backend).run("r").status == "running" and Store(backend).run("r").owner == ""
        assert "c" not in calls.made
    async with served(chain(more, holds=""), store=Store(backend)) as door:
        seen = await door.until("r", "completed")
        assert seen["outputs"] == {"c": "c"}
        assert [name for name in more.made if name in ("a", "b")] == [], "finished nodes are not run again"


@on_loop
async def test_with_a_store_a_run_on_the_loop_is_let_go_of() -> None:
    backend, made, held = flow.store.memory().backend, list[str](), asyncio.Event()
    dag = flow.Dag("async")

    @dag.node
    async def first() -> int:
        made.append("first")
        return 1

    @dag.node
    async def second(first: int) -> int:
        made.append("second")
        await held.wait()
        return first + 1

    async with served(dag, store=Store(backend)) as door:
        asked = asyncio.create_task(door.sent(f"{API}/workflows/async/runs", {"run_id": "r"}))
        await eventually(lambda: "second" in made)
        await door.service.drain(0.01)
        got = await asked
        assert got.status == 202 and got.json["counts"] == {"completed": 1, "running": 1}
    held.set()
    async with served(dag, store=Store(backend)) as door:
        assert (await door.until("r", "completed"))["outputs"] == {"second": 2}
        assert made == ["first", "second", "second"]


@on_loop
async def test_with_a_store_runs_that_wait_are_let_go_of_at_once() -> None:
    backend = flow.store.memory().backend
    async with served(asking(), store=Store(backend)) as door:
        runs = [await door.run_of("asking") for _ in range(3)]
        for run in runs:
            await door.until(run, "waiting")
        async with asyncio.timeout(PATIENCE):
            await door.service.drain(3_600.0)
    async with served(asking(), store=Store(backend)) as door:
        for run in runs:
            await door.until(run, "waiting")
            await door.signal(run, "approve", 2)
            await door.until(run, "completed")


@on_loop
async def test_with_a_store_one_that_begins_to_wait_meanwhile_is_too() -> None:
    begun, opened, backend = asyncio.Event(), asyncio.Event(), flow.store.memory().backend
    dag = flow.Dag("late")

    @dag.node
    async def first() -> None:
        begun.set()
        await opened.wait()

    dag.signal("go", after=["first"])
    async with served(dag, store=Store(backend)) as door:
        await door.run_of("late")
        await begun.wait()
        draining = asyncio.create_task(door.service.drain(3_600.0))
        await asyncio.sleep(0)
        opened.set()
        async with asyncio.timeout(PATIENCE):
            await draining


@on_loop
async def test_without_a_store_one_that_waits_takes_signals_until_the_end() -> None:
    async with served(asking()) as door:
        asked = asyncio.create_task(door.sent(f"{API}/workflows/asking/runs", {"run_id": "r"}))
        await eventually(lambda: "r" in door.service.runs.live and door.service.runs.live["r"].board.resting)
        draining = asyncio.create_task(door.service.drain(PATIENCE))
        await asyncio.sleep(0)
        assert (await door.signal("r", "approve", 1)).status == 202
        await draining
        assert (await asked).json["status"] == "completed"


class TestRunsThatDoNotEnd:
    @both
    @on_loop
    async def test_in_a_thread(self, durable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(driving, "ENDING", 0.05)
        calls, store = Calls(), stores(durable)
        async with served(chain(calls), **store) as door:
            asked = asyncio.create_task(door.sent(RUNS, {"run_id": "r"}))
            await calls.in_node()
            await door.service.drain(0.01)
            got = await asked
            assert got.status == (202 if durable else 200)
            assert got.json["status"] == ("running" if durable else "cancelled")
            assert not door.service.runs.live
            calls.opened.set()  # it returns after all: nobody is told
            await eventually(lambda: not door.service.drives._tasks)

    @both
    @on_loop
    async def test_in_a_thread_of_a_mixed_plan(self, durable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(driving, "ENDING", 0.05)
        entered, opened = threading.Event(), threading.Event()
        dag = flow.Dag("mixed")

        @dag.node
        async def first() -> int:
            return 1

        @dag.node
        def second(first: int) -> int:
            entered.set()
            assert opened.wait(PATIENCE)
            return first

        async with served(dag, **stores(durable)) as door:
            asked = asyncio.create_task(door.sent(f"{API}/workflows/mixed/runs"))
            await eventually(entered.is_set)
            await door.service.drain(0.01)
            assert (await asked).status == (202 if durable else 200)
            assert not door.service.runs.live
            opened.set()
            await eventually(lambda: not door.service.drives._tasks)

    @on_loop
    async def test_on_the_loop(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(driving, "ENDING", 0.05)
        begun, opened = asyncio.Event(), asyncio.Event()
        dag = flow.Dag("stubborn")

        @dag.node
        async def stubborn() -> None:
            begun.set()
            while not opened.is_set():
                try:
                    await opened.wait()
                except asyncio.CancelledError:
                    continue

        async with served(dag) as door:
            asked = asyncio.create_task(door.sent(f"{API}/workflows/stubborn/runs"))
            await begun.wait()
            await door.service.drain(0.01)
            assert (await asked).json["status"] == "cancelled"
            opened.set()
            await eventually(lambda: not door.service.drives._tasks)


@on_loop
async def test_twice_is_once() -> None:
    async with served(chain(Calls(), holds="")) as door:
        assert (await door.sent(RUNS)).json["status"] == "completed"
        await asyncio.gather(door.service.drain(1.0), door.service.drain(1.0))
        await door.service.drain(0.0)
        assert (await door.got(f"{API}/runs")).status == 200


@on_loop
async def test_by_the_lifespan_of_a_server() -> None:
    async with served(chain(Calls(), holds="")) as door:
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        told = list[str]()

        async def receive() -> Any:
            return messages.pop(0)

        async def send(message: Any) -> None:
            told.append(message["type"])

        await door.service({"type": "lifespan"}, receive, send)
        assert told == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
        assert door.service.readiness == "draining"
