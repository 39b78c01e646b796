"""Metrics of runs and of a service, for Prometheus (the extra ``metrics``): :func:`observer`, :class:`Counts`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow.exports import at_first_use, only

if TYPE_CHECKING:
    from flow.metrics.counts import Counts
    from flow.metrics.registering import observer
else:  # so that a type checker refuses what is not there
    __getattr__ = at_first_use(
        "flow.metrics", {"Counts": "flow.metrics.counts", "observer": "flow.metrics.registering"}
    )

__all__ = ["Counts", "observer"]
__dir__ = only(__all__)
