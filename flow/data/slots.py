"""Values in a flat list, their keys numbered once: :class:`Layout` and the mapping that stores use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from threading import Lock
from typing import Any

from flow.data.key import plain_key
from flow.types import MISSING


class Layout:
    """Numbers for keys, shared by all the stores whose values it lays out. It only ever grows.

    For a set of keys that is the same from run to run. A key keeps its number for good.

    :param keys: keys to number at once; others are numbered when they are first stored.
    :raises DataError: for a key that is no string.

    Any number of threads may use it.
    """

    __slots__ = ("_lock", "index")

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._lock = Lock()
        self.index: dict[str, int] = {}
        for key in keys:
            self.slot(plain_key(key))

    def slot(self, key: str) -> int:
        """Return the number of ``key``, a new one if it has none. O(1)."""
        number = self.index.get(key)
        if number is None:
            with self._lock:
                number = self.index.setdefault(key, len(self.index))
        return number

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"Layout({len(self.index)} keys)"


class SlotValues(MutableMapping[str, Any]):
    """A mapping over one flat list. Its order is the layout's.

    The list is never replaced, and each read or write is one bytecode or one C call: as atomic as a dict's own.
    """

    __slots__ = ("_index", "_layout", "_list")

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._index = layout.index
        self._list: list[Any] = [MISSING] * len(layout)

    def __getitem__(self, key: str) -> Any:
        try:
            value = self._list[self._index[key]]
        except IndexError:  # another store of this layout has added it
            raise KeyError(key) from None
        if value is MISSING:
            raise KeyError(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        try:
            self._list[self._index[key]] = value
        except (KeyError, IndexError):
            self._list[self._grown(key)] = value

    def __delitem__(self, key: str) -> None:
        number, values = self._index.get(key, -1), self._list
        if not 0 <= number < len(values) or values[number] is MISSING:
            raise KeyError(key)
        values[number] = MISSING  # no call since the look: one of several deleting threads gets here

    def __contains__(self, key: object) -> bool:
        number = self._index.get(key, -1)  # type: ignore[call-overload]
        return 0 <= number < len(self._list) and self._list[number] is not MISSING

    def __iter__(self) -> Iterator[str]:
        return iter([key for key, _ in self.pairs()])

    def pairs(self) -> list[tuple[str, Any]]:
        """Return keys and values of one moment; ``items()`` would look each value up, and it may be gone by then."""
        values = self._list[:]  # first: the keys only get more
        return [(key, value) for key, value in zip(list(self._index), values, strict=False) if value is not MISSING]

    def __len__(self) -> int:
        return sum(value is not MISSING for value in self._list)

    def swap(self, key: str, old: Any, new: Any) -> bool:
        """Store ``new`` if the value is still ``old`` (MISSING: none), and tell so; no thread comes between."""
        number = self._grown(key)
        values = self._list
        if values[number] is not old:
            return False
        values[number] = new
        return True

    def clear(self) -> None:
        """Forget all values. One slice assignment, O(keys of the layout)."""
        with self._layout._lock:  # as _grown has it: a list never gets shorter
            self._list[:] = [MISSING] * len(self._list)

    def fill(self, values: Mapping[str, Any]) -> None:
        """Hold exactly ``values``. One slice assignment, O(keys of the layout)."""
        for key in values:
            self._layout.slot(key)
        with self._layout._lock:  # no key is added meanwhile, so the list gets no shorter
            self._list[:] = [values.get(key, MISSING) for key in self._index]

    def copy(self) -> SlotValues:
        """Return an independent mapping of the same values. One slice."""
        new = SlotValues.__new__(SlotValues)
        new._layout, new._index, new._list = self._layout, self._index, self._list[:]
        return new

    def _grown(self, key: str) -> int:
        number = self._layout.slot(key)
        values = self._list
        if number >= len(values):
            with self._layout._lock:
                values.extend([MISSING] * (len(self._index) - len(values)))
        return number
