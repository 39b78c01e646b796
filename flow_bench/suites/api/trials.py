"""Servers driven in turns, and the rows of what was seen: A B C D, then B C D A, so that a slow moment is everybody's.

A row tells requests a second; its ratio is to the bare ASGI app of the same round, and of CPU time too, which runs are
compared by. In the same row: latencies in ms, microseconds of the server's CPU time per request, connections opened per
request, and MB of resident memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

from flow_bench.harness.contender import require
from flow_bench.harness.interleave import schedule
from flow_bench.harness.rows import US, Measured, Row, Target, ratios
from flow_bench.suites.api import order
from flow_bench.suites.api.load import Job, Seen, drive, driver
from flow_bench.suites.api.server import App, Server

UNIT = "requests/s"
PLENTY = 1e9
"""Requests a second that nobody sends: with this rate, nothing is refused."""
BARE = App("bare ASGI app, a constant", "constant", works=False)
FULL = App("flow, full service", "service", options=(("rate", PLENTY),))
SIZE, CONNECTIONS = 1_024, 64
WARM = 0.25
"""Seconds of a warm-up."""
MS = 1e3


@dataclass
class Trial:
    """A server and what is sent to it; and what was seen of that, round by round."""

    label: str
    server: Server
    size: int = SIZE
    connections: int = CONNECTIONS
    close: bool = False
    rate: float = 0.0
    seen: list[Seen] = field(default_factory=list)
    used: list[dict[str, float]] = field(default_factory=list)

    def job(self) -> Job:
        """What is sent."""
        headers = self.server.headers(**{"Connection": "close"} if self.close else {})
        body = order.body_of(order.inputs_of(self.size)).decode()
        return Job(self.server.port, order.PATH, body, headers, self.connections, self.rate)

    def one(self, seconds: float, keep: bool) -> None:
        """Drive the server for so long. :raises Refused: if answers were lost, or were others than they are to be."""
        before = self.server.used()
        seen = drive(self.job(), seconds)
        after = self.server.used()
        wrong = seen.requests - seen.refused if self.server.app.refuses else seen.refused
        what = "let in" if self.server.app.refuses else "refused"
        require(not wrong, self.label, f"{wrong} of {seen.requests} requests were {what}")
        require(seen.lost == 0, self.label, f"{seen.lost} of {seen.requests} answers were lost")
        if keep:
            self.seen.append(seen)
            used = {name: (after[name] - before[name]) / seen.requests for name in before}
            self.used.append(used | {"resident": self.server.resident})

    @property
    def samples(self) -> list[float]:
        """Requests a second, of each round, and a second of CPU time."""
        return [
            Measured(seen.requests / seen.seconds, 1 / used["cpu"] if used["cpu"] > 0 else 0.0)
            for seen, used in zip(self.seen, self.used, strict=True)
        ]

    def figures(self) -> dict[str, float]:
        """The other figures of the row: medians of all rounds."""
        found = {name: median([getattr(seen, name) for seen in self.seen]) * MS for name in ("p50", "p95", "p99")}
        middle = {name: median([used[name] for used in self.used]) for name in self.used[0]}
        return found | {
            "CPU us": middle["cpu"] * US, "connections per request": middle["opened"], "MB": middle["resident"] / 1e6,
        }  # fmt: skip

    def row(self, section: str, base: Trial, note: str = "", target: Target | None = None) -> Row:
        """The row of requests a second."""
        return Row(
            section, self.label, UNIT, self.samples, ratios=ratios(self.samples, base.samples), better="higher",
            figures=self.figures(), note=", ".join(filter(None, [f"driven by {driver()}", note])), target=target,
        )  # fmt: skip


class Pool:
    """Servers that run, each started when it is first asked for, and ended with the pool."""

    def __init__(self) -> None:
        self._servers: dict[App, Server] = {}

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        for server in self._servers.values():
            server.close()

    def __call__(self, *apps: App) -> list[Server]:
        """Return the servers of these apps; those that are new start at the same time, and are checked.

        :raises Refused: by one that does not start, or answers wrongly.
        """
        new = [app for app in apps if app not in self._servers]
        self._servers |= {app: Server(app) for app in new}
        for app in new:
            check(self._servers[app].ready())
        return [self._servers[app] for app in apps]


def check(server: Server) -> None:
    """Ask for runs with inputs of many kinds. :raises Refused: if an answer is not that of the workflow."""
    app = server.app
    if app.refuses:
        answers = [server.ask("POST", order.PATH, order.body_of(order.inputs_of(SIZE)))[0] for _ in range(2)]
        require(answers[-1] == 429, app.label, f"it answers {answers}, and the last is to be 429")
        return
    for size, customer in ((SIZE, "regular customer"), (256, "somebody"), (4_096, "regular one")):
        inputs = order.inputs_of(size, customer)
        status, answer = server.ask("POST", order.PATH, order.body_of(inputs))
        fault = order.answer_fault(answer, inputs) if app.works and status == 200 else None
        require(status == 200 and not fault, app.label, fault or f"it answers {status}: {answer}")
    if app.works:
        body = order.body_of(order.inputs_of(SIZE))
        wrong = {"Content-Type": "application/json", "Authorization": "Bearer nobody-has-this"}
        status, answer = server.ask("POST", order.PATH, body, wrong)
        require(status in (401, 403), app.label, f"it answers {status} to a key that nobody has")
        status, answer = server.ask("POST", order.PATH, body.replace(b'"lines"', b'"rows"'))
        require(400 <= status < 500, app.label, f"it answers {status} to an order without lines")


def measure(trials: Sequence[Trial], rounds: int, seconds: float) -> None:
    """Drive all in turns: a warm-up of those that have not had one, then so many rounds."""
    for turn, which in schedule(len(trials), rounds):
        trial = trials[which]
        if turn >= 0:
            trial.one(seconds, keep=True)
        elif not trial.server.is_warm:
            trial.one(WARM, keep=False)
            trial.server.is_warm = True


def over(section: str, label: str, samples: Sequence[float], target: Target | None = None, **more: Any) -> Row:
    """A row that sets one server beside another: what one is times the other, round by round."""
    return Row(section, label, "x", list(samples), target=target, **more)


def cpu(trial: Trial) -> list[float]:
    """Seconds of CPU time per request, of each round."""
    return [used["cpu"] for used in trial.used]


def p99(trial: Trial) -> list[float]:
    """Seconds of the 99th percentile, of each round."""
    return [seen.p99 for seen in trial.seen]


def by(trial: Trial, rate: float) -> Trial:
    """The same server and requests at a rate, of which nothing was seen yet."""
    return replace(trial, rate=rate, seen=[], used=[])


__all__ = [
    "BARE", "CONNECTIONS", "FULL", "MS", "PLENTY", "SIZE", "UNIT", "Pool", "Trial", "by", "check", "cpu", "measure",
    "over", "p99",
]  # fmt: skip
