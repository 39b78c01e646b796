"""The durable suite with its last section, *beside*: a chain of steps in libraries that store what steps gave.

What is compared is what storing adds to a step: what the chain takes with it, less what the same library takes without.
Every contender works in a process of its own, turn by turn, as in :mod:`flow_bench.peers.suite`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial

import flow
from flow_bench.harness.rows import US, Row, Target, chosen
from flow_bench.harness.work import Work
from flow_bench.peers.peer import Peer
from flow_bench.peers.registry import FLOW, Library
from flow_bench.peers.stored import FOLDER
from flow_bench.peers.suite import Effort as OfPeers
from flow_bench.peers.suite import Trial, measure, started
from flow_bench.suites.durable import suite

STORED = Library("flow_bench.peers.stored_flow", "flow, async", "", ours=True)
SAFE = Library("flow_bench.peers.stored_flow_sync", "flow, sync", "", ours=True)
LOOP = Library("flow_bench.peers.plain_loop", "a loop", "", engine=False)
BY_HAND = Library("flow_bench.peers.stored_sqlite", "by hand: a commit a step", "", engine=False)
LANGGRAPH = Library("flow_bench.peers.langgraph_state", "LangGraph", "langgraph")
SAVED = Library("flow_bench.peers.stored_langgraph", "LangGraph, SqliteSaver", "langgraph-checkpoint-sqlite")
SAVED_SYNC = Library(
    "flow_bench.peers.stored_langgraph_sync", "LangGraph, SqliteSaver, sync", "langgraph-checkpoint-sqlite"
)
STEPS = Library("flow_bench.peers.dbos_steps", "DBOS, no workflow", "dbos")
DBOS = Library("flow_bench.peers.stored_dbos", "DBOS", "dbos")
WITHOUT = {STORED: FLOW, SAFE: FLOW, BY_HAND: LOOP, SAVED: LANGGRAPH, SAVED_SYNC: LANGGRAPH, DBOS: STEPS}
"""Who stores, and the same without that."""
COMPARED = ((STORED, SAVED), (STORED, DBOS), (SAFE, SAVED_SYNC), (SAFE, DBOS))
"""Ours and theirs. LangGraph has both modes; a step of DBOS is stored before the next begins, as with our sync mode."""
TENTH = Target(0.1, of="figure")
"""What our default may add to a step, beside what others add by default."""
ALL = (*WITHOUT, *dict.fromkeys(WITHOUT.values()))


@dataclass(frozen=True)
class Effort(suite.Effort):
    """How much to measure. ``beside``: of the chain; its topologies and sections mean nothing here."""

    beside: OfPeers = field(default_factory=lambda: OfPeers((100,), budget=6.0, contenders=ALL))


def _quick() -> Effort:
    whole = suite.QUICK
    beside = OfPeers((100,), rounds=5, budget=2.0, contenders=ALL)
    return Effort((), whole.nodes, whole.loading, whole.listing, whole.resuming, whole.writing, beside)


QUICK = _quick()


def beside(effort: OfPeers) -> Iterator[list[Row]]:
    """A chain with and without a store; and what the store adds.

    :raises Refused: by a contender that ran it wrongly or stored too little, and by flow if it did not run at all.
    """
    for nodes in effort.nodes:
        work = Work.of(flow.topologies.linear(nodes))
        with _folder(), ExitStack() as stack:
            peers = [stack.enter_context(closing(Peer(one, effort.patience))) for one in effort.contenders]
            _, missing = started(peers)
            trials = [Trial(peer, missing.get(peer.contender.label, "")) for peer in peers]
            measure(trials, ["run"], work, False, effort)
        yield _rows(trials, nodes)
        yield _added(trials, nodes)


@contextmanager
def _folder() -> Iterator[None]:
    """Tell workers where their stores may lie."""
    with tempfile.TemporaryDirectory(prefix="flow-bench-", ignore_cleanup_errors=True) as path:
        os.environ[FOLDER] = path
        try:
            yield
        finally:
            del os.environ[FOLDER]


def _rows(trials: Sequence[Trial], nodes: int) -> list[Row]:
    """In microseconds per step."""
    return [
        Row(
            f"a chain of {nodes} steps that do nothing: per step", trial.contender.label, "us",
            [took * US / nodes for took in trial.seconds["run"].values()], nodes=nodes,
            note=f"n/a: {trial.fault}" if not trial.seconds["run"] else _version(trial.contender),
        )
        for trial in trials
    ]  # fmt: skip


def _version(one: Library) -> str:
    return f"{one.package} {one.version}" if one.package else ""


def _added(trials: Sequence[Trial], nodes: int) -> list[Row]:
    """What storing adds to a step, and ours beside theirs, in the rounds that have all of them."""
    section = f"what storing adds to a step of {nodes}"
    found = {trial.contender: trial for trial in trials}
    rows, added = [], dict[Library, dict[int, float]]()
    for one, other in WITHOUT.items():
        if one not in found or other not in found:
            continue
        mine, theirs = found[one], found[other]
        added[one] = {
            turn: max(took - theirs.seconds["run"][turn], 0.0) * US / nodes
            for turn, took in mine.seconds["run"].items()
            if turn in theirs.seconds["run"]
        }
        fault = "" if added[one] else f"n/a: {mine.fault or theirs.fault}"
        rows.append(Row(section, one.label, "us", list(added[one].values()), nodes=nodes, note=fault))
    pairs = [pair for pair in COMPARED if added.keys() >= set(pair)]
    return rows + [_over(section, *pair, added, nodes) for pair in pairs]


def _over(section: str, ours: Library, theirs: Library, added: Mapping[Library, dict[int, float]], nodes: int) -> Row:
    other = added[theirs]
    samples = [took / other[turn] for turn, took in added[ours].items() if other.get(turn)]
    target = TENTH if ours is STORED else None
    note = "" if samples else f"n/a: {theirs.label} has no figure"
    return Row(section, f"{ours.label} / {theirs.label}", "x", samples, nodes=nodes, target=target, note=note)


SECTIONS: Mapping[str, Callable[[Effort], Iterable[list[Row]]]] = {
    **suite.SECTIONS,
    "beside": lambda effort: beside(effort.beside),
}
run = partial(chosen, SECTIONS)
