"""The micro benchmarks by themselves: ``pytest flow_bench/micro``, with any flag of pytest-benchmark."""

from __future__ import annotations

import pytest

from flow_bench.micro.measuring import QUICK, Bench, Effort


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the one flag of ours."""
    parser.addoption("--full", action="store_true", help="as many rounds as flow_bench takes without --quick")


def pytest_configure(config: pytest.Config) -> None:
    """Measure with a plugin of our own unless one is given."""
    if not any(isinstance(plugin, Bench) for plugin in config.pluginmanager.get_plugins()):
        config.pluginmanager.register(Bench(Effort() if config.getoption("--full") else QUICK), "flow-bench")
