"""Watching runs: observers that count, show and export what :mod:`flow.run.events` tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flow.observe.log import logging
    from flow.observe.progress import Progress
    from flow.observe.tracker import tracking


def __getattr__(name: str) -> Any:
    """Import an observer at its first use: a run without one pays nothing."""
    if name == "Progress":
        from flow.observe.progress import Progress

        return Progress
    if name == "logging":
        from flow.observe.log import logging

        return logging
    if name == "tracking":
        from flow.observe.tracker import tracking

        return tracking
    raise AttributeError(f"module 'flow.observe' has no attribute {name!r}")


__all__ = ["Progress", "logging", "tracking"]
