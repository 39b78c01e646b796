"""Successive halving over configs, by rounds in which every one left is measured beside the default.

It knows nothing of plans: it is given something that measures a :class:`flow.tuning.measure.Trial`.
"""

from __future__ import annotations

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

CLEARLY: Final = 1.25
"""A setting that brings this much is kept even if there was no time to be sure of it."""

ENOUGH: Final = 6
"""Rounds from which an interval is drawn by resampling them."""

FEWEST: Final = 4
"""Rounds without which nothing is claimed."""

ROUNDS: Final = 61
"""Most rounds of a comparison of two."""

SAMPLE: Final = 0.025
"""Seconds that a sample of short runs takes, about."""

PATIENT: Final = 0.5
"""Seconds that the first run of any config may take."""

CONFIDENCE: Final = 0.99
DRAWS: Final = 1_000


class Measures(Protocol):
    """What the search needs of a bench."""

    def now(self) -> float:
        """Seconds on a monotonic scale."""
        ...

    def first(self, trial: Trial, most: float) -> None:
        """Run it for the first time, for ``most`` seconds; set ``trial.once``. :raises Refused: if it is not usable."""
        ...

    def sample(self, trial: Trial) -> float:
        """Measure it; less is better. :raises Refused: if it fails."""
        ...

    def settle(self) -> None:
        """Do what is due between two rounds."""
        ...


class Gain(msgspec.Struct, frozen=True):
    """How many times as good one config is as another: median and interval over paired rounds."""

    times: float
    low: float
    high: float
    rounds: int

    @property
    def sure(self) -> bool:
        """True if it is an improvement beyond noise; of few rounds, if they also differ less among them than from 1."""
        if self.rounds >= ENOUGH:
            return self.low > 1 + MARGIN
        return self.rounds >= FEWEST and self.low > max(1 + WIDE_MARGIN, self.high / self.low)

    @property
    def needed(self) -> bool:
        """False if one could as well do without: no gain, or one that noise may have made."""
        return self.rounds == 0 or (self.times >= 1 + MARGIN and (self.low > 1 or self.times >= CLEARLY))

    def than(self, other: str) -> str:
        """``2.10 times as good as none (1.95 to 2.30, 31 rounds)``."""
        between = f"{times(self.low)} to {times(self.high)}, {self.rounds} rounds"
        return f"{times(self.times)} times as good as {other} ({between})"


class Search:
    """The trials of one tuning.

    :param patience: a config whose one run takes so many times as long as the default's is given up.
    :param rounds: most rounds in the first step of halving.
    """

    def __init__(self, bench: Measures, default: Trial, patience: float, rounds: int = 7) -> None:
        self.bench = bench
        self.default = default
        self.patience = patience
        self.rounds = rounds
        self.trials: list[Trial] = []

    def explore(self, base: Config, factors: Iterable[Factor], until: float) -> list[Trial]:
        """Run each option of each factor for the first time; return those that are worth measuring."""
        return [t for factor in factors for t in self._along(base, factor, until)]

    def trial(self, config: Config) -> Trial:
        """Return the trial of a config, which is run for the first time unless it was before."""
        for known in (self.default, *self.trials):
            if known.config == config:
                return known
        trial = Trial(config)
        self.trials.append(trial)
        try:
            self.bench.first(trial, max(PATIENT, self.patience * self.default.once))
        except Refused as error:
            self._refuse(trial, error)
            return trial
        slower = trial.once / self.default.once
        if slower > self.patience:
            trial.note = f"given up: one run took {slower:.1f} times as long as the default's"
        return trial

    def halve(self, pool: Sequence[Trial], until: float) -> list[Trial]:
        """Measure ``pool`` in rounds, keep the better half, twice the rounds for those; return all, best first."""
        rest: list[Trial] = []
        left = list(pool)
        rounds = self._first_rounds(left, until)
        while left and self._rounds(left, rounds, until):
            left = [t for t in left if not t.note]
            left.sort(key=gain_of, reverse=True)
            if len(left) <= 1:
                break
            half = (len(left) + 1) // 2
            left, rest = left[:half], left[half:] + rest
            rounds *= 2
        return sorted((t for t in left if not t.note), key=gain_of, reverse=True) + rest

    def compare(self, one: Trial, other: Trial, until: float, most: int = ROUNDS) -> Gain:
        """How much better ``one`` is than ``other``, by rounds of both, in turning order; not at all if one fails."""
        found: list[float] = []
        while len(found) < most and (self.bench.now() < until or len(found) < FEWEST):
            self.bench.settle()
            pair = (one, other) if len(found) % 2 else (other, one)
            taken = {id(trial): self._sample(trial) for trial in pair}
            mine, its = taken[id(one)], taken[id(other)]
            if mine is None or its is None:
                return Gain(0.0, 0.0, 0.0, 0)
            found.append(its / mine)
            one.samples.append(mine)
            other.samples.append(its)
        return gain(found)

    def _first_rounds(self, pool: Sequence[Trial], until: float) -> int:
        """How many rounds the first step of halving can have, if each step is to take about as long."""
        steps = len(pool).bit_length()
        seconds = sum(max(trial.once, SAMPLE) for trial in (self.default, *pool))
        return max(1, min(self.rounds, int((until - self.bench.now()) / (seconds * max(steps, 1)))))

    def _along(self, base: Config, factor: Factor, until: float) -> list[Trial]:
        found: list[Trial] = []
        for changes in factor.options:
            if self.bench.now() >= until:
                break
            config = made(base, changes)
            if config is None:
                continue
            trial = self.trial(config)
            if not trial.note and trial is not self.default:
                found.append(trial)
            least = min(t.once for t in (self.default, *found))
            if factor.descending and trial.once > self.patience * least:
                break
        return found

    def _rounds(self, pool: Sequence[Trial], rounds: int, until: float) -> bool:
        """Measure everyone beside the default, ``rounds`` times; False if time ran out before the end."""
        everyone = [self.default, *pool]
        for turn in range(rounds):
            self.bench.settle()
            taken: list[tuple[Trial, float]] = []
            for k in range(len(everyone)):
                if self.bench.now() >= until:
                    break
                trial = everyone[(turn + k) % len(everyone)]
                sample = None if trial.note else self._sample(trial)
                if sample is not None:
                    taken.append((trial, sample))
            base = next((sample for trial, sample in taken if trial is self.default), None)
            if base is not None:
                for trial, sample in taken:
                    trial.samples.append(sample)
                    trial.ratios.append(base / sample)
            if self.bench.now() >= until:
                return False
        return True

    def _sample(self, trial: Trial) -> float | None:
        try:
            return self.bench.sample(trial)
        except Refused as error:
            self._refuse(trial, error)
            return None

    def _refuse(self, trial: Trial, error: Refused) -> None:
        trial.note = f"not usable: {error}"


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
