"""What users copy is typed: the blocks of each page, and the programs in docs, under ``mypy --strict`` and pyright.

A page's blocks are one module, as readers follow them; a page may define a name again, as a notebook does. A mistake
that is shown on purpose has a ``# type: ignore[...]``, which must be needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from test_examples import DOCS, PAGES, blocks_of

CACHE = Path(sys.prefix) if sys.prefix != sys.base_prefix else None
"""What mypy has found in flow and its dependencies is kept in the environment: it takes longest."""


def module_of(page: Path) -> str:
    """Return the python blocks of a page, each line where it stands on the page."""
    lines: list[str] = []
    for block in blocks_of(page):
        if block.info == "python":
            lines += [""] * (block.line - 1 - len(lines)) + block.body.splitlines()
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Each file to check, and what it is called in a finding."""
    folder = tmp_path_factory.mktemp("pages")
    checked = {}
    for page in PAGES:
        path = folder / f"{page.stem.lower()}_page.py"
        path.write_text(module_of(page), encoding="utf-8")
        checked[str(path)] = page.relative_to(ROOT).as_posix()
    compared = [DOCS / "compare" / name for name in ("work.py", "count.py")]  # the others need the other libraries
    compared += [DOCS / "guide" / "figures.py", DOCS / "guide" / "faults.py", *DOCS.glob("examples/files/*.py")]
    for program in (*DOCS.glob("examples/*.py"), *compared, *DOCS.glob("compare/*_flow.py")):
        path = folder / (f"examples_{program.name}" if program.parent.name == "examples" else program.name)
        path.write_text(program.read_text(encoding="utf-8"), encoding="utf-8")
        checked[str(path)] = program.relative_to(ROOT).as_posix()
    return checked


def findings_of_mypy(modules: dict[str, str], cache: Path) -> list[str]:
    command = [
        sys.executable, "-m", "mypy", "--strict", "--disable-error-code=no-redef", "--no-error-summary",
        "--hide-error-context", "--no-pretty", f"--config-file={ROOT / 'pyproject.toml'}", "--cache-dir", str(cache),
    ]  # fmt: skip
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    ran = subprocess.run([*command, *modules], cwd=ROOT, capture_output=True, text=True, env=environment, timeout=280)
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    names = {Path(path).name: name for path, name in modules.items()}  # a kept finding has the folder of its run
    found = [line.partition(":") for line in ran.stdout.splitlines() if ": error: " in line]
    return [f"{names.get(Path(path).name, path)}:{finding}" for path, _, finding in found]


def findings_of_pyright(modules: dict[str, str]) -> list[str]:
    folder = Path(next(iter(modules))).parent
    rules = {
        "extraPaths": [str(ROOT)], "pythonVersion": "3.11", "typeCheckingMode": "standard",
        "reportRedeclaration": False, "reportUnusedExpression": False, "reportUnusedCoroutine": False,
    }  # fmt: skip
    (folder / "pyrightconfig.json").write_text(json.dumps(rules), encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(folder)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert ran.returncode in (0, 1), ran.stdout + ran.stderr
    said = json.loads(ran.stdout)
    assert said["summary"]["filesAnalyzed"] == len(modules)
    return [
        f"{modules.get(f['file'], f['file'])}:{f['range']['start']['line'] + 1}: {f['message']}"
        for f in said["generalDiagnostics"]
        if f["severity"] == "error"
    ]


@pytest.mark.slow
def test_mypy_finds_nothing(modules: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    assert findings_of_mypy(modules, tmp_path if CACHE is None else CACHE / "mypy-of-docs") == []


@pytest.mark.slow
def test_pyright_finds_nothing(modules: dict[str, str]) -> None:
    pytest.importorskip("pyright", reason="pyright is not installed: pip install -e '.[dev]'")
    assert findings_of_pyright(modules) == []


def test_a_line_stands_where_it_stands_on_its_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n\n```python\na = 1\n```\n\n```python no-run\nb\n```\n```python\nc = a\n```\n", "utf-8")
    lines = module_of(page).splitlines()
    assert {k: line for k, line in enumerate(lines, 1) if line} == {4: "a = 1", 11: "c = a"}


@pytest.mark.slow
def test_a_finding_names_page_and_line(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    file = tmp_path / "wrong.py"
    file.write_text("\n\nimport flow\nflow.Nope\ndef bare(x): ...\n", "utf-8")
    found = findings_of_mypy({str(file): "docs/wrong.md"}, tmp_path if CACHE is None else CACHE / "mypy-of-docs")
    assert [line.split(": error: ")[0] for line in found] == ["docs/wrong.md:4", "docs/wrong.md:5"]
