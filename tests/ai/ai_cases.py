"""What the tests of nodes that ask models share: models that answer from a script, and what was reported."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any

import anyio

import flow
from flow import ai
from flow.ai.messages import Delta, Reply, Request, Tokens, ToolCall

IN, OUT = Decimal("1"), Decimal("2")
"""USD per million tokens of :func:`model`."""


def model(provider: Any, name: str = "m", **settings: Any) -> ai.Model:
    """A model of a provider that is paid for."""
    return ai.Model(provider, name, input_price=IN, output_price=OUT, **settings)


def reply(text: str = "", tokens: Tokens | None = Tokens(10, 5), **fields: Any) -> Reply:
    """An answer of 10 tokens in and 5 out."""
    return Reply(text, tokens=tokens, **fields)


def calls(*asked: tuple[str, str], **fields: Any) -> Reply:
    """An answer that asks for tools: each as name and arguments."""
    made = tuple([ToolCall(f"c{at}", name, arguments) for at, (name, arguments) in enumerate(asked)])
    return reply(tool_calls=made, finish="tools", **fields)


def cost(tokens: int = 10, output: int = 5) -> Decimal:
    """What these tokens cost by the prices of :func:`model`."""
    return (IN * tokens + OUT * output).scaleb(-6)


def took(run: Any, kind: str = "usage") -> list[dict[str, Any]]:
    """The reports of usage of a run, without their times."""
    result = run.result if isinstance(run, flow.RunError) else run
    return [without(report.value) for report in result.reports if report.kind == kind]


def without(value: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    """A report without what differs from run to run."""
    return {name: one for name, one in value.items() if name not in ("seconds", *fields)}


def used(**changes: Any) -> dict[str, Any]:
    """What a request of :func:`reply` to ``scripted:m`` reports."""
    return {
        "provider": "scripted", "model": "m", "requests": 1, "input_tokens": 10, "output_tokens": 5, "cached_tokens": 0,
        "reasoning_tokens": 0, "cost": f"{cost():f}", "estimated": False, "cached": False, "error": "",
        **changes,
    }  # fmt: skip


HIT = used(requests=0, input_tokens=0, output_tokens=0, cost="0", cached=True)
"""What an answer of a cache reports."""


class Slow:
    """A provider whose answers come in pieces that a test lets come.

    :ivar asked: is set once a request has come. :ivar go: lets it go on.
    """

    name = "scripted"

    def __init__(self, *pieces: str, end: BaseException | None = None, first: Tokens | None = None) -> None:
        self.pieces, self.end, self.first = pieces, end, first
        self.asked, self.go = anyio.Event(), anyio.Event()
        self.requests: list[Request] = []

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        self.asked.set()
        await self.go.wait()
        if self.end is not None:
            raise self.end
        return reply(" ".join(self.pieces))

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        self.requests.append(request)
        if self.first is not None:
            yield Delta(tokens=self.first)
        for piece in self.pieces:
            yield Delta(piece)
        self.asked.set()
        await self.go.wait()
        if self.end is not None:
            raise self.end
        yield Delta(reply=reply("".join(self.pieces)))

    def headroom(self) -> Mapping[str, float]:
        return {}


class Words:
    """Counts words; a request is those of its texts."""

    def count(self, request: Request) -> tuple[int, bool]:
        return sum(len(str(one.content).split()) for one in request.messages), False

    def count_text(self, text: str) -> tuple[int, bool]:
        return len(text.split()), False
