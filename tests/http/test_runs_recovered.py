"""Runs in a store that nobody drives any more: a service goes on with them by itself."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
from running import API, Calls, Door, asking, breaking, chain, eventually, on_loop, served

import flow
from flow.http import Limits
from flow.store.store import Store

GONE = "elsewhere.example:99:1"
"""A process of another machine, whose lease is over."""


class Given(msgspec.Struct):
    """The inputs of a run that has a secret."""

    token: Annotated[str, flow.Secret]


_beginnings = itertools.count()


def left_alone(store: Store, run_id: str, dag: flow.Dag, inputs: dict[str, Any] | None = None) -> None:
    """Add a run that a process has begun, which is gone now."""
    from flow.store import inputs as given
    from flow.store.backend import RunRow
    from flow.store.structure import shape_of

    plan = dag.compile()
    encoded = given.encoded(inputs or {}, plan._nodes.secret, store.codecs)
    shape = shape_of(plan)
    created = 1_000.0 + next(_beginnings)
    row = RunRow(run_id, plan.name, shape.digest, encoded, created=created, updated=created)
    store.backend.create(msgspec.structs.replace(row, owner=GONE, token=1, lease=1.0), shape.encoded)


async def looked(door: Door) -> None:
    """The service looks for such runs again, as it does every few seconds."""
    await door.service._recover()
    await asyncio.sleep(0)


@on_loop
async def test_at_its_start_and_later() -> None:
    calls, store = Calls(), flow.store.memory()
    left_alone(store, "r0", chain(calls))
    async with served(chain(calls, holds=""), store=store) as door:
        assert (await door.until("r0", "completed"))["outputs"] == {"c": "c"}
        left_alone(store, "r1", chain(calls))
        await looked(door)
        await door.until("r1", "completed")
        await looked(door)
        await eventually(lambda: not door.service.runs.live)
        assert len(calls.made) == 2 * 4


@on_loop
async def test_what_is_driven_and_what_is_of_others_is_left_alone() -> None:
    backend, calls, other = flow.store.memory().backend, Calls(), flow.Dag("other")
    other.add("a", lambda: 1)
    left_alone(Store(backend), "foreign", other)
    async with served(chain(calls), store=Store(backend)) as driver:
        run = await driver.run_of("chain")
        await calls.in_node()
        async with served(chain(calls), store=Store(backend)) as door:
            for _ in range(3):
                await looked(door)
                await looked(driver)
            assert not door.service.runs.live and list(driver.service.runs.live) == [run]
            calls.opened.set()
            await door.until(run, "completed")
        assert calls.made == ["a", "b", "c", "tidy"]
        assert Store(backend).run("foreign").owner == GONE


@on_loop
async def test_more_runs_than_places(caplog: pytest.LogCaptureFixture) -> None:
    calls, store = Calls(), flow.store.memory()
    for i in range(40):
        left_alone(store, f"r{i:02}", chain(calls))
    async with served(chain(calls), store=store, limits=Limits(runs=3, queue=2, threads=2)) as door:
        await calls.in_node()
        await looked(door)
        assert len(door.service.runs.live) == 3 and door.service.places.queued == 0
        assert sorted(door.service.runs.live) == ["r00", "r01", "r02"], "the oldest first"
        queued = asyncio.create_task(door.sent(f"{API}/workflows/chain/runs"))  # there is room for new ones
        await eventually(lambda: door.service.places.queued == 1)
        calls.opened.set()
        assert (await queued).json["status"] == "completed"
        while any(row.status != "completed" for row in store.runs(limit=100)):
            await looked(door)
            assert door.service.places.taken <= 3
            await asyncio.sleep(0.01)
        assert len(calls.made) == 41 * 4
    assert not caplog.records


@on_loop
async def test_runs_that_wait_take_no_places() -> None:
    store = flow.store.memory()
    for i in range(5):
        left_alone(store, f"r{i}", asking())
    async with served(asking(), store=store, limits=Limits(runs=2)) as door:
        await eventually(lambda: in_all(door, 5))
        assert door.service.places.taken == 0
        for i in range(5):
            assert (await door.signal(f"r{i}", "approve", i)).status == 202
            assert (await door.until(f"r{i}", "completed"))["outputs"] == {"publish": "x" * i}


async def in_all(door: Door, count: int) -> bool:
    await looked(door)
    return len(door.service.runs.live) == count and all(one.board.resting for one in door.service.runs.live.values())


@on_loop
async def test_what_cannot_go_on_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    """Inputs that are not stored, and a Dag that has changed. Who gives the inputs goes on with the run."""
    store, changed = flow.store.memory(), flow.Dag("changed")
    secret = flow.Dag("secret", inputs=Given)
    secret.add("use", lambda token: len(token))
    changed.add("old", lambda: 1)
    changed.add("new", lambda old: old, needs=["old"])
    left_alone(store, "s", secret, {"token": "very-secret-token"})
    before = flow.Dag("changed")
    before.add("new", lambda: 1)
    before.add("old", lambda new: new, needs=["new"])
    left_alone(store, "c", before)
    async with served({"secret": secret, "changed": changed}, store=store) as door:
        await eventually(lambda: len(caplog.records) >= 1 and not door.service.runs.live)
        for _ in range(5):
            await looked(door)
            await eventually(lambda: not door.service.runs.live)
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
        assert sorted(text for text in told if "cannot go on" in text) == sorted(set(told))
        assert any("'s'" in text for text in told)
        assert "very-secret-token" not in caplog.text
        assert store.run("s").status == "running"
        body = {"run_id": "s", "inputs": {"token": "12345"}}
        got = await door.sent(f"{API}/workflows/secret/runs", body)
        assert (got.status, got.json["outputs"]) == (200, {"use": 5})


@on_loop
async def test_a_store_that_does_not_work_for_a_while(caplog: pytest.LogCaptureFixture) -> None:
    backend, store = breaking()
    calls = Calls()
    left_alone(store, "r", chain(calls))
    backend.broken = "disk I/O error"
    async with served(chain(calls, holds=""), store=store) as door:
        assert door.service.readiness == "ready"
        await looked(door)
        assert len(caplog.records) == 2
        backend.broken = ""
        await looked(door)
        await door.until("r", "completed")


@on_loop
async def test_a_run_that_was_cancelled_meanwhile_ends_with_its_cleanup() -> None:
    calls, store = Calls(), flow.store.memory()
    left_alone(store, "r", chain(calls))
    store.backend.ask_to_cancel("r", 2_000.0)
    async with served(chain(calls, holds=""), store=store) as door:
        await door.until("r", "cancelled")
        assert "b" not in calls.made and store.run("r").status == "cancelled"


DIES = """
import os, signal, sys
import flow

def died() -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return 2

dag = flow.Dag("dies")
dag.add("one", lambda: 1)
dag.add("two", died, after=["one"])
flow.run(dag, run_id="r", store=flow.store.open(sys.argv[1], "sync"))
"""


@pytest.mark.skipif(os.name == "nt", reason="no kill -9 there")
@pytest.mark.filterwarnings("ignore:run 'r' of dag 'dies'. the code of completed nodes has changed")
@on_loop
async def test_of_a_process_that_was_killed(tmp_path: Path) -> None:
    path, made = tmp_path / "runs.db", list[str]()
    found = subprocess.run([sys.executable, "-c", DIES, path], check=False)
    assert found.returncode == -9
    dag = flow.Dag("dies")
    dag.add("one", lambda: made.append("one"))
    dag.add("two", lambda: made.append("two") or 2, after=["one"])
    with flow.store.open(path) as store:
        async with served(dag, store=store) as door:
            assert (await door.until("r", "completed"))["outputs"] == {"two": 2}
            assert made == ["two"]
