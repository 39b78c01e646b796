"""What has been counted, as the text that Prometheus reads: 1 to 2 us per time series.

(prometheus_client writes the same of a Collector's families, in 7 us: too long for the thread of a service.)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from flow.metrics.names import Kind, Metric
from flow.metrics.snapshot import Labels, Snapshot
from flow.metrics.tallies import Row

_ESCAPES: Final = {ord("\\"): r"\\", ord("\n"): r"\n", ord('"'): r"\""}
_HELP_ESCAPES: Final = {ord("\\"): r"\\", ord("\n"): r"\n"}


def lines(found: Snapshot, readings: Iterable[tuple[str, Kind, str, float]], open_metrics: bool) -> Iterator[str]:
    """Yield the text in parts, without an end. O(time series).

    :param readings: names, kinds, helps and values of what is read at this scrape.
    :param open_metrics: in the format of OpenMetrics, in which the family of a counter has no ``_total``.
    """
    for metric, values in found.values.items():
        yield _head(metric.name, metric.kind, metric.help, open_metrics)
        yield from _values(metric, values)
    for metric, rows in found.rows.items():
        yield _head(metric.name, metric.kind, metric.help, open_metrics)
        yield from _histograms(metric, rows)
    for name, kind, help, value in readings:
        yield f"{_head(name, kind, help, open_metrics)}{name} {_number(value)}\n"


def _head(name: str, kind: Kind, help: str, open_metrics: bool) -> str:
    name = name.removesuffix("_total") if open_metrics and kind == "counter" else name
    escapes = _ESCAPES if open_metrics else _HELP_ESCAPES
    return f"# HELP {name} {help.translate(escapes)}\n# TYPE {name} {kind}\n"


def _values(metric: Metric, values: Mapping[Labels, float]) -> Iterator[str]:
    for labels, value in values.items():
        pairs = _pairs(metric.labels, labels)
        yield f"{metric.name}{{{pairs}}} {value}\n" if pairs else f"{metric.name} {value}\n"


def _histograms(metric: Metric, rows: Mapping[Labels, Row]) -> Iterator[str]:
    ends = [*(f',le="{bound}"}} ' for bound in metric.bounds), ',le="+Inf"} ']
    for labels, row in rows.items():
        pairs, number = _pairs(metric.labels, labels), 0.0
        start = f"{metric.name}_bucket{{{pairs}"
        parts = []
        for end, few in zip(ends, row, strict=False):  # the row ends with the sum
            number += few
            parts.append(f"{start}{end}{number}\n")
        parts.append(f"{metric.name}_count{{{pairs}}} {number}\n{metric.name}_sum{{{pairs}}} {row[-1]}\n")
        yield "".join(parts)


def _pairs(names: Sequence[str], values: Labels) -> str:
    return ",".join([f'{name}="{value.translate(_ESCAPES)}"' for name, value in zip(names, values, strict=True)])


def _number(value: float) -> str:
    """Write a number as Prometheus reads it."""
    if value != value:
        return "NaN"
    return repr(value) if abs(value) != float("inf") else "+Inf" if value > 0 else "-Inf"


__all__ = ["lines"]
