"""A small report: sync and async nodes, data and pure ordering, a retry, a time limit, a run input."""

import anyio

import flow

dag = flow.Dag("report")


@dag.node
def users() -> list[int]:
    return [1, 2, 3]


@dag.node
async def scores(users: list[int], weight: float = 0.5) -> dict[int, float]:
    await anyio.sleep(0.001)  # ask some service
    return {user: user * weight for user in users}


@dag.node
def text(scores: dict[int, float]) -> str:
    return f"{len(scores)} scores"


@dag.node(after="text", retry=flow.Retry(3, delay=0.01), timeout=2.0)
def publish(scores: dict[int, float], ctx: flow.Context) -> str:
    if ctx.attempt == 1:
        raise ConnectionError("the mail server is busy")
    return f"published {len(scores)} scores"


def main() -> None:
    result = flow.run(dag, inputs={"weight": 1.0})
    print(result["scores"])
    print(result[publish], "after", result.attempts["publish"], "attempts")
    print(result.status["publish"], result.ok)


if __name__ == "__main__":
    main()
