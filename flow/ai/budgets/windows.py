"""The windows of budgets: a run, and the hours, days and months of UTC. And where in a run a call belongs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from flow.data.context import Context

WINDOWS: Final = ("run", "hour", "day", "month")

KEPT: Final = timedelta(days=40)
"""How long an account is kept after its window, or after the last call of its run: calls may be settled late."""


class Place(msgspec.Struct, frozen=True):
    """The outermost run that a call belongs to.

    :ivar key: tells it from other runs: one that is begun anew under the same id is another one.
    """

    run: str
    workflow: str
    key: str


class Window(msgspec.Struct, frozen=True):
    """A part of time.

    :ivar begins: names it: ``2026-11-30T08``, ``2026-11-30``, ``2026-11``, or the run's id. :ivar key: tells it from
        others of its kind.
    """

    kind: str
    begins: str
    ends: datetime | None
    key: str


def window_of(kind: str, at: datetime, place: Place) -> Window:
    """Return the window of this kind in which a moment of a run lies."""
    if kind == "run":
        return Window(kind, place.run, None, place.key)
    if kind == "hour":
        hour = at.replace(minute=0, second=0, microsecond=0)
        begins, ends = f"{hour:%Y-%m-%dT%H}", hour + timedelta(hours=1)
    else:
        day = at.replace(hour=0, minute=0, second=0, microsecond=0)
        if kind == "day":
            begins, ends = f"{day:%Y-%m-%d}", day + timedelta(days=1)
        else:
            month = day.replace(day=1)
            begins, ends = f"{month:%Y-%m}", (month + timedelta(days=31)).replace(day=1)
    return Window(kind, begins, ends, begins)


def place_of(ctx: Context) -> Place:
    """Return the outermost run that a Context belongs to. O(depth)."""
    shared: Any = ctx._scope.shared
    if getattr(shared, "outer", None) is None:
        run = ctx.run_id
    else:
        while shared.outer is not None:
            shared = shared.outer
        run = shared.run_id
    row = getattr(getattr(shared, "journal", None), "row", None)
    return Place(run, shared.workflow, run if row is None else f"{run}~{row.created:.6f}")


__all__ = ["KEPT", "WINDOWS", "Place", "Window", "place_of", "window_of"]
