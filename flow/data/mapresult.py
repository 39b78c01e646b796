"""What a map with ``on_error="collect"`` returns: values and errors, each at its item's place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Generic, TypeVar

from flow.errors import MapError, UsageError, described, shown
from flow.reprs import counted
from flow.types import MISSING

T = TypeVar("T")


class MapResult(Generic[T]):
    """Values and errors of a map's items.

    ``result[3]`` is item 3's value, or raises what that item raised. Iterating gives the values of the
    items that completed, in item order; so does a map over it. ``len(result)`` counts all items; those of a
    pipelined map that the map before it lost have neither a value nor an error.

    :ivar errors: the exceptions of the items that failed, by index, in the order of the indices.
    :ivar keys: every item's key, if the map has keys; else None.
    """

    __slots__ = ("_outcomes", "errors", "keys", "name")

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
    def ok(self) -> bool:
        """True if no item failed."""
        return not self.errors

    def raise_for_errors(self) -> None:
        """Raise what ``on_error="fail"`` would have raised; nothing if :attr:`ok`."""
        if self.errors:
            raise error_of(self.name, self.errors)

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
        count = len(self._outcomes)
        if isinstance(index, bool) or not isinstance(index, int) or not -count <= index < count:
            held = counted(count, "item")
            raise UsageError(f"map {self.name!r} has {held}, by index from 0; there is none at {shown(index)}")
        index %= count
        if index in self.errors:
            error = self.errors[index]
            try:
                raise error
            finally:
                del self, error  # its traceback holds this frame: no cycle
        value: T = self._outcomes[index]
        if value is MISSING:
            raise UsageError(f"item {index} of map {self.name!r} never came: the map before failed on it or dropped it")
        return value

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


def error_of(name: str, errors: Mapping[int, Exception]) -> Exception:
    """The one exception that says which items failed: its own if it is one item, else a group of them."""
    ordered = sorted(errors.items())
    if len({id(error) for _, error in ordered}) == 1:  # one item, or one batch
        return ordered[0][1]
    indices = [i for i, _ in ordered]
    few = ", ".join(map(str, indices[:10])) + (f" and {len(indices) - 10} more" if len(indices) > 10 else "")
    return MapError(f"{len(indices)} items of map {name!r} failed: {few}", [e for _, e in ordered], indices)
