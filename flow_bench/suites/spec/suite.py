"""The spec suite: what workflow files cost, beside PyYAML, Python, and other languages of expressions.

Sections: *loading* (:mod:`flow_bench.suites.spec.loading`), *expressions* (:mod:`flow_bench.suites.spec.expressions`),
*maps* and *context* (:mod:`flow_bench.suites.spec.maps`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from flow_bench.harness.rows import Row, chosen
from flow_bench.suites.spec import expressions, loading, maps


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    sections: tuple[str, ...] = ()  # all if empty
    loading: loading.Effort = field(default_factory=loading.Effort)
    expressions: expressions.Effort = field(default_factory=expressions.Effort)
    maps: maps.Effort = field(default_factory=maps.Effort)


QUICK = Effort((), loading.QUICK, expressions.QUICK, maps.QUICK)
SECTIONS_OF: Mapping[str, Callable[[Effort], Iterable[list[Row]]]] = {
    "loading": lambda effort: loading.run(effort.loading),
    "expressions": lambda effort: expressions.run(effort.expressions),
    "maps": lambda effort: [maps.examples(effort.maps)],
    "context": lambda effort: [maps.context(effort.maps)],
}
SECTIONS = tuple(SECTIONS_OF)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows of one table after another. :raises ModuleNotFoundError: without PyYAML."""
    importlib.import_module("yaml")
    yield from chosen(SECTIONS_OF, effort)
