"""The four programs of docs/compare/ai: the same answers, requests and refusals in each version, and lines counted."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import pytest

COMPARE = Path(__file__).parents[2] / "docs" / "compare"
AI = COMPARE / "ai"
PAGE = (AI / "README.md").read_text(encoding="utf-8")
NEEDED = {"flow": "httpx2", "langgraph": "langchain_openai", "pydantic_ai": "pydantic_ai"}
ENOUGH, SCARCE, NONE = "0.05", "0.0065", "0.000001"


@pytest.fixture(params=NEEDED)
def library(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(NEEDED[request.param]) is None:
        pytest.skip(f"{NEEDED[request.param]} is not installed: pip install '.[peers]'")
    return str(request.param)


@cache
def tried(library: str) -> dict[str, Any]:
    """All programs of a library, in a process of its own."""
    muted = {"LANGSMITH_TRACING": "false", "LANGCHAIN_TRACING_V2": "false"}
    command = [sys.executable, str(AI / "tried.py"), library]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | muted, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(COMPARE))
    yield importlib.import_module("count")
    del sys.modules["count"]


class TestSummaries:
    def test_with_money_enough_all_are_made(self, library: str) -> None:
        found = tried(library)[f"summaries {ENOUGH}"]
        assert found["made"] == [f"A summary of document {number}" for number in range(200)]
        assert found["asked"] == {"summary": 200}  # those that were answered: four were refused by 429 before
        assert 1 < found["most"] <= 10

    def test_no_more_is_spent_than_there_is(self, library: str) -> None:
        found = tried(library)[f"summaries {SCARCE}"]
        assert 80 < found["asked"]["summary"] == sum(one is not None for one in found["made"]) < 200
        assert Decimal(found["spent"]) <= Decimal(SCARCE)

    def test_without_money_nothing_is_asked(self, library: str) -> None:
        found = tried(library)[f"summaries {NONE}"]
        assert (found["made"], found["asked"]) == ([None] * 200, {})

    @pytest.mark.parametrize("budget", [ENOUGH, SCARCE, NONE])
    def test_what_was_spent_is_what_the_server_says(self, library: str, budget: str) -> None:
        found = tried(library)[f"summaries {budget}"]
        assert Decimal(found["says"]) == Decimal(found["spent"])

    def test_a_failure_of_another_kind_is_raised(self, library: str) -> None:
        assert tried(library)["refused"] == {"raised": True}


class TestAgent:
    def test_a_person_approves_before_the_tool_is_called(self, library: str) -> None:
        found = tried(library)["agent True"]
        assert found["answer"] == "Order 7 is refunded"
        assert found["approve"] == [["refund", {"number": 7, "amount": 30}, {"find_order": 1}]]
        assert found["calls"] == {"find_order": 1, "refund": 1}
        assert found["asked"] == {"agent": 3}

    def test_what_is_not_approved_is_not_called_and_the_model_is_told(self, library: str) -> None:
        found = tried(library)["agent False"]
        assert found["answer"] == "Order 7 is not refunded"
        assert found["calls"] == {"find_order": 1}
        assert found["asked"] == {"agent": 3}


@pytest.mark.parametrize("kind", ["billing", "technical", "other"])
def test_a_mail_goes_to_its_desk_and_to_no_other(library: str, kind: str) -> None:
    found = tried(library)[f"route {kind}"]
    desk = kind.replace("other", "general")
    assert found["answer"] == f"An answer of the {desk} desk"
    assert found["asked"] == {"classify": 1, desk: 1}


def test_a_wrong_answer_is_repaired(library: str) -> None:
    found = tried(library)["extract"]
    assert found["invoice"] == {"number": "F-17", "total": 120.0, "currency": "EUR"}
    assert found["asked"] == {"extract": 2}


class TestPage:
    def test_it_shows_the_lines_that_are_counted(self, count: Any) -> None:
        assert count.table("ai") in PAGE

    def test_every_version_is_there(self, count: Any) -> None:
        assert all(list(found) == list(count.AI_PEERS) for found in count.counts("ai").values())

    def test_where_flow_needs_more_lines_it_says_so(self, count: Any) -> None:
        for program, found in count.counts("ai").items():
            for peer, lines in found.items():
                if lines < found["flow"]:
                    assert f"* **{program}, {count.TITLES[peer]}**:" in PAGE, (program, peer)
