"""Over clients that the user has made with an SDK: what is one, what is not, and what only theirs do."""

from __future__ import annotations

import gzip
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest
from ai_asking import KEY, REQUEST, SDKS, asker, certificates, failure, streamed
from ai_server import Answer, Server, limited, serving

import flow
from flow.ai.errors import (
    AccessDenied,
    ConnectionFailed,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    ReplyInvalid,
    RequestRejected,
)
from flow.ai.messages import Message, Request
from flow.ai.provider import Provider
from flow.ai.providers.failures import Where
from flow.ai.providers.sdk import failure_of, from_sdk


@pytest.mark.parametrize("kind", SDKS)
def test_it_is_a_provider_and_keeps_the_clients_settings(kind: str) -> None:
    async def go(server: Server) -> None:
        async with asker(kind, server) as provider:
            assert isinstance(provider, Provider)
            assert provider.name == kind.removeprefix("sdk-")
            assert KEY not in repr(provider)
            assert provider._client.max_retries == 0

    with serving() as server:
        anyio.run(go, server)


def test_the_clients_own_retries_are_off_and_its_own_object_is_left_alone() -> None:
    import openai

    async def go(server: Server) -> None:
        http = openai.DefaultAsyncHttpxClient(verify=certificates())
        async with openai.AsyncOpenAI(api_key=KEY, base_url=server.openai, http_client=http, max_retries=5) as client:
            provider = from_sdk(client)
            assert provider.name == "127.0.0.1"
            assert type(await failure(partial(provider.complete, REQUEST))).__name__ == "RateLimited"
            assert client.max_retries == 5

    with serving(lambda asked: limited("0")) as server:
        anyio.run(go, server)
        assert len(server.requests) == 1


class Others:
    """Objects of other kinds."""

    @staticmethod
    def sync() -> Any:
        import openai

        return openai.OpenAI(api_key=KEY)

    @staticmethod
    def sync_of_anthropic() -> Any:
        import anthropic

        return anthropic.Anthropic(api_key=KEY)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: 3, "not an int"),
        (lambda: None, "not a NoneType"),
        (Others.sync, r"takes an openai.AsyncOpenAI: an OpenAI would hold the event loop"),
        (Others.sync_of_anthropic, r"takes an anthropic.AsyncAnthropic: an Anthropic would hold the event loop"),
    ],
)
def test_what_is_no_client(make: Any, said: str) -> None:
    client = make()
    with pytest.raises(flow.errors.UsageError, match=said):
        from_sdk(client)
    if hasattr(client, "close"):
        client.close()


def test_what_the_sdk_itself_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    import anthropic

    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    long = Request("m", (Message("user", "x"),), max_output_tokens=100_000)
    odd = Request("m", (Message("user", "x"),), options={"odd": object()})

    async def go(server: Server, key: str | None, request: Request) -> ProviderError:
        http = anthropic.DefaultAsyncHttpxClient(verify=certificates())
        async with anthropic.AsyncAnthropic(api_key=key, base_url=server.anthropic, http_client=http) as client:
            return await failure(partial(from_sdk(client).complete, request))

    with serving() as server:
        found = [anyio.run(go, server, key, request) for key, request in ((None, REQUEST), (KEY, long), (KEY, odd))]
        assert server.requests == []
    assert [type(error) for error in found] == [AccessDenied, RequestRejected, RequestRejected]
    assert "Streaming is required" in str(found[1])


def test_what_is_not_the_sdks_passes_through() -> None:
    client = fake([])
    client.messages.with_streaming_response.create = None
    with pytest.raises(flow.errors.FlowError, match="the SDK refuses it"):
        anyio.run(from_sdk(client).complete, REQUEST)

    @asynccontextmanager
    async def create(**fields: Any) -> AsyncIterator[Any]:
        raise ZeroDivisionError("of the user's own transport")
        yield

    client.messages.with_streaming_response.create = create
    with pytest.raises(ZeroDivisionError):
        anyio.run(from_sdk(client).complete, REQUEST)


def fake(events: list[Any]) -> Any:
    """A client whose service sends something else than server-sent events, which its SDK reads itself."""

    class Event:
        def __init__(self, value: Any) -> None:
            self.value = value

        def to_dict(self, *, warnings: bool) -> Any:
            assert not warnings
            return self.value

    class Events:
        closed = False

        async def __aiter__(self) -> AsyncIterator[Event]:
            for value in events:
                await anyio.sleep(0)
                if isinstance(value, Exception):
                    raise value
                yield Event(value)

        async def close(self) -> None:
            self.closed = True

    class Raw:
        headers = {"content-type": "application/vnd.amazon.eventstream"}
        http_response = None
        events = Events()

        async def parse(self) -> Events:
            return self.events

    class Resource:
        raw = Raw()
        with_raw_response: Any = None
        with_streaming_response: Any = None

        async def create(self, **fields: Any) -> Raw:
            self.fields = fields
            return self.raw

    class AsyncAnthropicElsewhere:
        def __init__(self) -> None:
            self.messages = Resource()
            self.messages.with_raw_response = self.messages.with_streaming_response = self.messages

        def with_options(self, **options: Any) -> Any:
            assert options == {"max_retries": 0}
            return self

    AsyncAnthropicElsewhere.__module__ = "anthropic.lib.elsewhere"
    return AsyncAnthropicElsewhere()


STREAM = [
    {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3, "output_tokens": 1}}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "fine"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
]


def test_events_that_the_sdk_reads(backend: str) -> None:
    async def go() -> None:
        client = fake(STREAM)
        deltas, reply = await streamed(from_sdk(client))
        assert (reply.text, reply.finish) == ("fine", "stop")
        assert "fine" in [delta.text for delta in deltas]
        assert client.messages.raw.events.closed
        assert set(client.messages.fields) == {
            "model",
            "messages",
            "max_tokens",
            "stream",
            "extra_body",
            "extra_headers",
        }

        client = fake(STREAM[:2])
        assert type(await failure(partial(streamed, from_sdk(client)))) is ConnectionFailed
        assert client.messages.raw.events.closed

        class ReadError(Exception):
            __module__ = "httpx2"

        client = fake([*STREAM[:2], ReadError("gone")])
        found: Any = await failure(partial(streamed, from_sdk(client)))
        assert (type(found), found.sent) == (ConnectionFailed, True)

    anyio.run(go, backend="trio" if backend == "trio" else "asyncio")


@pytest.mark.parametrize(
    ("fields", "kind", "error"),
    [
        ({}, "APIConnectionError", ConnectionFailed),
        ({}, "APIResponseValidationError", ReplyInvalid),
        ({"status_code": 503}, "APIStatusError", ProviderUnavailable),
        ({"status_code": 200, "body": {"error": {"type": "overloaded_error"}}}, "APIStatusError", ProviderUnavailable),
        ({"body": {"code": "insufficient_quota"}}, "APIError", QuotaExceeded),
        ({"body": None}, "APIError", RequestRejected),
        ({}, "OpenAIError", RequestRejected),
        ({"text": "give an api_key"}, "OpenAIError", AccessDenied),
        ({"text": "could not load credentials"}, "CredentialsError", AccessDenied),
    ],
)
def test_errors_are_known_by_their_attributes(fields: dict[str, Any], kind: str, error: type[Exception]) -> None:
    made = type(kind, (Exception,), {"__module__": "openai._exceptions"})(fields.pop("text", "gone"))
    vars(made).update(fields)
    assert type(failure_of(Where("openai", "m", str), made)) is error


@pytest.mark.parametrize(("cause", "sent"), [("ConnectError", False), ("ConnectTimeout", False), ("ReadError", True)])
def test_whether_a_request_had_gone_out(cause: str, sent: bool) -> None:
    made = type("APITimeoutError", (type("APIConnectionError", (Exception,), {"__module__": "openai"}),), {})("gone.")
    made.__cause__ = type(cause, (Exception,), {"__module__": "httpx2"})("")
    found: Any = failure_of(Where("openai", "m", str), made)
    assert (type(found), found.sent, str(found)) == (ConnectionFailed, sent, f"openai, model m: gone: {cause}")


def test_a_body_that_is_too_long_to_be_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.ai.providers.sdk.MAX_BYTES", 20_000)

    async def go(server: Server) -> None:
        async with asker("sdk-openai", server) as provider:
            assert "longer than max_bytes=20,000" in str(await failure(partial(streamed, provider)))

    with serving(Answer("x", pieces=("y" * 1_000,) * 100)) as server:
        anyio.run(go, server)


@pytest.mark.parametrize("kind", SDKS)
def test_an_answer_that_unpacks_without_end(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was not asked for, and is read no further than what is taken."""
    monkeypatch.setattr("flow.ai.providers.sdk.MAX_BYTES", 1_000_000)
    bomb = gzip.compress(b" " * 20_000_000)

    async def go(server: Server) -> None:
        async with asker(kind, server) as provider:
            found = await failure(partial(provider.complete, REQUEST))
            assert (type(found), "longer than max_bytes=1,000,000" in str(found)) == (ReplyInvalid, True)

    with serving(Answer(body=bomb, headers={"content-encoding": "gzip"})) as server:
        anyio.run(go, server)
        assert server.requests[0].headers["accept-encoding"] == "identity"


def test_secrets_of_the_clients_query() -> None:
    import openai

    async def go(server: Server) -> Any:
        http = openai.DefaultAsyncHttpxClient(verify=certificates())
        query = {"sig": "query+secret"}
        async with openai.AsyncOpenAI(
            api_key=KEY, base_url=server.openai, http_client=http, default_query=query
        ) as client:
            return await failure(partial(from_sdk(client).complete, REQUEST))

    with serving(lambda asked: Answer(status=404, error=("", f"no {asked.path}, no query+secret"))) as server:
        assert str(anyio.run(go, server)).endswith("no /v1/chat/completions?sig=***, no ***")


def test_no_sdk_and_no_client_is_imported_before_a_request() -> None:
    code = (
        "import sys, flow\n"
        "before = set(sys.modules)\n"
        "from flow.ai.providers import anthropic, openai, scripted, sdk\n"
        "openai.OpenAICompatible('http://x/v1', 'a-key'), anthropic.Anthropic('a-key'), scripted.Scripted('x')\n"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8")
    loaded = set(msgspec.json.decode(found.stdout.replace("'", '"')))
    assert not loaded & {"httpx2", "httpcore2", "anyio", "openai", "anthropic", "asyncio", "email", "pydantic", "trio"}
