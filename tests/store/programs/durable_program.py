"""Makes attempts at a durable run, each in a process of its own, which may be killed.

It reads one command per line (JSON), forks a process that does it, ends that by SIGKILL where it is told to, and prints
how it ended: ``[exit status]``. (It forks, since a process that begins from nothing takes 0.3 s to import all.)
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import flow
from flow.store.opening import open as open_store

sys.path.insert(0, str(Path(__file__).parents[1]))
from durable_work import INPUTS, work  # noqa: E402

HANGS = 60.0
"""Seconds after which an attempt ends itself, and says where it stood."""

WRITES = ("write", "create", "claim", "send", "put_file")


class Log:
    """A file that says, in their order, what was called (``c``) and what was acknowledged (``a``)."""

    def __init__(self, path: str) -> None:
        self.file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY)

    def called(self, name: str) -> None:
        os.write(self.file, b"c %s\n" % name.encode())

    def __call__(self, event: Any) -> None:
        """Note what is acknowledged: in sync mode what has finished, else what is stored."""
        index = getattr(event, "index", None)
        place = "/".join((*getattr(event, "path", ()), event.node)) + ("" if index is None else f"[{index}]")
        os.write(self.file, b"a %s\n" % place.encode())


class Acknowledging:
    def __init__(self, log: Log, mode: str) -> None:
        kinds: tuple[Any, ...] = (flow.events.NodeFinished, flow.events.ItemFinished)
        self.log, self.kinds = log, kinds if mode == "sync" else (flow.events.NodeStored,)

    def __call__(self, event: Any) -> None:
        if isinstance(event, self.kinds):
            self.log(event)


def killing(backend: Any, at: int, applies: bool) -> None:
    """Let this process kill itself at its ``at``-th write, which is applied or not."""
    count = 0

    def around(method: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal count
            count += 1
            if count == at:
                if applies:
                    method(*args, **kwargs)
                os.kill(os.getpid(), signal.SIGKILL)
            return method(*args, **kwargs)

        return call

    for name in WRITES:
        setattr(backend, name, around(getattr(backend, name)))


def dag_of(note: Any, size: int, is_async: bool, wait: float) -> flow.Dag:
    """The work of the tests in process, with a timer, a map of dags, and an output that goes to a file of its own."""
    dag = work(note, size, is_async=is_async, wait=wait)
    if is_async:
        dag.timer("pause", seconds=0.01, after="start")

        def paused() -> str:
            note("paused")
            return "paused"

        dag.add("paused", paused, after="pause")

    def big(start: int) -> bytes:
        note("big")
        return b"%d" % start * 300_000

    def length(big: bytes) -> int:
        note("length")
        return len(big)

    dag.add("big", big)
    dag.add("length", length)
    page = flow.Dag("page")

    def fetch(number: int) -> int:
        note(f"fetch{number}")
        return number * 10

    def store(fetch: int) -> int:
        note(f"store{fetch}")
        return fetch + 1

    page.add("fetch", fetch)
    page.add("store", store)
    dag.add("numbers", lambda start: list(range(start, 6)))
    dag.map("pages", page, over="numbers")
    return dag


def plain(value: Any) -> Any:
    if hasattr(value, "items"):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return len(value) if isinstance(value, bytes) else value


def attempt(command: dict[str, Any]) -> None:
    log = Log(command["log"])
    dag = dag_of(log.called, command["size"], command["is_async"], command["wait"])
    mode = command["mode"]
    config = flow.Config(observers=(Acknowledging(log, mode),), **command["config"])
    if mode is None:
        result = flow.run(dag, INPUTS, config=config)
    else:
        store = open_store(command["db"], durability=mode)
        if command["at"]:
            killing(store.backend, command["at"], command["applies"])
        result = flow.run(dag, INPUTS, run_id=command["run_id"], store=store, config=config)
    text = json.dumps([plain(result), plain(dict(result.data.items()))])
    Path(command["out"]).write_text(text, encoding="utf-8")


def main() -> None:
    import flow.run.durable  # what each attempt would import anew; no thread is begun, which a fork would lose
    import flow.run.known
    import flow.store.sqlite  # noqa: F401

    warm = dag_of(lambda name: None, 4, True, 0.0)
    flow.run(warm, INPUTS, config=flow.Config(observers=(lambda event: None,)))
    for line in sys.stdin:
        command = json.loads(line)
        pid = os.fork()
        if pid == 0:
            faulthandler.dump_traceback_later(HANGS, exit=True)
            status = 1
            try:
                attempt(command)
                status = 0
            except BaseException:
                sys.excepthook(*sys.exc_info())
            finally:
                sys.stderr.flush()
                os._exit(status)
        if command["after"] is not None:
            time.sleep(command["after"])
            os.kill(pid, signal.SIGKILL)  # it is not reaped yet: its number is its own
        print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])]), flush=True)


if __name__ == "__main__":
    main()
