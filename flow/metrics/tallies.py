"""The arrays that are counted into: of a workflow, of its nodes, and of the service's routes.

Who writes to the arrays holds the lock of the :class:`flow.metrics.Counts` that has them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from decimal import Decimal
from threading import Lock
from typing import Final, TypeAlias

from flow.metrics.names import API_BOUNDS, MODEL_BOUNDS, OTHER, RUN_BOUNDS

Row: TypeAlias = list[float]
"""A histogram: how many per bucket, those above the last bound, and the sum of what was seen."""

BATCH: Final = 512
"""Events that wait for being added to the arrays, at most (of each thread that adds some, one more)."""

PER_HISTOGRAM: Final = len(RUN_BOUNDS) + 3
"""Time series of a histogram of runs or nodes: its buckets, that without a bound, the sum and the number."""

TOKENS: Final = ("input", "output", "cached", "reasoning")
"""Kinds of tokens."""

PER_MODEL: Final = len(MODEL_BOUNDS) + 3 + len(TOKENS) + 4
"""Time series of a model in a workflow: a histogram, tokens by kind, requests, cost, those unknown, cache hits."""

Mark: TypeAlias = tuple[str, str]
"""What is counted of a node, and its status: ``("executions", "failed")``, ``("retries", "")``."""

ENDINGS: Final = ("completed", "failed")
"""How runs end that every workflow shows, with zeros as well."""

EXPECTED: Final[tuple[Mark, ...]] = (("executions", "failed"), ("errors", ""))
"""What every node shows, with zeros as well, besides its durations and how often it has completed."""


def new_row(bounds: Sequence[float] = RUN_BOUNDS) -> Row:
    """Make a histogram in which there is nothing."""
    return [0.0] * (len(bounds) + 2)


class Rows(dict[str, Row]):
    """The histograms of a workflow's nodes, by name. A missing one is made, or is that of the other nodes."""

    __slots__ = ("_may",)

    def __init__(self, may: Callable[[int], bool]) -> None:
        self._may = may

    def __missing__(self, node: str) -> Row:
        if node != OTHER and not self._may(PER_HISTOGRAM + 1 + len(EXPECTED)):
            return self[OTHER]
        row = self[node] = new_row()
        return row


class Tally:
    """What is counted of one language model. ``cost``: USD, exact; None as long as none is known."""

    __slots__ = ("cost", "hits", "requests", "seconds", "tokens", "unknown")

    def __init__(self) -> None:
        self.requests = self.unknown = self.hits = 0
        self.cost: Decimal | None = None
        self.tokens = dict.fromkeys(TOKENS, 0)
        self.seconds = new_row(MODEL_BOUNDS)

    def took(self, seconds: float) -> None:
        """Count a request that took ``seconds``."""
        self.seconds[bisect_left(MODEL_BOUNDS, seconds)] += 1
        self.seconds[-1] += seconds


class Models(dict[tuple[str, str], Tally]):
    """What is counted of the language models of a workflow, by provider and model."""

    __slots__ = ("_may",)

    def __init__(self, may: Callable[[int], bool]) -> None:
        self._may = may

    def of(self, provider: str, model: str, most: int) -> Tally:
        """Return what counts a model. Further ones than ``most``, or than the bound of all time series, are one."""
        key = (provider, model)
        found = self.get(key)
        if found is None:
            other = (OTHER, OTHER)
            if key != other and (len(self) >= most or not self._may(PER_MODEL)):
                return self.of(*other, most)
            found = self[key] = Tally()
        return found


class Workflow:
    """What is counted of the runs of one name.

    :ivar rows: the durations of its nodes. :ivar marks: what else is counted of them.
    :ivar models: what is counted of the language models that its nodes ask.
    """

    __slots__ = ("_may", "begun", "ended", "marks", "models", "name", "rows", "seconds")

    def __init__(self, name: str, may: Callable[[int], bool]) -> None:
        self.name = name
        self._may = may
        self.begun = 0
        self.ended: dict[str, int] = {**dict.fromkeys(ENDINGS, 0)}
        self.seconds = new_row()
        self.rows = Rows(may)
        self.marks: dict[str, dict[Mark, int]] = {}
        self.models = Models(may)

    @property
    def going_on(self) -> int:
        """How many of its runs have begun and not ended."""
        return self.begun - sum(self.ended.values())

    def add(self, node: str, mark: Mark) -> None:
        """Count one more of ``mark``; if there may be no more series, with the other nodes."""
        marks = self.marks.get(node)
        if marks is None or mark not in marks:
            shown = mark in EXPECTED and node in self.rows
            if node != OTHER and not shown and not self._may(1):
                return self.add(OTHER, mark)
            marks = self.marks.setdefault(node, {})
            marks[mark] = 0
        marks[mark] += 1
        return None


class RouteCounts:
    """Counts the requests of one route and method. (:meth:`Counts.route` makes it.)

    :ivar statuses: how many were answered with which status. :ivar seconds: their durations, with those of the other
        methods of the route.
    """

    __slots__ = ("_came", "_lock", "method", "route", "seconds", "statuses")

    def __init__(self, route: str, method: str, seconds: Row, lock: Lock) -> None:
        self.route = route
        self.method = method
        self.seconds = seconds
        self.statuses: dict[int, int] = {}
        self._came: list[tuple[int, float]] = []
        self._lock = lock

    def done(self, status: int, seconds: float) -> None:
        """Count a request that was answered with ``status`` after ``seconds``. From any thread. O(1)."""
        came = self._came
        came.append((status, seconds))
        if len(came) >= BATCH and self._lock.acquire(blocking=False):
            try:
                self.fold()
            finally:
                self._lock.release()

    def fold(self) -> None:
        """Add what has come to the arrays. The caller holds the lock."""
        came, row, statuses = self._came, self.seconds, self.statuses
        batch = came[:]
        del came[: len(batch)]
        for status, seconds in batch:
            row[bisect_left(API_BOUNDS, seconds)] += 1
            row[-1] += seconds
            statuses[status] = statuses.get(status, 0) + 1
