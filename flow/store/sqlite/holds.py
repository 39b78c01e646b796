"""Which files are needed: by runs that use them, and by who has put one and has not written yet what refers to it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection
from time import time
from typing import Final

from flow.errors import DamagedRow, StoreError
from flow.store.sqlite.connection import Database
from flow.store.sqlite.faults import store_error
from flow.store.sqlite.files import Files

STALE: Final = 86_400.0
"""Seconds after which what a process holds without using it is nobody's: it was killed in between."""


class Holds:
    """Keeps the tables ``used``, ``held`` and ``doomed``, and removes files that nobody needs.

    A file is doomed in the transaction that takes its last use away, and removed after that: a crash in between leaves
    a row that says so. All of it happens under the lock file: nobody can begin to need a file that is being removed.
    """

    __slots__ = ("_database", "_files", "_held", "_holder")

    def __init__(self, database: Database, files: Files) -> None:
        self._database = database
        self._files = files
        self._holder = os.urandom(8).hex()
        self._held: set[bytes] = set()  # by this store object, about: only to know that there is something to let go
        if self._has_left():
            with database.writing() as sql:
                _doom_held(sql, "at < ?", time() - STALE)
            self.bury()

    def _has_left(self) -> bool:
        """Tell whether some process was killed with files held, or while it removed some."""
        with self._database.reading() as sql:
            return bool(
                sql.execute(
                    "SELECT 1 FROM doomed UNION ALL SELECT 1 FROM held WHERE at < ? LIMIT 1", (time() - STALE,)
                ).fetchall()
            )

    def hold(self, digest: bytes) -> None:
        """See to it that a file stays from now on, until :meth:`use`."""
        with self._database.writing() as sql:
            sql.execute("DELETE FROM doomed WHERE digest = ?", (digest,))
            sql.execute(
                "INSERT INTO held (digest, holder, at) VALUES (?, ?, ?) "
                "ON CONFLICT (digest, holder) DO UPDATE SET at = excluded.at",
                (digest, self._holder, time()),
            )
        self._held.add(digest)

    def use(self, sql: sqlite3.Connection, key: int, digests: Collection[bytes]) -> None:
        """Note in a transaction that a run uses these files.

        :raises DamagedRow: if one is not there.
        """
        for digest in digests:
            if not self._files.has(digest):
                raise store_error(self._database.name, f"has no file {digest.hex()}: put it again", DamagedRow)
            sql.execute("INSERT INTO used (digest, run) VALUES (?, ?) ON CONFLICT DO NOTHING", (digest, key))
            sql.execute("DELETE FROM held WHERE digest = ? AND holder = ?", (digest, self._holder))
            self._held.discard(digest)

    def doom(self, sql: sqlite3.Connection, key: int) -> None:
        """Take away all uses of a run in a transaction. :meth:`bury` follows it. O(its files)."""
        digests = sql.execute("DELETE FROM used WHERE run = ? RETURNING digest", (key,)).fetchall()
        _doom(sql, digests)

    def bury(self) -> None:
        """Remove the files that are doomed. O(1) if there are none."""
        with self._database.reading() as sql:
            if not sql.execute("SELECT 1 FROM doomed LIMIT 1").fetchall():
                return
        with self._database.writing() as sql:
            for (digest,) in sql.execute("SELECT digest FROM doomed").fetchall():
                if self._files.remove(digest):
                    sql.execute("DELETE FROM doomed WHERE digest = ?", (digest,))

    def close(self) -> None:
        """Let go of what this object holds: it will write nothing more."""
        if not self._held or not self._database.usable:
            return
        self._held.clear()
        try:
            with self._database.writing() as sql:
                _doom_held(sql, "holder = ?", self._holder)
            self.bury()
        except StoreError:
            return  # it is stale after a day


def _doom_held(sql: sqlite3.Connection, which: str, value: object) -> None:
    digests = sql.execute(f"DELETE FROM held WHERE {which} RETURNING digest", (value,)).fetchall()
    _doom(sql, digests)


def _doom(sql: sqlite3.Connection, digests: Collection[tuple[bytes]]) -> None:
    """Doom those of these files that nobody needs."""
    sql.executemany(
        "INSERT INTO doomed (digest) SELECT file.digest FROM (SELECT ? AS digest) AS file "
        "WHERE NOT EXISTS (SELECT 1 FROM used WHERE used.digest = file.digest) "
        "AND NOT EXISTS (SELECT 1 FROM held WHERE held.digest = file.digest) ON CONFLICT DO NOTHING",
        digests,
    )


__all__ = ["Holds"]
