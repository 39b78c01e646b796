"""The context suite: what one more item costs, however much the run holds, and what keeping less costs.

``ctx.child`` and its memory (here), the contexts of whole lists beside copies (``items``), maps (``mapping``), three
everyday maps (``examples``), outputs freed (``keeping``), and how soon a node follows another (``handover``).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

import msgspec

import flow
from flow_bench.harness.allocations import traced_peak
from flow_bench.harness.contender import Contender, ready, require
from flow_bench.harness.interleave import interleave
from flow_bench.harness.rows import US, Row, Target, chosen, ratios
from flow_bench.suites.engine import examples, handover, items, keeping, mapping
from flow_bench.suites.engine.mapping import KILOBYTES, dag_of, results

HELD = 100
"""Task results in the context whose items' memory is measured."""


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    sizes: tuple[int, ...] = (0, 10, 50, 100, 500)  # task results in the context
    rounds: int = 61
    deep_rounds: int = 21  # of copies
    children: int = 10_000  # per sample
    counts: tuple[int, ...] = (10, 100, 1_000, 10_000)  # items held at once, while memory is traced
    deep: int = 1_000  # most of them that are copied deeply
    sections: tuple[str, ...] = ()  # all if empty
    mapping: mapping.Effort = field(default_factory=mapping.Effort)
    keeping: keeping.Effort = field(default_factory=keeping.Effort)
    items: items.Effort = field(default_factory=items.Effort)
    examples: examples.Effort = field(default_factory=examples.Effort)
    handover: handover.Effort = field(default_factory=handover.Effort)


QUICK = Effort(
    rounds=15, deep_rounds=5, children=2_000, deep=10, mapping=mapping.QUICK, keeping=keeping.QUICK, items=items.QUICK,
    examples=examples.QUICK, handover=handover.QUICK,
)  # fmt: skip


def context_of(count: int) -> flow.Context:
    """Return the Context of a node that ran after ``count`` others, whose results are in ``ctx.data`` as well."""
    dag, values = dag_of(count), results(count)

    def keeps(ctx: flow.Context) -> flow.Context:
        for name, value in values.items():
            ctx.data.set(name, value)
        return ctx

    dag.add("keeps", keeps, after=list(values))
    result = flow.run(dag)
    found: flow.Context = result["keeps"]
    seen = len(found.data) == count and all(result[name] is value for name, value in values.items())
    require(seen, "the context", f"it should see {count} results")
    return found


def copy_ways(contexts: Mapping[int, flow.Context], effort: Effort) -> list[Contender]:
    """Copies of what the contexts hold, and a child to compare them with."""
    ways = [child_way(min(contexts), contexts[min(contexts)], effort.children)]
    for count, context in contexts.items():
        data = dict(context.data.items())
        times = max(10, effort.children // (10 + count))
        ways.append(ready(f"copy.copy, {count} results", _repeated(copy.copy, data, times), data.__eq__, times))
        deep = 1 if count else times
        ways.append(ready(f"copy.deepcopy, {count} results", _repeated(copy.deepcopy, data, deep), data.__eq__, deep))
    return ways


def child_way(count: int, context: flow.Context, times: int) -> Contender:
    """Make ``times`` children, keeping the last."""

    def run() -> flow.Context:
        child, last = context.child, context
        for i in range(times):
            last = child(i, i)
        return last

    def done(last: flow.Context) -> bool:
        shared = all(last.data[name] is value for name, value in context.data.items())
        return last is not context and last.item == last.index == times - 1 and shared

    return ready(f"ctx.child, {count} results", run, done, times)


def bare_way(times: int) -> Contender:
    """Make Structs of as many fields as a Context has."""
    fields = flow.Context.__struct_fields__
    bare = msgspec.defstruct("Bare", fields)
    rest = [None] * (len(fields) - 2)

    def run() -> Any:
        last, (a, b, c, d) = None, rest
        for i in range(times):
            last = bare(i, i, a, b, c, d)
        return last

    return ready(BARE, run, lambda last: getattr(last, fields[1]) == times - 1, times)


BARE = f"bare msgspec.Struct, {len(flow.Context.__struct_fields__)} fields"


def _repeated(copied: Callable[[Any], Any], data: dict[str, Any], times: int) -> Callable[[], Any]:
    def run() -> Any:
        last = None
        for _ in range(times):
            last = copied(data)
        return last

    return run


def child_section(effort: Effort) -> Iterator[list[Row]]:
    """The cost of a child does not depend on what its context holds; that of a copy does."""
    section = f"one item's context over task results of {KILOBYTES} KB, ratio to no results"
    contexts = {count: context_of(count) for count in effort.sizes}
    ways = [child_way(count, context, effort.children) for count, context in contexts.items()]
    samples = interleave([*ways, bare_way(effort.children)], effort.rounds)
    children = [samples[f"ctx.child, {count} results"] for count in effort.sizes]
    bare, slowest = samples[BARE], max(children, key=median)
    targets = {f"ctx.child, {count} results": Target(1.1, binding=True) for count in effort.sizes[1:]}
    rows = samples.rows(section, "us", children[0], targets=targets)
    rows.append(Row(section, "slowest ctx.child", "us", [s * US for s in slowest], target=Target(0.2, of="figure")))
    price = Target(2.0, of="figure")
    rows.append(Row(section, "slowest ctx.child / bare Struct", "x", ratios(slowest, bare), target=price))
    yield rows
    samples = interleave(copy_ways(contexts, effort), effort.deep_rounds)
    yield samples.rows("a copy of the same results instead, ratio to a child", "us")


def memory_section(effort: Effort) -> Iterator[list[Row]]:
    """Bytes per item's context while all are held; the list that holds them exists before."""
    section = f"memory of items' contexts over {HELD} results of {KILOBYTES} KB, at peak, traced"
    context = context_of(HELD)
    data = dict(context.data.items())
    ways: dict[str, tuple[Callable[[int], Any], int]] = {
        "ctx.child": (lambda i: context.child(i, i), max(effort.counts)),
        "copy.copy": (lambda i: copy.copy(data), max(effort.counts)),
        "copy.deepcopy": (lambda i: copy.deepcopy(data), effort.deep),
    }
    rows = []
    for label, (make, most) in ways.items():
        for count in effort.counts:
            if count > most:
                rows.append(Row(section, f"{count:,} items: {label}", "bytes per item", note="not measured: too much"))
                continue
            peak = held_peak(label, make, count)
            target = Target(200, of="figure", binding=True) if label == "ctx.child" else None
            note = f"{peak / 1e6:.3g} MB"
            each = [peak / count]
            rows.append(Row(section, f"{count:,} items: {label}", "bytes per item", each, target=target, note=note))
    yield rows


def held_peak(label: str, make: Callable[[int], Any], count: int) -> int:
    """Peak bytes while ``count`` items' contexts are made and held."""
    items = list(range(count))
    held: list[Any] = [None] * count

    def fill() -> None:
        for i in items:
            held[i] = make(i)

    peak, _ = traced_peak(fill)
    require(len({id(one) for one in held}) == count, label, f"it should leave {count} objects")
    return peak


SECTIONS: Mapping[str, Callable[[Effort], Iterator[list[Row]]]] = {
    "child": child_section,
    "memory": memory_section,
    "items": lambda effort: items.run(effort.items, context_of(items.HELD)),
    "map": lambda effort: mapping.map_section(effort.mapping),
    "waiting": lambda effort: mapping.waiting_section(effort.mapping),
    "examples": lambda effort: examples.run(effort.examples),
    "keep": lambda effort: keeping.run(effort.keeping),
    "handover": lambda effort: handover.run(effort.handover),
}
run = partial(chosen, SECTIONS)
