"""Functions of text."""

from __future__ import annotations

import re
from typing import Any, Final

from flow.expr.faults import Fault, Steps, kind, spend, take
from flow.expr.functions import STEPS, Function, collector
from flow.expr.library.arguments import as_text, items_of
from flow.expr.limits import FREE, MAX_WIDTH
from flow.expr.plain import in_text

FUNCTIONS: list[Function] = []
_listed = collector(FUNCTIONS)

_FEW: Final = 16
"""Texts that are joined at once: what they make is no more than so many times the largest."""

_PIECE: Final = re.compile(r"\{\{|\}\}|\{(\w*)(?::([^{}]*))?\}|[{}]")
_SPEC: Final = re.compile(r"(?:.?[<>=^])?[+ -]?0?(\d{0,4})[,_]?(?:\.(\d{1,4}))?([bdeEfFgGosxX%]?)")


@_listed(STEPS)
def upper(steps: Steps, text: Any) -> str:
    """Text in capitals."""
    value = text if type(text) is str else as_text("upper", "text", text)
    if len(value) > FREE:
        take(steps, 3 * len(value))
    return value.upper()


@_listed(STEPS)
def lower(steps: Steps, text: Any) -> str:
    """Text in small letters."""
    value = text if type(text) is str else as_text("lower", "text", text)
    if len(value) > FREE:
        take(steps, 3 * len(value))
    return value.lower()


@_listed(STEPS)
def trim(steps: Steps, text: Any, characters: Any = None) -> str:
    """Text without white space, or these characters, at both ends."""
    value = as_text("trim", "text", text)
    spend(steps, len(value))
    if characters is None:
        return value.strip()
    ends = as_text("trim", "characters", characters)
    if len(ends) > MAX_WIDTH:
        raise Fault(f"trim: characters must be at most {MAX_WIDTH}")
    return value.strip(ends)


@_listed(STEPS)
def split(steps: Steps, text: Any, separator: Any = None) -> list[str]:
    """A list of the parts of a text between separators; without one, between white space."""
    value = as_text("split", "text", text)
    spend(steps, 2 * len(value))
    if separator is None:
        return value.split()
    between = as_text("split", "separator", separator)
    if not between:
        raise Fault("split: separator must not be empty")
    return value.split(between)


@_listed(STEPS)
def join(steps: Steps, items: Any, separator: Any = "") -> str:
    """One text of the items of a list (text, numbers, bools), with a separator between them."""
    if type(items) is list and type(separator) is str and len(items) <= _FEW >= len(separator):
        try:
            made = separator.join(items)
        except TypeError:  # not all of them are text
            pass
        else:
            if len(made) > FREE:
                take(steps, len(made))
            return made
    values = items_of("join", "items", items)
    between = as_text("join", "separator", separator)
    spend(steps, len(values))
    pieces = [value if type(value) is str else _piece(value) for value in values]
    if (size := sum(map(len, pieces)) + len(pieces) * (1 + len(between))) > FREE:
        take(steps, size)
    return between.join(pieces)


def _piece(value: Any) -> str:
    piece = in_text(value)
    if piece is None:
        raise Fault(f"join: items holds {kind(value)}, which is no text, number or bool; json(x) makes text of it")
    return piece


@_listed(STEPS)
def replace(steps: Steps, text: Any, old: Any, new: Any) -> str:
    """Text with each ``old`` replaced by ``new``."""
    value, before, after = (
        as_text("replace", "text", text),
        as_text("replace", "old", old),
        as_text("replace", "new", new),
    )
    if not before:
        raise Fault("replace: old must not be empty")
    spend(steps, len(value))
    spend(steps, len(value) + value.count(before) * max(0, len(after) - len(before)))
    return value.replace(before, after)


@_listed(STEPS)
def startswith(steps: Steps, text: Any, beginning: Any) -> bool:
    """True if a text begins so."""
    value, start = as_text("startswith", "text", text), as_text("startswith", "beginning", beginning)
    spend(steps, len(start))
    return value.startswith(start)


@_listed(STEPS)
def endswith(steps: Steps, text: Any, end: Any) -> bool:
    """True if a text ends so."""
    value, tail = as_text("endswith", "text", text), as_text("endswith", "end", end)
    spend(steps, len(tail))
    return value.endswith(tail)


@_listed(STEPS, name="format")
def format_(steps: Steps, text: Any, /, *values: Any, **named: Any) -> str:
    """Text with values in place of ``{}``, ``{0}`` or ``{name}``; ``{:.2f}`` and the like shape numbers and text."""
    pattern = as_text("format", "text", text)
    spend(steps, len(pattern))
    pieces: list[str] = []
    at = taken = 0
    for piece in _PIECE.finditer(pattern):
        pieces.append(pattern[at : piece.start()])
        at = piece.end()
        if piece[0] in ("{{", "}}"):
            pieces.append(piece[0][0])
            continue
        if piece[0] in ("{", "}"):
            raise Fault(f"format: text has a single '{piece[0]}': write '{piece[0] * 2}' for one that stays")
        value = _field(piece[1], taken, values, named)
        taken += not piece[1]
        pieces.append(_shaped(value, piece[2] or ""))
        spend(steps, len(pieces[-1]))
    pieces.append(pattern[at:])
    spend(steps, sum(map(len, pieces)))
    return "".join(pieces)


def _field(name: str, taken: int, values: tuple[Any, ...], named: dict[str, Any]) -> Any:
    if not name or (name.isascii() and name.isdigit()):
        index = taken if not name else int(name[:6])
        if index >= len(values):
            raise Fault(f"format: text takes more values than the {len(values)} that follow it")
        return values[index]
    if name not in named:
        raise Fault("format: text takes a value by a name that is not given")
    return named[name]


def _shaped(value: Any, spec: str) -> str:
    plain = in_text(value)
    if plain is None:
        raise Fault(f"format: {kind(value)} is no text, number or bool; json(x) makes text of it")
    if not spec:
        return plain
    fits = _SPEC.fullmatch(spec)
    if fits is None or any(int(digits or 0) > MAX_WIDTH for digits in fits.group(1, 2)):
        raise Fault(
            f"format: what follows ':' is not understood, or wider than {MAX_WIDTH}; write {{:.2f}}, {{:>10}}, {{:,}}"
        )
    base = plain if isinstance(value, (str, bool)) else float(value) if isinstance(value, float) else int(value)
    try:
        return format(base, spec)
    except (ValueError, OverflowError):
        raise Fault(f"format: what follows ':' does not fit {kind(value)}") from None
