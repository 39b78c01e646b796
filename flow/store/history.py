"""What is known of a run: the records of its journal, folded."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TypeAlias

from flow.store.records import (
    Batch,
    Began,
    Bulk,
    Done,
    Ended,
    Failed,
    Key,
    LeftOut,
    Path,
    Record,
    Reported,
    Reset,
    Round,
    Waits,
    Wants,
)
from flow.store.structure import Wiring

Place: TypeAlias = tuple[str, int | None]
Outcome: TypeAlias = Done | Failed | LeftOut


class History:
    """All that the journal of a run says, the later over the earlier.

    :ivar nodes: how the dag was wired (:attr:`flow.store.structure.Structure.nodes`).
    :ivar outcomes: by path, then by node (or item of a map).
    :ivar tries: of those that have failed and are tried again: the last such attempt.
    :ivar wants: nodes whose condition holds, by path. :ivar rounds: whether a round was the last, by its path.
    :ivar began: a digest of what runs that nodes have started were given, by path.
    :ivar waits: until when nodes wait, by path and name.
    :ivar data: what completed nodes have written, by key; None for what was deleted.
    :ivar reports: what nodes have reported, in order: whatever runs again, that has happened.
    :ivar ended: how the run ended; None if it did not, or goes on since then.
    """

    __slots__ = (
        "_names", "began", "data", "ended", "nodes", "outcomes", "reports", "rounds", "tries", "waits", "wants"
    )  # fmt: skip

    def __init__(self, nodes: Mapping[str, Mapping[str, Wiring]] | None = None) -> None:
        self.nodes = {} if nodes is None else nodes
        self._names: dict[Path, Collection[str]] = {}
        self.began: dict[Path, int] = {}
        self.outcomes: dict[Path, dict[Place, Outcome]] = {}
        self.tries: dict[Path, dict[Place, Failed]] = {}
        self.wants: dict[Path, set[str]] = {}
        self.rounds: dict[Path, bool] = {}
        self.waits: dict[tuple[Path, str], float | None] = {}
        self.data: dict[str, bytes | None] = {}
        self.reports: list[Reported] = []
        self.ended: Ended | None = None

    def add(self, records: Iterable[Record]) -> None:
        """Take in records, in the order of writing. O(records), and O(paths) for each failed attempt or reset."""
        for record in records:
            kind = type(record)
            if kind is Batch:
                mine = self.outcomes.setdefault((), {})
                for name, output in zip(record.names, record.outputs, strict=True):  # type: ignore[union-attr]
                    mine[name, None] = Done((), name, None, 1, output)
            elif isinstance(record, Bulk):
                self._bulk(record)
            elif kind is Done or kind is LeftOut:
                self.outcomes.setdefault(record.path, {})[record.name, record.item] = record  # type: ignore
                if kind is Done and record.writes:  # type: ignore[union-attr]
                    self.data.update(record.writes)  # type: ignore[union-attr]
            elif isinstance(record, Failed):
                self._failed(record)
            elif isinstance(record, Wants):
                self.wants.setdefault(record.path, set()).add(record.name)
            elif isinstance(record, Round):
                self.rounds[record.path] = record.last
            elif isinstance(record, Began):
                if self.began.get(record.path, record.given) != record.given:
                    self.forget_run(record.path)
                self.began[record.path] = record.given
            elif isinstance(record, Reported):
                self.reports.append(record)
            elif isinstance(record, Waits):
                self.waits[record.path, record.name] = record.until
            elif isinstance(record, Reset):
                self._reset(record)
            elif isinstance(record, Ended):
                self.ended = record

    def _bulk(self, record: Bulk) -> None:
        path, mine, attempts = record.path, self.outcomes.setdefault(record.path, {}), record.attempts
        times = zip(record.began, record.ended, strict=True)
        for k, (name, output, (began, ended)) in enumerate(zip(record.names, record.outputs, times, strict=True)):
            attempt = attempts[k] if attempts else 1
            mine[name, None] = Done(path, name, None, attempt, output, None, None, None, None, began, ended)

    def _failed(self, record: Failed) -> None:
        place = (record.name, record.item)
        if record.final:
            self.outcomes.setdefault(record.path, {})[place] = record
            return
        self.tries.setdefault(record.path, {})[place] = record
        self.forget_within(record.path, record.name, record.item)  # the next attempt begins anew

    def _reset(self, record: Reset) -> None:
        self.ended = None
        for path, name, item in record.keys:
            for known in (self.outcomes, self.tries):
                known.get(path, {}).pop((name, item), None)
            if item is None:
                self.waits.pop((path, name), None)
            if record.deep:
                if item is None:
                    self.wants.get(path, set()).discard(name)
                    self._forget_items(path, name)
                self.forget_within(path, name, item)

    def _forget_items(self, path: Path, name: str) -> None:
        for known in (self.outcomes, self.tries):
            mine = known.get(path, {})
            for place in [place for place in mine if place[0] == name]:
                del mine[place]

    def forget_within(self, path: Path, name: str, item: int | None = None) -> list[Path]:
        """Forget the runs within a node, or within an item; return their paths. O(paths)."""
        return self._forget(list(self._within(path, name, item)))

    def forget_run(self, path: Path) -> list[Path]:
        """Forget the run at a path, and all within it; return their paths. O(paths)."""
        return self._forget([inner for inner in self._paths() if inner[: len(path)] == path])

    def _forget(self, paths: list[Path]) -> list[Path]:
        for inner in paths:
            for known in (self.outcomes, self.tries, self.wants, self.rounds, self.began):
                known.pop(inner, None)
        gone = set(paths)
        self.waits = {at: until for at, until in self.waits.items() if at[0] not in gone}
        return paths

    def _paths(self) -> dict[Path, None]:
        return dict.fromkeys((*self.outcomes, *self.tries, *self.wants, *self.rounds, *self.began))

    def _is_within(self, inner: Path, path: Path, name: str, item: int | None) -> bool:
        """Tell whether a path leads through a node, or through an item of a map."""
        depth = len(path)
        if len(inner) <= depth or inner[:depth] != path:
            return False
        place = inner[depth]
        if node_of(place, self._names_at(path)) != name:
            return False
        return item is None or place[len(name) :].startswith(f"[{item}]")

    def _names_at(self, path: Path) -> Collection[str]:
        """Return the names of the nodes of the dag that runs at a path."""
        found = self._names.get(path)
        if found is None:
            found = self._names[path] = self.nodes.get(self.plan_path(path), ())
        return found

    def plan_path(self, path: Path) -> str:
        """Return the nodes that a path leads through, without items and rounds: ``outer/inner``."""
        at = ""
        for place in path:
            name = node_of(place, self.nodes.get(at, ()))
            at = f"{at}/{name}" if at else name
        return at

    def _within(self, path: Path, name: str, item: int | None) -> Iterator[Path]:
        for inner in self._paths():
            if self._is_within(inner, path, name, item):
                yield inner

    def unfit(self, handled: Collection[str]) -> list[Key]:
        """Return what a retry runs again: what failed, unless something has handled that, and was skipped for it.

        Within a node that completed nothing has failed, as far as the outside knows.
        """
        found: list[Key] = []
        todo: list[Path] = [()]
        while todo:
            path = todo.pop()
            mine = self.outcomes.get(path, {})
            for (name, item), record in mine.items():
                if isinstance(record, LeftOut) and record.status == "skipped":
                    found.append((path, name, item))
                if not isinstance(record, Failed) or (not path and name in handled):
                    continue
                if item is None or not isinstance(mine.get((name, None)), Done):  # else its map went on
                    found.append((path, name, item))
                    todo += [inner for inner in self._within(path, name, item) if len(inner) == len(path) + 1]
            if path:
                continue
            begun = {inner[:1] for inner in self.outcomes if inner}  # nodes that the end of the run has cut off
            done = [name for (name, item) in mine if item is None]
            todo += [
                inner
                for inner in begun
                if inner in self.outcomes and not any(self._is_within(inner, (), name, None) for name in done)
            ]
        return list(dict.fromkeys(found))


def node_of(place: str, names: Collection[str]) -> str:
    """Return the node that a place belongs to: of several whose names begin it, the longest.

    A place is a node, an item of it (``map[3]``), a round (``loop#2``), or one of the runs that it has started
    (``node+2``). Names may hold these signs too, apart from the brackets.
    """
    for end in range(len(place), 0, -1):
        if place[:end] in names and (end == len(place) or place[end] in "[#+"):
            return place[:end]
    return bare(place)


def bare(place: str) -> str:
    """Return the node of a place, as far as can be told without the names of all nodes."""
    name = place[: place.rindex("[")] if place.endswith("]") else place
    for sign in "+#":
        head, _, number = name.rpartition(sign)
        if head and number.isdigit():
            name = head
            break
    return name[: name.rindex("[")] if name.endswith("]") else name


__all__ = ["History", "Outcome", "bare", "node_of"]
