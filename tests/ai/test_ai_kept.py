"""What a provider wants back with the calls of its model: thoughts and signatures, without which it refuses results."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest
from ai_cases import calls, model, reply

import flow
from flow import ai
from flow.ai.messages import Kept, Message, Reply, Request, ToolCall
from flow.ai.providers.wire_anthropic import Messages
from flow.ai.providers.wire_openai import DONE, ChatCompletions
from flow.ai.tokens import counted

ASKED = Request("m", (Message("user", "q"),))


def read(wire: Any, events: list[Any]) -> Reply:
    assembly = wire.assembly(ASKED)
    for event in events:
        assembly.add(event if isinstance(event, bytes) else msgspec.json.encode(event))
    assert assembly.complete
    return assembly.reply()  # type: ignore[no-any-return]


def sent(wire: Any, one: Reply, **changes: Any) -> dict[str, Any]:
    """The message by which an answer goes back."""
    message = Message("assistant", one.text, one.tool_calls, kept=one.kept)
    message = msgspec.structs.replace(message, **changes)
    body = wire.body(msgspec.structs.replace(ASKED, messages=(*ASKED.messages, message)), stream=False)
    return msgspec.json.decode(msgspec.json.encode(body))["messages"][1]  # type: ignore[no-any-return]


class TestAnthropic:
    WIRE = Messages(4_096)
    THOUGHT = {"type": "thinking", "thinking": "hm, add", "signature": "c2ln"}
    SILENT = {"type": "thinking", "thinking": "", "signature": "bm8="}
    HIDDEN = {"type": "redacted_thinking", "data": "x/y="}
    CALL = {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}}
    TEXT = {"type": "text", "text": "so"}
    BACK = [THOUGHT, SILENT, HIDDEN, TEXT, CALL]

    def whole(self, *content: Any, reason: str = "tool_use") -> Reply:
        return self.WIRE.reply(msgspec.json.encode({"content": content, "stop_reason": reason}), ASKED)

    def test_whole(self) -> None:
        found = self.whole(*self.BACK)
        assert sent(self.WIRE, found) == {"role": "assistant", "content": self.BACK}

    def test_streamed(self) -> None:
        def begins(index: int, block: Any) -> Any:
            return {"type": "content_block_start", "index": index, "content_block": block}

        def grows(index: int, **delta: Any) -> Any:
            return {"type": "content_block_delta", "index": index, "delta": delta}

        found = read(self.WIRE, [
            {"type": "message_start", "message": {"content": []}},
            begins(0, {"type": "thinking", "thinking": "", "signature": ""}),
            grows(0, type="thinking_delta", thinking="hm, "),
            grows(0, type="thinking_delta", thinking="add"),
            grows(0, type="signature_delta", signature="c2ln"),
            begins(1, {"type": "thinking", "thinking": ""}),
            grows(1, type="signature_delta", signature="bm8="),
            begins(2, self.HIDDEN),
            begins(3, {"type": "text", "text": ""}),
            grows(3, type="text_delta", text="so"),
            begins(4, {**self.CALL, "input": {}}),
            grows(4, type="input_json_delta", partial_json='{"a": 1}'),
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}},
            {"type": "message_stop"},
        ])  # fmt: skip
        assert sent(self.WIRE, found) == {"role": "assistant", "content": self.BACK}

    def test_what_calls_no_tools_keeps_nothing(self) -> None:
        assert self.whole(self.THOUGHT, self.TEXT, reason="end_turn").kept is None
        assert self.whole(self.TEXT, self.CALL).kept is None
        assert sent(self.WIRE, self.whole(*self.BACK), tool_calls=())["content"] == "so"


class TestOpenAICompatible:
    WIRE = ChatCompletions("max_tokens")
    SIGNED = {"google": {"thought_signature": "c2ln"}}
    DETAILS: list[dict[str, Any]] = [
        {"type": "reasoning.text", "index": 0, "text": "hm, add", "signature": "s"},
        {"type": "reasoning.encrypted", "index": 1, "data": "xy"},
        {"type": "reasoning.summary", "summary": "adds"},
    ]
    CALLS = [
        {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}, "extra_content": SIGNED},
        {"id": "c2", "type": "function", "function": {"name": "add", "arguments": "{}"}},
    ]
    BACK = {
        "role": "assistant", "content": None, "tool_calls": CALLS, "reasoning_content": "hm, add",
        "reasoning_details": DETAILS,
    }  # fmt: skip

    def test_whole(self) -> None:
        said = {"message": self.BACK, "finish_reason": "tool_calls"}
        assert sent(self.WIRE, self.WIRE.reply(msgspec.json.encode({"choices": [said]}), ASKED)) == self.BACK

    def test_streamed(self) -> None:
        first: dict[str, Any] = self.DETAILS[0]
        pieces: list[Any] = [
            {"reasoning_content": "hm, ", "reasoning_details": [{**first, "text": "hm, ", "signature": None}]},
            {"reasoning_content": "add", "reasoning_details": [{**first, "text": "add"}, "no entry"]},
            {"reasoning_details": [{**self.DETAILS[1], "data": "x"}, {**self.DETAILS[1], "data": "y"}]},
            {"reasoning_details": [self.DETAILS[2]], "reasoning_content": None},
            {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "add", "arguments": "{"}}]},
            {"tool_calls": [{"index": 0, "function": {"arguments": "}"}, "extra_content": self.SIGNED}]},
            {"tool_calls": [{**self.CALLS[1], "index": 1}]},
        ]
        events = [{"choices": [{"index": 0, "delta": piece}]} for piece in pieces]
        events.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]})
        assert sent(self.WIRE, read(self.WIRE, [*events, DONE])) == self.BACK

    def test_what_calls_no_tools_keeps_nothing(self) -> None:
        said = {"message": {"content": "so", "reasoning_content": "hm"}, "finish_reason": "stop"}
        assert self.WIRE.reply(msgspec.json.encode({"choices": [said]}), ASKED).kept is None
        plain = {"message": {"tool_calls": self.CALLS[1:]}, "finish_reason": "tool_calls"}
        assert self.WIRE.reply(msgspec.json.encode({"choices": [plain]}), ASKED).kept is None

    @pytest.mark.parametrize("detail", [{"text": 1}, {"text": None}, {"type": [1], "data": {}}, [], 3])
    def test_details_that_make_no_sense_are_no_error(self, detail: Any) -> None:
        events = [{"choices": [{"index": 0, "delta": {"reasoning_details": [detail, {"index": 0, "text": "a"}]}}]}] * 2
        events.append({"choices": [{"index": 0, "delta": {"tool_calls": self.CALLS}, "finish_reason": "stop"}]})
        assert len(sent(self.WIRE, read(self.WIRE, events))["tool_calls"]) == 2


class Thinks:
    """A provider whose model thinks before it calls a tool. :ivar requests: what it was asked."""

    def __init__(self, name: str, *answers: Any) -> None:
        self.name, self.answers, self.requests = name, list(answers), list[Request]()

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]

    stream: Any = None

    @property
    def kept(self) -> list[Kept | None]:
        """What went back with the last request, by message of the model."""
        return [one.kept for one in self.requests[-1].messages if one.role == "assistant"]


def add(a: int) -> int:
    """Add."""
    return a + 1


CALL = calls(("add", '{"a": 1}'), kept=Kept("[1]"))


def agent(*providers: Thinks, **settings: Any) -> flow.Dag:
    dag = flow.Dag("d")
    first, *others = [model(one) for one in providers]
    ai.agent(dag, "it", model=first, prompt="q", tools=[add], fallback_models=others, **settings)
    return dag


@pytest.mark.parametrize("durable", [False, True])
def test_it_goes_back_to_who_said_it(durable: bool) -> None:
    asked = Thinks("deep", CALL, CALL, reply("2"))
    more: dict[str, Any] = {"store": flow.store.memory(), "run_id": "r"} if durable else {}
    assert flow.run(agent(asked), **more)["it"] == "2"
    assert asked.kept == [Kept("[1]", "deep")] * 2


def test_it_goes_to_nobody_else() -> None:
    down = ai.ProviderUnavailable("down", status=503)
    first = Thinks("deep", CALL, down, reply("2"))
    other = Thinks("else", msgspec.structs.replace(CALL, kept=Kept("{}")))
    assert flow.run(agent(first, other))["it"] == "2"
    assert other.kept == [None]
    assert first.kept == [Kept("[1]", "deep"), None]


def test_it_outlasts_the_process() -> None:
    """The run fails after the first round, and goes on from its store."""
    store = flow.store.memory()
    broken = Thinks("deep", CALL, ai.RequestRejected("no"))
    with pytest.raises(flow.RunError):
        flow.run(agent(broken), store=store, run_id="r")
    again = Thinks("deep", reply("2"))
    assert flow.run(agent(again), store=store, run_id="r", on_conflict="retry")["it"] == "2"
    assert again.kept == [Kept("[1]", "deep")]


async def _count(request: Request) -> int:
    return (await counted(ai.EstimatedTokens(), request))[0]


def test_it_is_counted() -> None:
    def count(kept: Kept | None) -> int:
        message = Message("assistant", "so", (ToolCall("c", "add", "{}"),), kept=kept)
        return anyio.run(_count, Request("m", (message,)))

    assert count(Kept("a thought of some length " * 10)) >= count(None) + 50
