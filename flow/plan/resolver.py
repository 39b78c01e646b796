"""The countdown over one Plan: which node may run next. No I/O, no event loop, no calls of nodes.

What is constant during a run::

    successors   per node, the nodes that wait for it
    rank         per node, its place among ready nodes (lowest first); None: its index

What changes::

    waiting      per node, how many dependencies have not ended yet
    state        per node, one of the codes below
    ready        heap of the ranks that may be taken

    WAITING --last dependency done--> READY --take--> TAKEN --done------> DONE
       |                                |  ^            |---failed-----> FAILED
       |                                |  '--put_back--|
       '---a dependency failed--------> SKIPPED         '---cancelled--> CANCELLED

A node that waits for a signal or a time is AWAITING between being taken and its end (:mod:`flow.plan.awaiting`).

A tolerated failure lets two kinds of nodes run: nodes that only come after it, and nodes that have a default for its
output. A node that was skipped only because of tolerated failures has the same effect. This is known when all its
dependencies have ended, and readers with a default wait until then. So the set of nodes that run depends on which
nodes failed, never on when.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from heapq import heapify, heappop, heappush, heappushpop
from typing import Any, Final

import msgspec

from flow.errors import UsageError
from flow.plan.nodes import Nodes
from flow.plan.order import successors_of
from flow.plan.plan import Plan
from flow.types import Status

WAITING: Final = 0
READY: Final = 1
TAKEN: Final = 2
AWAITING: Final = 3
DONE: Final = 4
FAILED: Final = 5
SKIPPED: Final = 6
CANCELLED: Final = 7
BYPASSED: Final = 8

STATUS_OF: Final = (
    Status.PENDING,
    Status.READY,
    Status.RUNNING,
    Status.WAITING,
    Status.COMPLETED,
    Status.FAILED,
    Status.SKIPPED,
    Status.CANCELLED,
    Status.BYPASSED,
)
"""The public status of each state code."""

_REST_CANCELLED: Final = bytes([CANCELLED, CANCELLED, TAKEN, CANCELLED, *range(DONE, 256)])
_ALL_CANCELLED: Final = bytes([CANCELLED, CANCELLED, CANCELLED, CANCELLED, *range(DONE, 256)])


class ResolverStatistics(msgspec.Struct, frozen=True):
    """Number of nodes in each state, at one moment. ``waiting`` ones wait for other nodes, ``awaiting`` ones do not."""

    waiting: int
    ready: int
    taken: int
    done: int
    failed: int
    skipped: int
    cancelled: int
    bypassed: int = 0
    awaiting: int = 0


Step = Callable[[int], None]
"""Called with each node that has ended, in any way, after ``state`` says so."""


def _one_of(steps: Sequence[Step]) -> Step | None:
    """Return what calls these steps in turn; None if there are none."""
    if len(steps) < 2:
        return steps[0] if steps else None

    def step(i: int) -> None:
        for each in steps:
            each(i)

    return step


class Standing:
    """The states of all nodes of a run; hands out ready nodes. The subclass :class:`Resolver` ends nodes."""

    __slots__ = (
        "_fast", "_forgiven", "_grown", "_halted", "_may_fail", "_node_at", "_rank", "_ready", "_spared", "_step",
        "_uses", "_waiting", "state", "successors",
    )  # fmt: skip

    state: bytearray
    _may_fail: set[int]
    _spared: Mapping[int, frozenset[int]]

    def _set_nodes(self, nodes: Nodes, ranks: Sequence[int] | None, steps: Sequence[Step] = ()) -> None:
        self.successors: list[Any] = nodes.successors
        self._may_fail, self._spared = nodes.may_fail, nodes.spared
        self._uses: list[Any] = nodes.arguments
        self._waiting = nodes.in_degrees.copy()
        self._set_ranks(nodes.ranks() if ranks is None else ranks, steps)

    def _set_graph(self, waits_for: Sequence[Sequence[int]], ranks: Sequence[int] | None) -> None:
        dependencies = [tuple(dict.fromkeys(deps)) for deps in waits_for]
        self.successors = list(successors_of(dependencies))
        self._may_fail, self._spared = set(), {}
        self._uses = dependencies
        self._waiting = list(map(len, dependencies))
        self._set_ranks(ranks)

    def _set_ranks(self, ranks: Sequence[int] | None, steps: Sequence[Step] = ()) -> None:
        self._grown = self._halted = False
        self._forgiven: Any = ()  # nodes skipped for tolerated failures only, a set once there are some
        self._step = _one_of(steps)
        self._fast = ranks is None and not steps  # advance() need not call done()
        self._rank: Any = ranks
        self._node_at: list[int] | None = None
        if ranks is not None:
            self._node_at = [0] * len(ranks)
            for i, rank in enumerate(ranks):
                self._node_at[rank] = i

    def _set_ready(self, nodes: list[int]) -> None:
        """Make those of ``nodes``, which wait for nothing any more, ready that are not done."""
        state, rank = self.state, self._rank
        ready = [i for i in nodes if not state[i]]
        for i in ready:
            state[i] = READY
        self._ready: list[int] = ready if rank is None else [rank[i] for i in ready]
        heapify(self._ready)

    # -- ask ---------------------------------------------------------------------------------

    @property
    def ready(self) -> tuple[int, ...]:
        """The nodes that may be taken now, best first."""
        node_at, state = self._node_at, self.state
        nodes = sorted(self._ready) if node_at is None else [node_at[rank] for rank in sorted(self._ready)]
        return tuple(i for i in nodes if state[i] == READY)

    @property
    def ready_count(self) -> int:
        """At least the number of nodes that may be taken, O(1): entries skipped meanwhile still count."""
        return 0 if self._halted else len(self._ready)

    @property
    def active(self) -> bool:
        """True until every node is in an end state."""
        return self.unfinished > 0

    @property
    def unfinished(self) -> int:
        """Number of nodes not in an end state, counted over all of them (at memory speed)."""
        count = self.state.count
        return count(WAITING) + count(READY) + count(TAKEN) + count(AWAITING)

    def status(self, i: int) -> Status:
        """Return node ``i``'s status. O(1)."""
        return STATUS_OF[self.state[i]]

    def is_runnable(self, i: int) -> bool:
        """Tell whether all dependencies of ``i`` have ended well and it has not been taken yet. O(1)."""
        return self.state[i] == READY

    def statistics(self) -> ResolverStatistics:
        """Count the states, O(nodes)."""
        codes = [*range(AWAITING), *range(DONE, len(STATUS_OF)), AWAITING]
        return ResolverStatistics(*map(self.state.count, codes))

    def __len__(self) -> int:
        return len(self.state)

    # -- take --------------------------------------------------------------------------------

    def take(self) -> int:
        """Take the best ready node; -1 if none is ready. The caller must then end this node."""
        ready, state, node_at = self._ready, self.state, self._node_at
        while ready and not self._halted:
            i = heappop(ready)
            if node_at is not None:
                i = node_at[i]
            if state[i] == READY:  # else it was skipped or cancelled meanwhile
                state[i] = TAKEN
                return i
        return -1

    def claim(self, i: int, *, waiting: bool = False) -> None:
        """Take the ready node ``i``, whatever its rank.

        :param waiting: take it also if dependencies of it have not ended yet.
        :raises UsageError: if it is not ready.
        """
        if self.state[i] != READY and not (waiting and self.state[i] == WAITING):
            raise UsageError(f"node {i} is {self.status(i)}; only a ready node can be taken")
        self.state[i] = TAKEN  # what is left of it in the heap is passed over

    def put_back(self, i: int) -> None:
        """Make the taken node ``i`` ready again (a retry). :raises UsageError: if it was not taken."""
        if self.state[i] != TAKEN:
            raise self._not_taken(i, "put back")
        self.state[i] = READY
        heappush(self._ready, i if self._rank is None else self._rank[i])

    def halt(self) -> None:
        """Stop handing out nodes. Taken nodes may still end, and their failures skip others."""
        self._halted, self._fast = True, False

    def tell_known(self) -> None:
        """Tell, once the run has begun, which nodes known ones have left out."""

    def _not_taken(self, i: int, what: str) -> UsageError:
        return UsageError(f"node {i} cannot be {what}: it is {self.status(i)}, not running (take it first)")


class Resolver(Standing):
    """Says which nodes are ready. The driver reports each node that has ended.

    :param plan: a :class:`Plan`, or per node the indices it waits for (which must be acyclic).
    :param ranks: the order in which ready nodes are taken; the plan's own by default.

    Creating one is O(nodes + edges); over a whole run every edge is looked at once, and taking
    a node costs O(log ready). Not thread-safe: one driver owns it.
    """

    __slots__ = ()

    def __init__(self, plan: Plan | Sequence[Sequence[int]], ranks: Sequence[int] | None = None) -> None:
        if isinstance(plan, Plan):
            self._set_nodes(plan._nodes, ranks)
        else:
            self._set_graph(plan, ranks)
        self.state = bytearray(len(self._waiting))
        self._set_ready([i for i, left in enumerate(self._waiting) if not left])

    @classmethod
    def resumed(
        cls, nodes: Nodes, done: Iterable[int], ranks: Sequence[int] | None = None, steps: Sequence[Step] = ()
    ) -> Resolver:
        """Return the resolver of a run in which exactly the nodes ``done`` have ended, all well.

        O(sources + edges of those done), and O(nodes) at memory speed.

        :param steps: functions that are called with each node that has ended.
        """
        self = cls.__new__(cls)
        self._set_nodes(nodes, ranks, steps)
        successors, waiting = self.successors, self._waiting
        self.state = state = bytearray(nodes.count)
        ready = []
        for i in done:
            state[i] = DONE
            for s in successors[i]:
                left = waiting[s] - 1
                waiting[s] = left
                if not left:
                    ready.append(s)
            if self._step is not None:
                self._step(i)
        self._set_ready(nodes.sources + ready)
        return self

    # -- tell --------------------------------------------------------------------------------

    def done(self, i: int) -> None:
        """Say that the taken node ``i`` ended well; nodes that waited only for it become ready.

        :raises UsageError: if ``i`` was not taken, or ended before.
        """
        state, waiting, ready, rank = self.state, self._waiting, self._ready, self._rank
        if state[i] != TAKEN:
            raise self._not_taken(i, "done")
        state[i] = DONE
        for s in self.successors[i]:
            left = waiting[s] - 1
            waiting[s] = left
            if not left:
                if not state[s]:
                    state[s] = READY
                    heappush(ready, s if rank is None else rank[s])
                elif s in self._forgiven:
                    self._pass(s)
        if self._step is not None:
            self._step(i)

    def advance(self, i: int) -> int:
        """``done(i)`` and then ``take()``, in one call, which a driver makes after each node."""
        state = self.state
        if not self._fast or state[i] != TAKEN:
            self.done(i)
            return self.take()
        state[i] = DONE
        waiting, ready = self._waiting, self._ready
        latest = -1  # newly ready, not pushed yet: pushing and popping in one go is cheaper
        for s in self.successors[i]:
            left = waiting[s] - 1
            waiting[s] = left
            if not left and not state[s]:
                state[s] = READY
                if latest >= 0:
                    heappush(ready, latest)
                latest = s
        i = heappushpop(ready, latest) if latest >= 0 else heappop(ready) if ready else -1
        if i < 0 or state[i] == READY:
            if i >= 0:
                state[i] = TAKEN
            return i
        return self.take()

    def failed(self, i: int) -> list[int]:
        """Say that the taken node ``i`` failed; return the nodes skipped for it, in index order.

        All its descendants are skipped. If it has ``continue_on_error``, only nodes that need its output and
        nodes after these are skipped; nodes with a default for it, and nodes that only come after it, go on.

        :raises UsageError: if ``i`` was not taken, or ended before.
        """
        if self.state[i] != TAKEN:
            raise self._not_taken(i, "failed")
        self.state[i] = FAILED
        if self._step is not None:
            self._step(i)
        if i not in self._may_fail:
            return self._skip_from(self.successors[i])
        uses = self._uses
        skipped = self._skip_from([s for s in self._blocked_by(i) if i in uses[s]], tolerated=True)
        self._pass(i)
        return skipped

    def _blocked_by(self, i: int) -> list[int]:
        """The successors of ``i`` that cannot do without its output."""
        spared = self._spared
        return [s for s in self.successors[i] if i not in spared.get(s, ())]

    def _pass(self, i: int) -> None:
        """Node ``i`` has failed or was skipped, and this is tolerated: no node waits for it any more.

        What was skipped for it, and now waits for nothing else, was skipped for tolerated failures only.
        """
        state, waiting, rank = self.state, self._waiting, self._rank
        todo = [i]
        while todo:
            for s in self.successors[todo.pop()]:
                waiting[s] -= 1
                if waiting[s]:
                    continue
                if state[s] == WAITING:
                    state[s] = READY
                    heappush(self._ready, s if rank is None else rank[s])
                elif s in self._forgiven:
                    todo.append(s)

    @property
    def tolerated(self) -> Collection[int]:
        """The nodes whose failure is tolerated."""
        return self._may_fail

    def goes_on_after(self, i: int) -> bool:
        """Tell whether a run under ``fail_fast`` goes on after the failure of node ``i``."""
        return i in self._may_fail

    def is_handled(self, i: int) -> bool:
        """Tell whether the failure of node ``i`` leaves the run in order."""
        return i in self._may_fail

    def has_amiss(self, order: Iterable[int], dependencies: Sequence[Sequence[int]]) -> bool:
        """Tell at the end whether a node was skipped, and that is not in order."""
        return SKIPPED in self.state

    def forget(self) -> None:
        """Let go of the run."""

    def skip(self, i: int) -> list[int]:
        """Skip a node that has not been taken, and all its descendants; return those newly skipped.

        :raises UsageError: if it was taken or has ended.
        """
        if self.state[i] not in (WAITING, READY):
            raise UsageError(f"node {i} is {self.status(i)}; only a pending or ready node can be skipped")
        return self._skip_from([i])

    def bypass(self, i: int) -> list[int]:
        """Bypass a node. :raises UsageError: here, where nothing routes; see the subclass."""
        raise UsageError(f"node {i} cannot be bypassed: nothing in this plan leaves a node out")

    def _skip_from(self, nodes: Sequence[int], tolerated: bool = False) -> list[int]:
        """Skip ``nodes`` and all that is skipped for them; for a failure that is ``tolerated``, or not."""
        state, successors = self.state, self.successors
        if tolerated and nodes and not self._forgiven:
            self._forgiven, self._fast = set(), False
        forgiven = self._forgiven
        todo = list(nodes)
        skipped = []
        while todo:
            i = todo.pop()
            if state[i] <= READY:
                state[i] = SKIPPED
                skipped.append(i)
                if tolerated:
                    forgiven.add(i)
                    todo.extend(self._blocked_by(i))
                else:
                    todo.extend(successors[i])
            elif not tolerated and i in forgiven:  # and now for a failure that is none to be tolerated
                forgiven.remove(i)
                todo.extend(successors[i])
        skipped.sort()
        if self._step is not None:
            for i in skipped:
                self._step(i)
        return skipped

    def cancelled(self, i: int) -> None:
        """Say that the taken node ``i`` was cancelled. :raises UsageError: if it was not taken."""
        if self.state[i] != TAKEN:
            raise self._not_taken(i, "cancelled")
        self.state[i] = CANCELLED
        if self._step is not None:
            self._step(i)

    def cancel_rest(self, *, taken: bool = False) -> None:
        """Cancel every node not taken yet; with ``taken`` those too. O(nodes)."""
        step = self._step
        before = b"" if step is None else bytes(self.state)
        self.state[:] = self.state.translate(_ALL_CANCELLED if taken else _REST_CANCELLED)
        self._ready.clear()
        for i, was in enumerate(before):
            if step is not None and was != self.state[i]:
                step(i)

    def add(self, dependencies: Iterable[int] = ()) -> int:
        """Add a node while the run is on; return its index. Dependencies are nodes that exist already.

        It is skipped at once if one of them failed, was skipped or cancelled.

        :raises UsageError: for an index that is no node; nothing is added then.
        """
        deps = list(dict.fromkeys(dependencies))
        count = len(self.state)
        wrong = [d for d in deps if not 0 <= d < count]
        if wrong:
            raise UsageError(f"node {count} cannot wait for {wrong}: there are nodes 0 to {count - 1}")
        self._own_lists()
        ended_badly = any(self.state[d] > DONE for d in deps)
        left = sum(self.state[d] != DONE for d in deps)
        for d in deps:
            self.successors[d].append(count)
        self.successors.append([])
        self._uses.append(deps)
        self._waiting.append(left)
        self.state.append(SKIPPED if ended_badly else WAITING if left else READY)
        if self._rank is not None and self._node_at is not None:
            self._rank.append(count)
            self._node_at.append(count)
        if not ended_badly and not left:
            heappush(self._ready, count)
        return count

    def _own_lists(self) -> None:
        """Copy what the plan shares before the first change."""
        if not self._grown:
            self.successors = [list(s) for s in self.successors]
            self._uses = list(self._uses)
            self._rank = None if self._rank is None else list(self._rank)
            self._grown = True

