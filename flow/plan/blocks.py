"""Generated code for what follows a node that has suspended: blocks of sync nodes.

Once nodes wait on an event loop, the Resolver takes the ready ones as they come, in an order that nobody knows
beforehand. A *block* (the "basic block" of compilers: entered at its first node only) is what can be written out all
the same: its first nodes wait for exactly the same nodes, and the others for nothing but those and nodes of the
block. So when its head may run, all of it may, in the plan's order::

    fetch (async) --> parse --> clean --> total     one block of three, ready when ``fetch`` has ended
                 \\-> count ------------/             of four, with this

A block ends where an async node needs nothing more than it: that one is started before what comes after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from flow.plan.straight import GUARDED_STRETCH, HOT_AFTER, LEAST, Guarded, generated, is_plain_sync

if TYPE_CHECKING:
    from flow.plan.plan import Plan

HEAD: Final = 2
"""The kind of a node with which a block begins whose code is there."""

MOST: Final = 5_000
"""Nodes of the longest plan that has blocks: finding them takes 2 us per node, in which the event loop waits."""


class Block(Guarded):
    """The guarded code of one block.

    :ivar outside: what its nodes but the last have as successors that are not in it, as often as they have.
    """

    __slots__ = ("outside",)

    def __init__(self, call: Callable[..., int], part: Sequence[int], plan: Plan) -> None:
        super().__init__(call, part)
        inside = set(part)
        self.outside = [s for i in part[:-1] for s in plan.successors[i] if s not in inside]


class Blocks:
    """A plan's blocks: those with code, by their head, and those that are to have it.

    :ivar kinds: the plan's kinds, with :data:`HEAD` for the heads.
    :ivar wait: how many runs to go until the next is generated.
    """

    __slots__ = ("by_head", "kinds", "parts", "wait")

    def __init__(self, plan: Plan, kinds: Sequence[int]) -> None:
        self.by_head: dict[int, Block] = {}
        self.kinds = bytearray(kinds)
        self.wait = 0
        try:
            self.parts = blocks_of(plan)[::-1]
        except Exception:  # as in generate(): no reason for a run to fail
            self.parts = []

    def generate(self, plan: Plan, *, all_of_them: bool) -> None:
        """Generate the code of the next block, or of all. About 25 us per node."""
        while self.parts:
            try:
                part = self.parts.pop()
            except IndexError:  # another thread has just taken the last
                return
            try:
                block = Block(generated(plan, part, guarded=True), part, plan)
            except Exception:  # the end of the stack, or an audit hook that forbids it: no reason for a run to fail
                self.parts.append(part)
                self.wait = HOT_AFTER
                return
            self.by_head[part[0]] = block
            self.kinds[part[0]] = HEAD
            if not all_of_them:
                return


def blocks_of(plan: Plan) -> list[list[int]]:
    """Return the plan's blocks, none shorter than :data:`LEAST` nodes. O(nodes + edges).

    Where priorities say which ready node is taken, there are none.
    """
    if plan.priorities or plan.count > MOST:
        return []
    member: dict[int, _Open] = {}
    by_needs: dict[frozenset[int], _Open] = {}
    for i in plan.order:
        deps = plan.dependencies[i]
        needs = frozenset(deps)
        found = by_needs.get(needs)
        if found is None:
            around = {id(member[d]): member[d] for d in deps if d in member}
            found = next((block for block in around.values() if block.takes(deps)), None)
        if not is_plain_sync(plan, i):
            if found is not None:
                found.closed = True
            continue
        if found is None or found.closed:
            found = by_needs[needs] = _Open(needs)
        found.nodes[i] = None
        found.closed = len(found.nodes) == GUARDED_STRETCH
        member[i] = found
    return [list(b.nodes) for b in dict.fromkeys(member.values()) if len(b.nodes) >= LEAST]


class _Open:
    """A block that is being gathered, and what its first nodes need."""

    __slots__ = ("closed", "needs", "nodes")

    def __init__(self, needs: frozenset[int]) -> None:
        self.needs = needs
        self.nodes: dict[int, None] = {}
        self.closed = False

    def takes(self, deps: Sequence[int]) -> bool:
        return all(d in self.nodes or d in self.needs for d in deps)
