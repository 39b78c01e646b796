"""Batches that are filled as items come: of a slow source, or of a map that is pipelined."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any

from flow.clock import Clock
from flow.run.queue import ArrivingResolver, StreamResolver


class OpenBatch:
    """The batch that is being filled: it ends when it is full, or so many seconds after its first item.

    Of a synchronous source the time is looked at when an item comes (:meth:`split`). Beside all else there is a task
    that waits on the run's clock (:meth:`give_by_time`).

    :param size: most items of a batch; ``wait`` is in seconds.
    :ivar places: the indices of the items of each batch so far.
    """

    __slots__ = (
        "_at", "_begun", "_clock", "_count", "_due", "_ended", "_items", "_numbers", "_scope", "_size", "_wait",
        "places",
    )  # fmt: skip

    def __init__(self, size: int, wait: float, clock: Clock) -> None:
        self._size = size
        self._wait = wait
        self._clock = clock
        self._items: list[Any] = []
        self._at: list[int] = []  # the indices of these items, where they come in any order
        self._due = 0.0
        self._count = 0  # of the items in batches that have ended
        self._begun: Any = None  # the event for which the task waits while there are no items
        self._scope: Any = None  # of that task
        self._ended = False
        self._numbers: dict[int, int] = {}  # of batches, by the index of their first item
        self.places: list[Sequence[int]] = []

    def __bool__(self) -> bool:
        return bool(self._items)

    def first(self, i: int) -> int:
        """Return the index of the first item of batch ``i``; before it begins, that of the next item in order."""
        return self.places[i][0] if i < len(self.places) else self._count

    def number(self, first: int) -> int:
        """Return the number of the batch whose first item has this index."""
        return self._numbers[first]

    def add(self, item: Any) -> bool:
        """Add an item; tell whether the batch is full now."""
        items = self._items
        items.append(item)
        if len(items) == 1:
            self._due = self._clock.now() + self._wait
            if self._begun is not None:
                self._begun.set()
        return len(items) == self._size

    def add_at(self, place: int, item: Any) -> bool:
        """Add the item of index ``place``; tell whether the batch is full now."""
        self._at.append(place)
        return self.add(item)

    @property
    def is_due(self) -> bool:
        """True if the time of the batch, which has an item, is up."""
        return self._clock.now() >= self._due

    def take(self) -> list[Any]:
        """End the batch and return it. The next one is empty."""
        batch, self._items = self._items, []
        at, self._at = self._at or range(self._count, self._count + len(batch)), []
        self._count += len(batch)
        self._numbers[at[0]] = len(self.places)
        self.places.append(at)
        return batch

    def split(self, entries: Iterator[Any]) -> Iterator[list[Any]]:
        """Return the batches of a synchronous source. An item that comes when the time is up is the last of its batch.

        (Nothing can be given while such a source is waited for.)
        """
        for item in entries:
            if self.add(item) or self.is_due:
                yield self.take()
        if self._items:
            yield self.take()

    async def give_by_time(self, feed: GivingResolver, limit: Callable[[], int], arrived: Callable[[], None]) -> None:
        """Give ``feed`` each batch whose time is up, and say so, until :meth:`end`.

        While ``limit()`` batches are open it goes on being filled.
        """
        from anyio import CancelScope, Event

        clock = self._clock
        with CancelScope() as self._scope:
            while not self._ended:
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

    def end(self) -> None:
        """No more items come: end the task."""
        self._ended = True
        if self._scope is not None:
            self._scope.cancel()

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

        async def filling() -> None:
            await pump()
            self.end()

        await run_beside(filling, [partial(self.give_by_time, feed, limit, arrived)], feed.halt)


class BatchResolver(ArrivingResolver):
    """Batches of the items that a map before hands over, in whatever order they come.

    :ivar by_arrival: no task gives what is due: the time is looked at when an item comes.
    """

    __slots__ = ("_batch", "by_arrival")

    def __init__(self, batch: OpenBatch, *args: Any) -> None:
        super().__init__(*args)
        self._batch = batch
        self.by_arrival = False

    @property
    def unfinished(self) -> int:
        return super().unfinished + bool(self._batch)

    def arrive(self, i: int, item: Any) -> None:
        """The item of index ``i`` has come."""
        batch = self._batch
        if batch.add_at(i, item) or (self.by_arrival and batch.is_due):
            self.give(batch.take())

    def give(self, item: list[Any]) -> None:
        """A batch has ended: it may be taken."""
        self._arrived += 1
        super().arrive(self.pulled, item)

    def end(self) -> bool:
        """No more items come: give what there is. Tell whether there was anything."""
        self._batch.end()
        if not self._batch:
            return False
        self.give(self._batch.take())
        return True


GivingResolver = StreamResolver | BatchResolver


async def run_beside(
    body: Callable[[], Coroutine[Any, Any, None]],
    tasks: Sequence[Callable[[], Coroutine[Any, Any, None]]],
    failing: Callable[[], None],
) -> None:
    """Run ``body`` and, beside it, ``tasks``; ``failing`` is called when one of these raises, before all are cancelled.

    :raises BaseException: what any of them raises, as it is (in a task group it would be in an exception group).
    """
    from anyio import create_task_group, get_cancelled_exc_class

    raised: list[BaseException] = []

    async def run(task: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await task()
        except Exception as error:
            raised.append(error)
            failing()
            group.cancel_scope.cancel()

    async with create_task_group() as group:
        for task in tasks:
            group.start_soon(run, task)
        try:
            await body()
        except BaseException as error:
            if isinstance(error, get_cancelled_exc_class()):
                raise
            raised.append(error)
            group.cancel_scope.cancel()
    if raised:
        raise raised.pop(0)


__all__ = ["BatchResolver", "OpenBatch", "run_beside"]
