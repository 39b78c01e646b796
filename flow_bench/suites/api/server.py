"""A server in a process of its own, as its parent sees it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from threading import Timer
from typing import IO, Any

from flow_bench.harness.contender import Refused
from flow_bench.harness.processes import environment, resident

APPS = "flow_bench.suites.api.apps"
START = 60.0
"""Seconds that a server has to start."""


@dataclass(frozen=True)
class App:
    """A server that is measured.

    :ivar program: its module, in :data:`APPS`. :ivar package: what must be installed; empty if nothing more need be.
    :ivar works: it runs the workflow, and answers what that gives. :ivar refuses: all requests but the first, by 429.
    :ivar options: of its program.
    """

    label: str
    program: str
    package: str = ""
    works: bool = True
    refuses: bool = False
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def missing(self) -> str:
        """Why it cannot be started; empty if it can."""
        try:
            if self.package:
                metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return f"n/a: {self.package} is not installed (pip install '.[peers]')"
        return ""

    @property
    def version(self) -> str:
        """Of its package, in words."""
        return f"{self.package} {metadata.version(self.package)}" if self.package else ""


class Server:
    """A server that runs. Several are started at the same time: :meth:`ready` waits for one."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - see close
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{APPS}.{app.program}", json.dumps(dict(app.options))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment(),
        )  # fmt: skip
        self.port = 0
        self.key = ""
        self.is_warm = False

    def ready(self) -> Server:
        """Wait until it listens. :raises Refused: if it does not."""
        if not self.port:
            found = self._line()
            self.port, self.key = found["port"], found["key"]
        return self

    def used(self) -> dict[str, float]:
        """Return its seconds of CPU time (``cpu``), and how many connections it has ``opened``, so far."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("?\n")
            self._process.stdin.flush()
        except OSError:  # it is dead: what it said last tells why
            pass
        found: dict[str, float] = self._line()
        return found

    @property
    def resident(self) -> int:
        """Bytes of its resident memory."""
        return resident(self._process.pid)

    def headers(self, **more: str) -> dict[str, str]:
        """Return the headers of a request."""
        return {"Content-Type": "application/json", "Authorization": f"Bearer {self.key}"} | more

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Send one request; return the status of its answer, and the JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(self.headers() if headers is None else headers))
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")
        finally:
            connection.close()

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
            raise Refused(self.app.label, [f"its process died: {last or self._process.returncode}"])
        return json.loads(line)
