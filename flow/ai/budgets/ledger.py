"""Accounts in this process: :class:`ProcessLedger`. They end with it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count
from math import inf
from threading import Lock
from typing import Final

from flow.run.accounts import Account, Balance, Books, Reservation, Reserved

MOST_RUNS: Final = 10_000
"""Accounts of runs that are kept: those used longest ago go. One that goes on has its beginning from its reports."""


class ProcessLedger:
    """A :class:`flow.run.accounts.Ledger` in this process. Each call is O(accounts)."""

    __slots__ = ("_books", "_lock", "_numbers")

    blocks = False

    def __init__(self) -> None:
        self._books = Books(most_runs=MOST_RUNS)
        self._lock = Lock()
        self._numbers = count(1)

    def knows(self, account: str) -> bool:
        """Tell whether there is this account."""
        with self._lock:
            return account in self._books

    def reserve(self, run: str, accounts: Sequence[Account], amount: int) -> Reserved:
        """Reserve on all accounts, or on none."""
        with self._lock:
            reservation = Reservation(str(next(self._numbers)), "", run, amount, inf)
            return self._books.reserve(reservation, accounts, time.time())

    def settle(self, id: str, accounts: Sequence[Account], amount: int) -> Sequence[Balance]:
        """End a reservation, and count ``amount`` as spent."""
        with self._lock:
            return self._books.settle(id, accounts, amount, time.time())

    def balances(self, beginning: str) -> Sequence[Balance]:
        """Return the accounts whose names begin so."""
        with self._lock:
            return self._books.balances(beginning)


__all__ = ["MOST_RUNS", "ProcessLedger"]
