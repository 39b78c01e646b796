"""What is said of a run that has ended, however it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flow.errors import StoreError
from flow.http.answers import CANCELLED, FAILED, Answer, encoded_answer, ended, failed
from flow.http.board import STATUSES
from flow.http.logged import FAILURES
from flow.http.stored import give_up
from flow.logs import log_broken
from flow.types import Status

if TYPE_CHECKING:
    from flow.http.live import Live
    from flow.http.workflow import Workflow
    from flow.run.result import Result
    from flow.store import Store

CODES: Final = {str(status): code for code, status in enumerate(STATUSES)}
"""By status of a node, the byte that a summary has for it."""

_PENDING: Final = CODES["pending"]


def said(
    workflow: Workflow, result: Result, run_id: str, names: tuple[str, ...], cancelled: bool
) -> tuple[Answer, bytes]:
    """Return the answer of a run that has ended, and its JSON."""
    answer, data = ended(result, run_id, names, cancelled)
    if answer.status == FAILED:
        FAILURES.ended(workflow, run_id, result)
    if workflow.unpacks and answer.outputs:
        answer.outputs = workflow.outputs(answer.outputs)
        data = encoded_answer(answer, result._run.masks)
    return answer, data


def broken(workflow: Workflow, run_id: str, error: BaseException, store: Store | None = None) -> tuple[Answer, bytes]:
    """Return the answer of a run that something else than its nodes has ended, and its JSON.

    :param store: notes that end of the run.
    """
    FAILURES.broken(workflow, run_id, error)
    answer, data = failed(run_id, error)
    if store is not None:
        try:
            give_up(store, run_id, answer.detail)
        except StoreError as fault:
            log_broken("the store could not note the end of run %r", run_id, error=fault, run=run_id)
    return answer, data


def was_cancelled(live: Live, result: Result) -> bool:
    """Tell whether somebody has ended a run: here, or in its store."""
    journal: Any = result._run.journal
    if live.cancelled or journal is None:
        return live.cancelled
    return bool(journal.cancel_asked or (journal.ended and journal.row.status == CANCELLED))


def codes_of(result: Result, workflow: Workflow) -> bytes:
    """Return the statuses of the nodes as codes; nothing if all have completed. O(nodes).

    Nodes that were not asked for, as targets were, are pending.
    """
    names = workflow.plan.names
    if result.counts.get(Status.COMPLETED, 0) == len(names):
        return b""
    status = result.status
    return bytes([CODES[str(status[name])] if name in status else _PENDING for name in names])


__all__ = ["CODES", "broken", "codes_of", "said", "was_cancelled"]
