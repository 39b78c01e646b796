"""docs/tuning-guide.md answers what another engine's guide asks, and its commands and figures are there."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
from conftest import ROOT
from test_examples import DOCS, blocks_of

PAGE = DOCS / "tuning-guide.md"
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))

# What a Rust engine's documentation has under "Troubleshooting", "Settings" and "Practices".
SYMPTOMS = {
    "High latency (P95 over 100 ms)": "A run takes too long",
    "Slow nodes (over 1 ms)": "A node is slow",
    "Memory growth": "Memory grows",
}
DIAGNOSES = {
    "A run takes too long": ["Connection use", "P95", "BlockingNodeWarning", "result.durations"],
    "A node is slow": ["cProfile", "sampling profiler"],
    "Memory grows": ["RSS", "over time", "heap profiler", "tracemalloc"],
}
REMEDIES = {
    "A run takes too long": ["More workers", "Keep-alive", "Smaller payloads", "Caching a plan", "Caching outputs"],
    "A node is slow": ["Fewer allocations", "Async for I/O", "A result cache"],
    "Memory grows": ["Cycles", "Pools", "Limits", "Weak references"],
}
SETTINGS = [
    "Workers: 2 x cores", "Keep-alive: 75 s", "Client timeout: 60 s", "Body limit: 1 MB", "Compression: on",
    "Worker threads (environment)", "Blocking threads (environment)", "MALLOC_ARENA_MAX=2",
    "Batches of up to 100, or every 10 ms", "Channels of 1,000",
]  # fmt: skip
POSTGRES = [
    "shared_buffers", "effective_cache_size", "maintenance_work_mem", "checkpoint_completion_target", "wal_buffers",
    "default_statistics_target", "random_page_cost",
]  # fmt: skip
PRACTICES = [
    "Nodes with one purpose", "Depth under 20", "Parallel nodes where independent", "Caching", "Breakers",
    "Connection pools", "Client retries", "Limits",
]  # fmt: skip


def rows(text: str) -> dict[str, str]:
    """The rows of the tables in ``text``: what follows the first cell, by that cell without its marks."""
    cells = [line.strip("|").split("|", 1) for line in text.splitlines() if line.startswith("| ")]
    return {first.strip().replace("`", ""): rest.strip(" |") for first, rest in cells}


def answered(found: dict[str, str], wanted: list[str]) -> list[str]:
    """The wanted rows that are missing, or have neither code nor a link nor a figure."""
    return [name for name in wanted if not re.search(r"`.+`|\]\(|\d", found.get(name, ""))]


def test_each_symptom_leads_to_its_section() -> None:
    found = rows(PAGE.read_text("utf-8").partition("\n## ")[0])
    assert answered(found, list(SYMPTOMS)) == []
    for symptom, section in SYMPTOMS.items():
        assert f"](#{section.lower().replace(' ', '-')})" in found[symptom]


@pytest.mark.parametrize("section", REMEDIES)
def test_each_diagnosis_and_remedy_is_in_its_section(section: str) -> None:
    text = SECTIONS[section]
    assert [word for word in DIAGNOSES[section] if word not in text] == []
    assert answered(rows(text), REMEDIES[section]) == []


def test_each_setting_is_answered() -> None:
    found = rows(SECTIONS["Settings of other engines"])
    assert [name for name in SETTINGS if not found.get(name)] == []
    (postgres,) = [name for name in found if name.startswith("Postgres: ")]
    assert postgres.removeprefix("Postgres: ").split(", ") == POSTGRES
    assert found.keys() - set(SETTINGS) <= {postgres, "setting", "---"}


def test_each_practice_is_answered() -> None:
    found = rows(SECTIONS["Practices"])
    assert answered(found, PRACTICES) == []
    for name in ("Caching", "Breakers", "Connection pools"):
        assert f"### {name}\n" in SECTIONS["Practices"]


@pytest.mark.parametrize("section", [name for name in SECTIONS if name != "Settings of other engines"])
def test_each_section_has_a_command(section: str) -> None:
    assert re.search(r"^```(sh|console|python)$", SECTIONS[section], re.MULTILINE)


# -- commands --------------------------------------------------------------------------------

COMMANDS = [
    line.partition("  #")[0].split()
    for block in blocks_of(PAGE)
    if block.info == "sh"
    for line in block.body.splitlines()
]
SUITES = sorted({tuple(words[3:]) for words in COMMANDS if words[:3] == ["python", "-m", "flow_bench"]})


@pytest.fixture
def figures(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The program that prints the figures, as other processes can import it."""
    monkeypatch.syspath_prepend(str(DOCS / "guide"))
    monkeypatch.delitem(sys.modules, "figures", raising=False)
    yield importlib.import_module("figures")
    sys.modules.pop("figures", None)


def test_each_section_of_figures_is_on_the_page(figures: ModuleType) -> None:
    named = [word for words in COMMANDS if words[1:2] == ["docs/guide/figures.py"] for word in words[2:]]
    named += re.findall(r"`python docs/guide/figures.py (\w+)`", PAGE.read_text("utf-8"))
    assert {name for name in named if name.isidentifier()} == set(figures.SECTIONS)


@pytest.mark.parametrize("words", SUITES, ids=" ".join)
def test_each_section_of_a_suite_exists(words: tuple[str, ...]) -> None:
    pytest.importorskip("psutil")
    refused = [sys.executable, "-m", "flow_bench", words[0], "--only", "no-such-section"]
    ran = subprocess.run(refused, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert ran.returncode == 2 and "no-such-section" in ran.stderr, ran.stderr
    for name in words[words.index("--only") + 1 :][:1] if "--only" in words else ():
        assert re.search(rf"\b{name}\b", ran.stderr.rpartition("no-such-section")[2])


QUICK = ("blocking", "plans", "known", "batches", "suspensions", "connections", "depth", "records", "failures")


@pytest.mark.parametrize("section", QUICK)
def test_figures(section: str, figures: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    figures.main([section, "--rounds", "1"])
    printed = capsys.readouterr().out
    assert re.findall(r" 1\.00x$", printed, re.MULTILINE)
    assert len(re.findall(r"^  \S.*  P95 .*x$", printed, re.MULTILINE)) >= 2


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("section", ["threads", "payload", "collector", "cores", "disk"])
def test_figures_that_take_longer(section: str, figures: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    figures.main([section, "--rounds", "1"])
    assert len(re.findall(r"^  \S.*  P95 .*x$", capsys.readouterr().out, re.MULTILINE)) >= 2


@pytest.mark.long
@pytest.mark.timeout(600)
def test_figures_of_the_environment(figures: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("psutil")
    pytest.importorskip("uvloop")
    figures.main(["environment", "--rounds", "1"])
    printed = capsys.readouterr().out
    for name in rows(SECTIONS["The environment"]).keys() - {"", "---"}:
        if "LD_PRELOAD" not in name and not name.startswith("..."):
            assert f"  {name}  " in printed, name


def test_a_section_that_there_is_not_is_refused(figures: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        figures.main(["nope"])
    assert refused.value.code == 2
    assert "no section is called nope: choose from blocking, " in capsys.readouterr().err
