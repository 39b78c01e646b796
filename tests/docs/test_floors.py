"""The floors that docs/architecture.md draws are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from conftest import ROOT

FLOW = ROOT / "flow"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| *(?P<floor>\d*) *\| (?P<files>`[^|]+`) \|", re.MULTILINE)
ROOMS = PAGE.partition("| room | its files, each after those that it imports |")[2].partition("\n\n")[0]


def imported(file: Path) -> set[Path]:
    """The files of flow that a file imports, lazily and for typing too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            modules = [parts, *[[*parts, alias.name] for alias in node.names]]
        elif isinstance(node, ast.Import):
            modules = [alias.name.split(".") for alias in node.names]
        else:
            continue
        found |= {ROOT.joinpath(*parts).with_suffix(".py") for parts in modules if parts[0] == "flow"}
    return {path for path in found if path.is_file()}


def test_floors_of_runs() -> None:
    section = PAGE.partition("## The floors of flow/run")[2].partition("\n## ")[0]
    listed, floors, floor = [], [], 0
    for row in ROW.finditer(section):
        floor = int(row["floor"] or floor)
        files = [FLOW / "run" / f"{name}.py" for name in re.findall("`([^`]+)`", row["files"])]
        listed += files
        floors += [floor] * len(files)
    files = {file for file in (FLOW / "run").rglob("*.py") if file.name != "__init__.py"}
    assert set(listed) == files and len(listed) == len(files)
    assert floors == sorted(floors, reverse=True) and set(floors) == set(range(1, floors[0] + 1))
    upwards = [
        f"{file.stem} imports {other.stem}"
        for at, file in enumerate(listed)
        for other in imported(file) & files
        if other != file and listed.index(other) < at
    ]
    assert not upwards


@pytest.mark.parametrize(
    "room", ["draw", "config", "data", "policy", "plan", "graph", "store", "metrics", "ai", "http"]
)  # fmt: skip
def test_files_of_rooms(room: str) -> None:
    (row,) = [line for line in ROOMS.splitlines() if line.startswith(f"| `{room}` |")]
    text = re.sub(r"\([^)]*\)", "", row.split("|")[2])
    files = {file for file in (FLOW / room).rglob("*.py") if file.name != "__init__.py"}
    listed = [FLOW / room / f"{name}.py" for name in re.findall("`([^`]+)`", text)]
    assert set(listed) == files and len(listed) == len(files)
    later = [
        f"{file.stem} imports {other.stem}"
        for at, file in enumerate(listed)
        for other in imported(file) & files
        if other != file and listed.index(other) > at
    ]
    assert not later
