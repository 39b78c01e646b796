"""Who is compared: what can be said of a contender without importing its library."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import metadata


@dataclass(frozen=True)
class Library:
    """A library, and the module that runs a graph with it.

    :ivar module: imported by the worker. It has ``build(graph)``, which makes something that can be run; ``run(built)``
        and the async ``run_async(built)``, one or both, which return all nodes' outputs, by name or in order; and,
        if the user has to write more than the nodes' functions, ``prepare(graph)``, what is then given to ``build``.
        Building and running are timed, preparing is not. If it stores outputs, ``stored(built)`` tells how many nodes
        of the last run another connection finds.
    :ivar package: the distribution that must be installed, whose version is printed; empty if none need be.
    :ivar engine: whether it is a library that runs a graph for its user; False for a loop by hand on primitives.
    :ivar sync: whether it runs sync nodes.
    :ivar is_async: whether it awaits async nodes.
    :ivar ours: whether it is flow.
    :ivar builds: whether it builds anything before the run that another contender does not build in the same way.
    """

    module: str
    label: str
    package: str
    engine: bool = True
    sync: bool = True
    is_async: bool = False
    builds: bool = True
    ours: bool = False

    @property
    def version(self) -> str:
        """Of the package, if there is one and it is installed; else empty."""
        try:
            return metadata.version(self.package) if self.package else ""
        except metadata.PackageNotFoundError:
            return ""


FLOW = Library("flow_bench.peers.flow_dag", "flow", "", ours=True, is_async=True)
NAMED = Library("flow_bench.peers.flow_parameters", "flow, wired by parameter names", "", ours=True, is_async=True)
DASK_DICT = Library("flow_bench.peers.dask_get", "Dask get of a dict", "dask")
LOOP = Library("flow_bench.peers.graphlib_loop", "graphlib loop", "", engine=False)
TASKS = Library(
    "flow_bench.peers.asyncio_tasks", "asyncio TaskGroup", "", engine=False, sync=False, is_async=True, builds=False
)
CONTENDERS = [
    FLOW,
    NAMED,
    LOOP,
    replace(LOOP, module="flow_bench.peers.networkx_loop", label="networkx loop", package="networkx"),
    TASKS,
    replace(TASKS, module="flow_bench.peers.anyio_tasks", label="anyio task group", package="anyio"),
    DASK_DICT,
    Library("flow_bench.peers.dask_threads", "Dask threaded get", "dask", builds=False),
    Library("flow_bench.peers.dask_delayed", "Dask delayed", "dask"),
    Library("flow_bench.peers.hamilton_driver", "Hamilton", "sf-hamilton", is_async=True),
    Library("flow_bench.peers.tawazi_dag", "tawazi", "tawazi"),
    Library("flow_bench.peers.langgraph_state", "LangGraph", "langgraph", is_async=True),
    Library("flow_bench.peers.pydantic_steps", "pydantic-graph", "pydantic-graph", sync=False, is_async=True),
]
