"""Labels on the edges of a drawing: a few words on the last curve before a node, where there is room for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from flow.draw.text import cut, safe, width

MAX_CHARACTERS: Final = 18
"""Most characters of a label; the tooltip of the edge has the whole."""

MAX_LABELS: Final = 200
"""Most labels that one drawing tries: finding room for one looks at all others on its level."""

ROOM: Final = 46.0
"""Between two levels with a label between them, where edges go down."""

_SIZE, _HIGH = 10, 13.0
_PLACES: Final = (0.8, 0.6, 0.45, 0.3)  # along the curve, the best first

Point: TypeAlias = tuple[float, float]
"""``(across, along)``: along is the direction of edges, across the other one."""


def wide(text: str) -> float:
    """Return the width of a label."""
    return width(text) * _SIZE / 12 + 6


def room(text: str, to_right: bool) -> float:
    """Return the distance between two levels that a label needs."""
    return wide(text) + 24 if to_right else ROOM


def _curve(start: Point, end: Point) -> Iterator[Point]:
    """Yield places on the curve that an edge has between two levels."""
    half = (start[1] + end[1]) / 2
    for t in _PLACES:
        u = 1 - t
        first, last = u * u * (u + 3 * t), t * t * (t + 3 * u)
        along = start[1] * u**3 + half * 3 * u * t + end[1] * t**3
        yield start[0] * first + end[0] * last, along


class Labels:
    """The labels of one drawing, as they are put in."""

    def __init__(self, to_right: bool) -> None:
        self._to_right = to_right
        self._taken: dict[int, list[tuple[float, float, float, float]]] = {}
        self._left = MAX_LABELS
        self.parts: list[str] = []

    def put(self, text: str, level: int, start: Point, end: Point) -> None:
        """Draw ``text`` on the curve between two levels, in the first place that is free; nowhere if none is.

        :param level: that of the node which the edge leads to. Labels of other levels are no obstacle.
        """
        if not self._left:
            return
        self._left -= 1
        half, taken = wide(text) / 2, self._taken.setdefault(level, [])
        for across, along in _curve(start, end):
            if self._to_right:  # between the boxes
                x, y = min(end[1] - half - 6, max(start[1] + half + 2, along)), across
            else:
                x, y = across, along
            box = (x - half, y - _HIGH / 2, x + half, y + _HIGH / 2)
            if not any(_overlap(box, other) for other in taken):
                taken.append(box)
                self.parts.append(_element(text, box))
                return


def kept(labels: Mapping[tuple[int, int], str], edge: tuple[int, int]) -> str:
    """Return the text of the label of ``edge``, shortened; "" if it has none."""
    return cut(labels[edge], MAX_CHARACTERS) if edge in labels else ""


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _element(text: str, box: tuple[float, float, float, float]) -> str:
    left, top, right, _ = box
    return (
        f'<rect class="flow-bg" x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{_HIGH:g}" rx="3" '
        f'fill-opacity=".85"/><text class="flow-dim" x="{(left + right) / 2:.1f}" y="{top + 10:.1f}" '
        f'font-size="{_SIZE}" text-anchor="middle">{safe(text)}</text>'
    )
