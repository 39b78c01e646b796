"""OpenAI's chat completions: what is written, and what is read."""

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
    Message,
    OutputSpec,
    Reply,
    Request,
    Text,
    Tokens,
    ToolCall,
    ToolSpec,
)
from flow.ai.providers.openai import OpenAICompatible
from flow.ai.providers.wire import Told, Unreadable
from flow.ai.providers.wire_openai import DONE, ChatCompletions

WIRE = ChatCompletions("max_completion_tokens")
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
ASK = Request("gpt-x", (Message("user", "hello"),))
PNG = b"\x89PNG\r\n\x1a\n"


def body(*messages: Message, stream: bool = False, **fields: Any) -> dict[str, Any]:
    return WIRE.body(Request("gpt-x", messages or ASK.messages, **fields), stream=stream)


def answer(message: dict[str, Any], reason: str | None = "stop", **fields: Any) -> bytes:
    return msgspec.json.encode({"choices": [{"index": 0, "message": message, "finish_reason": reason}], **fields})


class TestWriting:
    def test_the_least(self) -> None:
        assert body() == {"model": "gpt-x", "messages": [{"role": "user", "content": "hello"}]}

    def test_the_most(self) -> None:
        found = body(
            tools=(ToolSpec("add", "Adds.", SCHEMA),),
            output=OutputSpec("Sum", SCHEMA),
            max_output_tokens=7,
            temperature=0.0,
            stop=("END",),
            stream=True,
        )
        assert found == {
            "model": "gpt-x",
            "messages": [{"role": "user", "content": "hello"}],
            "tools": [{"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": SCHEMA}}],
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "Sum", "strict": True, "schema": SCHEMA},
            },
            "max_completion_tokens": 7,
            "temperature": 0.0,
            "stop": ["END"],
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def test_a_conversation_with_tools(self) -> None:
        calls = (ToolCall("c1", "add", '{"a":1}'), ToolCall("c2", "add", '{"a":2}'))
        found = body(
            Message("system", "be good"),
            Message("user", "add"),
            Message("assistant", "", calls),
            Message("tool", "1", tool_call_id="c1"),
            Message("tool", "it failed", tool_call_id="c2", is_error=True),
        )
        assert found["messages"] == [
            {"role": "system", "content": "be good"},
            {"role": "user", "content": "add"},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}},
                    {"id": "c2", "type": "function", "function": {"name": "add", "arguments": '{"a":2}'}},
                ],
            },
            {"role": "tool", "content": "1", "tool_call_id": "c1"},
            {"role": "tool", "content": "it failed", "tool_call_id": "c2"},
        ]

    def test_images(self) -> None:
        parts = (
            Text("look"),
            Image(url="http://host/a.png"),
            Image(url="data:image/gif;base64,R0lG"),
            Image(data=b"abc", media_type="image/webp"),
            Image(data=PNG),
        )
        assert body(Message("user", parts))["messages"][0]["content"] == [
            {"type": "text", "text": "look"},
            {"type": "image_url", "image_url": {"url": "http://host/a.png"}},
            {"type": "image_url", "image_url": {"url": "data:image/gif;base64,R0lG"}},
            {"type": "image_url", "image_url": {"url": "data:image/webp;base64,YWJj"}},
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}},
        ]

    def test_an_image_of_unknown_type(self) -> None:
        with pytest.raises(Unreadable, match="give its media_type"):
            body(Message("user", (Image(data=b"abc"),)))

    def test_options_come_first_and_objects_are_merged(self) -> None:
        options = {"temperature": 1.0, "seed": 3, "stream_options": {"more": 1}, "model": "other"}
        found = body(temperature=0.5, options=options, stream=True)
        assert (found["temperature"], found["seed"], found["model"]) == (1.0, 3, "other")
        assert found["stream_options"] == {"include_usage": True, "more": 1}

    @pytest.mark.parametrize(
        ("url", "given", "field"),
        [
            ("https://api.openai.com/v1", None, "max_completion_tokens"),
            ("https://me.openai.azure.com/openai", None, "max_completion_tokens"),
            ("http://localhost:11434/v1", None, "max_tokens"),
            ("http://localhost:11434/v1", "max_completion_tokens", "max_completion_tokens"),
            ("https://api.openai.com/v1", "max_tokens", "max_tokens"),
        ],
    )
    def test_what_the_most_tokens_are_called(self, url: str, given: Any, field: str) -> None:
        provider = OpenAICompatible(url, KEY, tokens_field=given)
        found = provider._wire.body(Request("m", (), max_output_tokens=5), stream=False)
        assert found == {"model": "m", "messages": [], field: 5}


class TestReading:
    def test_all_of_it(self) -> None:
        usage = {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "total_tokens": 15,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 3},
        }
        calls = [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}]
        message = {"role": "assistant", "content": "hm", "refusal": None, "tool_calls": calls, "annotations": []}
        found = WIRE.reply(answer(message, "tool_calls", usage=usage, id="x1", model="gpt-x-1", created=3), ASK)
        assert found == Reply(
            "hm", (ToolCall("c1", "add", '{"a":1}'),), "tools", Tokens(10, 5, 4, 2, 3), "gpt-x-1", "x1"
        )

    @pytest.mark.parametrize(
        ("reason", "finish"),
        [
            ("stop", "stop"), ("length", "length"), ("tool_calls", "tools"), ("function_call", "tools"),
            ("content_filter", "filtered"), ("eos", "other"), (None, "other"),
        ],
    )  # fmt: skip
    def test_why_it_stopped(self, reason: str | None, finish: str) -> None:
        assert WIRE.reply(answer({"content": "x"}, reason), ASK).finish == finish

    def test_tools_of_servers_that_say_stop(self) -> None:
        call = {"function": {"name": "add", "arguments": {"a": 1}}}
        found = WIRE.reply(answer({"content": None, "tool_calls": [call]}), ASK)
        assert (found.finish, found.tool_calls) == ("tools", (ToolCall("call_0", "add", '{"a":1}'),))

    def test_a_refusal(self) -> None:
        found = WIRE.reply(answer({"content": None, "refusal": "I can't"}), ASK)
        assert (found.finish, found.refusal, found.text) == ("refused", "I can't", "")

    def test_content_in_pieces(self) -> None:
        content = [{"type": "text", "text": "a"}, {"type": "thinking"}, {"type": "text", "text": "b"}]
        assert WIRE.reply(answer({"content": content}), ASK).text == "ab"

    @pytest.mark.parametrize(
        ("usage", "tokens"),
        [
            (None, None),
            ({}, None),
            ({"prompt_tokens": 3}, None),
            ({"prompt_tokens": -3, "completion_tokens": 1}, None),
            ({"prompt_tokens": 3, "completion_tokens": -1}, None),
            ({"prompt_tokens": 3, "completion_tokens": 1}, Tokens(3, 1)),
            (
                {"prompt_tokens": 3, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 9}},
                Tokens(3, 1, 3),
            ),
            (
                {"prompt_tokens": 3, "completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": -9}},
                Tokens(3, 1),
            ),
        ],
    )
    def test_tokens(self, usage: Any, tokens: Tokens | None) -> None:
        assert WIRE.reply(answer({"content": "x"}, usage=usage), ASK).tokens == tokens

    def test_an_error(self) -> None:
        with pytest.raises(Told) as caught:
            WIRE.reply(b'{"error": {"message": "no"}, "choices": []}', ASK)
        assert caught.value.args == ({"message": "no"},)


class TestStreams:
    def chunks(self, *events: Any) -> tuple[list[Delta | None], Any]:
        found = WIRE.assembly(ASK)
        return [found.add(event if event is DONE else msgspec.json.encode(event)) for event in events], found

    def chunk(self, delta: dict[str, Any], reason: str | None = None, **fields: Any) -> dict[str, Any]:
        return {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}], **fields}

    def test_calls_in_pieces_of_several_tools(self) -> None:
        def piece(index: int, text: str, **more: Any) -> dict[str, Any]:
            name = {"name": more.pop("name")} if "name" in more else {}
            return self.chunk({"tool_calls": [{"index": index, **more, "function": {"arguments": text, **name}}]})

        _, found = self.chunks(
            piece(0, "", id="c0", name="add"), piece(1, '{"b"', id="c1", name="sub"), piece(0, '{"a":'),
            piece(1, ":2}"), piece(0, "1}"), self.chunk({}, "tool_calls"), DONE,
        )  # fmt: skip
        assert found.ended
        assert found.reply().tool_calls == (ToolCall("c0", "add", '{"a":1}'), ToolCall("c1", "sub", '{"b":2}'))

    def test_calls_without_an_index(self) -> None:
        calls = [{"id": f"c{i}", "function": {"name": "add", "arguments": {"a": i}}} for i in range(2)]
        _, found = self.chunks(*(self.chunk({"tool_calls": [call]}) for call in calls), self.chunk({}, "stop"))
        assert [call.arguments for call in found.reply().tool_calls] == ['{"a":0}', '{"a":1}']
        assert found.reply().finish == "tools"

    def test_a_call_without_arguments(self) -> None:
        call = {"index": 0, "id": "c", "function": {"name": "now"}}
        _, found = self.chunks(self.chunk({"tool_calls": [call]}), self.chunk({}, "tool_calls"))
        assert found.reply().tool_calls == (ToolCall("c", "now", "{}"),)

    def test_a_refusal(self) -> None:
        deltas, found = self.chunks(
            self.chunk({"refusal": "I "}), self.chunk({"refusal": "can't"}), self.chunk({}, "stop")
        )
        assert deltas == [Delta(other="I "), Delta(other="can't"), None]
        assert (found.reply().refusal, found.reply().finish) == ("I can't", "refused")

    def test_usage_as_it_grows(self) -> None:
        usage = {"prompt_tokens": 9, "completion_tokens": 1}
        deltas, found = self.chunks(self.chunk({"content": "a"}, usage=usage), self.chunk({"content": "b"}, "stop"))
        assert deltas == [Delta("a", tokens=Tokens(9, 1)), Delta("b", tokens=Tokens(9, 1))]
        assert found.complete
        assert not found.ended

    def test_other_choices_are_left_out(self) -> None:
        other = {"choices": [{"index": 1, "delta": {"content": "no"}}]}
        deltas, found = self.chunks(other, self.chunk({"content": "yes"}, "stop"))
        assert (deltas[0], found.reply().text) == (None, "yes")


@pytest.mark.parametrize("kind", ["openai", "sdk-openai"])
def test_over_a_connection(kind: str, backend: str) -> None:
    """The same answer, whole and streamed, over our own HTTP and over the SDK's client."""
    asked = Request(
        "gpt-x",
        (Message("system", "be good"), Message("user", "add one and two")),
        (ToolSpec("add", "Adds.", SCHEMA),),
        OutputSpec("Sum", SCHEMA),
        max_output_tokens=50,
        options={"seed": 3, "reasoning_effort": "low"},
    )
    call = ToolCall("call_0", "add", '{"a": 1}')
    expected = Reply("so be it", (call,), "tools", Tokens(100, 20, 30, 0, 5), "gpt-x", "chatcmpl-1")

    async def go() -> None:
        async with asker(kind, server) as provider:
            assert await provider.complete(asked) == expected
            deltas, reply = await streamed(provider, asked)
            assert reply == expected
            assert [delta.text for delta in deltas if delta.text] == ["so ", "be ", "it"]

    script = Answer("so be it", calls=(("add", {"a": 1}),), usage=Usage(100, 20, 30, 5))
    with serving(script, script) as server:
        name = "trio" if backend == "trio" else "asyncio"
        anyio.run(go, backend=name, backend_options={"use_uvloop": True} if backend == "uvloop" else {})
        field = "max_tokens"
        whole, stream = (one.body for one in server.requests)
        assert whole == ChatCompletions(field).body(asked, stream=False)
        assert stream == ChatCompletions(field).body(asked, stream=True)
        assert {one.path for one in server.requests} == {"/v1/chat/completions"}
        assert server.usage == Usage(200, 40, 60, 10, 2)
