"""The newest state of each node of a run that goes on, for whoever looks: :class:`Board`.

Nothing is queued. Each change overwrites what its node said before and gets the next number, and a reader asks for what
has changed since the number that it has seen. So the memory is O(nodes), whatever the readers do. Texts that nodes emit
(:mod:`flow.http.texts`) have bounds of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from threading import Lock
from typing import Any, Final, TypeAlias

import msgspec

from flow.http.answers import NodeError, error_of
from flow.http.rest import GoingOn
from flow.http.texts import NewText, Texts
from flow.http.waits import Asked, Waits
from flow.metrics.usage import Sums
from flow.run import events
from flow.run.questions import QUESTION
from flow.run.signals import Signals
from flow.types import Status
from flow.usage import KIND, Usage

STATUSES: Final = tuple(Status)
_CODE: Final = {status: code for code, status in enumerate(STATUSES)}
_NOTHING: Final[Mapping[str, Usage]] = {}
_RUNNING: Final = _CODE[Status.RUNNING]
_WAITING: Final = _CODE[Status.WAITING]
_COMPLETED: Final = _CODE[Status.COMPLETED]
_CANCELLED: Final = _CODE[Status.CANCELLED]
_AFTER: Final[dict[Any, int]] = {
    events.NodeStarted: _RUNNING,
    events.NodeWaiting: _WAITING,
    events.NodeFinished: _COMPLETED,
    events.NodeFailed: _CODE[Status.FAILED],
    events.NodeRetried: _CODE[Status.READY],
    events.NodeSkipped: _CODE[Status.SKIPPED],
    events.NodeBypassed: _CODE[Status.BYPASSED],
    events.NodeCancelled: _CANCELLED,
}
"""By kind of event, the status that a node has after it."""


class NodeState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of one node.

    :ivar attempt: of its last call. :ivar seconds: that its last attempt took, or its waiting; None if nobody knows.
    """

    node: str
    status: str
    attempt: int = 0
    seconds: float | None = None
    error: NodeError | None = None

News: TypeAlias = tuple[int, NodeState | NewText | Asked]
"""What a reader is told, and the number that it has then."""


class Board:
    """An observer of one run that keeps the newest state of its nodes. Any thread may look.

    :param names: of the nodes of the run. :param began: is called once, when the run has begun: it is stored by then,
        if it has a store. :param rests: is called with True when all that goes on in the run is waiting, and with False
        when that is over. Both are called on the thread that makes the change.
    :ivar lets_go: another process goes on with the run: that nodes are cancelled here is not noted.
    """

    __slots__ = (
        "_before", "_began", "_codes", "_facts", "_going_on", "_index", "_known", "_lock", "_marks", "_names", "_paths",
        "_rests", "_running", "_since", "_texts", "_usage", "_waits", "lets_go", "longest", "resting", "run_id", "seq",
    )  # fmt: skip

    def __init__(
        self,
        names: Sequence[str],
        began: Callable[[], object],
        rests: Callable[[bool], object] | None = None,
        signals: Signals | None = None,
    ) -> None:
        self._names = names
        self._index: dict[str, int] | None = None
        self._codes = bytearray(len(names))
        self._marks: list[int] = []  # by node, the number of its last change; made at the first
        self._facts: dict[int, tuple[int, float | None, NodeError | None]] = {}  # attempt, seconds and error
        self._since: dict[int, float] = {}  # by node, when its attempt or its waiting began
        self._known: set[int] = set()  # nodes of which a store may know more
        self._waits = Waits(bool if signals is None else signals.find)
        nested = signals is not None and any(wait.steps for wait in signals.waits)
        self._going_on = GoingOn(signals.waits) if signals is not None and nested else None
        self._paths: dict[str, tuple[str, ...]] = {}  # of the runs within the run that go on
        self._texts = Texts()
        self._usage, self._before = Sums(), Sums()
        self._began, self._rests = began, rests
        self._running = 0
        self._lock = Lock()
        self.run_id = ""
        self.seq = 0
        self.resting = self.lets_go = False
        self.longest = 0.0
        """Seconds of the longest call of a node so far."""

    def __call__(self, event: Any) -> None:
        """Take in one event. O(1)."""
        kind = type(event)
        code = _AFTER.get(kind)
        if code is None:
            if kind is events.RunStarted and not self.run_id:
                self.run_id = event.run_id
                self._marks = [0] * len(self._names)
                self._index = {name: i for i, name in enumerate(self._names)}
                if self._going_on is not None:
                    self._going_on.run_started(event)
                self._began()
            elif kind is events.NodeKnown and event.run_id == self.run_id:
                with self._lock:
                    self._known.add(self._change(event.node, _CODE[event.status]))
            else:
                self._take(event, kind)
            return
        if code == _CANCELLED and self.lets_go:
            return
        if code == _WAITING or self._waits:
            self._note_wait(event)
        mine = event.run_id == self.run_id
        if mine or self._going_on is not None:
            with self._lock:
                if mine:
                    self._note(event, code)
                if self._going_on is not None:
                    self._going_on.node(event, code == _RUNNING)
            if self._rests is not None:
                self._tell_rest()

    def _take(self, event: Any, kind: type) -> None:
        """Take in what is no change of a node's state: runs within the run, texts, what calls of models took."""
        if kind is events.NodeEmitted:
            if isinstance(event.value, str):
                node = event.node if event.index is None else f"{event.node}[{event.index}]"
                with self._lock:
                    self.seq += 1
                    place = "/".join((*self._paths.get(event.run_id, ()), node))
                    self._texts.put(place, event.key, event.value, event.offset, self.seq)
        elif kind is events.NodeReported:
            if event.kind == KIND:
                with self._lock:
                    self._usage.count(event.value, event.node, event.path)
            elif event.kind == QUESTION:
                with self._lock:
                    if self._waits.asks((event.value,)):
                        self._asks_anew()
        else:
            self._take_run(event, kind)

    def _take_run(self, event: Any, kind: type) -> None:
        """Take in that a run within the run begins or ends, or a map."""
        going_on = self._going_on
        if kind is events.RunStarted:
            self._paths[event.run_id] = event.path
        elif kind is events.RunFinished:
            self._paths.pop(event.run_id, None)
        if going_on is None or kind not in (events.RunStarted, events.RunFinished, events.MapStarted):
            return
        with self._lock:
            if kind is events.RunStarted:
                going_on.run_started(event)
            elif kind is events.RunFinished:
                going_on.run_finished(event)
            else:
                going_on.map_started(event)
        if self._rests is not None:
            self._tell_rest()

    def _note(self, event: Any, code: int) -> None:
        i = self._change(event.node, code)
        if i < 0:
            return
        attempt = getattr(event, "attempt", 0)
        error = getattr(event, "error", None)
        seconds = self._seconds(i, event, code)
        if attempt > 1 or seconds is not None or error is not None:
            self._facts[i] = (attempt, seconds, None if error is None else error_of(error))

    def _seconds(self, i: int, event: Any, code: int) -> float | None:
        """Return how long the attempt or the waiting took that has ended now."""
        if code in (_RUNNING, _WAITING):
            self._since[i] = event.at
            return None
        since = self._since.pop(i, None)
        if code == _COMPLETED:
            took: float = event.duration
            self.longest = max(self.longest, took)
            return took
        return None if since is None or code == _CANCELLED else max(0.0, event.at - since)

    def _change(self, node: str, code: int) -> int:
        index = self._index
        i = -1 if index is None else index.get(node, -1)
        if i < 0:
            return i
        self._running += (code == _RUNNING) - (self._codes[i] == _RUNNING)
        self._codes[i] = code
        self.seq += 1
        self._marks[i] = self.seq
        return i

    def _note_wait(self, event: Any) -> None:
        with self._lock:
            if self._waits.note(event):
                self._asks_anew()

    def _asks_anew(self) -> None:
        self.seq += 1
        self._waits.number = self.seq

    def _tell_rest(self) -> None:
        going_on = self._running if self._going_on is None else self._going_on.count
        resting = not going_on and bool(self._waits)
        if resting != self.resting:
            self.resting = resting
            assert self._rests is not None
            self._rests(resting)

    # -- what readers ask --------------------------------------------------------------------

    @property
    def waiting(self) -> tuple[str, ...]:
        """The addresses of the signals that are waited for."""
        return self._waits.addresses()

    def asked(self) -> Asked:
        """Return the addresses of the signals that are waited for, and what is asked there. O(these)."""
        with self._lock:
            return self._waits.asked()

    def statuses(self) -> list[str]:
        """Return the status of each node, in the order of the plan. O(nodes)."""
        return [STATUSES[code] for code in bytes(self._codes)]

    def counts(self) -> dict[str, int]:
        """Return the number of nodes by status. O(nodes)."""
        codes = bytes(self._codes)
        return {str(status): n for code, status in enumerate(STATUSES) if (n := codes.count(code))}

    def since(self, seq: int) -> list[tuple[int, NodeState]]:
        """Return the states of the nodes that have changed after number ``seq``, each with the number of its change.

        They come in the order of their changes. O(nodes).
        """
        with self._lock:
            return self._since_number(seq)

    def news(self, seq: int) -> list[News]:
        """Return as :meth:`since`, what is new of the texts that nodes emit, and what is asked if that has changed.

        Texts come first, with the number that the reader has: who is told a part of the news gets them once more.
        O(nodes + waits + characters of new texts).
        """
        with self._lock:  # all at once: a reader is not told what came between them
            told: list[News] = [(seq, new) for new in self._texts.since(seq)]
            told += self._since_number(seq)
            if self._waits.number > seq and (seq or self._waits.addresses()):
                told.append((self._waits.number, self._waits.asked()))
                told.sort(key=lambda change: change[0])
            return [*told[:-1], *[(self.seq, last) for _, last in told[-1:]]]  # who has all has the last number

    def _since_number(self, seq: int) -> list[tuple[int, NodeState]]:
        if seq == self.seq or not self._marks:
            return []
        changed = sorted((mark, i) for i, mark in enumerate(self._marks) if mark > seq)
        return [(mark, self._state(i)) for mark, i in changed]

    def usage(self) -> Sums:
        """Return what calls of language models took so far, by node. O(nodes)."""
        with self._lock:
            sums = Sums()
            sums.add(self._before)
            sums.add(self._usage)
            return sums

    def _state(self, i: int) -> NodeState:
        attempt, seconds, error = self._facts.get(i, (0, None, None))
        took = None if seconds is None else round(seconds, 6)
        return NodeState(self._names[i], STATUSES[self._codes[i]], attempt, took, error)

    # -- what a store knows of nodes that had ended before -----------------------------------

    @property
    def asks_store(self) -> bool:
        """True if nodes had ended before this run began, and :meth:`recall` has not been told of them."""
        return bool(self._known)

    def recall(
        self, states: Iterable[NodeState], usage: Mapping[str, Usage] = _NOTHING, questions: Iterable[Any] = ()
    ) -> None:
        """Take over the attempts, times and errors of nodes that had ended before. O(nodes).

        :param usage: what calls of language models took before. :param questions: that were reported before.
        """
        index = self._index or {}
        with self._lock:
            for state in states:
                i = index.get(state.node, -1)
                if i >= 0 and i in self._known and i not in self._facts and state.status == STATUSES[self._codes[i]]:
                    self._facts[i] = (state.attempt, state.seconds, state.error)
            self._known.clear()
            self._before = Sums(usage)
            if self._waits.recall(questions):
                self._asks_anew()


__all__ = ["STATUSES", "Board", "NodeState"]
