"""What the scripts refuse to do to the folder that FLOW_VENV names."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

SCRIPTS = ROOT / "scripts"

pytestmark = pytest.mark.skipif(
    os.name != "posix" or shutil.which("sh") is None or not SCRIPTS.is_dir(), reason="needs a shell and the repository"
)

PYTHON = """#!/bin/sh
case "$*" in
    *"-m venv"*) echo "made: $*"; exit 9 ;;
esac
exec "{real}" "$@"
"""


def made(tmp_path: Path, venv: str, root: str = "repo") -> subprocess.CompletedProcess[str]:
    """Run a copy of a script with a Python that only says what environment it would make."""
    scripts = tmp_path / root / "scripts"
    shutil.copytree(SCRIPTS, scripts)
    (tmp_path / root / "pyproject.toml").touch()
    python = tmp_path / "python"
    python.write_text(PYTHON.format(real=sys.executable))
    python.chmod(0o755)
    env = {**os.environ, "PYTHON": str(python), "FLOW_VENV": venv, "CDPATH": str(tmp_path)}
    return subprocess.run(
        ["sh", str(scripts / "try.sh")], capture_output=True, text=True, env=env, cwd=tmp_path, check=False, timeout=60
    )


def test_a_folder_that_is_no_environment_is_not_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "my work"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years")
    result = made(tmp_path, str(folder))
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f"'{folder}' is not emptied: it is no virtual environment (no pyvenv.cfg). Set FLOW_VENV to another\n"
    )
    assert (folder / "thesis.txt").read_text() == "years"


def test_neither_is_one_with_hidden_files_only(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / ".profile").touch()
    assert made(tmp_path, str(folder)).returncode == 2


@pytest.mark.parametrize("link", [False, True])
def test_what_is_no_folder_is_refused(tmp_path: Path, link: bool) -> None:
    file = tmp_path / "file"
    file.symlink_to("absent") if link else file.write_text("text")
    result = made(tmp_path, str(file))
    assert (result.returncode, result.stderr) == (2, f"'{file}' is no folder. Set FLOW_VENV to another\n")


def test_new_and_empty_folders_and_broken_environments_are_made(tmp_path: Path) -> None:
    for name in ("new", "empty", "broken"):
        folder = tmp_path / name
        if name != "new":
            folder.mkdir()
        if name == "broken":
            (folder / "pyvenv.cfg").touch()
            (folder / "half").touch()
        result = made(tmp_path / f"for {name}", str(folder)) if (tmp_path / f"for {name}").mkdir() is None else None
        assert result is not None
        assert (result.returncode, result.stdout) == (9, f"made: -m venv --clear {folder}\n")


def test_odd_names(tmp_path: Path) -> None:
    result = made(tmp_path, "-odd name", root="a 'repo' with $odd names")
    assert (result.returncode, result.stdout) == (9, "made: -m venv --clear ./-odd name\n")


def test_try_explains_every_figure(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    shutil.copy(SCRIPTS / "try.sh", scripts)
    (scripts / "venv.sh").write_text(f'python="{sys.executable}"\ncd "{ROOT}"\n')
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = ["sh", str(scripts / "try.sh"), "--no-progress"]
    result = subprocess.run(command, capture_output=True, text=True, env=env, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    headline, *figures = result.stdout.splitlines()  # results alone
    assert ": ok, 52 of 52 nodes completed in " in headline
    explained = result.stderr.partition("What the figures mean:\n")[2]
    assert figures and all(f"\n{figure[:19]}" in f"\n{explained}" for figure in figures)
    wrong = subprocess.run([*command, "--nope"], capture_output=True, text=True, env=env, check=False, timeout=60)
    assert wrong.returncode == 2 and "What the figures mean" not in wrong.stderr
