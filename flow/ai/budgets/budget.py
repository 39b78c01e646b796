"""How much may be spent: :class:`Budget`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from flow.ai.amounts import amount, amount_fault, counted, counted_in
from flow.ai.budgets.ledger import ProcessLedger
from flow.ai.budgets.records import AccountStatistics, Alert
from flow.ai.budgets.windows import KEPT, WINDOWS, Window, place_of, window_of
from flow.ai.limits import ON_UNKNOWN, OnUnknown
from flow.clock import Clock, epoch_of
from flow.config.fields import is_number, is_one_of
from flow.data.context import Context
from flow.data.system import dated
from flow.errors import ConfigError, UsageError, a_kind, shown
from flow.run.accounts import EXACT, MOST_COUNTED, Account, Ledger, dollars
from flow.types import NAME_RULE, is_name

USD: TypeAlias = str | Decimal | int
"""An amount: text, Decimal or int. A float cannot say most amounts exactly."""

By: TypeAlias = Literal["workflow", "node"] | str | Callable[[Context], str] | None

_MOST_ACCOUNT: Final = 200  # characters of the name of an account


class Budget:
    """The most that calls may spend, in USD: in one run, and in each hour, day and month of UTC.

    >>> budget = flow.ai.Budget(run="0.50", day="20.00", name="research", by="workflow")

    Before a call the most that it can cost is reserved, and afterwards settled with what it has cost. A call for which
    there is no room is not made (:class:`flow.ai.BudgetExceeded`). It does not wait either, where what is missing is
    only reserved by calls that go on. Any number of runs, threads and event loops may share a budget.

    :param run: in the outermost run, all runs within it included; a run that is resumed has spent what it had before.
    :param hour: in each hour; ``day`` and ``month`` likewise: by the date of the clock.
    :param name: budgets with the same name and store share their accounts.
    :param by: what has an account of its own, each with these limits: "workflow" (the outermost), "node" (of each
        workflow), what a function of the Context returns, or a text of your own. None is one account for all.
    :param alerts: fractions of the limits: when so much is spent, the run has a report of the kind "budget", and
        ``on_alert`` is called. At 1.0 also when the first call is refused.
    :param on_unknown: if what a call may cost is not known: "refuse" does not make it, "ignore" makes it; what it has
        cost counts if it is known then, or else as nothing. Where only what it has cost is not known, what was reserved
        counts, with both.
    :param on_alert: called with an :class:`Alert`, from any thread. What it raises is logged.
    :param store: of :func:`flow.store.open`: all processes that use it share the accounts. Without one they end with
        this process.
    :param clock: by which hours, days and months begin; None is that of the run.
    :raises ConfigError: listing every setting that is out of range.
    """

    __slots__ = ("_alerts", "_by", "_clock", "_ledger", "_limits", "_on_alert", "name", "on_unknown")

    def __init__(
        self,
        run: USD | None = None,
        hour: USD | None = None,
        day: USD | None = None,
        month: USD | None = None,
        name: str = "default",
        by: By = None,
        alerts: Sequence[float] = (0.5, 0.8, 1.0),
        on_unknown: OnUnknown = "refuse",
        on_alert: Callable[[Alert], object] | None = None,
        store: Any = None,
        clock: Clock | None = None,
    ) -> None:
        given = dict(zip(WINDOWS, (run, hour, day, month), strict=True))
        faults = [fault for kind, most in given.items() if most is not None and (fault := amount_fault(kind, most))]
        if all(most is None for most in given.values()):
            faults.append("it limits nothing: give run=, hour=, day= or month=, as day='20.00'")
        faults += _faults(name, by, alerts, on_unknown, on_alert, store, clock)
        if faults:
            raise ConfigError("Budget", faults)
        self.name = name
        self.on_unknown = on_unknown
        self._limits = {kind: counted(amount(most)) for kind, most in given.items() if most is not None}
        self._by = by
        self._alerts = tuple(sorted({float(one) for one in alerts}))
        self._on_alert = on_alert
        self._ledger: Ledger = ProcessLedger() if store is None else store.accounts
        self._clock = clock

    @property
    def ledger(self) -> Ledger:
        """Who keeps its accounts."""
        return self._ledger

    @property
    def alerts(self) -> tuple[float, ...]:
        """Fractions of its limits, ascending."""
        return self._alerts

    @property
    def on_alert(self) -> Callable[[Alert], object] | None:
        """What is called with each alert."""
        return self._on_alert

    def statistics(self) -> tuple[AccountStatistics, ...]:
        """Return its accounts that are there, by window, beginning and account. O(accounts).

        :raises StoreError: if its store cannot tell.
        """
        found = []
        for balance in self._ledger.balances(f"{self.name}/"):
            _, kind, key, account = balance.name.split("/", 3)
            begins = key.partition("~")[0]
            if kind in self._limits:
                spent, reserved = dollars(balance.spent), dollars(balance.reserved)
                limit = dollars(self._limits[kind])
                found.append(AccountStatistics(account, kind, begins, limit, spent, reserved))
        return tuple(found)

    # -- what :func:`flow.ai.budgets.hold` asks ----------------------------------------------

    def account_of(self, ctx: Context) -> str:
        """Return which account a call belongs to. :raises UsageError: if a function gives no text for it."""
        by = self._by
        if by is None:
            return ""
        if by == "workflow":
            return place_of(ctx).workflow
        if by == "node":
            return f"{ctx._scope.shared.workflow}/{ctx.node}"
        found: Any = by(ctx) if callable(by) else by
        if not isinstance(found, str) or not 0 < len(found) <= _MOST_ACCOUNT:
            raise UsageError(
                f"by= of budget {self.name!r} must give a text of 1 to {_MOST_ACCOUNT} characters for an account, "
                f"not {shown(found)}"
            )
        return found

    def windows(self, ctx: Context, account: str) -> list[tuple[Window, Account]]:
        """Return the present windows, each with its account. O(1), and the reports of a run at its first call."""
        place = place_of(ctx)
        clock: Clock = ctx._scope.shared.clock if self._clock is None else self._clock
        at = dated(epoch_of(clock) + clock.now())
        found = []
        for kind, limit in self._limits.items():
            window = window_of(kind, at, place)
            rest = KEPT if window.ends is None else window.ends - at + KEPT
            name = f"{self.name}/{kind}/{window.key}/{account}"
            is_run = kind == "run"
            least = self._reported(ctx, account) if is_run and not self._ledger.knows(name) else 0
            found.append((window, Account(name, limit, time.time() + rest.total_seconds(), least, is_run)))
        return found

    def _reported(self, ctx: Context, account: str) -> int:
        """Return what the run has reported that calls of this account have cost. O(reports)."""
        spent = 0
        for usage in ctx.run_reported("usage"):
            if not isinstance(usage, Mapping):  # of the user's own, under the same name
                continue
            accounts = usage.get("budgets")
            mine = accounts.get(self.name) == account if isinstance(accounts, Mapping) else self._by is None
            spent += counted_in(usage) if mine else 0
        return min(spent, MOST_COUNTED)

    def __repr__(self) -> str:
        limits = ", ".join(f"{kind}='{dollars(most).normalize(EXACT):f}'" for kind, most in self._limits.items())
        return f"Budget({limits}, name={self.name!r})"


def _faults(name: Any, by: Any, alerts: Any, on_unknown: Any, on_alert: Any, store: Any, clock: Any) -> list[str]:
    """Say what is wrong with the settings of a budget that are no amounts."""
    faults = []
    if not is_name(name):
        faults.append(f"name {shown(name)} is refused: {NAME_RULE}")
    if by is not None and not callable(by) and not (isinstance(by, str) and 0 < len(by) <= _MOST_ACCOUNT):
        faults.append(
            f"by must be 'workflow', 'node', a function of the Context, a text of up to {_MOST_ACCOUNT} characters, or "
            f"None, not {shown(by)}"
        )
    if not isinstance(alerts, Sequence) or isinstance(alerts, str):
        faults.append(f"alerts must be fractions of the limits, as (0.5, 1.0), not {shown(alerts)}")
    else:
        wrong = [one for one in alerts if not is_number(one) or not 0 < one <= 1]
        faults += [f"an alert must be a number > 0 and <= 1, not {shown(one)}" for one in wrong]
    if not is_one_of(on_unknown, ON_UNKNOWN):
        faults.append(f"on_unknown must be 'refuse' or 'ignore', not {shown(on_unknown)}")
    if on_alert is not None and not callable(on_alert):
        faults.append(f"on_alert must be a function of an ai.Alert, or None, not {shown(on_alert)}")
    if store is not None and not callable(getattr(getattr(store, "accounts", None), "reserve", None)):
        faults.append(f"store must be a store, as flow.store.open(path) makes one, or None, not {a_kind(store)}")
    if clock is not None and not isinstance(clock, Clock):
        faults.append(f"clock must be a flow.clock.Clock, or None, not {a_kind(clock)}")
    return faults


__all__ = ["USD", "Budget", "By"]
