"""Durable runs on the command line: how they are begun, listed, shown, gone on with and mended."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from conftest import DATA, ROOT

import flow
from flow.cli.commands import cli
from flow.cli.durable import VARIABLE
from flow.cli.runs import STATUSES
from flow.cli.stored import spelled
from flow.store import backend

JOB = """
import os
import flow

dag = flow.Dag("job")

def ran(name):
    with open("ran.txt", "a") as file:
        file.write(name + "\\n")

@dag.node
def load(x: int = 1):
    ran("load")
    return [x] * 3

dag.map("each", lambda v: v * 2, over="load")

@dag.node(retry=flow.Retry(2, delay=0.0))
def check(load):
    ran("check")
    if os.path.exists("bad"):
        raise ValueError("no luck")
    return sum(load)

@dag.node
def report(check):
    ran("report")
    return check + 1
"""

WAIT = """
import flow
dag = flow.Dag("gate")
dag.signal("approve")
@dag.node
def after(approve): return approve
"""

ASKS = """
import flow

dag = flow.Dag("asks")
usage = {"provider": "openai", "model": "mini", "requests": 1, "input_tokens": 1200, "output_tokens": 80, "cost": "0.1"}

@dag.node(retry=flow.Retry(2, delay=0.0))
def plan(ctx: flow.Context):
    ctx.report("score", 7)
    ctx.report("usage", usage)
    if ctx.attempt == 1:
        raise OSError("again")
    return [1, 2]

def each(x, ctx: flow.Context):
    ctx.report("usage", {**usage, "model": "large", "cached_tokens": 200, "cost": "0.2", "estimated": True})

dag.map("each", each, over="plan")

@dag.node
def last(each, ctx: flow.Context, free: bool = False):
    ctx.report("usage", {**usage, "model": "own", "cost": None} if not free else {"cached": True, "cost": "0"})
"""

ONE = "import flow\ndag = flow.Dag('one')\n@dag.node\ndef a(x=1): return x\n"


@pytest.fixture(autouse=True)
def _as_it_was(own_folder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    Path("job.py").write_text(JOB, encoding="utf-8")
    Path("wait.py").write_text(WAIT, encoding="utf-8")
    Path("asks.py").write_text(ASKS, encoding="utf-8")
    Path("one.py").write_text(ONE, encoding="utf-8")


def call(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def runs(command: str, *args: str) -> Result:
    return call("runs", command, *args, "--store", "runs.db")


def run(target: str, run_id: str, *args: str) -> Result:
    return call("run", target, "--store", "runs.db", "--run-id", run_id, *args)


def shown(run_id: str, *args: str) -> Any:
    result = runs("show", run_id, "--json", *args)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def status_of(run_id: str) -> str:
    return str(shown(run_id)["status"])


def ran() -> list[str]:
    return Path("ran.txt").read_text(encoding="utf-8").split()


def fails() -> None:
    """Run the job so that its node ``check`` fails."""
    Path("bad").touch()
    assert run("job.py", "m", "--input", "x=3").exit_code == 1
    Path("bad").unlink()


def rests() -> None:
    """Run the gate until it waits."""
    assert run("wait.py", "w", "--on-wait", "return").exit_code == 0


class TestRun:
    def test_the_same_command_gives_the_result_again(self) -> None:
        first = run("job.py", "m", "--input", "x=3")
        again = run("job.py", "m")
        assert (first.exit_code, again.exit_code) == (0, 0), first.output + again.output
        assert "  report = 10\n" in first.stdout and "  report = 10\n" in again.stdout
        assert ran() == ["load", "check", "report"]
        assert first.stderr == again.stderr == ""

    def test_an_id_that_is_made_is_told(self) -> None:
        result = call("run", "one.py", "--store", "runs.db")
        found = re.fullmatch(r"run ([\w-]{36}) is stored in runs\.db\n", result.stderr)
        assert found and status_of(found[1]) == "completed"

    def test_what_is_told_of_a_failed_run_goes_on_with_it(self) -> None:
        Path("bad").touch()
        result = run("job.py", "m", "--input", "x=3")
        assert result.exit_code == 1
        told = result.stderr.splitlines()[-1].partition("flow runs retry ")[2]
        assert told == "m job.py --store runs.db"
        Path("bad").unlink()
        assert call("runs", "retry", *shlex.split(told)).exit_code == 0
        assert ran() == ["load", "check", "check", "check", "report"]

    def test_a_stored_failure_says_what_it_was_and_where(self) -> None:
        fails()
        result = run("job.py", "m")
        assert result.exit_code == 1 and ran().count("check") == 2
        assert "ValueError: no luck  job.py:22" in result.stderr
        assert "StoredError" not in result.output

    def test_on_conflict(self) -> None:
        fails()
        refused = run("job.py", "m", "--on-conflict", "fail")
        assert refused.exit_code == 2
        assert "has a run 'm', and --on-conflict fail refuses that" in refused.stderr
        assert run("job.py", "m", "--on-conflict", "retry").exit_code == 0
        assert ran().count("load") == 1
        assert run("job.py", "m", "--on-conflict", "restart").exit_code == 0
        assert ran().count("load") == 2

    def test_other_inputs(self) -> None:
        run("one.py", "m", "--input", "x=1")
        result = run("one.py", "m", "--input", "x=2")
        assert result.exit_code == 2
        assert "input 'x' is another value" in result.stderr and "another --run-id" in result.stderr

    def test_another_dag(self) -> None:
        run("one.py", "m")
        result = run("job.py", "m")
        assert result.exit_code == 2 and "is one of dag 'one', not of 'job'" in result.stderr
        assert "--on-conflict restart to forget that run" in result.stderr

    @pytest.mark.filterwarnings("always::RuntimeWarning")
    def test_on_change(self) -> None:
        run("one.py", "m")
        Path("one.py").write_text(ONE.replace("return x", "return x + 1"), encoding="utf-8")
        kept = run("one.py", "m")
        assert "a = 1\n" in kept.stdout
        assert re.fullmatch(r"Warning: run 'm' of dag 'one': .* \(a\): .*; --on-change rerun runs .*\n", kept.stderr)
        rerun = run("one.py", "m", "--on-change", "rerun")
        assert "a = 2\n" in rerun.stdout, rerun.output
        assert rerun.stderr == ""

    def test_a_run_that_waits(self) -> None:
        result = run("wait.py", "w", "--on-wait", "return")
        assert result.exit_code == 0
        assert result.stdout.startswith("gate: waiting, 0 of 2 nodes completed")
        assert result.stderr == (
            "run w waits for approve: flow runs send w approve PAYLOAD --store runs.db\n"
            "it goes on by: flow runs resume w wait.py --store runs.db\n"
        )
        document = json.loads(run("wait.py", "w", "--on-wait", "return", "--json").stdout)
        assert document["stored"] == {"store": "runs.db", "status": "waiting", "waiting": ["approve"]}

    @pytest.mark.parametrize("how", ["sync", "async", "exit"])
    def test_durability(self, how: str) -> None:
        assert run("job.py", "m", "--durability", how).exit_code == 0
        assert [node["status"] for node in shown("m")["nodes"] if "item" not in node] == ["completed"] * 4

    @pytest.mark.parametrize(
        ("args", "flags"),
        [(("--run-id", "m"), "--run-id is"), (("--run-id", "m", "--on-wait", "return"), "--run-id, --on-wait are")],
    )
    def test_options_without_a_store(self, args: tuple[str, ...], flags: str) -> None:
        result = call("run", "one.py", *args)
        assert result.exit_code == 2
        assert f"{flags} for durable runs: say --store FILE, or set FLOW_STORE" in result.stderr

    def test_the_store_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(VARIABLE, "runs.db")
        assert call("run", "one.py").exit_code == 0
        assert not Path("runs.db").exists()  # a run that is not meant to be durable
        assert call("run", "one.py", "--run-id", "m").exit_code == 0
        assert "m    one  completed" in call("runs", "list").stdout

    def test_a_trace_is_not_stored(self) -> None:
        result = call("run", str(DATA / "helloworld-chain-5-chameleon.json"), "--store", "runs.db")
        assert result.exit_code == 2 and "--store is not for traces" in result.stderr
        assert not Path("runs.db").exists()

    def test_a_faulty_target_makes_no_store(self) -> None:
        assert run("job.py:no", "m").exit_code == 2
        assert not Path("runs.db").exists()


class TestLook:
    def test_list(self) -> None:
        fails()
        rests()
        run("one.py", "n")
        lines = runs("list").stdout.splitlines()
        assert [line.split()[:3] for line in lines[1:]] == [
            ["n", "one", "completed"], ["w", "gate", "waiting"], ["m", "job", "failed"]
        ]  # fmt: skip
        assert lines[3].endswith("ValueError: no luck") and "2/4" in lines[3]
        assert [line.split()[0] for line in runs("list", "--status", "failed").stdout.splitlines()[1:]] == ["m"]
        assert "  n " not in runs("list", "--status", "failed", "--status", "waiting").stdout
        assert runs("list", "--dag", "gate").stdout.count("\n") == 2
        limited = runs("list", "--limit", "1").stdout
        assert limited.count("\n") == 3 and "older ones" in limited

    def test_list_as_json(self) -> None:
        fails()
        row = json.loads(runs("list", "--json").stdout)["runs"][0]
        assert (row["id"], row["dag"], row["status"], row["driven"]) == ("m", "job", "failed", False)
        assert row["counts"] == {"completed": 2, "failed": 1, "skipped": 1}
        assert row["error"] == "check: ValueError: no luck"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", row["created"])

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0.002, "2.00 ms"), (119.5, "119.50 s"), (125, "2 min 5 s"), (7_260, "2 h 1 min"), (270_000, "3 d 3 h")],
    )
    def test_long_times(self, seconds: float, text: str) -> None:
        assert spelled(seconds) == text

    def test_nothing_to_list(self) -> None:
        run("one.py", "n")
        result = runs("list", "--status", "failed")
        assert (result.exit_code, result.stdout, result.stderr) == (0, "", "there is no such run in runs.db\n")

    def test_statuses_are_those_of_the_store(self) -> None:
        assert STATUSES == backend.STATUSES

    def test_show(self) -> None:
        fails()
        result = runs("show", "m")
        assert result.exit_code == 0
        lines = result.stdout.splitlines()
        assert lines[0] == "run m of job: failed"
        assert "  error: check: ValueError: no luck" in lines and "  inputs: x" in lines
        table = [line.split()[:3] for line in lines if re.match(r"  (load|each|check|report) ", line)]
        assert sorted(table) == [["check", "failed", "2"], ["each", "completed,", "3"], ["load", "completed", "1"],
                                 ["report", "skipped"] + table[-1][2:]]  # fmt: skip
        assert [row[0] for row in table if row[0] in ("load", "check", "report")] == ["load", "check", "report"]
        assert "    ValueError: no luck at job.py:22" in lines
        told = [re.sub(r"^ *\+[\d.]+ \w+  ", "", line) for line in lines[lines.index("timeline:") + 1 :]]
        assert told[0] == "the run was begun" and told[-1] == "the run has ended: failed"
        assert "check: attempt 1 failed: ValueError: no luck" in told
        assert "each[0]: completed" not in told and "each[0]: completed" in runs("show", "m", "--all").stdout

    def test_values_only_if_asked_for(self) -> None:
        fails()
        assert "[6, 6, 6]" not in runs("show", "m").stdout
        assert "[6, 6, 6]" in runs("show", "m", "--values").stdout
        assert "inputs: x = 3" in runs("show", "m", "--values").stdout
        assert all("output" not in node for node in shown("m")["nodes"])
        assert shown("m")["inputs"] == {"x": {"stored": True}}
        nodes = {node["name"]: node for node in shown("m", "--values")["nodes"] if "item" not in node}
        assert nodes["load"]["output"] == [3, 3, 3] and nodes["load"]["size"] > 3
        assert shown("m", "--values")["inputs"] == {"x": {"stored": True, "value": 3}}

    def test_show_as_json(self) -> None:
        fails()
        document = shown("m")
        check = next(node for node in document["nodes"] if node["name"] == "check")
        assert check["status"] == "failed" and check["attempt"] == 2 and check["error"] == "ValueError: no luck"
        assert 'raise ValueError("no luck")' in check["traceback"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", check["ended"])
        assert [node["item"] for node in document["nodes"] if "item" in node] == [0, 1, 2]
        assert document["timeline"][0]["what"] == "the run was begun"

    def test_what_is_asked_where_it_waits(self) -> None:
        text = """
import flow

dag = flow.Dag("asks")

@dag.node
def draft(ctx: flow.Context) -> int:
    ctx.report("question", {"address": "approve", "text": "publish 1.2?"})
    return 1

dag.signal("approve", type=bool, after="draft")
"""
        Path("asks.py").write_text(text, encoding="utf-8")
        run("asks.py", "q", "--on-wait", "return")
        assert "  waits for approve\n    question: {'text': 'publish 1.2?'}\n" in runs("show", "q").stdout
        assert shown("q")["waits"] == [{"address": "approve", "question": {"text": "publish 1.2?"}}]

    def test_what_it_waits_for(self) -> None:
        rests()
        assert "  waits for approve\n" in runs("show", "w").stdout
        assert [(node["name"], node["status"]) for node in shown("w")["nodes"]] == [
            ("approve", "waiting"), ("after", "pending")
        ]  # fmt: skip
        runs("send", "w", "approve", "1")
        assert shown("w")["waits"] == [{"address": "approve", "sent": True}]

    def test_a_large_output_is_in_a_file(self) -> None:
        Path("big.py").write_text(
            "import flow\ndag = flow.Dag('big')\ndag.add('a', lambda: 'y' * 400_000)\n", encoding="utf-8"
        )
        run("big.py", "b")
        assert "in a file" in runs("show", "b").stdout
        node = shown("b", "--values")["nodes"][0]
        assert len(node["file"]) == 40 and "size" not in node and node["output"] == "y" * 400_000

    def test_a_fallback(self) -> None:
        text = "import flow\ndag = flow.Dag('f')\ndag.add('a', lambda: 1 / 0, fallback=5)\n"
        Path("fall.py").write_text(text, encoding="utf-8")
        run("fall.py", "f")
        stdout = runs("show", "f").stdout
        assert "completed, fallback" in stdout and "ZeroDivisionError" in stdout

    def test_nested_runs(self) -> None:
        text = (
            "import flow\ninner = flow.Dag('inner')\ninner.add('one', lambda: 1)\ninner.signal('ask', after=['one'])\n"
            "dag = flow.Dag('outer')\ndag.add('box', inner)\n"
        )
        Path("nest.py").write_text(text, encoding="utf-8")
        run("nest.py", "n", "--on-wait", "return")
        places = ["/".join([*node["path"], node["name"]]) for node in shown("n")["nodes"]]
        assert places == ["box/one", "box/ask", "box"]
        assert shown("n")["waits"] == [{"address": "box.ask"}]
        assert runs("send", "n", "box.ask", "true").exit_code == 0
        assert runs("resume", "n", "nest.py").exit_code == 0

    def test_nodes_stand_in_the_order_of_their_ends(self) -> None:
        text = (
            "import flow\ninner = flow.Dag('inner')\ninner.add('one', lambda: 1)\n"
            "dag = flow.Dag('outer')\ndag.add('a', lambda: 1)\ndag.add('box', inner, after=['a'])\n"
            "dag.add('b', lambda: 2, after=['box'])\n"
        )
        Path("nest.py").write_text(text, encoding="utf-8")
        run("nest.py", "n")
        places = ["/".join([*node["path"], node["name"]]) for node in shown("n")["nodes"]]
        assert places == ["a", "box/one", "box", "b"]

    def test_a_picture(self) -> None:
        fails()
        assert runs("show", "m", "--svg", "m.svg").exit_code == 0
        text = Path("m.svg").read_text(encoding="utf-8")
        assert "4 nodes, 3 edges: 2 completed, 1 failed, 1 skipped" in text
        refused = runs("show", "m", "--svg", "m.png")
        assert refused.exit_code == 2 and "must end in .svg" in refused.stderr


class TestMend:
    def test_send_and_resume(self) -> None:
        rests()
        sent = runs("send", "w", "approve", '{"by": "Ada"}')
        assert sent.stdout == "sent to approve of run w; the run goes on by: flow runs resume w TARGET\n"
        again = runs("send", "w", "approve", "x")
        assert again.exit_code == 1 and "has been sent before" in again.stderr
        result = runs("resume", "w", "wait.py")
        assert result.exit_code == 0 and "after = {'by': 'Ada'}" in result.stdout
        over = runs("send", "w", "approve", "x")
        assert over.exit_code == 1 and "has ended (completed)" in over.stderr

    @pytest.mark.parametrize(("payload", "value"), [("yes", "yes"), ("3", 3), ("[1]", [1]), ('"3"', "3"), ("{", "{")])
    def test_a_payload_is_json_else_text(self, payload: str, value: object) -> None:
        rests()
        assert runs("send", "w", "approve", payload).exit_code == 0
        assert f"after = {value!r}\n" in runs("resume", "w", "wait.py").stdout

    def test_a_node_that_is_not_there(self) -> None:
        rests()
        result = runs("send", "w", "aprove", "1")
        assert result.exit_code == 2 and "run w has no node 'aprove' (did you mean 'approve'?)" in result.stderr
        assert shown("w")["waits"] == [{"address": "approve"}]

    def test_retry(self) -> None:
        fails()
        assert runs("retry", "m", "job.py").exit_code == 0
        assert ran() == ["load", "check", "check", "check", "report"]
        assert "to run again: check, report" in runs("show", "m").stdout
        done = runs("retry", "m", "job.py")
        assert done.exit_code == 0 and len(ran()) == 5  # there is nothing to run again

    def test_retry_from_a_node(self) -> None:
        run("job.py", "m")
        assert runs("retry", "m", "job.py", "--from", "check").exit_code == 0
        assert ran() == ["load", "check", "report", "check", "report"]
        wrong = runs("retry", "m", "job.py", "--from", "chek", "--fork", "n")
        assert wrong.exit_code == 2 and "has no node 'chek' (did you mean 'check'?)" in wrong.stderr
        assert runs("show", "n").exit_code == 2

    def test_retry_of_a_copy(self) -> None:
        fails()
        assert runs("retry", "m", "job.py", "--fork", "copy").exit_code == 0
        assert (status_of("m"), status_of("copy")) == ("failed", "completed")
        assert ran().count("load") == 1
        taken = runs("retry", "m", "job.py", "--fork", "copy")
        assert taken.exit_code == 2 and "has a run 'copy' already" in taken.stderr

    def test_retry_without_running(self) -> None:
        fails()
        result = runs("retry", "m", "job.py", "--no-run")
        assert (result.exit_code, result.stdout) == (0, "m: 2 nodes to run again\n")
        assert ran() == ["load", "check", "check"] and status_of("m") == "running"
        assert "running, no process" in runs("list").stdout
        assert runs("resume", "m", "job.py").exit_code == 0
        assert ran() == ["load", "check", "check", "check", "report"]

    def test_retry_of_another_dag(self) -> None:
        fails()
        result = runs("retry", "m", "one.py", "--fork", "n")
        assert result.exit_code == 2 and "is one of dag 'job', not of 'one'" in result.stderr
        assert runs("show", "n").exit_code == 2

    def test_cancel(self) -> None:
        rests()
        assert runs("cancel", "w").stdout == "w: cancelled\n"
        assert runs("cancel", "w").stdout == "w: cancelled already\n"
        assert status_of("w") == "cancelled" and shown("w")["waits"] == []
        assert shown("w")["timeline"][-1]["what"] == "the run has ended: cancelled"
        assert [node["status"] for node in shown("w")["nodes"]] == ["cancelled", "cancelled"]

    def test_delete(self) -> None:
        run("one.py", "a")
        run("one.py", "b")
        missing = runs("delete", "a", "c")
        assert missing.exit_code == 2 and "has no run 'c'" in missing.stderr
        assert runs("delete", "a", "b").stdout == "deleted: 2 runs\n"
        assert runs("list").stderr == "there is no run in runs.db\n"

    def test_gc(self) -> None:
        run("one.py", "a")
        rests()
        assert runs("gc", "--older-than", "1h").stdout == "deleted: 0 runs\n"
        assert runs("gc", "--older-than", "0s", "--status", "failed").stdout == "deleted: 0 runs\n"
        assert runs("gc", "--older-than", "0s").stdout == "deleted: 1 run\n"
        assert status_of("w") == "waiting"

    @pytest.mark.parametrize("age", ["30", "d", "-1d", "1y", "nand", "9" * 400 + "d"])
    def test_an_age_that_is_none(self, age: str) -> None:
        run("one.py", "a")
        result = runs("gc", "--older-than", age)
        assert result.exit_code == 2 and "is no time: write it as in 30d" in result.stderr
        assert status_of("a") == "completed"

    def test_recover(self) -> None:
        fails()
        rests()
        assert runs("retry", "m", "job.py", "--no-run").exit_code == 0
        none = runs("recover", "wait.py")
        assert (none.exit_code, none.stdout, none.stderr) == (0, "", "there is nothing to go on with\n")
        runs("send", "w", "approve", "1")
        result = runs("recover", "wait.py", "job.py", "--json")
        assert result.exit_code == 0, result.output
        assert [(row["id"], row["status"]) for row in json.loads(result.stdout)["runs"]] == [
            ("w", "completed"), ("m", "completed")
        ]  # fmt: skip

    def test_recover_tells_what_fails(self) -> None:
        fails()
        runs("retry", "m", "job.py", "--no-run")
        Path("bad").touch()
        result = runs("recover", "job.py")
        assert result.exit_code == 1
        assert result.stdout.splitlines()[1].split()[:3] == ["m", "job", "failed"]
        assert "no luck" in result.stdout
        twice = runs("recover", "job.py", "job.py:dag")
        assert twice.exit_code == 2 and "is called 'job', as another TARGET is" in twice.stderr


class TestHostile:
    IDS = ("../x", "a\0b", "x" * 10_000, "'", '"; drop table run; --', "", "a/b", "\x1b[31m", "..")

    @pytest.mark.parametrize("run_id", IDS)
    def test_ids(self, run_id: str) -> None:
        run("one.py", "m")
        commands = [["show"], ["cancel"], ["delete"], ["resume"], ["retry"], ["send"]]
        for command in commands:
            rest = {"resume": ["one.py"], "retry": ["one.py"], "send": ["a", "1"]}.get(command[0], [])
            result = call("runs", *command, "--store", "runs.db", "--", run_id, *rest)
            assert result.exit_code == 2, result.output
            assert "has no run" in result.stderr and "Traceback" not in result.output
            assert len(result.output) < 1_000 and "\x1b" not in result.output and "\0" not in result.output
        begun = run("one.py", run_id)
        assert begun.exit_code == 2 and "a name is 1 to 255 characters" in begun.stderr
        forked = runs("retry", "m", "one.py", "--fork", run_id)
        assert forked.exit_code == 2 and "a name is 1 to 255 characters" in forked.stderr
        assert json.loads(runs("list", "--json").stdout)["runs"][0]["id"] == "m"

    @pytest.mark.parametrize(
        "args",
        [
            ("list",), ("show", "m"), ("cancel", "m"), ("delete", "m"), ("send", "m", "a", "1"),
            ("resume", "m", "one.py"), ("retry", "m", "one.py"), ("recover", "one.py"), ("gc", "--older-than", "1d"),
        ],
    )  # fmt: skip
    def test_a_store_that_is_not_there(self, args: tuple[str, ...]) -> None:
        Path("rums.db").touch()
        result = runs(*args)
        assert result.exit_code == 2 and "there is no store 'runs.db' (did you mean 'rums.db'?)" in result.stderr
        assert not list(Path().glob("runs.db*"))

    @pytest.mark.parametrize("path", ["a\0b", ".", "no/such.db", "", "one.py"])
    def test_a_store_that_is_none(self, path: str) -> None:
        for result in (call("runs", "list", "--store", path), call("run", "one.py", "--run-id", "m", "--store", path)):
            assert result.exit_code in (1, 2) and "Traceback" not in result.output
            assert result.stderr.count("Error") == 1, result.output
        assert Path("one.py").read_text(encoding="utf-8") == ONE

    def test_no_store_is_named(self) -> None:
        result = call("runs", "list")
        assert result.exit_code == 2 and "--store" in result.stderr and VARIABLE in result.stderr

    def test_a_damaged_row(self) -> None:
        fails()
        with sqlite3.connect("runs.db") as sql:
            sql.execute("UPDATE journal SET segment = zeroblob(40)")
        sql.close()
        result = runs("show", "m")
        assert result.exit_code == 1 and "journal of run 'm'" in result.stderr and "Traceback" not in result.output

    def test_errors_of_others_do_not_reach_the_terminal(self) -> None:
        text = "import flow\ndag = flow.Dag('e')\n@dag.node\ndef a(): raise ValueError('\\x1b[2J\\nsecond')\n"
        Path("esc.py").write_text(text, encoding="utf-8")
        run("esc.py", "e")
        for result in (runs("list"), runs("show", "e", "--all"), runs("show", "e", "--json"), run("esc.py", "e")):
            assert "\x1b" not in result.output
            assert r"\x1b[2J" in result.output or r"\u001b[2J" in result.output

    def test_an_interrupted_node(self) -> None:
        file = "import flow\ndag = flow.Dag('s')\n@dag.node\ndef a(): raise {}\n"
        Path("stop.py").write_text(file.format("KeyboardInterrupt"), encoding="utf-8")
        result = run("stop.py", "s")
        assert result.exit_code == 130
        assert "run s is stored, and goes on by: flow runs resume s stop.py --store runs.db" in result.stderr
        Path("quit.py").write_text(file.format("SystemExit(0)"), encoding="utf-8")
        result = run("quit.py", "q")
        assert result.exit_code == 1 and "flow runs resume q quit.py" in result.stderr


SECRET = """\
flow: 1
inputs:
  token: {type: string, secret: true}
  n: {type: integer, default: 1}
nodes:
  use: {call: "steps:use", with: {token: "{{ inputs.token }}"}}
  size: {call: "steps:size", with: {use: "{{ use }}", n: "{{ inputs.n }}"}}
"""
STEPS = """
__all__ = ["use", "size"]
import os
def use(token):
    return {"header": "Bearer " + token}
def size(use, n):
    if os.path.exists("bad"):
        raise ValueError("refused: " + use["header"])
    return len(use["header"]) + n
"""


class TestSecrets:
    def test_no_secret_is_stored(self) -> None:
        pytest.importorskip("yaml")
        Path("secret.yaml").write_text(SECRET, encoding="utf-8")
        Path("steps.py").write_text(STEPS, encoding="utf-8")
        Path("bad").touch()
        base = ("secret.yaml", "s", "--allow", "steps:*")
        flow.store.open("runs.db").close()
        reader = sqlite3.connect("runs.db", isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM run").fetchall()  # as long as this reads, SQLite leaves its log
        failed = run(*base, "--input", "token=hunter22hunter")
        stored = {path.name: path.read_bytes() for path in Path().rglob("runs.db*") if path.is_file()}
        reader.close()
        assert failed.exit_code == 1 and "ValueError" in failed.stderr
        assert "runs.db" in stored and b"refused" in stored["runs.db-wal"]
        assert not [name for name, data in stored.items() if b"hunter22hunter" in data]
        for result in (failed, runs("show", "s", "--values"), runs("show", "s", "--values", "--json"), runs("list")):
            assert "hunter22hunter" not in result.output
        assert "token = (not stored)" in runs("show", "s", "--values").stdout
        Path("bad").unlink()
        without = runs("retry", "s", "secret.yaml", "--allow", "steps:*")
        assert without.exit_code == 2
        assert "'token'" in without.stderr and "must be given again" in without.stderr
        assert "by --input or --input-env" in without.stderr
        given = runs("retry", "s", "secret.yaml", "--allow", "steps:*", "--input", "token=hunter22hunter")
        assert given.exit_code == 0, given.output


SLOW = """
import os, time
import flow

dag = flow.Dag("slow")

def ran(name):
    with open("ran.txt", "a") as file:
        file.write(name + "\\n")

@dag.node
def first():
    ran("first")
    return 20

@dag.node
def second(first):
    ran("second")
    if not os.path.exists("go"):
        open("begun", "w").close()
        time.sleep(60)
    return first + 1

@dag.node
def third(second):
    ran("third")
    return second + 1
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no kill -9")
class TestKilled:
    def spawn(self, *args: str) -> subprocess.Popen[str]:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error,ignore:node:RuntimeWarning"}
        command = [sys.executable, "-m", "flow", *args, "--store", "runs.db"]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)

    def done(self, *args: str) -> str:
        process = self.spawn(*args)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        return out

    def test_a_killed_run_goes_on(self) -> None:
        Path("slow.py").write_text(SLOW, encoding="utf-8")
        process = self.spawn("run", "slow.py", "--run-id", "k")
        until = time.monotonic() + 30
        while not (Path("begun").exists() and '"first"' in runs("show", "k", "--json").stdout):
            assert process.poll() is None and time.monotonic() < until, process.communicate()
            time.sleep(0.05)
        driven = self.done("runs", "list")
        assert "running" in driven and "no process" not in driven
        owned = self.spawn("runs", "resume", "k", "slow.py")
        assert "is being driven by process" in owned.communicate(timeout=60)[1] and owned.returncode == 1
        while shown("k")["nodes"][0]["status"] != "completed":
            assert time.monotonic() < until
            time.sleep(0.05)
        process.kill()
        process.communicate()
        assert "k    slow  running, no process" in self.done("runs", "list")
        assert [node["status"] for node in shown("k")["nodes"]] == ["completed", "pending", "pending"]
        Path("go").touch()
        assert "third = 22\n" in self.done("runs", "resume", "k", "slow.py")
        assert ran() == ["first", "second", "second", "third"]
        assert status_of("k") == "completed"

    def test_a_run_in_another_process_is_cancelled(self) -> None:
        process = self.spawn("run", "wait.py", "--run-id", "w")
        until = time.monotonic() + 30
        while not Path("runs.db").exists() or "waits for approve" not in runs("show", "w").stdout:
            assert process.poll() is None and time.monotonic() < until, process.communicate()
            time.sleep(0.05)
        assert "has been asked to end it" in runs("cancel", "w").stdout
        _, err = process.communicate(timeout=30)
        assert process.returncode == 1
        assert "it was cancelled, and goes on by: flow runs retry w wait.py" in err
        assert status_of("w") == "cancelled"


def commands() -> list[tuple[str, click.Command]]:
    group = cli.commands["runs"]
    assert isinstance(group, click.Group)
    return [(f"flow runs {name}", command) for name, command in group.commands.items()]


def test_every_command_and_option_is_documented() -> None:
    page = (ROOT / "docs" / "cli.md").read_text("utf-8")
    missing = [name for name, _ in commands() if name not in page]
    options = {o for _, command in commands() for p in command.params for o in (*p.opts, *p.secondary_opts)}
    missing += sorted(o for o in options if o.startswith("--") and f"`{o}" not in page and f"/ {o}`" not in page)
    assert not missing


MEASURED = re.compile(r"\+?[\d.]+ (?:us|ms|s)\b|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")


def plain(text: str) -> list[str]:
    """Lines without what differs from run to run: times, and how wide columns of times are."""
    return [" ".join(MEASURED.sub("(time)", line).split()) for line in text.splitlines()]


def test_the_page_shows_what_happens() -> None:
    pytest.importorskip("yaml")
    page = (ROOT / "docs" / "cli.md").read_text("utf-8").partition("## Durable runs")[2].partition("## flow tune")[0]
    file, *shown_ones = re.findall(r"^```(?:yaml|text)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    Path("release.yaml").write_text(f"flow: 1\n{file}", encoding="utf-8")
    for part in [part for block in shown_ones for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]:
        command, _, output = part.partition("\n")
        result = call(*shlex.split(command)[1:])
        assert plain(result.stdout + result.stderr) == plain(output), command


def test_help_imports_no_store() -> None:
    code = (
        "import sys; from flow.cli.commands import cli; cli.main(['runs', 'list', '--help'], standalone_mode=False); "
        "assert not [m for m in sys.modules if m.startswith('flow.store') or m == 'sqlite3'], 'imported'"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, timeout=60)
    assert flow.__version__


class TestLanguageModels:
    def test_what_they_took_is_shown_by_node_and_model(self) -> None:
        assert run("asks.py", "r").exit_code == 0
        shown_lines = runs("show", "r").stdout.splitlines()
        start = next(k for k, line in enumerate(shown_lines) if line.startswith("language models"))
        assert shown_lines[start] == "language models: 5 requests, 6,000 tokens in, 400 out, over 0.6 USD"
        table = [re.split(r"  +", line.strip()) for line in shown_lines[start + 1 : start + 5]]
        assert table == [
            ["node", "model", "requests", "tokens in", "tokens out", "cost (USD)"],
            ["each", "openai:large", "2", "~2,400 (400 cached)", "~160", "~0.4"],
            ["plan", "openai:mini", "2", "2,400", "160", "0.2"],
            ["last", "openai:own", "1", "1,200", "80", "not known"],
        ]

    def test_answers_from_a_cache_have_a_column(self) -> None:
        assert run("asks.py", "r", "--input", "free=true").exit_code == 0
        out = runs("show", "r").stdout
        assert "from a cache" in out and "4 requests, 4,800 tokens in, 320 out, 0.6 USD" in out

    def test_json_has_it_by_node(self) -> None:
        assert run("asks.py", "r").exit_code == 0
        found = shown("r")["usage"]
        assert list(found["by_node"]) == ["plan", "each", "last"]
        assert found["total"] == {
            "requests": 5, "input_tokens": 6000, "output_tokens": 400, "cached_tokens": 400, "reasoning_tokens": 0,
            "cost": None, "known_cost": "0.6", "estimated": True, "cache_hits": 0,
        }  # fmt: skip

    def test_a_run_that_has_asked_none_says_nothing_of_it(self) -> None:
        assert run("one.py", "r").exit_code == 0
        assert "language" not in runs("show", "r").stdout and "usage" not in shown("r")
