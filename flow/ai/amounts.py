"""Amounts of money: USD as text, Decimal or int, exactly; counted in whole units of 1e-12 USD."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import Any, Final

from flow.config.fields import is_int
from flow.errors import UsageError, shown
from flow.run.accounts import DIGITS, EXACT

MOST: Final = Decimal(1_000_000)
"""USD that one amount may be: sums of such amounts fit into 64 bits of a store."""


def amount_fault(name: str, value: object, *, least: str = "0") -> str:
    """Say what is wrong with an amount that a user gives; "" if nothing is.

    :param least: the least that it may be, not included.
    """
    if isinstance(value, float):
        return (
            f"{name} must not be a float, which cannot say most amounts exactly ({shown(value)} is "
            f"{_long(value)}): write it as text, {name}={str(value)!r}"
        )
    found = _decimal(value)
    if found is None or not found.is_finite() or found <= Decimal(least):
        return f"{name} must be USD > {least} as text, Decimal or int, as {name}='1.50', not {shown(value)}"
    if found > MOST:
        return f"{name} must be at most {MOST:,} USD, not {shown(value)}"
    return ""


def amount(value: str | Decimal | int) -> Decimal:
    """Return an amount for which :func:`amount_fault` found nothing."""
    found = _decimal(value)
    assert found is not None
    return found


def cost_of(value: Any, what: str) -> Decimal:
    """Return what a call costs. :raises UsageError: if that is no amount of 0 or more."""
    found = None if isinstance(value, float) else _decimal(value)
    if found is None or not found.is_finite() or found < 0:
        raise UsageError(f"{what} is USD of 0 or more, as a Decimal, not {shown(value)}")
    return found


def counted(value: Decimal) -> int:
    """Return an amount in units of 1e-12 USD, rounded up: no call is cheaper than it is. What is more than
    :data:`MOST` is more than any limit, and counts as little more than that: stores have 64 bits.
    """
    if value > MOST:
        return int(MOST.scaleb(DIGITS, EXACT)) + 1
    return int(value.scaleb(DIGITS, EXACT).to_integral_value(ROUND_CEILING, EXACT))


def costs_in(usage: Mapping[str, Any]) -> Decimal | None:
    """Return what a report of the kind ``usage`` says that its request has cost; None if it does not know that.

    Users report, too: what is no amount is not known.
    """
    cost = usage.get("cost")
    try:
        return None if cost is None else cost_of(cost, "the cost in a report of usage")
    except UsageError:
        return None


def counted_in(usage: Any) -> int:
    """Return what a report of the kind ``usage`` says that budgets have counted for its request, in units.

    That is its cost, unless it says another amount: of a request that broke off, all that was reserved.
    """
    found = costs_in({"cost": usage.get("counted")})
    found = costs_in(usage) if found is None else found
    return 0 if found is None else counted(found)


def _decimal(value: object) -> Decimal | None:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str) or is_int(value):
        try:
            return Decimal(value)  # type: ignore[arg-type]
        except InvalidOperation:
            return None
    return None


def _long(value: float) -> str:
    text = str(Decimal(value))
    return text if len(text) <= 24 else f"{text[:24]}..."


__all__ = ["MOST", "amount", "amount_fault", "cost_of", "costs_in", "counted", "counted_in"]
