"""What of a Dag has a text in a workflow file: values, functions, exceptions, the types of inputs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

import msgspec

from flow import errors
from flow.errors import shown
from flow.signature import qualname_of
from flow.spec.actions import SHIPPED
from flow.spec.called.marked import mark_of
from flow.spec.called.written import taken_apart
from flow.spec.form.inputs import TYPES, limit_fault
from flow.spec.form.patterns import as_written
from flow.spec.text.limits import MAX_DEPTH, MAX_DIGITS

_OF_TYPES: Final = {kind: name for name, kind in TYPES.items() if isinstance(kind, type)}
_OF_TYPES.update({list: "array", dict: "object"})
_LIMITS: Final = {
    "ge": "minimum", "le": "maximum", "min_length": "min_length", "max_length": "max_length", "pattern": "pattern",
}  # fmt: skip


class Unsayable(Exception):
    """A file has no words for something; the text says of what, and why."""


def literal(value: Any, depth: int = 0) -> Any:
    """Return a value as a file writes it: braces in texts are literal.

    :raises Unsayable: if it is no plain data.
    """
    kind = type(value)
    if value is None or kind is bool or kind is float:
        return value
    if kind is int:
        if value.bit_length() > 1_000:  # 301 digits
            raise Unsayable(f"{shown(value)} has more than {MAX_DIGITS} digits")
        return value
    if kind is str:
        return escaped(value)
    if depth >= MAX_DEPTH // 2:
        raise Unsayable("lists and dicts nest too deep, or hold themselves")
    if kind is list:
        return [literal(one, depth + 1) for one in value]
    if kind is dict:
        for key in value:
            if type(key) is not str or "{{" in key or _is_broken(key):
                raise Unsayable(f"a key of a mapping is text without {{{{, not {shown(key)}")
        return {key: literal(one, depth + 1) for key, one in value.items()}
    raise Unsayable(f"{shown(value)} is no plain data: texts, numbers, True, False, None, and lists and dicts of these")


def escaped(text: str) -> str:
    """Return a text in which nothing is an expression."""
    if _is_broken(text):
        raise Unsayable(f"{shown(text)} has half a character: it is no UTF-8")
    if "{{" not in text:
        return text
    if "\\{{" in text:
        raise Unsayable(f"{shown(text)} has a backslash before two braces")
    return text.replace("{{", "\\{{")


def _is_broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def name_of(value: Any, modules: Mapping[str, str]) -> str:
    """Return a function or class as ``module:name``.

    :param modules: by the name of a module, the one that a file has for it.
    :raises Unsayable: if it is not to be had by importing a module.
    """
    label = qualname_of(value)
    if isinstance(value, MethodType):
        raise Unsayable(f"{label} is a method: a file calls functions of modules")
    if not isinstance(value, (FunctionType, BuiltinFunctionType, type)) or not label:
        raise Unsayable(f"{shown(value)} is an object: a file calls functions of modules")
    module: Any = getattr(value, "__module__", None)
    for name, shipped in SHIPPED.items():
        if (shipped.module, shipped.attribute) == (module, label):
            return name
    if "<lambda>" in label:
        raise Unsayable("a lambda has no name: make it a function of a module")
    if "." in label:
        where = "a function" if "<locals>" in label else "a class"
        raise Unsayable(f"{label} is defined within {where}: move it to its module")
    if module == "__main__" and "__main__" not in modules:
        raise Unsayable(f"{label} is in the program that runs, and a file imports modules: move it to one")
    there = vars(sys.modules[module]) if module in sys.modules else {}
    if there.get(label) is not value:
        raise Unsayable(f"{label} is not what module {module!r} has by this name")
    written = f"{modules.get(module, module)}:{mark_of(value) or label}"
    fault = taken_apart(written).fault
    if fault:
        raise Unsayable(fault)
    return written


def exception_name(kind: Any, modules: Mapping[str, str]) -> str:
    """Return a class of exceptions as ``retry_if`` names it. :raises Unsayable: if it is a function."""
    if not isinstance(kind, type):
        raise Unsayable(f"retry_if is a function, {shown(kind)}: a file names classes of exceptions")
    name = kind.__name__
    if kind.__module__ == "builtins" or getattr(errors, name, None) is kind:
        return name
    return f"{modules.get(kind.__module__, kind.__module__)}:{kind.__qualname__}"


def input_type(kind: Any) -> dict[str, Any]:
    """Return the type of an input as a file declares it. :raises Unsayable: if a file has no such type."""
    if kind is Any:
        return {}
    if isinstance(kind, type) and get_origin(kind) is None and kind in _OF_TYPES:
        return {"type": _OF_TYPES[kind]}
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is list:
        items = input_type(arguments[0])
        return {"type": "array", "items": items} if items else {"type": "array"}
    if origin is dict and arguments == (str, Any):
        return {"type": "object"}
    if origin is Literal:
        return _choice(arguments)
    if origin is Annotated and all(isinstance(one, msgspec.Meta) for one in arguments[1:]):
        return _limited(arguments[0], arguments[1:])
    raise Unsayable(f"a file has no type {shown(kind)}: it has {', '.join(TYPES)}")


def optional(kind: Any) -> tuple[Any, bool]:
    """Return a type without None, and whether that was in it."""
    if get_origin(kind) in (Union, UnionType):
        rest = [one for one in get_args(kind) if one is not NoneType]
        if len(rest) == 1 and len(get_args(kind)) == 2:
            return rest[0], True
    return kind, False


def _choice(values: tuple[Any, ...]) -> dict[str, Any]:
    kinds = {type(value) for value in values}
    if kinds == {str} or kinds == {int}:
        return {"type": _OF_TYPES[kinds.pop()], "enum": [literal(value) for value in values]}
    if kinds == {str, int}:
        return {"enum": [literal(value) for value in values]}
    raise Unsayable(f"an enum of a file has texts and integers, not {shown(values)}")


def _limited(kind: Any, metas: tuple[Any, ...]) -> dict[str, Any]:
    found = input_type(kind)
    for meta in metas:
        for key, value in meta.__rich_repr__():
            value = as_written(value) if key == "pattern" else value
            if key == "description" or key == "title":
                found["description"] = escaped(value)
            elif key not in _LIMITS:
                raise Unsayable(f"a file has no {key} of inputs")
            elif key == "pattern" and (fault := limit_fault(key, value)):
                raise Unsayable(f"the pattern {shown(value)} {fault}")
            else:
                found[_LIMITS[key]] = value
    return found


__all__ = ["Unsayable", "escaped", "exception_name", "input_type", "literal", "name_of", "optional"]
