"""A hundred completions at once, at one lock: each by its own thread, or all by one.

A completion is what an engine notes when a node has ended: its status in a :class:`flow.plan.StatusTracker` and its
output in a :class:`flow.WorkflowData` with ``locked=True``. Each of them takes its lock. The threads exist before, and
wait at a barrier. The clock runs from the barrier's opening until all is noted. The row of threads that note nothing
says how much of that is their waking up.

The locks taken are counted by a process of its own (:mod:`flow_bench.suites.engine.locks`). They are as many in both
ways, because neither the tracker nor the store has a call that notes many completions: handing in saves threads that
wait for one another, not locks. A run of flow takes none of its own locks: one thread notes whatever ends, wherever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from threading import Barrier, Thread
from typing import Any

import flow
from flow_bench.harness.child import child
from flow_bench.harness.contender import Contender, ready
from flow_bench.harness.interleave import interleave
from flow_bench.harness.rows import Row

COMPLETIONS = 100
NAMES = [f"n{i}" for i in range(COMPLETIONS)]
SECTION = f"{COMPLETIONS} completions at one lock"
ALONE = "one thread, one by one: nobody else wants the lock"


class Books:
    """Where completions are noted."""

    def __init__(self) -> None:
        self.tracker = flow.plan.StatusTracker(NAMES)
        self.data = flow.WorkflowData(flow.DataConfig(locked=True))
        for name in NAMES:
            self.tracker.set(name, "ready")
            self.tracker.set(name, "running")

    def complete(self, i: int) -> None:
        self.tracker.set(NAMES[i], "completed")
        self.data.set(NAMES[i], i)

    @property
    def whole(self) -> bool:
        noted = [self.data.get(name) for name in NAMES]
        return self.tracker.count("completed") == COMPLETIONS and noted == list(range(COMPLETIONS))


class Trial:
    """One contender: fresh books and threads at a barrier before each sample, untimed.

    :param how: ``each`` thread notes its own; ``batched`` threads hand theirs in and one notes all; threads that
        note ``nothing``; or none, and ``one`` thread notes all.
    """

    def __init__(self, how: str) -> None:
        self.how = how

    def prepare(self) -> None:
        self.books = Books()
        self.handed_in: list[int] = []
        self.acted: list[int] = []
        self.gate = Barrier(COMPLETIONS + 1)
        acts = {"each": self.books.complete, "batched": self.handed_in.append, "nothing": lambda i: None}
        act = acts.get(self.how)
        self.threads = [Thread(target=self._work, args=(act, i)) for i in range(COMPLETIONS if act else 0)]
        for thread in self.threads:
            thread.start()

    def _work(self, act: Callable[[int], object], i: int) -> None:
        self.gate.wait()
        act(i)
        self.acted.append(i)

    def run(self) -> Trial:
        if self.threads:
            self.gate.wait()
        else:
            self.handed_in = list(range(COMPLETIONS))
        for thread in self.threads:
            thread.join()
        for i in self.handed_in:
            self.books.complete(i)
        return self

    @staticmethod
    def done(trial: Any) -> bool:
        """Tell whether all was noted that was to be, and every thread did its part."""
        acted = not trial.threads or sorted(trial.acted) == list(range(COMPLETIONS))
        return acted and (trial.how == "nothing" or trial.books.whole)


WAYS = {
    f"{COMPLETIONS} threads, each notes its own": "each",
    f"{COMPLETIONS} threads hand in, one notes the batch": "batched",
    f"{COMPLETIONS} threads note nothing": "nothing",
    ALONE: "one",
}


def trials() -> list[Contender]:
    """Return the ways to note a hundred completions."""
    made = [(label, Trial(how)) for label, how in WAYS.items()]
    return [ready(label, trial.run, Trial.done, before=trial.prepare) for label, trial in made]


def run(rounds: int) -> list[Row]:
    """Return a row per way, in us per completion, with its ratio to the first; then the locks taken."""
    samples = interleave(trials(), rounds, memory=False)
    rows = samples.rows(SECTION, "us", per=COMPLETIONS, nodes=COMPLETIONS)
    for row, seconds in zip(rows, samples.values(), strict=True):
        row.figures = {"per_s": COMPLETIONS / median(seconds)}
    return [*rows, *lock_rows(child("suites.engine.locks"))]


LOCKS = {"each": "locks taken: one by one", "batched": "locks taken: batched"}
IN_A_RUN = f"locks taken: a run of {COMPLETIONS} nodes in threads"


def lock_rows(counts: Mapping[str, Mapping[str, int]]) -> list[Row]:
    """Return how many locks all completions of a way take, and a run of as many nodes."""
    found = [(label, counts[how], "waited", "of a StatusTracker and a WorkflowData") for how, label in LOCKS.items()]
    found.append((IN_A_RUN, counts["run"], "flow", "the others are the standard library's: threads, futures, the loop"))
    return [
        Row(
            SECTION, label, "locks", [float(count["taken"])], nodes=COMPLETIONS, note=note,
            figures={"of flow" if more == "flow" else more: count[more]},
        )
        for label, count, more, note in found
    ]  # fmt: skip
