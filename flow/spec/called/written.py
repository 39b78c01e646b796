"""How workflow files write what they call: ``module:function``, or the name of an action. Nothing is imported here."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from flow.errors import nearest, shown
from flow.spec.actions import SHIPPED

MAX_WRITTEN: Final = 255
"""Longest name of a function, its module included, in characters."""

_PART: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_USUAL: Final = re.compile(r"(?!flow\b)(?P<module>[A-Za-z]\w*(?:\.[A-Za-z]\w*)*):(?P<name>[A-Za-z]\w*)", re.ASCII)
_EXAMPLE: Final = "as in deploy.steps:ship"


class Written(NamedTuple):
    """A name as a file has it, taken apart.

    :ivar module: empty for an action. :ivar name: of the function, or of the action.
    :ivar fault: what is wrong with it, and what to write; else empty.
    """

    module: str
    name: str
    fault: str = ""


def part_fault(part: object) -> str:
    """Say why ``part`` is no public name of one part; nothing if it is."""
    if not isinstance(part, str):
        return f"must be text, not {shown(part)}"
    if _PART.fullmatch(part) and len(part) <= MAX_WRITTEN:
        return ""
    if not part:
        return "is empty"
    if foreign := _foreign(part):
        return f"{shown(part)} {foreign}"
    if part.startswith("_"):
        return f"{shown(part)} is private: it begins with an underscore"
    if len(part) > MAX_WRITTEN:
        return f"{shown(part)} is longer than {MAX_WRITTEN} characters"
    return f"{shown(part)} is no name: a letter first, then letters, digits and underscores"


def taken_apart(written: object) -> Written:
    """Take a name apart. O(characters), of which there may be :data:`MAX_WRITTEN`."""
    if not isinstance(written, str):
        return Written("", "", f"it must be text, {_EXAMPLE}, not {shown(written)}")
    usual = _USUAL.fullmatch(written) if len(written) <= MAX_WRITTEN else None
    if usual is not None and not usual["module"].endswith(".py"):
        return Written(usual["module"], usual["name"])
    if fault := _spelling_fault(written):
        return Written("", "", fault)
    if ":" not in written:
        return Written("", written) if written in SHIPPED else Written("", "", _no_action(written))
    module, _, name = written.partition(":")
    fault = _module_fault(written, module) or _name_fault(written, module, name)
    return Written("", "", fault) if fault else Written(module, name)


def _spelling_fault(written: str) -> str:
    if not written:
        return f"it is empty: write module:function, {_EXAMPLE}, or the name of an action"
    if len(written) > MAX_WRITTEN:
        return f"{shown(written)} is longer than {MAX_WRITTEN} characters"
    if foreign := _foreign(written):
        return f"{shown(written)} {foreign}"
    if "/" in written or "\\" in written or written.endswith(".py") or ".py:" in written:
        return f"{shown(written)} names a file: write the module and the function, {_EXAMPLE}{_of_path(written)}"
    return ""


def _foreign(text: str) -> str:
    """Say which character is none of ASCII's visible ones. Look-alikes of letters would name another module."""
    for at, character in enumerate(text, 1):
        if not "!" <= character <= "~":
            code = f"U+{ord(character):04X}"
            which = f"{character!r} ({code})" if character.isprintable() and character.strip() else code
            return f"has {which} at character {at}: only ASCII letters, digits, '_', '.' and one ':' are in such a name"
    return ""


def _of_path(written: str) -> str:
    """What may be meant by a path."""
    file, _, name = written.replace("\\", "/").partition(":")
    parts = file.removesuffix(".py").removeprefix("./").split("/")
    if name and all(_PART.fullmatch(part) for part in [*parts, name]):
        return f" (did you mean {'.'.join(parts)}:{name}?)"
    return ""


def _no_action(written: str) -> str:
    close = nearest(written, list(SHIPPED))
    module, _, name = written.rpartition(".")
    if not close and module and not part_fault(name) and not _module_fault(written, module):
        close = f" (did you mean {module}:{name}?)"
    return f"there is no action {shown(written)}{close}; a function of yours is written module:function, {_EXAMPLE}"


def _module_fault(written: str, module: str) -> str:
    if module.startswith("."):
        return f"{shown(written)} is relative: write the whole name of the module, {_EXAMPLE}"
    if not module:
        return f"{shown(written)} names no module before the colon: write module:function, {_EXAMPLE}"
    if module == "flow" or module.startswith("flow."):
        return f"{shown(written)} is flow's own: its actions are called by their names, {', '.join(SHIPPED)}"
    return _parts_fault(written, module)


def _parts_fault(written: str, module: str) -> str:
    for part in module.split("."):
        if not part:
            return f"{shown(written)} has an empty part between dots: write module:function, {_EXAMPLE}"
        if fault := part_fault(part):
            return f"in {shown(written)}, {fault}"
    return ""


def _name_fault(written: str, module: str, name: str) -> str:
    if not name:
        return f"{shown(written)} names no function after the colon: write module:function, {_EXAMPLE}"
    if ":" in name:
        return f"{shown(written)} has several colons: write module:function, {_EXAMPLE}"
    if "." in name:
        return (
            f"{shown(written)} goes into {shown(name.partition('.')[0])}: what a module has itself is called, no "
            f"method or attribute: write a function for it in module {shown(module)}"
        )
    fault = part_fault(name)
    return f"in {shown(written)}, {fault}" if fault else ""


__all__ = ["MAX_WRITTEN", "Written", "part_fault", "taken_apart"]
