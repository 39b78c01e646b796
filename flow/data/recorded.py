"""A store as one attempt of a node of a durable run sees it: what it writes is noted, and goes if it fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from flow.data.leased import LeasedData
from flow.data.store import Snapshot, WorkflowData
from flow.types import MISSING

_new: Final = object.__new__


class RecordedData(LeasedData):
    """Another store, which notes what is written by this way: by key, what was there before, and what is there now."""

    __slots__ = ("_writes",)

    _writes: dict[str, list[Any]]

    def _note(self, key: str) -> list[Any]:
        found = self._writes.get(key)
        if found is None:
            found = self._writes[key] = [self._store.get(key, MISSING), MISSING]
        return found

    def set(self, key: str, value: Any) -> None:
        noted = self._note(key)
        self._store.set(key, value)
        noted[1] = value

    def delete(self, key: str) -> bool:
        noted = self._note(key)
        done = self._store.delete(key)
        noted[1] = MISSING
        return done

    def increment(self, key: str, by: float = 1) -> Any:
        noted = self._note(key)
        noted[1] = made = self._store.increment(key, by)
        return made

    def update(self, key: str, fn: Callable[[Any], Any], default: Any = MISSING) -> Any:
        noted = self._note(key)
        noted[1] = made = self._store.update(key, fn, default)
        return made

    def clear(self) -> None:
        for key in list(self._store):
            self._note(key)[1] = MISSING
        self._store.clear()

    def reset(self) -> None:
        for key in list(self._store):
            self._note(key)[1] = MISSING
        self._store.reset()

    def restore(self, snapshot: Snapshot) -> None:
        before = dict(self._store.items())
        self._store.restore(snapshot)
        after = dict(self._store.items())
        for key in {**before, **after}:
            if before.get(key, MISSING) is not after.get(key, MISSING):
                self._writes.setdefault(key, [before.get(key, MISSING), MISSING])[1] = after.get(key, MISSING)


def recorded(store: WorkflowData, writes: dict[str, list[Any]]) -> RecordedData:
    """Return ``store`` as a caller sees it whose writes go to ``writes`` as well. O(1)."""
    data = _new(RecordedData)
    data._store, data._check, data._lock, data._writes = store, _nothing, store._lock, writes
    return data


def taken_back(store: WorkflowData, writes: dict[str, list[Any]]) -> None:
    """Take back what a failed attempt has written, unless something else has been written since."""
    for key, (before, now) in writes.items():
        if store.get(key, MISSING) is not now:
            continue
        if before is MISSING:
            store.delete(key)
        else:
            store.set(key, before)


def _nothing() -> None:
    """No lease: it may always write."""


__all__ = ["RecordedData", "recorded", "taken_back"]
