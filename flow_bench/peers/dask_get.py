"""Dask's raw graph: a dict of ``(function, "name of what it needs", ...)``, run by ``dask.get`` in this thread."""

from __future__ import annotations

from typing import Any

import dask

from flow_bench.peers.graph import Graph


def build(graph: Graph) -> tuple[dict[str, Any], list[str]]:
    return {name: (function, *needs) for name, function, needs in graph.nodes()}, graph.names


def run(built: tuple[dict[str, Any], list[str]]) -> Any:
    return dask.get(*built)
