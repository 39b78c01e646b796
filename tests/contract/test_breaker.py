"""``flow.Breaker``: stops calling a service that fails, and tries it again after a while."""

from __future__ import annotations

import gc
import logging
import pickle
import threading
from typing import Any

import anyio
import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow import Breaker, Config, Retry
from flow.errors import BreakerOpen, ConfigError, FlowError, UsageError
from flow.policy.admission import NotBegun
from flow.policy.breaker import BreakerChange, BreakerStatistics
from flow.testing import FakeClock, context

PLACES = ("sync", "async", "thread")


def state_of(breaker: Breaker) -> str:
    return breaker.state


class Service:
    """A function that fails as long as it is told to."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = FakeClock() if clock is None else clock
        self.error: BaseException | None = OSError("down")
        self.calls: list[float] = []

    def __call__(self) -> int:
        self.calls.append(self.clock.now())
        if self.error is not None:
            raise self.error
        return 1

    async def late(self) -> int:
        await anyio.lowlevel.checkpoint()
        return self()

    def run(self, breaker: Any, place: str = "sync", backend: Any = "asyncio", **options: Any) -> flow.Result:
        dag = flow.Dag("d")
        fn = self.late if place == "async" else self.__call__
        dag.add("n", fn, thread=place == "thread", admission=breaker, **options)
        return flow.run(dag, config=Config(clock=self.clock, backend=backend, on_error="collect"))


def refused(result: flow.Result) -> BreakerOpen:
    (error,) = result.errors.values()
    assert isinstance(error, BreakerOpen)
    return error


@pytest.mark.parametrize("place", PLACES)
def test_its_life(place: str, backend: str) -> None:
    name = f"payments-{place}-{backend}"  # of its own: a cycle may keep the one before alive for a while
    service, breaker = Service(), Breaker(failures=3, successes=2, seconds=30.0, name=name)

    def run() -> flow.Result:
        return service.run(breaker, place, backend)

    for _ in range(3):
        assert state_of(breaker) == "closed"
        assert isinstance(run().errors["n"], OSError)
    assert state_of(breaker) == "open"
    service.clock.sleep(10.0)
    error = refused(run())
    assert len(service.calls) == 3  # it was not called
    assert (error.name, error.failures, error.retry_after) == (name, 3, 20.0)
    assert str(error) == (
        f"breaker {name!r} is open after 3 failures in a row, the last: OSError: down; "
        "it lets an attempt in again in 20 s"
    )
    service.clock.sleep(20.0)
    assert isinstance(run().errors["n"], OSError)  # half-open, and open again
    assert state_of(breaker) == "open"
    assert refused(run()).retry_after == 30.0
    service.clock.sleep(30.0)
    service.error = None
    assert run().ok
    assert state_of(breaker) == "half-open"
    assert run().ok
    assert state_of(breaker) == "closed"
    service.error = OSError("again")
    run()
    assert state_of(breaker) == "closed"  # it counts anew
    assert breaker.statistics() == BreakerStatistics("closed", 1, 7, 2, 5, 2, 2)


def test_only_failures_in_a_row_open_it() -> None:
    service, breaker = Service(), Breaker(failures=2)
    for error in (OSError(), None) * 5:
        service.error = error
        service.run(breaker)
    assert state_of(breaker) == "closed"
    assert breaker.statistics().failed == 5


def test_a_retry_waits_until_it_lets_it_in(backend: str) -> None:
    service, breaker = Service(), Breaker(failures=1, successes=1, seconds=30.0)
    service.run(breaker)
    service.error = None
    service.clock.sleep(0.3)
    assert service.run(breaker, "async", backend, retry=Retry(2, delay=0.1)).ok
    assert service.calls == [0.0, pytest.approx(30.0)]


def test_items_of_a_map(backend: Any) -> None:
    clock, breaker, called = FakeClock(), Breaker(failures=3), list[int]()

    async def item(item: int) -> int:
        called.append(item)
        raise OSError

    dag = flow.Dag("d")
    dag.map("n", item, "xs", admission=breaker, concurrency=1, on_error="collect")
    result = flow.run(dag, {"xs": range(10)}, config=Config(clock=clock, backend=backend))
    kinds = [type(error).__name__ for error in result["n"].errors.values()]
    assert called == [0, 1, 2]
    assert kinds == ["OSError"] * 3 + ["BreakerOpen"] * 7


def test_half_open_it_lets_in_one_at_a_time(backend: Any) -> None:
    clock, breaker = FakeClock(), Breaker(failures=1, successes=2, seconds=5.0)
    service = Service(clock)
    service.run(breaker)
    clock.sleep(5.0)
    most, running = [0], [0]

    async def item(item: int) -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        await clock.wait(1.0)
        running[0] -= 1

    dag = flow.Dag("d")
    dag.map("n", item, "xs", admission=breaker, on_error="collect")
    result = flow.run(dag, {"xs": range(5)}, config=Config(clock=clock, backend=backend))
    errors = result["n"].errors.values()
    assert most == [1] and len(errors) == 4
    assert {error.retry_after for error in errors} == {0.0}
    assert "one attempt is being made now that tells whether it closes" in str(next(iter(errors)))
    assert state_of(breaker) == "half-open"


def test_what_counts() -> None:
    class Refused(Exception):
        trips_breaker = False

    class Odd(Exception):
        @property
        def trips_breaker(self) -> bool:
            raise OSError

    service, breaker = Service(), Breaker(failures=1)
    for error in (Refused(), BreakerOpen("other", 1, "x", 1.0)):
        service.error = error
        service.run(breaker)
        assert state_of(breaker) == "closed"
    service.error = Odd()
    service.run(breaker)
    assert state_of(breaker) == "open"


def test_what_counts_by_a_function(caplog: pytest.LogCaptureFixture) -> None:
    def counts(error: Exception) -> bool:
        if isinstance(error, KeyError):
            raise ZeroDivisionError
        return isinstance(error, OSError)

    service, breaker = Service(), Breaker(failures=2, counts=counts)
    for error in (ValueError(), OSError(), ValueError()):
        service.error = error
        service.run(breaker)
    assert breaker.statistics().failures == 1  # what does not count says nothing, for or against
    service.error = KeyError("k")
    service.run(breaker)
    assert state_of(breaker) == "open"
    assert any("counts of breaker None raised; the failure counts" in one.getMessage() for one in caplog.records)


def test_a_cancelled_attempt_counts_for_nothing(backend: Any) -> None:
    clock, breaker = FakeClock(), Breaker(failures=1, successes=1, seconds=5.0)
    service = Service(clock)
    service.run(breaker)
    clock.sleep(5.0)
    dag = flow.Dag("d")

    async def waits() -> None:
        await anyio.sleep_forever()

    dag.add("n", waits, admission=breaker)
    with pytest.raises(flow.RunError):
        flow.run(dag, config=Config(backend=backend, timeout=0.02, clock=clock))
    assert state_of(breaker) == "half-open"
    service.error = None
    assert service.run(breaker).ok  # the place is free again
    assert state_of(breaker) == "closed"


def test_what_another_admission_refuses_counts_for_nothing() -> None:
    def closed(ctx: flow.Context) -> None:
        raise PermissionError

    service, breaker = Service(), Breaker(failures=1)
    service.run([breaker, closed])
    assert state_of(breaker) == "closed"
    assert breaker.statistics() == BreakerStatistics("closed", 0, 1, 0, 0, 0, 0)


def test_a_time_limit_counts(backend: Any) -> None:
    async def waits() -> None:
        await anyio.sleep_forever()

    breaker, dag = Breaker(failures=1), flow.Dag("d")
    dag.add("n", waits, admission=breaker, timeout=0.01)
    flow.run(dag, config=Config(backend=backend, on_error="collect"))
    assert state_of(breaker) == "open"


def test_attempts_from_before_a_change_count_no_more() -> None:
    clock, breaker = FakeClock(), Breaker(failures=1, successes=1, seconds=5.0)
    late, later, trips, tries = [context(clock=clock) for _ in range(4)]
    for ctx in (late, later, trips):
        breaker(ctx)
    breaker.settled(trips, OSError())
    breaker.settled(later, None)
    assert state_of(breaker) == "open"
    clock.sleep(5.0)
    breaker(tries)
    breaker.settled(late, OSError())
    assert state_of(breaker) == "half-open"
    breaker.settled(tries, None)
    assert state_of(breaker) == "closed"
    assert breaker.statistics() == BreakerStatistics("closed", 0, 4, 2, 2, 0, 1)


def test_observers_are_told(caplog: pytest.LogCaptureFixture) -> None:
    seen: list[BreakerChange] = []

    def broken(change: BreakerChange) -> None:
        raise ZeroDivisionError

    service = Service()
    first = Breaker(failures=1, successes=1, seconds=5.0, name="seen", on_change=seen.append)
    second = Breaker(failures=1, successes=1, seconds=5.0, name="seen", on_change=broken)
    service.run(second)
    service.clock.sleep(5.0)
    error, service.error = service.error, None
    service.run(first)
    assert [(one.before, one.after, one.at) for one in seen] == [
        ("closed", "open", 0.0), ("open", "half-open", 5.0), ("half-open", "closed", 5.0),
    ]  # fmt: skip
    assert [one.name for one in seen] == ["seen"] * 3
    assert [one.error for one in seen] == [error, None, None]
    assert sum("on_change of breaker 'seen' raised" in record.getMessage() for record in caplog.records) == 3


def test_it_logs_that_it_opens(caplog: pytest.LogCaptureFixture) -> None:
    service = Service()
    service.error = OSError("two\nlines")
    service.run(Breaker(failures=1, seconds=7.5))
    (record,) = [one for one in caplog.records if "opens" in one.getMessage()]
    assert record.levelno == logging.WARNING and record.name == "flow"
    assert record.getMessage() == (
        "the breaker of node 'n' opens for 7.5 s: failures in a row: 1, the last: OSError: two"
    )
    assert (record.__dict__["flow_node"], record.__dict__["flow_attempt"]) == ("n", 1)


def test_no_secret_is_said_in_another_run() -> None:
    from test_report import Inputs

    breaker, dag = Breaker(failures=1), flow.Dag("d", inputs=Inputs)

    def fails(token: str) -> None:
        raise OSError(f"refused {token}")

    dag.add("n", fails, admission=breaker)
    flow.run(dag, {"token": "very-secret"}, config=Config(on_error="collect"))
    error = refused(flow.run(dag, {"token": "other-one"}, config=Config(on_error="collect")))
    assert error.failure == "OSError: refused ***"


def test_it_holds_no_errors() -> None:
    class Own(Exception):
        pass

    service, breaker = Service(), Breaker(failures=1)
    service.error = Own()
    del service.run(breaker)._run
    service.error = None
    gc.collect()
    assert not [one for one in gc.get_objects() if isinstance(one, Own)]


def test_names_are_shared() -> None:
    one, other = Breaker(failures=1, name="api"), Breaker(failures=1, name="api")
    Service().run(one)
    assert other.state == "open"
    assert Breaker(failures=1).state == "closed"
    with pytest.raises(
        UsageError, match=r"flow.Breaker\(name='api'\) is there already, with other settings \(failures"
    ):
        Breaker(failures=2, name="api")
    del one, other
    gc.collect()
    assert Breaker(failures=2, name="api").state == "closed"  # nothing of it is left


def test_observers_go_with_their_breakers() -> None:
    seen: list[Any] = []
    kept = Breaker(failures=1, name="kept")
    for _ in range(100):
        Breaker(failures=1, name="kept", on_change=seen.append)
    gc.collect()
    Service().run(kept)
    assert seen == []


def test_threads_share_one() -> None:
    breaker, called = Breaker(failures=5, seconds=1e6), [0]
    lock = threading.Lock()

    def item(item: int) -> None:
        with lock:
            called[0] += 1
        raise OSError

    dag = flow.Dag("d")
    dag.map("n", item, "xs", admission=breaker, on_error="collect")

    def run() -> None:
        flow.run(dag, {"xs": range(50)})

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = breaker.statistics()
    assert (found.state, found.opened) == ("open", 1)
    assert 5 <= called[0] == found.admitted <= 5 + 3  # others may have begun meanwhile
    assert found.refused == 200 - called[0]


class Model:
    """What a breaker is to do, written plainly."""

    def __init__(self, failures: int, successes: int, seconds: float) -> None:
        self.failures, self.successes, self.seconds = failures, successes, seconds
        self.state, self.bad, self.good, self.until, self.era = "closed", 0, 0, 0.0, 0
        self.flying: dict[int, int] = {}

    def set(self, state: str) -> None:
        self.state, self.good, self.era = state, 0, self.era + 1

    def begin(self, number: int, now: float) -> bool:
        if self.state == "open" and now >= self.until:
            self.set("half-open")
        if self.state == "open" or (self.state == "half-open" and self.era in self.flying.values()):
            return False
        self.flying[number] = self.era
        return True

    def end(self, number: int, how: str, now: float) -> None:
        if self.flying.pop(number) != self.era or how in ("cancelled", "other"):
            return
        if how == "failed":
            self.bad += 1
            if self.state == "half-open" or self.bad >= self.failures:
                self.until = now + self.seconds
                self.set("open")
            return
        self.good += 1
        if self.state == "closed" or self.good >= self.successes:
            self.bad = 0
        if self.state == "half-open" and self.good >= self.successes:
            self.set("closed")


ENDS: dict[str, Any] = {
    "completed": None, "failed": OSError(), "cancelled": NotBegun(OSError()), "other": BreakerOpen(None, 1, "", 0.0)
}  # fmt: skip
Steps = st.lists(
    st.one_of(
        st.just(("begin", 0)),
        st.tuples(st.sampled_from(sorted(ENDS)), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.integers(1, 6)),
    ),
    max_size=60,
)


@examples(200)
@given(steps=Steps, failures=st.integers(1, 3), successes=st.integers(1, 3))
def test_it_does_what_the_model_says(steps: Any, failures: int, successes: int) -> None:
    clock = FakeClock()
    breaker, model = Breaker(failures, successes, 5.0), Model(failures, successes, 5.0)
    contexts: dict[int, Any] = {}
    for number, (what, which) in enumerate(steps):
        if what == "wait":
            clock.sleep(which)
        elif what == "begin":
            ctx = context(clock=clock)
            try:
                breaker(ctx)
            except BreakerOpen as error:
                assert not model.begin(number, clock.now())
                assert error.retry_after == (model.until - clock.now() if model.state == "open" else 0.0)
            else:
                assert model.begin(number, clock.now())
                contexts[number] = ctx
        elif contexts:
            number = sorted(contexts)[which % len(contexts)]
            breaker.settled(contexts.pop(number), ENDS[what])
            model.end(number, what, clock.now())
        assert state_of(breaker) == model.state
    assert breaker.statistics().failures == model.bad


@pytest.mark.parametrize(
    ("arguments", "faults"),
    [
        ({"failures": 0, "successes": True, "seconds": -1}, ["failures", "successes", "seconds"]),
        (
            {"counts": 3, "on_change": "x"},
            ["counts must be a function of the exception", "on_change must be a function"],
        ),
        ({"name": "", "clock": 3}, ["name '' is refused", "clock must be"]),
    ],
)
def test_wrong_settings(arguments: Any, faults: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        Breaker(**arguments)
    assert len(caught.value.faults) == len(faults)
    assert all(fault.startswith(start) for fault, start in zip(caught.value.faults, faults, strict=True))


def test_functions_that_nothing_awaits() -> None:
    async def late(one: Any) -> bool:
        raise AssertionError

    with pytest.raises(ConfigError, match="counts is async, and nothing awaits what it returns"):
        Breaker(counts=late)  # type: ignore[arg-type]


def test_the_error() -> None:
    error = BreakerOpen(None, 1, "OSError: x", 2.5)
    assert isinstance(error, (FlowError, RuntimeError))
    assert str(error) == (
        "the breaker is open after 1 failure in a row, the last: OSError: x; it lets an attempt in again in 2.5 s"
    )
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.retry_after, copy.failure) == (str(error), 2.5, "OSError: x")


def test_its_repr() -> None:
    assert repr(Breaker()) == "<Breaker closed>"
    assert repr(Breaker(name="b")) == "<Breaker name='b', closed>"
