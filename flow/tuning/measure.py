"""Runs a plan under one config after another: takes its time or its peak, and counts the runs."""

from __future__ import annotations

import gc
import math
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any, Final

from flow.config import Config
from flow.errors import described, note
from flow.plan.plan import Plan
from flow.run.api import run
from flow.run.result import Result
from flow.tuning.candidates import Objective

BATCH: Final = 0.005
"""Seconds of back-to-back runs in one sample of the throughput."""

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

    # -- the first runs ----------------------------------------------------------------------

    def probe(self, default: Trial) -> None:
        """Run the default twice: for the time of one run, and for the outputs that no run changes.

        :raises RunError: the user's own failure.
        """
        first = self._outcome(self._run(default.config)[1])
        default.once, result = self._run(default.config)
        second = self._outcome(result)
        self.uses_data = any(kind == "data" for kind, _ in second) or bool(result.data.statistics().operations)
        self._expected = {key: value for key, value in second.items() if key in first and _same(first[key], value)}

    def first(self, trial: Trial) -> None:
        """Run a candidate for the first time.

        :raises Refused: if it fails, or what it leaves is not what the default leaves.
        """
        try:
            trial.once, result = self._run(trial.config)
            found = self._outcome(result)
        except Exception as error:
            raise Refused(described(error)) from error
        for key, value in self._expected.items():
            kind, name = key
            if key not in found and (kind == "data" or trial.config.keep == "all"):
                raise Refused(f"it leaves no {kind} {name!r}")
            if key in found and not _same(found[key], value):
                raise Refused(f"it changes {kind} {name!r}")
        for _ in range(2 if trial.once < BATCH else 0):
            trial.once = min(trial.once, self._run(trial.config)[0])

    def forget(self) -> None:
        """Let go of the outputs that candidates are compared with."""
        self._expected = {}

    # -- samples -----------------------------------------------------------------------------

    def sample(self, trial: Trial) -> float:
        """One sample of the objective: seconds per run, the 95th percentile of runs one by one, or peak bytes."""
        if self.objective == "memory":
            return self._peak(trial.config)
        if self.objective == "throughput":
            return self.batch(trial)
        times = sorted(self._run(trial.config)[0] for _ in range(_between(1, 0.05, trial.once, SINGLES)))
        return times[math.ceil(0.95 * len(times)) - 1]

    def batch(self, trial: Trial) -> float:
        """Seconds per run of as many back-to-back runs as make it long against the clock."""
        given = [self._inputs() for _ in range(_between(1, BATCH, trial.once, 1_000))]
        plan, targets, config, now = self.plan, self._targets, trial.config, self.now
        began = now()
        for inputs in given:
            self.runs += 1
            result = run(plan, inputs, targets=targets, config=config)
            if not result.ok:
                self._fail(result)
            del result
        return max(now() - began, 1e-9) / len(given)

    def _peak(self, config: Config) -> float:
        gc.collect()
        was_on = tracemalloc.is_tracing()
        if not was_on:
            tracemalloc.start()
        try:
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            self._run(config)
            return float(max(tracemalloc.get_traced_memory()[1] - before, 1))
        finally:
            if not was_on:
                tracemalloc.stop()

    # -- runs --------------------------------------------------------------------------------

    def _run(self, config: Config) -> tuple[float, Result]:
        inputs = self._inputs()
        self.runs += 1
        began = self.now()
        result = run(self.plan, inputs, targets=self._targets, config=config)
        took = max(self.now() - began, 1e-9)
        if not result.ok:
            self._fail(result)
        return took, result

    def _fail(self, result: Result) -> None:
        error = result.error()
        assert error is not None  # it is not ok
        raise error

    def _outcome(self, result: Result) -> dict[Any, Any]:
        """What the run left: outputs and data, to be compared with those of another run."""
        left: dict[Any, Any] = {("output", name): value for name, value in result.outputs.items()}
        left.update({("data", key): value for key, value in result.data.items()})
        return left


def blamed(error: BaseException, plan: Plan, runs: int) -> None:
    """Say on a user's exception that it ended the tuning."""
    note(error, f"flow.tune was running dag {plan.name!r} for the {runs:,}. time, under the config it is to beat")


def _between(least: int, seconds: float, once: float, most: int) -> int:
    return max(least, min(most, math.ceil(seconds / max(once, sys.float_info.min))))


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values are known to be equal; what cannot be compared is not."""
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:
        return False
