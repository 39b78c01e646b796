"""``flow serve``: what it refuses before anything listens, what it says, and that this works as it is."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from conftest import ROOT

pytest.importorskip("uvicorn")
pytest.importorskip("yaml")

sys.path.append(str(ROOT / "tests" / "http"))

from served import Served, connected, eventually, got, process, read_to, refused

from flow.cli.commands import cli
from flow.cli.serve import _hosts
from flow.http.entrance import ADDRESSES, LOOPBACK

DAGS = """
import os
import time
import flow

first = flow.Dag("first")

@first.node
def twice(x: int) -> int:
    return 2 * x

bad = flow.Dag("bad")

@bad.node
def boom(x: int) -> int:
    raise ValueError("no " + chr(27) + "[31m such")

slow = flow.Dag("slow")

@slow.node
def nap() -> str:
    with open("new", "w") as file:
        file.write(str(os.getpid()))
    os.rename("new", "began")
    while not os.path.exists("go"):
        time.sleep(0.01)
    return "slept"
"""


@pytest.fixture
def dags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FLOW_STORE", raising=False)
    file = tmp_path / "dags.py"
    file.write_text(DAGS, encoding="utf-8")
    return file


@pytest.fixture
def serves(dags: Path) -> Iterator[Callable[..., Served]]:
    """Start ``flow serve`` with arguments."""
    from contextlib import ExitStack

    with ExitStack() as started:
        yield lambda *words: started.enter_context(
            process([sys.executable, "-m", "flow", "serve", *words], cwd=dags.parent, env=os.environ | PATHS)
        )


PATHS = {"PYTHONPATH": str(ROOT)}


def refusal(*words: str) -> tuple[int, str]:
    """Return the exit code of ``flow serve``, and what it says, where it serves nothing."""
    result = CliRunner().invoke(cli, ["serve", *words])
    return result.exit_code, result.output


# -- refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Missing argument"),
        (["--host", "0.0.0.0"], "other machines reach 0.0.0.0: give --keys FILE"),
        (["--host", "no.such.host.invalid"], "has no address"),
        (["--host", ""], "has no address"),
        (["--keys", "k.json", "--no-auth"], "exclude each other"),
        (["--workers", "2"], "--workers 2 needs --store FILE"),
        (["--durability", "sync"], "say --store FILE"),
        (["--burst", "3"], "--burst is for --rate"),
        (["--rate", "60"], "is no rate: write it as in 60/min"),
        (["--rate", "60/"], "is no rate"),
        (["--rate", "0/min"], "lets nothing in"),
        (["--rate", "60/0"], "lets nothing in"),
        (["--metrics-port", "65535", "--workers", "2", "--store", "s.db"], "leaves no ports for 2 workers"),
        (["--metrics-port", "8080"], "--port is one of them"),
        (["--allow", "a:*"], "--allow is for workflow files"),
        (["--keys", "none.json"], "there is no file of keys 'none.json': `flow keys add NAME --file none.json` makes"),
        (["--allow-host", "http://flow.example"], "is no name of a host: write it as flow.example.com"),
        (["--allow-host", "flow.example:80"], "is no name of a host"),
        (["--allow-host", ""], "is no name of a host"),
        (["--grace", "-1"], "-1"),
        (["dags.py:first"], "is called 'first', as another TARGET is"),
        (["a b=dags.py:slow"], "a name that is none"),
        (["first=dags.py:slow"], "is called 'first', as another TARGET is"),
        (["trace.json"], "is a trace"),
        (["dags.py:third"], "has no 'third'"),
    ],
)  # fmt: skip
def test_what_cannot_be_served_is_refused_in_words(dags: Path, words: list[str], said: str) -> None:
    code, text = refusal(*(["dags.py:first"] if words else []), *words)
    assert code in (1, 2)
    assert said in text
    assert "Traceback" not in text
    assert not list(dags.parent.glob("*.db*"))


def test_all_faults_of_the_options_are_told_at_once(dags: Path) -> None:
    code, text = refusal("dags.py:first", "--host", "0.0.0.0", "--workers", "2", "--burst", "1", "--durability", "sync")
    assert code == 2
    assert all(word in text for word in ("--no-auth", "--workers 2 needs", "--burst is for", "--durability is for"))


def test_a_port_that_is_taken_is_told_in_one_line(dags: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = refusal("dags.py:first", "--port", str(port))
        assert code == 1
        assert text == f"Error: port {port} of 127.0.0.1 is in use: take another (--port 0 picks a free one)\n"
        code, text = refusal("dags.py:first", "--port", "0", "--metrics-port", str(port))
        assert (code, f"port {port} of 127.0.0.1 is in use" in text) == (1, True)


def test_libraries_that_are_missing_are_named(dags: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, text = refusal("dags.py:first")
    assert (code, text) == (2, "Error: flow serve needs starlette and uvicorn: pip install 'flow-dag[http]'\n")


@pytest.mark.parametrize(
    ("words", "hosts"),
    [
        ({}, (*LOOPBACK, "127.0.0.1")),
        ({"host": "::1", "allow_host": ("flow.example",)}, (*LOOPBACK, "::1", "flow.example")),
        ({"host": "0.0.0.0", "no_auth": True}, (*LOOPBACK, "box", "box.local", ADDRESSES)),
        ({"host": "0.0.0.0", "no_auth": True, "allow_host": ("b",)}, (*LOOPBACK, "box", "box.local", "b", ADDRESSES)),
        ({"host": "0.0.0.0", "keys": "k"}, None),
        ({"host": "0.0.0.0", "keys": "k", "allow_host": ("b",)}, (*LOOPBACK, "box", "box.local", "b", ADDRESSES)),
    ],
)
def test_names_that_are_answered(
    words: dict[str, Any], hosts: tuple[str, ...] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "Box")
    assert _hosts({"host": "127.0.0.1", "keys": None, "no_auth": False, "allow_host": (), **words}) == hosts


# -- served ----------------------------------------------------------------------------------


def url_in(served: Served) -> str:
    found = re.search(r" on (http://\S+)", served.line(lambda line: line.startswith("serving ")))
    assert found is not None
    return found[1]


def by_shell(line: str, **variables: str) -> dict[str, Any]:
    done = subprocess.run(line, shell=True, capture_output=True, env=os.environ | variables, check=False, timeout=30)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


curl = pytest.mark.skipif(shutil.which("curl") is None or os.name == "nt", reason="curl in a shell")


@curl
def test_the_curl_line_works_and_streams_end_first_then_runs(serves: Callable[..., Served], tmp_path: Path) -> None:
    served = serves("dags.py:first", "also=dags.py:slow", "--port", "0", "--rate", "600/min", "--burst", "100")
    url = url_in(served)
    assert by_shell(served.line(lambda line: "curl" in line))["outputs"] == {"twice": 2}
    port = int(url.rpartition(":")[2])
    line = f"curl -s {url}/api/v1/workflows/also/runs -H 'content-type: application/json' -d '{{\"run_id\":\"r\"}}'"
    with subprocess.Popen(line, shell=True, stdout=subprocess.PIPE) as asked, connected(port) as stream:
        eventually((tmp_path / "began").exists)
        stream.sendall(b"GET /api/v1/runs/r/events HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert b'"running"' in read_to(stream, b"\n\n\r\n")
        served.send(signal.SIGTERM)
        read_to(stream, b"0\r\n\r\n")  # it ends before its run
        eventually(lambda: refused(port))
        (tmp_path / "go").touch()
        answer = json.loads(asked.communicate(timeout=30)[0])
    assert (answer["status"], answer["outputs"]) == ("completed", {"nap": "slept"})
    assert served.ended() == 0
    assert refused(port)
    assert "Traceback" not in served.text


@curl
def test_with_keys_the_line_asks_for_one_and_the_page_has_a_link(serves: Callable[..., Served], dags: Path) -> None:
    from flow.http.keys import Keys

    file = dags.parent / "keys.json"
    key = Keys.open(file, create=True).add("me")
    served = serves("dags.py:first", "--port", "0", "--keys", str(file))
    port = int(url_in(served).rpartition(":")[2])
    line = served.line(lambda line: "curl" in line)
    assert by_shell(line, FLOW_KEY=key)["status"] == "completed"
    assert by_shell(line, FLOW_KEY="flow_x_y")["status"] == 401
    link = served.line(lambda line: "/login?token=" in line).split()[-1]
    assert got(port, link[link.index("/login") :])[0] in (200, 303)
    served.send(signal.SIGINT)
    assert served.ended() == 0


def test_without_auth_every_start_says_so(serves: Callable[..., Served]) -> None:
    served = serves("dags.py:first", "--port", "0", "--host", "0.0.0.0", "--no-auth", "--allow-host", "also.example")
    served.line(lambda line: line.startswith("Warning: --no-auth: whoever reaches 0.0.0.0"))
    assert "://127.0.0.1:" in url_in(served)
    port = int(url_in(served).rpartition(":")[2])
    for host, status in (("10.0.0.9", 200), (socket.gethostname(), 200), ("also.example", 200), ("evil.example", 421)):
        assert got(port, "/api/v1/runs", headers={"host": host})[0] == status
    served.line(lambda line: line.startswith("page:"))


def asked(served: Served, *names: str) -> None:
    """Run workflows, and end the service."""
    port = int(url_in(served).rpartition(":")[2])
    for name in names:
        path, body = f"/api/v1/workflows/{name}/runs", b'{"run_id": "%s", "inputs": {"x": 1}}' % name.encode()
        assert got(port, path, "POST", body, {"content-type": "application/json"})[0] == 200
    served.send(signal.SIGTERM)
    assert served.ended() == 0


@pytest.mark.parametrize(("words", "kinds"), [([], "E"), (["--log"], "IWEII"), (["--log", "debug"], "IIWWEIIII")])
def test_runs_that_fail_are_logged(serves: Callable[..., Served], words: list[str], kinds: str) -> None:
    served = serves("dags.py:bad", "dags.py:first", "--port", "0", *words)
    asked(served, "bad", "first")
    logged = [line.split()[1][0] for line in served.lines if re.match(r"\d\d:\d\d:\d\d\.\d{3} ", line)]
    assert "".join(logged) == kinds
    at = next(i for i, line in enumerate(served.lines) if " ERROR " in line)
    assert served.lines[at].endswith("run bad of bad failed: boom: ValueError: no \\x1b[31m such")
    assert "Traceback" in served.lines[at + 1]
    assert "\x1b" not in served.text


def test_logging_that_the_users_code_configures_has_it_alone(serves: Callable[..., Served], dags: Path) -> None:
    text = "import logging\nlogging.basicConfig(format='mine: %(levelname)s %(message)s')\n"
    dags.write_text(text + DAGS, encoding="utf-8")
    served = serves("dags.py:bad", "--port", "0", "--log")
    asked(served, "bad")
    assert any(line.startswith("mine: INFO run bad: dag bad begins") for line in served.lines)
    assert sum("of bad failed" in line for line in served.lines) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="processes are ended by signals")
def test_workers_share_a_store_and_a_killed_one_loses_no_run(serves: Callable[..., Served], tmp_path: Path) -> None:
    served = serves("dags.py:slow", "--port", "0", "--store", "runs.db", "--workers", "2", "--metrics-port", "0")
    port = int(url_in(served).rpartition(":")[2])
    metrics = [int(found) for found in re.findall(r":(\d+)/metrics", served.line(lambda line: "metrics: http" in line))]
    assert len(metrics) == 2
    assert all(b"workflow_executions_total" in got(one, "/metrics")[1] for one in metrics)
    asked = f"curl -s http://127.0.0.1:{port}/api/v1/workflows/slow/runs -H 'content-type: application/json'"
    run = by_shell(asked + " -H 'prefer: respond-async' -d '{}'")
    eventually((tmp_path / "began").exists)
    os.kill(int((tmp_path / "began").read_text(encoding="utf-8")), signal.SIGKILL)
    served.line(lambda line: "another takes its place" in line)
    (tmp_path / "go").touch()
    eventually(lambda: got(port, f"/api/v1/runs/{run['id']}")[1]["status"] == "completed")
    served.send(signal.SIGTERM)
    assert served.ended() == 0


@curl
def test_the_script_serves_the_example(tmp_path: Path) -> None:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    shutil.copy(ROOT / "scripts" / "serve.sh", scripts)
    (scripts / "venv.sh").write_text(f'python="{sys.executable}"\ncd "{ROOT}"\n', encoding="utf-8")
    with process(["sh", str(scripts / "serve.sh"), "--port", "0"]) as served:
        answer = by_shell(served.line(lambda line: "curl" in line))
        assert answer["outputs"] == {"goods": 19_300, "delivery": 760, "tax": 3_811, "total": 23_871}
        served.send(signal.SIGTERM)
        assert served.ended() == 0
