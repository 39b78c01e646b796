"""A SQLite store that several processes use, that one is killed on, that another program locks, and that is forked."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_stores import PLAIN, add_run, check_integrity, journal, line_of, opened, python

from flow.errors import StoreError, UnknownRun
from flow.store.backend import Signal
from flow.store.sqlite import SqliteBackend, connection, faults, lock

WRITER = """
import sys, threading
from flow.store.backend import Change
from flow.store.sqlite import SqliteBackend
store, errors = SqliteBackend(sys.argv[1], fsync=False), []
def write(k):
    try:
        for i in range(int(sys.argv[3])):
            store.write(f"{sys.argv[2]} {k}", 0, Change(1.0, 0.0), b"%d" % i)
            if i % 10 == 0:
                store.write("shared", 0, Change(1.0, 0.0), b"x" * 5000)
                store.load("shared") if i % 100 == 0 else store.runs(limit=10)
                store.take_signals("shared", 0)
                store.add("sum", 1)
    except BaseException as error:
        errors.append(error)
threads = [threading.Thread(target=write, args=(k,)) for k in range(8)]
print("ready", flush=True)
sys.stdin.readline()
for thread in threads: thread.start()
for thread in threads: thread.join()
store.close()
print(errors, flush=True)
"""


@pytest.mark.slow
def test_two_processes_of_eight_threads_write_10_000_rows(tmp_path: Path) -> None:
    path, rows = tmp_path / "store.db", 625
    with opened(path) as store:
        add_run(store, "shared")
        for process in "ab":
            for thread in range(8):
                add_run(store, f"{process} {thread}")
    with python(WRITER, path, "a", rows) as a, python(WRITER, path, "b", rows) as b:
        for process in (a, b):
            assert line_of(process) == "ready"
        for process in (a, b):
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        assert [line_of(process) for process in (a, b)] == ["[]", "[]"]  # no error reached anybody
        assert [process.wait() for process in (a, b)] == [0, 0]
    check_integrity(path)
    with opened(path) as store:
        for process in "ab":
            for thread in range(8):
                assert journal(store, f"{process} {thread}") == [b"%d" % i for i in range(rows)]
        assert len(journal(store, "shared")) == store.add("sum", 0) == 2 * 8 * len(range(0, rows, 10))


KILLED = """
import sys
from flow.store.backend import Change
from flow.store.sqlite import SqliteBackend
store = SqliteBackend(sys.argv[1], fsync=False)
for i in range(100_000):
    digest = store.put_file(b"%d" % i * 1000) if i % 7 == 0 else None
    store.write("r", 0, Change(float(i), float(i + 1)), b"%d" % i * 2000, [digest] if digest else [])
    print(i, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 30, 150])
def test_what_was_acknowledged_outlives_a_kill(tmp_path: Path, after: int) -> None:
    path = tmp_path / "store.db"
    with opened(path) as store:
        add_run(store)
    with python(KILLED, path) as process:
        for i in range(after):
            assert line_of(process) == str(i)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    with opened(path) as store:
        found = journal(store)
        assert len(found) >= after
        assert found == [b"%d" % i * 2000 for i in range(len(found))]
        row = store.row("r")
        assert row is not None and row.owned == len(found)
        assert store.claim("r", 0, "me", 1.0, 1.0) == 1  # no lock is left behind
    check_integrity(path)


HOLDS = """
import sqlite3, sys
sql = sqlite3.connect(sys.argv[1], isolation_level=None)
sql.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
sql.execute("ROLLBACK")
print("free", flush=True)
"""
HOLDS_FILE = """
import sys, time
from flow.store.sqlite.lock import FileLock
lock = FileLock(sys.argv[1] + ".lock", "x")
lock.acquire(time.monotonic() + 1)
print("held", flush=True)
sys.stdin.readline()
lock.release()
print("free", flush=True)
"""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for locks 0.1 s, not 4 s."""
    for module in (connection, faults, lock):
        monkeypatch.setattr(module, "WAIT", 0.1)


def check_locked(path: Path, code: str, says: str) -> None:
    with opened(path) as store:
        add_run(store)
        with python(code, path) as process:
            assert line_of(process) == "held"
            for _ in range(2):  # by one statement, and by a transaction
                with pytest.raises(StoreError, match=says) as caught:
                    store.write("r", 0, PLAIN, b"refused")
                with pytest.raises(StoreError, match=says):
                    store.send("r", Signal("a", b"", 1.0))
            assert str(path) in str(caught.value)
            assert journal(store) == []  # who reads does not wait
            assert process.stdin is not None and process.poll() is None
            process.stdin.write("\n")
            process.stdin.flush()
            assert line_of(process) == "free"
        store.write("r", 0, PLAIN, b"later")
        assert journal(store) == [b"later"]


def test_a_table_locked_by_another_program(tmp_path: Path, impatient: None) -> None:
    check_locked(tmp_path / "store.db", HOLDS, "is locked by another program")


def test_a_lock_file_held_by_another_process(tmp_path: Path, impatient: None) -> None:
    known = r" \(pid \d+\)" if sys.platform == "linux" else ""
    check_locked(tmp_path / "store.db", HOLDS_FILE, f"is locked by another process{known} for")


@pytest.mark.long
@pytest.mark.parametrize("code", [HOLDS, HOLDS_FILE], ids=["table", "file"])
def test_a_locked_store_says_so_after_four_seconds(tmp_path: Path, code: str) -> None:
    began = time.monotonic()
    with opened(tmp_path / "store.db") as store, python(code, store.name) as process:
        assert line_of(process) == "held"
        with pytest.raises(StoreError, match="is locked by another p"):
            store.add("a", 1)
        assert time.monotonic() - began < 5.5


def test_a_store_that_another_process_is_opening(tmp_path: Path, impatient: None) -> None:
    path = tmp_path / "store.db"
    with python(HOLDS_FILE, path) as process:
        assert line_of(process) == "held"
        with pytest.raises(StoreError, match="is locked by another process"):
            SqliteBackend(path, fsync=False)


def test_close_does_not_wait_forever(tmp_path: Path, impatient: None) -> None:
    store = SqliteBackend(tmp_path / "store.db", fsync=False)
    with python(HOLDS_FILE, store.name) as process:
        assert line_of(process) == "held"
        store.close()
    with pytest.raises(StoreError, match="is closed"):
        store.row("r")


def test_a_thread_that_waits_for_another_says_so(tmp_path: Path, impatient: None) -> None:
    held = lock.FileLock(str(tmp_path / "x.lock"), "x")
    held.acquire(time.monotonic() + 1)
    with pytest.raises(StoreError, match="is busy with another call of this process"):
        held.acquire(time.monotonic())
    held.release()
    held.acquire(time.monotonic())
    held.release()
    held.close()


def test_who_writes_on_and_on_steps_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waits leaves a mark; who finds it after its turn waits two polls, and takes the mark away."""
    naps: list[float] = []
    mine, other = [lock.FileLock(str(tmp_path / "x.lock"), "x") for _ in range(2)]  # excluded like two processes
    mine.acquire(0.0)
    with pytest.raises(StoreError):
        other.acquire(0.0)
    monkeypatch.setattr(lock, "sleep", naps.append)
    mine.release()
    mine.acquire(0.0)
    assert naps == []  # its turn is not over
    monkeypatch.setattr(lock, "TURN", 0.0)
    mine.release()
    mine.acquire(0.0)
    assert naps == [2 * lock.POLL]
    mine.release()
    mine.acquire(0.0)
    assert len(naps) == 1  # nobody has left a mark since
    mine.release()
    for each in (mine, other):
        each.close()


def test_stores_of_one_process_share_a_database(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "store.db")
    with opened(tmp_path / "store.db") as one, opened(tmp_path / "link.db") as two:
        assert one.name == two.name  # or they would have two lock files
        add_run(one)
        two.write("r", 0, PLAIN, b"two")
        one.write("r", 0, PLAIN, b"one")
        assert journal(two) == [b"two", b"one"]
        one.take_signals("r", 0)
        two.send("r", Signal("a", b"", 1.0))
        assert len(one.take_signals("r", 0)[0]) == 1  # the other's write is seen
        two.delete(["r"])
        with pytest.raises(UnknownRun):
            one.take_signals("r", 0)


FORKS = """
import gc, os, sys
from flow.errors import StoreError
from flow.store.backend import Change, RunRow, digest_of
from flow.store.sqlite import SqliteBackend
store = SqliteBackend(sys.argv[1], fsync=False)
store.create(RunRow("r", "dag", b"s", b""), b"")
store.write("r", 0, Change(1.0, 0.0), b"before")
store.take_signals("r", 0)
child = os.fork()
if not child:
    said = set()
    for call in (
        lambda: store.row("r"), lambda: store.write("r", 0, Change(1.0, 0.0), b"child"), lambda: store.runs(),
        lambda: store.take_signals("r", 0), lambda: store.put_file(b"x"), lambda: store.get_file(digest_of(b"x")),
    ):
        try:
            call()
        except StoreError as error:
            said.add(str(error))
    assert len(said) == 1 and all("before a fork" in text and store.name in text for text in said), said
    store.close()
    with_own = SqliteBackend(sys.argv[1], fsync=False)
    with_own.write("r", 0, Change(1.0, 0.0), b"of the child")
    with_own.close()
    del store
    gc.collect()
    sys.exit(7)  # with all of the interpreter's clearing up
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert os.path.exists(sys.argv[1] + "-wal")
store.write("r", 0, Change(1.0, 0.0), b"after")
found = store.load("r").journal
assert found == [b"before", b"of the child", b"after"], found
store.close()
print("done", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_leaves_the_parent_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with python(FORKS, path) as process:
        assert line_of(process) == "done"
        assert process.wait() == 0
    check_integrity(path)


def test_the_last_one_to_close_removes_the_log(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with opened(path) as one:
        add_run(one)
        with opened(path) as two:
            two.write("r", 0, PLAIN, b"x")
        assert path.with_name("store.db-wal").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"store.db", "store.db.lock"}
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("SELECT segment FROM journal").fetchall() == [(b"x",)]
