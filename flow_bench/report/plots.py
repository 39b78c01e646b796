"""Which plots the rows of a section make: decided by the rows alone, so that a new suite needs nothing here.

Rows of several sizes make curves over size; rows of several limits or numbers of workers, curves over these, with the
ideal dotted; rows whose every call is a sample, boxes and percentile curves; rows with an efficiency, dots from 0 to
100 %; all others bars. Rows in different units never share a plot. Several series (topologies) have a panel each, or
are a curve each.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from statistics import median
from typing import NamedTuple, TypeVar

from flow_bench.harness.rows import JUDGED, Row, number, percentile, quartiles
from flow_bench.report.draw import Axis, Curve, Lane, axis, curves, lanes, places, short
from flow_bench.report.tables import PERCENTILES, TITLES
from flow_bench.session.compare import TIMES, Change

PEERS = "peers"
MOST_CURVES = 8
"""More in one panel cannot be told apart, so they are shared out between panels."""
UNITS = {"us": "µs", "x": "times"}
SIZES = {"concurrency": "tasks", "workflow": "workflows", "data": "entries"}
"""What a row's size counts, if not nodes."""
OURS = re.compile(r"\bflow\b|\bDag\b|\bctx\.child\b|\bWorkflowData\b|^(re)?compile\b")
BY_HAND = "by hand"
"""In a label: it is what others of the section are compared with."""
NINES = (0.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9)

Item = TypeVar("Item")
Key = TypeVar("Key")


class Plot(NamedTuple):
    """A plot as markup and, in words, what it shows."""

    title: str
    says: str
    drawn: str


class Group(NamedTuple):
    """Plots side by side, with one caption, and one legend of (name, style) for all of them."""

    caption: str
    plots: Sequence[Plot]
    legend: Sequence[tuple[str, int]] = ()


def groups(rows: Sequence[Row]) -> list[Group]:
    """All plots that the rows of one section make. O(rows)."""
    drawn = [row for row in rows if row.figure is not None and isfinite(row.figure)]
    found: list[Group] = []
    for mine in parted(drawn, lambda row: row.unit).values():
        if len(mine) > 1:
            found += _of_one_unit(mine)
    timed = [row for row in drawn if "efficiency" in row.figures]
    return [*found, efficiency(timed)] if len(timed) > 1 else found


def _of_one_unit(rows: Sequence[Row]) -> list[Group]:
    limited, found = _by_limit(rows), []
    scaled = {id(row) for row in (rows if limited else by_size(rows))}
    calls = [row for row in rows if row.each and len(row.samples) > 1]
    rest = [row for row in rows if id(row) not in scaled and not row.each]
    if rows[0].suite == PEERS:
        rest = judged(rows)
    if limited:
        found.append(over_limits(rows, limited))
    elif scaled:
        found.append(over_sizes([row for row in rows if id(row) in scaled]))
    if calls:
        found += latency(calls)
    if len(rest) > 1:
        found.append(bars(rest))
    return found


def unit_of(row: Row) -> str:
    """The unit, as it is written on a page."""
    return UNITS.get(row.unit, row.unit)


def per(row: Row) -> str:
    """The unit, and of what it is the cost where the section's title does not say."""
    return unit_of(row) + (" per node" if row.section in TITLES and row.unit in TIMES else "")


def shown(row: Row) -> str:
    """The figure with its unit."""
    if row.figure is None:
        return "n/a"
    return f"{number(row.figure)}{'x' if row.unit == 'x' else ' ' + unit_of(row)}"


def parted(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """The items by key, in order of appearance."""
    found: dict[Key, list[Item]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return found


def named(rows: Sequence[Row]) -> Callable[[Row], str]:
    """Return what gives a row the shortest name that no other of these rows has: its label, with size or series."""
    sized = len({(r.label, r.topology) for r in rows}) < len(rows)
    series = len({(r.label, r.nodes) for r in rows}) < len(rows)

    def name(row: Row) -> str:
        size = f"{row.nodes:,} {size_word(row)}" if sized and row.nodes else ""
        return ", ".join(filter(None, [row.label.strip(), size, row.topology if series else ""]))

    return name


def size_word(row: Row) -> str:
    """What the row's size counts."""
    if re.match(r"[\d,]+ tasks", row.section):
        return "workers"
    return SIZES.get(row.suite, "nodes")


def judged(rows: Sequence[Row]) -> list[Row]:
    """The rows of the size that has the targets, or else of the largest."""
    sizes = {row.nodes for row in rows}
    size = JUDGED if JUDGED in sizes else max(sizes)
    return [row for row in rows if row.nodes == size]


def bars(rows: Sequence[Row]) -> Group:
    """A bar per row, a panel per series; peers fastest first."""
    if rows[0].suite == PEERS:
        order = {label: median([r.figure or 0 for r in mine]) for label, mine in parted(rows, _label).items()}
        rows = sorted(rows, key=lambda row: order[_label(row)])
    panels = parted(rows, lambda row: row.topology)
    if max(map(len, panels.values())) < 2:
        panels = {"": list(rows)}
    drawn = {title: _lanes(mine) for title, mine in panels.items()}
    among = [value for found in drawn.values() for lane in found for value in lane.values]
    scale, plots = axis(among, unit_of(rows[0]), log=rows[0].suite == PEERS, bars=True), []
    for title, found in drawn.items():
        least, most = min(found, key=lambda lane: lane.value), max(found, key=lambda lane: lane.value)
        says = f"{len(found)} bars, from {least.text} ({least.name}) to {most.text} ({most.name})."
        plots.append(Plot(title, says, lanes(found, scale)))
    size = f"{rows[0].nodes:,} {size_word(rows[0])}, " if len({r.nodes for r in rows}) == 1 and rows[0].nodes else ""
    more = "; the upright stroke is the target" if any(_target(row) for row in rows) else ""
    if rows[0].suite == PEERS:
        more += "; logarithmic axis" + ("; in brackets, times flow's" if any(row.ratios for row in rows) else "")
    return Group(f"{size}{per(rows[0])}: medians, with quartiles as whiskers{more}", plots)


def _lanes(rows: Sequence[Row]) -> list[Lane]:
    name, mine = named(rows), ours_of([row.label for row in rows])

    def text(row: Row) -> str:  # of another library, how many times ours it is besides
        times = row.suite == PEERS and row.ratio is not None and set(row.ratios) != {1.0}
        return f"{shown(row)} ({number(row.ratio or 0.0)}x)" if times else shown(row)

    return [
        Lane(name(row), _figure(row), *_quartiles(row), text(row), ours=row.label in mine, target=_target(row))
        for row in rows
    ]


def ours_of(labels: Iterable[str]) -> set[str]:
    """Those labels that name this library, not what it is compared with; all, if none of them or none other does."""
    every = set(labels)
    by_hand = {label for label in every if BY_HAND in label}
    return every - by_hand if by_hand else {label for label in every if OURS.search(label)} or every


def _quartiles(row: Row) -> tuple[float | None, float | None]:
    if len(row.samples) < 2 or row.figure != median(row.samples):
        return None, None  # of a percentile or a maximum they would stand beside its bar
    first, _, third = quartiles(row.samples)
    return first, third


def _target(row: Row) -> float | None:
    return row.target.at_most if row.target is not None and row.target.of == "figure" else None


def _figure(row: Row) -> float:
    return row.figure or 0.0


def _label(row: Row) -> str:
    return row.label.strip()


def allocations(rows: Sequence[Row]) -> Group:
    """Bytes and blocks of one operation, a bar per row: the largest size and the first series of each alone."""
    series = parted(rows, lambda row: (row.section, row.label)).values()
    largest = [max(mine, key=lambda row: row.nodes) for mine in series]
    labels = Counter(row.label for row in largest)
    name, mine, found = named(rows), ours_of(labels), []
    for figure in ("bytes", "blocks"):
        drawn = [
            Lane(
                name(row) + (f" ({row.section})" if labels[row.label] > 1 else ""), row.figures[figure],
                text=number(row.figures[figure]), ours=row.label in mine,
            )
            for row in largest
        ]  # fmt: skip
        most = max(drawn, key=lambda lane: lane.value)
        says = f"{len(drawn)} bars; the most is {most.text} ({most.name})."
        found.append(Plot(figure, says, lanes(drawn, axis([lane.value for lane in drawn], figure, bars=True))))
    chosen = "; the largest size and the first series of each" if len(largest) < len(rows) else ""
    return Group(f"most bytes held at once, and blocks left allocated, of one operation{chosen}", found)


def efficiency(rows: Sequence[Row]) -> Group:
    """A lane per label, a dot per series; of rows without series, a dot per size."""
    several = len({row.topology for row in rows}) > 1
    dot = (lambda row: row.topology) if several else (lambda row: f"{row.nodes:,} {size_word(row)}")
    styles = {name: k for k, name in enumerate(dict.fromkeys(map(dot, rows)))}
    lane = named([row for row in rows if row.topology == rows[0].topology]) if several else _label
    found = []
    for name, mine in parted(rows, lane).items():
        dots = tuple((styles[dot(row)], 100 * row.figures["efficiency"]) for row in mine)
        percents = [value for _, value in dots]
        text = f"{min(percents):.0f} %" if len(dots) == 1 else f"{min(percents):.0f} to {max(percents):.0f} %"
        found.append(Lane(name, text=text, dots=dots))
    said = "; ".join(f"{lane.name} {lane.text}" for lane in found)
    most = max(105, *(value for lane in found for _, value in lane.dots))
    ticks = [(tick, str(tick)) for tick in range(0, int(most) + 1, 25 if most < 300 else 100)]
    drawn = lanes(found, Axis(0, most, "%", ticks))
    caption = "efficiency: the ideal time over the measured one, 100 % is no cost at all"
    return Group(caption, [Plot("", f"Efficiency of {said}.", drawn)], list(styles.items()))


def changes(found: Sequence[Change], name: Callable[[Change], str]) -> Group:
    """A lane per change: how many times what it was, with the interval."""
    differing = [
        Lane(name(c), 0, c.low, c.high, f"{c.ratio:.2f}x", dots=((int(c.verdict == "slower"), c.ratio),)) for c in found
    ]
    scale = axis([1.0, *(v for lane in differing for v in lane.values)], "times what it was", log=True)
    says = "; ".join(f"{lane.name} {lane.text}" for lane in differing) + "."
    plot = Plot("", says, lanes(differing, scale, mark=1.0))
    return Group("beyond noise, most different first; whiskers: the interval", [plot], [("better", 0), ("worse", 1)])


# -- curves ----------------------------------------------------------------------------------


def by_size(rows: Sequence[Row]) -> list[Row]:
    """The rows that differ from another in nothing but size."""
    series = parted((row for row in rows if row.nodes), lambda row: (row.label, row.topology)).values()
    return [row for mine in series for row in mine if len({row.nodes for row in mine}) > 1]


def over_sizes(rows: Sequence[Row]) -> Group:
    """Curves over size; a panel per series or per label, whichever makes fewer."""
    labels = list(dict.fromkeys(row.label for row in rows))
    series = list(dict.fromkeys(row.topology for row in rows))
    if len(labels) * len(series) <= MOST_CURVES or len(series) == 1:
        panels, line = {"": list(rows)}, named(judged(rows))
    elif len(series) <= len(labels) or len(series) > 2 * MOST_CURVES:
        panels, line = parted(rows, lambda row: row.topology), _label
    else:
        panels, line = parted(rows, _label), lambda row: row.topology
    sizes = sorted({row.nodes for row in rows})
    ticks = [(float(size), short(size)) for size in sizes]
    caption = f"{per(rows[0])} over {size_word(rows[0])}, both axes logarithmic"
    return _curves(panels, line, lambda row: row.nodes, size_word(rows[0]), ticks, caption)


def _by_limit(rows: Sequence[Row]) -> dict[str, float]:
    """The number in each series' name, if these are limits: three numbers at least; "unbounded" is put beyond them."""
    names = dict.fromkeys(row.topology for row in rows)
    numbers = {name: re.findall(r"\d[\d,]*", name) for name in names}
    limits = {name: float(found[0].replace(",", "")) for name, found in numbers.items() if len(found) == 1}
    others = [name for name in names if name not in limits]
    if len(set(limits.values())) < 3 or 0 in limits.values() or any("unbounded" not in name for name in others):
        return {}
    return limits | dict.fromkeys(others, max(limits.values()) * 4)


def over_limits(rows: Sequence[Row], limits: dict[str, float]) -> Group:
    """Curves over a limit or a number of workers, beside the ideal."""
    word = re.sub(r"[\d,=]+", "", min(limits, key=lambda name: limits[name])).strip() or "limit"
    word = f"number {word}" if word.startswith("at ") else word
    ticks = sorted({(x, "unbounded" if "unbounded" in name else short(x)) for name, x in limits.items()})
    first = [row for row in rows if row.topology == rows[0].topology]
    panels = {"": list(rows)}
    if len(parted(rows, lambda row: (row.label, row.nodes))) > MOST_CURVES:
        panels = {f"{n:,} {size_word(rows[0])}": mine for n, mine in parted(rows, lambda row: row.nodes).items()}
        if len(panels) == 1 or max(len(parted(p, _label)) for p in panels.values()) > 2 * MOST_CURVES:
            panels = {"": list(rows)}
    caption = f"{per(rows[0])} over {word}, both axes logarithmic"
    line = named(first) if len(panels) == 1 else _label
    return _curves(panels, line, lambda row: limits[row.topology], word, ticks, caption)


def _curves(
    panels: dict[str, list[Row]], line: Callable[[Row], str], place: Callable[[Row], float], x_title: str,
    ticks: Sequence[tuple[float, str]], caption: str,
) -> Group:  # fmt: skip
    names = dict.fromkeys(line(row) for rows in panels.values() for row in rows)
    mine = ours_of(names)
    styles = {name: k for k, name in enumerate(sorted(names, key=lambda name: name not in mine))}
    among = [value for rows in panels.values() for row in rows for value in (_figure(row), _ideal(row)) if value]
    if any("efficiency" in row.figures for rows in panels.values() for row in rows):
        caption += "; dotted: the ideal"
    scale = axis(among, unit_of(next(iter(panels.values()))[0]), log=True)
    plots = []
    for title, rows in panels.items():
        found, said = [], []
        for name, unordered in parted(rows, line).items():
            group = sorted(unordered, key=place)
            bold = name in mine and len(mine) < len(names)
            found.append(Curve(name, styles[name], [(place(r), _figure(r), _at(r)) for r in group], ours=bold))
            said.append(f"{name} from {shown(group[0])} to {shown(group[-1])}")
            ideal = [(place(r), i, f"ideal {number(i)} {unit_of(r)}") for r in group if (i := _ideal(r))]
            if ideal:
                found.append(Curve(name, styles[name], ideal, ideal=True))
        says = f"Curves over {x_title} from {ticks[0][1]} to {ticks[-1][1]}: {'; '.join(said)}."
        plots.append(Plot(title, says, curves(found, places(ticks, x_title), scale)))
    return Group(caption, plots, list(styles.items()))


def _ideal(row: Row) -> float | None:
    return row.figures["efficiency"] * _figure(row) if "efficiency" in row.figures else None


def _at(row: Row) -> str:
    first, third = _quartiles(row)
    spread = f" ({number(first)} to {number(third)})" if first is not None and third is not None else ""
    series = f", {row.topology}" if row.topology else ""
    return f"{row.nodes:,} {size_word(row)}{series}: {shown(row)}{spread}"


def latency(rows: Sequence[Row]) -> list[Group]:
    """A box per row; and if there are few, a curve over the percentiles, where tails are seen."""
    name, mine = named(rows), ours_of([row.label for row in rows])
    found = []
    for row in rows:
        box = tuple(percentile(row.samples, p) for p in (5, 25, 50, 75, 95, 99))
        text = " / ".join(number(percentile(row.samples, p)) for p in PERCENTILES.values())
        found.append(Lane(name(row), text=f"{text} {unit_of(row)}", box=box, ours=row.label in mine))
    said = "; ".join(f"{lane.name} {lane.text}" for lane in found)
    scale = axis([value for lane in found for value in lane.values], unit_of(rows[0]))
    boxes = Plot("", f"Time of single calls, P50 / P95 / P99: {said}.", lanes(found, scale))
    caption = "every call a sample, P50 / P95 / P99: box, middle half; whiskers, P5 to P95; diamond, P99"
    if len(rows) > MOST_CURVES:
        return [Group(caption, [boxes])]
    tails = [Curve(name(row), k, _tail(row)) for k, row in enumerate(rows)]
    last = max(x for curve in tails for x, _, _ in curve.points)
    ticks = [(_nines(p), f"{p:g}") for p in NINES if _nines(p) <= last * 1.01]
    scale = axis((y for curve in tails for _, y, _ in curve.points), unit_of(rows[0]), log=True)
    drawn = curves(tails, places(ticks, "percentile", last), scale)
    tail = Plot("", "The same calls by percentile, tails stretched out.", drawn)
    return [Group(caption, [boxes]), Group("the same calls by percentile", [tail], [(c.name, c.style) for c in tails])]


def _nines(percent: float) -> float:
    """Where a percentile stands on a logarithmic axis, so that 90 to 99 is as long as 99 to 99.9."""
    return 1 / (1 - percent / 100)


def _tail(row: Row) -> list[tuple[float, float, str]]:
    """From the least sample to the last percentile that the samples can tell; marked at the :data:`NINES`."""
    most = 100 * (1 - 1 / len(row.samples))
    between = {100 * (1 - 10 ** (-k / 10)) for k in range(31)}
    percents = sorted(percent for percent in between | set(NINES) if percent <= most)
    values = [(percent, percentile(row.samples, percent)) for percent in percents]
    return [
        (_nines(percent), value, f"P{percent:g} {number(value)} {unit_of(row)}" if percent in NINES else "")
        for percent, value in values
    ]
