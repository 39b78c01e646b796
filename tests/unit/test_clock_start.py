"""What a run needs is imported before its clock starts: no time of a run contains it, and no node is blamed for it."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest
from conftest import loops

import flow

pytestmark = pytest.mark.slow  # each test starts a process

SETUP = """
import json, sys
import flow

new = []  # what is imported from here on, and when

class Watch:
    def find_spec(self, name, path=None, target=None):
        new.append((flow.Config().clock.now(), name))

dag = flow.Dag("d")
many = flow.Dag("inner")

async def inc(x=1): return x + 1
def plain(x=1): return x + 1

{define}
sys.meta_path.insert(0, Watch())
config = flow.Config(timing=True, {config})
{run}
began = min(event.at for event in told if type(event) is flow.events.RunStarted)
ended = max(event.at for event in told if type(event) is flow.events.RunFinished)
print(json.dumps([[name for at, name in new if began < at < ended], "anyio" in sys.modules, "asyncio" in sys.modules]))
"""

KINDS = {
    "plain": "dag.add('a', inc)",
    "sync": "dag.add('a', plain)",
    "timeout": "dag.add('a', inc, timeout=2.0)",
    "attempt's timeout": "dag.add('a', inc, timeout=flow.Timeout(attempt=2.0))",
    "thread": "dag.add('a', plain, thread=True)",
    "map": "dag.add('xs', lambda: [1, 2]); dag.map('m', inc, over='xs')",
    "sync map": "dag.add('xs', lambda: [1, 2]); dag.map('m', plain, over='xs')",
    "map with timeout": "dag.add('xs', lambda: [1, 2]); dag.map('m', inc, over='xs', timeout=2.0)",
    "map in threads": "dag.add('xs', lambda: [1, 2]); dag.map('m', plain, over='xs', thread=True)",
    "two maps": "dag.add('xs', lambda: [1, 2]); dag.map('m', inc, over='xs'); dag.map('n', inc, over='m')",
    "nested": "many.add('a', inc, timeout=2.0); dag.add('n', many)",
    "map of nested": (
        "async def at(item): return item\n"
        "many.add('a', at, timeout=2.0); dag.add('xs', lambda: [1, 2]); dag.map('m', many, over='xs')"
    ),
    "retry": (
        "left = [1]\nasync def once():\n    if left: raise ValueError(left.pop())\n"
        "dag.add('a', once, retry=flow.Retry(2, delay=0.001))"
    ),
}

RUN = "told = []; flow.run(dag, config=config.replace(observers=(told.append,)))"
EXECUTE = """told = []
async def go(): await flow.execute(dag, config=config.replace(observers=(told.append,)))
{start}"""


def imported(define: str, config: str = "", run: str = RUN) -> tuple[list[str], bool, bool]:
    """Run in a fresh process; what was imported within the run, and whether anyio and asyncio were at all."""
    code = SETUP.format(define=define, config=config, run=run)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    within, anyio, asyncio = json.loads(out.stdout)
    return within, anyio, asyncio


@pytest.mark.parametrize("backend", loops(long="uvloop"))
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_contains_no_imports(kind: str, backend: str) -> None:
    assert imported(KINDS[kind], f"backend={backend!r}")[0] == []


@pytest.mark.parametrize("settings", ["executor='thread'", "limit='auto'", "mode='workers'", "mode='inline'"])
@pytest.mark.parametrize("kind", ["plain", "sync", "map"])
def test_whatever_the_settings(kind: str, settings: str) -> None:
    assert imported(KINDS[kind], settings)[0] == []


@pytest.mark.parametrize("kind", ["plain", "timeout", "map in threads", "nested"])
@pytest.mark.parametrize(
    "start",
    [
        "import asyncio; asyncio.run(go())",
        pytest.param("import anyio; anyio.run(go, backend='trio')", marks=loops("trio")[0].marks),
    ],
    ids=["asyncio", "trio"],
)
def test_inside_a_loop(kind: str, start: str) -> None:
    assert imported(KINDS[kind], run=EXECUTE.format(start=start))[0] == []


@pytest.mark.parametrize("kind", ["plain", "map", "two maps", "retry"])
def test_without_time_limits_and_threads_asyncio_needs_no_anyio(kind: str) -> None:
    assert imported(KINDS[kind]) == ([], False, True)


def test_sync_runs_need_no_loop() -> None:
    assert imported(KINDS["sync map"]) == ([], False, False)


SLOW = """
import sys, time, warnings

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name in ("anyio", "anyio.to_thread", "anyio._backends._asyncio", "flow.run.items"):
            time.sleep(0.15)

sys.meta_path.insert(0, Slow())
import flow
warnings.simplefilter("error")
dag = flow.Dag("d")
many = flow.Dag("inner")
async def inc(x=1): return x + 1
def plain(x=1): return x + 1
{define}
print(flow.run(dag).ok)
"""


@pytest.mark.parametrize(
    "kind",
    [
        *("timeout", "map in threads", "map of nested"),
        *(pytest.param(kind, marks=pytest.mark.long) for kind in ("thread", "map with timeout", "nested")),
    ],
)
def test_no_node_is_blamed_for_a_slow_import(kind: str) -> None:
    code = SLOW.format(define=KINDS[kind] + "\ndag.add('other', inc)")
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (out.stdout, out.stderr) == ("True\n", "")


def test_a_plan_that_has_run_is_pickled_without_what_it_was_run_by() -> None:
    dag = flow.Dag("d")
    dag.add("a", abs, timeout=2.0, thread=True)
    plan = dag.compile()
    flow.run(plan, {"x": -1})
    assert dict(flow.run(pickle.loads(pickle.dumps(plan)), {"x": -1})) == {"a": 1}
