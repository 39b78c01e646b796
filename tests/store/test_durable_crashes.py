"""A durable run that dies at any of its writes goes on: nothing acknowledged is lost, or called again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from conftest import loops, share
from durable_work import INPUTS, Calls, Dying, work

import flow
from flow.errors import StoreError
from flow.store.in_memory import MemoryBackend
from flow.store.owner import this_process
from flow.store.store import Store

WAYS: dict[str, dict[str, Any]] = {
    "inline": {},
    "threads": {"executor": "thread", "limit": 3},
    "timed": {"timing": True},
    "one": {"limit": 1},
}


def expected(is_async: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    result = flow.run(work(Calls(), is_async=is_async), INPUTS)
    return plain(result), dict(result.data.items())


def plain(result: flow.Result) -> dict[str, Any]:
    return {name: dict(value) if hasattr(value, "keys") else listed(value) for name, value in result.items()}


def listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


class Acknowledged:
    """An observer that knows which outermost nodes were acknowledged, by the rule of the store's mode."""

    def __init__(self, mode: str) -> None:
        self.kind = flow.events.NodeFinished if mode == "sync" else flow.events.NodeStored
        self.names: set[str] = set()

    def __call__(self, event: Any) -> None:
        if isinstance(event, self.kind) and not getattr(event, "path", ()) and getattr(event, "index", None) is None:
            self.names.add(event.node)


def points(count: int, most: int) -> Iterator[int]:
    """About ``most`` of the numbers from 1 to ``count``, the first and the last among them."""
    step = max(1, count // max(1, most))
    yield from range(1, count + 1, step)


CALLED = {"n0", "n1", "n2", "n3", "n4", "n5", "start", "items", "total", "left", "maybe", "last", "choose"}


def die_and_resume(mode: Any, config: flow.Config, at: int, applies: bool, is_async: bool) -> tuple[bool, Calls, Calls]:
    """Run until the store dies, and go on; tell whether it died at all."""
    backend = MemoryBackend()
    first, second = Calls(), Calls()
    acknowledged = Acknowledged(mode)
    dying = Dying(backend, at, applies)
    died = False
    try:
        flow.run(
            work(first, is_async=is_async), INPUTS, run_id="r", store=Store(dying, mode),
            config=config.replace(observers=(acknowledged,)),
        )  # fmt: skip
    except StoreError:
        died = True
    row = backend.row("r")
    if row is not None and row.owner == this_process():  # that process is dead
        backend.claim("r", row.token, "", 0.0, 0.0)
    result = flow.run(work(second, is_async=is_async), INPUTS, run_id="r", store=Store(backend, mode), config=config)
    outputs, data = expected(is_async)
    assert plain(result) == outputs
    assert dict(result.data.items()) == data
    again = {name for name in acknowledged.names if name in CALLED and second.counts[name]}
    assert not again, f"acknowledged, and called again: {again}"
    third = Calls()
    stored = flow.run(work(third, is_async=is_async), INPUTS, run_id="r", store=Store(backend, mode))
    assert not third.counts
    assert plain(stored) == outputs
    return died, first, second


def writes_of(mode: Any, config: flow.Config, is_async: bool) -> int:
    dying = Dying(MemoryBackend(), -1, False)
    flow.run(work(Calls(), is_async=is_async), INPUTS, run_id="r", store=Store(dying, mode), config=config)
    return dying.writes


@pytest.mark.parametrize("applies", [False, True], ids=["lost", "written"])
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
def test_at_every_write(mode: Any, way: str, is_async: bool, applies: bool) -> None:
    config = flow.Config(**WAYS[way])
    count = writes_of(mode, config, is_async)
    died = [die_and_resume(mode, config, at, applies, is_async)[0] for at in points(count, int(60 * share()))]
    assert any(died)


@pytest.mark.parametrize("backend", loops("trio", "uvloop"))
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_on_other_loops(mode: Any, backend: str) -> None:
    config = flow.Config(backend=backend)
    count = writes_of(mode, config, True)
    for at in points(count, int(20 * share())):
        die_and_resume(mode, config, at, False, True)


def test_in_sync_mode_a_call_in_flight_alone_runs_again() -> None:
    """Inline, one node after another: of the calls before the death, one at most is made again."""
    config = flow.Config()
    for at in points(writes_of("sync", config, False), 40):
        _, first, second = die_and_resume("sync", config, at, False, False)
        twice = {name for name in first.counts if name in second.counts}
        assert len(twice) <= 1, twice
