"""The resolver of a plan with nodes that wait for a signal or a time.

Such a node is not handed out: it is AWAITING, and the run is told. So it holds no slot, and begins to wait whatever the
limit is.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop

from flow.errors import UsageError
from flow.plan.nodes import Nodes
from flow.plan.resolver import AWAITING, READY, TAKEN, Step
from flow.plan.routes import ASKS, WAITS
from flow.plan.tokens import TokenResolver


class WaitingResolver(TokenResolver):
    """Says which nodes are ready, in a plan with waiting nodes. The interface is that of :class:`TokenResolver`."""

    __slots__ = ("_closed", "_due")

    _closed: bool  # nodes that are due do not begin to wait now
    _due: list[int]  # nodes that may begin to wait

    def _set_nodes(self, nodes: Nodes, ranks: Sequence[int] | None, steps: Sequence[Step] = ()) -> None:
        super()._set_nodes(nodes, ranks, steps)
        self._fast, self._due, self._closed = False, [], True

    def _set_ready(self, nodes: list[int]) -> None:
        super()._set_ready(nodes)
        self._due += [i for i in self._routes.waits if self.state[i] == READY]

    def forget(self) -> None:
        if self._decisions is not None:
            self._decisions.ended()
        super().forget()

    def _start(self, s: int) -> None:
        if self._held[s] & WAITS:
            self._due.append(s)
        super()._start(s)

    def _begins(self, i: int) -> bool:
        """Tell whether the held node ``i``, which has been taken, begins now. Else it is left out, or waits."""
        held, decisions = self._held[i], self._decisions
        if held & ASKS and not super()._begins(i):
            return False
        if held & WAITS:
            assert decisions is not None
            self.state[i] = AWAITING
            if decisions.begins_waiting(i):
                return False
            self.state[i] = TAKEN
        return True

    def begin_waits(self) -> None:
        """Let the nodes begin to wait that may, although no slot may be free. (Each is in the heap of ready ones, too.)

        The run calls this once, when it begins; from then on nodes that become ready begin to wait at once.
        """
        self._closed = True  # not again within it: no recursion
        due, state = self._due, self.state
        for i in due:  # grows on the way, where a node is left out
            if state[i] == READY and not self._halted and not (self._telling and self._is_telling()):
                state[i] = TAKEN
                if self._begins(i):
                    self.put_back(i)
        due.clear()
        ready, node_at = self._ready, self._node_at
        while ready and state[ready[0] if node_at is None else node_at[ready[0]]] != READY:
            heappop(ready)  # no worker need be started to find that out
        self._closed = False

    def _begin_due(self) -> None:
        if self._due and not self._closed:
            self.begin_waits()

    def resume(self, i: int) -> None:
        """Say that what node ``i`` waits for has come: it counts as taken again. The caller must then end it.

        :raises UsageError: if it does not wait.
        """
        if self.state[i] != AWAITING:
            raise UsageError(f"node {i} cannot go on: it is {self.status(i)}, not waiting")
        self.state[i] = TAKEN

    def done(self, i: int) -> None:
        super().done(i)
        self._begin_due()

    def failed(self, i: int) -> list[int]:
        left_out = super().failed(i)
        if not self.early or self.goes_on_after(i):
            self._begin_due()
        return left_out

    def _tell(self, left_out: Sequence[int], cause: int) -> None:
        self._begin_due()
        super()._tell(left_out, cause)


__all__ = ["WaitingResolver"]
