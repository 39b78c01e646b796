"""Connections by uvicorn and httptools: heads, trailers and pipelines are bounded, and clients looked at.

llhttp, the parser within httptools, bounds none of these: a head, or the trailer after a body, may grow for ever, and
one read of 256 KB may hold 14,000 requests, for each of which uvicorn makes objects of 2 KB.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from flow.http.server.watched import BODY, BUSY, HEAD, IDLE, REST, Watched, refusal

MAX_HEAD: Final = 32 * 2**10
"""Bytes of a head, or of the trailer of a body, give or take the read in which it ends: 431 beyond."""

MAX_HELD: Final = 2**20
"""Bytes that wait until requests before them are answered; more close the connection."""

PIECE: Final = 4 * 2**10
"""Bytes that are parsed between two checks: as many as hold 227 of the smallest requests."""

MOST_DIRECT: Final = 64
"""Requests of one read that are answered as soon as they are whole, in less than 1 ms each; then others have a turn."""


class Late:
    """Answers that are written together, once all that has come in one turn of the event loop is answered.

    To write wakes a client, which takes the core for a while: one after the other that costs more than to answer.
    """

    __slots__ = ("_connections", "_soon")

    def __init__(self, loop: Any) -> None:
        self._soon = loop.call_soon
        self._connections: list[HttptoolsConnection] = []

    def add(self, connection: HttptoolsConnection) -> None:
        """Let a connection write soon: before any task that is begun from now on goes on."""
        if not self._connections:
            self._soon(self._write)
        self._connections.append(connection)

    def _write(self) -> None:
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.write_answers()


class HttptoolsConnection(Watched, HttpToolsProtocol):
    """A connection to a client.

    :ivar direct: the workflow of the request that is being read, if it may be answered as soon as it is whole
        (:mod:`flow.http.direct`). :ivar headers_read, parts: of that request its headers, and its body so far.
    :ivar answered: the scope of the last request that was answered so.
    :ivar unwritten: answers that are written at the end of this turn of the event loop.
    :ivar direct_left: how many more of this read may be answered so.
    :ivar held: what has come behind requests that wait for others: it is parsed when these are answered.
    :ivar in_chunk: the line before a chunk of the body has come, and nothing after it.
    :ivar counted, count: the headers that are being read, and the bytes of these so far.
    :ivar ahead: what is being answered while requests wait behind it: uvicorn tells only the last one of a lost client.
    """

    in_chunk = False
    direct: Any = None
    headers_read: dict[bytes, bytes]
    parts: list[bytes]
    answered: object = None
    direct_left = MOST_DIRECT
    held = b""
    counted: object = None
    count = 0

    def __init__(self, *values: Any, **options: Any) -> None:
        super().__init__(*values, **options)
        self.ahead: deque[RequestResponseCycle] = deque()
        self.offered: Any = getattr(self.app, "direct", None)
        self.unwritten: list[bytes] = []
        state: Any = self.server_state
        if not hasattr(state, "late"):
            state.late = Late(self.loop)
        self.late: Late = state.late

    def doing(self) -> tuple[str, object]:
        """See :meth:`Watched.doing`."""
        cycle = self.cycle
        if self.direct is not None:
            return BODY, self.scope
        if self.answered is not None and self.answered is self.scope:
            return IDLE, self.scope
        if cycle is None:
            return HEAD, self.transport if self.answered is None else self.scope
        if not cycle.response_complete:
            return BUSY, cycle
        if self.scope is not cycle.scope:  # on_message_begin makes a scope, on_headers_complete a cycle with it
            return HEAD, self.scope
        return (REST if cycle.more_body else IDLE), cycle

    def data_received(self, data: bytes) -> None:
        """Parse what has come."""
        self.direct_left = MOST_DIRECT
        if self.held or self.pipeline:
            self._hold(data)
        elif len(data) <= PIECE:
            self._feed(data)
            cycle = self.cycle
            if cycle is None or cycle.scope is not self.scope or self.in_chunk:
                self._check(len(data))
        else:
            self._parse(memoryview(data))

    def _parse(self, data: memoryview) -> None:
        """Parse piece by piece, until requests wait behind another: one read may hold 14,000."""
        for start in range(0, len(data), PIECE):
            if self.pipeline:
                self._hold(bytes(data[start:]))
                return
            piece = data[start : start + PIECE]
            self._feed(piece)
            self._check(len(piece))
            if self.transport.is_closing():
                return

    def _feed(self, data: Any) -> None:
        parser: Any = self.parser
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay(bytes(data[upgrade.args[0] :]))
        except httptools.HttpParserError:
            self._refuse(400, "this is no valid HTTP request")

    def _stay(self, rest: bytes) -> None:
        """Answer a request that asks for another protocol (``curl --http2``) as one that does not.

        The parser takes no body of such a request: what follows would be read as the next one.

        :param rest: what has come behind its head.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(400, "this is no proxy")
            return
        lines = [b"%s %s HTTP/1.1" % (method, self.url)]
        for name, value in self.headers:
            if name == b"connection":
                asked = [word.strip() for word in value.split(b",")]
                value = b", ".join([word for word in asked if word.lower() in (b"close", b"keep-alive")])
            if name not in (b"upgrade", b"http2-settings") and (value or name != b"connection"):
                lines.append(b"%s: %s" % (name, value))
        self.parser = httptools.HttpRequestParser(self)
        self._feed(b"\r\n".join([*lines, b"", b""]) + rest)

    def _hold(self, data: bytes) -> None:
        """Keep what cannot be parsed yet, and read no more."""
        self.held += data
        self.flow.pause_reading()
        if len(self.held) > MAX_HELD:  # answers that are waited for let reading go on
            self.transport.close()

    def _check(self, size: int) -> None:
        """Refuse a head or a trailer that has become too large."""
        if self.transport.is_closing() or self.direct is not None or self.answered is self.scope:
            return
        cycle = self.cycle
        if cycle is not None and cycle.scope is self.scope and not self.in_chunk:
            return
        if self.counted is not self.headers:
            self.counted, self.count = self.headers, 0
        self.count += size
        if self.count > MAX_HEAD:
            part = "trailer" if self.in_chunk else "head"
            self._refuse(431, f"the {part} of the request is larger than {MAX_HEAD // 2**10} KB")

    def on_headers_complete(self) -> None:
        """Begin to answer a request, or put it behind the one that is being answered."""
        before, parser = self.cycle, self.parser
        if parser.should_upgrade():
            return
        if self.offered is not None and (before is None or before.response_complete) and self._is_direct():
            return
        super().on_headers_complete()
        if before is not None and not before.response_complete:
            while self.ahead and self.ahead[0].response_complete:
                self.ahead.popleft()
            self.ahead.append(before)

    def _is_direct(self) -> bool:
        """Tell whether the request whose head has come may be answered as soon as it is whole."""
        parser: Any = self.parser
        if parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return False
        if self.pipeline or self.flow.write_paused or self.root_path or not self.direct_left:
            return False
        headers = dict(self.headers)
        self.direct = self.offered.workflow(self.url, headers)
        if self.direct is None:
            return False
        self.direct_left -= 1
        self.headers_read, self.parts = headers, []
        return True

    def on_message_complete(self) -> None:
        """A request has come whole: answer it, or let the application do so."""
        if self.parser.should_upgrade():
            return
        workflow, self.direct = self.direct, None
        if workflow is None:
            super().on_message_complete()
            return
        body = b"".join(self.parts)
        scope: Any = self.scope
        scope["method"] = "POST"
        sent = self.offered.answer(workflow, scope, self.headers_read, body)
        if sent is None:
            super().on_headers_complete()
            self.on_body(body)
            super().on_message_complete()
            return
        self.answered = self.scope
        self.server_state.total_requests += 1
        parser: Any = self.parser
        lasts = parser.should_keep_alive()
        head = b"".join([b"%s: %s\r\n" % header for header in self.server_state.default_headers])
        end = b"\r\n" if lasts else b"connection: close\r\n\r\n"
        if not self.unwritten:
            self.late.add(self)
        self.unwritten += (sent[0], head, end, sent[1])
        if not lasts:
            self.write_answers()
            self.transport.close()

    def write_answers(self) -> None:
        """Write what has been answered."""
        unwritten, self.unwritten = self.unwritten, []
        if unwritten and not self.transport.is_closing():
            self.transport.write(b"".join(unwritten))

    def shutdown(self) -> None:
        """Close the connection once the request that is being answered is answered."""
        self.write_answers()
        super().shutdown()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body for the application, unless it has answered."""
        self.in_chunk = False
        if self.direct is not None:
            self.parts.append(body)
            return
        cycle = self.cycle
        if cycle.response_complete:
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_chunk_header(self) -> None:
        """Keep headers that follow a chunk, a trailer, away from those of the request."""
        self.in_chunk = True
        self.headers = []

    def on_chunk_complete(self) -> None:
        """The trailer of a body has ended, or a chunk."""
        self.in_chunk = False

    def on_response_complete(self) -> None:
        """Go on to the next request. No timer is set, as uvicorn does: the connection is looked at."""
        if self.pipeline:
            super().on_response_complete()
        else:
            self.server_state.total_requests += 1
            if not self.transport.is_closing():
                self.flow.resume_reading()
        if self.held and not self.pipeline and not self.transport.is_closing():
            held, self.held = self.held, b""
            self.direct_left = MOST_DIRECT
            self._parse(memoryview(held))

    def _refuse(self, status: int, detail: str) -> None:
        """Close the connection, with an answer if no other is being written."""
        self.write_answers()
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(refusal(status, detail, self.server_state.default_headers))
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell all that answer requests of this connection."""
        super().connection_lost(exc)
        for cycle in self.ahead:
            if not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.ahead.clear()
        self.pipeline.clear()
        self.held = b""


__all__ = ["HttptoolsConnection"]
