"""Fixtures of the micro benchmarks: ``pytest flow_bench/micro``, with any flag of pytest-benchmark."""

from __future__ import annotations

from typing import Any

import pytest

from flow_bench.micro.case import Case, Measure
from flow_bench.micro.measuring import NAME, QUICK, Bench, Effort


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the one flag of ours."""
    parser.addoption("--full", action="store_true", help="as many rounds as flow_bench takes without --quick")


def pytest_configure(config: pytest.Config) -> None:
    """Measure with a plugin of our own unless one is given."""
    if not any(isinstance(plugin, Bench) for plugin in config.pluginmanager.get_plugins()):
        config.pluginmanager.register(Bench(Effort() if config.getoption("--full") else QUICK), NAME)


@pytest.fixture
def bench(request: pytest.FixtureRequest, benchmark: Any) -> Measure:
    """Measure a case."""
    plugin = next(one for one in request.config.pluginmanager.get_plugins() if isinstance(one, Bench))
    suite = request.path.stem.removeprefix("test_")

    def run(case: Case) -> None:
        if case.missing:
            plugin.absent(suite, case)
            pytest.skip(case.missing)
        plugin.measure(suite, case, benchmark)

    return run
