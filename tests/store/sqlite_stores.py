"""What the tests of SQLite stores share."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from flow.store.backend import Change, RunRow
from flow.store.sqlite import SqliteBackend

PLAIN = Change(updated=1.0, owned=0.0)


def opened(path: Path, fsync: bool = False) -> closing[SqliteBackend]:
    """A store for a ``with`` block."""
    return closing(SqliteBackend(path, fsync=fsync))


def add_run(store: SqliteBackend, run: str = "r", **values: Any) -> None:
    assert store.create(RunRow(run, **{"dag": "dag", "shape": b"s", "inputs": b"in", **values}), b"shape") is None


def journal(store: SqliteBackend, run: str = "r") -> list[bytes]:
    stored = store.load(run)
    assert stored is not None
    return list(stored.journal)


def check_integrity(path: Path) -> None:
    """Ask SQLite whether all is well in the file."""
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@contextmanager
def python(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run a program beside the test, until the end of the block at most."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that a program prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()
