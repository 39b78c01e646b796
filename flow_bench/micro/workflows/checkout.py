"""E-commerce checkout: look up, price and reserve, screen for fraud, charge (declined once), ship and confirm."""

from __future__ import annotations

from typing import Any

import flow
from flow_bench.micro.workflows import Pause, Wait, stated

WAITS = stated(customer=6, prices=4, tax=3, fraud=9, shipment=7, receipt=5, loyalty=2)
WAITS["reserved"] = Wait(0.005, in_a_row=2)  # four articles, two at a time
WAITS["charge"] = Wait(0.008, in_a_row=2, between=0.004)  # the first attempt finds the line broken
PRICES = {"lamp": 4_900, "desk": 21_900, "chair": 12_500, "cable": 790}  # cents
INPUTS: dict[str, Any] = {"cart": [("lamp", 2), ("desk", 1), ("chair", 4), ("cable", 3)], "customer_id": 7}
WANTED = {
    "order": "7-4", "paid": 86_465, "attempts": 2, "parcels": ["chair", "desk", "lamp cable"], "points": 864
}  # fmt: skip


def build(pause: Pause) -> flow.Dag:
    """Twelve nodes, two of them maps over the cart."""
    dag = flow.Dag("checkout")

    async def price(line: tuple[str, int]) -> int:
        await pause("prices")
        article, count = line
        return PRICES[article] * count

    async def reserve(line: tuple[str, int]) -> tuple[str, int]:
        await pause("reserved")
        return line

    @dag.node(cost=pause.cost("customer"))
    async def customer(customer_id: int) -> dict[str, Any]:
        await pause("customer")
        return {"id": customer_id, "tier": "gold", "country": "NL", "orders": 3}

    dag.map("prices", price, over="cart", cost=pause.cost("prices"))
    dag.map("reserved", reserve, over="cart", concurrency=2, cost=pause.cost("reserved"))

    @dag.node
    def net(prices: list[int], customer: dict[str, Any]) -> int:
        discount = {"gold": 15, "silver": 5}.get(customer["tier"], 0)
        return sum(prices) * (100 - discount) // 100

    @dag.node(cost=pause.cost("tax"))
    async def tax(net: int, customer: dict[str, Any]) -> int:
        await pause("tax")
        return net * {"NL": 21, "DE": 19}[customer["country"]] // 100

    @dag.node(cost=pause.cost("fraud"))
    async def fraud(customer: dict[str, Any], net: int) -> float:
        await pause("fraud")
        return net / 1_000_000 / (1 + int(customer["orders"]))

    @dag.node(cost=pause.cost("charge"), retry=flow.Retry(2, delay=pause.between("charge"), jitter=0))
    async def charge(net: int, tax: int, fraud: float, reserved: list[Any], ctx: flow.Context) -> dict[str, int]:
        if fraud > 0.5:
            raise ValueError(f"held for review: a score of {fraud:.2f}")
        await pause("charge")
        if ctx.attempt == 1:
            raise ConnectionError("the bank does not answer")
        return {"cents": net + tax, "attempts": ctx.attempt}

    @dag.node(cost=pause.cost("shipment"))
    async def shipment(charge: dict[str, int], reserved: list[tuple[str, int]]) -> list[str]:
        await pause("shipment")
        large = sorted(article for article, _ in reserved if PRICES[article] >= 10_000)
        return [*large, " ".join(article for article, _ in reserved if article not in large)]

    @dag.node(cost=pause.cost("receipt"))
    async def receipt(charge: dict[str, int], prices: list[int]) -> str:
        await pause("receipt")
        return "\n".join(f"{cents / 100:10.2f}" for cents in (*prices, charge["cents"]))

    @dag.node(cost=pause.cost("loyalty"))
    async def loyalty(charge: dict[str, int]) -> int:
        await pause("loyalty")
        return charge["cents"] // 100

    @dag.node
    def order(customer: dict[str, Any], reserved: list[Any]) -> str:
        return f"{customer['id']}-{customer['orders'] + 1}"

    @dag.node
    def outcome(order: str, charge: dict[str, int], shipment: list[str], receipt: str, loyalty: int) -> dict[str, Any]:
        assert receipt.endswith(f"{charge['cents'] / 100:.2f}")
        return {
            "order": order, "paid": charge["cents"], "attempts": charge["attempts"], "parcels": shipment,
            "points": loyalty,
        }  # fmt: skip

    return dag
