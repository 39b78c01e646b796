"""The workflows that the tests of the service run, and what is seen of their runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import flow


def quick(name: str = "quick") -> flow.Dag:
    """Three sync nodes that take ``x`` (5 if it is not given) and give ``{"x": x + 2}``."""

    def first(x: int = 5) -> int:
        return x + 1

    def second(first: int) -> int:
        return first + 1

    dag = flow.Dag(name)
    dag.add("first", first)
    dag.add("second", second)
    dag.add("third", lambda second: {"x": second}, needs=["second"])
    return dag


def one(function: Callable[..., Any], name: str = "node", **options: Any) -> flow.Dag:
    """A Dag of one node."""
    dag = flow.Dag("one")
    dag.add(name, function, **options)
    return dag


def raising(error: BaseException) -> flow.Dag:
    """A Dag whose one node raises."""

    def node() -> None:
        raise error

    return one(node)


class Gate:
    """Holds runs until the test opens it. ``sync`` and ``loop`` are Dags whose one node waits for that.

    :ivar threads: in which the sync nodes were called. :ivar entered: is set once a node waits.
    """

    def __init__(self) -> None:
        self.threads: list[threading.Thread] = []
        self.entered = threading.Event()
        self._open = threading.Event()
        self._waiting: list[asyncio.Future[None]] = []

        def held(x: int = 0) -> int:
            self.threads.append(threading.current_thread())
            self.entered.set()
            assert self._open.wait(20)
            return x

        async def held_on_loop(x: int = 0) -> int:
            if not self._open.is_set():
                future = asyncio.get_running_loop().create_future()
                self._waiting.append(future)
                self.entered.set()
                await future
            return x

        self.sync = flow.Dag("held")
        self.sync.add("held", held)
        self.loop = flow.Dag("held_on_loop")
        self.loop.add("held", held_on_loop)

    def open(self) -> None:
        """Let all nodes go on. (On the thread of the event loop.)"""
        self._open.set()
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
