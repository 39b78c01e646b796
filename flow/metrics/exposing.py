"""What has been counted, as prometheus_client shows it: a Collector, and the text of ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from flow.errors import UsageError
from flow.logs import log_broken
from flow.metrics.names import COUNTED, Kind, Metric
from flow.metrics.snapshot import Counted
from flow.metrics.tallies import Row
from flow.metrics.text import lines

try:
    import prometheus_client
    from prometheus_client import core, exposition
    from prometheus_client.registry import REGISTRY as REGISTRY
    from prometheus_client.registry import Collector
    from prometheus_client.registry import CollectorRegistry as CollectorRegistry
except ImportError:
    raise UsageError("metrics need prometheus_client: pip install 'flow-dag[metrics]'") from None

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family


class CountsCollector(Collector):
    """Shows what ``counts`` has, built at each scrape. O(time series)."""

    def __init__(self, counts: Counted) -> None:
        self._counts = counts

    def describe(self) -> Iterator[Family]:
        """Tell the registry the names, which may be taken."""
        for metric in COUNTED:
            if metric.kind == "histogram":
                yield _histogram(metric, ())
            else:
                yield _family(metric.name, metric.kind, metric.help, metric.labels, ())

    def collect(self) -> Iterator[Family]:
        found = self._counts.snapshot()
        for metric, values in found.values.items():
            yield _family(metric.name, metric.kind, metric.help, metric.labels, values.items())
        for metric, rows in found.rows.items():
            yield _histogram(metric, rows.items())
        for name, kind, help, value in _read(self._counts):
            yield _family(name, kind, help, (), [((), value)])


class Exposition:
    """Writes what ``counts`` has, and the figures of this process, as the text of ``/metrics``."""

    __slots__ = ("_counts", "_process")

    def __init__(self, counts: Counted) -> None:
        self._counts = counts
        self._process = CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._process)
        prometheus_client.GCCollector(registry=self._process)
        prometheus_client.PlatformCollector(registry=self._process)

    def written(self, accept: str) -> tuple[bytes, str]:
        """Return the text and its content type. What is read at each scrape is read here."""
        write, content_type = exposition.choose_encoder(accept)
        is_open = content_type.startswith("application/openmetrics-text")
        ours = "".join(lines(self._counts.snapshot(), _read(self._counts), is_open))
        return ours.encode() + write(self._process), content_type  # theirs has the end


def _read(counts: Counted) -> Iterator[tuple[str, Kind, str, float]]:
    """Read what is read at each scrape. What raises is logged, and left out."""
    for name, reading in list(counts.readings.items()):
        try:
            value = float(reading.read())
        except Exception:
            log_broken("what is read for the metric %s raised", name)
        else:
            yield name, reading.kind, reading.help, value


def _family(
    name: str, kind: str, help: str, labels: Sequence[str], values: Iterable[tuple[Sequence[str], float]]
) -> Family:
    make: Any = core.GaugeMetricFamily if kind == "gauge" else core.CounterMetricFamily
    family: Family = make(name, help, labels=labels)
    sample = family.name if kind == "gauge" else f"{family.name}_total"
    for given, value in values:
        family.add_sample(sample, dict(zip(labels, given, strict=True)), value)
    return family


def _histogram(metric: Metric, rows: Iterable[tuple[Sequence[str], Row]]) -> Family:
    family = core.HistogramMetricFamily(metric.name, metric.help, labels=metric.labels)
    bounds = [str(bound) for bound in metric.bounds] + ["+Inf"]
    for given, row in rows:
        number, buckets = 0.0, []
        for bound, few in zip(bounds, row, strict=False):  # the row ends with the sum
            number += few
            buckets.append((bound, number))
        family.add_metric(given, buckets, row[-1])
    return family
