"""What an exception says of being tried again: ``retryable`` and ``retry_after``."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import flow
from flow import Config, Retry, Timeout
from flow.run.again import LONGEST, asked_delay, refuses
from flow.testing import FakeClock

PLACES = ("sync", "async", "thread", "item", "async item", "thread item", "inner", "batch")


class Said(Exception):
    """An exception with these attributes."""

    def __init__(self, **said: Any) -> None:
        super().__init__("said")
        self.__dict__.update(said)


class Raises(Exception):
    @property
    def retryable(self) -> bool:
        raise OSError

    @property
    def retry_after(self) -> float:
        raise OSError


class Calls:
    """A function that raises these exceptions, one per call, in a dag; ``at`` are the times of its calls."""

    def __init__(self, *errors: Exception, clock: FakeClock | None = None) -> None:
        self.errors = list(errors)
        self.clock = FakeClock() if clock is None else clock
        self.at: list[float] = []

    def __call__(self) -> int:
        self.at.append(self.clock.now())
        if self.errors:
            raise self.errors.pop(0)
        return 1

    async def late(self) -> int:
        await anyio.lowlevel.checkpoint()
        return self()

    async def late_item(self, item: Any) -> int:
        return await self.late()

    def item(self, item: Any) -> int:
        return self()

    def batch(self, item: list[Any]) -> list[int]:
        return [self() for _ in item]

    def dag(self, place: str, **options: Any) -> flow.Dag:
        dag = flow.Dag("d")
        if "item" in place:
            fn: Any = self.late_item if "async" in place else self.item
            dag.map("n", fn, "xs", thread="thread" in place, **options)
        elif place == "batch":
            dag.map("n", self.batch, "xs", batch_size=5, **options)
        elif place == "inner":
            inner = flow.Dag("inner")
            inner.add("n", self.__call__, **options)
            dag.add("n", inner)
        else:
            dag.add("n", self.late if place == "async" else self.__call__, thread=place == "thread", **options)
        return dag

    def run(self, place: str, backend: Any, config: Any = {}, **options: Any) -> flow.Result:
        inputs = {"xs": [1]} if "item" in place or place == "batch" else None
        settings = {"clock": self.clock, "backend": backend, "on_error": "collect", **config}
        return flow.run(self.dag(place, **options), inputs, config=Config(**settings))


def notes_of(result: flow.Result) -> str:
    (error,) = result.errors.values()
    parts = [error]
    for part in parts:
        parts += getattr(part, "exceptions", ())
    return "\n".join(note for part in parts for note in getattr(part, "__notes__", ()))


@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_retryable_is_not_tried_again(place: str, backend: str) -> None:
    calls = Calls(Said(retryable=False))
    result = calls.run(place, backend, retry=Retry(3, delay=0.0, retry_if=lambda error: True))
    assert len(calls.at) == 1
    assert "not retried: it says that it would be the same again" in notes_of(result)


@pytest.mark.parametrize("place", PLACES)
def test_the_delay_that_is_asked_for_is_kept(place: str, backend: str) -> None:
    calls = Calls(Said(retry_after=90), Said(retry_after=0.5), Said(), Said(retry_after=2.5))
    result = calls.run(place, backend, retry=Retry(5, delay=1.0, backoff="constant", max_delay=2.0))
    assert result.ok
    assert calls.at == [0.0, 90.0, 91.0, 92.0, 94.5]  # max_delay does not cut it


def test_the_event_has_the_delay() -> None:
    seen: list[Any] = []
    calls = Calls(Said(retry_after=7))
    calls.run("sync", "asyncio", {"observers": (seen.append,)}, retry=Retry(2, delay=1.0))
    assert [one.delay for one in seen if isinstance(one, flow.events.NodeRetried)] == [7.0]


@pytest.mark.parametrize("place", ["sync", "async", "item", "async item"])
def test_the_overall_limit_of_the_node_leaves_no_time(place: str, backend: str) -> None:
    calls = Calls(Said(retry_after=90))
    result = calls.run(place, backend, retry=Retry(3, delay=0.0), timeout=Timeout(node=60.0))
    assert (calls.at, calls.clock.slept) == ([0.0], [])
    assert "not retried: the node's overall limit of 60 s leaves no time" in notes_of(result)


@pytest.mark.parametrize("place", PLACES)
def test_the_limit_of_the_run_leaves_no_time(place: str, backend: str) -> None:
    calls = Calls(Said(retry_after=90))
    result = calls.run(place, backend, {"timeout": 60.0}, retry=Retry(3, delay=0.0))
    assert (calls.at, calls.clock.slept) == ([0.0], [])
    assert not result.timed_out
    assert "not retried: the run's time limit passes within the 90 s that it asks for" in notes_of(result)
    if place == "sync":
        assert isinstance(result.errors["n"], Said)


def test_within_the_limit_of_the_run_it_is_waited_for(backend: str) -> None:
    calls = Calls(Said(retry_after=90))
    assert calls.run("async", backend, {"timeout": 100.0}, retry=Retry(3, delay=0.0)).ok
    assert calls.at == [0.0, 90.0]


def test_a_delay_of_ones_own_goes_up_to_the_limit_of_the_run() -> None:
    """As before: the run times out then."""
    calls = Calls(Said(), Said())
    with pytest.raises(flow.RunError) as caught:
        calls.run("sync", "asyncio", {"timeout": 60.0}, retry=Retry(3, delay=50.0, backoff="constant"))
    assert caught.value.result.timed_out
    assert calls.at == [0.0, 50.0]


def test_cleanup_waits_past_the_end_of_the_run(backend: Any) -> None:
    """What outlasts the run has a limit of its own."""
    clock = FakeClock()
    calls = Calls(Said(retry_after=30), clock=clock)
    dag = flow.Dag("d")
    dag.add("n", calls.late, cleanup=True, retry=Retry(3, delay=0.0))
    flow.run(dag, config=Config(clock=clock, timeout=20.0, backend=backend))
    assert calls.at == [0.0, 30.0]


@pytest.mark.parametrize("retryable", [True, None, 0, "", "False"])
def test_other_values_of_retryable_say_nothing(retryable: Any) -> None:
    calls = Calls(Said(retryable=retryable))
    assert calls.run("sync", "asyncio", retry=Retry(2, delay=0.0)).ok


@pytest.mark.parametrize(
    "seconds", [-1, float("nan"), float("inf"), float("-inf"), True, "3", None, [1], 10**400, -(10**400), 3 + 0j]
)
def test_other_values_of_retry_after_say_nothing(seconds: Any) -> None:
    assert asked_delay(Said(retry_after=seconds)) == 0.0
    calls = Calls(Said(retry_after=seconds))
    assert calls.run("sync", "asyncio", retry=Retry(2, delay=1.0)).ok
    assert calls.at == [0.0, 1.0]


def test_attributes_that_raise_say_nothing() -> None:
    assert (refuses(Raises()), asked_delay(Raises())) == (False, 0.0)
    calls = Calls(Raises())
    assert calls.run("sync", "asyncio", retry=Retry(2, delay=1.0)).ok


def test_nobody_waits_for_longer_than_clocks_can() -> None:
    assert asked_delay(Said(retry_after=1e300)) == LONGEST
    assert asked_delay(Said(retry_after=3)) == 3.0


def test_without_a_retry_nothing_is_asked() -> None:
    calls = Calls(Said(retryable=False, retry_after=5))
    result = calls.run("sync", "asyncio")
    assert "not retried" not in notes_of(result)
