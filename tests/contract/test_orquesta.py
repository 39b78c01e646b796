"""What Orquesta's own conductor does with its public workflows, and what is done here with them once converted.

The cases are in a folder beside the project, and these tests skip where it is absent. The project's own cases are in
``test_convert.py`` and ``test_orquesta_oracle.py``.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from orquesta_cases import Ran, expected_tasks, run

pytest.importorskip("yaml")

FOLDER = ROOT.parent / "shared" / "orquesta"
CASES: Sequence[dict[str, Any]] = json.loads((FOLDER / "cases.json").read_text("utf-8")) if FOLDER.is_dir() else []
PAGE = ROOT / "docs" / "coming-from-orquesta.md"
_ROW = re.compile(r"^\| `([\w/]+)` \| `([\w.-]+)` \| (\w+) \|", re.MULTILINE)


def names() -> list[str]:
    """The cases by name; those of one name are numbered."""
    seen: Counter[str] = Counter()
    found = []
    for case in CASES:
        seen[case["test"]] += 1
        count = seen[case["test"]]
        found.append(case["test"] if count == 1 else f"{case['test']}_{count}")
    return found


def ran(case: dict[str, Any], folder: Path) -> Ran:
    text = (FOLDER / "workflows" / case["workflow"]).read_text("utf-8")
    mocks = case.get("mock_action_executions", ())
    name = case["workflow"].partition(".")[0]
    return run(text, folder, name, case.get("inputs", {}), mocks, case["expected_task_sequence"])


def differences(case: dict[str, Any], folder: Path) -> list[str]:
    """What is not as Orquesta's conductor does it: the tasks that ran, how often, the status, the output."""
    here = ran(case, folder)
    found = []
    expected = expected_tasks(case["expected_task_sequence"])
    if here.tasks != expected:
        found.append(f"ran {dict(here.tasks)}, not {dict(expected)}")
    status = case.get("expected_workflow_status", "succeeded")
    if here.status != status:
        found.append(f"ended as {here.status}, not {status}")
    if "expected_output" in case and here.output != case["expected_output"]:
        found.append(f"gave {here.output}, not {case['expected_output']}")
    return found


@pytest.mark.skipif(not CASES, reason="the folder of Orquesta's workflows is not there")
def test_the_table_of_the_docs_says_which_cases_run_as_in_orquesta(tmp_path: Path) -> None:
    listed = {name: (workflow, said == "yes") for name, workflow, said in _ROW.findall(PAGE.read_text("utf-8"))}
    found = {}
    for name, case in zip(names(), CASES, strict=True):
        folder = tmp_path / name.replace("/", "_")
        folder.mkdir()
        found[name] = (case["workflow"], not differences(case, folder))
    assert found == listed
    assert sum(same for _, same in found.values()) >= 40


@pytest.mark.skipif(not CASES, reason="the folder of Orquesta's workflows is not there")
def test_every_workflow_is_converted_without_an_error() -> None:
    from flow.spec import convert

    for path in sorted((FOLDER / "workflows").glob("*.yaml")):
        assert convert(path.read_text("utf-8"), name=path.stem).text.startswith("flow: 1\n")
