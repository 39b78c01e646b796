"""The command line on Dags that declare their inputs, and on those that are most likely wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flow.cli.commands import cli

DECLARED = """
import datetime
from pathlib import Path

import msgspec
import flow

class Inputs(msgspec.Struct):
    name: str
    when: datetime.date = datetime.date(2024, 1, 1)
    count: int = 1
    where: Path = Path("here")
    tags: list[str] = []
    sure: bool = False

dag = flow.Dag("declared", inputs=Inputs)

@dag.node
def out(name, when, count, where, tags, sure):
    return [name, str(when), count, where.name, tags, sure]
"""

DOUBTFUL = """
import flow

dag = flow.Dag("doubtful")

@dag.node
def customers() -> list[int]:
    return [1]

@dag.node
def total(custmers=()) -> int:
    return len(custmers)

@dag.node
def report(total: str) -> None: ...
"""

LEFT_OUT = """
import flow

dag = flow.Dag("left", inputs=["customers"])

@dag.node
def total(custmers=()):
    return 1
"""


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in (("declared.py", DECLARED), ("doubtful.py", DOUBTFUL), ("left.py", LEFT_OUT)):
        Path(name).write_text(text, encoding="utf-8")


def call(*args: str) -> Result:
    return CliRunner().invoke(cli, args)


def out_of(*inputs: str) -> list[object]:
    given = [part for each in inputs for part in ("--input", each)]
    result = call("run", "declared.py", "--json", *given)
    assert result.exit_code == 0, result.stderr
    found: list[object] = json.loads(result.stdout)["nodes"]["out"]["output"]
    return found


class TestInputs:
    def test_text_becomes_the_declared_type(self) -> None:
        given = ["name=3", "when=2025-02-03", "count=7", "where=a/b", 'tags=["x"]', "sure=true"]
        assert out_of(*given) == ["3", "2025-02-03", 7, "b", ["x"], True]

    def test_lax_forms_and_defaults(self) -> None:
        assert out_of('name="quoted"', 'count="5"', "sure=1") == ["quoted", "2024-01-01", 5, "here", [], True]

    def test_the_last_of_two_goes(self) -> None:
        assert out_of("name=a", "name=3")[0] == "3"

    def test_a_file_is_read_as_json_strictly(self) -> None:
        Path("in.json").write_text('{"name": "a", "when": "2025-02-03"}', encoding="utf-8")
        result = call("run", "declared.py", "--json", "--inputs", "in.json")
        assert json.loads(result.stdout)["nodes"]["out"]["output"][:2] == ["a", "2025-02-03"]
        Path("in.json").write_text('{"name": "a", "count": "3"}', encoding="utf-8")
        result = call("run", "declared.py", "--inputs", "in.json")
        assert result.exit_code == 2
        assert "input 'count' is not of its declared type int: Expected `int`, got `str`" in result.stderr

    def test_all_that_is_wrong_at_once(self) -> None:
        result = call("run", "declared.py", "--input", "count=many", "--input", "nme=x", "--input", "when=never")
        assert result.exit_code == 2
        for part in ("4 faults", "'name' is missing", "'nme' is none that the dag declares", "'count'", "'when'"):
            assert part in result.stderr

    def test_tune_takes_them_too(self) -> None:
        result = call("tune", "declared.py", "--input", "name=3", "--input", "when=2025-02-03", "--budget", "50ms")
        assert result.exit_code == 0, result.stderr


    def test_what_is_missing_is_told_as_an_option(self) -> None:
        for command in ("run", "tune"):
            stderr = call(command, "declared.py").stderr
            assert "pass --input name=..." in stderr and "inputs={" not in stderr


class TestWarnings:
    def test_check_prints_them(self) -> None:
        result = call("check", "doubtful.py")
        assert result.exit_code == 0
        assert result.stdout.startswith("doubtful: ok: 3 nodes")
        name, kind = result.stderr.splitlines()
        assert name.startswith("Warning: node 'total' (") and "is node 'customers' (" in name
        assert kind.startswith("Warning: node 'report' (") and "takes 'total' as str" in kind

    def test_strict(self) -> None:
        refused = call("check", "--strict", "doubtful.py")
        assert refused.exit_code == 1 and refused.stdout == ""
        assert refused.stderr.splitlines()[-1].startswith("doubtful: 2 warnings, refused by --strict: 3 nodes")
        assert call("check", "--strict", "declared.py").exit_code == 0

    def test_what_a_declared_dag_leaves_out_is_told_once(self) -> None:
        result = call("check", "left.py", "--strict")
        assert result.exit_code == 1
        assert result.stderr.count("custmers") == 1

    def test_run_tells_what_it_leaves_out(self) -> None:
        result = call("run", "left.py", "--input", "customers=1")
        assert result.exit_code == 0 and result.stderr.count("Warning: node 'total'") == 1
        assert "Warning" not in call("run", "doubtful.py").stderr

    def test_show(self) -> None:
        result = call("show", "doubtful.py")
        assert result.exit_code == 0 and result.stderr.count("Warning: ") == 2 and "Warning" not in result.stdout

    def test_json_holds_them(self) -> None:
        result = call("show", "doubtful.py", "--format", "json")
        assert result.stderr == ""
        assert [w["kind"] for w in json.loads(result.stdout)["warnings"]] == ["name", "type"]
