"""Text that is safe in HTML and SVG, and how wide it is."""

from __future__ import annotations

import re
from html import escape
from typing import Final

# What neither XML nor a reader can take: controls, line separators, the direction of text, surrogates, non-characters.
_UNSHOWN: Final = re.compile("[\0-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")

_WIDE: Final = 0x2E7F
"""Characters above this one take the room of two."""

CHARACTER: Final = 7.3  # at font-size 12, on average, of the fonts that are wide


def safe(text: str, but: str = "") -> str:
    """Return ``text`` escaped for HTML and XML; what cannot be shown, all ``but`` these, as Python would write it."""
    if text.isascii() and text.isidentifier():  # as most names are
        return text
    return escape(_UNSHOWN.sub(lambda found: found[0] if found[0] in but else repr(found[0])[1:-1], text))


def width(text: str) -> float:
    """About how wide ``text`` is, at font-size 12."""
    if text.isascii():
        return CHARACTER * len(text)
    return CHARACTER * sum([2 if ord(c) > _WIDE else 1 for c in text])


def cut(text: str, most: int) -> str:
    """Shorten ``text`` to ``most`` characters in its middle: names often differ at their ends only."""
    if len(text) <= most:
        return text
    head = max(0, most - 1) // 3
    tail = max(0, most - 1 - head)
    return f"{text[:head]}\u2026{text[len(text) - tail :]}"


def counted(count: int, what: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"
