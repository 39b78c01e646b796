"""Requests over HTTP: connections, their loops and their ends, bounds, keys; what cannot be a provider."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import socket
from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial
from typing import Any
from urllib.parse import quote

import anyio
import anyio.abc
import pytest
from ai_asking import KEY, OURS, REQUEST, SDKS, asker, failure, streamed
from ai_server import Answer, Server, limited, serving
from conftest import loops

import flow
from flow.ai.errors import AccessDenied, ConnectionFailed, ProviderUnavailable, ReplyInvalid, RequestRejected
from flow.ai.messages import Message, Request
from flow.ai.provider import Provider
from flow.ai.providers import clients
from flow.ai.providers.anthropic import Anthropic
from flow.ai.providers.hiding import hidden
from flow.ai.providers.keys import Key
from flow.ai.providers.openai import OpenAICompatible

ALL = (*OURS, *SDKS)


async def ask(kind: str, server: Server, stream: bool = False, **settings: Any) -> Any:
    async with asker(kind, server, **settings) as provider:
        return (await streamed(provider))[1] if stream else await provider.complete(REQUEST)


async def failed(kind: str, server: Server, stream: bool = False, frames: bool = True, **settings: Any) -> Any:
    async with asker(kind, server, **settings) as provider:
        return await failure(partial(streamed, provider) if stream else partial(provider.complete, REQUEST), frames)


def run(fn: Callable[..., Any], *args: Any, backend: str = "asyncio", **settings: Any) -> Any:
    name = "trio" if backend == "trio" else "asyncio"
    options = {"use_uvloop": True} if backend == "uvloop" else {}
    return anyio.run(partial(fn, **settings), *args, backend=name, backend_options=options)


class TestClients:
    """One client per event loop, for all providers: connections are kept, and closed with the loop."""

    def test_connections_are_kept_within_a_loop_and_closed_with_it(self, backend: str) -> None:
        async def twice(providers: list[Any]) -> None:
            for provider in providers:
                assert (await provider.complete(REQUEST)).text == "fine"
                assert (await streamed(provider))[1].text == "fine"
            assert len(clients._loops) == 1

        with serving() as server:
            providers = [OpenAICompatible(server.openai, KEY), Anthropic(KEY, server.anthropic)]
            for loop in range(1, 4):
                run(twice, providers, backend=backend)
                assert server.connections == loop
                assert clients._loops == {}
        gc.collect(1)  # a connection that was left open would warn

    def test_in_runs_of_the_engine(self, backend: str) -> None:
        dag = flow.Dag("asks")
        with serving() as server:
            provider = OpenAICompatible(server.openai, KEY)

            @dag.node
            async def one() -> str:
                return (await provider.complete(REQUEST)).text

            @dag.node
            async def two(one: str) -> str:
                return (await streamed(provider))[1].text

            for _ in range(2):
                assert flow.run(dag, config=flow.Config(backend=backend))["two"] == "fine"
            assert server.connections == 2
        gc.collect(1)

    def test_a_loop_that_ends_without_closing_is_forgotten(self) -> None:
        async def begin() -> None:
            await clients.lease()

        loop = asyncio.new_event_loop()
        loop.run_until_complete(begin())
        loop.close()
        assert list(clients._loops) == [loop]
        run(begin)
        assert clients._loops == {}

    def test_the_end_of_a_stream_may_come_later(self, backend: str) -> None:
        """Then too the connection is used again."""

        async def go(server: Server) -> None:
            for kind in OURS:
                for _ in range(2):
                    assert (await ask(kind, server, True)).text == "fine"

        with serving(lambda asked: Answer(pause=0.002)) as server:
            run(go, server, backend=backend)
            assert server.connections == 1

    def test_a_client_of_the_users_stays_open(self, backend: str) -> None:
        import httpx2

        async def go(server: Server) -> None:
            async with httpx2.AsyncClient(headers={"x-mine": "yes"}) as client:
                provider = OpenAICompatible(server.openai, KEY, client=client)
                assert (await provider.complete(REQUEST)).text == "fine"
                assert (await streamed(provider))[1].text == "fine"
                assert not client.is_closed

        with serving() as server:
            run(go, server, backend=backend)
            assert [asked.headers["x-mine"] for asked in server.requests] == ["yes", "yes"]
            assert {asked.key for asked in server.requests} == {KEY}

    @pytest.mark.parametrize("by_proxy", [False, True])
    def test_proxies_of_the_environment(self, by_proxy: bool, monkeypatch: pytest.MonkeyPatch, backend: str) -> None:
        for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.upper(), raising=False)

        async def go(url: str) -> None:
            provider = OpenAICompatible(url, KEY)
            assert (await provider.complete(REQUEST)).text == "fine"
            assert (await streamed(provider))[1].text == "fine"

        with serving() as server:
            path = "/chat/completions"
            if not by_proxy:
                run(go, server.openai, backend=backend)
                assert {asked.path.rpartition("/v1")[2] for asked in server.requests} == {path}
                return
            monkeypatch.setenv("HTTP_PROXY", server.url)
            run(go, "http://models.invalid/v1", backend=backend)  # no name server knows it: the proxy is asked
            assert [asked.path for asked in server.requests] == [f"http://models.invalid/v1{path}"] * 2

    def test_no_cookies_are_kept(self) -> None:
        async def go(server: Server) -> None:
            provider = OpenAICompatible(server.openai, KEY)
            for _ in range(2):
                await provider.complete(REQUEST)

        with serving(lambda asked: Answer(headers={"set-cookie": "who=me"})) as server:
            run(go, server)
            assert all("cookie" not in asked.headers for asked in server.requests)

    def test_many_at_once(self, backend: str) -> None:
        async def go(server: Server) -> None:
            provider = OpenAICompatible(server.openai, KEY)
            async with anyio.create_task_group() as group:
                for _ in range(50):
                    group.start_soon(provider.complete, REQUEST)

        with serving() as server:
            run(go, server, backend=backend)
            assert server.usage.requests == 50

    def test_more_at_once_than_one_client_takes(self, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """They are shared out to clients, which are closed again: the last ones first, and not at each change."""
        monkeypatch.setattr(clients, "PER_CLIENT", 2)

        async def go(server: Server) -> None:
            provider = OpenAICompatible(server.openai, KEY)
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(provider.complete, REQUEST)
                while len(server.requests) < 5:
                    await anyio.sleep(0.001)
                (found,) = clients._loops.values()
                assert [lease.used for lease in found._leases] == [2, 2, 1]
                server.release()
            assert [lease.used for lease in found._leases] == [0]
            await provider.complete(REQUEST)
            await failure(partial(OpenAICompatible("http://127.0.0.1:1/v1", KEY).complete, REQUEST))
            assert [lease.used for lease in found._leases] == [0]

        with serving(lambda asked: Answer(hold=0)) as server:
            run(go, server, backend=backend)
        gc.collect(1)


class TestConnections:
    @pytest.mark.parametrize("kind", ALL)
    @pytest.mark.parametrize("stream", [False, True])
    def test_there_is_none(self, kind: str, stream: bool, backend: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            server = Server(())
            server.url = f"http://127.0.0.1:{free.getsockname()[1]}"
            found = run(failed, kind, server, stream, backend=backend)
        assert (type(found), found.sent, found.retryable, found.status) == (ConnectionFailed, False, True, None)

    @pytest.mark.parametrize("kind", ALL)
    def test_it_breaks_within_the_body(self, kind: str, backend: str) -> None:
        with serving(lambda asked: Answer(cut=10)) as server:
            found = run(failed, kind, server, backend=backend)
        assert (type(found), found.sent) == (ConnectionFailed, True)

    @pytest.mark.parametrize("kind", ALL)
    @pytest.mark.parametrize("cut", [0, 1, 4])
    def test_it_breaks_within_a_stream(self, kind: str, cut: int, backend: str) -> None:
        with serving(lambda asked: Answer("one two three four", cut=cut)) as server:
            found = run(failed, kind, server, True, backend=backend)
        assert (type(found), found.sent) == (ConnectionFailed, True)

    @pytest.mark.parametrize("kind", ALL)
    def test_a_stream_that_ends_before_its_answer(self, kind: str, backend: str) -> None:
        with serving(lambda asked: Answer("one two three four", end=4)) as server:
            found = run(failed, kind, server, True, backend=backend)
        assert (type(found), found.sent) == (ConnectionFailed, True)
        assert "the stream ended before the answer did" in str(found)

    @pytest.mark.parametrize("kind", OURS)
    def test_what_came_before_it_broke(self, kind: str) -> None:
        texts = []

        async def go(server: Server) -> None:
            async with asker(kind, server) as provider, aclosing(provider.stream(REQUEST)) as deltas:
                async for delta in deltas:
                    texts.append(delta.text)

        with serving(Answer("one two three four", cut=5)) as server, pytest.raises(ConnectionFailed):
            run(go, server)
        assert "".join(texts) in ("one two three four", "one two ")

    @pytest.mark.parametrize("kind", OURS)
    @pytest.mark.parametrize("stream", [False, True])
    def test_silence(self, kind: str, stream: bool, backend: str) -> None:
        with serving(Answer(hold=2 if stream else 0)) as server:
            found = run(failed, kind, server, stream, backend=backend, timeout=0.05)
        assert (type(found), found.sent) == (ConnectionFailed, True)
        assert "silent for 0.05 s" in str(found)

    @pytest.mark.parametrize("kind", OURS)
    def test_a_stream_whose_connection_stays_open_after_its_end(self, kind: str) -> None:
        """The answer is there, whatever the connection does then."""
        events = 7 if kind == "anthropic" else 5  # all but the end of the body

        async def go(server: Server) -> None:
            assert (await ask(kind, server, True)).text == "fine"
            await anyio.sleep(0)
            while not server.lost:
                await anyio.sleep(0.001)

        with serving(Answer(hold=events)) as server, pytest.MonkeyPatch.context() as patch:
            patch.setattr("flow.ai.providers.reading.END_SECONDS", 0.02)
            run(go, server)


def used() -> int:
    """How many requests go on in this loop."""
    return sum(lease.used for found in clients._loops.values() for lease in found._leases)


class TestLeaving:
    """Whoever stops closes the connection, at once: what is not read is not paid for."""

    @pytest.mark.parametrize("kind", ALL)
    def test_a_stream_that_is_left(self, kind: str, backend: str) -> None:
        async def go(server: Server) -> None:
            async with asker(kind, server) as provider:
                async with aclosing(provider.stream(REQUEST)) as deltas:
                    async for delta in deltas:
                        if delta.text:
                            break
                assert used() == 0
                while not server.lost:
                    await anyio.sleep(0.001)

        with serving(Answer("one two three", hold=4)) as server:
            run(go, server, backend=backend)
        gc.collect(1)

    @pytest.mark.parametrize("kind", ALL)
    @pytest.mark.parametrize("stream", [False, True])
    def test_a_call_that_is_cancelled(self, kind: str, stream: bool, backend: str) -> None:
        async def go(server: Server) -> None:
            with anyio.move_on_after(30) as scope:
                async with anyio.create_task_group() as group:
                    group.start_soon(ask, kind, server, stream)
                    while not server.requests:
                        await anyio.sleep(0.001)
                    group.cancel_scope.cancel()
            assert not scope.cancelled_caught
            assert used() == 0
            while not server.lost:
                await anyio.sleep(0.001)

        with serving(Answer("one two three", hold=2)) as server:
            run(go, server, backend=backend)
        gc.collect(1)

    def test_a_run_that_is_cancelled(self, backend: str) -> None:
        dag = flow.Dag("asks")
        with serving(Answer(hold=0)) as server:
            provider = OpenAICompatible(server.openai, KEY)

            @dag.node(timeout=0.05)
            async def one() -> str:
                return (await provider.complete(REQUEST)).text

            with pytest.raises(flow.errors.RunError):
                flow.run(dag, config=flow.Config(backend=backend))
        gc.collect(1)


class TestBounds:
    @pytest.mark.parametrize("kind", OURS)
    @pytest.mark.parametrize("sized", [False, True])
    def test_a_huge_answer(self, kind: str, sized: bool, backend: str) -> None:
        body = b'{"x": "' + b"y" * 3_000_000 + b'"}'
        headers = {} if sized else {"content-length": str(len(body)), "x-size": "unknown"}
        with serving(Answer(body=body, headers=headers)) as server:
            found = run(failed, kind, server, backend=backend, max_bytes=100_000)
        assert type(found) is ReplyInvalid
        assert "longer than max_bytes=100,000" in str(found)

    @pytest.mark.parametrize("kind", OURS)
    def test_a_huge_stream(self, kind: str, backend: str) -> None:
        with serving(Answer("x", pieces=("y" * 1_000,) * 300)) as server:
            found = run(failed, kind, server, True, backend=backend, max_bytes=100_000)
        assert type(found) is ReplyInvalid
        assert "longer than max_bytes=100,000" in str(found)

    @pytest.mark.parametrize("kind", OURS)
    def test_a_huge_event(self, kind: str, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flow.ai.providers.reading.MAX_EVENT", 50_000)
        with serving(Answer("x", pieces=("y" * 200_000,))) as server:
            found = run(failed, kind, server, True, backend=backend)
        assert type(found) is ReplyInvalid
        assert "an event is longer than 50,000 bytes" in str(found)

    @pytest.mark.parametrize("kind", OURS)
    def test_a_stream_without_lines(self, kind: str) -> None:
        with serving(Answer(body=b"y" * 2_000_000, content_type="text/event-stream")) as server:
            found = run(failed, kind, server, True, max_bytes=100_000)
        assert type(found) is ReplyInvalid

    def test_an_error_whose_body_does_not_end(self, backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flow.ai.providers.reading.ERROR_SECONDS", 0.05)

        async def trickle(stream: anyio.abc.SocketStream) -> None:
            with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                async with stream:
                    await stream.receive()
                    await stream.send(
                        b"HTTP/1.1 503 X\r\ncontent-type: text/plain\r\ncontent-length: 9000\r\n\r\nnot now"
                    )
                    while True:
                        await anyio.sleep(0.01)
                        await stream.send(b".")

        async def go() -> Any:
            listening = await anyio.create_tcp_listener(local_host="127.0.0.1")
            async with listening, anyio.create_task_group() as group:
                group.start_soon(listening.serve, trickle)
                port = listening.extra(anyio.abc.SocketAttribute.local_port)
                provider = OpenAICompatible(f"http://127.0.0.1:{port}", KEY, "p")
                with anyio.fail_after(20):
                    found = await failure(partial(provider.complete, REQUEST))
                group.cancel_scope.cancel()
            return found

        found = run(go, backend=backend)
        assert (type(found), found.status) == (ProviderUnavailable, 503)
        assert "answered 503: not now" in str(found)


class TestRedirects:
    @pytest.mark.parametrize("kind", OURS)
    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("status", [301, 302, 307, 308])
    def test_they_are_not_followed(self, kind: str, stream: bool, status: int) -> None:
        with serving() as other:
            target = f"{other.url}/v1/chat/completions?key={KEY}"
            with serving(Answer(status=status, headers={"location": target})) as server:
                found = run(failed, kind, server, stream, frames=False)
            assert other.requests == []
        assert (type(found), found.status) == (RequestRejected, status)
        assert f"{other.url}/v1/chat/completions: set base_url=" in str(found)


class TestKeys:
    @pytest.fixture
    def keyed(self, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
        for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "MY_OWN_API_KEY"):
            monkeypatch.delenv(name, raising=False)
        return monkeypatch

    def sent(self, make: Callable[[Server], Provider], times: int = 1) -> list[str]:
        async def go(provider: Provider) -> None:
            for _ in range(times):
                await provider.complete(REQUEST)

        with serving() as server:
            anyio.run(go, make(server))
            return [asked.key for asked in server.requests]

    def test_of_the_environment_read_at_the_first_request(self, keyed: pytest.MonkeyPatch) -> None:
        with serving() as server:
            provider = OpenAICompatible(server.openai, name="openai")
            keyed.setenv("OPENAI_API_KEY", f" {KEY}\n")
            anyio.run(provider.complete, REQUEST)
            keyed.setenv("OPENAI_API_KEY", "another")
            anyio.run(provider.complete, REQUEST)
            assert [asked.key for asked in server.requests] == [KEY, KEY]

    def test_the_variable_goes_by_the_name(self, keyed: pytest.MonkeyPatch) -> None:
        keyed.setenv("OPENAI_API_KEY", "of-openai")
        keyed.setenv("MY_OWN_API_KEY", KEY)
        assert self.sent(lambda server: OpenAICompatible(server.openai, name="my own")) == [KEY]
        assert self.sent(lambda server: OpenAICompatible(server.openai)) == [""]  # it is for OpenAI alone

    def test_of_a_function_for_each_request(self) -> None:
        keys = iter(["first-key", "second-key"])

        async def later() -> str:
            return next(keys)

        assert self.sent(lambda server: OpenAICompatible(server.openai, lambda: "a-key"), 2) == ["a-key", "a-key"]
        assert self.sent(lambda server: Anthropic(later, server.anthropic), 2) == ["first-key", "second-key"]

    def test_in_another_header(self) -> None:
        with serving() as server:
            url = f"{server.url}/openai/deployments/gpt?api-version=2025-01-01&x=secret-query"
            provider = OpenAICompatible(url, KEY, "azure", auth_header="API-Key")
            anyio.run(provider.complete, REQUEST)
            (asked,) = server.requests
        assert asked.path == "/openai/deployments/gpt/chat/completions?api-version=2025-01-01&x=secret-query"
        assert asked.headers["api-key"] == KEY
        assert "authorization" not in asked.headers
        assert "secret-query" not in repr(provider)

    def test_anthropics_in_another_header(self) -> None:
        with serving() as server:
            anyio.run(Anthropic(KEY, server.anthropic, auth_header="Authorization").complete, REQUEST)
            assert server.requests[0].headers["authorization"] == f"Bearer {KEY}"
            assert "x-api-key" not in server.requests[0].headers

    @pytest.mark.parametrize(
        "provider", [OpenAICompatible(), OpenAICompatible("https://me.openai.azure.com"), Anthropic()]
    )
    def test_there_is_none(self, provider: Provider, keyed: pytest.MonkeyPatch) -> None:
        for ask in (partial(provider.complete, REQUEST), partial(streamed, provider)):
            found = anyio.run(failure, ask)
            assert type(found) is AccessDenied
            assert f"environment variable {provider.name.upper()}_API_KEY" in str(found) and "api_key=" in str(found)

    def test_without_the_blanks_around_it(self) -> None:
        assert self.sent(lambda server: OpenAICompatible(server.openai, f" {KEY}\n")) == [KEY]

    def test_the_header_may_have_it_instead(self, keyed: pytest.MonkeyPatch) -> None:
        keyed.setenv("OPENAI_API_KEY", "of-the-environment")
        headers = {"Authorization": f"Basic {KEY}"}
        with serving(lambda asked: Answer(status=401, error=("odd", f"not {KEY}"))) as server:
            provider = OpenAICompatible(server.openai, name="openai", headers=headers)
            anyio.run(failure, partial(provider.complete, REQUEST))
            assert server.requests[0].headers["authorization"] == f"Basic {KEY}"

    def test_none_is_sent_where_none_is_needed(self, keyed: pytest.MonkeyPatch) -> None:
        assert self.sent(lambda server: OpenAICompatible(server.openai, "")) == [""]

    @pytest.mark.parametrize("key", [f"{KEY}\nx-evil: 1", "schlüssel-0123", f"{KEY}\x00"])
    def test_what_can_be_no_key(self, key: str) -> None:
        with serving() as server:
            found = anyio.run(failure, partial(OpenAICompatible(server.openai, key).complete, REQUEST))
            assert server.requests == []
        assert type(found) is AccessDenied
        assert "schlüssel" not in str(found)

    def test_a_function_that_returns_none(self) -> None:
        with serving() as server:
            found = anyio.run(failure, partial(OpenAICompatible(server.openai, lambda: None).complete, REQUEST))  # type: ignore[arg-type,return-value]
        assert "returned no text but NoneType" in str(found)

    def test_in_no_repr(self, keyed: pytest.MonkeyPatch) -> None:
        for provider in (
            OpenAICompatible(api_key=KEY),
            Anthropic(KEY),
            OpenAICompatible("http://x/v1?key=" + KEY, KEY),
        ):
            parts: list[Any] = [provider, provider._transport, provider._transport._key, provider._wire]
            assert KEY not in " ".join(map(repr, parts)) + str(provider)
            with pytest.raises(TypeError, match="a key is not pickled"):
                pickle.dumps(provider)
            assert copy.deepcopy(provider)._transport._key is provider._transport._key

    def test_after_a_request_too(self) -> None:
        with serving() as server:
            provider = OpenAICompatible(f"{server.openai}?key={KEY}", KEY)
            anyio.run(provider.complete, REQUEST)
            with pytest.raises(TypeError, match="a key is not pickled"):
                pickle.dumps(provider)
            other = copy.deepcopy(provider)
            anyio.run(other.complete, REQUEST)
            assert server.requests[0].path == server.requests[1].path
        for one in (provider, other):
            assert KEY not in repr(vars(one._transport)) + str(one._transport._url)

    def test_secret_headers_are_hidden_too(self) -> None:
        said = f"{KEY} and token-of-mine"
        with serving(lambda asked: Answer(status=400, error=("odd", said))) as server:
            headers = {"X-Session-Token": "token-of-mine", "x-title": "said"}
            provider = OpenAICompatible(server.openai, KEY, headers=headers)
            found = anyio.run(failure, partial(provider.complete, REQUEST))
        assert str(found).endswith("(odd): *** and ***")

    def test_older_keys_of_a_function_are_hidden_too(self) -> None:
        keys = iter([*(f"key-number-{i}" for i in range(20)), KEY, "last-key"])

        async def go(server: Server) -> Any:
            provider = OpenAICompatible(server.openai, lambda: next(keys), headers={"x-token": "of-the-header"})
            for _ in range(21):
                await provider.complete(REQUEST)
            return await failure(partial(provider.complete, REQUEST))

        refused = Answer(status=401, error=("odd", f"not {KEY}, not last-key, not of-the-header"))
        with serving(lambda asked: refused if asked.key == "last-key" else "fine") as server:
            assert "not ***, not ***, not ***" in str(anyio.run(go, server))


class TestHiding:
    """What is secret is shown nowhere, in whatever way a server repeats it."""

    QUERY = "of/the+query=="

    @pytest.mark.parametrize(
        "written",
        [
            lambda text: text,
            lambda text: text.replace("/", "\\/"),
            lambda text: text.replace("+", "\\u002B").replace("=", "\\\\u003d"),
            lambda text: text.replace("+", "&#43;").replace("/", "&#x2F;").replace("=", "&equals;"),
            lambda text: text.replace("+", "&amp;#43;"),
            lambda text: quote(text, safe=""),
            lambda text: quote(text, safe="").lower(),
            lambda text: quote(quote(text, safe=""), safe=""),
        ],
        ids=["as it is", "php", "json", "html", "html twice", "url", "url in small letters", "url twice"],
    )
    def test_escapes(self, written: Callable[[str], str]) -> None:
        said = f"<{written(KEY)}> and <{written(self.QUERY)}>"
        with serving(Answer(status=400, error=("", said))) as server:
            url = f"{server.openai}?api-version=2025-01-01&sig={quote(self.QUERY, safe='')}"
            found = anyio.run(failure, partial(OpenAICompatible(url, KEY, "p").complete, REQUEST))
        assert str(found).replace("\\", "").endswith("answered 400: <***> and <***>")

    def test_the_rest_of_a_text_is_left_as_it_is(self) -> None:
        text = r"C:\temp\x41 100%25 &amp; ÄÖ\u0041 İ KEY-1 \\ key%2d1 &nosuch; 7"
        assert hidden(text, ["key-1", "abc", ""]) == text.replace("KEY-1", "***").replace("key%2d1", "***")
        assert hidden("abcdefgh", ["abcd", "abcdef", "cdefg"]) == "***h"
        assert hidden(r"ab\%2Bcd", [r"ab\%2Bcd"]) == "***"

    @pytest.mark.parametrize("piece", ["\\", "%25", "&amp;", "%", "&", "&#0", "\\u00", "key"])
    def test_no_text_takes_long(self, piece: str) -> None:
        hidden(piece * 200_000, ["key-of-somebody"])  # which would take minutes if it were not linear

    def test_the_query_is_not_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        import httpx2

        async def go(server: Server) -> None:
            async with httpx2.AsyncClient(params={"more": "secret-of-the-client"}) as client:
                for url, own in ((f"{server.openai}?key=query-secret", None), (server.openai, client)):
                    await OpenAICompatible(url, KEY, client=own).complete(REQUEST)

        with caplog.at_level(0), serving() as server:
            anyio.run(go, server)
            assert [asked.path.partition("?")[2] for asked in server.requests] == [
                "key=query-secret",
                "more=secret-of-the-client",
            ]
        logged = [record.getMessage() for record in caplog.records]
        assert any("/v1/chat/completions " in text for text in logged)
        assert not any("secret" in text for text in logged)

    def test_what_a_client_of_the_users_adds(self) -> None:
        import httpx2

        said = "not of-the-field, not of-the-auth, not of-the-query"

        async def go(server: Server) -> None:
            for client in (
                httpx2.AsyncClient(headers={"x-api-key": "of-the-field"}, params={"q": "of-the-query"}),
                httpx2.AsyncClient(auth=("me", "of-the-auth")),
            ):
                async with client:
                    provider = OpenAICompatible(server.openai, "", "p", client=client)
                    for ask in (partial(provider.complete, REQUEST), partial(streamed, provider)):
                        found = str(await failure(ask))
                        assert found.count("***") == ("not of-the-auth" in found) + 1

        with serving(lambda asked: Answer(status=400, error=("", said))) as server:
            anyio.run(go, server)

    def test_keys_of_many_requests_at_once(self, backend: str) -> None:
        """Each hides its own, however many others have had another since."""
        count = 30
        keys = iter(f"key-number-{i}" for i in range(count))

        async def go() -> None:
            provider = OpenAICompatible(server.openai, lambda: next(keys), "p")

            async def one() -> None:
                assert str(await failure(partial(provider.complete, REQUEST))).endswith("not ***")

            async with anyio.create_task_group() as group:
                for _ in range(count):
                    group.start_soon(one)

        def answer(asked: Any) -> Answer:
            if len(server.requests) == count:
                server.release()
            return Answer(status=400, error=("", f"not {asked.key}"), hold=0)

        with serving(answer) as server:
            run(go, backend=backend)
            assert len(server.requests) == count

    def test_an_answer_hides_the_key_of_its_request(self) -> None:
        """Also one that is read when its connection is free again, and others have used it."""
        key = Key("", "")
        first = key.request()
        first.hide(["of-the-first"])
        for i in range(100):
            key.request().hide([f"of-number-{i}"])
        assert first.redact("of-the-first of-number-99 of-number-1") == "*** *** of-number-1"
        assert key.request().redact("of-the-first") == "***"  # as long as that request is there
        del first
        gc.collect(0)
        assert key.request().redact("of-the-first") == "of-the-first"


@pytest.mark.parametrize("kind", ALL)
def test_what_is_left_of_rates(kind: str) -> None:
    async def go(server: Server) -> None:
        async with asker(kind, server) as provider:
            assert provider.headroom() == {}
            await provider.complete(REQUEST)
            assert provider.headroom() == {"requests": 3, "tokens": 500}
            await provider.complete(REQUEST)  # which says nothing
            assert provider.headroom() == {"requests": 3, "tokens": 500}
            await failure(partial(provider.complete, REQUEST))
            assert provider.headroom() == {"requests": 0}
            await streamed(provider)
            assert provider.headroom() == {"requests": 9}

    def left(requests: int, **tokens: int) -> dict[str, str]:
        form = "anthropic-ratelimit-{}-remaining" if "anthropic" in kind else "x-ratelimit-remaining-{}"
        return {form.format(name): str(n) for name, n in {"requests": requests, **tokens}.items()}

    limit = limited()
    limit = Answer(status=429, error=limit.error, headers={**limit.headers, **left(0)})
    with serving(Answer(headers=left(3, tokens=500)), "fine", limit, Answer(headers=left(9))) as server:
        anyio.run(go, server)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: OpenAICompatible("ftp://host"), "base_url must begin with http"),
        (lambda: OpenAICompatible("host/v1"), "base_url must begin with http"),
        (lambda: OpenAICompatible("http://"), "base_url must begin with http"),
        (lambda: OpenAICompatible("http://[::1"), "base_url must begin with http"),
        (lambda: OpenAICompatible("http://host:99999"), "base_url must begin with http"),
        (lambda: OpenAICompatible(None), "base_url must begin with http"),  # type: ignore[arg-type]
        (lambda: OpenAICompatible("https://me:secret@host/v1"), "no user or password"),
        (lambda: OpenAICompatible(api_key=3), "api_key must be a text, a function"),  # type: ignore[arg-type]
        (lambda: OpenAICompatible(name=""), "a text that is not empty"),
        (lambda: OpenAICompatible(tokens_field="most"), "'max_completion_tokens' or 'max_tokens'"),  # type: ignore[arg-type]
        (lambda: OpenAICompatible(headers={"x-key": f"{KEY}\r\nx: y"}), "'x-key' has characters"),
        (lambda: OpenAICompatible(headers={"a b": "c"}), "'a b' has characters"),
        (lambda: OpenAICompatible(headers={"a": 3}), "a mapping from names to texts"),  # type: ignore[dict-item]
        (lambda: OpenAICompatible(headers=["a"]), "a mapping from names to texts"),  # type: ignore[arg-type]
        (lambda: Anthropic(headers=3), "a mapping from names to texts"),  # type: ignore[arg-type]
        (lambda: OpenAICompatible(auth_header="a b"), "the name of a header field"),
        (lambda: OpenAICompatible(auth_header=None), "the name of a header field"),  # type: ignore[arg-type]
        (lambda: Anthropic(name=3), "name must be a text"),  # type: ignore[arg-type]
        (lambda: OpenAICompatible(timeout=0), "timeout must be"),
        (lambda: OpenAICompatible(timeout=float("inf")), "timeout must be"),
        (lambda: OpenAICompatible(connect_timeout=-1), "connect_timeout must be"),
        (lambda: OpenAICompatible(max_bytes=0), "max_bytes must be"),
        (lambda: OpenAICompatible("nowhere", 3, "", tokens_field="x", timeout=0, max_bytes=0), "6 faults"),  # type: ignore[arg-type]
        (lambda: Anthropic(base_url="nowhere"), "base_url must begin with http"),
        (lambda: Anthropic(max_output_tokens=0), "at least 1"),
        (lambda: Anthropic(structured="json"), "'format' or 'tool'"),  # type: ignore[arg-type]
    ],
)
def test_arguments_that_cannot_be_used(make: Callable[[], Any], said: str) -> None:
    with pytest.raises(flow.errors.ConfigError) as caught:
        make()
    assert said in str(caught.value)
    assert KEY not in str(caught.value)


def test_options_that_are_no_json() -> None:
    with serving() as server:
        request = Request("m", (Message("user", "x"),), options={"odd": object()})
        found = anyio.run(failure, partial(OpenAICompatible(server.openai, KEY).complete, request))
        assert server.requests == []
    assert type(found) is RequestRejected
    assert "cannot be written as JSON" in str(found)


def test_without_httpx2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "httpx2", None)
    clients.load.cache_clear()
    with pytest.raises(flow.errors.UsageError, match=r"pip install 'flow-dag\[ai\]'"):
        anyio.run(OpenAICompatible("http://127.0.0.1:1", KEY).complete, REQUEST)
    clients.load.cache_clear()


@pytest.mark.parametrize("backend", loops("trio"))
def test_the_names_of_providers(backend: str) -> None:
    names = {
        "https://api.openai.com/v1": "openai",
        "https://me.openai.azure.com/openai": "azure",
        "https://openrouter.ai/api/v1": "openrouter",
        "http://localhost:11434/v1": "localhost",
        "https://notopenai.azure.com": "notopenai.azure.com",
    }
    assert {url: OpenAICompatible(url).name for url in names} == names


HTTPX: list[tuple[str, type[Exception], bool | None]] = [
    ("ConnectError", ConnectionFailed, False),
    ("ConnectTimeout", ConnectionFailed, False),
    ("PoolTimeout", ConnectionFailed, False),
    ("ProxyError", ConnectionFailed, False),
    ("ReadTimeout", ConnectionFailed, True),
    ("WriteTimeout", ConnectionFailed, True),
    ("ReadError", ConnectionFailed, True),
    ("WriteError", ConnectionFailed, True),
    ("CloseError", ConnectionFailed, True),
    ("RemoteProtocolError", ConnectionFailed, True),
    ("DecodingError", ConnectionFailed, True),
    ("LocalProtocolError", RequestRejected, None),
    ("UnsupportedProtocol", RequestRejected, None),
]


@pytest.mark.parametrize(("name", "error", "sent"), HTTPX, ids=lambda value: value if isinstance(value, str) else "")
def test_what_the_http_client_raises(name: str, error: type[Exception], sent: bool | None) -> None:
    import httpx2

    def handler(request: Any) -> Any:
        raise getattr(httpx2, name)(f"gone, with {KEY}", request=request)

    async def go() -> None:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(handler)) as client:
            provider = OpenAICompatible("http://host/v1", KEY, client=client)
            for ask in (partial(provider.complete, REQUEST), partial(streamed, provider)):
                found = await failure(ask)
                assert (type(found), getattr(found, "sent", None)) == (error, sent)
                assert found.__cause__ is found.__context__ is None

    anyio.run(go)


def test_what_it_raises_else_is_left_alone() -> None:
    import httpx2

    def handler(request: Any) -> Any:
        raise ZeroDivisionError("of the user's transport")

    async def go() -> None:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(handler)) as client:
            await OpenAICompatible("http://host/v1", KEY, client=client).complete(REQUEST)

    with pytest.raises(ZeroDivisionError):
        anyio.run(go)
