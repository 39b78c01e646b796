"""Which item of a map is next: the Resolver's protocol over items that are pulled as slots free up.

::

    source --take--> TAKEN --done------> DONE
                      ^ |---failed-----> FAILED
                      | '---cancelled--> CANCELLED
                 take |
                     READY  (put back: tried again)

An item stands in the list of values where its result will: a driver calls function ``i`` with value
``i`` and puts what comes in that place. So an item is let go when it is done, and kept while it may be retried.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from contextvars import copy_context
from heapq import heappop, heappush
from math import inf
from time import perf_counter
from typing import Any, Final

from flow.errors import note
from flow.plan.resolver import CANCELLED, DONE, FAILED, READY, STATUS_OF, TAKEN
from flow.run.pacing import TURNS, YIELD_EVERY
from flow.types import MISSING, Status

CHUNK: Final = 256
"""Items for which room is made at a time."""

_PLENTY: Final = 1 << 30


class ItemResolver:
    """The items of one map: pulled from ``source`` one by one, never more than can be started.

    Until an item suspends or fails only one is open at a time, and nothing is counted
    (:meth:`one_by_one`, :meth:`call_all`, :func:`flow.run.drive.serial.first_items`); from :meth:`start_counting` on,
    several may be.
    The lists hold an entry per item pulled, and some to spare.

    :param fn: what is called with an item. Where that differs from item to item, ``bind`` makes it for number ``i``.
    :param awaits: it returns an awaitable.
    :param total: the number of items, if it is known before.
    :param window: items that may wait for a retry while others are pulled.
    :ivar broke: what the source itself raised; ``on_broken`` is called then.
    :ivar on_done: called with each item that has ended well, if anybody watches.
    """

    __slots__ = (
        "_bind", "arguments", "at_hand", "awaits", "back", "broke", "counting", "delayed", "ended", "fn", "fns",
        "halted", "is_async", "on_broken", "on_done", "pulled", "room", "source", "state", "total", "values", "window",
    )  # fmt: skip

    def __init__(
        self,
        source: Iterator[Any],
        fn: Callable[..., Any],
        bind: Callable[[int], Callable[..., Any]] | None,
        awaits: bool,
        total: int | None,
        window: int,
    ) -> None:
        self.source = source
        self.fn = fn
        self._bind = bind
        self.awaits = bytes([awaits])
        self.total = total
        self.window = window
        self.values: list[Any] = []
        self.fns: list[Any] = []
        self.arguments: list[tuple[int, ...]] = []
        self.is_async = bytearray()
        self.state = bytearray()
        self.pulled = self.room = 0
        self.back: list[int] = []  # heap of items to take again
        self.delayed: set[int] = set()  # items that wait for a retry
        self.halted = self.ended = self.counting = False
        self.at_hand: Any = MISSING  # the item of a call whose result will be appended
        self.broke: BaseException | None = None
        self.on_broken: Callable[[], None] | None = None
        self.on_done: Callable[[int], None] | None = None

    # -- ask ---------------------------------------------------------------------------------

    @property
    def ready_count(self) -> int:
        """About how many items may be taken; a large number if it is unknown."""
        if self.halted:
            return 0
        if self.ended or len(self.delayed) > self.window:
            return len(self.back)
        # a list may grow meanwhile: until it has ended, there may be one more
        return len(self.back) + (_PLENTY if self.total is None else max(1, self.total - self.pulled))

    @property
    def unfinished(self) -> int:
        """Items that are in no end state; of those to come, one stands for all."""
        count = self.state[: self.pulled].count
        more = not (self.ended or self.halted) and self.pulled != self.total
        return count(TAKEN) + count(READY) + more

    @property
    def taken_count(self) -> int:
        """Items that have been taken, and have not ended."""
        return self.state[: self.pulled].count(TAKEN)

    def status(self, i: int) -> Status:
        """Return item ``i``'s status."""
        return STATUS_OF[self.state[i]]

    def is_done(self, i: int) -> bool:
        """Tell, at the end, whether item ``i`` has ended well."""
        return not self.counting or self.state[i] == DONE

    @property
    def came(self) -> int:
        """Entries that the source has given."""
        return self.pulled

    # -- one at a time -----------------------------------------------------------------------

    def one_by_one(self) -> Iterator[int]:
        """Pull items, each when the one before is done, until there are no more or counting starts."""
        values, bind, fns, on_done = self.values, self._bind, self.fns, self.on_done
        try:
            for i, item in enumerate(self.source):
                if i == self.room:
                    self._make_room()
                values[i] = item
                if bind is not None:
                    fns[i] = bind(i)
                self.pulled = i + 1
                yield i
                if bind is not None:
                    fns[i] = None
                if on_done is not None:
                    on_done(i)
            self.ended = True
        except GeneratorExit:  # no more items are pulled
            raise
        except BaseException as error:
            self.break_off(error)

    def call_all(self, call: Callable[..., Any], numbered: bool) -> tuple[int, Exception] | None:
        """Call ``call`` with every item (its number first, if ``numbered``), on this thread, while all goes well.

        :return: the item that failed, which is taken, and its error; None if none did.
        """
        values, source, copy = self.values, self.source, copy_context().copy
        pulled, item = 0, None
        try:
            if numbered:
                for pulled, item in enumerate(source, 1):
                    values.append(copy().run(call, pulled - 1, item))
            else:
                for item in source:
                    pulled += 1
                    values.append(copy().run(call, item))
        except Exception as error:
            failed = error
        else:
            self.pulled, self.ended = pulled, True
            return None
        if len(values) == pulled:
            self.pulled = pulled
            self.break_off(failed)
            return None
        try:
            return self.adopt(item), failed
        finally:
            del failed  # its traceback holds this frame: no cycle

    def adopt(self, item: Any) -> int:
        """Start counting after calls whose results have been appended to ``values``: ``item`` is at hand."""
        done = len(self.values)
        self.pulled = done + 1
        while self.room < self.pulled:
            self._make_room()
        del self.values[self.room :]  # what was appended stands before the room made
        self._put(done, item)
        return self.start_counting()

    def start_counting(self) -> int:
        """All items pulled are done but the last: from now on several may be open. Return that one."""
        self.counting = True
        last = max(0, self.pulled - 1)
        self.state[:last] = bytes([DONE]) * last
        return last

    # -- the Resolver's protocol -------------------------------------------------------------

    def take(self) -> int:
        """Take an item that is to be tried again, or pull the next; -1 if there is none now."""
        if self.back and not self.halted:
            i = heappop(self.back)
            self.state[i] = TAKEN
            return i
        if self.ended or self.halted or len(self.delayed) > self.window:
            return -1
        try:
            for item in self.source:
                i = self.pulled
                if i == self.room:
                    self._make_room()
                self._put(i, item)
                self.pulled = i + 1
                return i
            self.ended = True
        except BaseException as error:
            self.break_off(error)
        return -1

    def done(self, i: int) -> None:
        """Item ``i`` has ended well."""
        self.state[i] = DONE
        self.fns[i] = None
        if self.on_done is not None:
            self.on_done(i)

    def advance(self, i: int) -> int:
        """Do what ``done(i)`` and then ``take()`` do."""
        self.done(i)
        return self.take()

    def failed(self, i: int) -> list[int]:
        """Item ``i`` has failed for good; nothing is skipped for it."""
        self.state[i] = FAILED
        self.fns[i] = None
        self.values[i] = MISSING
        return []

    def cancelled(self, i: int) -> None:
        """Item ``i`` was cancelled."""
        self.state[i] = CANCELLED
        self.values[i] = MISSING

    def put_back(self, i: int) -> None:
        """Item ``i`` is to be taken again."""
        self.delayed.discard(i)
        self.state[i] = READY
        heappush(self.back, i)

    def arrive(self, i: int, item: Any) -> None:
        """Item ``i`` has come from the map before (where there is no source to pull from)."""
        while i >= self.room:
            self._make_room()
        self.pulled = max(self.pulled, i + 1)
        self._put(i, item)
        self.put_back(i)

    def halt(self) -> None:
        """Let nothing be taken any more."""
        self.halted = True

    def close(self) -> None:
        """At the end, let go of what leads back to the map: its results need no garbage collector."""
        self.fns.clear()
        self.at_hand = MISSING
        self._bind = self.on_done = self.on_broken = None

    def break_off(self, error: BaseException) -> None:
        """The source itself raised: nothing more comes, and the map fails."""
        note(error, f"from the source of the items, after {self.came} of them")
        self.broke = error
        self.halt()
        if self.on_broken is not None:
            self.on_broken()

    def _put(self, i: int, item: Any) -> None:
        self.values[i] = item
        if self._bind is not None:
            self.fns[i] = self._bind(i)

    def _make_room(self) -> None:
        """Lengthen the lists. What is pulled is taken, so that is the state they start with."""
        room = self.room
        self.room = room + CHUNK
        self.values += [MISSING] * CHUNK
        self.fns += [self.fn] * CHUNK
        self.arguments += [(i,) for i in range(room, room + CHUNK)]
        self.is_async += self.awaits * CHUNK
        self.state += bytes([TAKEN]) * CHUNK


class ArrivingResolver(ItemResolver):
    """Entries that arrive by themselves. One is open from its arrival to its end."""

    __slots__ = ("_arrived", "_closed", "_room_made")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._arrived = self._closed = 0
        self._room_made: Any = None

    def done(self, i: int) -> None:
        super().done(i)
        self._close()

    def failed(self, i: int) -> list[int]:
        super().failed(i)
        self._close()
        return []

    def _close(self) -> None:
        self._closed += 1
        if self._room_made is not None:
            self._room_made.set()

    def is_full(self, limit: int) -> bool:
        """Tell whether so many are open that no more are to arrive. (Halted: the cancellation is coming.)"""
        return self.halted or self._arrived - self._closed >= limit

    async def closes_one(self) -> None:
        """Wait until one has ended."""
        from anyio import Event

        if self._room_made is None or self._room_made.is_set():
            self._room_made = Event()
        await self._room_made.wait()


class StreamResolver(ArrivingResolver):
    """Items from an asynchronous iterator, which is asked for the next while few are open."""

    __slots__ = ("_buffer",)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._buffer: deque[Any] = deque()

    @property
    def ready_count(self) -> int:
        return 0 if self.halted else len(self.back) + len(self._buffer)

    @property
    def came(self) -> int:
        return self._arrived

    def take(self) -> int:
        if self.halted or not (self.back or self._buffer):
            return -1
        if not self.back:
            self.source = iter([self._buffer.popleft()])
            self.ended = False
        return super().take()

    def give(self, item: Any) -> None:
        """An item has arrived: it may be taken."""
        self._buffer.append(item)
        self._arrived += 1

    async def pump(
        self,
        stream: AsyncGenerator[Any, None],
        limit: Callable[[], int],
        arrived: Callable[[], None],
        closing: list[Exception],
    ) -> None:
        """Let items arrive, ``limit()`` open at a time, and say so each time, until there are no more.

        What the stream raises when it is cancelled goes to ``closing``, where the source keeps what closing raises.
        """
        from anyio import current_effective_deadline, get_cancelled_exc_class
        from anyio.lowlevel import checkpoint

        yield_at = perf_counter() + YIELD_EVERY
        try:
            async for item in stream:
                self._buffer.append(item)  # give() and is_full(), written out
                self._arrived += 1
                arrived()
                while self.halted or self._arrived - self._closed >= limit():
                    await self.closes_one()
                if perf_counter() > yield_at:  # neither the stream nor the items may ever suspend
                    for _ in range(TURNS):
                        await checkpoint()
                    yield_at = perf_counter() + YIELD_EVERY
        except BaseException as error:
            if self.halted or current_effective_deadline() == -inf:  # (trio cancels all at once, and halts later)
                if not isinstance(error, Exception):
                    raise
                closing.append(error)
            else:
                self.break_off(error)
                if isinstance(error, get_cancelled_exc_class()):
                    raise
        finally:
            await stream.aclose()  # (what this awaits is shielded)


__all__ = ["ArrivingResolver", "ItemResolver", "StreamResolver"]
