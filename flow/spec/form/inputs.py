"""The inputs that a workflow file declares, as the declaration of a Dag."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec

from flow.errors import shown
from flow.plan.declared import Declared
from flow.spec.form.fields import kind_of, read, said, table_of
from flow.spec.form.patterns import Refused, check_pattern, whole
from flow.spec.form.structs import Input
from flow.spec.text.faults import Faults
from flow.spec.text.places import Table
from flow.spec.text.values import copied

TYPES: Final[dict[str, Any]] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "array": list[Any], "object": dict[str, Any],
    "any": Any,
}  # fmt: skip
"""The types of inputs, as Python has them."""

_LENGTHS: Final = ("string", "array", "object")
_SIZES: Final = ("integer", "number")


def declared(tables: Table | None, faults: Faults) -> Declared:
    """Return what a file declares; an input that is wrong is declared all the same, so that it is known."""
    names: list[str] = []
    types: dict[str, Any] = {}
    defaults: dict[str, tuple[Any]] = {}
    factories: dict[str, Callable[[], Any]] = {}
    required: list[str] = []
    secret: list[str] = []
    for name, value in (tables or {}).items():
        assert tables is not None
        key, event = tables.marks[name]
        names.append(name)
        faults.check_identifier(name, key, "input {} is no name: letters, digits and '_', a letter first")
        one = _input(value, event, faults, f"input {shown(name)}")
        if one is None:
            continue
        types[name] = type_of(one, faults, value, f"input {shown(name)}")
        if one.default is not msgspec.UNSET:
            found = _default(name, one, types[name], value, faults)
            if isinstance(found, (list, dict)):
                factories[name] = partial(copied, found)  # each run has its own
            else:
                defaults[name] = (found,)
            if one.required is True:
                where = value.marks["required"][1]
                faults.add(where, f"input {shown(name)} has a default, so it is not required: drop one of the two")
        elif one.required is False:
            defaults[name] = (None,)
            types[name] = types[name] | None if types[name] is not Any else Any
        else:
            required.append(name)
        if one.secret:
            secret.append(name)
    return Declared(tuple(names), types, defaults, factories, frozenset(required), secret=frozenset(secret))


def _input(value: Any, event: Any, faults: Faults, what: str) -> Input | None:
    if value is None:
        return Input()
    if isinstance(value, str) and value in TYPES:
        faults.add(event, f"{what} is a mapping: write {{type: {value}}}")
        return None
    table = table_of(value, event, faults, what)
    made: Input | None = None if table is None else read(table, Input, faults, what)
    return made


def type_of(one: Input, faults: Faults, table: Any, what: str) -> Any:
    """Return the type that an input is checked against. :param table: what stands in the file."""
    kind = TYPES[one.type]
    if one.items is not msgspec.UNSET:
        if one.type == "array":
            kind = list[type_of(one.items, faults, table["items"], what)]  # type: ignore[misc]
        else:
            where = table.marks["items"][1]
            faults.add(where, f"{what} has 'items', which say what is in an array, and its type is {one.type}")
    limits: dict[str, Any] = {}
    for key, option, kinds in (
        ("minimum", "ge", _SIZES), ("maximum", "le", _SIZES), ("min_length", "min_length", _LENGTHS),
        ("max_length", "max_length", _LENGTHS), ("pattern", "pattern", ("string",)),
    ):  # fmt: skip
        value = getattr(one, key)
        if value is msgspec.UNSET:
            continue
        event = table.marks[key][1]
        if one.type not in kinds:
            faults.add(event, f"{what} has {key!r}, which is for {' and '.join(kinds)}, and its type is {one.type}")
        elif fault := limit_fault(key, value):
            faults.add(event, f"{what}: {key} {shown(value)} {fault}")
        else:
            value = whole(value) if key == "pattern" else value
            limits[option] = int(value) if one.type == "integer" and key in ("minimum", "maximum") else value
    if one.enum is not msgspec.UNSET:
        return _choice(one, faults, table.marks["enum"][1], what)
    return Annotated[kind, msgspec.Meta(**limits)] if limits else kind


def limit_fault(key: str, value: Any) -> str:
    """Say what is wrong with a limit of values; nothing if nothing is."""
    if key == "pattern":
        try:
            check_pattern(value)
        except Refused as refused:
            return str(refused)
    elif isinstance(value, float) and not math.isfinite(value):
        return "is no finite number"
    elif key in ("min_length", "max_length") and value > sys.maxsize:
        return f"is more than {sys.maxsize:,}"
    return ""


def _choice(one: Input, faults: Faults, event: Any, what: str) -> Any:
    values = one.enum
    assert isinstance(values, list)
    if not values:
        faults.add(event, f"{what}: enum lists the values that it may have, one at least")
        return Any
    bad = [value for value in values if not isinstance(value, (str, int)) or isinstance(value, bool)]
    if bad:
        faults.add(event, f"{what}: enum lists texts or integers, not {kind_of(bad[0])}")
        return Any
    wrong = [value for value in values if one.type not in ("any", "string" if isinstance(value, str) else "integer")]
    if wrong:
        faults.add(event, f"{what}: enum lists {shown(wrong[0])}, and its type is {one.type}")
        return Any
    return Literal[tuple(values)]


def _default(name: str, one: Input, kind: Any, table: Table, faults: Faults) -> Any:
    from flow.spec.text.expressions import value_of

    event = table.marks["default"][1]
    made = value_of(one.default, event, faults, literal=True)
    if not made.is_constant:
        faults.add(event, f"the default of input {shown(name)} is a literal, and expressions are not read there")
        return None
    found, fault = as_type(made.value, kind)
    if fault:
        faults.add(event, f"the default of input {shown(name)} does not fit its type: {fault}")
    return found


def as_type(value: Any, kind: Any) -> tuple[Any, str]:
    """Return a literal as the type of its input, and its fault in a file's words; an empty text if it fits."""
    try:
        return msgspec.convert(value, kind), ""
    except msgspec.ValidationError as error:
        return value, said(str(error))
    except Exception:  # of a type that msgspec does not take
        return value, ""
