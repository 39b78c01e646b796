"""Values of JSON held against a schema: :class:`Read`. It finds the faults, in words that a model can act on."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flow.ai.forms import resolved
from flow.ai.kinds import (
    NOTHING,
    Schema,
    as_json,
    coerced,
    either,
    expected,
    got,
    is_in,
    is_of,
    is_single,
    kind_of,
    kinds_of,
    values_of,
    words_of,
)
from flow.errors import Hints

MAX_DEPTH: Final = 100
"""How deep lists and objects may lie within each other."""

MAX_FAULTS: Final = 20
"""Faults that are told: a model that has made more of them starts anew anyway."""

MAX_FOUND: Final = 1_000
"""Faults after which the rest is not read: an answer of a million wrong items would take half a minute."""

MAX_PATH: Final = 200
"""Characters of the path of a fault: it may hold what a model has made up."""

MAX_WORDS: Final = 500
"""Characters of a fault: a class of the user's may have worded it."""

MAX_TRIALS: Final = 20_000
"""Values that are read in trials of unions, whose branches nothing tells apart: within each other they multiply."""

_TOO_MANY: Final = "it could be of too many forms to tell which one is meant"


class Read:
    """How values are read against schemas, and the faults found so far.

    :param defs: what references mean.
    :param lax: take what stands in another type and loses nothing by it: ``"3"`` for 3, a list as JSON text.
    :param closed: an object may hold nothing but what its schema names, also where that allows more.
    :ivar faults: path and words of each.
    """

    __slots__ = ("_is_trial", "_left", "closed", "defs", "faults", "lax")

    def __init__(self, defs: Schema, lax: bool = False, closed: bool = False) -> None:
        self.defs = defs
        self.lax = lax
        self.closed = closed
        self.faults: list[tuple[str, str]] = []
        self._left = [MAX_TRIALS]
        self._is_trial = False

    def value(self, schema: Schema, value: Any, path: str = "", depth: int = 0) -> Any:
        """Return a value as the schema has it, with whatever its type can read further. O(size).

        Null for a property that may be left out, and cannot be null itself, leaves it out. A number without a
        fraction is an integer where one is expected. What has a fault is returned as it is.
        """
        schema = self._whole(schema)
        self._left[0] -= self._is_trial
        if self.gave_up:
            return self._fault(path, _TOO_MANY, value)
        if depth > MAX_DEPTH:
            return self._fault(path, f"lists and objects are nested more than {MAX_DEPTH} deep", value)
        branches = self.branches(schema)
        if branches is not None:
            return self._of_union(branches, value, path, depth)
        kinds = kinds_of(schema)
        if kinds is not None and not is_of(value, kinds):
            found = coerced(value, kinds) if self.lax else NOTHING
            if found is NOTHING:
                return self._fault(path, expected([schema], value), value)
            value = found
        if "enum" in schema or "const" in schema:
            return self._of_enum(schema, value, path)
        if isinstance(value, dict):
            return self._of_object(schema, value, path, depth)
        if isinstance(value, list):
            return self._of_list(schema, value, path, depth)
        self.faults += [(path, fault) for fault in _bounds(schema, value)]
        if isinstance(value, float) and kinds is not None and "number" not in kinds:
            return int(value)
        return value

    @property
    def gave_up(self) -> bool:
        """True if there were too many ways to read the value: nobody else should try all of them either."""
        return self._left[0] < 0

    @property
    def is_full(self) -> bool:
        """True if so many faults were found that the rest of the value was not read."""
        return len(self.faults) >= MAX_FOUND

    def _fault(self, path: str, text: str, value: Any) -> Any:
        self.faults.append((path, text))
        return value

    def _whole(self, schema: Schema) -> Schema:
        """Return a schema without a reference, and without an ``allOf`` of one."""
        schema = resolved(schema, self.defs)
        parts = schema.get("allOf")
        return self._whole({**schema, "allOf": (), **self._whole(parts[0])}) if parts and len(parts) == 1 else schema

    def branches(self, schema: Schema) -> list[Schema] | None:
        """Return the schemas of a union, those of unions in it instead of these; None if it is none."""
        parts = schema.get("anyOf") or schema.get("oneOf")
        if not parts:
            return None
        found: list[Schema] = []
        for part in parts:
            whole = self._whole(part)
            found += self.branches(whole) or [whole]
        return found

    def takes_null(self, schema: Schema) -> bool:
        """Tell whether null is a value of a schema."""
        whole = self._whole(schema)
        for one in self.branches(whole) or [whole]:
            kinds = kinds_of(one)
            if kinds is None or ("null" in kinds and ("enum" not in one or None in one["enum"])):
                return True
        return False

    def leaves_out(self, schema: Schema) -> bool:
        """Tell whether null, for a property that may be left out, leaves it out.

        Not where null is a value of its own, nor where there is one value alone, which tells objects apart.
        """
        return not self.takes_null(schema) and not is_single(self._whole(schema))

    def _of_union(self, branches: Sequence[Schema], value: Any, path: str, depth: int) -> Any:
        fitting = [one for one in branches if is_of(value, kinds_of(one))]
        if not fitting and self.lax:
            fitting = [one for one in branches if coerced(value, kinds_of(one) or ()) is not NOTHING]
        if not fitting:
            return self._fault(path, expected(branches, value), value)
        if isinstance(value, float):  # before an integer, which 3.0 can be as well
            fitting.sort(key=lambda one: "number" not in (kinds_of(one) or ("number",)))
        if isinstance(value, dict) and len(fitting) > 1:
            tagged = [one for one in fitting if self._has_tags(one, value)]
            if not tagged and (tags := self._tags(fitting)):
                name, values = tags
                at = f"{path}.{name}" if path else name
                if name not in value:
                    return self._fault(at, f"expected {either(map(as_json, values))}, and it is missing", value)
                return self._fault(at, f"expected {either(map(as_json, values))}, got {got(value[name])}", value)
            fitting = tagged or fitting
        if len(fitting) == 1:
            return self.value(fitting[0], value, path, depth)
        tried: list[list[tuple[str, str]]] = []
        for one in fitting:
            inner = Read(self.defs, self.lax, self.closed)
            inner._left, inner._is_trial = self._left, True
            made = inner.value(one, value, path, depth)
            if not inner.faults:
                return made
            tried.append(inner.faults)
            if self.gave_up:
                return self._fault(path, _TOO_MANY, value)
        best: list[tuple[str, str]] = min(tried, key=len)
        self.faults += best
        return value

    def _has_tags(self, schema: Schema, value: dict[str, Any]) -> bool:
        return all(name in value and is_in(value[name], [tag]) for name, tag in _tags_of(schema))

    def _tags(self, schemas: Sequence[Schema]) -> tuple[str, list[Any]] | None:
        """Return the property by which schemas are told apart, and its values."""
        for name, _ in _tags_of(schemas[0]):
            found = [tag for one in schemas for other, tag in _tags_of(one) if other == name]
            if len(found) == len(schemas):
                return name, found
        return None

    def _of_enum(self, schema: Schema, value: Any, path: str) -> Any:
        values = values_of(schema)
        if is_in(value, values):
            return int(value) if isinstance(value, float) and value.is_integer() else value
        if self.lax:
            for one in values:
                if coerced(value, {kind_of(one)}) == one and type(one) is not float:
                    return one
        return self._fault(path, expected([schema], value), value)

    def _of_object(self, schema: Schema, value: dict[str, Any], path: str, depth: int) -> Any:
        properties: Schema = schema.get("properties", {})
        required = schema.get("required", ())
        more = schema.get("additionalProperties", "properties" not in schema)
        if self.closed and "properties" in schema:
            more = False
        found: dict[str, Any] = {}
        hints = Hints()
        for name, one in value.items():
            if self.is_full:
                break
            at = f"{path}.{name}" if path else name
            known = properties.get(name)
            if known is not None:
                if one is None and name not in required and self.leaves_out(known):
                    continue
                found[name] = self.value(known, one, at, depth + 1)
            elif isinstance(more, Mapping):
                found[name] = self.value(more, one, at, depth + 1)
            elif more:
                found[name] = one
            else:
                meant = hints.nearest(name, [*properties]) if len(self.faults) < MAX_FAULTS else ""
                meant = meant or f"; there are: {', '.join(properties) or 'none'}"
                self.faults.append((at, f"there is no such field{meant}"))
        for name in required:
            if name not in value:
                at = f"{path}.{name}" if path else name
                whole = self._whole(properties[name])
                self.faults.append((at, f"expected {words_of(self.branches(whole) or [whole])}, and it is missing"))
        return found

    def _of_list(self, schema: Schema, value: list[Any], path: str, depth: int) -> list[Any]:
        first: Sequence[Schema] = schema.get("prefixItems", ())
        rest = schema.get("items", {})
        least, most = schema.get("minItems", 0), schema.get("maxItems", len(value))
        if not least <= len(value) <= most:
            wanted = str(least) if least == most else f"at least {least}" if len(value) < least else f"at most {most}"
            self.faults.append((path, f"expected a list of {wanted}, got {len(value)}"))
            value = value[:most]
        found = []
        for index, one in enumerate(value):
            if self.is_full:
                break
            schema = first[index] if index < len(first) else rest
            read = self.value(schema, one, f"{path}[{index}]", depth + 1) if isinstance(schema, Mapping) else one
            found.append(read)
        return found


def _tags_of(schema: Schema) -> list[tuple[str, Any]]:
    """Return the properties of an object that can have one value alone."""
    return [(name, values_of(one)[0]) for name, one in schema.get("properties", {}).items() if is_single(one)]


_LIMITS: Final = (
    ("minimum", "at least", operator.ge),
    ("exclusiveMinimum", "more than", operator.gt),
    ("maximum", "at most", operator.le),
    ("exclusiveMaximum", "less than", operator.lt),
)


def _bounds(schema: Schema, value: Any) -> list[str]:
    """Say which bounds a number or a text exceeds."""
    found = []
    if isinstance(value, str):
        least, most = schema.get("minLength", 0), schema.get("maxLength", len(value))
        if not least <= len(value) <= most:
            wanted = f"at least {least}" if len(value) < least else f"at most {most}"
            found.append(f"expected {wanted} characters, got {len(value)}")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        for key, words, fits in _LIMITS:
            if key in schema and not fits(value, schema[key]):
                found.append(f"expected {words} {schema[key]}, got {got(value)}")
    return found


def told(faults: Sequence[tuple[str, str]], root: str) -> list[str]:
    """Return faults as sentences, bounded in length and number.

    :param root: what a fault without a path is about.
    """
    distinct = [*dict.fromkeys(faults)]
    found = [f"{path[:MAX_PATH] or root}: {text[:MAX_WORDS]}" for path, text in distinct[:MAX_FAULTS]]
    if len(distinct) > MAX_FAULTS:
        found.append(f"and {'at least ' if len(faults) >= MAX_FOUND else ''}{len(distinct) - MAX_FAULTS} more")
    return found


__all__ = ["MAX_DEPTH", "MAX_FAULTS", "MAX_FOUND", "Read", "told"]
