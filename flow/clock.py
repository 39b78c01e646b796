"""The time of a run: :class:`Clock`, and the machine's own clock."""

from __future__ import annotations

import sys
import time
from typing import Final, Protocol, runtime_checkable

from flow.exports import only


@runtime_checkable
class Clock(Protocol):
    """The clock of a run, for retry delays and durations. See :class:`flow.testing.FakeClock`.

    A clock may have an attribute ``epoch`` as well: the Unix time of its zero, in seconds, by which ``ctx.system``
    has its dates. For a clock without one, the machine's date says when its zero was.
    """

    def now(self) -> float:
        """Seconds on a monotonic scale."""
        ...

    def sleep(self, seconds: float, /) -> None:
        """Block for ``seconds`` (runs without an event loop)."""
        ...

    async def wait(self, seconds: float, /) -> None:
        """Suspend for ``seconds`` (runs on an event loop)."""
        ...


class SystemClock:
    """The machine's monotonic clock and real sleeping."""

    __slots__ = ()

    now = staticmethod(time.perf_counter)
    sleep = staticmethod(time.sleep)

    async def wait(self, seconds: float) -> None:
        """Suspend on whichever event loop is running."""
        if on_asyncio():  # anyio does the same, and would have to be imported within the run
            import asyncio

            await asyncio.sleep(seconds)
        else:
            import trio

            await trio.sleep(seconds)

    def __repr__(self) -> str:
        return "SystemClock()"


SYSTEM_CLOCK: Final = SystemClock()


def epoch_of(clock: Clock) -> float:
    """Return the Unix time of the clock's zero: its own ``epoch``, or else what the machine's date makes it now."""
    epoch: float | None = getattr(clock, "epoch", None)
    return time.time() - clock.now() if epoch is None else epoch


def on_asyncio() -> bool:
    """Tell whether this is an asyncio task; without importing asyncio, which another thread may just be doing."""
    current_task = getattr(sys.modules.get("asyncio"), "current_task", None)
    try:
        return current_task is not None and current_task() is not None
    except RuntimeError:  # no running loop: trio
        return False


__all__ = ["Clock", "SystemClock"]
__dir__ = only(__all__)
