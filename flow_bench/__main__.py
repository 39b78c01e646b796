"""Measure, print, keep and compare.

``python -m flow_bench SUITE`` measures one suite in this process; ``run`` measures many, each in processes of its own,
pass after pass, and can save what it found; ``compare`` judges two saved runs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flow_bench import command, context, core, data, experiments, harness, report, scale
from flow_bench.checks import Refused
from flow_bench.measure import Row, shared
from flow_bench.session import MISSED, OK, REFUSED, UNAVAILABLE

CASE_SUITES = {
    "dag": "building, compiling and resolving",
    "node": "single nodes of every kind: mean, P50, P95, P99",
    "scenarios": "four everyday workflows with simulated waits",
    "traces": "real workflow traces, as no-ops and replayed",
}
"""Suites made of cases (:mod:`flow_bench.case`): module ``flow_bench.NAME`` has ``cases(quick)``."""
RUN_SUITES = {
    "workflow": "whole workflows, one and thousands at once",
    "concurrency": "unbounded and bounded runs beside the ideal",
    "memory": "bytes per node built, compiled and run; importing flow",
    "adaptive": "limit='auto' beside fixed limits, where a backend degrades and where nothing waits",
    "tune": "what flow.tune finds on five given workloads, as a share of the default",
    "peers": "the same graphs in other libraries",
}
"""Suites that interleave contenders themselves: ``flow_bench.NAME`` has ``run(effort)``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one suite, or what :mod:`flow_bench.command` does.

    :return: 0; 1 if a target is missed under ``--strict``, or a row is slower than ``--fail-over`` allows; 2 for what
        cannot be done as asked; 3 if a contender did not do its work; 4 if the suite needs something not installed.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    top = parser()
    options = top.parse_args(arguments)
    if options.suite in command.COMMANDS:
        return command.main(options, top)
    if options.python:
        return _under_each(options, arguments)
    try:
        document = run_suite(options)
    except Refused as error:
        print(f"flow_bench: {error}", file=sys.stderr)
        return REFUSED
    except ModuleNotFoundError as error:
        print(f"flow_bench: {error.name} is not installed: pip install 'flow[bench]'", file=sys.stderr)
        return UNAVAILABLE
    if options.json:
        Path(options.json).write_text(json.dumps(document), encoding="utf-8")
    return MISSED if options.strict and any(row["verdict"] == "MISS" for row in document["rows"]) else OK


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="python -m flow_bench", description=__doc__)
    suites = top.add_subparsers(dest="suite", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--quick", action="store_true", help="fewer rounds, smaller graphs")
    common.add_argument("--json", metavar="FILE", help="write all rounds of all rows")
    common.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    common.add_argument("--share", type=int, default=1, metavar="N", help="only 1/N of the rounds: a pass of many")
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
        ("experiments", experiments, "changes that might make runs faster: docs/experiments.md says which did"),
    ):
        which = suites.add_parser(name, parents=[common], help=what)
        which.add_argument("--only", action="append", choices=suite.SECTIONS, default=[], help="these sections alone")
    for name, what in {**CASE_SUITES, **RUN_SUITES}.items():
        which = suites.add_parser(name, parents=[common], help=what)
        which.add_argument("--only", action="append", default=[], metavar="SECTION", help="these sections alone")
        which.add_argument("--rounds", type=int, help="rounds of a row, where every sample is of many calls")
    command.add_to(suites)
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
        effort, tables = suite_tables(options)
    rows: list[Row] = []
    for table in tables:
        for row in table:
            row.suite = row.suite or options.suite
        print(f"\n{report.table(table)}", flush=True)
        rows += table
    print(f"\n{report.summary(rows)}", flush=True)
    if twice := [row for row, times in Counter(row.identity for row in rows).items() if times > 1]:
        raise Refused(options.suite, [f"two rows are called {' / '.join(map(str, row))}" for row in twice])
    return {"suite": options.suite, "machine": facts, "settings": asdict(effort), "rows": [r.to_dict() for r in rows]}


def suite_tables(options: argparse.Namespace) -> tuple[Any, Iterator[list[Row]]]:
    """Return how much is measured of a suite, and its tables, which are measured as they are taken."""
    if options.suite in CASE_SUITES:
        effort: Any = harness.QUICK if options.quick else harness.Effort()
        effort = shared(replace(effort, rounds=options.rounds or effort.rounds), options.share)
        return effort, case_tables(options.suite, effort, options)
    if options.suite == "core":
        effort = shared(core_settings(options), options.share)
        return effort, core.run(effort)
    suite: Any = importlib.import_module(f"flow_bench.{'peers.suite' if options.suite == 'peers' else options.suite}")
    effort = shared(suite.QUICK if options.quick else suite.Effort(), options.share)
    if options.only:
        effort = replace(effort, sections=tuple(options.only))
    return effort, suite.run(effort)


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
