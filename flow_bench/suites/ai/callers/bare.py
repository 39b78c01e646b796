"""httpx2 and msgspec alone: what a call takes at the least, and an agent's loop by hand."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import msgspec

from flow_bench.harness.rules import MODEL
from flow_bench.suites.ai.callers import KEY, look_up

TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look a word up.",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]},
    },
}


class Function(msgspec.Struct):
    """What a tool is called with."""

    name: str
    arguments: str


class Call(msgspec.Struct):
    """A tool that the model asks for."""

    id: str
    function: Function


class Message(msgspec.Struct):
    """What the model says."""

    content: str | None = None
    tool_calls: list[Call] = []


class Choice(msgspec.Struct):
    """An answer."""

    message: Message
    finish_reason: str


class Usage(msgspec.Struct):
    """What it took."""

    prompt_tokens: int
    completion_tokens: int


class Reply(msgspec.Struct):
    """The body."""

    choices: list[Choice]
    usage: Usage


class Word(msgspec.Struct):
    """The arguments of the tool."""

    word: str


class Caller:
    """Asks the model there."""

    def __init__(self, url: str) -> None:
        self.url = f"{url}/chat/completions"
        self.client = httpx2.AsyncClient(headers={"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
        self.decode = msgspec.json.Decoder(Reply).decode
        self.words = msgspec.json.Decoder(Word).decode

    async def _post(self, request: dict[str, Any]) -> Message:
        response = await self.client.post(self.url, content=msgspec.json.encode(request))
        response.raise_for_status()
        return self.decode(response.content).choices[0].message

    async def close(self) -> None:
        """Close its connections."""
        await self.client.aclose()

    async def ask(self, text: str) -> str:
        found = await self._post({"model": MODEL, "messages": [{"role": "user", "content": text}]})
        return found.content or ""

    async def work(self, text: str) -> str:
        messages: list[Any] = [{"role": "user", "content": text}]
        while True:
            found = await self._post({"model": MODEL, "messages": messages, "tools": [TOOL]})
            if not found.tool_calls:
                return found.content or ""
            messages.append({"role": "assistant", **msgspec.to_builtins(found)})
            for call in found.tool_calls:
                told = look_up(self.words(call.function.arguments).word)
                messages.append({"role": "tool", "tool_call_id": call.id, "content": told})

    async def ask_all(self, texts: list[str]) -> list[str]:
        return await asyncio.gather(*map(self.ask, texts))
