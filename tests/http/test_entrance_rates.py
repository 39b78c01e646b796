"""How often one may ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from client import API, Client, serving
from workflows import quick

from flow.http import Keys, Limits, Rate
from flow.http.throttle import Throttle

LIMITS = Limits(rate=Rate.per_minute(60, burst=3))


class Clock:
    """Time that passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def timed(client: Client, rate: Rate) -> Clock:
    clock = Clock()
    client.app.entrance._throttle = Throttle(rate, clock)
    return clock


def statuses(ask: Callable[[], Any], count: int = 5) -> list[int]:
    return [ask().status for _ in range(count)]


class TestRates:
    def test_too_many_are_refused_and_told_when_to_come_again(self) -> None:
        rate = Rate.per_minute(60, burst=3)
        with serving({"quick": quick()}, limits=Limits(rate=rate)) as client:
            clock = timed(client, rate)
            asked = [client.start("quick") for _ in range(3)]
            assert [got.status for got in asked] == [200, 200, 200]
            assert [got.headers["ratelimit"] for got in asked] == [
                '"default";r=2;t=1', '"default";r=1;t=1', '"default";r=0;t=1',
            ]  # fmt: skip
            assert {got.headers["ratelimit-policy"] for got in asked} == {'"default";q=60;w=60'}
            got = client.start("quick")
            assert (got.status, got.json["title"]) == (429, "Too Many Requests")
            assert got.json["detail"] == "too many requests: come again in 1 s"
            assert (got.headers["retry-after"], got.headers["ratelimit"]) == ("1", '"default";r=0;t=1')
            clock.now = 1.0  # as it was told
            assert statuses(lambda: client.start("quick"), 2) == [200, 429]
            assert "retry-after" not in asked[0].headers

    def test_a_refused_request_is_not_read_and_runs_nothing(self) -> None:
        with serving({"quick": quick()}, limits=LIMITS) as client:
            statuses(lambda: client.start("quick"), 3)

            async def never() -> bytes:
                raise AssertionError("the body was read")

            async def go() -> int:
                return (await client.asked("POST", f"{API}/workflows/quick/runs", chunks=[], more=never)).status

            assert client.run(go) == 429

    def test_by_address(self) -> None:
        with serving({"quick": quick()}, limits=LIMITS) as client:
            assert statuses(lambda: client.start("quick")) == [200, 200, 200, 429, 429]
            assert statuses(lambda: client.like("10.0.0.1").start("quick")) == [200, 200, 200, 429, 429]
            both = client.like("2001:db8::1"), client.like("2001:db8::2")
            assert [one.start("quick").status for one in both * 2] == [200, 200, 200, 429]
            client.headers["x-forwarded-for"] = "1.2.3.4"  # anybody can write that
            assert client.start("quick").status == 429

    def test_by_key_wherever_it_comes_from(self) -> None:
        keys = Keys.memory()
        first, second = (keys.add(name) for name in ("a", "b"))
        with serving({"quick": quick()}, limits=LIMITS, auth=keys) as client:
            one, other = (client.like(authorization=f"Bearer {key}") for key in (first, second))
            assert statuses(lambda: one.start("quick")) == [200, 200, 200, 429, 429]
            assert one.like("10.0.0.1").start("quick").status == 429
            assert other.start("quick").status == 200
            assert client.start("quick").status == 401

    def test_a_session_counts_as_one(self) -> None:
        keys = Keys.memory()
        cookie = keys.redeem(keys.link_token())
        with serving({"quick": quick()}, limits=LIMITS, auth=keys) as client:
            one = client.like(cookie=f"flow_session={cookie}")
            assert statuses(lambda: one.get("/")) == [200, 200, 200, 429, 429]
            assert one.like("10.0.0.1").get("/").status == 429

    def test_all_ways_count_together(self) -> None:
        with serving({"quick": quick()}, limits=LIMITS) as client:
            assert client.start("quick").status == 200
            assert client.get(f"{API}/runs").status == 200
            assert client.get("/").status == 200
            assert client.post(f"{API}/workflows/trigger", {"workflow": "quick"}).status == 429
            assert client.get(f"{API}/runs").headers["retry-after"] == "1"

    def test_what_operators_ask_for_does_not_count(self) -> None:
        with serving({"quick": quick()}, limits=LIMITS) as client:
            for url in ("/live", "/ready", "/health", "/metrics"):
                got = [client.get(url) for _ in range(6)]
                assert {one.status for one in got} == {200}
                assert "ratelimit" not in got[0].headers
            assert client.start("quick").status == 200

    @pytest.mark.parametrize(
        ("body", "options", "status"),
        [
            ({"inputs": {"y": 1}}, {}, 422), ({"run_id": "/"}, {}, 400), (b"{", {}, 400),
            ({}, {"query": "?wait=x"}, 400),
            ({}, {"headers": {"content-type": "text/plain"}}, 415),
        ],
    )  # fmt: skip
    def test_refused_requests_are_told_what_is_left_too(self, body: Any, options: Any, status: int) -> None:
        with serving({"quick": quick()}, limits=LIMITS) as client:
            got = client.start("quick", body, **options)
            assert (got.status, got.headers["ratelimit"]) == (status, '"default";r=2;t=1')
            assert client.get(f"{API}/runs/nope").headers["ratelimit"] == '"default";r=1;t=1'

    def test_without_a_rate_nobody_is_told_of_one(self) -> None:
        with serving({"quick": quick()}) as client:
            assert not {"ratelimit", "ratelimit-policy", "retry-after"} & set(client.start("quick").headers)
            assert set(statuses(lambda: client.start("quick"), 100)) == {200}
