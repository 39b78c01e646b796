"""What the journal of a stored run says, without its Dag: its nodes in the order of their ends, and what happened when.

Times are Unix times. Of nodes that were stored together only the time of storing is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flow.errors import DamagedRow, StoredError, StoreError, leaves
from flow.run.signals import place_of
from flow.store.told import said, stored_place

if TYPE_CHECKING:
    from flow.data.reports import Report
    from flow.store import Store
    from flow.store.backend import Stored
    from flow.store.history import History
    from flow.store.records import Record
    from flow.store.structure import Structure

_FILE: Final = b"F"  # as flow.store.journal.FILE, which takes an engine to import


class Node(msgspec.Struct, omit_defaults=True):
    """A node, or an item of a map, as far as it is stored.

    :ivar path: of the runs around it. :ivar attempt: the last one.
    :ivar began, ended: Unix times. :ivar error: what it failed with, or what a fallback has stood in for.
    :ivar traceback: of that. :ivar at: its place.
    :ivar size: of the stored output, in bytes; None if there is none, or if it is in the file of this digest.
    """

    path: tuple[str, ...]
    name: str
    status: str
    item: int | None = None
    attempt: int | None = None
    began: float | None = None
    ended: float | None = None
    error: str = ""
    traceback: str = ""
    at: str = ""
    size: int | None = None
    file: str = ""
    output: bytes | None = None

    @property
    def place(self) -> str:
        """The way to it, as messages name it: ``pages[7]/fetch``."""
        name = self.name if self.item is None else f"{self.name}[{self.item}]"
        return "/".join((*self.path, name))


class Event(msgspec.Struct):
    """Something that has happened in a run, in words. :ivar minor: one of many: an item of a map has completed."""

    at: float
    what: str
    minor: bool = False


class Wait(msgspec.Struct, omit_defaults=True):
    """A node that waits: for a signal, which is sent to its ``address``, or for a time.

    :ivar sent: something has been sent, and the run has not taken it yet.
    """

    address: str
    until: float | None = None
    sent: bool = False


class Story(msgspec.Struct):
    """All that is told of a run.

    :ivar structure: of its Dag, None if it cannot be read.
    :ivar reports: what its nodes have reported, in order; ``at`` is a Unix time.
    """

    nodes: list[Node]
    events: list[Event]
    waits: list[Wait]
    structure: Structure | None
    reports: list[Report] = []


def story_of(store: Store, stored: Stored) -> Story:
    """Read the journal of a run. O(records). :raises DamagedRow: if it is not what was written."""
    return _Reader(store, stored).story()


class _Reader:
    def __init__(self, store: Store, stored: Stored) -> None:
        from flow.store.history import History

        self.store, self.stored, self.row = store, stored, stored.row
        self.history: History = History()
        self.events = [Event(self.row.created, "the run was begun")]
        self.ends: dict[tuple[Any, ...], tuple[int, float, float]] = {}  # which event, from when, until when
        self.waits: dict[tuple[Any, ...], float] = {}  # since when a node waits

    def story(self) -> Story:
        from flow.store.backend import ENDED
        from flow.store.records import opened

        for number, data in enumerate(self.stored.journal, 1):
            segment = opened(self.row.id, number, data, self.store.name)
            for record in segment.records:
                self.history.add([record])
                self._take(record, segment.at)
        for sent in self.stored.signals:
            address, _, rejected = sent.address.partition("\0")
            text = "what was sent to {} was not of its type" if rejected else "something was sent to {}"
            self.events.append(Event(sent.at, text.format(address)))
        self.events.sort(key=lambda event: event.at)
        ended, last = self.row.status in ENDED, self.history.ended
        if ended and (last is None or last.status != self.row.status):  # it was cancelled while nobody drove it
            self.events.append(Event(self.row.ended, f"the run has ended: {self.row.status}"))
            self.history.ended = None
        structure = structure_of(self.store, self.row.shape)
        nodes = [*self._known(), *self._tried()]
        waits = [] if ended else self._waits()
        return Story([*nodes, *self._rest(nodes, structure)], self.events, waits, structure, list(self._reports()))

    # -- events ------------------------------------------------------------------------------

    def _take(self, record: Record, at: float) -> None:
        from flow.store import records as kinds

        if isinstance(record, (kinds.Batch, kinds.Bulk)):
            mine = self.history.outcomes[record.path if isinstance(record, kinds.Bulk) else ()]
            for name in record.names:
                self._attempt(mine[name, None], at)
        elif isinstance(record, (kinds.Done, kinds.Failed)):
            self._attempt(record, at)
        elif isinstance(record, kinds.LeftOut):
            self._ended(record.path, record.name, record.item, at, at, f"{_place(record)}: {record.status}")
        elif isinstance(record, kinds.Waits):
            self.waits[record.path, record.name] = at
            self.events.append(Event(at, f"{_place(record)}: begins to wait"))
        elif isinstance(record, kinds.Reset):
            again = [_named(path, name, item) for path, name, item in record.keys]
            self.events.append(Event(at, f"to run again: {_some(again)}"))
        elif isinstance(record, kinds.Ended):
            why = ", its time limit had passed" if record.timed_out else ""
            rests = record.status == "waiting"
            text = "the run rests, and waits for signals" if rests else f"the run has ended: {record.status}{why}"
            self.events.append(Event(at, text))

    def _attempt(self, record: Any, at: float) -> None:
        created = self.row.created
        began, ended = (created + record.began, created + record.ended) if record.ended else (at, at)
        if record.item is None and self.waits:  # a node that waits: perhaps since a process before
            began = min(began, self.waits.get((record.path, record.name), began))
        which = f"attempt {record.attempt} " if record.attempt > 1 or not getattr(record, "final", True) else ""
        if hasattr(record, "output"):
            self._ended(record.path, record.name, record.item, began, ended, f"{_place(record)}: {which}completed")
            return
        text = f"{_place(record)}: {which}failed: {said(self._error(record.error))}"
        if record.final:
            self._ended(record.path, record.name, record.item, began, ended, text)
        else:
            self.events.append(Event(ended, text))

    def _ended(self, path: tuple[str, ...], name: str, item: int | None, began: float, ended: float, text: str) -> None:
        self.ends[path, name, item] = (len(self.events), began, ended)
        self.events.append(Event(ended, text, item is not None and text.endswith("completed")))

    # -- nodes -------------------------------------------------------------------------------

    def _known(self) -> list[Node]:
        """Return what has ended, in the order of that."""
        never = (len(self.events), self.row.updated, self.row.updated)
        found = [
            (self.ends.get((path, name, item), never), self._node(path, name, item, record))
            for path, known in self.history.outcomes.items()
            for (name, item), record in known.items()
        ]
        found.sort(key=lambda each: each[0])
        for (_, began, ended), node in found:
            node.began, node.ended = began, ended
        return [node for _, node in found]

    def _node(self, path: tuple[str, ...], name: str, item: int | None, record: Any) -> Node:
        from flow.store.records import Failed, LeftOut

        if isinstance(record, LeftOut):
            return Node(path, name, record.status, item)
        node = Node(path, name, "failed" if isinstance(record, Failed) else "completed", item, record.attempt)
        if record.error is not None:
            self._tell_error(node, record.error)
        output = getattr(record, "output", None)
        if output is not None:
            node.output = output
            if output[:1] == _FILE:
                node.file = output[1:].hex()
            else:
                node.size = len(output)
        return node

    def _tried(self) -> Iterator[Node]:
        """Yield what has failed, and is tried again."""
        for path, known in self.history.tries.items():
            for (name, item), record in known.items():
                if (name, item) not in self.history.outcomes.get(path, {}):
                    node = Node(path, name, "retrying", item, record.attempt)
                    self._tell_error(node, record.error)
                    yield node

    def _rest(self, nodes: list[Node], structure: Structure | None) -> Iterator[Node]:
        """Yield those that have not ended: within other nodes those that wait, of the outermost ones all."""
        told = {(node.path, node.name) for node in nodes if node.item is None}
        waits = [(path, name) for path, name in self.history.waits if name not in self._ended_in(path)]
        last, cancelled = self.history.ended, self.row.status == "cancelled"
        statuses: Mapping[str, str] = {} if last is None else last.statuses
        for path, name in waits:
            if path and (path, name) not in told:
                yield Node(path, name, "cancelled" if cancelled else "waiting")
        for name in () if structure is None else structure.nodes.get("", ()):
            if ((), name) not in told:
                status = "cancelled" if cancelled else "waiting" if ((), name) in waits else "pending"
                yield Node((), name, statuses.get(name, status))

    def _ended_in(self, path: tuple[str, ...]) -> set[str]:
        return {name for name, item in self.history.outcomes.get(path, {}) if item is None}

    def _waits(self) -> list[Wait]:
        sent = {signal.address for signal in self.stored.signals}
        found = []
        for (path, name), until in self.history.waits.items():
            if name not in self._ended_in(path):
                address = ".".join(filter(None, [place_of(path), name]))
                found.append(Wait(address, until, address in sent))
        return found

    def _reports(self) -> Iterator[Report]:
        from flow.data.reports import Report

        for one in self.history.reports:
            value, at = self.store.codecs.decode(one.value), self.row.created + one.at
            yield Report(one.kind, value, one.name, one.path, one.item, one.attempt, at)

    # -- values ------------------------------------------------------------------------------

    def _error(self, data: bytes) -> BaseException:
        try:
            found = self.store.codecs.decode(data)
        except StoreError as error:
            return error
        return found if isinstance(found, BaseException) else StoredError("Exception", str(found))

    def _tell_error(self, node: Node, data: bytes) -> None:
        error = self._error(data)
        node.error = said(error)
        node.traceback = next((one.traceback for one in leaves(error) if isinstance(one, StoredError)), "")
        node.at = stored_place(error)


def value_of(store: Store, data: bytes) -> Any:
    """Return a stored value. O(its size). :raises StoreError: if it cannot be read."""
    return store.codecs.decode(store.backend.get_file(data[1:]) if data[:1] == _FILE else data)


def structure_of(store: Store, digest: bytes) -> Structure | None:
    """Return how the Dag of a run was wired; None if that cannot be read."""
    from flow.store.structure import decoded

    try:
        return decoded(store.backend.shape(digest), digest, store.name)
    except DamagedRow:
        return None


def _place(record: Any) -> str:
    return _named(record.path, record.name, getattr(record, "item", None))


def _named(path: tuple[str, ...], name: str, item: int | None) -> str:
    return "/".join((*path, name if item is None else f"{name}[{item}]"))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5:,} more" if len(names) > 5 else "") or "nothing"


__all__ = ["Event", "Node", "Story", "Wait", "story_of", "structure_of", "value_of"]
