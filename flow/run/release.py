"""Outputs freed as soon as nothing needs them: ``Config(keep="targets")`` or a list of nodes.

A run that frees counts from its start. Besides the dependencies each node waits for, the reads left of each output
are counted: one for every argument of a node that has not ended. Where none is left, the value list holds ``MISSING``
again, and Python frees the object.

What the engine lets go of may still be held by others: an exception keeps the frames of its traceback,
and so what the failed function was given; an event loop keeps what a future (a thread's result, say) brought
until the step that received it ends.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flow.plan.nodes import Nodes, ends_of
from flow.plan.plan import Plan, find_all
from flow.types import MISSING


class Freeing:
    """Takes outputs out of ``values`` once every node that reads them has ended; its method is a step of a Resolver.

    :param values: the run's values, shared with its driver.
    :param kept: nodes whose outputs stay.

    Creating one is O(nodes + edges); over a whole run every argument is looked at once.
    """

    __slots__ = ("_arguments", "_reads", "_values")

    def __init__(self, nodes: Nodes, values: list[Any], kept: Iterable[int]) -> None:
        self._arguments = nodes.reads
        self._values = values
        # The run's inputs stay, as what is kept does.
        self._reads = reads = [0] * nodes.count + [1] * len(nodes.input_defaults)
        for i in kept:
            reads[i] = 1
        for slots in self._arguments:
            for slot in slots:
                reads[slot] += 1

    def ended(self, i: int) -> None:
        """Node ``i`` has ended: it reads nothing any more."""
        reads, values = self._reads, self._values
        if not reads[i]:
            values[i] = MISSING
        for slot in self._arguments[i]:
            left = reads[slot] - 1
            reads[slot] = left
            if not left:
                values[slot] = MISSING


def kept_nodes(whole: Plan, plan: Plan, keep: Any, targets: Iterable[Any] | None) -> set[int]:
    """Return the indices in ``plan`` of the nodes whose outputs stay.

    :param whole: the plan of which ``plan`` is the part that runs.
    :param keep: ``Config.keep``, other than ``"all"``.
    :param targets: what the run was asked for; None if for all of it.
    :raises UsageError: listing all references that are no node of ``whole``.
    """
    if keep == "targets":
        if targets is None:
            nodes = whole._nodes
            ends = [whole.names[i] for i in (*ends_of(nodes), *(() if nodes.routes is None else nodes.routes.gated))]
            return {plan.find(name) for name in ends if name in plan}
        keep = targets
    names = [whole.names[i] for i in find_all(whole, keep, "Config.keep")]
    return {plan.find(name) for name in names if name in plan}  # one that does not run has no output
