"""A small model says what a mail is about; a model for that answers, and what it is not sure about goes to a person."""

from typing import Literal

import msgspec

import flow
from flow import ai
from flow.ai import Request


class About(msgspec.Struct):
    kind: Literal["billing", "technical"]
    sure: bool


def classify(request: Request) -> About:
    text = str(request.messages[-1].content)
    return About("technical" if "crash" in text else "billing", sure="?" not in text)


def model(answer: ai.Scripted, name: str) -> ai.Model:
    return ai.Model(answer, name, input_price="0.40", output_price="1.60")


SMALL = model(ai.Scripted(classify), "small")
BILLING = model(ai.Scripted(lambda request: "we charge once"), "billing")
TECHNICAL = model(ai.Scripted(lambda request: "restart it"), "technical")

dag = flow.Dag("triage")
ai.llm(dag, "about", model=SMALL, system="What is the mail about?", prompt="{{ mail }}", output=About)


def desk(about: About) -> str:
    return about.kind if about.sure else "person"


dag.route("desk", desk, to={"billing": "billing", "technical": "technical", "person": "person"})
ai.llm(dag, "billing", model=BILLING, prompt="Answer about money:\n{{ mail }}")
ai.llm(dag, "technical", model=TECHNICAL, prompt="Answer about the app:\n{{ mail }}")
dag.add("person", lambda mail: "a person will answer")
dag.merge("answer", of=["billing", "technical", "person"])


def main() -> None:
    for mail in ["I was charged twice", "The app does crash", "What is this?"]:
        result = flow.run(dag, {"mail": mail})
        by_node = {name: one.requests for name, one in ai.usage(result).by_node.items()}
        print(f"{mail}: {result['answer']} {by_node}")


if __name__ == "__main__":
    main()
