"""Runs in memory: those that go on, and summaries of those that have ended: :class:`Runs`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flow.http.answers import STATUSES, NodeError
from flow.http.board import STATUSES as NODE_STATUSES
from flow.http.problems import Problem
from flow.http.spent import RunUsage, unpacked

if TYPE_CHECKING:
    from flow.http.limits import Limits
    from flow.http.live import Live
    from flow.http.workflow import Workflow

_HEAD: Final = Struct("<ddQHBII")
"""Of a summary: when it was asked for and ended, the digest of what it was given, its workflow by number, its status,
how many bytes of statuses follow, one per node (all nodes have completed if there are none), and how many bytes then of
what calls of language models took. Its answer follows."""

_OVERHEAD: Final = 250
"""Bytes that CPython needs for a summary beside its own, roughly: the object, its id, its places in the collections."""


_MOMENT: Final = 1e-6
"""Seconds between two runs, at least: what times of floats can tell apart."""


class Row(msgspec.Struct):
    """One run in a list. ``error`` says in one line what it failed with. Times are Unix times."""

    id: str
    workflow: str
    status: str
    created: float
    ended: float | None = None
    seconds: float = 0.0
    error: str = ""


class Ended(msgspec.Struct, frozen=True):
    """A run that has ended, as it is kept. :ivar statuses: of its nodes, in the order of the plan."""

    workflow: Workflow
    status: str
    created: float
    at: float
    digest: int
    statuses: list[str]
    answer: bytes
    usage: RunUsage | None = None


class _Said(msgspec.Struct):
    """What a list says of an answer."""

    seconds: float
    errors: dict[str, NodeError]
    detail: str = ""


_SAID: Final = msgspec.json.Decoder(_Said).decode
_STATUS: Final = {status: code for code, status in enumerate(STATUSES)}


class Runs:
    """The runs of one process, in the order in which they were asked for.

    Of those that have ended it keeps as many as the limits say, about 200 bytes and their outputs each.
    """

    __slots__ = ("_all", "_bytes", "_ended", "_latest_at", "_limits", "_numbers", "_workflows", "live")

    def __init__(self, workflows: Sequence[Workflow], limits: Limits) -> None:
        self._workflows = workflows
        self._numbers = {workflow.name: number for number, workflow in enumerate(workflows)}
        self._limits = limits
        self.live: dict[str, Live] = {}
        self._all: dict[str, bytes | None] = {}  # None: it goes on
        self._ended: deque[str] = deque()
        self._bytes = 0
        self._latest_at = 0.0

    def _later(self, created: float) -> float:
        """Return when a run was asked for: later than the one before, also where the clock was set back.

        Lists are read on from that time, page by page.
        """
        if created <= self._latest_at:
            created = self._latest_at + _MOMENT
        self._latest_at = created
        return created

    def name_of(self, dag: str) -> str:
        """Return the name under which a Dag is served; its own if it is not. O(workflows)."""
        return next((one.name for one in self._workflows if one.plan.name == dag), dag)

    def check(self) -> None:
        """:raises Problem: 503 if as many runs have not ended as the limits allow."""
        if self.is_full:
            detail = f"{len(self.live):,} runs have not ended: come again later"
            raise Problem(503, "Too many runs", detail, headers=[(b"retry-after", b"1")])

    @property
    def is_full(self) -> bool:
        """As many runs have not ended as the limits allow."""
        return len(self.live) >= self._limits.live

    def begin(self, live: Live) -> None:
        """A run goes on."""
        self._forget(live.id)
        live.created = self._later(live.created)
        self.live[live.id] = live
        self._all[live.id] = None

    def drop(self, live: Live) -> None:
        """A run has not begun, or another process goes on with it."""
        self.live.pop(live.id, None)
        if self._all.get(live.id, b"") is None:
            del self._all[live.id]

    def end(
        self, run_id: str, workflow: Workflow, status: str, created: float, digest: int, statuses: bytes,
        answer: bytes, usage: bytes = b"",
    ) -> None:  # fmt: skip
        """A run has ended. O(1) amortised.

        :param statuses: codes of its nodes; empty if all have completed.
        :param usage: what calls of language models took, packed; empty if there were none.
        """
        self.live.pop(run_id, None)
        if run_id not in self._all:  # it was called here and now
            created = self._later(created)
        number = self._numbers[workflow.name]
        head = _HEAD.pack(created, time.time(), digest, number, _STATUS[status], len(statuses), len(usage))
        summary = head + statuses + usage + answer
        if self._all.get(run_id) is not None:
            self._forget(run_id)
        self._all[run_id] = summary
        self._ended.append(run_id)
        self._bytes += len(summary) + _OVERHEAD
        while len(self._ended) > self._limits.finished or self._bytes > self._limits.finished_bytes:
            self._forget(self._ended[0])

    def _forget(self, run_id: str) -> None:
        summary = self._all.get(run_id)
        if summary is None:
            return
        if self._ended[0] == run_id:
            self._ended.popleft()
        else:
            self._ended.remove(run_id)
        del self._all[run_id]
        self._bytes -= len(summary) + _OVERHEAD

    def ended(self, run_id: str) -> Ended | None:
        """Return a run that has ended; None if there is none of this id."""
        summary = self._all.get(run_id)
        if summary is None:
            return None
        created, at, digest, number, status, size, spent = _HEAD.unpack_from(summary)
        workflow, start = self._workflows[number], _HEAD.size + size
        codes, usage, answer = summary[_HEAD.size : start], summary[start : start + spent], summary[start + spent :]
        statuses = [str(NODE_STATUSES[code]) for code in codes] or ["completed"] * len(workflow.plan)
        return Ended(workflow, STATUSES[status], created, at, digest, statuses, answer, unpacked(usage))

    def rows(
        self, statuses: Collection[str], workflow: str | None, limit: int, before: tuple[float, str] | None
    ) -> list[Row]:
        """Return the latest runs. O(runs that are passed over + limit).

        :param before: only runs older than the one of this ``(created, id)``.
        """
        found = list[Row]()
        for row in self._latest(before):
            if (not statuses or row.status in statuses) and workflow in (None, row.workflow):
                found.append(self._told(row))
                if len(found) == limit:
                    break
        return found

    def _latest(self, before: tuple[float, str] | None) -> Iterator[Row]:
        for run_id in reversed(self._all):
            summary = self._all[run_id]
            if summary is None:
                live = self.live[run_id]
                row = Row(run_id, live.workflow.name, live.state, live.created)
            else:
                created, at, _, number, status, *_ = _HEAD.unpack_from(summary)
                row = Row(run_id, self._workflows[number].name, STATUSES[status], created, at)
            if before is None or (row.created, row.id) < before:
                yield row

    def _told(self, row: Row) -> Row:
        """Add to a row what its answer says, or what is known of a run that goes on."""
        ended = self.ended(row.id)
        if ended is None:
            row.seconds = round(self.live[row.id].seconds, 6)
            return row
        said = _SAID(ended.answer)
        row.seconds, row.error = said.seconds, said.detail
        for node, error in said.errors.items():
            row.error = row.error or f"{node}: {error.type}: {error.message}".splitlines()[0]
        return row

    @property
    def statistics(self) -> dict[str, Any]:
        """How many are kept, and how many bytes that takes."""
        return {"live": len(self.live), "ended": len(self._ended), "bytes": self._bytes}


__all__ = ["Ended", "Row", "Runs"]
