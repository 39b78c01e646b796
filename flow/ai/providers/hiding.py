"""Secrets in what is shown, however it writes them: :func:`hidden`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from string import ascii_lowercase, ascii_uppercase
from typing import Final

SHORTEST: Final = 4
"""Characters of the shortest text that is hidden: shorter ones are no secrets, and parts of many words."""

HIDDEN: Final = "***"

_ESCAPE: Final = re.compile(
    r"\\+(?:(?:u00|x)([0-7][0-9a-f]))?"  # of JSON and of programs, also where one text is within another
    r"|%(?:25)*([0-7][0-9a-f])"  # of URLs
    r"|&(?:amp;)*(#?\w{1,10};)",  # of HTML
    re.IGNORECASE | re.ASCII,
)
"""What stands for another character. Each alternative takes its run at once: O(length), whatever the text is."""

_LOWER: Final = str.maketrans(ascii_uppercase, ascii_lowercase)


def hidden(text: str, secrets: Iterable[str]) -> str:
    """Return ``text`` with ``***`` for each secret in it.

    They are also found where they are escaped, as JSON, URLs and HTML do, and in letters of another case.
    O(length x secrets).
    """
    plain, starts = _plain(text)
    spans: list[tuple[int, int]] = []
    for secret in {_plain(one)[0] for one in secrets}:
        at = plain.find(secret) if len(secret) >= SHORTEST else -1
        while at >= 0:
            end = at + len(secret)
            spans.append((starts[at], starts[end]))
            at = plain.find(secret, end)
    parts: list[str] = []
    done = 0
    for start, end in sorted(spans):
        if start >= done:
            parts += [text[done:start], HIDDEN]
        done = max(done, end)
    return "".join([*parts, text[done:]])


def _plain(text: str) -> tuple[str, list[int]]:
    """Return a text without escapes, in small letters, and where in it each character begins; then its length."""
    parts: list[str] = []
    starts: list[int] = []
    done = 0
    for found in _ESCAPE.finditer(text):
        at = found.start()
        read = _read(found)
        parts += [text[done:at], read]
        starts += [*range(done, at), *[at] * len(read)]
        done = found.end()
    starts += range(done, len(text) + 1)
    return "".join([*parts, text[done:]]).translate(_LOWER), starts


def _read(escape: re.Match[str]) -> str:
    """Return what an escape stands for. A backslash alone stands for nothing: what it is before counts."""
    code = escape[1] or escape[2]
    if code is not None:
        return chr(int(code, 16))
    if escape[3] is None:
        return ""
    from html import unescape

    return unescape(f"&{escape[3]}")


__all__ = ["HIDDEN", "SHORTEST", "hidden"]
