"""Tasks on asyncio (and uvloop) without a layer in between.

The caller's own task only supervises: a node never runs in it, so a cancellation from outside
and one of a node cannot be confused. On 3.12 and newer the first host is started eagerly, within the
call, so a run whose nodes never suspend takes no turn of the loop.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from time import perf_counter
from types import coroutine
from typing import Any

from flow.config import YIELD_EVERY
from flow.errors import NodeTimeout
from flow.run import threads
from flow.run.driven import Driven
from flow.run.tasks import TURNS, Tasks

_EAGER = sys.version_info >= (3, 12)


def _eager_task(
    body: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: Context
) -> asyncio.Task[None]:
    """Start a task within this call; it may be done already when this returns (3.12+)."""
    return asyncio.Task(body, loop=loop, context=context, eager_start=True)  # type: ignore[call-arg,unused-ignore]


class AsyncioTasks(Tasks):
    """One run on the running asyncio loop."""

    def __init__(self, run: Driven, outer: Tasks | None = None) -> None:
        super().__init__(run, outer)
        self.loop = asyncio.get_running_loop()
        self.tasks: dict[object, asyncio.Task[None]] = {}  # alive; by a key of their own
        self.joined: asyncio.Future[None] | None = None
        self.timed = False  # the spawning loop is to judge the first step of the node it starts
        self.spawning = False  # a loop that starts hosts is on, or goes on at the event loop's next turn

    async def drive(self) -> None:
        """Run to the end; every task is finished when this returns or raises."""
        timeout = self.run.config.timeout
        timer = None if timeout is None else self.loop.call_later(timeout, self._expire)
        try:
            if self.beside is not None:
                self._keep(self.loop.create_task(self.beside()))
            if _EAGER:
                self._start_first()
            else:
                self.spawn()
            while self.tasks or self.spawning:
                self.joined = self.loop.create_future()
                await self.joined
        except asyncio.CancelledError:
            if self.stopping:
                self._cancel_tasks()
            self.stop()  # cancels once: a second time would break into the nodes' clearing up
            await self._join()
            raise
        except BaseException:  # closed from outside: nobody can wait any more
            self.stop()
            self._cancel_tasks()
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self.settle()
        if self.fatal is not None:
            raise self.fatal

    async def _join(self) -> None:
        """Wait for cancelled tasks to end, whatever else is thrown at the caller meanwhile."""
        from anyio import CancelScope

        with CancelScope(shield=True):  # else a cancelled anyio scope would wake us at every turn
            while self.tasks:
                self.joined = self.loop.create_future()
                try:
                    await self.joined
                except asyncio.CancelledError:
                    self._cancel_tasks()

    def _expire(self) -> None:
        if self.tasks or self.spawning:
            self.run.timed_out = True
            self.stop()

    # -- tasks -------------------------------------------------------------------------------

    def _start_first(self) -> None:
        """Start the first host within this call."""
        self.hosts += 1
        key = object()
        task = _eager_task(self._first_task(key), self.loop, self.base)
        if not task.done():
            self.tasks[key] = task

    async def _first_task(self, key: object) -> None:
        """:meth:`host_task`, which says itself when it ends: a callback would hold a context and a handle."""
        try:
            await self.conduct()
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # not a node's: a predicate's or an observer's
            self.broke(error)
        finally:
            self.hosts -= 1
            self._forget(key)
        self.spawn_for_ready()

    def spawn(self) -> None:
        self.hosts += 1
        self._keep(self.loop.create_task(self.host_task()))

    def spawn_delay(self, i: int, seconds: float) -> None:
        self._keep(self.loop.create_task(self.delay(i, seconds)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self.tasks[task] = task
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:  # not a node's: those are caught
            self.broke(error)
        self._forget(task)

    def _forget(self, key: object) -> None:
        self.tasks.pop(key, None)
        self._wake_if_over()

    def _wake_if_over(self) -> None:
        if not self.tasks and not self.spawning and self.joined is not None and not self.joined.done():
            self.joined.set_result(None)

    if _EAGER:

        def spawn_for_ready(self) -> None:
            """Start every ready node in an eager task of its own, up to its first suspension.

            A flat loop, whoever calls: what is started in it starts nothing itself. After
            ``YIELD_EVERY`` seconds the event loop gets its turn first.
            """
            resolver = self.run.resolver
            if self.spawning or self.pausing or resolver is None or not resolver.ready_count:
                return
            self.spawning = True
            base, before = self.base, perf_counter()
            late = before + YIELD_EVERY
            while not self.stopping and self.hosts < self.limit and not self.pausing:
                i = resolver.take()
                if i < 0:
                    break
                self.hosts += 1
                key = object()
                self.timed = True
                task = _eager_task(self._node_task(i, key, before), self.loop, base.copy())
                if not task.done():
                    self.tasks[key] = task
                now = perf_counter()
                if self.timed and now - before > self.blocking_after:
                    self.warn_blocking(i, now - before)
                if now > late:
                    self.loop.call_soon(self._go_on_spawning, TURNS - 1)
                    return
                before = now
            self.spawning = False

    def _go_on_spawning(self, turns: int) -> None:
        if turns:
            self.loop.call_soon(self._go_on_spawning, turns - 1)
            return
        self.spawning = False
        self.spawn_for_ready()
        self._wake_if_over()

    async def _node_task(self, i: int, key: object, began: float) -> None:
        """Run node ``i`` in this task, which is its own; then go on as a host if there is more to do."""
        run = self.run
        resolver = run.resolver
        assert resolver is not None
        more = -1
        try:
            call, values = run.fns[i], run.values
            try:
                if run.kinds[i]:
                    values[i] = await self.stay_with(i, call(*[values[slot] for slot in run.arguments[i]]))
                else:
                    values[i] = call(*[values[slot] for slot in run.arguments[i]])
            except BaseException as error:
                self.node_raised(i, error)
                more = resolver.take()
            else:
                more = resolver.advance(i)
            if more >= 0:
                resolver.put_back(more)
            if more >= 0 and self.hosts <= self.limit:  # which may have shrunk
                if self.timed and key not in self.tasks:  # still within the step that the spawning loop times
                    self.timed = False
                    took = perf_counter() - began
                    if took > self.blocking_after:
                        self.warn_blocking(i, took)
                await self.conduct()
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # not a node's: a predicate's or an observer's
            self.broke(error)
        finally:
            self.hosts -= 1
            self._forget(key)
        if more >= 0:  # something may have become ready since the host found nothing
            self.spawn_for_ready()

    @coroutine
    def stay_with(self, i: int, node: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Await node ``i``, timing each step after the first (which whoever started it times)."""
        blocking_after = self.blocking_after
        resumed = 0.0
        call, waits = None, 0
        try:
            signal = node.send(None)
            if self.climb is not None:
                waits = 1
                self.waiting += 1
                call = self.climb.began(self.waiting, self.run.clock.now())
            while True:
                try:
                    value = yield signal
                except BaseException as error:
                    self.interrupted = True
                    resumed = perf_counter()
                    signal = node.throw(error)
                else:
                    resumed = perf_counter()
                    signal = node.send(value)
                if perf_counter() - resumed > blocking_after:
                    self.warn_blocking(i, perf_counter() - resumed)
        except StopIteration as end:
            if resumed and perf_counter() - resumed > blocking_after:
                self.warn_blocking(i, perf_counter() - resumed)
            if call is not None:
                self.came_back(call, i)
            return end.value
        except NodeTimeout:
            if call is not None:
                self.came_back(call, i)
            raise
        finally:
            self.waiting -= waits

    def in_thread(self, call: Callable[..., Any]) -> Callable[..., Any]:
        return threads.on_asyncio(self.outermost or self, call)

    def cancel_all(self) -> None:
        self.loop.call_soon(self._cancel_tasks)

    def _cancel_tasks(self) -> None:
        for task in list(self.tasks.values()):
            task.cancel()

    def turn_loop(self) -> Generator[Any, Any, None]:
        yield

    def forgive(self, error: BaseException) -> bool:
        task = asyncio.current_task()
        if task is None or not isinstance(error, asyncio.CancelledError):
            return False
        while task.uncancel():
            pass
        return True

    def is_cancellation(self, error: BaseException) -> bool:
        return isinstance(error, asyncio.CancelledError)
