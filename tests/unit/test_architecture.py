"""The rooms and the files depend one way only, what is in them is short, and flow_bench uses the public API alone."""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping

from conftest import ROOT

import flow

RANKS = {
    "errors": 0, "reprs": 0, "types": 0, "clock": 0, "config": 0, "awaits": 0, "files": 0, "exports": 0,
    "keywords": 0, "terms": 0, "logs": 0, "tracebacks": 0, "blame": 0, "draw": 0, "masking": 0,
    "usage": 0,
    "expr": 1, "signature": 1, "annotations": 1, "data": 1, "policy": 1,
    "plan": 2, "memory": 2,
    "graph": 3,
    "run": 4,
    "observe": 5, "spec": 5, "store": 5, "metrics": 5, "ai": 5,
    "tuning": 6, "testing": 6, "http": 6,
    "cli": 7, "__main__": 8, "__init__": 8,
}  # fmt: skip
WITHIN_RANK = {
    ("errors", "reprs"), ("config", "errors"), ("config", "clock"), ("types", "errors"),
    ("config", "files"), ("files", "errors"),
    ("config", "keywords"), ("keywords", "errors"), ("keywords", "terms"), ("logs", "errors"),
    ("config", "tracebacks"), ("tracebacks", "errors"),
    ("draw", "types"), ("draw", "reprs"), ("errors", "draw"), ("errors", "blame"),
    ("config", "awaits"), ("awaits", "errors"), ("annotations", "data"), ("signature", "annotations"),
    ("policy", "data"), ("policy", "expr"), ("policy", "signature"),
    ("errors", "exports"), ("types", "exports"), ("clock", "exports"), ("config", "exports"),
    ("spec", "ai"),  # files that ask models
    ("cli", "__init__"),  # a user like any other
}  # fmt: skip


def room_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(tree: ast.Module, package: str = "flow") -> set[str]:
    """Every module of the package that a file imports, under TYPE_CHECKING or lazily as well."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == package}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == package:
            if node.module == package:
                found |= {f"{package}.{alias.name}" for alias in node.names}
            else:
                found.add(node.module)
    return found


PUBLIC = {
    "flow", "flow.ai", "flow.clock", "flow.config", "flow.data", "flow.errors", "flow.expr", "flow.graph.interop",
    "flow.graph.render", "flow.graph.topologies", "flow.graph.traces", "flow.http", "flow.memory", "flow.metrics",
    "flow.observe", "flow.plan",
    "flow.policy.middleware", "flow.run.events", "flow.spec", "flow.store", "flow.testing", "flow.tuning", "flow.types",
}  # fmt: skip
SOURCES = {path: ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / "flow").rglob("*.py"))}


def test_rooms_import_downwards() -> None:
    upwards = []
    for path, tree in SOURCES.items():
        relative = path.relative_to(ROOT / "flow")
        mine = relative.parts[0].removesuffix(".py")
        for module in imports(tree) if RANKS[mine] < 8 else ():
            other = room_of(module)
            if other != mine and RANKS[other] >= RANKS[mine] and (mine, other) not in WITHIN_RANK:
                upwards.append(f"{relative} (rank {RANKS[mine]}) imports {module} (rank {RANKS[other]})")
    assert not upwards


def test_every_room_has_a_rank() -> None:
    rooms = {p.relative_to(ROOT / "flow").parts[0].removesuffix(".py") for p in SOURCES}
    assert rooms == set(RANKS)


def test_flow_bench_uses_the_public_api() -> None:
    public = {f"flow.{name}" for name in flow.__all__} | {"flow"} | PUBLIC
    private = {
        path.name: found
        for path in sorted((ROOT / "flow_bench").rglob("*.py"))
        if (found := imports(ast.parse(path.read_text("utf-8"))) - public)
    }
    assert not private


BENCH_RANKS = {
    "harness": 0, "micro": 1, "suites": 2, "peers": 3, "session": 4, "report": 5, "originals": 6, "command": 7,
    "__main__": 8, "__init__": 8,
}  # fmt: skip


def test_rooms_of_flow_bench_import_downwards() -> None:
    upwards, rooms = [], set()
    for path in (ROOT / "flow_bench").rglob("*.py"):
        relative = path.relative_to(ROOT / "flow_bench")
        mine = relative.parts[0].removesuffix(".py")
        rooms.add(mine)
        for module in imports(ast.parse(path.read_text("utf-8")), "flow_bench"):
            other = room_of(module)
            if other != mine and BENCH_RANKS[other] >= BENCH_RANKS[mine]:
                upwards.append(f"{relative} imports {module}")
    assert not upwards
    assert rooms == set(BENCH_RANKS)
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8").partition("## The rooms of flow_bench")[2]
    told = {room: int(rank) for rank, room in re.findall(r"^\| (\d) \| `(\w+)` \|", page.partition("\n## ")[0], re.M)}
    assert told == {room: rank for room, rank in BENCH_RANKS.items() if not room.startswith("__")}


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How long a function is, without its docstring."""
    first = function.body[1] if ast.get_docstring(function) and len(function.body) > 1 else function.body[0]
    return (function.end_lineno or 0) - first.lineno + 1 + (function.body[0].lineno - function.lineno)


def test_functions_are_readable_in_one_sitting() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": size
        for path, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and (size := lines_of(node)) > 60
    }
    assert not long


def test_classes_are_readable_in_one_sitting() -> None:
    long = {
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}": size
        for path, tree in SOURCES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and (size := (node.end_lineno or 0) - node.lineno + 1) > 250
    }
    assert not long


def arrows_of(files: Mapping[str, ast.Module]) -> dict[str, set[str]]:
    """The modules among ``files`` that each imports, lazily and for typing as well.

    A package's ``__init__`` counts where a name is taken from it that is no module; that a module of a package imports
    the packages around it does not.
    """
    arrows = {}
    for name, tree in files.items():
        found = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                wanted = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
                found |= {full if full in files else node.module for full in wanted.values()}
        arrows[name] = (found & files.keys()) - {name}
    return arrows


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one node (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in sorted(arrows[node]):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            at = stack.index(node)
            component, stack[at:] = stack[at:], []
            if len(component) > 1:
                found.append(sorted(component))

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return found


def test_no_file_reaches_itself_by_its_imports() -> None:
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): tree
        for path, tree in SOURCES.items()
    }
    assert circles(arrows_of(modules)) == []


def test_circles_are_found() -> None:
    """A lazy import, one for typing, and one of a package's name close a circle; one of a package's module does not."""
    sources = {
        "p": "from p.a import x",
        "p.a": "def f():\n    from p import b",
        "p.b": "if TYPE_CHECKING:\n    import p.c",
        "p.c": "from p.a import x",
        "p.d": "from p import a",
        "q": "from q.a import x",
        "q.a": "from q import y",
    }
    arrows = arrows_of({name: ast.parse(text) for name, text in sources.items()})
    assert arrows["p.d"] == {"p.a"}
    assert circles(arrows) == [["p.a", "p.b", "p.c"], ["q", "q.a"]]
