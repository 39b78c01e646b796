"""Checks of what functions are given. Each returns the argument, or says which argument of which function is wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flow.expr.faults import Fault, kind
from flow.expr.operations import is_number
from flow.expr.reading import fields_of, is_list


def as_text(function: str, name: str, value: Any) -> str:
    """Take text."""
    if type(value) is str:
        return value
    if not isinstance(value, str):
        hint = "; str(x) makes text of a number or a bool" if is_number(value) or isinstance(value, bool) else ""
        raise Fault(f"{function}: {name} must be a str, not {kind(value)}{hint}")
    return str.__str__(value)


def number(function: str, name: str, value: Any) -> Any:
    """Take an int or a float."""
    if not is_number(value):
        hint = "; int(x) or float(x) makes a number of text" if isinstance(value, str) else ""
        raise Fault(f"{function}: {name} must be a number, not {kind(value)}{hint}")
    return value


def whole(function: str, name: str, value: Any, least: int, most: int) -> int:
    """Take an int between two bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise Fault(f"{function}: {name} must be an int, not {kind(value)}")
    if not least <= value <= most:
        raise Fault(f"{function}: {name} must be between {least:,} and {most:,}")
    return int(value)


def items_of(function: str, name: str, value: Any) -> Sequence[Any]:
    """Take a list, or what is like one."""
    if type(value) is list or (is_list(value) and not isinstance(value, str)):
        return value
    hint = ""
    if isinstance(value, Mapping):
        hint = "; values(x), keys(x) or items(x) makes a list of a dict"
    elif isinstance(value, str):
        hint = "; [x] makes a list of it, split(x, ',') takes it apart"
    elif "values" in fields_of(value):
        hint = "; write x.values"
    elif value is None:
        hint = "; default(x, []) gives an empty list where there is none"
    raise Fault(f"{function}: {name} must be a list, not {kind(value)}{hint}")


def mapping(function: str, name: str, value: Any) -> Mapping[Any, Any]:
    """Take a dict, or what has fields, as a dict of them."""
    if isinstance(value, Mapping):
        return value
    fields = fields_of(value)
    if not fields:
        raise Fault(f"{function}: {name} must be a dict, not {kind(value)}")
    return {field: getattr(value, field) for field in fields}
