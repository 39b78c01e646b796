"""The commands ``run``, ``compare`` and ``originals``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

from flow_bench.harness import machine
from flow_bench.harness.contender import Refused
from flow_bench.harness.rows import Row
from flow_bench.originals import measured
from flow_bench.originals.page import page
from flow_bench.originals.table import SOURCES, source
from flow_bench.report import changes
from flow_bench.report import tables as report
from flow_bench.session import compare as judge
from flow_bench.session import estimate, store
from flow_bench.session import passes as session
from flow_bench.session.passes import INTERRUPTED, MISSED, OK, REFUSED, UNAVAILABLE, USAGE, Session

COMMANDS = ("run", "compare", "originals")


def new_file(text: str) -> str:
    """An argument that is a file to be written: refused before anything is measured if its folder is not there."""
    folder = Path(text).parent
    if not folder.is_dir() or Path(text).is_dir():
        what = f"there is no folder {str(folder)!r}" if not folder.is_dir() else f"{text!r} is a folder"
        raise argparse.ArgumentTypeError(what)
    return text


def percent(text: str) -> float:
    """An argument that is a percentage."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no percentage: write a number of at least 0, as in 10")
    return value


def add_to(suites: Any) -> None:
    """Add the commands to the parser's."""
    run = suites.add_parser("run", help="many suites, each in fresh processes; save and compare")
    run.add_argument("--all", action="store_true", help="all there is, the other libraries too (needs the extra peers)")
    for name in session.SUITES:
        run.add_argument(f"--{name}", action="store_true", help=report.SUITES[name])
    run.add_argument("--quick", action="store_true", help="fewer rounds: 2.5 minutes without --all")
    name = "keep it; default name: date and commit; NAME.tar.gz: compressed"
    run.add_argument("--save", nargs="?", const="", metavar="NAME", help=name)
    other = "with this saved run; default: the newest"
    run.add_argument("--compare", nargs="?", const="", metavar="NAME|FILE", help=other)
    run.add_argument("--html", type=new_file, metavar="FILE", help="one self-contained page: plots, all rows")
    run.add_argument("--json", type=new_file, metavar="FILE", help="all rounds of all rows")
    compare = suites.add_parser("compare", help="judge two saved runs row by row")
    compare.add_argument("before", metavar="BEFORE", help="name of a saved run, or a file")
    compare.add_argument("after", metavar="AFTER", nargs="?", default="", help="default: the newest saved run")
    for one in (run, compare):
        over = "exit with 1 if a row is surely slower by more than this"
        one.add_argument("--fail-over", type=percent, metavar="PERCENT", help=over)
        one.add_argument("--every-row", action="store_true", help="list also the rows that do not differ")
    originals = suites.add_parser("originals", help="the originals' tables, row by row, with our figures beside theirs")
    for name in SOURCES:
        originals.add_argument(f"--{name}", action="store_true", help=f"{source(name).name}; without a flag: all three")
    originals.add_argument("--quick", action="store_true", help="fewer rounds")
    originals.add_argument("--write", type=new_file, metavar="FILE", help="write the page, docs/originals.md")


def main(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Do what was asked. The exit codes are those of :func:`flow_bench.__main__.main`."""
    try:
        if options.suite == "run":
            return run(options, parser)
        if options.suite == "compare":
            before = store.load(options.before)
            return compared(before, store.load(options.after, but=before["name"]), options)
        return beside_originals(options)
    except store.NotSaved as error:
        print(f"flow_bench: {error}", file=sys.stderr)
        return USAGE


def run(options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Measure suites, print their tables, and keep, compare and draw them as asked."""
    for flag, given in (("--fail-over", options.fail_over is not None), ("--every-row", options.every_row)):
        if given and options.compare is None:
            parser.error(f"{flag} is for --compare")
    if options.save is not None:
        store.path_of(options.save or "any")
        store.make_folder()
    name = store.name_of(Path(options.save or ""))
    baseline = None if options.compare is None else store.load(options.compare, but=name)
    facts = machine.facts()
    print(machine.heading(facts), flush=True)
    began = perf_counter()
    measuring = Session(chosen(options), quick=options.quick, say=lambda line: print(line, flush=True))
    print(estimate.text(*estimate.duration(measuring.parts, quick=options.quick, facts=facts)), flush=True)
    measuring.measure()
    document = measuring.document(name or store.default_name(facts))
    print(f"\n{report.tables(document['rows'])}\n")
    print(report.summary([Row.from_dict(row) for row in document["rows"]]))
    print(f"{len(document['rows'])} rows in {perf_counter() - began:.0f} s")
    written = write(options, document, baseline)
    code = OK if baseline is None else compared(baseline, document, options)
    for fault in measuring.faults.values():
        print(f"flow_bench: {fault.suite}: {fault.text}", file=sys.stderr)
    if any(fault.code != UNAVAILABLE for fault in measuring.faults.values()):
        return REFUSED
    return INTERRUPTED if measuring.interrupted else code if written else USAGE


def write(options: argparse.Namespace, document: dict[str, Any], baseline: dict[str, Any] | None) -> bool:
    """Write what ``--save``, ``--json`` and ``--html`` ask for; what cannot be written is said, and the rest is.

    :return: whether all was written.
    """

    def html() -> None:
        from flow_bench.report import page as html

        html.write(document, Path(options.html), baseline)

    writers: list[tuple[str, Any, Callable[[], object]]] = [
        ("saved as", options.save, lambda: store.save(document, options.save)),
        ("written to", options.json, lambda: Path(options.json).write_text(json.dumps(document), encoding="utf-8")),
        ("drawn in", options.html, html),
    ]
    whole = True
    for what, asked, writer in writers:
        if asked is None:
            continue
        try:
            made = writer()
            print(f"{what} {made if what == 'saved as' else asked}")
        except (OSError, store.NotSaved) as error:
            text = str(error) if isinstance(error, store.NotSaved) else f"{asked} cannot be written: {error.strerror}"
            print(f"flow_bench: {text}", file=sys.stderr)
            whole = False
    return whole


def beside_originals(options: argparse.Namespace) -> int:
    """Measure what stands beside the originals' rows; print or write their tables."""
    named = [name for name in SOURCES if getattr(options, name)]
    sources = [source(name) for name in named or SOURCES]
    try:
        rows = measured.measure(sources, quick=options.quick, say=lambda line: print(line, file=sys.stderr, flush=True))
    except Refused as error:
        print(f"flow_bench: {error}", file=sys.stderr)
        return REFUSED
    flags = [*(f"--{name}" for name in named), *["--quick"] * options.quick]
    flags += ["--write", options.write] if options.write else []
    text = page(sources, rows, machine.facts(), " ".join(["python -m flow_bench originals", *flags]))
    if options.write:
        Path(options.write).write_text(text, encoding="utf-8")
        print(f"written to {options.write}")
    else:
        print(text)
    missing = measured.missing(sources, rows)
    for absent in missing:
        print(f"flow_bench: no suite has the row {absent}", file=sys.stderr)
    return MISSED if missing else OK


def chosen(options: argparse.Namespace) -> list[str]:
    """The suites asked for; all but the other libraries if none is."""
    if options.all:
        return list(session.SUITES)
    named = [name for name in session.SUITES if getattr(options, name)]
    return named or [name for name in session.SUITES if name not in session.ON_REQUEST]


def compared(before: dict[str, Any], after: dict[str, Any], options: argparse.Namespace) -> int:
    """Print what differs; return 1 if a row is slower by surely more than ``--fail-over`` per cent."""
    found = judge.compare(before, after)
    print(f"\n{changes.text(found, before, after, every_row=options.every_row)}")
    over = [] if options.fail_over is None else found.over(options.fail_over)
    if over:
        print(f"flow_bench: {len(over)} rows are slower by more than {options.fail_over:g} %", file=sys.stderr)
    return MISSED if over else OK
