"""Stores that cannot be opened, read or written: an error that names the store and the cause; nothing is changed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlite_stores import PLAIN, add_run, check_integrity, journal, line_of, opened, python

from flow.errors import DamagedRow, StoreError
from flow.store.backend import RunRow, Signal
from flow.store.sqlite import SqliteBackend, schema


def refused(path: Path | str, says: str, kind: type[StoreError] = StoreError) -> None:
    with pytest.raises(kind, match=says) as caught:
        SqliteBackend(path, fsync=False).close()
    assert ascii(os.path.basename(path))[1:-1].replace("\\\\", "\\") in str(caught.value)


def test_a_folder_that_is_missing(tmp_path: Path) -> None:
    refused(tmp_path / "none" / "store.db", "its folder does not exist")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder")


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refused(tmp_path / "file" / "store.db", "its folder does not exist")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "is a pipe or a device")


def test_names_that_no_file_can_have(tmp_path: Path) -> None:
    refused(str(tmp_path / "a\0b"), "has a null character")
    refused(str(tmp_path / ("x" * 300)), "cannot")
    refused(str(tmp_path / "\ud800"), "cannot")


@pytest.mark.parametrize("name", ["a b", "a?mode=memory", "a%41", "a#b", ":memory:", "é", "a;b", "file:x", "a&b", "'"])
def test_names_that_a_file_can_have(tmp_path: Path, name: str) -> None:
    with opened(tmp_path / name) as store:
        add_run(store)
    assert {p.name for p in tmp_path.iterdir()} == {name, f"{name}.lock"}
    with opened(tmp_path / name) as store:
        assert journal(store) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may do anything")
def test_no_permission(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as store:
        add_run(store)
    (tmp_path / "store.db").chmod(0o400)
    refused(tmp_path / "store.db", "no permission to read and write it")
    (tmp_path / "store.db").chmod(0o600)
    tmp_path.chmod(0o500)
    refused(tmp_path / "store.db", "no permission to write to its folder")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("data", [b"x", b"text " * 1000, b"SQLite format 3\0", b"\0" * 8192, b"PK\3\4" * 300])
def test_not_a_database(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(data)
    refused(path, "is not a SQLite database|is damaged|is a database of another program")
    assert path.read_bytes() == data


def test_a_database_of_another_program(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    for statement in ("CREATE TABLE t (a)", "PRAGMA user_version = 1", "PRAGMA application_id = 77"):
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path)) as sql:
            sql.execute(statement)
        before = path.read_bytes()
        refused(path, "is a database of another program")
        assert path.read_bytes() == before


def test_an_empty_file_becomes_a_store(tmp_path: Path) -> None:
    (tmp_path / "store.db").touch()
    with opened(tmp_path / "store.db") as store:
        add_run(store)


def test_a_newer_schema(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    opened(path).thing.close()
    with closing(sqlite3.connect(path)) as sql:
        sql.execute("PRAGMA user_version = 99")
    before = path.read_bytes()
    refused(path, r"was written by a newer version of flow \(its schema is 99, this one knows up to 2\)")
    assert path.read_bytes() == before


def test_migration_forward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "store.db"
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    with opened(path) as store:
        add_run(store)
        store.write("r", 0, PLAIN, b"of version 1")
    more = ("ALTER TABLE run ADD COLUMN note TEXT", "UPDATE run SET note = 'was there'"), ("CREATE TABLE extra (a)",)
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, more[0], ("CREATE TABLE",)))
    refused(path, "cannot do this.*incomplete input")
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (1,)  # all steps or none
        assert "note" not in {row[1] for row in sql.execute("PRAGMA table_info(run)").fetchall()}
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS[:1], *more))
    for _ in range(2):
        with opened(path) as store:
            assert journal(store) == [b"of version 1"]
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (3,)
        assert sql.execute("SELECT note FROM run").fetchall() == [("was there",)]
        assert sql.execute("SELECT * FROM extra").fetchall() == []


def test_the_first_schema_stays_as_it_is() -> None:
    """Stores of version 1 are out there: a change is one more migration."""
    with closing(sqlite3.connect(":memory:")) as sql:
        for statement in schema.MIGRATIONS[0]:
            sql.execute(statement)
        tables = {name for (name,) in sql.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        assert tables == {"run", "input", "journal", "signal", "shape", "counter", "used", "held", "doomed"}
        columns = [row[1] for row in sql.execute("PRAGMA table_info(run)").fetchall()]
        assert set(columns) == (set(RunRow.__struct_fields__) - {"inputs"}) | {"key", "segments"}


def filled(path: Path) -> None:
    with opened(path) as store:
        for k in range(20):
            add_run(store, f"r{k}", inputs=b"i" * 3000)
            store.write(f"r{k}", 0, PLAIN, bytes([k]) * 20_000)


@pytest.mark.parametrize("keep", [16, 100, 4096, 5000, 0.3, 0.9, 0.999])
def test_a_truncated_database(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "store.db"
    filled(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    refused(path, "is damaged|is not a SQLite database", DamagedRow)


def use_all(path: Path) -> None:
    with opened(path) as store:
        for row in store.runs():
            store.load(row.id)
            store.write(row.id, 0, PLAIN, b"more")
            store.send(row.id, Signal("a", b"", 1.0))
        store.delete(["r1"])


@pytest.mark.long
def test_flipped_bits(tmp_path: Path) -> None:
    """A page that SQLite finds damaged is an error that says so; never another exception, never a hang."""
    path = tmp_path / "store.db"
    filled(path)
    data = path.read_bytes()
    said = 0
    for page in range(len(data) // 4096):
        for byte in (0, 3, 5, 9, 105):  # the kind of page, its cells, their places
            at = 4096 * page + byte
            path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
            try:
                use_all(path)
            except StoreError as error:
                said += 1
                assert "store.db" in str(error)
    assert said > 50


def test_a_truncated_log_loses_only_its_end(tmp_path: Path) -> None:
    path, copy = tmp_path / "store.db", tmp_path / "copy"
    copy.mkdir()
    with opened(path) as store:
        add_run(store)
        for k in range(20):
            store.write("r", 0, PLAIN, bytes([k]) * 5000)
        database, log = path.read_bytes(), path.with_name("store.db-wal").read_bytes()
    counts = []
    for size in [0, 16, 31, 32, 4000, *range(50_000, len(log), 7919), len(log)]:
        (copy / "store.db").write_bytes(database)
        (copy / "store.db-wal").write_bytes(log[:size])
        with opened(copy / "store.db") as store:
            found = store.load("r")
            counts.append(0 if found is None else len(found.journal))
            assert found is None or list(found.journal) == [bytes([k]) * 5000 for k in range(counts[-1])]
        check_integrity(copy / "store.db")
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == 20


def test_files_of_the_store_that_are_folders(tmp_path: Path) -> None:
    (tmp_path / "a.lock").mkdir()
    refused(tmp_path / "a", "cannot do this: IsADirectoryError|PermissionError")
    (tmp_path / "b.files").touch()
    with opened(tmp_path / "b") as store, pytest.raises(StoreError, match="cannot do this"):
        store.put_file(b"x")


def test_large_values_that_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with opened(path) as store:
        digest = store.put_file(b"data" * 1000)
        (file,) = [p for p in path.with_name("store.db.files").rglob("*") if p.is_file()]
        assert file.name == digest.hex() and file.parent.name == file.name[:2]
        file.write_bytes(b"dat0" * 1000)
        with pytest.raises(DamagedRow, match="is not what was written"):
            store.get_file(digest)
        assert store.put_file(b"data" * 1000) == digest  # it heals
        assert store.get_file(digest) == b"data" * 1000
        file.unlink()
        with pytest.raises(DamagedRow, match="is gone"):
            store.get_file(digest)
        for odd in (b"", b"../../x", bytes(300)):
            with pytest.raises(StoreError):
                store.get_file(odd)


def test_values_that_cannot_be_kept(tmp_path: Path) -> None:
    with opened(tmp_path / "store.db") as store:
        add_run(store)
        for run in ("\ud800", "a\udfffb"):
            with pytest.raises(StoreError, match="store.db cannot take this value"):
                store.create(RunRow(run, "dag", b"", b""), b"")
            with pytest.raises(StoreError, match="store.db cannot take this value"):
                store.row(run)
        with pytest.raises(StoreError, match="cannot"):
            store.create(RunRow("x", "dag", b"", b"", token=2**70), b"")
        with pytest.raises(StoreError, match="cannot"):
            store.create(RunRow("x", "dag", b"", b"", lease=float("nan")), b"")
        with pytest.raises(StoreError, match="cannot"):
            store.add("a", 2**63)
        store.write("r", 0, PLAIN, b"still works")
        assert [row.id for row in store.runs()] == ["r"]


FULL = """
import resource, sys
from flow.errors import StoreError
from flow.store.backend import Change
from flow.store.sqlite import SqliteBackend
store = SqliteBackend(sys.argv[1], fsync=True)
print("ready", flush=True)
for line in sys.stdin:
    limit = int(line)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit if limit else resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    try:
        store.write("r", 0, Change(1.0, 0.0), b"x" * 100_000)
        store.put_file(b"y" * 200_000)
        print("written", flush=True)
    except StoreError as error:
        print(error, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of that kind")
def test_a_file_that_cannot_grow(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with opened(path) as store:
        add_run(store)
    with python(FULL, path) as process:
        assert line_of(process) == "ready" and process.stdin is not None
        said = []
        for limit in (0, 30_000, 150_000, 0):
            process.stdin.write(f"{limit}\n")
            process.stdin.flush()
            said.append(line_of(process))
    assert said[0] == said[3] == "written"
    assert "store.db cannot be read or written (disk I/O error, SQLITE_IOERR_WRITE)" in said[1]
    assert "store.db" in said[2]
    check_integrity(path)
    with opened(path) as store:
        assert set(journal(store)) == {b"x" * 100_000} and 2 <= len(journal(store)) <= 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True)
    except OSError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("mounting is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("fsync", [True, False], ids=["fsync", "no-fsync"])
def test_a_full_disk(small_disk: Path, fsync: bool) -> None:
    path, count = small_disk / "store.db", 0
    with opened(path, fsync) as store:
        add_run(store)
        with pytest.raises(StoreError, match=r"store.db the disk is full|No space left"):
            for _ in range(1000):
                store.write("r", 0, PLAIN, b"x" * 20_000)
                count += 1
        assert 10 < count < 200
        assert journal(store) == [b"x" * 20_000] * count  # what was there is readable, and no more
        with pytest.raises(StoreError, match=r"store.db cannot do this: OSError: .*No space left|the disk is full"):
            store.put_file(b"y" * 2_000_000)
        subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
        store.write("r", 0, PLAIN, b"later")
        digest = store.put_file(b"y" * 2_000_000)
        assert store.get_file(digest) == b"y" * 2_000_000
    check_integrity(path)
    with opened(path) as store:
        assert journal(store) == [b"x" * 20_000] * count + [b"later"]


def test_a_folder_that_is_read_only(small_disk: Path) -> None:
    path = small_disk / "store.db"
    with opened(path) as store:
        add_run(store)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(path, "cannot")


def test_a_file_system_that_becomes_read_only(small_disk: Path, tmp_path: Path) -> None:
    """A bad descriptor is what an unplugged disk looks like to SQLite: here each write of the store fails."""
    path = small_disk / "store.db"
    with opened(path) as store:
        add_run(store)
        store.write("r", 0, PLAIN, b"one")
        for fd in os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else ():
            try:
                target = os.readlink(f"/proc/self/fd/{fd}")
            except OSError:
                continue
            if target == f"{path}-wal":
                null = os.open(os.devnull, os.O_RDONLY)
                os.dup2(null, int(fd))
                os.close(null)
        with pytest.raises(StoreError, match="store.db cannot be read or written"):
            store.write("r", 0, PLAIN, b"two")
    check_integrity(path)
