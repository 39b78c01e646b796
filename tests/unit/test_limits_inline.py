"""A run's time limit without an event loop: looked at between calls, wherever they are."""

from __future__ import annotations

from typing import Any

import pytest

import flow
from flow import Status
from flow.testing import FakeClock


def run(dag: flow.Dag, inputs: dict[str, Any], clock: FakeClock, **settings: Any) -> flow.Result:
    config = flow.Config(timeout=2.5, clock=clock, on_error="collect", **settings)
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag, inputs, config=config)
    assert caught.value.timed_out
    result: flow.Result = caught.value.result
    return result


@pytest.mark.parametrize("kind", ["list", "generator", "batches", "index", "dag", "pipelined"])
def test_a_map_ends_between_two_items(kind: str) -> None:
    clock = FakeClock()
    calls: list[int] = []

    def slow(item: Any) -> Any:
        calls.append(item)
        clock.sleep(1.0)
        return item

    def placed(item: int, index: int) -> int:
        return int(slow(item))

    dag = flow.Dag("d")
    if kind == "dag":
        inner = flow.Dag("inner")
        inner.add("one", slow)
        dag.map("m", inner, over="xs")
    elif kind == "batches":
        dag.map("m", lambda items: [slow(x) for x in items], over="xs", batch_size=1)
    else:
        dag.map("m", placed if kind == "index" else slow, over="xs")
    if kind == "pipelined":
        dag.map("n", lambda item: item, over="m", pipelined=True)
    dag.add("after", lambda m: m)
    xs = iter(range(10)) if kind == "generator" else range(10)
    result = run(dag, {"xs": xs}, clock)
    assert calls == [0, 1, 2]
    assert (result.status["m"], result.status["after"]) == (Status.CANCELLED, Status.CANCELLED)
    assert (clock.now(), result.errors) == (3.0, {})


def test_a_dag_within_a_dag_ends_between_two_nodes() -> None:
    clock = FakeClock()
    inner = flow.Dag("inner")
    for i in range(5):
        inner.add(f"n{i}", lambda: clock.sleep(1.0))
    dag = flow.Dag("d")
    dag.add("sub", inner)
    result = run(dag, {}, clock)
    assert (clock.now(), result.status["sub"]) == (3.0, Status.CANCELLED)


def test_a_retry_that_waits_is_not_waited_for() -> None:
    clock = FakeClock()

    def bad(item: int) -> int:
        raise ValueError(item)

    dag = flow.Dag("d")
    dag.map("m", bad, over="xs", retry=flow.Retry(3, delay=10.0))
    result = run(dag, {"xs": [1]}, clock)
    assert (clock.now(), result.status["m"]) == (2.5, Status.CANCELLED)


def test_a_map_that_ends_in_the_very_tick_has_ended() -> None:
    clock = FakeClock()
    dag = flow.Dag("d")
    dag.map("m", lambda item: clock.sleep(2.5), over="xs")
    config = flow.Config(timeout=2.5, clock=clock)
    assert flow.run(dag, {"xs": [1]}, config=config)["m"] == [None]
