import flow
from flow import ai


def unpaid(error):
    if not isinstance(error, ai.BudgetExceeded):
        raise error


async def run(documents, budget):
    one, dag = flow.Dag("one"), flow.Dag("summaries")
    asked = {"model": "openai:gpt-4.1-mini", "prompt": "Summarise:\n{{ document }}", "max_output_tokens": 60}
    ai.llm(one, "summary", **asked, budget=ai.Budget(run=budget), retry=flow.Retry(3), fallback=unpaid)
    dag.map("summaries", one, over="documents", concurrency=10)
    result = await flow.execute(dag, {"documents": documents})
    return [one["summary"] for one in result["summaries"]], ai.usage(result).total.cost
