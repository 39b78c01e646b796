"""Models that stand in for those that nodes were defined with, and the net that lets no request out."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import pytest
from ai_cases import calls, cost, model, reply, took

import flow
from flow import ai


class Own:
    """A provider of a user's own, for tests or not."""

    name = "own"

    def __init__(self) -> None:
        self.asked = 0

    async def complete(self, request: ai.Request) -> ai.Reply:
        self.asked += 1
        return reply("own")

    def stream(self, request: ai.Request) -> Any:
        raise NotImplementedError

    def headroom(self) -> dict[str, float]:
        return {}


def asking(given: Any = "openai:gpt-4.1-mini", **settings: Any) -> flow.Dag:
    dag = flow.Dag("d")
    ai.llm(dag, "ask", model=given, prompt="{{ text }}", **settings)
    return dag


def run(dag: flow.Dag, **inputs: Any) -> flow.Result:
    return flow.run(dag, inputs or {"text": "x"}, config=flow.Config(clock=flow.testing.FakeClock()))


def refused(dag: flow.Dag) -> BaseException:
    with pytest.raises(flow.RunError) as caught:
        run(dag)
    return caught.value.exceptions[0]


class TestOverride:
    def test_a_provider_has_the_name_and_the_prices_of_the_model_that_it_stands_in_for(self) -> None:
        priced = ai.Model("openai", "gpt-4.1-mini", input_price=1, output_price=2)
        dag, provider = asking(priced), ai.Scripted(reply("here"), name="first")
        with ai.override(provider):
            result = run(dag)
        assert result["ask"] == "here" and provider.requests[0].model == "gpt-4.1-mini"
        assert list(ai.usage(result).by_model) == ["first:gpt-4.1-mini"]
        assert ai.usage(result).total.cost == cost()

    def test_the_table_of_prices_is_asked_for_the_real_name(self) -> None:
        with ai.prices({"openai:gpt-4.1-mini": {"input": "1", "output": "2"}}), ai.override(ai.Scripted(reply("a"))):
            assert ai.usage(run(asking())).total.cost == cost()

    def test_a_model_is_asked_as_it_is(self) -> None:
        with ai.models({"other": model(ai.Scripted(reply("o")), "small")}), ai.override("other"):
            assert list(ai.usage(run(asking())).by_model) == ["scripted:small"]

    def test_of_some_models(self) -> None:
        one, two = ai.Scripted(lambda r: "one"), ai.Scripted(lambda r: "two")
        dag = asking()
        ai.llm(dag, "second", model="groq:llama", prompt="{{ text }}")
        with ai.models({"quick": "groq:llama"}), ai.override(one):
            with ai.override(two, of="quick"):
                result = run(dag)
                assert (result["ask"], result["second"]) == ("one", "two")
            with ai.override(two, of=[ai.Model("openai", "gpt-4.1-mini"), "groq:other"]):
                result = run(dag)
                assert (result["ask"], result["second"]) == ("two", "one")
            assert run(dag)["second"] == "one"

    def test_outside_of_it_models_are_those_of_before(self) -> None:
        own = Own()
        dag = asking(model(own))
        block = ai.override(ai.Scripted(lambda r: "script"))
        with block, block:
            assert run(dag)["ask"] == "script"
        assert run(dag)["ask"] == "own" and own.asked == 1

    def test_fallback_models_are_stood_in_for_too(self) -> None:
        dag = asking(fallback_models=["groq:llama"])
        down, up = ai.Scripted(ai.ProviderUnavailable("down"), name="a"), ai.Scripted("up", name="b")
        with ai.override(down, of="openai:gpt-4.1-mini"), ai.override(up, of="groq:llama"):
            result = run(dag)
        assert result["ask"] == "up" and list(ai.usage(result).by_model) == ["a:gpt-4.1-mini", "b:llama"]

    def test_maps_agents_tools_and_their_threads(self) -> None:
        inner = asking("groq:llama")

        def look(word: str) -> str:
            """Look it up."""
            return str(flow.run(inner, {"text": word})["ask"])

        dag = flow.Dag("outer")
        ai.agent(dag, "agent", model="openai:gpt-4.1-mini", prompt="x", tools=[ai.tool(thread=True)(look)])
        item = flow.Dag("item")
        ai.llm(item, "each", model="openai:gpt-4.1-mini", prompt="{{ item }}")
        dag.map("map", item, over="words")
        tools = ai.Scripted(lambda request: "meaning")

        def answers(request: ai.Request) -> Any:
            return calls(("look", '{"word": "tea"}')) if len(request.messages) == 1 and request.tools else "done"

        with ai.no_requests(), ai.override(ai.Scripted(answers)), ai.override(tools, of="groq:llama"):
            result = run(dag, words=["a", "b"])
        assert result["agent"] == "done" and len(tools.requests) == 1
        assert [dict(one) for one in result["map"]] == [{"each": "done"}] * 2

    def test_two_tasks_have_their_own(self) -> None:
        dag, found = asking(), dict[str, str]()

        async def one(name: str) -> None:
            with ai.override(ai.Scripted(name)):
                await anyio.sleep(0)
                async with flow.start(dag, {"text": name}) as run:
                    found[name] = (await run.result())["ask"]

        async def main() -> None:
            async with anyio.create_task_group() as group:
                group.start_soon(one, "a")
                group.start_soon(one, "b")

        for backend in ("asyncio", "trio"):
            found.clear()
            anyio.run(main, backend=backend)
            assert found == {"a": "a", "b": "b"}

    def test_caches_budgets_and_limits_act_as_ever(self) -> None:
        cache, budget = ai.Cache(), ai.Budget("1.00")
        priced = ai.Model("openai", "gpt-4.1-mini", input_price=1, output_price=2, max_output_tokens=10)
        dag = asking(priced, cache=cache, budget=budget, limits=ai.UsageLimits(requests=1))
        with ai.override(ai.Scripted(reply("a"), reply("never"))):
            assert [run(dag)["ask"] for _ in range(2)] == ["a", "a"]
        with ai.override(ai.Scripted(reply("b"), name="other")):  # another provider: another key
            assert run(dag)["ask"] == "b"
        with ai.no_requests(), ai.override(ai.Scripted()):  # kept under the name of this provider
            assert run(dag)["ask"] == "a"
        tight = asking(priced, budget=ai.Budget(Decimal("0.000001")))
        with ai.override(ai.Scripted(reply("a"))):
            assert isinstance(refused(tight), ai.BudgetExceeded)

    @pytest.mark.parametrize("wrong", [None, 3, ai.Scripted, lambda request: "x"])
    def test_what_is_no_model_is_refused(self, wrong: Any) -> None:
        with pytest.raises(flow.UsageError, match="override takes a provider"):
            ai.override(wrong)
        with pytest.raises(flow.UsageError):
            ai.override(ai.Scripted(), of=[wrong])

    def test_names_that_there_are_not_are_refused(self) -> None:
        with pytest.raises(ai.UnknownModel):
            ai.override("nothing")
        with pytest.raises(ai.UnknownModel):
            ai.override(ai.Scripted(), of="nothing")


class TestNoRequests:
    def test_real_models_are_refused_at_once(self) -> None:
        own = Own()
        for dag in (asking(retry=flow.Retry(5, delay=1.0)), asking(model(own), fallback_models=["groq:llama"])):
            with ai.no_requests():
                error = refused(dag)
            assert isinstance(error, flow.UsageError)
            assert "was to be asked, within ai.no_requests(): with ai.override(" in str(error)
        assert own.asked == 0 and took(run(asking(model(own))))[0]["requests"] == 1

    def test_what_is_scripted_or_put_in_goes_through(self) -> None:
        own = Own()
        with ai.no_requests():
            assert run(asking(model(ai.Scripted("s"))))["ask"] == "s"
            with ai.override(own):
                assert run(asking())["ask"] == "own"
            with ai.override(model(own), of="openai:gpt-4.1-mini"):
                assert run(asking())["ask"] == "own"
            with ai.override("groq:llama"):  # which is real
                assert "groq:llama was to be asked" in str(refused(asking()))

    def test_it_holds_until_the_last_block_ends(self) -> None:
        own = Own()
        with ai.no_requests():
            with ai.no_requests():
                pass
            assert "own:m was to be asked" in str(refused(asking(model(own))))
        assert run(asking(model(own)))["ask"] == "own"
