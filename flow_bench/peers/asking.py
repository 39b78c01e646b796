"""The ai suite with its last section, *beside*: a call to a model, and an agent with a tool, in other libraries.

Every contender asks the same server of our own, works in a process of its own, and takes its turn, as in
:mod:`flow_bench.peers.suite`. What is compared is the CPU time of its process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial

from flow_bench.harness.contender import Refused, require
from flow_bench.harness.interleave import schedule
from flow_bench.harness.processes import resident
from flow_bench.harness.rows import US, Measured, Row, ratios
from flow_bench.harness.rules import answer_to
from flow_bench.peers.asked_worker import NAME
from flow_bench.peers.peer import Peer, PeerFault
from flow_bench.peers.registry import Library
from flow_bench.suites.ai import suite
from flow_bench.suites.ai.server import ModelServer, refuse_unless_asked

BARE = Library("flow_bench.suites.ai.callers.bare", "httpx2 and msgspec by hand", "httpx2", engine=False)
FLOW = Library("flow_bench.suites.ai.callers.node", "flow", "", ours=True)
LANGGRAPH = Library("flow_bench.peers.asked_langgraph", "LangGraph, ChatOpenAI", "langchain-openai")
PYDANTIC_AI = Library("flow_bench.peers.asked_pydantic", "pydantic-ai, OpenAIChatModel", "pydantic-ai-slim")
CONTENDERS = (BARE, FLOW, LANGGRAPH, PYDANTIC_AI)
OPERATIONS = {
    "ask": ("a call to a model, in a process of its own: CPU time", 1),
    "work": ("an agent that calls a tool, in a process of its own: CPU time", 2),
}
"""What is timed, and how many requests that is."""
IMPORTS = "importing it, in a process of its own: CPU time"


@dataclass(frozen=True)
class OfPeers:
    """How much to measure: ``calls`` of a sample, after ``warm`` ones; the most seconds of a sample."""

    rounds: int = 15
    calls: int = 30
    warm: int = 30
    patience: float = 60.0
    contenders: Sequence[Library] = CONTENDERS


@dataclass(frozen=True)
class Effort(suite.Effort):
    """How much to measure."""

    beside: OfPeers = field(default_factory=OfPeers)


def _quick() -> Effort:
    whole = suite.QUICK
    return Effort((), whole.calls, whole.limiter, whole.imports, whole.operations, OfPeers(rounds=3, calls=10, warm=5))


QUICK = _quick()


class Trial:
    """A contender, and what its samples took.

    :ivar seconds: by operation and round, of one. :ivar fault: why there are none, or no more.
    """

    def __init__(self, peer: Peer, server: ModelServer) -> None:
        self.peer, self.server = peer, server
        self.label = peer.contender.label
        self.fault = ""
        self.seconds: dict[str, dict[int, float]] = {operation: {} for operation in OPERATIONS}

    def begin(self) -> Row:
        """Start its process; return the row of its import."""
        row = Row(IMPORTS, self.label, "ms")
        try:
            hello = self.peer.ask("hello")
            row.figure, row.figures = hello["cpu"] * 1e3, {"MB": resident(hello["pid"]) / 1e6}
            row.note = " ".join(filter(None, [self.peer.contender.package, self.peer.contender.version]))
            self.peer.ask("open", url=self.server.url)
        except PeerFault as fault:
            self.fault = str(fault)
            row.note = f"n/a: {fault}"
        return row

    def sample(self, operation: str, turn: int, calls: int) -> None:
        """Take a sample of this round; round -1 is for warming up.

        :raises Refused: by answers that are not the server's, and by calls that it has not had.
        """
        if self.fault:
            return
        texts = [f"text {number} of round {turn}" for number in range(calls)]
        before = self.server.served()
        try:
            found = self.peer.ask("sample", operation=operation, texts=texts)
        except PeerFault as fault:
            self.fault = str(fault)
            return
        refuse_unless_asked(before, self.server.served(), calls * OPERATIONS[operation][1], self.label)
        wrong = [one for one, text in zip(found["answers"], texts, strict=True) if one != answer_to(text)]
        require(not wrong, self.label, f"{len(wrong)} of {calls} answers are not the server's: {wrong[:1]}")
        tools = texts if operation == "work" else []
        require(found["looked_up"] == tools, self.label, f"its tool was called for {found['looked_up'][:2]} ...")
        if turn >= 0:
            self.seconds[operation][turn] = Measured(found["seconds"] / calls, found["cpu"] / calls)


def beside(effort: OfPeers) -> Iterator[list[Row]]:
    """Yield a table of each operation, and what importing takes.

    :raises Refused: by a contender whose answers are wrong, and by flow if it cannot be measured at all.
    """
    with ModelServer() as server, ExitStack() as stack:
        peers = [stack.enter_context(closing(Peer(one, effort.patience, NAME))) for one in effort.contenders]
        trials = [Trial(peer, server) for peer in peers]
        imports = [trial.begin() for trial in trials]
        for turn, which in schedule(len(trials), effort.rounds):
            for operation in OPERATIONS:
                trials[which].sample(operation, turn, effort.warm if turn < 0 else effort.calls)
        for trial in trials:
            if trial.peer.contender.ours and trial.fault:
                raise Refused(trial.label, [trial.fault])
        yield from (_rows(trials, operation) for operation in OPERATIONS)
        yield imports


def _rows(trials: Sequence[Trial], operation: str) -> list[Row]:
    """In microseconds of CPU time; ratios to the call by hand in the same round. By the clock: a figure of the row."""
    section, base = OPERATIONS[operation][0], trials[0].seconds[operation]
    rows = []
    for trial in trials:
        seconds = trial.seconds[operation]
        mine = {turn: took for turn, took in seconds.items() if turn in base}
        cpu = [_cpu(took) for took in seconds.values()]
        row = Row(
            section, trial.label, "us", [one * US for one in cpu],
            ratios=ratios([_cpu(one) for one in mine.values()], [_cpu(base[turn]) for turn in mine]),
            note="" if seconds else f"n/a: {trial.fault}",
        )  # fmt: skip
        if seconds:
            row.figures["by the clock, us"] = sorted(seconds.values())[len(seconds) // 2] * US
        rows.append(row)
    return rows


def _cpu(took: float) -> float:
    """Seconds of CPU time, which know themselves as such."""
    cpu = took.cpu if isinstance(took, Measured) and took.cpu else float(took)
    return Measured(cpu, cpu)


SECTIONS: Mapping[str, Callable[[Effort], Iterable[list[Row]]]] = {
    **suite.SECTIONS,
    "beside": lambda effort: beside(effort.beside),
}
run = partial(suite.run, SECTIONS)
