"""What is sent to the signals of runs: of those that go on here, that another process drives, that nobody drives."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from running import API, Calls, Door, asking, breaking, chain, eventually, on_loop, served

import flow
from flow.http import Limits
from flow.store.store import Store

both = pytest.mark.parametrize("durable", [False, True], ids=["memory", "store"])


def stores(durable: bool) -> dict[str, Any]:
    return {"store": flow.store.memory()} if durable else {}


def nested() -> flow.Dag:
    """Two pages, each of which waits for a signal of its own."""
    page, dag = flow.Dag("page"), flow.Dag("book")
    page.signal("approve", type=int)

    @page.node
    async def text(number: int, approve: int) -> str:
        return f"page {number}: {approve}"

    dag.add("numbers", lambda: [7, 8])
    dag.map("pages", page, over="numbers")
    return dag


async def waiting(door: Door, run: str, *addresses: str) -> bool:
    found: list[str] = (await door.view(run)).get("waiting", [])
    return found == list(addresses)


def both_pages(*approved: int) -> Any:
    pages = zip((7, 8), approved, strict=True)
    return {"pages": [{"approve": n, "text": f"page {page}: {n}"} for page, n in pages]}


async def answered(door: Door, run: str, outputs: Any) -> None:
    seen = await door.until(run, "completed", "failed")
    assert (seen["status"], seen["outputs"]) == ("completed", outputs)


@both
@on_loop
async def test_it_goes_on_with_it(durable: bool) -> None:
    async with served(asking(), **stores(durable)) as door:
        run = await door.run_of("asking", {"text": "ab"})
        seen = await door.until(run, "waiting")
        assert seen["waiting"] == ["approve"]
        assert [node["status"] for node in seen["nodes"]] == ["completed", "waiting", "pending"]
        got = await door.signal(run, "approve", 2)
        assert (got.status, got.json) == (202, {"id": run, "sent": "approve"})
        await answered(door, run, {"publish": "abab"})


@both
@on_loop
async def test_who_waits_is_answered_with_what_it_waits_for(durable: bool) -> None:
    async with served(asking(), **stores(durable)) as door:
        got = await door.sent(f"{API}/workflows/asking/runs?wait=0.05", {"run_id": "r"})
        assert got.status == 202 and got.json["status"] == "waiting" and got.json["waiting"] == ["approve"]
        asked = asyncio.create_task(door.sent(f"{API}/workflows/asking/runs", {"run_id": "r"}))
        await asyncio.sleep(0)
        assert (await door.signal("r", "approve", 3)).status == 202
        got = await asked
        if got.status == 200:
            assert got.json["outputs"] == {"publish": "xxx"}
        await answered(door, "r", {"publish": "xxx"})


@both
@on_loop
async def test_nested_addresses(durable: bool) -> None:
    async with served(nested(), **stores(durable)) as door:
        run = await door.run_of("book")
        await eventually(lambda: len(door.service.runs.live[run].board.waiting) == 2)
        assert (await door.view(run))["waiting"] == ["pages#0.approve", "pages#1.approve"]
        assert (await door.signal(run, "pages#1.approve", 1)).status == 202
        assert (await door.signal(run, "pages#7.approve", 1)).status in (202, 404)
        assert (await door.signal(run, "pages#0.approve", 2)).status == 202
        await answered(door, run, both_pages(2, 1))


@both
@on_loop
async def test_what_is_refused(durable: bool) -> None:
    async with served(asking(), **stores(durable)) as door:
        assert (await door.signal("nope", "approve", 1)).status == 404
        run = await door.run_of("asking")
        await door.until(run, "waiting")
        unknown = await door.signal(run, "aprove", 1)
        assert unknown.status == 404 and "approve" in unknown.json["detail"]
        wrong = await door.signal(run, "approve", "many")
        assert wrong.status == 422 and "what was sent to 'approve' is not of its type int" in wrong.json["detail"]
        assert wrong.json["errors"] == [{"pointer": "/payload", "detail": "Expected `int`, got `str`"}]
        assert (await door.view(run))["status"] == "waiting"
        for body in ({}, {"payload": 1, "more": 2}, [1], {"value": 1}):
            got = await door.sent(f"{API}/runs/{run}/signals/approve", body)
            assert got.status == 422, body
        assert (await door.signal(run, "approve", 1)).status == 202
        await answered(door, run, {"publish": "x"})
        assert (await door.signal(run, "approve", 1)).status == 409


@both
@on_loop
async def test_one_payload_is_taken(durable: bool) -> None:
    dag = asking()
    dag.signal("more", after=["draft"])
    async with served(dag, **stores(durable)) as door:
        run = await door.run_of("asking")
        await door.until(run, "waiting")
        assert (await door.signal(run, "approve", 1)).status == 202
        again = await door.signal(run, "approve", 2)
        assert again.status == 409 and "approve" in again.json["detail"]
        await door.signal(run, "more", None)
        await answered(door, run, {"publish": "x", "more": None})


@both
@on_loop
async def test_before_it_waits_it_is_kept(durable: bool) -> None:
    begun, opened = asyncio.Event(), asyncio.Event()
    dag = flow.Dag("late")

    @dag.node
    async def first() -> None:
        begun.set()
        await opened.wait()

    dag.signal("go", after=["first"])
    async with served(dag, **stores(durable)) as door:
        run = await door.run_of("late")
        await begun.wait()
        assert (await door.signal(run, "go", {"by": "Ann"})).status == 202
        opened.set()
        await answered(door, run, {"go": {"by": "Ann"}})


@both
@on_loop
async def test_runs_that_take_none(durable: bool) -> None:
    calls = Calls()
    async with served({"chain": chain(calls), "asking": asking()}, limits=Limits(runs=1), **stores(durable)) as door:
        run = await door.run_of("chain")
        await calls.in_node()
        assert (await door.signal(run, "approve", 1)).status in (404, 409)
        asked = asyncio.create_task(door.sent(f"{API}/workflows/asking/runs?wait=0", {"run_id": "queued"}))
        await eventually(lambda: door.service.places.queued)
        assert (await door.signal("queued", "approve", 1)).status == 409
        calls.opened.set()
        await asked
        await door.until("queued", "waiting")
        assert (await door.signal("queued", "approve", 1)).status == 202
        await answered(door, "queued", {"publish": "x"})


@on_loop
async def test_a_worker_that_does_not_drive_the_run_sends_it() -> None:
    backend = flow.store.memory().backend
    async with (
        served({"asking": asking(), "book": nested()}, store=Store(backend)) as driver,
        served({"asking": asking(), "book": nested()}, store=Store(backend)) as door,
    ):
        run = await driver.run_of("asking")
        assert (await door.until(run, "running", "waiting"))["workflow"] == "asking"
        await driver.until(run, "waiting")
        assert (await door.signal(run, "nope", 1)).status == 404
        assert (await door.signal(run, "approve", "many")).status == 422
        assert (await door.signal(run, "approve", 3)).status == 202
        assert (await door.signal(run, "approve", 3)).status == 409
        await answered(driver, run, {"publish": "xxx"})
        assert (await door.signal(run, "approve", 3)).status == 409
        book = await driver.run_of("book")
        await eventually(lambda: len(driver.service.runs.live[book].board.waiting) == 2)
        await eventually(lambda: waiting(door, book, "pages#0.approve", "pages#1.approve"))
        for number in (0, 1):
            assert (await door.signal(book, f"pages#{number}.approve", number)).status == 202
        await answered(driver, book, both_pages(0, 1))


@on_loop
async def test_a_run_that_nobody_drives_keeps_it_for_who_goes_on() -> None:
    store = flow.store.memory()
    result = await flow.execute(asking(), {"text": "z"}, run_id="r", store=store, on_wait="return")
    assert result.waiting == ("approve",)
    other = flow.store.store.Store(store.backend)
    async with served(asking(), store=other) as door:  # it goes on with it by itself
        await door.until("r", "waiting")
        assert (await door.signal("r", "approve", 4)).status == 202
        await answered(door, "r", {"publish": "zzzz"})


@on_loop
async def test_a_store_that_is_broken() -> None:
    backend, store = breaking()
    async with served(asking(), store=store) as door:
        run = await door.run_of("asking")
        await door.until(run, "waiting")
        backend.broken = "disk full"
        got = await door.signal(run, "approve", 1)
        assert got.status == 503 and "/srv" not in got.text, got
        backend.broken = ""
