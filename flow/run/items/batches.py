"""Batches that end by time as well: ``batch_wait``."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

from flow.clock import Clock

if TYPE_CHECKING:
    from flow.run.queue import StreamResolver


class OpenBatch:
    """The batch that is being filled: it ends when it is full, or so many seconds after its first item.

    Of a synchronous source the time is looked at when an item comes (:meth:`split`). Beside an asynchronous one
    there is a task that waits on the run's clock (:meth:`fill`).

    :param size: most items of a batch; ``wait`` is in seconds.
    :ivar firsts: the index of the first item of each batch so far.
    """

    __slots__ = ("_begun", "_clock", "_count", "_due", "_items", "_size", "_wait", "firsts")

    def __init__(self, size: int, wait: float, clock: Clock) -> None:
        self._size = size
        self._wait = wait
        self._clock = clock
        self._items: list[Any] = []
        self._due = 0.0
        self._count = 0  # of the items in batches that have ended
        self._begun: Any = None  # the event for which the task waits while there are no items
        self.firsts: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._items)

    def add(self, item: Any) -> bool:
        """Add an item; tell whether the batch is full now."""
        items = self._items
        items.append(item)
        if len(items) == 1:
            self._due = self._clock.now() + self._wait
            if self._begun is not None:
                self._begun.set()
        return len(items) == self._size

    def take(self) -> list[Any]:
        """End the batch and return it. The next one is empty."""
        batch, self._items = self._items, []
        self.firsts.append(self._count)
        self._count += len(batch)
        return batch

    def split(self, entries: Iterator[Any]) -> Iterator[list[Any]]:
        """Return the batches of a synchronous source. An item that comes when the time is up is the last of its batch.

        (Nothing can be given while such a source is waited for.)
        """
        for item in entries:
            if self.add(item) or self._clock.now() >= self._due:
                yield self.take()
        if self._items:
            yield self.take()

    async def fill(
        self,
        feed: StreamResolver,
        limit: Callable[[], int],
        arrived: Callable[[], None],
        pump: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """Run ``pump``, which fills batches and gives the full ones, and beside it give those whose time is up.

        :raises Exception: what the clock raises.
        """
        from anyio import create_task_group, get_cancelled_exc_class

        raised: list[BaseException] = []  # (a task group would raise them in an exception group)

        async def by_time() -> None:
            try:
                await self._give_by_time(feed, limit, arrived)
            except Exception as error:
                raised.append(error)
                feed.halt()
                group.cancel_scope.cancel()

        async with create_task_group() as group:
            group.start_soon(by_time)
            try:
                await pump()
            except BaseException as error:
                if isinstance(error, get_cancelled_exc_class()):
                    raise
                raised.append(error)
            group.cancel_scope.cancel()
        if raised:
            raise raised.pop(0)

    async def _give_by_time(self, feed: StreamResolver, limit: Callable[[], int], arrived: Callable[[], None]) -> None:
        """Give each batch whose time is up. Without a free slot it stays open, and goes on being filled."""
        from anyio import Event

        clock = self._clock
        while True:
            if not self._items:
                self._begun = Event()
                await self._begun.wait()
            elif (left := self._due - clock.now()) > 0:
                await clock.wait(left)  # of a batch that fills up meanwhile: the next one is due later
            elif feed.is_full(limit()):
                await feed.closes_one()
            else:
                feed.give(self.take())
                arrived()


__all__ = ["OpenBatch"]
