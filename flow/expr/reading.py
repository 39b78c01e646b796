"""Reads keys, declared fields and items of values. Nothing here, or anywhere in this room, reads another attribute.

Readable by name: the keys of mappings, the fields of msgspec Structs, dataclasses, NamedTuples and models of pydantic,
and of other classes the fields that :func:`readable` was told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

import msgspec

from flow.errors import nearest, shown
from flow.expr.faults import Fault, Steps, kind, spend
from flow.types import MISSING

_FIELDS = "__dataclass_fields__"
_KNOWN: Final = 1_000
"""Classes whose fields are remembered."""

_told: dict[type, tuple[str, ...]] = {}
_fields: dict[type, tuple[str, ...]] = {}
_NONE: Final[tuple[str, ...]] = ()


def readable(cls: type, fields: Iterable[str]) -> None:
    """Let expressions read these attributes of ``cls`` and its subclasses by ``.name``.

    :param fields: public attributes whose reading is cheap and changes nothing.
    :raises ValueError: if one begins with an underscore.
    """
    names = tuple(fields)
    if any(not name.isidentifier() or name.startswith("_") for name in names):
        raise ValueError(f"fields of {cls.__name__} must be public names")
    _told[cls] = names
    _fields.clear()


def fields_of(value: object) -> tuple[str, ...]:
    """Return the names of the fields that expressions may read of ``value``; none of a mapping. O(1) but for the first
    value of a class."""
    cls = type(value)
    found = _fields.get(cls)
    if found is None:
        if len(_fields) >= _KNOWN:
            _fields.clear()
        found = _fields[cls] = tuple(name for name in _declared(cls) if not name.startswith("_"))
    return found


def _declared(cls: Any) -> Iterable[str]:
    for base in cls.__mro__:
        if base in _told:
            return _told[base]
    if issubclass(cls, msgspec.Struct):
        declared: tuple[str, ...] = cls.__struct_fields__
        return declared
    if _FIELDS in cls.__dict__ or any(_FIELDS in base.__dict__ for base in cls.__mro__):
        return [name for name, field in getattr(cls, _FIELDS).items() if field._field_type.name == "_FIELD"]
    if issubclass(cls, tuple):
        names = cls.__dict__.get("_fields") or next(
            (b.__dict__["_fields"] for b in cls.__mro__ if "_fields" in b.__dict__), ()
        )
        return [name for name in names if isinstance(name, str)]
    fields = getattr(cls, "model_fields", None) if callable(getattr(cls, "model_dump", None)) else None
    return list(fields) if isinstance(fields, Mapping) else _NONE  # a model of pydantic, which is not imported here


def found(value: Any, key: str) -> Any:
    """Return the field or the key of ``value``, or MISSING. :raises Fault: if ``value`` has neither keys nor fields."""
    if isinstance(value, Mapping):
        return value.get(key, MISSING)
    fields = fields_of(value)
    if key in fields:
        return getattr(value, key)
    if fields:
        return MISSING
    raise Fault(f"{kind(value)} has no keys{_otherwise(value)}")


def _otherwise(value: object) -> str:
    if value is None:
        return "; default(..., other) gives another value where there is none"
    if isinstance(value, (list, tuple)):
        return "; read an item by its index, as in x[0], or a key of all by pluck(x, 'key')"
    return ""


def read(value: Any, key: str) -> Any:
    """``value.key`` or ``value["key"]``."""
    got = found(value, key)
    if got is MISSING:
        raise missing(value, key, is_written=True)
    return got


def missing(value: Any, key: object, is_written: bool = False) -> Fault:
    """Say that a key is not there, and which is near. The key itself is said if it ``is_written`` in the source."""
    names: Collection[Any] = value if isinstance(value, Mapping) else fields_of(value)
    about = f"there is no key {shown(key)}" if is_written else "there is no such key"
    return Fault(
        f"{about} in {kind(value)}{nearest(key, names)}; default(..., other) gives another value where there is none"
    )


def read_or_missing(value: Any, key: str) -> Any:
    """As :func:`read`, but MISSING where there is no such key, or nothing to read it from."""
    return MISSING if value is None or value is MISSING else found(value, key)


def item(value: Any, index: Any) -> Any:
    """``value[index]``."""
    if type(value) is list and type(index) is int and -len(value) <= index < len(value):
        return value[index]
    got = _item(value, index)
    if got is not MISSING:
        return got
    if isinstance(index, int) and not isinstance(value, Mapping):
        raise short(value)
    raise missing(value, index)


def short(value: Any) -> Fault:
    """Say that an index is beyond the end."""
    return Fault(f"{kind(value)} of {len(value):,} has no item at this index; default(..., other) gives another value")


def item_or_missing(value: Any, index: Any) -> Any:
    """As :func:`item`, but MISSING where there is none."""
    return MISSING if value is None or value is MISSING else _item(value, index)


def _item(value: Any, index: Any) -> Any:
    if isinstance(value, Mapping):
        if not isinstance(index, (str, int, float)) and index is not None:
            raise Fault(f"a key must be a str or a number, not {kind(index)}")
        return value.get(index, MISSING)
    if is_list(value):
        if isinstance(index, int) and not isinstance(index, bool):
            return value[index] if -len(value) <= index < len(value) else MISSING
        if not (isinstance(index, str) and fields_of(value)):
            raise Fault(f"an item of {kind(value)} is read by an int, not by {kind(index)}")
    if isinstance(index, str):
        return found(value, index)
    raise Fault(f"{kind(value)} has no items")


def part(steps: Steps, value: Any, start: Any, stop: Any, step: Any) -> Any:
    """``value[start:stop:step]`` of text and lists."""
    for bound in (start, stop, step):
        if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
            raise Fault(f"the ends of a slice are ints, not {kind(bound)}")
    if step == 0:
        raise Fault("the step of a slice cannot be 0")
    if not isinstance(value, (str, list, tuple, range)):
        raise Fault(f"{kind(value)} cannot be sliced: text and lists can")
    where = slice(start, stop, step)
    spend(steps, len(range(*where.indices(len(value)))))
    if isinstance(value, str):
        return str.__getitem__(value, where)
    return value[where] if type(value) is list else list(value[where])


def is_list(value: Any) -> bool:
    """Tell whether it is a list, or what is like one: text too, but no bytes."""
    return isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview))


def sized(value: Any) -> bool:
    """Tell whether ``len`` may be asked of it."""
    return isinstance(value, (str, list, tuple, Mapping, Sequence, AbstractSet)) and not isinstance(value, memoryview)
