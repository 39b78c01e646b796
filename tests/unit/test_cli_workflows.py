"""Workflow files on the command line: what they may call, inputs, checks, and the commands for their authors."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from conftest import DATA, ROOT

import flow
import flow.spec
from flow.cli.commands import cli
from flow.cli.workflow import is_workflow

pytest.importorskip("yaml")


@pytest.fixture(autouse=True)
def _in_a_folder(own_folder: None) -> None:
    """Each test has a folder of its own."""


def call(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def write(name: str, text: str) -> str:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return name


STEPS = """
__all__ = ["ship", "note"]
print("imported")
def ship(env, count=1):
    return f"{count} to {env}"
def note(text, secret=""):
    return text + secret
def hidden():
    return 1
"""

DEPLOY = """\
flow: 1
inputs:
  env: {type: string, enum: [dev, prod]}
  count: {type: integer, default: 1}
nodes:
  ship: {call: "deploy_steps:ship", with: {env: "{{ inputs.env }}", count: "{{ inputs.count }}"}}
outputs: {sent: "{{ ship }}"}
"""

PLAIN = """\
flow: 1
nodes:
  one: {set: {x: 1}}
"""

FAULTY = """\
flow: 1
nodes:
  one: {set: {x: "{{ two }}"}}
  three: {cal: json}
"""


@pytest.fixture
def deploy() -> str:
    write("flows/deploy_steps.py", STEPS)
    return write("flows/deploy.yaml", DEPLOY)


class TestRun:
    def test_what_is_allowed_on_the_command_line(self, deploy: str) -> None:
        result = call("run", deploy, "--allow", "deploy_steps:*", "--input", "env=prod", "--input", "count=3")
        assert result.exit_code == 0, result.stderr
        assert "  outputs = {'sent': '3 to prod'}\n" in result.stdout
        assert "deploy: ok, 2 of 2 nodes completed in " in result.stdout

    @pytest.mark.parametrize(
        ("file", "text"),
        [
            ("flow.toml", '[spec]\nallow = ["deploy_steps:ship"]\n'),
            ("pyproject.toml", '[tool.flow.spec]\nallow = ["deploy_steps:*"]\n'),
        ],
    )
    def test_what_is_allowed_beside_the_file(self, deploy: str, file: str, text: str) -> None:
        write(f"flows/{file}", text)
        assert call("run", deploy, "--input", "env=prod").exit_code == 0

    def test_settings_elsewhere_allow_nothing(self, deploy: str) -> None:
        write("flow.toml", '[spec]\nallow = ["deploy_steps:*"]\n')
        assert call("run", deploy, "--input", "env=prod").exit_code == 1

    def test_the_command_line_alone_counts(self, deploy: str) -> None:
        write("flows/flow.toml", '[spec]\nallow = ["deploy_steps:*"]\n')
        result = call("run", deploy, "--input", "env=prod", "--allow", "json")
        assert result.exit_code == 1

    def test_what_is_not_allowed_is_not_imported(self, deploy: str) -> None:
        path = list(sys.path)
        result = call("run", deploy, "--input", "env=prod")
        assert result.exit_code == 1
        assert result.stdout == ""
        fault, end = result.stderr.splitlines()
        assert fault.startswith("flows/deploy.yaml:6:16: 'deploy_steps:ship' is not allowed")
        assert "--allow deploy_steps:ship" in fault
        assert end == "Error: deploy cannot be loaded: 1 fault"
        assert "deploy_steps" not in sys.modules
        assert sys.path == path

    def test_actions_need_nothing_and_add_no_folder(self) -> None:
        write("plain.yaml", PLAIN)
        path = list(sys.path)
        assert call("run", "plain.yaml").exit_code == 0
        assert call("run", "plain.yaml", "--allow", "shell.run").exit_code == 0
        assert sys.path == path

    def test_functions_in_the_current_folder(self, deploy: str) -> None:
        os.rename("flows/deploy_steps.py", "deploy_steps.py")
        assert call("run", deploy, "--allow", "deploy_steps:*", "--input", "env=prod").exit_code == 0

    def test_the_folder_of_the_file_goes_first(self, deploy: str) -> None:
        write("deploy_steps.py", "raise SystemExit('the wrong one')")
        assert call("run", deploy, "--allow", "deploy_steps:*", "--input", "env=prod").exit_code == 0

    @pytest.mark.parametrize("pattern", ["*", "deploy", "a b"])
    def test_patterns_that_are_none(self, deploy: str, pattern: str) -> None:
        result = call("run", deploy, "--allow", pattern)
        assert result.exit_code == 2
        assert f"pattern {pattern!r}" in result.stderr

    def test_settings_that_are_faulty(self, deploy: str) -> None:
        write("flows/flow.toml", '[spec]\nallowed = ["deploy_steps:*"]\n')
        result = call("run", deploy, "--input", "env=prod")
        assert result.exit_code == 2
        assert "[spec] has no setting 'allowed'" in result.stderr

    def test_inputs_from_the_environment(self, deploy: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SHIP_TO", "prod")
        monkeypatch.setenv("MANY", "7")
        allowed = ("run", deploy, "--allow", "deploy_steps:*")
        result = call(*allowed, "--input-env", "env=SHIP_TO", "--input-env", "count=MANY")
        assert result.exit_code == 0
        assert "7 to prod" in result.output
        both = ("--input", "count=8", "--input-env", "count=MANY", "--input-env", "env=SHIP_TO")
        assert "8 to prod" in call(*allowed, *both).output
        missing = call(*allowed, "--input-env", "env=NOT_THERE")
        assert missing.exit_code == 2
        assert "there is no environment variable 'NOT_THERE'" in missing.output
        assert "'env' is not NAME=VARIABLE" in call(*allowed, "--input-env", "env").output

    @pytest.mark.parametrize("option", ["--inputs", "--input-file"])
    def test_a_file_of_inputs(self, deploy: str, option: str) -> None:
        write("inputs.json", '{"env": "dev", "count": 2}')
        result = call("run", deploy, "--allow", "deploy_steps:*", option, "inputs.json", "--input", "count=5")
        assert "'5 to dev'" in result.stdout

    def test_inputs_that_do_not_fit(self, deploy: str) -> None:
        result = call("run", deploy, "--allow", "deploy_steps:*", "--input", "env=test")
        assert result.exit_code == 2
        assert "input 'env' is not of its declared type" in result.stderr
        missing = call("run", deploy, "--allow", "deploy_steps:*")
        assert missing.exit_code == 2
        assert "pass --input env=..." in missing.stderr

    def test_text_stays_text_where_that_is_declared(self) -> None:
        write("text.yaml", "flow: 1\ninputs: {x: {type: string}}\nnodes: {a: {set: {x: '{{ inputs.x }}'}}}")
        assert "{'x': '007'}" in call("run", "text.yaml", "--input", "x=007").stdout

    @pytest.mark.parametrize("options", [[], ["--json"], ["--log", "debug"], ["--on-error", "collect"]])
    def test_secrets_are_not_shown(self, options: list[str]) -> None:
        write("steps.py", '__all__ = ["say"]\ndef say(token): raise ValueError(f"no {token}")\n')
        write(
            "secret.yaml",
            "flow: 1\ninputs: {token: {type: string, secret: true, max_length: 20}, n: {type: integer}}\nnodes:\n"
            "  shown: {set: {t: '{{ inputs.token }}'}}\n"
            "  say: {call: 'steps:say', with: {token: '{{ inputs.token }}'}}\n",
        )
        base = ["run", "secret.yaml", "--allow", "steps:*", *options]
        ran = call(*base, "--input", "token=hunter22", "--input", "n=1")
        refused = call(*base, "--input", "token=hunter22-hunter22-hunter22", "--input", "n=1")
        other = call(*base, "--input", "token=hunter22", "--input", "n=x")
        assert [ran.exit_code, refused.exit_code, other.exit_code] == [1, 2, 2]
        assert "ValueError" in ran.output
        for result in (ran, refused, other):
            assert "hunter22" not in result.output

    def test_a_signal_that_nothing_can_send(self) -> None:
        write("wait.yaml", "flow: 1\nnodes: {ok: {signal: {type: boolean}}}\n")
        result = call("run", "wait.yaml")
        assert result.exit_code == 2
        assert "Give the signal a timeout, or the run --timeout S" in result.stderr
        assert "async with" not in result.stderr

    def test_faults_are_a_line_each(self) -> None:
        write("faulty.yaml", FAULTY)
        result = call("run", "faulty.yaml")
        assert result.exit_code == 1
        lines = result.stderr.splitlines()
        assert [line.split(" ")[0] for line in lines] == ["faulty.yaml:3:22:", "faulty.yaml:4:3:", "Error:"]

    def test_debug_shows_where_an_import_broke(self, deploy: str) -> None:
        write("flows/deploy_steps.py", "1 / 0")
        result = call("run", deploy, "--allow", "deploy_steps:*", "--debug")
        assert result.exit_code == 1
        assert "ZeroDivisionError" in result.stderr.splitlines()[-2]
        assert "deploy_steps.py:1" in result.stderr
        assert "Traceback" in result.stderr

    def test_a_config_in_the_file(self) -> None:
        nodes = "nodes: {a: {call: fail, with: {message: no}}, b: {set: {x: 1}}}"
        write("late.yaml", f"flow: 1\nconfig: {{on_error: collect}}\n{nodes}")
        result = call("run", "late.yaml")
        assert result.exit_code == 1
        assert "1 of 2 nodes completed, 1 failed" in result.stdout
        assert "skipped" not in result.stdout

    def test_a_file_that_is_not_there(self) -> None:
        write("deploy.yaml", PLAIN)
        result = call("run", "deplot.yaml")
        assert result.exit_code == 2
        assert "there is no file 'deplot.yaml' (did you mean 'deploy.yaml'?)" in result.stderr

    def test_a_folder(self) -> None:
        os.mkdir("x.yaml")
        assert "is a folder" in call("run", "x.yaml").stderr

    @pytest.mark.parametrize("command", [["run"], ["tune", "--budget", "10ms"], ["show"], ["check"]])
    def test_allow_is_for_files(self, command: list[str]) -> None:
        write("good.py", "import flow\ndag = flow.Dag('x')\n@dag.node\ndef a(): ...\n")
        for target in ("good.py", str(DATA / "helloworld-chain-5-chameleon.json")):
            result = call(*command, target, "--allow", "json")
            assert result.exit_code == 2
            assert "--allow is for workflow files" in result.stderr

    def test_work_is_for_traces(self) -> None:
        write("plain.yaml", PLAIN)
        assert "--work and --scale are for traces only" in call("run", "plain.yaml", "--work", "noop").stderr


class TestJson:
    def test_a_workflow(self) -> None:
        write("plain.json", json.dumps({"flow": 1, "nodes": {"one": {"set": {"x": 1}}}}))
        assert "{'x': 1}" in call("run", "plain.json").stdout

    def test_a_trace(self) -> None:
        assert call("run", str(DATA / "helloworld-chain-5-chameleon.json")).exit_code == 0

    @pytest.mark.parametrize(
        ("text", "is_one"),
        [
            ('{"flow": 1, "nodes": {}}', True),
            ('{"nodes": {}, "flow": 2}', True),
            ('{"flow": 1, "nodes": {', True),  # a workflow with a slip
            ('\n { "flow" : 1, "nodes": {"a": nope}}', True),
            ('{"name": "x", "workflow": {"flow": 1}}', False),
            ('{"workflow": {"tasks": []}}', False),
            ('["flow"]', False),
            ("", False),
            ("{", False),
            ("\ufeff{}", False),
            ("[" * 100_000, False),
            ('{"x": ' * 100_000, False),
        ],
    )
    def test_which_it_is(self, text: str, is_one: bool) -> None:
        write("x.json", text)
        assert is_workflow("x.json") is is_one

    def test_endings(self) -> None:
        Path("big.json").write_bytes(b'{"flow": 1, "x": "' + b"x" * 5_000_000 + b'"}')
        Path("x.json.gz").write_bytes(gzip.compress(b'{"flow": 1}'))
        os.mkdir("d.json")
        names = ["a.yaml", "a.YML", "none.json", "d.json", "big.json", "x.json.gz", "a.py", "a.b:dag", "\0.json"]
        assert [is_workflow(name) for name in names] == [True, True, *[False] * 7]


class TestShowAndTune:
    @pytest.mark.parametrize("form", ["table", "levels", "mermaid", "dot", "json"])
    def test_formats(self, deploy: str, form: str) -> None:
        result = call("show", deploy, "--allow", "deploy_steps:*", "--format", form)
        assert result.exit_code == 0, result.stderr
        assert "ship" in result.stdout and "outputs" in result.stdout

    def test_tune(self, deploy: str) -> None:
        result = call("tune", deploy, "--allow", "deploy_steps:*", "--budget", "50ms", "--input", "env=dev")
        assert result.exit_code == 0, result.stderr
        assert "default" in result.stdout
        assert "imported" not in result.stdout


class TestCheck:
    def test_without_imports(self, deploy: str) -> None:
        result = call("check", deploy)
        assert result.exit_code == 0, result.stderr
        assert result.stdout == "flows/deploy.yaml: ok: 2 nodes, 1 edge, depth 2, width 1; needs inputs: env\n"
        assert "deploy_steps" not in sys.modules

    def test_with_imports(self, deploy: str) -> None:
        write(deploy, DEPLOY.replace("count: \"{{ inputs.count }}\"", "cuont: 1"))
        assert call("check", deploy).exit_code == 0
        result = call("check", deploy, "--imports", "--allow", "deploy_steps:*")
        assert result.exit_code == 1
        assert result.stderr.startswith("flows/deploy.yaml:6:69: ")
        assert "(did you mean 'count'?)" in result.stderr

    def test_what_is_not_allowed_where_something_is(self, deploy: str) -> None:
        result = call("check", deploy, "--allow", "other:*")
        assert result.exit_code == 1
        assert "'deploy_steps:ship' is not allowed" in result.stderr
        assert "deploy_steps" not in sys.modules

    def test_a_folder(self) -> None:
        write("all/b.yaml", PLAIN)
        write("all/a.yml", FAULTY)
        write("all/c.json", '{"flow": 1, "nodes": {}}')
        write("all/d.json", '{"workflow": {}}')
        write("all/e.txt", "no workflow")
        write("all/below/f.yaml", FAULTY)
        os.mkdir("all/g.yaml")
        result = call("check", "all")
        assert result.exit_code == 1
        assert result.stdout == "all/b.yaml: ok: 1 node, 0 edges, depth 1, width 1\n"
        assert [line.split(" ")[0] for line in result.stderr.splitlines()] == [
            "all/a.yml:3:22:", "all/a.yml:4:3:", "all/a.yml:", "all/c.json:1:13:", "all/c.json:",
        ]  # fmt: skip
        os.unlink("all/a.yml")
        os.unlink("all/c.json")
        good = call("check", "all")
        assert (good.exit_code, good.stderr) == (0, "")

    def test_each_has_what_is_allowed_beside_it(self) -> None:
        write("all/flow.toml", "[spec]\nallow = 3\n")
        write("all/b.yaml", PLAIN)
        result = call("check", "all")
        assert result.exit_code == 1
        assert result.stderr.startswith("all/b.yaml: config file 'all/flow.toml' is not valid")

    def test_a_folder_without_any(self) -> None:
        os.mkdir("empty")
        result = call("check", "empty")
        assert result.exit_code == 2
        assert "there is no workflow file in folder 'empty'" in result.stderr

    def test_imports_are_for_files(self) -> None:
        write("good.py", "import flow\ndag = flow.Dag('x')\n@dag.node\ndef a(): ...\n")
        assert call("check", "good.py", "--imports").exit_code == 2
        assert call("check", "good.py").exit_code == 0

    def test_strict(self) -> None:
        ways = [f"{way}: {{route: n, to: {{'1': a}}}}" for way in ("v", "w")]
        nodes = ["n: {set: {x: 1}}", "a: {set: {x: 1}}", *ways]
        write("near.yaml", "\n  ".join(["flow: 1\nnodes:", *nodes]))
        assert call("check", "near.yaml").exit_code == 0
        result = call("check", "near.yaml", "--strict")
        assert result.exit_code == 1
        assert "near.yaml: 1 warning, refused by --strict" in result.stderr

    def test_the_faulty_examples(self) -> None:
        folder = ROOT / "docs" / "examples" / "faulty"
        result = call("check", str(folder), "--imports", "--allow", "shop:*", "--allow", "shops:*")
        assert result.exit_code == 1
        assert result.stdout == ""
        verdicts = [line for line in result.stderr.splitlines() if line.endswith(("fault", "faults"))]
        assert len(verdicts) == len(list(folder.glob("*.yaml")))


class TestNew:
    @pytest.mark.parametrize("name", ["hello", "hello-you", "Hello_2"])
    def test_it_runs_at_once(self, name: str) -> None:
        result = call("new", name)
        assert result.exit_code == 0, result.stderr
        module = f"{name.replace('-', '_').lower()}_steps"
        assert sorted(os.listdir()) == sorted([f"{name}.yaml", f"{module}.py", "flow.toml"])
        assert result.stdout.splitlines() == [
            f"written: {name}.yaml", f"written: {module}.py", "written: flow.toml", f"run it: flow run {name}.yaml",
        ]  # fmt: skip
        ran = call("run", f"{name}.yaml", "--input", "greeting=Hi")
        assert ran.exit_code == 0, ran.stderr
        assert "'Hi, Ada! Hi, Grace! (all of us)'" in ran.stdout
        assert call("check", f"{name}.yaml", "--imports", "--strict").exit_code == 0
        text = Path(f"{name}.yaml").read_text(encoding="utf-8")
        assert f"flow check {name}.yaml" in text and f"flow run {name}.yaml" in text

    def test_a_folder(self) -> None:
        os.mkdir("flows")
        assert call("new", "hello", "--folder", "flows").exit_code == 0
        assert call("run", "flows/hello.yaml").exit_code == 0

    @pytest.mark.parametrize("file", ["hello.yaml", "hello_steps.py"])
    def test_nothing_is_overwritten(self, file: str) -> None:
        write(file, "mine")
        result = call("new", "hello")
        assert result.exit_code == 2
        assert f"{file!r} would be overwritten" in result.stderr
        assert os.listdir() == [file]
        assert Path(file).read_text(encoding="utf-8") == "mine"

    def test_settings_that_are_there_stay(self) -> None:
        write("flow.toml", "# mine\n[flow]\nlimit = 3\n")
        result = call("new", "hello")
        assert result.exit_code == 0
        assert Path("flow.toml").read_text(encoding="utf-8") == "# mine\n[flow]\nlimit = 3\n"
        assert "put 'hello_steps:*' into allow = [...] of its table [spec]" in result.stderr
        assert call("run", "hello.yaml").exit_code == 1
        write("flow.toml", '[spec]\nallow = ["hello_steps:*", "more_steps:*"]\n')
        assert call("run", "hello.yaml").exit_code == 0
        assert call("new", "more").stderr == ""

    @pytest.mark.parametrize("name", ["", "../x", "a/b", "1a", "a.b", "-x", "a b", "é", "x" * 101])
    def test_names_that_are_none(self, name: str) -> None:
        result = call("new", "--", name)
        assert result.exit_code == 2
        assert os.listdir() == []

    def test_a_folder_that_is_not_there(self) -> None:
        result = call("new", "hello", "--folder", "gone")
        assert result.exit_code == 2
        assert "there is no folder 'gone'" in result.stderr

    def test_the_example_of_the_documentation(self) -> None:
        """docs/examples/hello is what the command writes."""
        call("new", "hello")
        there = {path.name: path.read_text("utf-8") for path in (ROOT / "docs/examples/hello").glob("*.*")}
        assert {name: Path(name).read_text("utf-8") for name in os.listdir()} == there

    def test_all_or_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import builtins

        real = builtins.open

        def opening(file: Any, mode: str = "r", *rest: Any, **named: Any) -> Any:
            if str(file).endswith("_steps.py") and mode == "x":
                raise OSError(28, "No space left on device", file)
            return real(file, mode, *rest, **named)

        monkeypatch.setattr(builtins, "open", opening)
        result = call("new", "hello")
        assert result.exit_code == 2
        assert "'hello_steps.py' cannot be written: No space left on device" in result.stderr
        assert os.listdir() == []


class TestSchema:
    def test_it_is_printed(self) -> None:
        result = call("schema")
        assert result.exit_code == 0
        assert json.loads(result.stdout) == flow.spec.schema()

    def test_the_one_in_the_documentation_is_that(self) -> None:
        """Written by: flow schema > docs/workflow.schema.json"""
        assert (ROOT / "docs" / "workflow.schema.json").read_text("utf-8") == call("schema").stdout


STEPS_DAG = """
import flow
__all__ = ["start"]
dag = flow.Dag("deploy")
@dag.node
def start(n: int = 1): return n
@dag.node(retry=flow.Retry(2, delay=0.0))
def end(start): return start + 1
bad = flow.Dag("bad")
bad.add("one", lambda: 1)
bad.add("two", start, when=lambda: True)
plan = dag.compile()
"""


class TestShowYaml:
    @pytest.mark.parametrize("target", ["steps_dag.py", "steps_dag"])
    def test_there_and_back(self, target: str) -> None:
        write("steps_dag.py", STEPS_DAG)
        result = call("show", "--yaml", target)
        assert result.exit_code == 0, result.stderr
        assert "call: steps_dag:start" in result.stdout
        told = "module steps_dag does not offer end to files yet: list them in its __all__, or mark them @flow.action\n"
        assert result.stderr == told
        write("deploy.yaml", result.stdout)
        write("steps_dag.py", STEPS_DAG.replace('"start"]', '"start", "end"]'))
        sys.modules.pop("steps_dag", None)
        assert "  end = 3\n" in call("run", "deploy.yaml", "--allow", "steps_dag:*", "--input", "n=2").stdout

    def test_what_a_file_cannot_say(self) -> None:
        write("steps_dag.py", STEPS_DAG)
        result = call("show", "--yaml", "steps_dag.py:bad")
        assert result.exit_code == 1
        assert "dag 'bad' cannot be written as a workflow file: 2 faults" in result.stderr
        assert "node 'two'" in result.stderr and "steps_dag.py:" in result.stderr
        assert result.stdout == ""

    def test_what_is_no_dag(self) -> None:
        write("steps_dag.py", STEPS_DAG)
        write("plain.yaml", PLAIN)
        assert "is a Plan" in call("show", "--yaml", "steps_dag.py:plan").stderr
        assert "'plain.yaml' is a workflow file already" in call("show", "--yaml", "plain.yaml").stderr
        assert "is a trace" in call("show", "--yaml", str(DATA / "helloworld-chain-5-chameleon.json")).stderr
        assert call("show", "--yaml", "steps_dag.py", "--format", "json").exit_code == 2
        assert call("show", "--yaml", "steps_dag.py", "--svg", "x.svg").exit_code == 2

    def test_what_it_prints_itself_is_no_part(self) -> None:
        write("steps_dag.py", "print('hello')\n" + STEPS_DAG)
        assert call("show", "--yaml", "steps_dag.py").stdout.startswith("flow: 1\n")


ORQUESTA = """\
version: 1.0
input:
  - who
  - tries: 0
tasks:
  greet:
    action: core.echo message=<% ctx().who %>
    next:
      - when: <% succeeded() %>
        publish: said=<% result() %>
        do: last
  last:
    action: core.noop
    delay: <% ctx().tries %>
output:
  - said: <% ctx().said %>
"""


class TestConvert:
    """Of the command alone: tests of the conversion itself are elsewhere."""

    def test_it_is_printed(self) -> None:
        write("my flow.yaml", ORQUESTA)
        result = call("convert", "my flow.yaml")
        assert result.exit_code == 0, result.stderr
        assert result.stdout.startswith("flow: 1\nname: my_flow\n")
        assert "call: my_flow_actions:core_echo" in result.stdout
        assert os.listdir() == ["my flow.yaml"]
        notes = result.stderr.splitlines()
        assert notes
        assert all(re.match(r"my flow\.yaml:\d+:\d+: ", note) for note in notes)

    def test_it_is_written_and_runs(self) -> None:
        write("old.yaml", ORQUESTA)
        result = call("convert", "old.yaml", "--output", "new.yaml", "--module", "steps")
        assert result.exit_code == 0, result.stderr
        assert result.stdout == "written: new.yaml\nwritten: steps.py\n"
        assert result.stderr.endswith("run it: flow run new.yaml --allow steps:*\n")
        ran = call("run", "new.yaml", "--allow", "steps:*", "--input", "who=me")
        assert "{'said': 'me'}" in ran.stdout, ran.stderr
        again = call("convert", "old.yaml", "--output", "new.yaml")
        assert again.exit_code == 2
        assert "'new.yaml' would be overwritten" in again.stderr
        assert sorted(os.listdir()) == ["new.yaml", "old.yaml", "steps.py"]

    def test_files_of_loops(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import flow.spec.converting as converting

        made = converting.Conversion(PLAIN, [], {"body.yaml": PLAIN}, "", "steps")
        monkeypatch.setattr(converting, "convert", lambda *_, **__: made)
        write("old.yaml", ORQUESTA)
        assert call("convert", "old.yaml").stderr == "not printed: body.yaml; --output writes all files\n"
        assert call("convert", "old.yaml", "--output", "new.yaml").exit_code == 0
        assert sorted(os.listdir()) == ["body.yaml", "new.yaml", "new_actions.py", "old.yaml"]

    def test_what_is_none(self) -> None:
        write("plain.yaml", PLAIN)
        result = call("convert", "plain.yaml")
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: ")

    def test_the_module_is_written_where_it_is_imported_from(self) -> None:
        write("old.yaml", ORQUESTA)
        os.mkdir("pack")
        result = call("convert", "old.yaml", "--output", "new.yaml", "--module", "pack.steps")
        assert result.stdout == f"written: new.yaml\nwritten: {Path('pack', 'steps.py')}\n", result.stderr
        assert call("run", "new.yaml", "--allow", "pack.steps:*", "--input", "who=me").exit_code == 0

    @pytest.mark.parametrize(
        ("output", "module"), [("a.yaml", "../evil"), ("a.yaml", "a b"), ("a.yaml", "_a"), ("a.txt", "a"), ("a", "a")]
    )
    def test_names_that_nothing_is_written_to(self, output: str, module: str) -> None:
        write("old.yaml", ORQUESTA)
        result = call("convert", "old.yaml", "--output", output, "--module", module)
        assert result.exit_code == 2
        assert repr(output if module == "a" else module) in result.stderr
        assert os.listdir() == ["old.yaml"]

    def test_files_that_cannot_be_read(self) -> None:
        Path("latin.yaml").write_bytes(b"\xe9")
        assert call("convert", "gone.yaml").exit_code == 2
        assert "not UTF-8" in call("convert", "latin.yaml").stderr

    @pytest.mark.parametrize(("stem", "name"), [("1-a", "workflow_1_a"), ("é", "workflow"), ("a.b", "a_b")])
    def test_names(self, stem: str, name: str) -> None:
        write(f"{stem}.yaml", ORQUESTA)
        assert f"\nname: {name}\n" in call("convert", f"{stem}.yaml").stdout


SAYING = """
flow: 1
inputs: {token: {type: string, secret: true, default: x7-secret}}
nodes:
  low: {call: log, with: {message: "all is well"}}
  each: {map: log, over: [a], with: {message: "{{ item }} and {{ inputs.token }}", level: warning}, after: low}
"""


class TestWhatTheActionLogSays:
    @pytest.mark.parametrize("level, said", [("info", ["low: all is well", "each[0]: a and ***"]),
                                             ("warning", ["each[0]: a and ***"])])  # fmt: skip
    def test_it_stands_in_the_log(self, level: str, said: list[str]) -> None:
        before = logging.getLogger("flow.actions").handlers[:], logging.getLogger("flow.actions").level
        result = call("run", write("saying.yaml", SAYING), "--log", level)
        lines = [line for line in result.stderr.splitlines() if "all is well" in line or "a and" in line]
        assert [line.split(": ", 1)[1] for line in lines] == said
        assert "secret" not in result.output
        assert (logging.getLogger("flow.actions").handlers, logging.getLogger("flow.actions").level) == before
