"""Cards for notebooks: a heading, a picture and tables, as self-contained HTML.

A page may leave out styles (a notebook that is not trusted). Such a page shows the text in place of the card.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from flow.draw import style
from flow.draw.picture import Picture
from flow.draw.svg import draw
from flow.draw.text import safe
from flow.reprs import counted

MAX_ROWS: Final = 20
"""Most rows of a table."""


def card(text: str, head: Iterable[str], *parts: str) -> str:
    """Return one output: the text, and the card that replaces it. ``head`` and ``parts`` are HTML."""
    heading = "".join(head)
    return (
        f'<div class="flow-out"><style>{style.for_page()}</style>'
        f'<pre class="flow-text">{safe(text, chr(10))}</pre><div class="flow-card" style="display:none">'
        f'<div class="flow-head">{heading}</div>{"".join(parts)}</div></div>'
    )


def graph(picture: Picture) -> str:
    """Return the picture, with scroll bars if it is larger than the page."""
    return f'<div class="flow-scroll">{draw(picture, alone=False)}</div>'


def title(text: str) -> str:
    """Return the title in a heading."""
    return f"<b>{safe(text)}</b>"


def said(text: str, kind: str = "dim") -> str:
    """Return a few words in a heading; ``kind`` is dim, good or bad."""
    return f'<span class="flow-{kind}">{safe(text)}</span>'


def table(
    caption: str, columns: Sequence[str], rows: Iterable[Sequence[str]], count: int = -1, right: Iterable[int] = ()
) -> str:
    """Return a table of the first :data:`MAX_ROWS` rows; an empty text if there are no rows.

    :param count: number of all rows, if ``rows`` are only the first.
    :param right: indices of the columns that are aligned to the right.
    """
    listed = [row for row, _ in zip(rows, range(MAX_ROWS), strict=False)]
    if not listed:
        return ""
    side = [' class="flow-right"' if k in right else "" for k in range(len(columns))]
    lines = ["".join([f"<td{at}>{safe(cell)}</td>" for cell, at in zip(row, side, strict=True)]) for row in listed]
    heads = "".join([f"<th{at}>{safe(name)}</th>" for name, at in zip(columns, side, strict=True)])
    body = "".join([f"<tr>{line}</tr>" for line in lines])
    more = max(count, len(listed)) - len(listed)
    rest = f'<div class="flow-dim">... and {counted(more, "more row")}</div>' if more else ""
    named = f"<caption>{safe(caption)}</caption>" if caption else ""
    return f'<table class="flow-table">{named}<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{rest}'


def listed(texts: Sequence[str]) -> str:
    """Return a list of the first :data:`MAX_ROWS` texts."""
    items = "".join([f"<li>{safe(text)}</li>" for text in texts[:MAX_ROWS]])
    more = f'<div class="flow-dim">... and {len(texts) - MAX_ROWS:,} more</div>' if len(texts) > MAX_ROWS else ""
    return f'<ul class="flow-faults">{items}</ul>{more}'
