"""DBOS on SQLite: a workflow that calls its steps one after another, each with a commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dbos import DBOS, SetWorkflowID

from flow_bench.peers.graph import Graph
from flow_bench.peers.plain_loop import Steps
from flow_bench.peers.plain_loop import run as call
from flow_bench.peers.stored import new_file, new_id

Outputs = dict[str, Any]


class Built:
    """A workflow, and the run that was made last."""

    def __init__(self, workflow: Callable[[], Outputs]) -> None:
        self.workflow = workflow
        self.last = ""


def steps(graph: Graph) -> Steps:
    """Steps in a database of their own: DBOS is one per process."""
    DBOS.destroy(destroy_registry=True)
    DBOS(
        config={
            "name": "bench", "system_database_url": f"sqlite:///{new_file()}", "run_admin_server": False,
            "log_level": "ERROR",
        }
    )  # fmt: skip
    return [(name, DBOS.step(name=name)(function), needs) for name, function, needs in graph.nodes()]


def build(graph: Graph) -> Built:
    made = steps(graph)

    @DBOS.workflow()  # type: ignore[untyped-decorator]
    def workflow() -> Outputs:
        return call(made)

    DBOS.launch()
    return Built(workflow)


def run(built: Built) -> Outputs:
    built.last = new_id()
    with SetWorkflowID(built.last):
        return built.workflow()


def stored(built: Built) -> int:
    return len(DBOS.list_workflow_steps(built.last))
