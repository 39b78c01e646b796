"""What processes hold: on Linux, and as other systems would tell it."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from flow_bench.harness import machine, processes
from flow_bench.suites.engine import importing


def test_resident_memory_is_that_of_the_process_asked_for() -> None:
    program = "import sys; held = bytearray(64_000_000); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        pid = psutil.Process(child.pid).children()[0].pid if sys.platform == "win32" else child.pid
        assert 64_000_000 < processes.resident(pid) < 200_000_000
        child.communicate()
    assert processes.resident() == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)


def test_the_peak_is_no_less_than_what_is_held() -> None:
    held = processes.resident() / 1e6
    assert processes.peak_mb() >= held * 0.99


@pytest.mark.skipif(sys.platform == "win32", reason="there is no module resource")
@pytest.mark.parametrize(("platform", "unit"), [("darwin", 1), ("freebsd14", 1024)])
def test_the_peak_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch, platform: str, unit: int) -> None:
    import resource

    def no_proc(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError

    monkeypatch.setattr(processes, "open", no_proc, raising=False)
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=3_000_000))
    assert processes.peak_mb() == 3_000_000 * unit / 1e6


def test_the_peak_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    info = SimpleNamespace(rss=5, peak_wset=7_000_000)
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: info))
    assert processes.peak_mb() == 7.0


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(cpu_affinity=lambda: [0, 3, 5]))
    assert processes.cores() == machine.facts()["cores"] == 3
    monkeypatch.setattr(psutil, "cpu_count", lambda: 6)
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace())  # as on macOS
    assert processes.cores() == 6


def test_the_cpu_of_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_proc(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError

    monkeypatch.setattr(machine, "open", no_proc, raising=False)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(machine, "_output", lambda *command: "Apple M9" if "sysctl" in command else "")
    assert machine.facts()["cpu"] == "Apple M9"


def test_a_childs_memory_is_seen_while_it_lives_and_without_psutil_in_it(tmp_path: Any) -> None:
    found = importing.start("msgspec", str(tmp_path))
    assert found.held > 4_000_000
    assert "msgspec" in found.loaded
    assert "psutil" not in found.loaded
    assert 0 < found.processor <= found.seconds * 4
