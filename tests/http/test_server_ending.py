"""How a served process ends: it drains at a signal, and a second one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

pytest.importorskip("uvicorn")
pytest.importorskip("psutil")

import psutil
from served import connected, eventually, got, read_to, refused, stub, until_closed

pytestmark = pytest.mark.skipif(os.name == "nt", reason="processes are ended by signals")


class Asked(threading.Thread):
    """A request that is answered later."""

    def __init__(self, port: int, path: str) -> None:
        super().__init__()
        self.port, self.path = port, path
        self.answer: Any = None

    def run(self) -> None:
        try:
            self.answer = got(self.port, self.path)
        except OSError as error:
            self.answer = error


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_run_gets_its_answer_and_the_process_ends_with_0(sig: int) -> None:
    with stub() as (served, port, _):
        asked = Asked(port, "/run")
        asked.start()
        served.line(lambda line: line == "run")
        served.send(sig)
        asked.join()
        assert asked.answer == (200, {"status": "completed"})
        assert served.ended() == 0
        assert refused(port)


def test_a_stream_ends_first_and_idle_connections_are_closed() -> None:
    with stub() as (served, port, _), connected(port) as stream, connected(port) as idle:
        stream.sendall(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n")
        idle.sendall(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n")
        assert read_to(idle, b"}").startswith(b"HTTP/1.1 200")
        eventually(lambda: got(port, "/live")[1]["open"])
        served.send(signal.SIGTERM)
        assert b"last" in until_closed(stream)
        assert until_closed(idle) == b""
        assert served.ended() == 0


def test_a_notice_comes_before_connections_are_refused() -> None:
    with stub(notice=60.0) as (served, port, _):
        assert got(port, "/ready")[0] == 200
        served.send(signal.SIGTERM)
        eventually(lambda: got(port, "/ready")[0] == 503)  # on connections made after the signal
        served.send(signal.SIGINT)
        assert served.ended() == 128 + signal.SIGINT


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(sig: int) -> None:
    with stub(notice=60.0) as (served, port, _):
        served.send(signal.SIGTERM)
        eventually(lambda: got(port, "/ready")[0] == 503)
        served.send(sig)
        assert served.ended() == 128 + sig
        assert "second signal" in served.text


def test_what_never_ends_does_not_hold_the_end() -> None:
    with stub(linger=0.1) as (served, port, _), connected(port) as stuck:
        stuck.sendall(b"GET /stuck HTTP/1.1\r\nhost: x\r\n\r\n")
        eventually(lambda: got(port, "/live")[1]["connections"] == 2)
        served.send(signal.SIGTERM)
        assert served.ended() == 0


def test_workers_drain_together_and_one_that_is_killed_is_replaced() -> None:
    with stub(workers=2, metrics=True) as (served, port, others):
        pids = [eventually_pid(other) for other in others]
        assert len(set(pids)) == 2
        assert got(others[0], "/live")[0] == 404  # there is /metrics alone
        os.kill(pids[0], signal.SIGKILL)
        served.line(lambda line: "killed by SIGKILL" in line)
        again = eventually_pid(others[0])
        assert again not in pids
        asked = Asked(port, "/run")
        asked.start()
        served.line(lambda line: line == "run")
        served.send(signal.SIGTERM)
        asked.join()
        assert asked.answer == (200, {"status": "completed"})
        assert served.ended() == 0
        assert refused(port)


def eventually_pid(port: int) -> int:
    pid: int = got(port, "/metrics")[1]["pid"]
    return pid


@pytest.mark.slow
def test_a_signal_to_all_processes_at_once_is_no_second_one() -> None:
    with stub(workers=2, metrics=True) as (served, port, others):
        for other in others:
            eventually_pid(other)
        asked = Asked(port, "/run")
        asked.start()
        served.line(lambda line: line == "run")
        os.killpg(served.process.pid, signal.SIGTERM)
        asked.join()
        assert asked.answer == (200, {"status": "completed"})
        assert served.ended() == 0


@pytest.mark.slow
@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_all_processes_while_workers_start_ends_them_in_silence(sig: int) -> None:
    with stub(workers=2, awaited=False) as (served, _, _):
        children = psutil.Process(served.process.pid).children
        eventually(lambda: len(children()) > 1)  # one may be multiprocessing's own
        os.killpg(served.process.pid, sig)
        assert served.ended() == 0
        assert "Traceback" not in served.text


@pytest.mark.slow
def test_workers_end_with_their_parent() -> None:
    with stub(workers=2, metrics=True) as (served, port, others):
        for other in others:
            eventually_pid(other)
        served.process.kill()
        eventually(lambda: refused(port) and all(refused(other) for other in others))


@pytest.mark.slow
def test_workers_that_cannot_start_are_not_started_for_ever() -> None:
    with stub(workers=2, fails=True, awaited=False) as (served, port, _):
        assert served.ended() == 1
        assert "3 workers in a row" in served.text
        assert refused(port)
