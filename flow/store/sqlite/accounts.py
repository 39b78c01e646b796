"""The tables of accounts: what is spent, and what is reserved (:mod:`flow.run.accounts`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any, Final

from flow.run.accounts import Account, Balance, Reservation, Reserved
from flow.store.sqlite.connection import Database

_OPEN: Final = """
    INSERT INTO account (name, spent, refused, until) VALUES (?, ?, 0, ?) ON CONFLICT (name)
    DO UPDATE SET spent = max(spent, excluded.spent), until = max(until, excluded.until)
"""
_SPEND: Final = """
    INSERT INTO account (name, spent, refused, until) VALUES (?, ?, 0, ?) ON CONFLICT (name)
    DO UPDATE SET spent = min(spent + excluded.spent, 9223372036854775807)
"""
_OVER: Final = """
    DELETE FROM reservation WHERE account = ? AND (lease <= ? OR EXISTS (
        SELECT 1 FROM run WHERE run.id = reservation.run AND run.owner NOT IN ('', reservation.owner)
    )) RETURNING id, owner, run, amount, lease
"""
_STALE: Final = """
    DELETE FROM account WHERE until < ? AND NOT EXISTS (SELECT 1 FROM reservation WHERE account = account.name)
"""
_BALANCE: Final = """
    SELECT name, spent, (SELECT coalesce(sum(amount), 0) FROM reservation WHERE account = account.name), refused
    FROM account WHERE
"""
_RESERVE: Final = "INSERT INTO reservation (account, id, owner, run, amount, lease) VALUES (?, ?, ?, ?, ?, ?)"


class SqliteAccounts:
    """The part of the backend that keeps accounts. Each method is one transaction."""

    _database: Database

    def reserve(self, reservation: Reservation, accounts: Sequence[Account], now: float) -> Reserved:
        """Reserve on all accounts or on none. O(accounts and what is reserved on them)."""
        r = reservation
        ended: dict[str, Reservation] = {}
        with self._database.writing() as sql:
            sql.execute(_STALE, (now,))
            balances = []
            for account in accounts:
                sql.execute(_OPEN, (account.name, account.least, account.until))
                for found in sql.execute(_OVER, (account.name, now)).fetchall():
                    ended[found[0]] = Reservation(*found)
                balances += _balances(sql, "name = ?", account.name)
            full = False
            for account, balance in zip(accounts, balances, strict=True):
                full |= r.amount > 0 and balance.spent + balance.reserved + r.amount > account.limit
                if r.amount > 0 and balance.spent + r.amount > account.limit:
                    sql.execute("UPDATE account SET refused = 1 WHERE name = ?", (account.name,))
            for account in () if full else accounts:
                sql.execute(_RESERVE, (account.name, r.id, r.owner, r.run, r.amount, r.lease))
        return Reserved("" if full else r.id, balances, list(ended.values()))

    def settle(self, id: str, accounts: Sequence[Account], amount: int, now: float) -> Sequence[Balance]:
        """End a reservation, and count ``amount`` as spent. O(accounts)."""
        balances: list[Balance] = []
        with self._database.writing() as sql:
            sql.execute("DELETE FROM reservation WHERE id = ?", (id,))
            for account in accounts:
                if amount:
                    sql.execute(_SPEND, (account.name, amount, account.until))
                balances += _balances(sql, "name = ?", account.name)
        return balances

    def renew(self, ids: Collection[str], lease: float) -> None:
        """Prolong the leases of reservations. O(ids)."""
        with self._database.writing() as sql:
            sql.executemany("UPDATE reservation SET lease = ? WHERE id = ?", [(lease, id) for id in ids])

    def balances(self, beginning: str) -> Sequence[Balance]:
        """Return the accounts whose names begin so, by name. O(accounts)."""
        with self._database.reading() as sql:
            return _balances(sql, "substr(name, 1, ?) = ? ORDER BY name", len(beginning), beginning)


def _balances(sql: sqlite3.Connection, which: str, *values: Any) -> list[Balance]:
    found = sql.execute(f"{_BALANCE} {which}", values).fetchall()
    return [Balance(name, spent, reserved, bool(refused)) for name, spent, reserved, refused in found]


__all__ = ["SqliteAccounts"]
