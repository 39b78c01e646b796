"""Reserves what a call may cost before it is made, and settles it afterwards: :func:`hold`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

from flow.ai.amounts import cost_of, counted
from flow.ai.budgets.budget import Budget
from flow.ai.budgets.certain import surely, taken
from flow.ai.budgets.records import Alert
from flow.ai.budgets.windows import Window, place_of
from flow.ai.errors import BudgetExceeded, UnknownModel
from flow.data.context import Context
from flow.errors import UsageError
from flow.logs import log_broken
from flow.run.accounts import EXACT, Account, Balance, dollars, usd


class _Part:
    """One call, as one budget sees it. ``id`` is that of its reservation; "" if it has none."""

    __slots__ = ("account", "asked", "budget", "ctx", "id", "windows")

    def __init__(self, ctx: Context, budget: Budget, asked: int) -> None:
        self.ctx, self.budget, self.asked = ctx, budget, asked
        self.account = budget.account_of(ctx)
        self.windows: list[tuple[Window, Account]] = budget.windows(ctx, self.account)
        self.id = ""

    def reserve(self, what: str) -> None:
        """:raises BudgetExceeded: if there is no room. :raises StoreError: if the store cannot do it."""
        found = self.budget.ledger.reserve(place_of(self.ctx).run, [account for _, account in self.windows], self.asked)
        self.id = found.id
        if found.id:
            return
        error = None
        for (window, account), balance in zip(self.windows, found.balances, strict=True):
            left = account.limit - self.asked
            if error is None and balance.spent + balance.reserved > left:
                error = self._exceeded(window, account, balance, what)
            is_first = balance.spent > left and not balance.refused
            if is_first and balance.spent < account.limit and 1.0 in self.budget.alerts:
                self._alert(window, account, balance.spent, 1.0, refused=True)
        raise error or UsageError(f"the store of budget {self.budget.name!r} has refused what it has room for")

    def _exceeded(self, window: Window, account: Account, balance: Balance, what: str) -> BudgetExceeded:
        limit, spent, reserved = (dollars(n) for n in (account.limit, balance.spent, balance.reserved))
        asked, kind = dollars(self.asked), window.kind
        whose = f", account {self.account!r}," if self.account else ""
        ways = f"raise {kind}=, or let it ask for less, as by max_output_tokens"
        if window.ends is not None:
            ways += f"; the {kind} ends at {window.ends:%Y-%m-%dT%H:%M}Z"
        if balance.spent + self.asked <= account.limit:
            ways = f"what is missing is reserved, not spent: let fewer calls go on at once, {ways}"
        return BudgetExceeded(
            f"budget {self.budget.name!r}{whose} has no room for {what or f'node {self.ctx.node!r}'}: of {usd(limit)} "
            f"USD in the {kind} {window.begins}, {usd(spent)} are spent and {usd(reserved)} reserved by calls that go "
            f"on, and the call may cost {usd(asked)}. It was not made: {ways}",
            self.budget.name, limit, spent, reserved, asked, self.account, kind, window.ends,
        )  # fmt: skip

    def settle(self, cost: int) -> None:
        """End the reservation; tell what was reached by that."""
        id, self.id = self.id, ""
        balances = self.budget.ledger.settle(id, [account for _, account in self.windows], cost)
        after = {balance.name: balance for balance in balances} if cost else {}
        for window, account in self.windows:
            balance = after.get(account.name)
            if balance is None:
                continue
            for fraction in self.budget.alerts:
                reached = EXACT.multiply(Decimal(str(fraction)), account.limit)
                is_told = fraction == 1.0 and balance.refused
                if balance.spent - cost < reached <= balance.spent and not is_told:
                    self._alert(window, account, balance.spent, fraction)

    def _alert(self, window: Window, account: Account, spent: int, fraction: float, refused: bool = False) -> None:
        run, node, ends = place_of(self.ctx).run, self.ctx.node, window.ends
        limit, name = dollars(account.limit), self.budget.name
        alert = Alert(name, self.account, window.kind, fraction, limit, dollars(spent), refused, run, node, ends)
        try:
            self.ctx.report("budget", alert.plain())
            if self.budget.on_alert is not None:
                self.budget.on_alert(alert)
        except Exception:
            log_broken("an alert of budget %r has failed", name, run=run, node=node)


class Held:
    """What is reserved for one call.

    :ivar accounts: by name of a budget, the account that the call belongs to. A report of its usage has it as
        ``budgets``, so that a run that is resumed knows what it has spent.
    """

    __slots__ = ("_cost", "_most", "_settled", "accounts")

    def __init__(self, accounts: Mapping[str, str], most: int) -> None:
        self.accounts = accounts
        self._settled = False
        self._cost, self._most = 0, most

    def begin(self) -> None:
        """Say that the call is made now: if the block ends unsettled, all that was reserved counts."""
        self._cost = self._most

    def settle(self, cost: Decimal | None) -> None:
        """Say what the call has cost, in USD; None: that is not known, and all that was reserved counts.

        It may be more than was reserved. It is counted when the block ends.

        :raises UsageError: if it was said before, or ``cost`` is no amount of 0 or more.
        """
        if self._settled:
            raise UsageError("a reservation is settled once: this one has been")
        self._cost = self._most if cost is None else counted(cost_of(cost, "what settle() takes"))
        self._settled = True


@asynccontextmanager
async def hold(ctx: Context, budgets: Sequence[Budget], asked: Decimal | None, what: str = "") -> AsyncIterator[Held]:
    """Reserve in all of these budgets what a call may cost, for the time of a block.

    The call is made in the block, and settled in it: ``held.begin()``, then ``held.settle(cost)``. A block that ends
    without the first, in any way, has certainly made no call: what was reserved is free again. If the store of a budget
    does not take what was spent, that is logged, and made up for: until it is, nothing more is reserved there.

    :param asked: in USD; None: not known. :param what: who asks, for messages; the node.
    :raises BudgetExceeded: if one of them has no room for it. Nothing is reserved then.
    :raises UnknownModel: if the cost is not known, and one of them does not ignore that.
    :raises UsageError: if two of them have one name.
    :raises StoreError: if the store of one of them cannot take it. Nothing is reserved then.
    """
    if not budgets:
        yield Held({}, 0)
        return
    names = [budget.name for budget in budgets]
    if len(set(names)) < len(names):
        raise UsageError(f"the budgets of one call have names of their own, not {', '.join(names)}: give them name=")
    if asked is None:
        _refuse_unknown(budgets, what or f"node {ctx.node!r}")
    most = 0 if asked is None else counted(cost_of(asked, "what hold() is asked for"))
    parts = [_Part(ctx, budget, most) for budget in budgets]
    blocks = any(part.budget.ledger.blocks for part in parts)

    def reserve() -> list[_Part]:
        return _reserved(parts, what)

    def release(_: Any) -> None:
        _settled(parts, 0)

    if blocks:
        await taken(reserve, release)
    else:
        reserve()
    held = Held({part.budget.name: part.account for part in parts}, most)
    try:
        yield held
    finally:
        if blocks:
            await surely(lambda: _settled(parts, held._cost))
        else:
            _settled(parts, held._cost)


def _reserved(parts: list[_Part], what: str) -> list[_Part]:
    try:
        for part in parts:
            part.reserve(what)
    except BaseException:
        _settled(parts, 0)
        raise
    return parts


def _settled(parts: Sequence[_Part], cost: int) -> None:
    """Settle all that are reserved, also if one of them fails."""
    failed: BaseException | None = None
    for part in parts:
        if part.id:
            try:
                part.settle(cost)
            except BaseException as error:
                failed = failed or error
    if failed is not None:
        raise failed


def _refuse_unknown(budgets: Sequence[Budget], what: str) -> None:
    wary = [budget.name for budget in budgets if budget.on_unknown == "refuse"]
    if wary:
        raise UnknownModel(
            f"what {what} may cost is not known, and budget {wary[0]!r} needs it: give the model's prices, as "
            "ai.Model(..., input_price=, output_price=), the most output tokens, or the budget on_unknown='ignore'"
        )


__all__ = ["Held", "hold"]
