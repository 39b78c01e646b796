"""A value of a type, for the commands that the page shows: :func:`sample_of`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flow.http.openapi.schemas import Schemas

_TEMPLATE: Final = "#/{name}"
_DEEPEST: Final = 4
_FORMATS: Final = {
    "date": "2030-01-31", "date-time": "2030-01-31T12:00:00Z", "time": "12:00:00", "duration": "PT1H",
    "uuid": "00000000-0000-4000-8000-000000000000", "decimal": "1", "byte": "AAAA",
}  # fmt: skip


def sample_of(kind: Any) -> Any:
    """Return plain data that is of a type, with what it needs alone: ``{"yes": True}``. O(size of the schema).

    Where rules of the type are more than its schema says, it may not fit. What has no schema is True.
    """
    schemas = Schemas([kind], _TEMPLATE)
    return _sample(schemas.of(kind), schemas.components, 0)


def _sample(schema: Mapping[str, Any], components: Mapping[str, Any], depth: int) -> Any:
    while "$ref" in schema:
        schema = components[schema["$ref"].removeprefix(_TEMPLATE.format(name=""))]
    for told in ("enum", "examples"):
        if schema.get(told):
            return schema[told][0]
    if "const" in schema:
        return schema["const"]
    choices = schema.get("anyOf") or schema.get("oneOf")
    if choices:
        one = next((choice for choice in choices if choice.get("type") != "null"), choices[0])
        return _sample(one, components, depth)
    kind = schema.get("type")
    if kind == "object":
        wanted, fields = schema.get("required", ()), schema.get("properties", {})
        return (
            {} if depth > _DEEPEST else {name: _sample(fields.get(name, {}), components, depth + 1) for name in wanted}
        )
    if kind == "array":
        return [] if depth > _DEEPEST else _items(schema, components, depth)
    return _scalar(kind, schema)


def _items(schema: Mapping[str, Any], components: Mapping[str, Any], depth: int) -> list[Any]:
    first = [_sample(one, components, depth + 1) for one in schema.get("prefixItems", ())]
    more = schema.get("minItems", 0) - len(first)
    items = schema.get("items")
    return first + [_sample(items if isinstance(items, dict) else {}, components, depth + 1)] * max(0, more)


def _scalar(kind: Any, schema: Mapping[str, Any]) -> Any:
    if kind == "string":
        if schema.get("contentEncoding") == "base64":
            return "AAAA"
        found: str = _FORMATS.get(schema.get("format", ""), "...")
        return found.ljust(schema.get("minLength", 0), ".")[: schema.get("maxLength")]
    if kind in ("integer", "number"):
        return _number(kind, schema)
    return None if kind == "null" else True


def _number(kind: str, schema: Mapping[str, Any]) -> int | float:
    one: int | float = 1 if kind == "integer" else 1.0
    least, most = schema.get("minimum", schema.get("exclusiveMinimum")), schema.get("maximum")
    if least is not None and least >= one:
        one = least + (1 if "exclusiveMinimum" in schema else 0)
    if most is not None and most < one:
        one = most
    return one


__all__ = ["sample_of"]
