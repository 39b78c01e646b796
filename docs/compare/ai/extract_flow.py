from typing import Annotated

import msgspec

import flow
from flow import ai


class Invoice(msgspec.Struct):
    number: str
    total: Annotated[float, msgspec.Meta(gt=0)]
    currency: str


dag = flow.Dag("invoices")
ai.llm(dag, "invoice", model="openai:gpt-4.1-mini", system="Extract the invoice.", prompt="{{ text }}", output=Invoice)


async def run(text):
    return (await flow.execute(dag, {"text": text}))["invoice"]
