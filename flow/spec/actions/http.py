"""The action ``http.request``: one HTTP request, on asyncio and trio. It needs the extra ``httpx``."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypedDict

import msgspec

from flow.config.fields import is_int, is_number
from flow.errors import ActionFailed, described, printable, shown

if TYPE_CHECKING:
    import ssl

    import httpx

MAX_BYTES: Final = 10 * 2**20
"""Most bytes of an answer's body, unless said otherwise."""

MAX_REDIRECTS: Final = 5
"""Redirects that are followed."""

_NAME: Final = "http.request"
_KEPT: Final = ("accept", "accept-encoding", "content-length", "content-type", "transfer-encoding", "user-agent")
"""Headers that another host gets after a redirect. Whatever else the caller gave may be a secret of the first."""


class Response(TypedDict):
    """What ``http.request`` returns.

    ``status`` is a number; the names of ``headers`` are in lower case. ``body`` is text: bytes where it is none.
    ``json`` is the body as a value if its type says JSON and it is some; else None.
    """

    status: int
    headers: dict[str, str]
    body: str | bytes
    json: Any


async def request(
    url: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    params: dict[str, Any] | None = None,
    json: Any = None,
    data: str | bytes | dict[str, Any] | None = None,
    timeout: float = 30.0,
    expect: int | str | list[int | str] = "200-399",
    max_bytes: int = MAX_BYTES,
    follow_redirects: bool = True,
) -> Response:
    """Make one HTTP request and return the whole answer. A cancelled run closes the connection at once.

    Up to five redirects are followed: to ``http`` and ``https`` alone, and never from ``https`` to ``http``. Another
    host gets none of ``headers`` but those that say the type of the content. Certificates are checked.

    :param url: its scheme is ``http`` or ``https``.
    :param params: added to the query of the URL.
    :param json: a value that is sent as JSON. :param data: text or bytes, or a dict that is sent as a form. Not both.
    :param timeout: seconds for all of it, redirects and the body included.
    :param expect: statuses that are no failure: ``200``, ``"200-299"``, or a list of these.
    :param max_bytes: longest body, decompressed.
    :raises ActionFailed: for a status that is not expected, which ``.data`` has with its body; for a body that is too
        long; for an URL or arguments that cannot be used.
    :raises ConnectionError: if there is no answer, or a broken one.
    :raises TimeoutError: if the time is over.
    """
    from anyio import fail_after

    httpx = _httpx()
    expected = _checked(expect, timeout, max_bytes, json, data)
    where = _place(method, url)
    try:
        content = _content(json, data)
        with fail_after(timeout):
            answer, body = await _exchange(where, url, method, headers, params, content, max_bytes, follow_redirects)
    except TimeoutError:
        raise TimeoutError(f"{_NAME}: {where} took longer than timeout={timeout:g} s") from None
    except (httpx.LocalProtocolError, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise ActionFailed(f"{_NAME}: {where} cannot be sent: {described(error)}", _NAME) from error
    except UnicodeEncodeError:
        text = f"{_NAME}: {where} cannot be sent: a header has a character that is not ASCII"
        raise ActionFailed(text, _NAME) from None
    except httpx.TransportError as error:
        raise ConnectionError(f"{_NAME}: {where}: {described(error)}") from error
    found = _response(answer, body)
    if not any(low <= found["status"] <= high for low, high in expected):
        text = f"{where} answered {found['status']} {printable(answer.reason_phrase)[:80]}".rstrip()
        raise ActionFailed(f"{_NAME}: {text}, which expect={expect!r} has not", _NAME, found)
    return found


async def _exchange(
    where: str,
    url: str,
    method: str,
    headers: Mapping[str, str] | None,
    params: Mapping[str, Any] | None,
    content: dict[str, Any],
    max_bytes: int,
    follow: bool,
) -> tuple[httpx.Response, bytes]:
    """Send the request, follow redirects, and return the last answer with its body."""
    httpx = _httpx()
    own = {"Accept-Encoding": "gzip", **(headers or {}), **content.pop("headers", {})}
    async with httpx.AsyncClient(verify=_certificates(), timeout=None) as client:
        now = client.build_request(method, url, headers=own, params=params, **content)
        _check_scheme(where, now.url, None)
        for _ in range(MAX_REDIRECTS + 1):
            answer = await client.send(now, stream=True, follow_redirects=False)
            try:
                following = answer.next_request if follow else None
                if following is None:
                    return answer, await _body(where, answer, max_bytes)
            finally:
                await answer.aclose()
            _check_scheme(where, following.url, now.url)
            if (following.url.host, following.url.port) != (now.url.host, now.url.port):
                for name in [name for name in following.headers if name not in (*_KEPT, "host")]:
                    del following.headers[name]
            now = following
    raise ActionFailed(f"{_NAME}: {where} was redirected more than {MAX_REDIRECTS} times", _NAME)


def _check_scheme(where: str, url: httpx.URL, before: httpx.URL | None) -> None:
    if before is None:
        if url.scheme not in ("http", "https") or not url.host:
            raise ActionFailed(f"{_NAME}: url must begin with http:// or https:// and name a host", _NAME)
    elif url.scheme not in ("http", "https") or (url.scheme == "http" and before.scheme == "https"):
        raise ActionFailed(
            f"{_NAME}: {where} was redirected from {before.scheme} to {shown(url.scheme)}, which is not followed", _NAME
        )


async def _body(where: str, answer: httpx.Response, most: int) -> bytes:
    """Read the body, and decompress it, as far as it may be long: a small one may unpack to any size."""
    from anyio import CancelScope

    coding = answer.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("identity", "", "gzip", "x-gzip", "deflate"):
        raise ActionFailed(f"{_NAME}: {where} answered in the encoding {shown(coding)}: gzip was asked for", _NAME)
    unpack = None if coding in ("identity", "") else zlib.decompressobj(zlib.MAX_WBITS | 32)
    parts: list[bytes] = []
    left = most
    broken: zlib.error | None = None
    with CancelScope() as reading:  # ending it ends the generators of httpx, each within the next, as trio wants it
        async for raw in answer.aiter_raw(65_536):
            if left < 0 or broken is not None:
                continue
            try:
                part = raw if unpack is None else unpack.decompress(raw, left + 1)
            except zlib.error as error:
                broken = error
                reading.cancel()
                continue
            parts.append(part)
            left -= len(part)
            if left < 0:
                reading.cancel()
    if broken is not None:
        raise ConnectionError(f"{_NAME}: {where} answered what cannot be decompressed: {broken}") from broken
    if left < 0:
        text = f"{_NAME}: the answer to {where} is longer than max_bytes={most}"
        raise ActionFailed(f"{text}: ask for less of it, or raise max_bytes", _NAME)
    return b"".join(parts)


def _response(answer: httpx.Response, body: bytes) -> Response:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    value: Any = None
    if kind == "application/json" or kind.endswith("+json"):
        try:
            value = msgspec.json.decode(body)
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            value = None
    text = _text(body, answer.charset_encoding)
    return Response(status=answer.status_code, headers=dict(answer.headers.items()), body=text, json=value)


def _text(body: bytes, charset: str | None) -> str | bytes:
    try:
        return body.decode(charset or "utf-8", "replace" if charset else "strict")
    except LookupError:  # an encoding that there is not, or one that gives no text
        return _text(body, None)
    except UnicodeError:
        return body


def _checked(expect: Any, timeout: Any, max_bytes: Any, json: Any, data: Any) -> list[tuple[int, int]]:
    """Return the ranges of statuses that are expected. :raises ActionFailed: for arguments that cannot be used."""
    faults = []
    if not is_number(timeout) or timeout <= 0:
        faults.append("timeout must be a number of seconds > 0")
    if not is_int(max_bytes) or max_bytes < 0:
        faults.append("max_bytes must be an integer of at least 0")
    if json is not None and data is not None:
        faults.append("json and data are both given: a request has one content")
    ranges = [_range(one) for one in (expect if isinstance(expect, Sequence) and type(expect) is not str else [expect])]
    if not ranges or None in ranges:
        faults.append("expect is a status such as 200, a range such as '200-299', or a list of these")
    if faults:
        raise ActionFailed(f"{_NAME}: {'; '.join(faults)}", _NAME)
    return [found for found in ranges if found is not None]


def _range(one: Any) -> tuple[int, int] | None:
    if is_int(one):
        return (one, one)
    if not isinstance(one, str) or len(one) > 7:
        return None
    low, dash, high = one.partition("-")
    if not (low.isdecimal() and (high.isdecimal() if dash else True)):
        return None
    first, last = int(low), int(high if dash else low)
    return (first, last) if first <= last else None


def _content(json: Any, data: Any) -> dict[str, Any]:
    """Return the arguments that httpx takes for the content."""
    if json is not None:
        try:
            return {"content": msgspec.json.encode(json), "headers": {"Content-Type": "application/json"}}
        except Exception as error:  # also of the user's objects
            raise ActionFailed(f"{_NAME}: json cannot be written: {described(error)}", _NAME) from error
    if data is None:
        return {}
    return {"data": data} if isinstance(data, Mapping) else {"content": data}


def _place(method: str, url: str) -> str:
    """Name a request for a message: without what may be secret in its URL."""
    httpx = _httpx()
    try:
        parsed = httpx.URL(url)
        port = "" if parsed.port is None else f":{parsed.port}"
        place = f"{parsed.scheme}://{parsed.host}{port}{parsed.path}"
    except (httpx.InvalidURL, TypeError) as error:
        raise ActionFailed(f"{_NAME}: url cannot be used: {described(error)}", _NAME) from error
    return f"{printable(str(method))[:20]} {printable(place)[:200]}"


def _httpx() -> Any:
    try:
        import httpx
    except ImportError as error:
        text = f"{_NAME} needs the package httpx: pip install 'flow-dag[httpx]'"
        raise ActionFailed(text, _NAME) from error
    return httpx


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """Return what certificates are checked with. Reading the authorities takes long, so it is done once."""
    context: ssl.SSLContext = _httpx().create_ssl_context()
    return context
