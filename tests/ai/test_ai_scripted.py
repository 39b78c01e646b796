"""The provider without a network, for users' own tests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from ai_asking import streamed

import flow
from flow.ai.errors import RateLimited
from flow.ai.messages import Image, Message, Reply, Request, Text, Tokens, ToolCall
from flow.ai.provider import Provider
from flow.ai.providers.scripted import Scripted


def asked(text: str = "one two three", **fields: Any) -> Request:
    return Request("m", (Message("user", text),), **fields)


def ask(provider: Scripted, request: Request | None = None) -> Reply:
    return asyncio.run(provider.complete(request or asked()))


class City(msgspec.Struct):
    name: str


@dataclass
class Town:
    name: str


class Model:
    def model_dump_json(self) -> str:
        return '{"name":"Rome"}'


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        ("Paris", "Paris"),
        ({"name": "Rome"}, '{"name":"Rome"}'),
        ([1, 2], "[1,2]"),
        (City("Rome"), '{"name":"Rome"}'),
        (Town("Rome"), '{"name":"Rome"}'),
        (Model(), '{"name":"Rome"}'),
        (Reply("as it is"), "as it is"),
        (lambda request: request.messages[0].content, "one two three"),
        (lambda request: lambda request: "twice", "twice"),
    ],
)
def test_what_may_be_a_reply(reply: Any, text: str) -> None:
    assert ask(Scripted(reply)).text == text


def test_a_function_may_be_async() -> None:
    async def answer(request: Request) -> str:
        await asyncio.sleep(0)
        return "later"

    assert ask(Scripted(answer)).text == "later"


def test_exceptions_are_raised() -> None:
    known = RateLimited("slow down", retry_after=3.0)
    with pytest.raises(RateLimited) as caught:
        ask(Scripted(known))
    assert caught.value is known
    with pytest.raises(RateLimited, match="scripted"):
        ask(Scripted(RateLimited))
    with pytest.raises(KeyError):
        ask(Scripted(lambda request: KeyError("x")))


def test_what_is_no_reply() -> None:
    with pytest.raises(flow.errors.UsageError, match="an object cannot be a reply"):
        ask(Scripted(object()))


class TestTheScript:
    def test_one_after_another_and_then_no_more(self) -> None:
        provider = Scripted("a", "b", name="fake")
        assert [ask(provider).text for _ in range(2)] == ["a", "b"]
        with pytest.raises(flow.errors.UsageError, match="fake has 2 replies, and was asked 3 times") as caught:
            ask(provider)
        assert caught.value.retryable is False  # type: ignore[attr-defined]
        assert len(provider.requests) == 3

    def test_a_function_at_the_end_goes_on(self) -> None:
        provider = Scripted("a", lambda request: "b")
        assert [ask(provider).text for _ in range(4)] == ["a", "b", "b", "b"]

    def test_a_class_of_exceptions_at_the_end_does_not(self) -> None:
        provider = Scripted(RateLimited)
        with pytest.raises(RateLimited):
            ask(provider)
        with pytest.raises(flow.errors.UsageError):
            ask(provider)

    def test_it_keeps_what_was_asked(self) -> None:
        provider = Scripted("a")
        ask(provider, asked("what?"))
        assert provider.requests == [asked("what?")]

    def test_it_is_a_provider(self) -> None:
        provider = Scripted()
        assert isinstance(provider, Provider)
        assert (provider.name, provider.headroom(), repr(provider)) == (
            "scripted", {}, "Scripted(0 replies, name='scripted')",
        )  # fmt: skip


class TestTokens:
    def test_words(self) -> None:
        call = ToolCall("1", "add", '{"a": 1}')
        messages = (
            Message("system", "be good"),
            Message("user", (Text("look at\nthis"), Image(url="http://x"))),
            Message("assistant", "", (call,)),
        )
        reply = ask(Scripted(Reply("one two", (call,))), Request("m", messages))
        assert reply.tokens == Tokens(2 + 3 + 100 + 1 + 2, 2 + 1 + 2)
        assert (reply.finish, reply.model) == ("tools", "m")

    def test_what_a_reply_says_stays(self) -> None:
        given = Reply("one", tokens=Tokens(5, 7), model="other", finish="length")
        assert ask(Scripted(given)) == given

    def test_a_long_answer_is_cut(self) -> None:
        reply = ask(Scripted("one two  three four"), asked(max_output_tokens=3))
        assert (reply.text, reply.finish, reply.tokens) == ("one two  three", "length", Tokens(3, 3))
        assert ask(Scripted("one two"), asked(max_output_tokens=2)).finish == "stop"


def test_it_streams_word_by_word() -> None:
    deltas, reply = asyncio.run(streamed(Scripted(" one two\n three "), asked()))
    assert [delta.text for delta in deltas] == [" one", " two", "\n three", " "]
    assert reply.text == " one two\n three "
    assert reply.tokens == Tokens(3, 3)


def test_in_a_run_without_a_loop_of_its_own() -> None:
    provider = Scripted("fine")
    dag = flow.Dag("asks")

    @dag.node
    async def answer() -> str:
        return (await provider.complete(asked())).text

    assert flow.run(dag)["answer"] == "fine"
