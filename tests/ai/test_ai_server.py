"""The scripted server itself: what others rely on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from urllib.request import Request as Asking
from urllib.request import urlopen

import anyio
import pytest
from ai_asking import KEY, OURS, REQUEST, asker, streamed
from ai_server import Answer, Server, Usage, serving

from flow.ai.errors import RequestRejected
from flow.ai.providers.openai import OpenAICompatible


@pytest.mark.parametrize("kind", OURS)
def test_it_counts_what_it_serves(kind: str) -> None:
    async def go(server: Server) -> None:
        async with asker(kind, server) as provider:
            replies = [
                await provider.complete(REQUEST),
                (await streamed(provider))[1],
                await provider.complete(REQUEST),
            ]
            tokens = [reply.tokens for reply in replies]
            used = Usage(sum(t.input for t in tokens), sum(t.output for t in tokens), requests=3)
            assert server.usage == used == Usage(15 + 5, 1 + 2 + 7, requests=3)

    with serving("one", "one two", Answer("three", usage=Usage(10, 7))) as server:
        anyio.run(go, server)
        assert [asked.stream for asked in server.requests] == [False, True, False]
        assert [asked.texts for asked in server.requests] == [["be good", "hello you there"]] * 3
        assert {asked.key for asked in server.requests} == {KEY}


def test_a_script_ends() -> None:
    async def go(server: Server) -> None:
        provider = OpenAICompatible(server.openai, KEY)
        assert (await provider.complete(REQUEST)).text == "a"
        with pytest.raises(Exception, match="the script has 1 answers, and no more"):
            await provider.complete(REQUEST)
        server.reset()
        assert server.requests == []

    with serving("a") as server:
        anyio.run(go, server)


def test_a_function_answers() -> None:
    async def go(server: Server) -> None:
        provider = OpenAICompatible(server.openai, KEY)
        assert (await provider.complete(REQUEST)).text == "HELLO YOU THERE"
        with pytest.raises(RequestRejected):
            await provider.complete(REQUEST)

    def script(asked: object) -> Answer:
        return answers.pop()

    answers = [Answer(status=400), Answer("HELLO YOU THERE")]
    with serving(script) as server:
        anyio.run(go, server)
        assert server.usage.requests == 2


def test_as_a_process() -> None:
    script = Path(__file__).with_name("ai_server.py")
    command = [sys.executable, str(script), "--words", "3", "--input-tokens", "10", "--output-tokens", "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            reply = anyio.run(OpenAICompatible(f"{url}/v1", KEY).complete, REQUEST)
            assert (reply.text, reply.tokens and (reply.tokens.input, reply.tokens.output)) == (
                "word word word",
                (10, 4),
            )

            def told(path: str, method: str = "GET") -> object:
                with urlopen(Asking(url + path, method=method)) as answer:
                    return json.loads(answer.read())

            used = {"input": 10, "output": 4, "cached": 0, "reasoning": 0}
            assert told("/_usage") == {**used, "requests": 1}
            (one,) = told("/_requests")  # type: ignore[misc]
            assert (one["model"], one["input"], one["at"] > 0) == ("gpt-x", 10, True)
            told("/_reset", "POST")
            assert told("/_usage") == {**dict.fromkeys(used, 0), "requests": 0}
        finally:
            process.kill()
