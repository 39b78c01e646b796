"""For tests of code that uses `flow`: a Context made by hand, and time that passes without waiting."""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heapify, heappush
from types import MappingProxyType
from typing import Any

from flow.data.context import Context, Scope
from flow.data.store import WorkflowData


def context(
    *,
    run_id: str = "test",
    node: str = "node",
    attempt: int = 1,
    inputs: Mapping[str, Any] | None = None,
    data: WorkflowData | None = None,
    item: Any = None,
    index: int | None = None,
) -> Context:
    """Make a :class:`flow.Context` by hand, to call a node's function with.

    :param data: the store behind ``ctx.data``; a new one by default. With an ``item`` or ``index`` the context
        is a child, as an item of a map gets: it writes to an overlay, and what it publishes can be
        looked at after ``parent.gather([ctx])``.
    """
    scope = Scope(run_id, node, MappingProxyType(dict(inputs or {})), _Shared(data or WorkflowData()))
    mine = Context(scope, attempt)
    return mine if item is None and index is None else Context(scope, attempt, item, index, mine)


class _Shared:
    """Stands for the run."""

    def __init__(self, data: WorkflowData) -> None:
        self.data = data


class FakeClock:
    """A :class:`flow.Clock` whose sleeping returns at once and moves its own time instead.

    >>> clock = FakeClock()
    >>> config = flow.Config(clock=clock)           # retry delays cost nothing now
    >>> flow.run(dag, config=config); clock.slept   # the delays, in order
    [0.1, 0.2]

    On an event loop, sleepers wake in the order of their due times, once nothing else has been
    runnable for some turns of the loop. Time limits there are the event loop's own and stay real;
    those of runs without a loop go by this clock.

    :ivar slept: every delay asked for, in seconds, in order.
    """

    IDLE_TURNS = 8
    """Turns of the event loop a sleeper waits for others to start sleeping before time moves."""

    def __init__(self, start: float = 0.0) -> None:
        self.time = start
        self.slept: list[float] = []
        self._due: list[tuple[float, int]] = []

    def now(self) -> float:
        """Return the present fake time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Move time by ``seconds``."""
        self.slept.append(seconds)
        self.time += seconds

    async def wait(self, seconds: float) -> None:
        """Suspend until fake time has moved by ``seconds``."""
        from anyio.lowlevel import checkpoint

        self.slept.append(seconds)
        mine = (self.time + seconds, len(self.slept))
        heappush(self._due, mine)
        try:
            while True:
                for _ in range(self.IDLE_TURNS):
                    await checkpoint()
                if self._due[0] == mine:
                    self.time = max(self.time, mine[0])
                    return
        finally:
            self._due.remove(mine)
            heapify(self._due)
