"""pydantic-ai with its OpenAI client: an Agent without tools, and one with the tool."""

from __future__ import annotations

from pydantic_ai import Agent  # type: ignore[import-not-found,unused-ignore]
from pydantic_ai.models.openai import OpenAIChatModel  # type: ignore[import-not-found,unused-ignore]
from pydantic_ai.providers.openai import OpenAIProvider  # type: ignore[import-not-found,unused-ignore]

from flow_bench.harness.rules import MODEL
from flow_bench.suites.ai.callers import KEY, look_up


class Caller:
    def __init__(self, url: str) -> None:
        model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=url, api_key=KEY))
        self.one = Agent(model)
        self.agent = Agent(model, tools=[look_up])

    async def ask(self, text: str) -> str:
        return str((await self.one.run(text)).output)

    async def work(self, text: str) -> str:
        return str((await self.agent.run(text)).output)
