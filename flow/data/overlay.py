"""A child store: its parent's values, and its own writes over them. :class:`Overlay`"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from flow.awaits import NEVER_AWAITED, unawaited
from flow.config import DataConfig
from flow.config.data import DEFAULT_DATA_CONFIG
from flow.data.key import plain_key, refuse
from flow.data.store import RunView, Snapshot, WorkflowData, added
from flow.errors import UsageError, shown
from flow.types import MISSING

if TYPE_CHECKING:
    from flow.data.measures import DataStatistics
    from flow.data.slots import Layout

_DELETED: Final[Any] = object()
"""Stands in a child for a key that it has deleted and its parent may have."""

_new: Final = object.__new__


class Overlay(WorkflowData):
    """A :meth:`WorkflowData.child`. Whatever looks at all keys is O(keys of the parent and its own).

    Writes take the lock of the store at the root; reads take none of their own.
    """

    __slots__ = ("_lock", "_own", "_parent", "_view")

    _parent: WorkflowData
    _own: dict[str, Any] | None
    _view: RunView | None

    def __init__(self, config: DataConfig = DEFAULT_DATA_CONFIG, layout: Layout | None = None) -> None:
        raise UsageError("a child store is made by data.child()")

    # One key

    def set(self, key: str, value: Any) -> None:
        key = plain_key(key)
        with self._lock:
            self._written()[key] = value

    def get(self, key: str, default: Any = None, /) -> Any:
        own = self._own
        try:
            if own is not None:
                value = own.get(key, MISSING)
                if value is not MISSING:
                    return default if value is _DELETED else value
            return self._parent.get(key, default)
        except TypeError:
            refuse(key)

    def __getitem__(self, key: str) -> Any:
        value = self.get(key, MISSING)
        if value is MISSING:
            raise self._missing(key)
        return value

    def delete(self, key: str) -> bool:
        with self._lock:
            if not self.has(key):
                return False
            own = self._written()
            if self._parent.has(key):
                own[plain_key(key)] = _DELETED  # in one step: readers never see the parent's value
            else:
                own.pop(key, None)
            return True

    def has(self, key: object) -> bool:
        own = self._own
        try:
            value = MISSING if own is None else own.get(key, MISSING)  # type: ignore[call-overload]
        except TypeError:
            refuse(key)
        return key in self._parent if value is MISSING else value is not _DELETED

    def increment(self, key: str, by: float = 1) -> Any:
        return self.update(key, lambda old: added(self, key, old, by), 0)

    def update(self, key: str, fn: Callable[[Any], Any], default: Any = MISSING) -> Any:
        key = plain_key(key)
        with self._lock:
            old = self.get(key, default)
            if old is MISSING:
                raise self._missing(key)
            new = fn(old)
            if new.__class__ in NEVER_AWAITED:
                raise unawaited(f"update({shown(key)})", new)
            self._written()[key] = new
            return new

    def _written(self) -> dict[str, Any]:
        """Return the dict of the child's own, made at the first write. The caller holds the lock."""
        if self._own is None:
            self._own = {}
        return self._own

    # All keys

    def items(self) -> list[tuple[str, Any]]:
        merged = dict(self._parent.items())
        with self._lock:
            merged.update(self._own or ())
        return [(key, value) for key, value in merged.items() if value is not _DELETED]

    def __len__(self) -> int:
        return len(self.items())

    def clear(self) -> None:
        """Remove all keys from the child's sight; one that its parent gets later is seen."""
        with self._lock:
            self._own = dict.fromkeys(self._parent.keys(), _DELETED)

    def reset(self) -> None:
        """Forget what was written or deleted here: the child shows its parent's values again."""
        self._own = None

    def snapshot(self) -> Snapshot:
        """Return what the child sees now. O(keys)."""
        return Snapshot(dict(self.items()))

    def restore(self, snapshot: Snapshot) -> None:
        if not isinstance(snapshot, Snapshot):
            raise UsageError(f"restore takes what snapshot() returned, not {shown(snapshot)}")
        with self._lock:
            self._own = dict.fromkeys(self._parent.keys(), _DELETED) | dict(snapshot)

    def clone(self) -> WorkflowData:
        """Return another child of the same parent with the same writes. O(writes)."""
        new = overlay_of(self._parent)
        new._view = self._view
        with self._lock:
            new._own = None if self._own is None else self._own.copy()
        return new

    def child(self) -> WorkflowData:
        return overlay_of(self)

    # What is its parent's

    def statistics(self) -> DataStatistics:
        """Return those of the store at the root: a child counts nothing."""
        return self._parent.statistics()

    def attach(self, view: RunView | None) -> None:
        """Show a run within the one that the parent shows."""
        self._view = view

    @property
    def _run(self) -> RunView | None:
        return self._parent._run if self._view is None else self._view

    @property
    def _settings(self) -> DataConfig:
        return self._parent._settings

    def _forget(self) -> None:
        return None


def overlay_of(parent: WorkflowData) -> Overlay:
    """Return a child of ``parent``. O(1)."""
    child = _new(Overlay)
    child._lock = parent._lock
    child._own = child._view = None
    child._parent = parent
    return child
