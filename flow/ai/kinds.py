"""The kinds of JSON that schemas take and values are, and words for them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from flow.ai.json_text import parsed

Schema: TypeAlias = Mapping[str, Any]

MAX_SHOWN: Final = 60
"""Characters of a value that a fault repeats."""

_ARTICLED: Final = {
    "null": "null", "boolean": "true or false", "integer": "an integer", "number": "a number", "string": "a string",
    "array": "a list", "object": "an object",
}  # fmt: skip
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,300}")
_NUMBER: Final = re.compile(r"[+-]?[0-9]{1,300}(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,3})?")
NOTHING: Final[Any] = object()
"""What :func:`coerced` returns where something would be lost."""


def kinds_of(schema: Schema) -> Sequence[str] | None:
    """Return the kinds of JSON that a schema, which is no union, takes; None for all."""
    kind = schema.get("type")
    if kind is not None:
        return [kind] if isinstance(kind, str) else list(kind)
    if "enum" in schema or "const" in schema:
        return list(dict.fromkeys(map(kind_of, values_of(schema))))
    return ["object"] if "properties" in schema else None


def values_of(schema: Schema) -> Sequence[Any]:
    """Return the values that a schema with ``enum`` or ``const`` lists."""
    return [schema["const"]] if "const" in schema else list(schema["enum"])


def kind_of(value: Any) -> str:
    """Return what a value is in JSON. An integer is no number here."""
    kinds = {type(None): "null", bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return kinds.get(type(value), "object")


def is_of(value: Any, kinds: Sequence[str] | None) -> bool:
    """Tell whether a value is of one of several kinds; None are all. A number without a fraction is an integer."""
    if kinds is None:
        return True
    kind = kind_of(value)
    if kind == "integer":
        return "integer" in kinds or "number" in kinds
    return kind in kinds or (kind == "number" and "integer" in kinds and value.is_integer())


def is_in(value: Any, values: Iterable[Any]) -> bool:
    """Tell whether a value is one of several: ``True`` is not 1, and 1.0 is."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in values)


def is_single(schema: Schema) -> bool:
    """Tell whether a schema has one value alone."""
    return "const" in schema or len(schema.get("enum", ())) == 1


def coerced(value: Any, kinds: Iterable[str]) -> Any:
    """Return a value of one kind as one of ``kinds``, if nothing of it is lost; :data:`NOTHING` else.

    Models write numbers, lists and null as text now and then, and whole numbers where text is meant.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if "string" in kinds else NOTHING
    if not isinstance(value, str) or "string" in kinds:
        return NOTHING
    text = value.strip()
    if "null" in kinds and text == "null":
        return None
    if "boolean" in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if ("integer" in kinds or "number" in kinds) and _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and abs(number := float(text)) < 1e300:
        if "number" in kinds:
            return number
        if "integer" in kinds and number.is_integer() and abs(number) < 2**53:
            return int(number)
    if ("array" in kinds or "object" in kinds) and text[:1] in ("[", "{"):
        made, faults = parsed(text)
        if not faults and kind_of(made) in kinds:
            return made
    return NOTHING


# -- in words --------------------------------------------------------------------------------


def expected(schemas: Sequence[Schema], value: Any) -> str:
    """Say what a value should be, by one of several schemas, and what it is."""
    return f"expected {words_of(schemas)}, got {got(value)}"


def words_of(schemas: Sequence[Schema]) -> str:
    """Say what several schemas take."""
    found: list[str] = []
    for schema in schemas:
        if "enum" in schema or "const" in schema:
            values = values_of(schema)
            found += [*map(as_json, values[:20]), *([f"another of {len(values)} values"] if len(values) > 20 else [])]
        else:
            kinds = kinds_of(schema)
            found += ["a value"] if kinds is None else [_ARTICLED[kind] for kind in kinds]
    return either(found)


def either(words: Iterable[str]) -> str:
    """Join words with "or", each once."""
    found = list(dict.fromkeys(words))
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])} or {found[-1]}"


def as_json(value: Any) -> str:
    """Return a value as JSON, in one line."""
    return json.dumps(value, ensure_ascii=False)


def got(value: Any) -> str:
    """Say what came: a short value as it is, with its kind where that is not plain to see."""
    kind = kind_of(value)
    if kind in ("null", "boolean"):
        return as_json(value)
    if kind in ("array", "object"):
        return f"{_ARTICLED[kind]} of {len(value)}" if value else f"an empty {kind.replace('array', 'list')}"
    text = as_json(value if kind != "string" else value[: MAX_SHOWN + 1])
    return f"{text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + '...'} ({_ARTICLED[kind]})"


__all__ = [
    "NOTHING", "Schema", "as_json", "coerced", "either", "expected", "got", "is_in", "is_of", "is_single", "kind_of",
    "kinds_of", "values_of", "words_of",
]  # fmt: skip
