"""Streams of events of runs that another process drives."""

from __future__ import annotations

import pytest
from running import Calls, Reader, asking, breaking, chain, eventually, on_loop, served
from test_http_stream import states

import flow
from flow.store.store import Store


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at runs that others drive as often as at one's own."""
    monkeypatch.setattr("flow.http.routes.STORED_INTERVAL", 0.02)
    monkeypatch.setattr("flow.http.routes.INTERVAL", 0.02)


@on_loop
async def test_it_is_told_too() -> None:
    backend, calls = flow.store.memory().backend, Calls()
    dag = chain(calls)
    async with served(dag, store=Store(backend)) as driver, served(dag, store=Store(backend)) as door:
        run = await driver.run_of("chain")
        await calls.in_node()
        reader = Reader(door, run)
        await reader.until(lambda r: states(r).get("a") == "completed")
        assert states(reader) == {"a": "completed", "b": "pending", "c": "pending", "tidy": "pending"}
        assert reader.of("run") == [{"status": "running"}]
        calls.opened.set()
        await reader.ended()
        assert states(reader) == dict.fromkeys(("a", "b", "c", "tidy"), "completed")
        told = [data["node"] for data in reader.of("node") if data["status"] == "completed"]
        assert sorted(told) == ["a", "b", "c", "tidy"], "each once"
        assert reader.events[-1].data["status"] == "completed"


@on_loop
async def test_one_that_is_deleted_ends() -> None:
    store = flow.store.memory()
    await flow.execute(asking(), run_id="r", store=store, on_wait="return")
    async with served(chain(Calls()), store=store) as door:
        door.service.desk.stored._workflows["asking"] = door.service.workflows["chain"]  # type: ignore
        reader = Reader(door, "r")
        await reader.until(states)
        store.delete(["r"])
        await reader.ended()
        assert reader.of("end") == [{}]


@on_loop
async def test_a_store_that_breaks_ends_it_and_who_comes_again_is_told() -> None:
    backend, store = breaking()
    calls = Calls()
    async with served(chain(calls), store=store) as driver, served(chain(calls), store=Store(backend)) as door:  # type: ignore
        run = await driver.run_of("chain")
        await calls.in_node()
        reader = Reader(door, run)
        await reader.until(states)
        backend.broken = "disk I/O error"
        await reader.ended()
        assert reader.of("end") == [] and b"/srv" not in reader.body
        assert (await Reader(door, run).ended()).status == 503
        backend.broken = ""
        calls.opened.set()
        await eventually(lambda: not driver.service.runs.live)


@on_loop
async def test_one_that_is_let_go_of_ends_its_streams() -> None:
    """Where it goes on is another process: who comes again is told by that."""
    backend = flow.store.memory().backend
    async with served(asking(), store=Store(backend)) as door:
        run = await door.run_of("asking")
        await door.until(run, "waiting")
        reader = Reader(door, run)
        await reader.until(states)
        door.service.runs.live[run].cancel(let_go=True)
        await reader.ended()
        assert reader.of("end") == []
        assert (await door.view(run))["status"] in ("running", "waiting")
