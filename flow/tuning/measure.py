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
from flow.run.result import Result, duration
from flow.run.state import is_sync_run
from flow.tuning.candidates import Objective

BATCH: Final = 0.02
"""Seconds of back-to-back runs in one sample of the throughput."""

SHORT: Final = 0.005
"""Seconds under which a first run is repeated before it is judged."""

COLD: Final = 0.5
"""Seconds over which it is not imports, threads and event loops being started that make a first run slow."""

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
        self._may_hang = False
        self._default: Trial | None = None
        self._next_collection = float("-inf")

    # -- the first runs ----------------------------------------------------------------------

    def probe(self, default: Trial, most: float) -> None:
        """Run the default twice: for the time of one run, and for the outputs that no run changes.

        It is left at one run if that takes over ``most`` seconds.

        :raises RunError: the user's own failure.
        """
        self._default = default
        self._may_hang = not is_sync_run(self.plan, default.config)
        default.once, result = self._run(default)
        if default.once > most:
            return
        first = self._outcome(result)
        default.once, result = self._run(default)
        used = bool(result.data.statistics().operations)  # before others are added
        second = self._outcome(result)
        self.uses_data = used or any(kind == "data" for kind, _ in second)
        self._expected = {key: value for key, value in second.items() if key in first and _same(first[key], value)}
        self._again(default)

    def first(self, trial: Trial, most: float) -> None:
        """Run a candidate for the first time; end it after ``most`` seconds, as its nodes may wait for one another.

        :raises Refused: if it fails, or what it leaves is not what the default leaves.
        """
        trial.once, result = self._run(trial, most if self._may_hang else None)
        found = self._outcome(result)
        if self._changes(trial, found):
            self._expect_less()
        if changes := self._changes(trial, found):
            raise Refused(changes)
        self._again(trial)

    def _changes(self, trial: Trial, found: dict[Any, Any]) -> str:
        """Say in what a candidate differs from the default; nothing if it does not."""
        for key, value in self._expected.items():
            kind, name = key
            if key not in found and (kind == "data" or trial.config.keep == "all"):
                return f"it leaves no {kind} {name!r}"
            if key in found and not _same(found[key], value):
                return f"it changes {kind} {name!r}"
        return ""

    def _expect_less(self) -> None:
        """Run the default again, and expect no longer what changes by itself, as the time of day does."""
        assert self._default is not None
        for _ in range(2):
            found = self._outcome(self._run(self._default)[1])
            self._expected = {k: v for k, v in self._expected.items() if k in found and _same(found[k], v)}

    def forget(self) -> None:
        """Let go of the outputs that candidates are compared with."""
        self._expected = {}

    def settle(self) -> None:
        """Collect garbage between rounds, so that no config pays for another's; seldom, where that takes long.

        Not for ``memory``: a full collection empties CPython's free lists, and the next run would pay for it.
        """
        began = self.now()
        if self.objective != "memory" and began >= self._next_collection:
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
        """Repeat a first run that says little: a short one, or one that may have been slow by what it imports."""
        assert self._default is not None
        cold = 2 * self._default.once < trial.once < COLD
        for _ in range(2 if trial.once < SHORT or cold else 0):
            trial.once = min(trial.once, self._run(trial)[0])

    def _run(self, trial: Trial, most: float | None = None) -> tuple[float, Result]:
        config = trial.config
        ends_it = most is not None and (config.timeout is None or most < config.timeout)
        if ends_it:
            config = config.replace(timeout=most)
        inputs = self._inputs()
        began = self.now()
        try:
            result = self._once(trial, config, inputs)
        except Refused as refused:
            trial.once = self.now() - began
            if ends_it and getattr(refused.__cause__, "timed_out", False):
                raise Refused(f"one run had not ended after {duration(trial.once)}") from refused
            raise
        return max(self.now() - began, 1e-9), result

    def _once(self, trial: Trial, config: Config, inputs: Mapping[str, Any] | None) -> Result:
        self.runs += 1
        try:
            result = run(self.plan, inputs, targets=self._targets, config=config)
            error: Exception | None = result.error(tolerated=False)
        except Exception as raised:
            error = raised
        else:
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
