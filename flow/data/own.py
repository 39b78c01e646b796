"""Values in a mapping that a callable of the user's makes: :class:`InOwn`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any

from flow.awaits import NEVER_AWAITED, UNAWAITED, discard
from flow.data.key import asked
from flow.data.standard import Store
from flow.data.store import Snapshot, filled
from flow.errors import ConfigError, a_kind, note, shown


class OwnSnapshot(Snapshot):
    """A snapshot that knows what made its mapping: the same type, made elsewhere, may keep other values."""

    __slots__ = ("memory",)

    def __init__(self, values: Mapping[str, Any], memory: Callable[[], MutableMapping[str, Any]]) -> None:
        super().__init__(values)
        self.memory = memory


class InOwn(Store):
    """``memory`` is a callable. Its mapping gets exact strings only, and its exceptions reach the caller.

    Nothing is known of what it returns, not even that it is the same object twice: values are never compared.
    """

    __slots__ = ()

    def get(self, key: str, default: Any = None, /) -> Any:
        text = key if key.__class__ is str else asked(key)
        return default if text is None else super().get(text, default)

    def __getitem__(self, key: str) -> Any:
        text = key if key.__class__ is str else asked(key)
        if text is None:
            raise self._missing(key)
        return super().__getitem__(text)

    def delete(self, key: str) -> bool:
        text = key if key.__class__ is str else asked(key)
        return text is not None and super().delete(text)

    def has(self, key: object) -> bool:
        text = key if key.__class__ is str else asked(key)
        return text is not None and super().has(text)

    def increment(self, key: str, by: float = 1) -> Any:
        with self._lock:  # also with locked=False, as update does
            return super().increment(key, by)

    def _swap(self, key: str, old: Any, new: Any) -> bool:
        self._unshared()[key] = new  # the caller holds the lock
        return True

    def _empty(self) -> Any:
        return _made_by(self._config.memory)

    def _shared(self) -> Snapshot:
        if self._frozen is None:
            values = self._values
            shared = OwnSnapshot(values, self._config.memory)  # type: ignore[arg-type]
            self._values, self._frozen = MappingProxyType(values), shared
        return self._frozen

    def _unshared(self) -> Any:
        if self._frozen is not None:
            self._values, self._frozen = self._copy_of(self._frozen._values), None
        return self._values

    def _copy_of(self, values: Any) -> Any:
        """Return a copy by the mapping's own ``copy``, if that is one of its type; else item by item. O(keys)."""
        copy = getattr(values, "copy", None)
        new = None if copy is None else copy()
        if type(new) is type(values) and new is not values:
            return new
        new = self._empty()  # dict.copy, say, makes a plain dict of a subclass
        for key, value in values.items():
            new[key] = value
        return new

    def _converted(self, snapshot: Snapshot) -> Snapshot:
        if isinstance(snapshot, OwnSnapshot) and snapshot.memory is self._config.memory:
            return snapshot
        other = self._alike()
        filled(other, snapshot)
        return other.snapshot()


def _made_by(memory: Any) -> MutableMapping[str, Any]:
    """Return a new mapping for a store.

    :raises ConfigError: if ``memory`` returns anything but an empty mutable mapping. What it raises is noted.
    """
    try:
        values = memory()
    except Exception as error:
        note(error, f"raised by {shown(memory)}, the memory of a DataConfig, which is called without arguments")
        raise
    if values.__class__ in NEVER_AWAITED:
        discard(values)
        fault = f"memory {UNAWAITED}, not {shown(memory)}"
    elif not isinstance(values, MutableMapping):
        wanted = "a mutable mapping (collections.abc.MutableMapping)"
        fault = f"memory must return {wanted}: {shown(memory)} returned {a_kind(values)}"
    elif len(values):
        wanted = "an empty mapping, a new one at each call"
        fault = f"memory must return {wanted}: {shown(memory)} returned one of {len(values)} keys"
    else:
        return values
    raise ConfigError("DataConfig", [fault])
