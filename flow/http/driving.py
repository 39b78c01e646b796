"""Drives runs in the background of requests: :class:`Drives`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from flow.errors import (
    ConfigError,
    DagChanged,
    DamagedRow,
    Fenced,
    InputError,
    NotStorable,
    RunConflict,
    RunError,
    RunOwned,
    StoreError,
    UnknownRun,
    UsageError,
)
from flow.http.answers import CANCELLED, RUNNING, Answer, encoded_answer
from flow.http.ended import CODES, broken, codes_of, said, was_cancelled
from flow.http.live import LetGo, Live
from flow.http.logged import FAILURES
from flow.http.memory import Runs
from flow.http.places import Places
from flow.http.problems import Problem, message_of
from flow.http.spent import packed
from flow.http.threads import Threads
from flow.http.workflow import Workflow, part_answered
from flow.logs import log_broken
from flow.run.api import run as run_plan
from flow.run.handle import start

if TYPE_CHECKING:
    from flow.metrics.counts import Counts
    from flow.run.journal import OnConflict
    from flow.run.result import Result
    from flow.store import Store

ENDING: Final = 5.0
"""Seconds that runs have once they are cancelled at the end of the service: for their cleanup, and for what is being
called. Then they are left behind: a thread that never returns keeps no process from ending."""

_ASKING: Final = 4
"""Threads in which runs on the event loop ask their store: at their beginning and at their end."""

_ABOUT_ONE: Final = (RunConflict, RunOwned, DagChanged, UnknownRun, NotStorable, DamagedRow, Fenced)
"""Errors of a store that are about one run: others can be stored."""

_OF_THE_REQUEST: Final = (RunConflict, RunOwned, DagChanged, UnknownRun, InputError, UsageError, ConfigError)
"""What keeps a run from its beginning and is told to who asked for it, who can mend it. All else is logged."""


class Drives:
    """Starts runs, drives them to their ends, and says how they ended.

    All methods are for the thread of the event loop.

    :ivar store_errors: how often the store could not be used. :ivar store_fault: why, if it was so the last time.
    """

    __slots__ = (
        "_asks", "_counts", "_ends", "_hopeless", "_tasks", "places", "runs", "store", "store_errors", "store_fault",
        "threads",
    )  # fmt: skip

    def __init__(self, runs: Runs, places: Places, threads: Threads, store: Store | None, counts: Counts) -> None:
        self.runs = runs
        self.places = places
        self.threads = threads
        self.store = store
        self._counts = counts
        self._asks = Threads(_ASKING)
        self._tasks: set[asyncio.Task[None]] = set()
        self._hopeless: set[str] = set()  # stored runs that cannot go on here
        self._ends = False
        self.store_errors = 0
        self.store_fault = ""

    def start(
        self, workflow: Workflow, inputs: Mapping[str, Any] | None, targets: tuple[str, ...] | None, run_id: str,
        digest: int, on_conflict: OnConflict | None = None,
    ) -> Live:  # fmt: skip
        """Begin a run in the background. :raises Problem: 503 if there are too many.

        :param inputs: None takes those that are stored. :param on_conflict: as :func:`flow.run`, of a run with a store.
        """
        self.runs.check()
        self.places.check()
        self._hopeless.discard(run_id)
        live = Live(run_id, workflow, targets, digest, self._rests)
        self.runs.begin(live)
        live.task = asyncio.get_running_loop().create_task(self._drive(live, inputs, on_conflict))
        self._tasks.add(live.task)
        live.task.add_done_callback(partial(self._over, live))
        return live

    def _over(self, live: Live, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not live.has_ended:  # it was cancelled before its first step
            self._left_queue(live)

    def recover(self, found: Iterable[tuple[Workflow, str]]) -> None:
        """Go on with stored runs that nobody drives, as far as there are places for them.

        One that cannot go on, as inputs are missing or its Dag has changed, is told of once, and then left alone.
        """
        free = self.places.free
        for workflow, run_id in found:
            if free <= 0 or self._ends or self.runs.is_full:
                return
            if run_id not in self.runs.live and run_id not in self._hopeless:
                free -= 1
                live = self.start(workflow, None, None, run_id, 0)
                live.done.add_done_callback(partial(self._note_recovery, live))

    def _note_recovery(self, live: Live, _: object) -> None:
        error = live.why
        if error is None or isinstance(error, (LetGo, RunOwned)):
            return
        if isinstance(error, _OF_THE_REQUEST):  # which nobody has made: nobody else is told
            log_broken("run %r in the store cannot go on", live.id, error=error, run=live.id)
        if type(error) is not StoreError:  # else it may work the next time
            self._hopeless.add(live.id)

    async def _drive(self, live: Live, inputs: Mapping[str, Any] | None, on_conflict: OnConflict | None) -> None:
        try:
            await self.places.enter()
        except asyncio.CancelledError:
            self._left_queue(live)
            return
        live.status, live.has_place = RUNNING, True
        durable: dict[str, Any] = {} if self.store is None else {"store": self.store, "on_conflict": on_conflict}
        try:
            if live.workflow.is_sync:
                result = await self._in_thread(live, inputs, durable)
            else:
                result = await self._on_loop(live, inputs, durable)
            self._counts.ended(result)
            self.store_fault = ""
            names = part_answered(live.workflow, live.targets)
            answer, data = said(live.workflow, result, live.id, names, was_cancelled(live, result))
            self._end(live, answer, data, codes_of(result, live.workflow))
        except LetGo:
            self._let_go(live)
        except asyncio.CancelledError as error:
            if live.task is not None and live.task.cancelling():
                self._let_go(live) if live.begun.done() else self._left_queue(live)
            else:  # a node has raised it
                self._broken(live, error)
        except BaseException as error:
            self._broken(live, error)
        finally:
            if live.has_place:
                live.has_place = False
                self.places.leave()

    def turn_away(self, live: Live, problem: Problem) -> bool:
        """Take a run that still waits for a place or a thread out of the queue; tell whether it does. O(queue).

        :param problem: is told to all who have asked for the run.
        """
        if not live.withdraw(let_go=True):
            return False
        self.runs.drop(live)
        live.refuse(problem)
        return True

    def _left_queue(self, live: Live) -> None:
        """It has ended before it has begun."""
        if live.has_ended:  # it was turned away
            return
        if live.cancelled:
            self._end(live, Answer(live.id, CANCELLED, {}, {}, {}, 0.0, "it was cancelled before it began"))
        else:
            self.runs.drop(live)
            live.refuse(LetGo())

    async def _in_thread(self, live: Live, inputs: Mapping[str, Any] | None, durable: dict[str, Any]) -> Result:
        workflow = live.workflow
        config = workflow.live(live.board, live.before_call)

        def run() -> Result:
            if not live.enter():
                raise LetGo
            try:
                return run_plan(workflow.plan, inputs, targets=live.targets, config=config, run_id=live.id, **durable)
            except RunError as error:
                found: Result = error.result
                return found

        live.wait_for_thread()
        result = await self.threads.call(run)
        workflow.pace.took(result.wall_time)
        return result

    async def _on_loop(self, live: Live, inputs: Mapping[str, Any] | None, durable: dict[str, Any]) -> Result:
        workflow = live.workflow
        config = workflow.live(live.board, None)
        run = start(workflow.plan, inputs, targets=live.targets, config=config, run_id=live.id, **durable)
        run._outlives_exits = True
        if self.store is not None:
            run._elsewhere = self._asks.call
        async with run:
            live.handle = run
            if live.asked is not None:  # meanwhile
                live.cancel(let_go=isinstance(live.asked, LetGo))
            try:
                result = await run.result()
            except RunError as error:
                result = error.result
        if config.executor == "thread" or workflow.pace.quick:
            workflow.pace.took(live.board.longest)
        return result

    # -- ends --------------------------------------------------------------------------------

    def _end(self, live: Live, answer: Answer, data: bytes = b"", codes: bytes | None = None) -> None:
        if live.has_ended:  # it was left behind
            return
        data = data or encoded_answer(answer)
        known = live.board.statuses() if codes is None else None
        statuses = bytes([CODES[one] for one in known]) if known is not None else codes or b""
        usage = packed(live.board.usage())
        self.runs.end(live.id, live.workflow, answer.status, live.created, live.digest, statuses, data, usage)
        live.end(answer.status, data)

    def _broken(self, live: Live, error: BaseException) -> None:
        """Something else than a node has ended the run, or kept it from its beginning."""
        if live.has_ended:
            return
        if isinstance(error, StoreError) and not isinstance(error, _ABOUT_ONE):
            self.store_errors += 1
            self.store_fault = message_of(error)
        if not live.begun.done() or isinstance(error, StoreError):  # (what is stored goes on once the store works)
            if not isinstance(error, _OF_THE_REQUEST):
                what = "stopped" if live.begun.done() else "could not begin"
                FAILURES.broken(live.workflow, live.id, error, what)
            self.runs.drop(live)
            live.refuse(error)
            return
        self._end(live, *broken(live.workflow, live.id, error, self.store))

    def _let_go(self, live: Live) -> None:
        """Another process, or a later one, goes on with the run. (Without a store nobody can.)"""
        if live.has_ended:
            return
        if self.store is None:
            self._end(live, Answer(live.id, CANCELLED, {}, {}, live.board.counts(), round(live.seconds, 6)))
            return
        self.runs.drop(live)
        live.refuse(LetGo())

    def _rests(self, live: Live, resting: bool) -> None:
        """A run that only waits needs no place. (It may have ended since it said so.)"""
        if live.has_ended or resting is not live.has_place:
            return
        live.has_place = not resting
        if resting:
            self.places.leave()
            if self._ends and self.store is not None:
                live.cancel(let_go=True)
        else:
            self.places.return_from_rest()

    async def end_all(self, grace: float) -> None:
        """Give the runs ``grace`` seconds, then cancel them; with a store, let go of them. All have ended then.

        With a store, those that only wait for something are let go of at once. What has not ended :data:`ENDING`
        seconds after its cancellation is left behind.
        """
        self._ends, durable = True, self.store is not None
        for live in list(self.runs.live.values()):
            if durable and live.board.resting:
                live.cancel(let_go=True)
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=grace)
        for live in list(self.runs.live.values()):
            live.cancel(let_go=durable)
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=ENDING)
        for live in list(self.runs.live.values()):
            text = "run %r has not ended %g s after its cancellation: the service ends without it"
            log_broken(text, live.id, ENDING, error=False, run=live.id)
            if live.task is not None:
                live.task.cancel()
            self._let_go(live)
        self._asks.close()
        FAILURES.tell_rest()


__all__ = ["Drives"]
