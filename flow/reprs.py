"""The beginning of a value's repr, at the cost of that beginning.

``repr`` makes all of a text before anyone can cut it: of a list of five million numbers that takes a second and a
hundred megabytes. Here the containers of the standard library, dataclasses and msgspec's Structs are written out
piece by piece, for as long as there is room. What has a repr of its own takes as long as that takes.

Below that: how many cells of a terminal a text fills, names shortened to fit, and counts in words.
"""

from __future__ import annotations

import sys
from array import array
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain
from types import MappingProxyType, MethodType
from typing import Any, Final

import msgspec

MAX_BITS: Final = 14_000
"""Bits of an int up to which its digits are written: 4,214 of them, fewer than Python refuses."""

Pieces = Iterator[Any]
"""Text as str, and in a 1-tuple what is to be written out in its place."""


def beginning(value: object, room: int) -> str:
    """Return at least the first ``room`` characters of ``repr(value)``, or all of it, or what else can be said of it.

    O(room) for what is written out here; never raises.
    """
    try:
        return "".join(_written(value, room))
    except Exception:
        return f"<{type(value).__name__} without a usable repr>"


def _written(value: object, room: int) -> list[str]:
    """Write pieces until there are ``room`` characters. Iterative: values may nest deeply."""
    text: list[str] = []
    open_: list[tuple[int, Pieces]] = []
    within: set[int] = set()  # of what is being written: it may hold itself
    todo: Pieces = iter([(value,)])
    while room > 0:
        piece = next(todo, None)
        if piece is None:
            if not open_:
                break
            done, todo = open_.pop()
            within.discard(done)
            continue
        if type(piece) is tuple:
            inner = piece[0]
            piece = _parts(inner, room)
            if type(piece) is not str:
                if id(inner) not in within:
                    open_.append((id(inner), todo))
                    within.add(id(inner))
                    todo = piece
                    continue
                piece = _AGAIN.get(type(inner), "...")
        text.append(piece)
        room -= len(piece)
    return text


def _parts(value: Any, room: int) -> Any:
    """Return the pieces of a value that is written out; of any other, the beginning of its repr."""
    kind: Any = type(value)
    if issubclass(kind, (str, bytes, bytearray)) and kind.__repr__ in _TEXTS:
        return repr(value[:room])  # (a str's quotes may be others than those of the whole)
    if kind.__repr__ is int.__repr__:
        bits = int.bit_length(value)
        digits = int(bits * 0.30103) + 1
        return repr(value) if bits <= MAX_BITS else f"<{kind.__name__} of about {digits:,} digits>"
    write = _WRITERS.get(kind.__repr__)
    if write is None and hasattr(kind, _FIELDS) and _is_generated(kind.__repr__):
        write = _dataclass
    return repr(value)[:room] if write is None else write(value)


def _is_generated(method: Any) -> bool:
    """Tell whether it is the ``__repr__`` that ``@dataclass`` has made: wrapped, and compiled from text."""
    code = getattr(getattr(method, "__wrapped__", None), "__code__", None)
    return code is not None and code.co_filename == "<string>"


def _joined(left: str, items: Pieces, right: str) -> Pieces:
    yield left
    for n, item in enumerate(items):
        if n:
            yield ", "
        if type(item) is tuple:
            yield item
        else:
            yield from item
    yield right


def _each(items: Any) -> Pieces:
    return ((item,) for item in items)


def _pairs(items: Any) -> Pieces:
    return (iter([(key,), ": ", (value,)]) for key, value in items)


def _named(pairs: Any) -> Pieces:
    return (iter([f"{name}=", (value,)]) for name, value in pairs)


def _list(value: Any) -> Pieces:
    return _joined("[", _each(list.__iter__(value)), "]")


def _tuple(value: Any) -> Pieces:
    return _joined("(", _each(tuple.__iter__(value)), ",)" if tuple.__len__(value) == 1 else ")")


def _dict(value: Any) -> Pieces:
    return _joined("{", _pairs(dict.items(value)), "}")


def _set(value: Any) -> Pieces:
    name, plain = type(value).__name__, type(value) is set
    if not value:
        return iter([f"{name}()"])
    return _joined("{" if plain else f"{name}({{", _each(iter(value)), "}" if plain else "})")


def _deque(value: Any) -> Pieces:
    end = "])" if value.maxlen is None else f"], maxlen={value.maxlen})"
    return _joined(f"{type(value).__name__}([", _each(iter(value)), end)


def _array(value: Any) -> Pieces:
    if value.typecode in "uw" or not value:
        return iter([repr(value[:1000])])
    return _joined(f"{type(value).__name__}({value.typecode!r}, [", _each(iter(value)), "])")


def _ordered(value: Any) -> Pieces:
    name = type(value).__name__
    if not value:
        return iter([f"{name}()"])
    if sys.version_info >= (3, 12):
        return _joined(f"{name}({{", _pairs(value.items()), "})")
    return _joined(f"{name}([", _each(value.items()), "])")


def _defaulting(value: Any) -> Pieces:
    return chain([f"{type(value).__name__}(", (value.default_factory,), ", "], _dict(value), [")"])


def _counter(value: Any) -> Pieces:
    if not value:
        return iter([f"{type(value).__name__}()"])
    few = value.most_common() if len(value) <= 100 else value.items()
    return _joined(f"{type(value).__name__}({{", _pairs(few), "})")


def _proxy(value: Any) -> Pieces:
    return chain(["mappingproxy("], _joined("{", _pairs(value.items()), "}"), [")"])


def _view(value: Any) -> Pieces:
    return _joined(f"{type(value).__name__}([", _each(iter(value)), "])")


def _partial(value: Any) -> Pieces:
    kind = type(value)
    name = f"functools.{kind.__qualname__}" if kind is partial else f"{kind.__module__}.{kind.__qualname__}"
    given = chain([(value.func,)], _each(value.args), _named(value.keywords.items()))
    return _joined(f"{name}(", given, ")")


def _method(value: Any) -> Pieces:
    name = getattr(value.__func__, "__qualname__", getattr(value.__func__, "__name__", "?"))
    return iter([f"<bound method {name} of ", (value.__self__,), ">"])


def _error(value: Any) -> Pieces:
    return _joined(f"{type(value).__name__}(", _each(value.args), ")")


def _dataclass(value: Any) -> Pieces:
    fields: Mapping[str, Any] = getattr(type(value), _FIELDS)
    shown = [f.name for f in fields.values() if f.repr and f._field_type.name == "_FIELD"]
    return _joined(f"{type(value).__qualname__}(", _named((name, getattr(value, name)) for name in shown), ")")


def _struct(value: Any) -> Pieces:
    kind = type(value)
    if kind.__struct_config__.repr_omit_defaults:
        return iter([repr(value)])
    pairs = ((name, getattr(value, name)) for name in kind.__struct_fields__)
    return _joined(f"{kind.__name__}(", _named(pairs), ")")


_AGAIN: Final[dict[Any, str]] = {list: "[...]", tuple: "(...)", dict: "{...}", deque: "[...]"}
"""What stands where a value comes again within itself."""

_FIELDS: Final = "__dataclass_fields__"
_TEXTS: Final = frozenset({str.__repr__, bytes.__repr__, bytearray.__repr__})
_WRITERS: Final[dict[Any, Callable[[Any], Pieces]]] = {
    list.__repr__: _list,
    tuple.__repr__: _tuple,
    dict.__repr__: _dict,
    set.__repr__: _set,
    frozenset.__repr__: _set,
    deque.__repr__: _deque,
    array.__repr__: _array,
    OrderedDict.__repr__: _ordered,
    defaultdict.__repr__: _defaulting,
    Counter.__repr__: _counter,
    MappingProxyType.__repr__: _proxy,
    type({}.keys()).__repr__: _view,
    type({}.values()).__repr__: _view,
    type({}.items()).__repr__: _view,
    partial.__repr__: _partial,
    MethodType.__repr__: _method,
    BaseException.__repr__: _error,
    msgspec.Struct.__repr__: _struct,
}


def counted(count: int, what: str) -> str:
    """``1 node``, ``2 nodes``: ``what`` in the singular takes an s."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


MIN_NAME: Final = 12
"""Cells of a terminal that a name keeps, however little room there is."""


def cells(text: str) -> int:
    """Return how many cells of a terminal ``text`` fills: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def fitted(text: str, most: int) -> str:
    """Shorten ``text`` in its middle to ``most`` cells, and to :data:`MIN_NAME` if that is less: ends tell names apart.

    O(length).
    """
    most = max(most, MIN_NAME)
    if cells(text) <= most:
        return text
    head = _first(text, (most - 1) // 2)
    tail = _first(text[::-1], most - 1 - cells(head))[::-1]
    return f"{head}\u2026{tail}"


def _first(text: str, most: int) -> str:
    """As many characters of ``text`` as fill at most ``most`` cells."""
    used = 0
    for k, character in enumerate(text):
        used += cells(character)
        if used > most:
            return text[:k]
    return text


def cut(text: str, most: int) -> str:
    """Shorten ``text`` at its end to ``most`` cells."""
    return text if cells(text) <= most else f"{_first(text, max(0, most - 1))}\u2026"
