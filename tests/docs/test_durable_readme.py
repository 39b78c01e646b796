"""README.md: run, kill -9, resume. Its three lines, typed into a shell one after the other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT
from test_examples import DOCS, Block, blocks_of, file_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell"),
]


def shown() -> tuple[Block, list[str]]:
    """The program of docs/durable.md, and the three lines of README.md, which that page has as well."""
    (program,) = [block for block in blocks_of(DOCS / "durable.md") if file_of(block) == "nightly.py"]
    lines, again = (
        next(block.body for block in blocks_of(page) if block.info == "sh" and "nightly.py" in block.body)
        for page in (ROOT / "README.md", DOCS / "durable.md")
    )
    assert lines == again
    return program, lines.splitlines()


def stored(path: Path, deadline: float = 30.0) -> None:
    """Wait until something of the run is in its journal."""
    import flow

    end = time.monotonic() + deadline
    with flow.store.open(path) as store:
        while not store.load("monday").journal:
            assert time.monotonic() < end
            time.sleep(0.01)


def test_run_kill_resume(tmp_path: Path) -> None:
    program, lines = shown()
    assert [line.split()[0] for line in lines] == ["python", "sleep", "python"] and "; kill -9 $!" in lines[1]
    (tmp_path / "nightly.py").write_text(program.body, encoding="utf-8")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["sh"], cwd=tmp_path, env=os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as shell:  # fmt: skip
        rest = typed(shell, lines, tmp_path / "runs.db")
    assert "load" not in rest
    assert rest.split()[-2:] == ["train", "6"]


def typed(shell: subprocess.Popen[str], lines: list[str], path: Path) -> str:
    """Type the lines, the second one once something is stored; return what is printed from then on."""
    assert shell.stdin is not None and shell.stdout is not None
    shell.stdin.write(f"{lines[0]}\n")
    shell.stdin.flush()
    assert [shell.stdout.readline(), shell.stdout.readline()] == ["load\n", "train\n"]
    stored(path)
    shell.stdin.write("\n".join([*lines[1:], ""]))
    shell.stdin.close()
    return shell.stdout.read()
