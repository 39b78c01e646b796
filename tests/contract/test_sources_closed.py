"""Who closes what a map or a reduce goes over, when, what closing may raise; and in which context a generator runs."""

from __future__ import annotations

import logging
from typing import Any

import anyio
import pytest
from conftest import loops
from source_cases import CONFIGS, VAR, Closed, afails, amade, fails, made

import flow
from flow import Config

BOTH = [pytest.param(made, id="sync"), pytest.param(amade, id="async")]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("make", BOTH)
@pytest.mark.parametrize("fn", [fails, afails])
@pytest.mark.parametrize("how", ["item fails", "take", "run fails", "reduce"])
def test_a_nodes_generator_is_closed(config: Config, make: Any, fn: Any, how: str) -> None:
    closed: list[str] = []
    dag = flow.Dag("d")
    dag.add("numbers", make(closed))
    if how == "reduce":
        dag.reduce("m", (lambda so_far, x: fails(x)), over="numbers", start=0)
    else:
        dag.map("m", fn, over="numbers", concurrency=2, take=2 if how == "take" else None)
    if how == "run fails":
        config = config.replace(on_error="fail_fast")
        with pytest.raises(flow.RunError):
            flow.run(dag, config=config)
    else:
        result = flow.run(dag, config=config)
        assert result["m"] == [0, 1] if how == "take" else str(result.errors["m"]) == "item 3"
    assert len(closed) == 1


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("handed_on", [False, True])
def test_the_callers_generator_is_left_as_it_is(config: Config, handed_on: bool) -> None:
    closed: list[str] = []
    dag = flow.Dag("d")
    if handed_on:
        dag.add("numbers", lambda given: given)
    dag.map("m", fails, over="numbers", take=2)
    given = made(closed)()
    assert flow.run(dag, {"given" if handed_on else "numbers": given}, config=config)["m"] == [0, 1]
    assert closed == []
    assert next(given) == 2


@pytest.mark.parametrize("backend", loops())
def test_so_is_an_async_one_in_the_callers_loop(backend: str) -> None:
    closed: list[str] = []

    async def main() -> int:
        dag = flow.Dag("d")
        dag.map("m", afails, over="numbers", take=2, concurrency=1)
        given = amade(closed)()
        assert (await flow.execute(dag, {"numbers": given}))["m"] == [0, 1]
        assert closed == []
        found: int = await anext(given)
        await given.aclose()
        return found

    options = {"use_uvloop": True} if backend == "uvloop" else {}
    assert anyio.run(main, backend="trio" if backend == "trio" else "asyncio", backend_options=options) == 2


@pytest.mark.parametrize("backend", loops())
@pytest.mark.parametrize("kind", ["map", "reduce", "zip", "batch"])
def test_a_stream_of_the_callers_stays_open(backend: str, kind: str) -> None:
    def stops(so_far: int, x: int) -> int:
        if x == 2:
            raise ValueError
        return x

    async def main() -> list[int]:
        send, receive = anyio.create_memory_object_stream[int](10)
        with send, receive:
            for i in range(8):
                send.send_nowait(i)
            dag = flow.Dag("d")
            if kind == "reduce":
                dag.reduce("m", stops, over="stream", start=0)
            elif kind == "zip":
                dag.map("m", lambda a, b: a, over=["stream", "xs"], take=2)
            else:
                dag.map("m", lambda item: item, over="stream", take=2, batch_size=2 if kind == "batch" else None)
            inputs = {"stream": receive} | ({"xs": [1, 2]} if kind == "zip" else {})
            await flow.execute(dag, inputs, config=Config(on_error="collect"))
            return [receive.receive_nowait() for _ in range(2)]

    options = {"use_uvloop": True} if backend == "uvloop" else {}
    left = anyio.run(main, backend="trio" if backend == "trio" else "asyncio", backend_options=options)
    assert len(left) == 2


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("make", BOTH)
class TestClosingRaises:
    def test_an_items_own_error_stands(self, config: Config, make: Any) -> None:
        dag = flow.Dag("d")
        dag.add("numbers", make([], Closed("broken")))
        dag.map("m", fails, over="numbers")
        error = flow.run(dag, config=config).errors["m"]
        assert str(error) == "item 3"
        assert "its source raised Closed: broken when it was closed" in error.__notes__

    def test_a_functions_own_in_reduce(self, config: Config, make: Any) -> None:
        dag = flow.Dag("d")
        dag.add("numbers", make([], Closed("broken")))
        dag.reduce("m", lambda so_far, x: fails(x), over="numbers", start=0)
        error = flow.run(dag, config=config).errors["m"]
        assert str(error) == "item 3"
        assert "its source raised Closed: broken when it was closed" in error.__notes__

    def test_without_another_it_is_the_maps(self, config: Config, make: Any) -> None:
        dag = flow.Dag("d")
        dag.add("numbers", make([], Closed("broken")))
        dag.map("m", fails, over="numbers", take=2)
        assert str(flow.run(dag, config=config).errors["m"]) == "broken"

    def test_nothing_escapes_collect(self, config: Config, make: Any, caplog: pytest.LogCaptureFixture) -> None:
        dag = flow.Dag("d")
        dag.add("numbers", make([], Closed("broken")))
        dag.map("m", fails, over="numbers", take=2, on_error="collect")
        with caplog.at_level(logging.ERROR, "flow"):
            assert flow.run(dag, config=config)["m"].values == [0, 1]
        assert "the source of map 'm' raised when it was closed" in caplog.text


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("kind", ["map", "async map", "batch", "keyed", "zip", "reduce"])
def test_a_generator_is_resumed_in_one_context(config: Config, kind: str) -> None:
    def numbers() -> Any:
        for i in range(6):
            seen = VAR.get()
            VAR.set(i)
            yield i, seen

    async def waits(item: Any) -> Any:
        VAR.set("an item's")
        await anyio.sleep(0)
        return item

    def at_once(item: Any) -> Any:
        VAR.set("an item's")
        return item

    dag = flow.Dag("d")
    dag.add("numbers", numbers)
    if kind == "reduce":
        dag.reduce("m", lambda so_far, item: [*so_far, item], over="numbers", start=[])
    elif kind == "zip":
        dag.map("m", lambda a, b: at_once(a), over=["numbers", "xs"])
    elif kind == "batch":
        dag.flat_map("m", lambda items: [at_once(items)], over="numbers", batch_size=1)
    elif kind == "keyed":
        dag.map("m", at_once, over="numbers", key=lambda item: item[0])
    else:
        dag.map("m", waits if kind == "async map" else at_once, over="numbers")
    result = flow.run(dag, {"xs": range(6)} if kind == "zip" else {}, config=config)["m"]
    found = list(result.values()) if isinstance(result, dict) else result
    found = [one[0] if isinstance(one, list) else one for one in found]
    assert [seen for _, seen in found] == ["unset", 0, 1, 2, 3, 4]
