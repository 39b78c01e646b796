"""For tests of code that uses `flow`: a Context made by hand, a clock without waiting, and what stores must do."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import datetime
from heapq import heapify, heappush
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from flow.clock import SYSTEM_CLOCK, Clock, epoch_of
from flow.data.context import Context, Scope
from flow.data.emissions import Emission
from flow.data.reports import Report
from flow.data.standalone import Standalone
from flow.data.store import WorkflowData
from flow.data.system import dated
from flow.errors import UsageError, shown
from flow.exports import at_first_use, only

if TYPE_CHECKING:
    from flow.store.codec.fidelity import roundtrip
    from flow.store.conformance import store_suite
else:
    __getattr__ = at_first_use(
        "flow.testing", {"roundtrip": "flow.store.codec.fidelity", "store_suite": "flow.store.conformance"}
    )


def context(
    *,
    run_id: str = "test",
    node: str = "node",
    attempt: int = 1,
    inputs: Mapping[str, Any] | None = None,
    data: WorkflowData | None = None,
    item: Any = None,
    index: int | None = None,
    workflow: str = "test",
    clock: Clock = SYSTEM_CLOCK,
) -> Context:
    """Make a :class:`flow.Context` by hand, to call a node's function with.

    :param data: the store behind ``ctx.data``; a new one by default. With an ``item`` or ``index`` the context
        is a child, like that of an item of a map: it writes to an overlay, and its published values
        appear after ``parent.gather([ctx])``.
    :param workflow: the name of the Dag, as ``ctx.system`` has it.
    :param clock: by which ``ctx.system`` has its dates, and actions sleep; it starts now.
    """
    epoch, began = epoch_of(clock), clock.now()

    def dates() -> tuple[datetime, datetime]:
        return dated(epoch + began), dated(epoch + clock.now())

    shared = Standalone(data or WorkflowData(), workflow, dates, clock=clock)
    scope = Scope(run_id, node, MappingProxyType(dict(inputs or {})), shared)
    mine = Context(scope, attempt)
    if item is None and index is None:
        return mine
    scope.published = {}  # as that of a map
    return Context(scope, attempt, item, index, mine)


def emitted(ctx: Context) -> list[Emission]:
    """Return what was emitted by a Context that :func:`context` has made, and by its children, in order.

    Each has the fields of a :class:`flow.events.NodeEmitted`: ``node, key, value, append, offset, index``.

    :raises UsageError: if ``ctx`` belongs to a run: observers get what is emitted there.
    """
    shared = ctx._scope.shared if isinstance(ctx, Context) else None
    if not isinstance(shared, Standalone):
        raise UsageError(
            f"emitted takes a Context that flow.testing.context() has made, not {shown(ctx)}: "
            "in a run, observers get what is emitted"
        )
    return list(shared.emissions)


def reported(ctx: Context) -> list[Report]:
    """Return what was reported by a Context that :func:`context` has made, and by its children, in order.

    Each has the fields of a report of a run: ``kind, value, node, path, index, attempt, at``.

    :raises UsageError: if ``ctx`` belongs to a run: its Result has what is reported there.
    """
    shared = ctx._scope.shared if isinstance(ctx, Context) else None
    if not isinstance(shared, Standalone):
        raise UsageError(
            f"reported takes a Context that flow.testing.context() has made, not {shown(ctx)}: "
            "in a run, Result.reports has what is reported"
        )
    return list(shared.reports.all())


class FakeClock:
    """A :class:`flow.clock.Clock` whose sleeping returns at once and moves its own time instead.

    >>> clock = FakeClock()
    >>> config = flow.Config(clock=clock)           # retry delays cost nothing now
    >>> flow.run(dag, config=config); clock.slept   # the delays, in order
    [0.1, 0.2]

    On an event loop, sleepers wake one by one, in the order of their due times, and time moves only when no
    task is ready to go on, no node is ready to start and no callback is queued. So a test does not depend on the
    speed of the machine. The clock does not wait for real time: a thread, a socket, a real sleep. Time limits on
    a loop are the loop's own and stay real; runs without a loop use this clock for their limits.

    :param start: its time at first, in seconds.
    :param epoch: the Unix time of its zero, in seconds, by which ``ctx.system`` has its dates: 1970 unless given.
    :ivar slept: every delay asked for, in seconds, in order.
    """

    def __init__(self, start: float = 0.0, *, epoch: float = 0.0) -> None:
        self.time = start
        self.epoch = epoch
        self.slept: list[float] = []
        self._due: list[tuple[float, int]] = []  # a heap: when each sleeper is to wake, and its number
        self._told: dict[tuple[float, int], Any] = {}  # the event by which a sleeper learns that it is the first
        self._numbers = count()
        self._moves = 0

    def now(self) -> float:
        """Return the present fake time."""
        return self.time

    def sleep(self, seconds: float) -> None:
        """Move time by ``seconds``."""
        self.slept.append(seconds)
        self.time += seconds

    async def wait(self, seconds: float) -> None:
        """Suspend until fake time has moved by ``seconds``. O(sleepers).

        :raises UsageError: if a task polls, so that time can never move (asyncio; on trio it stands still).
        """
        from anyio import Event

        self.slept.append(seconds)
        mine = (self.time + seconds, next(self._numbers))
        heappush(self._due, mine)
        try:
            while True:
                if self._due[0] != mine:
                    told = self._told[mine] = Event()
                    await told.wait()
                    continue
                moves = self._moves
                await _all_else_waits()
                if self._due[0] == mine and self._moves == moves:  # none that came later was to wake before
                    self._moves += 1
                    self.time = max(self.time, mine[0])
                    return
        finally:
            self._due.remove(mine)
            heapify(self._due)
            self._told.pop(mine, None)
            if self._due and self._due[0] in self._told:
                self._told.pop(self._due[0]).set()


# -- when nothing else can run ---------------------------------------------------------------

IDLE_TURNS = 8
"""Turns in which no task may have gone on, on a loop that does not show which callbacks it has queued."""

PATIENCE = 100_000
"""Turns after which a sleeper gives up. Nodes that compute for minutes, and let the loop turn, take fewer."""

_watching: dict[Any, int] = {}
"""How many tasks of a loop are in :func:`_all_else_waits`: they do not wait for each other."""


async def _all_else_waits() -> None:
    """Return as soon as nothing on the event loop can go on but those that have called this."""
    asyncio = sys.modules.get("asyncio")
    try:
        loop = None if asyncio is None or asyncio.current_task() is None else asyncio.get_running_loop()
    except RuntimeError:
        loop = None
    if asyncio is None or loop is None:
        from anyio import wait_all_tasks_blocked

        await wait_all_tasks_blocked()  # trio's own, and exact
        return
    _watching[loop] = _watching.get(loop, 0) + 1
    waits: dict[Any, Any] = {}
    try:
        for turn in range(PATIENCE):
            await asyncio.sleep(0)  # in a turn the loop looks at sockets and timers as well
            if hasattr(loop, "_ready"):  # asyncio's own loops
                if len(loop._ready) < _watching[loop]:
                    return
            elif turn % IDLE_TURNS == 0:  # all tasks are to wait, and for the same as some turns ago
                before, waits = waits, {t: getattr(t, "_fut_waiter", None) for t in asyncio.all_tasks(loop)}
                able = sum(waiter is None or waiter.done() for waiter in waits.values())
                if able <= _watching[loop] and waits == before:
                    return
    finally:
        _watching[loop] -= 1
        if not _watching[loop]:
            del _watching[loop]
    raise UsageError(
        f"a FakeClock's time cannot move: in {PATIENCE:,} turns of the event loop there was always something ready to "
        "go on. Does a task poll, as 'while ...: await sleep(0)' does? Let it wait for an event, or on the clock"
    )


__all__ = ["Emission", "FakeClock", "Report", "context", "emitted", "reported", "roundtrip", "store_suite"]
__dir__ = only(__all__)
