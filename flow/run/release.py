"""Outputs freed as soon as nothing needs them: ``Config(keep="targets")`` or a list of nodes.

A run that frees counts from its start. Its Resolver counts, besides the dependencies each node waits
for, the reads left of each output: one for every argument of a node that has not ended. Where none is
left, the value list holds ``MISSING`` again, and Python frees the object.

What the engine lets go of may still be held by others: an exception keeps the frames of its traceback,
and so what the failed function was given; an event loop keeps what a future (a thread's result, say) brought
until the step that received it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from flow.errors import MAX_FAULTS_SHOWN, UsageError
from flow.plan.plan import Plan
from flow.plan.resolver import Resolver
from flow.types import MISSING


class Releasing(Resolver):
    """A Resolver that takes outputs out of ``values`` once every node that reads them has ended.

    :param values: the run's values, shared with its driver.
    :param kept: nodes whose outputs stay.

    Creating one is O(nodes + edges); over a whole run every argument is looked at once more than by a Resolver.
    """

    __slots__ = ("_arguments", "_reads", "_values")

    def __init__(self, plan: Plan, ranks: Sequence[int] | None, values: list[Any], kept: Iterable[int]) -> None:
        super().__init__(plan, ranks)
        self._fast = False  # advance() is to call done()
        self._arguments = plan.arguments
        self._values = values
        self._reads = reads = [0] * plan.count + [1] * len(plan.tail)  # the run's inputs stay, as what is kept does
        for i in kept:
            reads[i] = 1
        for slots in plan.arguments:
            for slot in slots:
                reads[slot] += 1

    def done(self, i: int) -> None:
        super().done(i)
        if not self._reads[i]:
            self._values[i] = MISSING
        self._ended(i)

    def failed(self, i: int) -> list[int]:
        skipped = super().failed(i)
        self._ended(i)
        return skipped

    def cancelled(self, i: int) -> None:
        super().cancelled(i)
        self._ended(i)

    def cancel_rest(self, *, taken: bool = False) -> None:
        before = bytes(self.state)
        super().cancel_rest(taken=taken)
        for i, (was, now) in enumerate(zip(before, self.state, strict=True)):
            if was != now:
                self._ended(i)

    def _skip_from(self, nodes: Sequence[int], tolerated: bool = False) -> list[int]:
        skipped = super()._skip_from(nodes, tolerated)
        for i in skipped:
            self._ended(i)
        return skipped

    def _ended(self, i: int) -> None:
        """Node ``i`` reads nothing any more."""
        reads = self._reads
        for slot in self._arguments[i]:
            left = reads[slot] - 1
            reads[slot] = left
            if not left:
                self._values[slot] = MISSING


def kept_nodes(whole: Plan, plan: Plan, keep: Any, targets: Iterable[Any] | None) -> set[int]:
    """Return the indices in ``plan`` of the nodes whose outputs stay.

    :param whole: the plan of which ``plan`` is the part that runs.
    :param keep: ``Config.keep``, other than ``"all"``.
    :param targets: what the run was asked for; None if for all of it.
    :raises UsageError: listing all references that are no node of ``whole``.
    """
    if keep == "targets":
        if targets is None:
            return {i for i, after in enumerate(plan.successors) if not after}
        keep = targets
    names: list[str] = []
    faults: list[str] = []
    for ref in keep:
        try:
            names.append(whole.names[whole.find(ref)])
        except UsageError as error:
            if len(faults) == MAX_FAULTS_SHOWN:  # looking for the nearest names takes its time
                faults.append("... and maybe more")
                break
            faults.append(str(error))
    if faults:
        listing = faults[0] if len(faults) == 1 else "".join([f"\n  - {fault}" for fault in faults])
        raise UsageError(f"Config.keep names what is no node: {listing}")
    return {plan.index[name] for name in names if name in plan.index}  # one that does not run has no output
