"""The tables of AI Workflow Engine (Rust)."""

from __future__ import annotations

from flow_bench.originals.table import Original, Ours, Source, Table

NO_API = "it comes with an HTTP interface, which flow does not have yet"
NO_AI = "it comes with AI nodes, which flow does not have yet"
ASKED = "asked for, no figure printed"


def _node(only: str, label: str, times: int = 1, section: str = "node") -> Ours:
    return Ours("node", only, section, label, times=times)


def _rate(label: str) -> Ours:
    return Ours("workflow", "rate", "rate", label)


def _live(label: str, count: int) -> Ours:
    return Ours("workflow", "live", "live", label, nodes=count)


COMPUTE = _node("kinds", "sync compute: a hundred squares")
ASYNC = _node("kinds", "async, one turn of the loop")
WAITS = _node("kinds", "I/O: waits 1 ms")
JSON = _node("kinds", "JSON transform, 1 KB through msgspec")
ROUTER = _node("patterns", "routing: choice, 3 branches (2 decline), join", times=5)
PARALLEL = _node("patterns", "parallel of 4: start, 4 that wait a turn, sum", times=6)
WAITING = _node("speed_up", "4 nodes that wait 1 ms, at once", section="parallel")
THREADS = _node("speed_up", "4 nodes that compute, at once in threads", section="parallel")
ALIVE = _rate("1,000 workflows alive at once: resident")


def _error(label: str) -> Ours:
    return _node("error_handling", label, section="error handling")


def _recovery(label: str) -> Ours:
    return Ours("workflow", "recovery", "recovery", label)


def _memory(what: str) -> dict[str, Ours]:
    return {name: _rate(f"{what}: {name}") for name in ("baseline", "peak", "growth")}


TARGETS = Table(
    "Targets",
    (
        Original("requests", "15,000+ requests/s", NO_API),
        Original(
            "nodes", "sub-millisecond", {"compute": COMPUTE, "async": ASYNC, "JSON": JSON, "router": ROUTER},
            "There: not said of which nodes. Here: the median, with the share of single calls below 1 ms in a column "
            "of its own; a node that waits takes as long as it waits.",
        ),
        Original(
            "concurrent workflows", "1,000+",
            {"resident memory": ALIVE, "throughput": _live("throughput, flow.execute", 1_000),
             "P99 completion": _live("P99 completion, flow.execute", 1_000)},
            "Here: 1,000 workflows of ten nodes, on one event loop; for the memory all are held in their sixth node, "
            "and counted there.",
        ),
        Original(
            "memory", "under 100 MB baseline", _rate("idle: baseline"),
            "There: a server. Here: a process that has imported flow and run one workflow; no server.",
        ),
    ),
    "What the original wants to reach.",
)  # fmt: skip

NODES = Table(
    "Nodes",
    (
        Original(
            "simple compute", "mean 0.082 ms, P95 0.124, P99 0.189, below 1 ms: yes", COMPUTE,
            "There: what is computed is not said. Here: a run of one node that adds up a hundred squares.",
        ),
        Original(
            "JSON transform", "mean 0.234 ms, P95 0.412, P99 0.687, below 1 ms: yes", JSON,
            "There: the document is not said. Here: 1 KB decoded and validated, a sum, and encoded again.",
        ),
        Original(
            "router", "mean 0.156 ms, P95 0.289, P99 0.445, below 1 ms: yes", ROUTER,
            "There: one node. Here: a whole run of five: the choice, three branches that look at it, and a join.",
        ),
        Original(
            "parallel (4 nodes)", "mean 0.678 ms, P95 0.987, P99 1.234, below 1 ms: yes",
            {"that wait a turn": PARALLEL, "that wait 1 ms": WAITING, "that compute, in threads": THREADS},
            "There: what the four do is not said, and the P99 is above the millisecond that the row claims. Here: a "
            "start, four nodes and a sum (six nodes) whose four let the loop turn once; four that wait 1 ms, which "
            "cannot take less; and four that compute, where the GIL lets one run at a time.",
        ),
    ),
    "There: on 10 cores. Here: Python, on as many cores as the machine has; one thread unless the row says threads. "
    "The median is shown; mean, P95, P99 and the share of calls below 1 ms stand in the same row.",
)  # fmt: skip

MEMORY = Table(
    "Memory",
    (
        Original("idle", "baseline 45 MB, peak 45 MB, growth 0 MB/hour", _memory("idle")),
        Original("100 workflows/s", "baseline 78 MB, peak 124 MB, growth 2.3 MB/hour", _memory("100 workflows/s")),
        Original("1,000 workflows/s", "baseline 156 MB, peak 289 MB, growth 8.7 MB/hour", _memory("1,000 workflows/s")),
    ),
    "There: a server; its workflows, and how long it was watched, are not said. Here: a new process for each rate, "
    "without a server; workflows of five nodes that wait 10 ms and of which a tenth fails, begun on schedule. The "
    "growth by the hour is extrapolated from three minutes, and what is resident is a high-water mark: one pause of a "
    "busy machine, after which the due workflows are alive at once, can make it tens of MB/hour. Whether workflows "
    "leave anything behind is told by the blocks. A quick run has no growth, and a rate not reached no figures.",
)

REQUESTS = Table(
    "API throughput",
    (
        Original("small payload (256 B)", "18,432 requests/s, P50 4.2 ms, P95 8.7, P99 12.3", NO_API),
        Original("medium (1 KB)", "15,678 requests/s, P50 5.1 ms, P95 10.2, P99 15.6", NO_API),
        Original("large (4 KB)", "12,345 requests/s, P50 6.8 ms, P95 13.4, P99 19.8", NO_API),
        Original("no keep-alive", "8,765 requests/s, P50 10.2 ms, P95 18.9, P99 28.4", NO_API),
    ),
)

METRICS = Table(
    "Metrics asked of each suite",
    (
        Original("API: requests/s, P50, P95, P99", ASKED, NO_API),
        Original("API: connection pool efficiency", ASKED, NO_API),
        Original("API: limiter overhead", ASKED, NO_API),
        Original(
            "nodes: time per type", ASKED,
            {"compute": COMPUTE, "I/O": WAITS, "JSON": JSON, "router": ROUTER, "parallel": PARALLEL, "async": ASYNC},
            "Each beside the same functions called by hand. The I/O waits 1 ms.",
        ),
        Original(
            "nodes: allocation patterns", ASKED, {"compute": COMPUTE, "async": ASYNC, "JSON": JSON},
            "Here: the bytes and blocks of one operation, which stand in each row.",
        ),
        Original(
            "nodes: parallel speed-up", ASKED, {"that wait": WAITING, "that compute, in threads": THREADS},
            "Here: the row's speed_up over the same four nodes one after another. At most 4; about 1 or less for what "
            "computes under the GIL.",
        ),
        Original(
            "nodes: error handling overhead", ASKED,
            {"not needed": _error("returns; retry= and fallback= are not needed"),
             "retry": _error("raises, then returns: retry"), "fallback": _error("raises: fallback"),
             "collected": _error("raises: collected"), "raised": _error("raises: RunError")},
            "Here: the row's overhead, in us, over a node that returns and has no policy.",
        ),
        Original(
            "workflows: end-to-end latency", ASKED,
            {"3 nodes": Ours("workflow", "linear", "linear", "3 sync nodes"),
             "13 nodes, map of 20": Ours("workflow", "complex", "complex", "routing, 4 parallel, map of 20: sync")},
        ),
        Original(
            "workflows: concurrent throughput", ASKED,
            {f"{count:,} at once": _live("throughput, flow.execute", count) for count in (10, 100, 1_000, 10_000)},
            "Here: workflows of ten nodes that wait 1 ms each.",
        ),
        Original("workflows: AI overhead", ASKED, NO_AI),
        Original(
            "workflows: error recovery time", ASKED,
            {"retry": _recovery("retry, async"), "fallback": _recovery("fallback, async"),
             "retry, 100 at once": _recovery("retry, async, 100 at once"),
             "fallback, 100 at once": _recovery("fallback, async, 100 at once")},
            "Here: from the moment at which a node raises until the node after it begins, without a delay before the "
            "second attempt.",
        ),
    ),
    "The original asks for these and prints figures of some: see the other tables.",
)  # fmt: skip

ADVICE = (
    ("nodes with one purpose, parallel where independent", "nodes are functions; what does not depend runs at once"),
    ("depth under 20", "depth costs nothing: a chain of 1,000,000 nodes runs (`python -m flow_bench scale`)"),
    ("async for I/O", "async nodes wait side by side; blocking ones take `thread=True`"),
    ("workers 2 x cores, blocking threads", "`Config(limit=...)` and `Config(threads=...)`; `flow tune` measures them"),
    ("batches of up to 100", "`dag.map(..., batch_size=100)`; by the clock too (every 10 ms): `batch_wait=0.01`"),
    ("channels of 1,000", "pipelined maps: `concurrency=` bounds what waits between them"),
    ("breakers, limits", "`admission=` on a node is the seam for both (docs/seams.md)"),
    ("client retries", "`retry=flow.Retry(...)`, `timeout=` and `fallback=` on a node"),
    ("nodes over 1 ms: look at their timing", "`Config(timing=True)`, `result.durations`, `result.timeline()`"),
    ("memory growth: limits, RSS over time", "`Config(keep=...)`; `python -m flow_bench workflow --only rate`"),
    ("result cache", "`functools.lru_cache` around a function: an engine's is not faster (docs/experiments.md)"),
    ("in CI: `./scripts/benchmark.sh --all --quick`, then `--compare`", "the same flags here (docs/benchmarks.md)"),
    ("keep-alive, body limit, compression, connection pools, smaller payloads", NO_API),
    ("Postgres settings, MALLOC_ARENA_MAX", "no database; MALLOC_ARENA_MAX: docs/tuning-guide.md measures it"),
)

SOURCE = Source(
    "AI Workflow Engine (Rust)", "Apple M2 Pro, 10 cores", (TARGETS, NODES, MEMORY, REQUESTS, METRICS), ADVICE
)
