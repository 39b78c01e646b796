"""ETL: three sources, parsed and cleaned, joined, converted, summed by region, checked, and loaded in batches."""

from __future__ import annotations

import csv
import io
import json
from collections import defaultdict
from typing import Any

import flow
from flow_bench.micro.workflows import Pause, Wait, stated

ROWS = 120
WAITS = stated(orders=10, customers=14, rates=4, published=3)
WAITS["stored"] = Wait(0.006, in_a_row=2)  # three batches, two at a time
CURRENCIES = {"EUR": 100, "USD": 90, "SEK": 9}  # cents of a euro
REGIONS = ("north", "south", "east")
INPUTS: dict[str, Any] = {}
WANTED = {
    "rows": 102, "rejected": 18, "stored": 102,
    "totals": {"north": 163_900, "south": 176_236, "east": 135_530}, "quality": "ok",
}  # fmt: skip


def orders_file() -> str:
    """A CSV file in which some amounts are missing and some customers unknown."""
    lines = ["id,customer,amount,currency"]
    for i in range(ROWS):
        amount = "" if i % 10 == 3 else str(10 + i)
        customer = 99 if i % 20 == 7 else i % 12
        lines.append(f"{i},{customer},{amount},{tuple(CURRENCIES)[i % 3]}")
    return "\n".join(lines)


def customers_file() -> str:
    """A JSON document per line."""
    return "\n".join(json.dumps({"id": i, "name": f" Customer {i} ", "region": REGIONS[i // 4]}) for i in range(12))


ORDERS, CUSTOMERS = orders_file(), customers_file()


def build(pause: Pause) -> flow.Dag:
    """Thirteen nodes, one of them a map over batches."""
    dag = flow.Dag("etl")

    @dag.node(cost=pause.cost("orders"))
    async def orders() -> str:
        await pause("orders")
        return ORDERS

    @dag.node(cost=pause.cost("customers"))
    async def customers() -> str:
        await pause("customers")
        return CUSTOMERS

    @dag.node(cost=pause.cost("rates"))
    async def rates() -> dict[str, int]:
        await pause("rates")
        return CURRENCIES

    @dag.node
    def parsed_orders(orders: str) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(orders)))

    @dag.node
    def parsed_customers(customers: str) -> dict[int, dict[str, Any]]:
        return {row["id"]: row for row in map(json.loads, customers.splitlines())}

    @dag.node
    def clean_orders(parsed_orders: list[dict[str, str]]) -> list[dict[str, str]]:
        return [row for row in parsed_orders if row["amount"]]

    @dag.node
    def clean_customers(parsed_customers: dict[int, dict[str, Any]]) -> dict[int, dict[str, Any]]:
        return {id_: row | {"name": row["name"].strip()} for id_, row in parsed_customers.items()}

    @dag.node
    def joined(clean_orders: list[dict[str, str]], clean_customers: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
        known = [row for row in clean_orders if int(row["customer"]) in clean_customers]
        return [row | {"region": clean_customers[int(row["customer"])]["region"]} for row in known]

    @dag.node
    def converted(joined: list[dict[str, Any]], rates: dict[str, int]) -> list[dict[str, Any]]:
        return [row | {"cents": int(row["amount"]) * rates[row["currency"]]} for row in joined]

    @dag.node
    def totals(converted: list[dict[str, Any]]) -> dict[str, int]:
        sums: dict[str, int] = defaultdict(int)
        for row in converted:
            sums[row["region"]] += row["cents"]
        return {region: sums[region] for region in REGIONS}

    @dag.node
    def quality(converted: list[dict[str, Any]], parsed_orders: list[dict[str, str]]) -> str:
        return "ok" if len(converted) > 0.8 * len(parsed_orders) else "too many rejected"

    async def store(batch: list[dict[str, Any]]) -> list[int]:
        await pause("stored")
        return [int(row["id"]) for row in batch]

    dag.map(
        "stored", store, over=converted, batch_size=40, concurrency=2, after=quality, cost=pause.cost("stored")
    )  # fmt: skip

    @dag.node(cost=pause.cost("published"))
    async def outcome(
        stored: list[int], totals: dict[str, int], quality: str, parsed_orders: list[Any], converted: list[Any]
    ) -> dict[str, Any]:
        await pause("published")
        rejected = len(parsed_orders) - len(converted)
        return {
            "rows": len(converted), "rejected": rejected, "stored": len(set(stored)), "totals": totals,
            "quality": quality,
        }  # fmt: skip

    return dag
