"""A progress display for long runs, on the terminal's standard error (the extra ``cli``).

::

    with flow.observe.Progress() as progress:
        flow.run(dag, config=flow.Config(observers=(progress,)))

An event only moves a counter; a thread draws five times a second. What goes wrong with the
terminal stops the display and never the run.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import msgspec

from flow.errors import UsageError
from flow.observe.display import MAX_ROWS, Items, NotebookOutput, Row, picture, stderr_console
from flow.run import events
from flow.tracebacks import ends_at_user

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

DRAW_EVERY: Final = 0.2
"""Seconds between two drawings."""

_COUNTED: Final = ("nodes", "running", "waiting", "completed", "failed", "skipped", "bypassed", "cancelled")


class Statistics(msgspec.Struct, frozen=True):
    """What a :class:`Progress` has seen of all its runs so far. ``ended`` of ``runs`` runs have ended.

    ``items_completed`` and ``items_failed`` are those of all maps (batches, where they have such).
    """

    runs: int = 0
    ended: int = 0
    nodes: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    skipped: int = 0
    bypassed: int = 0
    cancelled: int = 0
    items_completed: int = 0
    items_failed: int = 0
    waiting: int = 0


class Progress:
    """An observer that shows each run's bar, counts by status and elapsed time while it runs.

    As a context manager it shows until the block ends. Without, it starts with the first run and
    stops when no run is left. One Progress may watch several runs at once: a run that starts
    while another is under way (a nested one, say) has a row until it ends and is counted then.

    It draws on a terminal, or below a notebook's cell.

    :param console: the ``rich`` console to draw on; by default one on standard error.
    :param force: draw even if that is no terminal and no notebook.
    :raises UsageError: if ``rich`` is not installed.
    """

    @ends_at_user
    def __init__(self, *, console: Console | None = None, force: bool = False) -> None:
        try:
            import rich  # noqa: F401
        except ImportError as error:
            raise UsageError("the progress display needs rich: pip install 'flow-dag[cli]'") from error
        self._console = console or stderr_console(force)
        terminal = self._console.is_terminal and not self._console.is_dumb_terminal
        self._enabled = force or terminal or self._console.is_jupyter
        self._rows: dict[str, Row] = {}
        self._active = 0
        self._inner_ended = 0
        self._past = Statistics()  # of rows no longer kept
        self._items_completed = self._items_failed = 0
        self._held = False  # by a with block
        self._live: Live | NotebookOutput | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._on: dict[type, Callable[[Any], None]] = {
            events.RunStarted: self._run_started,
            events.RunFinished: self._run_finished,
            events.NodeKnown: self._node_known,
            events.NodeStarted: self._node_started,
            events.NodeWaiting: self._node_waiting,
            events.NodeFinished: self._node_finished,
            events.NodeFailed: self._node_failed,
            events.NodeRetried: self._node_retried,
            events.NodeSkipped: self._node_skipped,
            events.NodeBypassed: self._node_bypassed,
            events.NodeCancelled: self._node_cancelled,
            events.MapStarted: self._map_started,
            events.ItemFinished: self._item_finished,
            events.ItemFailed: self._item_failed,
            events.RoundStarted: self._round_started,
        }

    def __enter__(self) -> Progress:
        self._held = True
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._held = False
        self._end()

    def statistics(self) -> Statistics:
        """Return the counts over all runs seen, as an immutable snapshot."""
        total = self._past
        for row in list(self._rows.values()):
            total = _plus(total, row)
        return msgspec.structs.replace(
            total, items_completed=self._items_completed, items_failed=self._items_failed
        )

    # -- events ------------------------------------------------------------------------------

    def __call__(self, event: events.Event) -> None:
        """Take in one event: a counter moves, nothing is drawn."""
        take_in = self._on.get(type(event))
        if take_in is not None:
            take_in(event)

    def _run_started(self, event: events.RunStarted) -> None:
        self._rows[event.run_id] = Row(event.dag, event.nodes, self._active > 0, time.monotonic())
        self._active += 1
        self._start()

    def _run_finished(self, event: events.RunFinished) -> None:
        row = self._rows.get(event.run_id)
        if row is None:  # it ended before it could begin
            return
        row.took, row.running = event.wall_time, 0
        row.maps.clear()
        row.rounds.clear()
        row.waits.clear()
        for status in _COUNTED[3:]:
            setattr(row, status, event.counts.get(status, 0))  # counted by the run: beyond doubt
        self._active -= 1
        if row.inner:
            self._inner_ended += 1
        ended = [run_id for run_id, row in self._rows.items() if row.took is not None and not row.inner]
        for run_id in [event.run_id] if row.inner else ended[:-MAX_ROWS]:
            self._past = _plus(self._past, self._rows.pop(run_id))
        if not self._active and not self._held:
            self._end()

    def _node_known(self, event: events.NodeKnown) -> None:
        row = self._rows[event.run_id]
        setattr(row, event.status, getattr(row, event.status) + 1)

    def _node_started(self, event: events.NodeStarted) -> None:
        self._rows[event.run_id].running += 1

    def _node_waiting(self, event: events.NodeWaiting) -> None:
        self._rows[event.run_id].waits.add(event.node)

    def _node_finished(self, event: events.NodeFinished) -> None:
        row = self._rows[event.run_id]
        row.end(event.node)
        row.completed += 1

    def _node_failed(self, event: events.NodeFailed) -> None:
        row = self._rows[event.run_id]
        row.end(event.node)
        row.failed += 1

    def _node_retried(self, event: events.NodeRetried) -> None:
        self._rows[event.run_id].running -= 1

    def _node_skipped(self, event: events.NodeSkipped) -> None:
        self._rows[event.run_id].skipped += 1

    def _node_bypassed(self, event: events.NodeBypassed) -> None:
        self._rows[event.run_id].bypassed += 1

    def _node_cancelled(self, event: events.NodeCancelled) -> None:
        self._rows[event.run_id].cancelled += 1

    def _map_started(self, event: events.MapStarted) -> None:
        self._rows[event.run_id].maps[event.node] = Items(event.items)

    def _item_finished(self, event: events.ItemFinished) -> None:
        self._items_completed += 1
        self._rows[event.run_id].maps[event.node].completed += 1

    def _item_failed(self, event: events.ItemFailed) -> None:
        self._items_failed += 1
        row = self._rows[event.run_id]
        row.items_failed += 1
        row.maps[event.node].failed += 1

    def _round_started(self, event: events.RoundStarted) -> None:
        self._rows[event.run_id].rounds[event.node] = event.round

    # -- drawing -----------------------------------------------------------------------------

    def _start(self) -> None:
        if not self._enabled or self._live is not None:
            return
        from rich.live import Live

        try:
            # A standard output that is a file or a pipe must get what nodes print, not the terminal.
            to_terminal = sys.stdout is not None and sys.stdout.isatty()
            live: Live | NotebookOutput = (
                NotebookOutput(self._picture) if self._console.is_jupyter
                else Live(console=self._console, get_renderable=self._picture, auto_refresh=False,
                          redirect_stdout=to_terminal)
            )  # fmt: skip
            live.start(refresh=True)
        except Exception:  # not a terminal that can be drawn on after all
            self._enabled = False
            return
        self._live = live
        self._stop.clear()
        self._thread = threading.Thread(target=self._draw, args=(live,), name="flow-progress", daemon=True)
        self._thread.start()

    def _draw(self, live: Live | NotebookOutput) -> None:
        while not self._stop.wait(DRAW_EVERY):
            try:
                live.refresh()
            except Exception:  # the terminal has gone; the run goes on
                return

    def _end(self) -> None:
        live, self._live = self._live, None
        if live is None:
            return
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        try:
            live.stop()  # draws a last time
        except Exception:  # the terminal has gone
            self._enabled = False

    def _picture(self) -> RenderableType:
        return picture(list(self._rows.values()), self._inner_ended, self._console.width)


def _plus(total: Statistics, row: Row) -> Statistics:
    counts = {field: getattr(total, field) + max(0, getattr(row, field)) for field in _COUNTED}
    return Statistics(total.runs + 1, total.ended + (row.took is not None), **counts)
