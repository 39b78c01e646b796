"""A value of a type out of a text. An answer of another form is repaired once, and what cannot be had is told apart."""

import datetime

import msgspec

import flow
from flow import ai
from flow.ai import Request


class Invoice(msgspec.Struct):
    number: str
    day: datetime.date
    total: float


def answer(request: Request) -> str:
    """What a model would answer: it takes a date as it stands, until it is told how dates are written."""
    text = str(request.messages[0].content)
    if "no invoice" in text:
        return "There is no invoice in this text."
    day = "2 March 2026" if len(request.messages) == 1 else "2026-03-02"
    return f'{{"number": "F-17", "day": "{day}", "total": 120.5}}'


provider = ai.Scripted(answer)
MODEL = ai.Model(provider, "small", input_price="0.40", output_price="1.60")

dag = flow.Dag("extraction")
ai.llm(dag, "invoice", model=MODEL, prompt="Extract the invoice:\n{{ text }}", output=Invoice)


@dag.node
def due(invoice: Invoice) -> datetime.date:
    return invoice.day + datetime.timedelta(days=30)


def main() -> None:
    result = flow.run(dag, {"text": "Invoice F-17 of 2 March 2026: 120.50 EUR"})
    print(result["invoice"].number, result["invoice"].total, "due", result["due"])
    print("what the model was told:", str(provider.requests[1].messages[-1].content).splitlines()[0])
    try:
        flow.run(dag, {"text": "no invoice"})
    except* ai.OutputMismatch as errors:
        print("not found:", *errors.exceptions)
    print(ai.usage(result).total.requests, "requests, and", len(provider.requests) - 2, "for the other text")


if __name__ == "__main__":
    main()
