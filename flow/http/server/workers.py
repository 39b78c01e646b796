"""Several processes of one service, each with an app of its own, that accept from the same sockets."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import FrameType
from typing import Any, Final, TypeAlias

from uvicorn.server import HANDLED_SIGNALS

from flow.errors import FlowError
from flow.http.server.listening import allow_many_connections
from flow.http.server.server import App, Server, Serving, end_now

Made: TypeAlias = Callable[[], contextlib.AbstractContextManager[App]]
"""Makes the app of a worker, in the worker, and takes it apart at the end. It is pickled."""

PAUSE: Final = 1.0
"""Seconds between a worker's start and that of the worker in its place, at least."""

MOST_FAILURES: Final = 3
"""Workers in a row that end before they serve: then the service ends."""

_FAILED_TO_START: Final = 3


class _Worker:
    """A process, and the pipe whose end tells it to drain.

    :ivar ready: it serves.
    """

    __slots__ = ("pipe", "process", "ready", "since")

    def __init__(self, process: SpawnProcess, pipe: Any) -> None:
        self.process = process
        self.pipe = pipe  # a Connection, on Windows a PipeConnection
        self.ready = False
        self.since = time.monotonic()


class Workers:
    """Keeps ``count`` processes serving until a signal comes; then all drain.

    A worker that ends is replaced: by SIGTERM to its process it drains first. The first SIGTERM or SIGINT to this
    process drains all; a second one kills them. If this process is killed the workers drain by themselves.

    :param make: makes the app of each worker. :param metrics: one socket for each worker, or none.
    :param tell: prints a line for the operator.
    """

    def __init__(
        self,
        make: Made,
        count: int,
        sockets: Sequence[socket.socket],
        serving: Serving,
        metrics: Sequence[socket.socket] = (),
        tell: Callable[[str], object] = print,
    ) -> None:
        self._make = make
        self._count = count
        self._sockets = list(sockets)
        self._serving = serving
        self._metrics = list(metrics)
        self._tell = tell
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker] = []
        self._failures = 0
        self._signal = 0
        self._alarm, self._bell = self._context.Pipe(duplex=False)

    def run(self) -> int:
        """Serve until all has ended; return the exit code: 0, or 1 if workers cannot start or do not end well."""
        before = {sig: signal.signal(sig, self._signalled) for sig in HANDLED_SIGNALS}
        try:
            self._workers = [self._started(place) for place in range(self._count)]
            while not self._signal and self._failures < MOST_FAILURES:
                self._look()
            return self._end()
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)
            self._kill()

    def _signalled(self, sig: int, frame: FrameType | None) -> None:
        if self._signal:
            self._kill()
            end_now(sig)
        self._signal = sig
        self._bell.send_bytes(b"!")

    def _started(self, place: int) -> _Worker:
        ours, theirs = self._context.Pipe()
        metrics = self._metrics[place] if self._metrics else None
        given = (self._make, self._sockets, metrics, self._serving, theirs)
        process = self._context.Process(target=work, args=given, name=f"flow serve {place}")
        with _signals_held_back():
            process.start()
        theirs.close()  # the worker's own copy is open: when that closes, ours ends
        return _Worker(process, ours)

    def _look(self) -> None:
        """Wait until something happens: a signal, a worker that serves now, one that has ended."""
        waited: list[Any] = [self._alarm, *(worker.process.sentinel for worker in self._workers)]
        found = wait([*waited, *(worker.pipe for worker in self._workers if not worker.ready)])
        for place, worker in enumerate(self._workers):
            if worker.pipe in found and not worker.ready:
                with contextlib.suppress(EOFError, OSError):
                    worker.pipe.recv_bytes()
                    worker.ready, self._failures = True, 0
            if worker.process.sentinel in found and not self._signal:
                self._replace(place)

    def _replace(self, place: int) -> None:
        gone = self._workers[place]
        gone.process.join()
        gone.pipe.close()
        self._failures += not gone.ready
        if self._failures >= MOST_FAILURES:
            self._tell(f"Error: {MOST_FAILURES} workers in a row ended before they served: the service ends")
            return
        self._tell(f"worker {gone.process.pid} ended ({_ending(gone.process.exitcode)}): another takes its place")
        if not self._alarm.poll(max(0.0, gone.since + PAUSE - time.monotonic())):  # a signal comes first
            self._workers[place] = self._started(place)

    def _end(self) -> int:
        """Let all drain, and wait for it; return the exit code."""
        for one in [*self._sockets, *self._metrics]:
            one.close()
        left = [worker for worker in self._workers if worker.process.is_alive()]
        for worker in self._workers:
            worker.pipe.close()
        for worker in left:
            worker.process.join()  # as long as nodes clean up; a second signal does not wait for it
        return 1 if self._failures >= MOST_FAILURES or any(worker.process.exitcode for worker in left) else 0

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.kill()


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def work(
    make: Made, sockets: list[socket.socket], metrics: socket.socket | None, serving: Serving, parent: Connection
) -> None:
    """Be a worker: serve until the parent closes its end of the pipe, or SIGTERM comes, and all has ended."""
    for sig in HANDLED_SIGNALS:  # until the server takes them: a terminal's Ctrl-C is for the parent
        signal.signal(sig, signal.SIG_IGN if sig == signal.SIGINT else _leave)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED_SIGNALS)
    allow_many_connections()
    try:
        with make() as app:
            server = Server(
                app, serving, metrics=metrics, told_by_signals=False, ready=lambda: parent.send_bytes(b"ready")
            )
            threading.Thread(target=_await_end, args=(parent, server), daemon=True).start()
            server.run(sockets)
    except FlowError as error:
        print(f"Error: a worker cannot start: {error}", file=sys.stderr, flush=True)
        sys.exit(_FAILED_TO_START)


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    """Keep signals from this process for a moment, and from a worker that it starts until that can take them."""
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # once: it lets signals through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _leave(sig: int, frame: FrameType | None) -> None:
    sys.exit(0)


def _await_end(parent: Connection, server: Server) -> None:
    with contextlib.suppress(EOFError, OSError):
        parent.recv_bytes()
    server.end()


__all__ = ["Made", "Workers", "work"]
