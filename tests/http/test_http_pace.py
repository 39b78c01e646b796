"""Whether runs of sync nodes are called on the event loop, or in a thread."""

from __future__ import annotations

import threading

from client import serving
from hypothesis import given
from hypothesis import strategies as st
from workflows import one

import flow
from flow.http import Limits
from flow.http.pace import QUICK, SLOW, Pace

FAST, MEDIUM, HEAVY = QUICK / 10, 2 * QUICK, 2 * SLOW


class TestPace:
    def test_it_begins_in_a_thread_and_one_quick_call_is_enough(self) -> None:
        pace = Pace()
        assert not pace.quick
        pace.took(FAST)
        assert pace.quick

    def test_what_is_not_quick_stays_in_threads(self) -> None:
        pace = Pace()
        for _ in range(100):
            pace.took(QUICK)
            pace.took(HEAVY)
            assert not pace.quick

    def test_one_slow_call_is_enough(self) -> None:
        pace = Pace()
        pace.took(FAST)
        pace.took(SLOW)
        assert not pace.quick

    def test_a_few_that_take_longer_are_the_machines_doing(self) -> None:
        pace = Pace()
        pace.took(FAST)
        for _ in range(100):
            pace.took(MEDIUM)
            for _ in range(20):
                pace.took(FAST)
            assert pace.quick

    def test_many_that_take_longer_are_not(self) -> None:
        pace = Pace()
        pace.took(FAST)
        for _ in range(10):
            pace.took(MEDIUM)
        assert not pace.quick

    def test_each_change_makes_the_way_back_longer_up_to_a_bound(self) -> None:
        pace, needed = Pace(), list[int]()
        for _ in range(8):
            count = 0
            while not pace.quick:
                pace.took(FAST)
                count += 1
            needed.append(count)
            pace.took(HEAVY)
        assert needed == [1, 8, 64, 512, 4096, 4096, 4096, 4096]

    @given(st.lists(st.sampled_from([FAST, MEDIUM, HEAVY])))
    def test_no_call_follows_a_slow_one_on_the_event_loop(self, taken: list[float]) -> None:
        pace = Pace()
        for seconds in taken:
            pace.took(seconds)
            assert not (pace.quick and seconds >= SLOW)


PATIENT = Limits(quick=1.0)
"""Runs of less are quick: of less than a millisecond they would be only where nothing else goes on."""


class TestThreads:
    def test_the_first_call_is_in_a_thread_and_quick_ones_after_it_are_not(self) -> None:
        threads = list[threading.Thread]()
        with serving({"one": one(lambda: threads.append(threading.current_thread()))}, limits=PATIENT) as client:
            for _ in range(3):
                assert client.start("one").json["status"] == "completed"
            client.app.workflows["one"].pace.took(100.0)
            client.start("one")
        assert threads[0] is not threading.main_thread()
        assert threads[1:3] == [threading.main_thread()] * 2
        assert threads[3] is not threading.main_thread()

    def test_a_run_as_a_whole_is_in_one_thread(self) -> None:
        seen = dict[str, threading.Thread]()
        dag = flow.Dag("two")
        dag.add("a", lambda: seen.update(a=threading.current_thread()))
        dag.add("b", lambda a: seen.update(b=threading.current_thread()))
        with serving({"two": dag}) as client:
            client.start("two")
        assert seen["a"] is seen["b"] is not threading.main_thread()

    def test_a_failed_run_is_measured_too(self) -> None:
        threads = list[threading.Thread]()

        def node() -> None:
            threads.append(threading.current_thread())
            raise ValueError("no")

        with serving({"one": one(node)}, limits=PATIENT) as client:
            assert [client.start("one").json["status"] for _ in range(2)] == ["failed"] * 2
        assert threads[0] is not threads[1] is threading.main_thread()

    def test_an_async_run_is_on_the_event_loop_and_its_sync_nodes_are_not(self) -> None:
        seen = dict[str, threading.Thread]()

        async def on_loop() -> None:
            seen["async"] = threading.current_thread()

        dag = flow.Dag("mixed")
        dag.add("on_loop", on_loop)
        dag.add("sync", lambda on_loop: seen.update(sync=threading.current_thread()))
        with serving({"mixed": dag}) as client:
            assert client.start("mixed").json["status"] == "completed"
        assert seen["async"] is threading.main_thread() is not seen["sync"]
