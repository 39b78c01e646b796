"""Budgets: reservations before calls, settlements after them."""

from __future__ import annotations

from flow.ai.budgets.budget import Budget
from flow.ai.budgets.hold import Held, hold
from flow.ai.budgets.records import AccountStatistics, Alert

__all__ = ["AccountStatistics", "Alert", "Budget", "Held", "hold"]
