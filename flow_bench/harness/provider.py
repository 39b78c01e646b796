"""A model in this process: a provider of :mod:`flow.ai` whose answers are there at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from flow import ai
from flow_bench.harness.rules import MODEL, answer_to


class Rules:
    """A provider that answers as :func:`flow_bench.harness.rules.answer_to`, after one turn of the event loop.

    :param name: by which usage is told.
    """

    def __init__(self, name: str = "rules") -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def complete(self, request: ai.Request) -> ai.Reply:
        """Answer the last message."""
        await asyncio.sleep(0)
        text = str(request.messages[-1].content)
        answer = answer_to(text)
        return ai.Reply(answer, tokens=ai.Tokens(len(text.split()), len(answer.split())), model=MODEL)

    async def stream(self, request: ai.Request) -> AsyncIterator[ai.Delta]:
        """Answer in one piece."""
        reply = await self.complete(request)
        yield ai.Delta(reply.text)
        yield ai.Delta(reply=reply)

    def headroom(self) -> Mapping[str, float]:
        return {}


class Counter:
    """Counts a token for each word, as the model does."""

    def count(self, request: ai.Request) -> tuple[int, bool]:
        """Count those of all messages."""
        return sum(len(str(message.content).split()) for message in request.messages), False

    def count_text(self, text: str) -> tuple[int, bool]:
        return len(text.split()), False


def message_of(text: str, **more: Any) -> ai.Request:
    """Return the request that a node with this prompt makes."""
    return ai.Request(MODEL, (ai.Message("user", text),), **more)
