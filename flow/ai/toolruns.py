"""A tool as a Dag of one node, so that a call of it is tried again, limited and moved to a thread as any node's is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from flow.ai.tools import Tool
from flow.data.context import Context
from flow.graph.dag import Dag
from flow.plan.plan import Plan
from flow.signature import Parameter, Shape, Shaped

ARGUMENTS: Final = "the arguments"  # no tool can be called that
"""The run input that such a Dag has: what the model gives, by parameter."""

_PARAMETERS: Final = (
    Parameter("the Context", is_context=True),
    Parameter(ARGUMENTS),
)


class _Called(Shaped):
    """What the node calls."""

    __slots__ = ("_tool", "location")

    def __init__(self, tool: Tool) -> None:
        self._tool = tool
        self.location = tool.location

    def shape(self) -> Shape:
        return Shape(_PARAMETERS, False, False, False)

    def __call__(self, ctx: Context, arguments: Mapping[str, Any]) -> Any:
        return self._tool.fn(**self._tool.given(ctx, arguments))


class _Awaited(_Called):
    """The same, of a tool that is awaited."""

    __slots__ = ()

    def shape(self) -> Shape:
        return Shape(_PARAMETERS, False, False, True)

    async def __call__(self, ctx: Context, arguments: Mapping[str, Any]) -> Any:
        result = self._tool.fn(**self._tool.given(ctx, arguments))
        return await result if hasattr(result, "__await__") else result


def plan_of(tool: Tool) -> Plan:
    """Return the plan of a run that calls a tool: its only node has the tool's name, and what the tool returns.

    A store does not keep that: it keeps what the model is told of it.
    """
    dag = Dag(_dag_name(tool.name))
    call = _Awaited(tool) if tool.is_async else _Called(tool)
    dag.add(_dag_name(tool.name), call, retry=tool.retry, timeout=tool.timeout, thread=tool.thread, store=False)
    return dag.compile()


def _dag_name(name: str) -> str:
    """Return a tool's name as a name of ours, which begins with no dash."""
    return name.replace("-", "_", 1) if name.startswith("-") else name


__all__ = ["ARGUMENTS", "plan_of"]
