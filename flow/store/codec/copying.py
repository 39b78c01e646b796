"""A copy of a value in which what msgspec refuses to write is replaced by extensions: huge ints, lone surrogates."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from flow.store.codec.special import Later, text, whole

_KEPT: Final = (bytes, bytearray, memoryview, datetime, date, time, timedelta, UUID, Decimal)
_LEAST: Final = -(1 << 63)
_MOST: Final = (1 << 64) - 1


def replaced(value: Any, hook: Callable[[Any], Any]) -> Any:
    """Return ``value`` as plain data that msgspec writes as it would have written ``value``. O(size).

    :param hook: as msgspec's ``enc_hook``. :raises RecursionError: if it nests too deeply.
    """
    extensions: dict[int, tuple[Any, Any]] = {}

    def marked(part: Any) -> Any:
        made = hook(part)
        if not isinstance(made, msgspec.msgpack.Ext):
            return made
        mark = bytearray()  # of a type that msgspec leaves as it is
        extensions[id(mark)] = mark, made
        return mark

    try:
        plain = msgspec.to_builtins(value, builtin_types=_KEPT, str_keys=False, enc_hook=marked)
    except TypeError as error:
        if "unhashable" not in str(error):
            raise
        raise TypeError("it has records as keys of a dict, and an int beyond 64 bits or a lone surrogate") from error

    def copy(part: Any) -> Any:
        kind = type(part)
        if kind is int:
            return part if _LEAST <= part <= _MOST else Later(whole(part))
        if kind is str:
            return part if _is_encodable(part) else Later(text(part))
        if kind is dict:
            return {copy(key): copy(inner) for key, inner in part.items()}
        if kind is list or kind is set or kind is frozenset:
            return [copy(inner) for inner in part]
        if kind is tuple:
            return tuple([copy(inner) for inner in part])
        if kind is bytearray and id(part) in extensions:
            return Later(extensions[id(part)][1])
        return part

    return copy(plain)


def _is_encodable(characters: str) -> bool:
    try:
        characters.encode()
    except UnicodeEncodeError:
        return False
    return True


__all__ = ["replaced"]
