"""What nodes report in a run: kept with the outermost run, and told to observers."""

from __future__ import annotations

from collections.abc import Iterable
from threading import RLock
from typing import TYPE_CHECKING, Any, Final

from flow.data.context import Context
from flow.data.reports import Report, Reports
from flow.run import events
from flow.run.emitting import EmittingCalls
from flow.run.journal import WINDOW

if TYPE_CHECKING:
    from flow.run.journal import Journal

_KEEPING: Final = RLock()
"""Held while a report is kept, in memory and for the journal: both have them in one order."""


class ReportingCalls(EmittingCalls):
    """Calls whose functions may report facts, which stay with their run."""

    __slots__ = ()

    _extras: Any

    @property
    def outer(self) -> Any:
        """The run around this one."""
        raise NotImplementedError

    @property
    def path(self) -> tuple[str, ...]:
        """The places in the runs around this one that lead to it."""
        raise NotImplementedError

    @property
    def journal(self) -> Journal | None:
        """What keeps the run, if it is durable."""
        return None

    @property
    def is_shown(self) -> bool:
        """Tell whether somebody gets a Result of this run."""
        return self.outer is None

    def report(self, call: Context, kind: str, value: Any) -> None:
        """Keep what a node or an item reports. Once the run has ended, or that around it: nowhere."""
        if self.wall_time == self.wall_time:
            return
        if self.masks is not None:
            value = self.masks.value(value)
        journal, now, attempt = self.journal, self.clock.now(), call.attempt
        data = None if journal is None else journal.encode(value)
        index = None if call._parent is None else call.index
        report = Report(kind, value, call.node, self.path, index, attempt, now)
        around = self._around()
        with _KEEPING:
            if around[-1].wall_time == around[-1].wall_time:
                return
            for run in around:
                if run.is_shown:
                    reports_of(run).add(report)
            if data is not None and journal is not None:
                journal.reports(report, data)
        if self.config.observers:
            outermost = around[-1].run_id if len(around) > 1 else ""
            told = (self.run_id, call.node, kind, value, now, report.path, index, attempt, outermost)
            self.emit(events.NodeReported(*told))
        if journal is not None and journal.broken is None and (journal.idle or not len(journal.entries) % WINDOW):
            journal.wake()

    def reported(self, call: Context, kind: str) -> list[Any]:
        """Return what a node or an item has reported so far, at this path."""
        kept = _kept(self._around()[-1])
        index = None if call._parent is None else call.index
        return [] if kept is None else kept.of_call(kind, self.path, call.node, index)

    def run_reported(self, kind: str) -> list[Any]:
        """Return what has been reported so far in the whole outermost run."""
        kept = _kept(self._around()[-1])
        return [] if kept is None else kept.of_kind(kind)

    def _around(self) -> list[Any]:
        """Return this run and those around it, the outermost last. O(depth)."""
        found: list[Any] = [self]
        while found[-1].outer is not None:
            found.append(found[-1].outer)
        return found


def reports_of(run: Any, earlier: Iterable[Report] = ()) -> Reports:
    """Return the reports of a run, made at the first.

    :param earlier: those that a store knows of it.
    """
    with _KEEPING:
        if run.extras.reports is None:
            run.extras.reports = Reports(earlier)
        found: Reports = run.extras.reports
        return found


def take_part(run: Any) -> None:
    """Let a run that a node starts, and that gets a Result, have what was reported in it before a resume."""
    kept, path = _kept(run._around()[-1]), run.path
    journal = run.journal
    if kept is not None and journal is not None and journal.known is not None:
        mine = [one for one in kept.all() if one.path[: len(path)] == path]
        if mine:
            reports_of(run, mine)


def _kept(run: Any) -> Reports | None:
    extras = run._extras
    return None if extras is None else extras.reports


def all_reports(run: Any) -> tuple[Report, ...]:
    """Return all reports of a run that gets a Result. O(reports)."""
    kept = _kept(run)
    return () if kept is None else kept.all()


__all__ = ["Report", "ReportingCalls", "all_reports", "reports_of", "take_part"]
