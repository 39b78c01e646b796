import work

import flow
from flow import ai

dag = flow.Dag("refunds")
tools, guarded = [work.find_order, work.refund], [work.refund]
ai.agent(dag, "answer", model="openai:gpt-4.1-mini", prompt="{{ question }}", tools=tools, approve=guarded)


async def run(question, approve):
    asked = {}

    def observe(event):
        if isinstance(event, flow.events.NodeReported) and event.kind == "question":
            asked[event.value["address"]] = event.value

    async with flow.start(dag, {"question": question}, config=flow.Config(observers=[observe])) as run:
        while address := await run.next_waiting():
            call = asked[address]
            run.send(address, {"yes": approve(call["tool"], call["arguments"])})
        return (await run.result())["answer"]
