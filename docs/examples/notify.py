"""Send a notification to 5,000 users, 100 per call; a busy service is asked again; what was sent is counted."""

from collections.abc import Iterator
from operator import add

import anyio

import flow

dag = flow.Dag("notify")


@dag.node
def users(count: int) -> Iterator[str]:
    return (f"user{k}" for k in range(count))  # pulled a batch at a time


async def send(batch: list[str], index: int, ctx: flow.Context) -> list[bool]:
    ctx.publish("calls", 1, merge=add)  # of an attempt that fails, nothing goes up
    await anyio.sleep(0.001)
    call = index // 100  # ``index`` is the batch's first user's
    if call == 40 or (call % 10 == 3 and ctx.attempt == 1):
        raise ConnectionError("the mail service is busy")
    sent = [not name.endswith("99") for name in batch]
    ctx.publish("sent", sum(sent), merge=add)
    ctx.publish("bounced", batch[sent.index(False)], merge="append")
    return sent


retry = flow.Retry(3, delay=1.0, retry_if=ConnectionError)
dag.map("send", send, over="users", batch_size=100, concurrency=8, on_error="collect", retry=retry)


@dag.node
def summary(send: flow.MapResult[bool], ctx: flow.Context) -> str:
    calls, sent = ctx.data.get_int("calls"), ctx.data.get_int("sent")
    bounced = ctx.data["bounced"]
    return f"{sent} of {len(send)} sent in {calls} calls, {len(bounced)} bounced: {bounced[0]} ... {bounced[-1]}"


def main() -> None:
    clock = flow.testing.FakeClock()
    result = flow.run(dag, {"count": 5000}, config=flow.Config(clock=clock))
    print(result["summary"])
    errors = result["send"].errors
    print(f"not reached: users {min(errors)} to {max(errors)}: {errors[min(errors)]}")
    print(f"waited {len(clock.slept)} times before a retry (of a clock that is not real)")


if __name__ == "__main__":
    main()
