"""A real Prometheus, and the expressions of the dashboard and of the rules, for tests that have something to scrape."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import yaml
from click.testing import CliRunner

from flow.cli.metrics import metrics as command

Ask = Callable[[str], list[Any]]
SCRAPES = 5
VARIABLES = {"$__rate_interval": "4s", "$__range": "30s", "$workflow": ".*", "$job": ".*"}
QUIET = re.compile(r" (?:>|==) [\d.]+$")
"""The threshold of an alert: where all is well there is nothing beyond it."""

LISTENS = re.compile(r'"Listening on".*? address=127\.0\.0\.1:(\d+)')


def rules() -> str:
    return CliRunner().invoke(command, ["rules"]).stdout


def address(folder: Path) -> str:
    """Where the Prometheus listens that writes its log into ``folder``. :raises ValueError: if it does not yet."""
    (port,) = LISTENS.findall((folder / "log").read_text("utf-8"))
    return f"http://127.0.0.1:{port}"


@contextmanager
def prometheus(folder: Path, *ports: int, authorization: str = "") -> Iterator[Ask]:
    """Start a Prometheus that scrapes ``ports`` each second, until it has; give what asks it for an expression.

    :param authorization: a key, sent as a bearer token.
    """
    scrape: dict[str, Any] = {"job_name": "flow", "static_configs": [{"targets": [f"127.0.0.1:{p}" for p in ports]}]}
    if authorization:
        scrape["authorization"] = {"credentials": authorization}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yml"],
        "scrape_configs": [scrape],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    (folder / "rules.yml").write_text(rules(), "utf-8")
    arguments = ["--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address=127.0.0.1:0"]
    written = folder / "log"
    with written.open("wb") as log:
        process = subprocess.Popen(["prometheus", *arguments], cwd=folder, stdout=log, stderr=log)

    def ask(expr: str) -> list[Any]:
        with urlopen(f"{address(folder)}/api/v1/query?query={quote(expr)}", timeout=10) as answer:
            found: list[Any] = json.load(answer)["data"]["result"]
        return found

    def has_scraped() -> bool:
        assert process.poll() is None, written.read_text("utf-8")
        try:
            return len(ask(f"count_over_time(up[1m]) >= {SCRAPES} and up == 1")) == len(ports)
        except (OSError, ValueError):  # it does not listen yet
            return False

    try:
        until = time.monotonic() + 60
        while not has_scraped():
            assert time.monotonic() < until, written.read_text("utf-8")
            threading.Event().wait(0.2)
        yield ask
    finally:
        process.terminate()
        process.wait(20)


def panels() -> list[tuple[str, str]]:
    """The title and each expression of each panel."""
    board = json.loads(CliRunner().invoke(command, ["dashboard"]).stdout)
    return [(panel["title"], target["expr"]) for panel in board["panels"] for target in panel.get("targets", ())]


def values_of(found: list[Any]) -> list[float]:
    return [float(one["value"][1]) for one in found]


def unanswered(ask: Ask) -> list[tuple[str, str]]:
    """The expressions of panels and rules that find no number, with their names.

    Of alerts it is what they measure, without the threshold, and without what makes it well.
    """
    asked = [(title, expr) for title, expr in panels()]
    for group in yaml.safe_load(rules())["groups"]:
        for rule in group["rules"]:
            asked.append((rule.get("record") or rule["alert"], QUIET.sub("", rule["expr"].split(" unless ")[0])))
    nothing = []
    for title, expr in asked:
        for name, value in VARIABLES.items():
            expr = expr.replace(name, value)
        if not any(value == value for value in values_of(ask(expr))):  # not a number: 0 / 0
            nothing.append((title, expr))
    return nothing
