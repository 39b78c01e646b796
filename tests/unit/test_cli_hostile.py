"""The command line among odd modules, odd paths and broken streams: one line of error, and no result is lost."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import flow
from flow.cli import terminal
from flow.cli.commands import cli

ROOT = Path(flow.__file__).parent.parent
LONG = "a" * 300
RAW = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
OK = "import flow\ndag = flow.Dag('ok')\ndag.add('a', lambda: 'RESULT')\n"
unix = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes, devices and a shell")
needs_full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full: it is Linux's")

@pytest.fixture(autouse=True)
def _as_it_was(own_folder: None) -> None:
    """Before what classes set up: they write the files."""


def write(name: str, text: str) -> str:
    Path(name).write_text(text, encoding="utf-8")
    return name


def call(*args: str) -> Result:
    return CliRunner().invoke(cli, list(args))


def shell(command: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a shell's command line in which ``flow`` is the command."""
    line = command.replace("flow ", f'"{sys.executable}" -m flow ', 1)
    everything = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "", **env}
    return subprocess.run(
        ["sh", "-c", line], capture_output=True, text=True, encoding="utf-8", errors="replace", env=everything,
        stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip


ODD = """
import flow

class Property:
    @property
    def dag(self): raise RuntimeError("no")
p = Property()

class Anything:
    @property
    def __class__(self): raise ValueError("no class")
    def __getattr__(self, name): raise KeyError(name)
anything = Anything()

class Signature:
    @property
    def __signature__(self): raise RuntimeError("no signature")
    def __call__(self): return flow.Dag()
signature = Signature()

class Meta(type):
    __name__ = property(lambda cls: 1 / 0)
class Nameless(metaclass=Meta): pass
nameless = Nameless()

def wrong_signature(): pass
wrong_signature.__signature__ = 5

def round_about(): pass
round_about.__wrapped__ = round_about

def leaves(): raise SystemExit(3)
"""


class TestModules:
    @pytest.mark.parametrize(
        ("target", "message"),
        [
            ("odd.py:p.dag", "reading 'odd.py:p.dag' failed: RuntimeError: no (odd.py:6)"),
            ("odd.py:anything", "reading 'odd.py:anything' failed: ValueError: no class (odd.py:11)"),
            ("odd.py:anything.dag", "reading 'odd.py:anything.dag' failed: KeyError: 'dag' (odd.py:12)"),
            ("odd.py:signature", "failed: RuntimeError: no signature (odd.py:17)"),
            ("odd.py:nameless", "failed: ZeroDivisionError: division by zero (odd.py:22)"),
            ("odd.py:wrong_signature", "'odd.py:wrong_signature' takes arguments"),
            ("odd.py:leaves", "calling 'odd.py:leaves' failed: SystemExit: 3 (odd.py:32)"),
            ("odd.py:.", "odd.py has no '.'"),
            ("odd.py:\udc80", "odd.py has no '\\udc80'"),
            ("lazy.py", "reading 'lazy.py' failed: ImportError: optional (lazy.py:1)"),
            ("replaced", "replaced has no 'dag'; it defines no Dag"),
            ("deep.py", "failed: "),
            ("nul.py", "failed: "),
            ("encoding.py", "failed: SyntaxError: "),
        ],
    )
    def test_that_raise_where_they_are_looked_at(self, target: str, message: str) -> None:
        write("odd.py", ODD)
        write("lazy.py", "def __getattr__(name): raise ImportError('optional')\n")
        write("replaced.py", "import sys\nsys.modules[__name__] = 5\n")
        write("deep.py", "(" * 5000)
        write("nul.py", "x = '\0'\n")
        Path("encoding.py").write_bytes(b"# coding: nope\n\xff")
        for command in ("check", "run"):
            result = call(command, target)
            assert message in result.stderr
            assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1
            assert (result.exit_code, result.stdout) == (2, "")

    def test_an_ending_in_capitals(self) -> None:
        write("OK.PY", OK)
        assert call("check", "OK.PY").stdout.startswith("ok: ok: 1 node")

    def test_what_goes_wrong_as_it_is_compiled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(self: flow.Dag) -> Any:
            raise TypeError("not a fault that is listed")

        monkeypatch.setattr(flow.Dag, "compile", broken)
        for command in ("check", "show", "run", "tune"):
            result = call(command, write("ok.py", OK))
            assert "Error: compiling 'ok.py' failed: TypeError: not a fault that is listed" in result.stderr
            assert (result.exit_code, result.stdout) == (2, "")

    def test_a_mistake_of_ours_is_one_line_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> Any:
            raise AssertionError("mistake")

        monkeypatch.setattr("flow.cli.show.size", broken)
        write("ok.py", OK)
        result = call("check", "ok.py")
        assert (result.exit_code, result.stdout) == (1, "")
        assert re.fullmatch(r"Error: AssertionError: mistake( \(.*\))?; --debug shows more\n", result.stderr)
        assert "Traceback" in call("check", "ok.py", "--debug").stderr

    def test_outputs_and_errors_that_cannot_be_shown(self) -> None:
        text = """
import flow
dag = flow.Dag("odd")
class Text(Exception):
    def __str__(self): raise RuntimeError
class Notes(Exception):
    __notes__ = 5
class Length(str):
    def __len__(self): raise ValueError
class Repr:
    def __repr__(self): raise ValueError
    __class__ = property(lambda self: 1 / 0)
    __eq__ = __bool__ = lambda *_: 1 / 0
@dag.node
def text(): raise Text
@dag.node
def notes(): raise Notes("n")
dag.add("length", lambda: Length("abc"))
dag.add("repr", lambda: Repr())
"""
        result = call("run", write("odd.py", text), "--on-error", "collect", "--debug")
        assert result.exit_code == 1
        assert "  repr = <Repr without a usable repr>" in result.stdout
        assert "  length = " in result.stdout
        assert "Text (its message cannot be shown)" in result.stderr
        assert "Notes: n" in result.stderr
        assert json.loads(call("run", "odd.py", "--on-error", "collect", "--json").stdout)["counts"]["completed"] == 2


class TestPaths:
    @pytest.mark.parametrize("command", ["check", "show", "run"])
    @pytest.mark.parametrize(
        ("target", "message"),
        [
            (LONG, "there is no module "),
            (f"{LONG}.py", "cannot be read: File name too long"),
            (f"{LONG}.json", "cannot be read: File name too long"),
            ("loop.py", "cannot be read: Too many levels"),
            ("ok.py/t.json", "there is no file 'ok.py/t.json'"),
            ("\udcff.py", "there is no file '\\udcff.py'"),
            ("pipe.py", "cannot be read: it is a pipe or a device"),
            ("pipe.json", "cannot be read: it is a pipe or a device"),
            ("zero.json", "cannot be read: it is a pipe or a device"),
            ("locked.json", "cannot be read: Permission denied"),
        ],
    )
    @unix
    def test_of_targets(self, command: str, target: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
        write("ok.py", OK)
        Path("loop.py").symlink_to("loop.py")
        Path("zero.json").symlink_to("/dev/zero")
        os.mkfifo("pipe.py")
        os.mkfifo("pipe.json")
        refusing(monkeypatch, "locked.json")
        result = call(command, target)
        assert message in result.stderr
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)

    def test_a_folder_that_cannot_be_listed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def denied(*_: object) -> Any:
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(os, "listdir", denied)
        assert call("show", "t.json").stderr == "Error: there is no file 't.json'\n"

    @unix
    @pytest.mark.slow
    def test_a_current_folder_that_is_gone(self) -> None:
        for target in ("ok:dag", "ok.py", "t.json"):
            result = shell(f"mkdir gone; cd gone; rmdir ../gone; flow check {target}")
            assert (result.returncode, result.stdout) == (2, "")
            assert result.stderr.startswith("Error: there is no ")

    @unix
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"a":' + "[" * 100_000 + "]" * 100_000 + "}", "holds no JSON object: it is nested too deeply"),
            ("[1]", "holds no JSON object: "),
            ("\x00", "holds no JSON object: "),
            (None, "cannot be read: it is a pipe or a device"),
        ],
    )
    def test_of_inputs(self, text: str | None, message: str) -> None:
        write("ok.py", OK)
        os.mkfifo("in.json") if text is None else write("in.json", text)
        result = call("run", "ok.py", "--inputs", "in.json")
        assert message in result.stderr
        assert result.exit_code == 2

    @unix
    @pytest.mark.parametrize(
        ("file", "message"),
        [
            ("absent/x.svg", "there is no folder 'absent'"),
            ("ok.py/x.svg", "cannot be written: Not a directory"),
            (f"{LONG}.svg", "cannot be written: File name too long"),
            ("loop.svg", "cannot be written: Too many levels"),
            ("pipe.svg", "cannot be written: it is a pipe or a device"),
            ("locked/x.svg", "cannot be written: Permission denied"),
            ("kept.svg", "cannot be written: Permission denied"),
        ],
    )
    def test_of_results_are_refused_before_anything_runs(
        self, file: str, message: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write("ok.py", OK.replace("lambda: 'RESULT'", "lambda: open('ran', 'w').close()"))
        Path("loop.svg").symlink_to("loop.svg")
        Path("loop.toml").symlink_to("loop.toml")
        os.mkfifo("pipe.svg")
        os.mkfifo("pipe.toml")
        write("kept.svg", "")
        write("kept.toml", "")
        refusing(monkeypatch, "locked")
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: "kept" not in str(path) and access(path, mode))
        result = call("run", "ok.py", "--timeline", file)
        assert message in result.stderr
        assert (result.exit_code, result.stdout, Path("ran").exists()) == (2, "", False)
        result = call("tune", "ok.py", "--budget", "1s", "--write", file.replace(".svg", ".toml"))
        assert message in result.stderr
        assert (result.exit_code, result.stdout, Path("ran").exists()) == (2, "", False)

    def test_a_budget_without_end(self) -> None:
        assert "is no time" in call("tune", write("ok.py", OK), "--budget", "9" * 400).stderr


def refusing(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Make ``name``, and what is below it, what this user may not look at: root may look at everything."""
    stat: Callable[..., Any] = os.stat

    def guarded(path: Any, *args: Any, **more: Any) -> Any:
        if isinstance(path, (str, os.PathLike)) and name in str(path):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return stat(path, *args, **more)

    monkeypatch.setattr(os, "stat", guarded)


@unix
@pytest.mark.slow
class TestStreams:
    @pytest.mark.parametrize("closed", ["0<&-", "2>&-", "0<&- 2>&-", pytest.param("2>/dev/full", marks=needs_full)])
    def test_results_are_printed_whatever_is_closed(self, closed: str) -> None:
        write("ok.py", OK)
        result = shell(f"flow run ok.py --timeline x.svg {closed}")
        assert "  a = 'RESULT'\n" in result.stdout
        assert (result.returncode, result.stderr) == (0, "")
        assert Path("x.svg").read_text(encoding="utf-8").startswith("<svg")
        assert json.loads(shell(f"flow run ok.py --json {closed}").stdout)["ok"] is True

    @pytest.mark.parametrize("closed", ["1>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
    def test_it_runs_with_nowhere_to_print(self, closed: str) -> None:
        write("ok.py", OK.replace("'RESULT'", "print(open('ran', 'w').close())"))
        result = shell(f"flow run ok.py {closed}")
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
        assert Path("ran").exists()

    @needs_full
    @pytest.mark.parametrize("command", ["run ok.py", "run ok.py --json", "show ok.py", "check ok.py", "--help"])
    def test_a_full_disk(self, command: str) -> None:
        write("ok.py", OK)
        result = shell(f"flow {command} > /dev/full")
        assert result.returncode == 1
        assert result.stderr == "Error: standard output cannot be written: No space left on device\n"

    @needs_full
    def test_a_full_disk_costs_no_timeline(self) -> None:
        write("ok.py", OK)
        assert shell("flow run ok.py --timeline x.svg > /dev/full").returncode == 1
        assert Path("x.svg").read_text(encoding="utf-8").startswith("<svg")

    @needs_full
    def test_what_a_module_printed_before_a_mistake_cannot_be_written(self) -> None:
        write("talks.py", "print('talk')\nraise ValueError\n")
        result = shell("flow check talks.py > /dev/full")
        assert result.returncode == 2
        assert result.stderr.splitlines()[1:] == [
            "Error: standard output cannot be written: No space left on device"
        ]

    def test_a_reader_that_has_gone(self) -> None:
        write("big.py", OK + "for i in range(9000): dag.add(f'n{i}', len)\n")
        result = shell("flow show big.py --all | head -c 10")
        assert (len(result.stdout), result.stderr) == (10, "")

    @needs_full
    def test_a_timeline_that_fails_in_the_end(self) -> None:
        write("ok.py", OK)
        Path("full.svg").symlink_to("/dev/full")
        result = shell("flow run ok.py --timeline full.svg")
        assert "  a = 'RESULT'\n" in result.stdout
        assert result.stderr == "Error: 'full.svg' cannot be written: No space left on device\n"
        assert result.returncode == 1

    def test_settings_that_fail_in_the_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        write("ok.py", OK)
        monkeypatch.setattr(os, "replace", full)
        result = call("tune", "ok.py", "--budget", "200ms", "--write", "x.toml")
        assert "runs of" in result.stdout or "default" in result.stdout
        assert result.stderr.endswith("Error: 'x.toml' cannot be written: No space left on device\n")
        assert result.exit_code == 1
        assert not Path("x.toml").exists()

    def test_a_standard_output_that_the_module_closed(self) -> None:
        write("ok.py", OK + "import sys\nsys.stdout.close()\n")
        result = shell("flow run ok.py")
        assert result.returncode == 1
        assert result.stderr == "Error: standard output cannot be written: I/O operation on closed file.\n"

    def test_a_standard_output_that_the_module_replaced(self) -> None:
        text = """
import sys
class Tee:
    def write(self, text): sys.__stdout__.write(text.upper())
    def flush(self): sys.__stdout__.flush()
sys.stdout = Tee()
"""
        write("tee.py", OK + text)
        result = shell("flow run tee.py")
        assert (result.returncode, result.stderr) == (0, "")
        assert "  A = 'RESULT'\n" in result.stdout

    @pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
    def test_any_encoding(self, encoding: str) -> None:
        write("jp.py", "import flow\ndag = flow.Dag('名')\ndag.add('é', lambda: '😀')\n")
        result = shell("flow run jp.py", PYTHONIOENCODING=encoding)
        assert (result.returncode, result.stderr) == (0, "")
        last = result.stdout.splitlines()[-1]
        assert last.startswith("名: ok" if encoding == "utf-8" else "\\u540d: ok")
        document = json.loads(shell("flow run jp.py --json", PYTHONIOENCODING=encoding).stdout)
        assert document["nodes"]["é"]["output"] == "😀"
        shown = json.loads(shell("flow show jp.py --format json", PYTHONIOENCODING=encoding).stdout)
        assert shown["nodes"][0]["name"] == "é"

    def test_streams_that_are_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "stdout", None)
        monkeypatch.setattr(sys, "stderr", None)
        terminal.say("a")
        terminal.tell("b")
        terminal.say_json(b"{}")
        assert terminal.ended(3) == 3


ESCAPES = """
import flow
EVIL = "\\x1b]0;title\\x07\\x9b2J\\x7f\\u202e\\r"
dag = flow.Dag("d")
@dag.node
def fails(): raise ValueError(EVIL)
@dag.node
def group(): raise ExceptionGroup(EVIL, [KeyError(EVIL)])
@dag.node
def output(): return EVIL
@dag.node
def outputs():
    class Odd:
        def __repr__(self): return EVIL
    return Odd()
named = flow.Dag(EVIL)
named.add(EVIL, lambda: 1, after=EVIL)
"""


class TestControlCharacters:
    @pytest.mark.parametrize(
        "args",
        [
            ["run", "escapes.py", "--on-error", "collect"],
            ["run", "escapes.py", "--on-error", "collect", "--debug"],
            ["run", "escapes.py", "--on-error", "collect", "--json"],
            ["tune", "escapes.py", "--budget", "1s"],
            ["check", "escapes.py:named"],
            ["show", "escapes.py:named", "--debug"],
            ["check", "raises.py"],
            ["check", "raises.py", "--debug"],
            ["check", "escapes.py:\x1b[2J"],
            ["check", "\x1b[2J.py"],
            ["run", "escapes.py", "--\x1b[2J"],
            ["run", "escapes.py", "--mode", "\x1b[2J\u202e"],
            ["run", "escapes.py", "--input", "\x1b\x9b=1"],
            ["show", "t.json"],
            ["\x1b[2J"],
        ],
    )
    def test_none_reaches_the_terminal(self, args: list[str]) -> None:
        write("escapes.py", ESCAPES)
        write("raises.py", ESCAPES + "raise RuntimeError(EVIL)\n")
        task = {"id": "a\x1b[2J", "name": "a", "parents": ["\u202e\x9b"], "children": []}
        trace = {"schemaVersion": "1.5", "name": "\x1b", "workflow": {"specification": {"tasks": [task]}}}
        write("t.json", json.dumps(trace))
        result = call(*args)
        assert result.exit_code in (1, 2)
        assert RAW.search(result.stdout) is None
        assert RAW.search(result.stderr) is None
        assert result.output

    def test_json_keeps_the_values(self) -> None:
        write("escapes.py", ESCAPES)
        nodes = json.loads(call("run", "escapes.py", "--on-error", "collect", "--json").stdout)["nodes"]
        assert nodes["output"]["output"] == "\x1b]0;title\x07\x9b2J\x7f\u202e\r"

    def test_colours_of_ours_stay(self) -> None:
        result = CliRunner().invoke(cli, ["run", write("ok.py", OK)], color=True)
        assert "ok: \x1b[32mok\x1b[0m, 1 of 1" in result.stdout

    def test_the_progress_display(self) -> None:
        from rich.console import Console

        from flow.observe.display import Items, Row, picture

        text = io.StringIO()
        row = Row("d\x1b[2J\x9b", 1, False, 0.0, 1.0, maps={"m\x1b]0;\x07\u202e": Items(None)})
        Console(file=text, width=200, color_system=None).print(picture([row], 0, 80))
        assert RAW.search(text.getvalue()) is None
        assert r"d\x1b[2J\x9b" in text.getvalue()

    def test_the_progress_display_without_standard_output(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dag = flow.Dag("d")
        dag.add("a", lambda: 1)
        monkeypatch.setattr(sys, "stdout", None)
        with flow.observe.Progress(force=True) as progress:
            flow.run(dag, config=flow.Config(observers=(progress,)))
        assert progress.statistics().completed == 1
