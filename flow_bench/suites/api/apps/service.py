"""The service as ``flow serve --keys`` serves it: its app, and its server. Runs that have ended are kept in memory."""

from __future__ import annotations

from flow.http import Keys, Limits, Rate, Server, Service, Serving
from flow_bench.suites.api import serving
from flow_bench.suites.api.order import NAME, WAITS, order, waiting

LIVE = 2_000
"""Runs at once: beside 1,000 that wait there must be places for others."""


def main(rate: float | None = None) -> None:
    """Serve.

    :param rate: requests a second that each key may send; None is without a limiter.
    """
    keys = Keys.memory()
    key = keys.add("bench", "admin")
    limits = Limits(runs=LIVE, rate=None if rate is None else Rate(max(1, round(rate)), max(1.0, 1 / rate)))
    service = Service({NAME: order(), WAITS: waiting()}, auth=keys, limits=limits)
    serving.run(Server(service, Serving(limits=limits)), key)


if __name__ == "__main__":
    main(**serving.options())
