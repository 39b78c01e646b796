"""Runs a plan under one config after another: takes its time or its peak, and counts the runs."""

from __future__ import annotations

import gc
import math
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final

from flow.config import Config
from flow.errors import described, note
from flow.plan.plan import Plan
from flow.run.api import run
from flow.run.result import Result
from flow.tuning.candidates import Objective

BATCH: Final = 0.02
"""Seconds of back-to-back runs in one sample of the throughput."""

SHORT: Final = 0.005
"""Seconds under which a first run is repeated before it is judged."""

SINGLES: Final = 20
"""Most runs in one sample of the latency, of which it is the 95th percentile."""


class Refused(Exception):
    """A config under which the plan does not do what it does by default."""


class Trial:
    """One config while it is being measured.

    :ivar once: seconds that its first runs took.
    :ivar samples: seconds or bytes, a sample per round; less is better.
    :ivar ratios: the default's sample over its own, in the same round.
    :ivar note: why it was given up.
    """

    __slots__ = ("config", "note", "once", "ratios", "samples")

    def __init__(self, config: Config) -> None:
        self.config = config
        self.once = 0.0
        self.samples: list[float] = []
        self.ratios: list[float] = []
        self.note = ""


class Bench:
    """Measures runs of one plan.

    :param inputs: called before each run, untimed.
    :ivar runs: how often the plan has been run.
    """

    def __init__(
        self,
        plan: Plan,
        inputs: Callable[[], Mapping[str, Any] | None],
        targets: Any,
        objective: Objective,
        timer: Callable[[], float],
    ) -> None:
        self.plan = plan
        self.objective = objective
        self.now = timer
        self.runs = 0
        self.uses_data = False
        self._inputs = inputs
        self._targets = targets
        self._expected: dict[Any, Any] = {}
        self._default: Trial | None = None
        self._next_collection = float("-inf")

    # -- the first runs ----------------------------------------------------------------------

    def probe(self, default: Trial) -> None:
        """Run the default twice: for the time of one run, and for the outputs that no run changes.

        :raises RunError: the user's own failure.
        """
        self._default = default
        first = self._outcome(self._run(default)[1])
        default.once, result = self._run(default)
        used = bool(result.data.statistics().operations)  # before others are added
        second = self._outcome(result)
        self.uses_data = used or any(kind == "data" for kind, _ in second)
        self._expected = {key: value for key, value in second.items() if key in first and _same(first[key], value)}
        self._again(default)

    def first(self, trial: Trial) -> None:
        """Run a candidate for the first time.

        :raises Refused: if it fails, or what it leaves is not what the default leaves.
        """
        trial.once, result = self._run(trial)
        found = self._outcome(result)
        for key, value in self._expected.items():
            kind, name = key
            if key not in found and (kind == "data" or trial.config.keep == "all"):
                raise Refused(f"it leaves no {kind} {name!r}")
            if key in found and not _same(found[key], value):
                raise Refused(f"it changes {kind} {name!r}")
        self._again(trial)

    def forget(self) -> None:
        """Let go of the outputs that candidates are compared with."""
        self._expected = {}

    def settle(self) -> None:
        """Collect garbage between rounds, so that no config pays for another's; seldom, where that takes long."""
        began = self.now()
        if began >= self._next_collection:
            gc.collect()
            ended = self.now()
            self._next_collection = ended + 20 * (ended - began)

    # -- samples -----------------------------------------------------------------------------

    def sample(self, trial: Trial) -> float:
        """One sample of the objective: median seconds per run, the 95th percentile of runs one by one, or peak bytes.

        :raises Refused: if a candidate fails.
        :raises RunError: if the default does.
        """
        if self.objective == "memory":
            return self._peak(trial)
        if self.objective == "throughput":
            return self.batch(trial)
        times = sorted(self._run(trial)[0] for _ in range(_between(1, 0.05, trial.once, SINGLES)))
        return times[math.ceil(0.95 * len(times)) - 1]

    def batch(self, trial: Trial) -> float:
        """Seconds per run: the median of as many back-to-back runs as make it long against the clock."""
        return median(self._run(trial)[0] for _ in range(_between(1, BATCH, trial.once, 1_000)))

    def _peak(self, trial: Trial) -> float:
        gc.collect(1)  # what is new; all of it takes long in a large program
        was_on = tracemalloc.is_tracing()
        if not was_on:
            tracemalloc.start()
        try:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            self._run(trial)
            return float(max(tracemalloc.get_traced_memory()[1] - before, 1))
        finally:
            if not was_on:
                tracemalloc.stop()

    # -- runs --------------------------------------------------------------------------------

    def _again(self, trial: Trial) -> None:
        for _ in range(2 if trial.once < SHORT else 0):
            trial.once = min(trial.once, self._run(trial)[0])

    def _run(self, trial: Trial) -> tuple[float, Result]:
        inputs = self._inputs()
        began = self.now()
        result = self._once(trial, inputs)
        return max(self.now() - began, 1e-9), result

    def _once(self, trial: Trial, inputs: Mapping[str, Any] | None) -> Result:
        self.runs += 1
        try:
            result = run(self.plan, inputs, targets=self._targets, config=trial.config)
            error: Exception | None = None if result.ok else result.error()
        except Exception as raised:
            error = raised
        if error is None:
            return result
        if trial is not self._default:
            raise Refused(described(error)) from error
        note(error, f"flow.tune was running dag {self.plan.name!r} by its default config, run {self.runs:,}")
        raise error

    def _outcome(self, result: Result) -> dict[Any, Any]:
        """What the run left: outputs and data, to be compared with those of another run."""
        left: dict[Any, Any] = {("output", name): value for name, value in result.outputs.items()}
        left.update({("data", key): value for key, value in result.data.items()})
        return left


def _between(least: int, seconds: float, once: float, most: int) -> int:
    return max(least, min(most, math.ceil(seconds / max(once, sys.float_info.min))))


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are known to be equal; what cannot be compared is not."""
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:
        return False
