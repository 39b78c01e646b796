"""The :class:`flow.store.backend.Backend` of SQLite: what each method says to the database."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from flow.errors import DamagedRow, Fenced, UnknownRun, shown
from flow.store.backend import CANCELLED, ENDED, RUNNING, STATUSES, Change, RunRow, Signal, Stored, digest_of
from flow.store.sqlite.accounts import SqliteAccounts
from flow.store.sqlite.connection import Database, resolved
from flow.store.sqlite.faults import CAUGHT, store_error, translated
from flow.store.sqlite.files import Files
from flow.store.sqlite.holds import Holds
from flow.store.sqlite.schema import FENCED, WRITE
from flow.store.sqlite.signals import Watch, added, free, signals_of

_NAMES: Final = tuple(name for name in RunRow.__struct_fields__ if name != "inputs")
_COLUMNS: Final = ", ".join(_NAMES)
_FULL: Final = f"SELECT {_COLUMNS}, data FROM run JOIN input ON input.run = run.key WHERE id = ?"
_INSERT: Final = (
    f"INSERT INTO run ({_COLUMNS}, segments) VALUES ({', '.join('?' * len(_NAMES))}, ?) ON CONFLICT (id) DO NOTHING"
)
_SEGMENT: Final = "INSERT INTO journal (run, seq, segment) VALUES (?, ?, ?)"

# The common write: no column that an index has.
_TOUCH: Final = """
    UPDATE run SET segments = segments + ?, updated = ?, owned = ?, lease = coalesce(?, lease)
    WHERE id = ? AND token = ? RETURNING key, segments
"""
_CHANGE: Final = """
    UPDATE run SET segments = segments + ?, updated = ?, owned = ?, lease = coalesce(?, lease),
        status = coalesce(?, status), ended = coalesce(?, ended), error = coalesce(?, error),
        counts = coalesce(?, counts), shape = coalesce(?, shape), cancel = coalesce(?, cancel),
        owner = iif(?, '', owner)
    WHERE id = ? AND token = ? RETURNING key, segments
"""
_CLAIM: Final = """
    UPDATE run SET token = token + 1, owner = ?, lease = ?, updated = ?, status = ?
    WHERE id = ? AND token = ? RETURNING token
"""
_DELETED_AT_ONCE: Final = 100  # runs in one transaction: others wait for it


class SqliteBackend(SqliteAccounts):
    """Durable runs in the SQLite database at ``path``, which is made if it is not there.

    Beside it lie ``<path>.lock`` (held around every write) and the folder ``<path>.files`` (large values). Any number
    of threads and processes may use a store; not across a network file system, nor in a child process after a fork.

    :param fsync: True: what was written outlives a loss of power. False: that may lose the last writes, no others.
    :raises StoreError: if the store cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, fsync: bool) -> None:
        name = resolved(os.fsdecode(path))
        self._database = Database(name, fsync=fsync)
        self._files = Files(f"{name}.files", name)
        self._holds = Holds(self._database, self._files)
        self._watch = Watch(self._database)

    @property
    def name(self) -> str:
        """The path of the database."""
        return self._database.name

    def create(self, row: RunRow, shape: bytes, segment: bytes | None = None) -> RunRow | None:
        """Add a run, unless its id is taken: return that run's row then. O(log runs)."""
        first = segment is not None
        with self._database.writing(len(row.inputs) + len(segment or b"")) as sql:
            key = _added(sql, row, int(first))
            if key is None:
                return _row(self.name, _one(sql, _FULL, row.id))
            _add_shape(sql, row.shape, shape)
            if first:
                sql.execute(_SEGMENT, (key, 1, segment))
        return None

    def row(self, run: str) -> RunRow | None:
        """Return the row of a run. O(log runs)."""
        with self._database.reading() as sql:
            return _row(self.name, _one(sql, _FULL, run))

    def load(self, run: str) -> Stored | None:
        """Return all of a run, as of one moment. O(its journal)."""
        with self._database.reading() as sql:
            sql.execute("BEGIN")
            key = _one(sql, "SELECT key FROM run WHERE id = ?", run)
            row = _row(self.name, _one(sql, _FULL, run))
            found, sent = [], []
            if key is not None:
                found = sql.execute("SELECT segment FROM journal WHERE run = ? ORDER BY seq", key).fetchall()
                sent = signals_of(sql, key[0], 0)
            sql.execute("COMMIT")
        return None if row is None else Stored(row, [segment for (segment,) in found], sent)

    def shape(self, digest: bytes) -> bytes | None:
        """Return the structure that was given with this digest."""
        with self._database.reading() as sql:
            found = _one(sql, "SELECT data FROM shape WHERE digest = ?", digest)
        return None if found is None else found[0]

    def add_shape(self, digest: bytes, shape: bytes) -> None:
        """Keep a structure, unless it is there."""
        if self.shape(digest) is None:
            with self._database.writing(len(shape)) as sql:
                _add_shape(sql, digest, shape)

    def claim(self, run: str, token: int, owner: str, lease: float, now: float) -> int | None:
        """Make ``owner`` the run's owner if its token is still ``token``; return the next token then."""
        with self._database.writing(single=True) as sql:
            found = sql.execute(_CLAIM, (owner, lease, now, RUNNING, run, token)).fetchall()
        return found[0][0] if found else None

    def write(
        self, run: str, token: int, change: Change, segment: bytes | None = None, files: Collection[bytes] = ()
    ) -> None:
        """Add a segment and change the row, in one transaction. O(segment).

        :raises Fenced: if the run is gone or has another token.
        """
        if segment is not None and not files and not _is_more(change):
            self._write_segment(run, token, change, segment)
            return
        with self._database.writing(len(segment or b"")) as sql:
            key, segments = self._changed(sql, run, token, change, segment is not None)
            if segment is not None:
                sql.execute(_SEGMENT, (key, segments, segment))
            if files:
                self._holds.use(sql, key, files)

    def _write_segment(self, run: str, token: int, change: Change, segment: bytes) -> None:
        """Write what runs write all the time, in one statement."""
        values = (run, token, change.updated, change.owned, change.lease, segment)
        with self._database.writing(len(segment), single=True) as sql:
            try:
                sql.execute(WRITE, values)
            except sqlite3.IntegrityError as error:
                if str(error) == FENCED:
                    raise self._fenced(sql, run, token) from None
                raise

    def _changed(self, sql: sqlite3.Connection, run: str, token: int, change: Change, more: bool) -> tuple[int, int]:
        """Change the row of a run; return its key and how many segments it has then."""
        c = change
        rest = (c.status, c.ended, c.error, c.counts, c.shape, c.cancel)
        lease = 0.0 if c.released else c.lease
        if _is_more(c):
            values: tuple[Any, ...] = (more, c.updated, c.owned, lease, *rest, c.released, run, token)
            found = sql.execute(_CHANGE, values).fetchall()
        else:
            found = sql.execute(_TOUCH, (more, c.updated, c.owned, lease, run, token)).fetchall()
        if not found:
            raise self._fenced(sql, run, token)
        return found[0]  # type: ignore[no-any-return]

    def _fenced(self, sql: sqlite3.Connection, run: str, token: int) -> Fenced:
        now = _one(sql, "SELECT token, owner FROM run WHERE id = ?", run)
        what = "it is gone" if now is None else f"it belongs to {now[1] or 'nobody'} with token {now[0]}"
        text = f"refuses what run {shown(run)} writes with token {token}: {what}"
        return Fenced(str(store_error(self.name, text)))

    def clear(self, run: str, token: int) -> None:
        """Drop journal, signals and file references of a run. O(its journal). :raises Fenced: as :meth:`write`."""
        with self._database.writing() as sql:
            found = _one(sql, "UPDATE run SET segments = 0 WHERE id = ? AND token = ? RETURNING key", run, token)
            if found is None:
                raise self._fenced(sql, run, token)
            _drop(sql, found[0])
            self._holds.doom(sql, found[0])
        self._holds.bury()

    def take_signals(self, run: str, seen: int) -> tuple[Sequence[Signal], bool]:
        """Return signals after the first ``seen``, and whether the run is to end. Some microseconds if nothing is new.

        :raises UnknownRun: if there is no such run.
        """
        return self._watch.take(run, seen)

    def send(self, run: str, signal: Signal) -> bool:
        """Keep a signal; False if one of its address is there. :raises UnknownRun: if there is no such run."""
        with self._database.writing(len(signal.payload)) as sql:
            return added(sql, self._key(sql, run), signal)

    def reject(self, run: str, address: str) -> None:
        """Free an address: what was sent there has not been taken."""
        with self._database.writing() as sql:
            found = _one(sql, "SELECT key FROM run WHERE id = ?", run)
            if found is not None:
                free(sql, found[0], address)

    def _key(self, sql: sqlite3.Connection, run: str) -> int:
        found = _one(sql, "SELECT key FROM run WHERE id = ?", run)
        if found is None:
            raise UnknownRun(str(store_error(self.name, f"has no run {shown(run)}")))
        return int(found[0])

    def ask_to_cancel(self, run: str, now: float) -> RunRow:
        """Note that a run is to end; one without an owner has ended then. :raises UnknownRun: if there is none."""
        with self._database.writing() as sql:
            self._key(sql, run)
            row = _row(self.name, _one(sql, _FULL, run))
            assert row is not None
            if row.status not in ENDED:
                status, ended = (row.status, row.ended) if row.owner else (CANCELLED, now)
                values = (now, status, ended, row.token + (not row.owner), run)
                changed = "UPDATE run SET cancel = 1, updated = ?, status = ?, ended = ?, token = ? WHERE id = ?"
                sql.execute(changed, values)
                row = _row(self.name, _one(sql, _FULL, run)) or row
            return row

    def runs(
        self,
        statuses: Collection[str] = (),
        dag: str | None = None,
        limit: int = 100,
        before: tuple[float, str] | None = None,
    ) -> Sequence[RunRow]:
        """Return rows without inputs, the latest first. O(limit) with an index per status or dag."""
        found: list[RunRow] = []
        with self._database.reading() as sql:
            sql.execute("BEGIN")
            for status in dict.fromkeys(statuses) or (None,):
                found += _listed(self.name, sql, status, dag, limit, before)
            sql.execute("COMMIT")
        found.sort(key=lambda row: (row.created, row.id), reverse=True)
        return found[: max(limit, 0)]

    def delete(self, runs: Collection[str]) -> int:
        """Delete runs, each whole or not at all. O(their journals)."""
        names, count = list(runs), 0
        for start in range(0, len(names), _DELETED_AT_ONCE):
            with self._database.writing() as sql:
                for name in names[start : start + _DELETED_AT_ONCE]:
                    found = _one(sql, "DELETE FROM run WHERE id = ? RETURNING key", name)
                    if found is not None:
                        sql.execute("DELETE FROM input WHERE run = ?", found)
                        _drop(sql, found[0])
                        self._holds.doom(sql, found[0])
                        count += 1
            self._holds.bury()
        return count

    def copy(self, run: str, row: RunRow, journal: Sequence[bytes]) -> bool:
        """Add ``row`` as a new run with this journal, which refers to files of ``run``. O(journal).

        :raises UnknownRun: if there is no run ``run``.
        """
        with self._database.writing(sum(map(len, journal))) as sql:
            source = self._key(sql, run)
            key = _added(sql, row, len(journal))
            if key is None:
                return False
            sql.executemany(_SEGMENT, ((key, seq, segment) for seq, segment in enumerate(journal, 1)))
            sql.execute("INSERT INTO used (digest, run) SELECT digest, ? FROM used WHERE run = ?", (key, source))
        return True

    def add(self, counter: str, amount: int) -> int:
        """Add to a counter that all processes share; return the sum."""
        with self._database.writing(single=True) as sql:
            found = sql.execute(
                "INSERT INTO counter (name, value) VALUES (?, ?) "
                "ON CONFLICT (name) DO UPDATE SET value = value + excluded.value RETURNING value",
                (counter, amount),
            ).fetchall()
        return int(found[0][0])

    def put_file(self, data: bytes) -> bytes:
        """Keep ``data`` as a file, on the disk before this returns. O(data)."""
        digest = digest_of(data)
        self._holds.hold(digest)
        try:
            self._files.put(digest, data)
        except CAUGHT as error:
            raise translated(self.name, error) from error
        return digest

    def get_file(self, digest: bytes) -> bytes:
        """Return what has this digest. O(its size). :raises DamagedRow: if it is gone, or is not what was written."""
        self._database.check()
        try:
            return self._files.get(digest)
        except CAUGHT as error:
            raise translated(self.name, error) from error

    def close(self) -> None:
        """Let go of everything. In a child process after a fork it does nothing."""
        self._holds.close()
        self._watch.close()
        self._database.close()

    def __repr__(self) -> str:
        return f"SqliteBackend({self.name!r})"


def _is_more(c: Change) -> bool:
    """Tell whether a change has more in it than what every write changes."""
    return c.released or any(v is not None for v in (c.status, c.ended, c.error, c.counts, c.shape, c.cancel))


def _one(sql: sqlite3.Connection, statement: str, *values: object) -> Any:
    """Return the only row that a statement has, or None. It is read to its end: no transaction stays open."""
    found = sql.execute(statement, values).fetchall()
    return found[0] if found else None


def _row(store: str, found: Any) -> RunRow | None:
    """Make a row of :data:`_FULL`, or of its columns without ``data``. :raises DamagedRow: for an unknown status."""
    if found is None:
        return None
    values: dict[str, Any] = dict(zip(_NAMES, found, strict=False))
    values["cancel"] = bool(values["cancel"])
    if values["status"] not in STATUSES:
        raise store_error(store, f"is damaged: run {values['id']!r} has the status {values['status']!r}", DamagedRow)
    return RunRow(inputs=found[len(_NAMES)] if len(found) > len(_NAMES) else b"", **values)


def _added(sql: sqlite3.Connection, row: RunRow, segments: int) -> int | None:
    """Add the row of a run and return its key; None if the id is taken."""
    added = sql.execute(_INSERT, (*(getattr(row, name) for name in _NAMES), segments))
    if added.rowcount != 1:
        return None
    key = added.lastrowid
    sql.execute("INSERT INTO input (run, data) VALUES (?, ?)", (key, row.inputs))
    return key


def _add_shape(sql: sqlite3.Connection, digest: bytes, shape: bytes) -> None:
    sql.execute("INSERT INTO shape (digest, data) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING", (digest, shape))


def _drop(sql: sqlite3.Connection, key: int) -> None:
    sql.execute("DELETE FROM journal WHERE run = ?", (key,))
    sql.execute("DELETE FROM signal WHERE run = ?", (key,))


def _listed(
    store: str,
    sql: sqlite3.Connection,
    status: str | None,
    dag: str | None,
    limit: int,
    before: tuple[float, str] | None,
) -> Iterable[RunRow]:
    """Return up to ``limit`` rows of one status, or of all: in the order of an index, so no more are read."""
    wanted, values = [], list[object]()
    if dag is not None:
        wanted.append("dag = ?")
        values.append(dag)
    if status is not None:
        wanted.append("+status = ?" if dag is not None else "status = ?")  # +: by the index of dags
        values.append(status)
    if before is not None:
        wanted.append("(created, id) < (?, ?)")
        values += before
    where = f"WHERE {' AND '.join(wanted)}" if wanted else ""
    values.append(max(limit, 0))
    statement = f"SELECT {_COLUMNS} FROM run {where} ORDER BY created DESC, id DESC LIMIT ?"
    return [row for found in sql.execute(statement, values).fetchall() if (row := _row(store, found)) is not None]


__all__ = ["SqliteBackend"]
