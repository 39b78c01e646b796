"""How a :class:`flow.observe.Progress` looks: a bar, counts and a clock for each run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from importlib import import_module
from io import StringIO
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flow.errors import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

MAX_ROWS: Final = 6
"""Runs that have a row of their own; the rest are counted in one line."""


NOTEBOOK_WIDTH: Final = 120
"""Characters of a line in a notebook."""

MAX_MAPS: Final = 2
"""Maps under way that a run's row shows."""

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
    """Counters of one run; ``maps`` are those of its maps that are on."""

    dag: str
    nodes: int
    inner: bool
    began: float
    took: float | None = None
    running: int = 0
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    cancelled: int = 0
    items_failed: int = 0
    maps: dict[str, Items] = {}

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, until it ended."""
        return time.monotonic() - self.began if self.took is None else self.took

    @property
    def ended_nodes(self) -> int:
        """Nodes that will change no more."""
        return self.completed + self.failed + self.skipped + self.cancelled


def picture(rows: Sequence[Row], inner_ended: int) -> RenderableType:
    """Return what stands on the terminal now."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    for column in ("dag", "bar", "ended", "counts", "clock"):  # on a narrow terminal only the bar shrinks
        table.add_column(no_wrap=column != "bar", max_width=30 if column == "bar" else None)
    for row in rows[:MAX_ROWS]:
        colour = "red" if row.failed else "green"
        bar = ProgressBar(max(1, row.nodes), row.ended_nodes, complete_style=colour, finished_style=colour)
        name, ended = Text(printable(row.dag[:24]), "bold"), f"{row.ended_nodes:,}/{row.nodes:,}"
        table.add_row(name, bar, ended, _counts(row), _clock(row.elapsed))
    if len(rows) > MAX_ROWS:
        table.add_row(f"and {len(rows) - MAX_ROWS:,} more runs")
    if inner_ended:
        table.add_row(f"{inner_ended:,} inner runs ended")
    return table


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


def _counts(row: Row) -> Text:
    from rich.text import Text

    colours = {"running": "cyan", "failed": "red", "skipped": "yellow", "cancelled": "magenta"}
    shown = [(f"{count:,} {what}", colour) for what, colour in colours.items() if (count := getattr(row, what)) > 0]
    if row.items_failed:
        shown.append((f"{row.items_failed:,} items failed", "red"))
    for name, items in list(row.maps.items())[:MAX_MAPS]:
        of = "" if items.total is None else f"/{items.total:,}"
        done = f"{items.completed + items.failed:,}{of}"
        shown.append((f"{printable(name[:24])} {done} items", "red" if items.failed else "cyan"))
    return Text(", ").join([Text(f"{row.completed:,} completed", "green"), *(Text(*part) for part in shown)])


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
