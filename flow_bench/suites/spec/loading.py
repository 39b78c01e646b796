"""How long it takes to load a file, beside what PyYAML's C loader takes to compose it alone."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import flow
from flow.spec import loads
from flow_bench.harness.contender import Contender, expect
from flow_bench.harness.interleave import Samples, interleave
from flow_bench.harness.rows import JUDGED, Row, Target, ratios
from flow_bench.harness.work import noop

MODULE = "flow_bench.suites.spec.actions"
ALLOW = f"{MODULE}:*"
TARGETS = {0: 1.5, 3: 3.0}
"""By expressions in a node: the most that loading, without compiling, may take of what composing takes, of
1,000 nodes."""


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    nodes: int = JUDGED
    rounds: int = 31


QUICK = Effort(rounds=7)


def text_of(nodes: int, expressions: int) -> str:
    """Return a file of nodes that follow each other, each with a retry, a time limit and three arguments.

    :param expressions: 0, or 3: all arguments are constants, or all are computed. No two expressions are equal.
    """
    lines = ["flow: 1", "name: big", "inputs: {x: {type: integer, default: 1}}", "nodes:"]
    for i in range(nodes):
        given = f"a: {i}, b: text, c: true"
        if expressions and i:
            given = f'a: "{{{{ n{i - 1} + {i} }}}}", b: "v {{{{ inputs.x + {i} }}}}", c: "{{{{ inputs.x > {i} }}}}"'
        lines += [f"  n{i}:", f"    call: {MODULE}:step", f"    with: {{{given}}}"]
        lines += [f"    after: [n{i - 1}]"] if i else []
        lines += ["    retry: {attempts: 3, delay: 5}", "    timeout: 30"]
    return "\n".join(lines)


def ways(text: str, nodes: int) -> list[Contender]:
    """Compose a text, load it, and compile what was loaded."""
    yaml: Any = importlib.import_module("yaml")
    dag = loads(text, allow=ALLOW)

    def compiling() -> Callable[[], flow.Plan]:
        dag.remove(dag.add("removed", noop))  # then all of the Dag is compiled anew
        return dag.compile

    def composing() -> int:
        """Compose, and let the tree go: loading lets its own go, too."""
        return len(yaml.compose(text, Loader=yaml.CSafeLoader).value[-1][1].value)

    def size(found: flow.Dag) -> int:
        return len(found.compile())

    return [
        Contender("yaml.compose, CSafeLoader", lambda: composing, expect(nodes)),
        Contender("flow.spec.loads", lambda: lambda: loads(text, allow=ALLOW), expect(nodes, size)),
        Contender("Dag.compile alone", compiling, expect(nodes, len)),
    ]


def rows_of(samples: Samples, section: str, nodes: int, target: float) -> list[Row]:
    """Rows of the samples, and the share that has a target."""
    compose, load, compiled = (samples[label] for label in samples)
    rows = samples.rows(section, "ms")
    more = [max(one - two, 0.0) for one, two in zip(load, compiled, strict=True)]
    least = Target(target, of="figure") if nodes == JUDGED else None
    rows.append(Row(section, "(loads - compile) / compose", "x", ratios(more, compose), target=least))
    return rows


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield a table for files without expressions, and one for files with three in each node."""
    for expressions, target in TARGETS.items():
        text = text_of(effort.nodes, expressions)
        samples = interleave(ways(text, effort.nodes), effort.rounds, memory=False)
        what = f"{expressions} expressions" if expressions else "no expressions"
        yield rows_of(samples, f"a file of {effort.nodes:,} nodes with {what} each", effort.nodes, target)
