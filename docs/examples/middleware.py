"""Code around nodes: a cache of one's own, and the package's timing and validation."""

from collections import Counter
from typing import Any

import flow

calls: Counter[str] = Counter()
timings: list[str] = []
cache: dict[str, Any] = {}


def cached(next: Any, ctx: flow.Context) -> Any:
    """Call each node once per process. (For sync nodes: what it stores is the value.)"""
    if ctx.node not in cache:
        cache[ctx.node] = next()
    return cache[ctx.node]


def build(price_tag: int | str) -> flow.Dag:
    types = flow.middleware.validated({"price": int, "total": int})
    dag = flow.Dag("shop", middleware=[types])  # around every node, outside a node's own

    def price() -> int | str:
        calls["price"] += 1
        return price_tag

    def total(price: int, amount: int) -> int:
        return price * amount

    dag.add("price", price, middleware=[cached])
    dag.add("total", total, middleware=[flow.middleware.timed(lambda node, seconds: timings.append(node))])
    return dag


def main() -> None:
    for kept in (calls, timings, cache):
        kept.clear()
    plan = build(20).compile()
    for _ in range(2):
        print(dict(flow.run(plan, {"amount": 3})))
    print(f"price called {'once' if calls['price'] == 1 else 'again'}, total timed {len(timings)} times")
    cache.clear()
    try:
        flow.run(build("twenty"), {"amount": 3})
    except* TypeError as group:
        print(group.exceptions[0])


if __name__ == "__main__":
    main()
