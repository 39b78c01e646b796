"""Sync functions in worker threads: one pool per outermost run, of daemon threads that its nodes share.

::

    event loop                             worker thread
    in_thread(call)(*values)  --queue-->   takes a job, unless it was withdrawn, and calls
    awaits job.waiter         <--done---   one wake-up of the loop for all that have finished

All but the queues belongs to the event loop's thread. Who takes a job out of ``Pool.queued`` has it: a worker to
call it, or the loop to withdraw it.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final

from flow.data.context import LEASE, Lease
from flow.errors import ThreadsExhausted
from flow.policy.bind import ThreadLimit
from flow.run.tasks import Tasks

_NOT_QUEUED: Final = object()


class Job:
    """One call.

    :ivar waiter: what the loop is to wake: a future, or a :class:`_TrioWaiter`.
    :ivar lease: what lets its Context write; of calls that may be abandoned.
    :ivar queues: no thread was free; the loop is to be told when it begins.
    """

    __slots__ = (
        "began", "call", "context", "ended", "error", "finished", "lease", "limit", "queues", "result", "values",
        "waiter",
    )  # fmt: skip

    began: float  # by the event loop's clock; of calls with a limit
    ended: float

    def __init__(self, call: Callable[..., Any], values: tuple[Any, ...], limit: ThreadLimit | None) -> None:
        self.call: Any = call
        self.values = values
        self.limit = limit
        self.context: Any = copy_context()
        self.result: Any = None
        self.error: BaseException | None = None
        self.finished = False
        self.queues = False
        self.waiter: Any = None
        self.lease: Lease | None = None

    def forget(self) -> None:
        """Let go of what it was to be called with, and what came of it."""
        self.call = self.context = self.result = self.error = None
        self.values = ()


class Pool:
    """Threads that are started when a call finds none free, and end with the run.

    :ivar most: most threads.
    :ivar threads: threads started.
    :ivar open: calls that the loop knows as neither finished nor withdrawn.
    :ivar abandoned: calls left behind at their limit that have not returned, and the names of their nodes.
    """

    __slots__ = (
        "abandoned", "clock", "done", "library", "most", "new_waiter", "open", "queue", "queued", "threads", "wake",
        "waking",
    )  # fmt: skip

    def __init__(
        self,
        most: int,
        new_waiter: Callable[[], Any],
        wake: Callable[..., Any],
        clock: Callable[[], float],
    ) -> None:
        self.most = most
        self.new_waiter = new_waiter
        self.wake = wake  # calls a function in the event loop, from any thread
        self.clock = clock
        self.queue: SimpleQueue[Job | None] = SimpleQueue()
        self.queued: dict[Job, None] = {}
        self.done: deque[Job] = deque()
        self.waking = False
        self.threads = 0
        self.open = 0
        self.abandoned: dict[Job, str] = {}
        sniffio = sys.modules.get("sniffio")  # says which event loop this is: none, in a thread
        self.library: Any = getattr(sniffio, "current_async_library_cvar", None)

    # -- in the event loop's thread ----------------------------------------------------------

    def submit(self, call: Callable[..., Any], values: tuple[Any, ...], limit: ThreadLimit | None) -> Job:
        """Have it called by a thread.

        :raises RuntimeError: the system's own, if it is to start one and cannot.
        :raises ThreadsExhausted: if all are held by abandoned calls.
        """
        if len(self.abandoned) >= self.most:
            raise ThreadsExhausted(self.most, [*self.abandoned.values()])
        job = Job(call, values, limit)
        idle = self.open - len(self.done) < self.threads
        if not idle and limit is not None and self.threads >= self.most:
            job.queues = True
            limit.pause(self.clock())
        if limit is not None:
            if limit.abandons:
                job.lease = Lease(limit.name)
                job.context.run(LEASE.set, job.lease)
            if not job.queues:
                limit.begun = True
        job.waiter = self.new_waiter()
        self.open += 1
        self.queued[job] = None
        self.queue.put(job)
        if not idle and self.threads < self.most:
            try:
                self._start()  # after that: starting one lets it work at once, and the next call may find it idle
            except BaseException:
                if self.withdraw(job):  # else another thread has just become free for it
                    raise
        return job

    def _start(self) -> None:
        """Start one more thread. From 3.14 on it would inherit our contextvars, and keep them while it lives."""
        own: dict[str, Any] = {"context": Context()} if sys.version_info >= (3, 14) else {}
        Thread(target=_work, args=(self,), name=f"flow-thread-{self.threads}", daemon=True, **own).start()
        self.threads += 1

    def withdraw(self, job: Job) -> bool:
        """Take it back, unless it has begun."""
        if self.queued.pop(job, _NOT_QUEUED) is _NOT_QUEUED:
            return False
        self.open -= 1
        job.queues = False
        job.forget()
        return True

    def deliver(self) -> None:
        """Wake who waits for calls that have finished."""
        self.waking = False
        done = self.done
        while done:
            job = done.popleft()
            self.open -= 1
            if job.queues:
                self.begins(job)
            if not job.waiter.done():
                job.waiter.set_result(None)

    def begins(self, job: Job) -> None:
        """A job that had to queue has begun: from then on its limit counts."""
        if job.queues:
            job.queues = False
            assert job.limit is not None
            job.limit.resume(job.began, self.clock())

    async def join(self, job: Job) -> bool:
        """Wait for a job that has begun, whatever is thrown at this task; tell if it has ended.

        One that may be abandoned is, as soon as its limit passes.
        """
        from anyio import CancelScope, get_cancelled_exc_class

        limit, cancelled = job.limit, get_cancelled_exc_class()
        with CancelScope(shield=True) as scope:  # else a cancelled anyio scope would wake us at every turn
            if limit is not None and limit.abandons:
                self.begins(job)  # if it has just done so
                scope.deadline = limit.scope.deadline
            while not job.finished:
                job.waiter = self.new_waiter()
                try:
                    await job.waiter
                except cancelled:
                    if scope.cancel_called:
                        break
        if job.finished:
            if limit is not None:
                limit.detail = limit.WAITED_FOR
            return True
        self._abandon(job)
        return False

    def _abandon(self, job: Job) -> None:
        limit = job.limit
        assert limit is not None
        assert job.lease is not None
        job.lease.revoked = True
        limit.left, limit.detail = job, limit.ABANDONED
        self.abandoned[job] = limit.name
        if job.finished:  # meanwhile, and without a look at the lease
            job.forget()
            self.abandoned.pop(job, None)
        if len(self.abandoned) >= self.most:
            for queued in list(self.queued):
                if self.withdraw(queued):
                    queued.error = ThreadsExhausted(self.most, [*self.abandoned.values()])
                    queued.finished = True
                    if not queued.waiter.done():
                        queued.waiter.set_result(None)

    async def returned(self, job: Job) -> None:
        """Wait until an abandoned call has returned."""
        if not job.finished:
            job.waiter = self.new_waiter()
            await job.waiter

    def close(self) -> None:
        """Let every thread end that is idle; the others do when their call returns."""
        for _ in range(self.threads):
            self.queue.put(None)

    # -- in a worker thread ------------------------------------------------------------------

    def took(self, job: Job) -> None:
        """A worker is about to call a job that has a time limit."""
        job.began = self.clock()
        if job.queues:
            self.tell(self.begins, job)

    def tell(self, *what: Any) -> None:
        """Call something in the event loop's thread; if the loop has ended, nobody is there to be told."""
        try:
            self.wake(*what)
        except RuntimeError:
            return

    def gave_back(self, job: Job) -> None:
        """A job that has a time limit has ended."""
        job.ended = self.clock()
        lease = job.lease
        if lease is not None:
            job.finished = True  # before the look: whoever abandons it looks for that afterwards
            if lease.revoked:
                job.forget()
                self.abandoned.pop(job, None)


def _work(pool: Pool) -> None:
    """What a thread does: call what is queued, until told to end."""
    get, queued, done, library = pool.queue.get, pool.queued, pool.done, pool.library
    while (job := get()) is not None:
        if queued.pop(job, _NOT_QUEUED) is _NOT_QUEUED:
            continue
        if job.limit is not None:
            pool.took(job)
        if library is not None and job.context.get(library) is not None:
            job.context.run(library.set, None)
        try:
            job.result = job.context.run(job.call, *job.values)
        except BaseException as error:  # exits too: it is the run that acts on them
            traceback = error.__traceback__
            # The base's own method: an exception may have another of this name. This frame lives as long as the pool.
            job.error = BaseException.with_traceback(error, None if traceback is None else traceback.tb_next)
            del traceback
        if job.limit is not None:
            pool.gave_back(job)
        job.finished = True
        done.append(job)
        if not pool.waking:
            pool.waking = True
            pool.tell(pool.deliver)
        del job  # not to be held while there is nothing to do


def _in_thread(
    tasks: Tasks, call: Callable[..., Any], limit: ThreadLimit | None, new_pool: Callable[[int], Pool]
) -> Callable[..., Any]:
    """Return an async callable that has ``call`` called by a thread of the outermost run's ``tasks``.

    Cancelled, one that still queues gives up at once; for one that has begun it waits, or leaves it at its limit.
    """

    async def threaded(*values: Any) -> Any:
        pool = tasks.pool
        if pool is None:
            pool = tasks.pool = new_pool(tasks.run.config.threads)
        if limit is not None and limit.left is not None:
            limit.detail = limit.HELD
            await pool.returned(limit.left)
            limit.left = None
            limit.restart(pool.clock())
        job = pool.submit(call, values, limit)
        try:
            await job.waiter
        except GeneratorExit:  # closed from outside: nobody can wait any more
            pool.withdraw(job)
            raise
        except BaseException:
            if pool.withdraw(job):
                raise
            if not await pool.join(job):
                raise
            if job.error is None and (limit is None or not limit.kept(job.ended)):
                raise
        error = job.error
        if error is not None:
            job.error = None
            try:
                raise error
            finally:
                del error  # its traceback holds this frame: no cycle
        return job.result

    return threaded


def on_asyncio(tasks: Tasks, call: Callable[..., Any], limit: ThreadLimit | None = None) -> Callable[..., Any]:
    """Return an async callable that runs ``call`` in a thread, with a copy of the contextvars, on asyncio."""
    import asyncio

    def new_pool(most: int) -> Pool:
        loop = asyncio.get_running_loop()
        return Pool(most, loop.create_future, loop.call_soon_threadsafe, loop.time)

    return _in_thread(tasks, call, limit, new_pool)


def on_trio(tasks: Tasks, call: Callable[..., Any], limit: ThreadLimit | None = None) -> Callable[..., Any]:
    """As :func:`on_asyncio`, on trio."""
    import trio

    def new_pool(most: int) -> Pool:
        wake = trio.lowlevel.current_trio_token().run_sync_soon
        return Pool(most, _TrioWaiter, wake, trio.lowlevel.current_clock().current_time)

    return _in_thread(tasks, call, limit, new_pool)


class _TrioWaiter:
    """What a future is on asyncio, as far as one task awaits it once."""

    __slots__ = ("over", "task")

    def __init__(self) -> None:
        self.over = False
        self.task: Any = None

    def __await__(self) -> Generator[Any, Any, None]:
        return self._wait().__await__()

    async def _wait(self) -> None:
        from trio import lowlevel

        self.task = lowlevel.current_task()
        try:
            await lowlevel.wait_task_rescheduled(self._abort)
        finally:
            self.over = True  # closed from outside, too

    def done(self) -> bool:
        return self.over

    def set_result(self, result: None) -> None:
        from trio import lowlevel

        self.over = True
        lowlevel.reschedule(self.task)

    def _abort(self, _: object) -> Any:
        from trio import lowlevel

        self.over = True
        return lowlevel.Abort.SUCCEEDED
