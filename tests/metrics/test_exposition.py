"""The text of /metrics: the names of the issue, types and labels; the observer in a registry; what a service adds."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import prometheus_client
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

import flow
from flow.metrics import Counts, names, observer
from flow.metrics.exposing import CountsCollector

EXPECTED: Mapping[str, tuple[str, set[str]]] = {
    "workflow_api_requests_total": ("counter", {"route", "method", "status"}),
    "workflow_api_request_duration_seconds": ("histogram", {"route"}),
    "workflow_api_active_connections": ("gauge", set()),
    "workflow_node_execution_duration_seconds": ("histogram", {"workflow", "node"}),
    "workflow_node_executions_total": ("counter", {"workflow", "node", "status"}),
    "workflow_node_errors_total": ("counter", {"workflow", "node"}),
    "workflow_executions_total": ("counter", {"workflow", "status"}),
    "workflow_execution_duration_seconds": ("histogram", {"workflow"}),
    "workflow_concurrent_executions": ("gauge", {"workflow"}),
    "workflow_node_retries_total": ("counter", {"workflow", "node"}),
    "workflow_node_fallbacks_total": ("counter", {"workflow", "node"}),
    "workflow_node_items_total": ("counter", {"workflow", "node", "status"}),
    "workflow_queue_depth": ("gauge", set()),
    "workflow_runs_waiting": ("gauge", {"workflow"}),
    "workflow_event_loop_lag_seconds": ("gauge", set()),
    "workflow_store_flushes_total": ("counter", set()),
    "workflow_ai_requests_total": ("counter", {"workflow", "provider", "model"}),
    "workflow_ai_request_duration_seconds": ("histogram", {"workflow", "provider", "model"}),
    "workflow_ai_tokens_total": ("counter", {"workflow", "provider", "model", "kind"}),
    "workflow_ai_cost_usd_total": ("counter", {"workflow", "provider", "model"}),
    "workflow_ai_unknown_cost_requests_total": ("counter", {"workflow", "provider", "model"}),
    "workflow_ai_cache_hits_total": ("counter", {"workflow", "provider", "model"}),
}


def served() -> Counts:
    """Counts in which there is something of everything."""
    counts = Counts()
    for metric in names.OF_SERVICE:
        add: Any = counts.counter if metric.kind == "counter" else counts.gauge
        add(metric.name, metric.help, lambda: 3)
    counts.route("/runs/{id}", "GET").done(404, 0.0004)
    dag = flow.Dag("report")
    dag.add("total", lambda: 1 / 0, fallback=1, retry=flow.Retry(attempts=2, delay=0.0))
    dag.map("each", lambda x: x, over="xs")
    usage = {"provider": "openai", "model": 'the "mini"', "requests": 1, "cost": "0.1", "seconds": 0.4}

    @dag.node
    def ask(ctx: flow.Context) -> None:
        ctx.report("usage", usage)

    flow.run(dag, {"xs": [1, 2]}, config=flow.Config(observers=(counts.observe,)))
    return counts


@pytest.mark.parametrize(
    ("accept", "parse"),
    [("", plain), ("text/plain", plain), ("application/openmetrics-text; version=1.0.0", open_metrics)],
)
def test_the_text_parses_and_has_the_names_types_and_labels(accept: str, parse: Any) -> None:
    body, content_type = served().exposition(accept)
    assert content_type.startswith("application/openmetrics-text" if parse is open_metrics else "text/plain")
    families = {family.name: family for family in parse(body.decode())}
    for name, (kind, labels) in EXPECTED.items():
        family = families[name.removesuffix("_total")]
        assert family.type == kind
        assert family.documentation
        assert family.samples
        for sample in family.samples:
            assert set(sample.labels) - {"le"} == labels
    node = families["workflow_node_errors"].samples
    assert {sample.labels["node"]: sample.value for sample in node} == {"total": 1, "each": 0, "ask": 0}
    assert node[0].labels["workflow"] == "report"
    assert "process_resident_memory_bytes" in families or sys.platform != "linux"


@pytest.mark.parametrize(
    ("accept", "parse"), [("", plain), ("application/openmetrics-text; version=1.0.0", open_metrics)]
)
def test_our_text_says_what_prometheus_client_writes(accept: str, parse: Any) -> None:
    counts = served()
    counts.gauge("odd", 'With "quotes",\\ and\na line.', lambda: float("inf"))
    counts.route('/"a"\\b\n', "GET").done(200, 0.1)
    registry = prometheus_client.CollectorRegistry()
    registry.register(CountsCollector(counts))
    write, _ = prometheus_client.exposition.choose_encoder(accept)

    def plainly(sample: Any) -> tuple[str, list[tuple[str, str]], float]:
        return sample.name, sorted(sample.labels.items()), float(sample.value)

    def families(text: bytes) -> dict[str, Any]:
        return {
            family.name: (family.type, family.documentation, sorted(map(plainly, family.samples)))
            for family in parse(text.decode())
            if not family.name.startswith(("process_", "python_"))
        }

    ours = families(counts.exposition(accept)[0])
    assert ours == families(write(registry))
    assert ours["odd"][1] == 'With "quotes",\\ and\na line.'


def test_no_label_is_an_id() -> None:
    counts = Counts()
    dag = flow.Dag("named")
    dag.add("node", lambda: 1)
    for k in range(3):
        flow.run(dag, config=flow.Config(observers=(counts.observe,)), run_id=f"secret-{k}")
    assert b"secret" not in counts.exposition()[0]


def test_histograms_add_up() -> None:
    body, _ = served().exposition()
    for family in plain(body.decode()):
        if family.type != "histogram":
            continue
        by_labels: dict[str, list[Any]] = {}
        for sample in family.samples:
            key = str(sorted((k, v) for k, v in sample.labels.items() if k != "le"))
            by_labels.setdefault(key, []).append(sample)
        for samples in by_labels.values():
            buckets = [one.value for one in samples if one.name.endswith("_bucket")]
            (number,) = (one.value for one in samples if one.name.endswith("_count"))
            assert buckets == sorted(buckets)
            assert buckets[-1] == number
            bounds = [one.labels["le"] for one in samples if one.name.endswith("_bucket")]
            ends = {names.REQUEST_SECONDS.name: ("0.00025", "10.0"), names.MODEL_SECONDS.name: ("0.05", "300.0")}
            assert (bounds[0], bounds[-2]) == ends.get(family.name, ("0.0001", "300.0"))


def test_the_observer_of_a_registry() -> None:
    registry = prometheus_client.CollectorRegistry()
    counting = observer(registry)
    assert observer(registry) is counting
    assert observer(prometheus_client.CollectorRegistry()) is not counting
    dag = flow.Dag("own")
    dag.add("node", lambda: 1)
    flow.run(dag, config=flow.Config(observers=(counting,)))
    value = registry.get_sample_value("workflow_executions_total", {"workflow": "own", "status": "completed"})
    assert value == 1
    assert observer() is observer(prometheus_client.REGISTRY)


def test_a_registry_that_has_such_metrics_is_refused() -> None:
    registry = prometheus_client.CollectorRegistry()
    prometheus_client.Counter("workflow_executions", "Another's.", registry=registry)
    with pytest.raises(flow.UsageError, match="has such metrics already"):
        observer(registry)
    with pytest.raises(flow.UsageError, match="CollectorRegistry, not 'REGISTRY'"):
        observer("REGISTRY")  # type: ignore[arg-type]


def test_requests_and_what_is_read_at_each_scrape() -> None:
    counts, value = Counts(), [1.0]
    counts.gauge("queue_depth", "Runs.", lambda: value[0])
    counts.counter("flushes_total", "Flushes.", lambda: 5)
    route = counts.route("/runs", "POST")
    assert counts.route("/runs", "POST") is route
    counts.active += 2
    for status, seconds in ((200, 0.00025), (200, 0.3), (422, 99.0)):
        route.done(status, seconds)
    counts.route("/runs", "GET").done(200, 0.3)
    registry = prometheus_client.CollectorRegistry()
    registry.register(CountsCollector(counts))
    read = registry.get_sample_value
    assert read("queue_depth") == 1
    value[0] = 4.0
    assert read("queue_depth") == 4
    assert read("flushes_total") == 5
    assert read("workflow_api_active_requests") == 2
    assert read("workflow_api_requests_total", {"route": "/runs", "method": "POST", "status": "200"}) == 2
    assert read("workflow_api_requests_total", {"route": "/runs", "method": "POST", "status": "422"}) == 1
    bucket = "workflow_api_request_duration_seconds_bucket"
    assert [read(bucket, {"route": "/runs", "le": le}) for le in ("0.00025", "0.5", "10.0", "+Inf")] == [1, 3, 3, 4]


def test_a_reading_that_raises_takes_nothing_else_along(caplog: pytest.LogCaptureFixture) -> None:
    counts = Counts()
    counts.gauge("broken", "Raises.", lambda: 1 / 0)
    counts.gauge("sound", "Does not.", lambda: 1)
    body, _ = counts.exposition()
    assert b"sound 1.0" in body
    assert b"broken" not in body
    assert "what is read for the metric broken raised" in caplog.text


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("two words", "is no name of a metric"), ("9lives", "is no name of a metric"), ("", "is no name of a metric"),
        ("workflow_executions_total", "is there already"), ("workflow_concurrent_executions", "is there already"),
        ("taken", "is there already"),
    ],
)  # fmt: skip
def test_names_of_readings_are_checked(name: str, message: str) -> None:
    counts = Counts()
    counts.gauge("taken", "", lambda: 1)
    with pytest.raises(flow.UsageError, match=re.escape(message)):
        counts.gauge(name, "", lambda: 1)
    with pytest.raises(flow.UsageError, match="ends with _total"):
        counts.counter("flushes", "", lambda: 1)


WITHOUT = """
import sys
sys.modules["prometheus_client"] = None
import flow
assert not any(name.startswith("flow.metrics") for name in sys.modules)
counts = flow.metrics.Counts() if hasattr(flow, "metrics") else __import__("flow.metrics").metrics.Counts()
dag = flow.Dag("d")
dag.add("n", lambda: 1)
flow.run(dag, config=flow.Config(observers=(counts.observe,)))
from flow.metrics import names
assert counts.snapshot().values[names.RUNS]["d", "completed"] == 1
for call in (counts.exposition, lambda: __import__("flow.metrics").metrics.observer()):
    try:
        call()
    except flow.UsageError as error:
        assert str(error) == "metrics need prometheus_client: pip install 'flow-dag[metrics]'", error
    else:
        raise AssertionError
"""


def test_without_prometheus_client() -> None:
    subprocess.run([sys.executable, "-c", WITHOUT], check=True)
