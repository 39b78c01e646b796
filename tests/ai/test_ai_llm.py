"""One node that asks a model: what it asks, what it gives, what it reports, whatever happens."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import anyio
import msgspec
import pytest
from ai_cases import Slow, Words, calls, cost, model, reply, took, used, without

import flow
from flow import ai
from flow.ai.messages import Message, Reply, Request, Tokens, ToolSpec


class Summary(msgspec.Struct):
    title: str
    points: list[str] = []


def look(place: str) -> str:
    """Look."""
    raise AssertionError("an llm calls no tool")


def asking(provider: Any, prompt: Any = "{{ text }}", **settings: Any) -> flow.Dag:
    dag = flow.Dag("d")
    ai.llm(dag, "ask", model=model(provider), prompt=prompt, **settings)
    return dag


def failing(dag: flow.Dag, **config: Any) -> tuple[flow.RunError, Exception]:
    """Run a Dag that fails, and return its error and the one of its node."""
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag, {"text": "x"}, config=flow.Config(clock=flow.testing.FakeClock(), **config))
    return caught.value, caught.value.exceptions[0]


class TestWhatIsAsked:
    def test_the_whole_request(self) -> None:
        provider = ai.Scripted("a text")
        dag = flow.Dag("d")
        dag.add("country", lambda: "France")
        ref = ai.llm(
            dag, "ask", model=model(provider), system="Be {{ tone }}.", prompt="Capital of {{ country }}?",
            messages=[Message("user", "hi"), {"role": "assistant", "content": "hello"}], temperature=0.5,
            max_output_tokens=7, stop=["\n"], options={"seed": 3},
        )  # fmt: skip
        result = flow.run(dag, {"tone": "brief"})
        assert result[ref] == "a text"
        assert provider.requests == [
            Request(
                "m",
                (
                    Message("system", "Be brief."), Message("user", "hi"), Message("assistant", "hello"),
                    Message("user", "Capital of France?"),
                ),
                max_output_tokens=7, temperature=0.5, stop=("\n",), options={"seed": 3},
            )
        ]  # fmt: skip

    @pytest.mark.parametrize("is_async", [False, True])
    def test_functions_and_the_context(self, is_async: bool) -> None:
        provider = ai.Scripted(reply("a text"))

        def system(ctx: flow.Context) -> str:
            return f"You are {ctx.node}."

        def plain(text: str, tone: str = "brief") -> str:
            return f"{text} ({tone})"

        async def awaited(text: str, tone: str = "brief") -> str:
            return f"{text} ({tone})"

        dag = asking(provider, awaited if is_async else plain, system=system)
        assert flow.run(dag, {"text": "x"})["ask"] == "a text"
        assert provider.requests[0].messages == (Message("system", "You are ask."), Message("user", "x (brief)"))
        assert dag.compile().required_inputs == ("text",)

    def test_options_of_a_node_are_those_of_the_node(self) -> None:
        provider = ai.Scripted(reply("one"))
        dag = flow.Dag("d")
        dag.add("other", lambda: "o")
        dag.add("go", lambda: False)
        ai.llm(
            dag, "ask", model=model(provider), prompt="{{ text }}", needs={"text": "other"}, cost=2.0,
            when=lambda go: not go,
        )  # fmt: skip
        ai.llm(dag, "not", model=model(provider), prompt="x", when=lambda go: go, after="ask")
        result = flow.run(dag)
        assert dict(result) == {"other": "o", "go": False, "ask": "one"} and str(result.status["not"]) == "bypassed"
        assert provider.requests[0].messages == (Message("user", "o"),)
        ai.llm(dag, "ask", model=model(ai.Scripted(reply("new"))), prompt="y", replace=True)
        assert flow.run(dag)["ask"] == "new"

    def test_a_fallback_and_continue_on_error(self) -> None:
        down = ai.Scripted(lambda request: ai.RequestRejected("bad", status=400))
        assert flow.run(asking(down, fallback=lambda error: type(error).__name__), {"text": "x"})["ask"] == (
            "RequestRejected"
        )
        result = flow.run(asking(down, continue_on_error=True), {"text": "x"})
        assert str(result.status["ask"]) == "failed"


class TestOutput:
    def test_a_value(self) -> None:
        provider = ai.Scripted({"title": "T", "points": ["a"]})
        dag = asking(provider, output=Summary)
        assert flow.run(dag, {"text": "x"})["ask"] == Summary("T", ["a"])
        assert provider.requests[0].output == ai.OutputType(Summary).spec

    def test_the_whole_reply_with_tools(self) -> None:
        asked = calls(("look", '{"place": "x"}'))
        provider = ai.Scripted(asked)
        dag = asking(provider, output=Reply, tools=[look])
        assert flow.run(dag, {"text": "x"})["ask"] == msgspec.structs.replace(asked, model="m")
        assert provider.requests[0].tools == (ai.tool(look).spec,)
        assert isinstance(provider.requests[0].tools[0], ToolSpec)

    def test_it_is_told_what_is_wrong_and_asked_once_more(self) -> None:
        provider = ai.Scripted(reply('{"points": 3}'), reply('{"title": "T"}'))
        result = flow.run(asking(provider, output=Summary), {"text": "x"})
        assert result["ask"] == Summary("T")
        first, second = (request.messages for request in provider.requests)
        assert second[:2] == (*first, Message("assistant", '{"points": 3}'))
        assert second[2].role == "user"
        told = str(second[2].content)
        assert "title" in told and "points" in told and "Write the whole answer again" in told
        assert took(result) == [used(), used()]

    @pytest.mark.parametrize("repair", [0, 2])
    def test_after_all_repairs_it_fails(self, repair: int) -> None:
        provider = ai.Scripted(lambda request: reply("no json"))
        error, cause = failing(asking(provider, output=Summary, repair=repair, retry=flow.Retry(3)))
        assert isinstance(cause, ai.OutputMismatch) and cause.text == "no json"
        assert took(error) == [used()] * (repair + 1)  # and no other attempt: the model has been told

    @pytest.mark.parametrize("show_values", [True, False])
    def test_the_error_repeats_values_only_where_they_may_be_shown(self, show_values: bool) -> None:
        provider = ai.Scripted(lambda request: reply('{"title": 4711}'))
        _, cause = failing(asking(provider, output=Summary), show_values=show_values)
        assert ("4711" in str(cause)) == show_values and "4711" in str(provider.requests[1].messages[-1].content)

    @pytest.mark.parametrize("output", [str, Summary])
    def test_an_answer_that_is_cut_off(self, output: Any) -> None:
        provider = ai.Scripted(reply("one two", finish="length"))
        error, cause = failing(asking(provider, output=output, max_output_tokens=2, retry=flow.Retry(3)))
        assert isinstance(cause, ai.Truncated) and cause.text == "one two" and "(2 at most)" in str(cause)
        assert ("on_truncated='keep'" in str(cause)) == (output is str)
        assert took(error) == [used()]

    def test_a_text_that_is_cut_off_may_be_kept(self) -> None:
        provider = ai.Scripted(reply("one two", finish="length"))
        assert flow.run(asking(provider, on_truncated="keep"), {"text": "x"})["ask"] == "one two"

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (reply("", refusal="I may not"), "I may not"),
            (reply("never", finish="refused"), "never"),
            (reply("par", finish="filtered"), "par"),
        ],
        ids=["refusal", "refused", "filtered"],
    )
    def test_a_refusal(self, answer: Reply, said: str) -> None:
        error, cause = failing(asking(ai.Scripted(answer), output=Summary, retry=flow.Retry(3)))
        assert isinstance(cause, ai.Refused) and cause.text == said and said not in str(cause)
        assert took(error) == [used()]


class TestStreams:
    def pieces(self, dag: flow.Dag) -> tuple[flow.Result, list[tuple[str, bool, int]]]:
        events: list[Any] = []
        config = flow.Config(observers=[events.append], clock=flow.testing.FakeClock())
        result = flow.run(dag, {"text": "x"}, config=config)
        return result, [(e.value, e.append, e.offset) for e in events if isinstance(e, flow.events.NodeEmitted)]

    def test_texts_come_in_pieces_where_somebody_listens(self) -> None:
        result, pieces = self.pieces(asking(ai.Scripted(reply("one two"))))
        assert result["ask"] == "one two" and pieces == [("one", True, 0), (" two", True, 3)]
        assert took(result) == [used()]

    @pytest.mark.parametrize("settings", [{"stream": False}, {"output": list[int]}], ids=["asked", "value"])
    def test_not_if_it_is_not_to_or_if_it_is_a_value(self, settings: Any) -> None:
        assert self.pieces(asking(ai.Scripted(reply('{"value": [1, 2]}')), **settings))[1] == []

    def test_nobody_listens(self) -> None:
        provider = ai.Scripted(reply("one two"))
        provider.stream = None  # type: ignore[assignment, method-assign]
        assert flow.run(asking(provider), {"text": "x"})["ask"] == "one two"

    def test_it_may_be_told_to(self) -> None:
        provider = ai.Scripted(reply('{"value": [1]}'))
        provider.complete = provider.complete  # type: ignore[method-assign]
        result, pieces = self.pieces(asking(provider, output=list[int], stream=True))
        assert result["ask"] == [1] and "".join(piece for piece, _, _ in pieces) == '{"value": [1]}'

    def test_what_was_not_taken_is_taken_back(self) -> None:
        provider = ai.Scripted(reply("nothing"), reply('{"value": [1]}'))
        result, pieces = self.pieces(asking(provider, output=list[int], stream=True))
        assert result["ask"] == [1]
        assert pieces == [("nothing", True, 0), ("", False, 0), ('{"value":', True, 0), (" [1]}", True, 9)]

    def test_an_attempt_begins_anew(self) -> None:
        provider = ai.Scripted(reply("one two", finish="length"), reply("three"))
        dag = asking(provider, retry=flow.Retry(2, retry_if=ai.Truncated))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ai.Truncated, "retryable", True)
            _, pieces = self.pieces(dag)
        assert pieces == [("one", True, 0), (" two", True, 3), ("three", True, 0)]

    def test_a_stream_without_its_end_is_an_error(self) -> None:
        class Endless(Slow):
            async def stream(self, request: Request) -> Any:
                yield ai.Delta("one two")

        provider = Endless()
        dag = flow.Dag("d")
        ai.llm(dag, "ask", model=model(provider, tokens=Words()), prompt="{{ text }}", stream=True)
        error, cause = failing(dag)
        assert isinstance(cause, ai.ReplyInvalid) and cause.retryable
        assert took(error) == [
            used(input_tokens=1, output_tokens=2, cost=f"{cost(1, 2):f}", estimated=True, error="ReplyInvalid")
        ]

    def test_what_is_no_answer_is_an_error(self) -> None:
        class Own:
            """A provider that says nothing of its rates, and answers by a text."""

            name = "scripted"

            async def complete(self, request: Request) -> Any:
                return "a text"

            def stream(self, request: Request) -> Any: ...

        dag = flow.Dag("d")
        rate = ai.RateLimiter(concurrency=1)
        ai.llm(dag, "ask", model=model(Own(), tokens=Words()), prompt="{{ text }}", rate=rate)
        error, cause = failing(dag)
        assert isinstance(cause, ai.ReplyInvalid) and "scripted:m: it gave a str for an answer" in str(cause)
        assert len(took(error)) == 1 and rate.statistics().in_flight == 0


def broken(kind: type[Exception], *args: Any, **fields: Any) -> Exception:
    error = kind(*args or ("down",))
    for name, value in fields.items():
        setattr(error, name, value)
    return error


class TestReports:
    """Exactly one for each request that has gone out."""

    def test_tokens_that_the_provider_says(self) -> None:
        tokens = Tokens(input=100, output=50, cached=40, cache_write=0, reasoning=20)
        dag = flow.Dag("d")
        priced = ai.Model(ai.Scripted(reply("a", tokens=tokens)), "m", "1", "2", cached_price="0.5")
        ai.llm(dag, "ask", model=priced, prompt="{{ text }}")
        assert took(flow.run(dag, {"text": "x"})) == [
            used(input_tokens=100, output_tokens=50, cached_tokens=40, reasoning_tokens=20, cost="0.0001800")
        ]

    def test_tokens_that_nobody_says_are_counted(self) -> None:
        slow = Slow("one", "two")

        async def complete(request: Request) -> Reply:
            return reply("one two three", tokens=None)

        slow.complete = complete  # type: ignore[method-assign]
        dag = flow.Dag("d")
        ai.llm(dag, "ask", model=model(slow, tokens=Words()), prompt="one two {{ text }}")
        assert took(flow.run(dag, {"text": "x"})) == [
            used(input_tokens=3, output_tokens=3, cost=f"{cost(3, 3):f}", estimated=True)
        ]

    def test_an_unknown_price_is_no_cost_of_zero(self) -> None:
        dag = flow.Dag("d")
        ai.llm(dag, "ask", model=ai.Model(ai.Scripted(reply("a"), name="nobody"), "m"), prompt="{{ text }}")
        (report,) = took(flow.run(dag, {"text": "x"}))
        assert report["cost"] is None

    @pytest.mark.parametrize(
        ("error", "reports"),
        [
            (broken(ai.RateLimited), [used(input_tokens=0, output_tokens=0, cost="0", error="RateLimited")]),
            (broken(ai.RequestRejected), [used(input_tokens=0, output_tokens=0, cost="0", error="RequestRejected")]),
            (
                broken(ai.ProviderUnavailable, status=503),
                [used(input_tokens=0, output_tokens=0, cost="0", error="ProviderUnavailable")],
            ),
            (broken(ai.ConnectionFailed), []),
            (
                broken(ai.ConnectionFailed, sent=True),
                [used(input_tokens=1, output_tokens=0, cost="0.000001", estimated=True, error="ConnectionFailed")],
            ),
            (
                broken(ai.ReplyInvalid),
                [used(input_tokens=1, output_tokens=0, cost="0.000001", estimated=True, error="ReplyInvalid")],
            ),
            (
                broken(OSError),
                [used(input_tokens=1, output_tokens=0, cost="0.000001", estimated=True, error="OSError")],
            ),
        ],
        ids=lambda one: type(one).__name__ if isinstance(one, Exception) else "",
    )
    def test_failures(self, error: Exception, reports: list[Any]) -> None:
        dag = flow.Dag("d")
        ai.llm(dag, "ask", model=model(ai.Scripted(error), tokens=Words()), prompt="{{ text }}")
        failed, cause = failing(dag)
        assert cause is error and took(failed) == reports

    def test_each_attempt_has_its_own(self) -> None:
        provider = ai.Scripted(broken(ai.RateLimited), broken(ai.ReplyInvalid), reply("good"))
        dag = flow.Dag("d")
        ai.llm(dag, "ask", model=model(provider, tokens=Words()), prompt="{{ text }}", retry=flow.Retry(3))
        result = flow.run(dag, {"text": "x"}, config=flow.Config(clock=flow.testing.FakeClock()))
        assert [one["error"] for one in took(result)] == ["RateLimited", "ReplyInvalid", ""]
        assert [report.attempt for report in result.reports] == [1, 2, 3]

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("how", ["cancel", "timeout", "run timeout", "other node"])
    def test_what_is_cut_off(self, on_loop: Callable[..., Any], stream: bool, how: str) -> None:
        """Cancelled, out of time, or ended by the failure of another node: in the middle of its answer."""
        dag = flow.Dag("d")
        slow = Slow("three ", "four ")
        ai.llm(
            dag, "ask", model=model(slow, tokens=Words()), prompt="one two", stream=stream,
            timeout=0.05 if how == "timeout" else None,
        )  # fmt: skip

        @dag.node
        async def other() -> None:
            await slow.asked.wait()
            if how == "other node":
                raise OSError("elsewhere")

        async def main() -> None:
            config = flow.Config(timeout=0.05) if how == "run timeout" else None
            async with flow.start(dag, config=config) as run:
                await slow.asked.wait()
                if how == "cancel":
                    run.cancel()
                with pytest.raises(flow.RunError) as caught:
                    await run.result()
            (one,) = took(caught.value)
            output = 2 if stream else 0
            expected = used(input_tokens=2, output_tokens=output, cost=f"{cost(2, output):f}", estimated=True)
            assert {**one, "error": ""} == expected and one["error"] in ("CancelledError", "Cancelled")

        on_loop(main)

    def test_what_the_provider_has_said_before_its_stream_broke_off(self) -> None:
        slow = Slow("one ", end=broken(ai.ConnectionFailed, sent=True), first=Tokens(100, 1, cached=90))

        async def main() -> flow.RunError:
            slow.go.set()
            dag = flow.Dag("d")
            ai.llm(dag, "ask", model=model(slow, tokens=Words()), prompt="{{ text }}", stream=True)
            with pytest.raises(flow.RunError) as caught:
                await flow.execute(dag, {"text": "x"})
            return caught.value

        error = anyio.run(main)
        assert took(error) == [
            used(
                input_tokens=100, output_tokens=1, cached_tokens=90, cost=f"{cost(100, 1):f}", estimated=True,
                error="ConnectionFailed",
            )
        ]  # fmt: skip

    def test_what_waits_for_its_turn_has_no_report(self, on_loop: Callable[..., Any]) -> None:
        rate = ai.RateLimiter(concurrency=1)
        slow = Slow()
        dag = flow.Dag("d")
        for name in ("one", "two"):
            ai.llm(dag, name, model=model(slow, tokens=Words()), prompt="x", rate=rate)

        async def main() -> None:
            async with flow.start(dag) as run:
                await slow.asked.wait()
                await anyio.wait_all_tasks_blocked()
                assert rate.statistics().waiting == 1
                run.cancel()
                with pytest.raises(flow.RunError) as caught:
                    await run.result()
            assert len(took(caught.value)) == 1 and len(slow.requests) == 1
            assert (rate.statistics().in_flight, rate.statistics().waiting) == (0, 0)

        on_loop(main)

    @pytest.mark.parametrize("phase", ["cache", "rate", "budget"])
    def test_a_time_limit_while_it_waits(self, on_loop: Callable[..., Any], phase: str) -> None:
        """Of the second node, which waits for the first one's answer, or for its place, or has no room."""
        settings: dict[str, Any] = {
            "cache": {"cache": ai.Cache()},
            "rate": {"rate": ai.RateLimiter(concurrency=1)},
            "budget": {
                "budget": ai.Budget(run="0.000030"),
                "retry": flow.Retry(50, delay=0.01, retry_if=ai.BudgetExceeded),
            },
        }[phase]
        slow = Slow("a")
        dag = flow.Dag("d")
        for name, timeout in (("one", None), ("two", flow.Timeout(node=0.03))):
            ai.llm(
                dag, name, model=model(slow, tokens=Words()), prompt="x", timeout=timeout, max_output_tokens=10,
                continue_on_error=name == "two", **settings,
            )  # fmt: skip

        async def main() -> flow.Result:
            async with flow.start(dag) as run:
                while str(run.status("two")) != "failed":
                    await anyio.sleep(0.005)
                slow.go.set()
                return await run.result()

        result = on_loop(main)
        (report,) = took(result)
        assert result["one"] == "a" and without(report, "budgets") == used()
        assert ("budgets" in report) is (phase == "budget")
        assert isinstance(result.errors["two"], (flow.NodeTimeout, ai.BudgetExceeded)) and len(slow.requests) == 1

    def test_content_is_kept_nowhere_unless_it_is_to_be(self) -> None:
        events: list[Any] = []
        store = flow.store.memory()
        dag = asking(ai.Scripted(reply("an answer")), "a question", stream=False)
        result = flow.run(dag, run_id="r", store=store, config=flow.Config(observers=[events.append]))
        assert "question" not in repr((events, result.reports)) and "answer" not in repr((events, result.reports))
        result = flow.run(asking(ai.Scripted(reply("an answer")), "a question", capture=True))
        assert took(result, "exchange") == [
            {
                "provider": "scripted", "model": "m", "messages": [{"role": "user", "content": "a question"}],
                "reply": {**msgspec.to_builtins(reply("an answer", model="m")), "tool_calls": []},
            }
        ]  # fmt: skip


class TestLimits:
    def test_repairs_and_attempts_count_together(self) -> None:
        provider = ai.Scripted(lambda request: reply("no json"))
        limits = ai.UsageLimits(requests=2)
        error, cause = failing(asking(provider, output=Summary, repair=9, limits=limits, retry=flow.Retry(3)))
        assert isinstance(cause, ai.LimitExceeded) and "node 'ask'" in str(cause)
        assert took(error) == [used()] * 2

    def test_the_most_output_tokens_are_lowered_to_what_is_left(self) -> None:
        provider = ai.Scripted(reply("no json"), reply('{"title": "T"}'))
        dag = asking(provider, output=Summary, limits=ai.UsageLimits(output_tokens=12), max_output_tokens=50)
        flow.run(dag, {"text": "x"})
        assert [request.max_output_tokens for request in provider.requests] == [12, 7]

    def test_a_cost(self) -> None:
        provider = ai.Scripted(reply("a"))
        dag = flow.Dag("d")
        ai.llm(
            dag, "ask", model=model(provider, tokens=Words()), prompt="{{ text }}", max_output_tokens=100,
            limits=ai.UsageLimits(cost="0.0002"),
        )  # fmt: skip
        _, cause = failing(dag)
        assert isinstance(cause, ai.LimitExceeded) and provider.requests == []

    def test_each_item_of_a_map_has_its_own(self) -> None:
        provider = ai.Scripted(lambda request: reply("a"))
        each = flow.Dag("each")
        ai.llm(each, "ask", model=model(provider), prompt="{{ item }}", limits=ai.UsageLimits(requests=1))
        dag = flow.Dag("d")
        dag.map("all", each, over="items")
        result = flow.run(dag, {"items": ["a", "b", "c"]})
        assert ai.usage(result).by_node["all"].requests == 3


class TestBudgets:
    def priced(self, provider: Any, budget: ai.Budget, **settings: Any) -> flow.Dag:
        dag = flow.Dag("d")
        ai.llm(
            dag, "ask", model=model(provider, tokens=Words()), prompt="{{ text }}", budget=budget,
            max_output_tokens=100, **settings,
        )  # fmt: skip
        return dag

    def test_it_is_settled_by_what_was_spent(self) -> None:
        budget = ai.Budget(day="1", name="b")
        result = flow.run(self.priced(ai.Scripted(reply("a")), budget), {"text": "x"})
        (stats,) = [one for one in budget.statistics() if one.window == "day"]
        assert (stats.spent, stats.reserved) == (cost(), 0)
        assert took(result) == [used(budgets={"b": stats.account})]

    @pytest.mark.parametrize(
        ("error", "spent"),
        [(broken(ai.RateLimited), Decimal(0)), (broken(ai.ConnectionFailed, sent=True), cost(1, 100))],
        ids=["free", "unknown"],
    )
    def test_a_request_whose_end_nobody_knows_counts_what_was_reserved(self, error: Exception, spent: Decimal) -> None:
        budget = ai.Budget(day="1", name="b")
        failing(self.priced(ai.Scripted(error), budget))
        (stats,) = [one for one in budget.statistics() if one.window == "day"]
        assert (stats.spent, stats.reserved) == (spent, 0)

    def test_the_most_output_of_a_provider_or_a_model_is_reserved(self) -> None:
        provider = ai.Scripted(reply("a"))
        for settings, asked in (({}, None), ({"max_output_tokens": 70}, cost(1, 70))):
            dag = flow.Dag("d")
            one = model(provider, tokens=Words(), **settings)
            ai.llm(dag, "ask", model=one, prompt="{{ text }}", budget=ai.Budget(run="0.00001"))
            _, cause = failing(dag)
            assert isinstance(cause, ai.UnknownModel if asked is None else ai.BudgetExceeded)
            assert getattr(cause, "asked", None) == asked
        assert ai.Anthropic(api_key="k", max_output_tokens=50).max_output_tokens == 50
        provider.max_output_tokens = 50  # type: ignore[attr-defined]
        _, cause = failing(dag)
        assert isinstance(cause, ai.BudgetExceeded) and cause.asked == cost(1, 50) and provider.requests == []

    def test_a_call_for_which_there_is_no_room_is_not_made(self) -> None:
        provider = ai.Scripted(reply("a"))
        error, cause = failing(self.priced(provider, ai.Budget(run="0.0001"), retry=flow.Retry(3)))
        assert isinstance(cause, ai.BudgetExceeded) and provider.requests == [] and took(error) == []


class Breaker:
    """As a breaker of flow: refuses while it is open."""

    def __init__(self) -> None:
        self.open = False
        self.told: list[Any] = []

    def __call__(self, ctx: flow.Context) -> None:
        if self.open:
            raise ai.ProviderUnavailable("open")

    def settled(self, ctx: flow.Context, error: BaseException | None) -> None:
        self.told.append(None if error is None else type(error).__name__)


class TestOtherModels:
    def asks(self, *providers: Any, **settings: Any) -> flow.Dag:
        dag = flow.Dag("d")
        first, *others = [model(provider, f"m{at}", tokens=Words()) for at, provider in enumerate(providers)]
        ai.llm(dag, "ask", model=first, fallback_models=others, prompt="{{ text }}", **settings)
        return dag

    def test_the_next_one_is_asked_in_the_same_attempt(self) -> None:
        one, two = ai.Scripted(broken(ai.QuotaExceeded)), ai.Scripted(reply("two"))
        result = flow.run(self.asks(one, two), {"text": "x"})
        assert result["ask"] == "two" and [(r["model"], r["error"]) for r in took(result)] == [
            ("m0", "QuotaExceeded"), ("m1", ""),
        ]  # fmt: skip
        assert [report.attempt for report in result.reports] == [1, 1]
        assert list(ai.usage(result).by_model) == ["scripted:m0", "scripted:m1"]

    def test_the_next_attempt_begins_with_the_first(self) -> None:
        one, two = ai.Scripted(broken(ai.RateLimited), reply("one")), ai.Scripted(broken(ai.ProviderUnavailable))
        dag = self.asks(one, two, retry=flow.Retry(2))
        result = flow.run(dag, {"text": "x"}, config=flow.Config(clock=flow.testing.FakeClock()))
        assert result["ask"] == "one" and [r["model"] for r in took(result)] == ["m0", "m1", "m0"]

    def test_the_error_is_one_after_which_another_attempt_makes_sense(self) -> None:
        limited, denied = broken(ai.RateLimited, retry_after=7.0), broken(ai.AccessDenied)
        _, cause = failing(self.asks(ai.Scripted(limited), ai.Scripted(denied)))
        assert cause is limited and "scripted:m1 has failed, too: AccessDenied: down" in cause.__notes__
        _, cause = failing(self.asks(ai.Scripted(broken(ai.QuotaExceeded)), ai.Scripted(denied)))
        assert cause is denied

    @pytest.mark.parametrize(
        "bad",
        [broken(ai.RequestRejected), reply("", refusal="no"), reply("a", finish="length"), broken(ValueError)],
        ids=["rejected", "refused", "truncated", "bug"],
    )
    def test_what_is_no_fault_of_the_provider_asks_no_other(self, bad: Any) -> None:
        two = ai.Scripted(reply("two"))
        failing(self.asks(ai.Scripted(bad), two))
        assert two.requests == []

    def test_limits_and_budgets_ask_no_other(self) -> None:
        two = ai.Scripted(reply("two"))
        for settings in ({"limits": ai.UsageLimits(input_tokens=1)}, {"budget": ai.Budget(run="0.0000001")}):
            dag = flow.Dag("d")
            first, second = model(ai.Scripted(), tokens=Words()), model(two, tokens=Words())
            ai.llm(
                dag,
                "ask",
                model=first,
                fallback_models=[second],
                prompt="{{ text }} two",
                max_output_tokens=9,
                **settings,
            )
            failing(dag)
        assert two.requests == []

    def test_the_rate_and_the_breaker_are_those_of_the_first_provider(self) -> None:
        breaker = Breaker()
        breaker.open = True
        other = ai.Scripted(reply("other"), name="other")
        rate = ai.RateLimiter(concurrency=1)
        dag = self.asks(ai.Scripted(reply("one")), ai.Scripted(reply("two")), other, breaker=breaker, rate=rate)
        assert flow.run(dag, {"text": "x"})["ask"] == "other"
        assert breaker.told == [] and rate.statistics().let_in == 2 and rate.statistics().in_flight == 0

    def test_what_waits_for_its_rate_has_reserved_nothing(self) -> None:
        """One reservation has room at a time, and one call is made at a time."""

        class Suspends(ai.Scripted):
            async def complete(self, request: Request) -> ai.Reply:
                await anyio.sleep(0.001)
                return await super().complete(request)

        dag, one = flow.Dag("d"), model(Suspends(lambda request: reply("a")), tokens=Words())
        bounds: dict[str, Any] = {"rate": ai.RateLimiter(concurrency=1), "budget": ai.Budget(run="0.00025")}
        for name in ("a", "b", "c"):
            ai.llm(dag, name, model=one, prompt="x", max_output_tokens=100, **bounds)
        assert flow.run(dag).outputs == {"a": "a", "b": "a", "c": "a"}

    def test_an_open_breaker_of_flow_asks_the_next_provider(self) -> None:
        breaker = flow.Breaker(failures=1, seconds=30.0)
        down, other = (
            ai.Scripted(lambda request: broken(ai.ProviderUnavailable)),
            ai.Scripted(lambda request: reply("other"), name="other"),
        )
        dag = self.asks(down, other, breaker=breaker)
        assert [flow.run(dag, {"text": "x"})["ask"] for _ in range(3)] == ["other"] * 3
        assert len(down.requests) == 1 and breaker.state == "open"
        _, cause = failing(self.asks(down, breaker=breaker))
        assert isinstance(cause, flow.errors.BreakerOpen)

    def test_one_that_is_awaited_holds_no_slot(self) -> None:
        """As what a user may write with the methods of a breaker."""
        order: list[str] = []

        class Waits(Breaker):
            async def __call__(self, ctx: flow.Context) -> None:  # type: ignore[override]
                order.append("waits")
                await flow.clock.SYSTEM_CLOCK.wait(0.0)
                await anyio.sleep(0.001)

        dag = asking(ai.Scripted(lambda request: order.append("asked") or reply("a")), breaker=Waits())
        dag.add("other", lambda: order.append("other"))
        flow.run(dag, {"text": "x"}, config=flow.Config(limit=1, mode="tasks"))
        assert order == ["waits", "other", "asked"]

    def test_a_429_does_not_open_it(self) -> None:
        breaker = flow.Breaker(failures=1)
        failing(asking(ai.Scripted(broken(ai.RateLimited)), breaker=breaker))
        assert breaker.state == "closed"

    def test_the_breaker_is_told_how_each_request_has_ended(self) -> None:
        breaker = Breaker()
        dag = asking(ai.Scripted(broken(ai.ProviderUnavailable), reply("a")), breaker=breaker, retry=flow.Retry(2))
        flow.run(dag, {"text": "x"}, config=flow.Config(clock=flow.testing.FakeClock()))
        assert breaker.told == ["ProviderUnavailable", None]


class TestDefinition:
    def test_all_that_is_wrong_is_told_in_one_error(self) -> None:
        dag = flow.Dag("d")
        with pytest.raises(flow.errors.ConfigError) as caught:
            ai.llm(
                dag, "ask", model="gpt-4.1-mini", fallback_models="m", limits=3, budget=[1], rate=2, breaker=4,  # type: ignore
                cache={}, temperature=-1, max_output_tokens=0, stop="x", options=[1], stream="yes", repair=-1,
                on_truncated="never", capture=1, output=print, max_tokens=3, retries=2, thread=True,
            )  # fmt: skip
        assert [fault.partition(" ")[0].rstrip(":") for fault in caught.value.faults] == [
            "it", "it", "it", "fallback_models", "model", "budget", "limits", "rate", "cache", "breaker", "stream",
            "capture", "repair", "output", "temperature", "max_output_tokens", "stop", "options", "on_truncated", "it",
        ]  # fmt: skip
        text = str(caught.value)
        for hint in (
            "ai.llm 'ask' is not valid: 20 faults",
            "'max_tokens' (did you mean max_output_tokens=?)",
            "'retries' (did you mean retry=flow.Retry(attempts=3)?",
            "did you mean 'openai:gpt-4.1-mini'?",
            "it needs a prompt=..., or messages=...",
        ):
            assert hint in text
        assert len(dag) == 0

    @pytest.mark.parametrize(
        ("settings", "fault"),
        [
            ({"prompt": "{{ text"}, "{{"),
            ({"prompt": "x", "output": list[int], "on_truncated": "keep"}, "a part of a value is no value"),
            ({"prompt": "x", "tools": [look]}, "an llm calls none"),
            ({"prompt": 3}, "prompt= is a text with"),
            ({"prompt": "x", "limits": ai.UsageLimits}, "limits must be an ai.UsageLimits, or None"),
        ],
        ids=lambda one: "",
    )
    def test_each_of_these(self, settings: Any, fault: str) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
            ai.llm(flow.Dag("d"), "ask", model=model(ai.Scripted()), **settings)
        assert fault in str(caught.value)

    def test_the_error_ends_at_the_users_line(self) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
            ai.llm(None, "ask", model="openai:m", prompt="x")  # type: ignore[arg-type]
        assert caught.traceback[-1].path.name == "test_ai_llm.py"
        assert "the first argument is the flow.Dag that the node is added to, not None" in str(caught.value)

    def test_a_node_is_where_it_was_added(self) -> None:
        dag = asking(ai.Scripted())
        dag.add("other", lambda: 1, after="nobody")
        with pytest.raises(flow.DefinitionError):
            dag.compile()
        dag = flow.Dag("d")
        ai.llm(dag, "ask", model=model(ai.Scripted()), prompt="{{ text }}", after="nobody")
        with pytest.raises(flow.DefinitionError, match=r"test_ai_llm.py:\d+"):
            dag.compile()

    def test_it_says_which_model_it_asks(self) -> None:
        assert repr(asking(ai.Scripted())._definition.fns[0]) == "<request to scripted:m>"

    def test_its_type_is_known(self) -> None:
        dag = flow.Dag("d")
        ai.llm(dag, "ask", model=model(ai.Scripted()), prompt="x", output=Summary)

        def takes(ask: int) -> None: ...

        dag.add("takes", takes)
        with pytest.warns(flow.DefinitionWarning, match="Summary"):
            dag.compile(check_types=True)


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_many_at_once(backend: str) -> None:
    provider = ai.Scripted(lambda request: reply(str(request.messages[0].content).upper()))
    each = flow.Dag("each")
    ai.llm(each, "ask", model=model(provider), prompt="{{ item }}")
    dag = flow.Dag("d")
    dag.map("all", each, over="items", concurrency=20)
    result = flow.run(dag, {"items": [f"n{at}" for at in range(100)]}, config=flow.Config(backend=backend))
    assert [one["ask"] for one in result["all"]] == [f"N{at}" for at in range(100)]
    assert ai.usage(result).total.requests == 100 and ai.usage(result).total.cost == cost() * 100


class TestWhatBelongsElsewhere:
    """What users of other tools write, and what is told where the node is added."""

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"retry": 3}, "retry must be a flow.Retry, or None, not 3: flow.Retry(3)"),
            ({"retry": True}, "retry must be a flow.Retry, or None, not True"),
            ({"fallback": ai.Model("openai", "gpt-4.1")}, "(did you mean fallback_models=?)"),
            ({"fallback": [ai.Model("openai", "gpt-4.1"), "groq:llama"]}, "(did you mean fallback_models=?)"),
            ({"fallback": "openai:gpt-4.1"}, "(did you mean fallback_models=?)"),
            ({"checkpointer": object()}, "flow.run(dag, store=..., run_id=...)"),
            ({"memory": []}, "'memory' (did you mean messages=?)"),
            ({"over": "texts"}, "dag.map(name, that_dag, over=...)"),
        ],
    )
    @pytest.mark.parametrize("add", [ai.llm, ai.agent])
    def test_of_both(self, add: Any, settings: dict[str, Any], said: str) -> None:
        dag = flow.Dag("d")
        with pytest.raises(flow.errors.ConfigError) as caught:
            add(dag, "n", model=model(ai.Scripted()), prompt="x", **settings)
        assert said in str(caught.value) and len(caught.value.faults) == 1
        assert not dag._definition.names

    def test_of_calls_that_wait_for_a_person(self) -> None:
        for word in ("interrupt_before", "approve"):
            settings: dict[str, Any] = {word: []}
            with pytest.raises(flow.errors.ConfigError, match="wait for a person in an ai.agent: approve="):
                ai.llm(flow.Dag("d"), "n", model=model(ai.Scripted()), prompt="x", **settings)
        with pytest.raises(flow.errors.ConfigError, match="did you mean approve="):
            ai.agent(flow.Dag("d"), "n", model=model(ai.Scripted()), prompt="x", interrupt_before=[])  # type: ignore[call-overload]

    @pytest.mark.parametrize("other", ["note: none", "openai: is down", [], ["a"], {"a": 1}, None, 0, "mine:x"])
    def test_other_fallbacks_are_outputs(self, other: Any) -> None:
        down = ai.Scripted(ai.RequestRejected("bad", status=400))
        assert flow.run(asking(down, fallback=other), {"text": "x"})["ask"] == other


def test_a_time_limit_of_the_node_ends_the_attempt_and_its_other_models() -> None:
    """What docs/ai-providers.md says: a provider's own time limit is what lets the next one answer."""

    class Hangs(ai.Scripted):
        async def complete(self, request: Request) -> Reply:
            await anyio.sleep_forever()
            raise AssertionError

    other = ai.Scripted(reply("other"))
    _, cause = failing(asking(Hangs(), fallback_models=[model(other)], timeout=0.01))
    assert isinstance(cause, TimeoutError) and other.requests == []
    silent = ai.Scripted(ai.ConnectionFailed("the provider was silent for 20 s"))
    assert flow.run(asking(silent, fallback_models=[model(other)]), {"text": "x"})["ask"] == "other"
