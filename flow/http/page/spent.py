"""A table of what calls of language models took in a run."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from flow.draw.text import safe
from flow.http.page.parts import Cell, table
from flow.http.spent import RunUsage
from flow.reprs import counted
from flow.usage import Usage

MAX_NODES: Final = 100
"""Most nodes in the table: those that cost most."""

_COLUMNS: Final = (
    ("node", ""), ("requests", "right"), ("from a cache", "right"), ("tokens in", "right"), ("tokens out", "right"),
    ("cost (USD)", "right"),
)  # fmt: skip


def spent(usage: RunUsage | None) -> str:
    """Return the table, with a line for each node and one for all; nothing if no node has reported anything."""
    if usage is None:
        return ""
    nodes = sorted(usage.by_node.items(), key=lambda one: (one[1].known_cost, one[1].input_tokens), reverse=True)
    rows = [_row(name, one) for name, one in nodes[:MAX_NODES]]
    if len(nodes) > 1:
        rows.append(_row("all", usage.total))
    left = len(nodes) - MAX_NODES
    more = f'<p class="dim">and {counted(left, "more node")}, which cost less</p>' if left > 0 else ""
    return f"<h2>Language models</h2>{table('language models', _COLUMNS, rows)}{more}"


def _row(name: str, usage: Usage) -> list[Cell]:
    about = "about " if usage.estimated else ""
    return [
        Cell(safe(name), is_head=True),
        Cell(f"{usage.requests:,}", "right"),
        Cell(f"{usage.cache_hits:,}" if usage.cache_hits else "", "right"),
        Cell(about + _tokens(usage.input_tokens, usage.cached_tokens, "cached"), "right"),
        Cell(about + _tokens(usage.output_tokens, usage.reasoning_tokens, "reasoning"), "right"),
        Cell(_cost(usage, about), "right"),
    ]


def _tokens(number: int, part: int, of: str) -> str:
    return f"{number:,}" + (f' <span class="dim">({part:,} {of})</span>' if part else "")


def _cost(usage: Usage, about: str) -> str:
    known = f"{about}{_amount(usage.known_cost)}"
    if usage.cost is not None:
        return known
    return f"{known} and more" if usage.known_cost else "not known"


def _amount(cost: Decimal) -> str:
    """Return an amount as text: to the cent, and small ones to three digits."""
    if cost >= 1 or not cost:
        return f"{cost:,.2f}"
    return f"{cost:.{max(2, 2 - cost.adjusted())}f}"


__all__ = ["MAX_NODES", "spent"]
