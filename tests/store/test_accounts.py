"""A store's accounts as budgets use them: leases are kept, settlements are owed, older files get their tables."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlite_stores import add_run, check_integrity, opened

from flow.errors import StoreError
from flow.run.accounts import Account, Balance, Books, Reservation
from flow.store.accounts import Accounts
from flow.store.in_memory import MemoryBackend
from flow.store.sqlite import schema
from flow.store.store import Store
from flow.store.writer import Writer

ACCOUNTS = [Account("a", 10**12, 1e12)]


class Failing(MemoryBackend):
    """A backend that cannot settle for a while."""

    fails = False

    def settle(self, id: str, accounts: Sequence[Account], amount: int, now: float) -> Sequence[Balance]:
        if self.fails:
            raise StoreError("the disk is full")
        return super().settle(id, accounts, amount, now)


class Idle(Writer):
    """No thread: the test looks."""

    def add(self, journal: Any) -> None:
        self._journals.add(journal)


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def made(backend: MemoryBackend) -> tuple[Accounts, Time, Idle]:
    time, writer = Time(), Idle()
    return Accounts(backend, writer, time), time, writer


def test_leases_are_kept_while_something_is_reserved() -> None:
    backend = MemoryBackend()
    accounts, time, writer = made(backend)
    held = accounts.reserve("r", ACCOUNTS, 10**12)
    assert writer._journals == {accounts}
    for _ in range(20):
        time.now += 9.0
        accounts.look()
        assert not made(backend)[0].reserve("r", ACCOUNTS, 1).id
    accounts.settle(held.id, ACCOUNTS, 5)
    assert writer._journals == set()
    assert list(backend.balances("")) == [Balance("a", 5, 0)]


def test_a_lease_that_nobody_keeps_passes(caplog: pytest.LogCaptureFixture) -> None:
    backend = MemoryBackend()
    accounts, time, _ = made(backend)
    accounts.reserve("r", ACCOUNTS, 10**12)
    other, now, _ = made(backend)
    now.now = time.now + 29.0
    assert not other.reserve("s", ACCOUNTS, 1).id
    now.now += 1.0
    with caplog.at_level(logging.WARNING, "flow"):
        assert other.reserve("s", ACCOUNTS, 1).id
    assert "a reservation of 1.00 USD for run 'r' by process" in caplog.text and "ended unsettled" in caplog.text


def test_what_was_spent_is_owed_until_the_store_takes_it(caplog: pytest.LogCaptureFixture) -> None:
    backend = Failing()
    accounts, time, writer = made(backend)
    held = accounts.reserve("r", ACCOUNTS, 10**11)
    backend.fails = True
    with caplog.at_level(logging.ERROR, "flow"):
        assert accounts.settle(held.id, ACCOUNTS, 2 * 10**10) == ()
    assert "0.02 USD were spent on 'a'" in caplog.text and "the disk is full" in caplog.text
    with pytest.raises(StoreError, match="the disk is full"):
        accounts.reserve("r", ACCOUNTS, 1)
    time.now += 25.0
    accounts.look()  # raises nothing
    assert list(backend.balances("")) == [Balance("a", 0, 10**11)]  # the reservation stands for it
    backend.fails = False
    assert accounts.reserve("r", ACCOUNTS, 1).balances[0] == Balance("a", 2 * 10**10, 0)


def test_the_stores_thread_makes_up_for_what_is_owed() -> None:
    backend = Failing()
    accounts, _, writer = made(backend)
    held = accounts.reserve("r", ACCOUNTS, 10)
    backend.fails = True
    accounts.settle(held.id, ACCOUNTS, 7)
    backend.fails = False
    assert writer._journals == {accounts}
    accounts.look()
    assert list(backend.balances("")) == [Balance("a", 7, 0)] and writer._journals == set()


def test_a_store_that_closes_says_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    backend = Failing()
    store = Store(backend)
    held = store.accounts.reserve("r", ACCOUNTS, 10)
    backend.fails = True
    store.accounts.settle(held.id, ACCOUNTS, 3 * 10**11)
    caplog.clear()
    store.close()
    assert "0.30 USD were spent" in caplog.text and "the store is closed: it is lost" in caplog.text


def test_a_database_of_the_first_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "old.db"
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
        with opened(path) as store:
            add_run(store)
            store.add("counter", 3)
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (1,)
        assert not sql.execute("SELECT 1 FROM sqlite_master WHERE name = 'account'").fetchall()
    for _ in range(2):
        with opened(path) as store:
            assert store.row("r") is not None and store.add("counter", 0) == 3
            held = store.reserve(Reservation("x", "me", "r", 5, 1e12), ACCOUNTS, 1.0)
            assert held.id == "x"
            store.settle("x", ACCOUNTS, 5, 1.0)
    with opened(path) as store:
        assert list(store.balances("")) == [Balance("a", 10, 0)]
    check_integrity(path)


def test_books_forget_accounts_that_are_over() -> None:
    books = Books(most_runs=100)
    for k in range(5_000):
        run, day = Account(f"run{k}", 9, 1e12, of_run=True), Account(f"day{k}", 9, float(k))
        books.reserve(Reservation(f"x{k}", "", "", 1, 0.0), [run, day, Account("month", 10**6, 1e12)], float(k))
        if k != 7:
            books.settle(f"x{k}", [run, day, Account("month", 10**6, 1e12)], 1, float(k))
    assert len(books) < 1_000
    assert "run4999" in books and "run7" in books and "day7" in books  # these have a reservation
    assert "run3" not in books and "day3" not in books
    assert books.balances("month") == [Balance("month", 4_999, 1)]
