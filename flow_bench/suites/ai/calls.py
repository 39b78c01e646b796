"""What a node adds to the call that it makes: both ask the same server, in turns, in this process.

The figure is this process's CPU time per call: the server has a process of its own, and what others do meanwhile does
not count.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from time import process_time
from typing import Any

from flow_bench.harness.contender import Contender, require
from flow_bench.harness.interleave import interleave_on_loop
from flow_bench.harness.rows import Row, Target
from flow_bench.harness.rules import answer_to
from flow_bench.suites.ai.callers import bare as by_hand
from flow_bench.suites.ai.callers import node as of_flow
from flow_bench.suites.ai.server import ModelServer

MOST = 1.15
"""What a node may take of the CPU time of the bare call."""
BARE, NODE = "httpx2 and msgspec by hand", "a run of one ai.llm node"
SECTION = "a call to a model: CPU time of this process"
AT_ONCE = 32


@dataclass(frozen=True)
class Effort:
    """How much to measure: ``calls`` of a sample."""

    rounds: int = 60
    calls: int = 25


QUICK = Effort(rounds=8, calls=10)
Ask = Callable[[str], Awaitable[str]]


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the table of calls one after the other, and that of many at once."""
    with ModelServer() as server:
        yield from asyncio.run(_tables(server, effort))
        require(server.served()["requests"] > 0, NODE, "the server has had no request")


async def _tables(server: ModelServer, effort: Effort) -> list[list[Row]]:
    bare, node = by_hand.Caller(server.url), of_flow.Caller(server.url)
    ways = [one_by_one(BARE, bare.ask, effort.calls), one_by_one(NODE, node.ask, effort.calls)]
    alone = await _rows(SECTION, ways, effort.rounds, {NODE: Target(MOST, binding=True)})
    ways = [at_once(BARE, bare.ask_all), at_once("a run of one ai.llm node over many", node.ask_all)]
    together = await _rows(f"{SECTION}, {AT_ONCE} at once", ways, max(1, effort.rounds // 4), {})
    await bare.close()
    return [alone, together]


async def _rows(section: str, ways: list[Contender], rounds: int, targets: dict[str, Target]) -> list[Row]:
    samples = await interleave_on_loop(ways, rounds, clock=process_time)
    return samples.rows(section, "us", targets=targets)


def one_by_one(label: str, ask: Ask, calls: int) -> Contender:
    """A contender that makes so many calls, one after the other, each with a text of its own."""
    return _asking(label, calls, lambda texts: _each(ask, texts))


def at_once(label: str, ask_all: Callable[[list[str]], Awaitable[list[str]]]) -> Contender:
    """A contender that makes many calls at the same time."""
    return _asking(label, AT_ONCE, ask_all)


async def _each(ask: Ask, texts: list[str]) -> list[str]:
    return [await ask(text) for text in texts]


def _asking(label: str, calls: int, ask: Callable[[list[str]], Awaitable[list[str]]]) -> Contender:
    numbers = count()

    def make() -> Callable[[], Awaitable[Any]]:
        texts = [f"text {next(numbers)}" for _ in range(calls)]

        async def operation() -> tuple[list[str], list[str]]:
            return texts, await ask(texts)

        return operation

    return Contender(label, make, answers_fault, per=calls, is_async=True)


def answers_fault(raw: tuple[list[str], list[str]]) -> str | None:
    """Say which answer is not the one that the server gives."""
    texts, answers = raw
    wanted = [answer_to(text) for text in texts]
    if answers == wanted:
        return None
    wrong = [found for found, right in zip(answers, wanted, strict=False) if found != right]
    return f"{len(wrong)} of {len(texts)} answers are not the server's, {wrong[:1]} among them"
