"""Compile a definition to an immutable, integer-indexed Plan; count it down with a Resolver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow.exports import at_first_use, only

if TYPE_CHECKING:
    from flow.plan.findings import Finding
    from flow.plan.plan import CriticalPath, Plan
    from flow.plan.resolver import Resolver
    from flow.plan.status import StatusChange, StatusStatistics, StatusTracker
else:  # so that a type checker refuses what is not there
    __getattr__ = at_first_use(
        "flow.plan",
        {
            "CriticalPath": "flow.plan.plan",
            "Finding": "flow.plan.findings",
            "Plan": "flow.plan.plan",
            "Resolver": "flow.plan.resolver",
            "StatusChange": "flow.plan.status",
            "StatusStatistics": "flow.plan.status",
            "StatusTracker": "flow.plan.status",
        },
    )

__all__ = ["CriticalPath", "Finding", "Plan", "Resolver", "StatusChange", "StatusStatistics", "StatusTracker"]
__dir__ = only(__all__)
