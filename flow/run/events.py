"""The records that observers get: one frozen record per event of a run.

``at`` is the run's clock (seconds, monotonic). Records are made only for runs that have observers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec

from flow.exports import only
from flow.types import Status


class RunStarted(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A run begins. ``path`` leads to it through the runs around it: ``("pages[7]",)``; an outermost run has none."""

    run_id: str
    dag: str
    nodes: int
    at: float
    path: tuple[str, ...] = ()


class RunFinished(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A run has ended, well (``ok``) or not. ``counts`` are nodes by status."""

    run_id: str
    dag: str
    ok: bool
    counts: dict[str, int]
    wall_time: float
    at: float


class NodeKnown(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The outcome of a node was known before the run (``known=``): it is not called and has no other event."""

    run_id: str
    node: str
    status: Status
    at: float


class NodeStarted(msgspec.Struct, frozen=True, tag=True, gc=False):
    """An attempt of a node begins."""

    run_id: str
    node: str
    attempt: int
    at: float


class NodeWaiting(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A node begins to wait for a signal or a time. At its end comes a NodeFinished, NodeFailed or NodeCancelled.

    ``address`` is what a signal is sent to, ``"pages#7.approve"``.
    """

    run_id: str
    node: str
    at: float
    address: str = ""


class NodeFinished(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A node has completed; ``duration`` (seconds) is that of its last attempt, or of its waiting."""

    run_id: str
    node: str
    attempt: int
    duration: float
    at: float


class NodeStored(msgspec.Struct, frozen=True, tag=True):
    """The outcome of a node of a durable run is stored.

    ``path`` leads to it through the runs around it. ``index``: of an item of a map.
    """

    run_id: str
    node: str
    at: float
    path: tuple[str, ...] = ()
    index: int | None = None


class NodeFallback(msgspec.Struct, frozen=True, tag=True):
    """A node's last attempt failed, and its ``fallback`` has become its output: NodeFinished follows."""

    run_id: str
    node: str
    attempt: int
    error: BaseException
    at: float


class NodeFailed(msgspec.Struct, frozen=True, tag=True):
    """A node has failed for good."""

    run_id: str
    node: str
    attempt: int
    error: BaseException
    at: float


class NodeRetried(msgspec.Struct, frozen=True, tag=True):
    """Attempt number ``attempt`` failed; the next begins in ``delay`` seconds at the earliest."""

    run_id: str
    node: str
    attempt: int
    error: BaseException
    delay: float
    at: float


class NodeSkipped(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A node will not run, because ``cause`` failed upstream."""

    run_id: str
    node: str
    cause: str
    at: float


class NodeBypassed(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A node will not run, because a condition or a choice left it out: its own condition, or what ``cause`` chose."""

    run_id: str
    node: str
    cause: str
    at: float


class NodeCancelled(msgspec.Struct, frozen=True, tag=True, gc=False):
    """The run ended before the node did."""

    run_id: str
    node: str
    at: float


class NodeEmitted(msgspec.Struct, frozen=True, tag=True):
    """A node has emitted a value while it runs (:meth:`flow.Context.emit`).

    ``append``: ``value`` is a text that stands at ``offset`` (characters) of the text emitted under ``key``. Otherwise
    it takes the place of what was emitted under ``key`` before. ``index``: of an item of a map.
    """

    run_id: str
    node: str
    key: str
    value: Any
    append: bool
    offset: int
    at: float
    index: int | None = None


class NodeReported(msgspec.Struct, frozen=True, tag=True):
    """A node has reported a fact, which the run keeps (:meth:`flow.Context.report`).

    ``path`` leads to the node through the runs around it. ``index``: of an item of a map. ``value`` is the one that the
    run keeps: leave it as it is. ``outermost`` is the id of the outermost run, if it is another than ``run_id``.
    """

    run_id: str
    node: str
    kind: str
    value: Any
    at: float
    path: tuple[str, ...] = ()
    index: int | None = None
    attempt: int = 1
    outermost: str = ""


class MapStarted(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A map begins with its items; ``items`` is None if their number is not known before."""

    run_id: str
    node: str
    items: int | None
    at: float


class ItemFinished(msgspec.Struct, frozen=True, tag=True, gc=False):
    """An item of a map has completed. (With ``batch_size``, here and below, an item is a batch.)"""

    run_id: str
    node: str
    index: int
    at: float


class ItemFallback(msgspec.Struct, frozen=True, tag=True):
    """The last attempt of an item failed, and the map's ``fallback`` has become its value: ItemFinished follows."""

    run_id: str
    node: str
    index: int
    attempt: int
    error: BaseException
    at: float


class ItemFailed(msgspec.Struct, frozen=True, tag=True):
    """An item of a map has failed for good."""

    run_id: str
    node: str
    index: int
    attempt: int
    error: BaseException
    at: float


class ItemRetried(msgspec.Struct, frozen=True, tag=True):
    """Attempt number ``attempt`` of an item failed; the next begins in ``delay`` seconds at the earliest."""

    run_id: str
    node: str
    index: int
    attempt: int
    error: BaseException
    delay: float
    at: float


class RoundStarted(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A round of a loop begins; ``round`` counts from 1. The run of its body has events of its own."""

    run_id: str
    node: str
    round: int
    at: float


class RoundFinished(msgspec.Struct, frozen=True, tag=True, gc=False):
    """A round of a loop has completed: its body has run, and ``until`` has said whether it was the last one."""

    run_id: str
    node: str
    round: int
    at: float


Event: TypeAlias = (
    RunStarted
    | RunFinished
    | NodeKnown
    | NodeStarted
    | NodeWaiting
    | NodeFinished
    | NodeStored
    | NodeFallback
    | NodeFailed
    | NodeRetried
    | NodeSkipped
    | NodeBypassed
    | NodeCancelled
    | NodeEmitted
    | NodeReported
    | MapStarted
    | ItemFinished
    | ItemFallback
    | ItemFailed
    | ItemRetried
    | RoundStarted
    | RoundFinished
)


def is_wanted(kind: type, observers: Iterable[Callable[[Any], object]]) -> bool:
    """Tell whether one of ``observers`` takes events of this type.

    An observer may have an attribute ``wants``, the types that it takes: what nobody wants need not be made. (What
    another wants comes to it as well.) One without it takes all.
    """
    for observer in observers:
        wants = getattr(observer, "wants", None)
        if wants is None or kind in wants:
            return True
    return False


__all__ = [
    "Event",
    "ItemFailed",
    "ItemFallback",
    "ItemFinished",
    "ItemRetried",
    "MapStarted",
    "NodeBypassed",
    "NodeCancelled",
    "NodeEmitted",
    "NodeFailed",
    "NodeFallback",
    "NodeFinished",
    "NodeKnown",
    "NodeReported",
    "NodeRetried",
    "NodeSkipped",
    "NodeStarted",
    "NodeStored",
    "NodeWaiting",
    "RoundFinished",
    "RoundStarted",
    "RunFinished",
    "RunStarted",
]
__dir__ = only(__all__)
