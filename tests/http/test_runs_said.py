"""What is said of runs, whoever answers: when they were created, and how long their nodes took."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from running import API, Calls, Door, Reader, asking, breaking, chain, eventually, on_loop, served

import flow
from flow.run import events
from flow.store.store import Store
from flow.store.story import story_of

both = pytest.mark.parametrize("durable", [False, True], ids=["memory", "store"])


def stores(durable: bool) -> dict[str, Any]:
    return {"store": flow.store.memory()} if durable else {}


async def created(door: Door, run: str) -> tuple[float, float]:
    """When a run was created, as its view and the list say."""
    rows = {row["id"]: row for row in (await door.got(f"{API}/runs")).json["runs"]}
    return (await door.view(run))["created"], rows[run]["created"]


def node(view: Any, name: str) -> Any:
    return next(one for one in view["nodes"] if one["node"] == name)


@on_loop
async def test_a_run_is_as_old_as_its_store_says_whoever_drives_it() -> None:
    store = flow.store.memory()
    await flow.execute(asking(), {}, run_id="r", store=store, on_wait="return")
    before = store.run("r").created
    marks = set[str]()
    for _ in range(2):  # each goes on with it by itself
        async with served(asking(), store=Store(store.backend)) as door:
            await door.until("r", "waiting")
            assert await created(door, "r") == (before, before)
            reader = Reader(door, "r")
            await reader.until(lambda r: r.events)
            marks.add(reader.events[0].id.partition(".")[0])
            await reader.leave()
            attached = await door.sent(f"{API}/workflows/asking/runs?wait=0", {"run_id": "r"})
            assert attached.status == 202
        assert store.run("r").owner == ""
    assert len(marks) == 2, "ids of events of one drive mean nothing in another"


@on_loop
async def test_nor_does_a_retry_make_it_younger() -> None:
    calls, store = Calls(), flow.store.memory()
    calls.fails = True
    calls.opened.set()
    async with served(chain(calls), store=store) as door:
        run = (await door.sent(f"{API}/workflows/chain/runs")).json["id"]
        before = await created(door, run)
        assert before == (store.run(run).created,) * 2
        calls.fails = False
        calls.opened.clear()
        calls.entered.clear()
        assert (await door.retry(run)).status == 202
        await calls.in_node()
        assert await created(door, run) == before
        known = node(await door.view(run), "a")
        assert known["status"] == "completed" and known["seconds"] >= 0 and known["attempt"] == 1
        calls.opened.set()
        await door.until(run, "completed")
        assert await created(door, run) == before


@on_loop
async def test_a_store_that_breaks_hides_no_run_that_goes_on() -> None:
    backend, store = breaking()
    async with served(asking(), store=store) as door:
        run = await door.run_of("asking")
        await eventually(lambda: store.history_of(store.load(run)).waits)  # nothing is on its way to the store
        backend.broken = "disk I/O error"
        live = door.service.runs.live[run]
        assert (await door.view(run))["created"] in (live.created, live.stored_at)  # if the store was asked before
        backend.broken = ""
        assert (await door.view(run))["created"] == store.run(run).created


@on_loop
async def test_who_waits_for_a_run_that_waits_is_told_where_it_goes_on() -> None:
    """The service ends: nothing of the run is cancelled, and the store lets the next one have it at once."""
    store = flow.store.memory()
    async with served(asking(), store=store) as door:
        asked = asyncio.create_task(door.sent(f"{API}/workflows/asking/runs", {"run_id": "r"}))
        await eventually(lambda: "r" in door.service.runs.live and door.service.runs.live["r"].board.resting)
        await door.service.drain(0.0)
        got = await asked
        assert (got.status, got.headers["location"]) == (202, f"{API}/runs/r")
        assert got.json["status"] == "waiting" and got.json["waiting"] == ["approve"]
        assert got.json["counts"] == {"completed": 1, "waiting": 1, "pending": 1}
        assert "shutting down" in got.json["detail"]
        assert store.run("r").owner == ""


@both
@on_loop
async def test_a_signal_says_how_long_it_was_waited_for(durable: bool) -> None:
    async with served(asking(), **stores(durable)) as door:
        run = await door.run_of("asking")
        await door.until(run, "waiting")
        live = door.service.runs.live[run]
        await asyncio.sleep(0.03)
        assert "seconds" not in node(await door.view(run), "approve")
        assert (await door.signal(run, "approve", 1)).status == 202
        await live.done
        if durable:
            assert node(await door.view(run), "approve")["seconds"] >= 0.02
        assert {state.node: state.seconds for _, state in live.board.since(0)}["approve"] >= 0.03  # type: ignore


@on_loop
async def test_a_failed_node_says_how_long_its_last_attempt_took() -> None:
    dag = flow.Dag("late", config=flow.Config(on_error="collect"))
    tries = list[int]()

    @dag.node(retry=flow.Retry(2, delay=0))
    async def slow() -> None:
        tries.append(1)
        await asyncio.sleep(0.2 if len(tries) == 1 else 0.02)
        raise OSError("down")

    @dag.node
    async def other() -> None:
        await asyncio.sleep(0.02)
        raise OSError("down")

    dag.signal("never", timeout=0.02)
    dag.add("skipped", lambda slow: slow, needs=["slow"])
    async with served(dag, store=flow.store.memory()) as door:
        run = await door.run_of("late")
        live = door.service.runs.live[run]
        await door.until(run, "failed")
        stored = {one["node"]: one for one in (await door.view(run))["nodes"]}
        shown = {state.node: state for _, state in live.board.since(0)}
        for name, attempt in (("slow", 2), ("other", 1), ("never", 1)):
            assert 0.015 < stored[name]["seconds"] < 0.2 and stored[name]["attempt"] == attempt, name
            assert shown[name].seconds == pytest.approx(stored[name]["seconds"], abs=0.02)
        assert "seconds" not in stored["skipped"] and shown["skipped"].seconds is None


def told_of(store: Store, run: str) -> dict[str, Any]:
    stored = store.load(run)
    return {one.name: one for one in story_of(store, stored).nodes}


@on_loop
async def test_a_wait_that_outlives_its_process_is_that_of_all() -> None:
    store = flow.store.memory()
    await flow.execute(asking(), {}, run_id="r", store=store, on_wait="return")
    await asyncio.sleep(0.03)
    async with served(asking(), store=Store(store.backend)) as door:
        await door.until("r", "waiting")
        await door.signal("r", "approve", 1)
        seen = await door.until("r", "completed")
        assert node(seen, "approve")["seconds"] >= 0.03
        assert node(seen, "draft")["attempt"] == 1


def test_where_nobody_takes_times_nothing_is_said() -> None:
    store, dag = flow.store.memory(), flow.Dag("d")
    dag.add("down", lambda: 1 / 0)
    with pytest.raises(flow.RunError):
        flow.run(dag, run_id="r", store=store, config=flow.Config(timing=False))
    down = told_of(store, "r")["down"]
    assert down.began == down.ended > 0


def test_of_a_known_node_a_board_says_what_it_is_told() -> None:
    from flow.http.board import Board, NodeState
    from flow.types import Status

    board = Board(["a", "b"], lambda: None)
    board(events.RunStarted("r", "d", 2, 0.0))
    assert not board.asks_store
    board(events.NodeKnown("r", "a", Status.COMPLETED, 0.0))
    board(events.NodeStarted("r", "b", 1, 1.0))
    board(events.NodeFailed("r", "b", 1, ValueError("x"), 3.5))
    assert board.asks_store
    board.recall([NodeState("a", "completed", 2, 0.25), NodeState("b", "failed", 9, 9.0), NodeState("c", "failed")])
    found = {state.node: state for _, state in board.since(0)}
    assert (found["a"].attempt, found["a"].seconds) == (2, 0.25)
    assert (found["b"].attempt, found["b"].seconds) == (1, 2.5)
    assert not board.asks_store
