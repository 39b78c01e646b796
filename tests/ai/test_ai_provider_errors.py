"""Which error each answer becomes: of both providers, over our own HTTP and over the SDKs' clients."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from functools import partial
from typing import Any

import anyio
import pytest
from ai_asking import KEY, OURS, REQUEST, SDKS, asker, failure, streamed
from ai_server import Answer, Server, serving
from conftest import loops

from flow.ai.errors import (
    AccessDenied,
    ProviderError,
    ProviderUnavailable,
    QuotaExceeded,
    RateLimited,
    ReplyInvalid,
    RequestRejected,
)
from flow.ai.messages import Image, Message, Request

ALL = (*OURS, *SDKS)

TABLE: list[tuple[int, str, str, dict[str, str], type[ProviderError], bool, float | None]] = [
    # status, code, message, header fields; error, retryable, retry_after
    (400, "invalid_request_error", "no such field", {}, RequestRejected, False, None),
    (400, "context_length_exceeded", "too long", {}, RequestRejected, False, None),
    (400, "invalid_request_error", "Your credit balance is too low to access", {}, QuotaExceeded, False, None),
    (401, "invalid_api_key", "Incorrect API key", {}, AccessDenied, False, None),
    (401, "authentication_error", "invalid x-api-key", {}, AccessDenied, False, None),
    (402, "billing_error", "pay first", {}, QuotaExceeded, False, None),
    (402, "", "pay first", {}, QuotaExceeded, False, None),
    (403, "permission_error", "not yours", {}, AccessDenied, False, None),
    (404, "model_not_found", "no such model", {}, RequestRejected, False, None),
    (408, "timeout", "too slow", {}, ProviderUnavailable, True, None),
    (409, "conflict", "again", {}, ProviderUnavailable, True, None),
    (413, "request_too_large", "too large", {}, RequestRejected, False, None),
    (422, "unprocessable", "odd", {}, RequestRejected, False, None),
    (429, "rate_limit_exceeded", "slow down", {}, RateLimited, True, None),
    (429, "rate_limit_error", "slow down", {"retry-after": "7"}, RateLimited, True, 7.0),
    (429, "tokens", "slow down", {"retry-after-ms": "250"}, RateLimited, True, 0.25),
    (
        429, "requests", "slow down",
        {"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"},
        RateLimited, True, 30.0,
    ),
    (429, "insufficient_quota", "You exceeded your current quota", {}, QuotaExceeded, False, None),
    (429, "rate_limit_exceeded", "not today", {"x-should-retry": "false"}, RateLimited, False, None),
    (429, "insufficient_quota", "no credit", {"x-should-retry": "true"}, QuotaExceeded, False, None),
    (400, "invalid_request_error", "odd", {"x-should-retry": "true"}, RequestRejected, True, None),
    (500, "server_error", "oh", {}, ProviderUnavailable, True, None),
    (502, "", "bad gateway", {}, ProviderUnavailable, True, None),
    (503, "", "busy", {"retry-after": "1"}, ProviderUnavailable, True, 1.0),
    (504, "", "slow", {}, ProviderUnavailable, True, None),
    (529, "overloaded_error", "Overloaded", {}, ProviderUnavailable, True, None),
    (400, "overloaded_error", "Overloaded", {}, ProviderUnavailable, True, None),
]  # fmt: skip


class Switch:
    """A server whose next answer the test says."""

    def __init__(self) -> None:
        self.answer = Answer()
        self.server: Server


@pytest.fixture(scope="module")
def switch() -> Iterator[Switch]:
    switch = Switch()
    with serving(lambda asked: switch.answer) as switch.server:
        yield switch


async def failing(kind: str, switch: Switch, stream: bool = False) -> ProviderError:
    async with asker(kind, switch.server) as provider:
        return await failure(partial(streamed if stream else provider.complete, *([provider] if stream else [REQUEST])))


@pytest.mark.parametrize("kind", ALL)
def test_every_line_of_the_table(kind: str, switch: Switch) -> None:
    """Each message repeats the key, as some servers do; :func:`failure` searches for it everywhere."""

    async def go() -> None:
        for status, code, message, headers, error, retryable, retry_after in TABLE:
            said = f"{message} (your key: {KEY})"
            switch.answer = Answer(status=status, error=(code, said), headers=headers)
            for stream in (False, True):
                before = len(switch.server.requests)
                found = await failing(kind, switch, stream)
                line = (status, code, headers, found)
                assert len(switch.server.requests) == before + 1, ("attempts are the node's", line)
                assert (type(found), found.retryable, found.retry_after) == (error, retryable, retry_after), line
                assert (found.status, found.code, found.model) == (status, code, "gpt-x"), line
                assert found.provider == kind.removeprefix("sdk-"), line
                assert message in str(found), line
                assert "(your key: ***)" in str(found), line
                assert str(status) in str(found), line

    anyio.run(go)


@pytest.mark.parametrize("backend", loops("trio"))
@pytest.mark.parametrize("kind", ALL)
def test_on_trio(kind: str, backend: str, switch: Switch) -> None:
    switch.answer = Answer(status=429, error=("x", "slow down"), headers={"retry-after": "7"})
    for stream in (False, True):
        found = anyio.run(failing, kind, switch, stream, backend=backend)
        assert (type(found), found.retry_after) == (RateLimited, 7.0)


STREAMED: list[tuple[str, type[ProviderError], bool]] = [
    ("overloaded_error", ProviderUnavailable, True),
    ("api_error", ProviderUnavailable, True),
    ("server_error", ProviderUnavailable, True),
    ("rate_limit_error", RateLimited, True),
    ("insufficient_quota", QuotaExceeded, False),
    ("invalid_request_error", RequestRejected, False),
    ("authentication_error", AccessDenied, False),
    ("never_heard_of", ProviderUnavailable, True),
]


@pytest.mark.parametrize("kind", ALL)
def test_errors_in_the_middle_of_a_stream(kind: str, switch: Switch) -> None:
    async def go() -> None:
        for code, error, retryable in STREAMED:
            inner = f'{{"type":"{code}","message":"oh, {KEY}"}}'
            event = f'event: error\ndata: {{"type":"error","error":{inner}}}\n\n'
            switch.answer = Answer(body=event.encode(), content_type="text/event-stream")
            found = await failing(kind, switch, True)
            assert (type(found), found.retryable, found.status, found.code) == (error, retryable, None, code)
            assert "ended its answer with an error" in str(found)
            assert "oh, ***" in str(found)

    anyio.run(go)


@pytest.mark.parametrize("kind", OURS)
def test_an_error_where_an_answer_should_be(kind: str, switch: Switch) -> None:
    switch.answer = Answer(body=b'{"error": {"message": "no model", "code": 503}}')
    found = anyio.run(failing, kind, switch)
    assert (type(found), found.status) == (ProviderUnavailable, 503)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("body", "content_type", "said"),
    [
        (b'{"error": "model is loading"}', "application/json", "model is loading"),
        (b'{"message": "model is loading"}', "application/json", "model is loading"),
        (b'{"detail": "model is loading"}', "application/json", "model is loading"),
        (b'[{"error": {"message": "model is loading", "status": "UNAVAILABLE"}}]', "application/json", "is loading"),
        (b"model is loading", "text/plain", "model is loading"),
        (b'{"error": ', "application/json", '{"error":'),
        (b"", "", "answered 503"),
    ],
)
def test_bodies_of_errors_of_other_servers(
    kind: str, body: bytes, content_type: str, said: str, switch: Switch
) -> None:
    switch.answer = Answer(status=503, body=body, content_type=content_type)
    found = anyio.run(failing, kind, switch)
    assert (type(found), found.status) == (ProviderUnavailable, 503)
    assert said in str(found)


@pytest.mark.parametrize("kind", OURS)
def test_a_page_is_not_repeated(kind: str, switch: Switch) -> None:
    switch.answer = Answer(status=502, body=b"<html><script>x</script></html>", content_type="text/html; charset=utf-8")
    found = anyio.run(failing, kind, switch)
    assert "script" not in str(found)
    assert "(31 bytes of text/html)" in str(found)


@pytest.mark.parametrize("kind", ALL)
def test_messages_are_shortened_and_escaped(kind: str, switch: Switch) -> None:
    switch.answer = Answer(status=400, error=("odd\x1b[31m", "\x1b[2J\nline two " + "x" * 490 + KEY + "y" * 5_000))
    found = anyio.run(failing, kind, switch)
    assert len(str(found)) < 800
    assert str(found).isprintable()
    assert found.code.isprintable()
    assert r"\x1b[2J" in str(found)


@pytest.mark.parametrize("kind", OURS)
def test_an_error_without_an_end_is_cut(kind: str, switch: Switch) -> None:
    switch.answer = Answer(status=500, body=b"y" * 3_000_000, content_type="text/plain")
    for stream in (False, True):
        found = anyio.run(failing, kind, switch, stream)
        assert (type(found), found.status) == (ProviderUnavailable, 500)
        assert "yyy..." in str(found)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"choices": [', "no JSON"),
        (b"fine", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[]", "another form"),
        (b'{"choices": 3, "content": 3}', "another form"),
        (b'{"choices": [], "x": 1}', "has no"),
        (b"{}", "has no"),
        (b'{"a":' * 5_000, "no JSON"),
    ],
)
def test_answers_that_are_none(kind: str, body: bytes, said: str, switch: Switch) -> None:
    switch.answer = Answer(body=body)
    found = anyio.run(failing, kind, switch)
    assert (type(found), found.retryable) == (ReplyInvalid, True)
    assert said in str(found)


@pytest.mark.parametrize("kind", ALL)
def test_streams_that_are_none(kind: str, switch: Switch) -> None:
    for body in (b'data: {"choices": [\n\n', b"data: fine\n\n", b"data: 3\n\n"):
        switch.answer = Answer(body=body, content_type="text/event-stream")
        assert type(anyio.run(failing, kind, switch, True)) is ReplyInvalid


@pytest.mark.parametrize("kind", OURS)
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("content_type", ["text/html", "", "application/octet-stream"])
def test_other_types_are_not_read(kind: str, stream: bool, content_type: str, switch: Switch) -> None:
    switch.answer = Answer(body=b'{"choices": [{"message": {"content": "fine"}}]}', content_type=content_type)
    found = anyio.run(failing, kind, switch, stream)
    assert type(found) is ReplyInvalid
    assert (content_type or "of no type") in str(found)


@pytest.mark.parametrize("kind", OURS)
def test_an_error_instead_of_a_stream(kind: str, switch: Switch) -> None:
    switch.answer = Answer(body=b'{"error": {"message": "busy", "type": "overloaded_error"}}')
    found = anyio.run(failing, kind, switch, True)
    assert type(found) is ProviderUnavailable
    assert "busy" in str(found)


@pytest.mark.parametrize("kind", OURS)
def test_what_is_compressed_is_not_read(kind: str, switch: Switch) -> None:
    switch.answer = Answer(headers={"content-encoding": "gzip"})
    assert "compressed" in str(anyio.run(failing, kind, switch))


def test_errors_travel_whole() -> None:
    async def go(switch: Switch) -> ProviderError:
        return await failing("openai", switch)

    switch = Switch()
    switch.answer = Answer(status=429, error=("rate_limit_exceeded", "slow"), headers={"retry-after": "3"})
    with serving(lambda asked: switch.answer) as switch.server:
        found = anyio.run(go, switch)
    copy: Any = pickle.loads(pickle.dumps(found))
    assert (type(copy), str(copy), vars(copy)) == (type(found), str(found), vars(found))


@pytest.mark.parametrize("kind", ALL)
def test_what_the_protocol_cannot_say(kind: str, switch: Switch) -> None:
    request = Request("m", (Message("user", (Image(data=b"abc"),)),))

    async def go() -> None:
        async with asker(kind, switch.server) as provider:
            before = len(switch.server.requests)
            for ask in (partial(provider.complete, request), partial(streamed, provider, request)):
                found = await failure(ask)
                assert type(found) is RequestRejected
                assert "give its media_type" in str(found)
            assert len(switch.server.requests) == before

    anyio.run(go)


@pytest.mark.parametrize("kind", SDKS)
def test_secrets_of_the_clients_own_headers(kind: str, switch: Switch) -> None:
    """A client may have its credentials anywhere; what it sent as such is hidden."""
    switch.answer = Answer(status=400, error=("odd", "your token is tok-of-the-client"))

    async def go() -> None:
        async with asker(kind, switch.server) as provider:
            provider._client = provider._client.with_options(default_headers={"x-session-token": "tok-of-the-client"})
            for ask in (partial(provider.complete, REQUEST), partial(streamed, provider)):
                assert "your token is ***" in str(await failure(ask))

    anyio.run(go)
