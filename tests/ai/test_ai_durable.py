"""Runs that go on: what has been answered is not asked again, and what was spent is counted once."""

from __future__ import annotations

import datetime
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from ai_cases import calls, cost, model, reply, took, used

import flow
from flow import ai
from flow.ai.messages import Message


class Verdict(msgspec.Struct):
    text: str
    score: int = 0


class Crash:
    """Raises KeyboardInterrupt the ``at``-th time that it is passed, as if the process had died there."""

    def __init__(self, at: int) -> None:
        self.left = at

    def __call__(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def asking(provider: Any, **settings: Any) -> flow.Dag:
    dag = flow.Dag("d")
    ai.llm(dag, "ask", model=model(provider), prompt="{{ text }}", **settings)
    return dag


class TestLlm:
    def test_an_answer_is_not_asked_for_again(self) -> None:
        provider, crash = ai.Scripted(reply('{"text": "t", "score": 3}')), Crash(1)
        dag = asking(provider, output=Verdict)

        @dag.node
        def after(ask: Verdict) -> str:
            crash()
            return f"{ask.text} {ask.score}"

        store = flow.store.memory()
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, {"text": "x"}, run_id="r", store=store)
        result = flow.run(dag, {"text": "x"}, run_id="r", store=store)
        assert (result["after"], result["ask"]) == ("t 3", Verdict("t", 3))
        assert took(result) == [used()] and len(provider.requests) == 1

    def test_failed_attempts_before_a_crash_count_to_the_limits(self) -> None:
        crash = Crash(2)

        def answer(request: Any) -> Any:
            crash()
            return reply("no json")

        dag = asking(ai.Scripted(answer), output=Verdict, repair=5, limits=ai.UsageLimits(requests=2))
        store = flow.store.memory()
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, {"text": "x"}, run_id="r", store=store)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"text": "x"}, run_id="r", store=store)
        assert isinstance(caught.value.exceptions[0], ai.LimitExceeded)
        reports = took(caught.value)
        assert [one["requests"] for one in reports] == [1] * len(reports) and reports[0] == used()
        assert ai.usage(caught.value).total.requests == 2

    def test_a_run_that_is_retried_has_the_sum(self) -> None:
        provider = ai.Scripted(ai.ReplyInvalid("broken"), reply("a"))
        dag, store = asking(provider), flow.store.memory()
        with pytest.raises(flow.RunError):
            flow.run(dag, {"text": "x"}, run_id="r", store=store)
        result = flow.run(dag, {"text": "x"}, run_id="r", store=store, on_conflict="retry")
        assert result["ask"] == "a" and [one["error"] for one in took(result)] == ["ReplyInvalid", ""]

    def test_the_type_of_an_answer_comes_back(self) -> None:
        dag = asking(ai.Scripted(lambda request: reply('{"text": "t"}')), output=Verdict)
        assert not list(flow.testing.roundtrip(dag, {"text": "x"}))


class TestConversations:
    def test_they_come_back_with_their_answer_and_messages(self) -> None:
        crash = Crash(1)
        provider = ai.Scripted(calls(("look", '{"word": "tea"}')), reply('{"text": "t"}'))

        def look(word: str) -> str:
            """Look it up."""
            return f"{word}!"

        def after(reply: ai.Conversation[Verdict]) -> str:
            crash()
            assert type(reply.answer) is Verdict
            return reply.answer.text

        dag, store = flow.Dag("d"), flow.store.memory()
        ai.agent(
            dag, "reply", model=model(provider), prompt="x", tools=[look], output=Verdict, conversation=True, system="s"
        )
        dag.add("after", after)
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, run_id="r", store=store)
        result = flow.run(dag, run_id="r", store=store)
        assert result["after"] == "t" and len(provider.requests) == 2
        assert [one.role for one in result["reply"].messages] == ["user", "assistant", "tool", "assistant"]
        assert result["reply"] == flow.run(dag, run_id="r", store=store)["reply"]

    def test_a_loop_that_had_ended_before_the_crash_has_them(self) -> None:
        crash = Crash(1)
        provider = ai.Scripted(reply("one"))

        def observe(event: object) -> None:
            if isinstance(event, flow.events.NodeFinished) and event.node == "talked":
                crash()

        dag, store = flow.Dag("d"), flow.store.memory()
        ai.agent(dag, "reply", model=model(provider), prompt="x", conversation=True)
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, run_id="r", store=store, config=flow.Config(observers=(observe,)))
        found = flow.run(dag, run_id="r", store=store)["reply"]
        assert found == ai.Conversation("one", (Message("user", "x"), Message("assistant", "one")))
        assert len(provider.requests) == 1

    def test_answers_that_are_models_of_pydantic_come_back(self) -> None:
        pydantic = pytest.importorskip("pydantic")

        class City(pydantic.BaseModel):  # type: ignore[misc, name-defined]
            name: str

        dag = flow.Dag("d")
        script = ai.Scripted(lambda request: reply('{"name": "Lyon"}'))
        ai.agent(dag, "reply", model=model(script), prompt="x", output=City, conversation=True)
        assert not list(flow.testing.roundtrip(dag, {}))


class TestModels:
    """Classes of pydantic, which dump and validate themselves."""

    def test_an_answer_comes_back_as_one(self) -> None:
        pydantic = pytest.importorskip("pydantic")

        class Place(pydantic.BaseModel):  # type: ignore[misc, name-defined]
            day: datetime.date
            name: str = pydantic.Field(alias="called")
            data: bytes = b"x"

        class Trip(pydantic.BaseModel):  # type: ignore[misc, name-defined]
            places: list[Place]

        answer = '{"places": [{"day": "2026-03-02", "called": "Ghent"}]}'
        provider = ai.Scripted(reply(answer))
        store = flow.store.memory()
        dag = asking(provider, output=Trip)
        first = flow.run(dag, {"text": "x"}, run_id="r", store=store)["ask"]
        again = flow.run(dag, {"text": "x"}, run_id="r", store=store)["ask"]
        assert first == again == Trip.model_validate_json(answer) and type(again.places[0]) is Place
        assert len(provider.requests) == 1

    def test_within_other_values_and_without_an_annotation(self) -> None:
        class Own:
            """What does as they do."""

            def __init__(self, n: int) -> None:
                self.n = n

            def model_dump(self, **how: Any) -> dict[str, Any]:
                return {"n": self.n}

            @classmethod
            def model_validate(cls, value: dict[str, Any]) -> Own:
                if value["n"] < 0:
                    raise ValueError("below 0")
                return cls(value["n"])

            def __eq__(self, other: object) -> bool:
                return isinstance(other, Own) and other.n == self.n

        def typed() -> list[Own]:
            return [Own(1), Own(2)]

        typed.__annotations__["return"] = list[Own]

        def broken() -> Own:
            return Own(-1)

        broken.__annotations__["return"] = Own
        dag = flow.Dag("d")
        dag.add("typed", typed)
        dag.add("plain", lambda: {"a": Own(3)})
        dag.add("broken", broken)
        store = flow.store.memory()
        flow.run(dag, run_id="r", store=store)
        again = flow.run(dag, run_id="r", store=store)
        assert dict(again) == {"typed": [Own(1), Own(2)], "plain": {"a": {"n": 3}}, "broken": {"n": -1}}


class TestChanges:
    """A prompt is what the code of a function is: another one is told."""

    def crashing(self, **settings: Any) -> flow.Dag:
        dag = flow.Dag("d")
        ai.llm(dag, "ask", **{"model": model(ai.Scripted(reply("a"), reply("b"))), "prompt": "{{ text }}", **settings})
        dag.add("after", lambda ask, fails: 1 / (not fails))
        return dag

    def both(self, before: dict[str, Any], now: dict[str, Any], **how: Any) -> str:
        store = flow.store.memory()
        with pytest.raises(flow.RunError):
            flow.run(self.crashing(**before), {"text": "x", "fails": True}, run_id="r", store=store)
        store.fork("r", "s")
        dag = self.crashing(**now)
        result = flow.run(
            dag, run_id="s", store=store, on_conflict="retry", config=flow.Config(on_error="collect"), **how
        )
        return str(result["ask"])

    def look(text: str) -> str:  # type: ignore[misc]
        return text.upper()

    def other(text: str) -> str:  # type: ignore[misc]
        return text.lower()

    @pytest.mark.parametrize(
        "change",
        [
            {"prompt": "{{ text }}!"}, {"system": "s"}, {"temperature": 1.0}, {"model": model(ai.Scripted(), "n")},
            {"messages": [{"role": "user", "content": "m"}]}, {"prompt": look}, {"stop": ["x"]},
        ],
        ids=lambda change: next(iter(change)),
    )  # fmt: skip
    def test_what_is_asked_is_another(self, change: dict[str, Any]) -> None:
        with pytest.warns(RuntimeWarning, match=r"has changed \(ask\)"):
            assert self.both({}, change) == "a"

    def test_it_is_asked_anew_if_that_is_wanted(self) -> None:
        assert self.both({}, {"prompt": "{{ text }}!"}, on_change="rerun") == "a"

    @pytest.mark.parametrize("same", [{}, {"prompt": look}, {"system": flow.template("{{ text }}")}])
    def test_the_same_is_the_same(self, same: dict[str, Any]) -> None:
        assert self.both(same, same) == "a"

    def test_another_function_is_another(self) -> None:
        with pytest.warns(RuntimeWarning, match=r"has changed \(ask\)"):
            self.both({"prompt": TestChanges.look}, {"prompt": TestChanges.other})

    def test_of_an_agent(self) -> None:
        def tool(n: int) -> int:
            """Tool."""
            raise KeyboardInterrupt

        def build(fails: bool, **settings: Any) -> flow.Dag:
            fn = tool if fails else ai.tool(lambda n: n, name="tool", description="Tool.")
            return researching(provider, fn, **settings)  # type: ignore[arg-type]

        provider = ai.Scripted(calls(("tool", '{"n": 1}')), lambda request: reply("a"))
        store = flow.store.memory()
        with pytest.raises(KeyboardInterrupt):
            flow.run(build(True), {"question": "q"}, run_id="r", store=store)
        with pytest.warns(RuntimeWarning, match=r"\(research#1/model\)"):
            flow.run(build(False, system="Be brief."), run_id="r", store=store)


def researching(provider: Any, *tools: Callable[..., Any], **settings: Any) -> flow.Dag:
    dag = flow.Dag("d")
    ai.agent(dag, "research", model=model(provider), prompt="{{ question }}", tools=list(tools), **settings)
    return dag


class TestAgent:
    @pytest.mark.parametrize("at", range(1, 9))
    def test_killed_anywhere_it_goes_on_there(self, at: int) -> None:
        """At each of the places of two rounds: in a request, in one of two tools, in the node after it."""
        crash, asked, called = Crash(at), [], []

        def answer(request: Any) -> Any:
            crash()
            asked.append(len(request.messages))
            if len(request.messages) > 4:
                return reply('{"text": "done", "score": 2}')
            number = len(request.messages)
            return calls(("one", f'{{"n": {number}}}'), ("two", f'{{"n": {number}}}'))

        def one(n: int) -> int:
            """One."""
            crash()
            called.append(("one", n))
            return n

        async def two(n: int) -> int:
            """Two."""
            crash()
            called.append(("two", n))
            return -n

        dag = researching(ai.Scripted(answer), one, two, output=Verdict)

        @dag.node
        def after(research: Verdict) -> int:
            crash()
            return research.score

        store, runs = flow.store.memory(durability="sync"), 0
        while True:
            runs += 1
            try:
                result = flow.run(dag, {"question": "q"}, run_id="r", store=store)
                break
            except KeyboardInterrupt:
                pass
        assert runs == 2
        assert (result["research"], result["after"]) == (Verdict("done", 2), 2)
        assert asked == [1, 4, 7][: len(asked)] and len(asked) == len(set(asked))
        assert sorted(set(called)) == sorted([("one", 1), ("two", 1), ("one", 4), ("two", 4)])
        assert ai.usage(result).total.requests == len(took(result))
        answered = [report for report in took(result) if not report["error"]]
        assert answered == [used()] * 3
        again = flow.run(dag, {"question": "q"}, run_id="r", store=store)
        assert again["research"] == Verdict("done", 2) and took(again) == took(result)

    def test_a_call_waits_for_a_person_without_a_process(self) -> None:
        provider = ai.Scripted(calls(("pay", '{"amount": 5}'), ("look", '{"at": "x"}')), reply("paid"))
        done: list[str] = []

        def pay(amount: int) -> str:
            """Pay."""
            done.append("pay")
            return f"paid {amount}"

        def look(at: str) -> str:
            """Look."""
            done.append("look")
            return at

        dag = researching(provider, pay, look, approve=[pay])
        store = flow.store.memory()
        result = flow.run(dag, {"question": "q"}, run_id="r", store=store, on_wait="return")
        assert result.waiting == ("research#1.approve#0.answer",) and done == ["look"]
        assert ai.usage(result).by_node["research"].requests == 1
        question = {"address": result.waiting[0], "tool": "pay", "arguments": {"amount": 5}}
        told: list[Any] = []

        def watch(event: Any) -> None:
            if isinstance(event, flow.events.NodeReported) and event.kind == "question":
                told.append(event.value)

        assert [report.value for report in result.reports if report.kind == "question"] == [question]
        flow.run(dag, run_id="r", store=store, on_wait="return", config=flow.Config(observers=(watch,)))
        assert told == [question], "who watches a run that goes on is told again"
        assert store.send("r", result.waiting[0], {"yes": True, "by": "Ann"})
        result = flow.run(dag, run_id="r", store=store, on_wait="return")
        assert result["research"] == "paid" and done == ["look", "pay"]
        assert provider.requests[1].messages[-2:] == (
            Message("tool", "paid 5", tool_call_id="c0"), Message("tool", "x", tool_call_id="c1"),
        )  # fmt: skip
        assert ai.usage(result).total.cost == cost() * 2 and len(provider.requests) == 2

    def test_limits_hold_over_a_crash(self) -> None:
        crash = Crash(1)

        def tool(n: int) -> int:
            """Tool."""
            crash()
            return n

        provider = ai.Scripted(lambda request: calls(("tool", '{"n": 1}')))
        dag = researching(provider, tool, limits=ai.UsageLimits(requests=2))
        store = flow.store.memory()
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, {"question": "q"}, run_id="r", store=store)
        with pytest.raises(flow.RunError):
            flow.run(dag, {"question": "q"}, run_id="r", store=store)
        assert len(provider.requests) == 2

    def test_an_agent_within_an_agent_goes_on_too(self) -> None:
        crash = Crash(1)

        def tool(n: int) -> int:
            """Tool."""
            crash()
            return n

        inner = ai.Scripted(calls(("tool", '{"n": 1}')), reply("one"))
        expert = flow.Dag("expert")
        ai.agent(expert, "inner", model=model(inner, "deep"), prompt="{{ topic }}", tools=[tool])
        outer = ai.Scripted(calls(("expert", '{"topic": "x"}')), reply("it is one"))
        dag, store = researching(outer, expert), flow.store.memory()  # type: ignore[arg-type]
        with pytest.raises(KeyboardInterrupt):
            flow.run(dag, {"question": "q"}, run_id="r", store=store)
        result = flow.run(dag, {"question": "q"}, run_id="r", store=store)
        assert result["research"] == "it is one" and (len(inner.requests), len(outer.requests)) == (2, 2)
        assert ai.usage(result).total.requests == 4

    def test_what_tools_return_need_not_be_storable(self) -> None:
        class Own:
            def __repr__(self) -> str:
                return "<own>"

        def tool(n: int) -> Own:
            """Tool."""
            return Own()

        provider = ai.Scripted(calls(("tool", '{"n": 1}')), reply("a"))
        result = flow.run(researching(provider, tool), {"question": "q"}, run_id="r", store=flow.store.memory())
        assert result["research"] == "a" and "own" in str(provider.requests[1].messages[-1].content)


PROGRAM = """
import os, sys
import flow
from flow import ai
from flow.ai.messages import Reply, Tokens, ToolCall

dies = sys.argv[1] == "dies"

def answer(request):
    with open("asked.txt", "a") as file:
        file.write(f"{len(request.messages)}\\n")
    tokens = Tokens(10, 5)
    if len(request.messages) > 4:
        return Reply("done", tokens=tokens)
    return Reply(tool_calls=(ToolCall("c", "step", "{}"),), finish="tools", tokens=tokens)

def step() -> str:
    "Step."
    with open("called.txt", "a") as file:
        file.write("step\\n")
    if dies and len(open("called.txt").readlines()) == 2:
        os._exit(9)
    return "stepped"

dag = flow.Dag("d")
ai.agent(dag, "research", model=ai.Model(ai.Scripted(answer), "m", "1", "2"), prompt="go", tools=[step])
store = flow.store.open("runs.db", durability="sync")
result = flow.run(dag, run_id="r", store=store)
print(result["research"], ai.usage(result).total.requests, ai.usage(result).total.cost)
"""


def test_a_process_that_is_killed_in_the_middle(tmp_path: Path) -> None:
    def go(how: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", PROGRAM, how]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert go("dies").returncode == 9
    ended = go("lives")
    assert ended.stdout == "done 3 0.000060\n", ended.stderr
    assert (tmp_path / "asked.txt").read_text(encoding="utf-8").split() == ["1", "3", "5"]
    assert (tmp_path / "called.txt").read_text(encoding="utf-8").split() == ["step"] * 3
