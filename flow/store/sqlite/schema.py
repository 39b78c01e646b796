"""The tables, and how a database of an older version becomes one of this version."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import Final

from flow.store.sqlite.faults import store_error
from flow.store.sqlite.files import sync_folder

APPLICATION: Final = 0x666C6F77
"""The ``application_id`` of our databases: "flow"."""

# Listing reads the table of runs alone: what may be large (inputs, journal) lies in tables of its own. Times and order
# come from who writes, never from SQL functions.
_FIRST: Final = (
    """
    CREATE TABLE run (
        key INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, dag TEXT NOT NULL, shape BLOB NOT NULL, status TEXT NOT NULL,
        owner TEXT NOT NULL, token INTEGER NOT NULL, lease REAL NOT NULL, created REAL NOT NULL, updated REAL NOT NULL,
        ended REAL NOT NULL, owned REAL NOT NULL, cancel INTEGER NOT NULL, error TEXT NOT NULL, counts BLOB NOT NULL,
        segments INTEGER NOT NULL DEFAULT 0
    )
    """,
    "CREATE INDEX run_created ON run (created, id)",
    "CREATE INDEX run_status ON run (status, created, id)",
    "CREATE INDEX run_dag ON run (dag, created, id)",
    "CREATE TABLE input (run INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    """
    CREATE TABLE journal (run INTEGER NOT NULL, seq INTEGER NOT NULL, segment BLOB NOT NULL, PRIMARY KEY (run, seq))
    WITHOUT ROWID
    """,
    """
    CREATE TABLE signal (
        run INTEGER NOT NULL, seq INTEGER NOT NULL, address TEXT NOT NULL, payload BLOB NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (run, seq), UNIQUE (run, address)
    ) WITHOUT ROWID
    """,
    "CREATE TABLE shape (digest BLOB PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    # Files: used by runs; held by who has put them and has not written yet; doomed until their removal is certain.
    "CREATE TABLE used (digest BLOB NOT NULL, run INTEGER NOT NULL, PRIMARY KEY (digest, run)) WITHOUT ROWID",
    "CREATE INDEX used_run ON used (run)",
    """
    CREATE TABLE held (digest BLOB NOT NULL, holder TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (digest, holder))
    WITHOUT ROWID
    """,
    "CREATE TABLE doomed (digest BLOB PRIMARY KEY) WITHOUT ROWID",
)

# Accounts of what is spent, and the amounts that are reserved on them.
_SECOND: Final = (
    """
    CREATE TABLE account (
        name TEXT PRIMARY KEY, spent INTEGER NOT NULL, refused INTEGER NOT NULL, until REAL NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE INDEX account_until ON account (until)",
    """
    CREATE TABLE reservation (
        account TEXT NOT NULL, id TEXT NOT NULL, owner TEXT NOT NULL, run TEXT NOT NULL, amount INTEGER NOT NULL,
        lease REAL NOT NULL, PRIMARY KEY (account, id)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX reservation_id ON reservation (id)",
)

MIGRATIONS: Sequence[Sequence[str]] = (_FIRST, _SECOND)
"""The statements that lead to version 1, 2, ... (``user_version``). They are only ever added to."""

WRITE: Final = "INSERT INTO writing (id, token, updated, owned, lease, segment) VALUES (?, ?, ?, ?, ?, ?)"
"""Adds a segment to a run and touches its row, if the token is right; else it fails with :data:`FENCED`."""

FENCED: Final = "fenced"

# What is written again and again is one statement, by a trigger: four statements (BEGIN, UPDATE, INSERT, COMMIT) would
# each let go of the GIL, and wait for up to 5 ms beside a busy thread until they have it again.
_WRITING: Final = (
    """
    CREATE TEMP VIEW writing AS
    SELECT NULL AS id, NULL AS token, NULL AS updated, NULL AS owned, NULL AS lease, NULL AS segment
    """,
    f"""
    CREATE TEMP TRIGGER write_segment INSTEAD OF INSERT ON writing BEGIN
        UPDATE run SET segments = segments + 1, updated = NEW.updated, owned = NEW.owned,
            lease = coalesce(NEW.lease, lease)
        WHERE id = NEW.id AND token = NEW.token;
        SELECT RAISE(ABORT, '{FENCED}') WHERE changes() = 0;
        INSERT INTO journal (run, seq, segment) SELECT key, segments, NEW.segment FROM run WHERE id = NEW.id;
    END
    """,
)


def prepare(connection: sqlite3.Connection, name: str) -> None:
    """Make the database one of this version. Who calls this holds the lock file. O(1) if it is one already.

    :raises StoreError: if it is another program's, or of a newer version. Nothing is written then.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if application != APPLICATION and (application or version or tables):
        raise store_error(name, "is a database of another program")
    if version > len(MIGRATIONS):
        known = f"this one knows up to {len(MIGRATIONS)}"
        raise store_error(name, f"was written by a newer version of flow (its schema is {version}, {known})")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise store_error(name, f"cannot have a write-ahead log here (its journal mode stays {mode})")
    if version < len(MIGRATIONS):
        # The file of the rollback journal has just gone. If a loss of power brought it back, it would undo the switch
        # to the log, and all that the log held: there is no schema before its end is certain.
        sync_folder(os.path.dirname(name))
        _migrate(connection, version)
    for statement in _WRITING:
        connection.execute(statement)


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """Lead a database of ``version`` to ours, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION:d}")  # a PRAGMA takes no parameters
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS):d}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


__all__ = ["APPLICATION", "FENCED", "MIGRATIONS", "WRITE", "prepare"]
