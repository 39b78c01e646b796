"""Tasks on any other event loop that anyio knows (trio), in an anyio task group."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import anyio
import anyio.lowlevel
from anyio.abc import TaskGroup

from flow.run import threads
from flow.run.driven import Driven
from flow.run.tasks import Tasks


class AnyioTasks(Tasks):
    """One run in an anyio task group; the caller's task is the first host."""

    def __init__(self, run: Driven, outer: Tasks | None = None) -> None:
        super().__init__(run, outer)
        self.group: TaskGroup
        self.cancelled_class = anyio.get_cancelled_exc_class()

    async def drive(self) -> None:
        """Run to the end; every task is finished when this returns or raises."""
        try:
            with anyio.move_on_after(self.run.config.timeout) as scope:
                async with anyio.create_task_group() as self.group:
                    if self.beside is not None:
                        self.group.start_soon(self.beside)
                    self.hosts += 1
                    await self.host_task()
        finally:
            self.settle()
        if scope.cancelled_caught or (scope.cancel_called and self.interrupted):
            self.run.timed_out = True
        if self.fatal is not None:
            self.raise_fatal()

    def spawn(self) -> None:
        self.hosts += 1
        self.group.start_soon(self.host_task)

    def spawn_delay(self, i: int, seconds: float) -> None:
        self.group.start_soon(self.delay, i, seconds)

    def in_thread(self, call: Callable[..., Any]) -> Callable[..., Any]:
        return threads.on_anyio(self.outermost or self, call)

    def cancel_all(self) -> None:
        self.group.start_soon(self._cancel_soon)

    async def _cancel_soon(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.group.cancel_scope.cancel()

    def turn_loop(self) -> Generator[Any, Any, None]:
        return anyio.lowlevel.checkpoint().__await__()

    def is_cancellation(self, error: BaseException | None) -> bool:
        return isinstance(error, self.cancelled_class)

    def is_cancelling(self, sent: Any) -> bool:
        return self.is_cancellation(getattr(sent, "error", None))  # trio sends an outcome

    def must_propagate(self, error: BaseException) -> bool:
        return True
