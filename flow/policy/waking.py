"""Something that a task waits for, and that any thread may let come: across event loops."""

from __future__ import annotations

from threading import get_ident
from typing import Any

from flow.clock import on_asyncio


class Waking:
    """What one task of the running event loop waits for."""

    __slots__ = ()

    async def wait(self) -> None:
        """Wait until it has come."""
        raise NotImplementedError

    def come(self) -> None:
        """Let it come. From any thread; more than once does no more. If the event loop has ended, nothing happens."""
        raise NotImplementedError


def new_waking() -> Waking:
    """Make one for the present task."""
    return _OnAsyncio() if on_asyncio() else _OnTrio()


class _OnAsyncio(Waking):
    __slots__ = ("_future", "_loop", "_thread")

    def __init__(self) -> None:
        import asyncio

        self._thread = get_ident()
        self._loop = asyncio.get_running_loop()
        self._future: Any = self._loop.create_future()

    async def wait(self) -> None:
        await self._future

    def come(self) -> None:
        try:
            if get_ident() == self._thread:
                self._finish()
            else:
                self._loop.call_soon_threadsafe(self._finish)
        except RuntimeError:  # the event loop has ended, and with it the task
            return

    def _finish(self) -> None:
        if not self._future.done():
            self._future.set_result(None)


class _OnTrio(Waking):
    __slots__ = ("_event", "_thread", "_token")

    def __init__(self) -> None:
        import trio

        self._thread = get_ident()
        self._event = trio.Event()
        self._token = trio.lowlevel.current_trio_token()

    async def wait(self) -> None:
        await self._event.wait()

    def come(self) -> None:
        try:
            if get_ident() == self._thread:
                self._event.set()
            else:
                self._token.run_sync_soon(self._event.set, idempotent=True)
        except RuntimeError:  # as above: a RunFinishedError
            return


__all__ = ["Waking", "new_waking"]
