"""Connections that are looked at once a second, and closed where they have stayed too long in what they do.

uvicorn bounds neither the time in which the head of a request comes, nor that in which an answer is read. Nothing here
is done per request: a look reads what the protocol knows anyway, and a thing that is the same object as at the last
look has been going on since then.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any, Final

import msgspec

from flow.http.limits import Limits

HEAD: Final = "head"
"""The head of a request has not come whole. A connection that has sent nothing yet is in its first head."""

REST: Final = "rest"
"""The answer is written, and the rest of the request's body is still to come."""

BODY: Final = "body"
"""The head has come, and not all of the body; nobody waits for it yet."""

IDLE: Final = "idle"
"""The answer is written; the next request may come."""

BUSY: Final = "busy"
"""A request is being answered: the application has its own limits."""

MOST_LOOKS: Final = 1.0
"""Seconds between two looks, at most."""


class Watched:
    """What a protocol of uvicorn adds, to be looked at."""

    transport: asyncio.Transport
    watched: object = None
    """What the connection did at the last look: the same object for as long as it does the same."""

    since: float = 0.0
    unsent: int = 0

    def connection_made(self, transport: Any) -> None:
        """A client has connected. One too many is not listened to."""
        super().connection_made(transport)  # type: ignore[misc]
        state: Any = self.server_state  # type: ignore[attr-defined]
        limits: Limits | None = getattr(self.app, "limits", None)  # type: ignore[attr-defined]
        if limits is not None and len(state.connections) > limits.connections:
            transport.abort()

    def doing(self) -> tuple[str, object]:
        """Return what the connection does, and an object that stays the same for as long as it does that."""
        raise NotImplementedError

    def look(self, now: float, limits: Limits) -> None:
        """Close the connection if it has stayed too long in what it does. O(1).

        :param now: seconds of a clock that only goes forward.
        """
        transport = self.transport
        unsent = transport.get_write_buffer_size()
        if unsent:  # the client has not read its answer, of which at most 64 KB and one message wait here
            self.watched = None
            if unsent != self.unsent:
                self.unsent, self.since = unsent, now
            elif now - self.since >= limits.body_seconds:
                transport.abort()
            return
        self.unsent = 0
        if transport.is_closing():
            return
        what, watched = self.doing()
        if what is BUSY:
            self.watched = None
        elif watched is not self.watched:
            self.watched, self.since = watched, now
        elif now - self.since >= _seconds(what, limits):
            transport.close()


def _seconds(what: str, limits: Limits) -> float:
    """Return how long a connection may stay in what it does."""
    if what is IDLE:
        return limits.keep_alive
    return limits.body_seconds if what is BODY else limits.head_seconds


def period_of(limits: Limits) -> float:
    """Return the seconds between two looks: a limit is exceeded by at most two of these."""
    return min(MOST_LOOKS, limits.head_seconds / 4, limits.keep_alive / 4, limits.body_seconds / 4)


def refusal(status: int, detail: str, headers: list[tuple[bytes, bytes]]) -> bytes:
    """Return the whole answer to what is no request: problem+json (RFC 9457), after which the connection closes.

    :param headers: those of every answer.
    """
    phrase = HTTPStatus(status).phrase
    body = msgspec.json.encode({"type": "about:blank", "title": phrase, "status": status, "detail": detail})
    fixed: list[tuple[bytes, bytes]] = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    lines = [b"HTTP/1.1 %d %s" % (status, phrase.encode()), *(b"%s: %s" % header for header in [*headers, *fixed])]
    return b"\r\n".join([*lines, b"", body])


__all__ = ["BODY", "BUSY", "HEAD", "IDLE", "REST", "Watched", "period_of", "refusal"]
