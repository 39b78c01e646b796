"""Streams of events: what comes, in which order, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from running import API, Calls, Reader, asking, chain, on_loop, served

import flow
from flow.http import Limits, stream


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at runs that others drive as often as at one's own."""
    monkeypatch.setattr("flow.http.routes.STORED_INTERVAL", 0.02)
    monkeypatch.setattr("flow.http.routes.INTERVAL", 0.02)


class Steps:
    """A Dag of nodes after each other, each of which waits for the test."""

    def __init__(self, count: int) -> None:
        self.dag = flow.Dag("steps")
        self.opened = [asyncio.Event() for _ in range(count)]
        self.begun = [asyncio.Event() for _ in range(count)]
        for i in range(count):
            self.dag.add(f"n{i}", self._node(i), after=[f"n{i - 1}"] if i else [])

    def _node(self, i: int) -> Callable[[], Any]:
        async def node() -> int:
            self.begun[i].set()
            await self.opened[i].wait()
            return i

        return node


def states(reader: Reader) -> dict[str, str]:
    """The last state of each node that was told."""
    return {data["node"]: data["status"] for data in reader.of("node")}


def numbers(reader: Reader) -> list[int]:
    return [int(event.id.rpartition(".")[2]) for event in reader.events if event.kind == "node"]


@on_loop
async def test_a_run_from_its_beginning_to_its_end() -> None:
    steps = Steps(3)
    async with served(steps.dag) as door:
        run = await door.run_of("steps")
        await steps.begun[0].wait()
        reader = Reader(door, run)
        await reader.until(lambda r: states(r).get("n0") == "running")
        assert reader.of("run") == [{"status": "running"}]
        for i in (0, 1):
            steps.opened[i].set()
            await steps.begun[i + 1].wait()
            await reader.until(lambda r, i=i: states(r).get(f"n{i + 1}") == "running")
            assert states(reader)[f"n{i}"] == "completed"
        steps.opened[2].set()
        await reader.ended()
        assert reader.status == 200 and states(reader) == dict.fromkeys(("n0", "n1", "n2"), "completed")
        end = reader.events[-1]
        assert end.kind == "end"
        assert (end.data["id"], end.data["status"], end.data["outputs"]) == (run, "completed", {"n2": 2})
        assert reader.of("run") == [{"status": "running"}, {"status": "completed"}]
        assert numbers(reader) == sorted(set(numbers(reader))), "each change has a number of its own"
        assert (await Reader(door, run, end.id).ended()).status == 204


@on_loop
async def test_changes_between_two_looks_are_told_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.http.routes.INTERVAL", 3_600.0)
    steps = Steps(6)
    async with served(steps.dag) as door:
        run = await door.run_of("steps")
        await steps.begun[0].wait()
        reader = Reader(door, run)
        await reader.until(states)
        for event in steps.opened:
            event.set()
        await reader.ended()  # the end is told at once
        assert len(reader.of("node")) == 1 + 6
        assert states(reader) == dict.fromkeys([f"n{i}" for i in range(6)], "completed")
        assert reader.pieces == 2 + 4, "a node and the run; all changes, the run, its end, and the end of the stream"


@on_loop
async def test_who_comes_again_goes_on_where_it_was_cut_off() -> None:
    """At whichever event the connection broke: what comes then is what had not come, and nothing twice."""
    steps = Steps(4)
    async with served(steps.dag) as door:
        run = await door.run_of("steps")
        for i in range(3):
            steps.opened[i].set()
            await steps.begun[i + 1].wait()
        first = Reader(door, run)
        await first.until(lambda r: states(r).get("n3") == "running")
        await first.leave()
        told = [event for event in first.events if event.kind == "node"]
        for k, last in enumerate(told):
            again = Reader(door, run, last.id)
            missing = [event.data for event in told[k + 1 :]]
            await again.until(lambda r, missing=missing: r.of("run") and len(r.of("node")) >= len(missing))
            await again.leave()
            assert again.of("node") == missing
        again = Reader(door, run, told[-1].id)
        steps.opened[3].set()
        await again.ended()
        assert [data["node"] for data in again.of("node")] == ["n3"]


@on_loop
async def test_the_number_of_another_run_or_process_means_nothing() -> None:
    steps = Steps(2)
    async with served(steps.dag) as door:
        run = await door.run_of("steps")
        await steps.begun[0].wait()
        await (first := Reader(door, run)).until(states)
        mark = (await first.leave()).events[0].id.partition(".")[0]
        broken = [f"{mark}.{number}" for number in ("²", "-1", "", "1e9")]
        for last in ("abc.1", "1", "x", ".", "9" * 5_000, "a.1", "é.1", *broken):
            reader = Reader(door, run, last)
            await reader.until(states)
            assert states(reader) == {"n0": "running"}
            await reader.leave()


@on_loop
async def test_a_run_that_has_ended_is_told_whole() -> None:
    for settings in ({}, {"store": flow.store.memory()}):
        calls = Calls()
        async with served(chain(calls, holds=""), **settings) as door:
            answer = (await door.sent(f"{API}/workflows/chain/runs")).json
            reader = await Reader(door, answer["id"]).ended()
            assert states(reader) == dict.fromkeys(("a", "b", "c", "tidy"), "completed")
            end = reader.events[-1]
            assert end.kind == "end" and end.data["outputs"] == answer["outputs"] and end.data["status"] == "completed"
            assert (await Reader(door, answer["id"], end.id).ended()).status == 204
            assert (await Reader(door, "nope").ended()).status == 404


@on_loop
async def test_errors_and_attempts_are_told() -> None:
    dag = flow.Dag("bad", config=flow.Config(on_error="collect"))
    begun, opened = asyncio.Event(), asyncio.Event()

    @dag.node(retry=flow.Retry(2, delay=0))
    async def broken() -> None:
        raise ValueError("at /etc/passwd")

    @dag.node
    async def held() -> None:
        begun.set()
        await opened.wait()

    async with served(dag) as door:
        run = await door.run_of("bad")
        await begun.wait()
        reader = Reader(door, run)
        await reader.until(lambda r: states(r).get("broken") == "failed")
        told = [data for data in reader.of("node") if data["node"] == "broken"][-1]
        assert told["attempt"] == 2 and told["error"] == {"type": "ValueError", "message": "at passwd"}
        opened.set()
        await reader.ended()
        assert reader.events[-1].data["errors"] == {"broken": told["error"]}


@on_loop
async def test_waiting_and_going_on() -> None:
    async with served(asking()) as door:
        run = await door.run_of("asking")
        reader = Reader(door, run)
        await reader.until(lambda r: {"status": "waiting"} in r.of("run"))
        await door.signal(run, "approve", 1)
        await reader.ended()
        assert reader.of("run")[-2:] == [{"status": "waiting"}, {"status": "completed"}] or reader.of("run")[-3:] == [
            {"status": "waiting"}, {"status": "running"}, {"status": "completed"},
        ]  # fmt: skip


@on_loop
async def test_silence_is_broken_by_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "SILENCE", 0.0)
    steps = Steps(1)
    async with served(steps.dag) as door:
        reader = Reader(door, await door.run_of("steps"))
        await reader.until(lambda r: sum(bool(event.comment) for event in r.events) >= 3)
        assert all(event.comment == ": here" for event in reader.events if event.comment)
        assert len(reader.of("run")) == 1
        await reader.leave()
    monkeypatch.setattr(stream, "SILENCE", 3_600.0)
    async with served(Steps(1).dag) as door:
        reader = Reader(door, await door.run_of("steps"))
        await reader.until(states)
        before = reader.pieces
        await asyncio.sleep(0.1)
        assert reader.pieces == before
        await reader.leave()


@on_loop
async def test_streams_are_capped_and_counted() -> None:
    steps = Steps(1)
    async with served(steps.dag, limits=Limits(streams=2)) as door:
        run = await door.run_of("steps")
        readers = [Reader(door, run) for _ in range(2)]
        for reader in readers:
            await reader.until(states)
        refused = await Reader(door, run).ended()
        assert refused.status == 503 and b"Too many streams" in refused.body and door.service.streams == 2
        await readers[0].leave()
        assert door.service.streams == 1
        await (third := Reader(door, run)).until(states)
        for reader in (readers[1], third):
            await reader.leave()
        assert door.service.streams == 0 and not door.service.runs.live[run].done.done()


@on_loop
async def test_one_that_goes_leaves_nothing_behind() -> None:
    steps = Steps(1)
    async with served(steps.dag) as door:
        run = await door.run_of("steps")
        live = door.service.runs.live[run]
        await steps.begun[0].wait()
        before = len(live.done._callbacks or []), len(door.service.closing._callbacks or [])
        for _ in range(20):
            await (reader := Reader(door, run)).until(states)
            await reader.leave()
        assert (len(live.done._callbacks or []), len(door.service.closing._callbacks or [])) == before
        assert len(asyncio.all_tasks()) < 10


@on_loop
async def test_all_end_when_the_service_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.http.routes.INTERVAL", 3_600.0)  # at once, not when they look again
    steps = Steps(1)
    async with served(steps.dag) as door:
        run = await door.run_of("steps")
        readers = [Reader(door, run) for _ in range(3)]
        for reader in readers:
            await reader.until(states)
        draining = asyncio.create_task(door.service.drain(60.0))
        for reader in readers:
            await reader.ended()
            assert reader.of("end") == []  # so that it comes again, to who goes on with the run
        assert not draining.done() and run in door.service.runs.live
        steps.opened[0].set()
        await draining


@on_loop
async def test_readers_share_what_they_are_sent_but_none_misses_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "INTERVAL", 3_600.0)
    steps = Steps(2)
    async with served(steps.dag) as door:
        run = await door.run_of("steps")
        await steps.begun[0].wait()
        live = door.service.runs.live[run]
        one, other = stream.look_at(live), stream.look_at(live)
        first = await one(0, b"m")
        steps.opened[0].set()
        await steps.begun[1].wait()
        again = await other(0, b"m")
        assert again[1] is first[1], "one piece for both"
        assert b'"n1"' in (await one(first[0], b"m"))[1]
        await other(0, b"m")
        steps.opened[1].set()
        await live.done
        _, events, status, answer = await other(0, b"m")
        assert events.count(b'"completed"') == 2 and status == "completed" and answer
