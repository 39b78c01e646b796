"""When attempts and items ran, recorded for timelines (``Config(timing=True)`` alone)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from heapq import heappushpop
from typing import Any, Final

from flow.clock import Clock

MAX_ITEMS: Final = 50
"""Items of a map up to which each is drawn; of more, those that failed and the slowest."""

FEW: Final = 5
"""How many of these are named, of each."""


class ItemSpans:
    """Spans of one map's items. Of more than :data:`MAX_ITEMS` only those are kept that are named: O(failed items).

    :ivar calls: by item, each attempt's start, end, and whether it raised; empty once there are too many items.
    :ivar count: items that began; ``first`` and ``last`` are the start of the first and the end of the last one.
    :ivar raised: the last attempt of each item that raised, and has neither been tried again with success nor has
        a fallback.
    :ivar slowest: attempts, as (seconds, item, start, end); a heap.
    """

    __slots__ = ("calls", "count", "first", "last", "raised", "slowest")

    noun = "item"

    def __init__(self) -> None:
        self.calls: dict[int, list[tuple[float, float, bool]]] = {}
        self.count = 0
        self.first = self.last = 0.0
        self.raised: dict[int, tuple[float, float]] = {}
        self.slowest: list[tuple[float, int, float, float]] = []

    def add(self, item: int, attempt: int, start: float, end: float, raised: bool) -> None:
        """Take in one attempt."""
        if attempt == 1:
            self.first = start if self.count == 0 else min(self.first, start)
            self.count += 1
        self.last = max(self.last, end)
        if raised:
            self.raised[item] = (start, end)
        else:
            self.raised.pop(item, None)
        if self.count <= MAX_ITEMS:
            self.calls.setdefault(item, []).append((start, end, raised))
        elif self.calls:
            self.calls.clear()
        entry = (end - start, item, start, end)
        if len(self.slowest) < FEW:
            self.slowest.append(entry)
            self.slowest.sort()
        else:
            heappushpop(self.slowest, entry)

    def label(self, name: str, item: int) -> str:
        """What item ``item`` of the map ``name`` is called."""
        return f"{name}[{item}]"

    def watched(
        self, item: int, attempt: Callable[[], int], call: Callable[..., Any], is_async: bool, clock: Clock
    ) -> Callable[..., Any]:
        """Return ``call``, which is called with ``item``, with each attempt recorded."""

        def watching(*values: Any) -> Any:
            start, number, raised = clock.now(), attempt(), True
            try:
                value = call(*values)
                raised = False
                return value
            finally:
                self.add(item, number, start, clock.now(), raised)

        async def watching_awaiting(*values: Any) -> Any:
            start, number, raised = clock.now(), attempt(), True
            try:
                made: Awaitable[Any] = call(*values)
                value = await made
                raised = False
                return value
            finally:
                self.add(item, number, start, clock.now(), raised)

        return watching_awaiting if is_async else watching


class RoundSpans(ItemSpans):
    """Spans of one loop's rounds, which are numbered from 1."""

    __slots__ = ()

    noun = "round"

    def label(self, name: str, item: int) -> str:
        return f"{name}#{item}"
