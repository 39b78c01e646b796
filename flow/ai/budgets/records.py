"""What budgets tell: :class:`Alert`, :class:`AccountStatistics`."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from flow.run.accounts import usd


class Alert(msgspec.Struct, frozen=True):
    """What is spent of a budget has reached one of its fractions; or a call was refused, for the first time.

    It comes once per account and window.

    :ivar budget: its name. :ivar account: the value of its ``by=``; "" if it has one account.
    :ivar window: "run", "hour", "day" or "month". :ivar begins_anew: when that ends; None for a run's.
    :ivar fraction: of the limit. :ivar limit: in USD, as ``spent``.
    :ivar refused: a call was refused, whose cost would have led beyond the limit. (``fraction`` is 1.0 then.)
    :ivar run: the outermost run whose call has brought it about. :ivar node: likewise.
    """

    budget: str
    account: str
    window: str
    fraction: float
    limit: Decimal
    spent: Decimal
    refused: bool
    run: str
    node: str
    begins_anew: datetime | None = None

    def plain(self) -> dict[str, Any]:
        """Return it as plain data, as the run's report of the kind ``budget`` has it."""
        ends = None if self.begins_anew is None else self.begins_anew.isoformat()
        told = {name: getattr(self, name) for name in ("budget", "account", "window", "fraction", "refused")}
        return {**told, "limit": usd(self.limit), "spent": usd(self.spent), "begins_anew": ends}


class AccountStatistics(msgspec.Struct, frozen=True):
    """One account of a budget, in one window.

    :ivar begins: of the window, as ``2026-11-30``; of a run its id. :ivar limit: in USD, as ``spent``, ``reserved``.
    """

    account: str
    window: str
    begins: str
    limit: Decimal
    spent: Decimal
    reserved: Decimal


__all__ = ["AccountStatistics", "Alert"]
