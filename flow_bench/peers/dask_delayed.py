"""Dask's high-level way: functions wrapped with ``dask.delayed``, called, and computed on the default threads."""

from __future__ import annotations

from typing import Any

import dask

from flow_bench.peers.graph import Graph


def build(graph: Graph) -> list[Any]:
    made: dict[str, Any] = {}
    for name, function, needs in graph.nodes():
        made[name] = dask.delayed(function)(*[made[need] for need in needs])
    return list(made.values())


def run(made: list[Any]) -> Any:
    return dask.compute(*made)
