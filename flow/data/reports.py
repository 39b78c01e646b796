"""What nodes report: facts that stay with their run (:meth:`flow.Context.report`)."""

from __future__ import annotations

from collections.abc import Iterable
from threading import RLock
from typing import Any, Final

import msgspec

from flow.errors import Show, UsageError, a_kind
from flow.types import NAME_RULE, is_name

MAX_PARTS: Final = 100_000
"""Most values in the containers of one report."""

MAX_DEPTH: Final = 64
"""Most containers of one report that lie in each other."""

_SCALARS: Final = (str, int, float, bool, type(None))

_FLAT: Final = frozenset(_SCALARS)
_KEYS: Final = frozenset((str,))

_PLAIN: Final = "a report is plain data: dicts with str keys, lists, str, int, float, bool and None"


class Report(msgspec.Struct, frozen=True):
    """One fact that a node has reported. The value is shared by all who read it: leave it as it is.

    :ivar kind: what the value is. :ivar value: plain data.
    :ivar path: leads to the node through the runs around it: ``("pages[7]",)``; an outermost node has none.
    :ivar index: of an item of a map; None for a node.
    :ivar attempt: 1 for the first call, 2 for the first retry, and so on.
    :ivar at: the run's clock (seconds, monotonic). Of what a stored run has reported before: that clock's time when it
        was reported, by the wall clock.
    """

    kind: str
    value: Any
    node: str
    path: tuple[str, ...]
    index: int | None
    attempt: int
    at: float


class Reports:
    """The reports of one run, in the order in which they came. Threads may share it.

    :param earlier: those that are known of it.
    """

    __slots__ = ("_by_call", "_by_kind", "_lock", "_records")

    def __init__(self, earlier: Iterable[Report] = ()) -> None:
        self._lock = RLock()  # the collector may run code of the user's that reports
        self._records: list[Report] = []
        self._by_kind: dict[str, list[Any]] = {}
        self._by_call: dict[tuple[Any, ...], list[Any]] = {}
        for report in earlier:
            self.add(report)

    def add(self, report: Report) -> None:
        """Keep one more. O(1)."""
        kind, place = report.kind, (report.kind, report.path, report.node, report.index)
        with self._lock:
            self._records.append(report)
            self._by_kind.setdefault(kind, []).append(report.value)
            self._by_call.setdefault(place, []).append(report.value)

    def all(self) -> tuple[Report, ...]:
        """Return all of them. O(reports)."""
        with self._lock:
            return tuple(self._records)

    def of_kind(self, kind: str) -> list[Any]:
        """Return the values of one kind. O(these)."""
        with self._lock:
            return list(self._by_kind.get(kind, ()))

    def of_call(self, kind: str, path: tuple[str, ...], node: str, index: int | None) -> list[Any]:
        """Return the values of one kind that a node, or an item of a map, has reported. O(these)."""
        with self._lock:
            return list(self._by_call.get((kind, path, node, index), ()))


def check_kind(method: str, kind: Any, show: Show) -> None:
    """:raises UsageError: if that is no kind of reports."""
    if not is_name(kind):
        raise UsageError(f"{method}: kind {show(kind)} is refused: {NAME_RULE}")


def copied(kind: str, value: Any, show: Show) -> Any:
    """Return a copy of what is reported as ``kind``; a tuple becomes a list. O(parts), and nothing recurses.

    :param show: how messages say a key.
    :raises UsageError: if it is no plain data, or too much; names the place.
    """
    kind_of = type(value)
    if kind_of in _SCALARS:
        return value
    if kind_of is dict:
        flat = dict(value)  # what most reports are; another thread may be changing the user's
        if len(flat) <= MAX_PARTS and _FLAT.issuperset(map(type, flat.values())) and _KEYS.issuperset(map(type, flat)):
            return flat
    top = _emptied(kind, value, (), show)
    todo, parts = [(value, top, ())], 0
    while todo:
        at, into, place = todo.pop()
        is_dict = type(at) is dict
        pairs = list(at.items() if is_dict else enumerate(at))  # another thread may be changing it
        parts += len(pairs)
        if parts > MAX_PARTS or len(place) >= MAX_DEPTH:
            much = f"over {MAX_PARTS:,} values" if parts > MAX_PARTS else f"over {MAX_DEPTH} containers in each other"
            raise UsageError(f"report({kind!r}): the value has {much}: report less, or a reference to it")
        for key, one in pairs:
            if is_dict and type(key) is not str:
                raise UsageError(f"report({kind!r}): {_at(place, show)} has a key that is {a_kind(key)}: {_PLAIN}")
            new = one
            if type(one) not in _SCALARS:
                inner: tuple[Any, ...] = (*place, key)
                new = _emptied(kind, one, inner, show)
                todo.append((one, new, inner))
            if is_dict:
                into[key] = new
            else:
                into.append(new)
    return top


def _emptied(kind: str, value: Any, place: tuple[Any, ...], show: Show) -> Any:
    """Return an empty container in the place of ``value``."""
    if type(value) is dict:
        return {}
    if type(value) is list or type(value) is tuple:
        return []
    raise UsageError(f"report({kind!r}): {_at(place, show)} is {a_kind(value)}: {_PLAIN}")


def _at(place: tuple[Any, ...], show: Show) -> str:
    """Say which part of a value it is: ``value['tokens'][3]``."""
    return "value" + "".join(f"[{show(part) if isinstance(part, str) else part}]" for part in place)


__all__ = ["MAX_DEPTH", "MAX_PARTS", "Report", "Reports", "check_kind", "copied"]
