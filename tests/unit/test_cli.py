"""The command line: exit codes, what stands on stdout and stderr, and no traceback for a user's mistake."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from conftest import DATA, ROOT

import flow
from flow.cli import main
from flow.cli.commands import cli
from flow.cli.replay import workers_of

CHAIN = str(DATA / "helloworld-chain-5-chameleon.json")
BLAST = str(DATA / "blast-chameleon-large-001.json")

GOOD = """
import flow

dag = flow.Dag("report")

@dag.node
def users() -> list[int]:
    print("working")
    return [1, 2, 3]

@dag.node
async def total(users, factor=1):
    return sum(users) * factor

@dag.node
def unread(users):
    return None

def build():
    return dag

def needy(x):
    return dag

async def later():
    return dag

number = 7
plan = dag.compile()

class Holder:
    inner = dag
"""

BAD = """import json
import flow

dag = flow.Dag("bad")

@dag.node
def fine(): return 1

@dag.node(retry=flow.Retry(2, delay=0.0))
def broken(fine):
    return json.loads("{")

@dag.node
def after(broken): ...

@dag.node(continue_on_error=True)
def tolerated():
    raise OSError("two\\nlines")
"""

@pytest.fixture(autouse=True)
def _as_it_was(own_folder: None) -> None:
    """Before what classes set up: they write the files."""


def write(name: str, text: str) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return name


def call(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


BUSY_MACHINE = "ignore:node:RuntimeWarning"
"""That a node held the event loop says only how busy the machine is, as in pyproject.toml."""


def spawn(*args: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": f"error,{BUSY_MACHINE}"}
    command = [sys.executable, "-m", "flow", *args]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)


class TestRun:
    @pytest.mark.parametrize(
        "target",
        ["good.py", "good.py:dag", "good.py:build", "good.py:plan", "good.py:Holder.inner", "good", "good:dag"],
    )
    def test_targets(self, target: str) -> None:
        write("good.py", GOOD)
        result = call("run", target)
        assert result.exit_code == 0, result.stderr
        assert "report: ok, 3 of 3 nodes completed in " in result.stdout
        assert "  total = 6\n" in result.stdout
        assert "unread" not in result.stdout
        assert result.stderr == ""

    def test_json_has_stdout_for_itself(self) -> None:
        write("good.py", GOOD)
        result = call("run", "good.py", "--json")
        document = json.loads(result.stdout)
        assert document["ok"] is True
        assert document["counts"] == {"completed": 3}
        assert document["nodes"]["total"] == {"status": "completed", "output": 6}
        assert result.stderr == "working\n"

    def test_maps(self) -> None:
        text = """
import flow
dag = flow.Dag("m")
@dag.node
def xs(): return [1, 2, 0]
def invert(x): return 1 / x
dag.map("some", invert, over="xs", on_error="collect")
dag.map("all", invert, over="xs")
dag.map("threads", invert, over="xs", thread=True)
dag.add("thread", lambda: 1, thread=True)
"""
        file = write("maps.py", text)
        result = call("run", file)
        assert "  some = 2 of 3 items completed, 1 failed\n" in result.stdout
        assert "ZeroDivisionError: division by zero (item 2 (0))  maps.py:6" in result.stderr
        nodes = json.loads(call("run", file, "--json").stdout)["nodes"]
        assert nodes["some"]["output"] == {
            "completed": 2, "failed": 1, "values": [1.0, 0.5], "errors": {"2": "ZeroDivisionError: division by zero"},
        }  # fmt: skip
        rows = [line.split() for line in call("show", file).stdout.splitlines()]
        assert ["1", "all", "map,", "sync", "xs"] in rows and ["1", "threads", "map,", "thread", "xs"] in rows
        assert ["0", "thread", "thread"] in rows

    def test_outputs_that_json_cannot_hold(self) -> None:
        text = """
import flow
dag = flow.Dag("odd")
def out(name, value):
    dag.add(name, lambda: value)
loop = []; loop.append(loop)
class Bad:
    def __repr__(self): raise RuntimeError
class Good:
    def __repr__(self): return "Good\\x1b[2J"
out("nan", float("nan")); out("tuple_keys", {(1, 2): 3}); out("loop", loop); out("surrogate", "\\ud800")
out("bad", Bad()); out("good", [Good()]); out("long", object.__new__(type("X", (), {"__repr__": lambda s: "y" * 999})))
out("ints", {1: 2}); out("big", 2 ** 80)
"""
        nodes = json.loads(call("run", write("odd.py", text), "--json").stdout)["nodes"]
        outputs = {name: node["output"] for name, node in nodes.items()}
        assert outputs["nan"] is None
        assert outputs["tuple_keys"] == {"(1, 2)": 3}
        assert outputs["loop"] == "[[...]]"
        assert outputs["bad"] == "<Bad without a usable repr>"
        assert outputs["good"] == ["Good\\x1b[2J"]
        assert outputs["long"] == "y" * 97 + "..."
        assert outputs["ints"] == {"1": 2}
        assert outputs["surrogate"] == "'\\ud800'"
        text_output = call("run", "odd.py").stdout
        assert "\x1b" not in text_output
        assert "  good = [Good\\x1b[2J]\n" in text_output

    def test_inputs(self) -> None:
        write("good.py", GOOD)
        write("in.json", '{"factor": 10}')
        assert "total = 60\n" in call("run", "good.py", "--inputs", "in.json").stdout
        assert "total = 12\n" in call("run", "good.py", "--inputs", "in.json", "--input", "factor=2").stdout
        echo = "import flow\ndag = flow.Dag()\n@dag.node\ndef echo(x, y): return [x, y]\n"
        assert (
            "echo = ['plain', {'a': 1}]\n"
            in call("run", write("echo_.py", echo), "--input", "x=plain", "--input", 'y={"a": 1}').stdout
        )

    def test_target_option_runs_only_what_it_needs(self) -> None:
        write("good.py", GOOD)
        result = call("run", "good.py", "--target", "users")
        assert "report: ok, 1 of 1 node completed" in result.stdout
        assert "users = [1, 2, 3]" in result.stdout

    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    @pytest.mark.parametrize(
        "options", [["--mode", "inline"], ["--mode", "workers", "--limit", "1"], ["--executor", "thread"]]
    )
    def test_modes(self, backend: str, options: list[str]) -> None:
        write("good.py", GOOD)
        result = call("run", "good.py", "--backend", backend, "--order", "critical_path", *options)
        assert (result.exit_code, "total = 6\n" in result.stdout) == (0, True), result.stderr

    def test_siblings_are_found_from_another_folder(self) -> None:
        write("deep/flow_helper_of_test.py", "value = 41\n")
        write(
            "deep/json.py",
            "import flow, flow_helper_of_test as h\ndag = flow.Dag()\n@dag.node\ndef x(): return h.value + 1\n",
        )
        result = spawn("run", "deep/json.py", "--json")
        assert json.loads(result.stdout)["nodes"]["x"]["output"] == 42

    @pytest.mark.parametrize("suffix", [".svg", ".html", ".mmd", ".md"])
    def test_timeline(self, suffix: str) -> None:
        write("good.py", GOOD)
        assert call("run", "good.py", "--timeline", f"out{suffix}").exit_code == 0
        text = Path(f"out{suffix}").read_text(encoding="utf-8")
        if suffix == ".html":
            assert text.startswith("<!doctype html>") and "<title>report</title>" in text and "<svg" in text
        elif suffix == ".md":
            assert text.startswith("```mermaid\ngantt\n") and text.endswith("\n```\n")
        elif suffix == ".svg":
            assert ElementTree.fromstring(text).attrib["viewBox"].startswith("0 0 600 ")
        else:
            assert text.startswith("gantt\n    title report\n")

    def test_many_sinks_are_cut(self) -> None:
        text = "import flow\ndag = flow.Dag()\nfor i in range(25): dag.add(f'n{i}', lambda: 1)\n"
        assert "  ... and 15 more outputs (--all or --json prints them)\n" in call("run", write("many.py", text)).stdout
        assert "  n24 = 1\n" in call("run", "many.py", "--all").stdout

    def test_progress_can_be_forced_off_a_terminal_without_harm(self) -> None:
        write("good.py", GOOD)
        assert call("run", "good.py", "--progress").exit_code == 0


class TestFailure:
    def test_failed_nodes_are_named_with_the_users_line(self) -> None:
        result = call("run", write("bad.py", BAD), "--on-error", "collect")
        assert result.exit_code == 1
        assert "bad: FAILED, 1 of 4 nodes completed, 2 failed, 1 skipped, 1 retried in " in result.stdout
        table = [line.split(maxsplit=1) for line in result.stderr.splitlines()[1:4]]
        assert result.stderr.startswith("2 nodes failed:\n")
        assert result.stderr.endswith(
            "1 node did not run:\n  node 'after' was skipped: node 'broken' failed\n"
        )
        assert [row[0] for row in table] == ["node", "broken", "tolerated"]
        assert table[1][1].startswith("JSONDecodeError: Expecting property name")
        assert table[1][1].endswith("  bad.py:11 (attempt 2)")
        assert table[2][1].startswith("OSError: two  ")
        assert table[2][1].endswith("  bad.py:18")

    def test_fail_fast_prints_json_too(self) -> None:
        result = call("run", write("bad.py", BAD), "--json", "--mode", "inline")
        assert result.exit_code == 1
        document = json.loads(result.stdout)
        assert document["ok"] is False
        assert document["nodes"]["broken"]["status"] == "failed"
        assert "bad.py:11" in result.stderr

    def test_debug_shows_the_traceback(self) -> None:
        write("bad.py", BAD)
        assert "Traceback" not in call("run", "bad.py").stderr
        assert 'return json.loads("{")' in call("run", "bad.py", "--debug").stderr

    def test_fallbacks_are_told_and_are_no_failure(self) -> None:
        text = (
            "import flow\ndag = flow.Dag('f')\n@dag.node(fallback=1)\ndef price():\n    raise OSError('down')\n"
            "dag.add('items', lambda: [0, 1, 0])\n"
            "dag.map('inverse', lambda item: 1 / item, over='items', fallback=None)\n"
        )
        result = call("run", write("fell.py", text))
        assert (result.exit_code, "f: ok, 3 of 3 nodes completed, 2 by fallback in " in result.stdout) == (0, True)
        assert result.stderr.split() == (
            "2 fallbacks taken: node fallback after at price OSError: down fell.py:5 "
            "inverse ZeroDivisionError: division by zero (item 0 (0)) and 1 more fell.py:7"
        ).split()
        assert "raise OSError('down')" in call("run", "fell.py", "--debug").stderr
        nodes = json.loads(call("run", "fell.py", "--json").stdout)["nodes"]
        assert (nodes["price"]["fallback"], nodes["price"]["output"]) == ("OSError: down", 1)
        assert sorted(nodes["inverse"]["fallback"]) == ["0", "2"]
        assert "  0      price    sync, fallback" in call("show", "fell.py").stdout
        shown = json.loads(call("show", "fell.py", "--format", "json").stdout)["nodes"]
        assert [node.get("fallback") for node in shown] == ["1", None, "None"]

    def test_items_that_failed_are_told(self) -> None:
        text = (
            "import flow\ndag = flow.Dag('i')\ndag.add('rows', lambda: [0, 1, 0])\n"
            "dag.map('inverse', lambda row: 1 / row, over='rows', on_error='collect')\n"
        )
        result = call("run", write("items.py", text))
        assert result.stderr.split() == (
            "2 items failed: map error at "
            "inverse ZeroDivisionError: division by zero (item 0 (0)) and 1 more items.py:4"
        ).split()
        assert result.stdout.startswith("  inverse = 1 of 3 items completed, 2 failed\ni: ok, 2 of 2 nodes completed")

    def test_a_tolerated_failure_for_which_something_was_skipped(self) -> None:
        text = (
            "import flow\ndag = flow.Dag('t')\n@dag.node(continue_on_error=True)\ndef ads(): raise OSError('down')\n"
            "dag.add('page', lambda ads: ads)\n"
        )
        result = call("run", write("skips.py", text))
        assert result.exit_code == 1
        assert "t: FAILED, 0 of 2 nodes completed, 1 failed, 1 skipped" in result.stdout

    def test_a_run_limit(self) -> None:
        text = "import anyio, flow\ndag = flow.Dag()\n@dag.node\nasync def forever(): await anyio.sleep_forever()\n"
        result = call("run", write("slow.py", text), "--timeout", "0.05")
        assert result.exit_code == 1
        assert "the run exceeded its limit of 0.05 s" in result.stderr

    def test_the_timeline_of_a_failed_run(self) -> None:
        call("run", write("bad.py", BAD), "--timeline", "out.mmd")
        assert "    broken (attempt 2) :crit, " in Path("out.mmd").read_text(encoding="utf-8")

    def test_many_failures_are_cut(self) -> None:
        text = "import flow\ndag = flow.Dag()\nfor i in range(25): dag.add(f'n{i}', lambda: 1 / 0)\n"
        result = call("run", write("many.py", text), "--on-error", "collect")
        assert result.stderr.count("ZeroDivisionError: division by zero  many.py:3") == 20
        assert "... and 5 more failed nodes" in result.stderr

    def test_a_node_that_exits(self) -> None:
        text = "import flow, sys\ndag = flow.Dag()\n@dag.node\ndef leave(): sys.exit(7)\n"
        result = call("run", write("leave.py", text))
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == "Error: a node ended the run: SystemExit: 7 (leave.py:4)\n"


MISTAKES: list[tuple[str, list[str], int, str]] = [
    ("no such file", ["run", "gooood.py"], 2, "there is no file 'gooood.py' (did you mean 'good.py'"),
    ("no such trace", ["run", "x.json"], 2, "there is no file 'x.json'"),
    ("no such module", ["check", "nomod:dag"], 2, "there is no module 'nomod': TARGET is module:dag"),
    ("module without ending", ["show", "sub/good"], 2, "there is no 'sub/good': TARGET is module:dag"),
    ("folder", ["show", "folder.py"], 2, "'folder.py' is a folder"),
    (
        "no such name",
        ["run", "good.py:dga"],
        2,
        "good.py has no 'dga' (did you mean 'dag'?); the Dags in it: good.py:dag",
    ),
    ("empty name", ["run", "good.py:"], 2, "good.py: a name must follow the ':'"),
    ("no default", ["run", "empty.py"], 2, "empty.py has no 'dag'; it defines no Dag"),
    ("no Dag", ["run", "good.py:number"], 2, "'good.py:number' is int, not a flow.Dag or flow.Plan"),
    ("arguments", ["run", "good.py:needy"], 2, "'good.py:needy' takes arguments"),
    ("async", ["run", "good.py:later"], 2, "'good.py:later' is async"),
    (
        "function raises",
        ["run", "broken.py:build"],
        2,
        "calling 'broken.py:build' failed: ValueError: no luck (broken.py:5)",
    ),
    ("syntax error", ["run", "syntax.py"], 2, "SyntaxError: invalid syntax (syntax.py:2)"),
    ("missing import", ["run", "imports.py"], 2, "ModuleNotFoundError: No module named 'nowhere' (imports.py:3)"),
    ("raises in another file", ["run", "outer.py"], 2, "failed: RuntimeError: deep down (inner_of_outer.py:2)"),
    ("exits", ["check", "exits.py"], 2, "failed: SystemExit: 3 (exits.py:2)"),
    ("no trace", ["run", "notes.txt"], 2, "'notes.txt' is neither Python, a workflow nor a trace"),
    ("broken trace", ["run", "broken.json"], 1, "trace 'broken.json' cannot be loaded: it is not JSON"),
    ("faulty dag", ["run", "faulty.py"], 1, "dag 'f' cannot be compiled: "),
    ("unknown input", ["run", "good.py", "--input", "fctor=1"], 2, "input 'fctor' is no parameter of any node"),
    ("bad input", ["run", "good.py", "--input", "factor"], 2, "'factor' is not NAME=VALUE"),
    ("bad inputs", ["run", "good.py", "--inputs", "list.json"], 2, "'list.json' holds no JSON object"),
    ("unknown target", ["run", "good.py", "--target", "totl"], 2, "no node 'totl' (did you mean 'total'?)"),
    ("bad option", ["run", "good.py", "--limit", "0"], 2, "'0' is neither an integer of at least 1 nor 'auto'"),
    ("bad picture", ["show", "good.py", "--svg", "x.png"], 2, "'x.png' must end in .svg"),
    ("no folder for it", ["show", "good.py", "--svg", "no/x.svg"], 2, "there is no folder 'no'"),
    ("bad timeline", ["run", "good.py", "--timeline", "x.png"], 2, "'x.png' must end in .svg, .html, .mmd or .md"),
    ("no folder", ["run", "good.py", "--timeline", "no/x.svg"], 2, "there is no folder 'no'"),
    ("work of no trace", ["run", "good.py", "--work", "cpu"], 2, "--work and --scale are for traces only"),
    ("no command", ["walk"], 2, "No such command 'walk'"),
]


class TestMistakes:
    @pytest.fixture(autouse=True)
    def _files(self) -> None:
        write("good.py", GOOD)
        write("empty.py", "")
        Path("folder.py").mkdir()
        write("broken.py", "import flow\n\n\ndef build():\n    raise ValueError('no luck')\n")
        write("syntax.py", "import flow\ndag = = 3\n")
        write("imports.py", "import flow\n\nimport nowhere\n")
        write("outer.py", "import inner_of_outer\n")
        write("inner_of_outer.py", "import flow\nraise RuntimeError('deep down')\n")
        write("exits.py", "import sys\nsys.exit(3)\n")
        write("notes.txt", "x")
        write("list.json", "[1]")
        write("broken.json", "{")
        write("faulty.py", "import flow\ndag = flow.Dag('f')\ndag.add('a', len, after='b')\ndag.add('a', 3)\n")

    @pytest.mark.parametrize(("args", "code", "message"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
    def test_one_message_and_no_traceback(self, args: list[str], code: int, message: str) -> None:
        result = call(*args)
        assert message in result.stderr
        assert result.exit_code == code
        assert "Traceback" not in result.output
        assert result.stdout == ""

    def test_the_same_in_a_process_of_its_own(self) -> None:
        result = spawn("run", "syntax.py")
        assert (result.returncode, result.stdout) == (2, "")
        assert result.stderr.startswith("Error: importing ")
        assert result.stderr.endswith("syntax.py' failed: SyntaxError: invalid syntax (syntax.py:2)\n")

    def test_debug_shows_the_users_traceback(self) -> None:
        result = call("run", "outer.py", "--debug")
        assert "Traceback" in result.stderr
        assert "raise RuntimeError('deep down')" in result.stderr
        assert "Traceback" in call("run", "faulty.py", "--debug").stderr
        assert "Traceback" in call("check", "faulty.py", "--debug").stderr

    def test_a_failed_import_leaves_no_module(self) -> None:
        call("run", "outer.py")
        assert [name for name in sys.modules if name.startswith("_flow_target_outer")] == []


class TestReplay:
    @pytest.mark.parametrize("options", [[], ["--limit", "8"], ["--mode", "tasks"], ["--executor", "thread"]])
    def test_noop(self, options: list[str]) -> None:
        document = json.loads(call("run", BLAST, "--json", *options).stdout)
        figures = document["replay"]
        assert document["counts"] == {"completed": 103}
        assert (figures["nodes"], figures["bound"], figures["efficiency"]) == (103, 0.0, None)
        assert figures["overhead_us"] == pytest.approx(document["wall_time"] / 103 * 1e6)

    @pytest.mark.parametrize(("work", "workers"), [("sleep", 8), ("cpu", 1)])
    def test_figures_agree(self, work: str, workers: int) -> None:
        result = call("run", BLAST, "--json", "--work", work, "--limit", "8", "--scale", "1e-6")
        f = json.loads(result.stdout)["replay"]
        assert f["workers"] == workers
        assert 0 < f["critical_path"] < f["serial"]
        assert f["bound"] == pytest.approx(max(f["critical_path"], f["serial"] / workers))
        assert f["bound"] <= f["wall_time"] * 1.001  # a thread's CPU clock and the wall's may differ by a hair
        assert f["efficiency"] == pytest.approx(f["bound"] / f["wall_time"])
        assert f["overhead_us"] == pytest.approx((f["wall_time"] - f["bound"]) / f["nodes"] * 1e6)

    def test_unbounded_is_bounded_by_the_critical_path(self) -> None:
        f = json.loads(call("run", CHAIN, "--json", "--work", "sleep", "--scale", "1e-6").stdout)["replay"]
        assert f["workers"] is None
        assert f["bound"] == f["critical_path"] == pytest.approx(f["serial"])

    @pytest.mark.parametrize(
        ("work", "config", "workers"),
        [
            ("sleep", {}, None),
            ("sleep", {"limit": 3}, 3),
            ("sleep", {"mode": "workers"}, 8),
            ("sleep", {"mode": "inline", "limit": 3}, 1),
            ("cpu", {}, 1),
            ("cpu", {"limit": 4, "mode": "tasks"}, 1),
        ],
    )
    def test_workers(self, work: Any, config: dict[str, Any], workers: int | None) -> None:
        assert workers_of(work, flow.Config(**config)) == workers

    def test_threads_compute_at_once_without_a_gil(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flow.cli.replay._has_gil", lambda: False)
        monkeypatch.setattr(os, "process_cpu_count", lambda: 16, raising=False)
        assert workers_of("cpu", flow.Config(executor="thread", limit=4)) == 4
        assert workers_of("cpu", flow.Config(executor="thread")) == 16
        assert workers_of("cpu", flow.Config(executor="thread", threads=2)) == 2

    def test_for_people(self) -> None:
        result = spawn("run", CHAIN, "--work", "sleep", "--scale", "1e-6", "--limit", "2")
        assert result.returncode == 0, result.stderr
        head, *rows = result.stdout.splitlines()
        assert ": ok, 5 of 5 nodes completed in " in head
        assert [row[2:21].strip() for row in rows] == [
            "critical path", "serial", "bound", "efficiency", "overhead per node",
        ]  # fmt: skip
        assert rows[2].endswith("= max(critical path, serial / 2)")

    @pytest.mark.parametrize("path", sorted(DATA.glob("*.json*")), ids=lambda path: path.name)
    def test_every_trace_runs(self, path: Path) -> None:
        result = call("run", str(path))
        assert result.exit_code == 0, result.stderr
        assert "overhead per node" in result.stdout


class TestShowAndCheck:
    def test_table(self) -> None:
        result = call("show", write("good.py", GOOD))
        assert result.stdout.splitlines() == [
            "report: 3 nodes, 2 edges, depth 2, width 2",
            "longest path: users -> total",
            "",
            "  level  node    kind   needs",
            "  0      users   sync",
            "  1      total   async  users",
            "  1      unread  sync   users",
        ]

    def test_nodes_that_wait(self) -> None:
        write(
            "wait.py",
            "import flow\ndag = flow.Dag('wait')\ndag.signal('ask', type=int)\n"
            "dag.timer('pause', seconds=0.5, when=lambda: True)\n",
        )
        lines = call("show", "wait.py").stdout.splitlines()
        assert [line.split()[1:] for line in lines[-2:]] == [["ask", "signal"], ["pause", "timer,", "when"]]
        result = call("run", "wait.py")
        assert result.exit_code == 2
        assert "dag 'wait' would wait for ever" in result.stderr
        assert "Traceback" not in result.stderr

    def test_what_decides_which_nodes_run(self) -> None:
        write(
            "desk.py",
            "import flow\ndag = flow.Dag('desk')\n"
            "dag.route('triage', lambda: 1, to={1: 'drop', 'two': 'pay'}, default='pay')\n"
            "dag.add('drop', lambda: 1, when=lambda: True)\ndag.add('pay', lambda: 1)\n"
            "dag.add('end', lambda: 1, after={'pay': 'failed'}, join=1)\n",
        )
        assert call("show", "desk.py").stdout.splitlines()[4:] == [
            "  0      triage  router, sync",
            "  1      drop    sync, when    triage",
            "  1      pay     sync          triage",
            "  2      end     sync, join=1  pay",
        ]
        document = json.loads(call("show", "desk.py", "--format", "json").stdout)
        nodes = {node.pop("name"): node for node in document["nodes"]}
        usual = {"level", "needs", "cost"}
        assert {name: {k: v for k, v in node.items() if k not in usual} for name, node in nodes.items()} == {
            "triage": {"to": {"1": "drop", "two": "pay"}, "default": "pay"},
            "drop": {"when": True},
            "pay": {},
            "end": {"join": 1, "after": {"pay": "failed"}},
        }
        result = call("run", "desk.py")
        assert result.stderr.splitlines()[-2:] == [
            "  node 'pay' was bypassed: router 'triage' chose 'drop'",
            "  node 'end' was bypassed: 0 of the 1 live edges that it waits for came (join=1)",
        ]

    def test_a_picture_besides(self) -> None:
        write("good.py", GOOD)
        plain = call("show", "good.py", "--format", "levels").stdout
        result = call("show", "good.py", "--format", "levels", "--svg", "out.svg")
        assert (result.exit_code, result.stdout) == (0, plain)
        svg = Path("out.svg").read_text(encoding="utf-8")
        assert ElementTree.fromstring(svg).tag.endswith("svg") and svg.count('class="flow-box"') == 3
        assert call("show", CHAIN, "--svg", "trace.svg").exit_code == 0 and Path("trace.svg").exists()

    def test_a_picture_that_cannot_be_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        write("good.py", GOOD)

        def full(name: str, text: str) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("flow.files.write", full)
        result = call("show", "good.py", "--svg", "out.svg")
        assert result.exit_code == 1 and "'out.svg' cannot be written: No space left on device" in result.stderr

    def test_costs_of_a_trace(self) -> None:
        head = call("show", CHAIN).stdout.splitlines()
        assert head[0].endswith(": 5 nodes, 4 edges, depth 5, width 1")
        assert head[1].startswith("serial time 501.24 s, critical path 501.24 s: cpuhog_chain_00000001 -> ")
        assert head[3].split() == ["level", "node", "kind", "cost", "needs"]

    def test_large_ones_are_cut(self) -> None:
        assert "  ... and 63 more nodes (--all shows them)" in call("show", BLAST).stdout
        assert "more" not in call("show", BLAST, "--all").stdout

    def test_levels(self) -> None:
        write("good.py", GOOD)
        assert call("show", "good.py", "--format", "levels").stdout.splitlines()[3:] == [
            "  0: users",
            "  1: total, unread",
        ]

    def test_json(self) -> None:
        write("good.py", GOOD)
        document = json.loads(call("show", "good.py", "--format", "json").stdout)
        assert document["counts"] == {"nodes": 3, "edges": 2, "depth": 2, "width": 2}
        assert document["critical_path"] == {"nodes": ["users", "total"], "seconds": None}
        assert document["nodes"][1] == {"name": "total", "level": 1, "needs": ["users"], "cost": None}
        assert document["inputs"] == {"required": [], "known": ["factor"]}

    @pytest.mark.parametrize(("form", "start"), [("mermaid", "flowchart TD\n"), ("dot", 'digraph "report" {\n')])
    def test_pictures(self, form: str, start: str) -> None:
        write("good.py", GOOD)
        assert call("show", "good.py", "--format", form).stdout.startswith(start)

    def test_needed_inputs_are_told(self) -> None:
        write("needs.py", "import flow\ndag = flow.Dag('n')\n@dag.node\ndef x(y): ...\n")
        assert "needs inputs: y\n" in call("show", "needs.py").stdout
        assert call("check", "needs.py").stdout == "n: ok: 1 node, 0 edges, depth 1, width 1; needs inputs: y\n"

    def test_check_is_ok(self) -> None:
        result = call("check", write("good.py", GOOD))
        assert (result.exit_code, result.stdout) == (0, "report: ok: 3 nodes, 2 edges, depth 2, width 2\n")

    def test_check_lists_every_fault(self) -> None:
        text = "import flow\ndag = flow.Dag('f')\n" + "".join(
            f"dag.add('n{i}', lambda: 1, after='gone{i}')\n" for i in range(60)
        )
        result = call("check", write("faulty.py", text))
        assert result.exit_code == 1
        assert result.stderr.startswith("f: 60 faults\n")
        assert result.stderr.count("\n  - ") == 60

    def test_faults_found_while_importing(self) -> None:
        text = "import flow\ndag = flow.Dag('f')\ndag.add('a', len, after='b')\nplan = dag.compile()\n"
        result = call("check", write("faulty.py", text))
        assert (result.exit_code, "f: 1 fault" in result.stderr) == (1, True)


@pytest.mark.slow
class TestProgram:
    def test_version(self) -> None:
        assert spawn("--version").stdout.startswith(f"flow {flow.__version__} (CPython ")

    def test_without_click(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setitem(sys.modules, "click", None)
        assert main([]) == 2
        assert capsys.readouterr().err == "the command line of flow needs click and rich: pip install 'flow-dag[cli]'\n"

    def test_main_exits(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as exit_:
            main(["--version"])
        assert exit_.value.code == 0
        assert capsys.readouterr().out.startswith("flow ")

    @pytest.mark.skipif(os.name != "posix", reason="signals")
    @pytest.mark.parametrize("backend", ["asyncio", "trio"])
    def test_ctrl_c(self, backend: str) -> None:
        text = (
            "import anyio, flow\ndag = flow.Dag()\n@dag.node\nasync def forever():\n"
            "    await anyio.sleep(0)\n    print('here', flush=True)\n    await anyio.sleep_forever()\n"
        )  # the first await imports: CPython exits by the signal itself if that cuts an exec() short
        write("slow.py", text)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": BUSY_MACHINE}
        command = [sys.executable, "-m", "flow", "run", "slow.py", "--backend", backend, "--timeline", "out.mmd"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "here\n"
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=30)
        # An interrupt within exec() of a string, as attrs makes classes, has CPython end by the signal, whatever caught
        # it. To a shell both are 130.
        assert process.returncode in (130, -signal.SIGINT)
        assert re.fullmatch(r"interrupted: 0 of 1 node completed, 1 \w+ in .*s\n", errors)
        assert "    forever :" in Path("out.mmd").read_text(encoding="utf-8")  # drawn all the same


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("--workers", "Did you mean '--limit'?"),
        ("--max-concurrency", "Did you mean '--limit'?"),
        ("--goroutines", "Did you mean '--limit'?"),
        ("--deadline", "Did you mean '--timeout'?"),
        ("--limt", "'--limit'"),
    ],
)
def test_options_of_other_tools(option: str, says: str) -> None:
    result = CliRunner().invoke(cli, ["run", option, "4", "x.py"])
    assert result.exit_code == 2
    assert f"No such option '{option}'" in result.output or f"No such option: {option}" in result.output
    assert says in result.output
    assert "--order" not in result.output
