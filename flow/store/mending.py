"""Looks at stored runs, and mends them: the part of a store that needs no engine."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from flow.errors import ConfigError, RunConflict, RunOwned, StoreError, UnknownRun, UsageError, a_kind, shown
from flow.graph.dag import Dag
from flow.plan.plan import Plan
from flow.store.backend import ENDED, RUNNING, STATUSES, Backend, Change, RunRow, Signal, Stored
from flow.store.codec import Codecs
from flow.store.history import History
from flow.store.owner import is_driven, is_gone, this_process
from flow.store.records import Key, Reset, opened, sealed
from flow.store.resume import after, unknown_node
from flow.store.structure import decoded as structure_of
from flow.store.writing import LEASE
from flow.types import NAME_RULE, is_name


class Mending:
    """Stored runs, as an operator looks at them."""

    backend: Backend
    codecs: Codecs

    @property
    def name(self) -> str:
        """What messages call it: the path of its file, say."""
        return self.backend.name

    def run(self, run_id: str) -> RunRow:
        """Return the row of a run. :raises UnknownRun: if there is none."""
        row = self.backend.row(run_id) if is_name(run_id) else None
        if row is None:
            raise self._unknown(run_id)
        return row

    def load(self, run_id: str) -> Stored:
        """Return all that is stored of a run. :raises UnknownRun: if there is none."""
        stored = self.backend.load(run_id) if is_name(run_id) else None
        if stored is None:
            raise self._unknown(run_id)
        return stored

    def _unknown(self, run_id: object) -> UnknownRun:
        return UnknownRun(f"store {self.name!r} has no run {shown(run_id)}")

    def runs(
        self,
        statuses: Collection[str] = (),
        dag: str | None = None,
        limit: int = 100,
        before: tuple[float, str] | None = None,
    ) -> Sequence[RunRow]:
        """Return the latest runs, without their inputs.

        :param statuses: only those (``running``, ``waiting``, ``completed``, ``failed``, ``cancelled``).
        :param before: only runs older than the one of this ``(created, id)``.
        :raises UsageError: for a status that there is not.
        """
        _check(statuses)
        return self.backend.runs(statuses, dag, limit, before)

    def send(self, run_id: str, address: str, payload: Any = None) -> bool:
        """Send ``payload`` to a signal of a run, whether a process drives it or not.

        It is converted to the type of the signal when the run takes it.

        :param address: as of :meth:`flow.RunHandle.send`. :return: False if something has been sent there before.
        :raises UnknownRun: if there is no such run. :raises NotStorable: for a payload that cannot be stored.
        :raises StoreError: if the run has ended.
        """
        row = self.run(run_id)
        if row.status in ENDED:
            raise StoreError(f"run {run_id!r} has ended ({row.status}): it takes nothing any more")
        return self.backend.send(run_id, Signal(address, self.codecs.encode(payload), time.time()))

    def cancel(self, run_id: str) -> RunRow:
        """Ask for the end of a run: the process that drives it ends it soon. One that nobody drives has ended at once.

        :return: its row after that. :raises UnknownRun: if there is no such run.
        """
        row = self.run(run_id)
        if row.owner and is_gone(row.owner):
            self.backend.claim(run_id, row.token, "", 0.0, time.time())  # nobody drives it
        return self.backend.ask_to_cancel(run_id, time.time())

    def delete(self, runs: Collection[str]) -> int:
        """Delete runs; return how many there were.

        :param runs: their ids. :raises RunOwned: if one is being driven: nothing is deleted then.
        """
        if isinstance(runs, (str, bytes)):
            raise UsageError(f"runs are a list of run ids, not {a_kind(runs)}: [{runs!r}]")
        for run_id in runs:
            row = self.backend.row(run_id) if is_name(run_id) else None
            if row is not None and is_driven(row):
                raise _owned(row)
        return self.backend.delete(runs)

    def gc(
        self,
        older_than: float,
        statuses: Collection[str] = tuple(ENDED),
        batch: int = 500,
        dry_run: bool = False,
    ) -> int:
        """Delete runs that ended more than ``older_than`` seconds ago, in batches; return how many there were.

        :param statuses: only these. Runs that are *running* or *waiting* and that no process drives could go on: name
            these statuses only to give such runs up (by the time of their last write).
        :param dry_run: delete nothing.
        :raises UsageError: for a status that there is not, or what is no number of seconds.
        """
        if not isinstance(older_than, (int, float)) or isinstance(older_than, bool) or older_than != older_than:
            raise UsageError(f"older_than is a number of seconds, not {shown(older_than)}")
        _check(statuses)
        gone, before, limit = 0, None, time.time() - older_than
        while rows := self.backend.runs(statuses, None, batch, before):
            before = (rows[-1].created, rows[-1].id)
            old = [row.id for row in rows if (row.ended or row.updated) <= limit and not is_driven(row)]
            gone += len(old) if dry_run else self.backend.delete(old) if old else 0
        return gone

    def reset(self, run_id: str, plan: Dag | Plan, node: str | None = None) -> int:
        """Let a run that has ended run again: what has failed; or ``node`` and all that depends on it.

        :return: the number of nodes and items that run again with the next :func:`flow.run` of this run.
        :raises RunOwned: if it is being driven. :raises StoreError: if there is no such node.
        """
        plan = plan.compile() if isinstance(plan, Dag) else plan
        stored = self.load(run_id)
        row, now = stored.row, time.time()
        history = self.history_of(stored)
        if node is None:
            reset = self._unfit(history)
        elif node not in plan:
            raise unknown_node(plan.names, node, run_id)
        else:
            reset = Reset(list[Key](after(plan, [node])), True)
        if is_driven(row):
            raise _owned(row)
        token = self.backend.claim(run_id, row.token, this_process(), now + LEASE, now)
        if token is None:
            raise RunOwned(f"run {run_id!r} in store {self.name!r} was claimed by another process just now")
        change = Change(now, row.owned, status=RUNNING, ended=0.0, error="", counts=b"", released=True, cancel=False)
        self.backend.write(run_id, token, change, sealed(now, [reset]))
        return len(reset.keys)

    def fork(self, run_id: str, new_id: str) -> RunRow:
        """Copy a run, with all that is known of it, to a new id. :raises RunConflict: if that is taken."""
        if not is_name(new_id):
            raise ConfigError("run id", [f"{shown(new_id)} is refused: {NAME_RULE}"])
        stored, now = self.load(run_id), time.time()
        row = msgspec.structs.replace(
            stored.row, id=new_id, owner="", token=0, lease=0.0, created=now, updated=now, cancel=False
        )
        if not self.backend.copy(run_id, row, stored.journal):
            raise RunConflict(f"store {self.name!r} has a run {new_id!r} already")
        for signal in stored.signals:
            self.backend.send(new_id, signal)
        return row

    def _unfit(self, history: History) -> Reset:
        handled = () if history.ended is None else history.ended.handled
        return Reset(history.unfit(handled), False)

    def history_of(self, stored: Stored) -> History:
        """Return what is known of a run. O(records). :raises DamagedRow: if that is not what was written."""
        digest = stored.row.shape
        history = History(structure_of(self.backend.shape(digest), digest, self.name).nodes)
        for number, data in enumerate(stored.journal, 1):
            history.add(opened(stored.row.id, number, data, self.name).records)
        return history


def _owned(row: RunRow) -> RunOwned:
    advice = f"cancel it first (flow runs cancel {row.id})"
    return RunOwned(f"run {row.id!r} is being driven by process {row.owner!r}: {advice}")


def _check(statuses: Collection[str]) -> None:
    wrong = [statuses] if isinstance(statuses, str) else [one for one in statuses if one not in STATUSES]
    if wrong:
        raise UsageError(f"statuses are a list of some of {', '.join(STATUSES)}, not {', '.join(map(shown, wrong))}")


__all__ = ["Mending"]
