"""The windows of budgets: a run, and the hours, days and months of UTC. And where in a run a call belongs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from flow.data.context import Context

WINDOWS: Final = ("run", "hour", "day", "month")

KEPT: Final = timedelta(days=40)
"""How long an account is kept after its window, or after the last call of its run: calls may be settled late."""


class Window(msgspec.Struct, frozen=True):
    """A part of time. ``begins`` names it: ``2026-11-30T08``, ``2026-11-30``, ``2026-11``, or the run's id."""

    kind: str
    begins: str
    ends: datetime | None


def window_of(kind: str, at: datetime, run: str) -> Window:
    """Return the window of this kind in which a moment lies."""
    if kind == "run":
        return Window(kind, run, None)
    if kind == "hour":
        hour = at.replace(minute=0, second=0, microsecond=0)
        return Window(kind, f"{hour:%Y-%m-%dT%H}", hour + timedelta(hours=1))
    day = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if kind == "day":
        return Window(kind, f"{day:%Y-%m-%d}", day + timedelta(days=1))
    month = day.replace(day=1)
    return Window(kind, f"{month:%Y-%m}", (month + timedelta(days=31)).replace(day=1))


def outermost_of(ctx: Context) -> tuple[str, str]:
    """Return the id and the workflow of the outermost run that a Context belongs to."""
    shared: Any = ctx._scope.shared
    if getattr(shared, "outer", None) is None:
        return ctx.run_id, shared.workflow
    while getattr(shared, "outer", None) is not None:
        shared = shared.outer
    return shared.run_id, shared.workflow


__all__ = ["KEPT", "WINDOWS", "Window", "outermost_of", "window_of"]
