"""A store of durable runs, as users hold it: :class:`Store`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from threading import Lock
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from flow.config import Config
from flow.errors import ConfigError, RunConflict, RunOwned, StoreError, shown
from flow.plan.plan import Plan
from flow.run.journal import Durability
from flow.store import inputs as given
from flow.store.accounts import Accounts
from flow.store.backend import CANCELLED, COMPLETED, ENDED, RUNNING, Backend, Change, RunRow, Stored
from flow.store.codec import Codec, Codecs
from flow.store.entries import Mode
from flow.store.ids import new_id
from flow.store.journal import RunJournal
from flow.store.mending import Mending
from flow.store.owner import is_driven, this_process
from flow.store.records import Ended, Reset, sealed
from flow.store.resume import Resumed, compared
from flow.store.structure import shape_of
from flow.store.writer import Writer
from flow.store.writing import LEASE
from flow.types import NAME_RULE, is_name

_DRIVEN: Final[set[tuple[str, float]]] = set()
"""Runs that this process drives, whatever store objects it does so with: their ids and beginnings."""

_LOCK: Final = Lock()
"""Held while that is looked at and changed."""


class Store(Mending):
    """Durable runs in a :class:`Backend`. (:func:`flow.store.open` makes one of a file.)

    Threads may share it, and any number of runs may be driven with it at once.

    :param durability: when a run's outcomes are stored: see :func:`flow.store.open`.
    :param codecs: for types of your own. :param pickle: what nothing else can encode is pickled, and unpickled.
    :ivar flushes: transactions by which this object has written to journals of runs.
    :ivar accounts: what budgets have spent (:class:`flow.run.accounts.Ledger`).
    """

    def __init__(
        self, backend: Backend, durability: Mode = "async", codecs: Sequence[Codec] = (), pickle: bool = False
    ) -> None:
        if durability not in ("sync", "async", "exit"):
            raise ConfigError("store", [f"durability is 'sync', 'async' or 'exit', not {shown(durability)}"])
        self.backend = backend
        self.durability: Mode = durability
        self.codecs = Codecs(codecs, pickle)
        self.writer = Writer()
        self.accounts = Accounts(backend, self.writer)
        self.flushes = 0
        self._flushing = Lock()
        self._process = os.getpid()

    # -- what the engine asks (flow.run.journal.Durable) -------------------------------------

    def begin(
        self,
        plan: Plan,
        inputs: Mapping[str, Any] | None,
        run_id: str | None,
        config: Config,
        how: Durability,
        whole: Plan,
    ) -> RunJournal:
        """Look for a run, and return its journal. Nothing is changed.

        :raises StoreError: if the run does not fit, or cannot be read.
        """
        if os.getpid() != self._process:
            raise StoreError(f"store {self.name!r} was opened before this process was forked: open it here again")
        if run_id is not None and not is_name(run_id):
            raise ConfigError("run id", [f"{shown(run_id)} is refused: {NAME_RULE}"])
        stored = None if run_id is None else self.backend.load(run_id)
        if stored is None or how.on_conflict == "restart":
            journal = self._new(whole, inputs, run_id, config, stored)
        else:
            if how.on_conflict == "fail":
                raise RunConflict(f"store {self.name!r} has a run {run_id!r}, and on_conflict='fail' refuses that")
            journal = self._stored(plan, inputs, config, how, stored, whole)
        journal.rest_asked = how.on_wait == "return"
        return journal

    def _new(
        self, plan: Plan, inputs: Mapping[str, Any] | None, run_id: str | None, config: Config, stored: Stored | None
    ) -> RunJournal:
        secret = plan._nodes.secret
        now = time.time()
        encoded = given.encoded({} if inputs is None else inputs, secret, self.codecs)
        made = new_id(now) if run_id is None else run_id
        row = RunRow(made, plan.name, shape_of(plan).digest, encoded, created=now, updated=now)
        journal = RunJournal(self, row, inputs, config, None)
        journal.shape, journal.replaces = shape_of(plan), None if stored is None else stored.row
        journal.is_nobodys = run_id is None
        return journal

    def _stored(
        self,
        plan: Plan,
        inputs: Mapping[str, Any] | None,
        config: Config,
        how: Durability,
        stored: Stored,
        whole: Plan,
    ) -> RunJournal:
        row = stored.row
        if row.dag != plan.name:
            raise RunConflict(
                f"run {row.id!r} in store {self.name!r} is one of dag {row.dag!r}, not of {plan.name!r}: give another "
                "run_id, or on_conflict='restart' to forget that run"
            )
        history = self.history_of(stored)
        resets = list[Reset]()
        shape = shape_of(whole)
        if row.shape != shape.digest:
            reset, shape = compared(whole, history, row.id, how.on_change == "rerun")
            resets += [] if reset is None else [reset]
        if how.on_conflict == "retry" and (row.status in ENDED or history.ended is not None):
            resets.append(self._unfit(history))
        last, retries = history.ended, how.on_conflict == "retry"
        for reset in resets:
            history.add([reset])
        resets_some = any(reset.keys for reset in resets)
        cancels = (row.cancel or row.status == CANCELLED) and not retries and not resets_some
        if row.status == CANCELLED and (last is None or last.status != CANCELLED) and cancels:
            # Nobody drove it then: only what cleans up runs.
            last = None if plan._nodes.cleans else last or Ended(CANCELLED, False, False, {}, [])
            history.ended = last
        ended = row.status in ENDED and last is not None and not resets_some
        if ended and (row.status == COMPLETED or retries):  # of a part of the dag, or something was cancelled
            outcomes = history.outcomes.get((), {})
            ended = all((name, None) in outcomes for name in plan.names)
        limit = config.timeout
        if not ended:
            history.ended = None
            if config.timeout is not None and row.owned:
                spent = 0.0 if retries else row.owned
                config = config._changed(timeout=max(1e-6, config.timeout - spent))
        inputs = given.merged(row, inputs, plan, self.codecs, self.name, needed=not ended)
        resumed = Resumed(plan, history, ended, row.owned)
        journal = RunJournal(self, row, inputs, config, resumed)
        journal.limit, journal.shape, journal.resets = limit, shape, resets
        journal.cancels, journal.segments = cancels, len(stored.journal)
        journal.knows(resumed)
        return journal

    def claimed(self, journal: RunJournal) -> RunRow:
        """Make a run this process's own, and return its row. :raises RunOwned: if it is another's."""
        row, was = journal.row, journal.replaces
        driven = {(row.id, row.created)} if was is None else {(row.id, row.created), (was.id, was.created)}
        with _LOCK:
            if not _DRIVEN.isdisjoint(driven):
                raise RunOwned(f"run {row.id!r} is being driven in this process: wait for its end")
            _DRIVEN.update(driven)
        journal.driven = driven
        try:
            return self._claimed(journal, row, time.time())
        except BaseException:
            self.left(journal)
            raise

    def _claimed(self, journal: RunJournal, row: RunRow, now: float) -> RunRow:
        shape, lease = journal.shape, now + LEASE
        if journal.resumed is None and journal.replaces is None:
            new = msgspec.structs.replace(row, owner=this_process(), token=_first_token(), lease=lease)
            if journal.is_nobodys and self.durability == "async":
                journal.deferred = shape.encoded  # nobody else knows its id
                return new
            there = self.backend.create(new, shape.encoded)
            if there is None:
                return new
            raise RunOwned(f"run {row.id!r} in store {self.name!r} was begun by another process just now: call again")
        was = row if journal.replaces is None else journal.replaces
        if is_driven(was) and was.owner != this_process():
            raise RunOwned(
                f"run {row.id!r} in store {self.name!r} is being driven by process {was.owner!r} (host, number, "
                f"beginning), which has {was.lease - now:.0f} s to give a sign of life: wait for its end, or "
                f"ask for it: flow runs cancel {row.id}, or store.cancel({row.id!r})"
            )
        token = self.backend.claim(row.id, was.token, this_process(), lease, now)
        if token is None:
            raise RunOwned(f"run {row.id!r} in store {self.name!r} was claimed by another process just now")
        row = msgspec.structs.replace(row, owner=this_process(), token=token, lease=lease, cancel=journal.cancels)
        if journal.replaces is None and was.owner:
            self._check_read(journal, token, now)
        if journal.replaces is not None:
            self.backend.delete([row.id])
            row = msgspec.structs.replace(row, token=_first_token())  # whoever drove the run before is fenced
            if self.backend.create(row, shape.encoded) is not None:
                raise RunOwned(f"run {row.id!r} in store {self.name!r} was begun by another process just now")
            return row
        cancel = journal.cancels if was.status in ENDED else None  # else somebody may have asked for it just now
        change = Change(now, row.owned, lease, RUNNING, 0.0, "", None, None, cancel)
        if row.shape != shape.digest:
            self.backend.add_shape(shape.digest, shape.encoded)
            change = msgspec.structs.replace(change, shape=shape.digest)
        segment = sealed(now, journal.resets) if journal.resets else None
        self.backend.write(row.id, token, change, segment)
        return row

    def _check_read(self, journal: RunJournal, token: int, now: float) -> None:
        """Of a run that was another's: what that has written since it was read must not be lost. Let go of it then."""
        stored = self.backend.load(journal.run_id)
        if stored is None or len(stored.journal) != journal.segments:
            self.backend.claim(journal.run_id, token, "", 0.0, now)
            raise RunOwned(f"run {journal.run_id!r} in store {self.name!r} was written to just now: call again")

    def flushed(self) -> None:
        """Count a transaction that has written to the journal of a run. From any thread."""
        with self._flushing:
            self.flushes += 1

    def left(self, journal: RunJournal) -> None:
        """This process drives a run no more."""
        with _LOCK:
            _DRIVEN.difference_update(journal.driven)
        journal.driven = set()

    def close(self) -> None:
        """Let go of the file. Runs that are being driven end with a StoreError."""
        self.writer.close()
        self.backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Store {self.name!r}: durability={self.durability!r}>"


def _first_token() -> int:
    """Return the token of a new run: one that no run of the same id has had, deleted ones included."""
    return int.from_bytes(os.urandom(6), "big") + 1


__all__ = ["Store"]
