"""What ``import flow`` takes: the time and memory of new processes, interleaved with those of bare Python.

Each process only imports, says what that loaded and ends. Compiled code is cached in a folder of its own, filled by a
round that is not counted, so that neither a read-only installation nor ``PYTHONDONTWRITEBYTECODE`` makes a difference.
The budget is one of processor time: importing is computing, and on a busy machine the rest is other programs' share.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from flow_bench.harness.contender import Refused, require
from flow_bench.harness.interleave import schedule
from flow_bench.harness.processes import environment, resident
from flow_bench.harness.rows import Row, Target

BUDGET = 60.0
"""Milliseconds of processor time that ``import flow`` may take above bare Python."""
BARE = "sys"
"""Imported already in every Python: nothing is added."""
SUBJECT = "flow"
YARDSTICK = "asyncio"
MODULES = (BARE, "msgspec", YARDSTICK, SUBJECT)
OF_YARDSTICK = 0.75
"""What ``import flow`` is to take of the processor time of importing that: an aim, since msgspec takes most of it."""
LAZY = ("anyio", "asyncio", "click", "networkx", "psutil", "rich", "trio", "uvloop")
"""What ``import flow`` must not load: its extras, and what only runs on an event loop need."""

CHILD = """
import sys
from time import process_time
before = set(sys.modules)
{statement}
loaded = set(sys.modules) - before
took = process_time()
from os import getpid
print(getpid(), took, *loaded, flush=True)
sys.stdin.read()
"""
"""Waits until its memory has been looked at: psutil within it would load what it is to be measured without."""


@dataclass(frozen=True)
class Effort:
    """How much to measure: processes per module."""
    rounds: int = 21


QUICK = Effort(rounds=9)


@dataclass(frozen=True)
class Process:
    """What one process took: seconds from start to end, and of the processor; resident bytes; modules loaded."""
    seconds: float
    processor: float
    held: int
    loaded: frozenset[str]


Processes = dict[str, list[Process]]


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the tables of time, memory and modules."""
    found = interleaved(effort.rounds)
    check(SUBJECT, found[SUBJECT])
    budget = Target(BUDGET, of="figure", binding=True)
    yield rows(found, "importing in a new process: processor time", "ms", lambda one: one.processor * 1e3, budget)
    yield share_rows(found)
    yield rows(found, "importing in a new process: from its start to its end", "ms", lambda one: one.seconds * 1e3)
    yield rows(found, "importing in a new process: resident memory", "bytes", lambda one: one.held)
    loaded = found[SUBJECT][-1].loaded
    own = sum(name.partition(".")[0] == SUBJECT for name in loaded)
    note = f"{own} of them its own; none of {', '.join(LAZY)}"
    yield [Row("modules loaded", f"import {SUBJECT}", "modules", figure=len(loaded), note=note)]


def interleaved(rounds: int) -> Processes:
    """Start a process per module and round, in turn."""
    found: Processes = {module: [] for module in MODULES}
    with tempfile.TemporaryDirectory() as folder:
        for turn, which in schedule(len(MODULES), rounds):
            process = start(MODULES[which], folder)
            if turn >= 0:
                found[MODULES[which]].append(process)
    return found


def start(module: str, folder: str, statement: str = "") -> Process:
    """Import ``module`` in a new process that keeps compiled code in ``folder``.

    :param statement: what the process does instead.
    """
    given = environment(PYTHONPYCACHEPREFIX=folder)
    given.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", CHILD.format(statement=statement or f"import {module}")]
    began = perf_counter()
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, env=given, cwd=folder, text=True, **pipes) as process:
        assert process.stdout is not None
        pid, processor, *loaded = process.stdout.readline().split() or ("", "0")
        held = resident(int(pid)) if pid else 0  # not process.pid: on Windows that is a launcher's
        _, errors = process.communicate()
    seconds = perf_counter() - began
    if process.returncode:
        raise Refused(f"import {module}", errors.strip().splitlines()[-1:] or [f"exit code {process.returncode}"])
    return Process(seconds, float(processor), held, frozenset(loaded))


def check(module: str, processes: Sequence[Process]) -> None:
    """Look at what was loaded."""
    require(all(module in process.loaded for process in processes), f"import {module}", "it was not loaded")
    extra = sorted({name for process in processes for name in process.loaded} & set(LAZY))
    require(not extra, f"import {module}", f"it loads {', '.join(extra)}, which only some programs need")


def rows(
    found: Processes, section: str, unit: str, figure: Callable[[Process], float], target: Target | None = None
) -> list[Row]:
    """A figure of bare Python's processes, and how far the others' are above it, round by round."""
    bare = [figure(process) for process in found[BARE]]
    made = [Row(section, "bare Python", unit, bare)]
    for module in MODULES[1:]:
        above = [figure(process) - base for process, base in zip(found[module], bare, strict=True)]
        made.append(Row(section, f"import {module}, above bare Python", unit, above))
    made[-1].target = target
    return made


def share_rows(found: Processes) -> list[Row]:
    """What of the yardstick's processor time msgspec takes, which is the least that ours can, and what ours takes."""
    section = f"importing in a new process: share of the processor time of import {YARDSTICK}"
    made = []
    for module in ("msgspec", SUBJECT):
        shares = [
            (one.processor - base.processor) / (of.processor - base.processor)
            for one, base, of in zip(found[module], found[BARE], found[YARDSTICK], strict=True)
            if of.processor > base.processor
        ]
        made.append(Row(section, f"import {module}", "x", shares))
    made[-1].target = Target(OF_YARDSTICK, of="figure", binding=False)
    return made
