"""A real Prometheus scrapes runs under load: every panel's and every rule's expression finds data in it."""

from __future__ import annotations

import asyncio
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_cases import Ask, prometheus, unanswered, values_of

import flow
from flow.metrics import Counts, names

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed"),
]


class Load:
    """Runs of every kind, one after the other, and the figures of a service that would serve them."""

    def __init__(self) -> None:
        self.counts = counts = Counts()
        self.flushes = 0
        reads = {names.QUEUE_DEPTH: 3.0, names.QUEUE_LIMIT: 64.0, names.RUNS_LIVE: 2.0, names.LOOP_LAG: 0.001,
                 names.CONNECTIONS: 7.0, names.STREAMS: 1.0}  # fmt: skip
        for metric, value in reads.items():
            counts.gauge(metric.name, metric.help, lambda value=value: value)  # type: ignore[misc]
        for metric in (names.FLUSHES, names.STORE_ERRORS):
            counts.counter(metric.name, metric.help, lambda: self.flushes)
        self.config = flow.Config(observers=(counts.observe,), on_error="collect")
        self.plan = busy().compile()
        counts.expect(self.plan)
        self.ended = threading.Event()
        self.asks = flow.Dag("asks")
        self.asks.signal("approve", timeout=60.0)

    def run(self) -> None:
        """Go on until the end."""
        route = self.counts.route("/api/v1/workflows/{name}/runs", "POST")
        looks = self.counts.route("/api/v1/runs/{id}", "GET")
        waits = threading.Thread(target=self.wait)
        waits.start()
        while not self.ended.is_set():
            result = flow.run(self.plan, {"n": 0}, config=self.config)
            self.counts.ended(result)
            route.done(200, result.wall_time)
            route.done(503, 0.0003)
            looks.done(200, 0.0002)
            self.flushes += 1
            self.ended.wait(0.01)
        waits.join()

    def wait(self) -> None:
        """A run that waits for a signal meanwhile."""

        async def waiting() -> None:
            async with flow.start(self.asks, config=self.config) as run:
                await run.next_waiting()
                await asyncio.to_thread(self.ended.wait)
                run.send("approve", True)
                await run.result()

        asyncio.run(waiting())


def busy() -> flow.Dag:
    inner, dag = flow.Dag("inner"), flow.Dag("outer")
    inner.add("inside", lambda x: x)

    def broken(x: int = 0) -> int:
        raise ValueError(x)

    dag.add("numbers", lambda: [1, 2, 3])
    dag.add("broken", broken, retry=flow.Retry(attempts=2, delay=0.0))
    dag.add("after", lambda broken: broken)
    dag.add("patched", broken, fallback=0)
    dag.map("nested", inner, over="numbers")
    dag.map("found", lambda x: x, over="numbers", concurrency="auto", thread=True)
    dag.add("asks_models", asks_models)
    dag.loop("grown", lambda n: n + 1, carry="n", until=lambda n: n > 2, max_iterations=5)
    return dag


def asks_models(ctx: flow.Context) -> None:
    """Report a request, an answer from a cache, and a request of which nobody knows the cost."""
    usage = {"provider": "openai", "model": "mini", "input_tokens": 90, "output_tokens": 10, "cached_tokens": 30}
    ctx.report("usage", {**usage, "requests": 1, "cost": "0.01", "seconds": 0.3})
    ctx.report("usage", {**usage, "requests": 0, "cost": "0", "cached": True})
    ctx.report("usage", {**usage, "requests": 1, "cost": None, "seconds": 0.2})


@contextmanager
def exposed(counts: Counts) -> Iterator[int]:
    """Serve ``counts`` as /metrics, on a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body, content_type = counts.exposition(self.headers.get("Accept", ""))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_every_expression_finds_data(tmp_path: Path) -> None:
    load = Load()
    worker = threading.Thread(target=load.run)
    worker.start()
    try:
        with exposed(load.counts) as port, prometheus(tmp_path, port) as ask:
            assert not unanswered(ask)
            assert_true_figures(ask)
    finally:
        load.ended.set()
        worker.join()


def assert_true_figures(ask: Ask) -> None:
    """What Prometheus has is what happened."""
    (worst,) = ask("topk(1, sum by (workflow, node) (workflow_node_errors_total and on (node) "
                   'workflow_node_retries_total))')  # fmt: skip
    assert worst["metric"] == {"workflow": "outer", "node": "broken"}
    assert values_of(ask('workflow_nodes_waiting{node="approve"}')) == [1]
    assert values_of(ask('workflow_concurrent_executions{workflow="asks"}')) == [1]
    assert values_of(ask('workflow_runs_waiting{workflow="asks"}')) == [1]
    (share,) = values_of(ask('workflow:failures:ratio5m{workflow="outer"}'))
    assert share == pytest.approx(1.0)
    (items,) = values_of(ask('workflow_node_items_total{node="nested"} / on (workflow) '
                             'workflow_executions_total{workflow="outer", status="failed"}'))  # fmt: skip
    assert items == pytest.approx(3.0, rel=0.2)  # a run may go on while it is scraped
    (price,) = values_of(ask("workflow_ai_cost_usd_total / workflow_ai_unknown_cost_requests_total"))
    assert price == pytest.approx(0.01)
    alerts = {one["metric"]["alertname"] for one in ask("ALERTS")}
    assert {"FlowNodeErrors", "FlowRunsFailing", "FlowApiErrors"} <= alerts
