"""Requests of one provider over HTTP, bounded and with errors in words: :class:`Transport`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from flow.ai.errors import AccessDenied, ReplyInvalid, RequestRejected
from flow.ai.providers.clients import Lease, lease, load, quiet
from flow.ai.providers.failures import Asked, Where
from flow.ai.providers.fields import has_rates, rates_left
from flow.ai.providers.keys import Key, KeyMissing, KeySource, in_query, is_secret, variable_of
from flow.ai.providers.reading import Body, EventStream, beginning, too_long, whole, words_of
from flow.config.fields import is_int, is_number
from flow.errors import ConfigError, shown

if TYPE_CHECKING:
    import httpx2

MAX_BYTES: Final = 32 * 2**20
"""Most bytes of an answer's body, unless said otherwise."""

CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 600.0
WRITE_SECONDS: Final = 60.0

_JSON: Final = "application/json"
_EVENTS: Final = "text/event-stream"

_Fields: TypeAlias = dict[bytes, bytes]

EMPTY: Final[Mapping[str, str]] = {}


class Transport:
    """Sends the requests of one provider.

    :param name: of the provider. :param url: where they go. Its query is sent, and is hidden like the key, also in the
        logs of httpx2: it may hold a key.
    :param api_key: see :data:`flow.ai.providers.keys.KeySource`. None: ``<NAME>_API_KEY`` of the environment has it, or
        ``headers`` have what is needed. :param required: whether there has to be a key.
    :param auth_header: the field that holds the key. In ``authorization`` it stands after ``Bearer``.
    :param headers: further fields. The values of those that look secret are hidden like the key. None: there are none.
    :param defaults: fields that ``headers`` may replace.
    :param timeout: seconds of silence within an answer after which it is given up.
    :param connect_timeout: seconds until there is a connection.
    :param max_bytes: longest body of an answer.
    :param client: an ``httpx2.AsyncClient`` of the user's. It is not closed. None: one of ours, per event loop.
    :param faults: what else is wrong with the provider's arguments.
    :raises ConfigError: for arguments that cannot be used; it has all faults.
    """

    def __init__(
        self,
        name: str,
        url: str,
        api_key: KeySource,
        *,
        required: bool,
        auth_header: str,
        headers: Mapping[str, str] | None,
        defaults: Mapping[str, str] = EMPTY,
        timeout: float = READ_SECONDS,
        connect_timeout: float = CONNECT_SECONDS,
        max_bytes: int = MAX_BYTES,
        client: Any = None,
        faults: Sequence[str] = (),
    ) -> None:
        from urllib.parse import urlsplit

        headers = {} if headers is None else headers
        found = [*faults, *_name_faults(name), *_url_faults(url), *_key_faults(api_key)]
        found += [
            *_auth_faults(auth_header),
            *_field_faults(headers),
            *_bound_faults(timeout, connect_timeout, max_bytes),
        ]
        if found:
            raise ConfigError(f"the provider {shown(name)}", found)
        fields = {field.lower(): value for field, value in headers.items()}
        auth = auth_header.lower()
        source = "" if api_key is None and auth in fields else api_key
        secrets = [*(value for field, value in fields.items() if is_secret(field)), *in_query(urlsplit(url).query)]
        self.name = name
        self.place = place_of(url)
        self._url: Any = url
        self._key = Key(source, variable_of(name), required=required, also=secrets)
        self._auth = (auth, "Bearer " if auth == "authorization" else "")
        self._fields = {"user-agent": "flow", **defaults, **fields}
        self._timeout = {"connect": connect_timeout, "read": timeout, "write": max(WRITE_SECONDS, connect_timeout)}
        self._max_bytes = max_bytes
        self._client = client
        self._said: Mapping[str, str] = {}

    def headroom(self) -> dict[str, float]:
        """Return what the last answer that said it had said of rates: see :class:`flow.ai.Provider`."""
        return rates_left(self._said)

    def where(self, model: str) -> Asked:
        """Return what makes the errors of a request to ``model``: one for each."""
        return Asked(self.name, model, self._key)

    async def post(self, where: Asked, body: Mapping[str, Any]) -> bytes:
        """Send ``body`` as JSON and return the body of the answer, which says that it is JSON.

        :raises ProviderError: if it does not come, has another status than 2xx, another type, or is too long.
        """
        response, fields, answer = await self._send(where, body, _JSON)
        try:
            await self._check(response, fields, answer, _JSON)
            size = fields.get(b"content-length", b"")
            if size.isdigit() and int(size) > self._max_bytes:
                raise too_long(answer.where, self._max_bytes)
            return await whole(answer, self._max_bytes)
        finally:
            await answer.aclose()

    async def events(self, where: Asked, body: Mapping[str, Any]) -> EventStream:
        """Send ``body`` as JSON and return the events of the answer. The caller closes them.

        :raises ProviderError: as :meth:`post` does.
        """
        response, fields, answer = await self._send(where, body, _EVENTS)
        try:
            await self._check(response, fields, answer, _EVENTS)
        except BaseException:
            await answer.aclose()
            raise
        return EventStream(answer, self._max_bytes)

    async def _send(self, where: Asked, body: Mapping[str, Any], accept: str) -> tuple[httpx2.Response, _Fields, Body]:
        """Return the answer, its fields by their names in lower case, and what reads its body.

        What httpx2 raises has the request with its key: it is neither cause nor context of what is raised here.
        """
        failed: Exception
        try:
            content = msgspec.json.encode(body)
        except Exception as error:  # of what the user has put into the options
            failed = where.error(RequestRejected, f"the request cannot be written as JSON: {error}")
            raise failed from None
        try:
            request = self._request(await where.sent.key(), content, accept)
            response, close = await self._exchange(where, request)
        except KeyMissing as error:
            failed = where.error(AccessDenied, str(error))
        except Exception as error:
            failed = self._failing(where, error)
        else:
            # A dict: to look one up in the headers of httpx2 takes longer than to make it.
            fields = {name.lower(): value for name, value in response.headers.raw}
            if any(b"ratelimit" in name for name in fields) and has_rates(response.headers):
                self._said = response.headers
            return response, fields, Body(where, response.aiter_raw(), close, self._failing)
        raise failed

    async def _exchange(
        self, where: Asked, request: httpx2.Request
    ) -> tuple[httpx2.Response, Callable[[], Awaitable[None]]]:
        """Send a request, and return the answer with what closes it."""
        taken = Lease(self._client) if self._client is not None else await lease()
        try:
            response = await taken.client.send(request, stream=True, follow_redirects=False)
        except BaseException:
            await taken.leave()
            raise
        finally:
            if self._client is not None:  # which may have added fields and parameters, also while it was sending
                where.sent.hide_request(request)

        async def close() -> None:
            try:
                await response.aclose()
            finally:
                await taken.leave()

        return response, close

    def _failing(self, where: Where, error: Exception) -> Exception:
        """Make the error for one of httpx2; another is returned as it is."""
        http = load()
        if isinstance(error, http.InvalidURL | http.UnsupportedProtocol | http.LocalProtocolError):
            return where.error(RequestRejected, f"the request cannot be sent: {words_of(error)}")
        if isinstance(error, http.ConnectTimeout | http.PoolTimeout):
            return where.broken(f"no connection to {self.place} within {self._timeout['connect']:g} s", sent=False)
        if isinstance(error, http.ConnectError | http.ProxyError):
            return where.broken(f"no connection to {self.place}: {words_of(error)}", sent=False)
        if isinstance(error, http.TimeoutException):
            return where.broken(f"the provider was silent for {self._timeout['read']:g} s", sent=True)
        if isinstance(error, http.HTTPError | OSError):
            return where.broken(f"the connection broke off: {words_of(error)}", sent=True)
        return error

    def _request(self, key: str, content: bytes, accept: str) -> httpx2.Request:
        http = load()
        if type(self._url) is str:
            self._url = quiet(http.URL(self._url))
        fields = dict(self._fields)
        if key:
            fields[self._auth[0]] = self._auth[1] + key
        # A body of a few kilobytes is not worth being unpacked, and unpacking what came would have to be bounded too.
        fields |= {"content-type": _JSON, "accept": accept, "accept-encoding": "identity"}
        timeout = {**self._timeout, "pool": None}
        made: httpx2.Request
        if self._client is None:  # a client of ours adds nothing to a request
            made = http.Request("POST", self._url, content=content, headers=fields, extensions={"timeout": timeout})
        else:
            limits = http.Timeout(**timeout)
            made = self._client.build_request("POST", self._url, content=content, headers=fields, timeout=limits)
        made.url = quiet(made.url)
        return made

    async def _check(self, response: httpx2.Response, fields: _Fields, answer: Body, kind: str) -> None:
        """:raises ProviderError: if the answer is an error, a redirect, or none of this type."""
        where, status = answer.where, response.status_code
        found = fields.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        if 300 <= status < 400:
            target = place_of(response.headers.get("location", ""))
            text = f"answered {status}: redirects are not followed, since they would take the key along"
            raise where.error(RequestRejected, f"{text}. It names {target or 'no place'}: set base_url=", status=status)
        if not 200 <= status < 300:
            raise where.fault(_told(await beginning(answer), found), status, response.headers)
        if fields.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            raise where.error(ReplyInvalid, "the answer is compressed, which was not asked for", status=status)
        if found == kind or (kind == _JSON and found.endswith("+json")):
            return
        if kind == _EVENTS and is_json(found):  # an error, most likely
            raise where.fault(_told(await beginning(answer), found), status, response.headers)
        text = f"the answer is {found or 'of no type'}, where {kind} was asked for"
        raise where.error(ReplyInvalid, f"{text}: does {self.place} speak this protocol?", status=status)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, {self.place!r})"


def place_of(url: str) -> str:
    """Return ``url`` without what may be secret: its user, its query. Empty if it cannot be read."""
    from urllib.parse import urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return ""
    return urlunsplit((parts.scheme, host, parts.path, "", ""))


def is_json(content_type: str) -> bool:
    """Tell whether a type, in lower case and without parameters, is one of JSON."""
    return content_type == _JSON or content_type.endswith("+json")


def _told(body: bytes, content_type: str) -> Any:
    """Return what an error's body says: its JSON as a value, a text, or of which type it is."""
    if is_json(content_type):
        try:
            return msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            pass
    if content_type in (_JSON, "text/plain", ""):
        return body.decode("utf-8", "replace")
    return f"({len(body):,} bytes of {content_type})"


def _url_faults(url: object) -> list[str]:
    from urllib.parse import urlsplit

    wrong = ["base_url must begin with http:// or https:// and name a host"]
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
            return wrong
    except ValueError:
        return wrong
    return ["base_url must hold no user or password: give api_key="] if "@" in parts.netloc else []


def _name_faults(name: object) -> list[str]:
    return [] if isinstance(name, str) and name else ["name must be a text that is not empty"]


def _key_faults(api_key: object) -> list[str]:
    if api_key is None or isinstance(api_key, str) or callable(api_key):
        return []
    return ["api_key must be a text, a function that returns one, or None for the environment variable"]


def _auth_faults(auth_header: object) -> list[str]:
    faults = _field_faults({auth_header: ""}) if isinstance(auth_header, str) else ["it is no text"]
    return ["auth_header must be the name of a header field"] if faults else []


def _field_faults(fields: object) -> list[str]:
    if not isinstance(fields, Mapping) or not all(isinstance(t, str) for pair in fields.items() for t in pair):
        return ["headers must be a mapping from names to texts"]
    return [
        f"headers: {shown(name)} has characters that no header can hold"  # its value may be a secret
        for name, value in fields.items()
        if not name or not (name + value).isascii() or not (name + value).isprintable() or set(name) & set(" :")
    ]


def _bound_faults(timeout: object, connect_timeout: object, max_bytes: object) -> list[str]:
    seconds = {"timeout": timeout, "connect_timeout": connect_timeout}
    faults = [f"{name} must be a number of seconds > 0" for name, n in seconds.items() if not (is_number(n) and n > 0)]  # type: ignore[operator]
    if not is_int(max_bytes) or max_bytes < 1:  # type: ignore[operator]
        faults.append("max_bytes must be an integer of at least 1")
    return faults


__all__ = [
    "CONNECT_SECONDS", "MAX_BYTES", "READ_SECONDS", "Transport", "is_json", "place_of",
]  # fmt: skip
