"""Types of answers that a file writes as JSON Schema: the part of it that has a type in Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Final, Literal, NotRequired, TypedDict, Union, get_args, get_origin, is_typeddict

import msgspec

from flow.errors import shown
from flow.spec.form.fields import kind_of
from flow.spec.form.inputs import limit_fault
from flow.spec.form.patterns import whole
from flow.spec.text.faults import Faults
from flow.spec.text.places import Row, Table

MOST: Final = 1_000
"""Schemas within one."""

_TYPES: Final[dict[str, Any]] = {"string": str, "integer": int, "number": float, "boolean": bool, "null": None}
_LIMITS: Final = {
    "minimum": ("ge", ("integer", "number")), "maximum": ("le", ("integer", "number")),
    "minLength": ("min_length", ("string",)), "maxLength": ("max_length", ("string",)),
    "minItems": ("min_length", ("array",)), "maxItems": ("max_length", ("array",)), "pattern": ("pattern", ("string",)),
}  # fmt: skip
_LENGTHS: Final = {
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
}
_KEYS: Final = (
    "type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf", "description", "title",
    *_LIMITS,
)  # fmt: skip


class Schema:
    """Reads one schema. What is wrong with it is noted.

    :param what: what messages call it. :param name: of the type, for the model.
    """

    def __init__(self, faults: Faults, what: str, name: str) -> None:
        self._faults = faults
        self._what = what
        self._name = re.sub(r"\W+", "_", name)
        self._count = 0

    def type(self, table: Any, event: Any) -> Any:
        """Return the type that fits what a schema says. O(size)."""
        self._count += 1
        if self._count > MOST:
            self._faults.stop(event, f"{self._what} has more than {MOST:,} schemas within it")
        if not isinstance(table, Table):
            self._faults.add(event, f"{self._what}: a schema is a mapping, not {kind_of(table)}")
            return Any
        for key in table:
            if key not in _KEYS:
                near = self._faults.nearest(key, _KEYS) or f"; there are {', '.join(_KEYS)}"
                self._faults.add(table.marks[key][0], f"{self._what}: a schema of a file has no key {shown(key)}{near}")
        kind = self._kind(table)
        about = table.get("description")
        return Annotated[kind, msgspec.Meta(description=about)] if isinstance(about, str) and about else kind

    def _kind(self, table: Table) -> Any:
        for key, found in (("enum", self._enum), ("const", self._const), ("anyOf", self._any_of)):
            if key in table:
                return found(table, table.marks[key][1])
        names = table.get("type")
        event = table.marks["type"][1] if "type" in table else table.at
        if isinstance(names, Row):
            return self._union([self._typed(name, table, event) for name in names], event)
        return self._typed(names, table, event)

    def _typed(self, name: Any, table: Table, event: Any) -> Any:
        if name == "object":
            return self._object(table)
        if name == "array":
            if "items" not in table:
                self._faults.add(event, f"{self._what}: an array says in 'items' what is in it")
                return list
            kind: Any = list[self.type(table["items"], table.marks["items"][1])]  # type: ignore[misc]
        elif isinstance(name, str) and name in _TYPES:
            kind = _TYPES[name]
        else:
            known = (*_TYPES, "array", "object")
            said = "needs a type" if name is None else f"has no type {shown(name)}"
            near = self._faults.nearest(name, known) if isinstance(name, str) else ""
            self._faults.add(event, f"{self._what}: a schema {said}{near or '; there are ' + ', '.join(known)}")
            return Any
        limits = dict(self._limits(name, table))
        return Annotated[kind, msgspec.Meta(**limits)] if limits else kind

    def _limits(self, name: str, table: Table) -> Iterator[tuple[str, Any]]:
        for key, (option, kinds) in _LIMITS.items():
            if key not in table or name not in kinds:
                continue
            value, event = table[key], table.marks[key][1]
            wanted: Any = str if key == "pattern" else int if key in _LENGTHS or name == "integer" else (int, float)
            if not isinstance(value, wanted) or isinstance(value, bool) or (key in _LENGTHS and value < 0):
                what = "a text" if key == "pattern" else "an integer" if wanted is int else "a number"
                self._faults.add(event, f"{self._what}: {key} is {what}, not {shown(value)}")
            elif fault := limit_fault(_LENGTHS.get(key, key), value):
                self._faults.add(event, f"{self._what}: {key} {shown(value)} {fault}")
            else:
                yield option, whole(value) if key == "pattern" else value

    def _object(self, table: Table) -> Any:
        properties = table.get("properties")
        event = table.marks["properties"][1] if "properties" in table else table.at
        if not isinstance(properties, Table) or not properties:
            self._faults.add(event, f"{self._what}: an object has 'properties', one at least, each with its schema")
            return dict
        required = table.get("required", [])
        if not isinstance(required, Row | list) or not all(isinstance(one, str) for one in required):
            self._faults.add(table.marks["required"][1], f"{self._what}: required is a list of names")
            required = []
        for k, one in enumerate(required):
            if one not in properties:
                near = self._faults.nearest(one, properties)
                where = required.marks[k] if isinstance(required, Row) else event
                self._faults.add(where, f"{self._what}: required names {shown(one)}, which is no property{near}")
        if table.get("additionalProperties", False) is not False:
            where = table.marks["additionalProperties"][1]
            self._faults.add(where, f"{self._what}: an answer has the properties that it lists, and no others")
        own = self._name if self._count == 1 else f"{self._name}_{self._count}"
        fields = {name: self.type(one, properties.marks[name][1]) for name, one in properties.items()}
        fields = {name: kind if name in required else NotRequired[kind] for name, kind in fields.items()}
        return TypedDict(own, fields)  # type: ignore[operator]

    def _enum(self, table: Table, event: Any) -> Any:
        values = table["enum"]
        if not isinstance(values, Row) or not values:
            self._faults.add(event, f"{self._what}: enum lists the values that there may be, one at least")
            return Any
        return self._literal(list(values), event)

    def _const(self, table: Table, event: Any) -> Any:
        return self._literal([table["const"]], event)

    def _literal(self, values: list[Any], event: Any) -> Any:
        bad = [one for one in values if not isinstance(one, (str, int)) or isinstance(one, bool)]
        if bad:
            self._faults.add(event, f"{self._what}: enum lists texts or integers, not {kind_of(bad[0])}")
            return Any
        return Literal[tuple(values)]

    def _any_of(self, table: Table, event: Any) -> Any:
        schemas = table["anyOf"]
        if not isinstance(schemas, Row) or not schemas:
            self._faults.add(event, f"{self._what}: anyOf lists schemas, one at least")
            return Any
        return self._union([self.type(one, at) for one, at in zip(schemas, schemas.marks, strict=True)], event)

    def _union(self, kinds: list[Any], event: Any) -> Any:
        """Return the type of what is of one of these types."""
        plain = [get_args(kind)[0] if get_origin(kind) is Annotated else kind for kind in kinds]
        objects = len([kind for kind in plain if is_typeddict(kind)])
        arrays = len([kind for kind in plain if get_origin(kind) is list])
        if objects > 1 or arrays > 1 or not kinds:
            what = "no type" if not kinds else "several objects" if objects > 1 else "several arrays"
            text = f"{self._what}: {what} to choose from: one object, one array, and any other types may stand there"
            self._faults.add(event, text)
            return Any
        return Union[tuple(kinds)]  # noqa: UP007  # of as many as there are


__all__ = ["MOST", "Schema"]
