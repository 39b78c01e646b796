"""The actions that ship: a real server and real processes, and a fake clock."""

from __future__ import annotations

import datetime
import gzip
import logging
import os
import pickle
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Annotated, Any

import anyio
import msgspec
import pytest

import flow
from flow.errors import ActionFailed
from flow.spec import actions
from flow.spec.actions import SHIPPED, shell
from flow.testing import FakeClock, context

PYTHON = sys.executable


class _Login(msgspec.Struct):
    token: Annotated[str, flow.Secret]


class TestShipped:
    @pytest.mark.parametrize("name", SHIPPED)
    def test_each_is_an_annotated_function_with_a_docstring(self, name: str) -> None:
        if SHIPPED[name].fault:
            pytest.skip(SHIPPED[name].fault)
        fn = SHIPPED[name].function()
        assert fn.__doc__ and "return" in fn.__annotations__
        assert set(fn.__code__.co_varnames[: fn.__code__.co_argcount]) <= set(fn.__annotations__)

    def test_python_has_them_too(self) -> None:
        assert actions.sleep is SHIPPED["sleep"].function() and shell.run is SHIPPED["shell.run"].function()
        assert actions.json is SHIPPED["json"].function() and actions.parse_json is SHIPPED["json.parse"].function()
        assert dir(actions) == sorted(actions.__all__)

    def test_nothing_is_imported_before_it_is_used(self) -> None:
        program = (
            "import sys, flow.spec.actions, flow.spec.called.imports, flow.spec.actions.http, flow.spec.actions.shell\n"
            "assert not {'httpx', 'yaml', 'subprocess', 'asyncio', 'ssl'} & set(sys.modules), set(sys.modules)"
        )
        subprocess.run([PYTHON, "-c", program], check=True)


class TestPlain:
    def test_json(self) -> None:
        assert actions.json({"b": [1, None], "a": "é"}) == '{"b":[1,null],"a":"é"}'
        assert actions.json({"b": 1, "a": 2}, sort_keys=True) == '{"a":2,"b":1}'
        assert actions.json([1], indent=2) == "[\n  1\n]"
        assert actions.json({"at": datetime.date(2026, 1, 2)}) == '{"at":"2026-01-02"}'
        with pytest.raises(ActionFailed, match="json: the value cannot be written: TypeError") as caught:
            actions.json(object())
        assert caught.value.action == "json" and caught.value.__cause__ is not None

    def test_parse_json(self) -> None:
        assert actions.parse_json('{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
        assert actions.parse_json(b"3") == 3
        for text in ("{", "", "nope", b"\xff", "[" * 100_000):
            with pytest.raises(ActionFailed, match="json.parse: the text is no JSON"):
                actions.parse_json(text)

    def test_fail(self) -> None:
        with pytest.raises(ActionFailed, match="^out of stock$") as caught:
            actions.fail("out of stock", {"left": 0})
        error = pickle.loads(pickle.dumps(caught.value))
        assert (str(error), error.action, error.data) == ("out of stock", "fail", {"left": 0})

    def test_log(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("DEBUG", "flow.actions")
        actions.log("one\nline \x1b[31m", data={"n": 1})
        actions.log("low", "debug", ctx=context(run_id="r1", node="tell", attempt=2))
        first, second = caplog.records
        assert first.getMessage() == 'one\\nline \\x1b[31m {"n":1}'
        assert (first.levelno, first.name, first.flow_data) == (logging.INFO, "flow.actions", {"n": 1})
        assert (second.levelno, second.flow_run, second.flow_node, second.flow_attempt) == (10, "r1", "tell", 2)
        with pytest.raises(
            ActionFailed, match="log: level is one of debug, info, warning, error, critical, not 'loud'"
        ):
            actions.log("x", "loud")  # type: ignore[arg-type]

    def test_log_in_a_run_knows_its_node(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "flow.actions")
        dag = flow.Dag("logs")
        dag.add("message", lambda: "hello")
        dag.add("tell", actions.log)
        flow.run(dag)
        assert [(r.getMessage(), r.flow_node) for r in caplog.records] == [("hello", "tell")]

    def test_log_masks_secret_inputs(self, caplog: pytest.LogCaptureFixture) -> None:
        def say(token: str, ctx: flow.Context) -> None:
            actions.log(f"with {token}\n", "warning", {"key": [token, 1]}, ctx)

        def each(number: int, token: str, ctx: flow.Context) -> None:
            say(token, ctx)

        dag = flow.Dag("logs", inputs=_Login)
        dag.add("tell", say)
        dag.add("numbers", lambda: [1])
        dag.map("each", each, over="numbers")
        flow.run(dag, {"token": "x7-secret"})
        assert [r.getMessage() for r in caplog.records] == ['with ***\\n {"key":["***",1]}'] * 2
        assert [r.flow_data for r in caplog.records] == [{"key": ["***", 1]}] * 2  # type: ignore[attr-defined]
        assert [(r.flow_node, r.flow_item) for r in caplog.records] == [("tell", None), ("each", 0)]  # type: ignore[attr-defined]


class TestSleep:
    def test_by_the_clock_of_the_run(self, backend: str) -> None:
        clock = FakeClock()
        dag = flow.Dag("naps")
        dag.add("seconds", lambda: 3600)
        dag.add("nap", actions.sleep)
        flow.run(dag, config=flow.Config(clock=clock, backend=backend))
        assert clock.slept == [3600] and clock.time == 3600

    def test_in_a_map(self, backend: str) -> None:
        clock = FakeClock()
        dag = flow.Dag("naps")
        dag.add("times", lambda: [30, 10, 20])
        dag.map("nap", actions.sleep, over="times", concurrency=3)
        flow.run(dag, config=flow.Config(clock=clock, backend=backend))
        assert sorted(clock.slept) == [10, 20, 30] and clock.time == 30

    @pytest.mark.anyio
    async def test_by_hand(self) -> None:
        clock = FakeClock()
        await actions.sleep(60, context(clock=clock))
        assert clock.time == 60
        await actions.sleep(0)
        for wrong in (-1, float("nan"), float("inf"), "5", True, None):
            with pytest.raises(ActionFailed, match="sleep: seconds must be a finite number of at least 0"):
                await actions.sleep(wrong)  # type: ignore[arg-type]

    @pytest.mark.anyio
    async def test_a_cancellation_ends_it(self) -> None:
        with anyio.move_on_after(0.01) as scope:
            await actions.sleep(3600)
        assert scope.cancelled_caught


class Handler(BaseHTTPRequestHandler):
    """Answers by path."""

    seen: list[dict[str, Any]]
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length).decode("utf-8", "replace")
        headers = {name.lower(): value for name, value in self.headers.items()}
        path, _, query = self.path.partition("?")
        self.server.seen.append(
            {"method": self.command, "path": path, "query": query, "headers": headers, "body": body}
        )  # type: ignore[attr-defined]
        status, kind, content, more = (
            ANSWERS[path](self) if path in ANSWERS else (404, "text/plain", b"no such page", {})
        )
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **more}.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_HEAD = do_PUT = answer  # noqa: N815

    def log_message(self, *args: Any) -> None: ...


def moved(to: str, status: int = 302) -> Any:
    return lambda handler: (status, "", b"", {"Location": to.format(port=handler.server.server_address[1])})


def hangs(handler: Handler) -> Any:
    handler.server.released.wait(20)  # type: ignore[attr-defined]
    return 200, "text/plain", b"late", {}


def breaks(handler: Handler) -> Any:
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)
    return 200, "text/plain", b"", {}


BOMB = gzip.compress(bytes(50_000_000))
ANSWERS: dict[str, Any] = {
    "/text": lambda h: (200, "text/plain; charset=latin-1", "né".encode("latin-1"), {}),
    "/utf8": lambda h: (200, "text/html", "né".encode(), {}),
    "/odd": lambda h: (200, "text/plain; charset=no-such", "né".encode(), {}),
    "/bytes": lambda h: (200, "application/octet-stream", b"\xff\xfe\x00", {}),
    "/json": lambda h: (200, "application/problem+json", b'{"a": [1, null]}', {}),
    "/badjson": lambda h: (200, "application/json", b"{nope", {}),
    "/deepjson": lambda h: (200, "application/json", b"[" * 50_000, {}),
    "/busy": lambda h: (503, "application/json", b'{"why": "full"}', {"Retry-After": "3"}),
    "/gzip": lambda h: (200, "text/plain", gzip.compress(b"packed" * 1000), {"Content-Encoding": "gzip"}),
    "/deflate": lambda h: (200, "text/plain", zlib.compress(b"packed"), {"Content-Encoding": "deflate"}),
    "/badgzip": lambda h: (200, "text/plain", b"no gzip", {"Content-Encoding": "gzip"}),
    "/br": lambda h: (200, "text/plain", b"x", {"Content-Encoding": "br"}),
    "/bomb": lambda h: (200, "text/plain", BOMB, {"Content-Encoding": "gzip"}),
    "/moved": moved("/text"),
    "/posted": moved("/text", 303),
    "/round": moved("/round"),
    "/tofile": moved("file:///etc/passwd"),
    "/elsewhere": moved("http://localhost:{port}/text"),
    "/hangs": hangs,
    "/breaks": breaks,
}


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.seen, made.released = [], threading.Event()  # type: ignore[attr-defined]
    made.daemon_threads = True
    made.handle_error = lambda *args: None  # type: ignore[method-assign]
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    made.released.set()  # type: ignore[attr-defined]
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.mark.anyio
class TestHttp:
    @pytest.fixture(autouse=True)
    def direct(self, monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
        pytest.importorskip("httpx")
        monkeypatch.setenv("no_proxy", "*")
        server.seen.clear()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        self.seen: list[dict[str, Any]] = server.seen

    @staticmethod
    async def request(*args: Any, **kwargs: Any) -> Any:
        from flow.spec.actions import http

        return await http.request(*args, **kwargs)

    async def test_an_answer_as_a_value(self) -> None:
        found = await self.request(f"{self.url}/json")
        assert (found["status"], found["json"], found["body"]) == (200, {"a": [1, None]}, '{"a": [1, null]}')
        assert found["headers"]["content-type"] == "application/problem+json"
        assert (await self.request(f"{self.url}/text"))["body"] == "né"
        assert (await self.request(f"{self.url}/utf8"))["body"] == "né"
        assert (await self.request(f"{self.url}/odd"))["body"] == "né"
        assert (await self.request(f"{self.url}/bytes"))["body"] == b"\xff\xfe\x00"
        for path in ("badjson", "deepjson"):
            assert (await self.request(f"{self.url}/{path}"))["json"] is None

    async def test_what_is_sent(self) -> None:
        await self.request(f"{self.url}/text", params={"q": "a b", "n": 2}, headers={"X-One": "1"})
        await self.request(f"{self.url}/text", "POST", json={"a": [1]})
        await self.request(f"{self.url}/text", "PUT", data="plain")
        await self.request(f"{self.url}/text", "POST", data={"a": "1 2"})
        await self.request(f"{self.url}/text", "HEAD")
        one, two, three, four, five = self.seen
        assert (one["query"], one["headers"]["x-one"], one["method"]) == ("q=a+b&n=2", "1", "GET") or one[
            "query"
        ] == "q=a%20b&n=2"
        assert (two["body"], two["headers"]["content-type"]) == ('{"a":[1]}', "application/json")
        assert (three["body"], three["method"]) == ("plain", "PUT")
        assert (four["body"], four["headers"]["content-type"]) == ("a=1+2", "application/x-www-form-urlencoded")
        assert five["method"] == "HEAD"

    async def test_a_status_that_is_not_expected_fails_with_the_answer(self) -> None:
        with pytest.raises(
            ActionFailed,
            match=r"^http.request: GET http://127.0.0.1:\d+/busy answered 503 Service Unavailable, which expect="
            "'200-399' has not$",
        ) as caught:
            await self.request(f"{self.url}/busy?token=secret")
        assert caught.value.data["json"] == {"why": "full"} and caught.value.data["headers"]["retry-after"] == "3"
        with pytest.raises(ActionFailed, match="answered 200"):
            await self.request(f"{self.url}/text", expect=404)
        for expect in (503, "503", "500-599", [200, "500-503"], ["200-299", 503]):
            assert (await self.request(f"{self.url}/busy", expect=expect))["status"] == 503

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"expect": []}, "expect is a status"),
            ({"expect": "2xx"}, "expect is a status"),
            ({"expect": "-"}, "expect is a status"),
            ({"expect": "299-200"}, "expect is a status"),
            ({"expect": None}, "expect is a status"),
            ({"expect": [200, "9" * 5_000]}, "expect is a status"),
            ({"timeout": 0}, "timeout must be"),
            ({"timeout": float("nan")}, "timeout must be"),
            ({"max_bytes": -1}, "max_bytes must be"),
            ({"json": 1, "data": "x"}, "json and data are both given"),
            ({"json": object()}, "json cannot be written"),
            ({"method": "GET /x HTTP/1.1\r\nX: y"}, "cannot be sent"),
            ({"headers": {"X": "a\r\nY: b"}}, "cannot be sent"),
            ({"headers": {"X": "é"}}, "a header has a character that is not ASCII"),
            ({"url": "file:///etc/passwd"}, "url must begin with http:// or https://"),
            ({"url": "/etc/passwd"}, "url must begin with http:// or https://"),
            ({"url": "ftp://127.0.0.1/x"}, "url must begin with http:// or https://"),
            ({"url": "http://"}, "url must begin with http:// or https://"),
            ({"url": "http://[::1"}, "url cannot be used"),
            ({"url": 5}, "url cannot be used"),
        ],
    )
    async def test_what_cannot_be_sent_is_refused(self, wrong: dict[str, Any], says: str) -> None:
        with pytest.raises(ActionFailed, match=f"^http.request: .*{says}"):
            await self.request(**{"url": f"{self.url}/text", **wrong})
        assert self.seen == []

    async def test_redirects(self) -> None:
        assert (await self.request(f"{self.url}/moved", headers={"X-Key": "k"}))["body"] == "né"
        assert [one["headers"].get("x-key") for one in self.seen] == ["k", "k"]
        self.seen.clear()
        await self.request(f"{self.url}/posted", "POST", json=1)
        assert [(one["method"], one["body"]) for one in self.seen] == [("POST", "1"), ("GET", "")]
        assert (await self.request(f"{self.url}/moved", follow_redirects=False))["status"] == 302
        with pytest.raises(ActionFailed, match="was redirected more than 5 times"):
            await self.request(f"{self.url}/round")
        with pytest.raises(ActionFailed, match="redirected from http to 'file', which is not followed"):
            await self.request(f"{self.url}/tofile")

    async def test_another_host_gets_no_secrets(self) -> None:
        given = {"Authorization": "Bearer x", "X-Key": "k", "Cookie": "c=1", "Accept": "text/plain"}
        try:
            await self.request(f"{self.url}/elsewhere", headers=given)
        except ConnectionError:
            pytest.skip("localhost is not 127.0.0.1 here")
        first, second = [one["headers"] for one in self.seen]
        assert {"authorization", "x-key", "cookie"} <= first.keys()
        assert not {"authorization", "x-key", "cookie"} & second.keys()
        assert second["accept"] == "text/plain" and second["host"].startswith("localhost:")

    async def test_https_is_not_left_for_http(self) -> None:
        import httpx

        from flow.spec.actions.http import _check_scheme

        _check_scheme("GET x", httpx.URL("https://a/"), httpx.URL("http://a/"))
        with pytest.raises(ActionFailed, match="redirected from https to 'http', which is not followed"):
            _check_scheme("GET x", httpx.URL("http://a/"), httpx.URL("https://a/"))

    async def test_bodies_are_unpacked_up_to_the_limit(self) -> None:
        assert (await self.request(f"{self.url}/gzip"))["body"] == "packed" * 1000
        assert (await self.request(f"{self.url}/deflate"))["body"] == "packed"
        assert (await self.request(f"{self.url}/gzip", max_bytes=6000))["status"] == 200
        for path, most in (("gzip", 5999), ("json", 15), ("bomb", 1_000_000), ("text", 0)):
            with pytest.raises(ActionFailed, match=f"is longer than max_bytes={most}: ask for less"):
                await self.request(f"{self.url}/{path}", max_bytes=most)
        with pytest.raises(ConnectionError, match="cannot be decompressed"):
            await self.request(f"{self.url}/badgzip")
        with pytest.raises(ActionFailed, match="in the encoding 'br'"):
            await self.request(f"{self.url}/br")

    async def test_no_answer_is_a_connection_error(self) -> None:
        with pytest.raises(ConnectionError, match="http.request: GET .*/breaks: RemoteProtocolError"):
            await self.request(f"{self.url}/breaks")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            with pytest.raises(ConnectionError, match="ConnectError"):
                await self.request(f"http://127.0.0.1:{free.getsockname()[1]}/")

    async def test_the_time_is_limited(self) -> None:
        with pytest.raises(TimeoutError, match=r"^http.request: GET .*/hangs took longer than timeout=0.05 s$"):
            await self.request(f"{self.url}/hangs?token=secret", timeout=0.05)
        with anyio.move_on_after(0.05) as scope:
            await self.request(f"{self.url}/hangs")
        assert scope.cancelled_caught

    async def test_without_the_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "httpx", None)
        with pytest.raises(ActionFailed, match=r"needs the package httpx: pip install 'flow-dag\[httpx\]'"):
            await self.request(f"{self.url}/text")


def test_a_request_as_a_node(server: Any, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("httpx")
    from flow.spec.actions import http

    monkeypatch.setenv("no_proxy", "*")
    dag = flow.Dag("asks")
    dag.add("url", lambda: f"http://127.0.0.1:{server.server_address[1]}/json")
    dag.add("answer", http.request, needs={"url": "url"})
    found: Any = flow.run(dag, config=flow.Config(backend=backend))["answer"]
    assert found["json"] == {"a": [1, None]}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if not Path("/proc/self/stat").exists():
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:  # it has just gone
        return False


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")
@pytest.mark.anyio
class TestShell:
    async def test_a_list_goes_by_no_shell(self) -> None:
        found = await shell.run([PYTHON, "-c", "import sys; print(sys.argv[1:])", "a b; $HOME", "*"])
        assert found == {"exit_code": 0, "stdout": "['a b; $HOME', '*']\n", "stderr": ""}

    async def test_text_is_a_line_for_the_shell(self) -> None:
        assert (await shell.run("echo a | tr a b; echo c >&2")) == {"exit_code": 0, "stdout": "b\n", "stderr": "c\n"}

    async def test_where_and_with_what_it_runs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KEPT", "1")
        found = await shell.run("pwd; echo $KEPT$ADDED; cat", cwd=str(tmp_path), env={"ADDED": "2"}, input="né")
        assert found["stdout"].splitlines() == [str(tmp_path), "12", "né"]
        assert (await shell.run("cat", input=b"\xff"))["stdout"] == "\ufffd"
        assert (await shell.run("cat"))["stdout"] == ""
        big = "x" * 1_000_000
        assert (await shell.run(["cat"], input=big))["stdout"] == big
        assert (await shell.run(["true"], input=big))["exit_code"] == 0

    async def test_an_exit_code_is_a_failure_with_the_outputs(self) -> None:
        with pytest.raises(
            ActionFailed, match="^shell.run: a line for the shell ended with exit code 3: why\\\\x07$"
        ) as caught:
            await shell.run("echo out; echo first >&2; printf 'why\\a\\n' >&2; exit 3")
        assert caught.value.data == {"exit_code": 3, "stdout": "out\n", "stderr": "first\nwhy\x07\n"}
        assert (await shell.run("exit 3", check=False))["exit_code"] == 3
        with pytest.raises(ActionFailed, match=f"^shell.run: '{PYTHON}' was ended by SIGKILL$"):
            await shell.run([PYTHON, "-c", "import os; os.kill(os.getpid(), 9)"])
        with pytest.raises(ActionFailed, match="exit code 1: out$"):
            await shell.run("echo out; exit 1")

    async def test_one_that_is_cancelled_while_it_is_started_ends(self, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        for turns in range(6):
            async with anyio.create_task_group() as group:
                group.start_soon(shell.run, f"echo $$ > {pid}; sleep 300")
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            if pid.exists() and pid.read_text():
                await gone([int(pid.read_text())])

    async def test_what_cannot_be_started(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match="no-such-program"):
            await shell.run(["no-such-program"])
        (tmp_path / "plain").write_text("")
        with pytest.raises(TypeError):
            await shell.run(["true"], env={"A": 5})  # type: ignore[dict-item]
        with pytest.raises(FileNotFoundError, match="no-such-folder"):
            await shell.run(["true"], cwd="no-such-folder")
        with pytest.raises(PermissionError):
            await shell.run([str(tmp_path / "plain")])

    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"command": []}, "command is the program"),
            ({"command": ""}, "command is the program"),
            ({"command": b"ls"}, "command is the program"),
            ({"command": ["ls", 5]}, "command is the program"),
            ({"command": {"ls": 1}}, "command is the program"),
            ({"command": ["ls", "a\0b"]}, "NUL"),
            ({"timeout": 0}, "timeout must be"),
            ({"max_bytes": 1.5}, "max_bytes must be"),
            ({"grace": -1}, "grace must be"),
        ],
    )
    async def test_arguments_that_cannot_be_used(self, wrong: dict[str, Any], says: str) -> None:
        with pytest.raises(ActionFailed, match=f"^shell.run: .*{says}"):
            await shell.run(**{"command": ["true"], **wrong})

    async def test_too_much_output_ends_it(self) -> None:
        for stream in ("stdout", "stderr"):
            program = f"import sys\nwhile True: sys.{stream}.write('x' * 10_000)"
            with pytest.raises(ActionFailed, match=f"printed more than max_bytes=50000 to {stream}, and was ended"):
                await shell.run([PYTHON, "-c", program], max_bytes=50_000)
        assert (await shell.run("printf abc", max_bytes=3))["stdout"] == "abc"

    async def test_its_time_is_limited_and_what_it_started_ends_too(self, tmp_path: Path) -> None:
        pids = tmp_path / "pids"
        line = f"sleep 300 & echo $! >> {pids}; (trap '' TERM; sleep 301) & echo $! >> {pids}; echo $$ >> {pids}; wait"
        with pytest.raises(
            TimeoutError, match="^shell.run: a line for the shell took longer than timeout=0.3 s, and was ended$"
        ):
            await shell.run(line, timeout=0.3)
        found = [int(pid) for pid in pids.read_text().split()]
        assert len(found) == 3
        await gone(found)

    async def test_a_program_may_end_well_at_sigterm(self, tmp_path: Path) -> None:
        done = tmp_path / "done"
        line = f"trap 'echo bye > {done}; exit 0' TERM; echo up > {tmp_path / 'up'}; while true; do sleep 0.01; done"
        async with anyio.create_task_group() as group:
            group.start_soon(shell.run, line)
            while not (tmp_path / "up").exists():
                await anyio.sleep(0.01)
            await anyio.wait_all_tasks_blocked()  # the program may be up before the action has heard of that
            group.cancel_scope.cancel()
        assert done.read_text() == "bye\n"

    async def test_one_that_does_not_heed_sigterm_is_killed(self, tmp_path: Path) -> None:
        pid = tmp_path / "pid"
        line = f"trap '' TERM; echo $$ > {pid}; while true; do sleep 0.01; done"
        with pytest.raises(TimeoutError):
            await shell.run(line, timeout=0.3, grace=0.05)
        await gone([int(pid.read_text())])

    async def test_a_child_that_holds_the_output_counts(self) -> None:
        found = await shell.run("(sleep 0.2; echo late) & echo early")
        assert found["stdout"] == "early\nlate\n"
        with pytest.raises(TimeoutError):
            await shell.run("sleep 300 & exit 0", timeout=0.2, grace=0)


async def gone(pids: list[int]) -> None:
    with anyio.fail_after(10):
        while any(map(alive, pids)):
            await anyio.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")
def test_a_run_that_fails_ends_its_programs(backend: str, tmp_path: Path) -> None:
    """At whatever moment: an event loop of asyncio cancels the node's own task, not a scope."""
    for turns in range(0, 12, 2):

        async def fails() -> None:
            for _ in range(turns):  # noqa: B023
                await anyio.sleep(0)
            raise LookupError

        pid = tmp_path / f"pid{turns}"
        dag = flow.Dag("runs")
        dag.add("command", lambda: f"echo $$ > {pid}; sleep 300")  # noqa: B023
        dag.add("program", shell.run)
        dag.add("fails", fails, after="command")
        with pytest.raises(flow.RunError):
            flow.run(dag, config=flow.Config(backend=backend))
        found = pid.read_text() if pid.exists() else ""
        assert not found or not alive(int(found))


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX")
def test_a_program_as_a_node_ends_with_its_time_limit(backend: str, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    dag = flow.Dag("runs")
    dag.add("command", lambda: f"echo $$ > {pid}; sleep 300")
    dag.add("program", shell.run, timeout=0.5)
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag, config=flow.Config(backend=backend))
    assert isinstance(caught.value.exceptions[0], flow.NodeTimeout)
    end = time.monotonic() + 10
    while alive(int(pid.read_text())):
        assert time.monotonic() < end
        time.sleep(0.01)
