"""The store without metrics, locks or interning, over one dict: :class:`Store`. The others build on it.

Under the GIL threads switch only at calls, at the start of functions and at backward jumps. One statement that loads
the dict and stores into it is none of these, so ``set``, ``get`` and ``delete`` take no lock, and neither does a
comparison followed by a store (:meth:`Store._swap`). Code that *replaces* the dict holds the lock. On a free-threaded
build every operation takes it: see :class:`flow.data.kinds.Locked`.

Copy on write costs writes nothing: a dict that is shared stands behind a read-only MappingProxyType, so the next write
raises TypeError, and the handler copies it and writes again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from threading import RLock
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Self

from flow.awaits import NEVER_AWAITED, unawaited
from flow.config import DataConfig
from flow.config.data import DEFAULT_DATA_CONFIG
from flow.data.key import plain_key, refuse
from flow.data.overlay import overlay_of
from flow.data.store import RunView, Snapshot, WorkflowData, added, filled
from flow.errors import UsageError, shown
from flow.types import MISSING

if TYPE_CHECKING:
    from flow.data.measures import DataStatistics
    from flow.data.slots import Layout


MAX_UPDATES: Final = 10_000
"""Times that :meth:`Store.update` calls its function again because the value has changed meanwhile."""

_NUMBERS: Final = frozenset({int, float})


class CopyOnWrite(WorkflowData):
    """Values in one mapping, shared with snapshots, clones and what is restored until the next write."""

    __slots__ = ("_config", "_frozen", "_intern", "_layout", "_lock", "_strings", "_values", "_view")

    def __init__(
        self, config: DataConfig = DEFAULT_DATA_CONFIG, layout: Layout | None = None, strings: Any = None
    ) -> None:
        self._config = config
        self._layout = layout
        self._lock = self._new_lock()
        self._strings = self._new_strings() if strings is None else strings
        self._view: RunView | None = None
        self._frozen: Snapshot | None = None  # its values are ours, behind a proxy
        self._values: Any = self._empty()
        self._forget()

    # All keys

    def items(self) -> list[tuple[str, Any]]:
        return list(self._values.items())

    def keys(self) -> list[str]:
        return list(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        with self._lock:
            if self._frozen is None:
                self._values.clear()
            else:
                self._values, self._frozen = self._empty(), None

    def reset(self) -> None:
        self.clear()
        self._view = None
        self._forget()

    # All of it

    def snapshot(self) -> Snapshot:
        with self._lock:
            return self._shared()

    def restore(self, snapshot: Snapshot) -> None:
        if not isinstance(snapshot, Snapshot):
            raise UsageError(f"restore takes what snapshot() returned, not {shown(snapshot)}")
        snapshot = self._converted(snapshot)
        with self._lock:
            self._adopt(snapshot)

    def clone(self) -> WorkflowData:
        new = self._alike()
        new._view = self._view
        new._adopt(self.snapshot())
        return new

    _kind: ClassVar[type] = dict
    """The mapping that values are kept in."""

    def _empty(self) -> Any:
        return {}

    def _new_lock(self) -> Any:
        return RLock()

    def _new_strings(self) -> Any:
        """Return the pool that strings are kept in, if any."""
        return None

    def _alike(self) -> Self:
        """Return an empty store of this kind, with its strings."""
        new = object.__new__(type(self))
        new.__init__(self._config, self._layout, self._strings)  # type: ignore[misc]
        return new

    def child(self) -> WorkflowData:
        return overlay_of(self)

    def _shared(self) -> Snapshot:
        """Return the values as a Snapshot, after which the next write copies them. The caller holds the lock."""
        if self._frozen is None:
            values = self._values
            self._values, self._frozen = MappingProxyType(values), Snapshot(values)  # both: Ctrl-C may come at any call
        return self._frozen

    def _unshared(self) -> Any:
        """Return values that may be written to. The caller holds the lock."""
        if self._frozen is not None:
            self._values, self._frozen = self._values.copy(), None  # a proxy's copy is one of what stands behind it
        return self._values

    def _converted(self, snapshot: Snapshot) -> Snapshot:
        if type(snapshot._values) is self._kind:
            return snapshot
        other = self._alike()
        filled(other, snapshot)
        return other.snapshot()

    def _adopt(self, snapshot: Snapshot) -> None:
        """Hold what ``snapshot`` does. The caller holds the lock."""
        self._values, self._frozen = MappingProxyType(snapshot._values), snapshot

    # Whose it is

    def attach(self, view: RunView | None) -> None:
        self._view = view

    @property
    def _run(self) -> RunView | None:
        return self._view

    @property
    def _settings(self) -> DataConfig:
        return self._config

    def _forget(self) -> None:
        return None


class Store(CopyOnWrite):
    """``metrics="off"`` over a dict."""

    __slots__ = ()

    # One key

    def set(self, key: str, value: Any) -> None:
        if key.__class__ is not str:
            key = plain_key(key)
        try:
            self._values[key] = value
        except TypeError:
            with self._lock:
                self._unshared()[key] = value

    def get(self, key: str, default: Any = None, /) -> Any:
        try:
            return self._values[key]
        except KeyError:
            return default
        except TypeError:
            refuse(key)

    def __getitem__(self, key: str) -> Any:
        try:
            return self._values[key]
        except KeyError:
            raise self._missing(key) from None
        except TypeError:
            refuse(key)

    def delete(self, key: str) -> bool:
        try:
            del self._values[key]
            return True
        except KeyError:
            return False
        except TypeError:
            with self._lock:
                try:
                    return self._unshared().pop(key, MISSING) is not MISSING
                except TypeError:
                    refuse(key)

    def has(self, key: object) -> bool:
        try:
            return key in self._values
        except TypeError:
            refuse(key)

    def increment(self, key: str, by: float = 1) -> Any:
        if self._values.__class__ is dict and by.__class__ in _NUMBERS:
            try:  # what _swap does, without its calls
                old: Any = self._values[key]
                if old.__class__ in _NUMBERS:
                    new = old + by  # type: ignore[operator]
                    if self._values[key] is old:
                        self._values[key] = new
                        return new
            except (KeyError, TypeError, OverflowError):  # none is there; or it is shared, so nothing was stored
                pass
        return self._incremented(key, by)

    def _incremented(self, key: str, by: float) -> Any:
        key = plain_key(key)
        while True:
            old = self._value(key)
            new = added(self, key, 0 if old is MISSING else old, by)
            if self._swap(key, old, new):
                return new

    def update(self, key: str, fn: Callable[[Any], Any], default: Any = MISSING) -> Any:
        key = plain_key(key)
        with self._lock:  # updates wait for one another, so that fn is called again only after a plain set
            for _ in range(MAX_UPDATES):
                old = self._value(key)
                if old is MISSING and default is MISSING:
                    raise self._missing(key)
                new = fn(default if old is MISSING else old)
                if new.__class__ in NEVER_AWAITED:
                    raise unawaited(f"update({shown(key)})", new)
                if self._swap(key, old, new):
                    return new
        raise UsageError(
            f"update({shown(key)}): the value was another each of {MAX_UPDATES:,} times that its function had run: "
            "does the function itself write that key?"
        )

    def _value(self, key: str) -> Any:
        """Return the value or MISSING, uncounted."""
        try:
            return self._values[key]
        except KeyError:
            return MISSING

    def _swap(self, key: str, old: Any, new: Any) -> bool:
        """Store ``new`` if the value is still ``old`` (MISSING: none), and tell so."""
        try:
            # No call and no jump back from here to the store: no thread comes between (see above).
            if old is MISSING:
                if key in self._values:
                    return False
            elif self._values[key] is not old:
                return False
            self._values[key] = new
        except KeyError:
            return False
        except TypeError:
            with self._lock:
                self._unshared()
            return Store._swap(self, key, old, new)
        return True

    # What is known of it

    def statistics(self) -> DataStatistics:
        from flow.data.measures import DataStatistics, memory_name

        with self._lock:
            values: Any = self._values if self._frozen is None else self._frozen._values
            config, strings, lock = self._config, self._strings, self._lock
            return DataStatistics(
                memory=memory_name(config.memory),
                metrics=config.metrics,
                keys=len(values),
                table_bytes=sys.getsizeof(values),
                arena=values.statistics() if config.memory == "arena" else None,
                interning=None if strings is None else strings.statistics(),
                lock_waits=getattr(lock, "waits", 0),
                lock_seconds=getattr(lock, "seconds", 0.0),
                **self._counts(),
            )

    def _counts(self) -> dict[str, Any]:
        """Return the fields of the statistics that metrics fill in."""
        return {}
