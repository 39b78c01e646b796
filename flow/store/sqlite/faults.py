"""Errors of SQLite and of the file system, as :class:`flow.errors.StoreError` that name the store and the cause."""

from __future__ import annotations

import sqlite3
from typing import Final

from flow.errors import DamagedRow, StoreError, printable
from flow.logs import reason_of

WAIT: Final = 4.0
"""Seconds that a call waits for locks, all in all."""

CAUGHT: Final = (sqlite3.Error, OSError, UnicodeError, OverflowError, MemoryError)
"""What SQLite's module and files raise for a store that cannot, and for values that it cannot take."""

_PRIMARY: Final = 0xFF  # an extended result code has the primary one in its low byte
_CAUSES: Final = {
    sqlite3.SQLITE_BUSY: f"is locked by another program for {WAIT:g} s; only flow may write to it",
    sqlite3.SQLITE_LOCKED: f"is locked by another program for {WAIT:g} s; only flow may write to it",
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_NOTADB: "is not a SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged: it is truncated, or was changed by something else",
    sqlite3.SQLITE_READONLY: "cannot be written to: no permission",
    sqlite3.SQLITE_PERM: "cannot be opened: no permission",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened",
    sqlite3.SQLITE_IOERR: "cannot be read or written",
}


def store_error(name: str, cause: str, kind: type[StoreError] = StoreError) -> StoreError:
    """Return an error that names the store ``name`` and the cause."""
    return kind(f"store {printable(name)} {cause}")


def translated(name: str, error: BaseException) -> StoreError:
    """Say what one of :data:`CAUGHT` means for the store. One that says so already is returned as it is."""
    if isinstance(error, StoreError):
        return error
    if not isinstance(error, sqlite3.Error):
        what = "cannot take this value" if isinstance(error, (ValueError, OverflowError)) else "cannot do this"
        return store_error(name, f"{what}: {reason_of(error)}")
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # of the module itself: it has no code for a value that it cannot bind
        return store_error(name, f"cannot do this: {reason_of(error)}")
    cause = _CAUSES.get(code & _PRIMARY, "cannot do this")
    damaged = code & _PRIMARY in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    detail = f"{printable(str(error))}, {getattr(error, 'sqlite_errorname', code)}"
    return store_error(name, f"{cause} ({detail})", DamagedRow if damaged else StoreError)


__all__ = ["CAUGHT", "WAIT", "store_error", "translated"]
