"""A store that does not work, as disks and operators make it: requests are answered 503, and the service goes on."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from client import PATIENCE
from running import API, Breaking, Calls, Door, breaking, chain, eventually, on_loop, served

import flow
from flow.http import Limits
from flow.http.logged import Failures
from flow.store.store import Store

RUNS = f"{API}/workflows/chain/runs"


@contextmanager
def full(store: Store) -> Iterator[None]:
    """No page more fits on the disk."""
    writer: Any = store.backend._database._writer  # type: ignore[attr-defined]
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (pages,) = writer.execute("PRAGMA page_count").fetchone()
    writer.execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        writer.execute("PRAGMA max_page_count = 1000000")


def large() -> flow.Dag:
    """A run whose inputs and outputs take pages."""
    dag = flow.Dag("large")
    dag.add("one", lambda text="x": text * 2)
    return dag


async def refused(door: Door, path: str, body: Any = None) -> str:
    got = await door.sent(path, body)
    assert got.status == 503, got
    assert got.headers["content-type"] == "application/problem+json" and "Traceback" not in got.text
    detail: str = got.json["detail"]
    return detail


@on_loop
async def test_a_full_disk(tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.http.driving.FAILURES", Failures())
    with flow.store.open(tmp_path / "runs.db") as store:
        async with served({"large": large()}, store=store) as door:
            path, body = f"{API}/workflows/large/runs", {"inputs": {"text": "x" * 100_000}}
            done = await door.sent(path, body)
            assert done.json["status"] == "completed"
            with full(store):
                detail = await refused(door, path, body)
                assert "full" in detail and str(tmp_path) not in detail
                (record,) = caplog.records  # who operates the service sees it also where nobody reads the answers
                assert record.levelname == "ERROR" and "of large could not begin: StoreError" in record.getMessage()
                assert (await door.sent(path, {"inputs": {"nothing": 1}})).status == 422
                assert caplog.records == [record], "what is wrong with a request is told to who has sent it"
                assert (await door.view(done.json["id"]))["status"] == "completed", "reading works"
                assert (await door.got("/health")).json["status"] == "degraded"
                detailed = (await door.got("/health/detailed")).json
                assert detailed["status"] == "degraded" or detailed["store"] == "ok"  # a counter may need no page
                assert "full" in (await door.got("/")).text
                assert "workflow_store_errors_total 1" in (await door.got("/metrics")).text
            assert not door.service.runs.live and door.service.places.taken == 0
            assert (await door.sent(path, body)).json["status"] == "completed"
            assert (await door.got("/health")).json["status"] == "ok"


@on_loop
async def test_a_cancel_that_cannot_be_stored_is_no_cancel() -> None:
    """It is refused, and the run goes on: else it would be gone on with, and complete, once the store works."""
    broken, store = breaking()
    asking = flow.Dag("asking")
    asking.signal("ok", type=bool)
    async with served(asking, store=store) as door:
        run = await door.run_of("asking")
        await door.until(run, "waiting")
        broken.broken = "the disk is full"
        assert (await door.cancel(run)).status == 503
        broken.broken = ""
        assert (await door.view(run))["status"] == "waiting"
        assert (await door.cancel(run)).status == 202
        assert (await door.until(run, "cancelled"))["status"] == "cancelled"


@on_loop
async def test_a_file_that_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    with flow.store.open(folder / "runs.db") as store:
        async with served(chain(Calls(), holds=""), store=store) as door:
            run = (await door.sent(RUNS)).json["id"]
            for reader in store.backend._database._idle:  # type: ignore[attr-defined]
                reader.close()
            store.backend._database._idle.clear()  # type: ignore[attr-defined]
            shutil.move(folder, tmp_path / "moved")
            detailed = (await door.got("/health/detailed")).json
            assert detailed["status"] == "degraded" and str(tmp_path) not in detailed["store"]
            assert (await door.got(f"{API}/runs/{run}")).status == 503
            assert (await door.got("/health")).status == (await door.got("/live")).status == 200
            shutil.move(tmp_path / "moved", folder)
            assert (await door.got("/health/detailed")).json["status"] == "ok"
            assert (await door.view(run))["status"] == "completed"
            assert (await door.sent(RUNS)).json["status"] == "completed"


@on_loop
async def test_a_file_that_is_locked_holds_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.store.sqlite.connection.WAIT", 0.2)
    with flow.store.open(tmp_path / "runs.db") as store:
        async with served(chain(Calls(), holds=""), store=store) as door:
            other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
            try:
                other.execute("BEGIN EXCLUSIVE")
                asked = asyncio.create_task(door.sent(RUNS))
                await asyncio.sleep(0.01)
                assert (await door.got("/health")).status == 200 and not asked.done()
                got = await asked
                assert got.status == 503 and "locked" in got.json["detail"]
            finally:
                other.execute("ROLLBACK")
                other.close()
            assert (await door.sent(RUNS)).json["status"] == "completed"


@on_loop
async def test_one_that_breaks_while_a_run_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run has not failed: who waits is told that the store does not work, and it goes on once that does."""
    monkeypatch.setattr("flow.http.driving.FAILURES", Failures())
    backend, store = breaking()
    calls = Calls()
    async with served(chain(calls), store=store, limits=Limits(wait=30)) as door:
        asked = asyncio.create_task(door.sent(RUNS, {"run_id": "r"}))
        await calls.in_node()
        backend.broken = "disk I/O error"
        calls.opened.set()
        got = await asked
        assert got.status == 503 and "disk I/O error" in got.json["detail"]
        await eventually(lambda: not door.service.runs.live)
        assert [one.getMessage()[:30] for one in caplog.records if one.levelname == "ERROR"] == [
            "run r of chain stopped: StoreE"
        ]
        backend.broken = ""
        row = store.run("r")
        assert row.status == "running"
        store.backend.claim("r", row.token, "", 0.0, 1.0)  # its lease is over
        await door.service._recover()
        assert (await door.until("r", "completed"))["outputs"] == {"c": "c"}


@on_loop
async def test_one_that_breaks_on_the_loop() -> None:
    backend, store = breaking()
    begun, opened, dag = asyncio.Event(), asyncio.Event(), flow.Dag("async")

    @dag.node
    async def waits() -> int:
        begun.set()
        await opened.wait()
        return 1

    async with served(dag, store=store) as door:
        asked = asyncio.create_task(door.sent(f"{API}/workflows/async/runs"))
        await begun.wait()
        backend.broken = "disk I/O error"
        opened.set()
        assert (await asked).status == 503
        assert door.service.places.taken == 0 and not door.service.runs.live
        backend.broken = ""


class Slow(Breaking):
    """A backend whose calls of one name wait until the test opens them; it notes those on the event loop's thread."""

    def __init__(self, held: str = "") -> None:
        super().__init__()
        self.held, self.entered, self.opened = held, threading.Event(), threading.Event()
        self.on_loop: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        found = super().__getattr__(name)

        def call(*args: Any, **options: Any) -> Any:
            if threading.current_thread() is threading.main_thread():
                self.on_loop.add(name)
            if name == self.held:
                self.entered.set()
                assert self.opened.wait(PATIENCE)
            return found(*args, **options)

        return call if callable(found) else found


def mixed() -> flow.Dag:
    dag = flow.Dag("mixed")

    @dag.node
    async def one(n: int = 1) -> int:
        await asyncio.sleep(0)
        return n

    return dag


@on_loop
async def test_one_that_is_slow_holds_no_other_request() -> None:
    """Neither at the beginning of a run on the event loop nor at its end: nothing is asked of it on that thread."""
    backend, calls = Slow(), Calls()
    calls.fails = True
    async with served({"mixed": mixed(), "chain": chain(calls, holds="")}, store=Store(backend)) as door:  # type: ignore
        for name in ("mixed", "chain"):
            got = await door.sent(f"{API}/workflows/{name}/runs")
            await door.got(f"{API}/runs/{got.json['id']}")
        await door.got(f"{API}/runs")
        assert (await door.retry(got.json["id"])).status in (200, 202)
        await eventually(lambda: not door.service.runs.live)
    assert backend.on_loop <= {"take_signals"}, "it reads, in some microseconds"


@pytest.mark.parametrize("held", ["create", "write"])
@on_loop
async def test_who_ends_while_it_is_asked_leaves_no_run_owned(held: str) -> None:
    backend = Slow(held)
    store = Store(backend)  # type: ignore[arg-type]
    async with served(mixed(), store=store) as door:
        asked = asyncio.create_task(door.sent(f"{API}/workflows/mixed/runs", {"run_id": "r"}))
        await eventually(backend.entered.is_set)
        assert (await door.got("/health")).status == 200
        draining = asyncio.create_task(door.service.drain(0.01))
        await asyncio.sleep(0.05)
        backend.opened.set()
        await draining
        assert (await asked).status in (200, 202, 503)
    assert store.run("r").owner == ""


@pytest.mark.parametrize("held", ["create", "write"])
@on_loop
async def test_nor_does_one_that_is_left_behind(held: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store answers too late for the end of the service, and before that of the process."""
    monkeypatch.setattr("flow.http.driving.ENDING", 0.01)
    backend = Slow(held)
    store = Store(backend)  # type: ignore[arg-type]
    async with served(mixed(), store=store) as door:
        asked = asyncio.create_task(door.sent(f"{API}/workflows/mixed/runs", {"run_id": "r"}))
        await eventually(backend.entered.is_set)
        await door.service.drain(0.01)
        assert (await asked).status in (202, 503)
        backend.opened.set()
        await eventually(lambda: not door.service.drives._tasks)
    assert store.run("r").owner == ""


@pytest.mark.skipif(os.name == "nt", reason="no such files there")
@on_loop
async def test_one_that_is_closed_by_somebody(tmp_path: Path) -> None:
    store = flow.store.open(tmp_path / "runs.db")
    async with served(chain(Calls(), holds=""), store=store) as door:
        store.close()
        assert "closed" in await refused(door, RUNS)
        assert (await door.got(f"{API}/runs")).status == 503
        assert (await door.got("/health/detailed")).json["status"] == "degraded"
