"""Measured trials of a user's own DAG under many configs: :func:`flow.tune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow.exports import at_first_use, only

if TYPE_CHECKING:
    from flow.tuning.api import tune
    from flow.tuning.report import TuneReport

__getattr__ = at_first_use("flow.tuning", {"TuneReport": "flow.tuning.report", "tune": "flow.tuning.api"})

__all__ = ["TuneReport", "tune"]
__dir__ = only(__all__)
