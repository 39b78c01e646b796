"""The peers suite: the same graphs of no-op nodes in flow and in the libraries one would otherwise use.

Every contender works in a process of its own (:mod:`~flow_bench.peers.worker`), one at a time, turn by turn, so that
each round has a sample of each. A contender that is not installed, raises, dies or takes too long has ``n/a``
and the reason in place of a figure; one that runs a graph wrongly is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from statistics import median

import flow
from flow_bench.harness.contender import Refused
from flow_bench.harness.interleave import schedule
from flow_bench.harness.processes import cores, resident
from flow_bench.harness.rows import JUDGED, US, Row, Target
from flow_bench.harness.work import Work, dependencies_of, noop, noop_async
from flow_bench.peers.peer import Peer, PeerFault, refuse_unless_right
from flow_bench.peers.registry import CONTENDERS, DASK_DICT, FLOW, Library
from flow_bench.suites.engine.core import topologies

SECTIONS = ("sync", "async", "build", "import")
FASTEST = "flow / fastest engine"
TARGETS = {"sync": 1 / 8, "async": 0.0666, "build": 1 / 20}
"""The most that flow may take of what the fastest engine takes, at 1,000 nodes."""
JUDGED_TOPOLOGIES = ("layered", "tree", "random", "diamond")


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    :ivar nodes: the graphs' sizes.
    :ivar rounds: at most so many samples of each.
    :ivar sample: the least seconds of a sample; what takes less is repeated.
    :ivar budget: seconds for all rounds of one operation; what takes longer is sampled in fewer of them, at least one.
    :ivar patience: seconds one command may take: a check, a build or a run.
    """

    nodes: Sequence[int] = (100, 1_000)
    rounds: int = 15
    sample: float = 0.02
    budget: float = 3.0
    patience: float = 60.0
    topologies: Sequence[str] = ("layered", "tree", "random", "diamond", "chain")
    sections: Sequence[str] = ()
    contenders: Sequence[Library] = tuple(CONTENDERS)


QUICK = Effort(nodes=(JUDGED,), rounds=5, budget=0.3, patience=5.0, topologies=JUDGED_TOPOLOGIES)


class Trial:
    """One contender on one graph.

    :ivar seconds: by operation and round, what one took.
    :ivar fault: why there is nothing (more) to be had.
    """

    def __init__(self, peer: Peer, fault: str = "") -> None:
        self.peer = peer
        self.contender = peer.contender
        self.fault = fault
        self.seconds: dict[str, dict[int, float]] = {"build": {}, "run": {}}
        self._repeats: dict[str, int] = {}
        self._rounds: dict[str, int] = {}

    def check(self, work: Work, is_async: bool) -> None:
        """Give it the graph, and judge one run with nodes that record, untimed. :raises Refused: if it was wrong."""
        try:
            if not self.fault:
                self.peer.ask("graph", dependencies=work.dependencies, is_async=is_async)
                refuse_unless_right(self.contender.label, work, self.peer.ask("check"))
        except PeerFault as fault:
            self.fault = str(fault)

    def sample(self, operation: str, turn: int, work: Work, effort: Effort) -> None:
        """Take a sample of this round; in round -1 see how long it takes.

        :raises Refused: if a run left nodes undone.
        """
        mine = self._rounds.get(operation, 0)  # spread evenly, the first round always among them
        if self.fault or (turn >= 0 and turn * mine % effort.rounds >= mine):
            return
        try:
            answer = self.peer.ask(operation, repeat=self._repeats.get(operation, 1))
        except PeerFault as fault:
            self.fault = str(fault)
            return
        for what in ("done", "stored"):
            found, nodes = answer.get(what, len(work.names)), len(work.names)
            if found != nodes:
                word = "stored outputs" if what == "stored" else "outputs"
                raise Refused(self.contender.label, [f"a timed run left {found} {word}, not {nodes}"])
        took = answer["seconds"]
        if turn >= 0:
            self.seconds[operation][turn] = took
            return
        self._repeats[operation] = repeat = min(1_000, int(effort.sample / max(took, 1e-6)) + 1)
        self._rounds[operation] = max(1, min(effort.rounds, int(effort.budget / (took * repeat))))


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows of one table after another.

    :raises Refused: by a contender that ran a graph wrongly, and by flow if it did not run at all.
    """
    wanted = [section for section in SECTIONS if not effort.sections or section in effort.sections]
    with ExitStack() as stack:
        peers = [stack.enter_context(closing(Peer(one, effort.patience))) for one in effort.contenders]
        imports, missing = started(peers)
        if "import" in wanted:
            yield imports
        for nodes in effort.nodes:
            found: dict[str, list[Row]] = {section: [] for section in SECTIONS}
            for topology, dag in topologies(nodes).items():
                if topology in effort.topologies:
                    for section, rows in _of_graph(topology, dag, peers, missing, wanted, effort).items():
                        found[section] += rows
            yield from filter(None, found.values())


def started(peers: Sequence[Peer]) -> tuple[list[Row], dict[str, str]]:
    """Start all workers, one after another; return a row of each, and by label why one cannot be had."""
    rows, missing = [], {}
    for peer in peers:
        contender = peer.contender
        row = Row("peers import", contender.label, "MB", suite="peers")
        try:
            hello = peer.ask("hello")
            row.figure, row.figures = resident(hello["pid"]) / 1e6, {"import ms": hello["seconds"] * 1e3}
            row.note = f"{contender.package} {contender.version}" if contender.package else "standard library"
            row.note = f"flow {flow.__version__}" if contender.ours else row.note
        except PeerFault as fault:
            missing[contender.label] = str(fault)
            row.note = f"n/a: {fault}"
        rows.append(row)
    return rows, missing


def _of_graph(
    topology: str, dag: flow.Dag, peers: Sequence[Peer], missing: dict[str, str], wanted: Sequence[str], effort: Effort
) -> dict[str, list[Row]]:
    """By section, the rows of one graph."""
    plan = dag.compile()
    work = Work(dependencies_of(plan), [noop] * len(plan), [noop_async] * len(plan))
    found: dict[str, list[Row]] = {}
    for mode in ("sync", "async"):
        operations = [name for name, section in (("build", "build"), ("run", mode)) if section in wanted]
        mine = [peer for peer in peers if (peer.contender.is_async if mode == "async" else peer.contender.sync)]
        trials = [Trial(peer, missing.get(peer.contender.label, "")) for peer in mine]
        if not operations or not trials:
            continue
        measure(trials, operations, work, mode == "async", effort)
        if mode in wanted:
            found[mode] = _rows(mode, "run", trials, topology, work)
        if "build" in wanted:
            once = [t for t in trials if t.contender.builds and (mode == "sync" or not t.contender.sync)]
            found.setdefault("build", []).extend(_rows("build", "build", once, topology, work, base=trials))
    for section, rows in found.items():
        rows += _to_fastest(section, rows, topology, len(plan), effort)
    return found


def measure(trials: Sequence[Trial], operations: Sequence[str], work: Work, is_async: bool, effort: Effort) -> None:
    with ThreadPoolExecutor(cores()) as threads:  # nothing is timed in a check
        list(threads.map(lambda trial: trial.check(work, is_async), trials))
    for turn, which in schedule(len(trials), effort.rounds):
        for operation in operations:
            trials[which].sample(operation, turn, work, effort)
    for trial in trials:
        if trial.contender.ours and trial.fault:
            raise Refused(trial.contender.label, [trial.fault])


def _rows(
    section: str, operation: str, trials: Sequence[Trial], topology: str, work: Work, base: Sequence[Trial] = ()
) -> list[Row]:
    """In microseconds per node, with the ratio to flow's sample of the same round."""
    nodes = len(work.names)
    ours = next((t.seconds[operation] for t in base or trials if t.contender == FLOW), {})
    return [
        Row(
            f"peers {section}", trial.contender.label, "us", [s * US / nodes for s in seconds.values()],
            ratios=[s / ours[turn] for turn, s in seconds.items() if turn in ours], nodes=nodes, topology=topology,
            suite="peers", note="" if seconds else f"n/a: {trial.fault}",
        )
        for trial in trials
        for seconds in [trial.seconds[operation]]
    ]  # fmt: skip


def _to_fastest(section: str, rows: Sequence[Row], topology: str, nodes: int, effort: Effort) -> list[Row]:
    """What flow takes of what the fastest engine does, round by round; of a build, Dask's dict has a row of its own."""
    engines = {one.label for one in effort.contenders if one.engine and not one.ours}

    def compared(label: str, among: Callable[[str], bool], target: Target | None) -> Row:
        mine = [row for row in rows if among(row.label) and row.ratios]
        row = Row(f"peers {section}", label, "x", nodes=nodes, topology=topology, suite="peers", target=target)
        if not mine:
            row.note = "n/a: no engine to compare with"
            return row
        best = min(mine, key=lambda row: row.ratio or 0.0)
        row.samples, row.note = [1 / ratio for ratio in best.ratios], f"fastest: {best.label}"
        row.figure = median(row.samples)
        return row

    judged = nodes == JUDGED and topology in JUDGED_TOPOLOGIES
    target = Target(TARGETS[section], of="figure") if judged else None
    if section != "build":
        return [compared(FASTEST, engines.__contains__, target)]
    return [
        compared(FASTEST, (engines - {DASK_DICT.label}).__contains__, target),
        compared("flow / Dask's dict, unchecked", {DASK_DICT.label}.__contains__, None),
    ]
