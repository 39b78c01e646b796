"""What public modules show: their public names, each of which can be imported, and nothing else."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

import flow

MODULES = (
    flow, flow.ai, flow.clock, flow.config, flow.data, flow.errors, flow.events, flow.expr, flow.http, flow.interop,
    flow.memory, flow.metrics, flow.middleware, flow.observe, flow.plan, flow.render, flow.spec, flow.store,
    flow.testing, flow.topologies, flow.traces, flow.tuning, flow.types,
)  # fmt: skip
NAMES = [(module, name) for module in MODULES for name in module.__all__]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_dir_shows_the_public_names_and_nothing_else(module: ModuleType) -> None:
    assert dir(module) == sorted(module.__all__)
    assert len(set(module.__all__)) == len(module.__all__)
    assert not [name for name in dir(module) if name.startswith("_")]
    assert module.__doc__


@pytest.mark.parametrize(("module", "name"), NAMES, ids=lambda at: getattr(at, "__name__", at))
def test_every_public_name_says_what_it_is_and_where_it_is(module: ModuleType, name: str) -> None:
    value = getattr(module, name)
    if inspect.ismodule(value):
        assert value in MODULES and import_module(value.__name__) is value
    elif inspect.isclass(value) or inspect.isfunction(value):
        assert inspect.getdoc(value)
        assert getattr(import_module(value.__module__), value.__qualname__) is value  # what its repr says is there


def test_the_top_level_holds_what_most_programs_use() -> None:
    assert flow.__all__ == [
        "Breaker", "Config", "Context", "Dag", "DataConfig", "DefinitionError", "DefinitionWarning", "FlowError",
        "InputError", "Key", "MapResult", "NodeTimeout", "Outcome", "Plan", "RateLimiter", "Result", "Retry",
        "RunError", "RunHandle", "Secret", "Status", "Timeout", "UsageError", "WorkflowData", "action", "ai",
        "errors", "events", "execute", "expr", "http", "interop", "memory", "metrics", "middleware", "observe",
        "recover", "render", "run", "start", "store", "stream", "template", "testing", "topologies", "traces", "tune",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("module", "name"),
    [
        *[(flow, name) for name in flow.errors.__all__ if name not in flow.__all__],
        *[(flow, name) for name in flow.memory.__all__],
        *[(flow, name) for name in ("Clock", "CriticalPath", "NodeRef", "Resolver", "Snapshot", "StatusTracker")],
        *[(module, "nope") for module in (flow, flow.data, flow.observe, flow.plan, flow.tuning)],
    ],
    ids=lambda at: getattr(at, "__name__", at),
)
def test_a_name_has_one_place(module: ModuleType, name: str) -> None:
    with pytest.raises(AttributeError, match=f"^module '{module.__name__}' has no attribute '{name}'") as caught:
        getattr(module, name)
    _, _, place = str(caught.value).partition(": it is ")
    assert bool(place) == (name != "nope")
    assert not place or eval(place, {"flow": flow}).__name__ == name


def test_where_else_a_name_is_is_told() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Progress': it is flow.observe.Progress$"):
        flow.Progress  # type: ignore[attr-defined]  # noqa: B018
    assert not hasattr(flow, "_Progress")


def test_a_name_is_looked_for_once() -> None:
    """A program may say ``flow.plan.Resolver`` in a loop."""
    for module, name in ((flow.plan, "Resolver"), (flow, "topologies"), (flow.observe, "Progress"), (flow, "tune")):
        assert getattr(module, name) is vars(module)[name]
        assert dir(module) == sorted(module.__all__)


def test_all_of_it_is_there_after_one_import() -> None:
    """In a new process, in which no other test has imported what is lazy."""
    program = """
import flow
before = dir(flow)
print(flow.plan.Resolver, flow.tuning.TuneReport, flow.types.NodeRef, flow.clock.Clock, flow.data.Snapshot, flow.config)
print(flow.spec.Allow)
from flow import *
assert dir(flow) == before
print(memory.Arena, observe.tracking, tune, events.NodeFinished, errors.MapError)
help(flow)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "class Dag(" in done.stdout and "_LAZY" not in done.stdout
