"""Caches that runs of a plan leave for later runs: generated code, adapted limits. No part of the plan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

HOT_AFTER: Final = 2_000
"""Runs of a plan before code is generated for it."""

LEAST: Final = 4
"""Nodes in the shortest stretch of sync functions worth code on an event loop."""


class Code:
    """Code generated so far for one kind of driver.

    :ivar made: what there is; None before anything is.
    :ivar runs_left: runs to go until more is generated; 0 if all of it is there.
    """

    __slots__ = ("made", "runs_left")

    def __init__(self) -> None:
        self.made: Any = None
        self.runs_left = HOT_AFTER


class Kept:
    """What drivers keep with a plan. A copy of the plan begins with nothing of it.

    :ivar inline: code for runs without an event loop; ``on_loop`` for those on one.
    :ivar limits: limits that have adapted, by map; of the nodes: "".
    :ivar loaded: ways the plan has been run, for which all modules are there.
    :ivar unchecked: nodes that no run has completed.
    :ivar signals: the signals in it and in the plans that its nodes run, once a run has asked.
    :ivar structure: how it is wired, as durable runs store it, once one has asked.
    """

    __slots__ = ("inline", "limits", "loaded", "on_loop", "signals", "structure", "unchecked")

    def __init__(self, count: int, sync: int) -> None:
        """Begin for a plan of ``count`` nodes, ``sync`` of which await nothing."""
        self.inline = Code()
        self.on_loop = Code()
        if sync < LEAST:
            self.on_loop.runs_left = 0
        self.limits: dict[str, Any] = {}
        self.loaded: tuple[Any, ...] = ()
        self.unchecked: Sequence[int] = range(count)
        self.signals: Any = None
        self.structure: Any = None
