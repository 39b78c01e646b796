"""Who is compared: what can be said of a contender without importing its library."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata


@dataclass(frozen=True)
class Contender:
    """A library, and the module that runs a graph with it.

    :ivar module: imported by the worker. It has ``prepare(graph)``, what the user has already written; ``build(prepared)``,
        what makes something that can be run; ``run(built)`` and the async ``run_async(built)``, one or both; and
        ``outputs(raw, graph)``, all nodes' outputs in order, from what a run returned. Build and runs are timed.
    :ivar package: the distribution whose version is printed; empty for the standard library.
    :ivar engine: whether it is a library that schedules a graph for its user. False for a loop written by hand on primitives.
    :ivar sync: whether it runs sync nodes.
    :ivar is_async: whether it awaits async nodes.
    :ivar lacks: by section, why it has no figure there.
    """

    module: str
    label: str
    package: str
    engine: bool = True
    sync: bool = True
    is_async: bool = False

    @property
    def version(self) -> str:
        """Of the installed package; empty if it is not installed."""
        if not self.package:
            return "standard library"
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return ""


FLOW = Contender("flow_dag", "flow", "flow", is_async=True)
PARAMETERS = Contender("flow_parameters", "flow, wired by parameter names", "flow", is_async=True)
DASK_DICT = Contender("dask_get", "Dask get of a dict", "dask")
CONTENDERS = [
    FLOW,
    PARAMETERS,
    Contender("graphlib_loop", "graphlib loop", "", engine=False),
    Contender("networkx_loop", "networkx loop", "networkx", engine=False),
    Contender("asyncio_tasks", "asyncio TaskGroup", "", engine=False, sync=False, is_async=True),
    Contender("anyio_tasks", "anyio task group", "anyio", engine=False, sync=False, is_async=True),
    DASK_DICT,
    Contender("dask_threads", "Dask threaded get", "dask"),
    Contender("dask_delayed", "Dask delayed", "dask"),
    Contender("hamilton_driver", "Hamilton", "sf-hamilton", is_async=True),
    Contender("tawazi_dag", "tawazi", "tawazi"),
    Contender("langgraph_state", "LangGraph", "langgraph", is_async=True),
    Contender("pydantic_steps", "pydantic-graph", "pydantic-graph", sync=False, is_async=True),
]
