"""Requests by the thousand, from another process: wrk where it is installed, else :mod:`flow_bench.suites.api.client`.

Both keep so many connections busy: each sends a request once the answer to its last one has come. (wrk corrects its
latencies for requests that a pause of the server would have kept from being sent.)
"""

from __future__ import annotations

import json
import math
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flow_bench.harness.contender import Refused
from flow_bench.harness.processes import environment

PATIENCE = 30.0
"""Seconds after its end in which a driver must have told what it saw."""

_SCRIPT = """\
wrk.method = "POST"
wrk.body = [=====[{body}]=====]
{headers}
done = function(summary, latency, requests)
  local errors = summary.errors
  io.stderr:write(string.format(
    '{{"requests": %d, "seconds": %.6f, "p50": %.9f, "p95": %.9f, "p99": %.9f, "refused": %d, "lost": %d}}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(95) / 1e6,
    latency:percentile(99) / 1e6, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
"""


@dataclass(frozen=True)
class Job:
    """What is sent: one request again and again.

    :ivar rate: requests a second, begun when they are due; 0 is as many as are answered. wrk cannot do that.
    """

    port: int
    path: str
    body: str
    headers: Mapping[str, str]
    connections: int = 64
    rate: float = 0.0


@dataclass(frozen=True)
class Seen:
    """What a driver saw.

    :ivar p50: seconds, as ``p95`` and ``p99``. :ivar refused: answers of a status of 400 or more, of all ``requests``.
    :ivar lost: connections that broke, and answers that did not come.
    """

    requests: int
    seconds: float
    p50: float
    p95: float
    p99: float
    refused: int = 0
    lost: int = 0


def wrk() -> str | None:
    """Where wrk is, if it can be asked to end."""
    return shutil.which("wrk") if hasattr(signal, "SIGINT") and sys.platform != "win32" else None


def driver() -> str:
    """Say what sends the requests."""
    return "wrk" if wrk() else "the client of flow_bench"


def drive(job: Job, seconds: float) -> Seen:
    """Send requests for so long. :raises Refused: if the driver fails."""
    program = None if job.rate else wrk()
    return by_client(job, seconds) if program is None else by_wrk(program, job, seconds)


def by_wrk(program: str, job: Job, seconds: float) -> Seen:
    """Let wrk send them. It knows whole seconds alone, so that it is told when to end."""
    headers = "\n".join(f"wrk.headers[{json.dumps(name)}] = {json.dumps(text)}" for name, text in job.headers.items())
    url = f"http://127.0.0.1:{job.port}{job.path}"
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder, "request.lua")
        script.write_text(_SCRIPT.format(body=job.body, headers=headers), encoding="utf-8")
        command = [program, "-t1", f"-c{job.connections}", f"-d{math.ceil(seconds) + 1}", "-s", str(script), url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGINT)
            try:
                told, said = process.communicate(timeout=PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                raise Refused("wrk", [f"it did not end within {PATIENCE:g} s"]) from None
    return _seen("wrk", said or told)


def by_client(job: Job, seconds: float) -> Seen:
    """Let a process of our own send them."""
    command = [sys.executable, "-m", "flow_bench.suites.api.client"]
    given = json.dumps({"job": asdict(job) | {"headers": dict(job.headers)}, "seconds": seconds})
    try:
        done = subprocess.run(
            command, input=given, env=environment(), check=False, capture_output=True, text=True,
            timeout=seconds + PATIENCE,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise Refused("the client", [f"it did not end within {PATIENCE:g} s"]) from None
    return _seen("the client", done.stdout or done.stderr)


def _seen(who: str, said: str) -> Seen:
    """Read what a driver says in its last line."""
    last = said.strip().rpartition("\n")[2]
    try:
        found: dict[str, Any] = json.loads(last)
    except ValueError:
        raise Refused(who, [last or "it said nothing"]) from None
    return Seen(**found)
