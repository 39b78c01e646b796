"""Runs that are run again: what has completed is not called again."""

from __future__ import annotations

import asyncio

import pytest
from running import API, Calls, asking, breaking, chain, eventually, on_loop, served

import flow

RUNS = f"{API}/workflows/chain/runs"


@on_loop
async def test_a_failed_one_runs_again_what_failed_and_what_was_skipped() -> None:
    calls = Calls()
    calls.fails = True
    async with served(chain(calls, holds=""), store=flow.store.memory()) as door:
        failed = await door.sent(RUNS)
        assert failed.json["status"] == "failed" and calls.made == ["a", "b", "tidy"]
        calls.fails = False
        got = await door.retry(failed.json["id"])
        assert got.status in (200, 202)
        seen = await door.until(failed.json["id"], "completed")
        assert calls.made == ["a", "b", "tidy", "b", "c", "tidy"]
        assert seen["outputs"] == {"c": "c"}
        assert seen["errors"] == {} and seen["counts"] == {"completed": 4}


@on_loop
async def test_a_cancelled_one_goes_on_where_it_was() -> None:
    calls = Calls()
    async with served(chain(calls, holds="a"), store=flow.store.memory()) as door:
        run = await door.run_of("chain")
        await calls.in_node()
        await door.cancel(run)
        await eventually(lambda: next(iter(door.service.store.writer._journals)).cancel_asked)  # type: ignore
        calls.opened.set()
        await door.until(run, "cancelled")
        before = list(calls.made)
        assert before[0] == "a" and "b" not in before and "c" not in before
        await door.retry(run)
        seen = await door.until(run, "completed")
        assert seen["counts"] == {"completed": 4}
        assert calls.made[len(before) :].count("b") == calls.made[len(before) :].count("c") == 1


@on_loop
async def test_a_cancelled_one_that_waited_waits_again() -> None:
    async with served(asking(), store=flow.store.memory()) as door:
        run = await door.run_of("asking", {"text": "ab"})
        await door.until(run, "waiting")
        await door.cancel(run)
        await door.until(run, "cancelled")
        assert (await door.retry(run)).status == 202
        await door.until(run, "waiting")
        assert (await door.signal(run, "approve", 2)).status == 202
        assert (await door.until(run, "completed"))["outputs"] == {"publish": "abab"}


@on_loop
async def test_one_that_fails_again_says_so_at_once_or_later() -> None:
    calls = Calls()
    calls.fails = True
    async with served(chain(calls, holds=""), store=flow.store.memory()) as door:
        run = (await door.sent(RUNS)).json["id"]
        await door.retry(run)
        seen = await door.until(run, "failed")
        assert seen["errors"] == {"b": {"type": "ValueError", "message": "b is down"}}
        assert calls.made.count("a") == 1 and calls.made.count("b") == 2


@on_loop
async def test_a_completed_one_has_nothing_to_run_again() -> None:
    calls = Calls()
    async with served(chain(calls, holds=""), store=flow.store.memory()) as door:
        done = (await door.sent(RUNS)).json
        got = await door.retry(done["id"])
        assert (got.status, got.json["detail"]) == (409, "it has completed: there is nothing to run again")
        assert (await door.view(done["id"]))["outputs"] == done["outputs"] and len(calls.made) == 4


@on_loop
async def test_without_a_store() -> None:
    calls = Calls()
    calls.fails = True
    async with served(chain(calls, holds="")) as door:
        run = (await door.sent(RUNS)).json["id"]
        got = await door.retry(run)
        assert got.status == 409 and "--store" in got.json["detail"]
        assert (await door.retry("nope")).status == 404


@pytest.mark.parametrize("durable", [False, True])
@on_loop
async def test_one_that_goes_on(durable: bool) -> None:
    calls = Calls()
    async with served(chain(calls), **({"store": flow.store.memory()} if durable else {})) as door:
        run = await door.run_of("chain")
        await calls.in_node()
        got = await door.retry(run)
        assert got.status == 409 and "goes on" in got.json["detail"]
        calls.opened.set()
        await door.until(run, "completed")


@on_loop
async def test_one_that_another_worker_drives() -> None:
    calls, backend = Calls(), flow.store.memory().backend
    stores = flow.store.store.Store(backend), flow.store.store.Store(backend)
    async with served(chain(calls), store=stores[0]) as driver, served(chain(calls), store=stores[1]) as door:
        run = await driver.run_of("chain")
        await calls.in_node()
        got = await door.retry(run)
        assert got.status == 409 and "has not ended" in got.json["detail"]
        calls.opened.set()
        await door.until(run, "completed")
        assert calls.made == ["a", "b", "c", "tidy"]


@on_loop
async def test_twice_at_once_it_runs_once() -> None:
    calls = Calls()
    calls.fails = True
    calls.opened.set()
    async with served(chain(calls), store=flow.store.memory()) as door:
        run = (await door.sent(RUNS)).json["id"]
        calls.fails, before = False, len(calls.made)
        calls.opened.clear()
        calls.entered.clear()
        answers = await asyncio.gather(*[door.retry(run) for _ in range(8)])
        assert sorted(answer.status for answer in answers) == [202] + [409] * 7
        await calls.in_node()
        nodes = {node["node"]: node["status"] for node in (await door.view(run))["nodes"]}
        assert list(door.service.runs.live) == [run] and nodes["b"] == "running", "it is known to go on here"
        calls.opened.set()
        await door.until(run, "completed")
        await eventually(lambda: not door.service.runs.live)
        assert calls.made[before:] == ["b", "c", "tidy"]


@on_loop
async def test_one_of_a_workflow_that_is_not_served() -> None:
    store, other = flow.store.memory(), flow.Dag("other")
    other.add("a", lambda: 1 / 0)
    with pytest.raises(flow.RunError):
        flow.run(other, run_id="r", store=store)
    async with served(asking(), store=store) as door:
        assert (await door.retry("r")).status == 404
        assert (await door.cancel("r")).status == 404
        assert (await door.signal("r", "approve", 1)).status == 404


@on_loop
async def test_a_dag_that_has_changed() -> None:
    calls, store = Calls(), flow.store.memory()
    calls.fails = True
    async with served(chain(calls, holds=""), store=store) as door:
        run = (await door.sent(RUNS)).json["id"]
    changed = flow.Dag("chain")
    changed.add("b", calls.node("b"))
    changed.add("a", calls.node("a"), after=["b"])
    async with served(changed, store=store) as door:
        got = await door.retry(run)
        assert got.status == 409 and "a" in got.json["detail"], got
        assert (await door.view(run))["status"] == "failed"


@on_loop
async def test_a_store_that_is_broken() -> None:
    calls = Calls()
    calls.fails = True
    backend, store = breaking()
    async with served(chain(calls, holds=""), store=store) as door:
        run = (await door.sent(RUNS)).json["id"]
        backend.broken = "disk full"
        assert (await door.retry(run)).status == 503
        backend.broken, calls.fails = "", False
        await door.retry(run)
        await door.until(run, "completed")
