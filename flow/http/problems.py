"""Answers that say what is wrong (RFC 9457, ``application/problem+json``), and the texts that may stand in them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from flow.errors import described, printable
from flow.reprs import beginning

MEDIA: Final = b"application/problem+json"
"""The media type of a problem."""

MAX_TEXT: Final = 1_000
"""Characters of an exception's message that an answer repeats."""

POINTERS: Final = ("inputs", "targets", "run_id", "api")
"""First parts of what looks like a file's path in our own messages, and is none: JSON pointers, and paths of URLs."""

_TITLES: Final = {413: "Content Too Large", 422: "Unprocessable Content"}
"""Phrases that differ between versions of Python."""

_PATHS: Final = re.compile(
    r"""
    (?P<url> (?<![A-Za-z0-9+.-]) (?!file:) [A-Za-z][A-Za-z0-9+.-]{0,30}+ :// [^\s/"'<>][^\s"'<>]*+ )
    | (?P<quote>["'`]) (?P<quoted> (?: file: | ~?/ | [A-Za-z]:[\\/] | \\\\ ) [^"'`\n]*+ ) (?P=quote)
    | (?P<file> (?<![A-Za-z0-9+.-]) [A-Za-z][A-Za-z0-9+.-]{0,30}+ ://? /* [^\s"'<>]*+ )
    | (?<![A-Za-z0-9]) (?P<windows> [A-Za-z]:[\\/] (?: [^\\/:\n"'<>|]*+ [\\/]++ )*+ [^\s\\/"'<>|]*+ )
    | (?P<share> \\\\ [^\s\\/"'<>|]++ [\\/]++ [^\s"'<>|]*+ )
    | (?<! [A-Za-z0-9_.~\\/-] ) (?P<posix> (?: ~[\w-]*+ )? (?: /++ [^\s/"'`<>|]++ )++ /*+ )
    """,
    re.VERBOSE,
)
"""What may be a path. Every part is possessive or bounded: the time is linear in the text."""

_SEPARATORS: Final = re.compile(r"[\\/]+")
_TRACEBACK: Final = re.compile(r"Traceback \(most recent call last\):.*", re.DOTALL)
_FRAME: Final = re.compile(r'^ *File "[^"\n]*", line \d+.*\n?', re.MULTILINE)


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request.

    :ivar pointer: where in its body, as a JSON pointer (``/inputs/x``); empty for the whole of it.
    :ivar detail: what is wrong, and what to do.
    """

    pointer: str
    detail: str


class _Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem as it is sent."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[Fault] | msgspec.UnsetType = msgspec.UNSET


class Problem(Exception):
    """An answer other than success. Who handles the request catches it and sends :meth:`body`.

    :param status: of HTTP.
    :param title: None is the phrase of the status.
    :param detail: what is wrong, and what to do.
    :param faults: all that is wrong with the request, at once.
    :param headers: that the answer has besides, as ASGI takes them.
    """

    def __init__(
        self,
        status: int,
        title: str | None = None,
        detail: str = "",
        faults: Sequence[Fault] = (),
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(status, title, detail)
        self.status = status
        self.title = title or _TITLES.get(status) or HTTPStatus(status).phrase
        self.detail = detail
        self.faults = tuple(faults)
        self.headers = tuple(headers)

    def body(self, request_id: str) -> bytes:
        """Return the body of the answer: JSON of :data:`MEDIA`. O(faults)."""
        errors = [Fault(printable(f.pointer, "\n\t"), printable(f.detail, "\n\t")) for f in self.faults]
        said = printable(self.detail, "\n\t")  # also: a lone surrogate has no UTF-8
        return msgspec.json.encode(
            _Body("about:blank", self.title, self.status, said, printable(request_id), errors or msgspec.UNSET)
        )


def without_paths(text: str, pointers: Collection[str] = POINTERS) -> str:
    """Return ``text`` with each absolute path of a file cut to its last part: where files lie is nobody's business.

    That goes for POSIX paths of two parts and more, ``~/...``, Windows paths, shares, and ``file:`` URLs. URLs with a
    host, relative paths, fractions and dates stay. A space ends a path unless it stands in quotes. O(text).

    :param pointers: first parts of what stays: ``/inputs/x`` is a JSON pointer.
    """

    def shortened(found: re.Match[str]) -> str:
        whole = found[0]
        if found["url"]:
            return whole
        path = found["quoted"] or whole
        parts = [part for part in _SEPARATORS.split(path) if part]
        if (found["posix"] or path.startswith("/")) and (len(parts) < 2 or parts[0] in pointers):
            return whole
        last = parts[-1] if parts else ""
        quote = found["quote"] or ""
        return f"{quote}{last}{quote}"

    return _PATHS.sub(shortened, text)


def message_of(error: BaseException) -> str:
    """Return the text of an exception for an answer: without paths, without a traceback, and never empty.

    An :class:`OSError` is told by its cause and the last part of its file's name. O(:data:`MAX_TEXT`), as far as the
    exception's own ``__str__`` allows.
    """
    try:
        text = _text_of(error)[: 4 * MAX_TEXT]
    except Exception:  # a user's __str__ may raise
        text = f"{type(error).__name__} (its message cannot be shown)"
    if "Traceback (most recent" in text:
        text = _TRACEBACK.sub("", text) or _last_line(text)
    text = printable(without_paths(_FRAME.sub("", text), ()), "\n\t").strip()
    if len(text) > MAX_TEXT:
        text = text[: MAX_TEXT - 3] + "..."
    return text or type(error).__name__


def _text_of(error: BaseException) -> str:
    if isinstance(error, OSError) and isinstance(error.strerror, str):
        names = [_base(name) for name in (error.filename, error.filename2) if isinstance(name, (str, bytes))]
        return ": ".join([error.strerror, " -> ".join(names)] if names else [error.strerror])
    if isinstance(error, BaseExceptionGroup):
        return described(error)
    if type(error).__str__ in (BaseException.__str__, KeyError.__str__):
        what: Any = error.args[0] if len(error.args) == 1 else error.args
        if not error.args:
            return ""
        return what[: 4 * MAX_TEXT] if type(what) is str else beginning(what, 4 * MAX_TEXT)
    return str(error)


def _base(name: str | bytes) -> str:
    parts = [part for part in _SEPARATORS.split(os.fsdecode(name)) if part]
    return parts[-1] if parts else os.fsdecode(name)


def _last_line(text: str) -> str:
    """What a traceback says at its end: the exception."""
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines and not lines[-1].startswith((" ", "Traceback")) else ""


__all__ = ["MAX_TEXT", "MEDIA", "POINTERS", "Fault", "Problem", "message_of", "without_paths"]
