"""Runs of one ``ai.llm`` node, of a map of them, and of an ``ai.agent``."""

from __future__ import annotations

import flow
from flow import ai
from flow_bench.harness.rules import INPUT_PRICE, MODEL, OUTPUT_PRICE
from flow_bench.suites.ai.callers import KEY, look_up


class Caller:
    """Asks the model there."""

    def __init__(self, url: str) -> None:
        provider = ai.OpenAICompatible(url, KEY, name="rules")
        model = ai.Model(provider, MODEL, INPUT_PRICE, OUTPUT_PRICE)
        one, many, agent = flow.Dag("one"), flow.Dag("many"), flow.Dag("agent")
        ai.llm(one, "answer", model=model, prompt="{{ text }}")
        many.map("answers", one, over="texts", concurrency=None)
        ai.agent(agent, "answer", model=model, prompt="{{ text }}", tools=[look_up])
        self.one, self.many, self.agent = one.compile(), many.compile(), agent.compile()

    async def ask(self, text: str) -> str:
        return str((await flow.execute(self.one, {"text": text}))["answer"])

    async def ask_all(self, texts: list[str]) -> list[str]:
        return [found["answer"] for found in (await flow.execute(self.many, {"texts": texts}))["answers"]]

    async def work(self, text: str) -> str:
        return str((await flow.execute(self.agent, {"text": text}))["answer"])
