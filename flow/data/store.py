"""The store that nodes share: :class:`WorkflowData`, the interface of all kinds of stores.

The class of a store is chosen when it is made, by its memory and metrics: see :func:`choose_classes_by`. No operation
checks which features are switched on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar, Unpack, overload

from flow.awaits import UNAWAITED, is_unawaited
from flow.config import DataConfig
from flow.config.data import DEFAULT_DATA_CONFIG
from flow.config.fields import unknown_arguments
from flow.data.key import Key
from flow.errors import DataError, MissingKey, UsageError, WrongType, a_kind, shower, shown
from flow.types import MISSING, Nothing, Status

if TYPE_CHECKING:
    from typing import Self

    from flow.data.measures import DataStatistics
    from flow.data.pool import ObjectPool
    from flow.data.slots import Layout

T = TypeVar("T")
D = TypeVar("D")

_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class RunView(Protocol):
    """The run of a store, as the store shows it: the run's own state, never a copy."""

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Outputs so far, by node name."""
        ...

    @property
    def statuses(self) -> Mapping[str, Status]:
        """Every node's status, by name."""
        ...

    def is_runnable(self, node: str) -> bool:
        """Tell whether the node could start now."""
        ...


class Snapshot(Mapping[str, Any]):
    """The values of a store at one moment. A snapshot never changes (though a mutable value in it may)."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __reduce__(self) -> tuple[Any, ...]:
        return Snapshot, (dict(self),)  # whatever the values are kept in

    def __repr__(self) -> str:
        return f"Snapshot({len(self)} keys)"


class ReadableData:
    """The operations that read a store of values under string keys. None of them changes the store."""

    __slots__ = ()

    # One key

    @overload
    def get(self, key: Key[T], default: None = None, /) -> T | None: ...
    @overload
    def get(self, key: Key[T], default: D, /) -> T | D: ...
    @overload
    def get(self, key: str, default: Any = None, /) -> Any: ...
    def get(self, key: str, default: Any = None, /) -> Any:
        """Return the value, or ``default`` if there is none."""
        raise NotImplementedError

    @overload
    def __getitem__(self, key: Key[T]) -> T: ...
    @overload
    def __getitem__(self, key: str) -> Any: ...
    def __getitem__(self, key: str) -> Any:
        """Return the value.

        :raises MissingKey: (a KeyError) naming the nearest keys.
        """
        raise NotImplementedError

    def has(self, key: str) -> bool:
        """Tell whether the store has the key, as ``in`` does."""
        raise NotImplementedError

    def __contains__(self, key: object) -> bool:
        raise NotImplementedError

    def get_int(self, key: str, default: Any = MISSING) -> int:
        """Return an int (no bool).

        :param default: returned if there is no value.
        :raises MissingKey: if there is neither.
        :raises WrongType: naming key, wanted and found type.
        """
        return self._typed(key, default, "an int", int, (int,))  # type: ignore[no-any-return]

    def get_float(self, key: str, default: Any = MISSING) -> float:
        """Return a float; an int (no bool) is converted. Otherwise as :meth:`get_int`."""
        value = self._typed(key, default, "a float", float, (float, int))
        try:
            return float(value) if type(value) is int else value
        except OverflowError:
            raise WrongType(f"key {shown(key)} holds {self._what(value)}, which is too large for a float") from None

    def get_str(self, key: str, default: Any = MISSING) -> str:
        """Return a str. Otherwise as :meth:`get_int`."""
        return self._typed(key, default, "a str", str, (str,))  # type: ignore[no-any-return]

    def get_bool(self, key: str, default: Any = MISSING) -> bool:
        """Return a bool. Otherwise as :meth:`get_int`."""
        return self._typed(key, default, "a bool", bool, (bool,))  # type: ignore[no-any-return]

    def _typed(self, key: str, default: Any, wanted: str, kind: type, kinds: tuple[type, ...]) -> Any:
        value = self.get(key, MISSING)
        if value is MISSING:
            if default is MISSING:
                raise self._missing(key)
            return default
        if not isinstance(value, kinds) or (kind is not bool and isinstance(value, bool)):
            raise WrongType(f"key {shown(key)} holds {self._what(value)}, not {wanted}")
        return value

    # All keys

    def items(self) -> list[tuple[str, Any]]:
        """Return all present keys with their values. O(keys)."""
        raise NotImplementedError

    def keys(self) -> list[str]:
        """Return all present keys. O(keys)."""
        return [key for key, _ in self.items()]

    def for_each(self, fn: Callable[[str, Any], object]) -> None:
        """Call ``fn(key, value)`` for every present key. ``fn`` may change the store. O(keys).

        :raises UsageError: if ``fn`` is async.
        """
        if is_unawaited(fn):
            raise UsageError(f"for_each: its function {UNAWAITED}, not {shown(fn)}")
        for key, value in self.items():
            fn(key, value)

    def __len__(self) -> int:
        raise NotImplementedError

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __bool__(self) -> bool:
        """A store is true, empty or not: ``if data`` asks whether there is one."""
        return True

    # What is known of it

    def statistics(self) -> DataStatistics:
        """Return counts and times since the store was made or reset."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"WorkflowData({len(self)} keys)"

    # The run

    @property
    def _run(self) -> RunView | None:
        raise NotImplementedError

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Outputs of the run so far; empty for a store that belongs to none."""
        return _NOTHING if (run := self._run) is None else run.outputs

    @property
    def statuses(self) -> Mapping[str, Status]:
        """Statuses of the run's nodes; empty for a store that belongs to none."""
        return _NOTHING if (run := self._run) is None else run.statuses

    def is_runnable(self, node: str) -> bool:
        """Tell whether the run's ``node`` could start now.

        :raises UsageError: if the store belongs to no run.
        """
        if (run := self._run) is None:
            raise UsageError(f"is_runnable({shown(node)}): this store belongs to no run; ask ctx.data or result.data")
        return run.is_runnable(node)

    # Bytes

    def to_json(self) -> bytes:
        """Return all values as one JSON object. O(size).

        :raises DataError: listing every key whose value would not come back unchanged.
        """
        from flow.data.codec import encoded

        return encoded(dict(self.items()), "JSON", shower(self._settings))

    def to_msgpack(self) -> bytes:
        """Return all values as one msgpack map; bytes, NaN and infinity are allowed. Otherwise as :meth:`to_json`."""
        from flow.data.codec import encoded

        return encoded(dict(self.items()), "msgpack", shower(self._settings))

    @property
    def _settings(self) -> DataConfig:
        raise NotImplementedError

    def _what(self, value: Any) -> str:
        """Describe a value, for a message."""
        return f"{a_kind(value)} ({shown(value)})" if self._settings.show_values else a_kind(value)

    def _missing(self, key: object) -> MissingKey:
        return MissingKey(f"no data is stored under {shown(key)}", key, self.keys())


class WorkflowData(ReadableData):
    """A store of values under string keys, which the nodes of a run share.

    :param config: how values are kept, counted and shared; see :class:`flow.DataConfig`.
    :param layout: numbers for keys, shared by stores with ``memory="slots"``; None: a layout of its own.

    Any number of threads may use one store: every operation is atomic, and :meth:`increment` and
    :meth:`update` lose nothing. The bulk ones (``keys``, ``items``, iteration) work on a copy.

    All operations on one key are O(1), unless values are encoded (``memory="arena"``): O(size of the value).

    >>> data = WorkflowData()
    >>> data["users"] = ["ada", "grace"]
    >>> data.increment("visits"), data.increment("visits", 2)
    (1, 3)
    """

    __slots__ = ("__weakref__",)
    _lock: Any

    def __new__(
        cls, config: DataConfig = DEFAULT_DATA_CONFIG, layout: Layout | None = None, **wrong: Unpack[Nothing]
    ) -> Self:
        if wrong:
            raise unknown_arguments("WorkflowData", "flow.WorkflowData", wrong)
        kind: type[Any] = _class_for(config, layout) if cls is WorkflowData else cls
        store: Self = object.__new__(kind)
        return store

    def __init__(
        self, config: DataConfig = DEFAULT_DATA_CONFIG, layout: Layout | None = None, **wrong: Unpack[Nothing]
    ) -> None:
        raise NotImplementedError

    def __init_subclass__(cls) -> None:
        """Let ``data[key] = v`` and ``in`` be the class's own methods, without a call in between."""
        cls.__setitem__ = cls.set  # type: ignore[method-assign]
        cls.__contains__ = cls.has  # type: ignore[method-assign, assignment]

    # One key

    def set(self, key: str, value: Any) -> None:
        """Store ``value``.

        :raises DataError: if ``key`` is no string, or the store's memory cannot keep ``value``.
        """
        raise NotImplementedError

    def delete(self, key: str) -> bool:
        """Remove the key; return whether the store had it."""
        raise NotImplementedError

    def increment(self, key: str, by: float = 1) -> Any:
        """Add ``by`` to a number, 0 if there is none, and return the new value.

        :raises WrongType: if the value or ``by`` is no int or float.
        """
        raise NotImplementedError

    def update(self, key: str, fn: Callable[[Any], Any], default: Any = MISSING) -> Any:
        """Store ``fn(value)`` and return it.

        ``fn`` is called again if another thread has replaced the value, so it should have no other effects.

        :param default: handed to ``fn`` if there is no value.
        :raises MissingKey: if there is neither a value nor a default. If ``fn`` raises, the value stays as it is.
        :raises UsageError: if ``fn`` is async; the value stays as it is.
        """
        raise NotImplementedError

    def __setitem__(self, key: str, value: Any) -> None:
        raise NotImplementedError  # every class has its own: see __init_subclass__

    def __delitem__(self, key: str) -> None:
        """Remove the key.

        :raises MissingKey: if it is not there.
        """
        if not self.delete(key):
            raise self._missing(key)

    # All keys

    def clear(self) -> None:
        """Remove all keys."""
        raise NotImplementedError

    def reset(self) -> None:
        """Make the store as new: no values, no statistics, no run. Layout, blocks and pools stay."""
        raise NotImplementedError

    # All of it

    def snapshot(self) -> Snapshot:
        """Return the present values. O(1); the next write copies the values once (not the objects), O(keys).

        With ``direct_reads`` and ``memory="slots"`` it copies at once, and writes never do.
        """
        raise NotImplementedError

    def restore(self, snapshot: Snapshot) -> None:
        """Replace all values by those of ``snapshot``. O(1); O(keys) if it is of another kind of store.

        :raises DataError: if this store's memory cannot keep one of the values; nothing is changed then.
        """
        raise NotImplementedError

    def clone(self) -> WorkflowData:
        """Return an independent store of the same values, settings and run. O(1) as :meth:`snapshot` is."""
        raise NotImplementedError

    def child(self) -> WorkflowData:
        """Return a store that reads through to this one and keeps its own writes and deletions.

        O(1): one small object; nothing else is allocated before the first write. A child keeps objects by
        reference in a dict, whatever the memory of this store, and has no statistics of its own.
        """
        raise NotImplementedError

    def __copy__(self) -> WorkflowData:
        return self.clone()

    def attach(self, view: RunView | None) -> None:
        """Show this run's outputs and statuses; None shows none."""
        raise NotImplementedError

    # Made of bytes, or recycled

    @classmethod
    def from_json(cls, data: bytes | str, config: DataConfig = DEFAULT_DATA_CONFIG) -> WorkflowData:
        """Return a store of the values in a JSON object.

        :raises DataError: if ``data`` is no JSON object.
        """
        from flow.data.codec import decoded

        return filled(WorkflowData(config), decoded(data, "JSON"))

    @classmethod
    def from_msgpack(cls, data: bytes, config: DataConfig = DEFAULT_DATA_CONFIG) -> WorkflowData:
        """Return a store of the values in a msgpack map.

        :raises DataError: if ``data`` is no msgpack map of str.
        """
        from flow.data.codec import decoded

        return filled(WorkflowData(config), decoded(data, "msgpack"))

    @classmethod
    def pool(
        cls, config: DataConfig = DEFAULT_DATA_CONFIG, layout: Layout | None = None, *, capacity: int = 64
    ) -> ObjectPool[WorkflowData]:
        """Return a pool of stores to recycle between runs: ``with pool.acquire() as data: flow.run(plan, data=data)``.

        A store that comes back is :meth:`reset`. With ``memory="slots"`` all share one layout.

        :param capacity: most idle stores kept.
        :raises UsageError: if ``config`` is no DataConfig, or its memory is one of your own and there is a ``layout``.
        """
        from flow.data.pool import ObjectPool
        from flow.data.slots import Layout

        _class_for(config, layout)  # refuses what makes no store, now and not at the first use
        if layout is None and config.memory == "slots":
            layout = Layout()
        return ObjectPool(lambda: WorkflowData(config, layout), lambda data: data.reset(), capacity)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy deeply and pickle by value; statistics, layout and run stay behind."""
        return _rebuilt, (self._settings, dict(self.items()))

    def _forget(self) -> None:
        """Set all counts back to zero."""
        raise NotImplementedError


_class_for: Callable[[DataConfig, Layout | None], type[WorkflowData]]


def choose_classes_by(choose: Callable[[DataConfig, Layout | None], type[WorkflowData]]) -> None:
    """Set the function that chooses the class of each new WorkflowData.

    The classes import this module, so this module cannot import them.

    :param choose: called with the settings and the layout of the new store; may raise for invalid ones.
    """
    global _class_for
    _class_for = choose


def added(store: WorkflowData, key: str, old: Any, by: Any) -> Any:
    """Return the sum for ``store.increment(key, by)``, where ``old`` is.

    :raises WrongType: if one is no number.
    """
    for value, subject in ((by, "by is"), (old, "it holds")):
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            what = f"{subject} {store._what(value)}, not an int or a float"
            raise WrongType(f"key {shown(key)} cannot be incremented: {what}")
    try:
        return old + by
    except OverflowError:
        what = " + ".join(map(shower(store._settings), (old, by)))
        raise WrongType(f"key {shown(key)} cannot be incremented: {what} is no float") from None


def filled(store: WorkflowData, values: Mapping[str, Any]) -> WorkflowData:
    """Store ``values`` uncounted.

    :raises DataError: listing every key that the store refuses.
    """
    faults: list[str] = []
    for key, value in values.items():
        try:
            store.set(key, value)
        except DataError as error:
            faults.extend(error.faults)
    if faults:
        raise DataError("data cannot be stored", faults)
    store._forget()
    return store


def _rebuilt(config: DataConfig, values: dict[str, Any]) -> WorkflowData:
    return filled(WorkflowData(config), values)
