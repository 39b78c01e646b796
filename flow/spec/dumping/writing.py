"""Writes plain data as YAML, in the style of workflow files: short mappings and lists in one line, the rest in blocks.

What is written is read back as it was meant, by YAML 1.2 and by the readers of YAML 1.1 as well: a text that either of
them would take for something else is in quotes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from flow.errors import UsageError, shown

WIDTH: Final = 120

Path = tuple[str | int, ...]

_PLAIN: Final = re.compile(r"[A-Za-z_/.][A-Za-z0-9_./+@$%^()=<>' -]*(?::[A-Za-z0-9_./*-]+)?")
_NUMBER: Final = re.compile(r"[-+.]?[0-9][0-9_.,:eExXoOa-fA-F+-]*|[-+]?\.(inf|nan)", re.IGNORECASE)
_WORDS: Final = frozenset(("", "~", "null", "true", "false", "yes", "no", "on", "off"))
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}")
_OPEN_KEYS: Final = frozenset(("nodes", "inputs", "vars", "outputs"))


def write(value: Mapping[str, Any], *, comments: Mapping[Path, str] | None = None, width: int = WIDTH) -> str:
    """Return a mapping as YAML. O(size).

    :param value: None, bools, numbers, texts, and lists and mappings (keys are texts) of these.
    :param comments: what to say above a key or an item, by its path: ``("nodes", "build")``.
    :param width: how long a line that holds a mapping or a list may be, in characters.
    :raises UsageError: if it holds anything else, or itself.
    """
    return _Writer(comments or {}, width).write(value)


class _Writer:
    def __init__(self, comments: Mapping[Path, str], width: int) -> None:
        self.comments = comments
        self.width = width
        self.commented = {path[:size] for path in comments for size in range(len(path) + 1)}
        self.lines: list[str] = []

    def write(self, value: Mapping[str, Any]) -> str:
        if not isinstance(value, Mapping):
            raise UsageError(f"a file is a mapping, not {shown(value)}")
        self._check(value)
        if not value:
            return "{}\n"
        self._mapping(value, "", ())
        return "\n".join(self.lines) + "\n"

    def _check(self, value: Any) -> None:
        """Refuse what cannot be written, before anything is."""
        todo: list[tuple[Any, tuple[int, ...]]] = [(value, ())]
        while todo:
            one, above = todo.pop()
            if one is None or isinstance(one, (bool, int, float, str)):
                continue
            if id(one) in above:
                raise UsageError("a list or a mapping that holds itself has no end: it cannot be written")
            inner: Sequence[Any]
            if isinstance(one, Mapping):
                odd = [key for key in one if not isinstance(key, str)]
                if odd:
                    raise UsageError(f"keys are texts, not {shown(odd[0])}")
                inner = list(one.values())
            elif isinstance(one, (list, tuple)):
                inner = one
            else:
                raise UsageError(
                    f"{shown(one)} cannot be written: a file holds texts, numbers, bools, lists and mappings"
                )
            todo += [(each, (*above, id(one))) for each in inner]

    def _comment(self, path: Path, indent: str) -> None:
        for line in self.comments.get(path, "").splitlines():
            self.lines.append(f"{indent}# {line}".rstrip())

    def _mapping(self, value: Mapping[str, Any], indent: str, path: Path) -> None:
        for key, one in value.items():
            self._comment((*path, key), indent)
            self._value(f"{indent}{scalar(key, key=True)}:", one, indent, (*path, key))

    def _value(self, head: str, value: Any, indent: str, path: Path) -> None:
        """Write a value behind ``head``, a key or a dash."""
        if isinstance(value, str) and "\n" in value and _is_block(value):
            self._block(head, value, indent)
            return
        if isinstance(value, str) and len(head) + len(value) > self.width and _is_folded(value):
            self._folded(head, value, indent)
            return
        is_list = isinstance(value, (list, tuple))
        if not value or not (is_list or isinstance(value, Mapping)):
            self.lines.append(f"{head} {inline(value)}")
            return
        if not (len(path) == 1 and path[0] in _OPEN_KEYS) and path not in self.commented and not _has_lines(value):
            text = inline(value)
            if len(head) + 1 + len(text) <= self.width and (len(path) > 1 or len(text) < self.width):
                self.lines.append(f"{head} {text}")
                return
        self.lines.append(head)
        if is_list:
            for index, one in enumerate(value):
                self._comment((*path, index), indent + "  ")
                self._value(f"{indent}  -", one, indent + "    ", (*path, index))
        else:
            self._mapping(value, indent + "  ", path)

    def _block(self, head: str, text: str, indent: str) -> None:
        keep = "" if text.endswith("\n") and not text.endswith("\n\n") else "-" if not text.endswith("\n") else "+"
        self.lines.append(f"{head} |{keep}")
        lines = text.split("\n")
        if text.endswith("\n"):
            lines.pop()
        self.lines += [f"{indent}  {line}" if line else "" for line in lines]

    def _folded(self, head: str, text: str, indent: str) -> None:
        """Write a long text in several lines, which are read as one."""
        self.lines.append(f"{head} >-")
        line = ""
        for word in text.split(" "):
            if line and len(indent) + 3 + len(line) + len(word) > self.width:
                self.lines.append(f"{indent}  {line}")
                line = ""
            line = f"{line} {word}" if line else word
        self.lines.append(f"{indent}  {line}")


def _is_folded(text: str) -> bool:
    """Tell whether a text is words with one blank between them."""
    return text.isprintable() and all(text.split(" ")) and "{{" not in text


def _is_block(text: str) -> bool:
    """Tell whether a text may stand as lines of its own."""
    lines = text.split("\n")
    return bool(lines[0].strip()) and not lines[0].startswith(" ") and text.strip("\n") != "" and all(
        line.isprintable() and line == line.rstrip() for line in lines
    )  # fmt: skip


def _has_lines(value: Any) -> bool:
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, str) and "\n" in one and _is_block(one):
            return True
        todo += list(one.values()) if isinstance(one, Mapping) else one if isinstance(one, (list, tuple)) else ()
    return False


def inline(value: Any) -> str:
    """Return a value in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key, key=True)}: {inline(one)}" for key, one in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(inline, value))}]"
    return scalar(value)


def scalar(value: Any, *, key: bool = False) -> str:
    """Return a value that is no list and no mapping. :param key: it is a key."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, float):
        return _float(value)
    if not isinstance(value, str):
        return str(int(value))
    if _is_plain(value, key):
        return value
    if value.isprintable() and ('"' in value or "\\" in value) and "'" not in value:
        return f"'{value}'"
    return _double(value)


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(float(value))
    return text if "e" not in text or "." in text else text.replace("e", ".0e")


def _is_plain(text: str, key: bool) -> bool:
    if text.lower() in _WORDS or text != text.strip() or _NUMBER.fullmatch(text) or _DATE.match(text):
        return False
    if key and ("'" in text or ":" in text or " " in text):
        return False
    return (
        _PLAIN.fullmatch(text) is not None
        and ": " not in text
        and " #" not in text
        and not text.endswith(":")
        and text[0] not in "%@'=<>"
    )


def _double(text: str) -> str:
    """Return text in double quotes."""
    made = json.dumps(text, ensure_ascii=False)
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in made)


def _escaped(letter: str) -> str:
    code = ord(letter)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


__all__ = ["inline", "scalar", "write"]
