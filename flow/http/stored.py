"""Runs in a store, whichever process drives them: :class:`StoredRuns`."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from math import inf
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec

from flow.errors import RunConflict, SignalError, UnknownRun, shown
from flow.http.answers import ENDED, FAILED, Answer, NodeError
from flow.http.board import NodeState
from flow.http.memory import Row
from flow.http.problems import Fault, Problem, message_of, without_paths
from flow.http.values import converted, pointer
from flow.metrics.usage import Sums, sums_of
from flow.plan.declared import checked, type_text
from flow.run.questions import QUESTION, questions_of
from flow.store.backend import RUNNING, WAITING, Change
from flow.store.inputs import merged
from flow.store.owner import is_driven, this_process
from flow.store.story import story_of, value_of
from flow.store.writing import LEASE
from flow.usage import KIND

if TYPE_CHECKING:
    from flow.data.reports import Report
    from flow.http.threads import Threads
    from flow.http.workflow import Workflow
    from flow.store import RunRow, Store
    from flow.store.story import Node

T = TypeVar("T")
_PAGE: Final = 200
_NONE: Final[Mapping[str, str]] = {}
_MAX_ERROR: Final = 500


class Seen(msgspec.Struct):
    """A stored run: its answer, and its nodes. :ivar reports: what nodes have reported: questions, and of models."""

    workflow: str
    created: float
    ended: float | None
    answer: Answer
    nodes: list[NodeState]
    reports: list[Report]

    def usage(self, before: float = inf) -> Sums:
        """Return what calls of language models took, by node. O(reports). :param before: until when, a Unix time."""
        return sums_of(report for report in self.reports if report.at < before and report.kind == KIND)

    def asked(self) -> list[Any]:
        """Return what nodes have asked of persons. O(reports)."""
        return [report.value for report in self.reports if report.kind == QUESTION]

    def questions(self) -> dict[str, Any]:
        """Return what is asked now, by address. O(reports)."""
        return questions_of(self.asked(), self.answer.waiting)


class StoredRuns:
    """Looks at the runs of a store, and sends them what is sent to them. All of it is done in threads.

    :param workflows: by name; runs of other workflows are not shown.
    """

    __slots__ = ("_call", "_workflows", "store")

    def __init__(self, store: Store, workflows: Mapping[str, Workflow], threads: Threads) -> None:
        self.store = store
        self._workflows = {workflow.plan.name: workflow for workflow in workflows.values()}
        self._call = threads.call

    async def seen(self, run_id: str) -> Seen | None:
        """Return a run; None if there is none of this id, or it is of another workflow. O(records)."""
        return await self._call(lambda: self._seen(run_id))

    def _seen(self, run_id: str) -> Seen | None:
        try:
            stored = self.store.load(run_id)
        except UnknownRun:
            return None
        row = stored.row
        workflow = self._workflows.get(row.dag)
        if workflow is None:
            return None
        story = story_of(self.store, stored)
        found = {node.name: node for node in story.nodes if not node.path and node.item is None}
        nodes = [found.pop(name) for name in workflow.plan.names if name in found] + [*found.values()]
        waits = tuple([w.address for w in story.waits if not w.sent and workflow.signals.find(w.address) is not None])
        answer = Answer(
            run_id, row.status, workflow.outputs(self._outputs(workflow, nodes)), _errors(nodes), _counts(row, nodes),
            round(row.owned, 6), without_paths(row.error) if row.error and not _errors(nodes) else "",
            waits if row.status not in ENDED else (),
        )  # fmt: skip
        states = [_state(node) for node in nodes]
        reports = [report for report in story.reports if report.kind in (KIND, QUESTION)]
        return Seen(workflow.name, row.created, row.ended or None, answer, states, reports)

    def _outputs(self, workflow: Workflow, nodes: list[Node]) -> dict[str, Any]:
        """Return the outputs of the nodes that no other node of the run takes."""
        found = {node.name: node for node in nodes}
        answered = [name for name in workflow.answered if name in found]
        return {
            name: value_of(self.store, output)
            for name in answered
            if (output := found[name].output) is not None and found[name].status == "completed"
        }

    async def rows(
        self,
        statuses: Collection[str],
        workflow: str | None,
        limit: int,
        before: tuple[float, str] | None,
        live: Mapping[str, str] = _NONE,
    ) -> list[Row]:
        """Return the latest runs.

        :param live: the statuses of those that go on in this process, by id. (The store does not know that one waits.)
        """
        wanted = {*statuses, RUNNING, WAITING} if {RUNNING, WAITING} & {*statuses} else statuses
        dag = None if workflow is None else self._dag_of(workflow)

        def read() -> list[Row]:
            found = list[Row]()
            last, size = before, max(limit, _PAGE)
            while len(found) < limit:
                rows = self.store.runs(wanted, dag, size, last)
                told = [self._row(row, live) for row in rows if row.dag in self._workflows]
                found += [row for row in told if not statuses or row.status in statuses]
                if len(rows) < size:
                    break
                last = (rows[-1].created, rows[-1].id)
            return found[:limit]

        return await self._call(read)

    def _dag_of(self, workflow: str) -> str:
        return next((dag for dag, one in self._workflows.items() if one.name == workflow), workflow)

    def _row(self, row: RunRow, live: Mapping[str, str]) -> Row:
        name = self._workflows[row.dag].name
        error = without_paths(row.error.splitlines()[0]) if row.error else ""
        status = live.get(row.id, row.status) if row.status == RUNNING else row.status
        return Row(row.id, name, status, row.created, row.ended or None, round(row.owned, 6), error)

    async def row(self, run_id: str) -> RunRow | None:
        """Return the row of a run of a workflow that is served."""
        row = await self._call(lambda: self.store.backend.row(run_id))
        return row if row is not None and row.dag in self._workflows else None

    async def cancel(self, run_id: str) -> str:
        """Ask for the end of a run, and return its status after that."""
        return (await self._call(lambda: self.store.cancel(run_id))).status

    async def send(self, row: RunRow, address: str, payload: Any) -> None:
        """Send something to a signal of a run. :raises SignalError: if the run does not take it."""
        found = self._workflows[row.dag].signals.find(address)
        if found is None:
            raise SignalError(f"the run has no signal {shown(address)}", "unknown")
        payload = payload_of(self._workflows[row.dag], address, payload)
        if row.status in ENDED:
            raise SignalError(f"the run has ended: {row.status}", "ended")
        taken = await self._call(lambda: self.store.send(row.id, address, payload))
        if not taken:
            raise SignalError(f"signal {shown(address)} has been sent before, and takes one payload", "sent")

    async def check(self) -> None:
        """See whether the store can be read and written. :raises StoreError: if it cannot."""
        await self._call(lambda: self.store.runs(limit=1))
        await self._call(lambda: self.store.backend.add("health", 1))

    async def left_alone(self) -> list[tuple[Workflow, str]]:
        """Return the runs that nobody drives and that can go on, the oldest first. O(runs that have not ended)."""
        return await self._call(self._left_alone)

    def _left_alone(self) -> list[tuple[Workflow, str]]:
        found: list[tuple[Workflow, str]] = []
        before: tuple[float, str] | None = None
        while rows := self.store.runs((RUNNING, WAITING), limit=_PAGE, before=before):
            before = (rows[-1].created, rows[-1].id)
            found += [
                (self._workflows[row.dag], row.id) for row in rows if row.dag in self._workflows and not is_driven(row)
            ]
        return found[::-1]

    async def call(self, function: Callable[[], T]) -> T:
        """Call something that may block."""
        return await self._call(function)


def payload_of(workflow: Workflow, address: str, payload: Any) -> Any:
    """Return what a run takes as a payload that was given as JSON: where that has no such type, as text (a date).

    :raises Problem: 422, which says where in the payload it is not of the type of the signal.
    """
    found = workflow.signals.find(address)
    if found is None:
        return payload
    signal = found[0].wait
    if not checked(payload, signal.type, shown)[1]:
        return payload
    value, wrong = converted(payload, signal.type)
    fault = "" if wrong is not None else checked(value, signal.type, shown)[1]
    if wrong is None and not fault:
        return value
    place, what = wrong or ("", fault.removeprefix(": "))
    detail = f"what was sent to {shown(address)} is not of its type {type_text(signal.type)}"
    raise Problem(422, detail=detail, faults=[Fault(pointer("payload") + place, without_paths(what))])


def check_inputs(store: Store, workflow: Workflow, run_id: str, inputs: Mapping[str, Any]) -> None:
    """See whether a run was given these inputs. :raises RunConflict: if it was given others, or is not stored."""
    row = store.backend.row(run_id)
    if row is None:
        raise RunConflict(f"run {run_id!r} is not stored yet")
    merged(row, inputs, workflow.plan, store.codecs, store.name, needed=False)


def give_up(store: Store, run_id: str, error: str) -> None:
    """Let a run have failed that nobody drives any more, as something else than a node has ended it.

    It is not gone on with by itself then; a retry does. :raises StoreError: if the store cannot write.
    """
    row, now = store.run(run_id), time.time()
    if row.status in ENDED or is_driven(row):
        return
    token = store.backend.claim(run_id, row.token, this_process(), now + LEASE, now)
    if token is not None:
        change = Change(now, row.owned, status=FAILED, ended=now, error=error[:_MAX_ERROR], released=True)
        store.backend.write(run_id, token, change)


def _state(node: Node) -> NodeState:
    error = _error(node) if node.error and node.status != "completed" else None
    seconds = None
    if node.began is not None and node.ended is not None and node.began < node.ended:  # else only its end is known
        seconds = round(node.ended - node.began, 6)
    return NodeState(node.name, node.status, node.attempt or 0, seconds, error)


def _error(node: Node) -> NodeError:
    kind, _, text = node.error.partition(": ")
    kind = kind.rpartition(".")[2]
    return NodeError(kind, message_of(Exception(text)) if text else kind)


def _errors(nodes: list[Node]) -> dict[str, NodeError]:
    return {node.name: _error(node) for node in nodes if node.error and node.status == "failed"}


def _counts(row: RunRow, nodes: list[Node]) -> dict[str, int]:
    if row.counts:
        try:
            return msgspec.msgpack.decode(row.counts, type=dict[str, int])
        except msgspec.MsgspecError:
            pass
    counts: dict[str, int] = {}
    for node in nodes:
        counts[node.status] = counts.get(node.status, 0) + 1
    return counts


__all__ = ["Seen", "StoredRuns", "check_inputs", "give_up", "payload_of"]
