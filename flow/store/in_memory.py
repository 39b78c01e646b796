"""Runs in memory, for tests: :class:`MemoryBackend`. They end with the process."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from threading import Lock

import msgspec

from flow.errors import DamagedRow, Fenced, StoreError, UnknownRun, shown
from flow.run.accounts import Account, Balance, Books, Reservation, Reserved
from flow.store.backend import CANCELLED, ENDED, RUNNING, Change, RunRow, Signal, Stored, digest_of


class _Run:
    """One run, as of now."""

    __slots__ = ("files", "journal", "row", "signals")

    def __init__(self, row: RunRow, journal: Sequence[bytes] = (), files: Collection[bytes] = ()) -> None:
        self.row = row
        self.journal = list(journal)
        self.files = set(files)
        self.signals: dict[str, Signal] = {}


class MemoryBackend:
    """A :class:`flow.store.backend.Backend` in dicts. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._closed = False
        self._runs: dict[str, _Run] = {}
        self._shapes: dict[bytes, bytes] = {}
        self._counters: dict[str, int] = {}
        self._files: dict[bytes, bytes] = {}
        self._held: set[bytes] = set()  # put, and not yet used by a run
        self._books = Books(self._is_over)

    @property
    def name(self) -> str:
        """ "memory"."""
        return "memory"

    def create(self, row: RunRow, shape: bytes, segment: bytes | None = None) -> RunRow | None:
        """Add a run, unless its id is taken: return that run's row then."""
        with self._lock:
            self._check()
            if row.id in self._runs:
                return self._runs[row.id].row
            self._runs[row.id] = _Run(row, () if segment is None else (segment,))
            self._shapes.setdefault(row.shape, shape)
            return None

    def row(self, run: str) -> RunRow | None:
        """Return the row of a run."""
        with self._lock:
            self._check()
            found = self._runs.get(run)
            return None if found is None else found.row

    def load(self, run: str) -> Stored | None:
        """Return all of a run, as of one moment. O(segments)."""
        with self._lock:
            self._check()
            found = self._runs.get(run)
            return None if found is None else Stored(found.row, tuple(found.journal), tuple(found.signals.values()))

    def shape(self, digest: bytes) -> bytes | None:
        """Return the structure that was given with this digest."""
        with self._lock:
            self._check()
            return self._shapes.get(digest)

    def add_shape(self, digest: bytes, shape: bytes) -> None:
        """Keep a structure, unless it is there."""
        with self._lock:
            self._check()
            self._shapes.setdefault(digest, shape)

    def claim(self, run: str, token: int, owner: str, lease: float, now: float) -> int | None:
        """Make ``owner`` the run's owner if its token is still ``token``; return the next token then."""
        with self._lock:
            self._check()
            found = self._runs.get(run)
            if found is None or found.row.token != token:
                return None
            found.row = msgspec.structs.replace(
                found.row, owner=owner, lease=lease, updated=now, status=RUNNING, token=token + 1
            )
            return token + 1

    def write(
        self, run: str, token: int, change: Change, segment: bytes | None = None, files: Collection[bytes] = ()
    ) -> None:
        """Add a segment and change the row. :raises Fenced: if the run is gone or has another token."""
        with self._lock:
            found = self._mine(run, token)
            for digest in files:
                if digest not in self._files:
                    raise DamagedRow(f"store {self.name} has no file {digest.hex()}: put it again")
            changes = {name: value for name, value in msgspec.structs.asdict(change).items() if value is not None}
            if changes.pop("released"):
                changes.update(owner="", lease=0.0)
            found.row = msgspec.structs.replace(found.row, **changes)
            if segment is not None:
                found.journal.append(segment)
            found.files.update(files)
            self._held.difference_update(files)

    def _mine(self, run: str, token: int) -> _Run:
        self._check()
        found = self._runs.get(run)
        if found is None or found.row.token != token:
            what = "it is gone" if found is None else f"it has token {found.row.token}"
            raise Fenced(f"store {self.name} refuses what run {shown(run)} writes with token {token}: {what}")
        return found

    def clear(self, run: str, token: int) -> None:
        """Drop journal, signals and file references of a run. :raises Fenced: as :meth:`write`."""
        with self._lock:
            found = self._mine(run, token)
            self._runs[run] = _Run(found.row)
            self._sweep()

    def take_signals(self, run: str, seen: int) -> tuple[Sequence[Signal], bool]:
        """Return signals after the first ``seen``, and whether the run is to end.

        :raises UnknownRun: if there is no such run.
        """
        with self._lock:
            found = self._known(run)
            sent = () if seen >= len(found.signals) else tuple(found.signals.values())[seen:]
            return sent, found.row.cancel

    def _known(self, run: str) -> _Run:
        self._check()
        found = self._runs.get(run)
        if found is None:
            raise UnknownRun(f"store {self.name} has no run {shown(run)}")
        return found

    def send(self, run: str, signal: Signal) -> bool:
        """Keep a signal; False if one of its address is there. :raises UnknownRun: if there is no such run."""
        with self._lock:
            signals = self._known(run).signals
            return signals.setdefault(signal.address, signal) is signal

    def reject(self, run: str, address: str) -> None:
        """Free an address: what was sent there has not been taken."""
        with self._lock:
            self._check()
            found = self._runs.get(run)
            if found is not None and address in found.signals:
                free = [
                    signal if at != address else msgspec.structs.replace(signal, address=f"{at}\0{k}")
                    for k, (at, signal) in enumerate(found.signals.items(), 1)
                ]
                found.signals = {signal.address: signal for signal in free}

    def ask_to_cancel(self, run: str, now: float) -> RunRow:
        """Note that a run is to end; one without an owner has ended then. :raises UnknownRun: if there is none."""
        with self._lock:
            found = self._known(run)
            row = found.row
            if row.status not in ENDED:
                row = msgspec.structs.replace(row, cancel=True, updated=now)
                ended = msgspec.structs.replace(row, status=CANCELLED, ended=now, token=row.token + 1)
                found.row = row if row.owner else ended
            return found.row

    def runs(
        self,
        statuses: Collection[str] = (),
        dag: str | None = None,
        limit: int = 100,
        before: tuple[float, str] | None = None,
    ) -> Sequence[RunRow]:
        """Return rows without inputs, the latest first. O(runs log runs)."""
        with self._lock:
            self._check()
            rows = [
                row
                for row in (run.row for run in self._runs.values())
                if (not statuses or row.status in statuses) and (dag is None or row.dag == dag)
                if before is None or (row.created, row.id) < before
            ]
        rows.sort(key=lambda row: (row.created, row.id), reverse=True)
        return [msgspec.structs.replace(row, inputs=b"") for row in rows[: max(limit, 0)]]

    def delete(self, runs: Collection[str]) -> int:
        """Delete runs, and files that no run refers to. O(files)."""
        with self._lock:
            self._check()
            count = sum(self._runs.pop(run, None) is not None for run in runs)
            self._sweep()
            return count

    def _sweep(self) -> None:
        used = set(self._held).union(*(run.files for run in self._runs.values()))
        self._files = {digest: data for digest, data in self._files.items() if digest in used}

    def copy(self, run: str, row: RunRow, journal: Sequence[bytes]) -> bool:
        """Add ``row`` as a new run with this journal, which refers to files of ``run``.

        :raises UnknownRun: if there is no run ``run``.
        """
        with self._lock:
            source = self._known(run)
            if row.id in self._runs:
                return False
            self._runs[row.id] = _Run(row, journal, source.files)
            return True

    def add(self, counter: str, amount: int) -> int:
        """Add to a counter; return the sum."""
        with self._lock:
            self._check()
            self._counters[counter] = self._counters.get(counter, 0) + amount
            return self._counters[counter]

    def reserve(self, reservation: Reservation, accounts: Sequence[Account], now: float) -> Reserved:
        """Reserve on all accounts or on none. O(accounts and what is reserved on them)."""
        with self._lock:
            self._check()
            return self._books.reserve(reservation, accounts, now)

    def _is_over(self, held: Reservation, now: float) -> bool:
        run = self._runs.get(held.run)
        return held.lease <= now or (run is not None and run.row.owner not in ("", held.owner))

    def settle(self, id: str, accounts: Sequence[Account], amount: int, now: float) -> Sequence[Balance]:
        """End a reservation, and count ``amount`` as spent."""
        with self._lock:
            self._check()
            return self._books.settle(id, accounts, amount, now)

    def renew(self, ids: Collection[str], lease: float) -> None:
        """Prolong the leases of reservations."""
        with self._lock:
            self._check()
            self._books.renew(ids, lease)

    def balances(self, beginning: str) -> Sequence[Balance]:
        """Return the accounts whose names begin so, by name."""
        with self._lock:
            self._check()
            return self._books.balances(beginning)

    def put_file(self, data: bytes) -> bytes:
        """Keep ``data`` and return its digest."""
        digest = digest_of(data)
        with self._lock:
            self._check()
            self._files[digest] = bytes(data)
            self._held.add(digest)
        return digest

    def get_file(self, digest: bytes) -> bytes:
        """Return what has this digest. :raises DamagedRow: if it is gone."""
        with self._lock:
            self._check()
            data = self._files.get(digest)
        if data is None:
            raise DamagedRow(f"store {self.name} is damaged: its file {digest.hex()} is gone")
        return data

    def close(self) -> None:
        """Refuse all calls from now on."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise StoreError(f"store {self.name} is closed")


__all__ = ["MemoryBackend"]
