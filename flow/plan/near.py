"""Whether one name may be a misspelling of another: :func:`is_near`.

A warning must not be false, so names that authors keep apart on purpose are not near: plurals and other endings
(``user``, ``users``; ``score``, ``scored``), numbers (``x1``, ``x2``), other words in one place (``min_value``,
``max_value``; ``sales_uk``, ``sales_us``), and one word for another (``weight``, ``height``; ``content``, ``context``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

SHORTEST: Final = 5
"""Least length of a word in which a missing, additional or transposed letter counts as a slip."""

SHORTEST_REPLACED: Final = 6
"""Least length of a word in which a wrong letter counts as a slip."""

MOST_COMPARED: Final = 200_000
"""Most pairs of names that are compared for one plan: some 0.4 s. Further pairs are not compared."""

_VOWELS: Final = frozenset("aeiou")
_ROWS: Final = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_KEYS: Final = {letter: (x + y / 2, y) for y, row in enumerate(_ROWS) for x, letter in enumerate(row)}


def is_near(name: str, other: str) -> bool:
    """Tell whether one of two different names may be a slip for the other. O(characters)."""
    a, b = name.casefold(), other.casefold()
    if name == other or abs(len(a) - len(b)) > 3:
        return False
    if a.replace("_", "") == b.replace("_", ""):  # userName, user_name, username
        return len(a) >= SHORTEST
    words, others = a.split("_"), b.split("_")
    if len(words) != len(others):
        return False
    different = [(x, y) for x, y in zip(words, others, strict=True) if x != y]
    return len(different) == 1 and _is_slip(*different[0])


def _is_slip(a: str, b: str) -> bool:
    """Tell whether two words differ by one common typing error after the first letter."""
    if len(a) > len(b):
        a, b = b, a
    if len(a) < SHORTEST or len(b) - len(a) > 1 or b.startswith(a):  # a further ending makes another word
        return False
    at = next(k for k in range(len(a)) if a[k] != b[k])
    if at == 0 or a[at].isdigit() or b[at].isdigit():
        return False
    if len(a) < len(b):
        return a[at:] == b[at + 1 :]
    if a[at + 1 :] == b[at + 1 :]:
        return len(a) >= SHORTEST_REPLACED and _are_confused(a[at], b[at])
    return a[at : at + 2] == b[at + 1 : at - 1 : -1] and a[at + 2 :] == b[at + 2 :]


def _are_confused(a: str, b: str) -> bool:
    """Tell whether one letter is often typed for the other: both are vowels, or their keys touch."""
    if a in _VOWELS and b in _VOWELS:
        return True
    if a not in _KEYS or b not in _KEYS:
        return False
    (x, y), (x2, y2) = _KEYS[a], _KEYS[b]
    return abs(x - x2) <= 1 and abs(y - y2) <= 1


class Known:
    """Names for comparison. Making it is O(names). Slips of the first letter are not found."""

    __slots__ = ("_by_beginning", "_left")

    def __init__(self, names: Collection[str]) -> None:
        self._left = MOST_COMPARED
        self._by_beginning: dict[str, list[str]] = {}
        for name in names:
            self._by_beginning.setdefault(name[:1].casefold(), []).append(name)

    def near(self, name: str) -> Iterator[str]:
        """Yield the names of which ``name`` may be a misspelling."""
        likely = self._by_beginning.get(name[:1].casefold(), [])[: self._left]
        self._left -= len(likely)
        for other in likely:
            if is_near(name, other):
                yield other


__all__ = ["Known", "is_near"]
