"""Lists and mappings of a file that know where each of their values stands: by the marks of PyYAML."""

from __future__ import annotations

import re
from typing import Any, Final

from flow.errors import printable
from flow.expr import Place


class Table(dict[str, Any]):
    """A mapping of a file.

    :ivar at: the mark where it begins. :ivar marks: for each key its mark, and that of its value.
    :ivar templated: an expression in ``{{ }}`` may stand in it.
    """

    __slots__ = ("at", "marks", "templated")

    def __init__(self, at: Any) -> None:
        self.at = at
        self.marks: dict[str, tuple[Any, Any]] = {}
        self.templated = False


class Row(list[Any]):
    """A list of a file. :ivar at: the mark where it begins. :ivar marks: the mark of each value."""

    __slots__ = ("at", "marks", "templated")

    def __init__(self, at: Any) -> None:
        self.at = at
        self.marks: list[Any] = []
        self.templated = False


class Source:
    """A file's text, for places in it. :ivar name: as messages show it."""

    __slots__ = ("_lines", "name", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name = printable(name)
        self.text = text
        self._lines: list[str] | None = None

    def at(self, mark: Any, before: int = 0, count: int = 1) -> str:
        """Return the characters at a mark, or near it in its line."""
        line = self._line(mark)
        return line[max(mark.column + before, 0) : max(mark.column + before, 0) + count]

    def place(self, mark: Any) -> Place:
        """Return the place of a mark."""
        return Place(mark.line + 1, mark.column + 1, self.name)

    def place_of_text(self, mark: Any, value: str) -> Place:
        """Return where the first character of a text stands: behind its quote, or in the line after ``|``.

        :param mark: where its scalar begins, or the anchor before that.
        """
        line, column = self._line(mark), mark.column
        if line.startswith(("&", "!"), column):
            column = _BEFORE.match(line, column).end()  # type: ignore[union-attr]
        style = line[column : column + 1]
        if style in _QUOTES:
            end = column + 1 + len(value)
            if line.startswith(value, column + 1) and line.startswith(style, end):
                return Place(mark.line + 1, column + 2, self.name)
        elif style not in _BLOCKS and line.startswith(value, column):
            return Place(mark.line + 1, column + 1, self.name)
        from flow.spec.text.spots import spots_of

        spots = spots_of(value, self.lines, mark.line, column, style)
        return self.place(mark) if spots is None else spots.place(0, self.name)

    @property
    def lines(self) -> list[str]:
        """The lines of the text."""
        if self._lines is None:
            self._lines = self.text.split("\n")
        return self._lines

    def _line(self, mark: Any) -> str:
        lines = self.lines
        return lines[mark.line] if mark.line < len(lines) else ""


_QUOTES: Final = ("'", '"')
_BLOCKS: Final = ("|", ">")
_BEFORE: Final = re.compile(r"(?:[&!]\S*[ \t]+)*")
"""An anchor, a tag."""
