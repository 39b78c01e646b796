"""Dask's raw graph run by ``dask.threaded.get``, the scheduler Dask uses by default."""

from __future__ import annotations

from typing import Any

from dask import threaded

from flow_bench.peers.dask_get import build

__all__ = ["build", "run"]


def run(built: tuple[dict[str, Any], list[str]]) -> Any:
    return threaded.get(*built)
