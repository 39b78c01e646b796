"""The texts that the nodes of a run emit as they go on, for whoever looks: :class:`Texts`.

Nothing is queued. Of each text the newest characters are kept, and how long it was at a few of its changes; a reader
gets what is new since the number that it has seen, with its place in the text. So the memory is bounded, whatever nodes
and readers do.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

import msgspec

LONGEST: Final = 32_768
"""Characters of one text that are kept: the newest."""

MOST: Final = 262_144
"""Characters of all texts of a run together. Those that have not changed for the longest time go first."""

MOST_TEXTS: Final = 256
"""Texts of a run that are kept."""

_LEFT: Final = LONGEST * 3 // 4
"""Characters that are left of a text that has become too long: so it need not be cut each time."""

_MARKS: Final = 64
"""Changes of a text of which it is known how long it was."""


class NewText(msgspec.Struct, frozen=True):
    """What is new of a text. It stands at character ``at``; what stood there, or later, holds no more.

    :ivar node: the way to the node or item: ``summary``, ``pages[7]``, ``pages[7]/fetch``. :ivar key: of the emission.
    """

    node: str
    key: str
    at: int
    text: str


class _Text:
    """One text, as far as it is kept.

    :ivar number: of its last change. :ivar begin: where in the text that begins which is kept.
    :ivar end: where it ends.
    """

    __slots__ = ("_lengths", "_numbers", "_parts", "begin", "end", "number")

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._numbers: list[int] = []  # of changes that readers have seen
        self._lengths: list[int] = []  # how long it was after each of these
        self.begin = self.end = self.number = 0

    @property
    def size(self) -> int:
        """Characters that are kept."""
        return self.end - self.begin

    def put(self, value: str, offset: int, number: int) -> None:
        """Put ``value`` at ``offset``. What stood there, or later, is gone. O(len(value)) amortised."""
        if offset != self.end:  # it begins anew; or what was kept of it is gone
            self._parts, self.begin = [], offset
            self._numbers, self._lengths = [], []
        self._parts.append(value)
        self.end, self.number = offset + len(value), number
        if self.size > LONGEST:
            self._parts = ["".join(self._parts)[-_LEFT:]]
            self.begin = self.end - _LEFT

    def since(self, seq: int) -> tuple[int, str]:
        """Return what has come after change ``seq``, and where it stands. O(characters that are kept).

        A reader that has seen a change of which the length is not known any more gets some characters once more.
        """
        if len(self._parts) > 1:
            self._parts = ["".join(self._parts)]
        found = bisect_right(self._numbers, seq)
        at = max(self.begin, self._lengths[found - 1] if found else 0)
        if not self._numbers or self._numbers[-1] != self.number:
            self._numbers.append(self.number)
            self._lengths.append(self.end)
            if len(self._numbers) > _MARKS:
                del self._numbers[::2], self._lengths[::2]
        return at, self._parts[0][at - self.begin :]


class Texts:
    """The texts of one run, by the way to their node and their key. Who calls it holds a lock."""

    __slots__ = ("_size", "_texts")

    def __init__(self) -> None:
        self._texts: dict[tuple[str, str], _Text] = {}  # the one that has changed last is the last
        self._size = 0

    def put(self, node: str, key: str, value: str, offset: int, number: int) -> None:
        """Take in what a node has emitted. O(len(value)) amortised.

        :param offset: where it stands in the text; 0 begins it anew. :param number: of this change, the highest so far.
        """
        text = self._texts.pop((node, key), None) or _Text()
        before = text.size
        text.put(value, offset, number)
        self._texts[node, key] = text
        self._size += text.size - before
        while self._size > MOST or len(self._texts) > MOST_TEXTS:
            stalest = next(iter(self._texts))
            self._size -= self._texts.pop(stalest).size

    def since(self, seq: int) -> list[NewText]:
        """Return what is new after number ``seq``, what has changed last at the end. O(characters kept).

        A reader has seen all changes up to its number. So whoever is told a part of the news has the number that it
        had: what stands in one piece of a text may be several changes, the first of which came before other news.
        """
        found = list[NewText]()
        for (node, key), text in reversed(self._texts.items()):
            if text.number <= seq:
                break
            found.append(NewText(node, key, *text.since(seq)))
        return found[::-1]


__all__ = ["LONGEST", "MOST", "MOST_TEXTS", "NewText", "Texts"]
