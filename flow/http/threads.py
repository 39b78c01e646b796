"""Threads for runs that would hold the event loop: :class:`Threads`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import copy_context
from itertools import count
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, TypeVar

T = TypeVar("T")
_numbers: Final = count(1)


class Threads:
    """Up to ``most`` threads that call functions for one event loop.

    They are daemons: a function that never returns does not keep the process from ending.
    """

    __slots__ = ("_jobs", "_most", "_threads", "busy")

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads = 0
        self._jobs: SimpleQueue[Any] = SimpleQueue()
        self.busy = 0
        """Calls that have been asked for and have not ended."""

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Call a function in a thread, with the caller's contextvars. A cancelled future lets the call go on."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put((function, copy_context(), loop, future))
        self.busy += 1
        if self._threads < min(self._most, self.busy):
            self._start()
        return future

    def _start(self) -> None:
        try:
            Thread(target=self._work, name=f"flow-http-{next(_numbers)}", daemon=True).start()
        except RuntimeError:  # the system starts no more: those that there are do it
            if not self._threads:
                self._jobs.get_nowait()
                self.busy -= 1
                raise
        else:
            self._threads += 1

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, context, loop, future = job
            ended: tuple[Any, BaseException | None]
            try:
                ended = (context.run(function), None)
            except BaseException as error:
                ended = (None, error)
            try:
                loop.call_soon_threadsafe(self._end, future, *ended)
            except RuntimeError:  # the event loop has ended
                return
            del job, function, context, future, ended

    def _end(self, future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
        self.busy -= 1
        if future.done():
            return
        if error is None:
            future.set_result(value)
        elif isinstance(error, StopIteration):  # no future takes that
            future.set_exception(RuntimeError(f"a function has raised {error!r}"))
        else:
            future.set_exception(error)

    def close(self) -> None:
        """Let the threads end once they have nothing to do."""
        for _ in range(self._threads):
            self._jobs.put(None)
        self._threads = 0


__all__ = ["Threads"]
