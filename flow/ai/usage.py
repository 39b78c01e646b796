"""What the models of a run took: :func:`usage`. It is read from what the nodes have reported."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec

from flow.errors import RunError, UsageError, shown
from flow.reprs import counted
from flow.run.reports import all_reports
from flow.run.result import Result
from flow.usage import EXACT, KIND, NO_USAGE, Usage, outermost, read


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
        one = read(report.value) if report.kind == KIND else None
        if one is None:
            continue
        node, model = outermost(report.path, report.node), label(report.value)
        total += one
        by_node[node] = by_node.get(node, NO_USAGE) + one
        by_model[model] = by_model.get(model, NO_USAGE) + one
    return UsageReport(total, MappingProxyType(by_node), MappingProxyType(by_model))


def summed(values: Iterable[Mapping[str, Any]]) -> Usage:
    """Return the sum of the values of some reports."""
    return sum(filter(None, map(read, values)), NO_USAGE)


def label(value: Mapping[str, Any]) -> str:
    """Return how the model of a report is called: ``openai:gpt-4.1-mini``."""
    provider, model = value.get("provider"), value.get("model")
    return f"{provider}:{model}" if provider else str(model)


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


__all__ = ["UsageReport", "usage"]
