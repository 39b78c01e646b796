"""The graph that all contenders run, and its no-op nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import Any, TypeAlias

import anyio.lowlevel

import flow

DONE = "done"
"""What a no-op node returns, so that a node that did not run can be told from one that did."""

Fns: TypeAlias = Sequence[Callable[..., Any]]


def noop(*values: object) -> str:
    """Take any outputs and return at once."""
    return DONE


async def noop_async(*values: object) -> str:
    """Take any outputs and return without suspending."""
    return DONE


def dependencies_of(plan: flow.Plan) -> list[tuple[int, ...]]:
    """Per node of ``plan``, by index, the indices that it waits for."""
    index = {name: i for i, name in enumerate(plan)}
    return [tuple([index[name] for name in needs]) for needs in plan.dependencies.values()]


class Work:
    """One graph and the functions of its nodes, with what a contender may prepare once per graph.

    Node ``i`` waits for ``dependencies[i]``, all smaller than ``i``, and is given their outputs in that order.

    :param outputs: what the functions return, in node order; by default what no-ops do.
    """

    def __init__(
        self, dependencies: Sequence[tuple[int, ...]], fns: Fns, async_fns: Fns, outputs: Sequence[object] = ()
    ) -> None:
        self.outputs = list(outputs) or [DONE] * len(dependencies)
        self.dependencies = [tuple(deps) for deps in dependencies]
        self.names = [f"n{i}" for i in range(len(dependencies))]
        suspends = _suspends_once(async_fns[0])
        self.kinds = {"sync": fns, "async": async_fns, "suspending": [suspends, *async_fns[1:]]}
        self._plans: dict[str, flow.Plan] = {}

    @classmethod
    def of(cls, dag: flow.Dag) -> Work:
        plan = dag.compile()
        return cls(dependencies_of(plan), [noop] * len(plan), [noop_async] * len(plan))

    @cached_property
    def in_degrees(self) -> list[int]:
        return [len(deps) for deps in self.dependencies]

    @cached_property
    def successors(self) -> list[list[int]]:
        successors: list[list[int]] = [[] for _ in self.dependencies]
        for i, deps in enumerate(self.dependencies):
            for d in deps:
                successors[d].append(i)
        return successors

    @cached_property
    def roots(self) -> list[int]:
        return [i for i, deps in enumerate(self.dependencies) if not deps]

    @cached_property
    def needs(self) -> list[list[str]]:
        return [[self.names[d] for d in deps] for deps in self.dependencies]

    def dag(self, kind: str) -> flow.Dag:
        dag = flow.Dag("bench")
        add = dag.add
        for name, fn, needs in zip(self.names, self.kinds[kind], self.needs, strict=True):
            add(name, fn, needs=needs)
        return dag

    def plan(self, kind: str, *, fresh: bool = False) -> flow.Plan:
        """A plan just compiled from a new Dag, or always the same one."""
        if fresh:
            return self.dag(kind).compile()
        if kind not in self._plans:
            self._plans[kind] = self.dag(kind).compile()
        return self._plans[kind]


def _suspends_once(fn: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    async def suspends(*values: object) -> Any:
        await anyio.lowlevel.checkpoint()
        return await fn(*values)

    return suspends
