"""Something that a task waits for, and that any thread may let come: across event loops."""

from __future__ import annotations

from typing import Any

from flow.clock import on_asyncio


class Waking:
    """What one task of the running event loop waits for."""

    __slots__ = ()

    async def wait(self) -> None:
        """Wait until it has come."""
        raise NotImplementedError

    def come(self) -> bool:
        """Let it come. From any thread; more than once does no more. False if the event loop has ended."""
        raise NotImplementedError

    @property
    def is_gone(self) -> bool:
        """True if the event loop has ended. It may have done so without cancelling the task."""
        raise NotImplementedError

    @property
    def is_here(self) -> bool:
        """True if it is the event loop that runs in this thread."""
        raise NotImplementedError


def new_waking() -> Waking:
    """Make one for the present task."""
    return _OnAsyncio() if on_asyncio() else _OnTrio()


class _OnAsyncio(Waking):
    __slots__ = ("_future", "_loop")

    def __init__(self) -> None:
        import asyncio

        self._loop = asyncio.get_running_loop()
        self._future: Any = self._loop.create_future()

    async def wait(self) -> None:
        await self._future

    def come(self) -> bool:
        try:
            if self.is_here:
                self._finish()
            else:
                self._loop.call_soon_threadsafe(self._finish)
        except RuntimeError:  # the event loop has ended, and with it the task
            return False
        return True

    @property
    def is_gone(self) -> bool:
        return self._loop.is_closed()

    @property
    def is_here(self) -> bool:
        import asyncio

        return asyncio._get_running_loop() is self._loop

    def _finish(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


class _OnTrio(Waking):
    __slots__ = ("_event", "_token")

    def __init__(self) -> None:
        import trio

        self._event = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    async def wait(self) -> None:
        await self._event.wait()

    def come(self) -> bool:
        try:
            if self.is_here:
                self._event.set()
            else:
                self._token.run_sync_soon(self._event.set, idempotent=True)
        except RuntimeError:  # as above: a RunFinishedError
            return False
        return True

    @property
    def is_gone(self) -> bool:
        try:
            self._token.run_sync_soon(_nothing, idempotent=True)
        except RuntimeError:
            return True
        return False

    @property
    def is_here(self) -> bool:
        import trio

        try:
            return trio.lowlevel.current_trio_token() is self._token
        except RuntimeError:
            return False


def _nothing() -> None:
    """What a loop is asked for to see whether it is there."""


__all__ = ["Waking", "new_waking"]
