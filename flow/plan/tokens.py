"""The countdown over a plan that routes: every edge carries one token, and a node decides once.

A token is live or dead. A dead one is of the kind "failed" (its node failed or was skipped) or "bypassed" (a condition
or a choice left its node or its edge out). A node counts down its edges whatever the tokens are, and its join decides
when the last one has come. Only two decisions are taken before: a join that no failure may precede skips its node at
the first failed token, and a join of ``k`` starts its node at the ``k``-th live one.

A tolerated failure sends live tokens on, but for edges of readers that cannot do without its output. A node that was
skipped only for tolerated failures does so, too, once that is certain: when all its tokens have come.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from heapq import heappush
from typing import TYPE_CHECKING, Any, Final, Protocol

from flow.errors import UsageError
from flow.plan.nodes import Nodes
from flow.plan.resolver import BYPASSED, DONE, FAILED, READY, SKIPPED, TAKEN, WAITING, Resolver, Standing, Step

if TYPE_CHECKING:
    from typing import Self

    from flow.plan.routes import Routes, When

LIVE: Final = 0
BYPASS: Final = 1  # dead: a condition or a choice left it out
HARD: Final = 2  # dead: failed, and that is not tolerated
SOFT: Final = 4  # dead: failed, which is tolerated
_SEEN: Final = 8  # a live one has come; noted where a join asks for it
_SENT: Final = 16  # the node has sent its own tokens
_DEAD_FAILED: Final = HARD | SOFT

STRICT: Final = frozenset((None, "none_failed", "some"))
"""Joins (None is "all") that a failure decides at once."""


class Decisions(Protocol):
    """What a run of a plan that routes answers to its resolver."""

    values: Sequence[Any]

    def wants(self, i: int, when: When) -> bool:
        """Ask the condition of node ``i``, which is ready. One that raises lets the node begin, and fail."""
        ...

    def left_out(self, i: int, cause: int) -> None:
        """Node ``i`` has been skipped or bypassed, by node ``cause``."""
        ...

    def is_telling(self) -> bool:
        """Tell whether an async hook is being told that."""
        ...


class Sending(Resolver):
    """Sends tokens, and lets nodes decide when theirs have come.

    :ivar choices: what routers that have completed chose, by node: their outputs may be freed.
    """

    __slots__ = ("_counted", "_decisions", "_flags", "_routes", "choices")

    choices: dict[int, tuple[str, ...]]
    _counted: dict[int, set[int]]
    _decisions: Decisions | None
    _flags: bytearray
    _routes: Routes

    def _send(self, i: int) -> list[int]:
        """Send the tokens of node ``i``, which has ended, and of all that is left out for it; return those, sorted."""
        return self._spread([i], [])

    def _send_one(self, i: int, s: int) -> list[int]:
        """Send one live token, and those of all that is left out for it."""
        todo, left_out = list[int](), list[int]()
        self._arrive(i, s, LIVE, todo, left_out)
        return self._spread(todo, left_out)

    def _spread(self, todo: list[int], left_out: list[int]) -> list[int]:
        """Send the tokens of the nodes in ``todo``; return ``left_out`` and all that is left out for them, sorted."""
        successors, token, arrive = self.successors, self.token, self._arrive
        while todo:
            i = todo.pop()
            for s in successors[i]:
                arrive(i, s, token(i, s), todo, left_out)
        left_out.sort()
        if self._step is not None:
            for i in left_out:
                self._step(i)
        return left_out

    def _arrive(self, i: int, s: int, token: int, todo: list[int], left_out: list[int]) -> None:
        """Let ``token`` of node ``i`` arrive at node ``s``, which may decide.

        :param todo: gets ``s`` once it is to send its own dead tokens. :param left_out: gets it once it is left out.
        """
        self._waiting[s] = left = self._waiting[s] - 1
        flags = self._flags[s] = self._flags[s] | (token or _SEEN)
        state = self.state[s]
        if state == WAITING:
            join = self._routes.joins.get(s)
            if token == LIVE and type(join) is int:
                self._counted[s].add(i)
                if len(self._counted[s]) == join:
                    self._start(s)
                    return
            if left and not (token & _DEAD_FAILED and join in STRICT):
                return
            if _starts(join, flags):
                self._start(s)
                return
            self.state[s] = state = SKIPPED if flags & _DEAD_FAILED and join != "failed" else BYPASSED
            left_out.append(s)
        if ((state == SKIPPED and flags & HARD) or not left) and state in (SKIPPED, BYPASSED) and not flags & _SENT:
            self._flags[s] |= _SENT
            todo.append(s)

    def _start(self, s: int) -> None:
        self.state[s] = READY
        heappush(self._ready, s if self._rank is None else self._rank[s])

    def token(self, i: int, s: int) -> int:
        """Return the token that node ``i``, which has ended, sends to its successor ``s``."""
        state, routes = self.state[i], self._routes
        if state == DONE:
            if i in routes.routers and not self._chose(i, s):
                return BYPASS
            return BYPASS if routes.condition(i, s) == "failed" else LIVE
        condition = routes.condition(i, s)
        if condition == "done" or (condition == "failed" and state == FAILED):
            return LIVE
        if state == BYPASSED:
            return BYPASS
        tolerated = i in self._may_fail if state == FAILED else not self._flags[i] & HARD
        if not tolerated:
            return HARD
        if condition == "failed" or i in routes.needs.get(s, ()):
            return SOFT
        return SOFT if i in self._uses[s] and i not in self._spared.get(s, ()) else LIVE

    def _note_choice(self, i: int) -> None:
        if i in self._routes.routers:
            assert self._decisions is not None
            self.choices[i] = self._decisions.values[i]

    def _chose(self, i: int, s: int) -> bool:
        targets = self._routes.routers[i].targets
        return s not in targets or targets[s] in self.choices[i]


class TokenResolver(Sending):
    """Says which nodes are ready, in a plan that routes. The interface is that of :class:`Resolver`.

    Creating one is O(nodes + edges). Over a whole run every edge carries one token, O(1) each, and deciding is O(1) per
    node; nothing recurses. A router looks at each of its edges and at its choice.

    :ivar early: the run ends at a failure that no node is left to handle.
    """

    __slots__ = ("_dependencies", "_lost", "_telling", "_whens", "early")

    early: bool
    _dependencies: Sequence[Sequence[int]]
    _lost: bool
    _telling: bool
    _whens: dict[int, When]

    @classmethod
    def begun(
        cls,
        nodes: Nodes,
        done: Iterable[int],
        decisions: Decisions,
        ranks: Sequence[int] | None = None,
        steps: Sequence[Step] = (),
    ) -> Self:
        """Return the resolver of a run in which exactly ``done`` have completed, which wait for nothing."""
        self = cls.__new__(cls)
        self._set_nodes(nodes, ranks, steps)
        routes = nodes.routes
        assert routes is not None
        self._fast = self.early = self._telling = False  # every node that ends calls done()
        self._dependencies, self._lost = nodes.dependencies, False  # lost: a failure that nobody may handle any more
        self._routes, self._decisions = routes, decisions
        self._whens = dict(routes.whens)
        self._counted = {i: set() for i, join in routes.joins.items() if type(join) is int}
        self._flags = bytearray(nodes.count)
        self.choices = {}
        self.state = bytearray(nodes.count)
        known = list(done)
        for i in known:
            self.state[i] = DONE
            self._note_choice(i)
        self._set_ready(nodes.sources)
        for i in known:
            self._tell(self._send(i), i)
            if self._step is not None:
                self._step(i)
        return self

    def forget(self) -> None:
        self._decisions = None

    def take(self) -> int:
        pending, take, decisions = self._whens, Standing.take, self._decisions
        while not (self._telling and self._is_telling()):
            i = take(self)
            if i not in pending:
                return i
            assert decisions is not None
            # It is asked once, also where the node is tried again.
            if decisions.wants(i, pending.pop(i)):
                return i
            self._leave_out(i, BYPASSED)
        return -1

    def _is_telling(self) -> bool:
        """Tell whether an async hook is still being told what was left out: nothing starts before."""
        self._telling = self._decisions is not None and self._decisions.is_telling()
        return self._telling

    # -- tell --------------------------------------------------------------------------------

    def done(self, i: int) -> None:
        state = self.state
        if state[i] != TAKEN:
            raise self._not_taken(i, "done")
        state[i] = DONE
        if i in self._routes.watched:
            self._note_choice(i)
            self._tell(self._send(i), i)
        else:
            waiting, flags, joins, rank = self._waiting, self._flags, self._routes.joins, self._rank
            for s in self.successors[i]:  # of most nodes all tokens are live
                left = waiting[s] - 1
                if left:
                    waiting[s] = left
                elif flags[s] or s in joins:
                    self._tell(self._send_one(i, s), i)
                elif not state[s]:
                    waiting[s] = 0
                    state[s] = READY
                    heappush(self._ready, s if rank is None else rank[s])
        if self._step is not None:
            self._step(i)

    def failed(self, i: int) -> list[int]:
        """Say that the taken node ``i`` failed; return the nodes skipped and bypassed for it, in index order."""
        if self.state[i] != TAKEN:
            raise self._not_taken(i, "failed")
        self.state[i] = FAILED
        if self._step is not None:
            self._step(i)
        left_out = self._send(i)
        self._look_for_lost([i, *left_out])
        return left_out

    def skip(self, i: int) -> list[int]:
        return self._left_out_by_hand(i, SKIPPED)

    def bypass(self, i: int) -> list[int]:
        """Bypass a node that has not been taken; return the nodes left out, as :meth:`skip` does."""
        return self._left_out_by_hand(i, BYPASSED)

    def _left_out_by_hand(self, i: int, status: int) -> list[int]:
        if self.state[i] not in (WAITING, READY):
            raise UsageError(f"node {i} is {self.status(i)}; only a pending or ready node can be left out")
        self._whens.pop(i, None)
        left_out = sorted([i, *self._leave_out(i, status, told=False)])
        self._look_for_lost(left_out)
        return left_out

    def _leave_out(self, i: int, status: int, told: bool = True) -> list[int]:
        self.state[i] = status
        self._flags[i] |= _SENT | (HARD if status == SKIPPED else 0)
        if self._step is not None:
            self._step(i)
        left_out = self._send(i)
        if told:
            self._tell([i, *left_out], i)
        return left_out

    def _tell(self, left_out: Sequence[int], cause: int) -> None:
        if left_out and self._decisions is not None:
            self._telling = True
            for i in left_out:
                self._decisions.left_out(i, cause)
            self._look_for_lost(left_out)
            if self._lost:
                self.halt()

    def _look_for_lost(self, gone: Iterable[int]) -> None:
        """See whether ``gone``, which will not complete, were the last that might have handled a failure."""
        if self.early and not self._lost:
            failed = {d for s in gone for d in self._dependencies[s] if self.state[d] == FAILED}
            self._lost = not all(map(self._may_be_handled, failed))

    # -- what came of it ---------------------------------------------------------------------

    def counted(self, s: int) -> set[int] | None:
        """Of a join of ``k``, the nodes whose live tokens have started node ``s``; None for another join."""
        return self._counted.get(s)

    def goes_on_after(self, i: int) -> bool:
        """Tell whether the run goes on after the failure of node ``i``: tolerated, or handled, or that may still be.

        Node ``i`` may have been the last handler of a failure before: that one then ends the run.
        """
        return not self._lost and self._may_be_handled(i)

    def _may_be_handled(self, i: int) -> bool:
        if i in self._may_fail:
            return True
        routes, state = self._routes, self.state
        return any(routes.may_handle(i, s) and state[s] <= DONE for s in self.successors[i])

    def is_handled(self, i: int) -> bool:
        """Tell whether the failure of node ``i`` is tolerated, or a dependant for it has completed."""
        if i in self._may_fail:
            return True
        return bool(self.handlers(i))

    def handlers(self, i: int) -> list[int]:
        """Return the nodes that have handled the failure of node ``i``."""
        routes, state = self._routes, self.state
        return [s for s in self.successors[i] if state[s] == DONE and routes.handles(i, s)]

    def has_amiss(self, order: Iterable[int], dependencies: Sequence[Sequence[int]]) -> bool:
        """Tell at the end whether a node was skipped for anything but failures that have been handled. O(nodes)."""
        return SKIPPED in self.state and _has_amiss(self, order, dependencies)


def _has_amiss(resolver: TokenResolver, order: Iterable[int], dependencies: Sequence[Sequence[int]]) -> bool:
    state, amiss = resolver.state, set[int]()
    for i in order:
        if state[i] == SKIPPED:
            causes = [d for d in dependencies[i] if resolver.token(d, i) & _DEAD_FAILED]
            failed = [d for d in causes if state[d] == FAILED]
            skipped = [d for d in causes if state[d] == SKIPPED]
            # (What only tolerated failures have skipped is amiss: as in a plan that does not route.)
            handled = all(resolver.is_handled(d) and d not in resolver.tolerated for d in failed)
            if not (failed or skipped) or not handled or not amiss.isdisjoint(skipped):
                amiss.add(i)
    return bool(amiss)


def _starts(join: Any, flags: int) -> bool:
    """Tell whether a node with this join starts, when its last token (or its first failed one) has come."""
    if join is None:
        return not flags & (BYPASS | _DEAD_FAILED)
    if join == "done":
        return True
    if join == "failed":
        return bool(flags & _DEAD_FAILED)
    if type(join) is int or flags & _DEAD_FAILED:
        return False
    return join == "none_failed" or bool(flags & _SEEN)


__all__ = ["TokenResolver"]
