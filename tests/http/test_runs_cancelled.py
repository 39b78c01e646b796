"""Runs that are cancelled wherever they are: in the queue, in a thread, on the loop, waiting, in another process."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from running import API, Calls, asking, breaking, chain, eventually, on_loop, served

import flow
from flow.http import Limits
from flow.store.store import Store


def stores(with_store: bool) -> dict[str, Any]:
    return {"store": flow.store.memory()} if with_store else {}


both = pytest.mark.parametrize("durable", [False, True], ids=["memory", "store"])


@both
@on_loop
async def test_in_a_thread_it_ends_before_the_next_node_and_cleans_up(durable: bool) -> None:
    calls, store = Calls(), stores(durable)
    async with served(chain(calls), **store) as door:
        run = await door.run_of("chain")
        await calls.in_node()
        got = await door.cancel(run)
        assert (got.status, got.json) == (202, {"id": run, "status": "running"})
        if durable:  # the writer tells the run of it
            await eventually(lambda: next(iter(store["store"].writer._journals)).cancel_asked)
        calls.opened.set()
        seen = await door.until(run, "cancelled", "failed", "completed")
        assert seen["status"] == "cancelled" and seen["errors"] == {}
        assert calls.made == ["a", "b", "tidy"]
        assert seen["counts"].get("cancelled") == (2 if durable else 1), seen
        assert (await door.cancel(run)).status == 409
    if durable:
        assert store["store"].run(run).status == "cancelled"


@both
@on_loop
async def test_who_waits_for_the_answer_gets_it(durable: bool) -> None:
    calls, store = Calls(), stores(durable)
    async with served(chain(calls), **store) as door:
        asked = asyncio.create_task(door.sent(f"{API}/workflows/chain/runs", {"run_id": "r"}))
        await calls.in_node()
        assert (await door.cancel("r")).status == 202
        if durable:
            await eventually(lambda: next(iter(store["store"].writer._journals)).cancel_asked)
        calls.opened.set()
        got = await asked
        assert got.status == 200 and got.json["status"] == "cancelled" and got.json["id"] == "r"


@both
@on_loop
async def test_on_the_loop_it_ends_at_once_and_cleans_up(durable: bool) -> None:
    store, begun, tidied = stores(durable), asyncio.Event(), list[str]()
    dag = flow.Dag("async")

    @dag.node
    async def waits() -> None:
        begun.set()
        await asyncio.Event().wait()

    dag.add("tidy", lambda: tidied.append("tidy"), after=["waits"], cleanup=True)
    async with served(dag, **store) as door:
        run = await door.run_of("async")
        await begun.wait()
        assert (await door.cancel(run)).status == 202
        seen = await door.until(run, "cancelled", "failed")
        assert seen["status"] == "cancelled" and tidied == ["tidy"]
        assert {node["node"]: node["status"] for node in seen["nodes"]} == {"waits": "cancelled", "tidy": "completed"}
        assert (await door.cancel(run)).status == 409
    if durable:
        assert store["store"].run(run).status == "cancelled"


@both
@on_loop
async def test_a_waiting_run(durable: bool) -> None:
    store = stores(durable)
    async with served(asking(), **store) as door:
        run = await door.run_of("asking")
        assert (await door.until(run, "waiting"))["waiting"] == ["approve"]
        assert door.service.places.taken == 0
        assert (await door.cancel(run)).status == 202
        assert (await door.until(run, "cancelled"))["status"] == "cancelled"
        assert door.service.places.taken == 0
    if durable:
        assert store["store"].run(run).status == "cancelled"


@both
@on_loop
async def test_in_the_queue_it_ends_at_once_and_is_never_begun(durable: bool) -> None:
    calls, store = Calls(), stores(durable)
    async with served(chain(calls), limits=Limits(runs=1), **store) as door:
        first = await door.run_of("chain")
        await calls.in_node()
        asked = asyncio.create_task(door.sent(f"{API}/workflows/chain/runs", {"run_id": "queued"}))
        await eventually(lambda: door.service.places.queued)
        got = await door.cancel("queued")
        assert (got.status, got.json["status"]) == (202, "cancelled")
        assert door.service.places.queued == 0
        answer = (await asked).json
        assert (answer["status"], answer["detail"]) == ("cancelled", "it was cancelled before it began")
        calls.opened.set()
        await door.until(first, "completed")
        assert calls.made == ["a", "b", "c", "tidy"]


@both
@on_loop
async def test_what_waits_for_a_thread_ends_at_once(durable: bool) -> None:
    calls, store = Calls(), stores(durable)
    async with served(chain(calls), limits=Limits(threads=1), **store) as door:
        first = await door.run_of("chain")
        await calls.in_node()
        asked = asyncio.create_task(door.sent(f"{API}/workflows/chain/runs", {"run_id": "next"}))
        await eventually(lambda: "next" in door.service.runs.live and door.service.threads.busy == 2)
        assert (await door.cancel("next")).json["status"] == "cancelled"
        assert (await asked).json["status"] == "cancelled"
        calls.opened.set()
        await door.until(first, "completed")
        assert calls.made == ["a", "b", "c", "tidy"]
        assert await eventually(lambda: door.service.places.taken == 0)
        if durable:
            assert (await door.got(f"{API}/runs/next")).status == 404


@on_loop
async def test_before_its_first_step() -> None:
    async with served(chain(Calls())) as door:
        drives = door.service.drives
        live = drives.start(door.service.workflows["chain"], {}, None, "r", 0)
        live.cancel()
        await asyncio.wait_for(live.done, 5)
        assert live.status == "cancelled" and not drives._tasks and not door.service.runs.live


@both
@on_loop
async def test_what_there_is_not_and_what_has_ended(durable: bool) -> None:
    async with served(chain(Calls(), holds=""), **stores(durable)) as door:
        assert (await door.cancel("nope")).status == 404
        assert (await door.cancel("..")).status == 400
        done = await door.sent(f"{API}/workflows/chain/runs")
        got = await door.cancel(done.json["id"])
        assert got.status == 409 and "has ended: completed" in got.json["detail"]


@on_loop
async def test_a_run_that_another_worker_drives(tmp_path: Path) -> None:
    """The other one is a second store object on the same file, as another process has it."""
    calls = Calls()
    with flow.store.open(tmp_path / "runs.db") as one, flow.store.open(tmp_path / "runs.db") as other:
        async with served(chain(calls), store=one) as driver, served(chain(Calls()), store=other) as door:
            asked = asyncio.create_task(driver.sent(f"{API}/workflows/chain/runs", {"run_id": "r"}))
            await calls.in_node()
            assert (await door.view("r"))["status"] == "running"
            assert (await door.cancel("r")).status == 202
            await eventually(lambda: next(iter(one.writer._journals)).cancel_asked)
            calls.opened.set()
            assert (await asked).json["status"] == "cancelled"
            assert (await door.until("r", "cancelled"))["errors"] == {}
            assert calls.made == ["a", "b", "tidy"]


@on_loop
async def test_a_waiting_run_that_another_worker_drives() -> None:
    backend = flow.store.memory().backend
    async with served(asking(), store=Store(backend)) as driver, served(asking(), store=Store(backend)) as door:
        asked = asyncio.create_task(driver.sent(f"{API}/workflows/asking/runs", {"run_id": "r"}))
        await eventually(lambda: "r" in driver.service.runs.live and driver.service.runs.live["r"].board.resting)
        assert (await door.cancel("r")).status == 202
        assert (await asked).json["status"] == "cancelled"
        assert (await door.view("r"))["status"] == "cancelled"


@on_loop
async def test_who_asks_for_it_again_is_told_that_it_was_cancelled() -> None:
    store = flow.store.memory()
    async with served(asking(), store=store) as door:
        run = await door.run_of("asking", run_id="r")
        await door.until(run, "waiting")
        await door.cancel(run)
        await door.until(run, "cancelled")
        got = await door.sent(f"{API}/workflows/asking/runs", {"run_id": "r"})
        assert (got.status, got.json["status"]) == (200, "cancelled")


@on_loop
async def test_a_store_that_breaks_when_it_is_asked() -> None:
    calls = Calls()
    backend, store = breaking()
    async with served(chain(calls), store=store) as door:
        run = await door.run_of("chain")
        await calls.in_node()
        backend.broken = "disk full"
        got = await door.cancel(run)
        assert got.status == 503 and "disk full" in got.json["detail"] and "/srv" not in got.text
        backend.broken = ""
        calls.opened.set()
        await eventually(lambda: not door.service.runs.live)


@on_loop
async def test_a_store_is_not_waited_for_without_a_bound() -> None:
    """A run that no place comes free for leaves the queue, and is not in the store: who has asked may ask again."""
    calls, store = Calls(), flow.store.memory()
    async with served(chain(calls), limits=Limits(runs=1, wait=0.05), store=store) as door:
        first = await door.run_of("chain")
        await calls.in_node()
        for headers in ({}, {"prefer": "respond-async"}):
            got = await door.sent(f"{API}/workflows/chain/runs", {"run_id": "late"}, headers=headers)
            assert (got.status, got.headers["retry-after"]) == (503, "1")
            assert got.json["title"] == "Too many runs"
            assert got.json["detail"] == "the run has waited 0.05 s for a place and is not begun: come again later"
            assert list(door.service.runs.live) == [first]
            await eventually(lambda: door.service.places.queued == 0)
            assert (await door.got(f"{API}/runs/late")).status == 404
        calls.opened.set()
        await door.until(first, "completed")
        got = await door.sent(f"{API}/workflows/chain/runs", {"run_id": "late"})
        assert (got.status, got.json["status"]) == (200, "completed")
        assert calls.made == ["a", "b", "c", "tidy"] * 2


@on_loop
async def test_nor_where_threads_are_busy() -> None:
    calls, store = Calls(), flow.store.memory()
    async with served(chain(calls), limits=Limits(threads=1, wait=0.05), store=store) as door:
        first = await door.run_of("chain")
        await calls.in_node()
        got = await door.sent(f"{API}/workflows/chain/runs", {"run_id": "late"})
        assert (got.status, list(door.service.runs.live)) == (503, [first])
        calls.opened.set()
        await door.until(first, "completed")
        await eventually(lambda: door.service.places.taken == 0)
        assert calls.made == ["a", "b", "c", "tidy"]
