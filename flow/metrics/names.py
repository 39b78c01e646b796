"""The metrics that there are: names, kinds, labels, what they say. The dashboard and the rules use these names."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["counter", "gauge", "histogram"]

RUN_BOUNDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    300.0,
)  # fmt: skip
"""Upper bounds of the buckets of nodes and runs, in seconds."""

API_BOUNDS: Final = (
    0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
"""Upper bounds of the buckets of requests, in seconds."""

MODEL_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the buckets of requests to models, in seconds."""

OTHER: Final = "other"
"""The label of what has come after there were as many series as there may be."""


class Metric(msgspec.Struct, frozen=True):
    """One metric. ``name`` is the full name: that of a counter ends with ``_total``. ``bounds``: of a histogram."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    bounds: tuple[float, ...] = RUN_BOUNDS


NODE: Final = ("workflow", "node")

REQUESTS: Final = Metric(
    "workflow_api_requests_total", "counter", ("route", "method", "status"), "Requests that have been answered."
)
REQUEST_SECONDS: Final = Metric(
    "workflow_api_request_duration_seconds", "histogram", ("route",),
    "Seconds from a request to its answer.", API_BOUNDS,
)  # fmt: skip
REQUESTS_ACTIVE: Final = Metric("workflow_api_active_requests", "gauge", (), "Requests that are being answered.")

RUNS: Final = Metric(
    "workflow_executions_total", "counter", ("workflow", "status"),
    "Runs that have ended: completed, failed, cancelled, or waiting (for a signal, to be gone on with later).",
)  # fmt: skip
RUN_SECONDS: Final = Metric(
    "workflow_execution_duration_seconds", "histogram", ("workflow",), "Seconds that runs took, however they ended."
)
RUNS_NOW: Final = Metric("workflow_concurrent_executions", "gauge", ("workflow",), "Runs that go on.")

NODES: Final = Metric(
    "workflow_node_executions_total", "counter", (*NODE, "status"),
    "Nodes that have ended: completed, failed, skipped, bypassed or cancelled.",
)  # fmt: skip
NODE_SECONDS: Final = Metric(
    "workflow_node_execution_duration_seconds", "histogram", NODE,
    "Seconds of the last attempt of nodes that have completed, or of their waiting.",
)  # fmt: skip
NODE_ERRORS: Final = Metric(
    "workflow_node_errors_total", "counter", NODE, "Nodes whose last attempt failed, those with a fallback included."
)
NODE_RETRIES: Final = Metric(
    "workflow_node_retries_total", "counter", NODE, "Attempts of nodes and of items of maps that are tried again."
)
NODE_FALLBACKS: Final = Metric(
    "workflow_node_fallbacks_total", "counter", NODE, "Fallbacks that stand in for a node or an item of a map."
)
NODE_ITEMS: Final = Metric(
    "workflow_node_items_total", "counter", (*NODE, "status"), "Items of maps that have ended: completed or failed."
)
NODE_ROUNDS: Final = Metric("workflow_node_rounds_total", "counter", NODE, "Rounds of loops that have completed.")
RUNS_WAITING: Final = Metric(
    "workflow_runs_waiting", "gauge", ("workflow",), "Runs going on in which a node waits for a signal or a time."
)
NODES_WAITING: Final = Metric("workflow_nodes_waiting", "gauge", NODE, "Nodes that wait for a signal or a time.")
LIMITS: Final = Metric(
    "workflow_adaptive_limit", "gauge", NODE,
    'The limit that limit="auto" has found: of the map that the node is, or of all nodes (node="").',
)  # fmt: skip
SERIES: Final = Metric(
    "workflow_metrics_series", "gauge", (), 'Time series of workflows and nodes; over the bound they are "other".'
)

MODEL: Final = ("workflow", "provider", "model")

MODEL_REQUESTS: Final = Metric(
    "workflow_ai_requests_total", "counter", MODEL, "Requests to language models, those that were tried again included."
)
MODEL_SECONDS: Final = Metric(
    "workflow_ai_request_duration_seconds", "histogram", MODEL, "Seconds of a request to a language model.",
    MODEL_BOUNDS,
)  # fmt: skip
MODEL_TOKENS: Final = Metric(
    "workflow_ai_tokens_total", "counter", (*MODEL, "kind"),
    "Tokens: input (cached is a part of it), output (reasoning is a part of it).",
)  # fmt: skip
MODEL_COST: Final = Metric("workflow_ai_cost_usd_total", "counter", MODEL, "USD, of the requests whose cost is known.")
MODEL_UNKNOWN: Final = Metric(
    "workflow_ai_unknown_cost_requests_total", "counter", MODEL, "Requests whose cost is not known."
)
MODEL_HITS: Final = Metric(
    "workflow_ai_cache_hits_total", "counter", MODEL, "Answers that came from a cache, without a request."
)

COUNTED: Final = (
    RUNS, RUN_SECONDS, RUNS_NOW, NODES, NODE_SECONDS, NODE_ERRORS, NODE_RETRIES, NODE_FALLBACKS, NODE_ITEMS,
    NODE_ROUNDS, RUNS_WAITING, NODES_WAITING, LIMITS, SERIES, REQUESTS, REQUEST_SECONDS, REQUESTS_ACTIVE,
    MODEL_REQUESTS, MODEL_SECONDS, MODEL_TOKENS, MODEL_COST, MODEL_UNKNOWN, MODEL_HITS,
)  # fmt: skip
"""What :class:`flow.metrics.Counts` counts by itself."""

CONNECTIONS: Final = Metric("workflow_api_active_connections", "gauge", (), "Connections that are open.")
STREAMS: Final = Metric("workflow_api_streams", "gauge", (), "Streams of events that are open.")
QUEUE_DEPTH: Final = Metric("workflow_queue_depth", "gauge", (), "Runs that are accepted and have not begun.")
QUEUE_LIMIT: Final = Metric("workflow_queue_limit", "gauge", (), "Most runs that may be queued.")
RUNS_LIVE: Final = Metric(
    "workflow_runs_live", "gauge", (), "Runs that are accepted and have not ended, those that wait included."
)
LOOP_LAG: Final = Metric(
    "workflow_event_loop_lag_seconds", "gauge", (), "Seconds by which the event loop was late, the most of late."
)
FLUSHES: Final = Metric("workflow_store_flushes_total", "counter", (), "Transactions that have written to the store.")
STORE_ERRORS: Final = Metric("workflow_store_errors_total", "counter", (), "Times that the store could not be used.")

OF_SERVICE: Final = (CONNECTIONS, STREAMS, QUEUE_DEPTH, QUEUE_LIMIT, RUNS_LIVE, LOOP_LAG, FLUSHES, STORE_ERRORS)
"""What a service reads at scrape: it hands them to :meth:`Counts.gauge` and :meth:`Counts.counter`."""
