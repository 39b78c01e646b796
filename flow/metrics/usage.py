"""What the nodes of a run report of calls of language models (:mod:`flow.usage`), in sum and by model.

A report is plain data, from whichever code: what is missing or no number counts as nothing, and nothing here raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from flow.metrics.names import OTHER
from flow.metrics.tallies import Models
from flow.usage import EXACT, KIND, NO_USAGE, TOKENS, TOO_MANY, Usage, outermost, read

MOST_MODELS: Final = 20
"""Models of one workflow that have labels of their own; further ones are ``other``."""

_LONGEST: Final = 100
"""Characters of the name of a provider or model."""


class Sums(dict[str, Usage]):
    """What the nodes of a run took, by name, in the order of their first report."""

    __slots__ = ()

    def count(self, value: Any, node: str, path: tuple[str, ...] = ()) -> None:
        """Add what one report says. O(1). :param path: leads to the node through the runs around it, if there are any.

        What happens within a map, a loop or a run within the run counts to the node of the outermost run.
        """
        usage = read(value)
        if usage is not None:
            self._add(outermost(path, node), usage)

    def add(self, others: Mapping[str, Usage]) -> None:
        """Add the sums of others. O(nodes)."""
        for node, usage in others.items():
            self._add(node, usage)

    def _add(self, node: str, usage: Usage) -> None:
        self[node] = self.get(node, NO_USAGE) + usage

    @property
    def total(self) -> Usage:
        """The sum of all nodes. O(nodes)."""
        return sum(list(self.values()), NO_USAGE)  # (a list: another thread may add to them)


def sums_of(reports: Iterable[Any]) -> Sums:
    """Return what reports of all kinds say in sum. O(reports).

    :param reports: they have the fields of :class:`flow.run.reports.Report`.
    """
    sums = Sums()
    for report in reports:
        if report.kind == KIND:
            sums.count(report.value, report.node, report.path)
    return sums


def count_in(models: Models, value: Any) -> None:
    """Count what one report says, under its provider and model. The caller holds the lock of the arrays."""
    usage = read(value)
    if usage is None:
        return
    tally = models.of(_label(value.get("provider")), _label(value.get("model")), MOST_MODELS)
    tally.requests += usage.requests
    tally.hits += usage.cache_hits
    if usage.cost is None:
        tally.unknown += usage.requests
    else:
        tally.cost = usage.cost if tally.cost is None else EXACT.add(tally.cost, usage.cost)
    for kind, number in zip(tally.tokens, (getattr(usage, name) for name in TOKENS), strict=True):
        tally.tokens[kind] += number
    if usage.requests:
        tally.took(_seconds(value.get("seconds")))


def _seconds(found: Any) -> float:
    return float(found) if type(found) in (int, float) and 0 < found < TOO_MANY else 0.0


def _label(found: Any) -> str:
    if not isinstance(found, str) or not found:
        return OTHER
    return found[:_LONGEST].encode("utf-8", "replace").decode()  # half surrogate pairs are no text of /metrics


__all__ = ["MOST_MODELS", "Sums", "count_in", "sums_of"]
