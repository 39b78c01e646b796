"""The events of a run as they come (server-sent events): :class:`Stream`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from flow.errors import FlowError
from flow.http.answers import ENDED
from flow.http.board import NodeState
from flow.http.live import Live, Piece
from flow.http.replies import SECURITY, Send
from flow.http.texts import NewText
from flow.http.waits import Asked
from flow.logs import log_broken

if TYPE_CHECKING:
    from flow.http.stored import Seen

INTERVAL: Final = 0.1
"""Seconds between two looks at a run; what changes in between is told as one change."""

STORED_INTERVAL: Final = 1.0
"""Seconds between two looks at a run that another process drives."""

SILENCE: Final = 15.0
"""Seconds after which a comment shows that the connection lives."""

STALLED: Final = 30.0
"""Seconds that a reader may let a piece lie before its stream ends."""

_HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no"), *SECURITY,
]  # fmt: skip
_encode: Final = msgspec.json.encode

Look: TypeAlias = Callable[[int, bytes], Awaitable[tuple[int, bytes, str, bytes]]]
"""What has changed in a run since a number, for readers of this mark: the number of the last change, the events of the
nodes as they are sent, the status of the run, and its answer if it has ended."""


def _event(kind: bytes, mark: bytes, number: int, data: Any) -> bytes:
    return b"event: %s\nid: %s.%d\ndata: %s\n\n" % (kind, mark, number, _encode(data))


_KINDS: Final[dict[type, bytes]] = {NodeState: b"node", NewText: b"text", Asked: b"waiting"}
"""By class of a change, the name of its event."""


def _piece(changes: Iterable[tuple[int, NodeState | NewText | Asked]], mark: bytes) -> bytes:
    return b"".join([_event(_KINDS[type(change)], mark, number, change) for number, change in changes])


def look_at(live: Live) -> Look:
    """Return how a run that goes on here is looked at.

    Who looks within :data:`INTERVAL` after another reader is given the same, so that all stay in step: the events are
    encoded once, and lie in memory once, however many readers there are and however slowly they read.
    """

    async def look(seq: int, mark: bytes) -> tuple[int, bytes, str, bytes]:
        ended, board, now = live.has_ended, live.board, time.monotonic()  # the end before the changes: none comes after
        piece = live.piece
        if piece is None or piece.since != seq or (piece.to != board.seq and (ended or now - piece.at >= INTERVAL)):
            changes = board.news(seq)
            piece = Piece(seq, changes[-1][0] if changes else seq, _piece(changes, mark), now)
            if changes:
                live.piece = piece
        return piece.to, piece.events, live.state, live.answer if ended else b""

    return look


def look_at_ended(nodes: Sequence[NodeState], status: str, answer: bytes) -> Look:
    """Return how a run is looked at that has ended. (When its nodes have changed is no longer known.)"""

    async def look(seq: int, mark: bytes) -> tuple[int, bytes, str, bytes]:
        return seq, _piece(((seq, node) for node in nodes), mark), status, answer

    return look


def look_at_stored(seen: Callable[[], Awaitable[Seen | None]], encode: Callable[[Seen], bytes]) -> Look:
    """Return how a run is looked at that another process drives."""
    told: dict[str, NodeState] = {}
    asked = Asked(())

    async def look(seq: int, mark: bytes) -> tuple[int, bytes, str, bytes]:
        nonlocal asked
        now = await seen()
        if now is None:  # it has been deleted
            return seq, b"", "", b"{}"
        nodes = [node for node in now.nodes if told.get(node.node) != node]
        told.update({node.node: node for node in nodes})
        changes: list[NodeState | Asked] = [*nodes]
        asks = Asked(now.answer.waiting, now.questions())
        if asks != asked:
            asked = asks
            changes.append(asks)
        status = now.answer.status
        events = _piece(enumerate(changes, seq + 1), mark)
        return seq + len(changes), events, status, encode(now) if status in ENDED else b""

    return look


class Stream:
    """One reader of one run.

    :param mark: names the numbers: those of another process, or of another run of this id, mean nothing here.
    :param last: the ``Last-Event-ID`` of a reader that comes again. :param closing: is done once all streams must end.
    """

    __slots__ = ("_closing", "_interval", "_look", "_mark", "_seq")

    def __init__(self, look: Look, mark: str, last: str, closing: asyncio.Future[None], interval: float) -> None:
        self._look = look
        self._mark = mark
        self._closing = closing
        self._interval = interval
        before, _, seq = last.rpartition(".")
        self._seq = int(seq) if before == mark and seq.isascii() and seq.isdigit() and len(seq) < 16 else 0

    async def _begin(self, send: Send, request_id: bytes) -> None:
        headers = [*_HEADERS, (b"x-request-id", request_id)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send_head(self, send: Send, request_id: bytes) -> None:
        """Send what a stream begins with, and nothing of it: a HEAD was asked for."""
        await self._begin(send, request_id)
        await send({"type": "http.response.body", "body": b""})

    async def send(self, receive: Callable[[], Awaitable[Any]], send: Send, request_id: bytes, wake: Any) -> None:
        """Send what changes until the run ends, the reader goes, or the service closes.

        :param wake: a future that is done when the run ends; None if nobody can tell.
        """
        await self._begin(send, request_id)
        gone, news = asyncio.ensure_future(_gone(receive)), asyncio.Event()
        ends = [future for future in (gone, self._closing, wake) if future is not None]

        def rouse(_: object) -> None:
            news.set()

        for future in ends:
            future.add_done_callback(rouse)
        try:
            await self._tell(send, gone, wake, news)
        except TimeoutError:  # it does not read
            return
        except FlowError as error:  # of the store; who comes again is told
            log_broken("a stream of events cannot go on", error=error)
        finally:
            for future in ends:
                future.remove_done_callback(rouse)
            gone.cancel()
        if not gone.done():
            await send({"type": "http.response.body", "body": b""})

    async def _tell(self, send: Send, gone: asyncio.Future[None], wake: Any, news: asyncio.Event) -> None:
        """Send until the end. :param news: is set once something has ended: the run, the reader, the service."""
        status, silent, mark = "", time.monotonic(), self._mark.encode()
        while not gone.done() and not self._closing.done():
            began, over = time.perf_counter(), wake is not None and wake.done()
            self._seq, events, now, answer = await self._look(self._seq, mark)
            parts = [events] if events else []
            if now != status and now:
                parts.append(_event(b"run", mark, self._seq, {"status": now}))
                status = now
            if answer:
                parts.append(b"event: end\nid: %s.end\ndata: %s\n\n" % (mark, answer))
            if not parts and time.monotonic() - silent > SILENCE:
                parts.append(b": here\n\n")
            for part in parts:
                async with asyncio.timeout(STALLED):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                silent = time.monotonic()
            if answer or over:  # (without an answer, another process goes on with it)
                return
            took = time.perf_counter() - began
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(self._interval, 20 * took)):
                    await news.wait()


async def _gone(receive: Callable[[], Awaitable[Any]]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


__all__ = ["INTERVAL", "STORED_INTERVAL", "Look", "Stream", "look_at", "look_at_ended", "look_at_stored"]
