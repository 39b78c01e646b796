"""Text in HTML and SVG: escaping, width, shortening."""

from __future__ import annotations

import re
from html import escape
from typing import Final

# Characters that XML or readers cannot take: controls, line separators, marks of direction, surrogates, non-characters.
_UNSHOWN: Final = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")

_WIDE: Final = 0x2E7F
"""Characters above this one are as wide as two others."""

CHARACTER: Final = 7.3
"""Mean width of a character at font-size 12, in the widest of the usual fonts."""


def safe(text: str, but: str = "") -> str:
    """Return ``text`` escaped for HTML and XML; characters that cannot be shown as Python's escapes.

    :param but: characters that stay as they are.
    """
    if text.isascii() and text.isidentifier():  # as most names are
        return text
    return escape(_UNSHOWN.sub(lambda found: found[0] if found[0] in but else repr(found[0])[1:-1], text))


def width(text: str) -> float:
    """Return the approximate width of ``text`` at font-size 12."""
    if text.isascii():
        return CHARACTER * len(text)
    return CHARACTER * sum([2 if ord(c) > _WIDE else 1 for c in text])


def cut(text: str, most: int) -> str:
    """Shorten ``text`` to ``most`` characters. The middle is left out, since names often differ only at their ends."""
    if len(text) <= most:
        return text
    head = max(0, most - 1) // 3
    tail = max(0, most - 1 - head)
    return f"{text[:head]}\u2026{text[len(text) - tail :]}"
