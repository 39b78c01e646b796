"""``flow metrics dashboard`` and ``flow metrics rules``, and what they print."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from conftest import ROOT

from flow.cli.metrics import metrics as command
from flow.metrics import names

NAMES = {metric.name: metric for metric in (*names.COUNTED, *names.OF_SERVICE)}
MAKER = ROOT / "scripts" / "dashboard.py"


def printed(*arguments: str) -> str:
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0
    return result.stdout


def expressions() -> list[str]:
    panels = [panel for panel in json.loads(printed("dashboard"))["panels"] if panel["type"] != "row"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [rule["expr"] for group in yaml.safe_load(printed("rules"))["groups"] for rule in group["rules"]]
    return [*shown, *rules]


@pytest.mark.skipif(not MAKER.is_file(), reason="needs the repository")
def test_the_dashboard_is_what_its_script_makes() -> None:
    pytest.importorskip("grafana_foundation_sdk")
    made = subprocess.run(
        [sys.executable, str(MAKER), "--print"], capture_output=True, text=True, encoding="utf-8", check=True
    )
    assert made.stdout == (ROOT / "flow" / "metrics" / "performance.json").read_text("utf-8")
    assert made.stdout == printed("dashboard")


def test_the_form_for_the_import_holds_the_dashboard() -> None:
    body = json.loads(printed("dashboard", "--for-import"))
    assert body["dashboard"] == json.loads(printed("dashboard"))
    assert body["overwrite"] is True
    assert "api/dashboards/import" in CliRunner().invoke(command, ["dashboard"]).stderr


def test_panels_have_names_places_and_a_variable_for_the_workflow() -> None:
    board = json.loads(printed("dashboard"))
    assert [variable["name"] for variable in board["templating"]["list"]] == ["datasource", "job", "workflow"]
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken = set[tuple[int, int]]()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"])
                 for y in range(place["y"], place["y"] + place["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        assert panel["title"]
        taken |= cells
    by_workflow = [panel for panel in board["panels"] if "$workflow" in json.dumps(panel)]
    assert len(by_workflow) > 15


def test_only_metrics_that_exist_are_asked_for() -> None:
    asked = set[str]()
    for expr in expressions():
        asked |= set(re.findall(r"\b(?:workflow|process|python)_\w+", expr))
    ours = {re.sub("_(bucket|sum|count)$", "", name) for name in asked if name.startswith("workflow_")}
    assert not ours - set(NAMES)
    assert not set(NAMES) - ours - {"workflow_nodes_waiting"}  # each is shown somewhere
    theirs = {name for name in asked if not name.startswith("workflow_")}
    assert theirs == {
        "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds",
        "process_start_time_seconds",
        "python_gc_collections_total",
    }  # fmt: skip


def test_recorded_names_are_those_that_alerts_ask_for() -> None:
    rules = [rule for group in yaml.safe_load(printed("rules"))["groups"] for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    asked = {name for rule in rules for name in re.findall(r"\bworkflow:\w+:\w+", rule["expr"])}
    assert asked <= recorded
    alerts = [rule for rule in rules if "alert" in rule]
    assert len(alerts) == 11
    for alert in alerts:
        assert set(alert["annotations"]) == {"summary", "description", "runbook"}
        assert alert["labels"]["severity"] in ("critical", "warning")


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(printed("rules"), "utf-8")
    shutil.copy(Path(__file__).with_name("rules_fire.yml"), tmp_path)
    for words in (["check", "rules", "rules.yml"], ["test", "rules", "rules_fire.yml"]):
        done = subprocess.run(["promtool", *words], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


EXAMPLE = ROOT / "docs" / "monitoring" / "prometheus.yml"


@pytest.mark.skipif(shutil.which("promtool") is None or not EXAMPLE.is_file(), reason="needs promtool and the docs")
def test_promtool_takes_the_example_of_a_config(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(printed("rules"), "utf-8")
    shutil.copy(EXAMPLE, tmp_path)
    words = ["promtool", "check", "config", "prometheus.yml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
