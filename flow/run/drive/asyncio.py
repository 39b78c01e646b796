"""LoopDriver on asyncio (and uvloop) without a layer in between.

The caller's own task only supervises: a node never runs in it, so a cancellation from outside
and one of a node cannot be confused. On 3.12 and newer workers are started eagerly, within the
call, so a run whose nodes never suspend takes no turn of the loop, and a thousand nodes that wait begin to wait in
the same turn.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from sys import getrefcount
from typing import Any, Final

from flow.run.calls import Calls
from flow.run.drive.asyncio_waits import AsyncioWaits
from flow.run.drive.loop import LoopDriver, Worker
from flow.run.drive.threads import Pool
from flow.run.drive.workers import work
from flow.run.pacing import TURNS, pace_of

_EAGER: Final = sys.version_info >= (3, 12)
_UNCANCELS: Final = sys.version_info >= (3, 13)
"""Taking a cancellation back also keeps it from the next await."""


def _is_cancelling(task: Any, /) -> object:
    """Before 3.13 a cancellation that was taken back comes all the same."""
    return task.cancelling() or task._must_cancel


_CANCELLING: Callable[[Any], object] = asyncio.Task.cancelling if _UNCANCELS else _is_cancelling


class AsyncioDriver(AsyncioWaits):
    """One run on the running asyncio loop.

    :ivar shielded: those that are not cancelled with the run.
    :ivar joined: done when nothing is alive any more.
    :ivar sparing: what will cancel the nodes that clean up, which outlast the others.
    """

    __slots__ = ("joined", "shielded", "sparing")

    work = work

    look = staticmethod(getrefcount)  # who keeps the task means it
    cancelling = staticmethod(_CANCELLING)
    turn = staticmethod(partial(asyncio.sleep, 0))

    def __init__(self, run: Calls, outer: LoopDriver | None = None) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        super().__init__(run, pace_of(self.loop, run.clock) if outer is None else outer.pace, outer)
        self.alive = {}
        self.joined: asyncio.Future[None] | None = None
        self.shielded: Any = ()
        self.sparing: asyncio.TimerHandle | None = None

    async def drive(self) -> None:
        """Run to the end; every task is finished when this returns or raises."""
        timeout = None if self.last else self.run.config.timeout
        timer = None if timeout is None else self.loop.call_later(timeout, self._expire)
        try:
            if self.companion is not None:
                self._accompany(self.companion())
            self.pump()
            while self.alive:
                self.joined = self.loop.create_future()
                await self.joined
        except asyncio.CancelledError:
            if self.stopping:
                self._cancel_tasks()
            self.stop(self.run.failures)  # cancels once: a second time would break into the nodes' clearing up
            await self._join()
            if self.fatal is None and not self.cut_off():
                raise
        except BaseException:  # closed from outside: waiting is no longer possible
            self.stop()
            self._cancel_tasks()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            if self.sparing is not None:
                self.sparing.cancel()
            if self.serial:
                self.settle()
        if self.fatal is not None:
            self.raise_fatal()
        if self.run.cut_off:
            self.cancel_again()

    def cancel_again(self) -> None:
        """An error is raised in a cancellation's place: as with a TaskGroup, the next await of the caller gets that."""
        task = asyncio.current_task()
        if _UNCANCELS and task is not None and task.cancelling():
            task.uncancel()
            task.cancel()

    async def _join(self) -> None:
        """Wait for cancelled tasks to end, whatever else is thrown at the caller meanwhile."""
        from anyio import CancelScope

        with CancelScope(shield=True):  # else a cancelled anyio scope would wake us at every turn
            while self.alive:
                self.joined = self.loop.create_future()
                try:
                    await self.joined
                except asyncio.CancelledError:
                    self._cancel_tasks()

    def _expire(self) -> None:
        if self.alive:
            self.run.timed_out = True
            self.stop()

    # -- tasks -------------------------------------------------------------------------------

    def _start(self, i: int) -> None:
        """Start a worker. On 3.12 and newer it may have ended already when this returns."""
        self.workers += 1
        me = Worker(self, i)
        if _EAGER:
            task = asyncio.Task(me, loop=self.loop, context=me.context, eager_start=True)  # type: ignore[call-arg,unused-ignore]
            if not task.done():
                self.alive[me] = task
        else:
            me.task = self.alive[me] = asyncio.Task(me, loop=self.loop, context=me.context)

    def _accompany(
        self, body: Coroutine[Any, Any, None], after: Callable[[], None] | None = None
    ) -> asyncio.Task[None]:
        """Start a task that runs no node. Whatever becomes of it, ``after`` is called at its end."""
        self.companions += 1
        task = asyncio.Task(body, loop=self.loop, context=self.base.copy())
        self.alive[task] = task
        task.add_done_callback(partial(self._left_alone, after))
        return task

    def shield(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self.shielded = (self._accompany(body()),)

    def _left_alone(self, after: Callable[[], None] | None, task: asyncio.Task[None]) -> None:
        self.companions -= 1
        error = None if task.cancelled() else task.exception()
        if error is not None:  # not a node's: those are caught
            self.broke(error)
        self.alive.pop(task, None)
        if after is not None:
            after()
        self._wake_if_over()

    def spawn_delay(self, i: int, seconds: float) -> None:
        self._accompany(self.delay(i, seconds))

    def pump(self, i: int = -1) -> None:
        """Start workers for the ready nodes. A flat loop for every caller: workers started in it start no others.

        Eagerly each gets a node and runs up to its first suspension; at the end of the burst the event loop gets its
        turn first.
        """
        run, joined = self.run, self.joined
        if joined is not None and joined.cancelled() and not self.stopping:
            self.stop(run.failures)
        if self.returning:
            if i >= 0:  # taken, it would count as one that goes on
                run.resolver.put_back(i)
                i = -1
            self.readmit()
        if self.pumping or self.resting or self.stopping or self.untold:
            if i >= 0:
                run.resolver.put_back(i)
            if joined is not None:
                self._wake_if_over()
            return
        self.pumping = True
        try:
            if not _EAGER:
                for _ in range(self._wanted_with(i)):
                    self._start(-1)
                return
            resolver, pace, started = run.resolver, self.pace, False
            while self.workers - self.outside < self.limit:
                if resolver is None:
                    if self.workers or not self.serial:
                        break
                elif i < 0:
                    i = resolver.take()
                    if i < 0:
                        break
                if started and pace.left > pace.until:  # one at least, as each that wakes may start
                    self.rest()
                    break
                self._start(i)
                i, started = -1, True
                if self.stopping or self.resting or self.untold:
                    break
                resolver = run.resolver
            if i >= 0:
                run.resolver.put_back(i)
        except BaseException as error:  # a hook's, which was told of a node left out: no task would say so
            self.broke(error)
        finally:
            self.pumping = False
            if joined is not None:
                self._wake_if_over()

    def pump_soon(self) -> None:
        self.loop.call_soon(self.pump)

    def _wanted_with(self, i: int) -> int:
        if i >= 0:
            self.run.resolver.put_back(i)
        return self.wanted()

    def rest(self) -> None:
        if not self.resting:
            self.resting = True
            self.pace.resting += 1
            self._accompany(self._turn_loop(), self._go_on)

    async def _turn_loop(self) -> None:
        for _ in range(TURNS - 1):  # it has begun in the first
            await asyncio.sleep(0)

    def _go_on(self) -> None:
        self.resting = False
        pace = self.pace
        pace.resting -= 1
        pace.renew(pace.clock())
        self.pump()

    def ended(self, me: Worker) -> None:
        self.alive.pop(me, None)
        self.workers -= 1
        self.waiting -= me.suspended
        me.task = None  # which holds this: no cycle
        if not me.rests or self.stopping:
            if me.after >= 0 or not self.pumping:  # else the loop that has started it goes on
                self.pump(me.after)
            return
        if me.after >= 0:
            self.run.resolver.put_back(me.after)
        self.rest()

    def must_leave(self, me: Worker, error: BaseException) -> bool:
        leaves = super().must_leave(me, error)
        if leaves:
            self.alive.pop(me, None)
            self._wake_if_over()
        return leaves

    def _wake_if_over(self) -> None:
        if self.joined is not None and not self.alive and not self.joined.done():
            self.joined.set_result(None)

    def new_pool(self, most: int) -> Pool:
        return Pool(most, self.loop.create_future, self.loop.call_soon_threadsafe, self.loop.time)

    def cancel_all(self) -> None:
        self.loop.call_soon(self._cancel_tasks)

    def _cancel_tasks(self) -> None:
        for me, task in list(self.alive.items()):
            if isinstance(me, Worker) and self.spares(me):
                self.sparing = self.sparing or self.loop.call_at(self.grace(), self._end_grace)
            elif task not in self.shielded:
                task.cancel()

    def _end_grace(self) -> None:
        self.last = True
        self._cancel_tasks()

    def cancel_requested(self) -> bool:
        return self.joined is not None and self.joined.cancelled()

    def enter(self, me: Worker) -> None:
        task = me.task = asyncio.current_task() if _EAGER else me.task
        me.clean = getrefcount(task)

    def is_cancellation(self, error: BaseException) -> bool:
        return isinstance(error, asyncio.CancelledError)

