"""The functions, called one after another in the order of their numbers, which is one that their needs allow."""

from __future__ import annotations

from typing import Any

from flow_bench.peers.graph import Graph, Node

Steps = list[tuple[str, Node, list[str]]]


def build(graph: Graph) -> Steps:
    return list(graph.nodes())


def run(steps: Steps) -> dict[str, Any]:
    outputs: dict[str, Any] = {}
    for name, step, needs in steps:
        outputs[name] = step(*[outputs[need] for need in needs])
    return outputs
