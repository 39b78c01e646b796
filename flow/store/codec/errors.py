"""Exceptions as plain data, and back as :class:`flow.errors.StoredError`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from flow.errors import MAX_NOTES, MapError, RunError, StoredError

MAX_TEXT: Final = 65_536
"""Characters of an exception's message that are kept."""

MAX_TRACEBACK: Final = 16_384
"""Characters of a traceback that are kept: its beginning and, more of it, its end."""

MAX_NOTE: Final = 4_096
"""Characters of one note."""

MAX_NESTED: Final = 20
"""Groups within groups. What is deeper is kept as the text of the group that it is in."""

_GROUP: Final[Any] = BaseExceptionGroup.__dict__
_MESSAGE: Final = _GROUP["message"].__get__  # of the base: a class may have attributes of its own that raise
_MEMBERS: Final = _GROUP["exceptions"].__get__
_TRACEBACK: Final[Any] = BaseException.__dict__["__traceback__"].__get__

_CUT: Final = "\n... (cut) ...\n"


class Written(msgspec.Struct, array_like=True):
    """An exception as it is stored.

    :ivar parts: the exceptions of a group; None of all others.
    :ivar indices: of a MapError. :ivar nodes: of a RunError, of which ``timed_out`` tells as well.
    """

    type: str
    text: str
    traceback: str = ""
    notes: list[str] = []
    parts: list[Written] | None = None
    indices: list[int] = []
    nodes: list[str] = []
    timed_out: bool = False


def written(error: BaseException, depth: int = 0) -> Written:
    """Return ``error`` as plain data. Never raises, whatever the exception's own methods do. O(its text)."""
    kind = type(error)
    notes = _notes_of(error)
    if kind is StoredError:
        stored: Any = error
        return Written(_text(stored.type), _text(stored.text), _text(stored.traceback), notes)
    made = Written(name_of(kind), _said(error), "" if depth else _traceback_of(error), notes)
    if not issubclass(kind, BaseExceptionGroup) or depth > MAX_NESTED:
        return made
    group: Any = error
    made.text = _text(_MESSAGE(group))
    made.parts = [written(part, depth + 1) for part in _MEMBERS(group)]
    if kind is MapError:
        made.indices = list(group.indices)
    elif kind is RunError:
        made.nodes, made.timed_out = list(group.nodes), group.timed_out
    return made


def read(written: Written) -> Exception:
    """Return what stands for the exception: a StoredError, or a group of these."""
    error: Exception
    if not written.parts:
        error = StoredError(written.type, written.text, written.traceback)
    else:
        parts = [read(part) for part in written.parts]
        if written.type == name_of(MapError):
            error = MapError(written.text, parts, written.indices)
        elif written.type == name_of(RunError):
            error = RunError(written.text, parts, None, written.nodes, written.timed_out)
        else:
            error = ExceptionGroup(written.text, parts)
            if written.type not in ("ExceptionGroup", "BaseExceptionGroup"):
                error.add_note(f"stored as a group; it was of type {written.type}")
    for note in written.notes:
        error.add_note(note)
    return error


def name_of(kind: type) -> str:
    """Return the name of a class, with its module unless that is ``builtins``. Never raises."""
    try:
        module, name = type.__dict__["__module__"].__get__(kind), type.__dict__["__qualname__"].__get__(kind)
    except Exception:  # a class without a module
        module, name = "", "object"
    return str(name) if module in ("builtins", "") or not isinstance(module, str) else f"{module}.{name}"


def _said(error: BaseException) -> str:
    try:
        return _text(str(error))
    except Exception as broken:
        return f"(its message cannot be shown: its __str__ raised {name_of(type(broken))})"


def _text(text: Any) -> str:
    """Return a plain str that can be encoded, and is not too long."""
    if not issubclass(type(text), str):
        return ""
    plain = str.__str__(text)
    if len(plain) > MAX_TEXT:
        plain = plain[:MAX_TEXT] + "..."
    return _encodable(plain)


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


def _traceback_of(error: BaseException) -> str:
    import traceback

    try:
        text = "".join(traceback.format_exception(type(error), error, _TRACEBACK(error)))
    except Exception:  # of a class that raises when it is looked at
        return ""
    if len(text) > MAX_TRACEBACK:
        head = MAX_TRACEBACK // 4
        text = text[:head] + _CUT + text[head + len(_CUT) - MAX_TRACEBACK :]
    return _encodable(text)


def _notes_of(error: BaseException) -> list[str]:
    try:
        notes = getattr(error, "__notes__", None)
        return [_text(note)[:MAX_NOTE] for note in notes[:MAX_NOTES] if isinstance(note, str)] if notes else []
    except Exception:  # an exception whose attributes raise
        return []


__all__ = ["Written", "name_of", "read", "written"]
