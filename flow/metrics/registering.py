"""An observer that counts runs in a registry of prometheus_client: :func:`observer`."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import Final
from weakref import WeakKeyDictionary

from flow.errors import UsageError, shown
from flow.metrics.counts import Counts
from flow.metrics.exposing import REGISTRY, CollectorRegistry, CountsCollector
from flow.run import events
from flow.tracebacks import ends_at_user

_REGISTERED: Final[WeakKeyDictionary[CollectorRegistry, Callable[[events.Event], None]]] = WeakKeyDictionary()
_LOCK: Final = Lock()


@ends_at_user
def observer(registry: CollectorRegistry | None = None) -> Callable[[events.Event], None]:
    """Return an observer that counts runs for Prometheus: for ``Config(observers=...)``.

    >>> config = flow.Config(observers=(flow.metrics.observer(),))
    >>> prometheus_client.start_http_server(9100)

    The metrics are in ``registry`` from then on. A registry has one observer: a second call returns the same, so that
    all runs of a process are counted together. (Give it to a Config once: twice counts twice.)

    :param registry: a ``prometheus_client.CollectorRegistry``; None is ``prometheus_client.REGISTRY``.
    :raises UsageError: if ``registry`` is none, or has metrics of these names already.
    """
    registry = REGISTRY if registry is None else registry
    if not isinstance(registry, CollectorRegistry):
        raise UsageError(f"metrics.observer(registry): a prometheus_client.CollectorRegistry, not {shown(registry)}")
    with _LOCK:
        found = _REGISTERED.get(registry)
        if found is None:
            counts = Counts()
            try:
                registry.register(CountsCollector(counts))
            except ValueError as error:
                raise UsageError(f"metrics.observer: the registry has such metrics already: {error}") from None
            found = _REGISTERED[registry] = counts.observe
        return found


__all__ = ["observer"]
