"""However a parameter's annotation spells our Context, it gets it; another class of that name never does."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import flow

Loader = Callable[[str], ModuleType]


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Loader]:
    """Import text as a module whose source can be read."""
    made: list[str] = []

    def load(text: str) -> ModuleType:
        name = f"spelt_{len(made)}_{tmp_path.name}"
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        found = importlib.util.module_from_spec(spec)
        sys.modules[name] = found
        made.append(name)
        spec.loader.exec_module(found)
        return found

    yield load
    for name in made:
        del sys.modules[name]


def gets_it(fn: Any) -> bool:
    """Tell whether ``fn(ctx)`` gets the Context; if not, ``ctx`` is an input."""
    dag = flow.Dag()
    dag.add("it", fn)
    plan = dag.compile()
    binder = plan._nodes.binders.get(0)
    found = binder is not None and binder.context != -1
    assert found == ("ctx" not in plan.inputs)
    if found:
        assert flow.run(plan)["it"] == "it"
    return found


IMPORTS = """
import typing, decimal, contextvars
import typing as t
import flow
import flow as f
from flow import Context
from flow import Context as C
from typing import Annotated, Any, Optional, Union
Alias = Optional[Context]
Text = "Context"
Loop = "Loop"
Nothing = None
"""

OURS = [
    "Context", "C", "flow.Context", "f.Context", "flow.data.context.Context", "Alias", "Text",
    "Optional[Context]", "Optional[C]", "typing.Optional[flow.Context]", "t.Union[None, f.Context]",
    "Union[Context, None]", "Union[int, Optional[Context]]", "Context | None", "None | C", "flow.Context | int | None",
    "Annotated[Context, 'of the run']", "Annotated[Optional[Context], 1, 2]", "Optional[Annotated[C, 'x']]",
    "Optional['Context']", "Union['flow.Context', None]", "Annotated['Context', 1]", "'Context'", "'Optional[C]'",
    "Optional[Alias]", "Annotated[Alias, 1]",
]  # fmt: skip
OTHERS = [
    "decimal.Context", "contextvars.Context", "Optional[decimal.Context]", "decimal.Context | None",
    "Annotated[int, Context]", "Annotated[decimal.Context, Context]", "list[Context]", "dict[str, Context]",
    "Any", "Loop", "Nothing", "flow.Dag", "'decimal.Context'", "type[Context]", "typing.Callable[[Context], int]",
    "int", "1 + 1", "print('never evaluated')", "[Context]", "lambda: Context",
]  # fmt: skip


@pytest.mark.parametrize("future", ["from __future__ import annotations\n", ""], ids=["text", "objects"])
@pytest.mark.parametrize(("spelt", "ours"), [*((s, True) for s in OURS), *((s, False) for s in OTHERS)])
def test_spellings(module: Loader, future: str, spelt: str, ours: bool) -> None:
    found = module(f"{future}{IMPORTS}\ndef fn(ctx: {spelt}): return ctx.node\n")
    assert gets_it(found.fn) is ours
    assert gets_it(found.fn) is ours  # nothing that was remembered changes it


@pytest.mark.parametrize(
    ("imports", "spelt", "ours"),
    [
        ("from flow import Context", "Context", True),
        ("from flow import Context as Ctx", "Ctx", True),
        ("from flow import Context as Ctx", "Optional[Ctx]", True),
        ("from flow import Context as Ctx", "Ctx | None", True),
        ("import flow as fl", "fl.Context", True),
        ("import flow.data.context", "flow.data.context.Context", True),
        ("from flow.data import context", "context.Context", True),
        ("from decimal import Context", "Context", False),
        ("from decimal import Context", "Optional[Context]", False),
        ("import decimal", "decimal.Context", False),
        ("import decimal as flow", "flow.Context", False),
        ("from not_installed_anywhere import Context", "Context", False),
        ("import not_installed_anywhere as n", "n.Context", False),
        ("from flow import Dag as Context", "Context", False),
        ("import flow\n    Ctx = flow.Context", "Ctx", True),
        ("class Context: ...", "Context", False),
    ],
)
def test_names_that_only_type_checkers_know(module: Loader, imports: str, spelt: str, ours: bool) -> None:
    found = module(
        "from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
        f"if TYPE_CHECKING:\n    from typing import Optional\n    {imports}\n"
        f"def fn(ctx: {spelt}): return ctx.node\n"
    )
    assert gets_it(found.fn) is ours


def test_names_of_the_function_around(module: Loader) -> None:
    found = module(
        """
from __future__ import annotations
from decimal import Context as Ctx

def of_decimal():
    from decimal import Context
    def fn(ctx: Context): return ctx.node
    return fn

def own_class():
    class Context: ...
    def fn(ctx: Context): return ctx.node
    return fn

def bound():
    class Context: ...
    def fn(ctx: Context): return Context, ctx.node
    return fn

def ours():
    from flow import Context
    def fn(ctx: Context): return ctx.node
    return fn

def alias():
    import flow
    Ctx = flow.Context
    def fn(ctx: Ctx): return ctx.node, Ctx
    return lambda: fn

def renamed():
    from flow import Context as Mine
    if True:
        @staticmethod
        def fn(ctx: Mine | None): return ctx.node
    return fn.__func__
"""
    )
    assert not gets_it(found.of_decimal())
    assert not gets_it(found.own_class())
    assert not gets_it(found.bound())
    assert gets_it(found.ours())
    assert gets_it(found.renamed())
    dag = flow.Dag()
    dag.add("it", found.alias()())
    assert flow.run(dag)["it"][0] == "it"  # the inner name counts, not the module's


def test_a_bare_name_that_is_nowhere_counts_as_ours() -> None:
    namespace: dict[str, Any] = {}
    exec(
        "from __future__ import annotations\n"
        "def bare(ctx: Context): return ctx.node\n"
        "def optional(ctx: Optional[Context]): return ctx.node\n"
        "def dotted(ctx: flow.Context | None): return ctx.node\n"
        "def other(ctx: decimal.Context): return ctx.node\n"
        "def nothing(ctx: Contexts): return ctx.node\n",
        namespace,
    )
    assert [gets_it(namespace[name]) for name in ("bare", "optional", "dotted", "other", "nothing")] == [
        True, True, True, False, False,
    ]  # fmt: skip


def test_callable_objects_classes_wrappers_and_partials(module: Loader) -> None:
    found = module(
        """
from __future__ import annotations
import functools
from decimal import Context
from flow import Context as Ctx

class Other:
    def __call__(self, ctx: Context): return ctx.node
class Ours:
    def __call__(self, ctx: Ctx | None = None): return ctx.node
class Made:
    def __new__(cls, ctx: Ctx): return ctx.node
class Built:
    def __init__(self, ctx: Context): ...
class Steps:
    def ours(self, ctx: Ctx): return ctx.node
    def other(self, ctx: Context): return ctx.node

def shown(x, ctx: Ctx): ...
@functools.wraps(shown)
def wrapped(*args, **kwargs): return args[1].node
partial = functools.partial(wrapped, 1)
"""
    )
    assert [gets_it(fn) for fn in (found.Ours(), found.Made, found.Steps().ours, found.partial)] == [True] * 4
    assert [gets_it(fn) for fn in (found.Other(), found.Built, found.Steps().other)] == [False] * 3


def test_a_maps_function(module: Loader) -> None:
    found = module(
        "from __future__ import annotations\nfrom typing import Annotated\nfrom flow import Context as C\n"
        "def fn(item, ctx: Annotated[C | None, 1]): return ctx.index\n"
    )
    dag = flow.Dag()
    dag.map("it", found.fn, over="items")
    assert flow.run(dag, {"items": "ab".split() * 2})["it"] == [0, 1]


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the type statement")
def test_a_type_alias(module: Loader) -> None:
    found = module(
        "import decimal, flow\ntype Ctx = flow.Context | None\ntype Other = decimal.Context\ntype Lost = nowhere\n"
        "def fn(ctx: Ctx): return ctx.node\ndef other(ctx: Other): ...\ndef lost(ctx: Lost): ...\n"
    )
    assert [gets_it(fn) for fn in (found.fn, found.other, found.lost)] == [True, False, False]
