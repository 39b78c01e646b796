"""All that the commands print. Control characters of others never reach a terminal, and no stream ends a run."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import sys
from typing import Any, Final, TextIO

import click

from flow.errors import printable

LAYOUT: Final = "\n\t"
"""Control characters that stay: they only move on."""

_NOT_ASCII: Final = re.compile(r"[^\n\x20-\x7e]+")


class Styled(str):
    """A line with escapes of ours, printed as it is: what stands in it of others is printable already."""

    __slots__ = ()


class Unwritable(click.ClickException):
    """Standard output takes no more."""

    exit_code = 1


def styled(text: str, **style: Any) -> Styled:
    """Return ``text`` (printable) in a colour, unless the environment has NO_COLOR."""
    return Styled(text if os.environ.get("NO_COLOR") else click.style(text, **style))


def columns(stream: TextIO | None) -> int | None:
    """The width of the terminal that ``stream`` is; None if it is none."""
    try:
        if stream is None or not stream.isatty():
            return None
        return os.get_terminal_size(stream.fileno()).columns or None
    except Exception:  # closed, or replaced by anything, by the user's code
        return None


def say(*lines: str) -> None:
    """Print results, on standard output.

    :raises Unwritable: if they cannot be written. :raises BrokenPipeError: if their reader has gone.
    """
    try:
        _print(sys.stdout, lines)
    except Exception as error:  # a full disk; closed, or replaced by anything, by the user's code
        if _is_unread(error):
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error
        raise unwritable(error) from error


def say_json(document: bytes) -> None:
    """As :func:`say`; where the stream or the terminal cannot take a character, JSON's own escape stands for it."""
    text = document.decode()
    if printable(text, LAYOUT) != text or not _encodable(text, sys.stdout):
        text = _NOT_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], text)
    say(text)


def tell(*lines: str) -> None:
    """Print messages that are no results, on standard error. Messages are lost if standard error is closed."""
    try:
        _print(sys.stderr, lines)
    except Exception:
        _drop(sys.stderr)


def opened_streams() -> None:
    """Put the null device in the place of standard streams that are closed: else the next file gets their number."""
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", errors="replace", closefd=False))  # noqa: SIM115


def ended(code: int) -> int:
    """Return the exit code, once all that was printed is written: Python would fail with a traceback later."""
    try:
        if sys.stdout is not None and not getattr(sys.stdout, "closed", False):
            sys.stdout.flush()
    except Exception as error:
        if _is_unread(error):
            _drop(sys.stdout)
            return code or 1
        tell(f"Error: {unwritable(error).message}")
        return code or 1
    return code


def _print(stream: TextIO | None, lines: tuple[str, ...]) -> None:
    if stream is None or not lines:
        return
    text = "\n".join(line if isinstance(line, Styled) else printable(line, LAYOUT) for line in lines)
    if not _encodable(text, stream):
        encoding = stream.encoding
        text = text.encode(encoding, "backslashreplace").decode(encoding)
    click.echo(text, file=stream)


def _encodable(text: str, stream: TextIO | None) -> bool:
    encoding = getattr(stream, "encoding", None)
    try:
        text.encode(encoding if isinstance(encoding, str) else "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_unread(error: Exception) -> bool:
    """Tell whether the reader of a pipe has gone. Windows has no exception of its own for that."""
    on_windows = sys.platform == "win32" and isinstance(error, OSError) and error.errno == errno.EINVAL
    return on_windows or isinstance(error, BrokenPipeError)


def unwritable(error: Exception) -> Unwritable:
    """Say why standard output takes no more, and let what it holds go."""
    _drop(sys.stdout)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Unwritable(f"standard output cannot be written: {reason}")


def _drop(stream: Any) -> None:
    """Let what ``stream`` still holds go nowhere: as Python ends it would try once more to write it."""
    with contextlib.suppress(Exception):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
        stream.flush()
