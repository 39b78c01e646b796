"""A process that knows one library: ``python -m flow_bench.peers.worker MODULE``.

It reads one JSON command per line, ``{"do": "run", "repeat": 5}``, and answers with one line of JSON; what the
library prints goes to stderr. An exception is answered as ``{"error": ...}``, and the worker goes on.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

from flow_bench.peers.graph import DONE, Graph


class Worker:
    """The commands, as methods; each returns what is answered."""

    def __init__(self, module: str) -> None:
        began = perf_counter()
        library: Any = importlib.import_module(module)
        self._import_seconds = perf_counter() - began
        self._prepare = getattr(library, "prepare", lambda graph: graph)
        self._build = library.build
        self._run: Any = getattr(library, "run", None)
        self._run_async: Any = getattr(library, "run_async", None)
        self._stored: Any = getattr(library, "stored", None)
        self._runner = asyncio.Runner()
        self._graph = Graph([])
        self._prepared: Any = None
        self._built: Any = None

    def hello(self) -> dict[str, Any]:
        """Seconds its import took, and by which number its memory can be looked up."""
        return {"seconds": self._import_seconds, "pid": os.getpid()}

    def graph(self, dependencies: Sequence[Sequence[int]], is_async: bool) -> dict[str, Any]:
        """Take a graph of no-op nodes, and prepare it."""
        self._built = self._prepared = None
        self._graph = Graph(dependencies, is_async=is_async)
        self._prepared = self._prepare(self._graph)
        return {}

    def check(self) -> dict[str, Any]:
        """Run the graph once with nodes that record: the calls with their arguments, and the outputs."""
        graph = Graph(self._graph.dependencies, is_async=self._graph.is_async, record=True)
        built = self._build(self._prepare(graph))
        raw = self._runner.run(self._run_async(built)) if graph.is_async else self._run(built)
        return {"calls": graph.calls, "outputs": graph.outputs(raw)}

    def build(self, repeat: int) -> dict[str, Any]:
        """Seconds per build, of so many in a row; the last is kept for running."""
        build, prepared = self._build, self._prepared
        with uncollected():
            began = perf_counter()
            made = [build(prepared) for _ in range(repeat)]
            took = perf_counter() - began
        self._built = made[-1]
        return {"seconds": took / repeat}

    def run(self, repeat: int) -> dict[str, Any]:
        """Seconds per run, of so many in a row, and the least number of nodes that any of them left done.

        If the library stores outputs: also how many of the last run are stored.
        """
        if self._built is None:
            self._built = self._build(self._prepared)
        with uncollected():
            took, runs = self._runner.run(self._timed_async(repeat)) if self._graph.is_async else self._timed(repeat)
        done = min(self._graph.outputs(raw).count(DONE) for raw in runs)
        stored = {} if self._stored is None else {"stored": self._stored(self._built)}
        return {"seconds": took / repeat, "done": done} | stored

    def _timed(self, repeat: int) -> tuple[float, list[Any]]:
        run, built = self._run, self._built
        began = perf_counter()
        runs = [run(built) for _ in range(repeat)]
        return perf_counter() - began, runs

    async def _timed_async(self, repeat: int) -> tuple[float, list[Any]]:
        run, built = self._run_async, self._built
        began = perf_counter()
        runs = [await run(built) for _ in range(repeat)]
        return perf_counter() - began, runs


@contextmanager
def uncollected() -> Iterator[None]:
    """The collector is run before what is timed and off within it, for all libraries alike."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def serve(worker: Any, commands: Any, answer: Callable[[str], object]) -> None:
    """Answer every command, which is a method of ``worker``, until there are no more."""
    for line in commands:
        arguments = json.loads(line)
        try:
            reply = json.dumps(getattr(worker, arguments.pop("do"))(**arguments))
        except Exception as error:
            first = str(error).strip().partition("\n")[0]
            reply = json.dumps({"error": f"{type(error).__name__}: {first}".rstrip(": ")})
        answer(f"{reply}\n")


def main() -> None:
    """Serve on stdin and stdout."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # a library that prints must not spoil the protocol
    worker = Worker(sys.argv[1])
    gc.collect()
    gc.freeze()  # the library's own objects are not looked at again at every collection between samples
    serve(worker, sys.stdin, replies.write)


if __name__ == "__main__":
    main()
