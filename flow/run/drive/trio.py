"""LoopDriver on trio, in a nursery."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from math import inf
from typing import Any

import trio

from flow.run.calls import Calls
from flow.run.drive.last import outlasting
from flow.run.drive.loop import LoopDriver, Worker
from flow.run.drive.threads import Pool, TrioWaiter
from flow.run.drive.workers import work
from flow.run.pacing import TURNS, pace_of


class TrioDriver(LoopDriver):
    """One run in a nursery of its own. The caller's task only supervises."""

    __slots__ = ("_early", "_held", "loop", "nursery")

    polls = True
    work = work
    turn = staticmethod(trio.lowlevel.checkpoint)

    @staticmethod
    def look(task: trio.lowlevel.Task) -> object:
        """Return what stands for the innermost cancel scope around a task; trio has no public word for it."""
        return getattr(task, "_cancel_status", None)

    @staticmethod
    def cancelling(task: trio.lowlevel.Task) -> object:
        """A nursery that was left open would surround the next node."""
        return task.child_nurseries

    def __init__(self, run: Calls, outer: LoopDriver | None = None) -> None:
        self.loop = token = trio.lowlevel.current_trio_token()
        super().__init__(run, pace_of(token, run.clock) if outer is None else outer.pace, outer)
        self.nursery: Any = None
        self._early: list[Callable[[], Coroutine[Any, Any, None]]] = []  # companions that came before the nursery
        self._held: dict[Any, trio.Event] = {}

    async def drive(self) -> None:
        """Run to the end; every task is finished when this returns or raises."""
        timeout = None if self.last else self.run.config.timeout
        scope = trio.CancelScope(deadline=inf if timeout is None else trio.current_time() + timeout)
        try:
            with scope:
                async with trio.open_nursery() as self.nursery:
                    for early in self._early:
                        self._accompany(early)
                    self._early.clear()  # which holds this: no cycle
                    if self.companion is not None:
                        self._accompany(self.companion)
                    self.pump()
                if self.stopping:  # if by a cancellation, no node may have met it
                    await trio.lowlevel.checkpoint_if_cancelled()
        except BaseException as error:
            if self.fatal is None:
                self.fatal = _exit_in(error)
            if self.fatal is None and not self.cut_off():
                raise
        finally:
            self.settle()
        if scope.cancelled_caught or (scope.cancel_called and self.interrupted):
            self.run.timed_out = True
        if self.fatal is not None:
            self.raise_fatal()

    # -- tasks -------------------------------------------------------------------------------

    def pump(self) -> None:
        if self.returning:
            self.readmit()
        for _ in range(0 if self.resting else self.wanted()):
            self.workers += 1
            self._spawn(partial(Worker, self, -1))

    def pump_soon(self) -> None:
        self.pump()  # tasks begin later here

    def _spawn(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task in a copy of the caller's context; the present one is a node's, maybe."""
        self.base.copy().run(self.nursery.start_soon, body)

    def _accompany(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Start a task that runs no node."""

        async def companion() -> None:
            try:
                await body()
            except trio.Cancelled:
                raise
            except BaseException as error:
                self.broke(error)
            finally:
                self.companions -= 1

        self.companions += 1
        self._spawn(companion)

    # -- nodes that wait ---------------------------------------------------------------------

    def soon(self, fn: Callable[..., object], *args: Any) -> None:
        self.loop.run_sync_soon(partial(fn, *args))

    def later(self, seconds: float, fn: Callable[[int], None], i: int) -> Any:
        scope = trio.CancelScope()

        async def companion() -> None:
            with scope:
                await self.run.clock.wait(seconds)
                fn(i)

        self._accompany_early(companion)
        return scope

    def hold(self, waits: Any) -> None:
        over = self._held[waits] = trio.Event()

        async def companion() -> None:
            try:
                await over.wait()
            except BaseException:
                waits.cancel()
                raise

        self._accompany_early(companion)

    def let_go(self, waits: Any) -> None:
        over = self._held.pop(waits, None)
        if over is not None:
            over.set()

    def _accompany_early(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self.nursery is None:
            self._early.append(body)
        else:
            self._accompany(body)

    # -- tasks -------------------------------------------------------------------------------

    def shield(self, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
        async def shielded() -> None:
            with trio.CancelScope(shield=True):
                await body()

        self._accompany_early(shielded)

    def spawn_delay(self, i: int, seconds: float) -> None:
        self._accompany(partial(self.delay, i, seconds))

    def ended(self, me: Worker) -> None:
        self.workers -= 1
        self.waiting -= me.suspended
        me.task = None  # which holds this: no cycle
        if me.after >= 0:
            self.run.resolver.put_back(me.after)
        if me.rests and not self.stopping:
            self.rest()
        else:
            self.pump()

    def rest(self) -> None:
        if not self.resting:
            self.resting = True
            self.companions += 1
            self.pace.resting += 1
            self._spawn(self._go_on)

    async def _go_on(self) -> None:
        pace = self.pace
        try:
            for _ in range(TURNS):
                await trio.lowlevel.checkpoint()
        finally:
            pace.resting -= 1
            self.companions -= 1
            self.resting = False
        pace.renew(pace.clock())
        self.pump()

    def now(self) -> float:
        return trio.current_time()

    def is_cancelled(self) -> bool:
        scope = None if self.nursery is None else self.nursery.cancel_scope
        # Trio has no public word for it: the caller's scope may be cancelled, and not this one.
        return bool(getattr(getattr(scope, "_cancel_status", None), "effectively_cancelled", False))

    def outlasting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        return partial(outlasting, self, call)

    def new_pool(self, most: int) -> Pool:
        wake = trio.lowlevel.current_trio_token().run_sync_soon
        return Pool(most, TrioWaiter, wake, trio.lowlevel.current_clock().current_time)

    def cancel_all(self) -> None:
        if self.nursery is None:
            self._early.append(self._cancel_soon)
        else:
            self._spawn(self._cancel_soon)

    async def _cancel_soon(self) -> None:
        await trio.lowlevel.checkpoint()
        self.nursery.cancel_scope.cancel()

    def cancel_requested(self) -> bool:
        return trio.current_effective_deadline() == -inf

    def enter(self, me: Worker) -> None:
        me.task = task = trio.lowlevel.current_task()
        me.context = task.context
        me.clean = self.look(task)

    def is_cancellation(self, error: BaseException | None) -> bool:
        if isinstance(error, BaseExceptionGroup):  # of a nursery whose tasks were all cancelled
            return error.split(trio.Cancelled)[1] is None
        return isinstance(error, trio.Cancelled)

    def is_cancelling(self, sent: Any) -> bool:
        return self.is_cancellation(getattr(sent, "error", None))  # trio sends an outcome

    def must_propagate(self, error: BaseException) -> bool:
        return True


def _exit_in(error: BaseException) -> BaseException | None:
    """Return the exit (Ctrl-C, say) that has reached the nursery itself, without a group around it."""
    todo = [error]
    while todo:
        at = todo.pop()
        if isinstance(at, BaseExceptionGroup):
            todo.extend(at.exceptions)
        elif not isinstance(at, (Exception, trio.Cancelled, GeneratorExit)):
            return at
    return None
