"""What a call says of a durable run, checked: few runs are durable."""

from __future__ import annotations

from typing import Any, Final, get_args

from flow.errors import UsageError, a_kind, listing, nearest, shown
from flow.run.journal import Durability, OnChange, OnConflict, OnWait

_SETTINGS: Final = {
    "on_conflict": get_args(OnConflict), "on_change": get_args(OnChange), "on_wait": get_args(OnWait),
}  # fmt: skip


def checked(store: Any, on_conflict: Any, on_change: Any, on_wait: Any) -> Durability:
    """Return them as one. :raises UsageError: listing what does not fit."""
    given = {"on_conflict": on_conflict, "on_change": on_change, "on_wait": on_wait}
    if store is None:
        names = [name for name, value in given.items() if value not in (None, "fail", "block")]
        raise UsageError(f"{', '.join(names or given)} is for durable runs: give store=flow.store.open(...) as well")
    faults = [
        f"{name} is {', '.join(map(repr, _SETTINGS[name]))}, not {shown(value)}{nearest(value, _SETTINGS[name])}"
        for name, value in given.items()
        if value not in _SETTINGS[name] and not (name == "on_conflict" and value is None)
    ]
    if not callable(getattr(store, "begin", None)):
        faults.insert(0, f"store is a store of durable runs, not {a_kind(store)}{_meant(store)}")
    if faults:
        raise UsageError(listing("a durable run is refused", faults))
    return Durability(store, on_conflict, on_change, on_wait)


def _meant(store: object) -> str:
    is_path = isinstance(store, str) or hasattr(store, "__fspath__")
    return ": flow.store.open(path) makes one" if is_path else ""


__all__ = ["checked"]
