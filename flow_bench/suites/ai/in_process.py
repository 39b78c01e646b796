"""The model of the suite without a server: a provider whose answers are there at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from flow.ai.messages import Delta, Reply, Request, Tokens
from flow_bench.suites.ai.rules import MODEL, answer_to


class Rules:
    """A provider that answers as :func:`flow_bench.suites.ai.rules.answer_to`, after one turn of the event loop.

    :param name: by which usage is told.
    """

    def __init__(self, name: str = "rules") -> None:
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    async def complete(self, request: Request) -> Reply:
        """Answer the last message."""
        await asyncio.sleep(0)
        text = str(request.messages[-1].content)
        answer = answer_to(text)
        return Reply(answer, tokens=Tokens(len(text.split()), len(answer.split())), model=MODEL)

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        """Answer in one piece."""
        reply = await self.complete(request)
        yield Delta(reply.text)
        yield Delta(reply=reply)

    def headroom(self) -> Mapping[str, float]:
        return {}


class Counter:
    """Counts a token for each word, as the model does."""

    def count(self, request: Request) -> tuple[int, bool]:
        """Count those of all messages."""
        return sum(len(str(message.content).split()) for message in request.messages), False

    def count_text(self, text: str) -> tuple[int, bool]:
        return len(text.split()), False


def message_of(text: str, **more: Any) -> Request:
    """Return the request that a node with this prompt makes."""
    from flow.ai.messages import Message

    return Request(MODEL, (Message("user", text),), **more)
