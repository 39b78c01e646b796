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
from operator import length_hint
from time import perf_counter
from types import coroutine
from typing import Any

from flow.config import YIELD_EVERY
from flow.errors import NodeTimeout
from flow.plan.resolver import lone_nodes
from flow.run import threads
from flow.run.driven import Driven
from flow.run.state import RunState
from flow.run.tasks import IDLE, TURNS, Tasks

_NONE: frozenset[int] = frozenset()
_NO_TASKS: dict[object, asyncio.Task[None]] = {}
"""Never changed: most runs whose nodes wait one at a time have no task but the first."""

_EAGER = sys.version_info >= (3, 12)


def _eager_task(
    body: Coroutine[Any, Any, None], loop: asyncio.AbstractEventLoop, context: Context
) -> asyncio.Task[None]:
    """Start a task within this call; it may be done already when this returns (3.12+)."""
    return asyncio.Task(body, loop=loop, context=context, eager_start=True)  # type: ignore[call-arg,unused-ignore]


class AsyncioTasks(Tasks):
    """One run on the running asyncio loop.

    :ivar resumed: when the node at hand last got the thread.
    :ivar suspensions: how often nodes have suspended that are stepped in their own task.
    :ivar lone: nodes beside which nothing can run.
    :ivar alone: the node at hand is one of these, and has suspended in the first phase.
    """

    __slots__ = ("alone", "first", "joined", "lone", "loop", "resumed", "spawning", "suspensions", "tasks")

    def __init__(self, run: Driven, outer: Tasks | None = None) -> None:
        super().__init__(run, outer)
        self.loop = asyncio.get_running_loop()
        self.first: asyncio.Task[None] | None = None  # while it is alive
        self.tasks = _NO_TASKS  # the others that are; by a key of their own
        self.resumed = 0.0
        self.suspensions = 0
        self.lone = _NONE
        self.alone = False
        self.joined: asyncio.Future[None] | None = None  # done when none is alive any more
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
            while self.first is not None or self.tasks or self.spawning:
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
            self.raise_fatal()

    async def _join(self) -> None:
        """Wait for cancelled tasks to end, whatever else is thrown at the caller meanwhile."""
        from anyio import CancelScope

        with CancelScope(shield=True):  # else a cancelled anyio scope would wake us at every turn
            while self.first is not None or self.tasks:
                self.joined = self.loop.create_future()
                try:
                    await self.joined
                except asyncio.CancelledError:
                    self._cancel_tasks()

    def _expire(self) -> None:
        if self.first is not None or self.tasks or self.spawning:
            self.run.timed_out = True
            self.stop()

    # -- tasks -------------------------------------------------------------------------------

    @coroutine
    def _let_turn(self) -> Generator[Any, Any, None]:
        """Let the event loop turn after a long step; what a node that has ended left behind is not the next one's."""
        try:
            yield from self._turn()
        except BaseException as error:
            if self.stopping or not self.forgive(error):
                raise

    @coroutine
    def stay_with(self, i: int, node: Coroutine[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Await node ``i``, timing each of its steps but the last, which whoever awaits this times."""
        blocking_after = self.blocking_after
        call, waits = None, 0
        try:
            signal = node.send(None)
            self.suspensions += 1
            if self.resumed - self.left > IDLE:
                self.burst = self.resumed
            self.left = now = perf_counter()
            took = now - self.resumed
            if self.climb is not None:
                waits = 1
                self.waiting += 1
                call = self.climb.began(self.waiting, self.run.clock.now())
            self.alone = i in self.lone or self._counts(i)
            if took > blocking_after:
                self.warn_blocking(i, took)
            if not self.alone and not self.spawning:
                self.spawn_for_ready()
            thrown: BaseException | None = None
            while True:
                try:
                    value = yield signal
                except BaseException as error:
                    thrown = error
                self.resumed = now = perf_counter()
                if now - self.left > IDLE:
                    self.burst = now
                if thrown is None:
                    signal = node.send(value)
                else:  # outside of the handler: it is not the context of what the node raises later
                    self.interrupted = True
                    threw, thrown = thrown, None
                    try:
                        signal = node.throw(threw)
                    finally:
                        del threw  # its traceback holds this frame: no cycle
                self.left = now = perf_counter()
                if now - self.resumed > blocking_after:
                    self.warn_blocking(i, now - self.resumed)
        except StopIteration as end:
            if call is not None:
                self.came_back(call, i)
            return end.value
        except NodeTimeout:
            if call is not None:
                self.came_back(call, i)
            raise
        finally:
            self.waiting -= waits

    def _start_first(self) -> None:
        """Start the first host within this call, with the first node if that is async."""
        run, i, began = self.run, -1, 0.0
        self.hosts += 1
        context = self.base
        if (
            isinstance(run, RunState)
            and run.resolver is None
            and run.kinds[run.order[0]]
            and not (run.plan.warmth or run.plan.heads)  # generated code is for a conductor
        ):
            i, context, began = next(self.todo), context.copy(), perf_counter()
        task = _eager_task(self._task(i, None, began, context), self.loop, context)
        if not task.done():
            self.first = task

    async def _task(self, i: int, key: object | None, began: float, context: Context) -> None:
        """Run the taken node ``i``, if any, and what comes next, then go on as a host while there is more to do.

        As long as nodes suspend each is stepped in this task itself, which costs them less than under a conductor;
        one that does not costs more. In the first phase nothing is counted meanwhile if each is the only one that can
        run. The task says itself when it ends: a callback would hold a context and a handle.

        :param key: its own in ``tasks``; None for the first.
        :param began: since when it has the thread.
        :param context: its own.
        """
        run, idle, more = self.run, 0, i < 0
        try:
            while i >= 0:
                suspensions, self.resumed = self.suspensions, began
                call, values = run.fns[i], run.values
                try:
                    if run.kinds[i]:
                        values[i] = await self.stay_with(i, call(*[values[slot] for slot in run.arguments[i]]))
                    else:
                        values[i] = call(*[values[slot] for slot in run.arguments[i]])
                except BaseException as error:
                    self.alone = False
                    if run.resolver is None:
                        self.start_counting()
                    self.node_raised(i, error)
                    done = False
                else:
                    self.alone, done = False, True
                idle = 0 if self.suspensions != suspensions else idle + 1 + run.kinds[i]
                began = perf_counter()
                if self.resumed - self.left > IDLE:
                    self.burst = self.resumed
                self.left = began
                long = began - self.burst > YIELD_EVERY
                if began - self.resumed > self.blocking_after:
                    self.warn_blocking(i, began - self.resumed)
                resolver = run.resolver
                if resolver is not None:
                    i = resolver.advance(i) if done else resolver.take()
                    if i < 0:
                        break
                try:
                    fresh = long or idle > 1 or self.hosts > self.limit or context != self.base
                except Exception:  # a value that cannot be compared: not the one it was
                    fresh = True
                if resolver is None:
                    if not fresh and not self.stopping:
                        i = next(self.todo, -1)
                        continue
                    more = not self.stopping and length_hint(self.todo) > 0
                elif fresh or (self.blocks is not None and i in self.blocks):
                    resolver.put_back(i)
                    more = True
                else:
                    continue
                if long and more:
                    await self._let_turn()
                break
            if more and self.hosts <= self.limit:  # which may have shrunk
                await self.conduct()
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # not a node's: a predicate's or an observer's
            self.broke(error)
        finally:
            self.hosts -= 1
            if key is None:
                self.first = None
            else:
                self.tasks.pop(key, None)
            if self.joined is not None:
                self._wake_if_over()
        if more and run.resolver is not None:  # something may have become ready since the host found nothing
            self.spawn_for_ready()

    def spawn(self) -> None:
        self.hosts += 1
        self._keep(self.loop.create_task(self.host_task()))

    def spawn_delay(self, i: int, seconds: float) -> None:
        self._keep(self.loop.create_task(self.delay(i, seconds)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._own_tasks()[task] = task
        task.add_done_callback(self._ended)

    def _own_tasks(self) -> dict[object, asyncio.Task[None]]:
        if self.tasks is _NO_TASKS:
            self.tasks = {}
        return self.tasks

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:  # not a node's: those are caught
            self.broke(error)
        self._forget(task)

    def _forget(self, key: object) -> None:
        self.tasks.pop(key, None)
        self._wake_if_over()

    def _wake_if_over(self) -> None:
        if (
            self.first is None
            and not self.tasks
            and not self.spawning
            and self.joined is not None
            and not self.joined.done()
        ):
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
                key, context = object(), base.copy()
                task = _eager_task(self._task(i, key, before, context), self.loop, context)
                if not task.done():
                    self._own_tasks()[key] = task
                now = perf_counter()
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

    def _counts(self, i: int) -> bool:
        """Node ``i`` has suspended: count from now on, unless it is one beside which nothing can run; tell if it is."""
        run = self.run
        if run.resolver is None:
            if isinstance(run, RunState) and run.order is run.plan.order:
                self.lone = lone_nodes(run.plan)
                if i in self.lone:
                    return True
            self.start_counting()
        return False

    def stop(self) -> None:
        if self.alone and self.run.resolver is None and not self.stopping:
            self.start_counting()  # which is then halted
        super().stop()

    def in_thread(self, call: Callable[..., Any]) -> Callable[..., Any]:
        return threads.on_asyncio(self.outermost or self, call)

    def cancel_all(self) -> None:
        self.loop.call_soon(self._cancel_tasks)

    def _cancel_tasks(self) -> None:
        for task in [self.first, *self.tasks.values()]:
            if task is not None:
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
