"""Looking again and again whether a run has been sent something."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from threading import Lock
from typing import Final

from flow.errors import UnknownRun, shown
from flow.store.backend import Signal
from flow.store.sqlite.connection import Database
from flow.store.sqlite.faults import CAUGHT, WAIT, store_error, translated

_MOST: Final = 100_000  # answers kept: more runs than wait in one process


def signals_of(sql: sqlite3.Connection, key: int, seen: int) -> list[Signal]:
    """Return the signals of a run after the first ``seen``, in the order of their coming."""
    found = sql.execute("SELECT address, payload, at FROM signal WHERE run = ? AND seq > ? ORDER BY seq", (key, seen))
    return [Signal(*values) for values in found.fetchall()]


def added(sql: sqlite3.Connection, key: int, signal: Signal) -> bool:
    """Add a signal of a run, unless there is one of its address; tell whether there was none."""
    made = sql.execute(
        "INSERT INTO signal (run, seq, address, payload, at) VALUES "
        "(?, (SELECT coalesce(max(seq), 0) + 1 FROM signal WHERE run = ?), ?, ?, ?) "
        "ON CONFLICT (run, address) DO NOTHING",
        (key, key, signal.address, signal.payload, signal.at),
    )
    return made.rowcount == 1


def free(sql: sqlite3.Connection, key: int, address: str) -> None:
    """Let another signal be sent to an address of a run."""
    text = "UPDATE signal SET address = address || ? || seq WHERE run = ? AND address = ?"
    sql.execute(text, ("\0", key, address))


class Watch:
    """Answers for runs whose state nobody has changed, without reading it.

    SQLite tells a connection whether any other one has committed (``PRAGMA data_version``). So this has one of its own.
    """

    __slots__ = ("_database", "_known", "_lock", "_reader")

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = Lock()
        self._reader: sqlite3.Connection | None = None
        self._known: dict[str, tuple[int, int, bool]] = {}  # by run: data version, signals in all, cancel

    def take(self, run: str, seen: int) -> tuple[Sequence[Signal], bool]:
        """See :meth:`flow.store.backend.Backend.take_signals`."""
        name = self._database.name
        self._database.check()
        if not self._lock.acquire(timeout=WAIT):
            raise store_error(name, f"is busy with another call of this process for {WAIT:g} s")
        try:
            self._database.check()
            if self._reader is None:
                self._reader = self._database.take_reader()
            return self._taken(self._reader, run, seen)
        except CAUGHT as error:
            raise translated(name, error) from error
        finally:
            self._lock.release()

    def _taken(self, sql: sqlite3.Connection, run: str, seen: int) -> tuple[Sequence[Signal], bool]:
        ((version,),) = sql.execute("PRAGMA data_version").fetchall()
        known = self._known.get(run)
        if known is not None and known[0] == version and known[1] <= seen:
            return (), known[2]
        sql.execute("BEGIN")
        try:
            found = sql.execute("SELECT key, cancel FROM run WHERE id = ?", (run,)).fetchall()
            sent = signals_of(sql, found[0][0], seen) if found else []
        finally:
            sql.execute("COMMIT")
        if not found:
            self._known.pop(run, None)
            raise UnknownRun(str(store_error(self._database.name, f"has no run {shown(run)}")))
        cancel = bool(found[0][1])
        if len(self._known) >= _MOST:
            self._known.clear()
        # The version is older than what was read, or the same: at worst it is read once more.
        self._known[run] = (version, seen + len(sent), cancel)
        return sent, cancel

    def close(self) -> None:
        """Give the connection back."""
        if self._database.forked:
            return
        with self._lock:
            if self._reader is not None:
                self._database.give_back(self._reader, broken=True)
                self._reader = None


__all__ = ["Watch", "added", "free", "signals_of"]
