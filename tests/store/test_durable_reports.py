"""What nodes of durable runs report is stored, and is there when the run goes on."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

import flow
from flow import Context
from flow.store.in_memory import MemoryBackend
from flow.store.records import Reported, opened
from flow.store.store import Store
from flow.store.story import story_of

MODES = ("sync", "async", "exit")


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = flow.store.memory() if request.param == "memory" else flow.store.open(tmp_path / "runs.db")
    with made:
        yield made


class Work:
    """A dag whose nodes report, and whose last one fails as long as it is told to."""

    def __init__(self) -> None:
        self.fails = True
        self.seen: list[Any] = []
        body = flow.Dag("body")
        body.add("each", self.each)
        self.dag = flow.Dag("work")
        self.dag.map("items", body, "xs")
        self.dag.map("plain", self.each, "xs")
        self.dag.add("last", self.last)

    def each(self, item: int, ctx: Context) -> int:
        ctx.report("fact", {"item": item})
        return item

    def last(self, items: Any, plain: Any, ctx: Context) -> int:
        ctx.report("fact", {"last": ctx.attempt})
        ctx.report("other", [None, 2**70, 0.5, "\ud800"])
        self.seen = ctx.reported("fact")
        self.whole = ctx.run_reported("fact")
        if self.fails:
            raise ValueError("not yet")
        return 1

    def run(self, store: Store, **how: Any) -> flow.Result:
        return flow.run(self.dag, {"xs": [1, 2]}, store=store, run_id="r", **how)

    def failed(self, store: Store, **how: Any) -> Any:
        with pytest.raises(flow.RunError) as caught:
            self.run(store, **how)
        return caught.value.result


FIRST = [
    ("fact", {"item": 1}, "each", ("items[0]",), None),
    ("fact", {"item": 2}, "each", ("items[1]",), None),
    ("fact", {"item": 1}, "plain", (), 0),
    ("fact", {"item": 2}, "plain", (), 1),
    ("fact", {"last": 1}, "last", (), None),
    ("other", [None, 2**70, 0.5, "\ud800"], "last", (), None),
]


def brief(reports: Any) -> list[tuple[Any, ...]]:
    return [(one.kind, one.value, one.node, one.path, one.index) for one in reports]


@pytest.mark.parametrize("mode", MODES)
def test_they_are_there_when_the_run_goes_on(mode: Any, tmp_path: Path) -> None:
    work = Work()
    with flow.store.open(tmp_path / "runs.db", durability=mode) as store:
        first = work.failed(store)
    assert brief(first.reports) == FIRST
    with flow.store.open(tmp_path / "runs.db", durability=mode) as store:
        attached = work.failed(store)
        assert brief(attached.reports) == FIRST
        assert [one.attempt for one in attached.reports] == [1] * 6
        work.fails = False
        again = work.run(store, on_conflict="retry")
        assert brief(again.reports) == FIRST + FIRST[-2:]
        assert work.seen == [{"last": 1}, {"last": 1}]
        assert work.whole == [one.value for one in first.reports if one.kind == "fact"] + [{"last": 1}]
        assert brief(work.run(store).reports) == FIRST + FIRST[-2:]


def test_a_restart_forgets_them(store: Store) -> None:
    work = Work()
    work.failed(store)
    assert brief(work.failed(store, on_conflict="restart").reports) == FIRST
    assert work.whole == [value for kind, value, *_ in FIRST if kind == "fact"]


def test_a_fork_has_them(store: Store) -> None:
    work = Work()
    work.failed(store)
    store.fork("r", "copy")
    with pytest.raises(flow.RunError) as caught:
        flow.run(work.dag, store=store, run_id="copy")
    assert brief(caught.value.result.reports) == FIRST


def test_the_story_tells_them(store: Store) -> None:
    work = Work()
    work.failed(store)
    story = story_of(store, store.load("r"))
    assert brief(story.reports) == FIRST
    created = store.run("r").created
    assert all(created <= one.at <= created + 60 for one in story.reports)


def test_a_run_without_reports_has_none(store: Store) -> None:
    dag = flow.Dag("plain")
    dag.add("one", lambda: 1)
    assert flow.run(dag, store=store, run_id="r").reports == ()
    assert flow.run(dag, store=store, run_id="r").reports == ()
    stored = store.load("r")
    records = [one for n, data in enumerate(stored.journal, 1) for one in opened("r", n, data, "s").records]
    assert not [one for one in records if isinstance(one, Reported)]
    assert story_of(store, stored).reports == []


def test_the_time_is_that_of_the_reporting(store: Store) -> None:
    dag = flow.Dag("d")
    dag.add("one", lambda ctx: None)

    @dag.node
    def says(ctx: Context) -> float:
        ctx.report("k", 1)
        return flow.clock.SYSTEM_CLOCK.now()

    first = flow.run(dag, {"ctx": 1}, store=store, run_id="r")
    again = flow.run(dag, store=store, run_id="r")
    assert abs(again.reports[0].at - first.reports[0].at) < 1.0  # seconds: two clocks are compared


class Inputs(msgspec.Struct):
    token: Annotated[str, flow.Secret]


def test_secrets_are_not_stored(store: Store) -> None:
    dag = flow.Dag("d", inputs=Inputs)

    @dag.node
    def says(token: str, ctx: Context) -> None:
        ctx.report("k", [f"with {token}"])

    flow.run(dag, {"token": "very-secret"}, store=store, run_id="r")
    stored = store.load("r")
    assert not any(b"very-secret" in data for data in stored.journal)
    assert [one.value for one in story_of(store, stored).reports] == [["with ***"]]


async def test_on_an_event_loop(store: Store, anyio_backend: Any) -> None:
    dag = flow.Dag("d")

    async def says(ctx: Context) -> Any:
        ctx.report("k", ctx.attempt)
        if ctx.attempt == 1:
            raise OSError
        return ctx.reported("k")

    dag.add("says", says, retry=flow.Retry(2, delay=0.0))
    result = await flow.execute(dag, store=store, run_id="r")
    assert result["says"] == [1, 2]
    again = await flow.execute(dag, store=store, run_id="r")
    assert [(one.value, one.attempt) for one in again.reports] == [(1, 1), (2, 2)]


def test_a_run_that_a_node_starts_has_its_part_again(store: Store) -> None:
    body, dag, parts = flow.Dag("body"), flow.Dag("d"), list[Any]()

    @body.node
    def deep(ctx: Context) -> int:
        ctx.report("k", "deep")
        return 1

    @dag.node
    def starts(ctx: Context) -> int:
        ctx.report("k", "before")
        parts.append([one.value for one in ctx.run(body).reports])
        if len(parts) == 1:
            raise OSError
        return 1

    with pytest.raises(flow.RunError):
        flow.run(dag, store=store, run_id="r")
    result = flow.run(dag, store=store, run_id="r", on_conflict="retry")
    assert parts == [["deep"], ["deep"]]  # its node is known then, and is not called
    assert [one.value for one in result.reports] == ["before", "deep", "before"]


def test_many_are_written_behind(store: Store) -> None:
    dag = flow.Dag("d")

    @dag.node
    def says(ctx: Context) -> None:
        for number in range(3_000):
            ctx.report("k", number)

    flow.run(dag, store=store, run_id="r")
    assert [one.value for one in flow.run(dag, store=store, run_id="r").reports] == list(range(3_000))


PROGRAM = """
    import os, sys
    import flow

    dag = flow.Dag("d")

    @dag.node
    def first(ctx: flow.Context) -> int:
        ctx.report("k", "first")
        return 1

    @dag.node
    def second(first: int, ctx: flow.Context) -> list:
        ctx.report("k", "second")
        if len(sys.argv) > 2:
            os._exit(7)
        return ctx.run_reported("k")

    with flow.store.open(sys.argv[1], durability="sync") as store:
        result = flow.run(dag, store=store, run_id="r")
        print(result["second"], [one.value for one in result.reports])
"""


def test_what_is_stored_outlasts_the_process(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM), encoding="utf-8")
    command = [sys.executable, str(program), str(tmp_path / "runs.db")]
    assert subprocess.run([*command, "dies"], check=False).returncode == 7
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    values, reports = done.stdout.strip().split("] [")
    assert values + "]" in ("['first', 'second']", "['first', 'second', 'second']")  # the second may be written by then
    assert reports.startswith("'first', 'second'")


def test_a_broken_store_ends_the_run_all_the_same() -> None:
    class Broken(MemoryBackend):
        def write(self, *arguments: Any, **more: Any) -> None:
            raise flow.errors.StoreError("no room")

    dag = flow.Dag("d")

    @dag.node
    def says(ctx: Context) -> None:
        for number in range(2_000):
            ctx.report("k", number)

    with Store(Broken()) as store, pytest.raises(flow.errors.StoreError, match="no room"):
        flow.run(dag, store=store, run_id="r")
