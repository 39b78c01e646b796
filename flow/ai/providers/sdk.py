"""A provider over a client that the user has made with the SDK of openai or anthropic: :func:`from_sdk`.

Neither is imported here: their objects are known by where their classes come from.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from inspect import isawaitable
from typing import Any, Final

from flow.ai.errors import AccessDenied, ProviderError, ReplyInvalid, RequestRejected
from flow.ai.messages import Delta, Reply, Request
from flow.ai.provider import Provider
from flow.ai.providers.anthropic import MAX_OUTPUT_TOKENS
from flow.ai.providers.failures import Asked, Where
from flow.ai.providers.fields import has_rates, rates_left
from flow.ai.providers.keys import Key
from flow.ai.providers.openai import name_of, tokens_field_of
from flow.ai.providers.over_http import Events, answered, body_of, deltas
from flow.ai.providers.reading import Body, EventStream, abandon, whole, words_of
from flow.ai.providers.transport import MAX_BYTES, place_of
from flow.ai.providers.wire import Wire
from flow.ai.providers.wire_anthropic import Messages
from flow.ai.providers.wire_openai import ChatCompletions
from flow.errors import UsageError, a_kind

_OWN: Final = ("model", "messages", "max_tokens", "stream")
"""Fields that the SDKs want as arguments: some of their clients write them elsewhere. All others are passed through."""

_PLAIN: Final = {"accept-encoding": "identity"}
"""What is packed tight may be of any length, and a body of a few kilobytes is not worth it."""

_HTTP: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2"})
_UNSENT: Final = frozenset({"ConnectError", "ConnectTimeout", "PoolTimeout", "ProxyError"})


def from_sdk(client: Any, name: str | None = None) -> Provider:
    """Return a provider over a client that the user has made, with its settings: proxies, regions, credentials.

    Its own retries are switched off, since attempts are counted once: ``retry=`` of the node makes them.

    :param client: an ``openai.AsyncOpenAI`` or ``anthropic.AsyncAnthropic``, or one of their kinds. It stays open, and
        serves the event loop that it was made for. It speaks its SDK's version of the protocol: that of anthropic from
        2.0 on refuses ``temperature``.
    :param name: in usage, metrics and messages. None: ``anthropic``, or what the host is called.
    :raises UsageError: if it is no such client.
    """
    kinds = {(kind.__module__.partition(".")[0], kind.__name__) for kind in type(client).__mro__}
    sdk = next((root for root, _ in kinds if root in ("openai", "anthropic")), "")
    if not sdk or not callable(getattr(client, "with_options", None)):
        raise UsageError(f"from_sdk() takes an openai.AsyncOpenAI or an anthropic.AsyncAnthropic, not {a_kind(client)}")
    if not any(root == sdk and kind.startswith("Async") for root, kind in kinds):
        wanted = "AsyncOpenAI" if sdk == "openai" else "AsyncAnthropic"
        raise UsageError(f"from_sdk() takes an {sdk}.{wanted}: {a_kind(client)} would hold the event loop")
    called = name or ("anthropic" if sdk == "anthropic" else name_of(str(client.base_url)))
    if sdk == "anthropic":
        return SDKProvider(called, client, Messages(MAX_OUTPUT_TOKENS))
    return SDKProvider(called, client, ChatCompletions(tokens_field_of(name_of(str(client.base_url)))))


class SDKProvider:
    """Answers requests by a client of an SDK. (See :class:`flow.ai.Provider`.)"""

    def __init__(self, name: str, client: Any, wire: Wire) -> None:
        self._name = name
        self._client = client.with_options(max_retries=0)
        self._wire = wire
        self._key = Key("", "")
        self._said: Mapping[str, str] = {}

    @property
    def name(self) -> str:
        """What it is called in usage, metrics and messages."""
        return self._name

    async def complete(self, request: Request) -> Reply:
        """Answer a request. :raises ProviderError: if it does not."""
        where = self._where(request.model)
        raw = await self._asked(where, body_of(self._wire, where, request, stream=False), stream=False)
        answer = _body_of(where, raw.http_response)
        try:
            content = await whole(answer, MAX_BYTES)
        finally:
            await answer.aclose()
        return answered(where, self._wire, content, request)

    def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answer in pieces (:func:`flow.ai.providers.over_http.deltas`)."""
        return deltas(self._wire, request, self._where, self._events)

    async def _events(self, where: Asked, body: dict[str, Any]) -> Events:
        return await _events(where, await self._asked(where, body, stream=True))

    def headroom(self) -> Mapping[str, float]:
        """Return what the last answers said of rates that are left."""
        return rates_left(self._said)

    async def _asked(self, where: Asked, body: dict[str, Any], *, stream: bool) -> Any:
        """Send a request, and return the answer, whose body has not been read. The caller closes it."""
        client = self._client
        resource = client.messages if isinstance(self._wire, Messages) else client.chat.completions
        own = {field: body.pop(field) for field in _OWN if field in body}
        failed: Exception
        try:
            if stream:
                raw = await resource.with_raw_response.create(**own, extra_body=body, extra_headers=_PLAIN)
            else:
                asking = resource.with_streaming_response.create(**own, extra_body=body, extra_headers=_PLAIN)
                raw = await asking.__aenter__()
        except Exception as error:
            failed = self._failed(where, error)
        else:
            where.sent.hide_request(getattr(raw.http_response, "request", None))
            if has_rates(raw.headers):
                self._said = raw.headers
            return raw
        raise failed

    @property
    def place(self) -> str:
        """Where requests go, without what may be secret."""
        return place_of(str(getattr(self._client, "base_url", "")))

    def _where(self, model: str) -> Asked:
        where = Asked(self._name, model, self._key)
        found = (getattr(self._client, field, None) for field in ("api_key", "auth_token"))
        where.sent.hide(key for key in found if isinstance(key, str))
        return where

    def _failed(self, where: Asked, error: Exception) -> Exception:
        """Return the error to raise for one of the SDK. It is not its cause: it has the request with the key."""
        where.sent.hide_request(getattr(error, "request", None))
        response = getattr(error, "response", None)
        fields = getattr(response, "headers", None)
        if fields is not None and has_rates(fields):
            self._said = fields
        return failure_of(where, error)

    def __repr__(self) -> str:
        return f"from_sdk({type(self._client).__name__}, name={self._name!r})"


class _Parsed:
    """The events that an SDK reads itself, as values: of services that do not send server-sent events."""

    def __init__(self, where: Where, events: Any) -> None:
        self._where = where
        self._events = events
        self._rest = aiter(events)
        self._begun = False

    async def next(self) -> Any:
        """Return the next event; None at the end."""
        try:
            event = (await anext(self._rest)).to_dict(warnings=False)
        except StopAsyncIteration:
            return None
        except Exception as error:
            failed = failure_of(self._where, error)
        else:
            self._begun = True
            return event
        if isinstance(failed, ProviderError):
            failed.begun = self._begun
        raise failed

    async def finish(self) -> None:
        """Read the end: the SDK does."""

    async def aclose(self) -> None:
        """Close the connection if the answer has not ended."""
        await abandon(self._rest)
        await self._events.close()


def _body_of(where: Where, response: Any) -> Body:
    return Body(where, response.aiter_bytes(), response.aclose, failure_of)


async def _events(where: Where, raw: Any) -> EventStream | _Parsed:
    """Return the events of a streamed answer.

    They are read here, and not by the SDK, where that is possible: bounded, and without leaving generators in their
    middle, which trio warns of.
    """
    if raw.headers.get("content-type", "").lower().startswith("text/event-stream"):
        return EventStream(_body_of(where, raw.http_response), MAX_BYTES)
    events = raw.parse()
    return _Parsed(where, await events if isawaitable(events) else events)


def failure_of(where: Where, error: Exception) -> Exception:
    """Return the error of ours for one of an SDK, by its attributes; what is none of an SDK is returned as it is."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    roots = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    text = words_of(error)
    status, told = getattr(error, "status_code", None), getattr(error, "body", None)
    response = getattr(error, "response", None)
    if "APIConnectionError" in kinds or roots & _HTTP:
        cause = error.__cause__ or error.__context__ or error
        inner = {kind.__name__ for kind in type(cause).__mro__}
        said = text if cause is error else f"{text.rstrip('.')}: {words_of(cause)}"
        return where.broken(said, sent=not inner & _UNSENT)
    if "APIResponseValidationError" in kinds or (isinstance(error, ValueError) and "JSON" in type(error).__name__):
        return where.error(ReplyInvalid, f"the answer cannot be read: {text}", status=status)
    if isinstance(status, int):
        fields = {} if response is None else response.headers
        return where.fault(told if told else text, status, fields)
    if roots & {"openai", "anthropic"}:
        if told:
            return where.fault(told)
        return where.error(AccessDenied if _is_about_keys(text) else RequestRejected, text)
    if isinstance(error, TypeError | ValueError) and not isinstance(error, ProviderError):
        return where.error(AccessDenied if _is_about_keys(text) else RequestRejected, f"the SDK refuses it: {text}")
    return error


def _is_about_keys(text: str) -> bool:
    return any(word in text.lower() for word in ("api_key", "auth", "credential"))


__all__ = ["SDKProvider", "failure_of", "from_sdk"]
