"""``python -m flow_bench core|scale|context|data``: measure, print, and write every round as JSON if asked."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flow_bench import context, core, data, harness, report, scale
from flow_bench.checks import Refused
from flow_bench.measure import Row

CASE_SUITES = {
    "dag": "building, compiling and resolving",
    "node": "single nodes of every kind: mean, P50, P95, P99",
    "workflow": "whole workflows, one and thousands at once",
    "concurrency": "unbounded and bounded runs beside the ideal",
    "scenarios": "four everyday workflows with simulated waits",
    "traces": "real workflow traces, as no-ops and replayed",
    "memory": "bytes per node; importing flow",
}
"""Suites made of cases (:mod:`flow_bench.case`): module ``flow_bench.NAME`` has ``cases(quick)``."""

REFUSED = 3
MISSED = 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one suite.

    :return: 0; 1 if a target is missed under ``--strict``; 3 if a contender did not do its work.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    options = parser().parse_args(arguments)
    if options.python:
        return _under_each(options, arguments)
    try:
        document = run_suite(options)
    except Refused as error:
        print(f"flow_bench: {error}", file=sys.stderr)
        return REFUSED
    if options.json:
        Path(options.json).write_text(json.dumps(document), encoding="utf-8")
    return MISSED if options.strict and any(row["verdict"] == "MISS" for row in document["rows"]) else 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m flow_bench", description=__doc__)
    suites = top.add_subparsers(dest="suite", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--quick", action="store_true", help="fewer rounds, smaller graphs")
    common.add_argument("--json", metavar="FILE", help="write all rounds of all rows")
    common.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    common.add_argument(
        "--python", metavar="PROGRAM", action="append", default=[], help="run under this interpreter (repeatable)"
    )
    one = suites.add_parser("core", parents=[common], help="cost per node beside hand-written loops")
    one.add_argument("--nodes", type=_sizes, metavar="N,N,...", help="graph sizes, default 100,1000,10000")
    one.add_argument("--rounds", type=int, help="rounds for graphs of at most 1,000 nodes")
    one.add_argument("--only", action="append", choices=core.SECTIONS, default=[], help="this section (repeatable)")
    two = suites.add_parser("scale", parents=[common], help="100,000 and 1,000,000 nodes: seconds, ratios, memory")
    two.add_argument("--nodes", type=_sizes, metavar="SMALL,LARGE", help="the two sizes, default 100000,1000000")
    for name, suite, what in (
        ("context", context, "children of a Context, maps over items, outputs freed after their last reader"),
        ("data", data, "operations, presets, threads, memory strategies and interning of WorkflowData"),
    ):
        command = suites.add_parser(name, parents=[common], help=what)
        command.add_argument("--only", action="append", choices=suite.SECTIONS, default=[], help="these sections alone")
    for name, what in CASE_SUITES.items():
        command = suites.add_parser(name, parents=[common], help=what)
        command.add_argument("--only", action="append", default=[], metavar="SECTION", help="these sections alone")
    return top


def run_suite(options: argparse.Namespace) -> dict[str, Any]:
    """Measure and print; return everything as one JSON-ready document."""
    facts = report.machine()
    print(report.heading(facts), flush=True)
    if options.suite == "scale":
        effort: Any = scale.QUICK if options.quick else scale.Effort()
        if options.nodes:
            effort = replace(effort, small=min(options.nodes), large=max(options.nodes))
        tables = scale.run(effort)
    else:
        print("medians over interleaved rounds; collector off within a round, run between rounds; spread: IQR / median")
        if options.suite == "core":
            effort = core_settings(options)
            tables = core.run(effort)
        elif options.suite in CASE_SUITES:
            effort = harness.QUICK if options.quick else harness.Effort()
            tables = case_tables(options.suite, effort, options)
        else:
            suite: Any = context if options.suite == "context" else data
            effort = replace(suite.QUICK if options.quick else suite.Effort(), sections=tuple(options.only))
            tables = suite.run(effort)
    rows: list[Row] = []
    for table in tables:
        print(f"\n{report.table(table)}", flush=True)
        rows += table
    print(f"\n{report.summary(rows)}", flush=True)
    return {"suite": options.suite, "machine": facts, "settings": asdict(effort), "rows": [r.to_dict() for r in rows]}


def case_tables(suite: str, effort: harness.Effort, options: argparse.Namespace) -> Iterator[list[Row]]:
    """Measure a suite's cases, section by section."""
    cases = importlib.import_module(f"flow_bench.{suite}").cases(options.quick)
    for section in dict.fromkeys(case.section for case in cases):
        if not options.only or section in options.only:
            yield harness.measure(suite, [case for case in cases if case.section == section], effort)


def core_settings(options: argparse.Namespace) -> core.Settings:
    """What the flags ask for."""
    settings = core.QUICK if options.quick else core.Settings()
    if options.nodes:
        settings = replace(settings, nodes=options.nodes)
    if options.rounds:
        settings = replace(settings, rounds=options.rounds, large_rounds=max(3, options.rounds // 7))
    return replace(settings, sections=tuple(options.only))


def _under_each(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the suite under each given interpreter in turn; with ``--json``, gather their documents in one list."""
    rest, skip = [], False
    for argument in arguments:
        if not skip and not argument.startswith(("--python=", "--json=")) and argument not in ("--python", "--json"):
            rest.append(argument)
        skip = not skip and argument in ("--python", "--json")
    root = str(Path(__file__).resolve().parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    worst, runs = 0, []
    for number, program in enumerate(options.python):
        if number:
            print()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "rows.json")
            command = [program, "-m", "flow_bench", *rest, "--json", str(file)]
            try:
                code = subprocess.run(command, env=environment, check=False).returncode
            except OSError as error:
                print(f"flow_bench: cannot run {program}: {error.strerror}", file=sys.stderr)
                code = 2
            worst = max(worst, abs(code))
            if file.exists():
                runs.append(json.loads(file.read_text(encoding="utf-8")))
    if options.json:
        Path(options.json).write_text(json.dumps({"runs": runs}), encoding="utf-8")
    return worst


def _sizes(text: str) -> tuple[int, ...]:
    sizes = tuple(int(part.replace("_", "")) for part in text.split(",") if part)
    if not sizes or min(sizes) < 4:
        raise argparse.ArgumentTypeError("sizes are integers of at least 4, separated by commas")
    return sizes


if __name__ == "__main__":
    sys.exit(main())
