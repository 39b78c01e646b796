"""A model that calls tools, round by round: what it is told, what happens when, and what a run shows of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import anyio
import msgspec
import pytest
from ai_cases import Slow, Words, calls, cost, model, reply, took, used

import flow
from flow import ai
from flow.ai.messages import Message, Request, ToolCall

Config = flow.Config


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def search(query: str) -> str:
    """Search."""
    await anyio.sleep(0)
    return f"found {query}"


def fails(why: str) -> str:
    """Fail."""
    raise ValueError(why)


def agent_of(provider: Any, prompt: Any = "{{ question }}", **settings: Any) -> flow.Dag:
    dag = flow.Dag("d")
    ai.agent(dag, "research", model=model(provider), prompt=prompt, **{"tools": [add, search, fails], **settings})
    return dag


def run(dag: flow.Dag, **settings: Any) -> flow.Result:
    return flow.run(dag, {"question": "q"}, config=Config(clock=flow.testing.FakeClock(), **settings))


def failing(dag: flow.Dag, **settings: Any) -> tuple[flow.RunError, Exception]:
    with pytest.raises(flow.RunError) as caught:
        run(dag, **settings)
    cause: BaseException = caught.value.exceptions[0]
    while isinstance(cause, flow.RunError):
        cause = cause.exceptions[0]
    assert isinstance(cause, Exception)
    return caught.value, cause


def told(request: Request) -> list[tuple[str, str, bool]]:
    """What a model is told of its calls: by their id."""
    return [(one.tool_call_id, str(one.content), one.is_error) for one in request.messages if one.role == "tool"]


class TestRounds:
    def test_the_whole_conversation(self) -> None:
        first = calls(("add", '{"a": 1, "b": 2}'), ("search", '{"query": "x"}'))
        provider = ai.Scripted(first, calls(("add", '{"a": 3, "b": 3}')), reply("six"))
        result = run(agent_of(provider, system="Be brief."))
        assert result["research"] == "six"
        one, two, three = provider.requests
        assert one.messages == (Message("system", "Be brief."), Message("user", "q"))
        assert one.tools == tuple([ai.tool(fn).spec for fn in (add, search, fails)])
        assert two.messages == (
            *one.messages,
            Message("assistant", "", first.tool_calls),
            Message("tool", "3", tool_call_id="c0"),
            Message("tool", "found x", tool_call_id="c1"),
        )
        assert three.messages[-1] == Message("tool", "6", tool_call_id="c0")
        assert took(result) == [used()] * 3
        usage = ai.usage(result)
        assert usage.by_node == {"research": usage.total} and usage.total.cost == cost() * 3

    def test_a_prompt_may_take_the_context(self) -> None:
        def prompt(ctx: flow.Context, question: str) -> str:
            return f"{ctx.node}: {question}"

        provider = ai.Scripted(reply("a"))
        assert run(agent_of(provider, prompt))["research"] == "a"
        assert provider.requests[0].messages == (Message("user", "research: q"),)

    def test_an_answer_at_once_calls_nothing(self) -> None:
        assert run(agent_of(ai.Scripted(reply("a")), tools=[]))["research"] == "a"

    def test_the_output_has_a_type(self) -> None:
        class Point(msgspec.Struct):
            x: int

        provider = ai.Scripted(calls(("add", '{"a": 1, "b": 2}')), reply("three"), reply('{"x": 3}'))
        dag = agent_of(provider, output=Point)
        dag.add("twice", lambda research: research.x * 2)
        assert run(dag)["twice"] == 6
        assert [one.role for one in provider.requests[-1].messages] == [
            "user",
            "assistant",
            "tool",
            "assistant",
            "user",
        ]
        assert all(request.output == ai.OutputType(Point).spec for request in provider.requests)

    def test_a_repair_may_ask_for_tools_again(self) -> None:
        again = calls(("add", '{"a": 1, "b": 2}'))
        provider = ai.Scripted(reply("no json"), again, reply('{"value": [3]}'))
        assert run(agent_of(provider, output=list[int]))["research"] == [3]
        roles = [one.role for one in provider.requests[-1].messages]
        assert roles == ["user", "assistant", "user", "assistant", "tool"]

    def test_options_of_the_node_are_those_of_the_loop(self) -> None:
        provider = ai.Scripted(lambda request: ai.RequestRejected("bad"))
        assert run(agent_of(provider, fallback="none"))["research"] == "none"
        dag = agent_of(provider, needs={"question": "other"}, after="other")
        dag.add("other", lambda: "o")
        dag.add("alarm", lambda: "rung", after={"research": "failed"})
        result = flow.run(dag)
        assert result["alarm"] == "rung" and provider.requests[-1].messages == (Message("user", "o"),)

    def test_several_agents_in_a_dag_and_in_a_map(self) -> None:
        def answer(request: Request) -> Any:
            text = str(request.messages[0].content)
            if len(request.messages) == 1:
                return calls(("search", msgspec.json.encode({"query": text}).decode()))
            return reply(f"{text}: {request.messages[-1].content}")

        each = flow.Dag("each")
        ai.agent(each, "inner", model=model(ai.Scripted(answer)), prompt="{{ item }}", tools=[search])
        dag = flow.Dag("d")
        dag.map("all", each, over="names")
        ai.agent(dag, "own", model=model(ai.Scripted(answer)), prompt="{{ names[0] }}", tools=[search])
        ai.agent(dag, "own", model=model(ai.Scripted(answer)), prompt="{{ names[1] }}", tools=[search], replace=True)
        result = flow.run(dag, {"names": ["x", "y"]})
        assert [one["inner"] for one in result["all"]] == ["x: found x", "y: found y"]
        assert result["own"] == "y: found y"
        assert {name: one.requests for name, one in ai.usage(result).by_node.items()} == {"all": 4, "own": 2}


class TestWhatTheModelIsTold:
    def test_what_is_wrong_fails_nothing(self) -> None:
        asked = calls(
            ("fails", '{"why": "it must"}'), ("ad", "{}"), ("add", '{"a": "x"}'), ("add", "{"),
            ("add", '{"a": 1, "b": 1}'),
        )  # fmt: skip
        provider = ai.Scripted(asked, reply("a"))
        result = run(agent_of(provider))
        assert result.ok and result["research"] == "a"
        found = told(provider.requests[1])
        assert [(call, error) for call, _, error in found] == [
            ("c0", True), ("c1", True), ("c2", True), ("c3", True), ("c4", False),
        ]  # fmt: skip
        texts = [text for _, text, _ in found]
        assert texts[0] == "The tool has failed: ValueError: it must"
        assert texts[1] == "There is no tool 'ad'. The tools are: add, search, fails."
        assert "a: expected an integer" in texts[2] and "b: expected an integer, and it is missing" in texts[2]
        assert texts[4] == "2"

    def test_not_more_than_the_tool_may_tell(self) -> None:
        @ai.tool(max_chars=30)
        def tells(fails: bool) -> str:
            """Tell."""
            if fails:
                raise ValueError("x" * 1_000)
            return "y" * 1_000

        provider = ai.Scripted(calls(("tells", '{"fails": true}'), ("tells", '{"fails": false}')), reply("a"))
        run(agent_of(provider, tools=[tells]))
        assert [text.count("x") + text.count("y") for _, text, _ in told(provider.requests[1])] <= [30, 30]
        assert all("[cut here" in text for _, text, _ in told(provider.requests[1]))

    def test_what_ends_the_run_ends_it(self) -> None:
        class Own(BaseException):
            pass

        def interrupts(x: int) -> None:
            """As Ctrl-C."""
            raise Own

        with pytest.raises(Own):
            run(agent_of(ai.Scripted(calls(("interrupts", '{"x": 1}'))), tools=[interrupts]))

    @pytest.mark.parametrize("on_error", ["stop", "collect"])
    def test_also_where_a_run_collects_errors(self, on_error: str) -> None:
        provider = ai.Scripted(calls(("fails", '{"why": "x"}')), reply("a"))
        try:
            config = Config(on_error=on_error)  # type: ignore[arg-type]
        except flow.errors.ConfigError:
            config = Config()
        assert flow.run(agent_of(provider), {"question": "q"}, config=config).ok
        assert told(provider.requests[1]) == [("c0", "The tool has failed: ValueError: x", True)]

    def test_secrets_are_masked_in_what_tools_raise(self) -> None:
        class Inputs(msgspec.Struct):
            question: str
            key: flow.Secret

        def leaks(x: int, ctx: flow.Context) -> None:
            """Leak."""
            raise ValueError("key-12345678 is wrong")

        provider = ai.Scripted(calls(("leaks", '{"x": 1}')), reply("a"))
        dag = flow.Dag("d", inputs=Inputs)
        ai.agent(dag, "research", model=model(provider), prompt="{{ question }}", tools=[leaks])
        flow.run(dag, {"question": "q", "key": "key-12345678"})
        assert told(provider.requests[1]) == [("c0", "The tool has failed: ValueError: *** is wrong", True)]


class TestTools:
    def test_one_that_is_tried_again(self) -> None:
        tries: list[int] = []

        @ai.tool(retry=flow.Retry(3))
        def flaky(x: int) -> int:
            """Flaky."""
            tries.append(x)
            if len(tries) < 3:
                raise OSError
            return x

        provider = ai.Scripted(calls(("flaky", '{"x": 7}')), reply("a"))
        run(agent_of(provider, tools=[flaky]))
        assert tries == [7, 7, 7] and told(provider.requests[1]) == [("c0", "7", False)]

    def test_one_in_a_thread_and_one_on_the_loop(self) -> None:
        seen: dict[str, str] = {}

        @ai.tool(thread=True)
        def there(x: int) -> int:
            """There."""
            seen["there"] = threading.current_thread().name
            return x

        def here(x: int) -> int:
            """Here."""
            seen["here"] = threading.current_thread().name
            return x

        provider = ai.Scripted(calls(("there", '{"x": 1}'), ("here", '{"x": 1}')), reply("a"))
        run(agent_of(provider, tools=[there, here]))
        assert seen["here"] == threading.main_thread().name != seen["there"]

    def test_one_that_is_out_of_time(self, on_loop: Callable[..., Any]) -> None:
        @ai.tool(timeout=0.01)
        async def slow(x: int) -> int:
            """Slow."""
            await anyio.sleep_forever()
            return x

        provider = ai.Scripted(calls(("slow", '{"x": 7}')), reply("a"))
        dag = agent_of(provider, tools=[slow])

        async def main() -> None:
            await flow.execute(dag, {"question": "q"})

        on_loop(main)
        ((_, text, is_error),) = told(provider.requests[1])
        assert is_error and "exceeded its attempt limit of 0.01 s" in text

    @pytest.mark.parametrize(("concurrency", "most"), [(1, 1), (3, 3), (None, 5)])
    def test_so_many_at_once(self, on_loop: Callable[..., Any], concurrency: int | None, most: int) -> None:
        now, found = [0], [0]

        async def busy(x: int) -> int:
            """Be busy."""
            now[0] += 1
            found[0] = max(found[0], now[0])
            await anyio.wait_all_tasks_blocked()
            now[0] -= 1
            return x

        provider = ai.Scripted(calls(*[("busy", f'{{"x": {at}}}') for at in range(5)]), reply("a"))
        dag = agent_of(provider, tools=[busy], concurrency=concurrency)

        async def main() -> None:
            await flow.execute(dag, {"question": "q"})

        on_loop(main)
        assert found == [most]
        assert [text for _, text, _ in told(provider.requests[1])] == list("01234")

    def test_dags_and_runs_that_tools_start(self) -> None:
        inner = flow.Dag("double")
        inner.add("twice", lambda x: int(x) * 2)

        def runs(x: int, ctx: flow.Context) -> int:
            """Run."""
            found: int = ctx.run(inner, {"x": x})["twice"]
            return found

        provider = ai.Scripted(
            calls(*[("double", '{"x": 2}'), ("runs", '{"x": 3}')] * 3), reply("a")
        )  # fmt: skip
        assert run(agent_of(provider, tools=[inner, runs]))["research"] == "a"
        assert [text for _, text, _ in told(provider.requests[1])] == ["4", "6"] * 3

    def test_an_agent_as_a_tool_of_another(self) -> None:
        deep = ai.Scripted(calls(("add", '{"a": 2, "b": 2}')), reply("four"))
        expert = flow.Dag("expert")
        ai.agent(expert, "inner", model=model(deep, "deep"), prompt="{{ topic }}", tools=[add])
        outer = ai.Scripted(calls(("expert", '{"topic": "sums"}')), reply("it is four"))
        result = run(agent_of(outer, tools=[expert]))
        assert result["research"] == "it is four" and told(outer.requests[1]) == [("c0", "four", False)]
        usage = ai.usage(result)
        assert usage.by_node["research"].requests == 4
        assert {name: one.requests for name, one in usage.by_model.items()} == {"scripted:m": 2, "scripted:deep": 2}

    def test_a_tool_may_be_called_as_parts_of_a_round_are(self) -> None:
        def model_(arguments: str) -> str:
            """Odd."""
            return arguments

        odd = [ai.tool(model_, name=name) for name in ("model", "arguments", "tools", "talk", "-dash")]
        asked = calls(*[(tool.name, '{"arguments": "x"}') for tool in odd])
        provider = ai.Scripted(asked, reply("a"))
        run(agent_of(provider, tools=odd))
        assert [text for _, text, _ in told(provider.requests[1])] == ["x"] * 5


class TestLimits:
    def test_too_many_rounds(self) -> None:
        provider = ai.Scripted(lambda request: calls(("add", '{"a": 1, "b": 2}')))
        error, cause = failing(agent_of(provider, max_rounds=3))
        assert isinstance(cause, flow.errors.LoopLimit) and took(error) == [used()] * 3
        assert all(request.messages[-1].role != "user" for request in provider.requests[1:])

    def test_the_last_round_may_be_told_to_answer(self) -> None:
        def answer(request: Request) -> Any:
            is_last = "last round" in str(request.messages[-1].content)
            return reply("all I know") if is_last else calls(("add", '{"a": 1, "b": 2}'))

        provider = ai.Scripted(answer)
        assert run(agent_of(provider, max_rounds=3, on_limit="answer"))["research"] == "all I know"
        assert len(provider.requests) == 3
        stubborn = ai.Scripted(lambda request: calls(("add", '{"a": 1, "b": 2}')))
        assert isinstance(failing(agent_of(stubborn, max_rounds=2, on_limit="answer"))[1], flow.errors.LoopLimit)

    def test_usage_limits_hold_over_all_rounds_and_attempts(self) -> None:
        def answer(request: Request) -> Any:
            asked = len(provider.requests)
            return ai.ProviderUnavailable("down") if asked == 2 else calls(("add", '{"a": 1, "b": 2}'))

        provider = ai.Scripted(answer)
        limits = ai.UsageLimits(requests=4, output_tokens=16)
        error, cause = failing(agent_of(provider, limits=limits, retry=flow.Retry(3), max_output_tokens=99))
        assert isinstance(cause, ai.LimitExceeded) and len(provider.requests) in (3, 4)
        most = [request.max_output_tokens for request in provider.requests]
        assert most[:2] == [16, 11] and all(one is not None and one <= 16 for one in most)
        assert len(took(error)) == len(provider.requests)

    def test_each_agent_of_a_map_has_its_own(self) -> None:
        def answer(request: Request) -> Any:
            return reply("a") if len(request.messages) > 1 else calls(("add", '{"a": 1, "b": 2}'))

        each = flow.Dag("each")
        limits = ai.UsageLimits(requests=2)
        ai.agent(each, "a", model=model(ai.Scripted(answer)), prompt="{{ item }}", tools=[add], limits=limits)
        dag = flow.Dag("d")
        dag.map("all", each, over="items")
        assert ai.usage(flow.run(dag, {"items": list("xyz")})).total.requests == 6

    def test_a_budget_counts_what_tools_ask(self) -> None:
        inner = flow.Dag("expert")
        budget = ai.Budget(run="1", name="b")
        deep = model(ai.Scripted(reply("a")), "deep", max_output_tokens=9)
        ai.llm(inner, "ask", model=deep, prompt="{{ topic }}", budget=budget)
        dag = flow.Dag("d")
        outer = ai.Scripted(calls(("expert", '{"topic": "x"}')), reply("b"))
        most = model(outer, max_output_tokens=9)
        ai.agent(dag, "research", model=most, prompt="x", tools=[inner], budget=budget)
        result = flow.run(dag)
        assert {tuple(one["budgets"]) for one in took(result)} == {("b",)} and len(took(result)) == 3


class TestFailures:
    def test_a_request_that_fails_is_tried_again_and_the_rounds_are_not(self) -> None:
        asked = calls(("add", '{"a": 1, "b": 2}'))
        provider = ai.Scripted(asked, ai.ProviderUnavailable("down", status=503), reply("three"))
        result = run(agent_of(provider, retry=flow.Retry(2)))
        assert result["research"] == "three"
        assert [one["error"] for one in took(result)] == ["", "ProviderUnavailable", ""]

    def test_the_error_says_where(self) -> None:
        provider = ai.Scripted(calls(("add", '{"a": 1, "b": 2}')), ai.AccessDenied("no key"))
        error, cause = failing(agent_of(provider, retry=flow.Retry(2)))
        assert isinstance(cause, ai.AccessDenied)
        assert any("in round 2 of loop 'research'" in note for note in error.exceptions[0].__notes__)

    @pytest.mark.parametrize("in_tool", [False, True], ids=["in the model", "in a tool"])
    def test_what_is_cancelled_reports_once(self, on_loop: Callable[..., Any], in_tool: bool) -> None:
        slow = Slow()

        async def waits(x: int) -> None:
            """Wait."""
            slow.asked.set()
            await anyio.sleep_forever()

        provider: Any = ai.Scripted(calls(("waits", '{"x": 1}'))) if in_tool else slow
        dag = flow.Dag("d")
        ai.agent(dag, "research", model=model(provider, tokens=Words()), prompt="one two", tools=[waits])

        async def main() -> None:
            async with flow.start(dag) as handle:
                await slow.asked.wait()
                handle.cancel()
                with pytest.raises(flow.RunError) as caught:
                    await handle.result()
            (one,) = took(caught.value)
            assert one["estimated"] is not in_tool
            assert ai.usage(caught.value).by_node["research"].requests == 1

        on_loop(main)


class TestApproval:
    def paying(self, provider: Any, **settings: Any) -> tuple[flow.Dag, list[int]]:
        paid: list[int] = []

        def pay(amount: int) -> str:
            """Pay."""
            paid.append(amount)
            return f"paid {amount}"

        return agent_of(provider, tools=[add, pay], **{"approve": ["pay"], **settings}), paid

    def test_calls_wait_for_a_person_and_others_do_not(self, on_loop: Callable[..., Any]) -> None:
        asked = calls(("pay", '{"amount": 5}'), ("add", '{"a": 1, "b": 2}'), ("pay", '{"amount": 7}'))
        provider = ai.Scripted(asked, reply("done"))
        dag, paid = self.paying(provider)
        events: list[Any] = []

        async def main() -> None:
            async with flow.start(dag, {"question": "q"}, config=Config(observers=[events.append])) as handle:
                first, second = await handle.next_waiting(), await handle.next_waiting()
                assert (first, second) == ("research#1.approve#0.answer", "research#1.approve#1.answer")
                await anyio.wait_all_tasks_blocked()
                assert any(isinstance(e, flow.events.ItemFinished) and e.node == "tools" for e in events)
                assert paid == []
                handle.send(second, {"yes": True, "by": "Ann"})
                handle.send(first, {"yes": False, "by": "Bob", "comment": "too much"})
                result = await handle.result()
                assert result["research"] == "done"

        on_loop(main)
        assert paid == [7]
        assert told(provider.requests[1]) == [
            ("c0", "This call was refused by Bob: too much. Do not ask for it again as it is.", True),
            ("c1", "3", False),
            ("c2", "paid 7", False),
        ]
        questions = [e.value for e in events if isinstance(e, flow.events.NodeReported) and e.kind == "question"]
        assert questions == [
            {"address": f"research#1.approve#{at}.answer", "tool": "pay", "arguments": {"amount": amount}}
            for at, amount in enumerate([5, 7])
        ]

    def test_what_is_no_approval_is_refused(self, on_loop: Callable[..., Any]) -> None:
        dag, paid = self.paying(ai.Scripted(calls(("pay", '{"amount": 5}')), reply("done")))

        async def main() -> None:
            async with flow.start(dag, {"question": "q"}) as handle:
                address = await handle.next_waiting()
                assert address is not None
                with pytest.raises(flow.errors.SignalError):
                    handle.send(address, {"yes": "perhaps"})
                handle.send(address, ai.Approval(True))
                await handle.result()

        on_loop(main)
        assert paid == [5]

    def test_the_address_leads_into_maps_and_dags(self, on_loop: Callable[..., Any]) -> None:
        def answer(request: Request) -> Any:
            return reply("done") if len(request.messages) > 1 else calls(("pay", '{"amount": 5}'))

        inner, _ = self.paying(ai.Scripted(answer), prompt="{{ item }}")
        each = flow.Dag("each")
        each.add("inner", inner)
        dag = flow.Dag("outer")
        dag.map("all", each, over="names", concurrency=None)
        events: list[Any] = []

        async def main() -> None:
            async with flow.start(dag, {"names": ["a", "b"]}, config=Config(observers=(events.append,))) as handle:
                for _ in range(2):
                    address = await handle.next_waiting()
                    assert address is not None
                    handle.send(address, ai.Approval(True))
                await handle.result()

        on_loop(main)
        told = [e.value["address"] for e in events if isinstance(e, flow.events.NodeReported) and e.kind == "question"]
        waited = [e.address for e in events if isinstance(e, flow.events.NodeWaiting)]
        assert sorted(told) == sorted(waited) == [f"all#{at}.inner.research#1.approve#0.answer" for at in range(2)]

    def test_nobody_is_asked_about_a_call_that_cannot_be_made(self) -> None:
        provider = ai.Scripted(calls(("pay", '{"amount": "all"}')), reply("done"))
        dag, _ = self.paying(provider)
        result = flow.run(dag, {"question": "q"}, config=Config(timeout=30.0))
        assert result["research"] == "done" and told(provider.requests[1])[0][2]

    def test_arguments_that_are_too_much_for_a_report_are_told_as_they_were_written(
        self, on_loop: Callable[..., Any]
    ) -> None:
        def many(numbers: list[int]) -> str:
            """Take many."""
            return str(len(numbers))

        text = f'{{"numbers": [{"1, " * 100_000}1]}}'
        provider = ai.Scripted(calls(("many", text)), reply("done"))
        dag = agent_of(provider, tools=[many], approve=[many])

        async def main() -> None:
            async with flow.start(dag, {"question": "q"}) as handle:
                address = await handle.next_waiting()
                assert address is not None
                handle.send(address, ai.Approval(True))
                result = await handle.result()
            asked = [report.value for report in result.reports if report.kind == "question"]
            assert asked == [{"address": address, "tool": "many", "arguments": text}]

        on_loop(main)
        assert told(provider.requests[1]) == [("c0", "100001", False)]

    def test_the_tool_may_say_it_itself(self) -> None:
        @ai.tool(approve=True)
        def pay(amount: int) -> str:
            """Pay."""
            return "paid"

        dag = agent_of(ai.Scripted(), tools=[pay])
        with pytest.raises(flow.UsageError, match="would wait for ever"):
            flow.run(dag, {"question": "q"})

    def test_a_time_limit_covers_the_waiting(self) -> None:
        dag, paid = self.paying(ai.Scripted(calls(("pay", '{"amount": 5}'))), timeout=0.02)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"question": "q"})
        assert isinstance(caught.value.exceptions[0], flow.NodeTimeout) and paid == []
        assert took(caught.value) == [used()]


class TestWhatARunShows:
    def test_each_call_is_an_event(self) -> None:
        events: list[Any] = []
        provider = ai.Scripted(calls(("add", '{"a": 1, "b": 2}'), ("fails", '{"why": "x"}')), reply("a"))
        run(agent_of(provider), observers=[events.append])
        begun = [(e.path, e.dag) for e in events if isinstance(e, flow.events.RunStarted)]
        assert sorted(begun) == [
            ((), "d"),
            (("research#1",), "research"),
            (("research#1", "tools[0]"), "add"),
            (("research#1", "tools[1]"), "fails"),
            (("research#2",), "research"),
        ]
        rounds = [e.round for e in events if isinstance(e, flow.events.RoundFinished)]
        assert rounds == [1, 2]
        failed = [(e.node, str(e.error)) for e in events if isinstance(e, flow.events.NodeFailed)]
        assert failed == [("fails", "x")]

    def test_the_timeline_and_the_picture(self) -> None:
        provider = ai.Scripted(calls(("add", '{"a": 1, "b": 2}')), reply("a"))
        result = run(agent_of(provider), timing=True)
        assert "2 rounds" in result.timeline() and "2 rounds" in result.graph("mermaid")

    def test_answers_come_in_pieces(self) -> None:
        events: list[Any] = []
        provider = ai.Scripted(calls(("add", '{"a": 1, "b": 2}')), reply("one two"))
        run(agent_of(provider), observers=[events.append])
        pieces = [(e.node, e.value) for e in events if isinstance(e, flow.events.NodeEmitted)]
        assert pieces == [("model", "one"), ("model", " two")]

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_on_each_event_loop(self, backend: str) -> None:
        provider = ai.Scripted(calls(("add", '{"a": 1, "b": 2}'), ("search", '{"query": "x"}')), reply("a"))
        assert flow.run(agent_of(provider), {"question": "q"}, config=Config(backend=backend))["research"] == "a"


class TestDefinition:
    def test_all_that_is_wrong_is_told_in_one_error(self) -> None:
        dag = flow.Dag("d")

        async def prompt(question: str) -> str:
            return question

        with pytest.raises(flow.errors.ConfigError) as caught:
            ai.agent(
                dag, "research", model="openai", prompt=prompt, tools=[add, add, lambda x: x], approve=["ad", print],
                max_rounds=0, concurrency=0, on_limit="return", output=ai.Reply, max_turns=3, budget="1.00",
                stream=1, limits={"requests": 3},
            )  # type: ignore[call-overload]  # fmt: skip
        text = str(caught.value)
        for hint in (
            "ai.agent 'research' is not valid: ", "'max_turns' (did you mean max_rounds=?)", "model: ",
            "budget must be an ai.Budget", "limits must be an ai.UsageLimits", "2 tools have the name 'add'",
            "it has no name of its own", "max_rounds must be an integer of at least 1, not 0",
            "concurrency must be an integer of at least 1, or None, not 0", "on_limit must be 'fail' or 'answer'",
            "an agent gives its answer", "the prompts of an agent are plain functions",
        ):  # fmt: skip
            assert hint in text
        assert len(dag) == 0

    def test_approve_names_tools(self) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
            agent_of(ai.Scripted(), approve=["ad", print, search])
        assert caught.value.faults == (
            "approve names 'ad', which is none of the tools (did you mean 'add'?)",
            "approve names <built-in function print>, which is none of the tools",
        )
        with pytest.raises(flow.errors.ConfigError, match="approve names 'add', and there are no tools"):
            agent_of(ai.Scripted(), tools=[], approve=["add"])

    def test_a_tool_that_would_wait_for_ever(self) -> None:
        pay = agent_of(ai.Scripted(), approve=[add])
        waits = flow.Dag("waits")
        waits.signal("go")
        waits.add("x", lambda item: item, after="go")
        with pytest.raises(flow.errors.ConfigError) as caught:
            agent_of(ai.Scripted(), tools=[pay, waits])
        first, second = caught.value.faults
        assert "tool 'd' is a Dag that waits for 'research#" in first and "by approve=" in first
        assert "tool 'waits' is a Dag that waits for 'go', and nothing can be sent into a tool" in second
        agent_of(ai.Scripted(), tools=[ai.tool(waits, timeout=3.0)])  # type: ignore[call-overload]

    def test_its_parameters_are_those_of_its_prompts(self) -> None:
        dag = agent_of(ai.Scripted(), "{{ question }} {{ inputs.extra }}", system="{{ default(tone, 'calm') }}")
        plan = dag.compile()
        assert plan.required_inputs == ("question", "extra") and set(plan.inputs) == {"question", "extra", "tone"}

    def test_its_type_is_known(self) -> None:
        dag = agent_of(ai.Scripted(), output=list[int])

        def takes(research: str) -> None: ...

        dag.add("takes", takes)
        with pytest.warns(flow.DefinitionWarning, match="takes"):
            dag.compile(check_types=True)


def test_calls_are_told_in_their_order_whatever_ends_first(on_loop: Callable[..., Any]) -> None:
    async def ends(x: int) -> int:
        """End, the last one first."""
        for _ in range(10 - x):
            await anyio.wait_all_tasks_blocked()
        return x

    asked = tuple([ToolCall(f"id{at}", "ends", f'{{"x": {at}}}') for at in range(4)])
    provider = ai.Scripted(reply(tool_calls=asked, finish="tools"), reply("a"))
    dag = agent_of(provider, tools=[ends])

    async def main() -> None:
        await flow.execute(dag, {"question": "q"})

    on_loop(main)
    assert told(provider.requests[1]) == [(f"id{at}", str(at), False) for at in range(4)]


class TestConversation:
    def test_the_messages_of_one_go_into_the_next(self) -> None:
        provider = ai.Scripted(
            calls(("add", '{"a": 1, "b": 2}')), reply("3"), reply("no json"), reply('{"value": [4]}')
        )
        dag = flow.Dag("d")
        settings: dict[str, Any] = {"system": "Do sums.", "messages": lambda history: history, "conversation": True}
        ai.agent(dag, "sum", model=model(provider), prompt="{{ q }}", tools=[add], **settings)
        first = flow.run(dag, {"q": "1 + 2?", "history": []})["sum"]
        assert isinstance(first, ai.Conversation) and first.answer == "3"
        assert first.messages == (
            Message("user", "1 + 2?"), Message("assistant", "", (ToolCall("c0", "add", '{"a": 1, "b": 2}'),)),
            Message("tool", "3", tool_call_id="c0"), Message("assistant", "3"),
        )  # fmt: skip
        ai.agent(dag, "sum", model=model(provider), prompt="{{ q }}", output=list[int], replace=True, **settings)
        written = msgspec.to_builtins(first.messages)  # as JSON holds it
        second = flow.run(dag, {"q": "and 1 more?", "history": written})["sum"]
        assert second.answer == [4] and second.messages[:5] == (*first.messages, Message("user", "and 1 more?"))
        assert [one.role for one in second.messages[5:]] == ["assistant", "user", "assistant"]  # a repair
        assert provider.requests[2].messages == (Message("system", "Do sums."), *second.messages[:5])

    def test_what_the_last_round_is_told_is_no_part_of_it(self) -> None:
        provider = ai.Scripted(calls(("add", '{"a": 1, "b": 2}')), reply("3"))
        dag = agent_of(provider, max_rounds=2, on_limit="answer", conversation=True)
        assert [one.role for one in run(dag)["research"].messages] == ["user", "assistant", "tool", "assistant"]

    def test_nodes_read_the_answer(self) -> None:
        dag = agent_of(ai.Scripted(reply("done")), conversation=True)
        ai.llm(
            dag, "ask", model=model(ai.Scripted(lambda r: str(r.messages[0].content))), prompt="{{ research.answer }}?"
        )
        assert run(dag)["ask"] == "done?"

    def test_it_is_true_or_false(self) -> None:
        with pytest.raises(flow.errors.ConfigError, match="conversation must be True or False"):
            agent_of(ai.Scripted(), conversation="yes")
