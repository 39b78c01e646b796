"""Random requests at once, with failures and cancellations anywhere: each is reported once, and nothing is leaked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from decimal import Decimal
from typing import Any

import anyio
from ai_cases import Words, cost, model, reply, took
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow import ai
from flow.ai.messages import Delta, Reply, Request

OUTCOMES: dict[str, Callable[[], Any]] = {
    "answer": lambda: reply("a b"),
    "mismatch": lambda: reply("no json"),
    "cut off": lambda: reply("a", finish="length"),
    "no tokens": lambda: reply("a b c", tokens=None),
    "busy": lambda: ai.RateLimited("busy", retry_after=1.0),
    "rejected": lambda: ai.RequestRejected("bad"),
    "down": lambda: ai.ProviderUnavailable("down", status=503),
    "unsent": lambda: ai.ConnectionFailed("no route"),
    "broken": lambda: _sent(ai.ConnectionFailed("reset")),
    "invalid": lambda: ai.ReplyInvalid("html"),
    "cancel": lambda: None,
}
FREE = ("busy", "rejected", "down")


def _sent(error: ai.ConnectionFailed) -> ai.ConnectionFailed:
    error.sent = True
    return error


class Server:
    """Answers by a script, cancels the run where that says so, and keeps its own record of what it has answered.

    :ivar spent: what it charges: for whole answers that it has sent.
    """

    name = "scripted"

    def __init__(self, script: list[str]) -> None:
        self.script, self.spent, self.out, self.cut = iter(script), Decimal(0), 0, 0
        self.cancel: Callable[[], None] = lambda: None

    async def complete(self, request: Request) -> Reply:
        how = next(self.script, "answer")
        self.out += how != "unsent"
        try:
            await anyio.sleep(0)
            made = OUTCOMES[how]()
            if made is None:
                self.cancel()
                await anyio.sleep_forever()
        except BaseException:
            self.cut += 1
            raise
        if isinstance(made, BaseException):
            raise made
        self.spent += cost() if made.tokens is not None else cost(Words().count(request)[0], 3)
        return made

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        made = await self.complete(request)
        yield Delta(made.text)
        yield Delta(reply=made)

    def headroom(self) -> Mapping[str, float]:
        return {"requests": 5.0, "requests_limit": 100.0}


@examples(60)
@given(
    script=st.lists(st.sampled_from(list(OUTCOMES)), max_size=30),
    nodes=st.integers(1, 6),
    limit=st.none() | st.integers(1, 3),
    settings=st.fixed_dictionaries(
        {},
        optional={
            "stream": st.booleans(),
            "cache": st.builds(ai.Cache),
            "rate": st.builds(ai.RateLimiter, requests_per_minute=st.just(600), concurrency=st.just(2)),
            "breaker": st.builds(lambda: flow.Breaker(failures=3, seconds=5.0)),
            "limits": st.builds(lambda: ai.UsageLimits(requests=4)),
            "retry": st.builds(lambda: flow.Retry(3)),
            "output": st.just(list[int]),
            "fallback_models": st.just(["other"]),
        },
    ),
    backend=st.sampled_from(["asyncio", "trio"]),
)  # fmt: skip
def test_each_request_is_reported_once_and_nothing_leaks(
    script: list[str], nodes: int, limit: int | None, settings: dict[str, Any], backend: str
) -> None:
    server = Server(script)
    budget = ai.Budget(run="0.1", name="b", alerts=())
    used = {**settings}
    if "fallback_models" in used:
        used["fallback_models"] = [model(server, "other", tokens=Words())]
    dag = flow.Dag("d")
    for at in range(nodes):
        ai.llm(
            dag, f"n{at}", model=model(server, tokens=Words()), prompt=f"p{at % 3}", budget=budget, max_output_tokens=9,
            continue_on_error=True, **used,
        )  # fmt: skip

    async def main() -> flow.Result:
        config = flow.Config(limit=limit, clock=flow.testing.FakeClock(), on_error="collect")
        async with flow.start(dag, config=config) as run:
            server.cancel = run.cancel
            try:
                return await run.result()
            except flow.RunError as error:
                found: flow.Result = error.result
                return found

    result = anyio.run(main, backend=backend)
    reports = took(result)
    sent = [one for one in reports if not one["cached"]]
    assert len(sent) == server.out == sum(one["requests"] for one in reports)
    assert all(one["cost"] is not None for one in reports)
    known = sum((Decimal(one["cost"]) for one in sent if not one["error"]), Decimal(0))
    assert known == server.spent
    accounts = [one for one in budget.statistics() if one.window == "run"]
    spent = sum((one.spent for one in accounts), Decimal(0))
    assert not any(one.reserved for one in accounts)
    unknown = [cost(one["input_tokens"], 9) for one in sent if one["error"] and one["estimated"]]
    assert spent == known + sum(unknown)
    assert ai.usage(result).total.requests == server.out
    if "rate" in used:
        stats = used["rate"].statistics()
        assert (stats.in_flight, stats.waiting) == (0, 0)
    if "cache" in used:
        assert used["cache"]._flights == {}
