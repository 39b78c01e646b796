"""Answers of a given type: :class:`OutputType` says to a model which JSON it is to write, and reads that."""

from __future__ import annotations

import re
from typing import Any, Final, get_args

from flow.ai.errors import OutputMismatch
from flow.ai.forms import Form
from flow.ai.json_text import parsed
from flow.ai.messages import OutputSpec
from flow.ai.reading import Read, told
from flow.ai.strict import VALUE, strict
from flow.errors import UsageError, listing
from flow.plan.declared import type_text

MAX_KEPT: Final = 100_000
"""Characters of an answer that an :class:`OutputMismatch` keeps."""

_ANSWER: Final = "the answer"


class OutputType:
    """The type that an answer is to have: a msgspec Struct, dataclass, TypedDict, attrs or pydantic class, or any type
    made of these, enums, literals, lists and plain types.

    What is no JSON object is asked for as ``{"value": ...}``, and the value comes out. Immutable; calls share it.

    :raises UsageError: if the type has no schema; it names the places in the type.
    :ivar kind: the type. :ivar spec: what a provider is given: JSON Schema in strict form.
    """

    __slots__ = ("_form", "_schema", "_wraps", "kind", "spec")

    def __init__(self, kind: Any) -> None:
        self.kind = kind
        what = f"output={type_text(kind)} has no schema"
        try:
            self._form = Form(kind)
            schema, self._wraps, faults = strict(self._form)
        except TypeError as error:
            raise UsageError(f"{what}: {error}") from None
        if faults:
            raise UsageError(listing(what, list(dict.fromkeys(faults))))
        self.spec = OutputSpec(_name_of(kind), schema)
        own = self._form.schema
        self._schema = {"properties": {VALUE: own}, "required": [VALUE]} if self._wraps else own

    def decode(self, text: str) -> Any:
        """Return the value that an answer holds. O(length).

        The answer is one JSON value; white space around it, and a fence (```` ```json ````), may be there, and nothing
        else. A field with a default may be missing or null; null stays null where the type has None.

        :raises OutputMismatch: if it does not fit. Its message lists the faults, and is written for the model.
        """
        value, faults = parsed(_unfenced(text))
        if faults:
            raise _mismatch("the answer is not the JSON that was asked for", faults, text)
        reader = Read(self._form.defs, closed=True)
        value = reader.value(self._schema, value)
        inner = value.get(VALUE) if self._wraps and isinstance(value, dict) else value
        if not reader.gave_up and (not self._wraps or (isinstance(value, dict) and VALUE in value)):
            made, found = self._made(inner)
            if not found and not reader.faults:
                return made
            places = [path for path, _ in reader.faults]
            reader.faults += [one for one in found if not any(place.startswith(one[0]) for place in places)]
        raise _mismatch("the answer does not have the form that was asked for", told(reader.faults, _ANSWER), text)

    def _made(self, value: Any) -> tuple[Any, list[tuple[str, str]]]:
        made, faults = self._form.made(value)
        if self._wraps:
            faults = [(f"{VALUE}{'' if path[:1] in ('', '[') else '.'}{path}", text) for path, text in faults]
        return made, [(path.removeprefix("."), text) for path, text in faults]

    def __repr__(self) -> str:
        return f"OutputType({type_text(self.kind)})"

    def __reduce__(self) -> tuple[Any, ...]:
        return OutputType, (self.kind,)


def _unfenced(text: str) -> str:
    """Return a text without the fence of Markdown around it."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and len(text) > 6:
        head, line, body = text[3:-3].partition("\n")
        if line and head.strip().lower() in ("", "json"):
            return body
    return text


def _mismatch(what: str, faults: list[str], text: str) -> OutputMismatch:
    return OutputMismatch(listing(what, faults), text[:MAX_KEPT])


def _name_of(kind: Any) -> str:
    """Return a name for the schema, as providers take it."""
    name = re.sub(r"[^a-zA-Z0-9_-]+", "_", kind.__name__).strip("_-") if isinstance(kind, type) else ""
    return name[:64] if name and not get_args(kind) else "answer"


__all__ = ["OutputType"]
