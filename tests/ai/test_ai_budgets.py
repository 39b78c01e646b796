"""Budgets: what has room, what is refused and how that is said, windows, accounts, alerts, runs that are resumed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pickle import dumps, loads
from threading import Event, Thread, get_ident
from typing import Any

import anyio
import pytest
from conftest import loops

import flow
from flow.ai.budgets import Alert, Budget, Held, hold
from flow.ai.budgets import ledger as ledgers
from flow.ai.errors import BudgetExceeded, UnknownModel
from flow.errors import ConfigError, StoreError, UsageError
from flow.run.accounts import Account, Balance, Books, Reservation, Reserved
from flow.store.in_memory import MemoryBackend
from flow.store.store import Store
from flow.testing import FakeClock, context

START = datetime(2026, 11, 30, 22, 30, tzinfo=UTC).timestamp()


def clock_at(hours: float = 0.0) -> FakeClock:
    return FakeClock(epoch=START + hours * 3600.0)


async def spend(ctx: Any, budgets: Sequence[Budget], asked: str | None, cost: str | None) -> Held:
    async with hold(ctx, budgets, None if asked is None else Decimal(asked)) as held:
        held.settle(None if cost is None else Decimal(cost))
    return held


def spent(ctx: Any, budget: Budget, asked: str, cost: str) -> None:
    asyncio.run(spend(ctx, [budget], asked, cost))


def test_an_amount_is_reserved_and_then_settled() -> None:
    ctx, budget = context(), Budget(run="1.00")

    async def main() -> None:
        async with hold(ctx, [budget], Decimal("0.4")) as held:
            (one,) = budget.statistics()
            assert (one.spent, one.reserved, one.limit) == (0, Decimal("0.4"), 1)
            held.settle(Decimal("0.1234567"))
        (one,) = budget.statistics()
        assert (one.spent, one.reserved) == (Decimal("0.1234567"), 0)
        with pytest.raises(ZeroDivisionError):
            async with hold(ctx, [budget], Decimal("0.8")):
                raise ZeroDivisionError  # no call was made
        with pytest.raises(ZeroDivisionError):
            async with hold(ctx, [budget], Decimal("0.8")) as held:
                held.settle(Decimal("0.9"))  # more than was reserved
                raise ZeroDivisionError
        (one,) = budget.statistics()
        assert (one.spent, one.reserved) == (Decimal("1.0234567"), 0)
        with pytest.raises(BudgetExceeded):
            await spend(ctx, [budget], "0.000001", "0")
        await spend(ctx, [budget], "0", "0")  # what costs nothing goes on

    asyncio.run(main())


def test_a_refusal_says_who_and_how_much() -> None:
    ctx = context(node="summary", clock=clock_at())
    budget = Budget(day="20", month=Decimal("100"), name="team", by="blue")

    async def main() -> BudgetExceeded:
        await spend(ctx, [budget], "19", "19.75")
        async with hold(ctx, [budget], Decimal("0.125")):
            with pytest.raises(BudgetExceeded) as caught:
                await spend(ctx, [budget], "0.3", "0")
        return caught.value

    error = asyncio.run(main())
    assert str(error) == (
        "budget 'team', account 'blue', has no room for node 'summary': of 20.00 USD in the day 2026-11-30, 19.75 are "
        "spent and 0.125 reserved by calls that go on, and the call may cost 0.30. It was not made: raise day=, or let "
        "it ask for less, as by max_output_tokens; the day ends at 2026-12-01T00:00Z"
    )
    told = error.budget, error.account, error.window, error.begins_anew, error.limit, error.spent, error.reserved
    ends = datetime(2026, 12, 1, tzinfo=UTC)
    assert told == ("team", "blue", "day", ends, 20, Decimal("19.75"), Decimal("0.125"))
    assert error.asked == Decimal("0.3") and not error.retryable
    again = loads(dumps(error))
    assert (str(again), again.asked, again.begins_anew) == (str(error), error.asked, ends)


def test_what_is_only_reserved_is_said_to_be() -> None:
    ctx, budget = context(), Budget(run="1")

    async def main() -> None:
        async with hold(ctx, [budget], Decimal("0.7")):
            with pytest.raises(BudgetExceeded, match="what is missing is reserved, not spent: let fewer calls go on"):
                await spend(ctx, [budget], "0.31", "0")
            await spend(ctx, [budget], "0.3", "0.3")

    asyncio.run(main())


def test_of_several_budgets_all_reserve_or_none() -> None:
    ctx, wide, narrow = context(), Budget(run="5", name="wide"), Budget(run="0.5", name="narrow")

    async def main() -> None:
        for budgets in ([wide, narrow], [narrow, wide]):
            with pytest.raises(BudgetExceeded, match="'narrow'"):
                await spend(ctx, budgets, "0.6", "0")
        held = await spend(ctx, [wide, narrow], "0.5", "0.25")
        assert held.accounts == {"wide": "", "narrow": ""}

    asyncio.run(main())
    assert [one.spent for budget in (wide, narrow) for one in budget.statistics()] == [Decimal("0.25")] * 2


def test_windows_begin_anew() -> None:
    budget = Budget(hour="1", day="1.5", month="4")
    clock = clock_at()
    ctx = context(clock=clock)
    spent(ctx, budget, "1", "1")
    for hours, window in ((0.0, "hour"), (0.49, "hour"), (0.6, "day"), (1.4, "day")):
        clock.time = hours * 3600.0
        with pytest.raises(BudgetExceeded) as caught:
            spent(ctx, budget, "0.9", "1")
        assert caught.value.window == window
    for days in range(1, 5):  # the month has begun anew too
        clock.time = days * 24 * 3600.0
        spent(ctx, budget, "1", "1")
    clock.time = 5 * 24 * 3600.0
    with pytest.raises(BudgetExceeded, match=r"of 4.00 USD in the month 2026-12, 4.00 are spent.*2027-01-01T00:00Z"):
        spent(ctx, budget, "1", "1")
    clock.time = 33 * 24 * 3600.0
    spent(ctx, budget, "1", "1")


def test_a_call_is_settled_in_the_window_in_which_it_was_reserved() -> None:
    budget, clock = Budget(hour="1"), clock_at()
    ctx = context(clock=clock)

    async def main() -> None:
        async with hold(ctx, [budget], Decimal(1)) as held:
            clock.time = 3600.0
            await spend(ctx, [budget], "1", "0.5")
            held.settle(Decimal(1))

    asyncio.run(main())
    assert {one.begins: one.spent for one in budget.statistics()} == {
        "2026-11-30T22": Decimal(1), "2026-11-30T23": Decimal("0.5"),
    }  # fmt: skip


def test_a_clock_of_its_own() -> None:
    budget = Budget(day="1", clock=clock_at(24.0))
    spent(context(clock=clock_at()), budget, "1", "1")
    assert [one.begins for one in budget.statistics()] == ["2026-12-01"]


@pytest.mark.parametrize(
    ("by", "accounts"),
    [
        (None, {"a": "", "b": "", "c": ""}),
        ("workflow", {"a": "w", "b": "w", "c": "v"}),
        ("node", {"a": "w/n", "b": "w/m", "c": "v/n"}),
        ("blue/team", {"a": "blue/team", "b": "blue/team", "c": "blue/team"}),
        (lambda ctx: str(ctx.inputs["user"]), {"a": "1", "b": "2", "c": "1"}),
    ],
    ids=["one", "workflow", "node", "text", "function"],
)
def test_accounts(by: Any, accounts: dict[str, str]) -> None:
    calls = {"a": ("w", "n", 1), "b": ("w", "m", 2), "c": ("v", "n", 1)}
    budget = Budget(day="1", by=by)
    for workflow, node, user in calls.values():
        ctx = context(workflow=workflow, node=node, inputs={"user": user}, clock=clock_at())
        try:
            spent(ctx, budget, "0.6", "0.6")
        except BudgetExceeded:
            assert len(set(accounts.values())) < 3
    assert {one.account for one in budget.statistics()} == set(accounts.values())
    assert all(one.spent == Decimal("0.6") for one in budget.statistics())


@pytest.mark.parametrize("given", [None, 3, "", "x" * 201])
def test_an_account_is_a_text(given: Any) -> None:
    with pytest.raises(UsageError, match="by= of budget 'default' must give a text"):
        spent(context(), Budget(run=1, by=lambda ctx: given), "1", "1")


def test_an_unknown_cost() -> None:
    ctx, wary = context(node="n"), Budget(run="1", name="wary")
    calm = Budget(run="1", on_unknown="ignore")

    async def main() -> None:
        with pytest.raises(UnknownModel, match="what node 'n' may cost is not known, and budget 'wary' needs it"):
            await spend(ctx, [calm, wary], None, None)
        assert calm.statistics() == ()
        await spend(ctx, [calm], None, None)
        await spend(ctx, [calm], None, "0.25")  # known afterwards
        await spend(ctx, [wary], "0.5", None)  # known before, and not afterwards
        assert [b.statistics()[0].spent for b in (calm, wary)] == [Decimal("0.25"), Decimal("0.5")]

    asyncio.run(main())


def test_a_reservation_is_settled_once_and_with_an_amount() -> None:
    async def main() -> None:
        budget = Budget(run=1)
        async with hold(context(), [budget], Decimal(1)) as held:
            for wrong in (Decimal(-1), Decimal("nan"), 0.5, "x"):
                with pytest.raises(UsageError, match="USD of 0 or more"):
                    held.settle(wrong)  # type: ignore[arg-type]
            held.settle(Decimal("0.5"))
            with pytest.raises(UsageError, match="settled once"):
                held.settle(Decimal("0.5"))
        async with hold(context(), [], None) as held:
            held.settle(Decimal(1))

    asyncio.run(main())


def test_alerts_come_once() -> None:
    told: list[Alert] = []
    clock = clock_at()
    budget = Budget(day="1", run="100", alerts=(1.0, 0.8, 0.5), on_alert=told.append, name="b")
    dag = flow.Dag("paper")
    cost = iter(["0.3", "0.1", "0.1", "0.1", "0.25", "0.1", "0.1"])

    async def call(ctx: flow.Context) -> None:
        amount = next(cost)
        async with hold(ctx, [budget], Decimal(amount)) as held:
            held.settle(Decimal(amount))

    for k in range(5):
        dag.add(f"n{k}", call, after=[f"n{k - 1}"] if k else [])
    config = flow.Config(clock=clock, on_error="collect")
    result = flow.run(dag, config=config)
    assert [(one.fraction, one.spent, one.node) for one in told] == [
        (0.5, Decimal("0.5"), "n2"), (0.8, Decimal("0.85"), "n4"),
    ]  # fmt: skip
    reports = [report for report in result.reports if report.kind == "budget"]
    assert [report.node for report in reports] == ["n2", "n4"]
    assert reports[0].value == {
        "budget": "b", "account": "", "window": "day", "fraction": 0.5, "refused": False, "limit": "1.00",
        "spent": "0.50", "begins_anew": "2026-12-01T00:00:00+00:00",
    }  # fmt: skip
    spent(context(clock=clock), budget, "0.1", "0.1")
    with pytest.raises(BudgetExceeded):
        spent(context(clock=clock, node="last"), budget, "0.1", "0.1")
    with pytest.raises(BudgetExceeded):
        spent(context(clock=clock), budget, "0.1", "0.1")
    assert [(one.fraction, one.refused, one.node) for one in told[2:]] == [(1.0, True, "last")]
    spent(context(clock=clock), budget, "0.05", "0.05")
    assert len(told) == 3  # 1.0 has been told
    clock.time = 24 * 3600.0
    spent(context(clock=clock), budget, "0.6", "1.5")
    assert [one.fraction for one in told[3:]] == [0.5, 0.8, 1.0]


def test_a_refusal_for_what_is_reserved_is_no_alert() -> None:
    told: list[Alert] = []
    ctx, budget = context(), Budget(run="1", on_alert=told.append, alerts=[1.0])

    async def main() -> None:
        async with hold(ctx, [budget], Decimal(1)) as held:
            with pytest.raises(BudgetExceeded):
                await spend(ctx, [budget], "1", "1")
            assert not told
            held.settle(Decimal(1))
        assert [(one.fraction, one.refused) for one in told] == [(1.0, False)]
        with pytest.raises(BudgetExceeded):
            await spend(ctx, [budget], "1", "1")
        assert len(told) == 1

    asyncio.run(main())


def test_an_alert_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    def broken(alert: Alert) -> None:
        raise ZeroDivisionError

    budget = Budget(run="1", on_alert=broken)
    spent(context(), budget, "1", "1")
    assert budget.statistics()[0].spent == 1
    assert caplog.text.count("an alert of budget 'default' has failed") == 3


def test_a_run_counts_with_all_runs_within_it() -> None:
    budget = Budget(run="1")
    inner = flow.Dag("inner")

    @inner.node
    async def call(ctx: flow.Context, item: int) -> None:
        await spend(ctx, [budget], "0.3", "0.3")

    dag = flow.Dag("outer")
    dag.add("one", inner)
    dag.map("items", inner, over="xs", concurrency=1)
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag, {"xs": [1, 2, 3], "item": 0})
    assert caught.group_contains(BudgetExceeded)
    (one,) = budget.statistics()
    assert one.spent == Decimal("0.9")
    flow.run(dag, {"xs": [1], "item": 0})
    assert len(budget.statistics()) == 2


@pytest.mark.parametrize("shared", [False, True], ids=["memory", "store"])
def test_a_run_that_is_begun_anew_has_spent_nothing(shared: bool) -> None:
    with Store(MemoryBackend()) as store:
        budget = Budget(run="1", store=store if shared else None)
        dag = flow.Dag("paid")

        @dag.node
        async def call(ctx: flow.Context) -> None:
            await spend(ctx, [budget], "1", "1")

        for _ in range(2):
            flow.run(dag, store=store, run_id="r@1", on_conflict="restart")
        assert [(one.begins, one.spent) for one in budget.statistics()] == [("r@1", 1)] * 2


def test_budgets_of_one_call_have_names_of_their_own() -> None:
    with pytest.raises(UsageError, match="have names of their own, not default, default"):
        asyncio.run(spend(context(), [Budget(run=1), Budget(day=1)], "1", "1"))


def reported(ctx: Any, cost: str | None, **more: Any) -> None:
    ctx.report("usage", {"provider": "p", "model": "m", "requests": 1, "cost": cost, **more})


@pytest.mark.parametrize(
    ("by", "expected"), [(None, "0.46"), ("blue", "0.06"), ("green", "0.1")], ids=["one", "blue", "green"]
)
def test_a_run_that_goes_on_has_spent_what_it_has_reported(by: Any, expected: str) -> None:
    ctx = context()
    reported(ctx, "0.3")
    reported(ctx, None)
    reported(ctx, "0.06", budgets={"default": by or ""})
    reported(ctx, "0.1", budgets={"default": "green" if by else "", "other": "blue"})
    budget = Budget(run="1", day="1", by=by)

    async def main() -> None:
        async with hold(ctx, [budget], Decimal("0.01")) as held:
            reported(ctx, "0.01", budgets=held.accounts)
            held.settle(Decimal("0.01"))
        await spend(ctx, [budget], "0.01", "0.01")

    asyncio.run(main())
    kinds = {one.window: one.spent for one in budget.statistics()}
    seed = Decimal(expected) if by != "green" else Decimal("0.16")
    assert kinds == {"run": seed + Decimal("0.02"), "day": Decimal("0.02")}


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "MOST_RUNS", 400)
    budget, clock = Budget(run="1", hour="100000"), FakeClock(epoch=START)
    for k in range(3_000):
        run = context(run_id=f"r{k}", clock=clock)
        for _ in range(1 if k % 100 else 2):
            ledger = budget.ledger
            accounts = [account for _, account in budget.windows(run, "")]
            ledger.settle(ledger.reserve(f"r{k}", accounts, 5).id, accounts, 5)
    assert len(budget.statistics()) <= 401
    assert {one.spent for one in budget.statistics() if one.window == "hour"} == {Decimal(3_030 * 5).scaleb(-12)}


class Slow:
    """A store whose calls wait until they may go on."""

    blocks = True

    def __init__(self) -> None:
        self.accounts = self
        self.books, self.begun, self.go_on = Books(), Event(), Event()
        self.ended = Event()
        self.fails: Exception | None = None

    def knows(self, account: str) -> bool:
        return True

    def _wait(self) -> None:
        self.begun.set()
        assert self.go_on.wait(10.0)
        if self.fails is not None:
            raise self.fails

    def reserve(self, run: str, accounts: Sequence[Account], amount: int) -> Reserved:
        self._wait()
        return self.books.reserve(Reservation("x", "", run, amount, 1e12), accounts, 1.0)

    def settle(self, id: str, accounts: Sequence[Account], amount: int) -> Sequence[Balance]:
        self._wait()
        found = self.books.settle(id, accounts, amount, 1.0)
        self.ended.set()
        return found

    def balances(self, beginning: str) -> Sequence[Balance]:
        return self.books.balances(beginning)


@pytest.mark.parametrize(
    ("backend", "natively"),
    [("asyncio", False), ("asyncio", True), pytest.param("trio", False, marks=loops("trio")[0].marks)],
)
@pytest.mark.parametrize("when", ["reserve", "settle"])
def test_a_cancellation_while_the_store_works(backend: str, natively: bool, when: str) -> None:
    """What was reserved in vain is free again; what was spent counts."""
    store = Slow()
    budget = Budget(run="1", store=store)
    if when == "settle":
        store.go_on.set()

    async def call() -> None:
        async with hold(context(), [budget], Decimal(1)) as held:
            held.settle(Decimal("0.5"))
            store.begun.clear()
            store.go_on.clear()

    async def begun() -> None:
        while not store.begun.is_set():
            await anyio.sleep(0.001)
        if when == "settle":
            while not store.begun.is_set() or store.go_on.is_set():
                await anyio.sleep(0.001)

    async def main() -> None:
        if natively:
            task = asyncio.ensure_future(call())
            await begun()
            task.cancel()
            await asyncio.sleep(0)
            store.go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await task
            return
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await begun()
            group.cancel_scope.cancel()
            Thread(target=store.go_on.set).start()

    anyio.run(main, backend=backend)
    assert store.ended.wait(10.0)
    (one,) = budget.statistics()
    assert (one.spent, one.reserved) == (0 if when == "reserve" else Decimal("0.5"), 0)


@pytest.mark.parametrize("backend", loops("asyncio", "trio"))
def test_what_was_spent_is_settled_in_a_thread_also_after_a_cancellation(backend: str) -> None:
    """The event loop does not wait for a disk."""
    store, threads = Slow(), list[int]()
    store.go_on.set()
    budget = Budget(run="1", store=store)
    store._wait = lambda: threads.append(get_ident())  # type: ignore[method-assign]

    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with hold(context(), [budget], Decimal(1)) as held:
                held.settle(Decimal("0.5"))
                scope.cancel()
                await anyio.sleep(1.0)

    anyio.run(main, backend=backend)
    assert budget.statistics()[0].spent == Decimal("0.5")
    assert len(threads) == 2 and get_ident() not in threads


def test_a_task_that_is_cancelled_before_a_thread_begins_settles_all_the_same() -> None:
    store = Slow()
    store.go_on.set()
    budget = Budget(run="1", store=store)

    async def call() -> None:
        async with hold(context(), [budget], Decimal(1)) as held:
            held.settle(Decimal("0.5"))
            task = asyncio.current_task()
            assert task is not None
            task.cancel()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(call())
    assert store.ended.wait(10.0)
    (one,) = budget.statistics()
    assert (one.spent, one.reserved) == (Decimal("0.5"), 0)


def test_a_store_that_cannot_write_lets_no_call_be_made() -> None:
    store = Slow()
    store.go_on.set()
    store.fails = StoreError("the disk is full")
    budget, memory = Budget(run="1", store=store), Budget(run="1", name="memory")

    async def main() -> None:
        with pytest.raises(StoreError, match="the disk is full"):
            async with hold(context(), [memory, budget], Decimal(1)):
                raise AssertionError("no call may be made")
        await spend(context(), [memory], "1", "1")  # nothing is reserved there

    asyncio.run(main())


@pytest.mark.parametrize("backend", loops("asyncio", "trio"))
def test_a_budget_in_a_store(backend: str) -> None:
    told: list[Alert] = []
    keeps = MemoryBackend()
    with Store(keeps) as store, Store(keeps) as other:
        budgets = [Budget(day="1", store=one, on_alert=told.append, alerts=[0.5]) for one in (store, other)]
        again = Budget(day="1", store=store, name="another")

        async def main() -> None:
            ctx = context(clock=clock_at())
            async with hold(ctx, [budgets[0]], Decimal("0.6")) as held:
                with pytest.raises(BudgetExceeded, match="0.60 reserved"):
                    await spend(ctx, [budgets[1]], "0.6", "0.6")
                held.settle(Decimal("0.4"))
            await spend(ctx, [budgets[1]], "0.6", "0.3")
            await spend(ctx, [budgets[0]], "0.3", "0.2")
            await spend(ctx, [again], "1", "1")

        anyio.run(main, backend=backend)
        assert budgets[0].statistics() == budgets[1].statistics()
        assert [(one.spent, one.reserved) for one in budgets[0].statistics()] == [(Decimal("0.9"), 0)]
    assert [(one.fraction, one.spent) for one in told] == [(0.5, Decimal("0.7"))]


def test_all_faults_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Budget(
            run=0.5, hour="x", day=0, month="-1", name="a b/", by=3, alerts=(0.0, 2), on_unknown="no",  # type: ignore[arg-type]
            on_alert=1, store="path", clock=5,  # type: ignore[arg-type]
        )  # fmt: skip
    faults = caught.value.faults
    assert [fault.split()[0] for fault in faults] == [
        "run", "hour", "day", "month", "name", "by", "an", "an", "on_unknown", "on_alert", "store", "clock",
    ]  # fmt: skip
    assert "run='0.5'" in faults[0]
    for wrong, text in (({}, "it limits nothing"), ({"run": 1, "alerts": "0.5"}, "alerts must be fractions")):
        with pytest.raises(ConfigError, match=text):
            Budget(**wrong)  # type: ignore[arg-type]
    assert repr(Budget(run="1.50", day=20)) == "Budget(run='1.5', day='20', name='default')"
