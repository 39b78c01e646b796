"""Both backends keep the contract, and the suite that says so finds faulty ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from flow.errors import StoreError
from flow.run.accounts import Account, Balance, Reservation, Reserved
from flow.store.backend import Backend, Change, RunRow, Signal, Stored
from flow.store.conformance import store_suite
from flow.store.in_memory import MemoryBackend
from flow.store.sqlite import SqliteBackend

_folders: list[Path] = []


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    _folders.append(tmp_path)
    yield tmp_path
    _folders.pop()


def sqlite() -> Backend:
    return SqliteBackend(_folders[-1] / "store.db", fsync=False)


def synced() -> Backend:
    return SqliteBackend(str(_folders[-1] / "store.db"), fsync=True)


class TestMemory(store_suite(MemoryBackend)):  # type: ignore[misc]
    pass


class TestSqlite(store_suite(sqlite)):  # type: ignore[misc]
    pass


class TestSqliteWithFsync(store_suite(synced)):  # type: ignore[misc]
    pass


class Faulty(MemoryBackend):
    """A backend with one fault. Its class says which."""


class IgnoresTokens(Faulty):
    def write(
        self, run: str, token: int, change: Change, segment: bytes | None = None, files: Collection[bytes] = ()
    ) -> None:
        row = self.row(run)
        super().write(run, token if row is None else row.token, change, segment, files)


class IgnoresTokensOfClear(Faulty):
    def clear(self, run: str, token: int) -> None:
        row = self.row(run)
        super().clear(run, token if row is None else row.token)


class FencesOnlyOlderTokens(IgnoresTokens):
    def write(self, run: str, token: int, *rest: Any) -> None:
        row = self.row(run)
        if row is not None and token > row.token:
            super().write(run, row.token, *rest)
        else:
            MemoryBackend.write(self, run, token, *rest)


class ChangesTheRowOfWhatIsFenced(Faulty):
    def write(self, run: str, token: int, change: Change, *rest: Any) -> None:
        row = self.row(run)
        if row is not None and row.token != token:
            super().write(run, row.token, change)
        super().write(run, token, change, *rest)


class LosesASegment(Faulty):
    count = 0

    def write(self, run: str, token: int, change: Change, segment: bytes | None = None, *rest: Any) -> None:
        self.count += 1
        super().write(run, token, change, None if self.count % 5 == 0 else segment, *rest)


class LosesEmptySegments(Faulty):
    def write(self, run: str, token: int, change: Change, segment: bytes | None = None, *rest: Any) -> None:
        super().write(run, token, change, segment or None, *rest)


class MovesASegment(Faulty):
    def load(self, run: str) -> Stored | None:
        found = super().load(run)
        return found and Stored(found.row, sorted(found.journal), found.signals)


class OldestFirst(Faulty):
    def runs(self, *arguments: Any, **named: Any) -> Sequence[RunRow]:
        return super().runs(*arguments, **named)[::-1]


class IdsAscend(Faulty):
    def runs(self, *arguments: Any, **named: Any) -> Sequence[RunRow]:
        found = sorted(super().runs(*arguments, **named), key=lambda row: row.id)
        return sorted(found, key=lambda row: -row.created)


class ListsInputs(Faulty):
    def runs(self, *arguments: Any, **named: Any) -> Sequence[RunRow]:
        return [row for found in super().runs(*arguments, **named) if (row := self.row(found.id)) is not None]


class PagesByTimeAlone(Faulty):
    def runs(self, statuses: Any = (), dag: Any = None, limit: int = 100, before: Any = None) -> Sequence[RunRow]:
        return super().runs(statuses, dag, limit, before and (before[0], ""))


class LimitsBeforeItFilters(Faulty):
    def runs(self, statuses: Any = (), dag: Any = None, limit: int = 100, before: Any = None) -> Sequence[RunRow]:
        found = super().runs((), dag, limit, before)
        return [row for row in found if not statuses or row.status in statuses]


class TakesTwoSignalsOfOneAddress(Faulty):
    def send(self, run: str, signal: Signal) -> bool:
        taken = super().send(run, signal)
        return taken or super().send(run, Signal(f"{signal.address} again", signal.payload, signal.at))


class TheLastSignalWins(Faulty):
    def send(self, run: str, signal: Signal) -> bool:
        taken = super().send(run, signal)
        self._runs[run].signals[signal.address] = signal
        return taken


class SignalsByAddress(Faulty):
    def take_signals(self, run: str, seen: int) -> tuple[Sequence[Signal], bool]:
        sent, cancel = super().take_signals(run, 0)
        return sorted(sent, key=lambda signal: signal.address)[seen:], cancel


class ForgetsSignalsThatWereTaken(Faulty):
    def take_signals(self, run: str, seen: int) -> tuple[Sequence[Signal], bool]:
        found = super().take_signals(run, seen)
        self._runs[run].signals.clear()
        return found


class TellsOfCancelTooLate(Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.told: dict[str, bool] = {}

    def take_signals(self, run: str, seen: int) -> tuple[Sequence[Signal], bool]:
        sent, cancel = super().take_signals(run, seen)
        return sent, self.told.setdefault(run, cancel)


class OverwritesATakenId(Faulty):
    def create(self, row: RunRow, shape: bytes) -> RunRow | None:
        found = super().create(row, shape)
        if found is not None:
            self._runs[row.id].row = row
        return found


class KeepsTheShapeOfATakenId(Faulty):
    def create(self, row: RunRow, shape: bytes) -> RunRow | None:
        self.add_shape(row.shape, shape)
        return super().create(row, shape)


class ClaimsWithAnyToken(Faulty):
    def claim(self, run: str, token: int, *rest: Any) -> int | None:
        row = self.row(run)
        return super().claim(run, token if row is None else row.token, *rest)


class ClaimsWithoutTheLease(Faulty):
    def claim(self, run: str, token: int, owner: str, lease: float, now: float) -> int | None:
        return super().claim(run, token, owner, 0.0, now)


class LooksBeforeItClaims(Faulty):
    """Not atomic: two may see the same token."""

    def claim(self, run: str, token: int, owner: str, lease: float, now: float) -> int | None:
        row = self.row(run)
        if row is None or row.token != token:
            return None
        time.sleep(0.001)  # let the others look
        changes = {"owner": owner, "lease": lease, "token": token + 1, "updated": now, "status": "running"}
        self._runs[run].row = msgspec.structs.replace(row, **changes)
        return token + 1


class ReleasesWithoutTheLease(Faulty):
    def write(self, run: str, token: int, change: Change, *rest: Any) -> None:
        super().write(run, token, change, *rest)
        if change.released and change.lease is not None:
            row = self._runs[run].row
            self._runs[run].row = msgspec.structs.replace(row, lease=change.lease)


class FalseIsNothing(Faulty):
    """It takes falsy values of a change for None."""

    def write(self, run: str, token: int, change: Change, *rest: Any) -> None:
        kept = {k: v or None for k, v in msgspec.structs.asdict(change).items() if k not in ("updated", "owned")}
        kept["released"] = change.released
        super().write(run, token, Change(change.updated, change.owned, **kept), *rest)


class CancelsEndedRuns(Faulty):
    def ask_to_cancel(self, run: str, now: float) -> RunRow:
        row = super().ask_to_cancel(run, now)
        self._runs[run].row = row = msgspec.structs.replace(row, cancel=True)
        return row


class LeavesUnownedRuns(Faulty):
    def ask_to_cancel(self, run: str, now: float) -> RunRow:
        row = self.row(run)
        found = super().ask_to_cancel(run, now)
        if row is not None and not row.owner and found.status != row.status:
            self._runs[run].row = found = msgspec.structs.replace(found, status=row.status, ended=row.ended)
        return found


class KeepsTheJournalOfTheDeleted(Faulty):
    def __init__(self) -> None:
        super().__init__()
        self.old: dict[str, list[bytes]] = {}

    def delete(self, runs: Collection[str]) -> int:
        self.old.update({run: self._runs[run].journal for run in runs if run in self._runs})
        return super().delete(runs)

    def create(self, row: RunRow, shape: bytes) -> RunRow | None:
        found = super().create(row, shape)
        self._runs[row.id].journal += self.old.pop(row.id, [])
        return found


class CountsWhatItWasGiven(Faulty):
    def delete(self, runs: Collection[str]) -> int:
        super().delete(runs)
        return len(runs)


class ClearKeepsSignals(Faulty):
    def clear(self, run: str, token: int) -> None:
        found = self._runs.get(run)
        super().clear(run, token)
        if found is not None:
            self._runs[run].signals = found.signals


class CopiesNoFiles(Faulty):
    def copy(self, run: str, row: RunRow, journal: Sequence[bytes]) -> bool:
        done = super().copy(run, row, journal)
        if done:
            self._runs[row.id].files.clear()
        return done


class KeepsFilesForever(Faulty):
    def _sweep(self) -> None:
        pass


class RemovesFilesThatOthersUse(Faulty):
    def delete(self, runs: Collection[str]) -> int:
        gone = [digest for run in runs if run in self._runs for digest in self._runs[run].files]
        count = super().delete(runs)
        for digest in gone:
            self._files.pop(digest, None)
        return count


class RemovesFilesThatWait(Faulty):
    def _sweep(self) -> None:
        self._held.clear()
        super()._sweep()


class FoldsIds(Faulty):
    def create(self, row: RunRow, shape: bytes) -> RunRow | None:
        return super().create(msgspec.structs.replace(row, id=row.id.strip()), shape)


class CountsWithoutALock(Faulty):
    def add(self, counter: str, amount: int) -> int:
        value = self._counters.get(counter, 0)
        time.sleep(0.0001)
        self._counters[counter] = value + amount
        self._check()
        return value + amount


class ReservesWithoutALock(Faulty):
    def reserve(self, reservation: Reservation, accounts: Sequence[Account], now: float) -> Reserved:
        self._check()
        found = [b for account in accounts for b in self._books.balances(account.name)]
        time.sleep(0.001)
        if any(b.spent + b.reserved + reservation.amount > a.limit for a, b in zip(accounts, found)):
            return super().reserve(reservation, accounts, now)
        wide = [msgspec.structs.replace(account, limit=10**9) for account in accounts]
        return super().reserve(reservation, wide, now)


class ReservesOnSome(Faulty):
    def reserve(self, reservation: Reservation, accounts: Sequence[Account], now: float) -> Reserved:
        found = super().reserve(reservation, accounts, now)
        if not found.id:
            self._books.reserve(reservation, accounts[:1], now)
        return found


class KeepsReservationsForever(Faulty):
    def _is_over(self, held: Reservation, now: float) -> bool:
        return False


class ForgetsWhoOwnsARun(Faulty):
    def _is_over(self, held: Reservation, now: float) -> bool:
        return held.lease <= now


class DropsReservationsOfRunsWithoutOwner(Faulty):
    def _is_over(self, held: Reservation, now: float) -> bool:
        run = self._runs.get(held.run)
        return held.lease <= now or (run is not None and run.row.owner != held.owner)


class CountsOnlyWhatWasReserved(Faulty):
    def settle(self, id: str, accounts: Sequence[Account], amount: int, now: float) -> Sequence[Balance]:
        there = [a for a in accounts if a.name in self._books and id in self._books._pages[a.name].reservations]
        return super().settle(id, there, amount, now)


class RenewsNothing(Faulty):
    def renew(self, ids: Collection[str], lease: float) -> None:
        self._check()


class ForgetsWhatIsKnown(Faulty):
    def reserve(self, reservation: Reservation, accounts: Sequence[Account], now: float) -> Reserved:
        accounts = [msgspec.structs.replace(account, least=0) for account in accounts]
        return super().reserve(reservation, accounts, now)


class MarksWhatIsOnlyReserved(Faulty):
    def reserve(self, reservation: Reservation, accounts: Sequence[Account], now: float) -> Reserved:
        found = super().reserve(reservation, accounts, now)
        for account in () if found.id else accounts:
            self._books._pages[account.name].refused = True
        return found


class RefusesNothing(Faulty):
    def reserve(self, reservation: Reservation, accounts: Sequence[Account], now: float) -> Reserved:
        return super().reserve(msgspec.structs.replace(reservation, amount=0), accounts, now)


class WorksAfterClose(Faulty):
    def close(self) -> None:
        pass


class RefusesToCloseTwice(Faulty):
    def close(self) -> None:
        if self._closed:
            raise StoreError("it is closed")
        super().close()


class LoadsInTwoMoments(Faulty):
    def load(self, run: str) -> Stored | None:
        row = self.row(run)
        time.sleep(0.001)
        found = super().load(run)
        return found and row and Stored(row, found.journal, found.signals)

    def write(self, *arguments: Any) -> None:
        super().write(*arguments)
        time.sleep(0.0005)


@pytest.mark.parametrize("fault", [*Faulty.__subclasses__(), FencesOnlyOlderTokens], ids=lambda fault: fault.__name__)
def test_the_suite_finds_a_faulty_backend(fault: type[MemoryBackend]) -> None:
    with pytest.raises((AssertionError, StoreError, KeyError)):
        store_suite(fault)().check()


@pytest.mark.parametrize("make", [MemoryBackend, sqlite], ids=["memory", "sqlite"])
def test_the_suite_runs_without_pytest(make: Callable[[], Backend], folder: Path) -> None:
    suite = store_suite(make)()
    names = [name for name, _ in suite.cases()]
    assert len(names) == len(set(names)) > 30
    if make is MemoryBackend:  # one path can only be empty once
        suite.check()
