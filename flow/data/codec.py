"""Plain data: values that an arena, JSON and msgpack return unchanged, and the faults of all other values."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final, Literal, TypeAlias

import msgspec

from flow.errors import DataError, Show, a_kind, described, shower, shown

Format: TypeAlias = Literal["JSON", "msgpack"]

MAX_DEPTH: Final = 200
"""Containers within one another; far below what any interpreter's recursion limit lets msgspec decode."""

_STRINGS: Final = frozenset({str})
SCALARS: Final = frozenset({type(None), bool, int, float, str, bytes})
"""Types of plain data that hold no other data."""

_AS_THEY_ARE: Final[dict[Format, frozenset[type]]] = {
    "JSON": frozenset({type(None), bool, int, str}),
    "msgpack": SCALARS,
}
_SURE: Final = frozenset({type(None), bool})
_INSTEAD: Final[dict[type, str]] = {
    tuple: "would come back as a list: store list(...)",
    set: "would come back as a list: store sorted(...) or list(...)",
    frozenset: "would come back as a list: store sorted(...) or list(...)",
    bytearray: "would come back as bytes: store bytes(...)",
    memoryview: "would come back as bytes: store bytes(...)",
}

encode_json = msgspec.json.Encoder().encode
encode_msgpack = msgspec.msgpack.Encoder().encode


def fault_in(value: Any, form: Format, show: Show = shown, strict: bool = False) -> str | None:
    """Say what in ``value`` is not plain data and where it stands; None if all of it is.

    Plain are None, bool, int, float, str, bytes (not in JSON), lists, and dicts with str keys: exactly these types.
    O(size of the value), mostly in C. Iterative, so that no value is too deep for it.

    :param show: how keys within the value are said.
    :param strict: look into each int and str too: for what an encoder has refused.
    """
    quiet = _SURE if strict else _AS_THEY_ARE[form]
    kind = type(value)
    if kind in quiet:
        return None
    todo: list[tuple[Any, Any, int]] = [(value, None, 0)]
    while todo:
        item, path, depth = todo.pop()
        kind = type(item)
        if kind is dict:
            if not _STRINGS.issuperset(map(type, item)):
                key = next(key for key in item if type(key) is not str)
                return f"a dict{_place(path, show)} has the key {show(key)}: keys must be str"
            if strict and (fault := next(filter(None, map(_text_fault, item)), None)):
                return f"a key of the dict{_place(path, show)} {fault}"
            inner = () if quiet.issuperset(map(type, item.values())) else tuple(item.items())
        elif kind is list:
            inner = () if quiet.issuperset(map(type, item)) else tuple(enumerate(item))
        elif fault := _scalar_fault(item, form):
            return f"{_named(item)}{_place(path, show)} {fault}"
        else:
            continue
        if depth == MAX_DEPTH:
            return f"a {kind.__name__} holds more than {MAX_DEPTH} levels, or itself"
        todo.extend((inside, (path, step), depth + 1) for step, inside in reversed(inner) if type(inside) not in quiet)
    return None


def check(store: Any, key: str, value: Any) -> None:
    """Refuse for ``store`` what an arena would not hand back as it was given.

    :raises DataError: naming the key, the type and where it stands.
    """
    if type(value) not in SCALARS and (fault := fault_in(value, "msgpack", shower(store._settings))):
        raise DataError("data cannot be kept in an arena", [f"key {shown(key)}: {fault}"])


def encoded(values: Mapping[str, Any], form: Format, show: Show = shown) -> bytes:
    """Encode a store's values.

    :raises DataError: listing every key whose value would not survive.
    """
    faults = _faults(values, form, show)
    if not faults:
        try:
            return encode_json(values) if form == "JSON" else encode_msgpack(values)
        except (ValueError, OverflowError, TypeError) as error:  # a surrogate (a ValueError too), an int too large
            faults = _faults(values, form, show, strict=True) or [described(error)]
    raise DataError(f"data cannot be written as {form}", faults)


def strict_fault_in(key: Any, value: Any, form: Format, show: Show) -> str | None:
    """Say what in ``value``, or in its ``key`` if that is a str, an encoder has refused; None if it is neither."""
    fault = _text_fault(key) if isinstance(key, str) else None
    return fault or fault_in(value, form, show, strict=True)


def decoded(data: bytes | bytearray | memoryview | str, form: Format, what: str = "") -> dict[str, Any]:
    """Decode what :func:`encoded` made.

    :param what: how the error begins.
    :raises DataError: if it is no such thing.
    """
    try:
        if form == "JSON":
            return msgspec.json.decode(data, type=dict[str, Any])
        return msgspec.msgpack.decode(data, type=dict[str, Any])  # type: ignore[arg-type]
    except (ValueError, TypeError, RecursionError) as error:  # msgspec's own errors are ValueErrors
        fault = f"it must be one object with its keys: {described(error)}"
        raise DataError(what or f"data cannot be read as {form}", [fault]) from None


def _faults(values: Mapping[str, Any], form: Format, show: Show, strict: bool = False) -> list[str]:
    found = []
    for key, value in values.items():
        fault = _text_fault(key) if strict else None
        fault = fault or fault_in(value, form, show, strict)
        if fault:
            found.append(f"key {shown(key)}: {fault}")
    return found


def _scalar_fault(item: Any, form: Format) -> str | None:
    kind = type(item)
    if kind not in SCALARS:
        return _INSTEAD.get(kind, "is no plain data (None, bool, int, float, str, bytes, list, dict)")
    if kind is bytes and form == "JSON":
        return "would come back as a str: use msgpack, or store its text"
    if kind is float and form == "JSON" and not isfinite(item):
        return "would come back as null: JSON has no such number"
    if kind is str:
        return _text_fault(item)
    if kind is int:
        return _int_fault(item, form)
    return None


def _text_fault(text: str) -> str | None:
    try:
        text.encode()
    except UnicodeEncodeError:
        return "holds a lone surrogate, which UTF-8 has no bytes for"
    return None


def _int_fault(number: int, form: Format) -> str | None:
    try:
        encode_json(number) if form == "JSON" else encode_msgpack(number)
    except (ValueError, OverflowError):
        return f"of {number.bit_length()} bits is too large for {form}: store it as a str"
    return None


def _named(item: Any) -> str:
    return f"the float {item}" if type(item) is float else a_kind(item)


def _place(path: Any, show: Show) -> str:
    steps = []
    while path is not None:
        path, step = path
        steps.append(f"[{step if isinstance(step, int) else show(step)}]")
    return f" at {''.join(reversed(steps))}" if steps else ""
