"""An answer to a request: :class:`Reply`, its headers, and how it is sent."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, Final, TypeAlias
from urllib.parse import quote

import msgspec

from flow.http.problems import MEDIA, Problem

Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header: TypeAlias = tuple[bytes, bytes]

JSON: Final = b"application/json"
HTML: Final = b"text/html; charset=utf-8"
SVG: Final = b"image/svg+xml"
TEXT: Final = b"text/plain; charset=utf-8"

SECURITY: Final[list[Header]] = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
]
"""Headers of all answers."""

PAGE: Final[list[Header]] = [
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; form-action 'none'; "
        b"base-uri 'none'; frame-ancestors 'none'",
    ),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
"""Headers that the answers for browsers have besides: no script runs there, whatever names and errors say."""

LEAST_ZIPPED: Final = 1_024
"""Bytes of the smallest answer that is compressed: a smaller one fits a packet anyway."""

MOST_AT_ONCE: Final = 64 * 1_024
"""Bytes of the largest answer that is compressed on the event loop (about 1 ms); larger ones are in a thread."""

_NO_GZIP: Final = re.compile(rb"gzip *; *q *= *0(?:\.0*)? *(?:,|$)")

_TYPED: Final = {media: (b"content-type", media) for media in (JSON, MEDIA, HTML, SVG, TEXT)}


class Reply(msgspec.Struct):
    """An answer. ``headers`` are those besides the media type, the length and :data:`SECURITY`."""

    status: int
    body: bytes
    media: bytes = JSON
    headers: list[Header] = []


def of_problem(problem: Problem, request_id: str) -> Reply:
    """Return a problem as it is answered."""
    return Reply(problem.status, problem.body(request_id), MEDIA, list(problem.headers))


def location_of(root: str, run_id: str) -> Header:
    """Return the header that says where a run is. Names of runs may hold letters of any script, and ``#``."""
    return b"location", quote(f"{root}/api/v1/runs/{run_id}", safe="/:@+").encode()


async def send_reply(send: Send, reply: Reply, request_id: bytes, asked: Mapping[bytes, bytes], bare: bool) -> None:
    """Send an answer. :param asked: the headers of the request. :param bare: without its body: a HEAD was asked for."""
    body = reply.body
    headers = [_TYPED.get(reply.media) or (b"content-type", reply.media)]
    if len(body) >= LEAST_ZIPPED:
        headers.append((b"vary", b"accept-encoding"))
        if takes_gzip(asked.get(b"accept-encoding", b"")):
            body = await zipped(body)
            headers.append((b"content-encoding", b"gzip"))
    if reply.status == 204:  # it has no body, so it must not say how long that is (RFC 9110, 8.6)
        headers = []
    else:
        headers.append((b"content-length", b"%d" % len(body)))
    headers += [(b"x-request-id", request_id), *SECURITY, *reply.headers]
    if reply.media is HTML or reply.media is SVG:
        headers += PAGE
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if bare else body})


def takes_gzip(accepted: bytes) -> bool:
    """Tell whether ``Accept-Encoding`` allows gzip."""
    return b"gzip" in accepted and _NO_GZIP.search(accepted) is None


async def zipped(body: bytes) -> bytes:
    """Compress a body (level 1: the loop has other work), a large one in a thread."""
    if len(body) <= MOST_AT_ONCE:
        return gzip.compress(body, 1, mtime=0)
    return await asyncio.to_thread(gzip.compress, body, 1, mtime=0)


__all__ = [
    "HTML", "JSON", "PAGE", "SECURITY", "SVG", "TEXT", "Header", "Reply", "Send", "location_of", "of_problem",
    "send_reply", "takes_gzip",
]  # fmt: skip
