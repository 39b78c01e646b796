import work
from pydantic_ai import Agent, DeferredToolRequests, DeferredToolResults, Tool

agent = Agent(
    "openai-chat:gpt-4.1-mini",
    output_type=[str, DeferredToolRequests],
    tools=[work.find_order, Tool(work.refund, requires_approval=True)],
)


async def run(question, approve):
    result = await agent.run(question)
    while isinstance(result.output, DeferredToolRequests):
        said = {call.tool_call_id: approve(call.tool_name, call.args_as_dict()) for call in result.output.approvals}
        decided = DeferredToolResults(approvals=said)
        result = await agent.run(message_history=result.all_messages(), deferred_tool_results=decided)
    return result.output
