"""A provider over HTTP: a protocol and a transport, together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, TypeVar

from flow.ai.errors import ProviderError, ReplyInvalid, RequestRejected
from flow.ai.messages import Delta, Reply, Request
from flow.ai.providers.failures import Where
from flow.ai.providers.transport import Transport
from flow.ai.providers.wire import Assembly, Told, Unreadable, Wire

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

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answer in pieces; the last one has the whole reply.

        Whoever stops before its end closes it (``contextlib.aclosing``), which closes the connection.
        """
        where = self._transport.where(request.model)
        assembly = self._wire.assembly(request)
        events = await self._transport.events(where, body_of(self._wire, where, request, stream=True))
        try:
            while not assembly.ended and (data := await events.next()) is not None:
                delta = added(where, assembly, data)
                if delta is not None:
                    yield delta
            check_complete(where, assembly)
            if assembly.ended:
                await events.finish()
        finally:
            await events.aclose()
        reply = assembly.reply()
        yield Delta(reply=reply, tokens=reply.tokens)

    def headroom(self) -> Mapping[str, float]:
        """Return what the last answers said of rates that are left."""
        return self._transport.headroom()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._transport.place!r}, name={self.name!r})"


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


def added(where: Where, assembly: Assembly, data: Any) -> Delta | None:
    """Add an event to an answer. :raises ProviderError: if it is an error, or none of the protocol's."""
    return _read(where, assembly.add, data)


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


def check_complete(where: Where, assembly: Assembly) -> None:
    """:raises ConnectionFailed: if a streamed answer has ended before the model said why it stopped."""
    if not assembly.complete:
        raise where.broken("the stream ended before the answer did", sent=True)


__all__ = ["HTTPProvider", "added", "answered", "body_of", "check_complete"]
