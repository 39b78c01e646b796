"""Maps of workflow files: three examples beside the same maps in Python, and an item in small and large runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flow
from flow.spec import loads
from flow_bench.harness.contender import Contender, expect, require
from flow_bench.harness.interleave import Samples, interleave, schedule
from flow_bench.harness.logs import unwritten
from flow_bench.harness.rows import Row, Target
from flow_bench.suites.engine.examples import add_checks
from flow_bench.suites.spec import actions
from flow_bench.suites.spec.loading import ALLOW, MODULE

OF_PYTHON = Target(3.0)
"""What an item of a file's map may cost, beside the same map in Python."""
FLAT = Target(1.25)
"""What an item may cost in a large run, beside a small one."""


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    servers: int = 1_000
    users: int = 5_000
    entries: int = 10_000
    rounds: int = 15
    held: tuple[int, int] = (10, 10_000)  # keys, inputs or nodes of the run
    items: int = 2_000
    held_rounds: int = 15


QUICK = Effort(rounds=4, held_rounds=5)

HEALTH = f"""
flow: 1
name: health
inputs: {{servers: {{type: array}}}}
nodes:
  checks:
    map: {MODULE}:check
    over: "{{{{ inputs.servers }}}}"
    with: {{server: "{{{{ item }}}}"}}
    concurrency: 100
    on_error: collect
    retry: {{attempts: 2, delay: 0.001, retry_if: TimeoutError}}
    timeout: 30
  report: {{call: {MODULE}:report, with: {{checks: "{{{{ checks }}}}"}}}}
"""
NOTIFY = f"""
flow: 1
name: notify
inputs: {{users: {{type: array}}}}
nodes:
  send:
    map: {MODULE}:send
    over: "{{{{ inputs.users }}}}"
    with: {{user: "{{{{ item }}}}", index: "{{{{ index }}}}"}}
    concurrency: 8
    retry: {{attempts: 3, delay: 1, retry_if: ConnectionError}}
"""
NOTIFY_MANY = NOTIFY.replace(":send", ":send_batch").replace("{user:", "{batch:") + "    batch_size: 100\n"
LOG = f"""
flow: 1
name: log
inputs: {{count: {{type: integer}}}}
nodes:
  entries: {{call: {MODULE}:entries, with: {{count: "{{{{ inputs.count }}}}"}}}}
  parsed:
    map: {MODULE}:parse
    over: "{{{{ entries }}}}"
    with: {{entry: "{{{{ item }}}}"}}
  slowest: {{call: {MODULE}:slowest, with: {{parsed: "{{{{ parsed }}}}"}}}}
"""


@dataclass(frozen=True)
class Example:
    """A workflow as a file and in Python. :ivar last: the node whose output is compared. :ivar items: how many."""

    label: str
    file: str
    build: Callable[[flow.Dag], None]
    inputs: dict[str, Any]
    last: str
    items: int

    def ways(self) -> list[Contender]:
        """Return the two ways, Python first."""
        dag = flow.Dag("python")
        self.build(dag)
        plans = {f"{self.label}, in Python": dag, f"{self.label}, as a file": loads(self.file, allow=ALLOW)}
        runs = {label: partial(_run, plan.compile(), self.inputs) for label, plan in plans.items()}
        with unwritten():
            check = expect(next(iter(runs.values()))()[self.last], lambda result: result[self.last])
        return [Contender(label, lambda run=run: run, check, self.items) for label, run in runs.items()]


def _run(plan: flow.Plan, inputs: dict[str, Any]) -> flow.Result:
    return flow.run(plan, inputs, config=flow.Config(clock=flow.testing.FakeClock()))


def _notify(dag: flow.Dag, fn: Callable[..., Any], **batches: Any) -> None:
    retry = flow.Retry(3, delay=1.0, retry_if=ConnectionError)
    dag.map("send", fn, over="users", concurrency=8, retry=retry, **batches)


def _log(dag: flow.Dag) -> None:
    dag.add("entries", actions.entries)
    dag.map("parsed", actions.parse, over="entries")
    dag.add("slowest", actions.slowest)


def examples_of(effort: Effort) -> list[Example]:
    """The examples."""
    servers, users = {"servers": list(range(effort.servers))}, {"users": [f"user{k}" for k in range(effort.users)]}
    many = partial(_notify, fn=actions.send_batch, batch_size=100)
    label = f"notifications to {effort.users:,} users"
    return [
        Example(f"health check of {effort.servers:,} servers", HEALTH, add_checks, servers, "report", effort.servers),
        Example(f"{label}, one per call", NOTIFY, partial(_notify, fn=actions.send), users, "send", effort.users),
        Example(f"{label}, 100 per call", NOTIFY_MANY, many, users, "send", effort.users),
        Example(f"{effort.entries:,} log entries", LOG, _log, {"count": effort.entries}, "slowest", effort.entries),
    ]


def examples(effort: Effort) -> list[Row]:
    """Whole runs in which nothing waits, per item."""
    section = "three examples of docs/examples: whole runs, per item"
    rows = []
    with unwritten():  # warnings about servers that are down
        for example in examples_of(effort):
            samples = interleave(example.ways(), effort.rounds, memory=False)
            rows += samples.rows(section, "us", targets={list(samples)[1]: OF_PYTHON})
    return rows


def context(effort: Effort) -> list[Row]:
    """One item of a map, in a run with few and with many published keys, inputs, and nodes."""
    section = "an item of a map, whatever the run holds: ratio to the small run"
    rows = []
    for what, text_of in {"published keys": _publishing, "inputs": _with_inputs, "nodes": _with_nodes}.items():
        plans = {f"{count:,} {what}": loads(text_of(count), allow=ALLOW) for count in effort.held}
        samples = _of_maps({label: dag.compile() for label, dag in plans.items()}, effort)
        rows += samples.rows(section, "us", targets={list(samples)[1]: FLAT})
    return rows


def _of_maps(plans: dict[str, flow.Plan], effort: Effort) -> Samples:
    """Seconds per item of the node ``mapped`` alone."""
    samples, labels = Samples(plans), list(plans)
    inputs, wanted = {"xs": list(range(effort.items))}, [x + 1 for x in range(effort.items)]
    for turn, which in schedule(len(labels), effort.held_rounds):
        label = labels[which]
        result = flow.run(plans[label], inputs, config=flow.Config(timing=True))
        require(result["mapped"] == wanted, label, "the map left something out")
        if turn >= 0:
            samples[label].append(result.durations["mapped"] / effort.items)
    return samples


_MAP = f"""
  mapped:
    map: {MODULE}:passed
    over: "{{{{ inputs.xs }}}}"
    with: {{x: "{{{{ item + ONE }}}}"}}
"""


def _file(name: str, one: str, nodes: str = "", inputs: str = "") -> str:
    """A file with the map, each item of which adds ``one``."""
    declared = f"{{xs: {{type: array}}{inputs}}}"
    return f"flow: 1\nname: {name}\ninputs: {declared}\nnodes:\n{nodes}{_MAP.replace('ONE', one)}"


def _publishing(count: int) -> str:
    """A file that publishes so many keys."""
    keys = ", ".join(f"k{i}: 1" for i in range(count))
    return _file("publishes", f"data.k{count - 1}", f"  start: {{set: {{one: 1}}, publish: {{{keys}}}}}")


def _with_inputs(count: int) -> str:
    """A file that has so many inputs."""
    return _file("inputs", f"inputs.i{count - 1}", inputs="".join(f", i{k}: {{default: 1}}" for k in range(count)))


def _with_nodes(count: int) -> str:
    """A file that has so many nodes."""
    return _file("nodes", f"n{count - 1}.one", "".join(f"  n{k}: {{set: {{one: 1}}}}\n" for k in range(count)))
