"""The five programs of docs/compare: same results and same failures in each version, and lines counted."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

COMPARE = Path(__file__).parents[2] / "docs" / "compare"
PAGE = (COMPARE / "README.md").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(COMPARE))
    mine = {path.stem for path in COMPARE.glob("*.py")}
    yield
    for name in mine & set(sys.modules):
        del sys.modules[name]


def versions(program: str) -> list[Any]:
    peers = sorted(path.stem.removeprefix(f"{program}_") for path in COMPARE.glob(f"{program}_*.py"))
    return [pytest.param(peer, id=peer) for peer in peers]


def needs(peer: str) -> None:
    if peer != "by_hand" and importlib.util.find_spec(peer) is None:
        pytest.skip(f"{peer} is not installed: pip install '.[peers]'")


def load(program: str, peer: str) -> tuple[ModuleType, ModuleType]:
    needs(peer)
    work = importlib.import_module("work")
    work.reset()
    return work, importlib.import_module(f"{program}_{peer}")


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions of the functions: flow raises a group of them."""
    return (
        [leaf for one in error.exceptions for leaf in leaves(one)] if isinstance(error, BaseExceptionGroup) else [error]
    )


@pytest.mark.parametrize("peer", versions("etl"))
class TestEtl:
    def test_a_source_that_answers_at_last_is_read(self, peer: str) -> None:
        work, program = load("etl", peer)
        assert program.run() == 2
        assert work.calls == {"rows": 3, "stored": 1}

    def test_what_a_retry_cannot_help_is_raised_at_once(self, peer: str) -> None:
        work, program = load("etl", peer)
        work.fatal = True
        with pytest.raises(Exception) as caught:
            program.run()
        assert [type(one) for one in leaves(caught.value)] == [PermissionError]
        assert work.calls == {"rows": 1}


@pytest.mark.parametrize("peer", versions("requests"))
def test_requests_are_bounded_and_failures_collected(peer: str) -> None:
    work, program = load("requests", peer)
    pages, errors = program.run()
    assert (len(pages), sum(pages)) == (195, sum(len(url) for n, url in enumerate(work.URLS) if n % 40 != 7))
    assert sorted(map(str, errors)) == sorted(f"/page/{n} is down" for n in range(7, 200, 40))
    assert work.calls["page"] == 200
    assert 1 < work.most <= 20  # threads need not all be busy at once


@pytest.mark.parametrize("peer", versions("tools"))
def test_the_agent_answers_without_the_tool_that_failed(peer: str) -> None:
    _, program = load("tools", peer)
    assert program.run("tea") == "found tea, 3, no weather"


@pytest.mark.parametrize("peer", versions("features"))
def test_after_a_failure_only_what_is_missing_is_computed(peer: str) -> None:
    work, program = load("features", peer)
    assert program.run() == 4.0
    assert work.calls == {"events": 1, "spend": 1, "visits": 2, "model": 1}


@pytest.mark.parametrize("peer", versions("cli"))
class TestCli:
    def cli(self, peer: str, path: Path) -> subprocess.CompletedProcess[str]:
        needs(peer)
        file = str(COMPARE / f"cli_{peer}.py")
        flow = ["-m", "flow", "run", file, "--input", f"path={path}"]
        command = [sys.executable, *(flow if peer == "flow" else [file, str(path)])]
        env = {**os.environ, "HAMILTON_TELEMETRY_ENABLED": "false"}
        return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)

    def test_the_commonest_word_is_printed(self, peer: str, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("tea milk Tea")
        done = self.cli(peer, tmp_path / "a.txt")
        assert (done.returncode, "tea" in done.stdout) == (0, True), done.stderr

    def test_a_missing_file_is_named_with_exit_code_1(self, peer: str, tmp_path: Path) -> None:
        done = self.cli(peer, tmp_path / "none.txt")
        assert done.returncode == 1
        assert "FileNotFoundError" in done.stderr


class TestCount:
    def test_only_lines_with_code_count(self) -> None:
        count = importlib.import_module("count")
        assert (
            count.lines(
                '"""Doc."""\n\n# why\nx = (\n    1,  # one\n)\n\ndef f():\n    """Doc."""\n    return """a\n\nb"""\n'
            )
            == 7
        )

    def test_the_page_shows_what_the_script_prints(self) -> None:
        assert importlib.import_module("count").table() in PAGE

    def test_where_flow_needs_more_lines_the_page_says_so(self) -> None:
        count = importlib.import_module("count")
        for program, found in count.counts().items():
            for peer, lines in found.items():
                if lines < found["flow"]:
                    assert f"* **{program}, {count.TITLES.get(peer, peer)}**:" in PAGE, (program, peer)

    def test_the_readme_shows_the_same_lines_and_is_short(self) -> None:
        count = importlib.import_module("count")
        text = (COMPARE.parent.parent / "README.md").read_text(encoding="utf-8")
        assert len(text.splitlines()) < 125
        titles = {"flow": "| flow |", "by_hand": "| by hand", "hamilton": "| Hamilton", "dask": "| Dask"}
        titles |= {"langgraph": "| LangGraph", "pydantic_graph": "| pydantic-graph"}
        rows = [line for line in text.splitlines() if line.endswith(" |")]
        for peer, title in titles.items():
            (row,) = [line for line in rows if line.startswith(title)]
            wanted = ", ".join(str(count.counts()[program].get(peer, "–")) for program in count.PROGRAMS)
            assert row.rstrip(" |").rpartition("| ")[2] == wanted
