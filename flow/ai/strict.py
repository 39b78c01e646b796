"""JSON Schema in the strict form that OpenAI asks for: :func:`strict`.

Its rules: the whole is an object; every object names all its properties, requires all of them and has no others; there
are ``$defs``, ``$ref`` and ``anyOf``, and no other way to put schemas together; some keywords are not known. What the
form has no keyword for goes into the description, where the model can read it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from flow.ai.docstrings import documented
from flow.ai.forms import UNKNOWN, Form, named, resolved
from flow.ai.kinds import kinds_of
from flow.ai.reading import Read

Schema = dict[str, Any]

KEPT: Final = (
    "type", "enum", "pattern", "multipleOf", "minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "minItems",
    "maxItems",
)  # fmt: skip
"""Keywords that stay as they are."""

FORMATS: Final = frozenset({
    "date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid",
})  # fmt: skip

VALUE: Final = "value"
"""The property that holds a value that is no object."""


def strict(form: Form) -> tuple[Schema, bool, list[str]]:
    """Return the schema of a form in strict form, whether its value is wrapped in an object, and what cannot be said.

    A property that may be left out is required, and null stands for it. Each fault names its place in the type.
    O(schema).
    """
    made = _Strict(form)
    wraps = "properties" not in resolved(form.schema, form.defs)
    schema = made.of(form.schema, "")
    if wraps:
        schema = {
            "type": "object", "properties": {VALUE: schema}, "required": [VALUE], "additionalProperties": False,
        }  # fmt: skip
    else:
        schema = made.opened(schema)
    if made.defs:
        schema["$defs"] = made.defs
    return schema, wraps, made.faults


class _Strict:
    """One conversion. :ivar defs: the schemas that are referred to. :ivar faults: what strict form cannot say."""

    __slots__ = ("_form", "_names", "_reader", "_used", "defs", "faults")

    def __init__(self, form: Form) -> None:
        self._form = form
        self._names: dict[str, str] = {}
        self._used: Counter[str] = Counter()
        self._reader = Read(form.defs)
        self.defs: dict[str, Schema] = {}
        self.faults: list[str] = []

    def of(self, schema: Mapping[str, Any], place: str) -> Schema:
        """Return a schema in strict form. :param place: where it stands in the type, for faults."""
        notes = _notes(schema)
        branches = schema.get("anyOf") or schema.get("oneOf")
        parts = schema.get("allOf", ())
        if "$ref" in schema:
            found: Schema = {"$ref": f"#/$defs/{self._referred(named(schema['$ref']), place)}"}
            if notes:  # no keyword may stand beside a reference
                found = {"anyOf": [found]}
        elif branches:
            found = {"anyOf": self._joined(branches, place)}
        elif len(parts) == 1:
            found = self.of({**parts[0], **({"description": notes} if notes else {})}, place)
            notes = notes and found.pop("description", notes)
        else:
            found = self._plain(schema, place)
        return {"description": notes, **found} if notes else found

    def opened(self, schema: Schema) -> Schema:
        """Return what a schema refers to, as the whole may be no reference, with its description."""
        found = schema["anyOf"][0] if "anyOf" in schema else schema
        if "$ref" not in found:
            return schema
        name = named(found["$ref"])
        said = {"description": schema["description"]} if "description" in schema else {}
        return {**(self.defs[name] if self._used[name] > 1 else self.defs.pop(name)), **said}

    def _fault(self, place: str, text: str) -> None:
        self.faults.append(f"{place}: {text}" if place else text)

    def _referred(self, name: str, place: str) -> str:
        """Return the name under which what is referred to stands in :attr:`defs`; at its first use, put it there."""
        if name not in self._names:
            new = plain = name.rstrip("-0123456789.") or "Type"
            while new in self.defs:
                new = f"{plain}_{len(self.defs)}"
            self._names[name] = new
            self.defs[new] = {}  # it may refer to itself
            self.defs[new] = self.of(self._form.defs[name], place)
        self._used[self._names[name]] += 1
        return self._names[name]

    def _joined(self, branches: Any, place: str) -> list[Schema]:
        """Return the schemas of a union, those of unions in it instead of these."""
        found: list[Schema] = []
        for one in branches:
            made = self.of(one, place)
            found += made["anyOf"] if made.keys() == {"anyOf"} else [made]
        return found

    def _plain(self, schema: Mapping[str, Any], place: str) -> Schema:
        """Return what is neither a reference nor put together."""
        if UNKNOWN in schema:
            self._fault(place, f"no JSON makes a value of the type {schema[UNKNOWN]}")
            return {}
        kinds = kinds_of(schema)
        if kinds is None or "allOf" in schema or "not" in schema:
            self._fault(place, "it may be anything, and a schema in strict form says what: name its type")
            return {}
        found = {key: schema[key] for key in KEPT if key in schema}
        found["type"] = kinds[0] if len(kinds) == 1 else list(kinds)
        if "const" in schema:
            found["enum"] = [schema["const"]]
        if schema.get("format") in FORMATS:
            found["format"] = schema["format"]
        if "object" in kinds:
            found |= self._object(schema, place)
        if "array" in kinds:
            found |= self._array(schema, f"{place}[]")
        return found

    def _object(self, schema: Mapping[str, Any], place: str) -> Schema:
        if "properties" not in schema:
            what = "has keys of its own, and a schema in strict form names every key"
            self._fault(place, f"a mapping {what}: use a list of objects that have the key as a field")
            return {}
        required = schema.get("required", ())
        said = documented(schema.get("description", ""))[1]
        properties: dict[str, Schema] = {}
        for name, one in schema["properties"].items():
            made = self.of(one, f"{place}.{name}" if place else name)
            if name in said and "description" not in made:
                made = {"description": said[name], **({"anyOf": [made]} if "$ref" in made else made)}
            if name not in required and self._reader.leaves_out(one):
                made = _or_null(made)
            properties[name] = made
        return {"properties": properties, "required": list(properties), "additionalProperties": False}

    def _array(self, schema: Mapping[str, Any], place: str) -> Schema:
        first = schema.get("prefixItems")
        if not first:
            return {"items": self.of(schema.get("items") or {}, place)}
        if schema.get("minItems") != len(first) or schema.get("maxItems", len(first)) != len(first):
            self._fault(place, "it is written as a list whose places mean fields, some of which may be left out")
            return {}
        found: list[Schema] = []
        for one in first:
            made = self.of(one, place)
            if made not in found:
                found.append(made)
        return {"items": found[0] if len(found) == 1 else {"anyOf": found}, "minItems": len(first),
                "maxItems": len(first)}  # fmt: skip


def _or_null(schema: Schema) -> Schema:
    """Return a schema that takes null as well."""
    kind = schema.get("type")
    if kind in ("string", "integer", "number", "boolean"):
        more = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
        return {**schema, "type": [kind, "null"], **more}
    inner = {key: one for key, one in schema.items() if key != "description"}
    branches = inner["anyOf"] if inner.keys() == {"anyOf"} else [inner]
    said = {"description": schema["description"]} if "description" in schema else {}
    return {**said, "anyOf": [*branches, {"type": "null"}]}


def _notes(schema: Mapping[str, Any]) -> str:
    """Return the description of a schema, and in words what strict form has no keyword for."""
    found = [documented(schema.get("description", ""))[0]]
    least, most = schema.get("minLength"), schema.get("maxLength")
    if least is not None or most is not None:
        limits = [f"at least {least}"] * (least is not None) + [f"at most {most}"] * (most is not None)
        found.append(f"({' and '.join(limits)} characters)")
    if schema.get("uniqueItems"):
        found.append("(each once)")
    if schema.get("contentEncoding"):
        found.append(f"(in {schema['contentEncoding']})")
    if "format" in schema and schema["format"] not in FORMATS:
        found.append(f"(as {schema['format']})")
    if len(first := schema.get("prefixItems", ())) > 1:
        found.append(f"({len(first)} values in this order: {', '.join(map(_named, first))})")
    return " ".join(filter(None, found))


def _named(schema: Mapping[str, Any]) -> str:
    kinds = kinds_of(schema) or ("value",)
    return schema.get("description") or schema.get("title") or " or ".join(kinds)


__all__ = ["VALUE", "strict"]
