"""The API suite: the service over HTTP, driven from another process, beside the same work in other frameworks.

Sections: *beside* (:mod:`flow_bench.suites.api.beside`), *payload*, *connections*, *limiter* and *mixed*
(:mod:`flow_bench.suites.api.alone`), *memory* (:mod:`flow_bench.suites.api.memory`), and *long*: a million requests,
which are sent if that is asked for (``--long``, ``--only long``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module

from flow_bench.harness.rows import Row
from flow_bench.suites.api import alone, beside, memory
from flow_bench.suites.api.trials import Pool

NEEDED = ("httptools", "prometheus_client", "starlette", "uvicorn")
"""Packages of the servers; of a process that lacks one, only the last line would be known."""


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    sections: tuple[str, ...] = ()  # all if empty
    beside: beside.Effort = field(default_factory=beside.Effort)
    alone: alone.Effort = field(default_factory=alone.Effort)
    memory: memory.Effort = field(default_factory=memory.Effort)
    long: bool = False


QUICK = Effort((), beside.QUICK, alone.QUICK, memory.QUICK)
SECTIONS: Mapping[str, Callable[[Effort, Pool], Iterable[list[Row]]]] = {
    "beside": lambda effort, pool: beside.run(effort.beside, pool),
    "payload": lambda effort, pool: [alone.payload(effort.alone, pool)],
    "connections": lambda effort, pool: [alone.connections(effort.alone, pool)],
    "limiter": lambda effort, pool: [alone.limiter(effort.alone, pool)],
    "mixed": lambda effort, pool: [alone.mixed(effort.alone, pool)],
    "memory": lambda effort, pool: [memory.run(effort.memory)],
    "long": lambda effort, pool: [memory.long(effort.memory)] if effort.long or "long" in effort.sections else [],
}


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows of one table after another. :raises ModuleNotFoundError: if what a service needs is missing."""
    for name in NEEDED:
        import_module(name)
    with Pool() as pool:
        for name, section in SECTIONS.items():
            if not effort.sections or name in effort.sections:
                yield from section(effort, pool)
