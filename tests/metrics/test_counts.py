"""What is counted of runs is what their events say, whatever happened in them."""

from __future__ import annotations

import gc
import threading
import weakref
from collections import Counter
from typing import Any

import pytest

import flow
from flow.metrics import Counts, names
from flow.metrics.snapshot import Snapshot
from flow.run.events import ItemFailed, ItemFinished, NodeFailed, NodeFinished, RunFinished, RunStarted
from flow.testing import FakeClock


def metrics_of(counts: Counts) -> dict[str, dict[tuple[str, ...], Any]]:
    """Everything that differs from zero, by name."""
    found: Snapshot = counts.snapshot()
    values = {m.name: {k: v for k, v in by.items() if v} for m, by in found.values.items()}
    return values | {m.name: {k: v for k, v in by.items() if sum(v)} for m, by in found.rows.items()}


def told(events: list[Any]) -> dict[str, Counter[tuple[str, ...]]]:
    """The same, by looking at every event by itself."""
    dag = {e.run_id: e.dag for e in events if isinstance(e, RunStarted)}
    totals: dict[str, Counter[tuple[str, ...]]] = {
        name: Counter() for name in ("executions", "errors", "retries", "fallbacks", "items", "rounds", "nodes")
    }
    endings = {
        "NodeFinished": "completed", "NodeFailed": "failed", "NodeSkipped": "skipped", "NodeBypassed": "bypassed",
        "NodeCancelled": "cancelled",
    }  # fmt: skip
    for e in events:
        kind, key = type(e).__name__, (dag[e.run_id], getattr(e, "node", ""))
        if kind in endings:
            totals["nodes"][(*key, endings[kind])] += 1
        if kind in ("NodeFailed", "NodeFallback"):
            totals["errors"][key] += 1
        if kind in ("NodeRetried", "ItemRetried"):
            totals["retries"][key] += 1
        if kind in ("NodeFallback", "ItemFallback"):
            totals["fallbacks"][key] += 1
        if isinstance(e, (ItemFinished, ItemFailed)):
            totals["items"][(*key, "completed" if isinstance(e, ItemFinished) else "failed")] += 1
        if kind == "RoundFinished":
            totals["rounds"][key] += 1
        if isinstance(e, RunFinished):
            status = "completed" if e.ok else "failed" if e.counts.get("failed") else "cancelled"
            totals["executions"][(e.dag, status)] += 1
    return totals


def busy(clock: FakeClock) -> flow.Dag:
    """Nodes that end in time, late, at the third try, failed, replaced, skipped, bypassed; maps, a loop."""
    inner = flow.Dag("inner")
    inner.add("inside", lambda x: clock.sleep(0.002) or x)
    step = flow.Dag("step")
    step.add("grow", lambda n: n + 1)
    dag = flow.Dag("outer")
    tries = Counter[str]()

    def flaky() -> int:
        tries["flaky"] += 1
        if tries["flaky"] < 3:
            raise ValueError("again")
        return 1

    def item(x: int) -> int:
        if x == 3:
            raise ValueError(x)
        return x

    def broken() -> int:
        clock.sleep(7)
        raise ValueError("broken")

    dag.add("slow", lambda: clock.sleep(40))
    dag.add("flaky", flaky, retry=flow.Retry(attempts=3, delay=0.1))
    dag.add("broken", broken)
    dag.add("after", lambda broken: broken)
    dag.add("patched", broken, fallback=0)
    dag.add("numbers", lambda: [1, 2, 3, 4])
    dag.map("each", item, over="numbers", on_error="collect")
    dag.map("spare", item, over="numbers", fallback=0, retry=flow.Retry(attempts=2))
    dag.map("nested", inner, over="numbers")
    dag.add("left", lambda: 1, when=lambda numbers: not numbers)
    dag.loop("grown", step, carry={"n": "grow"}, until=lambda grow: grow > 3, max_iterations=9)
    return dag


def run_busy(*observers: Any, on_loop: bool = False) -> None:
    clock = FakeClock()
    mode: Any = "tasks" if on_loop else "auto"
    config = flow.Config(observers=observers, on_error="collect", clock=clock, mode=mode)
    flow.run(busy(clock), {"n": 0}, config=config)


@pytest.mark.parametrize("on_loop", [False, True])
def test_counts_are_those_of_the_events(on_loop: bool) -> None:
    counts, events = Counts(), list[Any]()
    for _ in range(3):
        run_busy(counts.observe, events.append, on_loop=on_loop)
    seen, expected = metrics_of(counts), told(events)
    assert seen["workflow_executions_total"] == expected["executions"]
    assert seen["workflow_node_executions_total"] == expected["nodes"]
    assert seen["workflow_node_errors_total"] == expected["errors"]
    assert seen["workflow_node_retries_total"] == expected["retries"]
    assert seen["workflow_node_fallbacks_total"] == expected["fallbacks"]
    assert seen["workflow_node_items_total"] == expected["items"]
    assert seen["workflow_node_rounds_total"] == expected["rounds"]
    assert all(expected.values())  # something of every kind has happened
    assert seen["workflow_executions_total"]["inner", "completed"] == 12  # a run per item, by its own name
    assert seen["workflow_executions_total"]["step", "completed"] == 12  # and per round
    assert not seen["workflow_concurrent_executions"]


def test_durations_fall_into_their_buckets() -> None:
    counts, events = Counts(), list[Any]()
    run_busy(counts.observe, events.append)
    seen = metrics_of(counts)["workflow_node_execution_duration_seconds"]
    dag = {e.run_id: e.dag for e in events if isinstance(e, RunStarted)}
    finished = [e for e in events if isinstance(e, NodeFinished)]
    assert set(seen) == {(dag[e.run_id], e.node) for e in finished}
    for key, (*buckets, total) in seen.items():
        durations = [e.duration for e in finished if (dag[e.run_id], e.node) == key]
        bounds = [0.0, *names.RUN_BOUNDS, float("inf")]
        expected = [
            sum(low < d <= high or low == d == 0.0 for d in durations)
            for low, high in zip(bounds, bounds[1:], strict=False)
        ]
        assert buckets == expected
        assert total == pytest.approx(sum(durations))
    assert seen["outer", "slow"][names.RUN_BOUNDS.index(60.0)] == 1
    assert seen["inner", "inside"][names.RUN_BOUNDS.index(0.0025)] == 4
    runs = metrics_of(counts)["workflow_execution_duration_seconds"]
    walls = [e.wall_time for e in events if isinstance(e, RunFinished) and e.dag == "outer"]
    assert runs["outer",][-1] == pytest.approx(sum(walls))


def test_a_bound_belongs_to_its_bucket() -> None:
    counts = Counts()
    counts.observe(RunStarted("r", "a", 1, 0.0))
    for bound in names.RUN_BOUNDS:
        counts.observe(NodeFinished("r", "n", 1, bound, 0.0))
    counts.observe(NodeFinished("r", "n", 1, 301.0, 0.0))
    (row,) = metrics_of(counts)["workflow_node_execution_duration_seconds"].values()
    assert row[:-1] == [1] * (len(names.RUN_BOUNDS) + 1)


def test_runs_that_end_early() -> None:
    counts = Counts()
    clock = FakeClock()
    dag = flow.Dag("early")
    dag.add("a", lambda: clock.sleep(5))
    dag.add("b", lambda a: 1)
    with pytest.raises(flow.RunError):
        flow.run(dag, config=flow.Config(observers=(counts.observe,), timeout=1.0, clock=clock))
    seen = metrics_of(counts)
    assert seen["workflow_executions_total"] == {("early", "cancelled"): 1}
    assert seen["workflow_node_executions_total"]["early", "b", "cancelled"] == 1


async def waited(counts: Counts) -> list[Any]:
    dag = flow.Dag("asks")
    dag.signal("approve")
    seen = []
    async with flow.start(dag, config=flow.Config(observers=(counts.observe,))) as run:
        await run.next_waiting()
        seen.append(metrics_of(counts))
        run.send("approve", True)
        await run.result()
    return [*seen, metrics_of(counts)]


@pytest.mark.anyio
async def test_nodes_that_wait() -> None:
    counts = Counts()
    during, after = await waited(counts)
    assert during["workflow_nodes_waiting"] == {("asks", "approve"): 1}
    assert during["workflow_runs_waiting"] == {("asks",): 1}
    assert during["workflow_concurrent_executions"] == {("asks",): 1}
    assert not after["workflow_nodes_waiting"]
    assert not after["workflow_runs_waiting"]
    assert counts.snapshot().values[names.NODES_WAITING] == {("asks", "approve"): 0}  # its series stays
    assert after["workflow_node_executions_total"] == {("asks", "approve", "completed"): 1}


def test_a_signal_that_times_out_waits_no_more() -> None:
    counts = Counts()
    dag = flow.Dag("asks")
    dag.signal("approve", timeout=0.01)
    with pytest.raises(flow.RunError):
        flow.run(dag, config=flow.Config(observers=(counts.observe,)))
    seen = metrics_of(counts)
    assert not seen["workflow_nodes_waiting"]
    assert seen["workflow_node_errors_total"] == {("asks", "approve"): 1}


def test_limits_that_were_found_come_from_the_result() -> None:
    counts = Counts()
    dag = flow.Dag("maps")
    dag.add("numbers", lambda: list(range(20)))
    dag.map("each", lambda x: x, over="numbers", concurrency="auto", thread=True)
    result = flow.run(dag, config=flow.Config(observers=(counts.observe,)))
    counts.ended(result)
    assert result.limits
    assert metrics_of(counts)["workflow_adaptive_limit"] == {("maps", "each"): result.limits["each"].limit}


def test_no_count_is_lost_among_threads() -> None:
    counts, runs, width, threads = Counts(), 60, 40, 8
    plans = []
    for name in ("one", "two"):
        dag = flow.Dag(name)
        for k in range(width):
            dag.add(f"n{k}", lambda: 1)
        plans.append(dag.compile())
    together, ended = threading.Barrier(threads + 1), threading.Event()

    def drive(k: int) -> None:
        route = counts.route("/runs", "POST")
        together.wait()
        for _ in range(runs):
            flow.run(plans[k % 2], config=flow.Config(observers=(counts.observe,)))
            for _ in range(width):
                route.done(200, 0.001)

    def scrape() -> None:
        together.wait()
        while not ended.is_set():
            counts.snapshot()

    workers = [threading.Thread(target=drive, args=(k,)) for k in range(threads)]
    reader = threading.Thread(target=scrape)
    for worker in (*workers, reader):
        worker.start()
    for worker in workers:
        worker.join()
    ended.set()
    reader.join()
    seen, total = metrics_of(counts), threads * runs
    assert seen["workflow_executions_total"] == {("one", "completed"): total / 2, ("two", "completed"): total / 2}
    nodes = seen["workflow_node_executions_total"]
    assert len(nodes) == 2 * width
    assert set(nodes.values()) == {total / 2}
    assert seen["workflow_api_requests_total"] == {("/runs", "POST", "200"): total * width}
    assert sum(seen["workflow_api_request_duration_seconds"]["/runs",][:-1]) == total * width


def test_errors_are_not_held() -> None:
    counts = Counts()

    class Large(Exception):
        pass

    seen: list[weakref.ref[Large]] = []

    def fails() -> None:
        error = Large()
        seen.append(weakref.ref(error))
        raise error

    dag = flow.Dag("held")
    dag.add("fails", fails, fallback=1)
    flow.run(dag, config=flow.Config(observers=(counts.observe,)))
    gc.collect()
    assert seen[0]() is None
    assert metrics_of(counts)["workflow_node_errors_total"] == {("held", "fails"): 1}


def test_few_events_are_kept() -> None:
    counts = Counts()
    counts.observe(RunStarted("r", "long", 1, 0.0))
    for _ in range(10_000):
        counts.observe(NodeFinished("r", "n", 1, 0.1, 0.0))
    assert len(counts._came) < 1_000


def test_two_runs_of_one_id_are_both_counted_to_their_ends() -> None:
    counts = Counts()
    for event in (
        RunStarted("r", "a", 1, 0.0), RunStarted("r", "a", 1, 0.0), RunFinished("r", "a", True, {}, 1.0, 1.0),
        NodeFinished("r", "n", 1, 0.1, 0.0), RunFinished("r", "a", True, {}, 1.0, 1.0),
        NodeFinished("r", "n", 1, 0.1, 0.0), NodeFailed("r", "n", 1, ValueError(), 0.0),  # of a call left behind
    ):  # fmt: skip
        counts.observe(event)
    seen = metrics_of(counts)
    assert seen["workflow_node_executions_total"] == {("a", "n", "completed"): 1}
    assert not counts._runs
    assert not counts._shared
