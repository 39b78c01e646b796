"""How a :class:`flow.observe.Progress` looks: a bar, counts and a clock for each run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flow.errors import printable
from flow.reprs import cells, counted, fitted

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

MAX_ROWS: Final = 6
"""Runs that have a row of their own; the rest are counted in one line."""


MAX_BAR: Final = 30
MIN_BAR: Final = 4
"""Cells of a bar."""
NOTEBOOK_WIDTH: Final = 120
"""Characters of a line in a notebook."""

MAX_MAPS: Final = 2
"""Maps under way that a run's row shows, and as many loops."""

_COLOURS: Final = [
    (128, 128, 128), (224, 72, 72), (46, 160, 67), (184, 134, 11), (64, 128, 224), (176, 96, 208), (24, 152, 176),
    (128, 128, 128),
]  # fmt: skip
"""The terminal's eight, to be read on light and on dark pages."""


class Items(msgspec.Struct):
    """Counters of one map. ``total`` is None where the number of items is not known before."""

    total: int | None
    completed: int = 0
    failed: int = 0


class Row(msgspec.Struct):
    """Counters of one run.

    ``maps`` and ``rounds`` are those of its maps and loops that are on, ``waits`` are nodes that wait.
    """

    dag: str
    nodes: int
    inner: bool
    began: float
    took: float | None = None
    running: int = 0
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    bypassed: int = 0
    cancelled: int = 0
    items_failed: int = 0
    maps: dict[str, Items] = {}
    rounds: dict[str, int] = {}
    waits: set[str] = set()

    @property
    def waiting(self) -> int:
        """Nodes that wait for a signal or a time."""
        return len(self.waits)

    def end(self, node: str) -> None:
        """A node that ran or waited does so no more."""
        if node in self.waits:
            self.waits.remove(node)
        else:
            self.running -= 1
            self.maps.pop(node, None)
            self.rounds.pop(node, None)

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, until it ended."""
        return time.monotonic() - self.began if self.took is None else self.took

    @property
    def ended_nodes(self) -> int:
        """Nodes that will change no more."""
        return self.completed + self.failed + self.skipped + self.bypassed + self.cancelled


def picture(rows: Sequence[Row], inner_ended: int, width: int) -> RenderableType:
    """Return what stands on a terminal of ``width`` cells now: one line for each run, whatever the width.

    Where there is little room the bar goes first, then what is said of maps, then counts; the name, how many nodes have
    ended and the clock stay.
    """
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    for _ in range(5):
        table.add_column(no_wrap=True)
    shown = rows[:MAX_ROWS]
    names = [fitted(printable(row.dag), width // 4 if width < 96 else 24) for row in shown]
    ended, clocks = [f"{row.ended_nodes:,}/{row.nodes:,}" for row in shown], [_clock(row.elapsed) for row in shown]
    room = width - sum(max([cells(text) for text in texts], default=0) + 1 for texts in (names, ended, clocks)) - 2
    counts = [_counts(row, room) for row in shown]
    bar_width = min(MAX_BAR, room - max([text.cell_len for text in counts], default=0) - 1)
    for row, name, so_far, text, clock in zip(shown, names, ended, counts, clocks, strict=True):
        colour = "red" if row.failed else "green"
        bar: RenderableType = ""
        if bar_width >= MIN_BAR:
            bar = ProgressBar(
                max(1, row.nodes), row.ended_nodes, bar_width, complete_style=colour, finished_style=colour
            )
        table.add_row(Text(name, "bold"), bar, so_far, text, clock)
    lines: list[RenderableType] = [table] if shown else []
    if len(rows) > MAX_ROWS:
        lines.append(Text(f"and {counted(len(rows) - MAX_ROWS, 'more run')}"))
    if inner_ended:
        lines.append(Text(f"{counted(inner_ended, 'inner run')} ended"))
    from rich.console import Group

    return Group(*lines)


def stderr_console(force: bool) -> Console:
    """Return a console on standard error, taken for a terminal if ``force``."""
    from rich.console import Console

    class StandardError(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True  # rich would end the program, and close its standard output

    return StandardError(stderr=True, force_terminal=True if force else None)


class NotebookOutput:
    """What stands below a notebook's cell, drawn anew in its place: rich's own needs ipywidgets for that."""

    def __init__(self, picture: Callable[[], RenderableType]) -> None:
        self._picture = picture
        self._handle: Any = None

    def start(self, refresh: bool) -> None:
        display = import_module("IPython.display").display
        self._handle = display(self._shown(), raw=True, display_id=True)

    def refresh(self) -> None:
        self._handle.update(self._shown(), raw=True)

    stop = refresh

    def _shown(self) -> dict[str, str]:
        from rich.console import Console
        from rich.terminal_theme import TerminalTheme

        console = Console(file=StringIO(), width=NOTEBOOK_WIDTH, record=True, force_jupyter=False)
        console.print(self._picture())
        theme = TerminalTheme((0, 0, 0), (0, 0, 0), _COLOURS)
        html = console.export_html(theme=theme, inline_styles=True, clear=False, code_format="<pre>{code}</pre>")
        return {"text/html": html, "text/plain": console.export_text().rstrip()}


def _counts(row: Row, room: int) -> Text:
    """The counts, as many as fit into ``room`` cells: failures before all else."""
    from rich.text import Text

    parts: list[tuple[int, str, str]] = [(3, f"{row.completed:,} completed", "green")]  # (rank, text, colour)
    colours = {
        "running": (2, "cyan"), "waiting": (2, "cyan"), "failed": (0, "red"), "skipped": (4, "yellow"),
        "bypassed": (4, "blue"), "cancelled": (4, "magenta"),
    }  # fmt: skip
    for what, (rank, colour) in colours.items():
        if (count := getattr(row, what)) > 0:
            parts.append((rank, f"{count:,} {what}", colour))
    if row.items_failed:
        parts.append((1, f"{counted(row.items_failed, 'item')} failed", "red"))
    for name, items in list(row.maps.items())[:MAX_MAPS]:
        done = items.completed + items.failed
        of = counted(done, "item") if items.total is None else f"{done:,}/{counted(items.total, 'item')}"
        parts.append((5, f"{fitted(printable(name), 24)} {of}", "red" if items.failed else "cyan"))
    for name, number in list(row.rounds.items())[:MAX_MAPS]:
        parts.append((5, f"{fitted(printable(name), 24)} round {number:,}", "cyan"))
    kept, used = set(), 0
    for k, (_, text, _) in sorted(enumerate(parts), key=lambda part: part[1][0]):
        used += cells(text) + 2
        if used - 2 > room:
            break
        kept.add(k)
    return Text(", ").join([Text(text, colour) for k, (_, text, colour) in enumerate(parts) if k in kept])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
