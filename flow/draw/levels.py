"""Draw a large graph by level: one row for each level, or for a few, with a bar as long as its number of nodes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from flow.draw.picture import Picture, by_status
from flow.draw.text import cut, safe
from flow.reprs import counted
from flow.types import Status

MAX_ROWS: Final = 50
"""Most rows; in a deeper graph each row stands for several levels."""

_NAMED: Final = 8  # names in a tooltip
_LABEL, _BAR, _COUNTS = 130.0, 340.0, 380.0
_ROW, _HEIGHT = 24.0, 16.0


def rows(picture: Picture, left: float, top: float) -> tuple[list[str], float, float]:
    """Return the elements of the drawing, its width and its height. O(nodes)."""
    depth = max(picture.levels, default=-1) + 1
    levels = -(-depth // MAX_ROWS)
    groups: list[list[int]] = [[] for _ in range(-(-depth // levels))]
    for i, level in enumerate(picture.levels):
        groups[level // levels].append(i)
    most = max(map(len, groups))
    parts = [
        f'<text class="flow-dim" x="{left:g}" y="{top + 10:.0f}">'
        f"{counted(len(picture.names), 'node')}: too many to draw each; by level, from the first to the last</text>"
    ]
    y = top + 22
    for k, group in enumerate(groups):
        last = min(depth, (k + 1) * levels) - 1
        label = f"level {k * levels:,}" if levels == 1 else f"levels {k * levels:,} to {last:,}"
        parts += _row(picture, group, label, left, y, _BAR / most)
        y += _ROW
    return parts, 2 * left + _LABEL + _BAR + _COUNTS, y + 6


def _row(picture: Picture, group: list[int], label: str, left: float, y: float, scale: float) -> Iterator[str]:
    status = {i: picture.status[i] for i in group if i in picture.status}
    first = sorted(group, key=lambda i: status.get(i) is not Status.FAILED)[:_NAMED]  # failed nodes first
    names = "".join([f"\n{cut(picture.names[i], 60)}{f': {status[i]}' if i in status else ''}" for i in first])
    more = f"\n... and {len(group) - _NAMED:,} more" if len(group) > _NAMED else ""
    counts = by_status(status)
    yield f"<g><title>{safe(f'{label}{names}{more}', chr(10))}</title>"
    yield f'<text x="{left:g}" y="{y + 12:.0f}">{label}</text>'
    x = left + _LABEL
    plain = len(group) - sum(counts.values())
    segments: list[tuple[Status | str, int]] = [*counts.items(), ("box", plain)]
    for kind, count in segments:
        if count:
            wide = max(1.5, count * scale)
            yield (
                f'<rect class="flow-{kind}" x="{x:.1f}" y="{y:.0f}" width="{wide:.1f}" height="{_HEIGHT:g}" rx="2"/>'
            )
            x += wide
    told = ", ".join([f"{count:,} {kind}" for kind, count in counts.items()])
    text = counted(len(group), "node") if not told else told if plain == 0 else f"{told}, {plain:,} others"
    yield f'<text class="flow-dim" x="{x + 8:.1f}" y="{y + 12:.0f}">{text}</text></g>'
