"""What was paid for counts: errors with an answer in them, costs that are not known, wrong numbers, options."""

from __future__ import annotations

import decimal
import json
import logging
from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from ai_cases import Words, model, reply, took
from ai_server import Answer, serving

import flow
from flow import ai
from flow.ai.limits import check
from flow.ai.messages import Delta, Reply, Request, Tokens
from flow.ai.prices.rates import price_of
from flow.ai.providers.failures import Where
from flow.ai.providers.over_http import answered, deltas
from flow.ai.providers.wire_anthropic import Messages
from flow.ai.providers.wire_openai import ChatCompletions
from flow.errors import ConfigError
from flow.run.accounts import dollars

WHERE = Where("p", "m", str)
ASKED = Request("m", ())
MOST = Decimal("0.000019")
"""What :func:`asking` reserves: one word, and 9 output tokens."""


class Own:
    """A provider that answers by what it is given, and says no more than it has to."""

    name = "scripted"

    def __init__(self, *pieces: Any, left: Any = dict) -> None:
        self.pieces, self.asked = pieces, 0
        self.headroom = left

    async def complete(self, request: Request) -> Reply:
        self.asked += 1
        return self.pieces[-1]  # type: ignore[no-any-return]

    async def stream(self, request: Request) -> AsyncIterator[Delta]:
        self.asked += 1
        for piece in self.pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece


def asking(provider: Any, budget: ai.Budget, retry: int = 5, **settings: Any) -> Any:
    used = {"tokens": Words(), **settings.pop("model", {})}
    dag = flow.Dag("d")
    settings = {"max_output_tokens": 9, **settings}
    ai.llm(dag, "a", model=model(provider, **used), prompt="q", budget=budget, retry=flow.Retry(retry), **settings)
    return flow.run(dag, config=flow.Config(on_error="collect", clock=flow.testing.FakeClock()))


def spent(budget: ai.Budget) -> Decimal:
    (account,) = budget.statistics()
    assert account.reserved == 0
    return account.spent


def test_a_cost_that_is_not_known_afterwards_counts_with_what_was_reserved(caplog: pytest.LogCaptureFixture) -> None:
    """Tokens that are written to a cache have no price here."""
    budget = ai.Budget(day="0.00005")
    wrote = reply("x", tokens=Tokens(10, 5, cache_write=5))
    with caplog.at_level(logging.WARNING, "flow"):
        found = [asking(ai.Scripted(wrote), budget, model={"name": "writes"}) for _ in range(3)]
    assert [result.ok for result in found] == [True, True, False] and spent(budget) == 2 * MOST
    assert took(found[0])[0]["cost"] is None and took(found[0])[0]["counted"] == f"{MOST:f}"
    assert len([one for one in caplog.records if "scripted:writes" in one.getMessage()]) == 1


def body(**changes: Any) -> bytes:
    message = {"index": 0, "finish_reason": "stop", "message": {"content": "a b c"}}
    whole = {"id": "x", "choices": [message], "usage": {"prompt_tokens": 10, "completion_tokens": 5}, **changes}
    return json.dumps(whole).encode()


def test_an_answer_beside_an_error_is_paid_for() -> None:
    told = body(error={"code": 502, "message": "died"})
    with serving(*[Answer(body=told)] * 9) as server:
        budget = ai.Budget(day="0.00005")
        result = asking(ai.OpenAICompatible(server.openai, "key-1234567", "p"), budget)
        assert len(server.requests) == 2
    assert spent(budget) == 2 * MOST and isinstance(result.errors["a"], ai.BudgetExceeded)
    first = took(result)[0]
    assert (first["input_tokens"], first["output_tokens"], first["error"]) == (10, 5, "ProviderUnavailable")


@pytest.mark.parametrize(
    ("changes", "begun"),
    [({}, True), ({"usage": None}, True), ({"choices": []}, True), ({"choices": None, "usage": {}}, False)],
    ids=["both", "text", "usage", "neither"],
)
def test_an_error_says_whether_an_answer_had_begun(changes: Any, begun: bool) -> None:
    with pytest.raises(ai.ProviderUnavailable) as caught:
        answered(WHERE, ChatCompletions("max_tokens"), body(error={"code": 502}, **changes), ASKED)
    assert caught.value.begun is begun
    assert caught.value.tokens == (Tokens(10, 5) if changes.get("usage", True) and begun else None)


CHUNKS: dict[str, Any] = {
    "tools": {"tool_calls": [{"index": 0, "id": "c", "function": {"name": "add", "arguments": '{"a": 1}'}}]},
    "thoughts": {"reasoning_content": "hm hm"},
    "a role": {"role": "assistant", "content": ""},
}
EVENTS: dict[str, list[Any]] = {
    "tools": [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": "add", "id": "c"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a": 1}'}},
    ],
    "thoughts": [{"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "hm hm"}}],
    "a role": [{"type": "content_block_start", "content_block": {"type": "text"}}],
    "nothing": [{"type": "ping"}],
}


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("what", "other", "begun"),
    [("tools", 'add{"a": 1}', True), ("thoughts", "hm hm", True), ("a role", "", True), ("nothing", "", False)],
)
def test_what_came_before_an_error_is_known(protocol: str, what: str, other: str, begun: bool) -> None:
    error: dict[str, Any] = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}
    if protocol == "openai":
        wire: Any = ChatCompletions("max_tokens")
        events = [{"choices": [{"index": 0, "delta": CHUNKS[what]}]}] if what in CHUNKS else []
    else:
        wire, events = Messages(4096), EVENTS[what]
    told = Told([*events, error])

    async def read() -> str:
        found = ""
        with pytest.raises(ai.ProviderUnavailable) as caught:
            async for one in deltas(wire, ASKED, lambda _: WHERE, told.ask):
                assert not one.text
                found += one.other
        assert caught.value.begun is begun
        return found

    assert anyio.run(read) == other
    assert told.closed


class Told:
    """Events of a streamed answer. :ivar closed: somebody has closed them."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        self.left = [msgspec.json.encode(event) for event in events]
        self.closed = False

    async def ask(self, where: Where, body: dict[str, Any]) -> Told:
        return self

    async def next(self) -> bytes | None:
        return self.left.pop(0) if self.left else None

    async def finish(self) -> None:
        raise AssertionError("this answer has no end")

    async def aclose(self) -> None:
        self.closed = True


ERRORS = [ai.RequestRejected("no"), ai.RateLimited("busy"), ai.ProviderUnavailable("x", status=503)]


@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("piece", [Delta(other="a b"), Delta(), None], ids=["calls", "empty", "none"])
def test_a_stream_that_has_begun_is_paid_for(error: Exception, piece: Delta | None) -> None:
    budget = ai.Budget(day="1")
    result = asking(Own(*[one for one in (piece,) if one], error), budget, retry=1, stream=True)
    assert spent(budget) == (0 if piece is None else MOST) if budget.statistics() else piece is None
    assert took(result)[0]["output_tokens"] == (2 if piece and piece.other else 0)


@pytest.mark.parametrize("begun", [True, False])
def test_an_error_of_a_provider_of_ones_own_may_say_it(begun: bool) -> None:
    error, budget = ai.ProviderUnavailable("x", status=503), ai.Budget(day="1")
    error.begun = begun
    asking(Own(error), budget, retry=1, stream=True)
    assert [one.spent for one in budget.statistics()] == ([MOST] if begun else [0])


def test_options_that_say_what_keywords_say_are_refused() -> None:
    dag = flow.Dag("d")
    wrong = {
        "max_tokens": 9, "max_completion_tokens": 9, "max_output_tokens": 9, "model": "x", "models": ["x"],
        "messages": [], "tools": [], "functions": [], "stream": True, "response_format": {}, "n": 2, "best_of": 3,
    }  # fmt: skip
    for add in (ai.llm, ai.agent):
        with pytest.raises(ConfigError) as caught:
            add(dag, "a", model=model(Own()), prompt="q", options=wrong)
        faults = caught.value.faults
        assert len(faults) == len(wrong)
        assert all(any(repr(field) in one or f"{field}=" in one for one in faults) for field in wrong)
        assert "options: 'max_tokens' is said by max_output_tokens=" in faults[0]
    ai.llm(
        dag, "a", model=model(Own()), prompt="q", options={"n": 1, "best_of": None, "seed": 3, "tool_choice": "auto"}
    )


@pytest.mark.parametrize(("known", "tokens"), [(30, 31), (500, 100), (None, 1)])
def test_a_rate_lets_in_with_the_most_that_the_model_writes(known: int | None, tokens: int) -> None:
    rate, seen = ai.RateLimiter(tokens_per_minute=100), []

    def answer(request: Request) -> Reply:
        seen.append(rate.statistics().tokens)
        return reply("x")

    dag = flow.Dag("d")
    asked = model(ai.Scripted(answer), tokens=Words(), max_output_tokens=known)
    ai.llm(dag, "a", model=asked, prompt="q", rate=rate)
    flow.run(dag)
    assert seen == [tokens] and rate.statistics().tokens == 15


def test_a_run_that_goes_on_has_spent_what_was_reserved_for_what_broke_off() -> None:
    broken = ai.ConnectionFailed("reset")
    broken.sent = True
    store, dag = flow.store.memory(), flow.Dag("d")
    with store:
        ai.llm(dag, "a", model=model(Own(broken), tokens=Words()), prompt="q", budget=ai.Budget(run="1"),
               max_output_tokens=9, stream=True)  # fmt: skip
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, store=store, run_id="r")
        (report,) = took(caught.value)
        assert (report["cost"], report["counted"]) == ("0.000001", f"{MOST:f}")
        budget = ai.Budget(run="1")  # of another process
        ai.llm(dag, "a", replace=True, model=model(ai.Scripted(reply("x")), tokens=Words()), prompt="q", budget=budget,
               max_output_tokens=9)  # fmt: skip
        flow.run(dag, store=store, run_id="r", on_conflict="retry")
    assert spent(budget) == MOST + Decimal("0.00002")


class Failing(Words):
    """Counts requests, and fails at answers."""

    def count_text(self, text: str) -> tuple[int, bool]:
        raise ValueError("boom")


def test_a_counter_that_fails_after_an_answer_makes_it_no_gift() -> None:
    budget, provider = ai.Budget(day="0.00005"), Own(reply("x", tokens=None))
    result = asking(provider, budget, model={"tokens": Failing()})
    assert provider.asked == 2 and spent(budget) == 2 * MOST
    assert [one["counted"] for one in took(result)] == [f"{MOST:f}"] * 2


WRONG: list[Any] = [
    {"input": -5}, {"input": "10"}, {"input": 10.5}, {"cached": -1}, {"reasoning": -1}, {"output": True},
    {"input": 2**41},
]  # fmt: skip


@pytest.mark.parametrize("tokens", [*[Tokens(**one) for one in WRONG], {}])
def test_tokens_that_are_none_are_an_invalid_answer_that_is_paid_for(tokens: Any) -> None:
    budget = ai.Budget(day="1")
    result = asking(Own(msgspec.structs.replace(reply("x"), tokens=tokens)), budget, retry=2)
    assert isinstance(result.errors["a"], ai.ReplyInvalid) and "tokens" in str(result.errors["a"])
    assert spent(budget) == 2 * MOST


def test_what_is_left_may_be_unreadable(caplog: pytest.LogCaptureFixture) -> None:
    def left() -> Mapping[str, float]:
        raise ValueError("boom")

    budget, rate = ai.Budget(day="1"), ai.RateLimiter(tokens_per_minute=100)
    result = asking(Own(reply("x"), left=left), budget, rate=rate)
    assert result.ok and spent(budget) == Decimal("0.00002") and rate.statistics().tokens == 15
    assert "what provider 'scripted' says is left cannot be read" in caplog.text


@pytest.mark.parametrize(
    "settings", [{"prec": 1}, {"prec": 1, "traps": [decimal.Inexact]}, {"prec": 2, "Emax": 2, "Emin": -2}]
)
def test_no_decimal_context_changes_a_limit(settings: Any) -> None:
    limits = ai.UsageLimits(cost="0.0145")
    reported = [{"cost": "0.00301", "requests": 1}] * 4
    with decimal.localcontext(decimal.Context(**settings)):
        assert check(limits, reported, 1, 9, Decimal("0.00246"), "it") == 9
        with pytest.raises(ai.LimitExceeded):
            check(limits, reported, 1, 9, Decimal("0.00247"), "it")
        assert str(price_of("1.249")) == "1.249" and str(price_of("-0")) == "0"
        told: list[ai.Alert] = []
        budget = ai.Budget(day="0.000057", alerts=(0.35,), on_alert=told.append)
        asking(Own(reply("x")), budget)
    assert spent(budget) == Decimal("0.00002") and len(told) == 1
    assert str(price_of("0.12345678901234567890123456789")) == "0.12345678901234567890123456789"


@pytest.mark.parametrize(("said", "sent"), [(None, 20), (500, 100), (7, 7)])
def test_limits_lower_and_do_not_raise(said: int | None, sent: int) -> None:
    provider, dag = ai.Scripted(reply("x")), flow.Dag("d")
    asked = model(provider, tokens=Words(), max_output_tokens=20)
    ai.llm(dag, "a", model=asked, prompt="q", max_output_tokens=said, limits=ai.UsageLimits(output_tokens=100))
    flow.run(dag)
    assert provider.requests[0].max_output_tokens == sent


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 10.0, "completion_tokens": "5"}, Tokens(10, 5)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": []}, Tokens(10, 5)),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": "4"}},
            Tokens(10, 5, 4),
        ),
        ({"prompt_tokens": 10.5, "completion_tokens": 5}, None),
        ({"prompt_tokens": 10, "completion_tokens": 2**41}, None),
        ({"prompt_tokens": 10, "completion_tokens": "5" * 5_000}, None),
        ({"prompt_tokens": True, "completion_tokens": 5}, None),
        ([1], None),
        ("10", None),
    ],
)
def test_usage_of_another_form(usage: Any, tokens: Tokens | None) -> None:
    found = answered(WHERE, ChatCompletions("max_tokens"), body(usage=usage), ASKED)
    assert (found.text, found.tokens) == ("a b c", tokens)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"input_tokens": 10.0, "output_tokens": "5", "output_tokens_details": []}, Tokens(10, 5)),
        ({"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": "x"}, None),
        ("10", None),
    ],
)
def test_usage_of_another_form_at_anthropic(usage: Any, tokens: Tokens | None) -> None:
    said = {"content": [{"type": "text", "text": "x"}], "usage": usage}
    assert answered(WHERE, Messages(4096), said, ASKED).tokens == tokens


def test_usage_that_cannot_be_holds_nobody_back_for_ever() -> None:
    rate = ai.RateLimiter(tokens_per_minute=100)
    asking(Own(reply("x", tokens=Tokens(2**40, 5))), ai.Budget(day="1"), rate=rate)
    assert rate.statistics().tokens == 500


def test_costs_that_cannot_be_fit_into_a_store(tmp_path: Path) -> None:
    with flow.store.memory() as memory, flow.store.open(tmp_path / "runs.db") as store:
        for one in (None, memory, store):
            budget = ai.Budget(day="1000000", month="1000000", store=one, on_unknown="ignore")
            for _ in range(12):  # nothing is known before: nothing is refused
                assert asking(Own(reply("x", tokens=Tokens(0, 2**40))), budget, max_output_tokens=None).ok
            assert [account.spent for account in budget.statistics()] == [dollars(2**63 - 1)] * 2


@pytest.mark.parametrize(
    "value", ["12 rows", [1], {"cost": 0.5}, {"cost": "-3"}, {"cost": "NaN"}, {"budgets": 3, "cost": "x"}]
)
def test_reports_of_ones_own_under_the_same_name(value: Any) -> None:
    budget, dag = ai.Budget(run="1"), flow.Dag("d")

    def own(ctx: flow.Context) -> str:
        ctx.report("usage", value)
        return "q"

    dag.add("q", own)
    ai.llm(dag, "a", model=model(Own(reply("x")), tokens=Words()), prompt="{{ q }}", max_output_tokens=9, budget=budget)
    flow.run(dag)
    assert spent(budget) == Decimal("0.00002")
    assert check(ai.UsageLimits(requests=1), [value], 1, 9, None, "it") == 9
