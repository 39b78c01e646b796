"""What ``with`` passes, held against the parameters of a function: literals at load, computed values at the node."""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from enum import Enum
from functools import partial
from types import FunctionType, MethodType
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints
from weakref import WeakKeyDictionary

import msgspec

from flow.annotations import annotations_of
from flow.errors import ArgumentInvalid, Hints, nearest, shown
from flow.expr.faults import kind as kind_of
from flow.plan.declared import is_instance, path_of, type_text
from flow.signature import VARARGS, VARKEYWORDS, qualname_of, shape_of

UNKNOWN: Final[Any] = object()
"""Stands for a value of ``with`` that is computed at the node."""

_NATIVE: Final = (bytes, bytearray)
"""Types whose values are taken as they are: msgspec would read text as base64."""

_PLAIN: Final = (list, dict, set, frozenset, tuple)
_CONVERTED: Final[frozenset[type]] = frozenset()
"""The types of which values pass at once, where every value must be converted."""


# Of what msgspec says, the parts that hold nothing of a value.
_SAYS: Final = re.compile(
    r"(?P<what>Expected [^\n]+?|Object missing required field `\w+`|Invalid (?:RFC3339 encoded \w+|UUID)|"
    r"(?P<choice>Invalid enum value)(?: '[^\n]*'| -?\d+)|Invalid ISO8601 duration|Integer value out of range)"
    r"(?: - at (?P<key>`key` in )?`\$(?P<at>[^\n]*)`)?"
)
_OF_JSON: Final = {"`object`": "a dict", "`array`": "a list", "`null`": "null"}


class Check(NamedTuple):
    """How the values of one parameter are checked.

    :ivar exact: values of exactly these types pass at once. :ivar kind: the annotation.
    """

    exact: frozenset[type]
    kind: Any


class Arguments:
    """What a function takes by name. Reading it takes longer than a call, so it is done once for a function.

    :param fn: the function. :param name: what files call it; default: its own name.
    :ivar names: the parameters that ``with`` may fill. :ivar required: those of them without a default.
    :ivar checks: by parameter; one that takes anything has none.
    """

    __slots__ = ("_any", "_by_position", "_contexts", "_rest", "checks", "name", "names", "required")

    def __init__(self, fn: Callable[..., Any], name: str = "") -> None:
        self.name = name or qualname_of(fn) or shown(fn)
        shape = shape_of(fn)
        code = fn.__code__ if type(fn) is FunctionType else None
        open_ones = [p for p in shape.parameters if not p.is_context]
        count = max(len(shape.gaps), code.co_posonlyargcount if code is not None else 0)
        self._by_position = frozenset([p.name for p in shape.parameters[:count] if not p.is_context])
        self._contexts = frozenset([p.name for p in shape.parameters if p.is_context])
        self.names = tuple([p.name for p in open_ones if p.name not in self._by_position])
        self.required = tuple([p.name for p in open_ones if not p.default])
        self._any = shape.varkeywords
        hints = _hints(fn)
        nones = {p.name for p in open_ones if p.default and p.default[0] is None}
        found = {name: _check(hints[name], name in nones) for name in self.names if name in hints}
        self.checks = {name: check for name, check in found.items() if check is not None}
        rest = _name_of_rest(code) if code is not None and self._any else ""
        self._rest = _check(hints[rest], False) if rest in hints else None

    def faults(self, given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield a parameter and what is wrong with it, for each that is wrong.

        :param given: what ``with`` has, by parameter; :data:`UNKNOWN` where that is computed.
        """
        hints: Hints | None = None
        for name, value in given.items():
            if name not in self.names and (fault := self._name_fault(name, hints := hints or Hints())):
                yield name, fault
            elif value is not UNKNOWN and (check := self.check_of(name)) is not None and type(value) not in check.exact:
                fault = fitted(value, check.kind)[1]
                if fault:
                    yield name, f"{self.name}: parameter {name!r} {fault}{_meant(value, check.kind)}"
        for name in self.required:
            if name not in given:
                if name in self._by_position:
                    yield name, f"{self.name}: {self._only_by_position(name)}"
                else:
                    yield name, f"{self.name} needs {name!r}, which with does not give"

    def check_of(self, name: str) -> Check | None:
        """How a parameter is checked; None if it takes anything."""
        found = self.checks.get(name)
        return self._rest if found is None and name not in self.names else found

    def _name_fault(self, name: str, hints: Hints) -> str:
        if name in self._contexts:
            return f"{self.name}: parameter {name!r} is the Context, which the engine gives: leave it out"
        if self._any:
            return ""
        if name in self._by_position:
            return f"{self.name}: {self._only_by_position(name)}"
        if not self.names:
            return f"{self.name} has no parameter {shown(name)}: it takes nothing by name"
        return f"{self.name} has no parameter {shown(name)}{hints.nearest(name, self.names)}: it takes {self._listed()}"

    def _listed(self) -> str:
        return ", ".join(self.names[:20]) + (", ..." if len(self.names) > 20 else "")

    @staticmethod
    def _only_by_position(name: str) -> str:
        return f"parameter {name!r} has no name for callers (it is by position alone): call it in a function of yours"

    def converter(
        self, names: Collection[str] | None = None, node: str = ""
    ) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
        """Return what makes the values for ``with`` fit, before each call; None if all of them take anything.

        It changes the dict that it gets, and returns it. A value of exactly the annotated type costs one look.
        Others are converted: text to a date, a dict to a Struct or dataclass; a list of annotated items is copied.

        :param names: the parameters that ``with`` gives, all of which are in each dict; default: all.
        :param node: for messages.
        """
        wanted = self.names if names is None else names
        checks = [(name, *check) for name in wanted if (check := self.check_of(name)) is not None]
        if not checks:
            return None
        own = self.name

        def convert(values: dict[str, Any]) -> dict[str, Any]:
            for name, exact, kind in checks:
                value = values[name]
                if type(value) not in exact:
                    values[name], fault = fitted(value, kind)
                    if fault:
                        at = f"node {node!r}: " if node else ""
                        raise ArgumentInvalid(f"{at}parameter {name!r} of {own} {fault}", node, name)
            return values

        return convert


_read: WeakKeyDictionary[FunctionType, Arguments] = WeakKeyDictionary()


def arguments_of(fn: Callable[..., Any], name: str = "") -> Arguments:
    """Return the :class:`Arguments` of a function, which are kept as long as it is there.

    :raises TypeError: for a partial that binds more than its function takes.
    """
    if type(fn) is not FunctionType:
        return Arguments(fn, name)
    found = _read.get(fn)
    if found is None or (name and found.name != name):
        found = _read[fn] = Arguments(fn, name)
    return found


def fitted(value: Any, kind: Any) -> tuple[Any, str]:
    """Return ``value`` as ``kind``, and what is wrong: words that hold nothing of the value; empty if it fits."""
    is_bool = type(value) is bool
    if not is_bool and _is_of(value, kind):
        return value, ""  # also of a subclass, which msgspec would copy or refuse
    try:
        return msgspec.convert(value, kind, builtin_types=_NATIVE, dec_hook=path_of), ""
    except msgspec.ValidationError as error:
        return value, _refusal(value, kind, str(error))
    except Exception:  # msgspec does not know the type
        return value, _refusal(value, kind, "") if is_instance(value, kind) is False else ""


def _is_of(value: Any, kind: Any) -> bool:
    """Tell whether ``value`` is of a class, or of one of the classes of a union."""
    parts = get_args(kind) if get_origin(kind) is Union or isinstance(kind, types.UnionType) else (kind,)
    return any(isinstance(part, type) and get_origin(part) is None and is_instance(value, part) for part in parts)


def _refusal(value: Any, kind: Any, said: str) -> str:
    text = f"takes {_kind_text(kind)}, and got {kind_of(value)}"
    told = _SAYS.fullmatch(said)
    if told is None or (told["at"] is None and (", got " in told["what"] or told["choice"])):
        return text
    detail: str = told["choice"] or told["what"]
    for json, ours in _OF_JSON.items():
        detail = detail.replace(json, ours)
    at = f" in a key{' of ' if told['at'] else ''}" if told["key"] else " at " if told["at"] else ""
    path = f"`{told['at']}`" if told["at"] else ""
    return f"{text} ({detail[0].lower()}{detail[1:]}{at}{path})"


def _kind_text(kind: Any) -> str:
    choices = _choices(kind)
    if not choices or len(choices) > 20:
        return type_text(kind)
    return f"one of {', '.join(map(shown, choices))}"


def _choices(kind: Any) -> list[Any]:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [one.value for one in kind]
    return list(get_args(kind)) if get_origin(kind) is Literal else []


def _meant(value: Any, kind: Any) -> str:
    """Which choice a literal means."""
    return nearest(value, _choices(kind)) if isinstance(value, str) else ""


# -- reading annotations -----------------------------------------------------------------------


def _check(kind: Any, none_too: bool) -> Check | None:
    exact = _exact(kind)
    if exact is None:
        return None
    if none_too:  # a default of None goes with any annotation
        exact, kind = exact | {type(None)}, _or_none(kind)
    return Check(exact, kind)


def _or_none(kind: Any) -> Any:
    try:
        return Union[kind, None]  # noqa: UP007  kinds that have no | as well
    except TypeError:
        return kind


def _exact(kind: Any) -> frozenset[type] | None:
    """The types whose very values a parameter takes; None if it takes anything."""
    for _ in range(100):
        if hasattr(kind, "__supertype__"):  # NewType
            kind = kind.__supertype__
        elif type(kind).__name__ == "TypeAliasType":
            kind = kind.__value__
        else:
            break
    origin = get_origin(kind)
    if kind is Any or kind is object or isinstance(kind, (TypeVar, str)):
        return None
    if kind is None:
        return frozenset({type(None)})
    if origin is Union or isinstance(kind, types.UnionType):
        parts = [_exact(part) for part in get_args(kind)]
        known = [part for part in parts if part is not None]
        return _CONVERTED.union(*known) if len(known) == len(parts) else None
    if origin is Annotated or origin is Literal:
        return _CONVERTED
    if origin in _PLAIN:
        takes_any = all(part is Any for part in get_args(kind) if part is not ...)
        return frozenset({origin}) if takes_any and (origin is not tuple or ... in get_args(kind)) else _CONVERTED
    if isinstance(kind, type) and origin is None:
        return frozenset({kind})
    return _CONVERTED if origin is not None else None


def _hints(fn: Any) -> Mapping[str, Any]:
    """The resolved annotations of what a call comes to; those that cannot be resolved are left out."""
    for _ in range(100):  # a __wrapped__ may lead back to itself
        own = getattr(fn, "__dict__", {})
        if "__signature__" in own:
            return {}  # it may take something else
        inner = fn.func if isinstance(fn, partial) else fn.__func__ if isinstance(fn, MethodType) else None
        inner = own.get("__wrapped__") if inner is None and isinstance(fn, FunctionType) else inner
        if inner is None:
            break
        fn = inner
    if isinstance(fn, type):
        init = fn.__dict__.get("__init__")
        home = fn if init is None or not isinstance(init, FunctionType) or hasattr(fn, "__dataclass_fields__") else init
        return _resolved(home, getattr(home, "__annotations__", {}), None)
    if not isinstance(fn, FunctionType):
        fn = getattr(type(fn), "__call__", None)  # noqa: B004  the function behind it, not a test
        if not isinstance(fn, FunctionType):
            return {}
    return _resolved(fn, annotations_of(fn), fn.__globals__)


def _resolved(home: Any, annotations: Mapping[str, Any], scope: Any) -> Mapping[str, Any]:
    try:
        return get_type_hints(home, include_extras=True)
    except Exception:  # one names what only type checkers know
        pass
    found: dict[str, Any] = {}
    for name, annotation in annotations.items():
        one = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            found.update(get_type_hints(one, scope, include_extras=True))
        except Exception:
            continue
    return found


def _name_of_rest(code: types.CodeType) -> str:
    at = code.co_argcount + code.co_kwonlyargcount + (code.co_flags & VARARGS != 0)
    return code.co_varnames[at] if code.co_flags & VARKEYWORDS else ""


__all__ = ["UNKNOWN", "Arguments", "arguments_of", "fitted"]
