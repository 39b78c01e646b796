"""One store, many threads: nothing is lost, nothing is half done. The interpreter switches threads very often."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from memories import Copied, Values

import flow

pytestmark = pytest.mark.slow

THREADS = 12
ROUNDS = 300
CONFIGS: dict[str, dict[str, Any]] = {
    "standard": {},
    "off": {"metrics": "off"},
    "sampled": {"metrics": "sampled", "sample_rate": 0.2},
    "timing": {"metrics": "timing"},
    "direct": {"metrics": "off", "direct_reads": True},
    "slots": {"memory": "slots"},
    "arena": {"memory": "arena"},
    "pool": {"interning": "pool", "intern": "both", "intern_capacity": 5},
    "texts": {"interning": "arena"},
    "locked": {"locked": True},
    "own": {"memory": Values},
    "own-copied": {"memory": Copied, "metrics": "timing"},
    "locked-slots": {"locked": True, "memory": "slots", "metrics": "timing"},
}


@pytest.fixture(autouse=True)
def _switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture(params=CONFIGS, ids=str)
def data(request: pytest.FixtureRequest) -> flow.WorkflowData:
    return flow.WorkflowData(flow.DataConfig(**CONFIGS[request.param]))


def together(*work: Callable[[int], None]) -> None:
    """Run each function in as many threads as there are, all starting at once; raise what one raises."""
    failed: list[BaseException] = []
    start = threading.Barrier(len(work))

    def run(number: int, fn: Callable[[int], None]) -> None:
        start.wait(30)
        try:
            fn(number)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number, fn)) for number, fn in enumerate(work)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed, failed
    assert not any(thread.is_alive() for thread in threads)


def test_no_increment_or_update_is_lost(data: flow.WorkflowData) -> None:
    def work(number: int) -> None:
        for i in range(ROUNDS):
            data.increment("n")
            if i % 10 == 0:
                data.update("list", lambda v: [*v, number], [])
                data.increment("f", 0.5)

    together(*[work] * THREADS)
    assert (data["n"], data["f"]) == (THREADS * ROUNDS, THREADS * ROUNDS / 20)
    assert sorted(data["list"]) == sorted([*range(THREADS)] * (ROUNDS // 10))


def test_writes_beside_snapshots(data: flow.WorkflowData) -> None:
    """Each thread owns a key that it counts up; whoever copies the values must not lose a write."""

    def write(number: int) -> None:
        for i in range(ROUNDS):
            data.set(f"k{number}", i)
            assert data.get(f"k{number}") == i
            data.increment("n")
            if i % 50 == 0:
                assert data.delete(f"k{number}")
                assert not data.has(f"k{number}")

    def look(number: int) -> None:
        last = 0
        for i in range(ROUNDS // 5):
            shot = data.snapshot()
            before = dict(shot)
            clone = data.clone()
            clone["n"] = -1
            assert before.get("n", 0) >= last
            last = before.get("n", 0)
            assert dict(data.items()).get("n", 0) >= last
            assert dict(shot) == before

    writers = THREADS - 4
    together(*[write] * writers, *[look] * 4)
    assert dict(data.items()) == {**{f"k{i}": ROUNDS - 1 for i in range(writers)}, "n": writers * ROUNDS}


def test_sets_against_increments(data: flow.WorkflowData) -> None:
    """A set between an increment's reading and its writing must not be overwritten by what was read before."""
    lost = []

    def jump(number: int) -> None:
        for i in range(1, ROUNDS):
            data["n"] = i * 1_000_000
            if data["n"] < i * 1_000_000:
                lost.append(i)

    def count(number: int) -> None:
        for _ in range(ROUNDS):
            data.increment("n")

    together(jump, *[count] * (THREADS - 1))
    assert not lost
    assert (ROUNDS - 1) * 1_000_000 <= data["n"] <= (ROUNDS - 1) * 1_000_000 + THREADS * ROUNDS


@pytest.mark.parametrize("metrics", ["off", "counting", "sampled", "timing"])
@pytest.mark.parametrize("write", ["set", "increment", "delete"])
def test_two_writers_after_a_snapshot(metrics: Any, write: str) -> None:
    """Both find the values shared; the second must not copy them again, over what the first has written."""
    data = flow.WorkflowData(flow.DataConfig(metrics=metrics, sample_rate=1e-9))
    second = threading.Thread(target=lambda: data.set("second", 2))

    class Slow(dict[str, Any]):
        def copy(self) -> Slow:
            new = Slow(self)
            if not second.ident:
                second.start()
                second.join(0.05)  # time to overtake, if nothing holds it
            return new

    data._values = Slow(old=0)  # type: ignore[attr-defined]
    data.snapshot()
    if write == "delete":
        assert data.delete("old")
    else:
        getattr(data, write)("first", 1)
    second.join(60)
    assert dict(data.items()) == ({"second": 2} if write == "delete" else {"old": 0, "first": 1, "second": 2})


def test_counts_are_exact() -> None:
    data = flow.WorkflowData()

    def work(number: int) -> None:
        for i in range(ROUNDS):
            data.set("a", i)
            data.get("a")
            data.get("nope")

    together(*[work] * THREADS)
    found, total = data.statistics(), THREADS * ROUNDS
    assert (found.operations, found.hits, found.misses) == ({"set": total, "get": 2 * total}, total, total)


def test_layouts_number_each_key_once() -> None:
    layout = flow.memory.Layout()
    stores = [flow.WorkflowData(flow.DataConfig(memory="slots"), layout) for _ in range(THREADS)]

    def work(number: int) -> None:
        for i in range(ROUNDS):
            stores[number][f"k{i}"] = (number, i)
            stores[number][f"{number}-{i}"] = i
            if i % 100 == 99:
                assert len(stores[number]) == 2 * i + 2

    together(*[work] * THREADS)
    assert sorted(layout.index.values()) == [*range(ROUNDS * (THREADS + 1))]
    for number, store in enumerate(stores):
        own = {f"{number}-{i}": i for i in range(ROUNDS)}
        assert dict(store.items()) == own | {f"k{i}": (number, i) for i in range(ROUNDS)}


def test_items_beside_deletes(data: flow.WorkflowData) -> None:
    for i in range(50):
        data[f"k{i}"] = i

    def flicker(number: int) -> None:
        for i in range(ROUNDS):
            data.delete(f"k{i % 50}")
            data.set(f"k{i % 50}", i % 50)

    def look(number: int) -> None:
        for _ in range(ROUNDS // 3):
            assert all(key == f"k{value}" for key, value in data.items())
            assert set(data) <= {f"k{i}" for i in range(50)}
            assert len(data) <= 50

    together(*[flicker] * 4, *[look] * 4)
    assert sorted(value for _, value in data.items()) == [*range(50)]


def test_children_do_not_see_each_other(data: flow.WorkflowData) -> None:
    data["n"] = 100
    shared = data.child()

    def work(number: int) -> None:
        child = data.child()
        for i in range(ROUNDS):
            child.increment("n")
            child.set("own", number)
            assert (child["n"], child["own"]) == (101 + i, number)
            shared.increment("n")

    together(*[work] * THREADS)
    assert (data["n"], "own" in data, shared["n"]) == (100, False, 100 + THREADS * ROUNDS)


def test_updates_wait_for_one_another_but_not_in_circles() -> None:
    data = flow.WorkflowData(flow.DataConfig(metrics="timing"))

    def work(number: int) -> None:
        for _ in range(ROUNDS // 10):
            data.update("a" if number % 2 else "b", lambda v: v + data.increment("c") * 0 + 1, 0)

    together(*[work] * THREADS)
    assert data["a"] + data["b"] == THREADS * (ROUNDS // 10)
