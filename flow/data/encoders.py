"""Values of any type as plain data and back, by functions of the user's that are given by type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from flow.awaits import UNAWAITED, is_unawaited
from flow.data.codec import MAX_DEPTH, SCALARS, Format, fault_in
from flow.errors import DataError, Show, UsageError, note, shown
from flow.types import View

Encoders: TypeAlias = Mapping[Any, Callable[[Any], Any]]
"""By type, what makes plain data of a value of exactly this type."""

Decoders: TypeAlias = Mapping[Any, Callable[[Any], Any]]
"""By type, or by the name under which it was written, what makes such a value of the plain data."""

Sections: TypeAlias = dict[str, Any]
"""The ``item``, and by key the ``inputs``, ``outputs`` and ``data`` of a Context."""

Mark: TypeAlias = tuple[list[str | int], str]
"""Where an encoder stood in for a value, from the section on, and the name of the value's type."""

_WORDS: Final = {"inputs": "input", "outputs": "output", "data": "data key"}
_NEVER_ENCODED: Final = frozenset({type(None), bool, int, float, str, list, dict})


def name_of(kind: type) -> str:
    """Return the name under which values of a type are written."""
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def checked_encoders(encode: Encoders | None) -> Encoders:
    """:raises UsageError: listing what is wrong with ``encode``."""
    _refuse("encode", list(_faults_of(encode, "encode", (type,))))
    return encode or {}


def checked_decoders(decode: Decoders | None) -> dict[str, Callable[[Any], Any]]:
    """Return the decoders by name.

    :raises UsageError: listing what is wrong with ``decode``.
    """
    _refuse("decode", list(_faults_of(decode, "decode", (type, str))))
    return {kind if isinstance(kind, str) else name_of(kind): fn for kind, fn in (decode or {}).items()}


def _refuse(label: str, faults: list[str]) -> None:
    if faults:
        raise UsageError("; ".join(faults) + f": give {label}={{type: function}}")


def _faults_of(hooks: Any, label: str, keys: tuple[type, ...]) -> Iterator[str]:
    if hooks is None:
        return
    if not isinstance(hooks, Mapping):
        yield f"{label} must be a mapping, not {shown(hooks)}"
        return
    for kind, fn in hooks.items():
        if not isinstance(kind, keys):
            yield f"{label} has {shown(kind)}, which is no type"
        elif label == "encode" and kind in _NEVER_ENCODED:
            yield f"{label} has {kind.__qualname__}, which is plain data and is written as it is"
        elif not callable(fn):
            yield f"{label} has {shown(fn)} for {shown(kind)}, which is no function"
        elif is_unawaited(fn):
            yield f"{label} has a function for {shown(kind)} that {UNAWAITED}"


# -- writing ---------------------------------------------------------------------------------


def entries(sections: Sections) -> Iterator[tuple[str, str, Any, Any]]:
    """Yield each value: what messages call it, its section, its key there (None for the item), and itself."""
    yield "item", "item", None, sections["item"]
    for section, word in _WORDS.items():
        for key, value in sections[section].items():
            yield f"{word} {shown(key)}", section, key, value


def written(sections: Sections, form: Format, encode: Encoders, show: Show) -> tuple[Sections, list[Mark]]:
    """Return the sections as plain data, and where encoders have made it. O(size).

    :raises DataError: listing every value that would not come back equal and of the same type.
    """
    plain: Sections = {"item": None, **{section: {} for section in _WORDS}}
    marks: list[Mark] = []
    faults = []
    for label, section, key, given in entries(sections):
        value, fault, foreign = given, None, None
        if encode or fault_in(given, form, show):
            at = (None, section) if section == "item" else ((None, section), key)
            value, fault, foreign = _encoded(given, at, form, encode, marks, label)
            fault = fault or fault_in(value, form, show)
        if fault:
            hint = "" if foreign is None else f"; an encoder can write it: encode={{{name_of(foreign)}: function}}"
            faults.append(f"{label}: {fault}{hint}")
        if section == "item":
            plain["item"] = value
        else:
            plain[section][key] = value
    if faults:
        raise DataError(f"the context cannot be written as {form}", faults)
    return plain, marks


def _encoded(
    given: Any, at: Any, form: Format, encode: Encoders, marks: list[Mark], label: str
) -> tuple[Any, str | None, type | None]:
    """Return a copy of ``given`` with what encoders make of its parts, a fault, and the first type that is not plain.

    Iterative, so that no value is too deep for it.

    :param at: where it stands: the place around it, and the last step.
    """
    root = [given]
    foreign: type | None = None
    todo: list[tuple[Any, Any, Any, int]] = [(root, 0, at, 0)]
    while todo:
        holder, step, path, depth = todo.pop()
        item = holder[step]
        while (fn := encode.get(type(item))) is not None and depth <= MAX_DEPTH:
            name = name_of(type(item))
            marks.append((_steps(path), name))
            try:
                item = fn(item)
            except Exception as error:
                note(error, f"in the encoder of {name}, for {label}")
                raise
            depth += 1
        if isinstance(item, View):  # of ours: outputs of a Dag that is a node
            item = dict(item)
        kind = type(item)
        inner: Any = item.items() if kind is dict else enumerate(item) if kind is list else ()
        if depth > MAX_DEPTH and (inner or kind in encode):
            deep = f"holds more than {MAX_DEPTH} levels, or itself, with what encoders make of it" if encode else None
            return given, deep, foreign  # without encoders, the check for plain data says it
        if kind is dict or kind is list:
            item = kind(item)
            found = [(item, k, (path, k), depth + 1) for k, v in inner if type(v) not in SCALARS or type(v) in encode]
            todo.extend(reversed(found))
        elif foreign is None and (kind not in SCALARS or (kind is bytes and form == "JSON")):
            foreign = kind
        holder[step] = item
    return root[0], None, foreign


def _steps(path: Any) -> list[Any]:
    steps = []
    while path is not None:
        path, step = path
        steps.append(step)
    return steps[::-1]


# -- reading ---------------------------------------------------------------------------------


def decoded_by(
    sections: Sections, marks: list[Mark], decode: Mapping[str, Callable[[Any], Any]], what: str, show: Show
) -> None:
    """Put back, in place, the values for which encoders have stood in. O(size of ``marks``).

    :param what: how the error begins.
    :raises DataError: listing every value without a decoder.
    """
    missing = [
        f"{_label(at, show)} was written by an encoder of {name}: give decode={{{name}: function}}"
        for at, name in marks
        if name not in decode
    ]
    if missing:
        raise DataError(what, missing)
    for at, name in reversed(marks):  # what is within another comes after it
        holder: Any
        value: Any
        found, holder, value = at[:1] == ["item"] or len(at) > 1, None, sections
        for step in at:
            found = found and _has(value, step)
            holder, value = value, value[step] if found else None
        if not found:
            raise DataError(what, [f"an encoder is said to have written {_label(at, show)}, which is no place in it"])
        try:
            holder[at[-1]] = decode[name](value)
        except Exception as error:
            note(error, f"in the decoder of {name}, for {_label(at, show)}")
            raise


def _has(value: Any, step: str | int) -> bool:
    if isinstance(step, str):
        return type(value) is dict and step in value
    return type(value) is list and 0 <= step < len(value)


def _label(at: list[str | int], show: Show) -> str:
    section, *steps = at or ("",)
    if section in _WORDS and steps:
        section = f"{_WORDS[str(section)]} {shown(steps.pop(0))}"
    place = "".join(f"[{step if isinstance(step, int) else show(step)}]" for step in steps)
    return f"{section} at {place}" if place else str(section)
