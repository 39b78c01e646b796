"""Anthropic's messages: what is written, and what is read."""

from __future__ import annotations

from typing import Any

import anyio
import msgspec
import pytest
from ai_asking import KEY, asker, streamed
from ai_server import Answer, Usage, serving

from flow.ai.messages import (
    Delta,
    Image,
    Kept,
    Message,
    OutputSpec,
    Reply,
    Request,
    Text,
    Tokens,
    ToolCall,
    ToolSpec,
)
from flow.ai.providers.anthropic import Anthropic
from flow.ai.providers.wire import Told, Unreadable
from flow.ai.providers.wire_anthropic import Messages

WIRE = Messages(4_096)
BY_TOOL = Messages(4_096, "tool")
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
ASK = Request("claude-x", (Message("user", "hello"),))
ASK_SUM = Request("claude-x", (Message("user", "hello"),), output=OutputSpec("Sum", SCHEMA))
PNG = b"\x89PNG\r\n\x1a\n"


def body(*messages: Message, wire: Messages = WIRE, stream: bool = False, **fields: Any) -> dict[str, Any]:
    return wire.body(Request("claude-x", messages or ASK.messages, **fields), stream=stream)


def answer(*content: dict[str, Any], reason: str | None = "end_turn", **fields: Any) -> bytes:
    return msgspec.json.encode({"type": "message", "content": list(content), "stop_reason": reason, **fields})


def text(content: str) -> dict[str, Any]:
    return {"type": "text", "text": content}


class TestWriting:
    def test_the_least(self) -> None:
        assert body() == {
            "model": "claude-x", "max_tokens": 4_096, "messages": [{"role": "user", "content": "hello"}],
        }  # fmt: skip

    def test_the_most(self) -> None:
        found = body(
            Message("system", "be good"),
            Message("user", "hello"),
            tools=(ToolSpec("add", "Adds.", SCHEMA),),
            output=OutputSpec("Sum", SCHEMA),
            max_output_tokens=7,
            temperature=0.0,
            stop=("END",),
            options={"output_config": {"effort": "low"}, "top_k": 3},
            stream=True,
        )
        assert found == {
            "model": "claude-x",
            "max_tokens": 7,
            "system": "be good",
            "messages": [{"role": "user", "content": "hello"}],
            "tools": [{"name": "add", "description": "Adds.", "input_schema": SCHEMA}],
            "output_config": {"format": {"type": "json_schema", "schema": SCHEMA}, "effort": "low"},
            "temperature": 0.0,
            "stop_sequences": ["END"],
            "top_k": 3,
            "stream": True,
        }

    def test_a_form_as_a_tool(self) -> None:
        form = {"name": "Sum", "description": "Give the answer.", "input_schema": SCHEMA}
        found = body(wire=BY_TOOL, output=OutputSpec("Sum", SCHEMA))
        assert (found["tools"], found["tool_choice"]) == ([form], {"type": "tool", "name": "Sum"})
        assert "output_config" not in found
        add = ToolSpec("add", "Adds.", SCHEMA)
        found = body(wire=BY_TOOL, output=OutputSpec("Sum", SCHEMA), tools=(add,))
        assert [tool["name"] for tool in found["tools"]] == ["add", "Sum"]
        assert found["tool_choice"] == {"type": "any"}

    def test_a_conversation_with_tools(self) -> None:
        calls = (ToolCall("c1", "add", '{"a":1}'), ToolCall("c2", "add", "{broken"), ToolCall("c3", "add", "[1]"))
        found = body(
            Message("system", "be good"),
            Message("system", "be brief"),
            Message("user", "add"),
            Message("assistant", "let me", calls),
            Message("tool", "1", tool_call_id="c1"),
            Message("tool", "it failed", tool_call_id="c2", is_error=True),
            Message("tool", (Text("a"), Image(url="http://h/x")), tool_call_id="c3"),
            Message("user", "go on"),
            Message("assistant", ""),
        )
        assert found["system"] == [text("be good"), text("be brief")]
        assert found["messages"] == [
            {"role": "user", "content": "add"},
            {
                "role": "assistant",
                "content": [
                    text("let me"),
                    {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}},
                    {"type": "tool_use", "id": "c2", "name": "add", "input": {"unreadable": "{broken"}},
                    {"type": "tool_use", "id": "c3", "name": "add", "input": {"unreadable": "[1]"}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "c1", "content": "1"},
                    {"type": "tool_result", "tool_use_id": "c2", "content": "it failed", "is_error": True},
                    {
                        "type": "tool_result",
                        "tool_use_id": "c3",
                        "content": [text("a"), {"type": "image", "source": {"type": "url", "url": "http://h/x"}}],
                    },
                    text("go on"),
                ],
            },
        ]

    def test_images(self) -> None:
        parts = (
            Text(""),
            Image(url="http://host/a.png"),
            Image(url="data:image/gif;base64,R0lG"),
            Image(data=b"abc", media_type="image/webp"),
            Image(data=PNG),
        )
        assert [block["source"] for block in body(Message("user", parts))["messages"][0]["content"]] == [
            {"type": "url", "url": "http://host/a.png"},
            {"type": "base64", "media_type": "image/gif", "data": "R0lG"},
            {"type": "base64", "media_type": "image/webp", "data": "YWJj"},
            {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="},
        ]

    @pytest.mark.parametrize("image", [Image(data=b"abc"), Image(url="data:image/gif,abc"), Image(url="data:x")])
    def test_images_that_cannot_be_sent(self, image: Image) -> None:
        with pytest.raises(Unreadable):
            body(Message("user", (image,)))


class TestReading:
    def test_all_of_it(self) -> None:
        usage = {
            "input_tokens": 10,
            "cache_read_input_tokens": 4,
            "cache_creation_input_tokens": 2,
            "output_tokens": 5,
            "output_tokens_details": {"thinking_tokens": 3},
            "service_tier": "standard",
        }
        call = {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}}
        content = ({"type": "thinking", "thinking": "hm", "signature": "x"}, text("so "), text("be it"), call)
        found = WIRE.reply(answer(*content, reason="tool_use", usage=usage, id="m1", model="claude-x-1"), ASK)
        assert found == Reply(
            "so be it", (ToolCall("c1", "add", '{"a":1}'),), "tools", Tokens(16, 5, 4, 2, 3), "claude-x-1", "m1",
            kept=Kept('[{"type":"thinking","thinking":"hm","signature":"x"},3,5,null]'),
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("reason", "finish"),
        [
            ("end_turn", "stop"), ("stop_sequence", "stop"), ("max_tokens", "length"), ("tool_use", "tools"),
            ("model_context_window_exceeded", "length"), ("refusal", "refused"), ("pause_turn", "other"),
            (None, "other"),
        ],
    )  # fmt: skip
    def test_why_it_stopped(self, reason: str | None, finish: str) -> None:
        assert WIRE.reply(answer(text("x"), reason=reason), ASK).finish == finish

    def test_refusals(self) -> None:
        details = {"type": "refusal", "category": "cyber", "explanation": "not that"}
        assert WIRE.reply(answer(reason="refusal", stop_details=details), ASK).refusal == "not that"
        assert WIRE.reply(answer(text("I can't"), reason="refusal"), ASK).refusal == "I can't"
        assert WIRE.reply(answer(reason="refusal"), ASK).refusal == "the provider has stopped the answer"

    def test_a_form_as_a_tool(self) -> None:
        form = {"type": "tool_use", "id": "c1", "name": "Sum", "input": {"a": 1}}
        found = BY_TOOL.reply(answer(text("here:"), form, reason="tool_use"), ASK_SUM)
        assert (found.text, found.tool_calls, found.finish) == ('{"a":1}', (), "stop")
        add = {"type": "tool_use", "id": "c2", "name": "add", "input": {}}
        found = BY_TOOL.reply(answer(add, reason="tool_use"), ASK_SUM)
        assert (found.text, found.tool_calls, found.finish) == ("", (ToolCall("c2", "add", "{}"),), "tools")
        assert BY_TOOL.reply(answer(form, reason="max_tokens"), ASK_SUM).finish == "length"

    @pytest.mark.parametrize(
        ("usage", "tokens"),
        [
            (None, None),
            ({}, None),
            ({"input_tokens": 3}, None),
            ({"input_tokens": 3, "output_tokens": -1}, None),
            ({"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": -5}, None),
            ({"input_tokens": 3, "output_tokens": 1, "cache_read_input_tokens": None}, Tokens(3, 1)),
        ],
    )
    def test_tokens(self, usage: Any, tokens: Tokens | None) -> None:
        assert WIRE.reply(answer(text("x"), usage=usage), ASK).tokens == tokens

    def test_an_error(self) -> None:
        with pytest.raises(Told):
            WIRE.reply(b'{"type": "error", "error": {"type": "api_error", "message": "no"}}', ASK)


class TestStreams:
    def events(self, *events: dict[str, Any], wire: Messages = WIRE) -> tuple[list[Delta | None], Any]:
        found = wire.assembly(ASK_SUM)
        return [found.add(msgspec.json.encode(event)) for event in events], found

    def start(self, **usage: int) -> dict[str, Any]:
        return {"type": "message_start", "message": {"id": "m", "model": "c", "content": [], "usage": usage}}

    def block(self, index: int, block: dict[str, Any]) -> dict[str, Any]:
        return {"type": "content_block_start", "index": index, "content_block": block}

    def delta(self, index: int, **delta: Any) -> dict[str, Any]:
        return {"type": "content_block_delta", "index": index, "delta": delta}

    def stop(self, reason: str, **usage: int) -> dict[str, Any]:
        return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}

    def test_usage_is_known_early(self) -> None:
        deltas, found = self.events(
            self.start(input_tokens=9, cache_read_input_tokens=3, output_tokens=1),
            self.delta(0, type="text_delta", text="a"),
            self.stop("end_turn", output_tokens=7),
        )
        assert [delta and delta.tokens for delta in deltas] == [Tokens(12, 1, 3), Tokens(12, 1, 3), Tokens(12, 7, 3)]
        assert found.reply().tokens == Tokens(12, 7, 3)
        assert found.complete
        assert not found.ended

    def test_several_blocks_of_all_kinds(self) -> None:
        add = {"type": "tool_use", "id": "c1", "name": "add", "input": {}}
        deltas, found = self.events(
            {"type": "ping"},
            self.block(0, {"type": "thinking", "thinking": ""}),
            self.delta(0, type="thinking_delta", thinking="hm"),
            self.delta(0, type="signature_delta", signature="x"),
            self.block(1, text("so ")),
            self.delta(1, type="text_delta", text="be it"),
            self.block(2, add),
            self.delta(2, type="input_json_delta", partial_json=""),
            self.delta(2, type="input_json_delta", partial_json='{"a"'),
            self.delta(2, type="input_json_delta", partial_json=":1}"),
            {"type": "content_block_stop", "index": 2},
            self.block(3, {**add, "id": "c2", "input": {"b": 2}}),
            self.block(4, {**add, "id": "c3"}),
            {"type": "of_tomorrow"},
            self.stop("tool_use", output_tokens=7),
            {"type": "message_stop"},
        )
        assert [delta.text for delta in deltas if delta is not None and delta.text] == ["so ", "be it"]
        assert found.ended
        reply = found.reply()
        assert (reply.text, reply.finish) == ("so be it", "tools")
        assert [(call.id, call.arguments) for call in reply.tool_calls] == [
            ("c1", '{"a":1}'), ("c2", '{"b":2}'), ("c3", "{}"),
        ]  # fmt: skip

    def test_a_form_as_a_tool_is_streamed_as_text(self) -> None:
        deltas, found = self.events(
            self.start(),
            self.block(0, text("here:")),
            self.block(1, {"type": "tool_use", "id": "c1", "name": "Sum", "input": {}}),
            self.delta(1, type="input_json_delta", partial_json='{"a"'),
            self.delta(1, type="input_json_delta", partial_json=":1}"),
            self.stop("tool_use"),
            wire=BY_TOOL,
        )
        assert [(one.text, one.other) for one in deltas if one] == [("", "here:"), ('{"a"', ""), (":1}", "")]
        assert (found.reply().text, found.reply().tool_calls, found.reply().finish) == ('{"a":1}', (), "stop")

    def test_a_refusal(self) -> None:
        ending = {"stop_reason": "refusal", "stop_details": {"type": "refusal", "explanation": "not that"}}
        _, found = self.events(self.start(), {"type": "message_delta", "delta": ending, "usage": {"output_tokens": 0}})
        assert (found.reply().finish, found.reply().refusal) == ("refused", "not that")


@pytest.mark.parametrize("kind", ["anthropic", "sdk-anthropic"])
def test_over_a_connection(kind: str, backend: str) -> None:
    """The same answer, whole and streamed, over our own HTTP and over the SDK's client."""
    asked = Request(
        "claude-x",
        (Message("system", "be good"), Message("user", "add one and two")),
        (ToolSpec("add", "Adds.", SCHEMA),),
        OutputSpec("Sum", SCHEMA),
        max_output_tokens=50,
        temperature=0.5,
        options={"metadata": {"user_id": "me"}, "of_tomorrow": 1},
    )

    async def go() -> None:
        async with asker(kind, server) as provider:
            reply = await provider.complete(asked)
            assert reply == Reply(
                "so be it",
                (ToolCall("toolu_0", "add", '{"a":1}'),),
                "tools",
                Tokens(100, 20, 30, 0, 5),
                "claude-x",
                "msg_1",
            )
            deltas, whole = await streamed(provider, asked)
            assert [delta.text for delta in deltas if delta.text] == ["so ", "be ", "it"]
            assert whole == msgspec.structs.replace(reply, tool_calls=(ToolCall("toolu_0", "add", '{"a": 1}'),))

    script = Answer("so be it", calls=(("add", {"a": 1}),), usage=Usage(100, 20, 30, 5))
    with serving(script, script) as server:
        name = "trio" if backend == "trio" else "asyncio"
        anyio.run(go, backend=name, backend_options={"use_uvloop": True} if backend == "uvloop" else {})
        whole, stream = (one.body for one in server.requests)
        assert whole == WIRE.body(asked, stream=False)
        assert stream == WIRE.body(asked, stream=True)
        assert {one.path for one in server.requests} == {"/v1/messages"}
        if kind == "anthropic":  # an SDK says the version that it was made for
            assert {one.headers["anthropic-version"] for one in server.requests} == {"2023-06-01"}
        assert server.usage == Usage(200, 40, 60, 10, 2)


def test_its_own_settings() -> None:
    with serving() as server:
        headers = {"anthropic-version": "2030-01-01", "anthropic-beta": "x"}
        provider = Anthropic(KEY, server.anthropic, headers=headers, max_output_tokens=9)
        anyio.run(provider.complete, ASK)
        (asked,) = server.requests
    assert asked.body["max_tokens"] == 9
    assert (asked.headers["anthropic-version"], asked.headers["anthropic-beta"]) == ("2030-01-01", "x")
