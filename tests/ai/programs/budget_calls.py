"""Makes calls of random cost under a budget in a store: ``budget_calls.py STORE RECORD SEED CALLS LIMIT``.

Each call that is made is noted in the file RECORD, as its provider would: who, and what it costs. It is killed when
its input ends.
"""

from __future__ import annotations

import os
import sys
from decimal import Decimal
from random import Random

import anyio

import flow.store
from flow.ai.budgets import Budget, hold
from flow.ai.errors import BudgetExceeded
from flow.testing import context


async def call(budget: Budget, record: int, random: Random, who: str) -> None:
    asked = random.randrange(1, 50)
    cost = random.randrange(0, asked + 1)
    try:
        async with hold(context(run_id=who, node=who), [budget], Decimal(asked) / 1000) as held:
            if random.random() < 0.2:
                return  # no call is made
            os.write(record, f"{who} {asked} {cost}\n".encode())
            with anyio.move_on_after(0.001 if random.random() < 0.3 else 1.0):
                await anyio.sleep(random.random() * 0.005)
            held.settle(Decimal(cost) / 1000)
            if random.random() < 0.2:
                raise ZeroDivisionError
    except (BudgetExceeded, ZeroDivisionError):
        return


async def main(path: str, record: int, seed: int, calls: int, limit: str) -> None:
    random, who = Random(seed), f"p{os.getpid()}"
    with flow.store.open(path) as store:
        budget = Budget(day=limit, store=store)
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(calls // 4):
            async with anyio.create_task_group() as group:
                for _ in range(4):
                    group.start_soon(call, budget, record, random, who)
        print("done", flush=True)
        sys.stdin.readline()


if __name__ == "__main__":
    _, path, record, seed, calls, limit = sys.argv
    out = os.open(record, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    anyio.run(main, path, out, int(seed), int(calls), limit, backend="trio" if int(seed) % 2 else "asyncio")
