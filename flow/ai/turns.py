"""Waits for a turn on any event loop, which any thread may announce: :class:`Waiter`."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any

from flow.clock import SYSTEM_CLOCK, Clock, on_asyncio


class Waiter:
    """Somebody in a queue, on the event loop that runs now.

    :ivar tokens: that it asks for. :ivar entered: what it has got.
    """

    __slots__ = ("_event", "_soon", "_thread", "entered", "tokens")

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.entered: Any = None
        self._thread = get_ident()
        self._event: Any = None
        self._soon = _caller()

    def prepare(self) -> None:
        """From now on :meth:`wake` ends the next :meth:`wait`."""
        from anyio import Event  # here: only who has to wait needs it

        self._event = Event()

    def wake(self) -> bool:
        """End its waiting. From any thread; False if its event loop has ended."""
        if get_ident() == self._thread:
            self._event.set()
            return True
        try:
            self._soon(self._set)
        except RuntimeError:
            return False
        return True

    def _set(self) -> None:
        self._event.set()

    async def wait(self, seconds: float | None, clock: Clock) -> None:
        """Wait until it is woken, or for so long."""
        event = self._event
        if seconds is None:
            await event.wait()
            return
        from anyio import create_task_group, move_on_after

        if clock is SYSTEM_CLOCK:
            with move_on_after(seconds):
                await event.wait()
            return
        async with create_task_group() as group:

            async def pass_time() -> None:
                await clock.wait(seconds)
                event.set()

            group.start_soon(pass_time)
            await event.wait()
            group.cancel_scope.cancel()


def _caller() -> Callable[[Callable[[], None]], object]:
    """Return what has the running event loop call a function, from any thread."""
    if on_asyncio():
        import asyncio

        return asyncio.get_running_loop().call_soon_threadsafe
    import trio

    return trio.lowlevel.current_trio_token().run_sync_soon


__all__ = ["Waiter"]
