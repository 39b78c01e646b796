"""docs/spec-errors.md shows what is said of each faulty file."""

from __future__ import annotations

import importlib.util
import re
import sys
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT

pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -e '.[spec]'")

GUIDE = ROOT / "docs" / "guide" / "faults.py"
PAGE = (ROOT / "docs" / "spec-errors.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def faults() -> Any:
    spec = importlib.util.spec_from_file_location("faults", GUIDE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("shop", None)


def test_the_page_is_what_the_script_prints(faults: ModuleType) -> None:
    assert faults.page().splitlines() == PAGE.splitlines()


def test_every_file_is_on_the_page(faults: ModuleType) -> None:
    listed = [name for _, names in faults.SECTIONS.values() for name in names]
    assert sorted(listed) == sorted(path.stem for path in faults.FAULTY.glob("*.yaml"))


def test_each_fault_has_its_place_and_is_said_once() -> None:
    said = [line for line in PAGE.splitlines() if ".yaml:" in line]
    assert len(said) > 100 and len(set(said)) == len(said)
    assert all(line.split(":")[1].isdigit() and line.split(":")[2].isdigit() for line in said)


def test_the_command_prints_the_same(faults: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    testing = pytest.importorskip("click.testing")
    from flow.cli.commands import cli

    monkeypatch.chdir(faults.FAULTY)
    ran = testing.CliRunner().invoke(cli, ["check", "--imports", "."], prog_name="flow")
    said = [line for line in ran.output.splitlines() if re.match(r"[\w-]+\.yaml:\d+:", line)]
    shown = [line for line in PAGE.splitlines() if re.match(r"[\w-]+\.yaml:\d+:", line)]
    assert (ran.exit_code, sorted(said)) == (1, sorted(shown))
