"""The definition of a Dag so far: parallel lists, one entry per node.

A structure of arrays rather than a node object each: adding a node is four appends, and a
million nodes cost no million objects. :class:`flow.Dag` writes it, :mod:`flow.plan.compile`
reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from flow.config import Retry, Timeout
from flow.policy.bind import Admission
from flow.types import MISSING

Needs = tuple[Any, ...] | Mapping[str, Any] | None


class Policy(msgspec.Struct, frozen=True):
    """The options of a node beyond function and dependencies. Nodes without options have no Policy."""

    retry: Retry | None = None
    timeout: Timeout | float | None = None
    thread: bool = False
    continue_on_error: bool = False
    priority: int = 0
    middleware: tuple[Callable[..., Any], ...] = ()
    cost: float | None = None
    fallback: Any = MISSING
    abandon_on_timeout: bool = False
    executor: str | None = None
    admission: Admission | None = None

    @property
    def runs_in(self) -> str | None:
        """Where a sync function runs: "inline", "thread" or the name of an executor; None: as the run's config says.

        Ask this rather than ``thread`` and ``executor``, which are as the user wrote them.
        """
        executor: Any = self.executor
        if self.thread is True:
            return "thread"
        return str.__str__(executor) if executor is not None and issubclass(type(executor), str) else None


PLAIN = Policy()


class Definition:
    """The growing description of a Dag; append-only, so that a compiled prefix stays valid."""

    __slots__ = ("after", "edges", "fns", "middleware", "name", "names", "needs", "policies")

    def __init__(self, name: str, middleware: tuple[Callable[..., Any], ...] = ()) -> None:
        self.name = name
        self.middleware = middleware
        self.names: list[Any] = []
        self.fns: list[Any] = []
        self.needs: list[Needs] = []  # None: infer from the signature
        self.after: list[tuple[Any, ...]] = []
        self.edges: list[tuple[Any, Any]] = []  # added by Dag.edge: (upstream, downstream)
        self.policies: dict[int, Policy] = {}
