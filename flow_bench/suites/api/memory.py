"""Resident memory of ``flow serve``: idle, at a rate, with many workflows at once; and after very many requests.

Every row has a process of its own: the command, with a file of keys, a limiter and metrics. Before it is watched at a
rate, it has answered as many requests as it keeps runs in memory, so that what grows afterwards is no part of those.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from flow_bench.harness.contender import Refused, require
from flow_bench.harness.processes import environment
from flow_bench.harness.rows import Row, Target
from flow_bench.suites.api import order
from flow_bench.suites.api.alone import begin_waiting, refuse_unless_waiting
from flow_bench.suites.api.load import Job, by_client, drive
from flow_bench.suites.api.server import App, Server
from flow_bench.suites.api.trials import SIZE, check
from flow_bench.suites.load.soak import slope

MB, HOUR = 1e6, 3_600.0
SECTION = "memory of flow serve"
COMMAND = App("flow serve", "")
TARGETS = [f"{order.__name__}:{name}" for name in ("dag", "waits")]
KEPT = 10_000
"""Runs that have ended which a service keeps."""
TELLING = 20.0
"""Seconds of watch from which a growth by the hour may be told: a page more is 0.7 MB an hour there."""
REACHED = 0.95
IDLE, CROWD = Target(60, of="figure", binding=True), Target(100, of="figure", binding=True)
FLAT = Target(0.5, of="figure", binding=True)
"""MB that 100,000 requests may leave."""
STEP = 100_000


@dataclass(frozen=True)
class Effort:
    """How long, in seconds: the watch, the warm-up at its rate before it, and from one look to the next.

    :ivar fill: requests before these. :ivar alive: workflows at once. :ivar requests: of the long watch.
    """

    seconds: float = 30.0
    warm: float = 4.0
    every: float = 0.25
    rates: Sequence[int] = (0, 100, 1_000)
    fill: int = 4 * KEPT
    alive: int = 1_000
    requests: int = 1_000_000


QUICK = Effort(seconds=0.8, warm=0.3, fill=500, every=0.1)


class Command(Server):
    """A process of ``flow serve``."""

    def __init__(self, folder: Path) -> None:
        from flow.http import Keys

        self.app = COMMAND
        file = folder / "keys.json"
        self.key = Keys.open(file, create=True).add("bench", "admin")
        self.port = 0
        self.is_warm = False
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - see close
        command = [sys.executable, "-m", "flow", "serve", *TARGETS, "--port", "0", "--keys", str(file)]
        self._process = subprocess.Popen(
            [*command, "--rate", "1000000/s"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            stdin=subprocess.PIPE, env=environment(PYTHONUNBUFFERED="1"),
        )  # fmt: skip

    def ready(self) -> Server:
        """Wait until it says where it is. :raises Refused: if it ends instead."""
        assert self._process.stdout is not None
        said = list[str]()
        for line in self._process.stdout:
            said.append(line.strip())
            if found := re.search(r"http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                return self
        raise Refused(self.app.label, said[-1:] or ["it said nothing"])

    @property
    def peak(self) -> int:
        """The most bytes of resident memory that it has had; what it has now, where the system does not tell."""
        try:
            text = Path(f"/proc/{self._process.pid}/status").read_text("ascii")
            return int(text.partition("VmHWM:")[2].split()[0]) * 1_024
        except (OSError, IndexError):
            return self.resident


@contextmanager
def command() -> Iterator[Command]:
    """Start ``flow serve``, check what it answers, and end it."""
    with tempfile.TemporaryDirectory() as folder:
        server = Command(Path(folder))
        try:
            check(server.ready())
            yield server
        finally:
            server.close()


def job_of(server: Server, rate: float = 0.0) -> Job:
    """What is sent."""
    body = order.body_of(order.inputs_of(SIZE)).decode()
    return Job(server.port, order.PATH, body, server.headers(), rate=rate)


@dataclass(frozen=True)
class Watched:
    """What was seen of one process. :ivar points: seconds by the clock, and resident bytes then."""

    rate: int
    points: list[tuple[float, int]]
    peak: int
    reached: float


def watch(rate: int, effort: Effort) -> Watched:
    """Let requests arrive at a rate, and look at the memory meanwhile. :raises Refused: if one is not answered."""
    with command() as server, ThreadPoolExecutor(1) as threads:
        if rate:
            filled = 0
            while filled < effort.fill:
                filled += drive(job_of(server), 0.5).requests
        whole = effort.warm + effort.seconds
        arriving = threads.submit(by_client, job_of(server, rate), whole) if rate else None
        time.sleep(effort.warm)  # connections are opened
        points, until = list[tuple[float, int]](), time.monotonic() + effort.seconds
        while not points or (time.monotonic() < until if arriving is None else not arriving.done()):
            points.append((time.monotonic(), server.resident))
            time.sleep(effort.every)
        reached = 0.0
        if arriving is not None:
            seen = arriving.result()
            require(not seen.refused and not seen.lost, f"{rate} workflows/s", "requests were refused or lost")
            reached = seen.requests / seen.seconds
        return Watched(rate, points, server.peak, reached)


def rows_of(found: Watched) -> list[Row]:
    """The rows of one rate; without figures if it was not reached."""
    what = f"{found.rate:,} workflows/s" if found.rate else "idle"
    met = found.reached >= REACHED * found.rate
    missing = "" if met else f"n/a: {found.rate:,} workflows/s were to be reached, and {found.reached:,.1f} were"
    span, first, last = found.points[-1][0] - found.points[0][0], found.points[0][1], found.points[-1][1]
    note = missing or (f"{found.reached:,.1f} workflows/s were reached" if found.rate else "")

    def shown(size: int) -> float | None:
        return None if missing else size / MB

    rows = [
        Row(SECTION, f"{what}: baseline", "MB", figure=shown(first), note=note, target=None if found.rate else IDLE),
        Row(SECTION, f"{what}: peak", "MB", figure=shown(found.peak), note=missing),
    ]
    if not missing and span < TELLING:
        missing = f"n/a: {TELLING:g} s tell it, and these were {span:.1f}: measure without --quick"
    told = missing or f"extrapolated from {span:.0f} s: {first / MB:.2f} MB, then {last / MB:.2f} MB"
    grows = None if missing else slope(found.points) / MB * HOUR
    return [*rows, Row(SECTION, f"{what}: growth", "MB/hour", figure=grows, note=told, better="zero")]


def alive(count: int) -> Row:
    """Memory while so many workflows wait."""
    with command() as server:
        begin_waiting(server, count)
        held = server.resident
        refuse_unless_waiting(server, count)
    return row_of(count, held)


def row_of(count: int, held: int) -> Row:
    """The row of so many workflows at once."""
    return Row(SECTION, f"{count:,} workflows at once: resident", "MB", figure=held / MB, target=CROWD)


def run(effort: Effort) -> list[Row]:
    """Return the rows of all rates, and of many workflows at once: processes that run at the same time."""
    with ThreadPoolExecutor(len(effort.rates) + 1) as threads:
        crowd = threads.submit(alive, effort.alive)
        rows = [row for found in threads.map(partial(watch, effort=effort), effort.rates) for row in rows_of(found)]
        return [*rows, crowd.result()]


def long(effort: Effort) -> list[Row]:
    """What very many requests leave behind: memory after each of them in 100,000s."""
    points = list[tuple[float, int]]()
    with command() as server:
        count, due = 0, min(STEP, effort.requests // 10)
        step = due
        while count < effort.requests:
            count += drive(job_of(server), 1.0).requests
            if count >= due:
                points.append((count, server.resident))
                due += step
        peak = server.peak
    section = f"memory of flow serve over {effort.requests:,} requests"
    told = ", ".join(f"{size / MB:.1f}" for _, size in points)
    grows = slope(points) / MB * STEP
    return [
        Row(section, f"after the first {step:,}", "MB", figure=points[0][1] / MB),
        Row(section, "after the last", "MB", figure=points[-1][1] / MB, note=f"every {step:,}: {told} MB"),
        Row(section, "peak", "MB", figure=peak / MB),
        Row(section, f"growth per {STEP:,} requests", "MB", figure=grows, better="zero", target=FLAT),
    ]
