"""Mappings of a file as the types of :mod:`flow.spec.form.structs`: all faults, each with its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Final, Literal, TypeAlias, Union, get_args, get_origin

import msgspec

from flow.errors import Hints, shown
from flow.spec.text.faults import Faults
from flow.spec.text.places import Row, Table

_AT: Final = re.compile(r" - at `\$(.*?)`$")
_WORDS: Final = {
    "str": "text", "int": "an integer", "float": "a number", "bool": "true or false", "array": "a list",
    "object": "a mapping", "null": "null",
}  # fmt: skip
_MEANT: Final = {
    "str": "string", "text": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array",
    "dict": "object", "map": "object", "mapping": "object",
}  # fmt: skip
_SCALARS: Final = (str, int, float, bool)
_YES_NO: Final = ("yes", "no", "on", "off", "y", "n")
_BELOW: Final = "; what belongs to it stands below it, indented"
_UNITS: Final = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_TIME: Final = re.compile(r"([0-9]{1,9}) ?([a-z]{1,3})")
_LITERAL: Final = "is a literal, and expressions are not read there"

Hint: TypeAlias = Callable[[str], str]
Found: TypeAlias = tuple[Any, str]
"""A fault: an event, and what is wrong there."""


def read(table: Table, kind: type[Any], faults: Faults, what: str, hint: Hint | None = None) -> Any:
    """Return ``table`` as a ``kind``. If it is none, ``faults`` says why; then it is that of the keys that are right,
    so that more can be found, or None if one is missing that must be there.

    :param what: what it is called in messages. :param hint: what to say of an unknown key, where its name tells.
    """
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        if not _note(faults, _faults(table, kind, what, hint, faults.budget.hints)):
            faults.add(table.at, f"{what}: {said(str(error))}")
    known = fields_of(kind)
    right = {key: value for key, value in table.items() if key in known and _fits(value, known[key].type)}
    try:
        return msgspec.convert(right, kind)
    except msgspec.ValidationError:
        return None


def _fits(value: Any, kind: Any) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _note(faults: Faults, found: Iterable[Found]) -> bool:
    """Note faults; tell whether there are any."""
    before = faults.count
    for event, text in found:  # each is noted before the next is looked for: there may be very many
        faults.add(event, text)
    return faults.count > before


def _faults(table: Table, kind: type[Any], what: str, hint: Hint | None, hints: Hints) -> Iterator[Found]:
    """Yield every fault of a mapping."""
    known = fields_of(kind)
    for key in table:
        if key not in known:
            found = (hint(key) if hint is not None else _counted(key, known)) or hints.nearest(key, known)
            listed = "" if found else f"; there are {', '.join(known)}"
            yield table.marks[key][0], f"{what} has no key {shown(key)}{found}{listed}"
    missing = [key for key, field in known.items() if field.required and key not in table]
    for key in missing:
        yield table.at, f"{what} needs {key!r}"
    for key, value in table.items():
        if key in known:
            yield from _of_value(value, known[key].type, table.marks[key][1], f"{key} of {what}", hints)


def _counted(key: str, known: Container[str]) -> str:
    """Say what other engines' numbers of retries are here."""
    if "attempts" not in known or key not in ("count", "limit", "max", "retries", "max_attempts", "maxAttempts"):
        return ""
    return ": write attempts, which counts the first one, too"


def _of_value(value: Any, kind: Any, event: Any, what: str, hints: Hints) -> Iterator[Found]:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        members = list(_members(kind))
        inner = [one for one in members if isinstance(one, type) and issubclass(one, msgspec.Struct)]
        found = (
            list(_faults(value, inner[0], what, None, hints)) if isinstance(value, Table) and len(inner) == 1 else []
        )
        found = found or list(_of_parts(value, members, what, hints))
        if found:
            yield from found
        elif isinstance(value, str) and "{{" in value and any(one in _SCALARS for one in members):
            yield event, f"{what} {_LITERAL}"
        else:
            yield event, f"{what}: {_expected(value, members, str(error), hints)}{_meant(value, members, inner)}"


def _meant(value: Any, members: Iterable[Any], inner: Sequence[type[Any]]) -> str:
    """Say what to write for a value that stands in the place of another one."""
    if value is None and (inner or any(get_origin(one) is dict for one in members)):
        return _BELOW
    time = _TIME.fullmatch(value) if isinstance(value, str) else None
    if time is not None and time[2] in _UNITS and float in members:
        return f": write {int(time[1]) * _UNITS[time[2]]:g}, in seconds"
    if isinstance(value, str) and value.isdecimal():
        return ""  # a number in quotes
    if isinstance(value, (int, float, str)) and "{{" not in (text := str(value)) and text.isprintable():
        for kind in inner:
            for key, field in fields_of(kind).items():
                if _fits(value, field.type):
                    return f": write {{{key}: {text}}}"
    return ""


def _of_parts(value: Any, members: Iterable[Any], what: str, hints: Hints) -> Iterator[Found]:
    """Yield the faults of the values of a mapping, or of the items of a list, each at its own place."""
    for member in members:
        if get_origin(member) is dict and isinstance(value, Table):
            for key, one in value.items():
                said_of = f"{shown(key)} in {what}"
                yield from _of_value(one, get_args(member)[1], value.marks[key][1], said_of, hints)
        elif get_origin(member) is list and isinstance(value, Row):
            for one, event in zip(value, value.marks, strict=True):
                yield from _of_value(one, get_args(member)[0], event, what, hints)


def _members(kind: Any) -> Iterator[Any]:
    """Yield the types of which a value may be one."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _members(get_args(kind)[0])
    elif origin in (Union, UnionType):
        for one in get_args(kind):
            yield from _members(one)
    else:
        yield kind


def _expected(value: Any, members: Iterable[Any], text: str, hints: Hints) -> str:
    """Say what a value is to be, from what msgspec says, and what it is."""
    choices = [choice for one in members if get_origin(one) is Literal for choice in get_args(one)]
    if not choices or not isinstance(value, str):
        wrong = f", not {_written(value)}"
        if isinstance(value, str) and value.lower() in _YES_NO and bool in members:
            wrong += ", which is text: write true or false"
        return said(text.partition(", got ")[0]) + wrong
    meant = f" (did you mean {_MEANT[value]!r}?)" if _MEANT.get(value) in choices else hints.nearest(value, choices)
    others = [_WORDS[one.__name__] for one in members if isinstance(one, type) and one.__name__ in _WORDS]
    listed = ", or ".join([", ".join(choices), *others])
    return f"expected one of {listed}, not {shown(value)}{meant}"


def _written(value: Any) -> str:
    return kind_of(value) if value is None or isinstance(value, (bool, list, dict)) else shown(value)


def said(text: str) -> str:
    """Say in a file's words what msgspec says."""

    def word(found: re.Match[str]) -> str:
        names = [one.strip() for one in found[1].split("|")]
        return " or ".join(_WORDS.get(one, one) for one in names if one != "null" or len(names) == 1)

    text = re.sub(r"`([\w |]+)`", word, _AT.sub("", text)).replace(".0", "")
    return text[:1].lower() + text[1:]


class _Field(msgspec.Struct):
    type: Any
    required: bool


_known: dict[Any, Mapping[str, _Field]] = {}


def fields_of(kind: type[Any]) -> Mapping[str, _Field]:
    """Return the fields of a type, by the key that files have for each."""
    found = _known.get(kind)
    if found is None:
        fields = msgspec.structs.fields(kind)
        found = _known[kind] = {field.encode_name: _Field(field.type, field.required) for field in fields}
    return found


def table_of(value: Any, event: Any, faults: Faults, what: str) -> Table | None:
    """Return a value as a mapping; None, with a fault, if it is none."""
    if isinstance(value, Table):
        return value
    hint = _BELOW if value is None else ": write NAME: and no '-' before each" if isinstance(value, Row) else ""
    faults.add(event, f"{what} is a mapping, not {kind_of(value)}{hint}")
    return None


def kind_of(value: Any) -> str:
    """Say what a value of a file is."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    words = {str: "text", int: "a number", float: "a number", Row: "a list", Table: "a mapping"}
    return words.get(type(value), type(value).__name__)
