"""Stores that cannot write: the run ends with a StoreError, nothing unstored is acknowledged, and the run goes on."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import loops

import flow
from flow.errors import StoreError
from flow.store.in_memory import MemoryBackend
from flow.store.store import Store
from flow.store.writing import FULL

MODES = ("sync", "async")


class Failing(MemoryBackend):
    """Cannot write from a moment on."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self.slow = 0.0
        self.writes = 0

    def write(self, *args: Any, **how: Any) -> None:
        self.writes += 1
        if self.slow:
            time.sleep(self.slow)
        if self.full:
            raise StoreError("store 'failing' cannot write: No space left on device")
        super().write(*args, **how)


class Acknowledged:
    def __init__(self) -> None:
        self.stored: list[str] = []
        self.ended: list[bool] = []

    def __call__(self, event: Any) -> None:
        if isinstance(event, flow.events.NodeStored):
            self.stored.append(event.node)
        elif isinstance(event, flow.events.RunFinished):
            self.ended.append(event.ok)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", loops())
def test_a_run_on_a_loop_ends_and_goes_on(mode: Any, backend: str) -> None:
    kept, calls, seen = Failing(), list[str](), Acknowledged()
    dag = flow.Dag("d")

    @dag.node
    def first() -> int:
        calls.append("first")
        return 1

    @dag.node
    async def fills(first: int) -> int:
        import anyio

        calls.append("fills")
        await anyio.sleep(0.02)
        kept.full = len(calls) == 2
        return 2

    @dag.node
    async def waits(fills: int) -> None:
        import anyio

        if kept.full:
            await anyio.sleep(60)

    config = flow.Config(backend=backend, observers=(seen,))
    began = time.monotonic()
    with pytest.raises(StoreError, match="No space left on device"):
        flow.run(dag, run_id="r", store=Store(kept, mode), config=config)
    assert time.monotonic() - began < 30  # (asked: 5 s. That is the time of a busy machine.)
    assert seen.stored == ["first"]
    assert seen.ended == [False]
    kept.full = False
    row = kept.row("r")
    assert row is not None and row.status == "running"
    flow.run(dag, run_id="r", store=Store(kept, mode), config=config)
    assert calls == ["first", "fills", "fills"]


@pytest.mark.parametrize("mode", [*MODES, "exit"])
@pytest.mark.parametrize("config", [flow.Config(), flow.Config(timing=True), flow.Config(keep="targets")])
def test_a_run_without_a_loop_ends_at_its_next_write(mode: Any, config: flow.Config) -> None:
    kept, calls, broke = Failing(), list[int](), list[int]()
    dag = flow.Dag("d")
    dag.add("n0", lambda: 0)
    for k in range(1, 3_000):

        def step(x: int, k: int = k) -> int:
            calls.append(k)
            if k == 50 and not broke:
                broke.append(k)
                kept.full = True
            return k

        dag.add(f"n{k}", step, needs=[f"n{k - 1}"])
    with pytest.raises(StoreError, match="No space left"):
        flow.run(dag, run_id="r", store=Store(kept, mode), config=config)
    if mode == "sync":
        assert calls[-1] == 50
    kept.full = False
    calls.clear()
    result = flow.run(dag, run_id="r", store=Store(kept, mode), config=config)
    assert result.ok
    assert result.counts == {"completed": 3_000}


@pytest.mark.parametrize("mode", MODES)
def test_the_traceback_ends_at_the_users_line(mode: Any) -> None:
    kept = Failing()
    kept.full = True
    dag = flow.Dag("d")
    dag.add("a", lambda: 1)

    async def on_a_loop() -> None:
        await flow.execute(dag, run_id="loop", store=Store(kept, mode))

    for call in (lambda: flow.run(dag, run_id="r", store=Store(kept, mode)), lambda: asyncio.run(on_a_loop())):
        with pytest.raises(StoreError) as caught:
            call()
        files = [str(entry.path) for entry in caught.traceback]
        assert not [file for file in files if os.path.join("main", "flow") in file or "/flow/run/" in file]


def test_the_users_own_error_is_not_masked() -> None:
    kept = Failing()
    dag = flow.Dag("d")

    @dag.node
    def fails() -> None:
        kept.full = True
        raise ValueError("mine")

    with pytest.raises(StoreError) as caught:
        flow.run(dag, run_id="r", store=Store(kept))
    assert "No space left" in str(caught.value)


def test_a_full_queue_blocks() -> None:
    kept = Failing()
    kept.slow = 0.002
    store = Store(kept, "async")
    dag = flow.Dag("d")
    most = [0]

    def step() -> int:
        for journal in list(store.writer._journals):
            most[0] = max(most[0], len(journal.entries))  # type: ignore[attr-defined]
        return 1

    for k in range(10_000):
        dag.add(f"n{k}", step)
    flow.run(dag, run_id="r", store=store)
    assert 0 < most[0] <= FULL + 256
    assert kept.writes >= 10_000 // (FULL + 256)


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
def test_a_run_that_takes_its_time_and_has_no_id(mode: Any) -> None:
    """It is looked at meanwhile, whether it has been added by then or not."""
    dag = flow.Dag("d")

    @dag.node
    async def slow() -> int:
        await asyncio.sleep(0.6)
        return 1

    store = flow.store.memory(mode)
    seen: list[int] = []
    timer = threading.Timer(0.3, lambda: seen.append(len(store.runs())))
    timer.start()
    assert flow.run(dag, store=store)["slow"] == 1
    timer.join()
    assert seen == [1]


def test_a_store_that_is_closed_meanwhile(tmp_path: Path) -> None:
    store = flow.store.open(tmp_path / "runs.db")
    dag = flow.Dag("d")
    dag.add("a", store.close)
    dag.add("b", lambda a: 1)
    with pytest.raises(StoreError, match="closed"):
        flow.run(dag, run_id="r", store=store)
    with flow.store.open(tmp_path / "runs.db") as again:
        assert again.run("r").status == "running"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_with_an_open_store(tmp_path: Path) -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 1)
    with flow.store.open(tmp_path / "runs.db") as store:
        flow.run(dag, run_id="before", store=store)
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            try:
                flow.run(dag, run_id="child", store=store)
                said = "nothing"
            except BaseException as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writes, said.encode())
            os._exit(0)
        os.close(writes)
        os.waitpid(child, 0)
        with os.fdopen(reads) as file:
            said = file.read()
        assert said.startswith("StoreError: ")
        assert "fork" in said
        flow.run(dag, run_id="after", store=store)
        assert {row.id for row in store.runs()} == {"before", "after"}


def test_five_hundred_resumptions_leave_nothing(tmp_path: Path) -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 1)
    flow.run(dag, run_id="r", store=flow.store.memory())
    before = threading.active_count()
    for _ in range(500):
        with flow.store.open(tmp_path / "runs.db") as store:
            assert flow.run(dag, run_id="r", store=store)["a"] == 1
    assert threading.active_count() <= before
    if sys.platform == "linux":
        assert len(os.listdir("/proc/self/fd")) < 100
