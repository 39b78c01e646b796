"""The server of the suite's model, as its parent sees it."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from threading import Timer
from typing import IO, Any

from flow_bench.harness.contender import Refused, require
from flow_bench.harness.processes import environment

START = 60.0
"""Seconds that it has to start."""
LABEL = "the server of the model"


class ModelServer:
    """A server that runs, until it is closed.

    :ivar url: what clients take for the base of all addresses.
    """

    def __init__(self) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - see close
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flow_bench.suites.ai.model_server"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment(),
        )  # fmt: skip
        self.url = f"http://127.0.0.1:{self._line()['port']}/v1"

    def __enter__(self) -> ModelServer:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def served(self) -> dict[str, int]:
        """Return how many ``requests``, ``input_tokens``, ``output_tokens`` and ``connections`` it has had so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("?\n")
        self._process.stdin.flush()
        found: dict[str, int] = self._line()
        return found

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _line(self) -> Any:
        assert self._process.stdout is not None
        timer = Timer(START, self._process.kill)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if not line:
            self._process.wait()
            self._errors.seek(0)
            last = self._errors.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise Refused(LABEL, [f"its process died: {last or self._process.returncode}"])
        return json.loads(line)


def refuse_unless_asked(before: dict[str, int], after: dict[str, int], requests: int, label: str) -> None:
    """:raises Refused: unless the server has had so many more requests."""
    found = after["requests"] - before["requests"]
    require(found == requests, label, f"the server has had {found} requests of it, not {requests}")
