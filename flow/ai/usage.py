"""What the models of a run took: :func:`usage`. It is read from what the nodes have reported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from types import MappingProxyType
from typing import Any, Final

import msgspec

from flow.ai.prices.rates import EXACT
from flow.errors import RunError, UsageError, shown
from flow.reprs import counted
from flow.run.reports import all_reports
from flow.run.result import Result

KIND: Final = "usage"
"""The kind of the reports (``ctx.report``) that hold what one request took."""

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
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            None if self.cost is None or other.cost is None else EXACT.add(self.cost, other.cost),
            EXACT.add(self.known_cost, other.known_cost),
            self.estimated or other.estimated,
            self.cache_hits + other.cache_hits,
        )


NO_USAGE: Final = Usage()


class UsageReport(msgspec.Struct, frozen=True):
    """What the models of a run took.

    :ivar total: of the whole run. :ivar by_node: by node of the outermost run: what happens within a map, a loop, a Dag
        or an agent counts to the node that it is in. :ivar by_model: by ``"provider:model"``.
    """

    total: Usage
    by_node: Mapping[str, Usage]
    by_model: Mapping[str, Usage]

    def __repr__(self) -> str:
        lines = [f"total: {_told(self.total)}", *[f"  {name}: {_told(one)}" for name, one in self.by_node.items()]]
        return "\n".join([*lines, *[f"  {name}: {_told(one)}" for name, one in self.by_model.items()]])


def usage(result: Any) -> UsageReport:
    """Return what the models of a run took, failed attempts and cancelled requests included. O(requests).

    :param result: a :class:`flow.Result`; a :class:`flow.RunError`, for a run that has failed or was cancelled; or a
        :class:`flow.RunHandle`, for what a run has taken so far.
    :raises UsageError: for anything else.
    """
    found = result.result if isinstance(result, RunError) else result
    from flow.run.handle import RunHandle  # here: it loads much, and whoever has one has loaded it

    if isinstance(found, RunHandle):
        return usage_of(all_reports(found._entered()[0]) if found._result is None else found._result.reports)
    if not isinstance(found, Result):
        raise UsageError(f"ai.usage takes a flow.Result, a flow.RunError or a flow.RunHandle, not {shown(result)}")
    return usage_of(found.reports)


def usage_of(reports: Iterable[Any]) -> UsageReport:
    """Return what is told by reports of all kinds, of one run. O(reports)."""
    total, by_node, by_model = NO_USAGE, dict[str, Usage](), dict[str, Usage]()
    for report in reports:
        if report.kind != KIND or not isinstance(report.value, Mapping):
            continue
        one, node, model = read(report.value), outermost(report.path, report.node), label(report.value)
        total += one
        by_node[node] = by_node.get(node, NO_USAGE) + one
        by_model[model] = by_model.get(model, NO_USAGE) + one
    return UsageReport(total, MappingProxyType(by_node), MappingProxyType(by_model))


def summed(values: Iterable[Mapping[str, Any]]) -> Usage:
    """Return the sum of the values of some reports."""
    return sum(map(read, values), NO_USAGE)


def read(value: Mapping[str, Any]) -> Usage:
    """Return what the value of one report says. What is missing, or no number, is 0; a cost like that is not known."""
    cost = _cost(value.get("cost"))
    return Usage(
        requests=_number(value.get("requests")),
        input_tokens=_number(value.get("input_tokens")),
        output_tokens=_number(value.get("output_tokens")),
        cached_tokens=_number(value.get("cached_tokens")),
        reasoning_tokens=_number(value.get("reasoning_tokens")),
        cost=cost,
        known_cost=Decimal(0) if cost is None else cost,
        estimated=value.get("estimated") is True,
        cache_hits=int(value.get("cached") is True),
    )


def label(value: Mapping[str, Any]) -> str:
    """Return how the model of a report is called: ``openai:gpt-4.1-mini``."""
    provider, model = value.get("provider"), value.get("model")
    return f"{provider}:{model}" if provider else str(model)


def outermost(path: tuple[str, ...], node: str) -> str:
    """Return the node of the outermost run that something at this path is in."""
    return _WITHIN.sub("", path[0]) if path else node


def _number(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _cost(value: Any) -> Decimal | None:
    try:
        cost = Decimal(value) if isinstance(value, (str, int)) else None
    except InvalidOperation:
        return None
    return cost if cost is not None and cost.is_finite() else None


def _usd(amount: Decimal) -> str:
    return f"{amount.normalize(EXACT):f}"


def _told(one: Usage) -> str:
    parts = [counted(one.requests, "request"), f"{one.input_tokens:,} tokens in", f"{one.output_tokens:,} out"]
    if one.cache_hits:
        parts.append(counted(one.cache_hits, "cache hit"))
    parts.append(
        f"{_usd(one.cost)} USD" if one.cost is not None else f"cost not known (known: {_usd(one.known_cost)} USD)"
    )
    return ", ".join(parts) + (" (estimated)" if one.estimated else "")


__all__ = ["Usage", "UsageReport", "usage"]
