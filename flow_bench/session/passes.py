"""One run of several suites: fresh processes, several passes, one document.

Two processes of the same code differ: in memory layout, in the hash seed, in the moment they ran. Rounds within a
process do not show that. So every suite is measured in several *passes*, each a process of its own with its share
of the rounds, one pass over all suites after the other; and a row keeps its rounds by pass, which is what
:mod:`flow_bench.session.compare` judges by.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any

from flow_bench.harness import machine
from flow_bench.harness.allocations import WANTED_BY
from flow_bench.harness.processes import environment
from flow_bench.harness.rows import BELOW, Identity, Row

SCHEMA = 1
OK, MISSED, USAGE, REFUSED, UNAVAILABLE, INTERRUPTED = 0, 1, 2, 3, 4, 130
"""Exit codes of a suite's process, and of the command."""
PATIENCE = 3_600
"""Seconds after which a suite's process is given up."""


@dataclass(frozen=True)
class Part:
    """A suite, or some sections of it.

    :ivar passes: of a run; each takes its share of the rounds. More passes tell more of what differs between
        processes, and cost what a process must do before its first round.
    :ivar flags: of the suite's command; ``quick_flags`` besides, with ``--quick``.
    :ivar seconds: of all passes on the machine of docs/performance.md: with ``--quick`` as a run took them, without it
        estimated from the CPU time of the suites.
    """

    suite: str
    passes: int
    flags: tuple[str, ...] = ()
    quick_flags: tuple[str, ...] = ()
    seconds: tuple[float, float] = (0.0, 0.0)

    @property
    def text(self) -> str:
        """How much of it is measured."""
        return " ".join([self.suite, f"x{self.passes}", *self.flags, *self.quick_flags])


PARTS = (
    Part(
        "core", 5, ("--only", "sync", "--only", "build"), ("--nodes", "100,1000", "--rounds", "20"), seconds=(16, 120)
    ),
    Part(
        "core", 4, ("--only", "async", "--only", "trio", "--only", "uvloop"), ("--nodes", "1000", "--rounds", "12"),
        seconds=(10, 112),
    ),
    Part(
        "core", 1,
        ("--only", "single", "--only", "hot", "--only", "seams", "--only", "loops", "--only", "routing"),
        ("--share", "3"), seconds=(9, 60),
    ),
    Part("dag", 5, (), ("--rounds", "20"), seconds=(12, 40)),
    Part("allocation", 2, seconds=(2, 9)),
    Part("data", 2, seconds=(23, 290)),
    Part("node", 5, (), ("--rounds", "20"), seconds=(5, 10)),
    Part("workflow", 1, (), ("--share", "2"), seconds=(18, 310)),
    Part("concurrency", 1, seconds=(17, 40)),  # most of it is waiting, which passes do not make truer
    Part("context", 2, seconds=(15, 120)),
    Part("scenarios", 3, seconds=(6, 15)),
    Part("traces", 2, seconds=(12, 100)),
    Part("memory", 2, seconds=(7, 48)),
    Part("spec", 1, seconds=(10, 30)),
    Part("durable", 1, seconds=(60, 160)),
    Part("api", 1, seconds=(25, 170)),  # servers and what drives them have processes of their own
    Part("ai", 1, seconds=(35, 120)),
    Part("peers", 1, seconds=(120, 360)),  # contenders have processes of their own there
    Part("adaptive", 1, seconds=(30, 150)),
    Part("tune", 1, seconds=(20, 75)),
    Part("scale", 1, seconds=(22, 190)),
    Part("experiments", 1, seconds=(3, 12)),
)
SUITES = tuple(dict.fromkeys(part.suite for part in PARTS))
ON_REQUEST = ("durable", "api", "ai", "peers", "adaptive", "tune", "scale", "experiments")
"""Left out unless named (or ``--all``): these need other libraries, or long, or answer questions of their own."""


@dataclass(frozen=True)
class Fault:
    """Why a suite has no rows. ``n/a`` if it cannot be measured here; else it was refused, or its process died."""

    suite: str
    what: str
    code: int

    @property
    def text(self) -> str:
        """What there is to say instead of rows."""
        return f"n/a: {self.what}" if self.code == UNAVAILABLE else self.what


class Session:
    """Measures suites pass by pass.

    :ivar documents: what each part's passes wrote as JSON, in order.
    :ivar faults: suites that ended early, by name.
    """

    def __init__(self, suites: Sequence[str], *, quick: bool, say: Callable[[str], object]) -> None:
        self.parts = [part for part in PARTS if part.suite in suites]
        self.quick = quick
        self.say = say
        self.documents: dict[Part, list[dict[str, Any]]] = {part: [] for part in self.parts}
        self.faults: dict[str, Fault] = {}
        self.interrupted = False
        self.took: dict[Part, float] = dict.fromkeys(self.parts, 0.0)

    def measure(self) -> None:
        """Run all passes, saying what is done and how long it took. A suite that fails is left out from then on.

        Ctrl-C ends the run: passes that have ended are kept, and :attr:`interrupted` is true.
        """
        try:
            self._measure()
        except KeyboardInterrupt:
            self.interrupted = True
            self.say("interrupted: the passes that have ended are kept")

    def _measure(self) -> None:
        passes = max(part.passes for part in self.parts)
        for number in range(1, passes + 1):
            for part in self.parts:
                if part.suite in self.faults or number > part.passes:
                    continue
                began = perf_counter()
                found = one_pass(part, quick=self.quick, memory=number == 1)
                took = perf_counter() - began
                self.took[part] += took
                what = f"pass {number} of {part.passes}  {part.suite:<12}"
                if isinstance(found, Fault):
                    self.faults[part.suite] = found
                    self.say(what + found.text)
                else:
                    self.documents[part].append(found)
                    self.say(f"{what}{len(found['rows']):5} rows {took:6.1f} s")

    def document(self, name: str) -> dict[str, Any]:
        """Everything measured, as one JSON-ready document."""
        measured = [[one["rows"] for one in found] for found in self.documents.values()]
        return {
            "schema": SCHEMA, "name": name, "machine": machine.facts(),
            "settings": {"quick": self.quick, "parts": [part.text for part in self.parts]},
            "took": {part.text: took for part, took in self.took.items()},
            "suites": list(dict.fromkeys(part.suite for part in self.parts)),
            "passes": max(part.passes for part in self.parts),
            "faults": {fault.suite: fault.text for fault in self.faults.values()},
            "rows": [row for passes in measured for row in merged(passes)],
        }  # fmt: skip


def one_pass(part: Part, *, quick: bool, memory: bool = True) -> dict[str, Any] | Fault:
    """Measure one pass of one part in a new process and return its document.

    :param memory: say what operations allocate.
    """
    env = environment(**{} if memory else {WANTED_BY: "0"})
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "rows.json")
        command = [sys.executable, "-m", "flow_bench", part.suite, "--share", str(part.passes), "--json", str(file)]
        command += [*part.flags, *(["--quick", *part.quick_flags] if quick else [])]
        try:
            done = subprocess.run(command, env=env, check=False, capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            return Fault(part.suite, f"its process did not end within {PATIENCE:,} s", REFUSED)
        if done.returncode == OK:
            document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            return document
        return _fault(part.suite, done.returncode, done.stderr)


def _fault(suite: str, code: int, stderr: str) -> Fault:
    """What the last line of its errors says; of a process that died, that it did."""
    last = (stderr.strip().splitlines() or ["it said nothing"])[-1].removeprefix("flow_bench: ")
    if code in (REFUSED, UNAVAILABLE):
        return Fault(suite, last, code)
    return Fault(suite, f"its process died with exit code {code}: {last}", REFUSED)


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


def _joined(name: str, figures: Sequence[float]) -> float:
    """The median of the passes; of a share of calls the mean, so that one slow call of one pass is not lost."""
    return fmean(figures) if name == BELOW else median(figures)


def _merged(rows: Sequence[Row]) -> dict[str, Any]:
    """One row of all passes: medians of all rounds; a figure that is no median of its rounds, the median of those."""
    whole = Row.from_dict(rows[0].to_dict())
    for name in ("samples", "ratios", "cpu"):
        setattr(whole, name, [value for row in rows for value in getattr(row, name)])
    figures = [row.figure for row in rows if row.figure is not None]
    if figures:
        own = any(row.samples and row.figure != median(row.samples) for row in rows) or not whole.samples
        whole.figure = median(figures) if own else median(whole.samples)
    names = dict.fromkeys(name for row in rows for name in row.figures)
    whole.figures = {name: _joined(name, [row.figures[name] for row in rows if name in row.figures]) for name in names}
    kept = ("samples", "ratios", "cpu", "figure", "figures")
    return whole.to_dict() | {"passes": [{name: getattr(row, name) for name in kept} for row in rows]}
