"""The Context a node asks for with ``ctx: flow.Context``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec


class Context(msgspec.Struct, frozen=True):
    """What a node may know of the run it is part of.

    A node gets one by annotating a parameter (of any name) with ``flow.Context``; a node that
    does not ask costs nothing. One is made per attempt, and everything in it is shared by
    reference.

    :ivar run_id: the run's id; unique per run in this process and random across processes.
    :ivar node: this node's name.
    :ivar attempt: 1 for the first call, 2 for the first retry, and so on.
    :ivar inputs: the run's inputs, read-only.
    :ivar data: a dict that all nodes of this run share, for what does not fit an output.
    """

    run_id: str
    node: str
    attempt: int
    inputs: Mapping[str, Any]
    data: dict[str, Any]
