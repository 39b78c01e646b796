"""Whether two types certainly exclude each other: :func:`contradict`.

Unlike a type checker this does not ask whether every value of one type is of the other, but whether none can be. So
``str | None`` for a ``str`` is fine, and whatever is not known for certain is: Protocols, type variables, generic
classes of the user's, arrays. A container whose items would contradict does so too, though an empty one would pass.
"""

from __future__ import annotations

import types
import typing
from abc import ABCMeta
from collections import abc, deque
from typing import Annotated, Any, Final, Literal, NewType, TypeVar, Union, get_args, get_origin

MOST_CLASSES: Final = 10_000
"""Most subclasses that are searched for one of both types. With more, nothing is certain."""

MOST_NESTED: Final = 50
"""Greatest depth to which nested types are compared."""

UNKNOWN: Final[Any] = Any

_ONE: Final = frozenset({
    list, set, frozenset, deque, abc.Iterable, abc.Iterator, abc.Reversible, abc.Collection, abc.Sequence,
    abc.MutableSequence, abc.Set, abc.MutableSet, abc.AsyncIterable, abc.AsyncIterator, abc.Generator,
    abc.AsyncGenerator, abc.ValuesView, abc.KeysView,
})  # fmt: skip
"""Generic classes whose first argument is the type of their items."""

_TWO: Final = frozenset({dict, abc.Mapping, abc.MutableMapping})
"""Generic classes whose arguments are the types of their keys and values."""

_MARKS: Final = ("__array__", "__array_interface__", "__dataframe__", "__await__")
"""Attributes of classes whose instances pass for instances of other classes, or of classes not yet made."""

_PROMOTED: Final = {float: (int,), complex: (float, int), bytes: (bytearray, memoryview)}
"""Classes that type checkers accept for another class without being subclasses of it."""


def contradict(given: Any, asked: Any, depth: int = 0) -> bool:
    """Tell whether no value of the type ``given`` (no empty container aside) can be what ``asked`` asks for.

    Never wrongly: False unless that is certain of the classes that are loaded. O(subclasses).
    """
    given, asked = plain(given), plain(asked)
    if given is UNKNOWN or asked is UNKNOWN or depth > MOST_NESTED:
        return False
    pairs = [(one, other) for one in parts(given) for other in parts(asked)]
    if len(pairs) > 1:
        return all(contradict(one, other, depth + 1) for one, other in pairs)
    if get_origin(given) is Literal or get_origin(asked) is Literal:
        return _literals_contradict(given, asked)
    a, b = get_origin(given) or given, get_origin(asked) or asked
    if not (isinstance(a, type) and isinstance(b, type)):
        return False
    return _exclude(a, b) or _arguments_contradict(given, asked, a, b, depth)


def plain(kind: Any) -> Any:
    """Return a type without Annotated, aliases and NewType; :data:`UNKNOWN` if it cannot be resolved."""
    for _ in range(MOST_NESTED):
        if kind is None:
            return types.NoneType
        if get_origin(kind) is Annotated or isinstance(kind, NewType):
            kind = get_args(kind)[0] if not isinstance(kind, NewType) else kind.__supertype__
        elif type(kind).__name__ == "TypeAliasType":
            try:
                kind = kind.__value__
            except Exception:  # of what is not there
                return UNKNOWN
        elif typing.is_typeddict(kind) or typing.is_typeddict(get_origin(kind)):
            return dict
        else:
            break
    if isinstance(kind, (str, TypeVar, typing.ForwardRef)) or kind is object or kind is type(Any):
        return UNKNOWN
    if get_origin(kind) in (Union, types.UnionType, Literal) or isinstance(get_origin(kind) or kind, type):
        return UNKNOWN if _may_be_anything(get_origin(kind) or kind) else kind
    return UNKNOWN


def _may_be_anything(kind: Any) -> bool:
    """Tell whether values of other classes may pass for instances of ``kind``."""
    if not isinstance(kind, type):
        return False
    if kind in (typing.IO, typing.TextIO, typing.BinaryIO):  # of which no file is an instance
        return True
    if getattr(kind, "_is_protocol", False) and not kind.__module__.startswith("collections.abc"):
        return True
    if type(kind).__instancecheck__ not in (type.__instancecheck__, ABCMeta.__instancecheck__):
        return True
    if kind in (abc.Awaitable, abc.Coroutine, abc.Hashable, abc.Callable, type):
        return True
    return any(hasattr(kind, mark) for mark in _MARKS)


def parts(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union (or of what :func:`plain` made of it); of any other type, the type itself."""
    if get_origin(kind) not in (Union, types.UnionType):
        return (kind,)
    return get_args(kind)


def _literals_contradict(given: Any, asked: Any) -> bool:
    values = [get_args(kind) if get_origin(kind) is Literal else None for kind in (given, asked)]
    if values[0] is not None and values[1] is not None:
        return not any(type(a) is type(b) and a == b for a in values[0] for b in values[1])
    literal = values[0] if values[1] is None else values[1]
    kind = asked if values[1] is None else given
    return all(contradict(type(value), kind) for value in literal or ())


def _exclude(a: type, b: type) -> bool:
    """Tell whether no loaded class is a subclass of both."""
    try:
        if any(issubclass(one, (other, *_PROMOTED.get(other, ()))) for one, other in ((a, b), (b, a))):
            return False
        if type(a) is ABCMeta and type(b) is ABCMeta:  # any class may be registered with both
            return False
        if _is_number(a) and _is_number(b) and not {a, b} <= {int, float, complex, bool}:
            return False
        return not (_any_is(a, b) or _any_is(b, a))
    except Exception:  # a class that does not answer
        return False


def _is_number(kind: type) -> bool:
    from numbers import Number

    return issubclass(kind, Number)


def _any_is(kind: type, other: type) -> bool:
    """Tell whether a subclass of ``kind`` is a subclass of ``other``; True as well if there are too many to search."""
    seen: set[type] = set()
    todo = [kind]
    while todo:
        at = todo.pop()
        if issubclass(at, other) or len(seen) > MOST_CLASSES:
            return True
        for below in type.__subclasses__(at):
            if below not in seen:
                seen.add(below)
                todo.append(below)
    return False


def _arguments_contradict(given: Any, asked: Any, a: type, b: type, depth: int) -> bool:
    """Tell whether the arguments of two generic types contradict."""
    if a in _TWO and b in _TWO:
        pairs = list(zip(get_args(given), get_args(asked), strict=False))
        return any(contradict(x, y, depth + 1) for x, y in pairs)
    if a is tuple and b is tuple:
        return _tuples_contradict(get_args(given), get_args(asked), depth)
    if (a in _ONE or a is tuple) and (b in _ONE or b is tuple):
        return contradict(item_of(given), item_of(asked), depth + 1)
    return False


def _tuples_contradict(given: tuple[Any, ...], asked: tuple[Any, ...], depth: int) -> bool:
    if not given or not asked:
        return False
    endless = [len(args) == 2 and args[1] is ... for args in (given, asked)]
    if any(endless):
        length = 1 if all(endless) else len(asked if endless[0] else given)
        given, asked = ((a[0],) * length if e else a for a, e in zip((given, asked), endless, strict=True))
    return len(given) != len(asked) or any(contradict(a, b, depth + 1) for a, b in zip(given, asked, strict=True))


def union(*kinds: Any) -> Any:
    """Return the union of types."""
    return Union[kinds]  # noqa: UP007  (| is not for all that may stand here)


def list_of(kind: Any) -> Any:
    """Return the type of a list of ``kind``."""
    return list[kind]


def item_of(kind: Any, values: bool = False) -> Any:
    """Return the type of the items of an iterable type; :data:`UNKNOWN` if it does not say.

    :param values: of mappings the values, which maps go over; else nothing is said of these.
    """
    kind = plain(kind)
    found = [_item_of(part, values) for part in parts(kind)]
    if not found or any(item is UNKNOWN for item in found):
        return UNKNOWN
    return union(*found)


def _item_of(kind: Any, values: bool) -> Any:
    origin, args = get_origin(kind), get_args(kind)
    if origin in _ONE and args:
        return args[0]
    if values and origin in _TWO and len(args) == 2:
        return args[1]
    if origin is tuple and args:
        return union(*[arg for arg in args if arg is not ...])
    return UNKNOWN


__all__ = ["UNKNOWN", "contradict", "item_of", "list_of", "parts", "plain", "union"]
