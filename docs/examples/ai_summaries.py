"""200 documents are summarised until a budget is spent; the others are left out, and what was spent is known."""

import flow
from flow import ai
from flow.ai import Reply, Request, Tokens

DOCUMENTS = [f"Document {number}. {'It has some words. ' * 20}" for number in range(200)]


def answer(request: Request) -> Reply:
    """What a model would answer: 100 tokens in, 20 out."""
    title = str(request.messages[-1].content).partition("\n")[2].partition(".")[0]
    return Reply(f"About {title.lower()}", tokens=Tokens(input=100, output=20))


MODEL = ai.Model(ai.Scripted(answer), "small", input_price="0.40", output_price="1.60")  # USD per million tokens


def left_out(error: Exception) -> None:
    """The fallback of a node whose budget is spent. Other errors stay errors."""
    if not isinstance(error, ai.BudgetExceeded):
        raise error


def build(budget: ai.Budget) -> flow.Dag:
    one = flow.Dag("one")
    ai.llm(
        one, "summary", model=MODEL, prompt="Summarise:\n{{ document }}", max_output_tokens=60, budget=budget,
        rate=ai.RateLimiter(requests_per_minute=6_000), retry=flow.Retry(3), fallback=left_out,
    )  # fmt: skip
    dag = flow.Dag("summaries")
    dag.map("summaries", one, over="documents", concurrency=10)
    return dag


def main() -> None:
    config = flow.Config(clock=flow.testing.FakeClock())  # in your program: without it
    for limit in ("1.00", "0.01"):
        result = flow.run(build(ai.Budget(run=limit)), {"documents": DOCUMENTS}, config=config)
        found = [one["summary"] for one in result["summaries"]]
        total = ai.usage(result).total
        made = [summary for summary in found if summary is not None]
        print(f"{limit} USD: {len(made)} of {len(found)}, {total.requests} requests, {total.cost:.5f} USD spent")
    print(made[0])


if __name__ == "__main__":
    main()
