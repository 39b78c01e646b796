"""The graph a worker is given, and the functions of its nodes, the same for every library."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

DONE = "done"
"""What a no-op node returns."""

Node = Callable[..., Any]


class Graph:
    """Node ``i`` is called ``n<i>``, waits for ``dependencies[i]`` and is given their outputs in that order.

    Every node has a function of its own, as a user's nodes have: ``def n3(n1: str, n2: str) -> str``, its parameters
    named and annotated for the libraries that read them, callable by position for the others.

    :ivar functions: one per node; a no-op that returns ``DONE``, or if ``record``, one that notes its call.
    :ivar calls: of recording nodes: which node was called with what. They return their own number.
    """

    def __init__(self, dependencies: Sequence[Sequence[int]], *, is_async: bool = False, record: bool = False) -> None:
        self.dependencies = [tuple(needed) for needed in dependencies]
        self.is_async = is_async
        self.calls: list[tuple[int, tuple[object, ...]]] = []
        self.names = [f"n{i}" for i in range(len(self.dependencies))]
        self.needs = [[self.names[d] for d in needed] for needed in self.dependencies]
        self.functions = self._functions(record)

    def nodes(self) -> Iterator[tuple[str, Node, list[str]]]:
        """Name, function and needs of every node."""
        return zip(self.names, self.functions, self.needs, strict=True)

    def outputs(self, raw: Any) -> list[Any]:
        """All outputs in node order, of what a run returned: a list of them, or a mapping by name."""
        return [raw[name] for name in self.names] if hasattr(raw, "keys") else list(raw)

    def _functions(self, record: bool) -> list[Node]:
        define = "async def" if self.is_async else "def"
        lines = []
        for i, (name, needs) in enumerate(zip(self.names, self.needs, strict=True)):
            parameters = ", ".join(f"{need}: str" for need in needs)
            values = "".join(f"{need}, " for need in needs)  # a tuple even of one
            body = f"return record({i}, ({values}))" if record else f"return {DONE!r}"
            lines.append(f"{define} {name}({parameters}) -> str: {body}")
        namespace: dict[str, Any] = {"record": self._record, "__name__": "nodes"}
        code = compile("\n".join(lines), "nodes", "exec", dont_inherit=True)  # annotations are types, not strings
        exec(code, namespace)
        return [namespace[name] for name in self.names]

    def _record(self, i: int, values: tuple[object, ...]) -> int:
        self.calls.append((i, values))
        return i
