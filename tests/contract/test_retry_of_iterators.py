"""An attempt that has gone over a part of an iterator is not repeated: the next one would get what is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from conftest import configs

import flow
from flow import Config, Retry

RETRY = Retry(3, delay=0)
CONFIGS = configs(on_error="collect")


def numbers() -> Any:
    yield from [1, 2, 3, 4]


async def anumbers() -> Any:
    for number in [1, 2, 3, 4]:
        yield number


def broken() -> Any:
    yield 1
    yield 2
    raise ConnectionError("page 3")


def failing_at(call: int) -> tuple[Callable[[int, int], int], list[int]]:
    calls: list[int] = []

    def add(so_far: int, item: int) -> int:
        calls.append(item)
        if len(calls) == call:
            raise ConnectionError("once")
        return so_far + item

    return add, calls


SOURCES = [
    pytest.param(numbers, id="generator"),
    pytest.param(anumbers, id="async-generator"),
    pytest.param(lambda: iter([1, 2, 3, 4]), id="iterator"),
    pytest.param(lambda: map(int, "1234"), id="map"),
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("source", SOURCES)
def test_reduce(config: Config, source: Any) -> None:
    add, calls = failing_at(3)
    dag = flow.Dag("d")
    dag.add("numbers", source)
    dag.reduce("sum", add, over="numbers", start=0, retry=RETRY)
    error = flow.run(dag, config=config).errors["sum"]
    assert (str(error), calls) == ("once", [1, 2, 3])
    assert any(note.startswith("not retried: ") and "return a list" in note for note in error.__notes__)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_sources_own_error_is_kept(config: Config) -> None:
    dag = flow.Dag("d")
    dag.add("pages", broken)
    dag.reduce("sum", lambda so_far, item: so_far + item, over="pages", start=0, retry=RETRY)
    assert str(flow.run(dag, config=config).errors["sum"]) == "page 3"


@pytest.mark.parametrize("config", CONFIGS)
def test_a_list_is_gone_over_again(config: Config) -> None:
    add, _ = failing_at(3)
    dag = flow.Dag("d")
    dag.add("numbers", lambda: [1, 2, 3, 4])
    dag.reduce("sum", add, over="numbers", start=0, retry=RETRY)
    assert flow.run(dag, config=config)["sum"] == 10


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("source", [numbers, anumbers])
def test_a_generator_that_has_not_begun_is_whole(config: Config, source: Any) -> None:
    tries: list[int] = []

    async def total(numbers: Any) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError  # before it asks for the first
        return sum([x async for x in numbers]) if hasattr(numbers, "__aiter__") else sum(numbers)

    dag = flow.Dag("d")
    dag.add("numbers", source)
    dag.add("total", total, retry=RETRY)
    assert flow.run(dag, config=config)["total"] == 10


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("source", SOURCES[:1] + SOURCES[2:])
def test_a_node(config: Config, source: Any) -> None:
    def total(numbers: Any) -> int:
        next(numbers)
        raise ConnectionError("halfway")

    dag = flow.Dag("d")
    dag.add("numbers", source)
    dag.add("total", total, retry=RETRY)
    result = flow.run(dag, config=config)
    assert result.attempts["total"] == 1
    assert "not retried" in str(result.errors["total"].__notes__)


def test_a_file_and_a_keyword(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("1\n2\n")

    def read(*, lines: Any) -> int:
        next(lines)
        raise ConnectionError

    dag = flow.Dag("d")
    dag.add("read", read, retry=RETRY)
    with (tmp_path / "f").open() as lines:
        result = flow.run(dag, {"lines": lines}, config=Config(on_error="collect"))
    assert result.attempts["read"] == 1


@pytest.mark.parametrize("config", CONFIGS)
def test_a_dag_within(config: Config) -> None:
    seen: list[int] = []

    def visit(x: int) -> int:
        seen.append(x)
        if len(seen) == 3:
            raise ConnectionError("once")
        return x

    inner = flow.Dag("inner")
    inner.map("m", visit, over="numbers")
    dag = flow.Dag("d")
    dag.add("numbers", numbers)
    dag.add("inner", inner, retry=RETRY)
    result = flow.run(dag, config=config)
    assert (str(result.status["inner"]), seen) == ("failed", [1, 2, 3])


@pytest.mark.parametrize("config", CONFIGS)
def test_items_that_are_iterators(config: Config) -> None:
    def total(part: Any) -> int:
        next(part)
        raise ConnectionError

    dag = flow.Dag("d")
    dag.map("m", total, over="parts", retry=RETRY, on_error="collect")
    result = flow.run(dag, {"parts": [iter([1, 2]), iter([3, 4])]}, config=config)
    assert all("not retried" in str(error.__notes__) for error in result["m"].errors.values())
    dag = flow.Dag("d")
    dag.map("m", lambda a, b: total(b), over=["xs", "parts"], retry=RETRY, on_error="collect")
    result = flow.run(dag, {"xs": [1], "parts": [iter([1, 2])]}, config=config)
    assert "not retried" in str(result["m"].errors[0].__notes__)


@pytest.mark.parametrize("config", CONFIGS)
def test_items_of_a_generator_are_tried_again_each(config: Config) -> None:
    tried: list[int] = []

    def flaky(x: int) -> int:
        tried.append(x)
        if tried.count(x) == 1:
            raise ConnectionError
        return x * 10

    dag = flow.Dag("d")
    dag.add("numbers", numbers)
    dag.map("m", flaky, over="numbers", retry=RETRY)
    assert flow.run(dag, config=config)["m"] == [10, 20, 30, 40]


def test_a_stream_of_the_callers() -> None:
    async def take(stream: Any) -> int:
        await stream.receive()
        raise ConnectionError

    async def main() -> flow.Result:
        send, receive = anyio.create_memory_object_stream[int](4)
        with send, receive:
            send.send_nowait(1)
            dag = flow.Dag("d")
            dag.add("take", take, retry=RETRY)
            return await flow.execute(dag, {"stream": receive}, config=Config(on_error="collect"))

    assert anyio.run(main).attempts["take"] == 1
