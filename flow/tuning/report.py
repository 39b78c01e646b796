"""The result of a tuning: :class:`TuneReport`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from flow import files
from flow.config import Config
from flow.config.writing import refuse_loss, to_toml
from flow.draw.rich import Rich
from flow.errors import MAX_PATH_SHOWN, UsageError, shown
from flow.reprs import counted
from flow.run.result import duration
from flow.tracebacks import ends_at_user
from flow.tuning.candidates import Changes, Objective
from flow.tuning.search import Gain, times

DEFAULT: Final = "default"


class Tried(msgspec.Struct, frozen=True):
    """One config that was tried.

    :ivar settings: its changes to the default; empty for the default.
    :ivar gain: how many times as good as the default, as a median of rounds; None if it was not measured.
    :ivar figure: seconds or bytes of one run, as a median of samples; None likewise.
    :ivar rounds: samples that were taken.
    :ivar note: why it was given up or could not be used.
    """

    settings: Changes
    gain: float | None
    figure: float | None
    rounds: int
    note: str = ""


class Reason(msgspec.Struct, frozen=True):
    """The reason for one setting of the best config.

    :ivar setting: its name; those of the store are ``data.<name>``.
    :ivar default: its default value.
    :ivar gain: how many times as good the best config is as with this setting put back; None if it was not measured.
    :ivar note: side effects of the setting, or why there is no figure.
    """

    setting: str
    value: Any
    default: Any
    gain: Gain | None
    note: str = ""


class TuneReport(msgspec.Struct, Rich, frozen=True, kw_only=True):
    """The result of :func:`flow.tune`. ``print(report)`` shows all of it.

    :ivar best: the config to use: the default itself if nothing was better beyond noise.
    :ivar default: the config it was compared with.
    :ivar gain: how many times as good ``best`` is (1 if it is the default): median and 99 % interval.
    :ivar why: one entry per setting in which ``best`` differs.
    :ivar trials: everything that was tried, best first.
    :ivar runs: number of runs of the DAG; every run runs each of its ``nodes``.
    :ivar seconds: duration of the tuning.
    :ivar notes: further remarks.
    """

    dag: str
    objective: Objective
    best: Config
    default: Config
    gain: Gain
    why: tuple[Reason, ...]
    trials: tuple[Tried, ...]
    runs: int
    nodes: int
    seconds: float
    notes: tuple[str, ...] = ()

    @property
    def is_default(self) -> bool:
        """True if nothing was found to be better than the default beyond noise."""
        return self.best == self.default

    def headline(self) -> str:
        """Return the result in one line."""
        if self.is_default:
            return f"{self.dag}: for {self.objective}, the default is as good"
        return f"{self.dag}: for {self.objective}, {self.gain.than('the default')}"

    def __str__(self) -> str:
        lines = [self.headline(), *self._why(), *(f"  {note}" for note in self.notes), "", *self._table(), ""]
        return "\n".join([*lines, self._effort()])

    def _repr_html_(self) -> str:
        from flow.draw import html

        head = [html.title(self.headline()), html.said(self._effort())]
        why = [(_assigned(reason.setting, reason.value), _told(reason)) for reason in self.why]
        columns, *rows = self._rows()
        return html.card(
            str(self),
            head,
            html.table("best settings", ("setting", "why"), why),
            html.listed(self.notes) if self.notes else "",
            html.table("", columns, rows, right=(1, 2, 3)),
        )

    def _effort(self) -> str:
        return f"{counted(self.runs, 'run')} of {nodes(self.nodes)} in {duration(self.seconds)}"

    def to_toml(self) -> str:
        """Return the best config as the text of a ``flow.toml``, with what was measured as comments."""
        heading = [f"by flow tune, {self.headline()}", *self.notes]
        notes = {reason.setting: _told(reason) for reason in self.why}
        return to_toml(self.best, heading, notes)

    @ends_at_user
    def write(self, path: str | os.PathLike[str] = "flow.toml") -> None:
        """Write :meth:`to_toml` to a file that :meth:`flow.Config.load` reads: whole, or not at all.

        :raises UsageError: if the file cannot be written; if the present file holds more than the table ``[flow]``, or
            settings that tuning never changes and that ``best`` does not have; if it is a ``pyproject.toml``.
        :raises ConfigError: if the present file is no valid file of settings.
        """
        refuse_loss(path, self.best)
        text = self.to_toml()
        try:
            files.write(files.name_of(path), text)
        except OSError as error:
            raise UsageError(f"{shown(os.fspath(path), MAX_PATH_SHOWN)} cannot be written: {error.strerror}") from error

    def _why(self) -> Iterator[str]:
        widest = max((len(_assigned(r.setting, r.value)) for r in self.why), default=0)
        for reason in self.why:
            yield f"  {_assigned(reason.setting, reason.value):<{widest}}  {_told(reason)}"

    def _table(self) -> list[str]:
        rows = self._rows()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [_row(row, widths) for row in rows]

    def _rows(self) -> list[tuple[str, ...]]:
        """Everything that was tried, below a heading."""
        unit = "peak" if self.objective == "memory" else "one run"
        rows: list[tuple[str, ...]] = [("tried", "gain", unit, "rounds", "")]
        for tried in self.trials:
            gain = "" if tried.gain is None else f"{times(tried.gain)}x"
            figure = "" if tried.figure is None else self._figure(tried.figure)
            rows.append((assigned(tried.settings) or DEFAULT, gain, figure, str(tried.rounds or ""), tried.note))
        return rows

    def _figure(self, value: float) -> str:
        return size(value) if self.objective == "memory" else duration(value)


def nodes(count: int) -> str:
    """``1 node``, ``2 nodes``."""
    return counted(count, "node")


def size(count: float) -> str:
    """``count`` bytes as text, in MB, KB or B."""
    if count >= 1e6:
        return f"{count / 1e6:,.1f} MB"
    return f"{count / 1e3:.1f} KB" if count >= 1e3 else f"{count:.0f} B"


def _told(reason: Reason) -> str:
    by = "" if reason.gain is None else reason.gain.than(_shown(reason.default))
    return "; ".join(filter(None, [by, reason.note]))


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *figures, note = cells
    aligned = [cell.rjust(width) for cell, width in zip(figures, widths[1:-1], strict=True)]
    return "  ".join(["  " + first.ljust(widths[0]), *aligned, note]).rstrip()


def assigned(changes: Changes) -> str:
    """Settings as text: ``limit=32, executor=thread``."""
    return ", ".join(_assigned(*item) for item in changes.items())


def _assigned(name: str, value: Any) -> str:
    return f"{name}={_shown(value)}"


def _shown(value: Any) -> str:
    return "none" if value is None else value if isinstance(value, str) else repr(value)
