"""Loss of power at every write of SQLite: what was acknowledged with ``fsync=True`` is there, and the file is sound.

apsw has a SQLite of its own whose file layer can be replaced. Ours notes each write, each sync and each
acknowledgement, in order. From these notes a disk is made for each moment: what was synced is on it; of all that was
written since any part may be, in any order and torn. A store is opened on each such disk.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import share
from sqlite_stores import PLAIN, add_run, check_integrity, opened

from flow.store.backend import Signal
from flow.store.sqlite import SqliteBackend, connection, schema

apsw = pytest.importorskip("apsw")

SECTOR = 512

notes: list[tuple[Any, ...]] = []
"""("write", file, offset, data), ("cut", file, size), ("sync", file), ("gone", file), ("folder", ""), ("ack", what)."""


class NotingFile(apsw.VFSFile):  # type: ignore[misc]
    def __init__(self, name: Any, flags: list[int]) -> None:
        self.name = Path(name.filename() if isinstance(name, apsw.URIFilename) else name).name
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:
        notes.append(("write", self.name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:
        notes.append(("cut", self.name, size))
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        notes.append(("sync", self.name))


class NotingFiles(apsw.VFS):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__("noting", "")

    def xOpen(self, name: Any, flags: list[int]) -> NotingFile:
        return NotingFile(name, flags)

    def xDelete(self, name: str, sync: bool) -> None:
        super().xDelete(name, sync)
        notes.append(("gone", Path(name).name))


class Cursor:
    """What the store uses of a cursor of the standard library's module."""

    def __init__(self, owner: Any, rows: list[Any]) -> None:
        self.rows, self.rowcount, self.lastrowid = rows, owner.changes(), owner.last_insert_rowid()

    def fetchall(self) -> list[Any]:
        return self.rows

    def fetchone(self) -> Any:
        return self.rows[0]


class Connection:
    """What the store uses of a connection of the standard library's module."""

    def __init__(self, path: str, mode: str) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if mode == "rwc" else apsw.SQLITE_OPEN_READONLY
        self.inner = apsw.Connection(path, flags=flags, vfs="noting")

    def execute(self, statement: str, values: Any = ()) -> Cursor:
        return Cursor(self.inner, list(self.inner.execute(statement, values)))

    def executemany(self, statement: str, rows: Any) -> None:
        self.inner.executemany(statement, rows)

    @property
    def in_transaction(self) -> bool:
        return not self.inner.get_autocommit()

    def close(self) -> None:
        self.inner.close()


@pytest.fixture
def noting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let stores use apsw, with our file layer; and let them make checkpoints often."""
    notes.clear()
    files = NotingFiles()
    monkeypatch.setattr(connection, "connect", Connection)
    monkeypatch.setattr(connection, "CHECKPOINT_BYTES", 150_000)
    monkeypatch.setattr(schema, "sync_folder", lambda folder: notes.append(("folder", "")))
    yield
    files.unregister()


def work(path: Path, fsync: bool) -> None:
    """Write, send, delete and add, and note what has come back: it is acknowledged."""
    store = SqliteBackend(path, fsync=fsync)
    try:
        add_run(store)
        notes.append(("ack", "run"))
        for k in range(30):
            store.write("r", 0, PLAIN, bytes([k]) * random.Random(k).choice([10, 3000, 20_000]))
            notes.append(("ack", "segment"))
            if k % 7 == 0:
                add_run(store, f"r{k}")
                store.write(f"r{k}", 0, PLAIN, b"other" * 1000)
                store.delete([f"r{k}"])
            if k % 5 == 0:
                store.send("r", Signal(f"{k}", b"", float(k)))
                notes.append(("ack", "signal"))
    finally:
        store.close()


Disk = dict[str, bytearray]


def apply(disk: Disk, note: tuple[Any, ...], torn: random.Random | None = None) -> None:
    kind, name, *rest = note
    if kind == "write":
        offset, data = rest
        if torn is not None and len(data) > SECTOR:  # some of its sectors have not come there
            size = torn.randrange(0, len(data), SECTOR)
            data = data[:size]
        file = disk.setdefault(name, bytearray())
        file.extend(bytes(max(0, offset + len(data) - len(file))))
        file[offset : offset + len(data)] = data
    elif kind == "cut":
        del disk.setdefault(name, bytearray())[rest[0] :]
    elif kind == "gone":
        disk.pop(name, None)


def crashes(chance: random.Random, whole: bool) -> Iterator[tuple[Disk, dict[str, int]]]:
    """Yield what may be on the disk at each moment, and how much of each kind was acknowledged by then.

    :param whole: True if only the process ends: the kernel has all that was written.
    """
    synced: Disk = {}
    waiting: list[tuple[Any, ...]] = []
    acks: dict[str, int] = {}
    for note in notes:
        if note[0] == "ack":
            acks[note[1]] = acks.get(note[1], 0) + 1
            continue
        if note[0] in ("sync", "folder"):  # a name that is gone is certain with its folder alone
            done = [each for each in waiting if (each[0] == "gone" if note[0] == "folder" else each[1] == note[1])]
            for each in done:
                apply(synced, each)
            waiting = [each for each in waiting if each not in done]
            continue
        waiting.append(note)
        disk = {name: bytearray(data) for name, data in synced.items()}
        for each in waiting:
            if whole or chance.random() < 0.5:
                apply(disk, each, None if whole or chance.random() < 0.7 else chance)
        yield disk, dict(acks)


def check(folder: Path, disk: Disk, acks: dict[str, int], lossless: bool) -> None:
    for old in folder.iterdir():
        old.unlink()
    for name, data in disk.items():
        if not name.endswith("-shm"):
            (folder / name).write_bytes(data)
    path = folder / "store.db"
    with opened(path) as store:
        stored = store.load("r")
        journal = [] if stored is None else list(stored.journal)
        assert [segment[:1] for segment in journal] == [bytes([k]) for k in range(len(journal))]
        for k, segment in enumerate(journal):
            assert segment == bytes([k]) * random.Random(k).choice([10, 3000, 20_000])
        if lossless:
            assert (stored is not None) >= acks.get("run", 0)
            assert len(journal) >= acks.get("segment", 0)
            assert stored is None or len(stored.signals) >= acks.get("signal", 0)
        add_run(store, "afterwards")
    check_integrity(path)


@pytest.mark.slow
@pytest.mark.parametrize("fsync", [True, False], ids=["fsync", "no-fsync"])
@pytest.mark.parametrize("whole", [True, False], ids=["killed", "no-power"])
def test_a_crash_at_every_write(
    tmp_path: Path, noting: None, monkeypatch: pytest.MonkeyPatch, fsync: bool, whole: bool
) -> None:
    """Without fsync a killed process loses nothing either, and a loss of power only the last writes: no holes."""
    folder = tmp_path / "after"
    folder.mkdir()
    work(tmp_path / "store.db", fsync)
    assert sum(note[0] == "cut" or note[:2] == ("sync", "store.db") for note in notes) > 3  # there were checkpoints
    monkeypatch.undo()
    moments = list(crashes(random.Random(1), whole))
    assert len(moments) > 200
    for disk, acks in moments[:: 1 if share() > 1 else 5]:
        check(folder, disk, acks, lossless=fsync or whole)


def test_each_acknowledged_write_was_synced(tmp_path: Path, noting: None) -> None:
    """Between a write and its acknowledgement the log is synced; without fsync it is not."""
    for fsync in (True, False):
        notes.clear()
        work(tmp_path / f"{fsync}.db", fsync)
        last = [note[0] for note in notes if note[0] in ("sync", "ack") or (note[0] == "write" and "-wal" in note[1])
            ]
        before = [a for a, b in zip(last, last[1:], strict=False) if b == "ack"]
        assert (set(before) == {"sync"}) is fsync
