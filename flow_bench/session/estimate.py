"""How long a run will take here, said before it begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter
from typing import Any

import flow
from flow_bench.harness.loops import counter_loop
from flow_bench.harness.work import Work
from flow_bench.session import store
from flow_bench.session.passes import Part

LOOP = 32e-6
"""Seconds of the loop below on the machine that :attr:`Part.seconds` were taken on."""
LOOKED_AT = 5
"""Saved runs, the newest ones, that are looked at."""


def duration(parts: Sequence[Part], *, quick: bool, facts: Mapping[str, Any]) -> tuple[float, str]:
    """Return about how many seconds the parts will take, and what that is taken from.

    What a saved run of this machine and interpreter took for a part, or else what the part took where its seconds come
    from, times how much slower a loop is here.

    :param facts: of this machine (:func:`flow_bench.harness.machine.facts`).
    """
    known: dict[str, float] = {}
    for document in _recent():
        same = all(document["machine"].get(name) == facts[name] for name in ("cpu", "cores", "python"))
        if same and document["settings"].get("quick") == quick:
            known = document.get("took", {}) | known  # the newest first
    if known.keys() >= {part.text for part in parts}:
        return sum(known[part.text] for part in parts), "as saved runs took here"
    slower = _loop() / LOOP
    return sum(known.get(part.text, part.seconds[not quick] * slower) for part in parts), "by the speed of a loop here"


def _recent() -> Iterable[dict[str, Any]]:
    for path in store.saved()[: -LOOKED_AT - 1 : -1]:
        try:
            yield store.load(str(path))
        except store.NotSaved:  # somebody else's file: nothing is known of it
            continue


def _loop() -> float:
    """Seconds of hand-written counters over a hundred no-op nodes: the least of many."""
    run = counter_loop(Work.of(flow.topologies.sparse_random(100, seed=1)))
    took = []
    for _ in range(100):
        began = perf_counter()
        run()
        took.append(perf_counter() - began)
    return min(took)


def text(seconds: float, source: str) -> str:
    """Say it in words."""
    amount = f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"
    return f"this takes about {amount} ({source})"
