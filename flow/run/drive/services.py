"""What calls ask of the driver that makes them, on any event loop (:class:`flow.run.calls.Driver`)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final

from flow.run.calls import Calls
from flow.run.drive.eventloop import EventLoop
from flow.run.drive.executors import in_executor, waiting_for
from flow.run.drive.threads import Pool, in_thread

if TYPE_CHECKING:
    from flow.policy.bind import ThreadLimit
    from flow.run.mailbox import Mailbox

NOBODY: Final[Any] = ()
"""An empty queue; a deque is made at the first who queues."""


class Services(EventLoop):
    """Threads, executors, slots that are given back, hooks that are awaited.

    :ivar workers: tasks alive that run calls; ``limit`` is the most.
    :ivar outermost: the driver of the outermost run, whose threads all use: ``pool``.
    :ivar interrupted: a cancellation has reached a call.
    :ivar outside: calls that go on without a slot (:meth:`leave_slot`); ``returning`` wait for one again.
    :ivar mailbox: what is sent to the signals of an outermost run; only there if something can be sent.
    :ivar untold: outcomes that an async hook is being told: until it has been, no call is taken.
    """

    __slots__ = (
        "interrupted", "limit", "mailbox", "outermost", "outside", "pool", "returning", "run", "untold", "workers",
    )  # fmt: skip

    run: Calls
    mailbox: Mailbox
    outermost: Services | None
    pool: Pool | None
    interrupted: bool
    limit: int
    workers: int
    outside: int
    returning: Any
    untold: Any

    def in_thread(self, call: Callable[..., Any], limit: ThreadLimit | None) -> Callable[..., Any]:
        return in_thread(self.threads, call, limit)

    def in_executor(self, executor: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
        return in_executor(self.threads, executor, fn)

    def waiting_for(self, executor: Any, fn: Callable[..., Any]) -> Callable[..., Any]:
        return waiting_for(executor, fn)

    def threads(self) -> Pool:
        """The threads of the outermost run, made at their first use."""
        top = self.outermost or self
        if top.pool is None:
            top.pool = top.new_pool(top.run.config.threads)
        return top.pool

    def abandoned(self) -> Mapping[Any, str]:
        pool = (self.outermost or self).pool
        return {} if pool is None else pool.abandoned

    def leave_slot(self) -> None:
        self.outside += 1
        self.pump_soon()  # not within this node's step, which would be blamed for the time that others take

    async def take_slot(self, may: Callable[[], bool], taken: Callable[[], None], waits: bool) -> None:
        self.outside -= 1
        if not waits or (self.workers - self.outside <= self.limit and not self.returning and may()):
            taken()
            return
        waiter = self.threads().new_waiter()
        entry = (waiter, may, taken)
        self.returning = self.returning or deque()
        self.returning.append(entry)
        try:
            await waiter
        except BaseException:
            if entry in self.returning:
                self.returning.remove(entry)
                taken()  # what comes now is its end
            raise

    def readmit(self) -> None:
        """Let calls that have left their slot go on, where there is one again."""
        waits = self.returning
        while waits and self.workers - self.outside - len(waits) < self.limit and waits[0][1]():
            waiter, _, taken = waits.popleft()
            taken()
            if not waiter.done():
                waiter.set_result(None)

    def tell_later(self, telling: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if self.untold:
            self.untold.append(telling)
        else:
            self.untold = deque([telling])
            self.shield(self._tell)

    async def _tell(self) -> None:
        try:
            while self.untold:
                await self.untold[0]()
                self.untold.popleft()
        except BaseException as error:
            self.untold = NOBODY
            if not isinstance(error, Exception) and self.is_cancellation(error):
                raise
            self.broke(error)
        self.pump()
