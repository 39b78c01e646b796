"""The rate of requests: against a token bucket counted in fractions, at the limit of memory, and in header fields."""

from __future__ import annotations

from fractions import Fraction

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from flow.http.limits import Rate
from flow.http.throttle import Throttle, address_of


class Clock:
    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Bucket:
    """A token bucket in exact numbers."""

    def __init__(self, rate: Rate, now: Fraction) -> None:
        self.most = Fraction(rate.count if rate.burst is None else rate.burst)
        self.per_second = Fraction(rate.count) / Fraction(rate.seconds)
        self.tokens, self.at = self.most, now

    def take(self, now: Fraction) -> Fraction:
        self.tokens = min(self.most, self.tokens + (now - self.at) * self.per_second)
        self.at = now
        if self.tokens >= 1:
            self.tokens -= 1
            return Fraction(0)
        return (1 - self.tokens) / self.per_second


rates = st.builds(Rate, st.integers(1, 50), st.sampled_from([0.5, 1.0, 7.0, 60.0]), st.none() | st.integers(1, 20))


class TestRate:
    @given(rate=rates, steps=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 500)), max_size=120))
    @examples(200)
    def test_it_is_a_token_bucket(self, rate: Rate, steps: list[tuple[int, int]]) -> None:
        """Times lie on a grid of an eighth of an interval: what floats lose is less, and within the slack."""
        start = 1_000_000.0
        clock = Clock(start)
        throttle = Throttle(rate, clock)
        grid = Fraction(rate.seconds) / rate.count / 8
        buckets: dict[int, Bucket] = {}
        now = Fraction(0)
        for who, step in steps:
            now += grid * (step if step < 40 else 0)
            clock.now = start + float(now)
            wait = throttle.take(str(who))
            exact = buckets.setdefault(who, Bucket(rate, now)).take(now)
            assert (wait == 0.0) == (exact == 0)
            assert wait == pytest.approx(float(exact), abs=float(grid) / 10)

    def test_the_preset(self) -> None:
        clock = Clock()
        throttle = Throttle(Rate.per_minute(), clock)
        assert [throttle.take("a") for _ in range(10)] == [0.0] * 10
        assert throttle.take("a") == pytest.approx(1.0)
        assert throttle.take("b") == 0.0  # each has its own
        clock.now += 0.5
        assert throttle.take("a") == pytest.approx(0.5)
        clock.now += 0.5
        assert throttle.take("a") == 0.0
        assert throttle.take("a") == pytest.approx(1.0)  # refused ones have cost nothing
        clock.now += 3_600
        assert [throttle.take("a") for _ in range(11)].count(0.0) == 10

    @pytest.mark.parametrize("now", [0.0, 0.1, 123456.789, 1e7])
    @pytest.mark.parametrize("rate", [Rate(3), Rate(7, 1.0), Rate(1_000, 1.0, 100), Rate(1, 0.1, 1)])
    def test_who_waits_as_told_is_let_in(self, rate: Rate, now: float) -> None:
        clock = Clock(now)
        throttle = Throttle(rate, clock)
        let_in = 0
        for _ in range(500):
            wait = throttle.take("a")
            let_in += wait == 0.0
            clock.now += wait
            if wait:
                assert throttle.take("a") == 0.0
        assert let_in >= (rate.burst or rate.count)


class TestMemory:
    def test_what_has_passed_is_swept(self) -> None:
        clock = Clock()
        throttle = Throttle(Rate(60, 60.0), clock)
        for index in range(5_000):
            throttle.take(f"client {index}")
            clock.now += 0.1
        assert len(throttle) <= 12  # each is known for one second

    def test_full_of_clients_in_use_the_oldest_goes(self) -> None:
        throttle = Throttle(Rate(60, 60.0, 1), Clock(), most=3)
        assert [throttle.take(who) for who in "abc"] == [0.0] * 3
        assert throttle.take("d") == 0.0
        assert len(throttle) == 3
        assert all(throttle.take(who) > 0 for who in "bcd")
        assert throttle.take("a") == 0.0

    def test_who_is_let_in_again_is_no_longer_the_oldest(self) -> None:
        throttle = Throttle(Rate(60, 60.0, 2), Clock(), most=2)
        assert [throttle.take(who) for who in "abac"] == [0.0] * 4  # b has gone
        assert throttle.take("a") > 0

    def test_never_more_than_most(self) -> None:
        throttle = Throttle(Rate(1, 3_600.0), Clock(), most=100)
        for index in range(10_000):
            throttle.take(str(index))
        assert len(throttle) == 100


class TestHeaders:
    def test_what_is_left(self) -> None:
        clock = Clock()
        throttle = Throttle(Rate.per_minute(60, 2), clock)

        def said(wait: float = 0.0) -> list[str]:
            return [value.decode() for _, value in throttle.headers("a", wait)]

        assert [name for name, _ in throttle.headers("a", 1.0)] == [b"ratelimit-policy", b"ratelimit", b"retry-after"]
        assert said() == ['"default";q=60;w=60', '"default";r=2;t=0']
        throttle.take("a")
        assert said()[1] == '"default";r=1;t=1'
        throttle.take("a")
        assert said()[1] == '"default";r=0;t=1'
        assert said(throttle.take("a")) == ['"default";q=60;w=60', '"default";r=0;t=1', "1"]
        clock.now += 1.5
        assert said()[1] == '"default";r=1;t=1'
        clock.now += 0.5
        assert said()[1] == '"default";r=2;t=0'

    @pytest.mark.parametrize(
        ("rate", "after"), [(Rate(1, 90.0), b"90"), (Rate(1, 2.5), b"3"), (Rate(10, 1.0, 1), b"1")]
    )
    def test_seconds_are_rounded_up(self, rate: Rate, after: bytes) -> None:
        throttle = Throttle(rate, Clock())
        throttle.take("a")
        assert throttle.headers("a", throttle.take("a"))[-1] == (b"retry-after", after)


@pytest.mark.parametrize(
    ("client", "address"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (["192.0.2.7", 5], "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5), "2001:db8:1:2::/64"),
        (("2001:DB8:1:2::", 5), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 5), "fe80::/64"),
        (("::ffff:192.0.2.7", 5), "192.0.2.7"),
        (("::1", 5), "::/64"),
        (("no:address", 5), "no:address"),
        (None, ""),
        ((None, 5), ""),
        (("", None), ""),
    ],
)
def test_addresses(client: object, address: str) -> None:
    assert address_of({"client": client}) == address
    assert address_of({}) == ""
