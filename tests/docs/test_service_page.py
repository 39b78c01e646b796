"""docs/service.md: its commands are typed into a shell, against the service that its first command starts."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs a shell")

PAGE = (ROOT / "docs" / "service.md").read_text("utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
SERVE, RUN, SIGNAL, RETRY, EVENTS, KEYS = BLOCKS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    program = re.search(r"^```python\n(# release\.py\n.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert program is not None
    (tmp_path / "release.py").write_text(program[1], encoding="utf-8")
    return tmp_path


def shell(folder: Path, script: str) -> str:
    flow = f'flow() {{ "{sys.executable}" -m flow "$@"; }}\n'
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-euc", flow + script], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


@contextlib.contextmanager
def started(command: list[str], lines: int, **options: Any) -> Iterator[tuple[str, str]]:
    """Start a service, and end it as an operator does; yield its port, and the first lines that it prints."""
    process = subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, text=True, **options)
    try:
        assert process.stderr is not None
        said = "".join(process.stderr.readline() for _ in range(lines))
        found = re.search(r"http://127\.0\.0\.1:(\d+)", said)
        assert found is not None, said
        yield found[1], said
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@pytest.fixture
def port(folder: Path) -> Iterator[str]:
    command = [sys.executable, "-m", "flow", *SERVE.split()[1:]]
    with started(command, 1, cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}) as (found, _):
        yield found


def shown(block: str) -> Any:
    """The JSON that the page shows after a block."""
    found = re.search(r"```json\n(.*?)^```", PAGE[PAGE.index(block) :], re.MULTILINE | re.DOTALL)
    assert found is not None
    return json.loads(found[1])


@pytest.mark.slow
def test_the_page_typed_into_a_shell(folder: Path, port: str) -> None:
    def typed(block: str) -> str:
        return shell(folder, block.replace("127.0.0.1:8080", f"127.0.0.1:{port}"))

    end = time.monotonic() + 30
    while (answer := json.loads(typed(RUN)))["status"] == "running":  # a machine may be slow; the same run is meant
        assert time.monotonic() < end
    assert {**answer, "seconds": 1.0} == shown(RUN)
    url = f"http://127.0.0.1:{port}/api/v1/workflows/release/runs"
    body = '{"inputs": {"version": 1, "regoin": "us"}}'
    wrong = json.loads(shell(folder, f"curl -s {url} -H 'content-type: application/json' -d '{body}'"))
    assert {**wrong, "request_id": "..."} == shown("What is wrong with a request")
    typed(SIGNAL)
    end = time.monotonic() + 30
    last = SIGNAL.splitlines()[-1].replace("8080", port)
    while (seen := json.loads(shell(folder, last)))["status"] != "completed":
        assert time.monotonic() < end, seen
        time.sleep(0.1)
    assert seen["outputs"] == {"announce": "app-1.2.tar.gz is in eu"}
    assert json.loads(typed(RETRY))["status"] in (409, "completed")
    events = typed(EVENTS)
    assert events.count("event: node") == 4 and "event: end" in events


def test_the_commands_for_keys(folder: Path) -> None:
    out = shell(folder, KEYS)
    assert out.startswith("flow_") and "ci" in out


def stand_in(folder: Path) -> str:
    """Make what the script takes for an environment of its own that is complete: it is this one."""
    python = folder / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    extras = re.search(r"^extras=(\S+)$", (ROOT / "scripts" / "serve.sh").read_text("utf-8"), re.MULTILINE)
    assert extras is not None
    wanted = subprocess.run(["cksum", "pyproject.toml"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (folder / f".flow-{extras[1]}").write_text(wanted, encoding="utf-8")
    (folder / "pyvenv.cfg").write_text("", encoding="utf-8")
    return str(folder)


@pytest.mark.slow
def test_the_lines_of_the_readme(folder: Path) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    found = re.search(r"^```sh\n(sh scripts/serve\.sh) &.*\n(curl .*)\n# (\{.*\}), \.\.\.\n```$", readme, re.MULTILINE)
    assert found is not None
    start, ask, answer = found.groups()
    env = {**os.environ, "FLOW_VENV": stand_in(folder / "venv")}
    with started(start.split(), 3, cwd=ROOT, env=env) as (port, said):
        outputs = json.loads(shell(folder, ask.replace("8080", port)))["outputs"]
        assert outputs == json.loads(answer + "}")["outputs"]
        ours = re.search(r"^  (curl .*)$", said, re.MULTILINE)
        assert ours is not None and '"status":"completed"' in shell(folder, ours[1])
