"""One run of several suites: fresh processes, several passes, one document.

Two processes of the same code differ: in memory layout, in the hash seed, in the moment they ran. Rounds within a
process do not show that. So every suite is measured in several *passes*, each a process of its own with its share
of the rounds, one pass over all suites after the other; and a row keeps its rounds by pass, which is what
:mod:`flow_bench.compare` judges by.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

from flow_bench import report
from flow_bench.measure import Identity, Row

SCHEMA = 1
OK, MISSED, USAGE, REFUSED, UNAVAILABLE = 0, 1, 2, 3, 4
"""Exit codes of a suite's process, and of the command."""
PATIENCE = 3_600
"""Seconds after which a suite's process is given up."""
SUITES = (
    "core", "dag", "data", "node", "workflow", "concurrency", "context", "scenarios", "traces", "memory", "peers",
)  # fmt: skip
ON_REQUEST = ("peers",)
"""Left out unless named (or ``--all``): these need other libraries."""
PASSES = 3
ONCE = ("peers",)
"""Suites measured in one pass: contenders there have processes of their own."""
QUICK_FLAGS = {"core": ("--nodes", "100,1000")}


@dataclass(frozen=True)
class Fault:
    """Why a suite has no rows. ``n/a`` if it cannot be measured here; else it was refused, or its process died."""

    suite: str
    what: str
    code: int

    def __str__(self) -> str:
        return f"{self.suite}: {'n/a: ' if self.code == UNAVAILABLE else ''}{self.what}"


class Session:
    """Measures suites pass by pass.

    :ivar documents: what each suite's passes printed as JSON, in order.
    :ivar faults: suites that ended early, by name.
    """

    def __init__(self, suites: Sequence[str], *, quick: bool, say: Callable[[str], object]) -> None:
        self.suites = [name for name in SUITES if name in suites]
        self.quick = quick
        self.say = say
        self.documents: dict[str, list[dict[str, Any]]] = {name: [] for name in self.suites}
        self.faults: dict[str, Fault] = {}

    def measure(self) -> None:
        """Run all passes, saying what is done and how long it took. A suite that fails is left out from then on."""
        for number in range(1, PASSES + 1):
            for suite in self.suites:
                if suite in self.faults or (suite in ONCE and number > 1):
                    continue
                began = perf_counter()
                found = one_pass(suite, quick=self.quick, passes=1 if suite in ONCE else PASSES)
                what = f"pass {number} of {PASSES}  {suite:<12}"
                if isinstance(found, Fault):
                    self.faults[suite] = found
                    self.say(f"{what}{found}")
                else:
                    self.documents[suite].append(found)
                    self.say(f"{what}{len(found['rows']):5} rows {perf_counter() - began:6.1f} s")

    def document(self, name: str) -> dict[str, Any]:
        """Everything measured, as one JSON-ready document."""
        return {
            "schema": SCHEMA,
            "name": name,
            "machine": report.machine(),
            "settings": {"quick": self.quick, "suites": self.suites},
            "passes": PASSES,
            "faults": {suite: str(fault) for suite, fault in self.faults.items()},
            "rows": [row for name in self.suites for row in merged([one["rows"] for one in self.documents[name]])],
        }


def one_pass(suite: str, *, quick: bool, passes: int) -> dict[str, Any] | Fault:
    """Measure one pass of one suite in a new process and return its document."""
    root = str(Path(__file__).resolve().parent.parent)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.json")
        command = [sys.executable, "-m", "flow_bench", suite, "--share", str(passes), "--json", str(file)]
        if quick:
            command += ["--quick", *QUICK_FLAGS.get(suite, ())]
        try:
            done = subprocess.run(
                command, env=environment, check=False, capture_output=True, text=True, timeout=PATIENCE
            )
        except subprocess.TimeoutExpired:
            return Fault(suite, f"its process did not end within {PATIENCE:,} s", REFUSED)
        lines = done.stderr.strip().splitlines() or [f"its process ended with exit code {done.returncode}"]
        if done.returncode == UNAVAILABLE:
            return Fault(suite, lines[-1].removeprefix("flow_bench: "), UNAVAILABLE)
        if done.returncode != OK:
            died = "" if done.returncode == REFUSED else f"its process died with exit code {done.returncode}: "
            return Fault(suite, died + lines[-1].removeprefix("flow_bench: "), REFUSED)
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


# -- passes of a row -------------------------------------------------------------------------


def merged(passes: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Join rows of the same identity: rounds of all passes in one row, and by pass under ``passes``.

    :raises ValueError: if one pass has two rows of one identity: nobody could compare them.
    """
    by_identity: dict[Identity, list[Row]] = {}
    for number, rows in enumerate(passes):
        for found in rows:
            row = Row.from_dict(found)
            mine = by_identity.setdefault(row.identity, [])
            if len(mine) > number:
                raise ValueError(f"two rows are called {' / '.join(map(str, row.identity))}")
            mine.append(row)
    return [_merged(rows) for rows in by_identity.values()]


def _merged(rows: Sequence[Row]) -> dict[str, Any]:
    """One row of all passes: medians of all rounds; a figure that is no median of its rounds, the median of those."""
    whole = Row.from_dict(rows[0].to_dict())
    whole.samples = [sample for row in rows for sample in row.samples]
    whole.ratios = [ratio for row in rows for ratio in row.ratios]
    figures = [row.figure for row in rows if row.figure is not None]
    if figures:
        own = any(row.samples and row.figure != median(row.samples) for row in rows) or not whole.samples
        whole.figure = median(figures) if own else median(whole.samples)
    names = dict.fromkeys(name for row in rows for name in row.figures)
    whole.figures = {name: median([row.figures[name] for row in rows if name in row.figures]) for name in names}
    passes = [{"samples": r.samples, "ratios": r.ratios, "figure": r.figure, "figures": r.figures} for r in rows]
    return whole.to_dict() | {"passes": passes}


def tables(rows: Iterable[dict[str, Any]]) -> str:
    """One table per section."""
    sections: dict[tuple[str, str], list[Row]] = {}
    for found in rows:
        row = Row.from_dict(found)
        sections.setdefault((row.suite, row.section), []).append(row)
    return "\n\n".join(f"[{suite}] {report.table(section)}" for (suite, _), section in sections.items())
