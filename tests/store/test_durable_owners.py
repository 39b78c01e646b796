"""Who drives a run: one process at a time, and another once that is gone; what a process is told by others."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlite_stores import check_integrity, line_of

import flow
from flow.errors import RunOwned
from flow.store.in_memory import MemoryBackend
from flow.store.owner import this_process
from flow.store.store import Store

PROGRAM = Path(__file__).parent / "programs" / "durable_owner.py"
_spec = importlib.util.spec_from_file_location("durable_owner", PROGRAM)
assert _spec is not None and _spec.loader is not None
owner: Any = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(owner)

pytestmark = pytest.mark.slow


@contextmanager
def owning(folder: Path, run_id: str = "r", mode: str = "sync", lease: str = "") -> Iterator[subprocess.Popen[str]]:
    """A process that drives a run, and holds it in its midst."""
    command = [sys.executable, str(PROGRAM), str(folder), run_id, mode, *([lease] if lease else [])]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(30, process.kill)
        watchdog.start()
        try:
            assert line_of(process) == "held"
            yield process
        finally:
            watchdog.cancel()
            process.kill()


def suspend(process: subprocess.Popen[str], folder: Path) -> None:
    """Let a process stand still, and not while it writes: it would hold the lock of the store."""
    import fcntl

    with open(folder / "runs.db.lock", "rb") as file:
        while True:
            os.kill(process.pid, signal.SIGSTOP)
            time.sleep(0.005)  # until the signal has come to all its threads
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                os.kill(process.pid, signal.SIGCONT)


def opened(folder: Path, mode: Any = "sync") -> closing[Store]:
    return closing(flow.store.open(folder / "runs.db", durability=mode))


def driven(folder: Path, store: Store, run_id: str = "r", **how: Any) -> flow.Result:
    made = owner.asking_dag if run_id.startswith("asking") else owner.dag_of
    return flow.run(made(folder), run_id=run_id, store=store, config=owner.CONFIG, **how)


def calls(folder: Path) -> list[str]:
    return [line.split()[0] for line in (folder / "calls").read_text().splitlines()]


def until(holds: Callable[[], object]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.01)


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_second_one_is_refused_while_the_first_lives(tmp_path: Path, mode: str) -> None:
    with owning(tmp_path, mode=mode) as process, opened(tmp_path, mode) as store:
        if mode == "async":
            until(lambda: len(store.load("r").journal))
        before = store.load("r")
        for how in ("attach", "retry", "restart"):
            with pytest.raises(RunOwned, match=f":{process.pid}:"):
                driven(tmp_path, store, on_conflict=how)
        with pytest.raises(RunOwned):
            store.delete(["r"])
        with pytest.raises(RunOwned):
            store.reset("r", owner.dag_of(tmp_path).compile())
        assert store.load("r") == before
        (tmp_path / "go").touch()
        assert line_of(process) == "completed last"
        assert driven(tmp_path, store)["last"] == "last"
    assert calls(tmp_path) == ["first", "holds", "last", "clean"]


def test_a_killed_one_is_taken_over_at_once(tmp_path: Path) -> None:
    with owning(tmp_path) as process, opened(tmp_path) as store:
        process.kill()
        process.wait()
        (tmp_path / "go").touch()
        assert driven(tmp_path, store)["last"] == "last"
    assert calls(tmp_path) == ["first", "holds", "holds", "last", "clean"]


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_paused_one_is_taken_over_after_its_lease_and_fenced_then(tmp_path: Path, mode: str) -> None:
    with owning(tmp_path, mode=mode, lease="1") as process, opened(tmp_path, mode) as store:
        if mode == "async":
            until(lambda: len(store.load("r").journal))
        suspend(process, tmp_path)
        with pytest.raises(RunOwned):
            driven(tmp_path, store)
        (tmp_path / "go").touch()

        def taken_over() -> bool:
            try:
                return bool(driven(tmp_path, store)["last"] == "last")
            except RunOwned:
                return False

        until(taken_over)
        before = store.load("r")
        os.kill(process.pid, signal.SIGCONT)
        assert line_of(process) == "Fenced"
        process.wait(20)
        assert store.load("r") == before
        assert before.row.owner == "" and before.row.status == "completed"
    assert Counter(calls(tmp_path))["first"] == 1
    check_integrity(tmp_path / "runs.db")


@pytest.mark.parametrize("stores", [1, 2])
def test_of_two_threads_one_drives(tmp_path: Path, stores: int) -> None:
    """As programs do that open the store anew for each call."""
    (tmp_path / "folder").mkdir()
    entered, go, found = threading.Event(), threading.Event(), list[Any]()
    dag = flow.Dag("dag")

    def held() -> int:
        entered.set()
        assert go.wait(20)
        return 1

    dag.add("held", held)

    def drive(store: Store) -> None:
        try:
            found.append(flow.run(dag, run_id="r", store=store)["held"])
        except Exception as error:
            found.append(error)

    with opened(tmp_path) as first, closing(flow.store.open(tmp_path / "folder" / ".." / "runs.db")) as second:
        thread = threading.Thread(target=drive, args=(first,))
        thread.start()
        assert entered.wait(20)
        drive(first if stores == 1 else second)
        go.set()
        thread.join(20)
        assert [type(one) for one in found] == [RunOwned, int], found
        assert flow.run(dag, run_id="r", store=second)["held"] == 1


def test_recover_goes_on_with_what_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "go").touch()
    with opened(tmp_path) as store:
        driven(tmp_path, store, "ended")
        driven(tmp_path, store, "asking.nobody", on_wait="return")
        driven(tmp_path, store, "asking", on_wait="return")
        store.send("asking", "answer", 4)
        (tmp_path / "go").unlink()
        with owning(tmp_path, "left"), owning(tmp_path, "owned") as alive:
            with owning(tmp_path, "left.too") as process:
                process.kill()
                process.wait()
            (tmp_path / "go").touch()
            # "left" lives, and may or may not have ended by now
            suspend(alive, tmp_path)
            known = {"owned": store.load("owned")}
            found = flow.recover(store, [owner.dag_of(tmp_path), owner.asking_dag(tmp_path)], config=owner.CONFIG)
            assert {name for name in found if name != "left"} == {"left.too", "asking"}
            assert store.load("owned") == known["owned"]
            results = {name: result for name, result in found.items() if isinstance(result, flow.Result)}
            assert results == found
            assert results["left.too"]["last"] == "last"
            assert results["asking"]["last"] == 8
            os.kill(alive.pid, signal.SIGCONT)
            assert line_of(alive) == "completed last"
        assert store.run("asking.nobody").status == "waiting"
        until(lambda: not flow.recover(store, [owner.dag_of(tmp_path)], config=owner.CONFIG))


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
def test_another_process_cancels_it(tmp_path: Path, mode: str) -> None:
    with owning(tmp_path, mode=mode) as process, opened(tmp_path, mode) as store:
        row = store.cancel("r")
        assert row.status == "running" and row.cancel
        began = time.monotonic()
        assert line_of(process) == "cancelled None"
        assert time.monotonic() - began < 5
        assert calls(tmp_path) == ["first", "holds", "clean"]
        process.wait(20)
        result = driven(tmp_path, store)  # its stored Result
        assert calls(tmp_path) == ["first", "holds", "clean"]
        assert {name: str(status) for name, status in result.status.items()} == {
            "first": "completed", "holds": "cancelled", "last": "cancelled", "clean": "completed",
        }  # fmt: skip
        (tmp_path / "go").touch()
        assert driven(tmp_path, store, on_conflict="retry")["last"] == "last"
        assert store.run("r").status == "completed"
        assert Counter(calls(tmp_path)) == {"first": 2, "holds": 2, "last": 1, "clean": 2}  # torn down, and set up anew


def test_a_cancellation_outlives_the_process_that_did_not_see_it(tmp_path: Path) -> None:
    with owning(tmp_path) as process, opened(tmp_path) as store:
        suspend(process, tmp_path)
        assert store.cancel("r").cancel
        process.kill()
        process.wait()
        (tmp_path / "go").touch()
        result = driven(tmp_path, store)
        assert not result.ok
        assert store.run("r").status == "cancelled"
        assert calls(tmp_path) == ["first", "holds", "clean"]  # its cleanup alone
        assert driven(tmp_path, store, on_conflict="retry")["last"] == "last"


def test_one_that_nobody_drives_is_cancelled_at_once(tmp_path: Path) -> None:
    with owning(tmp_path) as process, opened(tmp_path) as store:
        process.kill()
        process.wait()
        assert store.cancel("r").status == "cancelled"
        (tmp_path / "go").touch()
        assert not driven(tmp_path, store).ok
        assert store.run("r").status == "cancelled"
        assert "last" not in calls(tmp_path)
        assert driven(tmp_path, store, on_conflict="retry")["last"] == "last"


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_another_process_sends_to_it(tmp_path: Path, mode: str) -> None:
    with owning(tmp_path, "asking", mode) as process, opened(tmp_path, mode) as store:
        assert store.send("asking", "answer", 21)
        assert not store.send("asking", "answer", 22)
        assert line_of(process) == "completed 42"
        assert driven(tmp_path, store, "asking")["answer"] == 21


class Behind(MemoryBackend):
    """Its owner, who was thought to be gone, writes once more between somebody's reading and claiming."""

    late: Callable[[], None] | None = None

    def claim(self, *args: Any) -> int | None:
        late, self.late = self.late, None
        if late is not None:
            late()
        return super().claim(*args)


def test_what_the_last_owner_wrote_meanwhile_is_not_run_again() -> None:
    backend, counts = Behind(), Counter[str]()
    dag = flow.Dag("dag")

    def first() -> int:
        counts["first"] += 1
        return 1

    def second(first: int) -> int:
        counts["second"] += 1
        if counts["second"] == 1:
            raise KeyboardInterrupt
        return first + 1

    dag.add("first", first)
    dag.add("second", second)
    with pytest.raises(KeyboardInterrupt):
        flow.run(dag, run_id="r", store=Store(backend, "sync"))
    stored = backend.load("r")
    assert stored is not None and len(stored.journal) == 1
    written = backend._runs["r"].journal.pop()  # as of before the last write of its owner, who seems to be gone
    row = stored.row
    token = backend.claim("r", row.token, this_process(), 0.0, 0.0)
    assert token is not None
    backend.late = lambda: backend.write("r", token, flow.store.backend.Change(1.0, 0.0), written)
    try:
        result = flow.run(dag, run_id="r", store=Store(backend, "sync"))
    except RunOwned:
        result = flow.run(dag, run_id="r", store=Store(backend, "sync"))
    assert result["second"] == 2
    assert counts == {"first": 1, "second": 2}
