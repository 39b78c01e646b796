from typing import Literal

from pydantic import BaseModel
from pydantic_ai import Agent


class Class(BaseModel):
    kind: Literal["billing", "technical", "other"]


MODEL = "openai-chat:gpt-4.1-mini"
classify = Agent(MODEL, output_type=Class, instructions="Classify this mail.")
desks = {
    "billing": Agent(MODEL, instructions="You work at the billing desk. Answer this mail."),
    "technical": Agent(MODEL, instructions="You work at the technical desk. Answer this mail."),
    "other": Agent(MODEL, instructions="Answer this mail."),
}


async def run(mail):
    kind = (await classify.run(mail)).output.kind
    return (await desks[kind].run(mail)).output
