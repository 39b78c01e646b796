"""Work for durable runs: a dag with maps, routes, loops, nested dags and retries, whose calls are counted."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import flow
from flow.errors import StoreError

Note = Callable[[str], None]


def work(note: Note, size: int = 6, *, is_async: bool = False, wait: float = 0.0) -> flow.Dag:
    """A dag of about ``2 * size + 12`` nodes. Each call says its name to ``note``.

    :param is_async: half of the nodes are coroutines, which give way, or wait for so many seconds.
    """
    dag = flow.Dag("work")

    def step(name: str, fn: Callable[..., Any]) -> Callable[..., Any]:
        if not is_async or hash_of(name) % 2:
            def plain(*values: Any) -> Any:
                note(name)
                return fn(*values)

            return plain

        async def awaiting(*values: Any) -> Any:
            note(name)
            await asyncio_sleep(wait)
            return fn(*values)

        return awaiting

    dag.add("start", step("start", lambda: 1))
    for k in range(size):
        before = "start" if k < 2 else f"n{k - 2}"
        dag.add(f"n{k}", step(f"n{k}", lambda x, k=k: x + k), needs=[before])

    def flaky(ctx: flow.Context) -> int:
        note(f"flaky@{ctx.attempt}")
        ctx.data.set("flaky", ctx.attempt)
        if ctx.attempt < 3:
            raise OSError(f"attempt {ctx.attempt}")
        return ctx.attempt

    dag.add("flaky", flaky, retry=flow.Retry(4, delay=0.0))
    dag.add("items", step("items", lambda x: list(range(size))), needs=[f"n{size - 1}"])

    def item(x: int, ctx: flow.Context) -> int:
        note(f"item{x}")
        ctx.publish("seen", x, "append")
        return x * x

    dag.map("squares", item, over="items", concurrency=2)

    def choose(flaky: int) -> str:
        note("choose")
        return "odd" if flaky % 2 else "even"

    dag.route("choose", choose, to={"odd": "left", "even": "right"})
    dag.add("left", step("left", lambda: "left"))
    dag.add("right", step("right", lambda: "right"))

    def only_if(flaky: int) -> bool:
        note("when")
        return flaky > 2

    dag.add("maybe", step("maybe", lambda: "maybe"), when=only_if)

    inner = flow.Dag("inner")

    def add_one(total: int) -> int:
        note("inner.a")
        return total + 1

    inner.add("a", add_one)
    inner.add("b", step("inner.b", lambda a: a * 2), needs=["a"])

    def total(squares: list[int]) -> int:
        note("total")
        return sum(squares)

    dag.add("total", total)
    dag.add("inner", inner)

    body = flow.Dag("body")

    def more(count: int) -> int:
        note(f"more{count}")
        return count + 1

    body.add("more", more)

    def until(more: int) -> bool:
        note(f"until{more}")
        return more >= 3

    dag.loop("polish", body, until=until, carry={"count": "more"}, max_iterations=9)

    def last(inner: Any, polish: Any, squares: list[int], flaky: int, ctx: flow.Context) -> Any:
        note("last")
        return [inner["b"], polish["more"], len(squares), ctx.data["seen"], ctx.data["flaky"]]

    dag.add("last", last)
    dag.add("joined", step("joined", lambda: "joined"), after=["left", "right", "maybe"], join="some")
    return dag


def hash_of(name: str) -> int:
    return sum(map(ord, name))


async def asyncio_sleep(seconds: float) -> None:
    import anyio

    await anyio.sleep(seconds)


INPUTS = {"count": 0}


class Calls:
    """Counts calls, and knows what was acknowledged."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, name: str) -> None:
        self.counts[name] += 1


class Dying:
    """A backend that dies at its ``at``-th write: that is applied or not, and nothing works after it."""

    def __init__(self, backend: Any, at: int, applies: bool) -> None:
        self._backend, self.at, self._applies = backend, at, applies
        self.writes = 0
        self.dead = False

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._backend, name)
        if not callable(method):
            return method

        def call(*args: Any, **kwargs: Any) -> Any:
            if self.dead:
                raise StoreError("store 'dying' is dead")
            if name in ("write", "create", "claim", "send", "put_file"):
                self.writes += 1
                if self.writes == self.at:
                    self.dead = True
                    if self._applies:
                        method(*args, **kwargs)
                    raise StoreError("store 'dying' is dead")
            return method(*args, **kwargs)

        return call


def sleeps_not(seconds: float) -> Any:
    return asyncio.sleep(0)
