"""The resolver of a plan with cleanup: its nodes wait for gates besides their edges, and decide when they are taken.

A gate is one more token to come. That of a cleanup node comes once all nodes but cleanup have ended. That of a teardown
comes once its setup and all ordinary descendants of that have ended: a node is *closed* once it and all its ordinary
dependants' descendants have ended, which one countdown against the edges shows. So gates cost O(nodes + edges) a run,
however many teardowns there are.

If the run has to stop early, what is ordinary is cancelled, which opens the gates (``begin_cleanup``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from flow.plan.awaiting import WaitingResolver
from flow.plan.nodes import Nodes
from flow.plan.resolver import BYPASSED, CANCELLED, DONE, FAILED, SKIPPED, TAKEN, WAITING, Step
from flow.plan.tokens import _DEAD_FAILED, _SENT, HARD, LIVE, _starts

if TYPE_CHECKING:
    from flow.plan.routes import Routes


class GatedResolver(WaitingResolver):
    """Says which nodes are ready, in a plan with cleanup. The interface is that of :class:`TokenResolver`."""

    __slots__ = ("_gated", "_last", "_left", "_open", "_setups", "_teardowns")

    _gated: frozenset[int]  # cleanup and teardowns
    _last: Collection[int]  # cleanup
    _left: int  # nodes that have not ended, cleanup apart
    _open: list[int]  # per ordinary node: itself, if it has not ended, and its ordinary dependants that are not closed
    _setups: Mapping[int, int]
    _teardowns: Mapping[int, Sequence[int]]

    def _set_nodes(self, nodes: Nodes, ranks: Sequence[int] | None, steps: Sequence[Step] = ()) -> None:
        routes: Routes | None = nodes.routes
        assert routes is not None
        self._gated, self._last, self._setups = routes.gated, routes.cleanup, routes.setups
        self._left = nodes.count - len(routes.cleanup)
        self._teardowns, self._open = routes.teardowns, routes.open_counts.copy()
        super()._set_nodes(nodes, ranks, (*steps, self._ended))

    def _set_ready(self, nodes: list[int]) -> None:
        super()._set_ready(nodes)
        if not self._left:
            self._unlock(self._last)

    def forget(self) -> None:
        super().forget()
        self._step = None  # it holds this object: no cycle

    # -- gates -------------------------------------------------------------------------------

    def _ended(self, i: int) -> None:
        """Node ``i`` has ended: a step of this resolver."""
        if i in self._last:
            return
        self._left -= 1
        if not self._left:
            self._unlock(self._last)
        if not self._open or i in self._gated:
            return
        left, teardowns = self._open, self._teardowns
        todo = [i]
        while todo:
            i = todo.pop()
            left[i] -= 1
            if not left[i]:
                self._unlock(teardowns.get(i, ()))
                todo += self._dependencies[i]

    def _unlock(self, nodes: Collection[int]) -> None:
        for s in nodes:
            self._waiting[s] -= 1
            if not self._waiting[s] and self.state[s] == WAITING:
                self._start(s)

    def _arrive(self, i: int, s: int, token: int, todo: list[int], left_out: list[int]) -> None:
        if s not in self._gated:
            super()._arrive(i, s, token, todo, left_out)
            return
        self._flags[s] |= token
        if token:
            self._dead[s] = self._dead.get(s, 0) + 1
        elif s in self._counted:
            self._counted[s].add(i)
        self._unlock((s,))

    # -- decide ------------------------------------------------------------------------------

    def _begins(self, i: int) -> bool:
        if i in self._gated and (status := self._verdict(i)):
            self._pass_over(i, status)
            return False
        return super()._begins(i)

    def _verdict(self, i: int) -> int:
        """Decide about gated node ``i``, all of whose tokens have come: 0 lets it run, else it ends as this code."""
        setup = self._setups.get(i)
        if setup is not None and self.state[setup] != DONE:
            return BYPASSED
        join, flags = self._routes.joins.get(i), self._flags[i]
        if type(join) is int:
            starts = len(self._counted[i]) >= join
        else:
            starts = _starts(join, flags) and (join != "some" or self._dead.get(i, 0) < len(self._dependencies[i]))
        if starts:
            return 0
        return SKIPPED if flags & _DEAD_FAILED and join != "failed" else BYPASSED

    def _pass_over(self, i: int, status: int) -> None:
        self.state[i] = status
        self._flags[i] |= _SENT
        if self._step is not None:
            self._step(i)
        self._tell([i, *self._send(i)], self._setups.get(i, i))

    def token(self, i: int, s: int) -> int:
        if self.state[i] == CANCELLED:
            return LIVE if self._routes.condition(i, s) == "done" else HARD
        return super().token(i, s)

    # -- failures ----------------------------------------------------------------------------

    def goes_on_after(self, i: int) -> bool:
        return i in self._gated or super().goes_on_after(i)

    def _look_for_lost(self, gone: Iterable[int]) -> None:
        super()._look_for_lost([i for i in gone if i not in self._gated])

    # -- a run that stops early --------------------------------------------------------------

    def begin_cleanup(self, waits: Collection[int] | None = None) -> bool:
        """Cancel every ordinary node that has not ended, and let what cleans up be taken. O(nodes + edges).

        Nothing runs any more when this is called.

        :param waits: of the taken nodes, those that wait for another attempt, and are tried again; the others are
            cancelled. None: all of them.
        :return: False if nothing is left that cleans up.
        """
        state, gated, flags = self.state, self._gated, self._flags
        if all(state[i] >= DONE for i in gated):
            return False
        self._halted = self._lost = self.early = self._telling = False
        again = {i for i in gated if state[i] == TAKEN and (waits is None or i in waits)}
        left = {i for i in gated if state[i] != TAKEN} | again
        gone = [i for i, code in enumerate(state) if code < DONE and i not in left]
        for i in gone:
            state[i] = CANCELLED
        for i, code in enumerate(state):
            if code < DONE or code in (DONE, FAILED) or flags[i] & _SENT:
                continue
            flags[i] |= _SENT
            for s in gated.intersection(self.successors[i]):
                self._arrive(i, s, self.token(i, s), [], [])
        if self._step is not None:
            for i in gone:
                self._step(i)
        for i in again:
            self.put_back(i)
        return True


__all__ = ["GatedResolver"]
