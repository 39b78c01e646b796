"""Waits for a turn on any event loop, which any thread may announce: :class:`Waiter`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from flow.clock import SYSTEM_CLOCK, Clock, on_asyncio


class Waiter:
    """Somebody in a queue, on the event loop that runs now.

    :ivar tokens: that it asks for. :ivar entered: what it has got. :ivar loop: its event loop.
    """

    __slots__ = ("_event", "entered", "loop", "tokens")

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.entered: Any = None
        self.loop: Any = _running()
        self._event: Any = None

    def prepare(self) -> None:
        """From now on :meth:`wake` ends the next :meth:`wait`."""
        from anyio import Event  # here: only who has to wait needs it

        self._event = Event()

    def wake(self) -> bool:
        """End its waiting. From any thread; False if its event loop has ended."""
        try:
            if _running() is self.loop:
                self._event.set()
            else:
                _call(self.loop, self._set)
        except RuntimeError:
            return False
        return True

    @property
    def is_gone(self) -> bool:
        """True if its event loop has ended. It may have done so without cancelling it."""
        if _running() is self.loop:
            return False
        closed = getattr(self.loop, "is_closed", None)
        if closed is not None:
            return bool(closed())
        try:
            _call(self.loop, _nothing)
        except RuntimeError:
            return True
        return False

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


def _running() -> Any:
    """Return the event loop that runs in this thread: of trio its token; None if none does."""
    if on_asyncio():
        import asyncio

        return asyncio.get_running_loop()
    lowlevel = getattr(sys.modules.get("trio"), "lowlevel", None)
    if lowlevel is None:
        return None
    try:
        return lowlevel.current_trio_token()
    except RuntimeError:
        return None


def _call(loop: Any, fn: Callable[[], None]) -> None:
    """Have an event loop call a function, from any thread. :raises RuntimeError: if it has ended."""
    call = getattr(loop, "call_soon_threadsafe", None) or loop.run_sync_soon
    call(fn)


def _nothing() -> None:
    """What a loop is asked for to see whether it is there."""


__all__ = ["Waiter"]
