"""Make flow/metrics/performance.json, the dashboard that ``flow metrics dashboard`` prints.

    python scripts/dashboard.py            # writes it
    python scripts/dashboard.py --print    # prints it

It needs grafana-foundation-sdk (the extra ``test``). A test makes the file again and compares it byte for byte.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

FILE = Path(__file__).parents[1] / "flow" / "metrics" / "performance.json"
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24  # columns of a dashboard
OF = 'job=~"$job"'
RUNS = f'{OF}, workflow=~"$workflow"'
RATE = "$__rate_interval"
GREEN, ORANGE, RED = "green", "orange", "red"


@dataclass(frozen=True)
class Query:
    """One expression, and what its lines are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Graph:
    """Lines over time. ``stacked``: they add up."""

    title: str
    unit: str
    about: str
    queries: Sequence[Query]
    stacked: bool = False
    width: int = 8


@dataclass(frozen=True)
class Figure:
    """One number now; ``warn`` and ``bad`` are where it turns orange and red."""

    title: str
    unit: str
    about: str
    expr: str
    warn: float | None = None
    bad: float | None = None
    width: int = 4


@dataclass(frozen=True)
class Table:
    """A row per workflow or node, the worst first; ``columns`` are queries by their heading and unit."""

    title: str
    about: str
    labels: Sequence[str]
    columns: Sequence[tuple[str, str, str]]
    width: int = 8


Part = Graph | Figure | Table


def increase(metric: str, labels: str, by: str, window: str = "$__range") -> str:
    """How much a counter has grown over the time that the dashboard shows."""
    return f"sum by ({by}) (increase({metric}{{{labels}}}[{window}]))"


def rate(metric: str, labels: str, by: str = "") -> str:
    """How fast a counter grows, per second."""
    return f"sum{f' by ({by})' if by else ''} (rate({metric}{{{labels}}}[{RATE}]))"


def quantile(q: float, metric: str, labels: str, by: str = "", window: str = RATE) -> str:
    """A quantile of a histogram."""
    of = f"le, {by}" if by else "le"
    found = f"histogram_quantile({q}, sum by ({of}) (rate({metric}_bucket{{{labels}}}[{window}])))"
    return f"{found} > 0" if by else found  # of many, without those of which there was nothing: they are no numbers


def quantiles(metric: str, labels: str) -> list[Query]:
    """Its P50, P95 and P99."""
    return [Query(quantile(q, metric, labels), f"P{q * 100:.0f}") for q in (0.5, 0.95, 0.99)]


def share(part: str, whole: str) -> str:
    """A part of the whole; 0 if there is no part, or no whole."""
    return f"({part} or vector(0)) / ({whole} > 0) or vector(0)"


NODE = "workflow, node"
NAMED = "{{workflow}} / {{node}}"
ERRORS = f"topk(20, {increase('workflow_node_errors_total', RUNS, NODE)} > 0)"
SECONDS = "workflow_node_execution_duration_seconds"
SLOWEST = f"topk(20, {quantile(0.95, SECONDS, RUNS, NODE, '$__range')})"
FAILED = f'{RUNS}, status="failed"'


def beside(metric: str, labels: str, rows: str) -> str:
    """A further column of a table, for the rows that there are."""
    return f"{increase(metric, labels, NODE)} and on ({NODE}) {rows}"


BROKEN: Sequence[Part] = (
    Figure(
        "Runs that fail", "percentunit", "Of the worst workflow, in the last 5 minutes. The table below names it.",
        f"max(sum by (workflow) (increase(workflow_executions_total{{{FAILED}}}[5m]))"
        f" / (sum by (workflow) (increase(workflow_executions_total{{{RUNS}}}[5m])) > 0)) or vector(0)",
        0.01, 0.05,
    ),
    Figure(
        "Requests that fail", "percentunit", "Answers 5xx, of all of the last 5 minutes. A failed run is no 5xx.",
        share(
            f'sum(increase(workflow_api_requests_total{{{OF}, status=~"5.."}}[5m]))',
            f"sum(increase(workflow_api_requests_total{{{OF}}}[5m]))",
        ),
        0.001, 0.01,
    ),
    Figure(
        "Answers, P95", "s", "95 of 100 requests of the last 5 minutes were answered within this time.",
        quantile(0.95, "workflow_api_request_duration_seconds", OF, window="5m"), 0.05, 0.1,
    ),
    Figure(
        "Queue", "percentunit", "How full the fullest queue of a worker is. At 100 % runs are refused with 503.",
        f"max(workflow_queue_depth{{{OF}}} / workflow_queue_limit{{{OF}}})", 0.5, 0.8,
    ),
    Figure(
        "Event loop lag", "s", "The latest loop of all workers. A node that blocks it stops all others: see the log.",
        f"max(workflow_event_loop_lag_seconds{{{OF}}})", 0.02, 0.1,
    ),
    Figure("Processes", "short", "Processes that answer Prometheus.", f"sum(up{{{OF}}})"),
    Table(
        "Workflows, the most failures first", "Over the time shown. A click on a name shows it alone.", ["workflow"],
        [
            ("failed", "short", increase("workflow_executions_total", FAILED, "workflow")),
            ("ended", "short", increase("workflow_executions_total", RUNS, "workflow")),
            ("P95", "s", quantile(0.95, "workflow_execution_duration_seconds", RUNS, "workflow", "$__range")),
        ],
    ),
    Table(
        "Nodes, the most errors first", "Last attempts that failed, with a fallback or not, over the time shown.",
        ["workflow", "node"],
        [
            ("errors", "short", ERRORS),
            ("retries", "short", beside("workflow_node_retries_total", RUNS, ERRORS)),
            ("completed", "short", beside("workflow_node_executions_total", f'{RUNS}, status="completed"', ERRORS)),
        ],
    ),
    Table(
        "Nodes, the slowest first", "Of the last attempts that completed, over the time shown.", ["workflow", "node"],
        [("P95", "s", SLOWEST), ("completed", "short", beside(f"{SECONDS}_count", RUNS, SLOWEST))],
    ),
)  # fmt: skip

OF_RUNS: Sequence[Part] = (
    Graph(
        "Runs ended, by status", "ops", "Per second. waiting: ended to be gone on with, once a signal is there.",
        [Query(rate("workflow_executions_total", RUNS, "status"), "{{status}}")], stacked=True,
    ),
    Graph(
        "Failed runs, by workflow", "ops", "Per second.",
        [Query(rate("workflow_executions_total", FAILED, "workflow"), "{{workflow}}")],
    ),
    Graph(
        "Duration of runs", "s", "However they ended.", quantiles("workflow_execution_duration_seconds", RUNS)
    ),
    Graph(
        "Runs going on", "short", "By workflow, those within other runs included.",
        [Query(f"sum by (workflow) (workflow_concurrent_executions{{{RUNS}}})", "{{workflow}}")], stacked=True,
    ),
    Graph(
        "Runs not begun, or waiting", "short", "In the queue, its limit; accepted and not ended; waiting for a signal.",
        [
            Query(f"sum(workflow_queue_depth{{{OF}}})", "queued"),
            Query(f"sum(workflow_queue_limit{{{OF}}})", "limit of the queue"),
            Query(f"sum(workflow_runs_live{{{OF}}})", "not ended"),
            Query(f"sum(workflow_runs_waiting{{{RUNS}}})", "waiting"),
        ],
    ),
    Graph(
        "P95 by workflow", "s", "The ten slowest.",
        [
            Query(
                f"topk(10, {quantile(0.95, 'workflow_execution_duration_seconds', RUNS, 'workflow')})", "{{workflow}}"
            )
        ],
    ),
)  # fmt: skip

OF_NODES: Sequence[Part] = (
    Graph(
        "Errors by node", "ops", "Per second, the ten with the most.",
        [Query(f"topk(10, {rate('workflow_node_errors_total', RUNS, NODE)})", NAMED)],
    ),
    Graph(
        "P95 by node", "s", "The ten slowest.", [Query(f"topk(10, {quantile(0.95, SECONDS, RUNS, NODE)})", NAMED)]
    ),
    Graph(
        "Where the time goes", "short", "Nodes going on at once, on average: the ten with the most.",
        [Query(f"topk(10, {rate(f'{SECONDS}_sum', RUNS, NODE)})", NAMED)],
    ),
    Graph(
        "Nodes ended, by status", "ops", "Per second.",
        [Query(rate("workflow_node_executions_total", RUNS, "status"), "{{status}}")], stacked=True,
    ),
    Graph(
        "Retries and fallbacks", "ops", "Per second, those of items of maps included.",
        [
            Query(f"topk(10, {rate('workflow_node_retries_total', RUNS, NODE)})", f"{NAMED}: retries"),
            Query(f"topk(10, {rate('workflow_node_fallbacks_total', RUNS, NODE)})", f"{NAMED}: fallbacks"),
        ],
    ),
    Graph(
        "Items of maps", "ops", "Per second.",
        [Query(f"topk(10, {rate('workflow_node_items_total', RUNS, f'{NODE}, status')})", f"{NAMED}: {{{{status}}}}")],
    ),
    Graph(
        "Nodes that wait", "short", "For a signal or a time.",
        [Query(f"sum by ({NODE}) (workflow_nodes_waiting{{{RUNS}}})", NAMED)],
    ),
    Graph(
        "Rounds of loops", "ops", "Per second.", [Query(rate("workflow_node_rounds_total", RUNS, NODE), NAMED)]
    ),
    Graph(
        "Limits found", "short", "What limit=\"auto\" and concurrency=\"auto\" have settled at.",
        [Query(f"max by ({NODE}) (workflow_adaptive_limit{{{RUNS}}})", NAMED)],
    ),
)  # fmt: skip

MODEL = "workflow, provider, model"
DEAREST = f"topk(20, {increase('workflow_ai_cost_usd_total', RUNS, MODEL)})"


def of_model(metric: str, more: str = "") -> str:
    """A further column of the table of models."""
    return f"sum by ({MODEL}) (increase({metric}{{{RUNS}{more}}}[$__range]))"


OF_AI: Sequence[Part] = (
    Graph(
        "Cost, by workflow", "currencyUSD", "USD per hour, of the requests whose cost is known.",
        [Query(f"3600 * {rate('workflow_ai_cost_usd_total', RUNS, 'workflow')}", "{{workflow}}")], stacked=True,
    ),
    Graph(
        "Tokens, by kind", "short", "Per second. cached is a part of input, reasoning a part of output.",
        [Query(rate("workflow_ai_tokens_total", RUNS, "kind"), "{{kind}}")],
    ),
    Graph(
        "Requests to models", "reqps", "Per second, by model; answers from a cache; requests of unknown cost.",
        [
            Query(rate("workflow_ai_requests_total", RUNS, "provider, model"), "{{provider}}:{{model}}"),
            Query(rate("workflow_ai_cache_hits_total", RUNS), "from the cache"),
            Query(rate("workflow_ai_unknown_cost_requests_total", RUNS), "of unknown cost"),
        ],
    ),
    Graph(
        "P95 of requests to models", "s", "The ten slowest.",
        [
            Query(
                f"topk(10, {quantile(0.95, 'workflow_ai_request_duration_seconds', RUNS, 'provider, model')})",
                "{{provider}}:{{model}}",
            )
        ],
    ),
    Table(
        "Models, the most expensive first", "Over the time shown.", ["workflow", "provider", "model"],
        [
            ("cost", "currencyUSD", DEAREST),
            ("requests", "short", of_model("workflow_ai_requests_total")),
            ("input tokens", "short", of_model("workflow_ai_tokens_total", ', kind="input"')),
            ("output tokens", "short", of_model("workflow_ai_tokens_total", ', kind="output"')),
        ],
        16,
    ),
)  # fmt: skip

OF_API: Sequence[Part] = (
    Graph(
        "Requests, by route", "reqps", "Per second.",
        [Query(rate("workflow_api_requests_total", OF, "method, route"), "{{method}} {{route}}")], stacked=True,
    ),
    Graph(
        "Requests, by status", "reqps", "4xx: the caller's fault; 429: the rate limit; 503: full, or draining.",
        [Query(rate("workflow_api_requests_total", OF, "status"), "{{status}}")], stacked=True,
    ),
    Graph("Duration of requests", "s", "", quantiles("workflow_api_request_duration_seconds", OF)),
    Graph(
        "P95 by route", "s", "Routes that wait for a run take as long as it.",
        [Query(quantile(0.95, "workflow_api_request_duration_seconds", OF, "route"), "{{route}}")],
    ),
    Graph(
        "Open at once", "short", "Requests being answered, connections, streams of events.",
        [
            Query(f"sum(workflow_api_active_requests{{{OF}}})", "requests"),
            Query(f"sum(workflow_api_active_connections{{{OF}}})", "connections"),
            Query(f"sum(workflow_api_streams{{{OF}}})", "streams"),
        ],
    ),
)  # fmt: skip

OF_PROCESS: Sequence[Part] = (
    Graph(
        "Event loop lag", "s", "Over 100 ms: a node blocks the loop. The log names it.",
        [Query(f"max by (instance) (workflow_event_loop_lag_seconds{{{OF}}})", "{{instance}}")],
    ),
    Graph(
        "CPU", "percentunit", "Of one core.",
        [Query(f"sum by (instance) (rate(process_cpu_seconds_total{{{OF}}}[{RATE}]))", "{{instance}}")],
    ),
    Graph(
        "Memory", "bytes", "Resident.",
        [Query(f"max by (instance) (process_resident_memory_bytes{{{OF}}})", "{{instance}}")],
    ),
    Graph(
        "Open files", "short", "Connections included; the limit is the process's own.",
        [
            Query(f"max by (instance) (process_open_fds{{{OF}}})", "{{instance}}"),
            Query(f"max by (instance) (process_max_fds{{{OF}}})", "{{instance}}: limit"),
        ],
    ),
    Graph(
        "Flushes of the store", "ops", "Transactions that have written, per second.",
        [Query(rate("workflow_store_flushes_total", OF, "instance"), "{{instance}}")],
    ),
    Graph(
        "Garbage collections", "ops", "Per second, by generation.",
        [Query(rate("python_gc_collections_total", OF, "generation"), "{{generation}}")],
    ),
    Graph(
        "Time series of workflows and nodes", "short", "At the bound, new ones are counted as \"other\".",
        [Query(f"max by (instance) (workflow_metrics_series{{{OF}}})", "{{instance}}")],
    ),
)  # fmt: skip

ROWS: Sequence[tuple[str, Sequence[Part]]] = (
    ("What is broken", BROKEN), ("Runs", OF_RUNS), ("Nodes", OF_NODES), ("AI", OF_AI), ("API", OF_API),
    ("Processes", OF_PROCESS),
)  # fmt: skip
HEIGHTS = {Figure: 4, Table: 9, Graph: 7}


def _common(panel: Any, part: Part) -> Any:
    panel.title(part.title).datasource(SOURCE)
    return panel.description(part.about) if part.about else panel


def _query(number: int, expr: str) -> Any:
    return prometheus.Dataquery().ref_id(chr(ord("A") + number)).expr(expr).datasource(SOURCE)


def _thresholds(*steps: tuple[float | None, str]) -> Any:
    made = [models.Threshold(value, color) for value, color in steps]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(made)


def graph_of(part: Graph) -> Any:
    """Make the panel of a graph."""
    legend = common.VizLegendOptions().display_mode(looks.LegendDisplayMode.LIST).show_legend(True)
    legend.placement(looks.LegendPlacement.BOTTOM).calcs([])
    panel = _common(timeseries.Panel(), part).unit(part.unit).min(0).legend(legend)
    panel.fill_opacity(30 if part.stacked else 5)
    if part.stacked:
        panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
    for k, query in enumerate(part.queries):
        panel.with_target(_query(k, query.expr).legend_format(query.legend).range())
    return panel


def figure_of(part: Figure) -> Any:
    """Make the panel of one number."""
    panel = _common(stat.Panel(), part).unit(part.unit).decimals(2 if part.unit == "percentunit" else 0)
    if part.unit == "s":
        panel.decimals(3)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel.graph_mode(looks.BigValueGraphMode.AREA).color_mode(looks.BigValueColorMode.BACKGROUND)
    if part.warn is None:
        panel.thresholds(_thresholds((None, "blue")))
    else:
        panel.thresholds(_thresholds((None, GREEN), (part.warn, ORANGE), (part.bad, RED)))
    return panel.with_target(_query(0, part.expr).range())


def table_of(part: Table) -> Any:
    """Make the panel of a table; a click on a workflow shows that alone."""
    panel = _common(table.Panel(), part).decimals(0)
    for k, (_, _, expr) in enumerate(part.columns):
        panel.with_target(_query(k, expr).format(PromQueryFormat.TABLE).instant())
    headings = {"Value" if len(part.columns) == 1 else f"Value #{chr(ord('A') + k)}": column[0]
                for k, column in enumerate(part.columns)}  # fmt: skip
    places = {name: k for k, name in enumerate((*part.labels, *headings))}
    panel.with_transformation(models.DataTransformerConfig("merge", options={}))
    panel.with_transformation(
        models.DataTransformerConfig(
            "organize", options={"excludeByName": {"Time": True}, "indexByName": places, "renameByName": headings}
        )
    )
    for name, unit, _ in part.columns:
        decimals = {"s": 3, "currencyUSD": 2}.get(unit, 0)
        values = {"unit": unit, "decimals": decimals}
        panel.override_by_name(name, [models.DynamicConfigValue(key, value) for key, value in values.items()])
    link = {"title": "Only this workflow", "url": "/d/flow?${datasource:queryparam}&${__url_time_range}"
            "&var-workflow=${__data.fields.workflow}"}  # fmt: skip
    panel.override_by_name("workflow", [models.DynamicConfigValue("links", [link])])
    first = part.columns[0][0]
    return panel.sort_by([common.TableSortByFieldState().display_name(first).desc(True)])


def _placed(parts: Sequence[Part], top: int) -> Iterator[tuple[Any, models.GridPos]]:
    left, height = 0, 0
    for part in parts:
        if left + part.width > WIDTH or (left and HEIGHTS[type(part)] != height):
            left, top = 0, top + height
        height = HEIGHTS[type(part)]
        made = figure_of(part) if isinstance(part, Figure) else graph_of(part) if isinstance(part, Graph) else None
        yield table_of(part) if made is None else made, models.GridPos(height, part.width, left, top)
        left += part.width


def _variables(made: Any) -> None:
    every = models.VariableOption(True, ["All"], ["$__all"])
    made.with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    for name, label, of in (
        ("job", "Job", "label_values(workflow_metrics_series, job)"),
        ("workflow", "Workflow", 'label_values(workflow_executions_total{job=~"$job"}, workflow)'),
    ):
        variable = dashboard.QueryVariable(name).label(label).query(of).datasource(SOURCE)
        variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
        made.with_variable(variable.multi(True).include_all(True).all_value(".*").current(every))


def made() -> str:
    """Return the dashboard as JSON."""
    whole = dashboard.Dashboard("flow: workflows").uid("flow").tags(["flow"]).refresh("10s").time("now-1h", "now")
    whole.description("Runs, nodes and the API of flow. Top row: what is broken, and which workflow and node it is.")
    whole.tooltip(models.DashboardCursorSync.CROSSHAIR).editable()
    _variables(whole)
    top, number = 0, 0
    for title, parts in ROWS:
        number += 1
        whole.with_row(dashboard.Row(title).id(number).grid_pos(models.GridPos(1, WIDTH, 0, top)))
        top += 1
        for panel, place in _placed(parts, top):
            number += 1
            whole.with_panel(panel.id(number).grid_pos(place))
            top = max(top, place.y + place.h)
    return JSONEncoder(sort_keys=True, indent=1).encode(whole.build()) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(made())
    else:
        FILE.write_text(made(), "utf-8")
