from typing import Annotated

from annotated_types import Gt
from pydantic import BaseModel
from pydantic_ai import Agent


class Invoice(BaseModel):
    number: str
    total: Annotated[float, Gt(0)]
    currency: str


agent = Agent("openai-chat:gpt-4.1-mini", output_type=Invoice, instructions="Extract the invoice.", retries=1)


async def run(text):
    return (await agent.run(text)).output
