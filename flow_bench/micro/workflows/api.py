"""API orchestration: one page out of seven services; one of them is down, and the page does without it."""

from __future__ import annotations

import json
from typing import Any

import flow
from flow_bench.micro.workflows import Pause, Wait, stated

WAITS = stated(session=3, profile=5, orders=8, recommended=12, popular=6, messages=7, stock=5)
WAITS["details"] = Wait(0.004, in_a_row=2)  # six orders, three at a time
INPUTS: dict[str, Any] = {"token": "user:42"}
WANTED = {
    "title": "Ada, 6 orders", "open": [3, 6], "total": 147, "suggestions": ["ink", "paper"], "unread": 2,
    "bytes": 102,
}  # fmt: skip


def build(pause: Pause) -> flow.Dag:
    """Ten nodes, one of them a map; ``recommended`` fails and the page comes after it, not from it."""
    dag = flow.Dag("api")

    @dag.node(cost=pause.cost("session"))
    async def session(token: str) -> int:
        await pause("session")
        return int(token.removeprefix("user:"))

    @dag.node(cost=pause.cost("profile"))
    async def profile(session: int) -> dict[str, Any]:
        await pause("profile")
        return {"id": session, "name": "Ada"}

    @dag.node(cost=pause.cost("orders"))
    async def orders(session: int) -> list[int]:
        await pause("orders")
        return list(range(1, 7))

    async def detail(order: int) -> dict[str, Any]:
        await pause("details")
        return {"id": order, "sum": 14 + order * 3, "open": order % 3 == 0}

    dag.map("details", detail, over=orders, concurrency=3, cost=pause.cost("details"))

    @dag.node(cost=pause.cost("recommended"), continue_on_error=True)
    async def recommended(profile: dict[str, Any]) -> list[str]:
        await pause("recommended")
        raise ConnectionError("the recommender is down")

    @dag.node(cost=pause.cost("popular"))
    async def popular(session: int) -> list[str]:
        await pause("popular")
        return ["ink", "desk", "paper"]

    @dag.node(cost=pause.cost("stock"))
    async def stock(popular: list[str]) -> dict[str, int]:
        await pause("stock")
        return {article: len(article) % 4 for article in popular}

    @dag.node(cost=pause.cost("messages"))
    async def messages(session: int) -> list[dict[str, Any]]:
        await pause("messages")
        return [{"read": read} for read in (True, False, True, False)]

    @dag.node
    def summary(details: list[dict[str, Any]]) -> dict[str, Any]:
        return {"open": [d["id"] for d in details if d["open"]], "total": sum(d["sum"] for d in details)}

    @dag.node(after=recommended)
    def outcome(
        profile: dict[str, Any], orders: list[int], summary: dict[str, Any], stock: dict[str, int],
        messages: list[dict[str, Any]],
    ) -> dict[str, Any]:  # fmt: skip
        page = {
            "title": f"{profile['name']}, {len(orders)} orders", **summary,
            "suggestions": [article for article, left in stock.items() if left],
            "unread": sum(not message["read"] for message in messages),
        }  # fmt: skip
        return page | {"bytes": len(json.dumps(page))}

    return dag
