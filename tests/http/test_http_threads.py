"""The threads of a service: how many there are, what comes back from them, and what becomes of what never returns."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from contextvars import ContextVar
from typing import Any

import pytest
from client import PATIENCE
from running import eventually, on_loop

from flow.http import threads as room
from flow.http.threads import Threads


@on_loop
async def test_values_and_errors_come_back() -> None:
    threads = Threads(2)
    assert await threads.call(lambda: threading.current_thread().name.partition("-")[0]) == "flow"
    for error in (ValueError("no"), SystemExit(3), KeyboardInterrupt(), StopAsyncIteration()):

        def fails(error: BaseException = error) -> None:
            raise error

        with pytest.raises(type(error)):
            await threads.call(fails)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads.call(lambda: next(iter(())))
    assert threads.busy == 0
    threads.close()


@on_loop
async def test_so_many_threads_and_the_rest_in_their_order() -> None:
    threads, opened, seen = Threads(3), threading.Event(), list[int]()
    begun: list[int] = []

    def held(i: int) -> int:
        begun.append(i)
        assert opened.wait(PATIENCE)
        seen.append(i)
        return threading.get_ident()

    calls = [threads.call(lambda i=i: held(i)) for i in range(10)]
    await eventually(lambda: len(begun) == 3)
    assert sorted(begun) == [0, 1, 2] and threads.busy == 10
    opened.set()
    assert len(set(await asyncio.gather(*calls))) <= 3
    assert sorted(seen) == list(range(10)) and begun[3:] == sorted(begun[3:])
    threads.close()


@on_loop
async def test_one_call_after_the_other_takes_one_thread() -> None:
    threads = Threads(8)
    assert len({await threads.call(threading.get_ident) for _ in range(20)}) == 1
    threads.close()


@on_loop
async def test_the_callers_context_is_seen_and_not_changed() -> None:
    variable, threads = ContextVar("variable", default=0), Threads(1)
    variable.set(7)

    def change() -> int:
        before = variable.get()
        variable.set(before + 1)
        return before

    assert [await threads.call(change) for _ in range(3)] == [7, 7, 7] and variable.get() == 7
    threads.close()


@on_loop
async def test_nothing_is_kept_of_a_call_that_has_ended() -> None:
    class Thing:
        pass

    threads, thing = Threads(1), Thing()
    seen = weakref.ref(thing)

    def takes(thing: Thing = thing) -> Thing:
        return thing

    await threads.call(takes)
    del takes, thing
    await threads.call(lambda: None)
    await asyncio.sleep(0)
    gc.collect()
    assert seen() is None
    threads.close()


@on_loop
async def test_a_call_that_is_not_awaited_any_more_goes_on() -> None:
    threads, opened, ended = Threads(1), threading.Event(), threading.Event()

    def held() -> None:
        assert opened.wait(PATIENCE)
        ended.set()

    call = threads.call(held)
    call.cancel()
    opened.set()
    assert await threads.call(ended.is_set), "one after the other"
    assert threads.busy == 0
    threads.close()


@on_loop
async def test_at_the_end_threads_end_and_the_stuck_one_holds_nothing_up() -> None:
    before, threads, opened = threading.active_count(), Threads(3), threading.Event()
    stuck = threads.call(lambda: opened.wait(PATIENCE))
    await threads.call(lambda: None)
    threads.close()
    await eventually(lambda: threading.active_count() <= before + 1)
    assert not stuck.done()
    assert all(thread.daemon for thread in threading.enumerate() if thread.name.startswith("flow-http"))
    opened.set()
    await stuck


def test_a_call_that_outlives_the_loop_ends_quietly(recwarn: pytest.WarningsRecorder) -> None:
    threads, opened, begun = Threads(1), threading.Event(), threading.Event()

    def held() -> None:
        begun.set()
        opened.wait(PATIENCE)

    async def leave() -> None:
        threads.call(held)
        await eventually(begun.is_set)

    asyncio.run(leave())
    opened.set()
    thread = next((one for one in threading.enumerate() if one.name.startswith("flow-http")), None)
    if thread is not None:
        thread.join(PATIENCE)
    assert not recwarn.list


@on_loop
async def test_where_no_thread_can_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = Threads(4)
    opened = threading.Event()
    held = threads.call(lambda: opened.wait(PATIENCE))

    class Refused(threading.Thread):
        def start(self) -> None:
            raise RuntimeError("can't start new thread")

    monkeypatch.setattr(room, "Thread", Refused)
    later = threads.call(lambda: 5)  # the one that there is makes the call
    opened.set()
    assert await later == 5 and await held
    none: Any = Threads(4)
    with pytest.raises(RuntimeError, match="can't start"):
        none.call(lambda: 1)
    assert none.busy == 0
    monkeypatch.undo()
    assert await none.call(lambda: 2) == 2
    threads.close()
    none.close()
