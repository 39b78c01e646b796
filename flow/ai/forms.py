"""The forms of Python types: JSON Schema that says what a type takes, and values of JSON made into values of the type.

msgspec knows most types. Classes of pydantic are known by what they can do (``model_json_schema``,
``model_validate_json``), wherever they stand in a type; nothing of pydantic is imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any, Final, get_args, get_type_hints

import msgspec

from flow.errors import described, shown
from flow.plan.declared import path_of, type_text

UNKNOWN: Final = "x-flow-unknown"
"""Stands in a schema where a type is that has none; its value is the type, in words."""

_REF: Final = "#/$defs/"


class Form:
    """What a type takes of JSON. Immutable; calls share it.

    :ivar kind: the type. :ivar schema: its JSON Schema as msgspec and pydantic write it. :ivar defs: the schemas that
        ``#/$defs/name`` in it and in themselves mean, by name.
    :raises TypeError: if msgspec or pydantic do not take the type; it says where in the type.
    """

    __slots__ = ("defs", "kind", "schema")

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        hoisted: dict[str, Any] = {}
        try:
            schemas, defs = _components(kind, hoisted)
            _Completed(defs).mark(schemas[0], msgspec.inspect.type_info(kind))
        except Exception as error:  # it looks into classes of others, which may raise anything
            raise TypeError(_culprit(kind) or _said(error)) from None
        self.schema: Mapping[str, Any] = schemas[0]
        self.defs: Mapping[str, Any] = {**defs, **hoisted}

    def made(self, value: Any) -> tuple[Any, list[tuple[str, str]]]:
        """Return a value of JSON as a value of the type, and the faults: each as path and words.

        :param value: as :func:`json.loads` gives it. O(size).
        """
        try:
            return msgspec.convert(value, self.kind, str_keys=True, dec_hook=_hook), []
        except msgspec.ValidationError as error:
            text, at, place = str(error).rpartition(" - at `$")
            path = place.rstrip("`").removeprefix(".") if at else ""
            return None, list(_told(error.__cause__, path)) or [(path, text if at else str(error))]


def _components(kind: Any, hoisted: dict[str, Any]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """Return what msgspec says of a type; what classes of pydantic refer to goes to ``hoisted``."""
    custom: dict[int, dict[str, Any]] = {}

    def hook(one: Any) -> dict[str, Any]:
        found = custom.get(id(one))
        if found is None:
            found = custom[id(one)] = _of_custom(one, hoisted)
        return dict(found)

    return msgspec.json.schema_components([kind], schema_hook=hook, ref_template=f"{_REF}{{name}}")


class _Completed:
    """Adds what msgspec leaves out: that texts are times which may have no zone, and the order of a TypedDict's keys.

    Models write fields in the order in which they are told of them.
    """

    __slots__ = ("_defs", "_seen")

    def __init__(self, defs: dict[str, Any]) -> None:
        self._defs = defs
        self._seen: set[str] = set()

    def mark(self, schema: Any, kind: Any) -> None:
        """Complete one schema, which is that of ``kind``, of :mod:`msgspec.inspect`. O(schema)."""
        while isinstance(kind, msgspec.inspect.Metadata):
            kind = kind.type
        if not isinstance(schema, dict):
            return
        if isinstance(kind, (msgspec.inspect.DateTimeType, msgspec.inspect.TimeType)):
            is_time = isinstance(kind, msgspec.inspect.TimeType)
            for one in schema.get("anyOf", [schema]):
                if one.get("type") == "string":
                    one.setdefault("format", "time" if is_time else "date-time")
        elif isinstance(kind, msgspec.inspect.UnionType):
            for part in kind.types:
                self._part(schema, part)
        elif "$ref" in schema:
            name = named(schema["$ref"])
            if name not in self._seen:
                self._seen.add(name)
                if isinstance(kind, msgspec.inspect.TypedDictType):
                    properties = self._defs[name]["properties"]
                    self._defs[name]["properties"] = {key: properties[key] for key in get_type_hints(kind.cls)}
                for field in getattr(kind, "fields", ()):
                    self.mark(self._defs[name].get("properties", {}).get(field.encode_name), field.type)
        elif hasattr(kind, "item_type"):
            self.mark(schema.get("items"), kind.item_type)
        elif isinstance(kind, msgspec.inspect.TupleType):
            for one, part in zip(schema.get("prefixItems", ()), kind.item_types, strict=False):
                self.mark(one, part)
        elif isinstance(kind, msgspec.inspect.DictType):
            self.mark(schema.get("additionalProperties"), kind.value_type)

    def _part(self, schema: dict[str, Any], part: Any) -> None:
        """Mark those of a part of a union, which has at most one text and one list."""
        if isinstance(part, (msgspec.inspect.DateTimeType, msgspec.inspect.TimeType)):
            self.mark(schema, part)
            return
        name = getattr(getattr(part, "cls", None), "__name__", "")
        for one in schema.get("anyOf", ()):
            if "anyOf" in one:
                self._part(one, part)
            elif one.get("$ref", "").removeprefix(_REF) == name or (
                name == "" and one.get("type") in ("array", "object")
            ):
                self.mark(one, part)


def is_model(kind: Any) -> bool:
    """Tell whether a type is a class that makes its own schema and reads its own JSON, as those of pydantic do."""
    return isinstance(kind, type) and hasattr(kind, "model_json_schema") and hasattr(kind, "model_validate_json")


def _of_custom(kind: Any, hoisted: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a type that msgspec does not know."""
    if is_model(kind):
        return _hoisted(kind, hoisted)
    if isinstance(kind, type) and issubclass(kind, PurePath):
        return {"type": "string", "description": "a path"}
    return {UNKNOWN: type_text(kind)}


def _hoisted(kind: Any, hoisted: dict[str, Any]) -> dict[str, Any]:
    """Return a reference to the schema of a class of pydantic, and put it, and what it refers to, into ``hoisted``.

    Names get a suffix that no name of msgspec's has: two classes may have one name.
    """
    schema = dict(kind.model_json_schema())
    inner = schema.pop("$defs", {})
    suffix = f"-{len(hoisted)}" if hoisted else "-"
    names = {f"{_REF}{name}": f"{_REF}{name}{suffix}" for name in inner}
    for name, one in inner.items():
        hoisted[f"{name}{suffix}"] = _renamed(one, names)
    if "$ref" in schema:  # it refers to itself
        found: dict[str, Any] = _renamed(schema, names)
        return found
    own = f"{kind.__name__}{suffix}"
    while own in hoisted:
        own += "-"
    hoisted[own] = _renamed(schema, names)
    return {"$ref": f"{_REF}{own}"}


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    """Return a schema with other references."""
    if isinstance(schema, dict):
        return {key: names.get(one, one) if key == "$ref" else _renamed(one, names) for key, one in schema.items()}
    return [_renamed(one, names) for one in schema] if isinstance(schema, list) else schema


def _hook(kind: Any, value: Any) -> Any:
    """Make what msgspec does not know. :raises ValueError: if the value does not fit."""
    return kind.model_validate_json(msgspec.json.encode(value)) if is_model(kind) else path_of(kind, value)


def _told(error: BaseException | None, path: str) -> Iterator[tuple[str, str]]:
    """Yield the faults that an error of pydantic lists; of any other none."""
    errors: Any = getattr(error, "errors", None)
    if not callable(errors):
        return
    listed: Any = errors()
    for one in listed:
        yield path + "".join(_step(part) for part in one["loc"]), str(one["msg"])


def _step(part: Any) -> str:
    return f"[{part}]" if isinstance(part, int) else f".{part}"


# -- which part of a type is at fault --------------------------------------------------------


def _culprit(kind: Any, place: str = "", depth: int = 0) -> str:
    """Return the place in a type that cannot be a schema, and why; nothing if no part of it is to blame."""
    if depth > 10:
        return ""
    for name, part in _parts(kind):
        try:
            _components(part, {})
        except Exception as error:
            at = f"{place}.{name}" if place and name else f"{place}{name}"
            return _culprit(part, at, depth + 1) or (f"{at}: {_said(error)}" if at else "")
    return ""


def _parts(kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a type is made of: types of fields by name, and others."""
    try:
        hints = get_type_hints(kind, include_extras=True) if isinstance(kind, type) else {}
    except Exception:  # a name that is nowhere: the error of the whole says so
        hints = {}
    yield from hints.items()
    for part in get_args(kind):
        if isinstance(part, type) or get_args(part):
            yield "", part


def _said(error: Exception) -> str:
    """Return the first line of an error of msgspec's or pydantic's, without the advice that is for its callers."""
    if isinstance(error, TypeError) and _IN_UNION in str(error):
        return f"{shown_line(str(error))}: {_INSTEAD}"
    return shown_line(str(error)) if isinstance(error, TypeError) else described(error)


_IN_UNION: Final = "custom type"
_INSTEAD: Final = (
    "a union has one class of pydantic at most, and nothing beside it but None. Write one class with a field that is "
    "the union (its parts told apart by a field kind: Literal['...']), or one class with optional fields"
)


def shown_line(text: str) -> str:
    """Return a text as one line, its beginning if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]}..."


def named(ref: str) -> str:
    """Return the name in a reference to a schema of ``$defs``. :raises TypeError: if it is no such reference."""
    if not ref.startswith(_REF):
        raise TypeError(f"its schema refers to {shown(ref)}, which is not in $defs")
    return ref.removeprefix(_REF)


def resolved(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a schema refers to, or the schema itself."""
    for _ in range(100):  # a name may stand for itself
        if "$ref" not in schema:
            break
        schema = defs[named(schema["$ref"])]
    return schema


__all__ = ["UNKNOWN", "Form", "is_model", "named", "resolved", "shown_line"]
