"""The output of a map with ``on_error="collect"``: values and errors, each at the place of its item."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from flow.draw.rich import Rich
from flow.errors import FlowError, MapError, UsageError, described, shown
from flow.reprs import counted
from flow.tracebacks import end_at_user
from flow.types import MISSING

T = TypeVar("T")


class MapResult(Rich, Generic[T]):
    """Values and errors of a map's items.

    ``result[3]`` is the value of item 3, or raises the exception of this item. Iteration, and a map over the
    result, give the values of the completed items, in item order. ``len(result)`` counts all items. In a pipelined
    map, items that the map before did not pass on have neither a value nor an error.

    :ivar errors: the exceptions of the items that failed, by index, in the order of the indices.
    :ivar keys: every item's key, if the map has keys; else None.
    """

    __slots__ = ("_outcomes", "errors", "keys", "name")

    __record_fields__ = __slots__

    def __init__(
        self, name: str, outcomes: Sequence[Any], errors: Mapping[int, Exception], keys: Sequence[Any] | None
    ) -> None:
        self.name = name
        self._outcomes = outcomes
        self.errors: dict[int, Exception] = dict(sorted(errors.items()))
        self.keys = None if keys is None else list(keys)

    @property
    def values(self) -> list[T]:
        """The values of the items that completed, in item order."""
        return list(self)

    def items(self) -> list[tuple[Any, T]]:
        """``(index, value)`` of the items that completed; ``(key, value)`` if the map has keys."""
        names: Sequence[Any] = range(len(self._outcomes)) if self.keys is None else self.keys
        return [(name, value) for name, value in zip(names, self._outcomes, strict=True) if value is not MISSING]

    @property
    def completed(self) -> int:
        """Number of items that completed. O(items)."""
        return len(self._outcomes) - sum(value is MISSING for value in self._outcomes)

    @property
    def failed(self) -> int:
        """Number of items that failed."""
        return len(self.errors)

    @property
    def failed_keys(self) -> list[Any]:
        """The keys of the items that failed; their indices, if the map has no keys."""
        return list(self.errors) if self.keys is None else [self.keys[index] for index in self.errors]

    @property
    def ok(self) -> bool:
        """True if no item failed."""
        return not self.errors

    def raise_for_errors(self) -> None:
        """Raise the exception that ``on_error="fail"`` would have raised; nothing if :attr:`ok`."""
        try:
            if self.errors:
                raise error_of(self.name, self.errors)
        except FlowError as error:
            end_at_user(error)
            raise

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for logs and JSON: counts, values in item order, errors as text by index."""
        return {
            "completed": self.completed,
            "failed": self.failed,
            "values": self.values if self.keys is None else dict(self.items()),
            "errors": {str(index): described(error) for index, error in self.errors.items()},
        }

    def __getitem__(self, index: int) -> T:
        """Return item ``index``'s value.

        :raises UsageError: if there is no such item. :raises Exception: the item's own, if it failed.
        """
        try:
            index = self._at(index)
        except FlowError as error:
            end_at_user(error)
            raise
        if index in self.errors:
            failed = self.errors[index]
            try:
                raise failed
            finally:
                del self, failed  # its traceback holds this frame: no cycle
        value: T = self._outcomes[index]
        return value

    def _at(self, index: int) -> int:
        """The index, from 0, of an item that came."""
        count = len(self._outcomes)
        if isinstance(index, bool) or not isinstance(index, int) or not -count <= index < count:
            held = counted(count, "item")
            raise UsageError(f"map {self.name!r} has {held}, by index from 0; there is none at {shown(index)}")
        index %= count
        if self._outcomes[index] is MISSING and index not in self.errors:
            raise UsageError(f"item {index} of map {self.name!r} never came: the map before failed on it or dropped it")
        return index

    def __iter__(self) -> Iterator[T]:
        return (value for value in self._outcomes if value is not MISSING)

    def __len__(self) -> int:
        return len(self._outcomes)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MapResult):
            return NotImplemented
        mine, theirs = (self._outcomes, self.errors, self.keys), (other._outcomes, other.errors, other.keys)
        return mine == theirs

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        lines = [f"<MapResult of {self.name!r}: {self.completed:,} of {counted(len(self), 'item')} completed"]
        lines += [f"  item {i}: {described(error)}" for i, error in list(self.errors.items())[:5]]
        if len(self.errors) > 5:
            lines.append(f"  ... and {counted(len(self.errors) - 5, 'more error')}")
        return "\n".join(lines) + ">"

    def _repr_html_(self) -> str:
        from flow.blame import where
        from flow.draw import html

        count, completed, errors = len(self), self.completed, self.errors
        verdict = html.said("\u2713 ok", "good") if self.ok else html.said("\u2717 NOT OK", "bad")
        head = [html.title(self.name), verdict]
        head.append(html.said(f"{completed:,} of {counted(count, 'item')} completed, {len(errors):,} failed"))
        if count > completed + len(errors):
            head.append(html.said(f"{count - completed - len(errors):,} never came"))
        first = islice(errors.items(), html.MAX_ROWS)
        rows = [(self._label(i), described(error), where(error)) for i, error in first]
        return html.card(repr(self), head, html.table("failed items", ("item", "error", "at"), rows, len(errors)))

    def _label(self, i: int) -> str:
        return str(i) if self.keys is None else f"{i}: {shown(self.keys[i])}"


def error_of(name: str, errors: Mapping[int, Exception]) -> Exception:
    """One exception for the failed items: the item's own if it is one item, else a group of all."""
    ordered = sorted(errors.items())
    if len({id(error) for _, error in ordered}) == 1:  # one item, or one batch
        return ordered[0][1]
    indices = [i for i, _ in ordered]
    few = ", ".join(map(str, indices[:10])) + (f" and {len(indices) - 10} more" if len(indices) > 10 else "")
    return MapError(f"{len(indices)} items of map {name!r} failed: {few}", [e for _, e in ordered], indices)
