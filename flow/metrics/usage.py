"""What calls of language models took, as nodes report it (``ctx.report("usage", {...})``): :class:`Usage`, their sum.

A report is plain data, from whichever code: what is missing or no number counts as nothing, and nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

import msgspec

from flow.metrics.names import OTHER
from flow.metrics.tallies import Models

KIND: Final = "usage"
"""The kind of the reports that are counted."""

MOST_MODELS: Final = 20
"""Models of one workflow that have labels of their own; further ones are ``other``."""

_LONGEST: Final = 100
"""Characters of the name of a provider or model, and of a cost."""

_MOST: Final = 2**53
"""Numbers from here on are no counts."""

_TOKENS: Final = ("input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens")
_WITHIN: Final = re.compile(r"(\[\d+\]|#\d+|\+\d+)+$")
"""What follows the name of a node in a path: the item of a map, the round of a loop, the number of a run."""


class Usage(msgspec.Struct):
    """What some requests took, in sum.

    :ivar requests: to providers; an answer from a cache is none.
    :ivar input_tokens: all, those from the provider's cache (``cached_tokens``) included.
    :ivar output_tokens: all, those of reasoning included.
    :ivar cost: USD, exact; None if that of one of them is not known. :ivar known_cost: of those of which it is.
    :ivar estimated: some of the tokens were counted or estimated, not told by the provider.
    :ivar cache_hits: answers from a cache.
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

    def add(self, other: Usage) -> None:
        """Add another one to this. O(1)."""
        self.requests += other.requests
        self.input_tokens += other.input_tokens
        self.output_tokens += other.output_tokens
        self.cached_tokens += other.cached_tokens
        self.reasoning_tokens += other.reasoning_tokens
        self.cost = None if self.cost is None or other.cost is None else self.cost + other.cost
        self.known_cost += other.known_cost
        self.estimated = self.estimated or other.estimated
        self.cache_hits += other.cache_hits


class Sums(dict[str, Usage]):
    """What the nodes of a run took, by name, in the order of their first report."""

    __slots__ = ()

    def count(self, value: Any, node: str, path: tuple[str, ...] = ()) -> None:
        """Add what one report says. O(1). :param path: leads to the node through the runs around it, if there are any.

        What happens within a map, a loop or a run within the run counts to the node of the outermost run.
        """
        usage = usage_of(value)
        if usage is not None:
            self._add(_WITHIN.sub("", path[0]) if path else node, usage)

    def add(self, others: Mapping[str, Usage]) -> None:
        """Add the sums of others. O(nodes)."""
        for node, usage in others.items():
            self._add(node, usage)

    def _add(self, node: str, usage: Usage) -> None:
        self.setdefault(node, Usage()).add(usage)

    @property
    def total(self) -> Usage:
        """The sum of all nodes. O(nodes)."""
        total = Usage()
        for usage in list(self.values()):  # another thread may add to them
            total.add(usage)
        return total


def sums_of(reports: Iterable[Any]) -> Sums:
    """Return what reports of all kinds say in sum. O(reports).

    :param reports: they have the fields of :class:`flow.run.reports.Report`.
    """
    sums = Sums()
    for report in reports:
        if report.kind == KIND:
            sums.count(report.value, report.node, report.path)
    return sums


def usage_of(value: Any) -> Usage | None:
    """Return what one report says; None if it is no mapping. O(1)."""
    if not isinstance(value, Mapping):
        return None
    read, cost = value.get, _cost(value.get("cost"))
    known, hits = Decimal(0) if cost is None else cost, int(read("cached") is True)
    into, out, cached, reasoning = [_count(read(name)) for name in _TOKENS]
    requests, estimated = _count(read("requests")), read("estimated") is True
    return Usage(requests, into, out, cached, reasoning, cost, known, estimated, hits)


def count_in(models: Models, value: Any) -> None:
    """Count what one report says, under its provider and model. The caller holds the lock of the arrays."""
    usage = usage_of(value)
    if usage is None:
        return
    tally = models.of(_label(value.get("provider")), _label(value.get("model")), MOST_MODELS)
    tally.requests += usage.requests
    tally.hits += usage.cache_hits
    if usage.cost is None:
        tally.unknown += usage.requests
    else:
        tally.cost = usage.cost if tally.cost is None else tally.cost + usage.cost
    for kind, number in zip(tally.tokens, (getattr(usage, name) for name in _TOKENS), strict=True):
        tally.tokens[kind] += number
    if usage.requests:
        tally.took(_seconds(value.get("seconds")))


def _count(found: Any) -> int:
    return found if type(found) is int and 0 < found < _MOST else 0


def _cost(found: Any) -> Decimal | None:
    """Return a cost; None if it is no number of USD of at least 0. (A float stands for its shortest text.)"""
    if type(found) not in (str, int, float):
        return None
    try:
        cost = Decimal(str(found)[:_LONGEST])
    except (InvalidOperation, ValueError):  # an int of very many digits has no text
        return None
    return cost if cost.is_finite() and 0 <= cost < _MOST else None


def _seconds(found: Any) -> float:
    return float(found) if type(found) in (int, float) and 0 < found < _MOST else 0.0


def _label(found: Any) -> str:
    if not isinstance(found, str) or not found:
        return OTHER
    return found[:_LONGEST].encode("utf-8", "replace").decode()  # half surrogate pairs are no text of /metrics


__all__ = ["KIND", "MOST_MODELS", "Sums", "Usage", "count_in", "sums_of", "usage_of"]
