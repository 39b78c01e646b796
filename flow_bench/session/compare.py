"""What differs between two runs, row by row, and whether it is more than noise.

**What is compared.** A pass of a row gives one value: the median of its rounds' ratios, to the contender or the
calibration loop that stood in the same round, so that a slow machine or minute is on both sides of it. They are of CPU
time, where that was taken (all that computes): other processes stretch a round by the clock, and the longer of the two
more often. Rows without ratios give the median of their seconds or bytes. Not compared are rows of baselines (all
their ratios are 1), which others are measured by, and times that are a percentile or a maximum: what else the machine
did makes those.

**How it is decided.** Rounds of one process are no independent witnesses: two processes of the same code differ, so the
passes are the sample, and rounds only make a pass's value steady (T. Kalibera, R. Jones, *Rigorous Benchmarking
in Reasonable Time*, ISMM 2013). On the logarithms of the passes' values:

1. The variance between passes is pooled over both runs, and moderated: with few passes it is itself a poor estimate,
   so it is averaged with the typical one of all rows of its kind, which counts as :data:`PRIOR` degrees of freedom
   (G. K. Smyth, *Linear models and empirical Bayes methods*, Stat. Appl. Genet. Mol. Biol. 3, 2004).
2. Minutes differ too, by what no pass of a run of two minutes shows. :data:`DRIFT` is added for it; for times by the
   clock :data:`DRIFT_BY_CLOCK`, and more if the load average of the machine was another; for servers
   :data:`DRIFT_OF_SERVERS`.
3. Which rows differ is decided for all at once, so that the *false discovery rate* is :data:`RATE`: where no row
   differs, that is the chance that any is called different; where many do, each needs less evidence (Y. Benjamini,
   Y. Hochberg, J. R. Stat. Soc. B 57:1, 1995, on Student's t of each row).
4. The intervals are those that go with it: they leave out 1 exactly where a row differs, and hold for those at once
   (Y. Benjamini, D. Yekutieli, *False Discovery Rate-Adjusted Multiple Confidence Intervals*, JASA 100, 2005).
5. Below :data:`MARGIN` nothing is called ``slower`` or ``faster``. ``same`` means: not shown to differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import exp, expm1, log, pi, sqrt
from statistics import NormalDist, fmean, median, variance
from typing import Any, Literal

from flow_bench.harness.rows import Identity

RATE = 0.02
MARGIN = 0.05
PRIOR = 4.0
DRIFT = 0.01
"""Standard deviation, as a part of the value, between runs of the same code, beyond what their passes show."""
DRIFT_BY_CLOCK = 0.03
DRIFT_BY_LOAD = 0.1
"""The same for times by the clock: so much, and so much for each process more that ran beside one of the runs."""
DRIFT_OF_SERVERS = 0.1
"""The same for servers: they and what drives them are woken by each other, in the caches and on the cores of all."""
SERVERS = ("api", "ai")

By = Literal["ratio", "time", "size"]
Verdict = Literal["slower", "faster", "same"]
TIMES = ("ns", "us", "ms", "s")
NEWS = ("only in ", "in ")
"""How reasons begin, for which rows are not compared, that tell of a difference: in one run only, in another unit."""


@dataclass(frozen=True)
class Change:
    """One row in both runs.

    :ivar by: what was compared: ratios taken within each run (which hold between machines), times, or sizes.
    :ivar ratio: the second run's value over the first's (where more is better, the first's over the second's): above
        1 is worse. ``low`` and ``high`` are its interval.
    """

    identity: Identity
    by: By
    ratio: float
    low: float
    high: float
    verdict: Verdict
    before: float
    after: float
    unit: str


@dataclass(frozen=True)
class Comparison:
    """All rows of two runs.

    :ivar apart: rows that are in one run only, or cannot be compared, each with the reason.
    :ivar machines: what differs between the machines, in words; empty if it is one.
    """

    changes: list[Change]
    apart: list[tuple[Identity, str]] = field(default_factory=list)
    machines: list[str] = field(default_factory=list)

    def of(self, verdict: Verdict) -> list[Change]:
        """Rows of this verdict: those that differ, the most different first; the same in their order."""
        found = [change for change in self.changes if change.verdict == verdict]
        return found if verdict == "same" else sorted(found, key=lambda change: -abs(log(change.ratio)))

    def over(self, percent: float) -> list[Change]:
        """Rows slower by more than ``percent``, even at the lower end of their intervals.

        Between two machines only those compared by ratios, since times are theirs.
        """
        limit = 1 + percent / 100
        return [c for c in self.of("slower") if c.low > limit and (c.by == "ratio" or not self.machines)]


@dataclass(frozen=True)
class Pair:
    """The logarithms of one row's values, by pass, in both runs; ``cpu`` if they are of CPU time."""

    row: Mapping[str, Any]
    by: By
    cpu: bool
    before: list[float]
    after: list[float]

    @property
    def by_clock(self) -> bool:
        """Whether other processes on the machine lengthen it."""
        return not self.cpu and self.by != "size"

    @property
    def degrees(self) -> int:
        """Of freedom, of :attr:`variance`."""
        return len(self.before) + len(self.after) - 2

    @property
    def variance(self) -> float:
        """Between passes, pooled over both runs."""
        squares = sum(variance(side) * (len(side) - 1) for side in (self.before, self.after) if len(side) > 1)
        return squares / self.degrees if self.degrees else 0.0


def compare(before: Mapping[str, Any], after: Mapping[str, Any]) -> Comparison:
    """Compare two runs' documents.

    :return: every row of either run: judged, or set apart with the reason. O(rows log rows).
    """
    old, new = ({_identity(row): row for row in document["rows"]} for document in (before, after))
    found = {one: _pair(old[one], row) if one in old else "only in the second run" for one, row in new.items()}
    pairs = [pair for pair in found.values() if isinstance(pair, Pair)]
    apart = [(identity, why) for identity, why in found.items() if isinstance(why, str)]
    apart += [(identity, "only in the first run") for identity in old if identity not in new]
    kinds: dict[tuple[By, bool], list[Pair]] = {}
    for pair in pairs:
        kinds.setdefault((pair.by, pair.cpu), []).append(pair)
    typical = {kind: _typical(many) for kind, many in kinds.items()}
    load = abs(_load(after) - _load(before))
    tests = [_test(pair, typical[pair.by, pair.cpu], load) for pair in pairs]
    chance = discoverable([(abs(difference) / error, degrees) for difference, error, degrees in tests])
    changes = [_judged(pair, *test, chance) for pair, test in zip(pairs, tests, strict=True)]
    return Comparison(changes, apart, _differences(before["machine"], after["machine"]))


def _identity(row: Mapping[str, Any]) -> Identity:
    return row["suite"], row["section"], row["label"], row["nodes"], row["topology"]


def _pair(old: Mapping[str, Any], new: Mapping[str, Any]) -> Pair | str:
    """Return both sides by pass, or why there is nothing to compare."""
    if old["figure"] is None or new["figure"] is None:
        return new["note"] or old["note"] or "no figure"
    if new.get("better") == "zero":
        return "it should be about zero, where a ratio means nothing"
    if new.get("better") == "none":
        return "told alone: what else the machine did makes it"
    if old["unit"] != new["unit"]:
        return f"in {old['unit']} before, in {new['unit']} now"
    by = _by(old, new)
    if by is None:
        return "a baseline: others are measured by it"
    if by == "time" and (_is_extreme(old) or _is_extreme(new)):
        return "a percentile or maximum: what else the machine did makes it"
    cpu = bool(old.get("cpu") and new.get("cpu"))
    among = "cpu" if cpu else "ratios" if old["ratios"] and new["ratios"] else "figure"
    sides = [_values(row, among) for row in (old, new)]
    if min(map(min, sides)) <= 0:
        return "zero or less"
    return Pair(new, by, cpu, *[[log(value) for value in side] for side in sides])


def _is_extreme(row: Mapping[str, Any]) -> bool:
    return any(one["samples"] and one["figure"] != median(one["samples"]) for one in row["passes"])


def _by(old: Mapping[str, Any], new: Mapping[str, Any]) -> By | None:
    ratios = [*old["ratios"], *new["ratios"]]
    if old["ratios"] and new["ratios"]:
        return None if set(ratios) == {1.0} else "ratio"
    return "time" if new["unit"].split()[0] in TIMES else "ratio" if new["unit"] == "x" else "size"


def _values(row: Mapping[str, Any], among: str) -> list[float]:
    """One value of each pass that has any."""
    found = [one[among] for one in row["passes"] if one[among] not in (None, [])]
    return found if among == "figure" else [median(many) for many in found]


# -- statistics ------------------------------------------------------------------------------


def _typical(pairs: Sequence[Pair]) -> float:
    """The median variance between passes; a median of variances is less than their mean by a factor of chi square."""
    found = [pair.variance / (1 - 2 / (9 * pair.degrees)) ** 3 for pair in pairs if pair.degrees]
    return median(found) if found else 0.0


def _load(document: Mapping[str, Any]) -> float:
    """The load average of five minutes, taken when the run ended; 0 if it is not known."""
    found = document["machine"].get("load") or [0.0]
    return float(found[min(1, len(found) - 1)])


def _test(pair: Pair, typical: float, load: float) -> tuple[float, float, float]:
    """How far apart a pair's sides are (above 0: worse), the standard error of that, and its degrees of freedom."""
    degrees = pair.degrees + PRIOR
    moderated = (pair.degrees * pair.variance + PRIOR * typical) / degrees
    drift = DRIFT_BY_CLOCK + DRIFT_BY_LOAD * load if pair.by_clock else DRIFT
    if pair.row["suite"] in SERVERS and pair.by != "size":
        drift = max(drift, DRIFT_OF_SERVERS)
    error = sqrt(moderated * (1 / len(pair.before) + 1 / len(pair.after)) + 2 * drift**2)
    difference = fmean(pair.after) - fmean(pair.before)
    return -difference if pair.row.get("better") == "higher" else difference, error, degrees


def discoverable(tests: Sequence[tuple[float, float]]) -> float:
    """Return the chance below which a row's distance is no chance: :data:`RATE` x rows that differ / rows.

    :param tests: distance and degrees of freedom of each row.
    """
    differ = len(tests)
    while differ:  # fewer differ, fewer are discovered: down to where that stands still
        chance = RATE * differ / len(tests)
        reaches = {degrees: student(chance, degrees) for _, degrees in tests}
        found = sum(distance > reaches[degrees] for distance, degrees in tests)
        if found == differ:
            return chance
        differ = found
    return RATE / max(1, len(tests))


def _judged(pair: Pair, difference: float, error: float, degrees: float, chance: float) -> Change:
    reach = student(chance, degrees) * error
    ratio, low, high = exp(difference), exp(difference - reach), exp(difference + reach)
    verdict: Verdict = "same"
    if low > 1 and ratio > 1 + MARGIN:
        verdict = "slower"
    elif high < 1 and ratio < 1 / (1 + MARGIN):
        verdict = "faster"
    row, before, after = pair.row, exp(fmean(pair.before)), exp(fmean(pair.after))
    return Change(_identity(row), pair.by, ratio, low, high, verdict, before, after, row["unit"])


def student(chance: float, degrees: float) -> float:
    """The value that Student's t exceeds, in either direction, with this chance (G. W. Hill, CACM 13:10, 1970)."""
    n = degrees
    a = 1 / (n - 0.5)
    b = 48 / a**2
    c = ((20700 * a / b - 98) * a - 16) * a + 96.36
    d = ((94.5 / (b + c) - 3) / b + 1) * sqrt(a * pi / 2) * n
    x = d * chance
    y = x ** (2 / n)
    if y > 0.05 + a:
        x = NormalDist().inv_cdf(chance / 2)
        y = x * x
        c += 0.3 * (n - 4.5) * (x + 0.6) if n < 5 else 0
        c = (((0.05 * d * x - 5) * x - 7) * x - 2) * x + b + c
        y = (((((0.4 * y + 6.3) * y + 36) * y + 94.5) / c - y - 3) / b + 1) * x
        y = expm1(a * y * y)
    else:
        first = 1 / (((n + 6) / (n * y) - 0.089 * d - 0.822) * (n + 2) * 3)
        y = ((first + 0.5 / (n + 4)) * y - 1) * (n + 1) / (n + 2) + 1 / y
    return sqrt(n * y)


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What would make times differ without any change in the code."""
    keys = ("cpu", "cores", "system", "python")
    return [f"{k} {before.get(k)} and {after.get(k)}" for k in keys if before.get(k) != after.get(k)]
