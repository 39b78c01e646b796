"""The bodies of answers, read as they come and bounded: :class:`Body`, :class:`EventStream`."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

from flow.ai.errors import ProviderError, ReplyInvalid
from flow.ai.providers.failures import Where
from flow.ai.providers.sse import MAX_EVENT, EventParser, EventTooLarge

MAX_ERROR_BYTES: Final = 64 * 2**10
"""Bytes of the body of an error that are read; the rest is left."""

ERROR_SECONDS: Final = 5.0
"""Most seconds that the body of an error is waited for: its status says the most."""

END_SECONDS: Final = 1.0
"""Most seconds that the end of a stream is waited for after its last event."""


Failing: TypeAlias = Callable[[Where, Exception], Exception]
"""Makes the error to raise of one that came from the connection. What is none of a connection it returns as it is."""


class Body:
    """The bytes of an answer as they come, which may be left before their end.

    :param chunks: the bytes. :param close: closes the connection if there is some left.
    """

    __slots__ = ("_chunks", "_close", "_failing", "where")

    def __init__(
        self, where: Where, chunks: AsyncIterator[bytes], close: Callable[[], Awaitable[None]], failing: Failing
    ) -> None:
        self.where = where
        self._chunks: AsyncIterator[bytes] | None = chunks
        self._close: Callable[[], Awaitable[None]] | None = close
        self._failing = failing

    async def next(self) -> bytes | None:
        """Return what comes next; None at the end. :raises ProviderError: if the connection breaks off."""
        if self._chunks is None:
            return None
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            self._chunks = None
            return None
        except Exception as error:
            self._chunks = None
            failed = self._failing(self.where, error)
        except BaseException:
            self._chunks = None
            raise
        raise failed

    async def aclose(self) -> None:
        """Leave the rest, and close the connection if there is some. May be called again."""
        chunks, self._chunks = self._chunks, None
        close, self._close = self._close, None
        try:
            if chunks is not None:
                await abandon(chunks)
        finally:
            if close is not None:
                await close()


class EventStream:
    """The events of an answer. The one who reads closes it, also after its end.

    :param most: bytes of all of it that are taken.
    """

    def __init__(self, body: Body, most: int) -> None:
        self._body = body
        self._parser = EventParser(min(MAX_EVENT, most))
        self._ready: deque[bytes] = deque()
        self._most = self._left = most

    async def next(self) -> bytes | None:
        """Return the data of the next event; None at the end.

        :raises ProviderError: if the connection breaks off, or more comes than is taken.
        """
        while not self._ready:
            chunk = await self._body.next()
            if chunk is None:
                return None
            self._left -= len(chunk)
            if self._left < 0:
                raise too_long(self._body.where, self._most)
            self._take(chunk)
        return self._ready.popleft()

    def _take(self, chunk: bytes) -> None:
        try:
            self._ready.extend(event.data for event in self._parser.feed(chunk))
        except EventTooLarge as error:
            failed = self._body.where.error(ReplyInvalid, f"{error}, which is not taken")
        else:
            return
        raise failed

    async def finish(self) -> None:
        """Read the end, which comes at once after the last event: then the connection can be used again.

        If it does not come, :meth:`aclose` closes the connection. What is wrong now is no fault of the answer.
        """
        from anyio import move_on_after

        with suppress(ProviderError), move_on_after(END_SECONDS):
            while self._left > 0 and (chunk := await self._body.next()) is not None:
                self._left -= len(chunk)

    async def aclose(self) -> None:
        """Close the connection if the answer has not ended. May be called again."""
        await self._body.aclose()


async def abandon(iterator: AsyncIterator[Any]) -> None:
    """End an iteration that is in its middle, whatever is cancelled around it.

    HTTP clients read by generators within each other. A cancellation ends all of them in the order of their nesting;
    closing the outermost would leave the inner ones to the garbage collector.
    """
    from anyio import CancelScope

    with CancelScope(shield=True) as scope:
        scope.cancel()
        async for _ in iterator:
            pass


async def beginning(body: Body) -> bytes:
    """Read the beginning of an error's body. One that breaks off, or does not come, is as good as it is."""
    from anyio import move_on_after

    parts: list[bytes] = []
    left = MAX_ERROR_BYTES
    with suppress(ProviderError), move_on_after(ERROR_SECONDS):
        while left > 0 and (part := await body.next()) is not None:
            parts.append(part)
            left -= len(part)
    return b"".join(parts)[:MAX_ERROR_BYTES]


async def whole(body: Body, most: int) -> bytes:
    """Read all of a body. :raises ProviderError: if it breaks off, or is longer than ``most`` bytes."""
    parts: list[bytes] = []
    left = most
    while (part := await body.next()) is not None:
        parts.append(part)
        left -= len(part)
        if left < 0:
            raise too_long(body.where, most)
    return b"".join(parts)


def too_long(where: Where, most: int) -> ProviderError:
    """Make the error for an answer that is longer than the most bytes that are taken."""
    return where.error(ReplyInvalid, f"the answer is longer than max_bytes={most:,}")


def words_of(error: BaseException) -> str:
    """Return what an exception says: its type if it says nothing."""
    return str(error) or type(error).__name__


__all__ = [
    "MAX_ERROR_BYTES",
    "Body",
    "EventStream",
    "Failing",
    "abandon",
    "beginning",
    "too_long",
    "whole",
    "words_of",
]  # fmt: skip
