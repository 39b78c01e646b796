"""What the SQLite store does besides the contract: its files, its log, what it reads, and what it says."""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_stores import PLAIN, add_run, journal, opened

from flow.errors import DamagedRow, StoreError
from flow.store.backend import Change, Signal
from flow.store.conformance import store_suite
from flow.store.sqlite import SqliteBackend, connection, files, holds, lock

paths: list[str] | None = None
"""Files that the process opens, while it is a list. (A hook can never be taken away again.)"""


def _note(event: str, arguments: tuple[object, ...]) -> None:
    if paths is not None and event in ("open", "sqlite3.connect", "os.mkdir", "os.rename", "os.remove"):
        paths.append(os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes)) else repr(arguments[0]))


@pytest.fixture
def noted() -> Iterator[list[str]]:
    global paths
    sys.addaudithook(_note)
    found = paths = []
    yield found
    paths = None


@pytest.mark.slow
def test_no_file_outside_of_its_folder_is_opened(tmp_path: Path, noted: list[str]) -> None:
    """Whatever runs, addresses and counters are called: here by all the names and calls of the contract's tests."""
    count = iter(range(1000))

    def make() -> SqliteBackend:
        return SqliteBackend(tmp_path / f"{next(count)}.db", fsync=False)

    store_suite(make)().check()
    assert len(noted) > 100
    real = os.path.realpath(tmp_path)
    assert {p for p in noted if not p.removeprefix("file://").startswith((f"{real}/", real))} == set()


@pytest.mark.slow
def test_the_log_stays_small_beside_readers(tmp_path: Path) -> None:
    """Readers of the store have no transaction once they return, in this process and in others."""
    path = tmp_path / "store.db"
    with opened(path) as store, opened(path) as reader:
        add_run(store)
        for k in range(5000):
            store.write("r", 0, PLAIN, b"x" * 20_000)
            if k % 10 == 0:
                reader.runs()
                reader.take_signals("r", 0)
                reader.row("r")
            if k % 500 == 0:
                reader.load("r")
        assert path.with_name("store.db-wal").stat().st_size < 64 * 2**20
        assert path.stat().st_size > 90 * 2**20  # it is not all in the log


@pytest.mark.slow
def test_a_log_that_has_grown_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader in a transaction lets the log grow; the first checkpoint after it cuts the log off."""
    monkeypatch.setattr(connection, "CHECKPOINT_BYTES", 100_000)
    monkeypatch.setattr(connection, "MAX_LOG_BYTES", 1_000_000)
    path = tmp_path / "store.db"
    log = path.with_name("store.db-wal")
    with opened(path) as store:
        add_run(store)
        with closing(sqlite3.connect(path, isolation_level=None)) as foreign:
            foreign.execute("BEGIN")
            foreign.execute("SELECT * FROM run").fetchall()
            for _ in range(60):
                store.write("r", 0, PLAIN, b"x" * 20_000)
            assert log.stat().st_size > 1_000_000
            foreign.execute("COMMIT")
        for _ in range(10):
            store.write("r", 0, PLAIN, b"x" * 20_000)
        assert log.stat().st_size < 500_000
        assert len(journal(store)) == 70


def test_all_that_the_writer_does_is_under_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes, checkpoints and the close: SQLite before 3.51.3 can damage what two processes do of these at once."""
    held, said = [0], list[tuple[int, str]]()
    for name, step in (("acquire", 1), ("release", -1)):
        real = getattr(lock.FileLock, name)

        def counted(self: lock.FileLock, *arguments: float, real: Callable[..., None] = real, step: int = step) -> None:
            real(self, *arguments)
            held[0] += step

        monkeypatch.setattr(lock.FileLock, name, counted)
    monkeypatch.setattr(connection, "CHECKPOINT_BYTES", 50_000)
    with opened(tmp_path / "store.db") as store:
        store._database._writer.set_trace_callback(lambda statement: said.append((held[0], statement)))
        add_run(store)
        for _ in range(5):
            store.write("r", 0, PLAIN, b"x" * 20_000)
        store.write("r", 0, Change(1.0, 0.0, status="waiting"), b"", [store.put_file(b"data")])
        store.send("r", Signal("a", b"", 1.0))
        store.claim("r", 0, "me", 1.0, 1.0)
        store.clear("r", 1)
        store.delete(["r"])
        store.put_file(b"held to the end")
    assert {count for count, _ in said} == {1} and held == [0]
    for kind in ("PASSIVE", "TRUNCATE"):
        assert any(f"wal_checkpoint({kind})" in statement for _, statement in said)


def test_nothing_new_reads_nothing(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as store:
        add_run(store)
        assert store.take_signals("r", 0) == ([], False)
        said: list[str] = []
        reader = store._watch._reader
        assert reader is not None
        reader.set_trace_callback(said.append)
        for _ in range(3):
            assert store.take_signals("r", 0) == ((), False)
        assert said == ["PRAGMA data_version"] * 3
        store.send("r", Signal("a", b"", 1.0))
        assert len(store.take_signals("r", 0)[0]) == 1
        assert len(store.take_signals("r", 0)[0]) == 1  # one who has not seen it
        said.clear()
        assert store.take_signals("r", 1) == ((), False)
        assert said == ["PRAGMA data_version"]
        store.ask_to_cancel("r", 2.0)
        assert store.take_signals("r", 1)[1]


def test_listing_reads_an_index_and_the_rows_it_returns(tmp_path: Path) -> None:
    """It sorts nothing and scans nothing, so a store of a gigabyte takes no longer."""
    with opened(tmp_path / "store.db") as store:
        add_run(store)
        reader = store._database.take_reader()
        said: list[str] = []
        reader.set_trace_callback(said.append)
        store._database.give_back(reader, broken=False)
        for statuses in ((), ("running",), ("running", "failed")):
            for dag in (None, "dag"):
                for before in (None, (1.0, "r")):
                    store.runs(statuses, dag, 100, before)
        reader.set_trace_callback(None)
        queries = [query for query in said if query.startswith("SELECT")]
        plans = [row[3] for query in queries for row in reader.execute(f"EXPLAIN QUERY PLAN {query}")]
        assert len(plans) == 16
        assert all("USING INDEX run_" in plan for plan in plans)
        assert not any("journal" in query or "input" in query for query in said)


def test_a_write_is_one_statement_by_keys(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as store:
        add_run(store)
        said: list[str] = []
        store._database._writer.set_trace_callback(said.append)
        store.write("r", 0, PLAIN, b"segment")
        assert {s.split()[0] for s in said if not s.startswith("--")} == {"INSERT"}  # the rest does its trigger
        said.clear()
        store.write("r", 0, Change(1.0, 1.0, status="failed"), b"segment")
        assert [s.split()[0] for s in said] == ["BEGIN", "UPDATE", "INSERT", "COMMIT"]
        store._database._writer.set_trace_callback(None)


@pytest.mark.skipif(sqlite3.sqlite_version_info >= connection.SAFE, reason="this SQLite has no such bug")
def test_it_says_once_that_other_programs_must_not_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "_said", False)
    caplog.set_level(logging.INFO, "flow")
    for name in "ab":
        opened(tmp_path / name).thing.close()
    (record,) = caplog.records
    assert sqlite3.sqlite_version in record.getMessage() and "no other program may write" in record.getMessage()


def test_the_log_line_is_for_old_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(connection, "_said", False)
    monkeypatch.setattr(connection, "SAFE", sqlite3.sqlite_version_info)
    caplog.set_level(logging.INFO, "flow")
    opened(tmp_path / "a").thing.close()
    assert not caplog.records


def test_a_sqlite_that_is_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "LEAST", (99, 0, 0))
    with pytest.raises(StoreError, match="needs SQLite"):
        SqliteBackend(tmp_path / "a", fsync=False)


def test_closing_and_using(tmp_path: Path) -> None:
    store = SqliteBackend(tmp_path / "store.db", fsync=True)
    assert repr(store) == f"SqliteBackend({os.path.realpath(tmp_path / 'store.db')!r})"
    store.close()
    store.close()
    for call in (store.runs, lambda: store.take_signals("r", 0), lambda: store.get_file(bytes(20))):
        with pytest.raises(StoreError, match="store.db is closed"):
            call()
    with opened(tmp_path / "store.db") as again:
        reader = again._database.take_reader()
        again.close()
        again._database.give_back(reader, broken=False)  # by a thread that was at it
        with pytest.raises(sqlite3.ProgrammingError):
            reader.execute("SELECT 1")


def stored_files(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "store.db.files").rglob("*") if p.is_file())


def test_a_crash_while_a_file_is_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "store.db") as store:
        for broken in ("fsync", "replace"):
            with monkeypatch.context() as patch:

                def fail(*arguments: object) -> None:
                    raise OSError(5, "Input/output error")

                patch.setattr(files.os, broken, fail)
                with pytest.raises(StoreError, match="store.db cannot do this: OSError.*Input/output error"):
                    store.put_file(b"data")
            assert stored_files(tmp_path) == []
        store.put_file(b"data")
    assert stored_files(tmp_path) == []  # nothing refers to it: it went with who has put it


def test_a_file_is_on_the_disk_before_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []

    def noting(name: str) -> None:
        real = getattr(os, name)

        def noted(*arguments: object) -> object:
            is_folder = name == "fsync" and os.path.isdir(f"/proc/self/fd/{arguments[0]}")
            did.append("fsync of a folder" if is_folder else name)
            return real(*arguments)

        monkeypatch.setattr(files.os, name, noted)

    with opened(tmp_path / "store.db") as store:
        for name in ("fsync", "replace"):
            noting(name)
        store.put_file(b"data")
        folder = "fsync of a folder" if os.path.isdir("/proc/self/fd") else "fsync"
        assert did == [folder, folder, "fsync", "replace", folder]
        did.clear()
        store.put_file(b"data")
        assert did == [folder]


def test_what_a_killed_process_has_left_goes_after_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = SqliteBackend(tmp_path / "store.db", fsync=False)
    digest = left.put_file(b"data")
    with opened(tmp_path / "store.db") as store:
        assert store.get_file(digest) == b"data"
    monkeypatch.setattr(holds, "STALE", -1.0)  # a day later
    with opened(tmp_path / "store.db") as store:
        with pytest.raises(DamagedRow):
            store.get_file(digest)
        add_run(store)
        with pytest.raises(DamagedRow, match="put it again"):
            left.write("r", 0, PLAIN, b"", [digest])  # it was not killed after all
        left.put_file(b"data")
        left.write("r", 0, PLAIN, b"", [digest])
        assert store.get_file(digest) == b"data"
    left.close()
    assert stored_files(tmp_path) == [digest.hex()]


def test_a_file_that_cannot_be_removed_is_removed_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, while somebody reads it; and as after a kill between the transaction and the removal."""
    with opened(tmp_path / "store.db") as store:
        add_run(store)
        digest = store.put_file(b"data")
        store.write("r", 0, PLAIN, b"", [digest])
        with monkeypatch.context() as patch:

            def fail(path: str) -> None:
                raise PermissionError(13, "in use")

            patch.setattr(files.os, "unlink", fail)
            assert store.delete(["r"]) == 1
        assert stored_files(tmp_path) == [digest.hex()]
    with opened(tmp_path / "store.db"):
        assert stored_files(tmp_path) == []


def test_errors_within_a_transaction_undo_it(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as store:
        add_run(store)
        for error in (KeyboardInterrupt(), ValueError("mine")):
            with pytest.raises(type(error)), store._database.writing() as sql:
                sql.execute("DELETE FROM run")
                raise error
        assert [row.id for row in store.runs()] == ["r"]
        with pytest.raises(StoreError, match="no such table"), store._database.reading() as sql:
            sql.execute("SELECT * FROM none").fetchall()
        with pytest.raises(StoreError, match=r"cannot be written to: no permission|readonly"):
            with store._database.reading() as sql:
                sql.execute("DELETE FROM run")  # who reads cannot write
        store.write("r", 0, PLAIN, b"fine")


def test_a_reader_that_has_left_a_transaction_open_is_closed(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as store:
        with store._database.reading() as sql:
            sql.execute("BEGIN")
            sql.execute("SELECT 1").fetchall()
        with pytest.raises(sqlite3.ProgrammingError):
            sql.execute("SELECT 1")
