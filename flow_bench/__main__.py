"""Measure, print, keep and compare.

``python -m flow_bench SUITE`` measures one suite in this process; ``run`` measures many, each in processes of its own,
pass after pass, and can save what it found; ``compare`` judges two saved runs.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flow_bench import command
from flow_bench.harness import machine
from flow_bench.harness.contender import Refused
from flow_bench.harness.processes import environment
from flow_bench.harness.rows import Row, shared
from flow_bench.report import tables as report
from flow_bench.session.passes import INTERRUPTED, MISSED, OK, REFUSED, UNAVAILABLE, USAGE
from flow_bench.suites.engine import core, scale

CASE_SUITES = ("allocation", "dag", "node", "scenarios", "traces")
"""Suites made of cases alone: the tests of ``flow_bench/micro/test_NAME.py``."""
RUN_SUITES = {
    "core": "suites.engine.core",
    "context": "suites.engine.context",
    "data": "suites.store.data",
    "experiments": "suites.experiments.suite",
    "workflow": "suites.load.workflow",
    "concurrency": "suites.engine.concurrency",
    "memory": "suites.engine.memory",
    "adaptive": "suites.engine.adaptive",
    "tune": "suites.engine.tune",
    "spec": "suites.spec.suite",
    "durable": "peers.durable",
    "api": "suites.api.suite",
    "ai": "peers.asking",
    "peers": "peers.suite",
}
"""Suites that interleave contenders themselves: the module has ``run(effort)``, ``Effort``, ``QUICK``, ``SECTIONS``."""
EXTRAS = {"api": "bench,http,metrics", "ai": "ai,bench"}
"""What suites need that the extra ``bench`` does not have."""


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
        if fault := unknown_sections(options):
            print(f"flow_bench: {fault}", file=sys.stderr)
            return USAGE
        document = run_suite(options)
    except KeyboardInterrupt:
        print("flow_bench: interrupted", file=sys.stderr)
        return INTERRUPTED
    except Refused as error:
        print(f"flow_bench: {error}", file=sys.stderr)
        return REFUSED
    except ModuleNotFoundError as error:
        extras = EXTRAS.get(options.suite, "bench")
        print(f"flow_bench: {error.name} is not installed: pip install '.[{extras}]'", file=sys.stderr)
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
    common.add_argument("--json", type=command.new_file, metavar="FILE", help="write all rounds of all rows")
    common.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    common.add_argument("--share", type=_count, default=1, metavar="N", help="only 1/N of the rounds: a pass of many")
    under = "run under this interpreter (repeatable)"
    common.add_argument("--python", metavar="PROGRAM", action="append", default=[], help=under)
    one = suites.add_parser("core", parents=[common], help=report.SUITES["core"])
    one.add_argument("--nodes", type=_sizes, metavar="N,N,...", help="graph sizes, default 100,1000,10000")
    one.add_argument("--rounds", type=_count, metavar="N", help="rounds for graphs of at most 1,000 nodes")
    one.add_argument("--only", action="append", choices=core.SECTIONS, default=[], help="this section (repeatable)")
    two = suites.add_parser("scale", parents=[common], help=report.SUITES["scale"])
    two.add_argument("--nodes", type=_sizes, metavar="SMALL,LARGE", help="the two sizes, default 100000,1000000")
    for name in (*CASE_SUITES, *[one for one in RUN_SUITES if one != "core"]):
        which = suites.add_parser(name, parents=[common], help=report.SUITES[name])
        which.add_argument("--only", action="append", default=[], metavar="SECTION", help="these sections alone")
        if name == "api":
            which.add_argument("--long", action="store_true", help="the section long too: a million requests")
        if name in CASE_SUITES:
            many = "rounds of a row, where every sample is of many calls"
            which.add_argument("--rounds", type=_count, metavar="N", help=many)
    command.add_to(suites)
    return top


def unknown_sections(options: argparse.Namespace) -> str:
    """Say which sections of ``--only`` the suite does not have, and which it has; nothing if all is well."""
    wanted = getattr(options, "only", [])
    if not wanted:
        return ""
    if options.suite in CASE_SUITES:
        tables = _micro().tables_of(options.suite, options.quick)
        known = dict.fromkeys([case.section for _, cases in tables for case in cases])
        if {test for test, _ in tables}.issuperset(wanted):
            return ""
    else:
        known = dict.fromkeys(_module(options.suite).SECTIONS)
    unknown = ", ".join(repr(name) for name in wanted if name not in known)
    return f"{options.suite} has no section {unknown}; it has {', '.join(map(repr, known))}" if unknown else ""


def _micro() -> Any:
    """What measures cases: imported when it is needed, since it needs pytest."""
    return importlib.import_module("flow_bench.micro.measuring")


def _module(suite: str) -> Any:
    return importlib.import_module(f"flow_bench.{RUN_SUITES[suite]}")


def run_suite(options: argparse.Namespace) -> dict[str, Any]:
    """Measure and print; return everything as one JSON-ready document."""
    facts = machine.facts()
    print(machine.heading(facts), flush=True)
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
        measuring = _micro()
        effort: Any = measuring.QUICK if options.quick else measuring.Effort()
        effort = shared(replace(effort, rounds=options.rounds or effort.rounds), options.share)
        return effort, measuring.measure(options.suite, effort, options.only)
    suite = _module(options.suite)
    if options.suite == "core":
        effort = core.QUICK if options.quick else core.Settings()
        if options.nodes:
            effort = replace(effort, nodes=options.nodes)
        if options.rounds:
            effort = replace(effort, rounds=options.rounds, large_rounds=max(3, options.rounds // 7))
    else:
        effort = suite.QUICK if options.quick else suite.Effort()
    if getattr(options, "long", False):
        effort = replace(effort, long=True)
    effort = shared(effort, options.share)
    if options.only:
        effort = replace(effort, sections=tuple(options.only))
    return effort, suite.run(effort)


def _under_each(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Run the suite under each given interpreter in turn; with ``--json``, gather their documents in one list."""
    ours = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    ours.add_argument("--python", action="append")
    ours.add_argument("--json")
    _, rest = ours.parse_known_args(arguments)
    worst, runs = 0, []
    for number, program in enumerate(options.python):
        if number:
            print()
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "rows.json")
            command = [program, "-m", "flow_bench", *rest, "--json", str(file)]
            try:
                code = subprocess.run(command, env=environment(), check=False).returncode
            except OSError as error:
                print(f"flow_bench: cannot run {program}: {error.strerror}", file=sys.stderr)
                code = USAGE
            worst = max(worst, abs(code))
            if file.exists():
                runs.append(json.loads(file.read_text(encoding="utf-8")))
    if options.json:
        Path(options.json).write_text(json.dumps({"runs": runs}), encoding="utf-8")
    return worst


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no integer of at least 1")
    return int(text)


def _sizes(text: str) -> tuple[int, ...]:
    parts = [part.replace("_", "") for part in text.split(",") if part]
    sizes = tuple(int(part) for part in parts if part.isdecimal())
    if not sizes or min(sizes) < 4 or len(sizes) < len(parts):
        raise argparse.ArgumentTypeError("sizes are integers of at least 4, separated by commas")
    return sizes


if __name__ == "__main__":
    sys.exit(main())
