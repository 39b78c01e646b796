"""The durable suite: what a store of runs costs, beside no store and beside the same written by hand.

Sections: *nodes*, *waits*, *transactions* and *map* (:mod:`flow_bench.suites.durable.nodes`), *load*
(:mod:`flow_bench.suites.durable.loading`), *listing*, *resumptions* and *write* (the modules of like names). With other
libraries, it is :mod:`flow_bench.peers.durable`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from flow_bench.harness.rows import Row, chosen
from flow_bench.suites.durable import listing, loading, nodes, resuming, writing


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    sections: tuple[str, ...] = ()  # all if empty
    nodes: nodes.Effort = field(default_factory=nodes.Effort)
    loading: loading.Effort = field(default_factory=loading.Effort)
    listing: listing.Effort = field(default_factory=listing.Effort)
    resuming: resuming.Effort = field(default_factory=resuming.Effort)
    writing: writing.Effort = field(default_factory=writing.Effort)


QUICK = Effort((), nodes.QUICK, loading.QUICK, listing.QUICK, resuming.QUICK, writing.QUICK)
SECTIONS: Mapping[str, Callable[[Effort], Iterable[list[Row]]]] = {
    "nodes": lambda effort: nodes.run(effort.nodes),
    "waits": lambda effort: nodes.waits(effort.nodes),
    "transactions": lambda effort: [nodes.transactions(effort.nodes)],
    "map": lambda effort: [nodes.items(effort.nodes)],
    "load": lambda effort: loading.run(effort.loading),
    "listing": lambda effort: [listing.run(effort.listing)],
    "resumptions": lambda effort: resuming.run(effort.resuming),
    "write": lambda effort: [writing.run(effort.writing)],
}


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the rows of one table after another."""
    yield from chosen(SECTIONS, effort)
