"""Docstrings, as models are told of them: :func:`documented`. Those of Google, NumPy and Sphinx."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from inspect import cleandoc
from typing import Final

MAX_DOC: Final = 20_000
"""Characters of a docstring that are read."""

_FIELD: Final = re.compile(
    r":(?:param|parameter|arg|argument|ivar|var|attribute|key|keyword)\s+(?P<names>[^:]+):\s*(?P<text>.*)"
)
_OTHER_FIELD: Final = re.compile(r":[a-z]+(?:\s[^:]+)?:(?:\s|$)")
_GOOGLE: Final = re.compile(r"(?P<name>[A-Z][A-Za-z ]+):")
_ENTRY: Final = re.compile(r"\*{0,2}(?P<names>\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)")
_NUMPY_ENTRY: Final = re.compile(r"\*{0,2}(?P<names>\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?")

_OF_PARAMETERS: Final = frozenset({
    "args", "arguments", "parameters", "params", "other parameters", "keyword args", "keyword arguments", "attributes",
})  # fmt: skip
_SECTIONS: Final = _OF_PARAMETERS | {
    "returns",
    "return",
    "yields",
    "yield",
    "receives",
    "raises",
    "raise",
    "warns",
    "warnings",
    "warning",
    "example",
    "examples",
    "note",
    "notes",
    "see also",
    "references",
    "todo",
}


def documented(doc: str) -> tuple[str, dict[str, str]]:
    """Return what a docstring says of the whole, and what it says of each parameter (or field). O(length).

    Of the rest (what is returned and raised, examples, notes) a model learns nothing that it needs.
    """
    lines = cleandoc(doc[:MAX_DOC]).splitlines()
    said: list[str] = []
    found: dict[str, str] = {}
    at = 0
    while at < len(lines):
        section, begin = _section(lines, at)
        if section:
            end = _end(lines, begin, numpy=begin == at + 2)
            if section in _OF_PARAMETERS:
                found |= _entries(lines[begin:end], numpy=begin == at + 2)
            at = end
        elif lines[at].startswith(":") and (field := _FIELD.match(lines[at])):
            text, at = _joined(lines, at, field["text"])
            found |= _inline(field["names"], text)
        elif lines[at].startswith(":") and _OTHER_FIELD.match(lines[at]):
            _, at = _joined(lines, at, "")
        else:
            said.append(lines[at])
            at += 1
    return "\n".join(said).strip(), found


def _section(lines: Sequence[str], at: int) -> tuple[str, int]:
    """Return the section that begins at a line, and the line of its content; an empty name if none does."""
    line = lines[at]
    if at + 1 < len(lines) and len(rule := lines[at + 1].strip()) > 2 and not rule.strip("-"):
        name = line.strip().lower()
        if name in _SECTIONS:
            return name, at + 2
    found = _GOOGLE.fullmatch(line.rstrip())
    if found is not None and found["name"].lower() in _SECTIONS and (at + 1 == len(lines) or _is_inside(lines[at + 1])):
        return found["name"].lower(), at + 1
    return "", at


def _is_inside(line: str) -> bool:
    return line[:1] in ("", " ", "\t")


def _end(lines: Sequence[str], begin: int, numpy: bool) -> int:
    """Return the line after the last one of a section."""
    for at in range(begin, len(lines)):
        if _section(lines, at)[0] or lines[at].startswith(":"):
            return at
        if not numpy and not _is_inside(lines[at]):
            return at
    return len(lines)


def _joined(lines: Sequence[str], at: int, first: str) -> tuple[str, int]:
    """Return the text of a field with its further lines, which are indented, and the line after it."""
    parts = [first.strip()]
    at += 1
    while at < len(lines) and lines[at][:1] in (" ", "\t"):
        parts.append(lines[at].strip())
        at += 1
    return " ".join(filter(None, parts)), at


def _inline(names: str, text: str) -> dict[str, str]:
    """Return what one field of Sphinx says: of ``int x`` and of ``x, y`` as well."""
    parts = [part.split()[-1].lstrip("*") for part in names.split(",") if part.strip()]
    more = [found.split() for found in re.split(r"\s:(?:param|ivar)\s", text)]
    said = dict.fromkeys(parts, " ".join(more[0]))
    for words in more[1:]:  # several in one line: ":param x: this. :param y: that."
        name, colon, rest = " ".join(words).partition(":")
        if colon:
            said |= dict.fromkeys([one.split()[-1] for one in name.split(",") if one.strip()], rest.strip())
    return said


def _entries(lines: Sequence[str], numpy: bool) -> dict[str, str]:
    """Return what the entries of a section say, by name."""
    found: dict[str, str] = {}
    for names, text in _each(lines, numpy):
        for name in names.split(","):
            found[name.strip().lstrip("*")] = text
    return found


def _each(lines: Sequence[str], numpy: bool) -> Iterator[tuple[str, str]]:
    """Yield the names and the text of each entry. Those of Google are indented, and so are their further lines."""
    content = [line for line in lines if line.strip()]
    if not content:
        return
    margin = 0 if numpy else min(len(line) - len(line.lstrip()) for line in content)
    names, parts = "", list[str]()
    for line in content:
        begins = len(line) - len(line.lstrip()) <= margin
        entry = (_NUMPY_ENTRY if numpy else _ENTRY).fullmatch(line.strip()) if begins else None
        if entry is not None:
            if names:
                yield names, " ".join(parts)
            names = entry["names"]
            parts = [] if numpy else [entry["text"]] * bool(entry["text"])
        else:
            parts.append(line.strip())
    if names:
        yield names, " ".join(parts)


__all__ = ["documented"]
