"""What is said on a run's error of how the run can go on."""

from __future__ import annotations

from typing import Any

from flow.errors import note


def explain(run_id: str, store: str, result: Any) -> None:
    """Note on what the nodes of a run have raised how the run can go on."""
    error = result.error(tolerated=False)
    if error is None:
        return
    text = (
        f"run {run_id!r} is stored in {store!r}: the same call with on_conflict='retry' runs again "
        "what failed and what was skipped for that, and nothing that has completed"
    )
    for one in error.exceptions[:5]:
        try:
            if text not in getattr(one, "__notes__", ()):
                note(one, text)
        except Exception:  # of the user's own: it must not be masked
            continue
    del error


__all__ = ["explain"]
