"""Watching runs: observers that count, show and export what :mod:`flow.run.events` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flow.exports import at_first_use, only

if TYPE_CHECKING:
    from flow.observe.log import logging
    from flow.observe.progress import Progress
    from flow.observe.tracker import tracking
else:  # so that a type checker refuses what is not there
    __getattr__ = at_first_use(
        "flow.observe",
        {"Progress": "flow.observe.progress", "logging": "flow.observe.log", "tracking": "flow.observe.tracker"},
    )

__all__ = ["Progress", "logging", "tracking"]
__dir__ = only(__all__)
