"""Values that msgpack has no way for and that come back equal without an annotation, as extensions of it."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from types import MappingProxyType
from typing import Any, Final, get_args, get_origin

import msgspec
from msgspec.msgpack import Ext

from flow.data.mapresult import MapResult
from flow.store.codec import errors, tags
from flow.types import ABSENT, MISSING

Pack = Callable[[Any], bytes]
Unpack = Callable[[Any], Any]

_MARKS: Final = {"MISSING": MISSING, "ABSENT": ABSENT, "UNSET": msgspec.UNSET}
_BY_MARK: Final = {id(mark): name for name, mark in _MARKS.items()}

_ERRORS: Final = msgspec.msgpack.Decoder(errors.Written)

NOT_ONE: Final = object()
"""Stands for: nothing of these."""


class Later:
    """Stands in a copy of a value for an extension, which has no hash: it may be a key of a dict."""

    __slots__ = ("ext",)

    def __init__(self, ext: Ext) -> None:
        self.ext = ext


# -- writing --------------------------------------------------------------------------------


def special(value: Any, pack: Pack) -> Any:
    """Return what is encoded in the place of ``value``; :data:`NOT_ONE` if it is none of these types.

    :param pack: encodes a part of it.
    """
    kind = type(value)
    make = _WRITERS.get(kind)
    if make is not None:
        return make(value, pack)
    if kind is Later:
        return value.ext
    if id(value) in _BY_MARK:
        return Ext(tags.MARK, _BY_MARK[id(value)].encode())
    for base, make in _FAMILIES:
        if issubclass(kind, base):
            return make(value, pack)
    if is_model(kind):
        return value.model_dump(by_alias=True, round_trip=True)
    return NOT_ONE


def is_model(kind: Any) -> bool:
    """Tell whether a class dumps and validates its instances by itself, as the models of pydantic (2) do."""
    return callable(getattr(kind, "model_dump", None)) and callable(getattr(kind, "model_validate", None))


def whole(number: int) -> Ext:
    """An int of any size."""
    return Ext(tags.INT, number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True))


def text(characters: str) -> Ext:
    """A text with lone surrogates."""
    return Ext(tags.TEXT, characters.encode("utf-8", "surrogatepass"))


def _error(error: BaseException, pack: Pack) -> Ext:
    return Ext(tags.ERROR, pack(errors.written(error)))


def _map_result(result: MapResult[Any], pack: Pack) -> Ext:
    found = {i: Ext(tags.ERROR, pack(errors.written(error))) for i, error in result.errors.items()}
    keys = None if result.keys is None else [{key: None} for key in result.keys]  # a tuple stays one as a key
    return Ext(tags.MAP_RESULT, pack([result.name, list(result._outcomes), found, keys]))


def _path(path: PurePath, pack: Pack) -> Any:
    if not isinstance(path, (Path, PurePosixPath, PureWindowsPath)):
        return NOT_ONE
    pure = "" if isinstance(path, Path) else "P" if isinstance(path, PurePosixPath) else "W"
    return Ext(tags.PATH, pack([pure, str(path)]))


def _complex(number: complex, pack: Pack) -> Ext:
    return Ext(tags.COMPLEX, pack([number.real, number.imag]))


def _deque(queue: deque[Any], pack: Pack) -> Ext:
    return Ext(tags.DEQUE, pack([queue.maxlen, list(queue)]))


def _range(numbers: range, pack: Pack) -> Ext:
    return Ext(tags.RANGE, pack([numbers.start, numbers.stop, numbers.step]))


_WRITERS: Final[dict[type, Callable[[Any, Pack], Any]]] = {
    complex: _complex,
    deque: _deque,
    range: _range,
    MapResult: _map_result,
    MappingProxyType: lambda mapping, _: dict(mapping),
}

_FAMILIES: Final[tuple[tuple[type, Callable[[Any, Pack], Any]], ...]] = (
    (BaseException, _error),
    (PurePath, _path),
    (str, lambda characters, _: str.__str__(characters)),
    (int, lambda number, _: int.__int__(number)),
    (float, lambda number, _: float.__float__(number)),
    (complex, lambda number, pack: _complex(complex(number), pack)),
    (bytes, lambda data, _: bytes.__getitem__(data, slice(None))),
    (MapResult, _map_result),
    (Mapping, lambda mapping, _: dict(mapping)),
)


# -- reading --------------------------------------------------------------------------------


def read(code: int, data: Any, unpack: Unpack) -> Any:
    """Return what the extension ``code`` stands for; :data:`NOT_ONE` if it is none of these.

    :param unpack: decodes a part of it. :raises Exception: if the data is damaged.
    """
    if code == tags.INT:
        return int.from_bytes(data, "little", signed=True)
    if code == tags.TEXT:
        return bytes(data).decode("utf-8", "surrogatepass")
    if code == tags.MARK:
        return _MARKS[bytes(data).decode()]
    if code == tags.ERROR:
        return errors.read(_ERRORS.decode(data))
    if code not in _READERS:
        return NOT_ONE
    return _READERS[code](*unpack(data))


_PATHS: Final[dict[str, type[PurePath]]] = {"": Path, "P": PurePosixPath, "W": PureWindowsPath}


def _read_path(pure: str, path: str) -> PurePath:
    return _PATHS[pure](path)


def map_result(name: str, outcomes: list[Any], found: dict[int, Exception], keys: list[Any] | None) -> MapResult[Any]:
    """Return a MapResult of what was written of it. :raises ValueError: if it is damaged."""
    if type(outcomes) is not list or not all(isinstance(error, Exception) for error in found.values()):
        raise ValueError("this is no MapResult")
    return MapResult(name, outcomes, found, None if keys is None else [next(iter(key)) for key in keys])


_READERS: Final[dict[int, Callable[..., Any]]] = {
    tags.COMPLEX: complex,
    tags.PATH: _read_path,
    tags.DEQUE: lambda most, items: deque(items, most),
    tags.RANGE: range,
    tags.MAP_RESULT: map_result,
}


# -- by an annotation that msgspec leaves to us ---------------------------------------------

_ANY_DICT: Final = (Any, Any)


def as_annotated(hint: Any, found: Any) -> Any:
    """Return a decoded value as the type that it is annotated with; as it is if that is not known to be a form of it.

    (msgspec refuses what is no instance then.)
    """
    origin: Any = get_origin(hint) or hint
    args = get_args(hint)
    make = _MADE.get(origin)
    if make is not None:
        return make(found, args)
    kind = type(found)
    if isinstance(origin, type) and kind is not origin and issubclass(origin, _EXTENDED):
        base = next((one for one in _EXTENDED if issubclass(origin, one)), None)
        if base is kind and all(getattr(origin, name) is getattr(base, name) for name in ("__init__", "__new__")):
            return origin(found)
    if kind is dict and isinstance(origin, type) and is_model(origin):
        return origin.model_validate(found)  # type: ignore[attr-defined]
    return found


def _converted(found: Any, hint: Any) -> Any:
    return msgspec.convert(found, hint, dec_hook=as_annotated)


def _as_deque(found: Any, args: tuple[Any, ...]) -> Any:
    if not isinstance(found, (deque, list)):
        return found
    most = found.maxlen if isinstance(found, deque) else None
    return deque(_converted(list(found), list[args[0]]) if args else found, most)  # type: ignore[valid-type]


def _as_ordered(found: Any, args: tuple[Any, ...]) -> Any:
    return OrderedDict(_converted(found, dict[args or _ANY_DICT]))  # type: ignore[misc]


def _as_counter(found: Any, args: tuple[Any, ...]) -> Any:
    return Counter(_converted(found, dict[args[0] if args else Any, int]))  # type: ignore[misc]


def _as_default(found: Any, args: tuple[Any, ...]) -> Any:
    return defaultdict(None, _converted(found, dict[args or _ANY_DICT]))  # type: ignore[misc]


def _as_complex(found: Any, args: tuple[Any, ...]) -> Any:
    return complex(found) if type(found) in (int, float) else found


def _as_map_result(found: Any, args: tuple[Any, ...]) -> Any:
    if not isinstance(found, MapResult) or not args:
        return found
    outcomes = [value if value is MISSING else _converted(value, args[0]) for value in found._outcomes]
    return MapResult(found.name, outcomes, found.errors, found.keys)


_MADE: Final[dict[Any, Callable[[Any, tuple[Any, ...]], Any]]] = {
    deque: _as_deque,
    OrderedDict: _as_ordered,
    Counter: _as_counter,
    defaultdict: _as_default,
    complex: _as_complex,
    MapResult: _as_map_result,
}

_EXTENDED: Final[tuple[Any, ...]] = (str, int, float, bytes, dict, list, tuple, set, frozenset)


__all__ = ["NOT_ONE", "Later", "as_annotated", "is_model", "map_result", "read", "special", "text", "whole"]
