"""A worker process as its parent sees it: one command at a time, with a time limit, and a reason when it fails."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from threading import Timer
from typing import IO, Any

from flow_bench.harness.checks import Recorder
from flow_bench.harness.contender import Refused
from flow_bench.harness.loops import on_graph
from flow_bench.harness.processes import environment
from flow_bench.harness.work import Work
from flow_bench.peers.registry import Library

WORKER = "flow_bench.peers.worker"
MUTED = {"HAMILTON_TELEMETRY_ENABLED": "false", "LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
"""Libraries that would report their use elsewhere must not, and need not spend time on it."""


class PeerFault(Exception):
    """A contender that cannot be had, raised an exception, died or took too long; the message is the reason."""


class Peer:
    """One contender's worker. It is started by the first command, and again by the first after it was lost.

    :param patience: seconds a command may take before the worker is killed.
    :param worker: the module that is its program.
    """

    def __init__(self, contender: Library, patience: float, worker: str = WORKER) -> None:
        self.contender = contender
        self.patience = patience
        self.worker = worker
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[str] | None = None

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command; return the answer.

        :raises PeerFault: why there is none.
        """
        process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        timer = Timer(self.patience, process.kill)
        timer.start()
        try:
            process.stdin.write(json.dumps({"do": do} | arguments) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:  # a broken pipe; on Windows EINVAL says so
            line = ""
        in_time = timer.is_alive()
        timer.cancel()
        if not line:
            raise PeerFault(self._lost("" if in_time else f"{do} did not end within {self.patience:g} s"))
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerFault(answer["error"])
        return answer

    def close(self) -> None:
        """End the worker, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        if self._errors is not None:
            self._errors.close()
        self._process = self._errors = None

    def _start(self) -> subprocess.Popen[str]:
        if self.contender.package and not self.contender.version:
            raise PeerFault("not installed (pip install '.[peers]')")
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - see close
        self._process = subprocess.Popen(
            [sys.executable, "-m", self.worker, self.contender.module],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, encoding="utf-8",
            env=environment(**MUTED),
        )  # fmt: skip
        return self._process

    def _lost(self, late: str) -> str:
        """End it; return why: that it was late, or what it said last, or how it ended."""
        assert self._process is not None
        assert self._errors is not None
        code = self._process.wait()
        self._errors.seek(0)
        last = self._errors.read().strip().rpartition("\n")[2]
        self.close()
        return late or f"its process died: {last or f'exit code {code}'}"


def refuse_unless_right(label: str, work: Work, checked: dict[str, Any]) -> None:
    """Judge the answer to ``check``: each node once, after its dependencies, with their outputs.

    :raises Refused: saying what was not so.
    """
    recorder = Recorder(work)
    for i, values in checked["calls"]:
        recorder.work.kinds["sync"][i](*values)
    faults = recorder.faults(on_graph(label, lambda work: lambda: None), checked["outputs"])
    if faults:
        raise Refused(label, faults)
