"""What other systems lack or do otherwise, as far as it can be played here."""

from __future__ import annotations

import errno
import io
import ntpath
import posixpath
import subprocess
import sys
from typing import Any

import pytest

import flow
from flow.cli import target, terminal
from flow.cli.commands import cli


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("C:\\work\\etl.py", ("C:\\work\\etl.py", "dag")),
        ("C:\\work\\etl.py:nightly", ("C:\\work\\etl.py", "nightly")),
        ("c:etl.py", ("c:etl.py", "dag")),
        ("\\\\host\\share\\etl.py:nightly", ("\\\\host\\share\\etl.py", "nightly")),
        ("etl.py:nightly", ("etl.py", "nightly")),
        ("pkg.mod:nightly", ("pkg.mod", "nightly")),
        ("pkg.mod", ("pkg.mod", "dag")),
        ("etl.py:", ("etl.py", "")),
    ],
)
def test_the_colon_of_a_drive_is_part_of_the_path(given: str, parts: tuple[str, str]) -> None:
    assert target.split(given, ntpath.splitdrive) == parts


def test_where_there_are_no_drives_a_colon_is_before_a_name() -> None:
    assert target.split("C:dag", posixpath.splitdrive) == ("C", "dag")


class Unread(io.StringIO):
    """A pipe that nobody reads, as Windows puts it."""

    def write(self, text: str) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    def flush(self) -> None:
        self.write("")


def test_a_reader_that_has_gone_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(terminal, "tell", lambda *lines: told.extend(lines))
    monkeypatch.setattr(sys, "stdout", Unread())
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(terminal.click, "echo", lambda text, file: file.write(text))
    with pytest.raises(BrokenPipeError) as caught:
        terminal.say("x")
    assert caught.value.errno == errno.EPIPE  # by which click knows it
    monkeypatch.setattr(sys, "stdout", Unread())
    assert (terminal.ended(0), told) == (1, [])
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(terminal.Unwritable, match="Invalid argument"):
        terminal.say("x")


def test_without_fork_signals_and_uvloop() -> None:
    """A Python that has none of them imports flow, runs on every kind of driver, and says what is missing."""
    code = """
import os, signal, sys
for name in ("fork", "register_at_fork", "sched_getaffinity", "getloadavg", "uname", "mkfifo"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "SIGHUP", "SIGUSR1", "SIGALRM"):
    if hasattr(signal, name):
        delattr(signal, name)
sys.modules.update(dict.fromkeys(("uvloop", "resource", "fcntl", "pwd", "grp", "termios")))
import flow
dag = flow.Dag("d")
dag.add("a", lambda: 1)
dag.add("b", lambda a: a + 1, thread=True)
async def c(b): return b + 1
dag.add("c", c)
print(flow.run(dag)["c"], flow.run(dag, targets=["a"])["a"])
try:
    flow.run(dag, config=flow.Config(backend="uvloop"))
except flow.UsageError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["3 1", "backend 'uvloop' is not installed: pip install 'flow-dag[uvloop]'"], (
        done.stderr
    )


def test_results_go_to_a_stream_of_few_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe on Windows takes the characters of one code page."""
    for encoding in ("cp1252", "cp437", "ascii"):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, newline=""))
        terminal.say("→ 名 é")
        sys.stdout.flush()
        assert raw.getvalue().decode(encoding).startswith("\\u2192 \\u540d ")


def test_a_file_with_line_ends_of_windows(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from click.testing import CliRunner

    monkeypatch.chdir(tmp_path)
    (tmp_path / "crlf.py").write_bytes(b"import flow\r\ndag = flow.Dag('d')\r\ndag.add('a', lambda: 1)\r\n")
    (tmp_path / "flow.toml").write_bytes(b"\xef\xbb\xbf[flow]\r\nlimit = 3\r\n")
    assert CliRunner().invoke(cli, ["check", "crlf.py"]).output.startswith("d: ok")
    assert flow.Config.load(tmp_path / "flow.toml").limit == 3
