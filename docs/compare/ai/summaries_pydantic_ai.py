import asyncio
from decimal import Decimal

from pydantic_ai import Agent

INPUT, OUTPUT = Decimal("0.40") / 1_000_000, Decimal("1.60") / 1_000_000
agent = Agent("openai-chat:gpt-4.1-mini", model_settings={"max_tokens": 60})


async def run(documents, budget):
    spent = held = Decimal(0)

    async def summarise(document):
        nonlocal spent, held
        prompt = f"Summarise:\n{document}"
        most = (len(prompt) + 100) * INPUT + 60 * OUTPUT  # a token is a character at the shortest
        async with waiting:
            if spent + held + most > Decimal(budget):
                return None
            held += most
            try:
                result = await agent.run(prompt)
            finally:
                held -= most
            spent += result.usage.cost
            return result.output

    waiting = asyncio.Semaphore(10)
    return await asyncio.gather(*map(summarise, documents)), spent
