"""Readers of streams that do not read, and many of them: nothing is kept for them but the newest state of each node."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import Any

import pytest
from client import PATIENCE
from running import Door, Reader, eventually, on_loop, served

import flow
from flow.http import Limits, stream


def loop_of(rounds: int, nodes: int) -> tuple[flow.Dag, asyncio.Event, asyncio.Event]:
    """A run whose nodes change state many times: each is tried again and again. The last one waits for the test."""
    dag, ready, opened = flow.Dag("busy"), asyncio.Event(), asyncio.Event()

    def trying() -> Any:
        tries = 0

        async def node() -> None:
            nonlocal tries
            tries += 1
            if tries < rounds:
                raise OSError("again")

        return node

    names = [dag.add(f"n{i}", trying(), retry=flow.Retry(rounds, delay=0)) for i in range(nodes)]

    @dag.node(after=names)
    async def last() -> None:
        ready.set()
        await opened.wait()

    return dag, ready, opened


@on_loop
async def test_one_that_does_not_read_is_told_the_newest_states_once() -> None:
    dag, ready, opened = loop_of(rounds=50, nodes=10)
    async with served(dag) as door:
        run = await door.run_of("busy")
        reader = Reader(door, run)
        reader.held.clear()
        await ready.wait()
        board = door.service.runs.live[run].board
        assert board.seq > 10 * 50 * 2
        assert len(board.since(0)) == 11 == len(board._marks), "one state per node"
        reader.held.set()
        opened.set()
        await reader.ended()
        assert len(reader.of("node")) <= 11 + 11 + 1 and reader.of("end")


@on_loop
async def test_the_stream_of_one_that_reads_nothing_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "STALLED", 0.05)
    monkeypatch.setattr(stream, "SILENCE", 0.0)
    dag, ready, opened = loop_of(rounds=1, nodes=1)
    async with served(dag) as door:
        run = await door.run_of("busy")
        await ready.wait()
        stalled, reads = Reader(door, run), Reader(door, run)
        await eventually(lambda: stalled.status == 200)
        stalled.held.clear()
        await stalled.ended()
        assert stalled.of("end") == [] and door.service.streams == 1
        opened.set()
        assert (await reads.ended()).of("end")


class Counting(Reader):
    """Keeps nothing of what it reads but its size."""

    size = 0

    async def _send(self, message: Any) -> None:
        await self.held.wait()
        self.size += len(message.get("body", b""))
        self.status = message.get("status", self.status)


async def read_by(door: Door, run: str, count: int) -> list[Counting]:
    readers = [Counting(door, run) for _ in range(count)]
    async with asyncio.timeout(4 * PATIENCE):
        while not all(reader.size for reader in readers):
            await asyncio.sleep(0.05)
    return readers


@pytest.mark.slow
@on_loop
async def test_many_readers_of_a_large_run_take_no_memory_as_it_goes_on() -> None:
    """1,000 readers of 1,000 nodes, all of which change: what is kept is the states, and once what all are sent now."""
    dag, ready, opened = loop_of(rounds=10, nodes=1_000)
    async with served(dag, limits=Limits(streams=1_000)) as door:
        run = await door.run_of("busy")
        await ready.wait()
        readers = await read_by(door, run, 1_000)
        assert door.service.streams == 1_000
        board = door.service.runs.live[run].board
        tracemalloc.start()
        try:
            before = tracemalloc.get_traced_memory()[0]
            for reads in (True, True, True, False):  # each node changes, and all readers are told
                sizes = [reader.size for reader in readers]
                for reader in readers:
                    reader.held.set() if reads else reader.held.clear()
                with board._lock:
                    for name in board._names[:1_000]:
                        board._change(name, 2)
                if reads:
                    await eventually(lambda sizes=sizes: all(map(int.__gt__, (r.size for r in readers), sizes)))
                else:
                    await asyncio.sleep(0.5)
            grown = tracemalloc.get_traced_memory()[0] - before
        finally:
            tracemalloc.stop()
        assert grown < 8 * 2**20, grown  # each of them had been sent 80 KB three times, and lets 80 KB lie
        for reader in readers:
            reader.held.set()
        opened.set()
        await asyncio.gather(*[reader.ended() for reader in readers])
        assert door.service.streams == 0
