"""What a service takes at once besides runs: runs that wait, connections; and whether quick runs hold its loop."""

from __future__ import annotations

import socket
import threading
import time

import pytest
from client import API, serving
from test_direct import Served, make

import flow
from flow.errors import ConfigError
from flow.http import Limits

asking = flow.Dag("asking")
asking.signal("ok", type=bool)


def test_runs_that_wait_are_bounded() -> None:
    with serving({"asking": asking}, limits=Limits(live=2)) as client:
        runs = f"{API}/workflows/asking/runs?wait=0"
        ids = [client.post(runs).json["id"] for _ in range(2)]
        refused = client.post(runs)
        assert refused.status == 503 and refused.headers["retry-after"] == "1"
        assert "2 runs have not ended" in refused.text
        assert client.post(f"{API}/runs/{ids[0]}/cancel").status == 202
        until = time.monotonic() + 20
        while client.post(runs).status != 202:  # its tasks need turns of the loop to end
            assert time.monotonic() < until


def test_connections_are_bounded() -> None:
    served = Served(make(hosts=["localhost"], limits=Limits(connections=2)))
    try:
        address = ("127.0.0.1", served.port)
        ask = b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n"
        first, second = socket.create_connection(address), socket.create_connection(address)
        with first, second:
            for one in (first, second):
                one.sendall(ask)
                assert one.recv(64).startswith(b"HTTP/1.1 200")
            with socket.create_connection(address) as third, pytest.raises(ConnectionResetError):
                third.sendall(ask)
                assert third.recv(64) == b""
                raise ConnectionResetError
    finally:
        served.close()


@pytest.mark.parametrize(("quick", "ways"), [(1e-3, {True}), (0.0, {False})])
def test_quick_runs_can_be_kept_off_the_event_loop(quick: float, ways: set[bool]) -> None:
    dag, seen = flow.Dag("d"), list[bool]()
    dag.add("a", lambda: seen.append(threading.current_thread() is threading.main_thread()))
    with serving({"d": dag}, limits=Limits(quick=quick)) as client:
        for _ in range(300):  # a machine may be slow once
            client.post(f"{API}/workflows/d/runs")
    assert set(seen[100:]) >= ways and (quick or set(seen) == {False})


def test_all_that_is_wrong_with_limits() -> None:
    with pytest.raises(ConfigError) as caught:
        Limits(live=0, connections=0, quick=-1.0, wait=0)
    assert len(caught.value.faults) == 4
