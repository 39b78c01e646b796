"""Server-sent events from bytes as they come: :class:`EventParser`. It does no I/O.

The format is that of the HTML standard, section 9.2.6: lines end with LF, CR or CRLF; a blank line ends an event; one
that the stream does not end is no event; one without data is none either. ``id`` and ``retry`` are for clients that
connect again, which a request to a model cannot do: both are skipped.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_EVENT: Final = 8 * 2**20
"""Most bytes of one event's lines, unless said otherwise."""

_BOM: Final = b"\xef\xbb\xbf"
_LF: Final = 10
_CR: Final = 13


class Event(NamedTuple):
    """One event. ``data``: its bytes, which may be no UTF-8; several lines are joined by LF.

    ``name`` is empty where the stream gives none.
    """

    name: str
    data: bytes


class EventTooLarge(ValueError):
    """The lines of one event are longer than the most that is taken."""


class EventParser:
    """Makes events of chunks that may begin and end anywhere.

    :param most: bytes of one event's lines, comments included; beyond that :meth:`feed` raises.
    """

    __slots__ = ("_after_cr", "_begun", "_data", "_most", "_name", "_parts", "_size")

    def __init__(self, most: int = MAX_EVENT) -> None:
        self._most = most
        self._parts: list[bytes] = []  # of a line whose end has not come
        self._data: list[bytes] = []
        self._name = ""
        self._size = 0  # of the event so far
        self._after_cr = False  # a LF that comes next ends no line
        self._begun = False  # the first line has come

    def feed(self, chunk: bytes) -> list[Event]:
        """Return the events that ``chunk`` completes. O(len(chunk)), however many chunks a line takes.

        :raises EventTooLarge: for an event that is too long. No more can be fed then.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == _LF:
                chunk = chunk[1:]
        if not chunk:
            return []
        last = chunk[-1]
        self._after_cr = last == _CR
        lines = chunk.splitlines()  # of bytes: at LF, CR and CRLF alone
        rest = b"" if last in (_LF, _CR) else lines.pop()
        found: list[Event] = []
        if lines and self._parts:
            lines[0] = b"".join((*self._parts, lines[0]))
            self._size -= sum(map(len, self._parts))
            self._parts.clear()
        for line in lines:
            self._take(line, found)
        if rest:
            self._parts.append(rest)
            self._grow(len(rest))
        return found

    def _grow(self, size: int) -> None:
        self._size += size
        if self._size > self._most:
            raise EventTooLarge(f"an event is longer than {self._most:,} bytes")

    def _take(self, line: bytes, found: list[Event]) -> None:
        if not self._begun:
            self._begun = True
            line = line.removeprefix(_BOM)
        if not line:
            if self._data:
                found.append(Event(self._name, b"\n".join(self._data)))
                self._data = []
            self._name = ""
            self._size = 0
            return
        self._grow(len(line))
        field, _, value = line.partition(b":")
        if field == b"data":
            self._data.append(value.removeprefix(b" "))
        elif field == b"event":
            self._name = value.removeprefix(b" ").decode("utf-8", "replace")


__all__ = ["MAX_EVENT", "Event", "EventParser", "EventTooLarge"]
