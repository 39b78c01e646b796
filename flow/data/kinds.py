"""The store class for a :class:`flow.DataConfig`, put together once per combination: :func:`store_class`.

Each class here adds one property to a store and passes on to the next: ``Interned -> Checked -> Locked -> metrics``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import suppress
from functools import cache, partial
from operator import call
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from flow.config import DataConfig
from flow.config.data import DEFAULT_DATA_CONFIG
from flow.data.arena_store import ArenaDict
from flow.data.codec import check
from flow.data.key import plain_key, refuse
from flow.data.metered import Counting, Sampled, Timed
from flow.data.slots import Layout, SlotValues
from flow.data.standard import Store
from flow.data.store import Snapshot
from flow.data.strings import ArenaStrings, StringPool
from flow.errors import DataError, UsageError, shown
from flow.types import MISSING

if TYPE_CHECKING:
    from flow.data.store import WorkflowData

METRICS: Final[dict[str, type[Store]]] = {"off": Store, "counting": Counting, "sampled": Sampled, "timing": Timed}
GIL: Final = bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def store_class(config: DataConfig, layout: Layout | None = None) -> type[WorkflowData]:
    """Return the class whose instances do what ``config`` says, and nothing else.

    :raises UsageError: if ``config`` is no DataConfig, or there is a ``layout`` and the memory is the user's own.
    """
    if not isinstance(config, DataConfig):
        raise UsageError(f"config must be a flow.DataConfig, not {shown(config)} (a {type(config).__name__})")
    memory = memory_of(config)
    if layout is not None and not memory.takes_layout:
        raise UsageError(f"layout is for memory='slots', not for the mapping that {shown(config.memory)} makes")
    parts: list[type[Store]] = []
    if config.direct_reads:
        parts.append(Direct)
    if config.interning in ("native", "pool"):
        parts += [part for which, part in INTERNED.items() if config.intern in (which, "both")]
    parts += memory.unlocked
    if config.interning == "arena":
        parts.append(WithTexts)
    if config.locked or (config.locked is None and (memory.needs_lock or config.interning == "arena" or not GIL)):
        parts.append(Locked)
    parts += memory.within_lock
    return _joined((*parts, METRICS[config.metrics]))


@cache
def _joined(parts: tuple[Any, ...]) -> type[Store]:  # Any: mypy does not take a class for hashable
    return parts[0] if len(parts) == 1 else type(parts[-1].__name__, parts, {"__slots__": ()})


class Locked(Store):
    """Every operation takes the store's lock."""

    __slots__ = ()

    def set(self, key: str, value: Any) -> None:
        with self._lock:
            super().set(key, value)

    def get(self, key: str, default: Any = None, /) -> Any:
        with self._lock:
            return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        with self._lock:
            return super().__getitem__(key)

    def delete(self, key: str) -> bool:
        with self._lock:
            return super().delete(key)

    def has(self, key: object) -> bool:
        with self._lock:
            return super().has(key)

    def increment(self, key: str, by: float = 1) -> Any:
        with self._lock:
            return super().increment(key, by)

    def update(self, key: str, fn: Callable[[Any], Any], default: Any = MISSING) -> Any:
        with self._lock:
            return super().update(key, fn, default)

    def items(self) -> list[tuple[str, Any]]:
        with self._lock:
            return super().items()

    def keys(self) -> list[str]:
        with self._lock:
            return super().keys()

    def __len__(self) -> int:
        with self._lock:
            return super().__len__()

    def reset(self) -> None:
        with self._lock:
            super().reset()

    def _swap(self, key: str, old: Any, new: Any) -> bool:
        self._unshared()[key] = new  # the caller holds the lock, so it has not changed
        return True


def _hashable(key: Any) -> Any:
    """:raises DataError: for a key that no dict could look up."""
    try:
        hash(key)
    except TypeError:
        refuse(key)
    return key


class InArena(Store):
    """``memory="arena"``."""

    __slots__ = ()
    _kind = ArenaDict

    def _empty(self) -> Any:
        return ArenaDict(self._config.block_size)

    def set(self, key: str, value: Any) -> None:
        check(self, key, value)
        super().set(key, value)

    # An ArenaDict says of any key that is no str that it is not there.

    def get(self, key: str, default: Any = None, /) -> Any:
        return super().get(key if key.__class__ is str else _hashable(key), default)

    def __getitem__(self, key: str) -> Any:
        return super().__getitem__(key if key.__class__ is str else _hashable(key))

    def delete(self, key: str) -> bool:
        return super().delete(key if key.__class__ is str else _hashable(key))

    def has(self, key: object) -> bool:
        return super().has(key if key.__class__ is str else _hashable(key))

    def _swap(self, key: str, old: Any, new: Any) -> bool:
        check(self, key, new)
        return super()._swap(key, old, new)


class Eager(Store):
    """The mapping is never replaced: what shares values copies them at once, and what replaces them fills it anew."""

    __slots__ = ()

    def _shared(self) -> Snapshot:
        return Snapshot(self._values.copy())

    def _converted(self, snapshot: Snapshot) -> Snapshot:
        return snapshot

    def _adopt(self, snapshot: Snapshot) -> None:
        values, new = self._values, dict(snapshot._values)
        old = values.copy()  # so that no destructor runs within the next line
        list(map(call, (values.clear, partial(values.update, new))))  # one call of C code: readers see no gap
        del old


class InSlots(Eager):
    """``memory="slots"``."""

    __slots__ = ()

    def _empty(self) -> Any:
        if self._layout is None:
            self._layout = Layout()
        if not isinstance(self._layout, Layout):
            raise UsageError(f"layout must be a flow.memory.Layout, not {shown(self._layout)}")
        return SlotValues(self._layout)

    def _adopt(self, snapshot: Snapshot) -> None:
        self._values.fill(snapshot._values)

    def items(self) -> list[tuple[str, Any]]:
        return self._values.pairs()  # type: ignore[no-any-return]

    def _swap(self, key: str, old: Any, new: Any) -> bool:
        return self._values.swap(key, old, new)  # type: ignore[no-any-return]


class Direct(Eager):
    """``direct_reads``: ``get`` is the dict's own method."""

    __slots__ = ("get",)

    def __init__(
        self, config: DataConfig = DEFAULT_DATA_CONFIG, layout: Layout | None = None, strings: Any = None
    ) -> None:
        super().__init__(config, layout, strings)
        self.get = self._values.get  # type: ignore[method-assign]


class Memory(NamedTuple):
    """The additions of a memory to a store.

    :ivar unlocked: parts that work before the store's lock is taken.
    :ivar within_lock: parts that work while it is held, where there is one.
    :ivar needs_lock: whether a store locks unless ``DataConfig.locked`` says otherwise.
    :ivar takes_layout: whether a store may be given a layout.
    """

    unlocked: tuple[type[Store], ...] = ()
    within_lock: tuple[type[Store], ...] = ()
    needs_lock: bool = False
    takes_layout: bool = True


MEMORIES: Final[dict[str, Memory]] = {
    "standard": Memory(),
    "slots": Memory(within_lock=(InSlots,)),
    "arena": Memory(unlocked=(InArena,), needs_lock=True),
}
"""The memories that have a name."""


def memory_of(config: DataConfig) -> Memory:
    """Return what keeps the values of stores with these settings. O(1)."""
    if isinstance(config.memory, str):
        return MEMORIES[str.__str__(config.memory)]
    from flow.data.own import InOwn  # here: few stores have a mapping of the user's

    return Memory(within_lock=(InOwn,), needs_lock=True, takes_layout=False)


class Interned(Store):
    """Strings are interned: by a subclass, which says which."""

    __slots__ = ()

    def _new_strings(self) -> Any:
        config = self._config
        return StringPool(config.intern_capacity, config.intern_max_length) if config.interning == "pool" else None

    def _forget(self) -> None:
        super()._forget()
        self._intern = sys.intern if self._strings is None else self._strings.intern


class InternedKeys(Interned):
    """Keys are interned."""

    __slots__ = ()

    def set(self, key: str, value: Any) -> None:
        super().set(self._intern(key if key.__class__ is str else plain_key(key)), value)

    def _swap(self, key: str, old: Any, new: Any) -> bool:
        return super()._swap(self._intern(key), old, new)


class InternedValues(Interned):
    """Values that are strings are interned."""

    __slots__ = ()

    def set(self, key: str, value: Any) -> None:
        super().set(key, self._intern(value) if value.__class__ is str else value)

    def _swap(self, key: str, old: Any, new: Any) -> bool:
        return super()._swap(key, old, self._intern(new) if new.__class__ is str else new)


INTERNED: Final[dict[str, type[Store]]] = {"keys": InternedKeys, "values": InternedValues}


class Text(int):
    """A handle that stands for a string value."""

    __slots__ = ()


class TextValues(MutableMapping[str, Any]):
    """A dict whose string values are handles of an :class:`flow.memory.ArenaStrings`, up to a number and a length."""

    __slots__ = ("_capacity", "_longest", "_strings", "_values")

    def __init__(self, strings: ArenaStrings, capacity: int, longest: int) -> None:
        self._strings = strings
        self._capacity = capacity
        self._longest = longest
        self._values: dict[str, Any] = {}

    def __getitem__(self, key: str) -> Any:
        value = self._values[key]
        return self._strings.get(value) if value.__class__ is Text else value

    def __setitem__(self, key: str, value: Any) -> None:
        strings = self._strings
        fits = value.__class__ is str and len(value) <= self._longest
        if fits and (len(strings) < self._capacity or value in strings):
            with suppress(DataError):  # lone surrogates have no bytes: such a string stays an object
                value = Text(strings.add(value))
        self._values[key] = value

    def __delitem__(self, key: str) -> None:
        del self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        """Forget keys and values; the strings stay, as other stores may hold their handles."""
        self._values.clear()

    def copy(self) -> TextValues:
        """Return an independent mapping of the same values and strings."""
        new = TextValues(self._strings, self._capacity, self._longest)
        new._values = self._values.copy()
        return new


class WithTexts(Store):
    """``interning="arena"``."""

    __slots__ = ()
    _kind = TextValues

    def _new_strings(self) -> Any:
        return ArenaStrings(self._config.block_size)

    def _empty(self) -> Any:
        return TextValues(self._strings, self._config.intern_capacity, self._config.intern_max_length)
