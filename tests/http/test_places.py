"""How many runs go on at once, and how many wait: the queue is bounded whatever comes at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from client import API, serving
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from workflows import Gate, quick

import flow
from flow.http import Limits
from flow.http.places import Places
from flow.http.problems import Problem


def on_loop(function: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(function(), 10))


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


class TestPlaces:
    def test_first_come_first_served(self) -> None:
        async def go() -> None:
            places, order = Places(1, 10), list[int]()

            async def run(number: int) -> None:
                await places.enter()
                order.append(number)
                places.leave()

            await places.enter()
            tasks = [asyncio.create_task(run(number)) for number in range(5)]
            await turns()
            assert (places.queued, order) == (5, [])
            places.leave()
            await asyncio.gather(*tasks)
            assert order == [0, 1, 2, 3, 4]
            assert (places.taken, places.queued) == (0, 0)

        on_loop(go)

    def test_the_queue_is_bounded_also_for_what_comes_before_the_first_run_has_begun(self) -> None:
        async def go() -> None:
            places = Places(2, 1)
            for _ in range(3):
                places.check()
            with pytest.raises(Problem) as caught:
                places.check()
            assert caught.value.status == 503
            assert dict(caught.value.headers)[b"retry-after"] == b"1"
            assert places.free == 0
            await turns()
            assert places.free == 2  # nobody has entered after all
            places.check()

        on_loop(go)

    def test_no_queue(self) -> None:
        async def go() -> None:
            places = Places(1, 0)
            await places.enter()
            with pytest.raises(Problem):
                places.check()
            places.leave()
            places.check()

        on_loop(go)

    def test_who_is_cancelled_leaves_the_queue(self) -> None:
        async def go() -> None:
            places = Places(1, 10)
            await places.enter()
            first, second = (asyncio.create_task(places.enter()) for _ in range(2))
            await turns()
            first.cancel()
            await turns()
            assert places.queued == 1
            places.leave()
            await second
            assert (places.taken, places.queued) == (1, 0)

        on_loop(go)

    def test_a_place_that_comes_with_the_cancellation_goes_to_the_next(self) -> None:
        async def go() -> None:
            places = Places(1, 10)
            await places.enter()
            first, second = (asyncio.create_task(places.enter()) for _ in range(2))
            await turns()
            places.leave()  # to the first, which does not get to know it any more
            first.cancel()
            await second
            assert (places.taken, places.queued) == (1, 0)

        on_loop(go)

    def test_a_place_that_comes_just_after_the_cancellation_goes_to_the_next(self) -> None:
        async def go() -> None:
            places = Places(1, 10)
            await places.enter()
            first, second = (asyncio.create_task(places.enter()) for _ in range(2))
            await turns()
            first.cancel()
            places.leave()  # before the first has seen its cancellation
            with pytest.raises(asyncio.CancelledError):
                await first
            await second
            assert (places.taken, places.queued) == (1, 0)

        on_loop(go)

    def test_queued_runs_end_with_the_service_while_places_come_free(self) -> None:
        gate = Gate()
        with serving({"held": gate.loop}, limits=Limits(runs=1)) as client:
            for number in range(4):
                client.start("held", {"run_id": f"r{number}"}, "?wait=0")

            async def go() -> list[str]:
                url = f"{API}/workflows/held/runs"
                asked = [asyncio.create_task(client.asked("POST", url, {"run_id": f"r{n}"})) for n in range(4)]
                await turns()
                await client.app.drain(0.0)
                return [(await task).json["status"] for task in asked]

            assert client.run(go) == ["cancelled"] * 4

    def test_what_comes_back_from_a_rest_is_above_the_most(self) -> None:
        async def go() -> None:
            places = Places(1, 10)
            await places.enter()
            places.leave()  # it rests
            await places.enter()  # another one
            places.return_from_rest()
            assert (places.taken, places.free) == (2, 0)
            waits = asyncio.create_task(places.enter())
            await turns()
            places.leave()
            await turns()
            assert not waits.done()  # there is still as much as may be
            places.leave()
            await waits

        on_loop(go)


class TestService:
    def test_requests_at_once_that_are_too_many(self) -> None:
        gate = Gate()
        with serving({"held": gate.loop}, limits=Limits(runs=2, queue=1)) as client:

            async def go() -> list[int]:
                tasks = [asyncio.create_task(client.asked("POST", f"{API}/workflows/held/runs", {})) for _ in range(6)]
                await asyncio.wait(tasks, timeout=5, return_when=asyncio.FIRST_COMPLETED)
                await turns()
                refused = [task.result() for task in tasks if task.done()]
                assert {got.headers["retry-after"] for got in refused} == {"1"}
                assert refused[0].json["title"] == "Too many runs"
                assert refused[0].json["detail"] == "2 runs go on and 1 wait: come again later"
                gate.open()
                return sorted([got.status for got in await asyncio.gather(*tasks)])

            assert client.run(go) == [200, 200, 200, 503, 503, 503]
            assert client.start("held").status == 200

    def test_queued_runs_begin_in_the_order_of_their_coming(self) -> None:
        gate = Gate()
        with serving({"held": gate.loop}, limits=Limits(runs=1)) as client:
            ids = [f"r{number}" for number in range(4)]
            told = [client.start("held", {"run_id": run_id}, "?wait=0").json["status"] for run_id in ids]
            assert told == ["running", "queued", "queued", "queued"]
            listed = client.get(f"{API}/runs?status=queued").json["runs"]
            assert [row["id"] for row in listed] == ["r3", "r2", "r1"]
            gate.open()
            ended = [client.start("held", {"run_id": run_id}).json for run_id in ids]
            assert [one["status"] for one in ended] == ["completed"] * 4
            views = [client.get(f"{API}/runs/{run_id}").json for run_id in ids]
            assert [view["id"] for view in sorted(views, key=lambda view: view["ended"])] == ids

    def test_a_request_that_does_not_wait_is_answered_while_its_run_is_queued(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("flow.http.triggering._FREE", None)  # nobody waits for a run to begin that is queued
        gate = Gate()
        with serving({"held": gate.loop}, limits=Limits(runs=1)) as client:
            client.start("held", {}, "?wait=0")
            for options in ({"query": "?wait=0"}, {"headers": {"prefer": "respond-async"}}, {"query": "?wait=0.01"}):
                got = client.start("held", {}, **options)
                assert (got.status, got.json["status"]) == (202, "queued")
                assert client.get(got.headers["location"]).json["status"] == "queued"
            gate.open()

    def test_a_run_that_only_waits_for_a_signal_frees_its_place(self) -> None:
        waiting = flow.Dag("waiting")
        waiting.signal("approve", type=str)
        limits = Limits(runs=1, queue=0)
        with serving({"waiting": waiting, "quick": quick()}, limits=limits) as client:
            for run_id in ("a", "b", "c"):
                got = client.start("waiting", {"run_id": run_id}, "?wait=0.05")
                assert (got.status, got.json["status"], got.json["waiting"]) == (202, "waiting", ["approve"])
            assert client.start("quick").json["status"] == "completed"
            for run_id in ("a", "b", "c"):
                assert client.post(f"{API}/runs/{run_id}/signals/approve", {"payload": "yes"}).status == 202
                assert client.start("waiting", {"run_id": run_id}).json["outputs"] == {"approve": "yes"}
            assert client.app.places.taken == 0


class TestAnything:
    @examples(40)
    @given(
        st.lists(
            st.tuples(st.sampled_from(["start", "start", "cancel", "turn", "open", "signal"]), st.integers(0, 7)),
            max_size=60,
        ),
        st.integers(1, 3),
        st.integers(0, 3),
    )
    def test_all_are_answered_and_all_places_come_back(
        self, steps: list[tuple[str, int]], most: int, queue: int
    ) -> None:
        """Starts, cancellations, ends and rests in any order: places and queue keep their bounds."""
        gates = dict[str, asyncio.Event]()

        async def held(name: str) -> str:
            await gates[name].wait()
            return name

        dag = flow.Dag("held")
        dag.add("held", held)
        rests = flow.Dag("rests")
        rests.signal("go", type=int)
        with serving({"held": dag, "rests": rests}, limits=Limits(runs=most, queue=queue)) as client:
            service = client.app

            async def go() -> list[int]:
                asked = list[asyncio.Task[Any]]()
                for what, number in steps:
                    run_id = f"{'rests' if number > 5 else 'held'}{number}"
                    url = f"{API}/workflows/{run_id[:-1]}/runs"
                    if what == "start":
                        gates.setdefault(run_id, asyncio.Event())
                        inputs = {"name": run_id} if number <= 5 else {}
                        asked.append(
                            asyncio.create_task(client.asked("POST", url, {"run_id": run_id, "inputs": inputs}))
                        )
                    elif what == "cancel":
                        asked.append(asyncio.create_task(client.asked("POST", f"{API}/runs/{run_id}/cancel", {})))
                    elif what == "signal":
                        url = f"{API}/runs/{run_id}/signals/go"
                        asked.append(asyncio.create_task(client.asked("POST", url, {"payload": 1})))
                    elif what == "open":
                        gates.setdefault(run_id, asyncio.Event()).set()
                    else:
                        await turns(number)
                    assert service.places.queued <= queue
                    assert service.places.taken <= most + 2  # two may have come back from a rest
                await turns(20)
                for gate in gates.values():
                    gate.set()
                for run_id in list(service.runs.live):
                    if run_id.startswith("rests"):
                        await client.asked("POST", f"{API}/runs/{run_id}/cancel", {})
                return [(await task).status for task in asked]

            assert set(client.run(go)) <= {200, 202, 404, 409, 503}
            client.run(lambda: turns(5))
            assert (service.places.taken, service.places.queued, service.runs.live) == (0, 0, {})
