"""The countdown over a plan that routes: every edge carries one token, and a node decides once.

A token is live or dead. A dead one is of the kind "failed" (its node failed or was skipped) or "bypassed" (a condition
or a choice left its node or its edge out). A node counts down its edges whatever the tokens are, and its join decides
when the last one has come. Only two decisions are taken before: a join that no failure may precede skips its node at
the first failed token, and a join of ``k`` starts its node at the ``k``-th live one.

A tolerated failure sends live tokens on, but for edges of readers that cannot do without its output, and of a router to
its targets: it has chosen none. A node that was skipped only for tolerated failures sends live ones to readers with a
default, once that is certain: when all its tokens have come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from heapq import heappop, heappush, heappushpop
from typing import TYPE_CHECKING, Any, Final, Protocol

from flow.errors import UsageError
from flow.plan.nodes import Nodes
from flow.plan.resolver import BYPASSED, DONE, FAILED, READY, SKIPPED, TAKEN, WAITING, Resolver, Standing, Step
from flow.plan.routes import ASKS

if TYPE_CHECKING:
    from typing import Self

    from flow.plan.routes import Routes

LIVE: Final = 0
BYPASS: Final = 1  # dead: a condition or a choice left it out
HARD: Final = 2  # dead: failed, and that is not tolerated
SOFT: Final = 4  # dead: failed, which is tolerated
_SENT: Final = 8  # the node has sent its own tokens
_DECIDES: Final = 16  # its join may not start it when all tokens are live
_DEAD_FAILED: Final = HARD | SOFT

_NO_TARGET: Final = ""
"""The name of no node: a router may go on to what it does not choose."""

STRICT: Final = frozenset((None, "none_failed", "some"))
"""Joins (None is "all") that a failure decides at once."""


class Decisions(Protocol):
    """What a run of a plan that routes answers to its resolver."""

    values: Sequence[Any]
    wants: Callable[[int], bool]
    """Asks the condition of a node, which is ready. One that raises lets the node begin, and fail."""

    def left_out(self, nodes: Sequence[int], cause: int) -> bool:
        """These nodes have been skipped or bypassed, by node ``cause``. Return whether an async hook is told that."""
        ...

    def begins_waiting(self, i: int) -> bool:
        """Node ``i`` begins to wait for a signal or a time. False: it is to begin, and fail."""
        ...

    def ended(self) -> None:
        """The run has ended: nothing waits any more."""
        ...

    def is_telling(self) -> bool:
        """Tell whether an async hook is being told that."""
        ...


class Sending(Resolver):
    """Sends tokens, and lets nodes decide when theirs have come.

    :ivar choices: what routers that have completed chose, by node: their outputs may be freed.
    """

    __slots__ = (
        "_chosen", "_counted", "_dead", "_decisions", "_flags", "_held", "_in_degrees", "_routes", "_watched",
        "choices",
    )  # fmt: skip

    choices: dict[int, tuple[str, ...]]
    _chosen: dict[int, frozenset[str]]
    _counted: dict[int, set[int]]
    _dead: dict[int, int]  # how many tokens were dead, of joins of "some"
    _decisions: Decisions | None
    _flags: list[int]  # bits, as above. (A list is quicker to look into than a bytearray.)
    _held: list[int]  # as in Routes; ASKS goes when a node is put back
    _in_degrees: Sequence[int]
    _routes: Routes
    _watched: Sequence[int]

    def _send(self, i: int) -> list[int]:
        """Send the tokens of node ``i``, which has ended, and of all that is left out for it; return those, sorted."""
        return self._spread([i], [])

    def _send_one(self, i: int, s: int) -> list[int]:
        """Send one live token, and those of all that is left out for it."""
        todo, left_out = list[int](), list[int]()
        self._arrive(i, s, LIVE, todo, left_out)
        return self._spread(todo, left_out) if todo or left_out else left_out

    def _spread(self, todo: list[int], left_out: list[int]) -> list[int]:
        """Send the tokens of the nodes in ``todo``; return ``left_out`` and all that is left out for them, sorted."""
        successors, conditions, token, arrive = self.successors, self._routes.conditions, self.token, self._arrive
        while todo:
            i = todo.pop()
            same = self._same(i)
            for s in successors[i]:
                arrive(i, s, token(i, s) if same < 0 or s in conditions else same, todo, left_out)
        left_out.sort()
        if self._step is not None:
            for i in left_out:
                self._step(i)
        return left_out

    def _same(self, i: int) -> int:
        """Return the token on all edges of node ``i`` that have no condition; -1 if it depends on the edge."""
        state = self.state[i]
        if state == BYPASSED:
            return BYPASS
        if state == DONE:
            return LIVE if i not in self._chosen else -1
        if state == FAILED:
            return HARD if i not in self._may_fail else -1
        return HARD if self._flags[i] & HARD else -1

    def _arrive(self, i: int, s: int, token: int, todo: list[int], left_out: list[int]) -> None:
        """Let ``token`` of node ``i`` arrive at node ``s``, which may decide.

        :param todo: gets ``s`` once it is to send its own dead tokens. :param left_out: gets it once it is left out.
        """
        self._waiting[s] = left = self._waiting[s] - 1
        flags = self._flags[s] = self._flags[s] | token
        state = self.state[s]
        if state == WAITING:
            join = self._routes.joins.get(s)
            if token:
                if join == "some":
                    self._dead[s] = self._dead.get(s, 0) + 1
            elif type(join) is int:
                self._counted[s].add(i)
                if len(self._counted[s]) == join:
                    self._start(s)
                    return
            if left and not (token & _DEAD_FAILED and join in STRICT):
                return
            if _starts(join, flags) and (join != "some" or self._dead.get(s) != self._in_degrees[s]):
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
            if i in self._chosen and routes.routers[i].targets.get(s, _NO_TARGET) not in self._chosen[i]:
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
        reads, spared = i in self._uses[s], i in self._spared.get(s, ())
        if condition == "failed" or i in routes.needs.get(s, ()) or (reads and not spared):
            return SOFT
        if spared or (s in routes.whens and i in routes.whens[s].slots):
            return LIVE  # into a parameter with a default
        if state == SKIPPED:
            return SOFT
        return BYPASS if i in routes.routers and s in routes.routers[i].targets else LIVE  # it has chosen none

    def _note_choice(self, i: int) -> None:
        if i in self._routes.routers:
            assert self._decisions is not None
            self.choices[i] = chosen = self._decisions.values[i]
            self._chosen[i] = frozenset((_NO_TARGET, *chosen))


class TokenResolver(Sending):
    """Says which nodes are ready, in a plan that routes. The interface is that of :class:`Resolver`.

    Creating one is O(nodes + edges). Over a whole run every edge carries one token, O(1) each, and deciding is O(1) per
    node; nothing recurses. A router looks at each of its edges and at its choice.

    :ivar early: the run ends at a failure that no node is left to handle.
    """

    __slots__ = ("_before", "_dependencies", "_failing", "_lost", "_telling", "_wants", "early")

    early: bool
    _before: list[tuple[list[int], int]]  # what known nodes have left out before the run, with these
    _dependencies: Sequence[Sequence[int]]
    _failing: bool  # a node has failed
    _lost: bool  # a failure that nobody may handle any more
    _telling: bool
    _wants: Callable[[int], bool] | None

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
        self.early = self._telling = self._failing = self._lost = False
        self._dependencies, self._in_degrees = nodes.dependencies, nodes.in_degrees
        self._routes, self._decisions = routes, decisions
        self._wants, self._held, self._watched = decisions.wants, routes.held.copy(), routes.watched
        self._flags = flags = [0] * nodes.count
        for i in routes.deciding:
            flags[i] = _DECIDES
        self._counted = {i: set() for i in routes.deciding if type(routes.joins[i]) is int}
        self.choices, self._chosen, self._dead = {}, {}, {}
        self.state = bytearray(nodes.count)
        known = list(done)
        for i in known:
            self.state[i] = DONE
            flags[i] = _SENT  # a token that still comes to it, of a node that runs all the same, starts nothing
            self._note_choice(i)
        self._set_ready(nodes.sources)
        self._before = []
        for i in known:
            self._before.append((self._send(i), i))
            if self._step is not None:
                self._step(i)
        return self

    def tell_known(self) -> None:
        before, self._before = self._before, []
        for left_out, cause in before:
            self._tell(left_out, cause)

    def forget(self) -> None:
        self._decisions = self._wants = None

    def take(self) -> int:
        take, held = Standing.take, self._held
        while not (self._telling and self._is_telling()):
            i = take(self)
            if i < 0 or not held[i] or self._begins(i):
                return i
        return -1

    def _begins(self, i: int) -> bool:
        """Tell whether the held node ``i``, which has been taken, begins now. Else it has been left out."""
        assert self._wants is not None
        if self._wants(i):
            return True
        self._leave_out(i, BYPASSED)
        return False

    def put_back(self, i: int) -> None:
        super().put_back(i)
        self._held[i] &= ~ASKS  # its condition has been asked, which is done once

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
        left_out: Any = ()
        if self._watched[i]:
            self._note_choice(i)
            left_out = self._send(i)
        else:
            waiting, flags = self._waiting, self._flags
            for s in self.successors[i]:  # of most nodes all tokens are live
                left = waiting[s] - 1
                if left:
                    waiting[s] = left
                elif flags[s]:
                    left_out = _both(left_out, self._send_one(i, s))
                elif not state[s]:
                    self._start(s)
        if self._step is not None:
            self._step(i)
        if left_out:
            self._tell(left_out, i)  # last: a hook may raise

    def advance(self, i: int) -> int:
        state = self.state
        if not self._fast or state[i] != TAKEN or self._watched[i]:
            self.done(i)
            return self.take()
        state[i] = DONE
        waiting, flags, ready = self._waiting, self._flags, self._ready
        latest = -1  # as in Resolver.advance
        left_out: Any = ()
        for s in self.successors[i]:
            left = waiting[s] - 1
            if left:
                waiting[s] = left
            elif flags[s]:
                left_out = _both(left_out, self._send_one(i, s))
            else:
                state[s] = READY
                if latest >= 0:
                    heappush(ready, latest)
                latest = s
        if left_out:
            if latest >= 0:
                heappush(ready, latest)
                latest = -1
            self._tell(left_out, i)
            if not self._fast:  # an async hook is told of a node, or a failure cannot be handled any more
                return self.take()
        if latest >= 0:
            i = heappushpop(ready, latest)
        elif ready:
            i = heappop(ready)
        else:
            return -1
        state[i] = TAKEN
        if not self._held[i] or self._wants(i):  # type: ignore[misc]
            return i
        self._leave_out(i, BYPASSED)
        return self.take()

    def claim(self, i: int, *, waiting: bool = False) -> None:
        super().claim(i, waiting=waiting)
        self._fast = False  # as what is left of it in the heap is to be passed over

    def cancel_rest(self, *, taken: bool = False) -> None:
        super().cancel_rest(taken=taken)
        self._fast = False

    def failed(self, i: int) -> list[int]:
        """Say that the taken node ``i`` failed; return the nodes skipped and bypassed for it, in index order."""
        if self.state[i] != TAKEN:
            raise self._not_taken(i, "failed")
        self.state[i] = FAILED
        self._failing = True
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
        self._fast = False  # it may be in the heap
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
            if self._decisions.left_out(left_out, cause):
                self._telling, self._fast = True, False
            self._look_for_lost(left_out)
            if self._lost:
                self.halt()

    def _look_for_lost(self, gone: Iterable[int]) -> None:
        """See whether ``gone``, which will not complete, were the last that might have handled a failure."""
        if self.early and self._failing and not self._lost:
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
            # (What failures have skipped that are only tolerated is amiss: as in a plan that does not route.)
            handled = all(map(resolver.handlers, failed))
            if not (failed or skipped) or not handled or not amiss.isdisjoint(skipped):
                amiss.add(i)
    return bool(amiss)


def _both(left_out: Any, more: list[int]) -> Any:
    """Return both lists as one, the first extended. (Few nodes leave any out: () stands for an empty one.)"""
    if not left_out:
        return more
    left_out += more
    return left_out


def _starts(join: Any, flags: int) -> bool:
    """Tell whether a node with this join starts, when its last token (or its first failed one) has come."""
    if join is None:
        return not flags & (BYPASS | _DEAD_FAILED)
    if join == "done":
        return True
    if join == "failed":
        return bool(flags & _DEAD_FAILED)
    return type(join) is not int and not flags & _DEAD_FAILED  # of "some", if a token is live


__all__ = ["TokenResolver"]
