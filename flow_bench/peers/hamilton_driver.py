"""Hamilton: a module of functions whose parameters name what they need, a Driver built of it, ``execute`` of all nodes.

The module is made beforehand, as a user's file would be; the functions have the names of the nodes.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from hamilton import ad_hoc_utils, async_driver, driver

from flow_bench.peers.graph import Graph

Built = tuple[Any, list[str]]


def prepare(graph: Graph) -> tuple[ModuleType, Graph]:
    return ad_hoc_utils.create_temporary_module(*graph.functions), graph


def build(prepared: tuple[ModuleType, Graph]) -> Built:
    module, graph = prepared
    if graph.is_async:  # its build() only awaits ainit besides, which the first execute does as well
        return async_driver.Builder().with_modules(module).build_without_init(), graph.names
    return driver.Builder().with_modules(module).build(), graph.names


def run(built: Built) -> Any:
    made, names = built
    return made.execute(names)


async def run_async(built: Built) -> Any:
    made, names = built
    return await made.execute(names)
