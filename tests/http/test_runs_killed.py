"""A service that is killed under load loses no run that it has accepted, if it has a store."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("uvicorn")

from served import Served, eventually, process

import flow

PROGRAM = Path(__file__).parent / "programs" / "served_runs.py"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="no kill -9 there"),
]


def started(stack: ExitStack, store: Path, **options: Any) -> tuple[Served, int]:
    given = json.dumps({"store": str(store), "recovery": 0.3, **options})
    server = stack.enter_context(process([sys.executable, str(PROGRAM), given]))
    return server, int(server.line(str.isdigit))


class Load(threading.Thread):
    """Asks for runs, one after the other, until the process is gone or the test ends it.

    :ivar accepted: the ids of runs that were answered 200 or 202.
    """

    def __init__(self, port: int, name: str, query: str, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.port, self.query, self.stop = port, query, stop
        self.workflow = name
        self.accepted: dict[str, int] = {}
        self.odd: list[Any] = []

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        path, headers = f"/api/v1/workflows/{self.workflow}/runs{self.query}", {"content-type": "application/json"}
        try:
            for n in range(100_000):
                if self.stop.is_set():
                    return
                connection.request("POST", path, json.dumps({"inputs": {"n": n}}), headers)
                answer = connection.getresponse()
                said = json.loads(answer.read())
                if answer.status in (200, 202):
                    self.accepted[said["id"]] = n
                else:
                    self.odd.append(said)
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()


def loaded(port: int, stop: threading.Event) -> list[Load]:
    """Runs of both kinds, waited for and not: eight clients."""
    loads = [Load(port, name, query, stop) for name in ("steps", "sync") for query in ("", "?wait=0", "", "?wait=0.02")]
    for load in loads:
        load.start()
    return loads


def joined(loads: list[Load]) -> dict[str, tuple[str, int]]:
    accepted = {}
    for load in loads:
        load.join(60)
        assert not load.odd, load.odd[:3]
        accepted.update({run: (load.workflow, n) for run, n in load.accepted.items()})
    return accepted


def check_all(path: Path, accepted: dict[str, tuple[str, int]]) -> None:
    """All that was accepted completes, with the outputs of its inputs."""
    with flow.store.open(path) as store:
        eventually(lambda: not store.runs(("running", "waiting")))
        found = {row.id: row for row in store.runs(limit=100_000)}
        assert accepted.keys() <= found.keys(), "lost"
        assert {found[run].status for run in accepted} == {"completed"}
        for run, (name, n) in list(accepted.items())[:: max(1, len(accepted) // 20)]:
            from flow.store.story import story_of, value_of

            outputs = {node.name: node.output for node in story_of(store, store.load(run)).nodes}
            last = outputs["three" if name == "steps" else "two"]
            assert last is not None and value_of(store, last) == n + (3 if name == "steps" else 2)


def test_the_other_worker_goes_on_with_what_a_killed_one_has_accepted(tmp_path: Path) -> None:
    path, stop = tmp_path / "runs.db", threading.Event()
    with ExitStack() as stack:
        (victim, first), (_, second) = started(stack, path), started(stack, path)
        mine, others = loaded(first, stop), loaded(second, stop)
        eventually(lambda: sum(len(load.accepted) for load in mine) > 60)
        victim.process.send_signal(signal.SIGKILL)
        killed = joined(mine)
        before = sum(len(load.accepted) for load in others)
        eventually(lambda: sum(len(load.accepted) for load in others) > before + 20)
        stop.set()
        accepted = killed | joined(others)
        assert len(killed) > 60
        check_all(path, accepted)


def test_its_replacement_goes_on_with_them(tmp_path: Path) -> None:
    path, stop = tmp_path / "runs.db", threading.Event()
    with ExitStack() as stack:
        victim, port = started(stack, path, limits={"threads": 2})
        loads = loaded(port, stop)
        eventually(lambda: sum(len(load.accepted) for load in loads) > 60)
        victim.process.send_signal(signal.SIGKILL)
        accepted = joined(loads)
        with flow.store.open(path) as store:
            assert accepted.keys() & {row.id for row in store.runs(("running",), limit=1_000)}, "some were going on"
        started(stack, path)
        check_all(path, accepted)
