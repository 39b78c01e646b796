"""Rows and targets, and the statistics over their samples.

One *sample* is one timed call of a contender (or several, for small graphs); one *round* takes a sample of every
contender. Ratios are taken within a round, so that a slow second of the machine harms both sides; the printed figures
are medians.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from math import ceil
from statistics import fmean, median, quantiles
from time import get_clock_info
from typing import Any, Literal, TypeVar

US = 1e6
UNITS = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0}
"""How many of a unit a second has."""
BELOW = "below_1ms"
"""Figure of rows whose every sample is a call: the share of calls that took less than a millisecond as a whole."""
MILLISECOND = 1e-3
JUDGED = 1_000
"""The graph size for which the targets per node are set."""

Identity = tuple[str, str, str, int, str]
"""Of a row: suite, section, label, nodes, topology; the same on every machine and day."""

Effort = TypeVar("Effort")
Verdict = Literal["", "PASS", "MISS", "pass", "miss"]
"""In capitals where the target is set for this interpreter, in small letters where it is only compared with it."""

FINE = get_clock_info("process_time").resolution <= 1e-6
"""Whether CPU time is told finely enough here to be worth taking."""


class Measured(float):
    """Seconds by the clock that know the CPU seconds of the same call; or a ratio of such.

    Other processes take time from a call by the clock, but hardly any CPU time: that is what runs are compared by.
    """

    __slots__ = ("cpu",)
    cpu: float

    def __new__(cls, wall: float, cpu: float = 0.0) -> Measured:
        """:param cpu: 0 if it is not known."""
        made = super().__new__(cls, wall)
        made.cpu = cpu if FINE else 0.0
        return made


def cpu_of(values: Iterable[float]) -> list[float]:
    """CPU seconds, or ratios of such, of those of which they are known."""
    return [one.cpu for one in values if isinstance(one, Measured) and one.cpu > 0]


@dataclass(frozen=True)
class Target:
    """The most a figure (or its ratio to the baseline) may be; ``aim`` is what would please.

    :ivar least: it is the least that the figure may be, not the most.
    """
    at_most: float
    aim: float | None = None
    of: Literal["ratio", "figure"] = "ratio"
    binding: bool = sys.version_info >= (3, 13)
    least: bool = False

    def __str__(self) -> str:
        unit = "x" if self.of == "ratio" else ""
        aim = f" (aim {self.aim:g}{unit})" if self.aim is not None else ""
        return f"{'>=' if self.least else '<='} {self.at_most:g}{unit}{aim}"

    def is_met(self, value: float) -> bool:
        """Tell whether a figure (or ratio) is as it should be."""
        return value >= self.at_most if self.least else value <= self.at_most


@dataclass
class Row:
    """One figure: a statistic over all rounds' samples, and its ratio to the baseline of the same round."""
    section: str
    label: str
    unit: str
    samples: list[float] = field(default_factory=list)
    figure: float | None = None  # median of the samples unless said otherwise
    ratios: list[float] = field(default_factory=list)
    nodes: int = 0
    topology: str = ""
    target: Target | None = None
    note: str = ""  # why there is no figure, or what to know about it
    suite: str = ""
    each: bool = False  # every sample is one call, so percentiles of the samples mean calls
    figures: dict[str, float] = field(default_factory=dict)  # more of the same row, by name: efficiency, p99, bytes
    better: Literal["lower", "higher", "zero", "none"] = "lower"
    """``zero``: a growth, say, of which no ratio means anything. ``none``: it is told, and runs are not compared by it,
    since it is mostly the machine's: a percentile, say."""
    cpu: list[float] = field(default_factory=list)  # the ratios again, of CPU time, where that was taken

    def __post_init__(self) -> None:
        compared = self.samples if self.unit == "x" else self.ratios
        cpu = cpu_of(compared)
        if cpu and len(cpu) == len(compared):
            self.cpu = cpu
        self.samples, self.ratios = [float(one) for one in self.samples], [float(one) for one in self.ratios]
        if self.figure is None and self.samples:
            self.figure = median(self.samples)

    @property
    def identity(self) -> Identity:
        return self.suite, self.section, self.label, self.nodes, self.topology

    @property
    def ratio(self) -> float | None:
        return median(self.ratios) if self.ratios else None

    @property
    def spread(self) -> float | None:
        """Interquartile range of the samples, relative to their median."""
        return relative_iqr(self.samples) if len(self.samples) > 1 else None

    @property
    def verdict(self) -> Verdict:
        """Whether the target is met; empty without target or figure."""
        judged = self.ratio if self.target is not None and self.target.of == "ratio" else self.figure
        if self.target is None or judged is None:
            return ""
        met = self.target.is_met(judged)
        if self.target.binding:
            return "PASS" if met else "MISS"
        return "pass" if met else "miss"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"ratio": self.ratio, "spread": self.spread, "verdict": self.verdict}

    @classmethod
    def from_dict(cls, found: dict[str, Any]) -> Row:
        """Return the row that :meth:`to_dict` made this of."""
        known = {one.name: found[one.name] for one in fields(cls) if one.name in found}
        if known.get("target") is not None:
            known["target"] = Target(**known["target"])
        return cls(**known)


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """First, second and third quartile; the extremes count as the 0th and 100th percentile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    first, second, third = quantiles(values, n=4, method="inclusive")
    return first, second, third


def relative_iqr(values: Sequence[float]) -> float:
    """Interquartile range over median."""
    first, second, third = quartiles(values)
    return (third - first) / second if second else 0.0


def percentile(values: Sequence[float], percent: float) -> float:
    """Smallest value that at least ``percent`` per cent of the values do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -int(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(rank, 1) - 1]


def percentiles(samples: Sequence[float]) -> dict[str, float]:
    """Return the figures of rows whose every sample is a call."""
    return {f"p{percent}": percentile(samples, percent) for percent in (50, 95, 99)}


def of_calls(seconds: Sequence[float], samples: Sequence[float]) -> dict[str, float]:
    """Return what is told of calls that are timed one by one: mean, percentiles, and the share of calls below 1 ms.

    :param seconds: of whole calls.
    :param samples: of the same calls, in the row's unit: per node, say.
    """
    found = {"mean": fmean(samples)} | percentiles(samples)
    return found | {BELOW: sum(one < MILLISECOND for one in seconds) / len(seconds)}


def ratios(samples: Sequence[float], baseline: Sequence[float]) -> list[float]:
    """Round by round, how much longer it took than the baseline; of CPU time too if that is known of all."""
    by_clock = [mine / base for mine, base in zip(samples, baseline, strict=True)]
    mine, base = cpu_of(samples), cpu_of(baseline)
    if not len(mine) == len(base) == len(by_clock):
        return by_clock
    return [Measured(wall, a / b) for wall, a, b in zip(by_clock, mine, base, strict=True)]


def shared(effort: Effort, passes: int) -> Effort:
    """Return the same effort with one pass's share of all numbers of rounds (fields named so, nested ones too)."""
    if passes == 1:
        return effort
    changed: dict[str, Any] = {}
    for one in fields(effort):  # type: ignore[arg-type]
        value = getattr(effort, one.name)
        if is_dataclass(value) and not isinstance(value, type):
            changed[one.name] = shared(value, passes)
        elif one.name.endswith(("rounds", "batches", "runs")) and isinstance(value, int):
            changed[one.name] = ceil(value / passes)
    return replace(effort, **changed)  # type: ignore[type-var]


def chosen(sections: Mapping[str, Callable[[Any], Iterable[list[Row]]]], effort: Any) -> Iterator[list[Row]]:
    """Measure a suite: yield the tables of those sections that ``effort.sections`` names, or of all."""
    for name, section in sections.items():
        if not effort.sections or name in effort.sections:
            yield from section(effort)


def number(value: float) -> str:
    """Three significant digits, without an exponent."""
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 or not value else f"{value:.3f}"


def share(of_calls: float) -> str:
    """``yes`` if it is all of them, ``no`` if it is none; else in per cent, which never rounds up to all."""
    if of_calls in (0.0, 1.0):
        return "yes" if of_calls else "no"
    return f"{min(max(of_calls, 0.001), 0.999):.1%}"
