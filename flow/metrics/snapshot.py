"""All that was counted until one moment, as plain numbers: what a scrape shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Protocol, TypeAlias

import msgspec

from flow.metrics import names
from flow.metrics.names import COUNTED, OTHER, Kind, Metric
from flow.metrics.tallies import Mark, RouteCounts, Row, Tally, Workflow

Labels: TypeAlias = tuple[str, ...]


class Reading(msgspec.Struct, frozen=True):
    """A number that is read at each scrape."""

    kind: Kind
    help: str
    read: Callable[[], float]


class Snapshot:
    """All that was counted until one moment.

    :ivar values: by metric (a counter or a gauge) and the values of its labels, numbers.
    :ivar rows: by metric (a histogram) and the values of its labels, numbers per bucket, then their sum.
    """

    __slots__ = ("rows", "values")

    def __init__(self) -> None:
        self.values: dict[Metric, dict[Labels, float]] = {one: {} for one in COUNTED if one.kind != "histogram"}
        self.rows: dict[Metric, dict[Labels, Row]] = {one: {} for one in COUNTED if one.kind == "histogram"}


class Counted(Protocol):
    """What has a snapshot to show: :class:`flow.metrics.Counts`."""

    def snapshot(self) -> Snapshot:
        """Return all that has been counted until now."""
        ...

    @property
    def readings(self) -> Mapping[str, Reading]:
        """What is read at each scrape, by name."""
        ...


_BY_MARK: Final[Mapping[str, Metric]] = {
    "executions": names.NODES,
    "errors": names.NODE_ERRORS,
    "retries": names.NODE_RETRIES,
    "fallbacks": names.NODE_FALLBACKS,
    "items": names.NODE_ITEMS,
    "rounds": names.NODE_ROUNDS,
}

WAITS: Final[Mark] = ("waits", "")
"""Counted of nodes that have waited: they have a series in the gauge of those that wait."""


def of_runs(
    workflows: Iterable[Workflow], waiting: Mapping[tuple[str, str], int], resting: Mapping[str, int]
) -> Snapshot:
    """Return what was counted of runs.

    :param waiting: how many nodes wait, by workflow and node. :param resting: how many runs have such nodes.
    """
    found = Snapshot()
    values, rows = found.values, found.rows
    for workflow in workflows:
        name = workflow.name
        values[names.RUNS_NOW][name,] = workflow.going_on
        values[names.RUNS_WAITING][name,] = resting.get(name, 0)
        rows[names.RUN_SECONDS][name,] = list(workflow.seconds)
        for status, number in workflow.ended.items():
            values[names.RUNS][name, status] = number
        for node, row in workflow.rows.items():
            rows[names.NODE_SECONDS][name, node] = list(row)
            values[names.NODES][name, node, "completed"] = sum(row[:-1])
            values[names.NODES][name, node, "failed"] = values[names.NODE_ERRORS][name, node] = 0
        for (provider, model), tally in workflow.models.items():
            _add_model(found, (name, provider, model), tally)
        for node, marks in workflow.marks.items():
            for mark, number in marks.items():
                kind, status = mark
                if mark == WAITS:
                    values[names.NODES_WAITING][name, node] = 0
                else:
                    values[_BY_MARK[kind]][(name, node, status) if status else (name, node)] = number
    gauge = values[names.NODES_WAITING]
    for (name, node), number in waiting.items():
        key = (name, node if (name, node) in gauge else OTHER)
        gauge[key] = gauge.get(key, 0) + number
    return found


def _add_model(found: Snapshot, key: Labels, tally: Tally) -> None:
    values = found.values
    values[names.MODEL_REQUESTS][key] = tally.requests
    values[names.MODEL_UNKNOWN][key] = tally.unknown
    values[names.MODEL_HITS][key] = tally.hits
    found.rows[names.MODEL_SECONDS][key] = list(tally.seconds)
    for kind, number in tally.tokens.items():
        values[names.MODEL_TOKENS][(*key, kind)] = number
    if tally.cost is not None:  # what is not known is not 0
        values[names.MODEL_COST][key] = float(tally.cost)


def add_routes(found: Snapshot, routes: Iterable[RouteCounts]) -> None:
    """Add what was counted of a service's requests."""
    for route in routes:
        found.rows[names.REQUEST_SECONDS][route.route,] = list(route.seconds)
        for status, number in route.statuses.items():
            found.values[names.REQUESTS][route.route, route.method, str(status)] = number
