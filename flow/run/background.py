"""A coroutine that runs beside its caller, on whichever event loop is running: asyncio, uvloop or trio."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any

from flow.clock import on_asyncio

Body = Callable[[], Coroutine[Any, Any, Any]]


class Background:
    """What runs in the background. Its owner must :meth:`join` it.

    :ivar value: what the coroutine has returned; None before, and if it has not returned.
    :ivar error: what it has raised, if that is no cancellation. :meth:`join` does not raise it.
    :ivar cancelled: a cancellation has ended it.
    """

    __slots__ = ("cancelled", "error", "value")

    def __init__(self) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.cancelled = False

    @property
    def ended(self) -> bool:
        """True once it has ended, in whatever way."""
        raise NotImplementedError

    def cancel(self) -> None:
        """Ask it to end. Only for the thread of the event loop."""
        raise NotImplementedError

    async def wait(self) -> None:
        """Wait for its end. A cancellation of the caller ends the waiting, and nothing else."""
        raise NotImplementedError

    async def join(self) -> None:
        """Wait for its end. If the caller is cancelled meanwhile, cancel this too, and go on once it has ended."""
        try:
            await self.wait()
        except BaseException:
            await self.end()
            raise

    async def end(self) -> None:
        """Cancel it, and wait for its end, whatever else cancels the caller. That comes after the end."""
        self.cancel()
        await self._wait_shielded()

    async def _wait_shielded(self) -> None:
        raise NotImplementedError


def in_background(body: Body, outlives_exits: bool = False) -> Background:
    """Start ``body()`` as a task of the running event loop, in a copy of the caller's contextvars.

    It may begin before this returns (asyncio from Python 3.12 on), or at the next turn of the loop.

    :param outlives_exits: an exit (SystemExit, KeyboardInterrupt) that it raises does not end the loop of asyncio.
    """
    if on_asyncio():
        return _OnAsyncio(body, outlives_exits)
    return _OnTrio(body)


class _OnAsyncio(Background):
    __slots__ = ("_outlives_exits", "_task")

    def __init__(self, body: Body, outlives_exits: bool) -> None:
        super().__init__()
        import asyncio

        self._outlives_exits = outlives_exits
        self._task = asyncio.get_running_loop().create_task(self._run(body))

    async def _run(self, body: Body) -> None:
        from asyncio import CancelledError

        try:
            self.value = await body()
        except CancelledError:
            self.cancelled = True
        except Exception as error:
            self.error = error
        except BaseException as error:  # an exit: asyncio lets it end the loop as well
            self.error = error
            if not self._outlives_exits:
                raise

    @property
    def ended(self) -> bool:
        return self._task.done()

    def cancel(self) -> None:
        self._task.cancel()

    async def wait(self) -> None:
        from asyncio import wait

        if not self._task.done():
            await wait((self._task,))
        self._note_end()

    async def _wait_shielded(self) -> None:
        from asyncio import CancelledError, wait

        from anyio import CancelScope

        cancelled = False
        with CancelScope(shield=True):  # else a cancelled scope of anyio's would wake us at every turn
            while not self._task.done():
                try:
                    await wait((self._task,))
                except CancelledError:
                    cancelled = True
                    self._task.cancel()
        self._note_end()
        if cancelled:  # the caller, meanwhile: a timeout, say, counts on its coming
            raise CancelledError

    def _note_end(self) -> None:
        if self._task.cancelled():  # before its first step
            self.cancelled = True
        else:
            self._task.exception()  # seen: asyncio does not report it as lost


class _OnTrio(Background):
    """A system task: it belongs to no nursery, so its owner may be entered and left in any order."""

    __slots__ = ("_ended", "_scope")

    def __init__(self, body: Body) -> None:
        super().__init__()
        from trio import CancelScope, Event
        from trio.lowlevel import spawn_system_task

        self._ended, self._scope = Event(), CancelScope()
        spawn_system_task(self._run, body, context=copy_context())

    async def _run(self, body: Body) -> None:
        from trio import Cancelled

        try:
            with self._scope:
                try:
                    self.value = await body()
                except Cancelled:
                    raise
                except BaseExceptionGroup as group:  # of a nursery
                    cancelled, self.error = group.split(Cancelled)
                    try:
                        if cancelled is not None:
                            raise cancelled from None
                    finally:
                        del cancelled  # its traceback holds this frame: no cycle
                except BaseException as error:  # raised here it would end the event loop
                    self.error = error
            self.cancelled = self._scope.cancelled_caught
        finally:
            self._ended.set()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    def cancel(self) -> None:
        self._scope.cancel()

    async def wait(self) -> None:
        await self._ended.wait()

    async def _wait_shielded(self) -> None:
        from trio import CancelScope

        with CancelScope(shield=True):
            await self._ended.wait()


__all__ = ["Background", "in_background"]
