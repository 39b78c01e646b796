"""Every trace runs in every mode: each node once, dependencies first, count right."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import anyio
import pytest
from conftest import DATA, MODES, ROOT, modes

import flow
from flow import Config, Status

pytestmark = pytest.mark.slow
SHARED = ROOT.parent / "shared" / "workloads"


def trace_files() -> list[Path]:
    """The traces in tests/data, and the larger ones beside the repository where they are."""
    found = {p.name: p for p in [*DATA.glob("*.json*"), *SHARED.glob("*.json*")] if "schema" not in p.name}
    return [found[name] for name in sorted(found)]


WAYS = [
    *modes("inline", "tasks", "workers-2"),
    pytest.param({**MODES["workers-1"], **MODES["critical"]}, id="workers-1-critical"),
    pytest.param({**MODES["auto"], "backend": "trio"}, id="trio"),
    pytest.param({**MODES["auto"], "backend": "uvloop", "limit": 8}, id="uvloop-8"),
]


@cache
def recording(path: Path, waits: bool) -> tuple[flow.Plan, list[str]]:
    """A plan of the trace whose tasks say that they are called, and check what with; and the list where they do."""
    calls: list[str] = []

    def make(task: flow.traces.Task) -> Any:
        def once(*values: str) -> str:
            assert list(values) == list(task.parents), "each dependency's output arrives, in order"
            calls.append(task.id)
            return task.id

        async def wait(*values: str) -> str:
            await anyio.sleep(0)
            return once(*values)

        return wait if waits else once

    return flow.traces.load(path, work=make).compile(), calls


@pytest.mark.parametrize("mode", WAYS)
@pytest.mark.parametrize("path", trace_files(), ids=lambda p: p.name.split(".")[0])
@pytest.mark.parametrize("waits", [False, True], ids=["sync", "waits"])
def test_every_trace_in_every_mode(path: Path, mode: dict[str, Any], waits: bool) -> None:
    if "backend" in mode:
        pytest.importorskip(mode["backend"])
    plan, calls = recording(path, waits)
    calls.clear()
    result = flow.run(plan, config=Config(**mode))
    assert len(calls) == len(set(calls)) == len(plan) == result.counts[Status.COMPLETED]
    position = {name: k for k, name in enumerate(calls)}
    assert all(position[up] < position[down] for up, down in plan.edges)
    assert all(result[name] == name for name in plan)
    if mode.get("limit") == 1 or mode["mode"] == "inline":
        order = plan._nodes.critical_order()[0] if "order" in mode else plan._nodes.order
        assert calls == [plan.names[i] for i in order]


@pytest.mark.parametrize(("name", "tasks", "edges", "depth", "width"), [
    ("helloworld-chain-5-chameleon.json", 5, 4, 5, 1),
    ("srasearch-chameleon-10a-001.json", 22, 30, 3, 11),
    ("sarek-dirt02-001.json", 26, 50, 10, 9),
    ("1000genome-chameleon-2ch-100k-001.json", 52, 76, 3, 28),
    ("blast-chameleon-large-001.json", 103, 300, 3, 100),
    ("rnaseq-dirt02-001.json.gz", 197, 451, 10, 86),
])  # fmt: skip
def test_shape_is_the_published_one(name: str, tasks: int, edges: int, depth: int, width: int) -> None:
    plan = flow.traces.load(DATA / name).compile()
    assert (len(plan), plan.edge_count, plan.depth, plan.width) == (tasks, edges, depth, width)


@pytest.mark.parametrize(("name", "serial", "critical"), [
    ("srasearch-chameleon-10a-001.json", 6996.8, 1005.9),
    ("blast-chameleon-large-001.json", 154331.2, 1819.1),
])  # fmt: skip
def test_costs_are_the_published_ones(name: str, serial: float, critical: float) -> None:
    plan = flow.traces.load(DATA / name).compile()
    assert round(plan.serial_time(), 1) == serial
    assert round(plan.critical_path().length, 1) == critical
