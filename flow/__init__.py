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

from typing import TYPE_CHECKING

from flow import errors
from flow.config import Config, DataConfig, Retry, Timeout
from flow.data.context import Context
from flow.data.key import Key
from flow.data.mapresult import MapResult
from flow.data.outcome import Outcome
from flow.data.store import WorkflowData
from flow.errors import DefinitionError, DefinitionWarning, FlowError, InputError, NodeTimeout, RunError, UsageError
from flow.exports import at_first_use, only
from flow.graph.dag import Dag
from flow.plan.plan import Plan
from flow.run import events
from flow.run.api import execute, run
from flow.run.result import Result
from flow.types import Status

if TYPE_CHECKING:
    from flow import ai as ai
    from flow import clock as clock
    from flow import config as config
    from flow import data as data
    from flow import http as http
    from flow import memory, observe, testing
    from flow import metrics as metrics
    from flow import plan as plan
    from flow import spec as spec
    from flow import store as store
    from flow import tuning as tuning
    from flow import types as types
    from flow.graph import interop, render, topologies, traces
    from flow.masking import Secret
    from flow.policy import middleware
    from flow.policy.breaker import Breaker
    from flow.policy.expressed import expr as expr
    from flow.policy.expressed import template as template
    from flow.policy.limiter import RateLimiter
    from flow.run.handle import RunHandle, start
    from flow.run.streaming import stream
    from flow.spec.called.marked import action
    from flow.store.recovery import recover
    from flow.tuning.api import tune
else:  # so that a type checker refuses what is not there
    __getattr__ = at_first_use(
        "flow",
        {
            "action": "flow.spec.called.marked",
            "Breaker": "flow.policy.breaker",
            "ai": "flow.ai",
            "expr": "flow.expr",
            "http": "flow.http",
            "interop": "flow.graph.interop",
            "memory": "flow.memory",
            "metrics": "flow.metrics",
            "middleware": "flow.policy.middleware",
            "observe": "flow.observe",
            "RateLimiter": "flow.policy.limiter",
            "RunHandle": "flow.run.handle",
            "Secret": "flow.masking",
            "recover": "flow.store.recovery",
            "render": "flow.graph.render",
            "start": "flow.run.handle",
            "stream": "flow.run.streaming",
            "template": "flow.policy.expressed",
            "testing": "flow.testing",
            "topologies": "flow.graph.topologies",
            "traces": "flow.graph.traces",
            "spec": "flow.spec",
            "store": "flow.store",
            "tune": "flow.tuning.api",
            "tuning": "flow.tuning",
        },
    )

__version__ = "0.1.0"

__all__ = [
    "Breaker",
    "Config",
    "Context",
    "Dag",
    "DataConfig",
    "DefinitionError",
    "DefinitionWarning",
    "FlowError",
    "InputError",
    "Key",
    "MapResult",
    "NodeTimeout",
    "Outcome",
    "Plan",
    "RateLimiter",
    "Result",
    "Retry",
    "RunError",
    "RunHandle",
    "Secret",
    "Status",
    "Timeout",
    "UsageError",
    "WorkflowData",
    "action",
    "ai",
    "errors",
    "events",
    "execute",
    "expr",
    "http",
    "interop",
    "memory",
    "metrics",
    "middleware",
    "observe",
    "recover",
    "render",
    "run",
    "start",
    "store",
    "stream",
    "template",
    "testing",
    "topologies",
    "traces",
    "tune",
]
__dir__ = only(__all__)
