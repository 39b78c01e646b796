"""The kinds of nodes of a file: the table that readers, writers and the JSON Schema go by."""

from __future__ import annotations

from typing import Any, Final

from flow.spec.form import models, structs

KINDS: Final[dict[str, type[Any]]] = {
    "call": structs.CallNode, "map": structs.MapNode, "route": structs.RouteNode, "merge": structs.MergeNode,
    "loop": structs.LoopNode, "signal": structs.SignalNode, "timer": structs.TimerNode, "set": structs.SetNode,
    "file": structs.FileNode, **models.KINDS,
}  # fmt: skip
"""By the key that makes a node one."""

__all__ = ["KINDS"]
