"""Whatever calls come, fail, are cancelled or killed: no budget is overspent, and nothing stays reserved."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from random import Random
from threading import Thread
from typing import Any

import anyio
import pytest
from conftest import examples, loops
from hypothesis import given
from hypothesis import strategies as st

import flow.store
from flow.ai.budgets import Budget, hold
from flow.ai.errors import BudgetExceeded
from flow.run.accounts import Account
from flow.store.accounts import Accounts
from flow.store.in_memory import MemoryBackend
from flow.store.store import Store
from flow.store.writer import Writer
from flow.testing import FakeClock, context

PROGRAMS = Path(__file__).parent / "programs"
EPOCH = datetime(2026, 11, 30, 22, 0, tzinfo=UTC).timestamp()
LIMITS = {"run": 300, "hour": 400, "day": 700}

CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "begins": st.integers(0, 12_000),
            "run": st.sampled_from("ab"),
            "account": st.sampled_from("xy"),
            "asked": st.integers(0, 150),
            "cost": st.integers(0, 200),
            "takes": st.integers(0, 3_000),
            "ends": st.sampled_from(["settled", "failed", "unmade", "cancelled", "cancelled unmade"]),
        }
    ),
    max_size=40,
)


class Record:
    """An independent record: what was spent and what calls go on, by window of each account."""

    def __init__(self) -> None:
        self.spent = Counter[tuple[str, ...]]()
        self.reserved = Counter[tuple[str, ...]]()

    def keys(self, call: dict[str, Any], now: float) -> list[tuple[str, ...]]:
        at = datetime.fromtimestamp(EPOCH + now, UTC).isoformat()
        begins = {"run": call["run"], "hour": at[:13], "day": at[:10]}
        return [(window, begins[window], call["account"]) for window in LIMITS]

    def has_room(self, keys: list[tuple[str, ...]], asked: int) -> bool:
        return asked == 0 or all(self.spent[key] + self.reserved[key] + asked <= LIMITS[key[0]] for key in keys)


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "store"])
@pytest.mark.parametrize("backend", loops("asyncio", "trio"))
@examples(40)
@given(calls=CALLS)
def test_what_is_spent_and_reserved_is_what_an_independent_record_says(
    backend: str, shared: bool, calls: list[dict[str, Any]]
) -> None:
    """Each call is made if and only if there is room, by the record, at the moment in which it comes."""
    clock, record, over = FakeClock(epoch=EPOCH), Record(), Counter[tuple[str, ...]]()
    limits = {window: Decimal(limit) / 1000 for window, limit in LIMITS.items()}
    store = Store(MemoryBackend())
    if shared:
        store.accounts.blocks = False  # type: ignore[misc]  # time must not move while a thread works
    budget = Budget(**limits, by=lambda ctx: ctx.inputs["account"], store=store if shared else None)

    async def call(one: dict[str, Any]) -> None:
        await clock.wait(one["begins"])
        ctx = context(run_id=one["run"], inputs={"account": one["account"]}, clock=clock)
        keys = record.keys(one, clock.now())
        room, asked, cost = record.has_room(keys, one["asked"]), one["asked"], one["cost"]
        is_made = "unmade" not in one["ends"]
        try:
            with anyio.CancelScope() as scope:
                async with hold(ctx, [budget], Decimal(asked) / 1000) as held:
                    assert room
                    record.reserved.update(dict.fromkeys(keys, asked))
                    try:
                        await clock.wait(one["takes"])
                        if "cancelled" in one["ends"]:
                            scope.cancel()
                            await anyio.sleep(0)
                        if one["ends"] == "failed":
                            raise ZeroDivisionError
                    finally:
                        record.reserved.subtract(dict.fromkeys(keys, asked))
                        if is_made:
                            held.settle(Decimal(cost) / 1000)
                            record.spent.update(dict.fromkeys(keys, cost))
                            over.update(dict.fromkeys(keys, max(0, cost - asked)))
        except BudgetExceeded as error:
            assert not room and error.asked == Decimal(asked) / 1000
        except ZeroDivisionError:
            pass

    async def main() -> None:
        async with anyio.create_task_group() as group:
            for one in calls:
                group.start_soon(call, one)

    with store:
        anyio.run(main, backend=backend)
        found = {(one.window, one.begins, one.account): one for one in budget.statistics()}
    assert {key: int(one.spent * 1000) for key, one in found.items() if one.spent} == +record.spent
    assert all(one.reserved == 0 for one in found.values())
    for key, spent in record.spent.items():  # only by as much as calls have cost above what was reserved for them
        assert spent <= LIMITS[key[0]] + over[key]


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "store"])
def test_threads_share_a_budget(shared: bool, tmp_path: Path) -> None:
    costs: list[int] = []
    with flow.store.open(tmp_path / "b.db") as store:
        budget = Budget(day="0.2", store=store if shared else None)

        async def call(random: Random) -> None:
            asked = random.randrange(1, 20)
            try:
                async with hold(context(), [budget], Decimal(asked) / 1000) as held:
                    cost = random.randrange(asked + 1)
                    await anyio.sleep(0)
                    if random.random() < 0.8:
                        costs.append(cost)
                        held.settle(Decimal(cost) / 1000)
            except BudgetExceeded:
                pass

        async def main(seed: int) -> None:
            async with anyio.create_task_group() as group:
                for k in range(30):
                    group.start_soon(call, Random(seed * 1000 + k))

        work = [Thread(target=anyio.run, args=(main, k), kwargs={"backend": b}) for k, b in enumerate(BOTH)]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join(60.0)
        (one,) = budget.statistics()
    assert one.spent == Decimal(sum(costs)) / 1000 <= Decimal("0.2")
    assert one.reserved == 0 and len(costs) > 10


BOTH = ("asyncio", "trio", "asyncio")


@contextmanager
def program(name: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(PROGRAMS / name), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_processes_share_a_budget_and_one_is_killed(tmp_path: Path) -> None:
    path, record = tmp_path / "b.db", tmp_path / "record"
    with (
        program("budget_calls.py", path, record, 1, 60, "0.9") as survivor,
        program("budget_calls.py", path, record, 2, 10**6, "0.9") as victim,
    ):
        for process in (survivor, victim):
            assert line_of(process) == "ready"
            tell(process)
        while not record.exists() or record.read_bytes().count(b"\n") < 15:
            time.sleep(0.005)
        victim.kill()
        victim.wait()
        assert line_of(survivor) == "done"
        lines = [line.split() for line in record.read_text(encoding="ascii").splitlines()]
        made = sum(int(cost) for _, _, cost in lines)
        with flow.store.open(path) as store:
            (one,) = Budget(day="0.9", store=store).statistics()
            spent, reserved = int(one.spent * 1000), int(one.reserved * 1000)
            in_flight = [(int(asked), int(cost)) for who, asked, cost in lines if who == f"p{victim.pid}"][-4:]
            # What the killed process had not settled is what it had reserved, of at most four calls.
            lost = made - spent
            assert 0 <= lost <= min(reserved, sum(cost for _, cost in in_flight))
            assert spent + reserved <= 900 and made <= 900
            later = Accounts(store.backend, Writer(), lambda: time.time() + 31.0)
            (account,) = store.backend.balances("")
            (after,) = later.reserve("r", [Account(account.name, 10**15, 1e12)], 1).balances
            assert (after.spent, after.reserved) == (account.spent, 0)
        tell(survivor)
        assert survivor.wait(20.0) == 0


@pytest.mark.parametrize("shared", ["no", "yes"], ids=["reports", "store"])
def test_a_killed_run_goes_on_with_what_it_has_spent(tmp_path: Path, shared: str) -> None:
    path, record = tmp_path / "b.db", tmp_path / "record"
    with program("budget_run.py", path, record, shared, 3) as process:
        assert process.wait(60.0) == -9
    with program("budget_run.py", path, record, shared, -1) as process:
        # The reservation of the killed call has ended with its process's ownership of the run.
        assert line_of(process) == "0.040 0.000 0.020"
        assert process.wait(60.0) == 0
    assert record.read_text(encoding="ascii").split() == ["n0", "n1", "n2", "n3", "n3"]
