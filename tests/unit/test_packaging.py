"""The distribution: its name in every hint, what its files hold, what its metadata says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import flow

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs the repository")

TEXTS = sorted(
    path
    for folder in ("flow", "flow_bench", "docs", "scripts", "tests", ".ci", ".github")
    for path in (ROOT / folder).rglob("*")
    if path.is_file() and (path.suffix in (".py", ".md", ".sh", ".toml", ".yml", ".html") or path.parent.name == ".ci")
) + [*sorted(ROOT.glob("*.md")), ROOT / "pyproject.toml"]
INSTALL = re.compile(r"pip install +(?P<what>[^\n`|]*)")
OURS = re.compile(r"(?<![\w-])flow\[")


def project() -> dict[str, Any]:
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    found: dict[str, Any] = document["project"]
    return found


def test_no_hint_names_the_project_of_somebody_else() -> None:
    """``flow`` on the index is not ours: what would install it is a trap."""
    faults = []
    for path in TEXTS:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            words = INSTALL.findall(line)
            if OURS.search(line) or any(re.search(r"(?<![\w./-])flow(?![\w-])", what) for what in words):
                faults.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()}")
    own = f"tests{os.sep}unit{os.sep}test_packaging.py"
    assert [fault for fault in faults if not fault.startswith(own)] == []


@pytest.mark.parametrize("line", ["pip install flow", "pip install 'flow[cli]'", "needs flow[bench]"])
def test_such_a_hint_would_be_found(line: str) -> None:
    found = INSTALL.findall(line)
    assert OURS.search(line) or any(re.search(r"(?<![\w./-])flow(?![\w-])", what) for what in found)


def test_every_extra_that_a_text_names_exists() -> None:
    extras = set(project()["optional-dependencies"])
    for path in TEXTS:
        for named in re.findall(r"(?:flow-dag|'\.|install \.)\[([a-z,]+)\]", path.read_text(encoding="utf-8")):
            assert set(named.split(",")) <= extras, f"{path}: {named}"
    assert {"cli", "graph", "trio", "uvloop", "bench", "peers"} <= extras


def test_the_package_does_not_know_the_benchmarks() -> None:
    """They are not in the wheel."""
    code = "import sys, flow, flow.tuning.api, flow.cli.commands; print('flow_bench' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
    users = [path for path in (ROOT / "flow").rglob("*.py") if "flow_bench" in path.read_text(encoding="utf-8")]
    assert users == []


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The wheel and the sdist, made by the backend itself: without an environment of its own, and the network."""
    builders = pytest.importorskip("hatchling.builders.sdist"), pytest.importorskip("hatchling.builders.wheel")
    folder = str(tmp_path_factory.mktemp("dist"))
    sdist, wheel = builders[0].SdistBuilder(str(ROOT)), builders[1].WheelBuilder(str(ROOT))
    return {
        "sdist": Path(next(iter(sdist.build(directory=folder, versions=["standard"])))),
        "wheel": Path(next(iter(wheel.build(directory=folder, versions=["standard"])))),
    }


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_nothing_else(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        names = set(wheel.namelist())
    info = f"flow_dag-{flow.__version__}.dist-info/"
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "flow").rglob("*.py")}
    held = {name for name in names if not name.startswith(info)}
    assert held == sources | {"flow/py.typed", "flow/metrics/performance.json", "flow/metrics/rules.yml"}
    assert {"METADATA", "entry_points.txt", "licenses/LICENSE"} <= {name.removeprefix(info) for name in names}


@pytest.mark.slow
def test_the_sdist_holds_what_its_tests_and_benchmarks_need(built: dict[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    wanted = (
        "flow/py.typed", "flow_bench/__main__.py", "flow_bench/report/page.html", "flow_bench/originals/go.toml",
        "tests/conftest.py", "docs/index.md",
        "tests/data/sarek-dirt02-001.json", "scripts/test.sh", ".ci/run", "LICENSE", "CHANGELOG.md", "CITATION.cff",
        "SECURITY.md", ".github/workflows/ci.yml",
    )  # fmt: skip
    assert {name for name in wanted if name not in names} == set()
    assert not [name for name in names if name.startswith((".venv", ".git/")) or name.endswith(".pyc")]


@pytest.mark.slow
def test_the_metadata_is_complete(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        info = f"flow_dag-{flow.__version__}.dist-info/"
        told = Parser().parsestr(wheel.read(f"{info}METADATA").decode())
        scripts = wheel.read(f"{info}entry_points.txt").decode()
    assert (told["Name"], told["Version"]) == ("flow-dag", flow.__version__)
    assert (told["License-Expression"], told["Author"]) == ("Apache-2.0", "The flow authors")
    assert told["Requires-Python"] == ">=3.11"
    assert {"dag", "workflow"} <= set(told["Keywords"].split(","))
    classifiers = told.get_all("Classifier") or []
    for one in ("Framework :: AsyncIO", "Framework :: Trio", "Intended Audience :: Developers", "Typing :: Typed"):
        assert one in classifiers
    assert not [one for one in classifiers if one.startswith("License")]  # the SPDX expression says it
    assert "flow = flow.cli:main" in scripts
    always = [one for one in told.get_all("Requires-Dist") or [] if "extra ==" not in one]
    assert {re.split(r"\W", one)[0] for one in always} == {"anyio", "msgspec"}


def test_one_version_and_one_list_of_pythons() -> None:
    """What is written in several places agrees."""
    minors = [one.rpartition("3.")[2] for one in project()["classifiers"] if re.search(r"Python :: 3\.\d+$", one)]
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    versions = (ROOT / "docs" / "versions.md").read_text(encoding="utf-8")
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert minors == ["11", "12", "13", "14"]
    assert ", ".join(f'"3.{minor}"' for minor in minors) in workflow
    assert f"CPython 3.{minors[0]} to 3.{minors[-1]}" in versions
    assert f"\nversion: {flow.__version__}\n" in citation
