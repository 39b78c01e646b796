"""Sync functions in worker threads: daemon threads that all runs of the process use, so many at a time per run.

::

    event loop                                 worker thread
    in_thread(call)(*values)   --inbox---->    a job each, for as many as the run may use
                               --backlog-->    the others: a worker that is done takes the next
    awaits job.waiter          <--done-----    one wake-up of the loop for all that have finished

A :class:`Pool` is what one outermost run and all within it share. All but its queues belongs to the event loop's
thread. Who takes a job out of ``Pool.queued`` has it: a worker to call it, or the loop to withdraw it.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Callable, Generator
from contextvars import Context, copy_context
from itertools import count
from queue import Empty, SimpleQueue
from threading import Thread, local
from typing import Any, Final

from flow.data.context import LEASE, Lease
from flow.errors import ThreadsExhausted
from flow.policy.bind import ThreadLimit
from flow.run.calls import OutOfTime

_NOT_QUEUED: Final = object()

IDLE_SECONDS: Final = 10.0
"""How long a thread with nothing to do waits for the next run's calls."""

_idle: Final[deque[SimpleQueue[Job]]] = deque()
"""The inboxes of threads that wait for a job; the last one has waited for the shortest time, and is taken first."""

_numbers: Final = count()

_of_thread = local()
"""``job`` is the call that a worker thread is making."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # a child has none of its parent's threads


class Job:
    """One call.

    :ivar waiter: what the loop is to wake: a future, or a :class:`TrioWaiter`.
    :ivar lease: what lets its Context write; of calls that may be abandoned.
    :ivar queues: no thread was free; the loop is to be told when it begins.
    :ivar unwanted: who has waited for it has been cancelled, and only waits for its end.
    """

    __slots__ = (
        "began", "call", "context", "ended", "error", "finished", "lease", "limit", "pool", "queues", "result",
        "unwanted", "values", "waiter",
    )  # fmt: skip

    began: float  # by the event loop's clock; of calls with a limit
    ended: float

    def __init__(
        self, pool: Pool, call: Callable[..., Any], values: tuple[Any, ...], limit: ThreadLimit | None
    ) -> None:
        self.pool = pool
        self.call: Any = call
        self.values = values
        self.limit = limit
        self.context: Any = copy_context()
        self.result: Any = None
        self.error: BaseException | None = None
        self.finished = False
        self.queues = self.unwanted = False
        self.waiter: Any = None
        self.lease: Lease | None = None

    def forget(self) -> None:
        """Let go of what it was to be called with, and what came of it."""
        self.call = self.context = self.result = self.error = None
        self.values = ()


class Pool:
    """The calls of one outermost run.

    :ivar most: most threads it uses at a time.
    :ivar open: calls that the loop knows as neither finished nor withdrawn.
    :ivar abandoned: calls left behind at their limit that have not returned, and the names of their nodes.
    """

    __slots__ = (
        "abandoned", "backlog", "clock", "done", "library", "most", "new_waiter", "open", "queued", "wake", "waking",
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
        self.backlog: deque[Job] = deque()
        self.queued: dict[Job, None] = {}
        self.done: deque[Job] = deque()
        self.waking = False
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
        job = Job(self, call, values, limit)
        job.waiter = self.new_waiter()
        free = self.open - len(self.done) < self.most
        if limit is not None:
            self._limited(job, limit, free)
        self.open += 1
        self.queued[job] = None
        if not free:
            self.backlog.append(job)
            free = self.open - len(self.done) <= self.most  # meanwhile, and its thread may have missed this job
        if free:
            try:
                _hand_over(job)
            except BaseException:
                if self.withdraw(job):
                    raise
        return job

    def _limited(self, job: Job, limit: ThreadLimit, free: bool) -> None:
        """Prepare a job that has a time limit."""
        if limit.abandons:
            job.lease = Lease(limit.name)
            job.context.run(LEASE.set, job.lease)
        if free:
            limit.begun = True
        else:
            job.queues = True
            limit.pause(self.clock())

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

    # -- in a worker thread ------------------------------------------------------------------

    def take(self) -> Job | None:
        """Return the next of the jobs that wait for a thread; it may have been withdrawn."""
        if not self.backlog:
            return None
        try:
            return self.backlog.popleft()
        except IndexError:  # another thread has just taken the last
            return None

    def took(self, job: Job) -> None:
        """A worker is about to call a job that has a time limit."""
        job.began = self.clock()
        if job.queues:
            self.tell(self.begins, job)

    def tell(self, *what: Any) -> None:
        """Call something in the event loop's thread; if the loop has ended, do nothing."""
        try:
            self.wake(*what)
        except RuntimeError:
            return

    def gave_back(self, job: Job) -> None:
        """A job that has a time limit has ended."""
        job.ended = self.clock()
        lease = job.lease
        if lease is not None:
            job.finished = True  # before the look: the side that abandons it checks this afterwards
            if lease.revoked:
                job.forget()
                self.abandoned.pop(job, None)


def _hand_over(job: Job) -> None:
    """Give a job to an idle thread; start one, if there is none.

    :raises RuntimeError: the system's own, if it cannot be started.
    """
    try:
        _idle.pop().put(job)
    except IndexError:
        inbox: SimpleQueue[Job] = SimpleQueue()
        inbox.put(job)  # before it starts, as starting lets it work at once: the next job may find it idle
        # From 3.14 on a thread would inherit our contextvars, and keep them for as long as it lives.
        own: dict[str, Any] = {"context": Context()} if sys.version_info >= (3, 14) else {}
        Thread(target=_work, args=(inbox,), name=f"flow-thread-{next(_numbers)}", daemon=True, **own).start()


def _work(inbox: SimpleQueue[Job]) -> None:
    """The body of a thread: make the given call, and the calls that queue behind it."""
    job = _given(inbox)
    while job is not None:
        pool = job.pool
        while job is not None:
            if pool.queued.pop(job, _NOT_QUEUED) is not _NOT_QUEUED:
                _call(job, pool)
            job = pool.take()
            if job is None:
                _idle.append(inbox)  # before the loop is woken, whose next job may be for us
            if pool.done and not pool.waking:
                pool.waking = True
                pool.tell(pool.deliver)
        del pool  # not to be held while there is nothing to do
        job = _given(inbox)


def _given(inbox: SimpleQueue[Job]) -> Job | None:
    """Wait for a job; None if none comes for some time."""
    try:
        return inbox.get(timeout=IDLE_SECONDS)
    except Empty:
        try:
            _idle.remove(inbox)
        except ValueError:  # someone has just taken it from there
            return inbox.get()
        return None


def _call(job: Job, pool: Pool) -> None:
    if job.limit is not None:
        pool.took(job)
    library = pool.library
    if library is not None and job.context.get(library) is not None:
        job.context.run(library.set, None)
    _of_thread.job = job
    try:
        job.result = job.context.run(job.call, *job.values)
    except BaseException as error:  # exits too: it is the run that acts on them
        traceback = error.__traceback__
        # The base's own method, as an exception may have another of this name. Its frames begin with the user's.
        job.error = BaseException.with_traceback(error, None if traceback is None else traceback.tb_next)
        del traceback  # which holds this frame: no cycle
    _of_thread.job = None
    if job.limit is not None:
        pool.gave_back(job)
    job.finished = True
    pool.done.append(job)


def job_at_hand() -> Job | None:
    """Return the call that this thread is making; None if it is no worker thread."""
    job: Job | None = getattr(_of_thread, "job", None)
    return job


def in_thread(
    threads: Callable[[], Pool], call: Callable[..., Any], limit: ThreadLimit | None = None
) -> Callable[..., Any]:
    """Return an async callable that has ``call`` called by a thread, with a copy of the contextvars.

    :param threads: gives those of the outermost run.

    Cancelled, one that still queues gives up at once; for one that has begun it waits, or leaves it at its limit.
    """

    async def threaded(*values: Any) -> Any:
        pool = threads()
        if limit is not None and limit.left is not None:
            limit.detail = limit.HELD
            await pool.returned(limit.left)
            limit.left = None
            limit.restart(pool.clock())
        job = pool.submit(call, values, limit)
        try:
            await job.waiter
        except GeneratorExit:  # closed from outside: waiting is no longer possible
            pool.withdraw(job)
            raise
        except BaseException:
            if pool.withdraw(job):
                raise
            job.unwanted = True
            if not await pool.join(job):
                raise
            if isinstance(job.error, OutOfTime):  # it has seen that it is unwanted
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


class TrioWaiter:
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
