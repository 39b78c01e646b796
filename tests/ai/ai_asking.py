"""What tests of providers share: each provider over each way to it, requests, and a search for keys in errors."""

from __future__ import annotations

import os
import pickle
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import cache
from typing import Any

import pytest
from ai_server import Server

from flow.ai.errors import ProviderError
from flow.ai.messages import Delta, Message, Reply, Request, Text
from flow.ai.providers.anthropic import Anthropic
from flow.ai.providers.openai import OpenAICompatible
from flow.ai.providers.sdk import from_sdk

KEY = "sk-proj/very+secret=0123456789"
REQUEST = Request("gpt-x", (Message("system", "be good"), Message("user", (Text("hello you there"),))))
OURS = ("openai", "anthropic")
SDKS = ("sdk-openai", "sdk-anthropic")


OURS_IN = f"flow{os.sep}ai{os.sep}"


@cache
def certificates() -> ssl.SSLContext:
    """One for all clients of SDKs: to make one takes long."""
    import httpx2

    return httpx2.create_ssl_context()


@asynccontextmanager
async def asker(kind: str, server: Server, key: str = KEY, **settings: Any) -> AsyncIterator[Any]:
    """A provider that asks ``server`` in one of the ways."""
    if kind == "openai":
        yield OpenAICompatible(server.openai, key, "openai", **settings)
    elif kind == "anthropic":
        yield Anthropic(key, server.anthropic, **settings)
    elif kind == "sdk-openai":
        import openai

        http = openai.DefaultAsyncHttpxClient(verify=certificates())
        async with openai.AsyncOpenAI(api_key=key, base_url=server.openai, http_client=http) as client:
            yield from_sdk(client, "openai")
    else:
        import anthropic

        http = anthropic.DefaultAsyncHttpxClient(verify=certificates())
        async with anthropic.AsyncAnthropic(api_key=key, base_url=server.anthropic, http_client=http) as client:
            yield from_sdk(client)


async def streamed(provider: Any, request: Request = REQUEST) -> tuple[list[Delta], Reply]:
    """All pieces of an answer but the last, and the whole that the last one has."""
    async with aclosing(provider.stream(request)) as deltas:
        found = [delta async for delta in deltas]
    assert found[-1].reply is not None
    assert all(delta.reply is None for delta in found[:-1])
    return found[:-1], found[-1].reply


async def failure(ask: Callable[[], Any], frames: bool = False) -> ProviderError:
    """The error that ``await ask()`` raises, which nowhere has the key.

    :param frames: nor do the variables of our functions, which some tools for errors show: where it was not answered.
    """
    with pytest.raises(ProviderError) as caught:
        await ask()
    error = caught.value
    shown = all_of(error) + (variables_of(error) if frames else "")
    for text in (KEY, "very+secret", "very%2Bsecret"):
        assert text not in shown, shown
    return error


def all_of(error: BaseException) -> str:
    """All that an error says, and those it came from."""
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        at = todo.pop()
        if at is not None and at not in seen:
            seen.append(at)
            todo += [at.__cause__, at.__context__]
    parts = [text for one in seen for text in (str(one), repr(one), repr(one.args), repr(vars(one)))]
    parts += traceback.format_exception(error, chain=True)
    parts.append(pickle.dumps(error).decode("latin-1"))
    return "\n".join(parts)


def variables_of(error: BaseException) -> str:
    """The values of the variables in our frames, of which an error came."""
    found = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if OURS_IN in frame.f_code.co_filename]
    assert found, "an error from another place"
    return "\n".join(repr(value) for frame in found for value in frame.f_locals.values())
