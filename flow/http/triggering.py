"""A request for a run: :class:`Trigger`. The way of most requests, so it is the shortest one."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from hashlib import blake2b
from itertools import islice
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import msgspec

from flow.errors import (
    MAX_FAULTS_SHOWN,
    ConfigError,
    DagChanged,
    FlowError,
    Hints,
    InputError,
    RunConflict,
    RunOwned,
    StoreError,
    UnknownRun,
    UsageError,
    nearest,
    shown,
)
from flow.http.answers import QUEUED, RUNNING, WAITING, Answer, encoded_answer
from flow.http.driving import Drives
from flow.http.live import LetGo, Live
from flow.http.places import RETRY_AFTER
from flow.http.problems import Fault, Problem, message_of, without_paths
from flow.http.quick import call
from flow.http.replies import Reply, location_of
from flow.http.stored import check_inputs
from flow.http.values import pointer
from flow.http.workflow import Workflow
from flow.store.ids import new_id
from flow.types import NAME_RULE, is_name

_ASKED: Final = ("inputs", "run_id", "targets")
_NUMBER: Final = re.compile(rb"\d{1,9}(?:\.\d{1,9})?")
_WAIT: Final = re.compile(rb"(?<![\w-])wait ?= ?\"?(\d{1,9}(?:\.\d{1,9})?)(?![\w.])")
_QUERY: Final = ("wait",)
_MAX_KEY: Final = 255
_FREE: Final = 0.1
"""Seconds that the answer to a request that does not wait is held back: its run may not begin, as threads are busy."""

_LET_GO: Final = "the service is shutting down: the run goes on at its next start"

DERIVED: Final = "key:"
"""What the ids of runs begin with that an Idempotency-Key names."""

_ID: Final = Fault("/run_id", NAME_RULE)
_DERIVED_ID: Final = Fault("/run_id", f"ids that begin with {DERIVED!r} are those of runs of an Idempotency-Key")


class Asked(msgspec.Struct, frozen=True):
    """What a request asks for. :ivar digest: of the inputs and targets, if somebody may ask for the same again."""

    inputs: dict[str, Any]
    targets: tuple[str, ...] | None
    run_id: str
    digest: int
    idempotent: bool
    wait: float


class Trigger:
    """Answers requests for runs.

    :param most: seconds that a request waits for the end of its run. :param root: the path under which runs are.
    :param recall: lets a run know what only its store knows of it.
    """

    __slots__ = ("_drives", "_most", "_recall", "_stores")

    def __init__(self, drives: Drives, most: float, recall: Callable[[Live], Awaitable[None]]) -> None:
        self._drives = drives
        self._recall = recall
        self._most = most
        self._stores = drives.store is not None

    async def run(
        self, workflow: Workflow, body: Any, headers: Mapping[bytes, bytes], query: bytes, caller: str, root: str
    ) -> Reply:
        """Run a workflow as a body of JSON asks for it, and answer.

        :param root: the path before ``/api``. :raises Problem: if it is refused; nothing has run then.
        """
        drives = self._drives
        if not query and self.calls(workflow, headers):
            reply = self.now(workflow, body)
            if reply is not None:
                return reply
        asked = self._asked(workflow, body, headers, query, caller)
        if not asked.run_id:
            if asked.targets is None and self.calls(workflow, headers):
                return Reply(200, call(drives.runs, workflow, asked.inputs, new_id(time.time())))
            live = drives.start(workflow, asked.inputs, asked.targets, new_id(time.time()), 0)
        else:
            found = await self._known(workflow, asked, root)
            if isinstance(found, Reply):
                return found
            live = found or drives.start(workflow, asked.inputs, asked.targets, asked.run_id, asked.digest)
        return await self.answer(live, asked.wait, root, asked.idempotent)

    def now(self, workflow: Workflow, body: Any) -> Reply | None:
        """Run a workflow here and now, and answer; None if the body asks for more than a run of these inputs.

        :raises Problem: if the inputs do not fit.
        """
        if type(body) is not dict or len(body) != 1 or "inputs" not in body:
            return None
        inputs = workflow.inputs.read(body["inputs"])
        return Reply(200, call(self._drives.runs, workflow, inputs, new_id(time.time())))

    def calls(self, workflow: Workflow, headers: Mapping[bytes, bytes]) -> bool:
        """Tell whether a run that nobody has named is called here and now."""
        quick = workflow.pace.quick and workflow.is_sync and not self._stores
        return quick and b"idempotency-key" not in headers

    def _asked(self, workflow: Workflow, body: Any, headers: Mapping[bytes, bytes], query: bytes, caller: str) -> Asked:
        if type(body) is not dict:
            raise Problem(422, faults=[Fault("", 'the body is an object: {"inputs": {...}}')])
        hints = Hints()
        others = (name for name in body if name not in _ASKED)
        faults = [
            Fault(pointer(one), f"a request has no {shown(one)}{hints.nearest(one, _ASKED) or _form(one, workflow)}")
            for one in islice(others, MAX_FAULTS_SHOWN)
        ]
        run_id, targets = body.get("run_id"), body.get("targets")
        if run_id is not None and not is_name(run_id):
            raise Problem(400, faults=[_ID])
        if run_id is not None and run_id.startswith(DERIVED):
            raise Problem(400, faults=[_DERIVED_ID])
        if targets is not None:
            faults += self._faults_of_targets(workflow, targets, hints)
            targets = tuple(dict.fromkeys(targets)) if isinstance(targets, list) and not faults else None
        try:
            inputs = workflow.inputs.read(body.get("inputs", {}))
        except Problem as problem:
            raise Problem(422, problem.title, faults=[*faults, *problem.faults]) from None
        if faults:
            raise Problem(422, faults=faults)
        key = headers.get(b"idempotency-key")
        if key is not None:
            run_id = self._id_of(key, caller, run_id)
        digest = 0 if run_id is None else _digest(workflow, body)
        return Asked(inputs, targets, run_id or "", digest, key is not None, self._wait(headers, query))

    def _faults_of_targets(self, workflow: Workflow, targets: Any, hints: Hints) -> list[Fault]:
        if not isinstance(targets, list) or not all(isinstance(name, str) for name in targets) or not targets:
            return [Fault("/targets", "targets are a list of names of nodes")]
        if self._stores:
            return [Fault("/targets", "a service with a store runs whole workflows: what it goes on with after a "
                          "restart would be more than the targets")]  # fmt: skip
        plan = workflow.plan
        unknown = ((i, name) for i, name in enumerate(targets) if name not in plan)
        return [
            Fault(pointer("targets", str(i)), f"there is no node {shown(name)}{hints.nearest(name, plan.names)}")
            for i, name in islice(unknown, MAX_FAULTS_SHOWN)
        ]

    def _id_of(self, key: bytes, caller: str, run_id: str | None) -> str:
        if run_id is not None:
            raise Problem(400, detail="give either a run_id or an Idempotency-Key: both name the run")
        if not key or len(key) > _MAX_KEY or not key.isascii():
            raise Problem(400, detail=f"Idempotency-Key is up to {_MAX_KEY} characters of ASCII")
        return DERIVED + blake2b(b"%s\0%s" % (caller.encode(), key), digest_size=16).hexdigest()

    def _wait(self, headers: Mapping[bytes, bytes], query: bytes) -> float:
        """Return how long the request waits: ``?wait=5``, ``Prefer: wait=5`` or ``Prefer: respond-async``.

        ``Prefer: respond-async, wait=5`` waits for 5 seconds, and is answered 202 then (RFC 7240, 4.3).
        """
        parts = [part.partition(b"=") for part in query.split(b"&") if part]
        others = list(dict.fromkeys([name for name, _, _ in parts if name != b"wait"]))
        if others:
            raise Problem(400, faults=[_unknown_parameter(name) for name in others[:MAX_FAULTS_SHOWN]])
        if parts:
            value = parts[0][2]
            if not _NUMBER.fullmatch(value):
                raise Problem(400, detail="wait is a number of seconds: ?wait=5")
            return min(float(value), self._most)
        prefer = headers.get(b"prefer")
        if prefer is not None:
            prefer = prefer.lower()
            found = _WAIT.search(prefer)
            if found is not None:
                return min(float(found[1]), self._most)
            if b"respond-async" in prefer:
                return 0.0
        return self._most

    async def _known(self, workflow: Workflow, asked: Asked, root: str) -> Live | Reply | None:
        """Return the run that a request asks for again; None if there is none in this process."""
        runs = self._drives.runs
        live = runs.live.get(asked.run_id)
        if live is not None:
            if self._stores and live.workflow is workflow and not live.digest:
                await self._check_stored(live, asked)
            elif live.workflow is not workflow or live.digest != asked.digest:
                what = "inputs" if live.targets == asked.targets else "targets"
                raise _conflict(asked.idempotent, live.id, live.workflow.name, workflow.name, what)
            if asked.idempotent and not live.has_ended:
                raise _goes_on(live.id, root)
            return live
        ended = runs.ended(asked.run_id)
        if ended is None:
            return None
        if ended.workflow is not workflow or ended.digest != asked.digest:
            raise _conflict(asked.idempotent, asked.run_id, ended.workflow.name, workflow.name, "inputs or targets")
        return Reply(200, ended.answer)

    async def _check_stored(self, live: Live, asked: Asked) -> None:
        """A run that was begun before goes on here: it is asked for again if it was given the same."""
        store = self._drives.store
        try:
            if store is not None:
                await asyncio.to_thread(check_inputs, store, live.workflow, live.id, asked.inputs)
        except StoreError as error:
            if not isinstance(error, RunConflict):
                raise problem_of(error, live.id) from None
            raise _conflict(asked.idempotent, live.id, live.workflow.name, live.workflow.name) from None

    async def _conflict_in_store(self, live: Live, idempotent: bool) -> Problem:
        """Say what the run is that a store has under this id."""
        store = self._drives.store
        try:
            row = None if store is None else await asyncio.to_thread(store.backend.row, live.id)
        except StoreError as error:
            return problem_of(error, live.id)
        mine = live.workflow.name
        theirs = mine if row is None or row.dag == live.workflow.plan.name else self._drives.runs.name_of(row.dag)
        return _conflict(idempotent, live.id, theirs, mine)

    async def answer(self, live: Live, wait: float, root: str, idempotent: bool = False) -> Reply:
        """Wait for a run, and answer. :raises Problem: if it has not begun, or cannot."""
        if wait > 0:
            await asyncio.wait((live.done,), timeout=wait)
        if not live.begun.done():
            await asyncio.sleep(0)  # its task has asked for a place then
            if live.status == QUEUED and not self._stores:  # it is known by its id, and no store has to have it
                return self._told(live, root)
            await asyncio.wait((live.begun,), timeout=self._most - wait if self._stores else _FREE)
            if not live.begun.done() and self._stores and not self._drives.turn_away(live, _busy(self._most)):
                await asyncio.wait((live.begun,))  # its store is being asked, which does not take long
            if not live.begun.done():
                return self._told(live, root)
        error = live.begun.exception() or (live.why if isinstance(live.why, StoreError) else None)
        if isinstance(error, RunConflict):
            raise await self._conflict_in_store(live, idempotent)
        if isinstance(error, RunOwned) and idempotent:
            raise _goes_on(live.id, root)
        if error is not None:
            raise problem_of(error, live.id, idempotent)
        if not live.answer and live.board.waiting:
            await self._recall(live)  # what it asked before, in another process
        if live.answer:
            return Reply(200, live.answer)
        return self._told(live, root)

    def _told(self, live: Live, root: str) -> Reply:
        board, detail, asked = live.board, _LET_GO if live.is_let_go else "", live.board.asked()
        status, seconds = live.state or (WAITING if board.resting else RUNNING), round(live.seconds, 6)
        told = Answer(live.id, status, {}, {}, board.counts(), seconds, detail, asked.waiting, asked.questions)
        return Reply(202, encoded_answer(told), headers=[location_of(root, live.id)])


def _digest(workflow: Workflow, body: dict[str, Any]) -> int:
    given = msgspec.json.encode([workflow.name, body.get("inputs") or {}, body.get("targets")], order="sorted")
    return int.from_bytes(blake2b(given, digest_size=8).digest(), "little")


def _form(name: str, workflow: Workflow) -> str:
    if name in workflow.inputs.all:
        return f': inputs are given as {{"inputs": {{"{name}": ...}}}}'
    return f": it has {', '.join(_ASKED)}"


def _unknown_parameter(name: bytes) -> Fault:
    text = unquote_to_bytes(name).decode("utf-8", "replace")
    return Fault("", f"there is no parameter {shown(text)}{nearest(text, _QUERY) or f': {_QUERY[0]}'}")


def _conflict(idempotent: bool, run_id: str, theirs: str, mine: str, what: str = "inputs") -> Problem:
    """Return what is wrong with a request for a run that there is.

    :param theirs: the workflow of the run. :param mine: the one that is asked for. :param what: differs, if it is one.
    """
    if idempotent:
        return Problem(422, detail="this Idempotency-Key was used with another request")
    if theirs != mine:
        detail = f"run {shown(run_id)} is one of workflow {shown(theirs)}, not of {shown(mine)}"
    else:
        detail = f"run {shown(run_id)} was given other {what}"
    return Problem(409, detail=f"{detail}: give another run_id")


def _busy(seconds: float) -> Problem:
    """Return what is said of a run that a store was to have and that no place came free for."""
    detail = f"the run has waited {seconds:g} s for a place and is not begun: come again later"
    return Problem(503, "Too many runs", detail, headers=[(b"retry-after", RETRY_AFTER)])


def _goes_on(run_id: str, root: str) -> Problem:
    detail = "the run of this Idempotency-Key goes on: its Location says how"
    return Problem(409, detail=detail, headers=[location_of(root, run_id)])


def problem_of(error: BaseException, run_id: str, idempotent: bool = False) -> Problem:
    """Return what keeps a run from its beginning as a problem."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, InputError):
        faults = [Fault("/inputs", without_paths(_INPUT.sub("", fault))) for fault in error.faults]
        return Problem(422, "The inputs do not fit the workflow", faults=faults)
    if isinstance(error, RunConflict):
        if idempotent:
            return _conflict(idempotent, run_id, "", "")
        return Problem(409, detail=f"there is a run {shown(run_id)} of another workflow, or of other inputs")
    if isinstance(error, RunOwned):
        return Problem(409, detail=f"run {shown(run_id)} goes on in another process")
    if isinstance(error, DagChanged):
        return Problem(409, detail=without_paths(str(error)))
    if isinstance(error, UnknownRun):
        return Problem(404, detail=f"there is no run {shown(run_id)}")
    if isinstance(error, LetGo):
        return Problem(503, detail="the service is shutting down", headers=[(b"retry-after", b"1")])
    if isinstance(error, StoreError):
        return Problem(503, "The store does not work", message_of(error))
    if isinstance(error, (UsageError, ConfigError)):
        return Problem(422, detail=message_of(error))
    if isinstance(error, FlowError):
        return Problem(500, detail=message_of(error))
    return Problem(500, detail=f"the run could not begin: {type(error).__name__}")


_INPUT: Final = re.compile(r" \([^()]*:\d+\)")
"""The place of a function in a message."""

__all__ = ["Asked", "Trigger", "problem_of"]
