"""The commands ``flow metrics ...``: print what Grafana and Prometheus are given."""

from __future__ import annotations

from importlib.resources import files

import click

from flow.cli import options as given
from flow.cli.terminal import say, tell

IMPORT = (
    "flow metrics dashboard --for-import | curl -X POST -H 'Content-Type: application/json' -u admin:admin "
    "http://localhost:3000/api/dashboards/import -d @-"
)
"""How the dashboard gets into a Grafana."""


@click.group()
def metrics() -> None:
    """Print the dashboard for Grafana, and the rules for Prometheus.

    Metrics are there with `flow serve`, or with flow.metrics.observer() in a program of your own.
    """


@metrics.command()
@click.option("--for-import", is_flag=True, help="As Grafana's /api/dashboards/import takes it.")
@given.debug_option
def dashboard(for_import: bool) -> None:
    """Print the dashboard as JSON: save it, and import it in Grafana, or provision it."""
    text = _shipped("performance.json")
    if for_import:
        say(f'{{"overwrite": true, "inputs": [], "folderUid": "", "dashboard":\n{text}\n}}')
        return
    say(text)
    tell(f"to import it: {IMPORT}")


@metrics.command()
@given.debug_option
def rules() -> None:
    """Print the recording and alerting rules as YAML: save them, and name the file in rule_files of prometheus.yml."""
    say(_shipped("rules.yml"))


def _shipped(name: str) -> str:
    return (files("flow.metrics") / name).read_text("utf-8").rstrip("\n")


__all__ = ["metrics"]
