"""What the engine hands out many times is each taker's own: the list of a batch, the start of a reduce."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from conftest import configs

import flow
from flow import Config, Retry

RETRY = Retry(3, delay=0)
CONFIGS = configs(on_error="collect")


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("options", [{}, {"retry": RETRY}, {"on_error": "skip"}, {"thread": True}])
def test_a_batch_function_may_empty_its_list(config: Config, options: dict[str, Any]) -> None:
    def work(batch: list[int]) -> list[int]:
        out = []
        while batch:
            out.append(batch.pop(0) * 10)
        return out

    dag = flow.Dag("d")
    dag.map("m", work, over="xs", batch_size=2, **options)
    assert flow.run(dag, {"xs": [1, 2, 3]}, config=config)["m"] == [10, 20, 30]


@pytest.mark.parametrize("config", CONFIGS)
def test_each_attempt_has_the_whole_batch(config: Config) -> None:
    calls: list[int] = []

    async def drain(batch: list[int]) -> list[int]:
        out = []
        while batch:
            calls.append(1)
            if len(calls) == 2:
                raise ConnectionError
            out.append(batch.pop(0))
        return out

    dag = flow.Dag("d")
    dag.map("m", drain, over="xs", batch_size=3, retry=RETRY)
    assert flow.run(dag, {"xs": [1, 2, 3, 4]}, config=config)["m"] == [1, 2, 3, 4]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize(
    ("fn", "text"),
    [
        (lambda batch: batch.append(99) or list(batch), "3 came for 2 items"),
        (lambda batch: batch.clear() or [], "0 came for 2 items"),
        (lambda batch: 5, "got 5"),
    ],
)
def test_results_are_counted_against_the_real_length_once(config: Config, fn: Any, text: str) -> None:
    calls: list[int] = []

    def work(batch: list[int]) -> Any:
        calls.append(1)
        return fn(batch)

    dag = flow.Dag("d")
    dag.map("m", work, over="xs", batch_size=2, retry=RETRY)
    error = flow.run(dag, {"xs": [1, 2]}, config=config).errors["m"]
    assert text in str(error)
    assert calls == [1]  # it would be the same again


def test_so_is_a_flat_maps_result_of_the_wrong_kind() -> None:
    calls: list[int] = []
    dag = flow.Dag("d")
    dag.flat_map("m", lambda x: calls.append(x), over="xs", retry=RETRY)
    with pytest.raises(flow.RunError, match="'m'"):
        flow.run(dag, {"xs": [1]})
    assert calls == [1]


@pytest.mark.parametrize("config", CONFIGS)
def test_every_run_folds_from_the_same_start(config: Config) -> None:
    def count(so_far: dict[str, int], word: str) -> dict[str, int]:
        so_far[word] = so_far.get(word, 0) + 1
        return so_far

    start: dict[str, int] = {}
    dag = flow.Dag("d")
    dag.reduce("counts", count, over="words", start=start)
    plan = dag.compile()
    results = [flow.run(plan, {"words": ["a", "b"]}, config=config)["counts"] for _ in range(3)]
    assert results == [{"a": 1, "b": 1}] * 3
    assert start == {}


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("is_async", [False, True])
def test_every_attempt_too_and_deeply(config: Config, is_async: bool) -> None:
    calls: list[int] = []

    def collect(so_far: list[list[int]], x: int) -> list[list[int]]:
        so_far[0].append(x)
        calls.append(x)
        if len(calls) == 2:
            raise ConnectionError
        return so_far

    async def acollect(so_far: list[list[int]], x: int) -> list[list[int]]:
        return collect(so_far, x)

    dag = flow.Dag("d")
    dag.reduce("all", acollect if is_async else collect, over="xs", start=[[]], retry=RETRY)
    assert flow.run(dag, {"xs": [1, 2]}, config=config)["all"] == [[1, 2]]


def test_a_start_that_cannot_be_copied_is_refused() -> None:
    dag = flow.Dag("d")
    dag.reduce("r", lambda so_far, x: so_far, over="xs", start=threading.Lock())
    with pytest.raises(flow.DefinitionError, match="node 'r' .*start is copied each time it is used"):
        dag.compile()


@pytest.mark.parametrize("setting", ["take", "batch_size"])
def test_sizes_that_no_list_can_have(setting: str) -> None:
    dag = flow.Dag("d")
    dag.map("m", lambda x: x, over="xs", **{setting: 2**63})
    with pytest.raises(flow.DefinitionError, match=f"{setting} must be at most"):
        dag.compile()
