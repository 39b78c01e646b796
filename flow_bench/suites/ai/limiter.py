"""A thousand calls at once under a limit of tokens per minute: how well it is kept, and whether anybody starves.

The clock is a fake one, so minutes take no time. The calls are of many sizes, and take half of the most output that is
reserved for them, or all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import flow
from flow import ai
from flow.testing import FakeClock
from flow_bench.harness.contender import require
from flow_bench.harness.provider import Counter, Rules
from flow_bench.harness.rows import Row, Target
from flow_bench.harness.rules import MODEL, answer_to

PER_MINUTE = 60_000
MOST_OUTPUT = 100
SECONDS = 2.0
"""That an answer takes, of the fake clock."""
KEPT, FAIR = 0.02, 1.02
"""By how much the limit may be missed, and how much longer than the fair one the longest wait may be."""
LABEL = "ai.RateLimiter"


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    calls: int = 1_000
    rounds: int = 3


QUICK = Effort(rounds=1)


@dataclass(frozen=True)
class Let:
    """A call that was let in: when, by the fake clock, and the tokens that it has taken."""

    at: float
    tokens: int


class Slow(Rules):
    """Answers after some time of a clock, and notes when it was asked."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.clock = clock
        self.let: list[Let] = []

    async def complete(self, request: ai.Request) -> ai.Reply:
        text = str(request.messages[-1].content)
        taken = tokens_of(text)
        self.let.append(Let(self.clock.now(), taken.input + taken.output))
        await self.clock.wait(SECONDS)
        return ai.Reply(answer_to(text), tokens=taken, model=MODEL)


def text_of(number: int) -> str:
    """Return the text of a call: 10 to 300 words."""
    return f"{number} {'word ' * (9 + number * 37 % 291)}".strip()


def tokens_of(text: str) -> ai.Tokens:
    """Return what a call takes: its words, and half of the most output or all of it."""
    return ai.Tokens(len(text.split()), MOST_OUTPUT if int(text.split()[0]) % 2 else MOST_OUTPUT // 2)


def called(calls: int) -> list[Let]:
    """Make so many calls at once; return what was let in, in the order of that.

    :raises Refused: if an answer is missing or wrong.
    """
    clock = FakeClock()
    provider = Slow(clock)
    model = ai.Model(provider, MODEL, "0", "0", tokens=Counter())
    one, many = flow.Dag("one"), flow.Dag("many")
    rate = ai.RateLimiter(tokens_per_minute=PER_MINUTE)
    ai.llm(one, "answer", model=model, prompt="{{ text }}", max_output_tokens=MOST_OUTPUT, rate=rate)
    many.map("answers", one, over="texts", concurrency=None)
    texts = [text_of(number) for number in range(calls)]
    result = asyncio.run(flow.execute(many, {"texts": texts}, config=flow.Config(clock=clock)))
    answers = [found["answer"] for found in result["answers"]]
    require(answers == [answer_to(text) for text in texts], LABEL, "answers are missing or wrong")
    require(len(provider.let) == calls, LABEL, f"{len(provider.let)} of {calls} calls were let in")
    spent = sum(taken.input + taken.output for taken in map(tokens_of, texts))
    found = ai.usage(result).total
    require(found.total_tokens == spent == sum(one.tokens for one in provider.let), LABEL, "tokens are counted wrongly")
    return provider.let


def kept(let: Sequence[Let]) -> Mapping[str, float]:
    """Say how the limit was kept, and how long was waited. O(calls).

    :return: ``most``: the most tokens of any minute, as a part of the limit. ``used``: all tokens, as a part of what
        the limit lets in until the last call. ``wait``: the longest wait in seconds. ``over_fair``: that, over what the
        last call waits if all others come before it, each as soon as the limit lets it.
    """
    most = total = first = 0
    for one in let:
        total += one.tokens
        while let[first].at <= one.at - 60:
            total -= let[first].tokens
            first += 1
        most = max(most, total)
    last, whole = let[-1].at, sum(one.tokens for one in let)
    fair = (whole - let[-1].tokens) * 60 / PER_MINUTE
    return {
        "most": most / PER_MINUTE,
        "used": whole * 60 / PER_MINUTE / last,
        "wait": last,
        "over_fair": last / fair,
    }


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the table."""
    yield rows_of([kept(called(effort.calls)) for _ in range(effort.rounds)], effort.calls)


def rows_of(found: Sequence[Mapping[str, float]], calls: int) -> list[Row]:
    """The rows of some rounds."""
    section = f"{calls:,} calls at once, {PER_MINUTE:,} tokens a minute"

    def row(label: str, name: str, target: Target | None, note: str = "", unit: str = "x") -> Row:
        return Row(section, label, unit, [one[name] for one in found], target=target, note=note)

    least = Target(1 - KEPT, of="figure", binding=True, least=True)
    return [
        row("most tokens of any minute / the limit", "most", Target(1 + KEPT, of="figure", binding=True)),
        row("tokens let in until the last call / what the limit lets in", "used", least),
        row("longest wait / the fair one", "over_fair", Target(FAIR, of="figure", binding=True)),
        row("longest wait", "wait", None, "by the fake clock", "s"),
    ]
