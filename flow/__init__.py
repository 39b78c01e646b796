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

from flow.clock import Clock
from flow.config import Config, DataConfig, Retry, Timeout
from flow.data.context import Context
from flow.data.key import Key
from flow.data.mapresult import MapResult
from flow.data.slots import Layout
from flow.data.store import Snapshot, WorkflowData
from flow.errors import (
    BlockingNodeWarning,
    ConfigError,
    CycleError,
    DataError,
    DefinitionError,
    DefinitionWarning,
    FlowError,
    InputError,
    MapError,
    MissingKey,
    MissingOutput,
    NodeAborted,
    NodeCancelled,
    NodeTimeout,
    OutputInvalid,
    RunError,
    ThreadsExhausted,
    TraceError,
    TransitionError,
    UnknownSetting,
    UsageError,
    WrongType,
)
from flow.graph.dag import Dag
from flow.plan.plan import CriticalPath, Plan
from flow.plan.resolver import Resolver
from flow.run import events
from flow.run.api import execute, run
from flow.run.hooks import Outcome
from flow.run.result import Result
from flow.types import NodeRef, Status

if TYPE_CHECKING:
    from flow import observe, testing
    from flow.data.arena import Arena
    from flow.data.pool import ObjectPool
    from flow.data.strings import ArenaStrings, StringPool
    from flow.graph import interop, render, topologies, traces
    from flow.plan.status import StatusTracker
    from flow.policy import middleware
    from flow.tuning.api import tune
    from flow.tuning.report import TuneReport

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
_LAZY_NAMES = {
    "Arena": "flow.data.arena",
    "ArenaStrings": "flow.data.strings",
    "ObjectPool": "flow.data.pool",
    "StatusTracker": "flow.plan.status",
    "StringPool": "flow.data.strings",
    "TuneReport": "flow.tuning.report",
    "tune": "flow.tuning.api",
}


def __dir__() -> list[str]:
    return sorted(__all__)


def __getattr__(name: str) -> Any:
    """Import the rooms that only some programs need at their first use."""
    if name in _LAZY:
        return importlib.import_module(_LAZY[name])
    if name in _LAZY_NAMES:
        return getattr(importlib.import_module(_LAZY_NAMES[name]), name)
    raise AttributeError(f"module 'flow' has no attribute {name!r}")


__all__ = [
    "Arena",
    "ArenaStrings",
    "BlockingNodeWarning",
    "Clock",
    "Config",
    "ConfigError",
    "Context",
    "CriticalPath",
    "CycleError",
    "Dag",
    "DataConfig",
    "DataError",
    "DefinitionError",
    "DefinitionWarning",
    "FlowError",
    "InputError",
    "Key",
    "Layout",
    "MapError",
    "MapResult",
    "MissingKey",
    "MissingOutput",
    "NodeAborted",
    "NodeCancelled",
    "NodeRef",
    "NodeTimeout",
    "ObjectPool",
    "Outcome",
    "OutputInvalid",
    "Plan",
    "Resolver",
    "Result",
    "Retry",
    "RunError",
    "Snapshot",
    "Status",
    "StatusTracker",
    "StringPool",
    "ThreadsExhausted",
    "Timeout",
    "TraceError",
    "TransitionError",
    "TuneReport",
    "UnknownSetting",
    "UsageError",
    "WorkflowData",
    "WrongType",
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
    "tune",
]
