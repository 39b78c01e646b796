"""The rooms depend one way only, and flow_bench uses the public API alone."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import ROOT

import flow

RANKS = {
    "errors": 0, "reprs": 0, "types": 0, "clock": 0, "config": 0, "settings": 0, "awaits": 0, "files": 0,
    "signature": 1, "annotations": 1, "data": 1, "policy": 1,
    "plan": 2,
    "graph": 3,
    "run": 4, "testing": 4,
    "observe": 5,
    "tuning": 6,
    "cli": 7, "__main__": 8, "__init__": 8,
}  # fmt: skip
WITHIN_RANK = {
    ("errors", "reprs"), ("config", "errors"), ("config", "clock"), ("types", "errors"),
    ("settings", "files"), ("files", "errors"),
    ("settings", "errors"), ("settings", "config"), ("config", "settings"),  # the latter when a file is loaded
    ("config", "awaits"), ("awaits", "errors"), ("annotations", "data"), ("signature", "annotations"),
    ("policy", "data"), ("policy", "signature"),
    ("cli", "__init__"),  # a user like any other
}  # fmt: skip


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: Path) -> set[str]:
    """Every module of flow that a file imports, under TYPE_CHECKING or lazily as well."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "flow"}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "flow":
            if node.module == "flow":
                found |= {f"flow.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


SOURCES = sorted((ROOT / "flow").rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_rooms_import_downwards(path: Path) -> None:
    relative = path.relative_to(ROOT / "flow")
    mine = relative.parts[0].removesuffix(".py")
    if RANKS[mine] == 8:
        return
    for module in imports(path):
        other = room_of(module)
        if other == mine:
            continue
        allowed = RANKS[other] < RANKS[mine] or (mine, other) in WITHIN_RANK
        assert allowed, f"{relative} (rank {RANKS[mine]}) imports {module} (rank {RANKS[other]})"


def test_every_room_has_a_rank() -> None:
    rooms = {p.relative_to(ROOT / "flow").parts[0].removesuffix(".py") for p in SOURCES}
    assert rooms == set(RANKS)


@pytest.mark.parametrize("path", sorted((ROOT / "flow_bench").rglob("*.py")), ids=lambda p: p.name)
def test_flow_bench_uses_the_public_api(path: Path) -> None:
    public = {f"flow.{name}" for name in flow.__all__} | {"flow"}
    for module in imports(path):
        assert module in public, f"{path.name} imports {module}"


def test_all_names_exist() -> None:
    for name in flow.__all__:
        assert getattr(flow, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        flow.nope  # noqa: B018


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How long a function is, without its docstring."""
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    return (function.end_lineno or 0) - first.lineno + 1 + (function.body[0].lineno - function.lineno)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_functions_are_readable_in_one_sitting(path: Path) -> None:
    long = {
        node.name: size
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (size := lines_of(node)) > 60
    }
    assert not long
