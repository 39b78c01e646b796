"""The events of a run that a reader has not read yet: the newest of each kind, whatever the reader's pace."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import RLock, get_ident
from typing import Any, Final

from msgspec.structs import replace

from flow.run.events import Event, NodeEmitted, RunFinished, RunStarted

MAX_ENDED: Final = 1_000
"""Nested runs that have ended before anything of them was read, and are kept to be read. Older ones are left out."""

_ANY: Final = "any"
"""Stands for the index of an item where a new value takes the place of another item's."""


class _Emitted:
    """What was emitted under one key: a value, and the texts that go on with it."""

    __slots__ = ("at", "end", "first", "parts")

    def __init__(self, event: NodeEmitted) -> None:
        self.start(event)

    def start(self, event: NodeEmitted) -> None:
        """Begin with this event; what was there before is outdated."""
        self.first, self.at, value = event, event.at, event.value
        self.parts: list[str] = [value] if isinstance(value, str) else []
        self.end = event.offset + len(value) if isinstance(value, str) else -1

    def join(self, event: NodeEmitted) -> None:
        """Go on with a text that was emitted later. O(1) where it goes on at the end."""
        start = self.first.offset
        if event.offset != self.end:
            if not start < event.offset < self.end:
                self.start(event)
                return
            self.parts = ["".join(self.parts)[: event.offset - start]]
        self.parts.append(event.value)
        self.end, self.at = event.offset + len(event.value), event.at

    def event(self) -> NodeEmitted:
        """Return one event for all of it."""
        if len(self.parts) < 2:
            return self.first
        return replace(self.first, value="".join(self.parts), at=self.at)


class Unread:
    """Events between a run, in any thread, and its one reader, in that of the event loop.

    Of events of one kind, of one node and run, only the newest is kept, at the place of the first. So the memory is
    O(nodes + keys) and the texts that have not been read, however slow the reader is.

    :ivar arrived: events so far; ``read`` of them were read.
    :ivar ended: there will be no more.
    """

    __slots__ = (
        "_entries", "_finished", "_fresh", "_lock", "_new_waiter", "_outermost", "_over", "_thread", "_waiter", "_wake",
        "arrived", "ended", "read",
    )  # fmt: skip

    _new_waiter: Callable[[], Any]
    _wake: Callable[..., Any]

    def __init__(self) -> None:
        self._lock = RLock()  # the collector may run code of the user's that emits
        self._entries: OrderedDict[tuple[Any, ...], Any] = OrderedDict()
        self._outermost = ""
        self._fresh: dict[str, list[tuple[Any, ...]]] = {}  # nested runs of which nothing was read, and their entries
        self._over: OrderedDict[str, None] = OrderedDict()  # those of them that have ended
        self._waiter: Any = None
        self._thread = 0
        self.arrived = self.read = 0
        self.ended = self._finished = False

    def __len__(self) -> int:
        return len(self._entries)

    # -- of the run --------------------------------------------------------------------------

    def put(self, event: Event) -> None:
        """Take an event in, and wake the reader if it waits. O(1)."""
        with self._lock:
            if self._finished:  # a call that was left behind in its thread goes on
                return
            self.arrived += 1
            if isinstance(event, NodeEmitted):
                self._put_emitted(event)
            else:
                run_id = event.run_id
                if isinstance(event, RunStarted):
                    if not self._outermost:
                        self._outermost = run_id
                    else:
                        self._fresh[run_id] = []
                self._put((run_id, type(event), getattr(event, "node", ""), getattr(event, "kind", "")), event)
                if isinstance(event, RunFinished):
                    self._note_end(run_id)
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._wake_up(waiter)

    def end(self) -> None:
        """There will be no more events."""
        with self._lock:
            self.ended = True
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            self._wake_up(waiter)

    def _put(self, key: tuple[Any, ...], entry: Any) -> None:
        if key not in self._entries and key[0] in self._fresh:
            self._fresh[key[0]].append(key)
        self._entries[key] = entry

    def _put_emitted(self, event: NodeEmitted) -> None:
        place = (event.run_id, NodeEmitted, event.node, event.key)
        of_node = event.index is None
        newest = (*place, None if of_node else _ANY)
        text = newest if of_node else (*place, event.index)
        entries = self._entries
        if not event.append:
            if not of_node:  # a text of this item that was not read is outdated
                entries.pop(text, None)
            self._put(newest, _Emitted(event))
            return
        found = entries.get(text)
        if found is None and not of_node:
            found = entries.get(newest)
            if found is not None and found.first.index != event.index:
                found = None
        if found is None:
            self._put(text, _Emitted(event))
        else:
            found.join(event)

    def _note_end(self, run_id: str) -> None:
        """A run has ended. Of nested ones that ended before anything of them was read, leave out the oldest of many."""
        self._finished = run_id == self._outermost
        if run_id in self._fresh:
            self._over[run_id] = None
        if len(self._over) > MAX_ENDED:
            oldest, _ = self._over.popitem(last=False)
            for key in self._fresh.pop(oldest):
                self._entries.pop(key, None)

    def _wake_up(self, waiter: Any) -> None:
        if get_ident() == self._thread:
            _finish(waiter)
            return
        try:
            self._wake(_finish, waiter)
        except RuntimeError:  # the event loop has ended
            return

    # -- of the reader -----------------------------------------------------------------------

    def read_by(self, new_waiter: Callable[[], Any], wake: Callable[..., Any]) -> None:
        """Begin to read, in the present thread."""
        self._new_waiter, self._wake, self._thread = new_waiter, wake, get_ident()

    def take(self) -> Event | None:
        """Return the event that has waited for the longest time; None if there is none."""
        with self._lock:
            if not self._entries:
                return None
            self.read += 1
            key, entry = self._entries.popitem(last=False)
            if key[0] in self._fresh:
                del self._fresh[key[0]]
                self._over.pop(key[0], None)
        event: Event = entry.event() if type(entry) is _Emitted else entry
        return event

    def wait(self) -> Any:
        """Return what ends with the next event, to be awaited; None if there is an event, or will be none."""
        with self._lock:
            if self._entries or self.ended:
                return None
            self._waiter = waiter = self._new_waiter()
            return waiter


def _finish(waiter: Any) -> None:
    if not waiter.done():
        waiter.set_result(None)
