"""Looks at runs, and acts on them: :class:`Desk`, whether a store has them or memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from flow.errors import SignalError, StoreError, shown
from flow.http.answers import CANCELLED, COMPLETED, ENDED, RUNNING, Answer, NodeError, encoded_answer
from flow.http.board import NodeState
from flow.http.driving import Drives
from flow.http.live import Live
from flow.http.memory import Ended, Row
from flow.http.problems import Problem, message_of
from flow.http.spent import RunUsage, run_usage
from flow.http.stored import StoredRuns, payload_of
from flow.types import NAME_RULE, is_name

if TYPE_CHECKING:
    from flow.http.stored import Seen
    from flow.http.workflow import Workflow

_REASONS = {"unknown": 404, "invalid": 422, "sent": 409, "ended": 409}


class View(msgspec.Struct, omit_defaults=True):
    """One run, as it is looked at: its answer, and what is known beside that. Times are Unix times.

    :ivar usage: what calls of language models took; None if no node has reported any.
    :ivar questions: by address that is waited for, what is asked there; left out where nothing is.
    """

    id: str
    workflow: str
    status: str
    created: float
    outputs: msgspec.Raw
    errors: dict[str, NodeError]
    counts: dict[str, int]
    seconds: float
    nodes: list[NodeState]
    ended: float | None = None
    detail: str = ""
    waiting: tuple[str, ...] = ()
    usage: RunUsage | None = None
    questions: dict[str, Any] = {}


class _Parts(msgspec.Struct):
    """An answer, taken apart. Its outputs stay as they are."""

    id: str
    status: str
    outputs: msgspec.Raw
    errors: dict[str, NodeError]
    counts: dict[str, int]
    seconds: float
    detail: str = ""
    waiting: tuple[str, ...] = ()


_PARTS = msgspec.json.Decoder(_Parts).decode


class Desk:
    """What can be asked about runs, and done to them.

    :param stored: the runs of a store; None without one.
    """

    __slots__ = ("_drives", "_workflows", "stored")

    def __init__(self, drives: Drives, stored: StoredRuns | None, workflows: Mapping[str, Workflow]) -> None:
        self._drives = drives
        self._workflows = workflows
        self.stored = stored

    def live(self, run_id: str) -> Live | None:
        """Return a run that goes on in this process. :raises Problem: 400 for what is no id."""
        if not is_name(run_id):
            raise Problem(400, detail=f"{shown(run_id)} is no id of a run: {NAME_RULE}")
        return self._drives.runs.live.get(run_id)

    async def view(self, run_id: str) -> View:
        """Return one run. :raises Problem: 404 if there is none."""
        live = self.live(run_id)
        if live is not None and self.stored is not None:
            await self._recall(live, self.stored)
            live = self.live(run_id)  # it may have ended meanwhile
        if live is not None:
            return _of_live(live)
        if self.stored is not None:
            seen = await self.stored.seen(run_id)
            if seen is not None:
                return of_stored(seen)
        else:
            ended = self._drives.runs.ended(run_id)
            if ended is not None:
                return _of_ended(ended)
        raise _unknown(run_id)

    async def recall(self, live: Live) -> None:
        """Let a run that goes on here know what only its store knows of it, if there is one."""
        if self.stored is not None:
            await self._recall(live, self.stored)

    async def _recall(self, live: Live, stored: StoredRuns) -> None:
        """Ask the store, once, what only it knows of a run that goes on here: its age, and what had ended before."""
        asks = live.board.asks_store
        if (live.stored_at is not None and not asks) or self._drives.store_fault:
            return
        try:
            if asks:
                seen = await stored.seen(live.id)
            else:
                row = await stored.row(live.id)
                live.stored_at = None if row is None else row.created
                seen = None
                if row is not None and row.created < live.created:  # another process, or an earlier try, began it
                    seen = await stored.seen(live.id)
            if seen is not None:
                live.stored_at = seen.created
                live.board.recall(seen.nodes, seen.usage(live.created), seen.asked())
        except StoreError:  # it goes on all the same, and its store is asked again
            return

    async def rows(
        self, statuses: Collection[str], workflow: str | None, limit: int, before: tuple[float, str] | None
    ) -> Sequence[Row]:
        """Return the latest runs. :raises Problem: 404 for a workflow that there is not."""
        if workflow is not None and workflow not in self._workflows:
            raise Problem(404, detail=f"there is no workflow {shown(workflow)}")
        if self.stored is not None:
            live = {run_id: one.state for run_id, one in self._drives.runs.live.items()}
            return await self.stored.rows(statuses, workflow, limit, before, live)
        return self._drives.runs.rows(statuses, workflow, limit, before)

    async def cancel(self, run_id: str) -> str:
        """End a run early, and return its status. :raises Problem: 404, 409 if it has ended."""
        live = self.live(run_id)
        if live is not None:
            if live.withdraw():
                await asyncio.wait((live.done,))
                return live.state or CANCELLED
            if self.stored is None or live.handle is not None:
                if self.stored is not None:
                    await asyncio.wait((live.begun,))
                    await self.stored.cancel(run_id)  # so that it is not lost where the store breaks meanwhile
                live.cancel()
                return live.state or CANCELLED
            await asyncio.wait((live.begun,))  # what drives it in a thread asks the store, which knows it by then
        if self.stored is not None:
            row = await self.stored.row(run_id)
            if row is None:
                raise _unknown(run_id)
            if row.status in ENDED:
                raise _has_ended(run_id, row.status)
            return await self.stored.cancel(run_id)
        ended = self._drives.runs.ended(run_id)
        if ended is None:
            raise _unknown(run_id)
        raise _has_ended(run_id, ended.status)

    async def retry(self, run_id: str) -> Live:
        """Let what failed in a run, or was cancelled, run again. :raises Problem: if that cannot be."""
        live = self.live(run_id)
        if live is not None:
            raise Problem(409, detail=f"run {shown(run_id)} goes on: retry it once it has ended")
        if self.stored is None:
            if self._drives.runs.ended(run_id) is None:
                raise _unknown(run_id)
            raise Problem(409, detail="only runs of a service with a store can be retried: start it with --store")
        row = await self.stored.row(run_id)
        if row is None:
            raise _unknown(run_id)
        if row.status not in ENDED:
            raise Problem(409, detail=f"run {shown(run_id)} has not ended")
        if row.status == COMPLETED:
            raise Problem(409, detail="it has completed: there is nothing to run again")
        if self.live(run_id) is not None:  # meanwhile
            raise Problem(409, detail=f"run {shown(run_id)} goes on: retry it once it has ended")
        workflow = next(one for one in self._workflows.values() if one.plan.name == row.dag)
        return self._drives.start(workflow, None, None, run_id, 0, on_conflict="retry")

    async def signal(self, run_id: str, address: str, payload: Any) -> None:
        """Send something to a signal of a run. :raises Problem: 404, 409 or 422 if the run does not take it."""
        live = self.live(run_id)
        try:
            if live is not None and live.handle is not None:
                live.handle.send(address, payload_of(live.workflow, address, payload))
                return
            if self.stored is None:
                ended = self._drives.runs.ended(run_id)
                if live is None and ended is None:
                    raise _unknown(run_id)
                status = RUNNING if ended is None else ended.status
                raise Problem(409, detail=f"run {shown(run_id)} takes no signal: it is {status}")
            row = await self.stored.row(run_id)
            if row is not None:
                await self.stored.send(row, address, payload)
                return
            if live is None:
                raise _unknown(run_id)
            raise Problem(409, detail=f"run {shown(run_id)} takes no signal: it has not begun")
        except SignalError as error:
            raise Problem(_REASONS.get(error.reason, 409), detail=message_of(error)) from None


def _of_live(live: Live) -> View:
    asked, board, created = live.board.asked(), live.board, live.created if live.stored_at is None else live.stored_at
    nodes = [state for _, state in board.since(0)]
    errors = {node.node: node.error for node in nodes if node.error is not None and node.status == "failed"}
    return View(
        live.id, live.workflow.name, live.state or RUNNING, created, msgspec.Raw(b"{}"), errors, board.counts(),
        round(live.seconds, 6), _all_nodes(live.workflow, {node.node: node for node in nodes}), waiting=asked.waiting,
        usage=run_usage(board.usage()), questions=asked.questions,
    )  # fmt: skip


def _all_nodes(workflow: Workflow, known: Mapping[str, NodeState]) -> list[NodeState]:
    return [known.get(name) or NodeState(name, "pending") for name in workflow.plan.names]


def _of_ended(ended: Ended) -> View:
    parts = _PARTS(ended.answer)
    nodes = [
        NodeState(name, status, error=parts.errors.get(name))
        for name, status in zip(ended.workflow.plan.names, ended.statuses, strict=False)
    ]
    return View(
        parts.id, ended.workflow.name, parts.status, ended.created, parts.outputs, parts.errors, parts.counts,
        parts.seconds, nodes, ended.at, parts.detail, usage=ended.usage,
    )  # fmt: skip


def of_stored(seen: Seen) -> View:
    """Return a stored run as it is looked at."""
    answer: Answer = seen.answer
    parts = _PARTS(encoded_answer(answer))
    return View(
        parts.id, seen.workflow, parts.status, seen.created, parts.outputs, parts.errors, parts.counts, parts.seconds,
        seen.nodes, seen.ended, parts.detail, parts.waiting, run_usage(seen.usage()),
        seen.questions(),
    )  # fmt: skip


def _unknown(run_id: str) -> Problem:
    return Problem(404, detail=f"there is no run {shown(run_id)}")


def _has_ended(run_id: str, status: str) -> Problem:
    return Problem(409, detail=f"run {shown(run_id)} has ended: {status}")


__all__ = ["Desk", "View", "of_stored"]
