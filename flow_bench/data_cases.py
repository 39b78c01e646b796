"""Rows of the data suite that run under pytest-benchmark: a store of 10 to 1,000 keys, a run of as many nodes.

Kinds of stores share this process, as they do in a program that uses several, and the interpreter adapts a method to
all that it is called with; :mod:`flow_bench.data_cost` gives each kind a process of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import flow
from flow_bench.case import Case, Operation, expect
from flow_bench.data_cost import PRESETS, config_of, made
from flow_bench.data_memory import STRATEGIES, record, store, text
from flow_bench.ways import fresh

SIZES = (10, 100, 1_000)
BYTES = (8, 64, 256, 1_024, 4_096)
RECORD = 64
"""Bytes of the record that a node sets."""


def cases(quick: bool) -> list[Case]:
    """Every row; a quick run has the same ones, in fewer rounds."""
    return [*_pairs(), *_by_bytes(), *_runs()]


# -- a store ---------------------------------------------------------------------------------


def set_and_get(data: Any, keys: Sequence[str], values: Sequence[Any]) -> list[Any]:
    """Set every value under its key, then get them all."""
    for key, value in zip(keys, values, strict=True):
        data.set(key, value)
    return [data.get(key) for key in keys]


def _pairs() -> Iterator[Case]:
    for preset in PRESETS:
        use = fresh(set_and_get)
        for count in SIZES:
            keys, values = [f"key:{i}" for i in range(count)], list(range(count))
            yield Case(
                "set and get, by number of keys: us per key", "every key set, then every key got",
                partial(partial, use, made(preset), keys, values), expect(values),
                per=count, size=count, series=preset,
            )  # fmt: skip


ARENA_KEYS = 100


def _by_bytes() -> Iterator[Case]:
    keys = [f"key:{i}" for i in range(ARENA_KEYS)]
    for label, memory in (("standard", "standard"), ("arena", "arena")):
        for protocol in PROTOCOLS:
            use = fresh(set_and_get)
            for size in BYTES:
                values = [text(i, size) for i in range(ARENA_KEYS)]
                yield Case(
                    f"a string of so many bytes set and got, {ARENA_KEYS} of them: us per string", label,
                    partial(_using, use, protocol, partial(store, memory), keys, values), expect(values),
                    per=ARENA_KEYS, size=size, series=protocol,
                )  # fmt: skip


PROTOCOLS = ("new", "reset")
"""A store made for each use, or one that is reset before each."""


def stores(protocol: str, make: Callable[[], flow.WorkflowData]) -> Callable[[], flow.WorkflowData]:
    """Return what gives an empty store, by the protocol."""
    if protocol == "new":
        return make
    kept = make()

    def again() -> flow.WorkflowData:
        kept.reset()
        return kept

    return again


def _using(
    use: Callable[..., Any], protocol: str, make: Callable[[], flow.WorkflowData], keys: Sequence[str], values: Any
) -> Operation:
    give = stores(protocol, make)
    return lambda: use(give(), keys, values)


# -- a run -----------------------------------------------------------------------------------


def writing(nodes: int) -> flow.Plan:
    """Return a plan of independent nodes that each set a record under a key of its own and return what they get."""
    dag = flow.Dag("writing")
    for i in range(nodes):
        dag.add(f"n{i}", partial(_write, f"key:{i}", record(i, RECORD)))
    return dag.compile()


def _write(key: str, value: Any, ctx: flow.Context) -> Any:
    data = ctx.data
    data.set(key, value)
    return data.get(key)


def _runs() -> Iterator[Case]:
    for nodes in SIZES:
        plan, layout = writing(nodes), flow.Layout([f"key:{i}" for i in range(nodes)])
        wanted = {f"key:{i}": record(i, RECORD) for i in range(nodes)}
        for memory in STRATEGIES:
            make = partial(store, memory, layout if memory == "slots" else None)
            for protocol in PROTOCOLS:
                yield Case(
                    "a run whose nodes each set a record and get it: us per node", memory,
                    partial(_running, plan, stores(protocol, make)), partial(_all_written, wanted),
                    per=nodes, size=nodes, series=protocol,
                )  # fmt: skip


def _running(plan: flow.Plan, give: Callable[[], flow.WorkflowData]) -> Operation:
    return lambda: flow.run(plan, data=give())


def _all_written(wanted: dict[str, Any], result: flow.Result) -> str | None:
    if not result.ok or list(result.outputs.values()) != list(wanted.values()):
        return "a node did not get back what it had set"
    held = dict(result.data.items())
    return None if held == wanted else f"its store holds {len(held)} of {len(wanted)} records, or other ones"
