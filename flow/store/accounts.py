"""What budgets have spent, kept in a store for all processes that use it: :class:`Accounts`."""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Final, Protocol

import msgspec

from flow.errors import StoreError
from flow.logs import NAME, fields
from flow.run.accounts import Account, Balance, Reservation, Reserved, dollars, usd
from flow.store.owner import this_process
from flow.store.writer import Writer
from flow.store.writing import LEASE

_KNOWN: Final = 10_000
"""Accounts of which this object remembers that it has used them."""


class Keeping(Protocol):
    """The part of a :class:`flow.store.backend.Backend` that keeps accounts."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def reserve(self, reservation: Reservation, accounts: Sequence[Account], now: float) -> Reserved: ...

    def settle(self, id: str, accounts: Sequence[Account], amount: int, now: float) -> Sequence[Balance]: ...

    def renew(self, ids: Sequence[str], lease: float) -> None: ...

    def balances(self, beginning: str) -> Sequence[Balance]: ...


class _Owed(msgspec.Struct):
    """A settlement that the store has not taken yet."""

    id: str
    accounts: Sequence[Account]
    amount: int


class Accounts:
    """A :class:`flow.run.accounts.Ledger` in a store. The store's thread keeps the leases of what is reserved.

    What was spent is never given up: a settlement that the store does not take is logged, kept, and made before the
    next reservation. As long as it cannot be made, nothing is reserved. Until then the reservation stands for it.

    :param clock: Unix time in seconds, by which leases pass.
    """

    blocks = True

    def __init__(self, backend: Keeping, writer: Writer, clock: Callable[[], float] = time.time) -> None:
        self._backend = backend
        self._writer = writer
        self._clock = clock
        self._lock = Lock()
        self._open: dict[str, float] = {}  # reservations of this object, and when their lease passes
        self._owed: dict[str, _Owed] = {}
        self._known: OrderedDict[str, None] = OrderedDict()

    def knows(self, account: str) -> bool:
        """Tell whether something was reserved on this account before, through this object."""
        with self._lock:
            return account in self._known

    def reserve(self, run: str, accounts: Sequence[Account], amount: int) -> Reserved:
        """Reserve, committed when this returns. :raises StoreError: if the store cannot: nothing is reserved then."""
        self._pay()
        now = self._clock()
        reservation = Reservation(os.urandom(12).hex(), this_process(), run, amount, now + LEASE)
        found = self._backend.reserve(reservation, accounts, now)
        for ended in found.ended:
            _say_ended(self._backend.name, ended)
        with self._lock:
            for account in accounts:
                self._known[account.name] = None
                self._known.move_to_end(account.name)
            while len(self._known) > _KNOWN:
                self._known.popitem(last=False)
            if found.id:
                self._open[found.id] = reservation.lease
                if len(self._open) == 1:
                    self._writer.add(self)
        return found

    def settle(self, id: str, accounts: Sequence[Account], amount: int) -> Sequence[Balance]:
        """Count what was spent. If the store cannot, that is logged and made up for: it raises nothing."""
        try:
            found = self._backend.settle(id, accounts, amount, self._clock())
        except BaseException as error:
            with self._lock:
                self._owed[id] = _Owed(id, accounts, amount)
            self._say(id, f"it is tried again, and nothing is reserved until it is taken ({error})")
            if not isinstance(error, StoreError):
                raise
            return ()
        self._close(id)
        return found

    def balances(self, beginning: str) -> Sequence[Balance]:
        """Return the accounts whose names begin so."""
        return self._backend.balances(beginning)

    def _pay(self) -> None:
        """Make the settlements that the store has not taken. :raises StoreError: if it does not take them now."""
        while self._owed:
            with self._lock:
                if not self._owed:
                    return
                owed = self._owed.pop(next(iter(self._owed)))
            try:
                self._backend.settle(owed.id, owed.accounts, owed.amount, self._clock())
            except BaseException:
                with self._lock:
                    self._owed[owed.id] = owed
                raise
            self._close(owed.id)

    def _close(self, id: str) -> None:
        with self._lock:
            self._open.pop(id, None)
            if not self._open:
                self._writer.remove(self)

    # -- what the store's thread asks (flow.store.writer.Written) ----------------------------

    def write_behind(self) -> bool:
        """There is nothing that comes again and again."""
        return False

    def park(self) -> bool:
        """Nobody need wake the thread for this."""
        return True

    def look(self) -> None:
        """Make what is owed, and keep the leases."""
        now = self._clock()
        with self._lock:
            due = [id for id, lease in self._open.items() if lease - now < LEASE * 2 / 3]
        try:
            self._pay()
            if due:
                self._backend.renew(due, now + LEASE)
        except StoreError:
            return  # it is tried again; the settlement has been logged
        with self._lock:
            self._open.update((id, now + LEASE) for id in due if id in self._open)

    def stop(self) -> None:
        """The store is being closed: what is owed is made now, or lost with a word about it."""
        try:
            self._pay()
        except StoreError as error:
            for id in list(self._owed):
                self._say(id, f"the store is closed: it is lost ({error})")

    def _say(self, id: str, what: str) -> None:
        owed = self._owed[id]
        names = ", ".join(repr(account.name) for account in owed.accounts)
        logging.getLogger(NAME).error(
            "store %r has not taken that %s USD were spent on %s: %s",
            self._backend.name, usd(dollars(owed.amount)), names, what,
            extra=fields(),
        )  # fmt: skip

    @property
    def is_urgent(self) -> bool:
        """Nobody waits for a commit by the thread."""
        return False


def _say_ended(store: str, ended: Reservation) -> None:
    logging.getLogger(NAME).warning(
        "store %r: a reservation of %s USD for run %r by process %s has ended unsettled: if its call was made, "
        "what that has cost is not counted",
        store, usd(dollars(ended.amount)), ended.run, ended.owner,
        extra=fields(None, ended.run),
    )  # fmt: skip


__all__ = ["Accounts"]
