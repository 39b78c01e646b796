"""The HTTP client of each event loop: made at its first request, closed when the loop ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from flow.errors import UsageError

if TYPE_CHECKING:
    import ssl

    import httpx2

IDLE: Final = 60.0
"""Seconds that a connection without requests is kept."""

MAX_IDLE: Final = 100
"""Connections that are kept without requests. How many are in use is not limited here: rate limits do that."""

_clients: dict[object, httpx2.AsyncClient] = {}
"""By event loop. All providers share its client: connections are pooled by host, and it holds no key and no cookie."""

_keepers: dict[object, AsyncGenerator[httpx2.AsyncClient, None]] = {}


@cache
def load() -> Any:
    """Import httpx2, at the first request and not before. :raises UsageError: if it is not installed."""
    try:
        import httpx2
    except ImportError:
        raise UsageError("requests to models need httpx2: pip install 'flow-dag[ai]'") from None
    return httpx2


async def client_of_loop() -> httpx2.AsyncClient:
    """Return the client of the running event loop, of asyncio or trio. O(1).

    A loop closes the asynchronous generators that it has begun when it ends (``asyncio.run``, ``trio.run``): one that
    has the client in its hands closes it in time, without anybody having to say so.
    """
    from anyio.lowlevel import current_token

    loop = current_token().native_token
    client = _clients.get(loop)
    if client is None:
        for gone in [known for known in _clients if _is_closed(known)]:  # which has not ended as above
            _forget(gone)
        keeper = _keepers[loop] = _keep(loop)
        client = _clients[loop] = await anext(keeper)
    return client


async def _keep(loop: object) -> AsyncGenerator[httpx2.AsyncClient, None]:
    from http.cookiejar import CookieJar, DefaultCookiePolicy

    httpx2 = load()
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=MAX_IDLE, keepalive_expiry=IDLE)
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    client = httpx2.AsyncClient(verify=_certificates(), timeout=None, limits=limits, cookies=cookies)
    try:
        yield client
    finally:
        _forget(loop)
        await client.aclose()


def _is_closed(loop: object) -> bool:
    asks = getattr(loop, "is_closed", None)  # those of asyncio have it
    return asks is not None and bool(asks())


def _forget(loop: object) -> None:
    _clients.pop(loop, None)
    _keepers.pop(loop, None)


@cache
def _certificates() -> ssl.SSLContext:
    """Return what certificates are checked with. Reading the authorities takes long, so it is done once."""
    context: ssl.SSLContext = load().create_ssl_context()
    return context


__all__ = ["client_of_loop", "load"]
