"""A store as one attempt of a node sees it that may be left behind in its thread: :class:`LeasedData`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from flow.config import DataConfig
from flow.config.data import DEFAULT_DATA_CONFIG
from flow.data.overlay import overlay_of
from flow.data.store import RunView, Snapshot, WorkflowData
from flow.errors import UsageError
from flow.types import MISSING

if TYPE_CHECKING:
    from flow.data.measures import DataStatistics
    from flow.data.slots import Layout

_new: Final = object.__new__


class LeasedData(WorkflowData):
    """Another store, which takes writes by this way as long as its check raises nothing. Reading goes on."""

    __slots__ = ("_check", "_lock", "_store")

    _check: Callable[[], None]
    _store: WorkflowData

    def __init__(self, config: DataConfig = DEFAULT_DATA_CONFIG, layout: Layout | None = None) -> None:
        raise UsageError("a leased store is made by the run")

    # What writes

    def set(self, key: str, value: Any) -> None:
        self._check()
        self._store.set(key, value)

    def delete(self, key: str) -> bool:
        self._check()
        return self._store.delete(key)

    def increment(self, key: str, by: float = 1) -> Any:
        self._check()
        return self._store.increment(key, by)

    def update(self, key: str, fn: Callable[[Any], Any], default: Any = MISSING) -> Any:
        check = self._check

        def new(old: Any) -> Any:
            value = fn(old)
            check()  # that may have taken its time
            return value

        check()
        return self._store.update(key, new, default)

    def clear(self) -> None:
        self._check()
        self._store.clear()

    def reset(self) -> None:
        self._check()
        self._store.reset()

    def restore(self, snapshot: Snapshot) -> None:
        self._check()
        self._store.restore(snapshot)

    def attach(self, view: RunView | None) -> None:
        self._check()
        self._store.attach(view)

    def _forget(self) -> None:
        self._check()
        self._store._forget()

    # What reads

    def get(self, key: str, default: Any = None, /) -> Any:
        return self._store.get(key, default)

    def __getitem__(self, key: str) -> Any:
        return self._store[key]

    def has(self, key: object) -> bool:
        return key in self._store

    def items(self) -> list[tuple[str, Any]]:
        return self._store.items()

    def keys(self) -> list[str]:
        return self._store.keys()

    def __len__(self) -> int:
        return len(self._store)

    def snapshot(self) -> Snapshot:
        return self._store.snapshot()

    def clone(self) -> WorkflowData:
        return self._store.clone()

    def child(self) -> WorkflowData:
        return overlay_of(self)

    def statistics(self) -> DataStatistics:
        return self._store.statistics()

    @property
    def _run(self) -> RunView | None:
        return self._store._run

    @property
    def _settings(self) -> DataConfig:
        return self._store._settings


def leased(store: WorkflowData, check: Callable[[], None]) -> LeasedData:
    """Return ``store`` as a caller sees it who may write as long as ``check`` raises nothing. O(1)."""
    data = _new(LeasedData)
    data._store, data._check, data._lock = store, check, store._lock
    return data
