"""Place a graph in layers: geometry alone, in numbers.

A node stands on the level of the longest path that leads to it. An edge that spans more levels passes through a
*bend* on each level between, which is kept free like a node: so no edge crosses a box. Edges that leave one node, and
are of one kind, share their bends. Sweeps by barycentre order each level. Then each is moved as close to its
neighbours as the order and the room between allow, by least squares (pool adjacent violators).

Here levels are rows, and edges go down. A drawing may turn the result.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf
from typing import Final, TypeAlias

Edge: TypeAlias = tuple[int, int, bool]
"""``(upstream, downstream, passes data)``."""

MAX_SWEEPS: Final = 4
"""Most sweeps over all levels, down and up again."""

SWEPT: Final = 5_000
"""Most links that all sweeps together look at. This bounds their time."""

BEND: Final = 6.0
"""Width of a bend."""

_GAP_OF_BENDS = 6.0
_STRAIGHT: Final = 6.0  # how much more a bend's place counts than a node's


class Layers:
    """A graph in layers. Items are nodes ``0 .. n-1``, and bends from ``n`` on.

    :ivar rows: the items of each level, from left to right.
    :ivar up: per item, those linked to it on the level above; ``down``: below.
    :ivar chains: bends that one edge, or several from one node, pass one after another.
    :ivar routes: per edge, the items it passes: its ends, and its bends between.
    """

    __slots__ = ("chains", "count", "down", "routes", "rows", "up")

    def __init__(self, levels: Sequence[int], edges: Sequence[Edge]) -> None:
        self.count = count = len(levels)
        self.rows: list[list[int]] = [[] for _ in range(max(levels, default=-1) + 1)]
        for i, level in enumerate(levels):
            self.rows[level].append(i)
        self.up: list[list[int]] = [[] for _ in range(count)]
        self.down: list[list[int]] = [[] for _ in range(count)]
        self.routes: list[list[int]] = []
        bends: dict[tuple[int, bool], list[int]] = {}
        for upstream, downstream, is_data in edges:
            between = levels[downstream] - levels[upstream] - 1
            if not between:
                passed: list[int] = []
            else:
                chain = bends.setdefault((upstream, is_data), [])
                while len(chain) < between:
                    self._bend(chain, upstream, levels[upstream] + len(chain) + 1)
                passed = chain[:between]
            last = passed[-1] if passed else upstream
            self.down[last].append(downstream)
            self.up[downstream].append(last)
            self.routes.append([upstream, *passed, downstream])
        self.chains = list(bends.values())

    def _bend(self, chain: list[int], upstream: int, level: int) -> None:
        item, before = len(self.up), chain[-1] if chain else upstream
        chain.append(item)
        self.rows[level].append(item)
        self.up.append([before])
        self.down.append([])
        self.down[before].append(item)


def bends_of(levels: Sequence[int], edges: Sequence[Edge]) -> int:
    """Return the number of bends that the graph needs. Needs no layout."""
    longest: dict[tuple[int, bool], int] = {}
    for upstream, downstream, is_data in edges:
        between = levels[downstream] - levels[upstream] - 1
        if between > longest.get((upstream, is_data), 0):
            longest[upstream, is_data] = between
    return sum(longest.values())


def crossings(layers: Layers) -> int:
    """Return the number of pairs of links that cross. O(links log links), besides moving the tail of a list."""
    found = 0
    place = [0] * len(layers.up)
    for upper, lower in pairwise(layers.rows):
        for k, item in enumerate(lower):
            place[item] = k
        passed: list[int] = []  # the lower ends of links so far, ascending
        for item in upper:
            ends = layers.down[item]
            for end in sorted([place[below] for below in ends]) if len(ends) > 1 else [place[below] for below in ends]:
                at = bisect_right(passed, end)
                found += len(passed) - at
                passed.insert(at, end)
    return found


def untangle(layers: Layers) -> None:
    """Order each level by the mean place of its neighbours, down and up a few times; keep the best order."""
    best, least = [list(row) for row in layers.rows], crossings(layers)
    links = sum(map(len, layers.down)) + 1
    place = [0.0] * len(layers.up)
    worse = 0
    for row in layers.rows:
        _note(row, place)
    for _ in range(max(1, min(MAX_SWEEPS, SWEPT // (2 * links)))):
        if not least or worse == 2:
            break
        for row in layers.rows[1:]:
            _sort(row, layers.up, place)
        for row in reversed(layers.rows[:-1]):
            _sort(row, layers.down, place)
        now = crossings(layers)
        worse = 0 if now < least else worse + 1
        if now < least:
            best, least = [list(row) for row in layers.rows], now
    layers.rows[:] = best


def _sort(row: list[int], linked: Sequence[Sequence[int]], place: list[float]) -> None:
    def mean(item: int) -> float:
        ends = linked[item]
        if len(ends) == 1:
            return place[ends[0]]
        return sum([place[end] for end in ends]) / len(ends) if ends else place[item]

    row.sort(key=mean)
    _note(row, place)


def _note(row: Sequence[int], place: list[float]) -> None:
    """Give each item its place as a fraction of its row, so that places in two rows can be compared."""
    step = 1 / len(row)
    at = step / 2
    for item in row:
        place[item] = at
        at += step


def placed(layers: Layers, sizes: Sequence[float], gap: float) -> list[float]:
    """Return the middle of each item, the outermost edge at 0.

    :param sizes: of the nodes, across; bends take :data:`BEND`. ``gap`` is the free space beside a node.
    """
    half = [size / 2 for size in sizes] + [BEND / 2] * (len(layers.up) - layers.count)
    offsets = [_offsets(row, half, layers.count, gap) for row in layers.rows]
    middle = [0.0] * len(half)
    for row, offset in zip(layers.rows, offsets, strict=True):
        for item, at in zip(row, offset, strict=True):
            middle[item] = at - offset[-1] / 2
    rows = list(zip(layers.rows, offsets, strict=True))
    above, below = layers.up, layers.down
    for some, linked in ((rows, (above,)), (rows[::-1], (below,)), (rows, (above,)), (rows[::-1], (above, below))):
        for row, offset in some:
            _move(row, offset, linked, middle, layers.count)
    _straighten(layers, offsets, middle)
    left = min([middle[row[0]] - half[row[0]] for row in layers.rows], default=0.0)
    return [at - left for at in middle]


def _straighten(layers: Layers, offsets: Sequence[Sequence[float]], middle: list[float]) -> None:
    """Align chains of nodes where their neighbours in the row leave room, and bends with an end of their edge."""
    spot = {item: (k, at) for k, row in enumerate(layers.rows) for at, item in enumerate(row)}
    for chain in [*layers.chains, *_runs(layers)]:
        least, most = -inf, inf
        for item in chain:
            k, at = spot[item]
            row, offset = layers.rows[k], offsets[k]
            if at:
                least = max(least, middle[row[at - 1]] + offset[at] - offset[at - 1])
            if at + 1 < len(row):
                most = min(most, middle[row[at + 1]] - offset[at + 1] + offset[at])
        if least <= most:
            mean = min(most, max(least, sum([middle[item] for item in chain]) / len(chain)))
            first, last = chain[0], chain[-1]
            ends = [*layers.up[first], *layers.down[last]] if first >= layers.count else ()
            line = next((middle[end] for end in ends if least <= middle[end] <= most), mean)
            for item in chain:
                middle[item] = line


def _runs(layers: Layers) -> Iterator[list[int]]:
    """Return the pairs of nodes, one above the other, that have no other neighbours."""
    up, down, count = layers.up, layers.down, layers.count
    follows = {i: ends[0] for i, ends in enumerate(down[:count]) if len(ends) == 1 and len(up[ends[0]]) == 1}
    follows = {i: after for i, after in follows.items() if after < count}
    for first in sorted(follows.keys() - follows.values()):
        run = [first]
        while run[-1] in follows:
            run.append(follows[run[-1]])
        yield run


def _offsets(row: Sequence[int], half: Sequence[float], count: int, gap: float) -> list[float]:
    """Return the least distance of each item of a row from the first item."""
    offsets = [0.0]
    for before, item in pairwise(row):
        between = _GAP_OF_BENDS if before >= count and item >= count else gap
        offsets.append(offsets[-1] + half[before] + half[item] + between)
    return offsets


def _move(
    row: Sequence[int],
    offsets: Sequence[float],
    linked: Sequence[Sequence[Sequence[int]]],
    middle: list[float],
    count: int,
) -> None:
    """Move the items of a row towards the mean of their neighbours."""
    blocks: list[tuple[float, float, int]] = []  # weighted mean of (wanted - offset), weight, items
    for item, offset in zip(row, offsets, strict=True):
        ends = [middle[end] for side in linked for end in side[item]]
        mean = (sum(ends) / len(ends) if ends else middle[item]) - offset
        weight, size = (0.05 if not ends else _STRAIGHT if item >= count else 1.0), 1
        while blocks and blocks[-1][0] >= mean:
            other, more, n = blocks.pop()
            mean = (mean * weight + other * more) / (weight + more)
            weight += more
            size += n
        blocks.append((mean, weight, size))
    at = 0
    for mean, _, size in blocks:
        for k in range(at, at + size):
            middle[row[k]] = mean + offsets[k]
        at += size
