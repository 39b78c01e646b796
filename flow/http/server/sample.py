"""A request that works as it is: inputs of a workflow that are plausible, and the curl line that sends them."""

from __future__ import annotations

import shlex
import urllib.parse
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec import inspect

from flow.http.values import converted
from flow.plan.interface import Input, inputs_of
from flow.plan.plan import Plan

_MOST: Final = 300
"""Bytes of a default that is shown. A run has a longer one anyway."""

_DEEPEST: Final = 8

_TEXTS: Final[dict[type, str]] = {
    inspect.DateTimeType: "2030-01-31T12:00:00Z",
    inspect.DateType: "2030-01-31",
    inspect.TimeType: "12:00:00Z",
    inspect.TimeDeltaType: "PT1H",
    inspect.UUIDType: "00000000-0000-4000-8000-000000000000",
    inspect.DecimalType: "1.5",
    inspect.BytesType: "dGV4dA==",
    inspect.ByteArrayType: "dGV4dA==",
    inspect.MemoryViewType: "dGV4dA==",
}
"""By type, what JSON has no word for."""


def curl_of(url: str, name: str, plan: Plan, key: str = "") -> str:
    """Return a line for a shell that runs a workflow.

    :param url: of the service. :param key: a word of the shell that gives a key; empty if there are none.
    """
    body = msgspec.json.format(msgspec.json.encode({"inputs": inputs_for(plan)}), indent=0).decode()
    words = ["curl", "-s", shlex.quote(f"{url}/api/v1/workflows/{urllib.parse.quote(name, safe='')}/runs")]
    if key:
        words += ["-H", f'"Authorization: Bearer {key}"']
    return " ".join([*words, "-H", "'content-type: application/json'", "-d", shlex.quote(body)])


def inputs_for(plan: Plan) -> dict[str, Any]:
    """Return plausible inputs of a run: the defaults, and for inputs without one a value of their type. O(inputs)."""
    found = {}
    declared = plan._nodes.declared
    factories = {} if declared is None else declared.factories
    for name, one in inputs_of(plan).items():
        value = () if one.secret else _default(one, factories.get(name))
        if not value and one.required:
            value = (_of_type(one.type),)
        if value:
            found[name] = value[0]
    return found


def _default(one: Input, factory: Callable[[], Any] | None) -> tuple[Any, ...]:
    """Return what JSON makes of a default, as a 1-tuple; nothing if there is none, or if that is nothing, or much.

    :param factory: makes it, where each run has one of its own.
    """
    if not one.default and factory is None:
        return ()
    try:
        text = msgspec.json.encode(one.default[0] if factory is None else factory())
        value = msgspec.json.decode(text)
    except Exception:  # an object of the user's
        return ()
    return (value,) if len(text) <= _MOST and (one.type is Any or converted(value, one.type)[1] is None) else ()


def _of_type(kind: Any) -> Any:
    if kind is Any:
        return 1
    try:
        return _made(inspect.type_info(kind), 0)
    except Exception:  # a type that msgspec does not know
        return "text"


def _made(kind: inspect.Type, depth: int) -> Any:
    """Return a value of a type, as JSON has it."""
    match kind:
        case inspect.Metadata():
            return _made(kind.type, depth)
        case inspect.BoolType():
            return True
        case inspect.IntType() | inspect.FloatType():
            return _number(kind)
        case inspect.StrType():
            return ("text" + "." * max(0, (kind.min_length or 0) - 4))[: kind.max_length]
        case inspect.LiteralType():
            return kind.values[0]
        case inspect.EnumType():
            return next(iter(kind.cls)).value
        case inspect.UnionType():
            return _made(next(one for one in kind.types if not isinstance(one, inspect.NoneType)), depth)
        case inspect.NoneType():
            return None
        case inspect.TupleType():
            return [_made(one, depth + 1) for one in kind.item_types]
        case inspect.CollectionType():
            return [_made(kind.item_type, depth + 1)] * max(1, kind.min_length or 0) if depth < _DEEPEST else []
        case inspect.StructType() | inspect.DataclassType() | inspect.TypedDictType() | inspect.NamedTupleType():
            made = {one.encode_name: _made(one.type, depth + 1) for one in kind.fields if one.required}
            return list(made.values()) if isinstance(kind, inspect.NamedTupleType) else made
        case inspect.DictType():
            return {}
    return _TEXTS.get(type(kind), 1)


def _number(kind: inspect.IntType | inspect.FloatType) -> float:
    """Return a number within the bounds of its type: 1 if that fits."""
    ge, gt, le, lt = kind.ge, kind.gt, kind.le, kind.lt
    bounds = [bound for bound in (ge, gt, le, lt) if bound is not None]
    middle = sum(bounds) / len(bounds) if bounds else 0
    ends = [bound + step for bound in bounds for step in (0, 1, -1)]
    for number in (1, *ends, kind.multiple_of or 1, middle):
        above = (ge is None or number >= ge) and (gt is None or number > gt)
        below = (le is None or number <= le) and (lt is None or number < lt)
        if above and below and not (kind.multiple_of and number % kind.multiple_of):
            return number
    return 1


__all__ = ["curl_of", "inputs_for"]
