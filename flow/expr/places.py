"""Where in a file a text stands, and where in it a part of the text is."""

from __future__ import annotations

from typing import NamedTuple


class Place(NamedTuple):
    """Where the first character of an expression or template stands.

    :ivar line: its line, from 1. :ivar column: the character of that line, from 1.
    :ivar file: the name of the file, as messages are to show it.
    :ivar indent: characters before the text in each of its further lines (of a block in YAML).
    """

    line: int = 1
    column: int = 1
    file: str = ""
    indent: int = 0

    def at(self, line: int, column: int) -> Place:
        """Return the place of line ``line``, column ``column`` of the text that begins here."""
        if line == 1:
            return Place(self.line, self.column + column - 1, self.file, self.indent)
        return Place(self.line + line - 1, self.indent + column, self.file, self.indent)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.file else f"line {self.line}, column {self.column}"


def end_of(text: str, end: int) -> tuple[int, int]:
    """Return line and column, from 1, of the character ``text[end]``. O(end)."""
    start = text.rfind("\n", 0, end) + 1
    return text.count("\n", 0, end) + 1, end - start + 1
