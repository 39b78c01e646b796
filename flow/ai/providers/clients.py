"""The HTTP clients of each event loop: made at its first request, closed when the loop ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from flow.errors import UsageError

if TYPE_CHECKING:
    import ssl

    import httpx2

IDLE: Final = 60.0
"""Seconds that a connection without requests is kept."""

PER_CLIENT: Final = 32
"""Requests that one client has at once. Each request makes it look at all its connections: a thousand at once by one
client take 3 times the CPU time that they take by 32. How many there are in all is not limited here.
"""

_loops: dict[object, Clients] = {}
"""By event loop. All providers share them: connections are pooled by host, and they hold no key and no cookie."""


class Lease:
    """A client for one request.

    :param clients: which it goes back to; None: it is the user's.
    """

    __slots__ = ("_clients", "client", "used")

    def __init__(self, client: httpx2.AsyncClient | Direct, clients: Clients | None = None) -> None:
        self.client = client
        self.used = 0
        self._clients = clients

    async def leave(self) -> None:
        """Give it back, once for each request."""
        if self._clients is not None:
            await self._clients.take_back(self)


class Clients:
    """The clients of one event loop, of which the first ones are used most."""

    def __init__(self) -> None:
        self._leases: list[Lease] = []
        self.keeper: AsyncGenerator[None, None] | None = None

    def take(self) -> Lease:
        """Return a client that has room, and count a request of it. O(clients)."""
        found = next((lease for lease in self._leases if lease.used < PER_CLIENT), None)
        if found is None:
            found = Lease(_new_client(), self)
            self._leases.append(found)
        found.used += 1
        return found

    async def take_back(self, lease: Lease) -> None:
        """Count one request less. The last clients are closed once nothing needs them: connections would stay open."""
        lease.used -= 1
        leases = self._leases
        while len(leases) > 1 and leases[-1].used == 0 and leases[-2].used <= PER_CLIENT // 2:
            await leases.pop().client.aclose()

    async def aclose(self) -> None:
        """Close all of them."""
        while self._leases:
            await self._leases.pop().client.aclose()


@cache
def load() -> Any:
    """Import httpx2, at the first request and not before. :raises UsageError: if it is not installed."""
    try:
        import httpx2
    except ImportError:
        raise UsageError("requests to models need httpx2: pip install 'flow-dag[ai]'") from None
    return httpx2


def quiet(url: httpx2.URL) -> httpx2.URL:
    """Return the same URL, which is shown without its query: httpx2 logs the URL of each request."""
    made: httpx2.URL = _quiet_url()(url)
    return made


@cache
def _quiet_url() -> Any:
    plain = load().URL

    class QuietURL(plain):  # type: ignore[misc, valid-type]  # what is loaded is known at the first request alone
        def __str__(self) -> str:
            return str(plain(self).copy_with(query=None))

        def __repr__(self) -> str:
            return f"URL({str(self)!r})"

        def __reduce__(self) -> Any:
            return quiet, (plain(self),)

    return QuietURL


async def lease() -> Lease:
    """Return a client of the running event loop, of asyncio or trio. O(clients).

    A loop closes the asynchronous generators that it has begun when it ends (``asyncio.run``, ``trio.run``): one that
    has the clients in its hands closes them in time, without anybody having to say so.
    """
    from anyio.lowlevel import current_token

    loop = current_token().native_token
    clients = _loops.get(loop)
    if clients is None:
        for gone in [known for known in _loops if _is_closed(known)]:  # which has not ended as above
            del _loops[gone]
        clients = _loops[loop] = Clients()
        clients.keeper = _keep(loop, clients)
        await anext(clients.keeper)
    return clients.take()


async def _keep(loop: object, clients: Clients) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        _loops.pop(loop, None)
        await clients.aclose()


def _is_closed(loop: object) -> bool:
    asks = getattr(loop, "is_closed", None)  # those of asyncio have it
    return asks is not None and bool(asks())


class Direct:
    """Sends requests without what a client of httpx2 does around each: redirects, cookies, authentication, a log line.

    None of it is wanted here, and all of it takes time.
    """

    __slots__ = ("_transport",)

    def __init__(self, transport: httpx2.AsyncHTTPTransport) -> None:
        self._transport = transport

    def send(self, request: httpx2.Request, **_: bool) -> Awaitable[httpx2.Response]:
        """Send a request; the answer is there once its head is."""
        return self._transport.handle_async_request(request)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._transport.aclose()


def _new_client() -> httpx2.AsyncClient | Direct:
    from http.cookiejar import CookieJar, DefaultCookiePolicy
    from urllib.request import getproxies

    http, verify = load(), _certificates()
    limits = http.Limits(max_connections=None, max_keepalive_connections=PER_CLIENT, keepalive_expiry=IDLE)
    if not getproxies():
        return Direct(http.AsyncHTTPTransport(verify=verify, limits=limits))
    cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
    made: httpx2.AsyncClient = http.AsyncClient(verify=verify, timeout=None, limits=limits, cookies=cookies)
    return made


@cache
def _certificates() -> ssl.SSLContext:
    """Return what certificates are checked with. Reading the authorities takes long, so it is done once."""
    context: ssl.SSLContext = load().create_ssl_context()
    return context


__all__ = ["Lease", "lease", "load", "quiet"]
