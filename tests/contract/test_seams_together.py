"""The seams, walked in one program: a checkpoint, a cache, processes and a store of one's own, and a run resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pool_functions as there
import pytest
from conftest import loops

import flow
from flow import Config, Context, Outcome
from flow.run.hooks import NodeCall, NodeOutcome


class Checkpoint:
    """Writes a line per completed node of the outermost run; gives them back as what is known."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> Callable[[NodeOutcome], None]:
        def write(record: NodeOutcome) -> None:
            if record.status == "completed" and record.item is None and not record.path:
                with self.path.open("a") as file:
                    file.write(json.dumps([record.node, record.output]) + "\n")

        return write

    def known(self) -> dict[str, Any]:
        lines = self.path.read_text().splitlines() if self.path.exists() else []
        return dict(map(json.loads, lines))


class Cache:
    """Keeps what functions gave by their names and arguments: read before a call, filled from outcomes."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.hits: list[str] = []

    def __call__(self) -> Callable[[NodeCall], Outcome | None]:
        def look(call: NodeCall) -> Outcome | None:
            key = f"{getattr(call.fn, '__qualname__', call.node)} {sorted(call.arguments.items())}"
            if key not in self.values:
                return None
            self.hits.append(call.node)
            return Outcome(value=self.values[key])

        return look


class Upper(dict[str, Any]):
    """A memory of one's own: keys are kept in upper case."""

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key.upper(), value)


@pytest.mark.parametrize("backend", loops())
def test_a_pipeline_that_fails_goes_on_where_it_was(backend: str, tmp_path: Path) -> None:
    broken = [True]
    called: list[str] = []

    def read() -> list[int]:
        called.append("read")
        return [1, 2, 3]

    def store(squares: list[int], ctx: Context) -> int:
        called.append("store")
        ctx.data["squares"] = squares
        if broken:
            raise ConnectionError
        return len(squares)

    dag = flow.Dag("pipeline")
    dag.add("read", read)
    dag.map("squares", there.square, over="read", executor="pool")
    dag.add("count", there.square, needs={"x": "three"}, executor="pool")
    dag.add("three", lambda read: len(read))
    dag.add("store", store)
    checkpoint, cache = Checkpoint(tmp_path / "run.jsonl"), Cache()
    cache.values["square [('x', 3)]"] = 9
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        config = Config(
            executors={"pool": pool}, on_outcome=checkpoint, before_call=cache, backend=backend,  # type: ignore[arg-type]
            data=flow.DataConfig(memory=Upper),
        )  # fmt: skip
        with pytest.raises(flow.RunError) as caught:
            flow.run(dag, config=config)
        assert caught.value.result.data.keys() == ["SQUARES"]
        assert sorted(cache.hits) == ["count", "squares"]  # the item 3, and the node
        assert checkpoint.known().keys() >= {"read", "three", "squares"}
        broken.clear()
        called.clear()
        result = flow.run(dag, known=checkpoint.known(), config=config)
    assert called == ["store"] and result["store"] == 3
    assert set(result.known) >= {"read", "squares"}
    assert checkpoint.known() == dict(result)
