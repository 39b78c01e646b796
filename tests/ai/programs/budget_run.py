"""Drives a durable run of ten calls under a budget: ``budget_run.py STORE RECORD SHARED KILL_AT``.

Each call that is made is noted in the file RECORD. In call KILL_AT, when it has been noted, the process kills itself.
With SHARED the budget is in the store; else it knows of earlier processes what the run has reported.
"""

from __future__ import annotations

import os
import signal
import sys
from decimal import Decimal

import flow
import flow.store
from flow.ai.budgets import Budget, hold
from flow.ai.errors import BudgetExceeded


def main(path: str, record: str, shared: bool, kill_at: int) -> None:
    with flow.store.open(path, durability="sync") as store:
        budget = Budget(run="0.055", store=store if shared else None)
        dag = flow.Dag("paid")

        async def call(ctx: flow.Context) -> None:
            async with hold(ctx, [budget], Decimal("0.02")) as held:
                with open(record, "a", encoding="ascii") as file:
                    file.write(f"{ctx.node}\n")
                if ctx.node == f"n{kill_at}":
                    os.kill(os.getpid(), signal.SIGKILL)
                held.settle(Decimal("0.01"))
                ctx.report("usage", {"cost": "0.01", "requests": 1, "budgets": held.accounts})

        for k in range(10):
            dag.add(f"n{k}", call, after=[f"n{k - 1}"] if k else [])
        try:
            flow.run(dag, store=store, run_id="paid")
        except flow.RunError as error:
            (only,) = error.exceptions
            assert isinstance(only, BudgetExceeded)
            print(f"{only.spent:.3f} {only.reserved:.3f} {only.asked:.3f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3] == "yes", int(sys.argv[4]))
