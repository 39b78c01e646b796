"""A process that asks a model in one way: ``python -m flow_bench.peers.asked_worker MODULE``.

As :mod:`flow_bench.peers.worker` it reads a command a line and answers with a line.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import sys
from time import perf_counter, process_time
from typing import Any

from flow_bench.peers.worker import serve, uncollected
from flow_bench.suites.ai.callers import looked_up

NAME = "flow_bench.peers.asked_worker"


class Worker:
    """The commands, as methods; each returns what is answered."""

    def __init__(self, module: str) -> None:
        cpu = process_time()
        self._library: Any = importlib.import_module(module)
        self._import = process_time() - cpu
        self._runner = asyncio.Runner()
        self._caller: Any = None

    def hello(self) -> dict[str, Any]:
        """Seconds of CPU time that its import took, and by which number its memory can be looked up."""
        return {"cpu": self._import, "pid": os.getpid()}

    def open(self, url: str) -> dict[str, Any]:
        """Make what asks the model there."""

        async def made() -> Any:
            return self._library.Caller(url)

        self._caller = self._runner.run(made())
        return {}

    def sample(self, operation: str, texts: list[str]) -> dict[str, Any]:
        """Do it with each text, one after the other: seconds, of CPU time too, and all answers.

        :param operation: ``ask`` or ``work``.
        """
        looked_up.clear()
        with uncollected():
            found = self._runner.run(self._timed(getattr(self._caller, operation), texts))
        return found | {"looked_up": list(looked_up)}

    async def _timed(self, call: Any, texts: list[str]) -> dict[str, Any]:
        cpu, began = process_time(), perf_counter()
        answers = [await call(text) for text in texts]
        return {"seconds": perf_counter() - began, "cpu": process_time() - cpu, "answers": answers}


def main() -> None:
    """Serve on stdin and stdout."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # a library that prints must not spoil the protocol
    worker = Worker(sys.argv[1])
    gc.collect()
    gc.freeze()
    serve(worker, sys.stdin, replies.write)


if __name__ == "__main__":
    main()
