"""Dask's raw graph: a dict of ``(function, "name of what it needs", ...)``, run by ``dask.get`` in this thread."""

from __future__ import annotations

from typing import Any

import dask

from flow_bench.peers.graph import Graph


def build(graph: Graph) -> tuple[dict[str, Any], list[str]]:
    entries = zip(graph.names, graph.functions, graph.needs, strict=True)
    return {name: (function, *needs) for name, function, needs in entries}, graph.names


def run(built: tuple[dict[str, Any], list[str]]) -> Any:
    return dask.get(*built)
