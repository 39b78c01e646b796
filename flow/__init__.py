"""An in-process DAG workflow engine: plain functions in, a measured, bounded, retried run out.

>>> import flow
>>> dag = flow.Dag("report")
>>> @dag.node
... def users() -> list[int]:
...     return [1, 2, 3]
>>> @dag.node
... def total(users: list[int]) -> int:
...     return sum(users)
>>> flow.run(dag)["total"]
6
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from flow.config import Clock, Config, Retry, Timeout
from flow.data.context import Context
from flow.errors import (
    BlockingNodeWarning,
    ConfigError,
    CycleError,
    DefinitionError,
    FlowError,
    InputError,
    MissingOutput,
    NodeAborted,
    NodeCancelled,
    NodeTimeout,
    OutputInvalid,
    RunError,
    TraceError,
    TransitionError,
    UsageError,
)
from flow.graph.dag import Dag
from flow.plan.plan import CriticalPath, Plan
from flow.plan.resolver import Resolver
from flow.run import events
from flow.run.api import execute, run
from flow.run.result import Result
from flow.types import NodeRef, Status

if TYPE_CHECKING:
    from flow import observe, testing
    from flow.graph import interop, render, topologies, traces
    from flow.plan.status import StatusTracker
    from flow.policy import middleware

__version__ = "0.1.0"

_LAZY = {
    "topologies": "flow.graph.topologies",
    "traces": "flow.graph.traces",
    "render": "flow.graph.render",
    "interop": "flow.graph.interop",
    "middleware": "flow.policy.middleware",
    "observe": "flow.observe",
    "testing": "flow.testing",
}


def __getattr__(name: str) -> Any:
    """Import the rooms that only some programs need at their first use."""
    if name in _LAZY:
        return importlib.import_module(_LAZY[name])
    if name == "StatusTracker":
        from flow.plan.status import StatusTracker

        return StatusTracker
    raise AttributeError(f"module 'flow' has no attribute {name!r}")


__all__ = [
    "BlockingNodeWarning",
    "Clock",
    "Config",
    "ConfigError",
    "Context",
    "CriticalPath",
    "CycleError",
    "Dag",
    "DefinitionError",
    "FlowError",
    "InputError",
    "MissingOutput",
    "NodeAborted",
    "NodeCancelled",
    "NodeRef",
    "NodeTimeout",
    "OutputInvalid",
    "Plan",
    "Resolver",
    "Result",
    "Retry",
    "RunError",
    "Status",
    "StatusTracker",
    "Timeout",
    "TraceError",
    "TransitionError",
    "UsageError",
    "events",
    "execute",
    "interop",
    "middleware",
    "observe",
    "render",
    "run",
    "testing",
    "topologies",
    "traces",
]
