"""Stores in a temporary folder, what one would write by hand instead, and the checks that something was stored."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import msgspec

import flow
from flow_bench.harness.contender import Contender, Operation
from flow_bench.harness.interleave import Samples
from flow_bench.harness.work import DONE, dependencies_of, noop

Mode: TypeAlias = Literal["sync", "async", "exit"]
PLAIN = flow.Config(optimize=False)
"""A run without generated code: durable runs have none either."""
WRITES = frozenset({"create", "add_shape", "claim", "write", "clear", "send", "ask_to_cancel", "delete", "copy", "add"})
"""Methods of a backend that are a transaction each."""
NUMBERS = count(1)
_TABLE = (
    "CREATE TABLE outcome (run TEXT, seq INTEGER, name TEXT, output BLOB, PRIMARY KEY (run, seq)) WITHOUT ROWID"
)
_ADD = "INSERT INTO outcome VALUES (?, ?, ?, ?)"


def new_id() -> str:
    """Return an id that no run of this process has."""
    return f"run-{next(NUMBERS)}"


class Watched:
    """A backend that counts its transactions.

    :ivar count: how many there were. :ivar given: by method, what its first call was given.
    """

    def __init__(self, backend: flow.store.Backend) -> None:
        self._backend = backend
        self.count = 0
        self.given: dict[str, tuple[Any, ...]] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._backend, name)
        return self._counted(name, found) if name in WRITES else found

    def _counted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.count += 1
            self.given.setdefault(name, arguments)
            return method(*arguments)

        return call


def watched(store: flow.store.Store) -> tuple[flow.store.Store, Watched]:
    """Return a store on the same backend whose transactions are counted, and what counts them."""
    watch = Watched(store.backend)
    return flow.store.Store(cast(Any, watch), store.durability), watch


class Folder:
    """A temporary folder with stores, which are closed with it."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path = path
        self._stack = stack

    def store(self, durability: Mode, power_safe: bool = False, name: str = "") -> flow.store.Store:
        """Open a store, a new one if ``name`` is not given."""
        path = self.path / (name or f"{new_id()}.db")
        return self._stack.enter_context(flow.store.open(path, durability, power_safe))

    def by_hand(self, safe: bool) -> ByHand:
        """Return what one would write by hand, in a database of its own."""
        made = ByHand(self.path / f"{new_id()}.db", safe)
        self._stack.callback(made.close)
        return made


@contextmanager
def folder() -> Iterator[Folder]:
    """Make a folder where temporary files go (``TMPDIR``): on a disk, or nothing of this tells anything."""
    with tempfile.TemporaryDirectory(prefix="flow-bench-") as path, ExitStack() as stack:
        yield Folder(Path(path), stack)


class ByHand:
    """Rows of outputs in SQLite with a write-ahead log. ``safe``: each commit outlives a loss of power."""

    def __init__(self, path: Path, safe: bool) -> None:
        self.sql, self._other = (sqlite3.connect(path, isolation_level=None) for _ in range(2))
        self.sql.execute("PRAGMA journal_mode = WAL")
        self.sql.execute(f"PRAGMA synchronous = {'FULL' if safe else 'NORMAL'}")
        self.sql.execute(_TABLE)

    def each(self, plan: flow.Plan) -> Operation:
        """Return what calls no-ops in the order of a plan, with a row and a commit after each."""

        def run() -> str:
            name, outputs, add, encode = new_id(), list[str](), self.sql.execute, msgspec.msgpack.encode
            for i, (node, needs) in enumerate(zip(plan, dependencies_of(plan), strict=True)):
                outputs.append(noop(*[outputs[d] for d in needs]))
                add(_ADD, (name, i, node, encode(outputs[i])))
            return name

        return run

    def many(self, plan: flow.Plan) -> Operation:
        """Return what calls no-ops in the order of a plan, and adds all rows in one transaction."""
        names, dependencies = list(plan), dependencies_of(plan)

        def run() -> str:
            name, outputs, encode = new_id(), list[str](), msgspec.msgpack.encode
            for needs in dependencies:
                outputs.append(noop(*[outputs[d] for d in needs]))
            rows = [(name, i, node, encode(outputs[i])) for i, node in enumerate(names)]
            self.sql.execute("BEGIN IMMEDIATE")
            self.sql.executemany(_ADD, rows)
            self.sql.execute("COMMIT")
            return name

        return run

    def fault(self, run: str, nodes: int) -> str | None:
        """Say what another connection does not find of a run."""
        wanted = (nodes, nodes)
        text = "SELECT count(*), sum(output = ?) FROM outcome WHERE run = ?"
        found = self._other.execute(text, (msgspec.msgpack.encode(DONE), run)).fetchone()
        return None if found == wanted else f"{found[0]} of {nodes} rows are stored"

    def close(self) -> None:
        """Let go of the database."""
        self.sql.close()
        self._other.close()


def plain(label: str, plan: flow.Plan, config: flow.Config | None = None, inputs: Any = None) -> Contender:
    """Return a contender that runs a plan without a store."""
    return Contender(label, lambda: lambda: flow.run(plan, inputs, config=config), outputs_fault, len(plan))


def durable(
    label: str, plan: flow.Plan, store: flow.store.Store, other: flow.store.Store, inputs: Any = None
) -> Contender:
    """Return a contender that runs a plan with a store, each time a new run.

    :param other: another store of the same file, which must find what was stored.
    """

    def make() -> Operation:
        name = new_id()
        return lambda: flow.run(plan, inputs, run_id=name, store=store)

    def check(raw: flow.Result) -> str | None:
        return outputs_fault(raw) or stored_fault(raw, plan, other)

    return Contender(label, make, check, len(plan))


def outputs_fault(result: flow.Result) -> str | None:
    """Say which nodes of no-ops have not run."""
    found, wanted = sum(one == DONE for one in result.outputs.values()), len(result.plan)
    return None if found == wanted else f"{found} of {wanted} nodes have run"


def stored_fault(result: flow.Result, plan: flow.Plan, other: flow.store.Store) -> str | None:
    """Say what another connection to the store does not find of a run that has ended."""
    try:
        status = other.run(result.run_id).status
    except flow.errors.UnknownRun:
        return "the run is not stored"
    if status != "completed":
        return f"the run is stored as {status}"
    again = flow.run(plan, run_id=result.run_id, store=other)
    return None if again.outputs == result.outputs else "other outputs are stored than those of the run"


def by_hand(label: str, table: ByHand, make: Callable[[flow.Plan], Operation], plan: flow.Plan) -> Contender:
    """Return a contender that stores what no-ops return by hand."""
    nodes = len(plan)
    return Contender(label, lambda: make(plan), lambda raw: table.fault(raw, nodes), nodes)


def by_clock(samples: Samples) -> Samples:
    """Return the same without CPU seconds: most of what a store takes is the disk's time."""
    found = Samples()
    found.update({label: [float(one) for one in seconds] for label, seconds in samples.items()})
    return found


def size_of(path: Path) -> int:
    """Bytes of a store's files: the database, and what lies beside it."""
    return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*") if one.is_file())
