"""Beside the SDKs of OpenAI and Anthropic, asking the same server: llmock, which speaks as the providers do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import msgspec
import pytest
from ai_asking import KEY, certificates, failure, streamed
from llmock.pytest_plugin import LLMock
from llmock.testing import LLMockServer

from flow.ai.errors import (
    AccessDenied,
    ConnectionFailed,
    ProviderUnavailable,
    RateLimited,
    ReplyInvalid,
    RequestRejected,
)
from flow.ai.messages import Message, OutputSpec, Request, Tokens, ToolSpec
from flow.ai.providers.anthropic import Anthropic
from flow.ai.providers.openai import OpenAICompatible
from flow.ai.providers.sdk import from_sdk

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    "required": ["city", "days"],
    "additionalProperties": False,
}
TOOL = ToolSpec("weather", "Tells the weather.", SCHEMA)
REQUEST = Request("gpt-4o", (Message("system", "be good"), Message("user", "hello you there")), max_output_tokens=1_000)
WITH_TOOL = msgspec.structs.replace(REQUEST, tools=(TOOL,))
PROVIDERS = ("openai", "anthropic")


@pytest.fixture(scope="module")
def running() -> Iterator[LLMockServer]:
    with LLMockServer() as server:
        yield server


@pytest.fixture
def mock(running: LLMockServer) -> LLMock:
    return LLMock(running).reset()


@asynccontextmanager
async def clients(provider: str, mock: LLMock) -> AsyncIterator[tuple[Any, Any, Any]]:
    """Our provider, the SDK's client, and our adapter over it."""
    url = mock.base_url(provider)
    if provider == "openai":
        import openai

        http = openai.DefaultAsyncHttpxClient(verify=certificates())
        async with openai.AsyncOpenAI(api_key=KEY, base_url=url, http_client=http, max_retries=0) as client:
            yield OpenAICompatible(url, KEY, "openai"), client, from_sdk(client, "openai")
    else:
        import anthropic

        http = anthropic.DefaultAsyncHttpxClient(verify=certificates())
        async with anthropic.AsyncAnthropic(api_key=KEY, base_url=url, http_client=http, max_retries=0) as client:
            yield Anthropic(KEY, url), client, from_sdk(client)


async def by_sdk(provider: str, client: Any, request: Request) -> tuple[str, list[tuple[str, Any]], Tokens]:
    """What the SDK alone gets: its text, the tools, the tokens."""
    text = request.messages[1].content
    tool = request.tools[0] if request.tools else None
    if provider == "openai":
        function = {"type": "function", "function": {"name": "weather", "description": "", "parameters": SCHEMA}}
        found = await client.chat.completions.create(
            model=request.model,
            messages=[{"role": "system", "content": "be good"}, {"role": "user", "content": text}],
            **({"tools": [function]} if tool else {}),
        )
        message = found.choices[0].message
        calls = [(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
        tokens = Tokens(found.usage.prompt_tokens, found.usage.completion_tokens)
        return message.content or "", [(name, msgspec.json.decode(given)) for name, given in calls], tokens
    own = {"name": "weather", "description": "", "input_schema": SCHEMA}
    found = await client.messages.create(
        model=request.model,
        max_tokens=1_000,
        system="be good",
        messages=[{"role": "user", "content": text}],
        **({"tools": [own]} if tool else {}),
    )
    tools = [(block.name, block.input) for block in found.content if block.type == "tool_use"]
    words = "".join(block.text for block in found.content if block.type == "text")
    return words, tools, Tokens(found.usage.input_tokens, found.usage.output_tokens)


def go(fn: Any, *args: Any, backend: str = "asyncio") -> Any:
    return anyio.run(fn, *args, backend="trio" if backend == "trio" else "asyncio")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("request_", [REQUEST, WITH_TOOL], ids=["text", "tools"])
def test_the_same_answers(provider: str, request_: Request, mock: LLMock, backend: str) -> None:
    async def ask() -> None:
        async with clients(provider, mock) as (ours, client, adapter):
            text, calls, tokens = await by_sdk(provider, client, request_)
            for asked in (ours, adapter):
                for reply in (await asked.complete(request_), (await streamed(asked, request_))[1]):
                    found = [(call.name, msgspec.json.decode(call.arguments)) for call in reply.tool_calls]
                    assert (reply.text, found, reply.tokens) == (text, calls, tokens)
                    assert reply.finish == ("tools" if request_.tools else "stop")
                    assert bool(found) == bool(request_.tools)

    go(ask, backend=backend)
    assert {record.status for record in mock.requests} == {200}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_schema(provider: str, mock: LLMock) -> None:
    asked = msgspec.structs.replace(REQUEST, output=OutputSpec("Trip", SCHEMA))
    said = '{"city":"Rome","days":3}'

    async def ask() -> None:
        async with clients(provider, mock) as (ours, _, adapter):
            for one in (ours, adapter):
                mock.reply(said, times=2)
                assert (await one.complete(asked)).text == said
                deltas, reply = await streamed(one, asked)
                assert reply.text == said == "".join(delta.text for delta in deltas)

    go(ask)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, RequestRejected), (401, AccessDenied), (403, AccessDenied), (404, RequestRejected),
        (422, RequestRejected), (429, RateLimited), (500, ProviderUnavailable), (503, ProviderUnavailable),
        (529, ProviderUnavailable),
    ],
)  # fmt: skip
def test_faults(provider: str, status: int, error: type[Exception], mock: LLMock) -> None:
    async def ask() -> None:
        async with clients(provider, mock) as (ours, _, adapter):
            for one in (ours, adapter):
                mock.fail(status, times=2, retry_after=7 if status == 429 else None, message="llmock says no")
                for call in (partial(one.complete, REQUEST), partial(streamed, one, REQUEST)):
                    found = await failure(call)
                    assert (type(found), found.status) == (error, status)
                    assert found.retry_after == (7.0 if status == 429 else found.retry_after)
                    assert "llmock says no" in str(found)

    go(ask)
    assert len(mock.requests) == 4  # the SDK has not tried again


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("fault", "error"), [("disconnect", ConnectionFailed), ("truncate", ConnectionFailed), ("corrupt", ReplyInvalid)]
)
def test_broken_streams(provider: str, fault: str, error: type[Exception], mock: LLMock, backend: str) -> None:
    async def ask() -> None:
        async with clients(provider, mock) as (ours, _, adapter):
            for one in (ours, adapter):
                getattr(mock, fault)(after_chunks=2)
                assert type(await failure(partial(streamed, one, REQUEST))) is error

    go(ask, backend=backend)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_rates_that_are_enforced(provider: str, mock: LLMock) -> None:
    """Its own limit of requests: what is left is told, and the wait of the one that is too many."""

    async def ask() -> None:
        async with clients(provider, mock) as (ours, _, _):
            for left in (1, 0):
                await ours.complete(REQUEST)
                room = ours.headroom()
                assert (room["requests"], room["requests_limit"]) == (left, 2)
                assert room["requests_reset"] >= 0.0
            found = await failure(partial(ours.complete, REQUEST))
            assert type(found) is RateLimited
            assert found.retry_after is not None
            assert 0.0 < found.retry_after <= 60.0

    mock.limits(rpm=2)
    go(ask)
