"""Colours and rules of pictures and cards, light and dark.

A page may hold many outputs: all have the same rules, under class names that begin with ``flow-``; none has an id.
Notebooks say which theme they have by attributes; where none says so, the reader's system does.
"""

from __future__ import annotations

import re
from typing import Final

from flow.types import Status

FONT: Final = "system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif"

_LIGHT: Final = {
    "bg": "#ffffff", "fg": "#1f2328", "dim": "#59636e", "line": "#d1d9e0", "edge": "#6e7781", "box": "#f6f8fa",
    "box-line": "#7d8590", "pending": "#f5f5f5", "pending-line": "#6e7781", "ready": "#e3f2fd", "ready-line": "#1565c0",
    "running": "#fff8e1", "running-line": "#9a6700", "waiting": "#fbe9e7", "waiting-line": "#a84315",
    "completed": "#e8f5e9", "completed-line": "#2e7d32",
    "failed": "#ffebee", "failed-line": "#c62828", "skipped": "#eeeeee", "skipped-line": "#616161",
    "bypassed": "#e0f2f1", "bypassed-line": "#00695c", "cancelled": "#f3e5f5", "cancelled-line": "#7b1fa2",
}  # fmt: skip
_DARK: Final = {
    "bg": "#0d1117", "fg": "#e6edf3", "dim": "#9da7b3", "line": "#3d444d", "edge": "#8b949e", "box": "#21262d",
    "box-line": "#8b949e", "pending": "#21262d", "pending-line": "#8b949e", "ready": "#0d2746", "ready-line": "#58a6ff",
    "running": "#33270a", "running-line": "#d29922", "waiting": "#3a1d10", "waiting-line": "#ff9466",
    "completed": "#12301c", "completed-line": "#3fb950",
    "failed": "#3d1618", "failed-line": "#ff7b72", "skipped": "#2a2d31", "skipped-line": "#a1a9b2",
    "bypassed": "#0b2b2a", "bypassed-line": "#4db6ac", "cancelled": "#2d1f3d", "cancelled-line": "#bc8cff",
}  # fmt: skip

_SAYS_LIGHT: Final = ('[data-jp-theme-light="true"]', "body.vscode-light", 'html[data-theme="light"]')
_SAYS_DARK: Final = (
    '[data-jp-theme-light="false"]', "body.vscode-dark", "html[theme=dark]", 'html[data-theme="dark"]',
    'body[data-theme="dark"]',
)  # fmt: skip

_PICTURE: Final = "".join([
    ".flow-pic text{fill:var(--flow-fg)}",
    ".flow-pic .flow-dim{fill:var(--flow-dim)}",
    ".flow-bg{fill:var(--flow-bg)}",
    ".flow-box{fill:var(--flow-box);stroke:var(--flow-box-line)}",
    ".flow-edge{fill:none;stroke:var(--flow-edge)}",
    ".flow-order{stroke-dasharray:2 3}",
    ".flow-tip{fill:var(--flow-edge)}",
    *[f".flow-{s}{{fill:var(--flow-{s});stroke:var(--flow-{s}-line)}}" for s in Status],
    *[f".flow-mark-{s}{{fill:none;stroke:var(--flow-{s}-line)}}" for s in Status],
])  # fmt: skip

_CARD: Final = "".join([
    ".flow-out{color:var(--flow-fg);font:13px/1.45 ", FONT, "}",
    ".flow-out .flow-text{display:none}",
    ".flow-out .flow-card{display:block!important}",
    ".flow-head{display:flex;flex-wrap:wrap;gap:2px 12px;align-items:baseline;margin:2px 0 6px}",
    ".flow-head b{font-size:14px}",
    ".flow-out .flow-dim{color:var(--flow-dim)}",
    ".flow-out .flow-good,.flow-out .flow-bad{font-weight:600}",
    ".flow-out .flow-good{color:var(--flow-completed-line)}",
    ".flow-out .flow-bad{color:var(--flow-failed-line)}",
    ".flow-scroll{overflow:auto;max-height:640px;margin:4px 0}",
    ".flow-scroll svg{display:block}",
    ".flow-out table.flow-table{border-collapse:collapse;margin:6px 0;border:0;font-size:12px;color:inherit}",
    ".flow-out .flow-table caption{caption-side:top;text-align:left;color:var(--flow-dim);padding:2px 0}",
    ".flow-out .flow-table th,.flow-out .flow-table td{text-align:left;vertical-align:top;padding:2px 12px 2px 0;"
    "border:0;border-bottom:1px solid var(--flow-line);background:none;color:inherit;max-width:46em;"
    "overflow-wrap:anywhere;white-space:pre-wrap}",
    ".flow-out .flow-table th{color:var(--flow-dim);font-weight:600}",
    ".flow-out .flow-table .flow-right{text-align:right;white-space:nowrap}",
    ".flow-out .flow-faults{margin:2px 0;padding-left:20px;overflow-wrap:anywhere}",
])  # fmt: skip


def for_page() -> str:
    """Return the rules of a card within a page. The card takes the theme of the page."""
    names = ".flow-out"
    light, dark = _variables(_LIGHT), _variables(_DARK)
    themed = [f"{','.join([f'{says} {names}' for says in says_so])}{{{variables}}}"
              for says_so, variables in ((_SAYS_LIGHT, light), (_SAYS_DARK, dark))]  # fmt: skip
    system = f"@media(prefers-color-scheme:dark){{{names}{{{dark}}}}}"
    return "".join([f"{names}{{{light}}}", system, *themed, _PICTURE, _CARD])


def for_file() -> str:
    """Return the rules of a picture in a file of its own. The picture takes the theme of the system.

    The rules have no variables, because few viewers of SVG files know them.
    """
    return f"{_filled(_LIGHT)}@media(prefers-color-scheme:dark){{{_filled(_DARK)}}}"


def _variables(colours: dict[str, str]) -> str:
    return "".join([f"--flow-{name}:{colour};" for name, colour in colours.items()])


def _filled(colours: dict[str, str]) -> str:
    return re.sub(r"var\(--flow-([\w-]+)\)", lambda found: colours[found[1]], _PICTURE)
