"""Tells whether anything goes on in a run whose nodes may wait in runs within it: :class:`GoingOn`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from flow.run import events
from flow.run.signals import Address

_NUMBERS: Final = (re.compile(r"\[\d+\]$"), re.compile(r"#\d+$"))


class _Holder:
    """A node that runs, and whose runs may wait. :ivar runs: that go on. :ivar fed: it is given items as they come."""

    __slots__ = ("fed", "runs")

    def __init__(self) -> None:
        self.runs, self.fed = 0, False

    @property
    def goes_on(self) -> bool:
        """It does something itself: it does not only let its runs go on."""
        return self.fed or not self.runs


class GoingOn:
    """Counts the nodes that run, of a run and of those within it that may wait. The caller keeps threads apart.

    A Dag as a node, a map of a Dag and a loop count only while no run of theirs goes on: else what runs there counts.
    Any other node counts as long as it runs, whatever it runs within.

    :param waits: the nodes that may wait. :ivar count: of what goes on.
    """

    __slots__ = ("_by_path", "_holders", "_of", "_places", "_running", "_ways", "count")

    def __init__(self, waits: Iterable[Address]) -> None:
        self._ways = {tuple(step.name for step in one.steps[: n + 1]) for one in waits for n in range(len(one.steps))}
        self._by_path: dict[tuple[str, ...], str] = {}  # the run at a path
        self._places: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}  # by run: the names that lead there, path
        self._of: dict[str, tuple[tuple[str, str], _Holder]] = {}  # by run: what holds it
        self._running: dict[str, dict[str, _Holder | None]] = {}  # by run: its nodes that run
        self._holders: dict[tuple[str, str], _Holder] = {}
        self.count = 0

    def run_started(self, event: events.RunStarted) -> None:
        """A run begins. O(1)."""
        path, run = event.path, event.run_id
        names: tuple[str, ...] = ()
        if self._places:
            found = self._holder_of(path)
            if found is None:
                return
            names, key = found
            holder = self._holders[key]
            self.count -= holder.goes_on
            holder.runs += 1
            self.count += holder.goes_on
            self._of[run] = key, holder
        self._places[run] = names, path
        self._running[run] = {}
        self._by_path[path] = run

    def _holder_of(self, path: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, str]] | None:
        """Return the names that lead to a run, and what holds it, if that runs and leads to what may wait."""
        outer = self._by_path.get(path[:-1]) if path else None
        if outer is None:
            return None
        around = self._places[outer][0]
        for name in _names_of(path[-1]):
            if (outer, name) in self._holders:
                return (*around, name), (outer, name)
        return None

    def run_finished(self, event: events.RunFinished) -> None:
        """A run has ended. O(nodes of it that run)."""
        run = event.run_id
        if run not in self._places:
            return
        for node in list(self._running.pop(run)):
            self._ended(run, node)
        _, path = self._places.pop(run)
        if self._by_path.get(path) == run:
            del self._by_path[path]
        key, holder = self._of.pop(run, (None, None))
        if holder is not None:
            still = key is not None and self._holders.get(key) is holder  # else it has ended before this run of it
            self.count -= still and holder.goes_on
            holder.runs -= 1
            self.count += still and holder.goes_on

    def map_started(self, event: events.MapStarted) -> None:
        """A map begins. One that is given its items as they come goes on as long as it runs. O(1)."""
        holder = self._holders.get((event.run_id, event.node))
        if holder is not None and event.items is None:
            self.count += not holder.goes_on
            holder.fed = True

    def node(self, event: Any, runs: bool) -> None:
        """Take in what a node does. O(1)."""
        run, name = event.run_id, event.node
        nodes = self._running.get(run)
        if nodes is None:
            return
        if name in nodes:
            self._ended(run, name)
            del nodes[name]
        if runs:
            nodes[name] = None
            self.count += 1
            if (*self._places[run][0], name) in self._ways:
                self._holders[run, name] = nodes[name] = _Holder()

    def _ended(self, run: str, name: str) -> None:
        holder = self._holders.pop((run, name), None)
        self.count -= holder is None or holder.goes_on


def _names_of(place: str) -> Iterator[str]:
    """Yield the names that the node may have whose run is at this place: ``pages[7]``, ``research#2``, ``inner``."""
    yield place
    for number in _NUMBERS:
        name = number.sub("", place)
        if name != place:
            yield name


__all__ = ["GoingOn"]
