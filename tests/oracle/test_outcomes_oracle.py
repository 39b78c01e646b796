"""Random Dags with an outcome hook: what it is told, in which order, against what the Result says of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import anyio.lowlevel
import pytest
from conftest import dag_of, examples
from hypothesis import given
from hypothesis import strategies as st
from test_run_oracle import Spec, dags

import flow
from flow import Config
from flow.run.hooks import NodeOutcome


class World:
    """One run: begins of nodes and records of the hook, in the order in which they came."""

    def __init__(self, specs: list[Spec], is_async: bool) -> None:
        self.specs = specs
        self.log: list[tuple[str, str]] = []
        self.records: list[NodeOutcome] = []
        self.is_async = is_async
        self.dag = dag_of(specs, self.function)

    def function(self, i: int, spec: Spec) -> Callable[..., Any]:
        left = [spec.fails]

        def call(*values: Any) -> int:
            self.log.append(("begin", f"n{i}"))
            left[0] -= 1
            if left[0] >= 0:
                raise ValueError(i)
            return i

        async def acall(*values: Any) -> int:
            if spec.style == "waits":
                await anyio.lowlevel.checkpoint()
            return call(*values)

        return call if spec.style == "sync" else acall

    def hook(self) -> Callable[[NodeOutcome], Any]:
        def told(record: NodeOutcome) -> None:
            self.records.append(record)
            if record.final:
                self.log.append(("told", record.node))

        async def later(record: NodeOutcome) -> None:
            await anyio.lowlevel.checkpoint()
            told(record)

        return later if self.is_async else told

    def run(self, **settings: Any) -> flow.Result:
        return flow.run(self.dag, config=Config(on_error="collect", on_outcome=self.hook, **settings))


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@examples(60)
@given(data=st.data())
def test_told_of_all_once_and_before_what_depends_on_it(backend: str, data: st.DataObject) -> None:
    specs = data.draw(dags(most=40))
    is_async = data.draw(st.booleans())
    mode = "tasks" if is_async else data.draw(st.sampled_from(["auto", "inline", "tasks"]))
    limit = data.draw(st.sampled_from([None, 1, 3]))
    keep = data.draw(st.sampled_from(["all", "targets"]))
    world = World(specs, is_async)
    result = world.run(mode=mode, limit=limit, keep=keep, backend=backend)
    final = {record.node: record for record in world.records if record.final}
    assert {name: str(record.status) for name, record in final.items()} == {n: str(s) for n, s in result.status.items()}
    assert len(final) == sum(record.final for record in world.records)
    attempts = Counter(record.node for record in world.records if record.status != "skipped")
    assert attempts == dict(result.attempts)
    for name, record in final.items():
        assert record.attempt == result.attempts.get(name, 0)
        assert record.error is result.errors.get(name)
        if name in result:
            assert record.output == result[name]
    when = {entry: at for at, entry in reversed(list(enumerate(world.log)))}
    for i, spec in enumerate(specs):
        begins = when.get(("begin", f"n{i}"))
        for d in (*spec.data, *spec.after) if begins is not None else ():
            assert when["told", f"n{d}"] < begins


@examples(100)
@given(data=st.data())
def test_a_run_that_knows_what_another_was_told_ends_as_that_did(data: st.DataObject) -> None:
    specs = data.draw(dags(most=30))
    first = World(specs, False)
    whole = first.run()
    cut = data.draw(st.integers(0, len(first.records)))
    known = {
        record.node: flow.Outcome(record.status, record.output, record.error)
        for record in first.records[:cut]
        if record.final
    }
    second = World(specs, False)
    result = flow.run(second.dag, known=known, config=Config(on_error="collect"))
    for name in result.plan:
        assert result.status[name] == whole.status[name]
        if name in whole:
            assert result[name] == whole[name]
    assert not {name for what, name in second.log if what == "begin"} & known.keys()
