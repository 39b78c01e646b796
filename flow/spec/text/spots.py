"""Where each character stands of a text that YAML has folded, or whose escapes it has read."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Final

from flow.expr import Place

_ESCAPED: Final = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b",
    " ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029",
}  # fmt: skip
_CODES: Final = {"x": 2, "u": 4, "U": 8}


class Spots:
    """The characters of one text, and where they stand in its file.

    :param starts: of runs of characters that follow each other in the file as well: offset, line and column.
    :param breaks: the offset at which each line of the text begins.
    """

    __slots__ = ("_breaks", "_offsets", "_starts")

    def __init__(self, starts: list[tuple[int, int, int]], breaks: list[int]) -> None:
        self._starts = starts
        self._breaks = breaks
        self._offsets = [start[0] for start in starts]

    def place(self, offset: int, file: str) -> Spot:
        """Return the place of a character."""
        begin, line, column = self._starts[max(bisect_right(self._offsets, offset) - 1, 0)]
        made = Spot(line, max(column + offset - begin, 1), file)
        made.spots, made.offset = self, offset
        return made

    def moved(self, offset: int, line: int, column: int) -> int:
        """Return the offset of a line and column of what begins at ``offset``."""
        if line == 1:
            return offset + column - 1
        at = bisect_right(self._breaks, offset) - 1 + line - 1
        return self._breaks[min(at, len(self._breaks) - 1)] + column - 1


class Spot(Place):
    """A place in such a text."""

    spots: Spots
    offset: int

    def at(self, line: int, column: int) -> Place:
        return self.spots.place(self.spots.moved(self.offset, line, column), self.file)


def spots_of(value: str, lines: list[str], line: int, column: int, style: str | None) -> Spots | None:
    """Find the characters of a text in the lines of its file; None if they are not there. O(its length).

    White space is what folding changes, so the other characters are looked for, in their order.

    :param value: the text. :param line, column: where it begins, from 0: its quote, its ``>`` or ``|``.
    """
    found = _characters(lines, line, column, style)
    starts: list[tuple[int, int, int]] = []
    for offset, character in enumerate(value):
        if character.isspace():
            continue
        there = next(found, None)
        if there is None or there[0] != character:
            return None
        _, at_line, at_column = there
        if not starts or starts[-1][1:] != (at_line, at_column - offset + starts[-1][0]):
            starts.append((offset, at_line, at_column))
    breaks = [0, *[offset + 1 for offset, character in enumerate(value) if character == "\n"]]
    return Spots(starts, breaks) if starts else None


def _characters(lines: list[str], line: int, column: int, style: str | None) -> Iterator[tuple[str, int, int]]:
    """Yield the characters that stand in a file, white space left out, with line and column from 1."""
    if style in ("|", ">"):
        line, column = line + 1, 0
    elif style in ("'", '"'):
        column += 1
    for number in range(line, len(lines)):
        text, at = lines[number], column if number == line else 0
        while at < len(text):
            character, length = text[at], 1
            if style == "'" and text.startswith("''", at):
                length = 2
            elif style == '"' and character == "\\":
                character, length = _unescaped(text, at)
            if not character.isspace():
                yield character, number + 1, at + 1
            at += length


def _unescaped(text: str, at: int) -> tuple[str, int]:
    """Return the character of an escape, and the length of this. A backslash at the end of a line is white space."""
    mark = text[at + 1 : at + 2]
    digits = text[at + 2 : at + 2 + _CODES.get(mark, 0)]
    if not digits:
        return _ESCAPED.get(mark, " "), 2
    code = int(digits, 16)
    return chr(code) if code < 0x110000 else " ", 2 + len(digits)


__all__ = ["Spot", "Spots", "spots_of"]
