"""Successive halving over configs, by rounds in which every one left is measured beside the default.

It knows nothing of plans: it is given something that measures a :class:`flow.tuning.measure.Trial`.
"""

from __future__ import annotations

import gc
import random
from collections.abc import Iterable, Sequence
from statistics import median
from typing import Final, Protocol

import msgspec

from flow.config import Config
from flow.tuning.candidates import Factor, made
from flow.tuning.measure import Refused, Trial

MARGIN: Final = 0.03
"""A gain counts from 1 + this on."""

WIDE_MARGIN: Final = 0.10
"""The same where there was time for fewer than :data:`ENOUGH` rounds."""

ENOUGH: Final = 6
"""Rounds from which an interval is drawn by resampling them."""

FEWEST: Final = 3
"""Rounds without which nothing is claimed."""

ROUNDS: Final = 31
"""Most rounds of a comparison of two."""

CONFIDENCE: Final = 0.99
DRAWS: Final = 1_000


class Measures(Protocol):
    """What the search needs of a bench."""

    def now(self) -> float:
        """Seconds on a monotonic scale."""

    def first(self, trial: Trial) -> None:
        """Run it for the first time; set ``trial.once``. :raises Refused: if it cannot be used."""

    def sample(self, trial: Trial) -> float:
        """Measure it; less is better."""


class Gain(msgspec.Struct, frozen=True):
    """How many times as good one config is as another: median and interval over paired rounds."""

    times: float
    low: float
    high: float
    rounds: int

    @property
    def sure(self) -> bool:
        """True if it is an improvement beyond noise."""
        margin = MARGIN if self.rounds >= ENOUGH else WIDE_MARGIN
        return self.rounds >= FEWEST and self.low > 1 + margin

    def __str__(self) -> str:
        return f"{times(self.times)} times ({times(self.low)} to {times(self.high)})"


class Search:
    """The trials of one tuning.

    :param patience: a config whose one run takes so many times as long as the default's is given up.
    """

    def __init__(self, bench: Measures, default: Trial, patience: float) -> None:
        self.bench = bench
        self.default = default
        self.patience = patience
        self.trials: list[Trial] = []

    def explore(self, base: Config, factors: Iterable[Factor], until: float) -> list[Trial]:
        """Run each option of each factor for the first time; return those that are worth measuring."""
        return [t for factor in factors for t in self._along(base, factor, until)]

    def add(self, config: Config) -> Trial | None:
        """Run a config for the first time; None if it is the default, was tried before, or cannot be used."""
        if config == self.default.config or any(t.config == config for t in self.trials):
            return None
        trial = Trial(config)
        self.trials.append(trial)
        try:
            self.bench.first(trial)
        except Refused as error:
            trial.note = f"not usable: {error}"
            return None
        slower = trial.once / self.default.once
        if slower > self.patience:
            trial.note = f"given up: one run took {slower:.1f} times as long as the default's"
        return trial

    def halve(self, pool: Sequence[Trial], until: float, rounds: int = 2) -> list[Trial]:
        """Measure ``pool`` in rounds, keep the better half, twice the rounds for those; return all, best first."""
        rest: list[Trial] = []
        left = list(pool)
        while left and self._rounds(left, rounds, until):
            left.sort(key=gain_of, reverse=True)
            if len(left) == 1:
                break
            half = (len(left) + 1) // 2
            left, rest = left[:half], left[half:] + rest
            rounds *= 2
        return sorted(left, key=gain_of, reverse=True) + rest

    def compare(self, one: Trial, other: Trial, until: float, most: int = ROUNDS) -> Gain:
        """How much better ``one`` is than ``other``, by rounds of both, in turning order."""
        found: list[float] = []
        while len(found) < most and (self.bench.now() < until or len(found) < FEWEST):
            gc.collect()
            pair = (one, other) if len(found) % 2 else (other, one)
            seconds = {id(trial): self.bench.sample(trial) for trial in pair}
            found.append(seconds[id(other)] / seconds[id(one)])
            one.samples.append(seconds[id(one)])
        return gain(found)

    def _along(self, base: Config, factor: Factor, until: float) -> list[Trial]:
        found: list[Trial] = []
        for changes in factor.options:
            if self.bench.now() >= until:
                break
            config = made(base, changes)
            trial = None if config is None else self.add(config)
            if trial is None:
                continue
            if not trial.note:
                found.append(trial)
            least = min(t.once for t in (self.default, *found))
            if factor.descending and trial.once > self.patience * least:
                break
        return found

    def _rounds(self, pool: Sequence[Trial], rounds: int, until: float) -> bool:
        """Measure everyone beside the default, ``rounds`` times; False if time ran out before the end."""
        everyone = [self.default, *pool]
        for turn in range(rounds):
            gc.collect()
            taken: dict[int, float] = {}
            for k in range(len(everyone)):
                if self.bench.now() >= until:
                    break
                trial = everyone[(turn + k) % len(everyone)]
                taken[id(trial)] = self.bench.sample(trial)
            base = taken.get(id(self.default))
            for trial in everyone:
                if base is not None and id(trial) in taken:
                    trial.samples.append(taken[id(trial)])
                    trial.ratios.append(base / taken[id(trial)])
            if len(taken) < len(everyone):
                return False
        return True


def gain_of(trial: Trial) -> float:
    """Median of a trial's ratios; 0 if there are none."""
    return median(trial.ratios) if trial.ratios else 0.0


def gain(ratios: Sequence[float]) -> Gain:
    """Median of ratios with its interval: by bootstrap, or from the lowest to the highest of a few. O(draws * n)."""
    if len(ratios) < ENOUGH:
        return Gain(median(ratios), min(ratios), max(ratios), len(ratios))
    drawn = random.Random(0)
    medians = sorted(median(drawn.choices(ratios, k=len(ratios))) for _ in range(DRAWS))
    tail = int(DRAWS * (1 - CONFIDENCE) / 2)
    return Gain(median(ratios), medians[tail], medians[-1 - tail], len(ratios))


def times(value: float) -> str:
    """A ratio as text, with three significant digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
