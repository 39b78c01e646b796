"""Expressions that differ in names and numbers alone: one of them is analysed, and the others are filled in.

Files repeat themselves, as in ``build.image`` and ``test.report``, or in ``retries > 3`` and ``age > 18``. What
decides how such a source is read are its other words and its signs: its *form*, in which a hole stands for each name
and each small number. A form is analysed once, with marks of its own in the holes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from keyword import kwlist
from typing import Final

from flow.expr.functions import Functions
from flow.expr.syntax.values import CONSTANTS
from flow.expr.syntax.writer import Spot, Use

_TOKEN: Final = re.compile(r"""('[^'\\]*'|"[^"\\]*"|[A-Za-z_]\w*|\.?\d[\w.]*(?:(?<=[eE])[+-]\d+)?)""", re.ASCII)
_NAME, _NUMBER = "\0", "\1"
_NAME_MARK, _NUMBER_MARK = "Qz{:03}z", "987654{:03}"
_MARKS: Final = re.compile(r"Qz(\d{3})z|987654(\d{3})")
_MARKED: Final = re.compile(r"Qz|987654")
_ASSIGNS: Final = re.compile(r"(?<![=!<>])=(?!=)")
_DIGITS: Final = 9
"""Of the numbers that are holes: an int of so many digits is small for whatever is written of it."""

_MAX_HOLES: Final = 50
_RESERVED: Final = frozenset({*kwlist, *CONSTANTS, "nodes"})


class Form:
    """A source with holes for its names and numbers.

    :ivar key: equal for the sources that it is the form of. :ivar tokens: what stands in its holes.
    :ivar parts: the source in parts, with a sign in each hole.
    """

    __slots__ = ("key", "parts", "tokens")

    def __init__(self, key: str, parts: list[str], tokens: list[str]) -> None:
        self.key = key
        self.parts = parts
        self.tokens = tokens

    @property
    def marked(self) -> str:
        """The source with marks in its holes; empty if it cannot be one."""
        if not 0 < len(self.tokens) <= _MAX_HOLES or _ASSIGNS.search(self.key) or _MARKED.search(self.key):
            return ""
        found, hole = [], 0
        for part in self.parts:
            if part in (_NAME, _NUMBER):
                found.append((_NAME_MARK if part == _NAME else _NUMBER_MARK).format(hole))
                hole += 1
            else:
                found.append(part)
        return "".join(found)


def form_of(source: str, functions: Functions) -> Form | None:
    """Return the form of a source; None if it is one of its own. O(length)."""
    if not (source.isascii() and source.isprintable()) or "\\" in source:
        return None
    reserved = functions.reserved
    if not reserved:
        reserved = functions.reserved = _RESERVED.union(functions)
    parts = _TOKEN.split(source)
    tokens = []
    for at in range(1, len(parts), 2):
        token = parts[at]
        first = token[0]
        if first in "'\"_." or token in reserved:
            continue
        if first.isdigit():
            if first == "0" or len(token) > _DIGITS or not token.isdigit():
                continue
            parts[at] = _NUMBER
        else:
            parts[at] = _NAME
        tokens.append(token)
    return Form("".join(parts), parts, tokens)


class Shape:
    """What is known of a form: the names and the code, with holes.

    :param uses, calls, code, spots: of the source with marks. :param marked: that source; empty of a source without
        holes.
    """

    __slots__ = ("_lengths", "_pieces", "_spots", "_uses", "calls")

    def __init__(
        self, uses: Sequence[Use], calls: Collection[str], code: str, spots: Sequence[Spot], marked: str = ""
    ) -> None:
        found = list(_MARKS.finditer(marked))
        names = {one[0]: hole for hole, one in enumerate(found)}

        def before(offset: int) -> int:
            """Return how many holes stand before a place."""
            return sum(one.start() + 1 < offset for one in found)

        self.calls = frozenset(calls)
        self._lengths = [len(one[0]) for one in found]
        self._uses = [(names.get(use.name, -1), names.get(use.key or "", -1), before(use.column), use) for use in uses]
        self._spots = [(names.get(spot.key, -1), before(spot.offset), spot) for spot in spots]
        self._pieces: list[str | int] = [code]
        if marked:
            pieces = _MARKS.split(code)
            self._pieces = [pieces[0]]
            for name, number, text in zip(pieces[1::3], pieces[2::3], pieces[3::3], strict=True):
                self._pieces += [int(name or number), text]

    def filled(self, tokens: Sequence[str] = ()) -> Analysis:
        """Return what is known of a source with these tokens in its holes."""
        moved, shifts = 0, [0]
        for token, length in zip(tokens, self._lengths, strict=True):
            moved += len(token) - length
            shifts.append(moved)
        uses = []
        for name, key, before, use in self._uses:
            _, by_key, guarded, by, line, column = use
            by_key = by_key if key < 0 else tokens[key]
            uses.append(Use(use.name if name < 0 else tokens[name], by_key, guarded, by, line, column + shifts[before]))
        return Analysis(tuple(uses), self, tokens, shifts)

    def code(self, tokens: Sequence[str]) -> str:
        """Return the code with these tokens in its holes."""
        return "".join([piece if isinstance(piece, str) else tokens[piece] for piece in self._pieces])

    def spot(self, at: int, tokens: Sequence[str], shifts: Sequence[int]) -> Spot:
        """Return what the line ``at`` of the code comes from."""
        key, before, spot = self._spots[min(max(at, 0), len(self._spots) - 1)]
        offset = spot.offset + shifts[before]
        return spot._replace(offset=offset, key=spot.key if key < 0 else tokens[key])


class Analysis:
    """What is known of a source: equal for equal sources and functions.

    :ivar uses: the names in it, in the order of the code.
    """

    __slots__ = ("_shape", "_shifts", "_tokens", "uses")

    def __init__(self, uses: tuple[Use, ...], shape: Shape, tokens: Sequence[str], shifts: Sequence[int]) -> None:
        self.uses = uses
        self._shape = shape
        self._tokens = tokens
        self._shifts = shifts

    @property
    def calls(self) -> frozenset[str]:
        """The functions that it calls."""
        return self._shape.calls

    @property
    def code(self) -> str:
        """What evaluates it."""
        return self._shape.code(self._tokens)

    def spot(self, at: int) -> Spot:
        """Return what the line ``at`` of the code that may fail, from 0, comes from."""
        return self._shape.spot(at, self._tokens, self._shifts)
