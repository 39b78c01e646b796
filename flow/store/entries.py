"""What came to a durable run since the last write: entries, as the engine adds them, and the records that they make."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any, Literal, Protocol, TypeAlias

from flow.config import Config
from flow.policy.bind import Binder
from flow.run.journal import Known
from flow.run.state import PlanRun
from flow.signature import Composite
from flow.store.backend import Backend, RunRow
from flow.store.codec import Codecs
from flow.store.records import Batch, Bulk, Record
from flow.store.writer import Writer

Mode: TypeAlias = Literal["sync", "async", "exit"]


class Keeper(Protocol):
    """A store, as the journals of its runs see it (:class:`flow.store.store.Store`)."""

    backend: Backend
    codecs: Codecs
    durability: Mode
    writer: Writer

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    def flushed(self) -> None:
        """Count a transaction that has written to the journal of a run. From any thread."""
        ...

    def claimed(self, journal: Any) -> RunRow:
        """Make a run this process's own. :raises RunOwned: if it is another's."""
        ...

    def left(self, journal: Any) -> None:
        """This process drives a run no more."""
        ...


class Entries:
    """The part of a journal that collects. ``store`` keeps it; ``row`` is the run as it is stored.

    An entry is a record; or what makes one, together with its neighbours: an output alone, of the next node in the
    plan's order, or a tuple (:meth:`flow.run.journal.Journal.kept_plainly`).
    """

    def __init__(self, store: Keeper, row: RunRow, inputs: Mapping[str, Any] | None, config: Config) -> None:
        self.run_id, self.inputs, self.config = row.id, inputs, config
        self.limit = config.timeout
        self.store, self.row = store, row
        self.known: Known | None = None
        self.ended = False
        self.commits = store.durability == "sync"
        self.entries: list[Any] = []
        self.idle: list[None] = []
        self.encode, self.plain = store.codecs.encode, store.codecs.plain
        self.rest_asked = False  # nodes are looked at one by one: it may rest
        self._order: Sequence[str] = ()
        self._ordered = 0  # how many of that have been written
        self._epoch = 0.0  # when the run was created, minus its clock
        self._plainly = False  # there are entries that are outputs alone
        self._mixed = False  # there have been other entries than outputs alone

    def stores_plainly(self, run: PlanRun) -> bool:
        """Arm the journal for outputs alone, if all of them are stored by the codec alone."""
        if run.nodes.storing or run.masks is not None:
            return False
        names = run.nodes.names
        self._plainly = True
        self._order = names if run.order is range(len(names)) else [names[i] for i in run.order]
        return True

    def kept_plainly(self, run: PlanRun) -> Collection[int]:
        """As the protocol says."""
        nodes = run.nodes
        if self.known is not None or self.commits or self.rest_asked or run.hooks is not None or run.masks is not None:
            return ()
        _ = run.path  # while it can be seen: a run that a node has started lets go of the runs around it at its end
        others = [i for i, binder in nodes.binders.items() if _may_write(binder)]
        others += [] if nodes.routes is None else nodes.routes.gated  # which are not kept if the store cannot write
        all_of_them = range(nodes.count)
        return {*all_of_them} - {*others, *nodes.storing} if others or nodes.storing else all_of_them

    def _records(self, taken: list[Any]) -> list[Record]:
        """Return the entries as records: outputs alone, of nodes in the plan's order, are joined."""
        if self._plainly and not self._mixed:  # the quick way
            return [self._batch(taken)] if taken else []
        records: list[Record] = []
        for kind, entries in groupby(taken, _kind_of):
            if kind is bytes:
                records.append(self._batch(list(entries)))
            elif kind is None:
                records += entries
            else:
                records.append(self._bulk(kind, list(entries)))
        return records

    def _bulk(self, run: PlanRun, entries: list[Any]) -> Bulk:
        _, nodes, attempts, outputs, began, ended = zip(*entries, strict=True)
        names, epoch = run.nodes.names, self._epoch
        return Bulk(
            run.path,
            [names[i] for i in nodes],
            attempts if max(attempts) > 1 else (),
            list(outputs),
            [at + epoch for at in began],
            [at + epoch for at in ended],
        )

    def _batch(self, outputs: list[bytes]) -> Batch:
        begun = self._ordered
        self._ordered += len(outputs)
        return Batch(list(self._order[begun : self._ordered]), outputs)


def _may_write(binder: Binder) -> bool:
    """Tell whether a node may write to the run's store."""
    return binder.context != -1 or bool(binder.middleware) or issubclass(type(binder.fn), Composite)


def _kind_of(entry: Any) -> Any:
    """Which entries become one record: outputs alone, and nodes of one run of which there is nothing else."""
    kind = type(entry)
    return bytes if kind is bytes else entry[0] if kind is tuple else None


__all__ = ["Entries", "Keeper", "Mode"]
