"""What users get told by type checkers: each line of ``typed.py``. (Pyright agrees with it in scripts/lint.sh.)"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

TYPED = ROOT / "tests" / "unit" / "typed.py"


@pytest.mark.slow
def test_mypy_infers_it(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), str(TYPED)]
    environment = os.environ | {"MYPYPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=280)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_there_is_something_to_infer() -> None:
    lines = TYPED.read_text(encoding="utf-8").splitlines()
    assert sum("assert_type(" in line for line in lines) > 40
    assert sum("# type: ignore[" in line for line in lines) > 10
