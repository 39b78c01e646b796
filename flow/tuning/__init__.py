"""Measured trials of a user's own DAG under many configs: :func:`flow.tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow.exports import at_first_use, only

if TYPE_CHECKING:
    from flow.tuning.api import tune
    from flow.tuning.report import Reason, Tried, TuneReport
else:  # so that a type checker refuses what is not there
    __getattr__ = at_first_use(
        "flow.tuning",
        {
            "Reason": "flow.tuning.report",
            "Tried": "flow.tuning.report",
            "TuneReport": "flow.tuning.report",
            "tune": "flow.tuning.api",
        },
    )

__all__ = ["Reason", "Tried", "TuneReport", "tune"]
__dir__ = only(__all__)
