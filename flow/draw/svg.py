"""Draw a graph as SVG: boxes in layers, edges as curves around them, statuses by colour and mark.

The graph goes down, or to the right where it would be too wide. Nodes that choose are hexagons, merges have round ends,
and edges over which nothing came are dashed. What is too large is drawn by level (:mod:`flow.draw.levels`). No scripts,
no ids, no fonts but the reader's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from flow.draw import labels, levels, style
from flow.draw.layout import Layers, bends_of, placed, untangle
from flow.draw.picture import MAX_NODES, Picture, by_status
from flow.draw.text import cut, safe, width
from flow.reprs import counted
from flow.types import Status

MAX_BENDS: Final = 1_200
"""Most bends of a graph whose edges are drawn. Their layout takes as long as the largest graph without bends."""

MAX_LABEL: Final = 26
"""Most characters of a name in a box; the tooltip has the whole name."""

_WIDE: Final = 900.0  # a notebook's column
_MARGIN, _LINE, _NOTED, _STACK = 12.0, 28.0, 42.0, 3.0
_NEAR, _FAR = 34.0, 90.0  # between two levels
_BETWEEN, _BESIDE = 18.0, 9.0  # between the boxes of a level, where edges go down and to the right
_HEAD: Final = 58.0
_POINT: Final = 12.0  # of a hexagon
_DEAD: Final = ' stroke-dasharray="7 4" stroke-opacity=".6"'
_LEFT_OUT: Final = ' stroke-dasharray="4 3"'  # the border of what was bypassed

MARKS: Final = {
    Status.PENDING: "M-4 0h.01M0 0h.01M4 0h.01",
    Status.READY: "M-2.5 -4L3.5 0L-2.5 4Z",
    Status.RUNNING: "M0 -4A4 4 0 1 1 -4 0M0 -2V0H2",
    Status.WAITING: "M-3 -4H3L-3 4H3Z",
    Status.COMPLETED: "M-4 .5L-1.2 3.5L4 -3.5",
    Status.FAILED: "M-3.5 -3.5L3.5 3.5M3.5 -3.5L-3.5 3.5",
    Status.SKIPPED: "M-4 -3.5L0 0L-4 3.5M0 -3.5L4 0L0 3.5",
    Status.BYPASSED: "M-4 2.5A4 4 0 0 1 4 2.5M1 2.5H4V-.5",
    Status.CANCELLED: "M-3.5 -3.5H3.5V3.5H-3.5Z",
}
"""The mark of each status, which readers need who cannot tell colours. Paths around (0, 0)."""


def draw(picture: Picture, *, alone: bool) -> str:
    """Return the SVG of ``picture``. About 5 ms for 300 nodes; O(nodes + edges) for more.

    :param alone: with style, title and legend, as a file of its own; else as a part of a card.
    """
    head = _HEAD if alone else 0.0
    if is_large(picture):
        parts, across, down = levels.rows(picture, _MARGIN, head + _MARGIN)
    else:
        parts, across, down = _Graph(picture).parts(head)
    size = f'viewBox="0 0 {across:.0f} {down:.0f}" width="{across:.0f}" height="{down:.0f}"'
    font = f'font-family="{style.FONT}" font-size="12"'
    summary = summary_of(picture)
    opening = f'class="flow-pic" {size} role="img" {font}'
    if not alone:
        return f"<svg {opening}><title>{safe(picture.title)}: {summary}</title>{''.join(parts)}</svg>"
    across = max(across, _MARGIN * 2 + width(cut(picture.title, 60)) * 1.3, width(summary) + _MARGIN * 2, 240.0)
    size = f'viewBox="0 0 {across:.0f} {down:.0f}" width="{across:.0f}" height="{down:.0f}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="flow-pic" {size} role="img" {font}>',
        f"<title>{safe(picture.title)}: {summary}</title>",
        f"<style>{style.for_file()}</style>",
        f'<rect class="flow-bg" width="{across:.0f}" height="{down:.0f}"/>',
        f'<text x="{_MARGIN:g}" y="26" font-size="15" font-weight="600">{safe(cut(picture.title, 60))}</text>',
        f'<text class="flow-dim" x="{_MARGIN:g}" y="44">{summary}</text>',
        *parts,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def is_large(picture: Picture) -> bool:
    """Tell whether ``picture`` is drawn by level."""
    return len(picture.names) > MAX_NODES or bends_of(picture.levels, picture.edges) > MAX_BENDS


def summary_of(picture: Picture) -> str:
    """``3 nodes, 2 edges: 2 completed, 1 failed``."""
    size = f"{counted(len(picture.names), 'node')}, {counted(len(picture.edges), 'edge')}"
    counts = ", ".join([f"{n:,} {status}" for status, n in by_status(picture.status).items()])
    return f"{size}: {counts}" if counts else size


def mark(status: Status, x: float, y: float) -> str:
    """Return the mark of ``status`` at ``x``, ``y``."""
    heavy = 3 if status is Status.PENDING else 1.8
    return (
        f'<path class="flow-mark-{status}" transform="translate({x:.1f} {y:.1f})" stroke-width="{heavy}" '
        f'stroke-linecap="round" stroke-linejoin="round" d="{MARKS[status]}"/>'
    )


class _Down:
    """Writes lines, curves and the tips of arrows from coordinates across and along, for edges that go down."""

    tip = "l-3 -6h6z"

    @staticmethod
    def line(move: str, across: str, along: str) -> str:
        return f"{move}{across} {along}"

    @staticmethod
    def curve(across: str, half: str, to: str, end: str) -> str:
        return f"C{across} {half} {to} {half} {to} {end}"


class _ToRight(_Down):
    """As :class:`_Down`, for edges that go to the right."""

    tip = "l-6 -3v6z"

    @staticmethod
    def line(move: str, across: str, along: str) -> str:
        return f"{move}{along} {across}"

    @staticmethod
    def curve(across: str, half: str, to: str, end: str) -> str:
        return f"C{half} {across} {half} {to} {end} {to}"


class _Graph:
    """One graph while it is drawn. *Along* is the direction of edges, *across* the other direction."""

    def __init__(self, picture: Picture) -> None:
        self.picture = picture
        self.layers = layers = Layers(picture.levels, picture.edges)
        self.names = [cut(name, MAX_LABEL) for name in picture.names]
        self.high = _NOTED if picture.notes else _LINE
        self.wide = [self._width(i) for i in range(layers.count)]
        for edge in picture.labels:  # so that those beside each other have room
            self.wide[edge[1]] = max(self.wide[edge[1]], labels.wide(labels.kept(picture.labels, edge)))
        untangle(layers)
        self.to_right = self._is_too_wide()
        sizes = [self.high] * layers.count if self.to_right else self.wide
        self.middle = placed(layers, sizes, _BESIDE if self.to_right else _BETWEEN)
        self.across = max([self.middle[i] + sizes[i] / 2 for i in range(layers.count)], default=0.0)
        self.across = max([self.across, *self.middle])
        self.bands = self._bands()

    def _width(self, i: int) -> float:
        room = 17.0 if i in self.picture.status else 0.0
        note = width(self.picture.notes.get(i, "")) * 0.86
        ends = 2 * _POINT if i in self.picture.routers else 6.0 if i in self.picture.merges else 0.0
        return max(44.0, width(self.names[i]) + room + 16, note + room + 16) + ends

    def _is_too_wide(self) -> bool:
        count, rows = self.layers.count, self.layers.rows
        downwards = max([sum([self.wide[i] + _BETWEEN if i < count else 12 for i in row]) for row in rows], default=0.0)
        if downwards <= _WIDE:
            return False
        boxes = [max([self.wide[i] for i in row if i < count], default=0.0) for row in rows]
        return sum(boxes) + _NEAR * len(boxes) < downwards

    def _bands(self) -> list[tuple[float, float]]:
        """Return the begin and end of each level, along. Levels stand further apart where edges go far across."""
        bands: list[tuple[float, float]] = []
        at, count, middle = _MARGIN, self.layers.count, self.middle
        rooms = self._rooms()
        for level, row in enumerate(self.layers.rows):
            size = max([self.wide[i] for i in row if i < count]) if self.to_right else self.high
            bands.append((at, at + size))
            far = max([abs(middle[i] - middle[end]) for i in row for end in self.layers.down[i]], default=0.0)
            at += size + max(min(_FAR, max(_NEAR, far / 5)), rooms.get(level, 0.0))
        return bands

    def _rooms(self) -> dict[int, float]:
        """Return the distance to the next level that labels need, by level."""
        rooms: dict[int, float] = {}
        for edge in self.picture.labels:
            level = self.picture.levels[edge[1]] - 1
            need = labels.room(labels.kept(self.picture.labels, edge), self.to_right)
            rooms[level] = max(need, rooms.get(level, 0.0))
        return rooms

    def parts(self, head: float) -> tuple[list[str], float, float]:
        """Return the elements of the drawing, its width and its height."""
        along, across = self.bands[-1][1] + _MARGIN + _STACK, self.across + 2 * _MARGIN + _STACK
        size = (along, across) if self.to_right else (across, along)
        top = f'<g transform="translate(0 {head:g})">' if head else "<g>"
        return [top, *self._edges(), *self._labels(), *self._boxes(), "</g>"], size[0], size[1] + head

    def _edges(self) -> Iterator[str]:
        """Curves between the levels, straight lines through them. The arrow's tip is a path: markers need ids.

        Numbers are written once for each level and item: that is most of what a picture's text takes.
        """
        levels, count, said, dead = self.picture.levels, self.layers.count, self.picture.labels, self.picture.dead
        across = [f"{at + _MARGIN:.1f}" for at in self.middle]
        begins = [f"{begin:.1f}" for begin, _ in self.bands]
        ends = [f"{end:.1f}" for _, end in self.bands]
        tips = [f"{begin - 5:.1f}" for begin, _ in self.bands]
        halves = [f"{(end + begin) / 2:.1f}" for (_, end), (begin, _) in pairwise(self.bands)]
        way = _ToRight if self.to_right else _Down
        line, curve = way.line, way.curve
        for (upstream, downstream, is_data), route in zip(self.picture.edges, self.layers.routes, strict=True):
            level, at = levels[upstream], across[upstream]
            steps = [line("M", at, ends[level])]
            for item in route[1:]:
                to, half = across[item], halves[level]
                level += 1
                end = tips[level] if item < count else begins[level]
                steps.append(line("L", to, end) if to == at else curve(at, half, to, end))
                if item >= count:
                    steps.append(line("L", to, ends[level]))
                at = to
            edge = upstream, downstream
            lost = edge in dead
            kind, more, pale = ("", _DEAD, ' fill-opacity=".6"') if lost else ("" if is_data else " flow-order", "", "")
            end = f"><title>{safe(said[edge])}</title></path>" if edge in said else "/>"
            yield f'<path class="flow-edge{kind}"{more} d="{"".join(steps)}"{end}'
            yield f'<path class="flow-tip"{pale} d="{line("M", at, begins[level])}{way.tip}"/>'

    def _labels(self) -> list[str]:
        """Return the texts on edges, above all edges and below all boxes."""
        picture, bands, middle = self.picture, self.bands, self.middle
        put = labels.Labels(self.to_right)
        for (upstream, downstream, _), route in zip(picture.edges, self.layers.routes, strict=True):
            text = labels.kept(picture.labels, (upstream, downstream))
            if text:
                level = picture.levels[downstream]
                begin, end = bands[level - 1][1], bands[level][0]
                start, to = middle[route[-2]] + _MARGIN, middle[downstream] + _MARGIN
                put.put(text, level, (start, begin), (to, end - 5))
        return put.parts

    def _boxes(self) -> Iterator[str]:
        picture = self.picture
        for i, label in enumerate(self.names):
            begin, end = self.bands[picture.levels[i]]
            middle = self.middle[i] + _MARGIN
            if self.to_right:
                x, y, w = begin, middle - self.high / 2, end - begin
            else:
                x, y, w = middle - self.wide[i] / 2, begin, self.wide[i]
            yield from self._box(i, label, x, y, w)

    def _box(self, i: int, label: str, x: float, y: float, w: float) -> Iterator[str]:
        picture, high = self.picture, self.high
        status, note = picture.status.get(i), picture.notes.get(i, "")
        kind = "box" if status is None else status
        tip = "\n".join(filter(None, [picture.names[i] + (f": {status}" if status else ""), picture.tips.get(i, "")]))
        yield f"<g><title>{safe(tip, chr(10))}</title>"
        shifts: Sequence[float] = (_STACK, 0) if i in picture.stacked else (0,)
        more = _LEFT_OUT if status is Status.BYPASSED else ""
        chooses = i in picture.routers
        for shift in shifts:
            if chooses:
                yield f'<polygon class="flow-{kind}"{more} points="{_hexagon(x, y, w, high)}"/>'
                continue
            yield (
                f'<rect class="flow-{kind}"{more} x="{x + shift:.1f}" y="{y + shift:.1f}" '
                f'width="{w:.1f}" height="{high:.1f}" rx="{high / 2 if i in picture.merges else 5:g}"/>'
            )
        middle = x + w / 2
        if status is not None:
            yield mark(status, x + (13 + _POINT / 2 if chooses else 13), y + high / 2)
            middle += 8
        line = y + (17 if note else high / 2 + 4)
        yield f'<text x="{middle:.1f}" y="{line:.1f}" text-anchor="middle">{safe(label)}</text>'
        if note:
            yield (
                f'<text class="flow-dim" x="{middle:.1f}" y="{y + 33:.1f}" font-size="10" text-anchor="middle">'
                f"{safe(note)}</text>"
            )
        yield "</g>"


def _hexagon(x: float, y: float, w: float, high: float) -> str:
    left, right, half, foot = x + _POINT, x + w - _POINT, y + high / 2, y + high
    corners = ((x, half), (left, y), (right, y), (x + w, half), (right, foot), (left, foot))
    return " ".join([f"{across:.1f},{down:.1f}" for across, down in corners])
