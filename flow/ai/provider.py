"""What answers requests: the protocol :class:`Provider`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol, runtime_checkable

from flow.ai.messages import Delta, Reply, Request


@runtime_checkable
class Provider(Protocol):
    """A service that has models. One object may be used by many calls at once, on asyncio or trio.

    What it raises are :class:`flow.ai.ProviderError` and its subclasses: they say whether another try makes sense.
    """

    @property
    def name(self) -> str:
        """What it is called in usage, metrics and messages: ``openai``. No part of it is secret."""
        ...

    async def complete(self, request: Request) -> Reply:
        """Answer a request. :raises ProviderError: if it does not."""
        ...

    def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answer in pieces; the last one has the whole :class:`Reply`.

        :raises ProviderError: if it does not, also after some pieces.
        """
        ...

    def headroom(self) -> Mapping[str, float]:
        """Return what the last answers said of rates that are left: empty if they said nothing.

        Keys: ``requests``, ``tokens`` (what is left now), ``requests_limit``, ``tokens_limit`` (per minute),
        ``requests_reset``, ``tokens_reset`` (seconds until these are whole again).
        """
        ...


__all__ = ["Provider"]
