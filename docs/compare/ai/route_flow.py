from typing import Literal

import msgspec

import flow
from flow import ai


class Class(msgspec.Struct):
    kind: Literal["billing", "technical", "other"]


PROMPTS = {
    "billing": "You work at the billing desk. Answer this mail.",
    "technical": "You work at the technical desk. Answer this mail.",
    "other": "Answer this mail.",
}
MODEL = "openai:gpt-4.1-mini"
dag = flow.Dag("mails")
ai.llm(dag, "class", model=MODEL, system="Classify this mail.", prompt="{{ mail }}", output=Class)
dag.route("desk", lambda c: c.kind, needs=["class"], to={name: name for name in PROMPTS})
for name, prompt in PROMPTS.items():
    ai.llm(dag, name, model=MODEL, system=prompt, prompt="{{ mail }}")
dag.merge("answer", of=[*PROMPTS])


async def run(mail):
    return (await flow.execute(dag, {"mail": mail}))["answer"]
