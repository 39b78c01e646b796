"""Faults of durable runs that tests at random have found, each in its shortest form."""

from __future__ import annotations

from typing import Any

import pytest

import flow
from flow.store.in_memory import MemoryBackend
from flow.store.store import Store


@pytest.mark.parametrize("limit", [None, 1, 2])
@pytest.mark.parametrize("waits", [False, True], ids=["plain", "async"])
def test_a_run_that_still_maps_does_not_rest(waits: bool, limit: int | None) -> None:
    """Between two items of a map none of them is running, and yet the run does not only wait for its signal."""
    calls = []
    dag = flow.Dag("dag")
    dag.add("items", lambda: [0, 1, 2, 3])

    def plain(item: int) -> int:
        calls.append(item)
        return item

    async def awaiting(item: int) -> int:
        import anyio

        await anyio.sleep(0)
        return plain(item)

    dag.map("each", awaiting if waits else plain, over="items")
    dag.signal("gate", after="items")
    config = flow.Config(limit=limit)
    result = flow.run(dag, run_id="r", store=Store(MemoryBackend()), config=config, on_wait="return")
    assert result.waiting == ("gate",)
    assert calls == [0, 1, 2, 3]
    assert result["each"] == [0, 1, 2, 3]


def test_a_run_that_rests_shows_what_has_failed_in_it() -> None:
    dag = flow.Dag("dag")

    def fails() -> None:
        raise OSError("disk")

    dag.add("fails", fails)
    dag.add("given", lambda: 1)
    dag.signal("gate", after="given")
    config = flow.Config(on_error="collect")
    result = flow.run(dag, run_id="r", store=Store(MemoryBackend()), config=config, on_wait="return")
    assert result.waiting == ("gate",)
    assert result["given"] == 1
    assert isinstance(result.errors["fails"], OSError)


def test_a_retry_of_a_run_that_waits_runs_again_what_has_failed() -> None:
    fails, dag = [True], flow.Dag("dag")

    def failing() -> int:
        if fails:
            raise OSError("disk")
        return 1

    dag.add("failing", failing)
    dag.signal("gate")
    store, config = Store(MemoryBackend()), flow.Config(on_error="collect")
    how: dict[str, Any] = {"run_id": "r", "store": store, "config": config, "on_wait": "return"}
    assert str(flow.run(dag, **how).status["failing"]) == "failed"
    fails.clear()
    assert str(flow.run(dag, **how).status["failing"]) == "failed"
    result = flow.run(dag, on_conflict="retry", **how)
    assert result["failing"] == 1
    assert result.waiting == ("gate",)
