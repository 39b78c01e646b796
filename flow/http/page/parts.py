"""What pages are made of: the frame, tables, times. All that comes from outside is escaped here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, urlencode

from flow.draw import style
from flow.draw.text import safe
from flow.run.draw.svg import seconds

_STYLE: Final = "".join([
    style.for_page(),
    ":root{color-scheme:light dark}",
    "body{margin:0;background:var(--flow-bg);color:var(--flow-fg);font-size:14px}",
    "header,main{max-width:1200px;margin:0 auto;padding:8px 16px;box-sizing:border-box}",
    "header{display:flex;flex-wrap:wrap;gap:2px 16px;align-items:baseline}",
    "h1{font-size:20px;margin:8px 0;overflow-wrap:anywhere}",
    "h2{font-size:15px;margin:22px 0 6px}",
    "a{color:var(--flow-ready-line)}",
    "a:focus-visible,[tabindex]:focus-visible{outline:2px solid var(--flow-ready-line);outline-offset:2px}",
    "code,pre,.id{font-family:ui-monospace,'DejaVu Sans Mono',monospace;font-size:12px}",
    "pre{background:var(--flow-box);border:1px solid var(--flow-line);border-radius:5px;padding:8px 10px;margin:6px 0;"
    "overflow:auto;max-height:30em;white-space:pre-wrap;overflow-wrap:anywhere}",
    ".dim{color:var(--flow-dim)}",
    ".facts{display:flex;flex-wrap:wrap;gap:2px 20px;margin:6px 0;padding:0;list-style:none}",
    ".filters{display:flex;flex-wrap:wrap;gap:4px 12px;margin:4px 0;padding:0;list-style:none}",
    ".filters [aria-current]{font-weight:700;color:inherit;text-decoration:none}",
    ".wide{overflow-x:auto;position:relative}",
    ".wide svg{display:block}",
    "table{border-collapse:collapse;width:100%;font-size:13px}",
    "th,td{text-align:left;vertical-align:top;padding:4px 12px 4px 0;border-bottom:1px solid var(--flow-line);"
    "overflow-wrap:anywhere}",
    "thead th{color:var(--flow-dim);font-weight:600;white-space:nowrap}",
    "tbody th{font-weight:400}",
    ".right{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}",
    ".text{white-space:pre-wrap;min-width:12em}",
    ".when,.status{white-space:nowrap}",
    "@media(min-width:900px){th.id{min-width:37ch}}",
    ".status{display:inline-block;padding:0 7px;border-radius:9px;border:1px solid;font-size:12px;font-weight:600}",
    ".wrong{border-left:4px solid var(--flow-failed-line);padding:2px 0 2px 12px;margin:14px 0}",
    ".wrong h2,.asks h2{margin-top:2px}",
    ".asks{border-left:4px solid var(--flow-waiting-line);padding:2px 0 2px 12px;margin:14px 0}",
    *[
        f".{name}{{background:var(--flow-{of});color:var(--flow-{of}-line);border-color:var(--flow-{of}-line)}}"
        for name, of in [
            *[(name, name) for name in ("pending", "ready", "running", "waiting", "completed", "failed", "skipped")],
            ("bypassed", "bypassed"), ("cancelled", "cancelled"), ("queued", "pending"),
        ]
    ],
    ".pending,.queued{color:var(--flow-dim)}",  # the line of it is too pale for a text
    "@media(max-width:600px){header,main{padding:6px 10px}"
    ".stacks thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}"
    ".stacks table,.stacks tbody,.stacks tr,.stacks th,.stacks td{display:block;border:0;padding:1px 0;min-width:0}"
    ".stacks tr{border-bottom:1px solid var(--flow-line);padding:6px 0}"
    ".stacks td.right{text-align:left}"
    ".stacks [data-of]:not(:empty)::before{content:attr(data-of) ': ';color:var(--flow-dim)}}",
])  # fmt: skip


class Cell:
    """A cell of a table: HTML, and how it is set. :ivar kind: classes; ``head`` says that the row is named by it."""

    __slots__ = ("html", "is_head", "kind")

    def __init__(self, html: str, kind: str = "", is_head: bool = False) -> None:
        self.html, self.kind, self.is_head = html, kind, is_head


def document(title: str, parts: Iterable[str], root: str, refresh: int | None, head: str = "") -> bytes:
    """Return a page.

    :param parts: HTML. :param refresh: seconds after which a browser asks for it again; None is never.
    :param head: HTML beside the link to the first page.
    """
    again = "" if refresh is None else f'<meta http-equiv="refresh" content="{refresh}">'
    text = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{again}'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<title>{safe(title)}</title><link rel="icon" href="data:,"><style>{_STYLE}</style></head>\n'
        f'<body class="flow-out"><header><a href="{safe(root)}/">all runs</a>{head}</header>\n<main>\n'
    )
    return (text + "\n".join(part for part in parts if part) + "\n</main></body></html>\n").encode()


def table(label: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[Cell]], stacks: bool = True) -> str:
    """Return a table that scrolls by itself where it is too wide.

    :param label: what readers of screens call it. :param columns: their heads, and the class of each.
    :param stacks: on a narrow screen its cells stand below each other.
    """
    heads = "".join([f'<th scope="col"{_kind(kind)}>{safe(name)}</th>' for name, kind in columns])
    lines = []
    for row in rows:
        cells = []
        for (name, _), cell in zip(columns, row, strict=True):
            of = f' data-of="{safe(name)}"' if stacks and not cell.is_head else ""
            tag, scope = ("th", ' scope="row"') if cell.is_head else ("td", "")
            cells.append(f"<{tag}{scope}{_kind(cell.kind)}{of}>{cell.html}</{tag}>")
        lines.append(f"<tr>{''.join(cells)}</tr>")
    kind = "wide stacks" if stacks else "wide"
    body = "\n".join(lines)
    return (
        f'<div class="{kind}" role="region" aria-label="{safe(label)}" tabindex="0">'
        f"<table><thead><tr>{heads}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
    )


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def link(address: str, text: str, more: str = "") -> str:
    """Return a link."""
    return f'<a href="{safe(address)}"{more}>{safe(text)}</a>'


def address(root: str, *parts: str, query: Mapping[str, str] | None = None) -> str:
    """Return the path of something that this service has: each part is quoted."""
    path = root + "".join(f"/{quote(part, safe='', errors='replace')}" for part in parts)
    return f"{path}?{urlencode(query, errors='replace')}" if query else path


def status(name: str) -> str:
    """Return a status as a coloured word."""
    return f'<span class="status {safe(name)}">{safe(name)}</span>'


def when(at: float) -> str:
    """Return a Unix time in UTC, to the second."""
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):  # nobody's clock says so
        return "?"
    return f'<time datetime="{moment:%Y-%m-%dT%H:%M:%SZ}">{moment:%Y-%m-%d %H:%M:%S}</time>'


def lasting(time: float) -> str:
    """Return a length of time: ``3.2 ms``, ``4 min 10 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if time < 120:
        return seconds(time)
    whole = int(time)
    for size, name, less, part in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{whole // size:,} {name} {whole % size // less} {part}"
    raise AssertionError(time)


def text(said: str) -> str:
    """Return a text of several lines, escaped."""
    return safe(said, "\n\t")


__all__ = ["Cell", "address", "document", "lasting", "link", "status", "table", "text", "when"]
