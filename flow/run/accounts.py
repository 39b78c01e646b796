"""Accounts of what is spent, with reservations: the protocol :class:`Ledger`, its records, and :class:`Books`.

Who is about to spend something reserves the most that it can be, and settles that with what it was. A reservation
counts as long as its lease has not passed. Amounts are whole numbers of 1e-12 USD: a price of up to 6 decimals per
million tokens is exact by that, and sums of up to 9 million USD fit into 64 bits.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import Context, Decimal
from typing import Final, Protocol

import msgspec

DIGITS: Final = 12
"""Decimals of an amount of USD that are counted."""

MOST_COUNTED: Final = 2**63 - 1
"""What is spent on an account is counted up to this, which a store has room for."""

EXACT: Final = Context(prec=60)
"""For amounts, whatever the program's own decimal context says."""

_SWEPT: Final = 256
"""Accounts that may be there before any is forgotten."""


def dollars(amount: int) -> Decimal:
    """Return an amount as USD, exactly, with as many decimals as :func:`usd` writes."""
    return Decimal(usd(Decimal(amount).scaleb(-DIGITS, EXACT)))


def usd(value: Decimal) -> str:
    """Write an amount with two decimals, or as many as it has: ``0.05``, ``0.00123``."""
    whole, _, rest = f"{value:f}".partition(".")
    return f"{whole}.{rest.rstrip('0').ljust(2, '0')}"


class Account(msgspec.Struct, frozen=True):
    """One account, as who reserves on it says it.

    :ivar limit: of what is spent and reserved. :ivar until: the Unix time until which it is kept if nobody uses it.
    :ivar least: at least so much counts as spent: what is known from elsewhere.
    :ivar of_run: it may be forgotten before ``until``: a later use says ``least`` again.
    """

    name: str
    limit: int
    until: float
    least: int = 0
    of_run: bool = False


class Reservation(msgspec.Struct, frozen=True):
    """An amount that counts on accounts until it is settled, or the lease has passed.

    :ivar owner: the process, ``host:pid:start``. :ivar run: the outermost run that it is for.
    """

    id: str
    owner: str
    run: str
    amount: int
    lease: float


class Balance(msgspec.Struct, frozen=True):
    """What an account has on it. ``refused``: before, an amount was refused for which what is spent left no room."""

    name: str
    spent: int
    reserved: int
    refused: bool = False


class Reserved(msgspec.Struct, frozen=True):
    """What came of a wish to reserve.

    :ivar id: of the reservation; "" if one of the accounts has no room for it: nothing is reserved on any then.
    :ivar balances: of the accounts as they were before it, in the order given.
    :ivar ended: reservations that were found to have ended unsettled, with their lease or their run's.
    """

    id: str
    balances: Sequence[Balance]
    ended: Sequence[Reservation] = ()


class Ledger(Protocol):
    """Who keeps accounts. Any thread may call it.

    :ivar blocks: calls may wait for a disk: an event loop makes them in a thread.
    """

    blocks: bool

    def knows(self, account: str) -> bool:
        """Tell whether something was reserved on this account before, through this object: ``least`` is not needed."""
        ...

    def reserve(self, run: str, accounts: Sequence[Account], amount: int) -> Reserved:
        """Reserve ``amount`` on all accounts, or on none. 0 is never refused."""
        ...

    def settle(self, id: str, accounts: Sequence[Account], amount: int) -> Sequence[Balance]:
        """End a reservation, and count ``amount`` as spent instead; 0: nothing. Return the balances after that.

        What was spent counts, also if the reservation has ended by itself.
        """
        ...

    def balances(self, beginning: str) -> Sequence[Balance]:
        """Return the accounts whose names begin so."""
        ...


class _Page:
    """One account, as of now."""

    __slots__ = ("of_run", "refused", "reservations", "reserved", "spent", "until")

    def __init__(self, account: Account) -> None:
        self.spent = self.reserved = 0
        self.reservations: dict[str, Reservation] = {}
        self.refused = False
        self.until = account.until
        self.of_run = account.of_run

    def add(self, held: Reservation) -> None:
        self.reservations[held.id] = held
        self.reserved += held.amount

    def end(self, id: str) -> None:
        held = self.reservations.pop(id, None)
        self.reserved -= 0 if held is None else held.amount

    def balance(self, name: str) -> Balance:
        return Balance(name, self.spent, self.reserved, self.refused)


class Books:
    """Accounts in dicts. Who calls it holds a lock. An account takes about 400 bytes.

    :param is_over: tells of a reservation whether it counts no more; None if all count until they are settled.
    :param most_runs: accounts of runs that are kept; None is all until their time.
    """

    __slots__ = ("_is_over", "_most_runs", "_pages", "_sweep_at")

    def __init__(
        self, is_over: Callable[[Reservation, float], bool] | None = None, most_runs: int | None = None
    ) -> None:
        self._pages: dict[str, _Page] = {}
        self._is_over = is_over
        self._most_runs = most_runs
        self._sweep_at = _SWEPT

    def __contains__(self, account: str) -> bool:
        return account in self._pages

    def __len__(self) -> int:
        return len(self._pages)

    def reserve(self, reservation: Reservation, accounts: Sequence[Account], now: float) -> Reserved:
        """Reserve on all accounts or on none. O(accounts), and with ``is_over`` what is reserved on them."""
        pages = [self._page(account, now) for account in accounts]
        ended: dict[str, Reservation] = {}
        for page in () if self._is_over is None else pages:
            for held in list(page.reservations.values()):
                if self._is_over is not None and self._is_over(held, now):
                    ended[held.id] = held
                    page.end(held.id)
        balances = [page.balance(account.name) for page, account in zip(pages, accounts, strict=True)]
        amount = reservation.amount
        full = False
        for page, account in zip(pages, accounts, strict=True):
            full |= amount > 0 and page.spent + page.reserved + amount > account.limit
            page.refused |= amount > 0 and page.spent + amount > account.limit
        for page in () if full else pages:
            page.add(reservation)
        return Reserved("" if full else reservation.id, balances, list(ended.values()))

    def settle(self, id: str, accounts: Sequence[Account], amount: int, now: float) -> Sequence[Balance]:
        """End a reservation, and count ``amount`` as spent. O(accounts)."""
        found = []
        for account in accounts:
            page = self._page(account, now) if amount else self._pages.get(account.name)
            if page is not None:
                page.end(id)
                page.spent = min(page.spent + amount, MOST_COUNTED)
                found.append(page.balance(account.name))
        return found

    def renew(self, ids: Collection[str], lease: float) -> None:
        """Prolong the leases of reservations. O(all reservations)."""
        wanted = set(ids)
        for page in self._pages.values():
            for id in wanted & page.reservations.keys():
                page.reservations[id] = msgspec.structs.replace(page.reservations[id], lease=lease)

    def balances(self, beginning: str) -> Sequence[Balance]:
        """Return the accounts whose names begin so, in their order. O(accounts)."""
        return [self._pages[name].balance(name) for name in sorted(self._pages) if name.startswith(beginning)]

    def _page(self, account: Account, now: float) -> _Page:
        page = self._pages.pop(account.name, None)
        if page is None:
            page = _Page(account)
            if len(self._pages) >= self._sweep_at:
                self._sweep(now)
        self._pages[account.name] = page  # the one used last is the last
        page.spent = max(page.spent, account.least)
        page.until = max(page.until, account.until)
        return page

    def _sweep(self, now: float) -> None:
        """Forget what is over, the accounts used longest ago first. O(accounts), once for as many new ones."""
        most = self._most_runs
        surplus = 0 if most is None else sum(page.of_run for page in self._pages.values()) - most // 2
        for name, page in list(self._pages.items()):
            if not page.reservations and (page.until < now or (page.of_run and surplus > 0)):
                del self._pages[name]
                surplus -= page.of_run
        kept = len(self._pages)
        self._sweep_at = max(_SWEPT, 2 * kept if most is None else min(2 * kept, kept + most // 2))


__all__ = [
    "DIGITS", "EXACT", "MOST_COUNTED", "Account", "Balance", "Books", "Ledger", "Reservation", "Reserved", "dollars",
    "usd",
]  # fmt: skip
