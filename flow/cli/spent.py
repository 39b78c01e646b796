"""Print what calls of language models took in a stored run: by node and model, and in all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow.cli import report
from flow.cli.terminal import styled
from flow.errors import printable
from flow.metrics.usage import Sums, sums_of
from flow.reprs import counted
from flow.usage import KIND, Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from flow.data.reports import Report


def lines_of(reports: Iterable[Report], most: int | None) -> list[str]:
    """A table of what nodes have reported; nothing if they have not. :param most: lines of it; None is all."""
    found = [one for one in reports if one.kind == KIND]
    by_model: dict[str, Sums] = {}
    for one in found:
        by_model.setdefault(_model_of(one.value), Sums()).count(one.value, one.node, one.path)
    rows = [(node, model, usage) for model, sums in by_model.items() for node, usage in sums.items()]
    if not rows:
        return []
    total = sums_of(found).total
    rows.sort(key=lambda row: (row[2].known_cost, row[2].input_tokens), reverse=True)
    columns = ["node", "model", "requests", "from a cache", "tokens in", "tokens out", "cost (USD)"]
    cached = any(usage.cache_hits for _, _, usage in rows)
    listed = [[printable(node), printable(model), *_cells(usage)] for node, model, usage in rows[:most]]
    table = [row if cached else [*row[:3], *row[4:]] for row in (columns, *listed)]
    lines = [styled(f"language models: {_said(total)}", bold=True), *report.table(table)]
    left = len(rows) - len(listed)
    return [*lines, f"  ... and {counted(left, 'more row')} (--all shows them)"] if left else lines


def as_dict(reports: Iterable[Report]) -> dict[str, Any]:
    """Return the same as plain data: ``{"usage": {"total": ..., "by_node": ...}}``; nothing if there is none."""
    sums = sums_of(reports)
    if not sums:
        return {}
    return {"usage": {"total": _plain(sums.total), "by_node": {node: _plain(one) for node, one in sums.items()}}}


def _plain(usage: Usage) -> dict[str, Any]:
    cost = None if usage.cost is None else f"{usage.cost:f}"
    told = {name: getattr(usage, name) for name in Usage.__struct_fields__}
    return {**told, "cost": cost, "known_cost": f"{usage.known_cost:f}"}


def _model_of(value: Any) -> str:
    if not isinstance(value, dict):
        return ""
    names: Mapping[str, Any] = value
    return ":".join(str(names[name]) for name in ("provider", "model") if names.get(name))


def _cells(usage: Usage) -> list[str]:
    about = "~" if usage.estimated else ""
    into, out = f"{about}{usage.input_tokens:,}", f"{about}{usage.output_tokens:,}"
    into += f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
    out += f" ({usage.reasoning_tokens:,} reasoning)" if usage.reasoning_tokens else ""
    return [f"{usage.requests:,}", f"{usage.cache_hits:,}", into, out, about + _cost(usage)]


def _said(usage: Usage) -> str:
    cost = _cost(usage)
    parts = [
        counted(usage.requests, "request"), f"{usage.input_tokens:,} tokens in", f"{usage.output_tokens:,} out",
        f"cost {cost}" if cost == _UNKNOWN else f"{cost} USD",
    ]  # fmt: skip
    return ", ".join(parts)


def _cost(usage: Usage) -> str:
    if usage.cost is not None:
        return f"{usage.cost:f}"
    return f"over {usage.known_cost:f}" if usage.known_cost else _UNKNOWN


_UNKNOWN = "not known"

__all__ = ["as_dict", "lines_of"]
