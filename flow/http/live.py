"""A run that goes on in this process: :class:`Live`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from flow.http.answers import ENDED, QUEUED, WAITING
from flow.http.board import Board
from flow.run.journal import CancelAsked

if TYPE_CHECKING:
    from flow.http.workflow import Workflow
    from flow.run.handle import RunHandle


class LetGo(BaseException):
    """Ends a run in a thread that another process, or a later one, is to go on with."""


class Piece(msgspec.Struct, frozen=True):
    """What all readers are sent that have come to the same number. :ivar at: when it was made, in seconds."""

    since: int
    to: int
    events: bytes
    at: float


class Live:
    """A run that goes on. All but :meth:`before_call` and the board is for the thread of the event loop.

    :ivar created: when it was asked for here, a Unix time. :ivar targets: None is all nodes.
    :ivar stored_at: when it was created, as its store says; None as long as nobody has looked.
    :ivar digest: of what it was given; 0 if only its store knows that, as it was begun before.
    :ivar begun: is set once the run has begun (and is stored, if it has a store), or has the exception that kept it
        from that. :ivar done: is set once it has ended.
    :ivar answer: once it has ended, its JSON; empty if it was refused, or let go. :ivar why: the reason of that.
    :ivar cancelled: somebody has ended it. :ivar has_place: it counts as one of the runs that go on at once.
    :ivar piece: what readers of its events are sent at the moment.
    """

    __slots__ = (
        "_ticket", "answer", "asked", "begun", "board", "cancelled", "created", "digest", "done", "handle", "has_place",
        "id", "loop", "piece", "started", "status", "stored_at", "targets", "task", "why", "workflow",
    )  # fmt: skip

    def __init__(
        self, run_id: str, workflow: Workflow, targets: tuple[str, ...] | None, digest: int,
        rests: Callable[[Live, bool], object],
    ) -> None:  # fmt: skip
        self.loop = loop = asyncio.get_running_loop()
        self.id = run_id
        self.workflow = workflow
        self.targets = targets
        self.created = time.time()
        self.stored_at: float | None = None
        self.started = time.perf_counter()
        self.digest = digest
        self.status = QUEUED
        self.begun: asyncio.Future[None] = loop.create_future()
        self.done: asyncio.Future[None] = loop.create_future()
        self.answer = b""
        self.cancelled = self.has_place = False
        self.asked: BaseException | None = None
        self.why: BaseException | None = None
        self._ticket: list[None] = []
        self.piece: Piece | None = None
        self.handle: RunHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.board = Board(
            workflow.plan.names,
            lambda: loop.call_soon_threadsafe(self._has_begun),
            lambda resting: loop.call_soon_threadsafe(rests, self, resting),
            workflow.signals,
        )

    def wait_for_thread(self) -> None:
        """From now on a thread may :meth:`enter`, or somebody may withdraw it before."""
        self._ticket.append(None)

    def _has_begun(self) -> None:
        if not self.begun.done():
            self.begun.set_result(None)

    def refuse(self, error: BaseException) -> None:
        """The run has not begun, or does not go on here, for this reason: who has asked for it is told."""
        self.why = error
        if not self.begun.done():
            self.begun.set_exception(error)
            self.begun.exception()  # seen, if nobody waits
        self._end("", b"")

    def end(self, status: str, answer: bytes) -> None:
        """The run has ended."""
        self._has_begun()
        self._end(status, answer)

    def _end(self, status: str, answer: bytes) -> None:
        self.status, self.answer, self.handle = status, answer, None
        if not self.done.done():
            self.done.set_result(None)

    @property
    def has_ended(self) -> bool:
        """True once it has ended, or was refused."""
        return self.done.done()

    @property
    def state(self) -> str:
        """Its status at this moment."""
        if self.status in ENDED or not self.status:
            return self.status
        return WAITING if self.board.resting else self.status

    @property
    def is_let_go(self) -> bool:
        """True once another process, or a later one, is to go on with it."""
        return isinstance(self.why, LetGo)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The addresses of the signals that it waits for."""
        return self.board.waiting

    @property
    def seconds(self) -> float:
        """Since the request for it."""
        return time.perf_counter() - self.started

    def enter(self) -> bool:
        """A thread begins with it. False if it was withdrawn just now."""
        try:
            self._ticket.pop()
        except IndexError:
            return False
        return True

    def withdraw(self, let_go: bool = False) -> bool:
        """End the run if it still waits for a place or for a thread; tell whether it does.

        :param let_go: as of :meth:`cancel`.
        """
        if self.task is None or not (self.status == QUEUED or self.enter()):
            return False
        self.cancelled = self.cancelled or not let_go
        self.task.cancel()
        return True

    def before_call(self, _: Any) -> None:
        """End the run before its next call, if that is asked for: the hook of runs in threads."""
        if self.asked is not None:
            raise self.asked

    def cancel(self, let_go: bool = False) -> None:
        """End the run early, with its cleanup.

        :param let_go: it is not cancelled: another process goes on with it. Only for runs with a store.
        """
        self.cancelled = self.cancelled or not let_go
        self.board.lets_go = not self.cancelled
        if self.withdraw(let_go):
            return
        if self.handle is not None and not let_go:
            self.handle.cancel()
        elif self.handle is not None and self.task is not None:
            if not self.task.cancelling():  # a second time would keep its end from letting go of it in the store
                self.task.cancel()
        else:
            self.asked = LetGo() if let_go else CancelAsked()


__all__ = ["LetGo", "Live", "Piece"]
