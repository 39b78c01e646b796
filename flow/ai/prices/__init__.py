"""What models cost: :class:`Rates`, a user's :class:`PriceTable`, and the data of genai-prices where it says nothing.

A price comes from the first of these that says it: the :class:`flow.ai.Model`, the table of the process
(:func:`prices`), genai-prices. One that none says is not known: what it would take costs None, never 0.
"""

from __future__ import annotations

from types import TracebackType

from flow.ai.prices.rates import Rates, Tier, price_of, usd
from flow.ai.prices.table import Entry, PriceTable, Source


class Before:
    """Puts back what :func:`prices` has replaced, where a ``with`` ends; without one, nothing is put back."""

    __slots__ = ("_table",)

    def __init__(self, table: PriceTable | None) -> None:
        self._table = table

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        global _table
        _table = self._table


_table: PriceTable | None = None
"""The table of the process."""


def prices(source: Source | PriceTable | None) -> Before:
    """Take a user's own prices for this process, in place of those that were taken before.

    ``with ai.prices(...):`` takes them until its end, for tests. Requests that go on keep the prices that they have
    begun with.

    :param source: a TOML file, a mapping or a :class:`PriceTable`; None goes without.
    :raises ConfigError: listing all that is wrong, each with ``file:line``; the prices stay as they were.
    """
    global _table
    table = source if source is None or isinstance(source, PriceTable) else PriceTable(source)
    before = Before(_table)
    _table = table
    return before


def table_entry(label: str) -> Entry | None:
    """Return what the table of the process says of ``provider:model``, if it does."""
    return None if _table is None else _table.find(label)


__all__ = ["PriceTable", "Rates", "Tier", "price_of", "prices", "table_entry", "usd"]
