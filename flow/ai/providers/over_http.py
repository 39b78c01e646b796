"""A provider over HTTP: a protocol and a transport, together."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

from flow.ai.errors import ProviderError, ReplyInvalid, RequestRejected
from flow.ai.messages import Delta, Reply, Request
from flow.ai.providers.failures import Where
from flow.ai.providers.transport import Transport
from flow.ai.providers.wire import Told, Unreadable, Wire

T = TypeVar("T")


class HTTPProvider:
    """Answers requests over HTTP: the base of the providers that do. (See :class:`flow.ai.Provider`.)"""

    def __init__(self, wire: Wire, transport: Transport) -> None:
        self._wire = wire
        self._transport = transport

    @property
    def name(self) -> str:
        """What it is called in usage, metrics and messages."""
        return self._transport.name

    @property
    def place(self) -> str:
        """Where requests go, without what may be secret."""
        return self._transport.place

    async def complete(self, request: Request) -> Reply:
        """Answer a request. :raises ProviderError: if it does not."""
        where = self._transport.where(request.model)
        data = await self._transport.post(where, body_of(self._wire, where, request, stream=False))
        return answered(where, self._wire, data, request)

    def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answer in pieces (:func:`deltas`)."""
        return deltas(self._wire, request, self._transport.where, self._transport.events)

    def headroom(self) -> Mapping[str, float]:
        """Return what the last answers said of rates that are left."""
        return self._transport.headroom()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transport.place!r}, name={self.name!r})"


class Events(Protocol):
    """The events of a streamed answer, one after the other."""

    async def next(self) -> Any:
        """Return the next event; None at the end. :raises ProviderError: if there is no reading on."""

    async def finish(self) -> None:
        """Read what comes after the last event that matters."""

    async def aclose(self) -> None:
        """Close the connection, unless it can be used again."""


W = TypeVar("W", bound=Where)


async def deltas(
    wire: Wire, request: Request, where_of: Callable[[str], W],
    ask: Callable[[W, dict[str, Any]], Awaitable[Events]],
) -> AsyncGenerator[Delta]:  # fmt: skip
    """Answer a request in pieces; the last one has the whole reply.

    Whoever stops before its end closes it (``contextlib.aclosing``), which closes the connection.

    :param where_of: of a model. :param ask: send a request there.
    :raises ProviderError: if there is no answer, or no whole one.
    """
    where = where_of(request.model)
    assembly = wire.assembly(request)
    events = await ask(where, body_of(wire, where, request, stream=True))
    try:
        while not assembly.ended and (data := await events.next()) is not None:
            delta = _read(where, assembly.add, data)
            if delta is not None:
                yield delta
        if not assembly.complete:
            raise where.broken("the stream ended before the answer did", sent=True)
        if assembly.ended:
            await events.finish()
    finally:
        await events.aclose()
    reply = _read(where, assembly.reply)
    yield Delta(reply=reply, tokens=reply.tokens)


def body_of(wire: Wire, where: Where, request: Request, *, stream: bool) -> dict[str, Any]:
    """Return the body of a request. :raises RequestRejected: if the protocol cannot say it."""
    try:
        return wire.body(request, stream=stream)
    except Unreadable as error:
        failed = where.error(RequestRejected, str(error))
    raise failed


def answered(where: Where, wire: Wire, data: Any, request: Request) -> Reply:
    """Read an answer. :raises ProviderError: if it is an error, or none of the protocol's."""
    return _read(where, wire.reply, data, request)


def _read(where: Where, read: Callable[..., T], *values: Any) -> T:
    """Call what reads something of the protocol; what it finds wrong is raised as an error of this place."""
    try:
        return read(*values)
    except Unreadable as error:
        failed: ProviderError = where.error(ReplyInvalid, str(error))
    except Told as error:
        failed = where.fault(error.args[0])
        failed.begun, failed.tokens = error.begun, error.tokens
    raise failed


__all__ = ["HTTPProvider", "answered", "body_of", "deltas"]
