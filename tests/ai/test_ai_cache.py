"""Answers that are there already: keys, entries, one request for many, files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from ai_cases import HIT, calls, model, reply, took, used
from ai_server import serving

import flow
from flow import ai
from flow.ai.cache import key_of
from flow.ai.messages import Message, Reply, Request, ToolSpec


def asking(provider: Any, cache: ai.Cache, **settings: Any) -> flow.Dag:
    dag = flow.Dag("d")
    ai.llm(dag, "ask", model=model(provider), prompt="{{ text }}", cache=cache, **settings)
    return dag


REQUEST = Request("m", (Message("system", "s"), Message("user", "a secret")), options={"a": 1, "b": {"c": [1], "d": 2}})


class TestKeys:
    def test_the_order_of_fields_does_not_matter(self) -> None:
        other = msgspec.structs.replace(REQUEST, options={"b": {"d": 2, "c": [1]}, "a": 1})
        assert key_of("p", REQUEST) == key_of("p", other)

    @pytest.mark.parametrize(
        "change",
        [
            {"model": "n"},
            {"messages": REQUEST.messages[1:]},
            {"messages": (REQUEST.messages[0], Message("user", "a secret", is_error=True))},
            {"tools": (ToolSpec("t", "", {}),)},
            {"output": ai.OutputType(list[int]).spec},
            {"max_output_tokens": 3},
            {"temperature": 0.0},
            {"stop": ("x",)},
            {"options": {"a": 1, "b": {"c": [1], "d": 3}}},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_all_else_matters(self, change: dict[str, Any]) -> None:
        assert key_of("p", REQUEST) != key_of("p", msgspec.structs.replace(REQUEST, **change))

    def test_the_provider_matters(self) -> None:
        assert key_of("p", REQUEST) != key_of("q", REQUEST)

    def test_providers_of_one_name_at_two_places_are_two(self) -> None:
        urls = "http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"
        keys = [key_of(ai.OpenAICompatible(url, "a-key", "same"), REQUEST) for url in urls]
        assert len({*keys, key_of("same", REQUEST)}) == 3
        other = ai.OpenAICompatible(f"{urls[0]}?sig=secret", "another-key", "same")
        assert key_of(other, REQUEST) == keys[0]  # whoever has another key is not told apart

    def test_nodes_that_ask_two_places_by_one_name(self) -> None:
        cache = ai.Cache()
        for text in ("one", "two"):
            with serving(text) as server:
                provider = ai.OpenAICompatible(server.openai, "a-key", "same")
                assert flow.run(asking(provider, cache), {"text": "hi"})["ask"] == text

    def test_options_that_no_encoding_knows_have_a_key(self) -> None:
        class Own:
            def __repr__(self) -> str:
                return "own"

        one, other = (msgspec.structs.replace(REQUEST, options={"x": value}) for value in (Own(), Own()))
        assert key_of("p", one) == key_of("p", other)

    def test_nothing_of_the_request_is_in_it(self) -> None:
        key = key_of("openai", REQUEST)
        assert len(key) == 40 and not set(key) - set("0123456789abcdef")


class TestHits:
    def test_the_second_request_is_not_made(self) -> None:
        provider, cache = ai.Scripted(reply("one")), ai.Cache()
        dag = asking(provider, cache)
        first, second = flow.run(dag, {"text": "x"}), flow.run(dag, {"text": "x"})
        assert (first["ask"], second["ask"], len(provider.requests)) == ("one", "one", 1)
        assert (took(first), took(second)) == ([used()], [HIT])
        assert msgspec.structs.astuple(cache.statistics()) == (1, 1, 1)
        assert repr(cache) == "<ai.Cache in memory: 1 hits, 1 misses>"

    def test_another_request_is_made(self) -> None:
        provider, cache = ai.Scripted(reply("one"), reply("two"), reply("three")), ai.Cache()
        dag = asking(provider, cache)
        assert [flow.run(dag, {"text": text})["ask"] for text in "xyx"] == ["one", "two", "one"]
        assert flow.run(asking(provider, cache, temperature=1.0), {"text": "x"})["ask"] == "three"

    def test_a_hit_is_emitted_where_pieces_are(self) -> None:
        cache = ai.Cache()
        dag = asking(ai.Scripted(reply("one two")), cache)
        events: list[Any] = []
        for _ in range(2):
            flow.run(dag, {"text": "x"}, config=flow.Config(observers=[events.append]))
        emitted = [(e.value, e.append, e.offset) for e in events if isinstance(e, flow.events.NodeEmitted)]
        assert emitted == [("one", True, 0), (" two", True, 3), ("one two", True, 0)]

    def test_limits_and_budgets_do_not_count_it(self) -> None:
        cache, limits = ai.Cache(), ai.UsageLimits(requests=1, cost="0.1")
        dag = asking(ai.Scripted(reply("one")), cache, limits=limits, max_output_tokens=100)
        for _ in range(3):
            assert flow.run(dag, {"text": "x"})["ask"] == "one"

    def test_tools_that_are_asked_for_are_kept(self) -> None:
        cache, provider = ai.Cache(), ai.Scripted(calls(("t", "{}")))
        dag = asking(provider, cache, output=Reply)
        assert flow.run(dag, {"text": "x"})["ask"] == flow.run(dag, {"text": "x"})["ask"]

    def test_after_its_time_it_is_asked_again(self) -> None:
        now = [1_000.0]
        cache = ai.Cache(ttl=60, clock=lambda: now[0])
        dag = asking(ai.Scripted(reply("one"), reply("two")), cache)
        found = []
        for step in (0.0, 59.9, 0.1, 1.0):
            now[0] += step
            found.append(flow.run(dag, {"text": "x"})["ask"])
        assert found == ["one", "one", "two", "two"]

    def test_the_last_used_stay(self) -> None:
        provider, cache = ai.Scripted(lambda request: reply(f"n{len(provider.requests)}")), ai.Cache(size=2)
        dag = asking(provider, cache)
        assert [flow.run(dag, {"text": text})["ask"] for text in "abacab"] == ["n1", "n2", "n1", "n3", "n1", "n4"]
        assert len(cache) == 2
        cache.clear()
        assert len(cache) == 0


class Point(msgspec.Struct):
    x: int


class TestNotKept:
    @pytest.mark.parametrize(
        ("bad", "settings", "error"),
        [
            (ai.ProviderUnavailable("down", status=503), {}, ai.ProviderUnavailable),
            (reply("half", finish="length"), {}, ai.Truncated),
            (reply("no", refusal="no"), {}, ai.Refused),
            (reply("no", finish="filtered"), {}, ai.Refused),
            (reply("[]"), {"output": Point, "repair": 0}, ai.OutputMismatch),
        ],
        ids=["error", "truncated", "refused", "filtered", "mismatch"],
    )
    def test_what_was_no_good_answer(self, bad: Any, settings: Any, error: type[Exception]) -> None:
        cache = ai.Cache()
        dag = asking(ai.Scripted(bad, reply('{"x": 1}')), cache, **settings)
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, {"text": "x"})
        assert isinstance(caught.value.exceptions[0], error) and len(cache) == 0
        assert flow.run(dag, {"text": "x"})["ask"] in ('{"x": 1}', Point(1)) and len(cache) == 1


async def never() -> Any:
    raise AssertionError("it is there")


class TestOneRequestForMany:
    def test_the_others_get_its_answer(self, on_loop: Callable[..., Any]) -> None:
        go, asked = [], []

        async def answer(request: Request) -> Reply:
            asked.append(1)
            await go[0].wait()
            return reply("one")

        cache = ai.Cache()
        dag = flow.Dag("d")
        for name in "abc":
            ai.llm(dag, name, model=model(ai.Scripted(answer)), prompt="{{ text }}", cache=cache)

        async def main() -> None:
            go.append(anyio.Event())
            async with flow.start(dag, {"text": "x"}) as run:
                await anyio.wait_all_tasks_blocked()
                assert len(asked) == 1
                go[0].set()
                result = await run.result()
            assert dict(result) == {"a": "one", "b": "one", "c": "one"}
            assert sorted(took(result), key=lambda one: one["requests"]) == [HIT, HIT, used()]

        on_loop(main)

    @pytest.mark.parametrize("limit", [1, 2, None])
    def test_no_slot_is_held_while_another_is_waited_for(self, on_loop: Callable[..., Any], limit: int | None) -> None:
        """The first one waits for its rate without a slot: the others must not hold all slots until it has one."""
        clock = flow.testing.FakeClock()
        cache, provider = ai.Cache(), ai.Scripted(lambda request: reply(request.messages[0].content))
        rate = ai.RateLimiter(requests_per_minute=6)
        dag = flow.Dag("d")
        for at, text in enumerate(["a", "b", "b", "b"]):
            ai.llm(dag, f"n{at}", model=model(provider), prompt=text, cache=cache, rate=rate)

        async def main() -> None:
            result = await flow.execute(dag, config=flow.Config(limit=limit, clock=clock))
            assert [result[f"n{at}"] for at in range(4)] == ["a", "b", "b", "b"]

        on_loop(main)
        assert len(provider.requests) == 2

    @pytest.mark.parametrize("how", ["cancelled", "failed", "not kept"])
    def test_a_first_one_that_gives_no_answer_hands_over(self, on_loop: Callable[..., Any], how: str) -> None:
        cache, made = ai.Cache(), []

        async def make() -> Reply:
            made.append(1)
            await anyio.sleep(0)
            if len(made) > 1:
                return reply("good")
            if how == "cancelled":
                await anyio.sleep_forever()
            if how == "failed":
                raise OSError
            return reply("bad")

        async def main() -> None:
            ctx = flow.testing.context()
            found: list[Any] = []

            async def ask() -> None:
                try:
                    found.append(await cache.reply("k", make, lambda one: one.text == "good", ctx.released))
                except OSError:
                    found.append("failed")

            async with anyio.create_task_group() as group:
                scope = anyio.CancelScope()

                async def first() -> None:
                    with scope:
                        await ask()

                group.start_soon(first)
                await anyio.wait_all_tasks_blocked() if how == "cancelled" else await anyio.sleep(0)
                for _ in range(3):
                    group.start_soon(ask)
                if how == "cancelled":
                    await anyio.wait_all_tasks_blocked()
                    scope.cancel()
            good = [one for one in found if isinstance(one, tuple) and one[0].text == "good"]
            assert len(made) == 2 and sorted(was_there for _, was_there in good) == [False, True, True]
            assert cache._flights == {}
            assert await cache.reply("k", never, bool, ctx.released) == (reply("good"), True)

        on_loop(main)


class TestFiles:
    def test_processes_share_them(self, tmp_path: Path) -> None:
        program = """
import sys, flow
from flow import ai
dag = flow.Dag("d")
provider = ai.Scripted(lambda request: f"from {sys.argv[1]}")
ai.llm(dag, "ask", model=ai.Model(provider, "m", "0", "0"), prompt="{{ text }}",
       cache=ai.Cache(path="answers"))
print(flow.run(dag, {"text": "x"})["ask"])
"""
        found = [
            subprocess.run(
                [sys.executable, "-c", program, name], cwd=tmp_path, capture_output=True, text=True, check=True
            ).stdout
            for name in ("one", "two")
        ]
        assert found == ["from one\n", "from one\n"]

    def test_only_the_owner_may_read_them(self, tmp_path: Path) -> None:
        folder = tmp_path / "answers"
        flow.run(asking(ai.Scripted(reply("one")), ai.Cache(path=folder)), {"text": "x"})
        (file,) = folder.iterdir()
        if os.name == "posix":
            assert (folder.stat().st_mode & 0o777, file.stat().st_mode & 0o777) == (0o700, 0o600)
        assert file.suffix == ".reply" and len(file.stem) == 40

    @pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
    def test_a_damaged_one_is_a_miss(self, tmp_path: Path, damage: str) -> None:
        dag = asking(ai.Scripted(reply("one"), reply("two")), ai.Cache(path=tmp_path))
        assert flow.run(dag, {"text": "x"})["ask"] == "one"
        (file,) = tmp_path.iterdir()
        data = file.read_bytes()
        changed = {
            "cut": data[:-1],
            "flipped": data[:-1] + bytes([data[-1] ^ 1]),
            "empty": b"",
            "other": b"flow.ai 2\n" + data[10:],
        }
        file.write_bytes(changed[damage])
        assert [flow.run(dag, {"text": "x"})["ask"] for _ in range(2)] == ["two", "two"]

    def test_one_of_another_version_is_a_miss(self, tmp_path: Path) -> None:
        dag = asking(ai.Scripted(reply("one"), reply("two")), ai.Cache(path=tmp_path))
        assert flow.run(dag, {"text": "x"})["ask"] == "one"
        (file,) = tmp_path.iterdir()
        payload = msgspec.msgpack.encode({"at": 1.0, "reply": {"text": 3}})
        file.write_bytes(b"flow.ai 1\n" + hashlib.blake2b(payload, digest_size=16).digest() + payload)
        assert flow.run(dag, {"text": "x"})["ask"] == "two"

    def test_the_oldest_beyond_its_size_are_deleted(self, tmp_path: Path) -> None:
        cache = ai.Cache(path=tmp_path, size=5)
        provider = ai.Scripted(lambda request: reply(str(len(provider.requests))))
        dag = asking(provider, cache)
        for at in range(12):
            flow.run(dag, {"text": str(at)})
            for file in tmp_path.iterdir():
                os.utime(file, (file.stat().st_atime, file.stat().st_mtime - 10))
        assert len(cache) == 5
        assert [flow.run(dag, {"text": str(at)})["ask"] for at in range(7, 12)] == [str(at + 1) for at in range(7, 12)]
        cache.clear()
        assert [*tmp_path.iterdir()] == []

    def test_a_folder_that_cannot_be_written_to_costs_no_answer(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        folder = tmp_path / "answers"
        dag = asking(ai.Scripted(reply("one"), reply("two")), ai.Cache(path=folder))
        folder.rmdir()
        assert [flow.run(dag, {"text": "x"})["ask"] for _ in range(2)] == ["one", "two"]
        assert "an answer could not be kept" in caplog.text

    def test_nothing_but_whole_files_stays(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(*arguments: Any) -> None:
            raise OSError("disk full")

        dag = asking(ai.Scripted(reply("one")), ai.Cache(path=tmp_path))
        monkeypatch.setattr(os, "replace", fails)
        assert flow.run(dag, {"text": "x"})["ask"] == "one" and [*tmp_path.iterdir()] == []


class TestRefused:
    def test_all_faults_in_one_error(self, tmp_path: Path) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
            ai.Cache(ttl=0, path=3, size=0)  # type: ignore[arg-type]
        assert caught.value.faults == (
            "ttl must be a number of seconds > 0, or None for ever, not 0",
            "size must be an integer of at least 1, not 0",
            "path must be that of a folder, or None for memory, not 3",
        )

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        file = tmp_path / "answers"
        file.write_text(json.dumps({}), encoding="utf-8")
        with pytest.raises(flow.errors.ConfigError, match="cannot be used as a folder: File exists"):
            ai.Cache(path=file)
