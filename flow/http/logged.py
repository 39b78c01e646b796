"""Failed runs in the log of a service: :class:`Failures`. Nobody may be there who reads the answers."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from logging import ERROR, getLogger
from threading import Lock
from traceback import format_exception
from typing import TYPE_CHECKING, Any, Final

from flow.errors import RunError, printable
from flow.logs import NAME, fields, reason_of
from flow.tracebacks import end_at_user

if TYPE_CHECKING:
    from flow.http.workflow import Workflow
    from flow.run.result import Result

MOST: Final = 20
"""Failed runs that are logged within a second. Those beyond are counted, and one line tells how many they are."""

SECOND: Final = 1.0

FAILED: Final = "failed"


class Failures:
    """Logs failed runs at ERROR, up to :data:`MOST` in a second: what fails all the time must not cost the service.

    Safe to be used by several threads.

    :param clock: seconds, as :func:`time.monotonic`.
    """

    __slots__ = ("_clock", "_left", "_lock", "_logged", "_since")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._since = -SECOND
        self._logged = self._left = 0

    def ended(self, workflow: Workflow, run_id: str, result: Result) -> None:
        """A run has ended as failed: log its first error, with the traceback that ends at the user's line.

        Secrets are masked. The frames of a run that has some are no part of the record: its values stand in them.
        """
        if not self._takes():
            return
        found = result.error(tolerated=False) or result.error()
        node, error = _first(found)
        reason = "it has not completed" if found is None else found.message
        if node is not None and found is not None and not found.timed_out:
            more = len(found.nodes) - 1
            reason = f"{node}: {reason_of(found.exceptions[0])}{f' (and {more} more failed)' if more else ''}"
        masks = result._run.masks
        if masks is None:
            _log(workflow, run_id, node, reason, error)
            return
        trace = "" if error is None else "\n" + "".join(format_exception(error)).rstrip()
        _log(workflow, run_id, node, masks.text(reason), None, masks.text(trace))

    def broken(self, workflow: Workflow, run_id: str, error: BaseException, what: str = FAILED) -> None:
        """Something else than a node has ended a run: a hook, an exit. Of a run with secrets only its kind is told.

        :param what: has become of the run.
        """
        if not self._takes():
            return
        if workflow.plan._nodes.secret:
            _log(workflow, run_id, None, type(error).__name__, what=what)
            return
        end_at_user(error)
        _log(workflow, run_id, None, reason_of(error), error, what=what)

    def tell_rest(self) -> None:
        """Say how many failed runs have not been logged one by one, if there are some."""
        with self._lock:
            left, self._left = self._left, 0
        if left:
            runs = "run" if left == 1 else "runs"
            getLogger(NAME).error("... and %d more %s failed in the last second", left, runs, extra=fields())

    def _takes(self) -> bool:
        """Tell whether one more is logged; else it is counted."""
        if not getLogger(NAME).isEnabledFor(ERROR):
            return False
        now = self._clock()
        with self._lock:
            begins = now - self._since >= SECOND
            if begins:
                self._since, self._logged = now, 0
            takes = self._logged < MOST
            self._logged += takes
            self._left += not takes
            first = not takes and self._left == 1
            rest = self._since + SECOND - now
        if begins:
            self.tell_rest()
        if first:
            with contextlib.suppress(RuntimeError):  # without an event loop the next one tells it
                asyncio.get_running_loop().call_later(rest, self.tell_rest)
        return takes


FAILURES: Final = Failures()
"""Those of this process."""


def _first(found: RunError | None) -> tuple[str | None, BaseException | None]:
    """Return the first node that has failed, and the error to show."""
    if found is None or not found.exceptions:
        return None, None
    return (found.nodes[0], found.exceptions[0]) if found.nodes else (None, None)


def _log(
    workflow: Workflow, run_id: str, node: str | None, reason: str, error: BaseException | None = None,
    trace: str = "", what: str = FAILED,
) -> None:  # fmt: skip
    extra: dict[str, Any] = fields("RunFinished", run_id, node)
    # A handler of the user's may raise: the answer does not depend on it.
    with contextlib.suppress(Exception):
        said = (run_id, workflow.name, what, printable(reason), trace)
        getLogger(NAME).error("run %s of %s %s: %s%s", *said, exc_info=error, extra=extra)


__all__ = ["FAILURES", "MOST", "Failures"]
