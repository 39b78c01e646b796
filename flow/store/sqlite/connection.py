"""The connections of one store: one that writes, under the lock file, and as many that read as are needed at once."""

from __future__ import annotations

import logging
import os
import sqlite3
import stat
import sys
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Final
from urllib.parse import quote
from weakref import WeakSet

from flow.errors import DamagedRow, StoreError
from flow.logs import NAME, fields
from flow.store.sqlite.faults import CAUGHT, WAIT, store_error, translated
from flow.store.sqlite.lock import FileLock
from flow.store.sqlite.schema import prepare
from flow.store.unbroken import Unbroken

CHECKPOINT_BYTES: Final = 4 * 2**20
"""A checkpoint is due when about so much has been written since the last one."""

MAX_LOG_BYTES: Final = 32 * 2**20
"""Above this size of the write-ahead log a checkpoint waits a moment for readers, so that the log can begin anew."""

SAFE: Final = (3, 51, 3)
"""The first version of SQLite without the WAL-reset bug."""

LEAST: Final = (3, 35, 0)
"""The first version of SQLite that has RETURNING."""

LEAST_BYTES: Final = 512
"""The smallest page that a database of SQLite can have."""

_OVERHEAD: Final = 16 * 1024  # bytes in the log of a transaction that changes a few rows
_IDLE_READERS: Final = 4  # kept open for the next call

_said = False  # once per process: what SQLite this is


class Database:
    """One open store: its connections, its lock and its state.

    :raises StoreError: if there is no store at ``path`` and none can be made, or what is there is none of this version.
    """

    def __init__(self, path: str, *, fsync: bool) -> None:
        self.name = path
        self._fsync = fsync
        self._closed = False
        self._forked = False
        self._unsaved = 0  # bytes in the log since the last checkpoint, about
        self._patience = WAIT  # the busy timeout of the writer
        self._idle: list[sqlite3.Connection] = []
        _check_path(path)
        try:
            self._lock = FileLock(f"{path}.lock", path)
            try:
                self._writer = self._opened()
            except BaseException:
                self._lock.close()
                raise
        except CAUGHT as error:
            raise translated(path, error) from error
        _open.add(self)
        _say_version()

    def _opened(self) -> sqlite3.Connection:
        self._lock.acquire(monotonic() + WAIT)
        try:
            size, logged = _size_of(self.name), _size_of(f"{self.name}-wal")
            if 0 < size < LEAST_BYTES:  # SQLite would take it for an empty one, and write into it
                raise store_error(self.name, "is not a SQLite database", DamagedRow)
            connection = connect(self.name, "rwc")
            try:
                (page,) = connection.execute("PRAGMA page_size").fetchone()
                if size % page and not logged:  # SQLite reads what is missing of the last page as zeros
                    raise store_error(self.name, "is damaged: it is truncated", DamagedRow)
                connection.execute("PRAGMA wal_autocheckpoint = 0")  # checkpoints are ours, under the lock
                connection.execute(f"PRAGMA synchronous = {'FULL' if self._fsync else 'NORMAL'}")
                connection.execute("PRAGMA fullfsync = 1")  # macOS: else the drive may still have it in its cache
                connection.execute("PRAGMA checkpoint_fullfsync = 1")
                connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_BYTES:d}")
                prepare(connection, self.name)
            except BaseException:
                connection.close()
                raise
            return connection
        finally:
            self._lock.release()

    def check(self) -> None:
        """Refuse a store that is closed, or that a parent process has opened."""
        if self._forked:
            text = "was opened before a fork, by the parent process: open it again in this one"
            raise store_error(self.name, text)
        if self._closed:
            raise store_error(self.name, "is closed")

    @property
    def forked(self) -> bool:
        """True in a child of the process that has opened it."""
        return self._forked

    @property
    def usable(self) -> bool:
        """False once :meth:`check` refuses it."""
        return not (self._forked or self._closed)

    def writing(self, size: int = 0, *, single: bool = False) -> Transaction:
        """Begin a transaction with ``with``: committed at the end of the block, undone if that raises.

        :param size: about how many bytes it writes.
        :param single: True if the block executes one statement: that is a transaction without being told so.
        """
        return Transaction(self, size, single)

    def reading(self) -> Reading:
        """Take a connection that only reads for a ``with`` block. Fetch all rows within the block."""
        return Reading(self)

    def begin(self, single: bool) -> sqlite3.Connection:
        """Take the lock and begin to write. One of :meth:`end` follows."""
        self.check()
        deadline = monotonic() + WAIT
        self._lock.acquire(deadline)
        try:
            self.check()  # it may have been closed meanwhile
            left = deadline - monotonic()
            if left < WAIT - 0.5 or self._patience < WAIT:
                self._be_patient(WAIT if left > WAIT - 0.5 else max(left, 0.05))
            if self._writer.in_transaction:  # something has broken into the last one
                self._writer.execute("ROLLBACK")
            if not single:
                self._writer.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._lock.release()
            raise
        return self._writer

    def _be_patient(self, seconds: float) -> None:
        self._patience = seconds
        self._writer.execute(f"PRAGMA busy_timeout = {int(1000 * seconds):d}")

    def end(self, size: int, *, commit: bool) -> None:
        """Commit or undo what :meth:`begin` has begun, and let go of the lock."""
        try:
            if commit:
                if self._writer.in_transaction:
                    self._writer.execute("COMMIT")
                self._unsaved += size + _OVERHEAD
                if self._unsaved > CHECKPOINT_BYTES:
                    self._checkpoint()
        finally:
            try:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
            finally:
                self._lock.release()

    def _checkpoint(self) -> None:
        """Bring the log into the database. What is committed is safe either way, so a failure is no error here."""
        self._unsaved = 0
        with suppress(sqlite3.Error):
            _, frames, _ = self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            (page,) = self._writer.execute("PRAGMA page_size").fetchone()
            if frames * page > MAX_LOG_BYTES:
                self._be_patient(0.25)
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    def take_reader(self) -> sqlite3.Connection:
        """Return a connection that nobody else uses; :meth:`give_back` it."""
        self.check()
        try:
            return self._idle.pop()
        except IndexError:
            return connect(self.name, "ro")

    def give_back(self, reader: sqlite3.Connection, *, broken: bool) -> None:
        """Keep a reader for the next call; one that has failed is closed."""
        if self._forked:
            return
        if broken or self._closed or len(self._idle) >= _IDLE_READERS:
            reader.close()
        else:
            self._idle.append(reader)
            if self._closed:  # by another thread, just now
                self._close_readers()

    def close(self) -> None:
        """Close all connections; the last process to do so brings the log into the database and removes it."""
        if self._closed or self._forked:
            return
        locked = True
        try:
            self._lock.acquire(monotonic() + WAIT)
        except StoreError:  # it has to end, and another connection there is then: ours does not touch the log
            locked = False
        if self._closed:
            if locked:
                self._lock.release()
            return
        self._closed = True
        self._close_readers()
        with suppress(sqlite3.Error):
            if locked:
                self._writer.execute("PRAGMA busy_timeout = 0")
                self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        with suppress(sqlite3.Error):
            self._writer.close()
        if locked:
            self._lock.release()
            self._lock.close()
        _open.discard(self)

    def _close_readers(self) -> None:
        while self._idle:
            with suppress(IndexError, sqlite3.Error):
                self._idle.pop().close()

    def leave_to_parent(self) -> None:
        """In a child process: never touch a connection of the parent, whose locks and log it would disturb."""
        self._forked = True
        import ctypes  # here: programs that fork with an open store are few

        for connection in (self._writer, *self._idle):  # one reference too many: nothing ever closes it
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
        self._lock.close()


class Transaction:
    """What :meth:`Database.writing` returns."""

    __slots__ = ("_database", "_single", "_size", "_unbroken")

    def __init__(self, database: Database, size: int, single: bool) -> None:
        self._unbroken = Unbroken()
        self._database = database
        self._size = size
        self._single = single

    def __enter__(self) -> sqlite3.Connection:
        self._unbroken.__enter__()
        try:
            return self._database.begin(self._single)
        except BaseException as error:
            self._unbroken.__exit__()
            if isinstance(error, CAUGHT):
                raise translated(self._database.name, error) from error
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._database.end(self._size, commit=error is None)
        except CAUGHT as failed:
            if error is None:
                raise translated(self._database.name, failed) from failed
        finally:
            self._unbroken.__exit__()
        if isinstance(error, CAUGHT) and not isinstance(error, StoreError):
            raise translated(self._database.name, error) from error


class Reading:
    """What :meth:`Database.reading` returns."""

    __slots__ = ("_connection", "_database")

    def __init__(self, database: Database) -> None:
        self._database = database

    def __enter__(self) -> sqlite3.Connection:
        try:
            self._connection = self._database.take_reader()
        except CAUGHT as error:
            raise translated(self._database.name, error) from error
        return self._connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A transaction that stays open keeps the log from beginning anew: with the connection it ends for certain.
        broken = error is not None or self._connection.in_transaction
        self._database.give_back(self._connection, broken=broken)
        if isinstance(error, CAUGHT) and not isinstance(error, StoreError):
            raise translated(self._database.name, error) from error


def connect(path: str, mode: str) -> sqlite3.Connection:
    """Open a connection in ``mode`` ("ro", "rwc") that any thread may use, one at a time."""
    plain = os.fsencode(path.replace("\\", "/") if sys.platform == "win32" else path)
    slash = "" if plain.startswith(b"/") else "/"
    uri = f"file://{slash}{quote(plain, safe='/:')}?mode={mode}"
    found = sqlite3.connect(uri, uri=True, timeout=WAIT, isolation_level=None, check_same_thread=False)
    try:
        found.execute("PRAGMA temp_store = MEMORY")  # no file outside of the store's folder
    except BaseException:
        found.close()
        raise
    return found


def resolved(path: str) -> str:
    """Return the one name of a database: by two names, with a link, it would have two lock files.

    :raises StoreError: if no file can have this name.
    """
    if "\0" in path:
        raise store_error(path, "cannot be: its path has a null character in it")
    try:
        return os.path.realpath(path)
    except CAUGHT as error:
        raise translated(path, error) from error


def _check_path(path: str) -> None:
    """Say in plain words what SQLite would call "unable to open database file"."""
    if sqlite3.sqlite_version_info < LEAST:
        raise store_error(path, f"needs SQLite 3.35; Python here has {sqlite3.sqlite_version}")
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise store_error(path, "cannot be opened: its folder does not exist")
    if os.path.isdir(path):
        raise store_error(path, "is a folder; give the path of a file")
    if os.path.exists(path) and not stat.S_ISREG(os.stat(path).st_mode):
        raise store_error(path, "is a pipe or a device, not a regular file")
    if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        raise store_error(path, "cannot be opened: no permission to read and write it")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise store_error(path, "cannot be opened: no permission to write to its folder")


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _say_version() -> None:
    global _said
    if _said or sqlite3.sqlite_version_info >= SAFE:
        return
    _said = True
    logging.getLogger(NAME).info(
        "SQLite %s can damage a database that two connections write at once (its WAL-reset bug, gone in 3.51.3): flow "
        "holds a lock file while it writes; no other program may write to its stores",
        sqlite3.sqlite_version,
        extra=fields(),
    )


_open: WeakSet[Database] = WeakSet()


def _after_fork() -> None:
    for database in list(_open):
        database.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

__all__ = ["Database", "connect", "resolved"]
