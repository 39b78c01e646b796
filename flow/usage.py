"""What calls of language models took, as nodes report it (``ctx.report("usage", {...})``): :class:`Usage`.

A report is plain data, from whichever code: what is missing or no number counts as nothing, and nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Context, Decimal, InvalidOperation
from typing import Any, Final

import msgspec

KIND: Final = "usage"
"""The kind of the reports (``ctx.report``) that hold what one request took."""

TOKENS: Final = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
"""What a report calls the numbers of tokens."""

EXACT: Final = Context(prec=200)
"""Digits enough for all sums of costs, and for products of prices (30 digits) and tokens (far below 10 ** 100).

A float holds no price exactly (0.1 is none), and errors of floats add up over the requests of a budget.
"""

LONGEST_COST: Final = 100
"""Characters of a cost that are read."""

TOO_MANY: Final = 2**53
"""Numbers from here on are no counts."""

MOST: Final = 2**63 - 1
"""The largest sum: what stores, metrics and other languages can hold."""

_WITHIN: Final = re.compile(r"(\[\d+\]|#\d+|\+\d+)+$")
"""What follows the name of a node in a path: the item of a map, the round of a loop, the number of a run."""


class Usage(msgspec.Struct, frozen=True):
    """What some requests took.

    :ivar requests: that were sent, whether or not they were answered.
    :ivar input_tokens: all of them, ``cached_tokens`` (read from the provider's cache) included.
    :ivar output_tokens: all of them, ``reasoning_tokens`` included.
    :ivar cost: in USD; None if the cost of one of them is not known.
    :ivar known_cost: in USD, of those whose cost is known.
    :ivar estimated: some of the numbers are estimates: no provider has said them.
    :ivar cache_hits: answers that came from an :class:`flow.ai.Cache`. They are no requests, and cost nothing.
    """

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0
    cost: Decimal | None = Decimal(0)
    known_cost: Decimal = Decimal(0)
    estimated: bool = False
    cache_hits: int = 0

    @property
    def total_tokens(self) -> int:
        """Those of input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(
            min(self.requests + other.requests, MOST),
            min(self.input_tokens + other.input_tokens, MOST),
            min(self.output_tokens + other.output_tokens, MOST),
            min(self.cached_tokens + other.cached_tokens, MOST),
            min(self.reasoning_tokens + other.reasoning_tokens, MOST),
            None if self.cost is None or other.cost is None else EXACT.add(self.cost, other.cost),
            EXACT.add(self.known_cost, other.known_cost),
            self.estimated or other.estimated,
            self.cache_hits + other.cache_hits,
        )


NO_USAGE: Final = Usage()


def read(value: Any) -> Usage | None:
    """Return what the value of one report says; None if it is no mapping. O(1)."""
    if not isinstance(value, Mapping):
        return None
    said, cost = value.get, _cost(value.get("cost"))
    known, hits = Decimal(0) if cost is None else cost, int(said("cached") is True)
    into, out, cached, reasoning = [_count(said(name)) for name in TOKENS]
    requests, estimated = _count(said("requests")), said("estimated") is True
    return Usage(requests, into, out, cached, reasoning, cost, known, estimated, hits)


def outermost(path: tuple[str, ...], node: str) -> str:
    """Return the node of the outermost run that something at this path is in: within a map, a loop, a run."""
    return _WITHIN.sub("", path[0]) if path else node


def _count(found: Any) -> int:
    return found if type(found) is int and 0 < found < TOO_MANY else 0


def _cost(found: Any) -> Decimal | None:
    """Return a cost; None if it is no number of USD of at least 0. (A float stands for its shortest text.)"""
    if type(found) not in (str, int, float):
        return None
    try:
        cost = Decimal(str(found)[:LONGEST_COST])
    except (InvalidOperation, ValueError):  # an int of very many digits has no text
        return None
    exponent = cost.as_tuple().exponent
    fits = isinstance(exponent, int) and exponent >= -LONGEST_COST  # else it would be written as very many digits
    return cost if fits and 0 <= cost < TOO_MANY else None


__all__ = ["EXACT", "KIND", "NO_USAGE", "TOKENS", "TOO_MANY", "Usage", "outermost", "read"]
