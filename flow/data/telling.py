"""What a node says of itself while it runs: :class:`Telling`, a part of the Context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flow.data.emissions import check_emission
from flow.data.reports import check_kind, copied

if TYPE_CHECKING:
    from flow.errors import Show


class Telling:
    """The part of a :class:`flow.Context` by which a node tells something."""

    __slots__ = ()

    _scope: Any

    def emit(self, key: str, value: Any, *, append: bool = False) -> None:
        """Tell those who observe the run (:func:`flow.stream`, observers) something now: progress, a part of a text.

        They get a :class:`flow.events.NodeEmitted`. The run itself keeps nothing, and without observers the value goes
        nowhere. It may be called from any thread.

        :param key: what the value is, as a name (:data:`flow.types.NAME_PATTERN`). A new value takes the place of the
            one before under this key.
        :param append: ``value`` is a str that goes on with the text emitted under this key. Each attempt of a node, and
            each item of a map, begins its texts anew.
        :raises UsageError: for a key that is no name; for ``append=True`` with another value than a str.
        """
        check_emission(key, value, append, self._show())
        self._scope.shared.emitted(self._call(), key, value, append)

    def report(self, kind: str, value: Any) -> None:
        """Keep a fact with the run, whatever becomes of this node: what a request has cost, where a file was put.

        It is in :attr:`flow.Result.reports`, also of a run that fails or is cancelled, and observers get a
        :class:`flow.events.NodeReported`. A store keeps it: a run that goes on has what was reported before. Secrets
        are masked. It may be called from any thread. What a call that was left behind reports after the end of the run
        goes nowhere. O(parts of the value).

        :param kind: what the value is, as a name (:data:`flow.types.NAME_PATTERN`).
        :param value: plain data: dicts with str keys, lists, str, int, float, bool and None; 100,000 values at most. A
            copy of it is kept, in which a tuple is a list.
        :raises UsageError: for a kind that is no name; for a value that is no plain data, naming the place.
        """
        check_kind("report", kind, self._show())
        self._scope.shared.report(self._call(), kind, copied(kind, value, self._show()))

    def reported(self, kind: str) -> list[Any]:
        """Return the values that this node has reported by now, or this item of a map, in order. O(these).

        Those of its earlier attempts are among them, and of a stored run those of earlier processes; those of runs
        within it are not. The values are the run's own: leave them as they are.

        :raises UsageError: for a kind that is no name.
        """
        check_kind("reported", kind, self._show())
        found: list[Any] = self._scope.shared.reported(self._call(), kind)
        return found

    def run_reported(self, kind: str) -> list[Any]:
        """As :meth:`reported`, of the whole outermost run, with all runs within it."""
        check_kind("run_reported", kind, self._show())
        found: list[Any] = self._scope.shared.run_reported(kind)
        return found

    def _call(self) -> Any:
        """The Context of the call that this one belongs to."""
        raise NotImplementedError

    def _show(self) -> Show:
        """How messages say a value."""
        raise NotImplementedError


__all__ = ["Telling"]
