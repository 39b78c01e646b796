"""How nodes wait for signals and times on asyncio: without a task each."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task
from collections.abc import Callable, Coroutine
from typing import Any

from flow.clock import SYSTEM_CLOCK
from flow.run.drive.loop import LoopDriver


class AsyncioWaits(LoopDriver):
    """The part of the driver that nodes ask which wait.

    :ivar alive: workers that are suspended, and other tasks of the run, each with its task; and what holds the run.
    """

    __slots__ = ("alive", "loop")

    alive: dict[Any, Any]
    loop: AbstractEventLoop

    def soon(self, fn: Callable[..., object], *args: Any) -> None:
        self.loop.call_soon_threadsafe(fn, *args, context=self.base)

    def later(self, seconds: float, fn: Callable[[int], None], i: int) -> Any:
        if self.run.clock is SYSTEM_CLOCK:
            return self.loop.call_later(seconds, fn, i, context=self.base)
        return self._accompany(self._wait(seconds, fn, i))

    async def _wait(self, seconds: float, fn: Callable[[int], None], i: int) -> None:
        await self.run.clock.wait(seconds)
        fn(i)

    def now(self) -> float:
        return self.loop.time()

    def hold(self, waits: Any) -> None:
        self.alive[waits] = waits  # where tasks stand, which are cancelled

    def let_go(self, waits: Any) -> None:
        self.alive.pop(waits, None)
        self._wake_if_over()

    def _accompany(self, body: Coroutine[Any, Any, None], after: Callable[[], None] | None = None) -> Task[None]:
        """Start a task that runs no node."""
        raise NotImplementedError

    def _wake_if_over(self) -> None:
        raise NotImplementedError


__all__ = ["AsyncioWaits"]
