"""Rows of the data suite that run under pytest-benchmark: a store of 10 to 1,000 keys, a run of as many nodes.

Each memory strategy is used in both protocols: with a store made for each use, and with one that is reset before
each. In a table of one protocol no strategy is spared what another pays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import flow
from flow_bench.harness.contender import Operation, fresh
from flow_bench.harness.stores import PRESETS, STRATEGIES, made, record, store, text
from flow_bench.micro.case import Case, Measure, table

SIZES = (10, 100, 1_000)
BYTES = (8, 64, 256, 1_024, 4_096)
STRINGS = 100
"""Strings in a store whose size in bytes is varied."""

RECORD = 64
"""Bytes of the record that a node sets."""

PROTOCOLS = ("new", "reset")
STALE = "stale"
"""The key of what a store holds before it is reset."""

Prepare = Callable[[], Callable[[], flow.WorkflowData]]


def prepare_by(protocol: str, make: Callable[[], flow.WorkflowData]) -> Prepare:
    """Return what prepares, untimed, a function that gives an empty store: a new one, or the same one reset."""
    if protocol == "new":
        return lambda: make
    kept = make()

    def again() -> flow.WorkflowData:
        kept.reset()
        return kept

    def prepare() -> Callable[[], flow.WorkflowData]:
        kept.set(STALE, STALE)  # so that one that is not reset is found out
        return again

    return prepare


def kept_one(make: Callable[[], flow.WorkflowData]) -> Prepare:
    """Return what always gives the same store, as it is."""
    kept = make()
    return lambda: lambda: kept


# -- a store ---------------------------------------------------------------------------------


def set_and_get(give: Callable[[], Any], values: Mapping[str, Any]) -> tuple[list[Any], Any]:
    """Set every value under its key, then get them all; return them, and the store."""
    data = give()
    for key, value in values.items():
        data.set(key, value)
    return [data.get(key) for key in values], data


def _stored(section: str, label: str, series: str, size: int, prepare: Prepare, values: Sequence[Any]) -> Case:
    use, by_key = fresh(set_and_get), {f"key:{i}": value for i, value in enumerate(values)}

    def check(found: tuple[list[Any], Any]) -> str | None:
        got, data = found
        if got != list(by_key.values()):
            return f"it did not give back the {len(by_key)} values that were set"
        return None if len(data) == len(by_key) else f"the store holds {len(data)} keys, not {len(by_key)}"

    return Case(
        label, lambda: partial(use, prepare(), by_key), check, section=section,
        fresh=True, per=len(values), size=size, series=series,
    )  # fmt: skip


def keys_cases(quick: bool) -> list[Case]:
    """More and more keys, by preset."""
    section, label = "set + get by number of keys, per key", "every key set, then every key got"
    return [
        _stored(section, label, preset, count, kept_one(partial(made, preset)), range(count))
        for preset in PRESETS
        for count in SIZES
    ]


def strings_cases(quick: bool) -> list[Case]:
    """Longer and longer strings: arena beside standard."""
    section = f"{STRINGS} strings set + got by bytes of each, per string"
    return [
        _stored(
            section, memory, protocol, size, prepare_by(protocol, partial(store, memory)),
            [text(i, size) for i in range(STRINGS)],
        )
        for memory in ("standard", "arena")
        for protocol in PROTOCOLS
        for size in BYTES
    ]  # fmt: skip


# -- a run -----------------------------------------------------------------------------------


def nodes_cases(quick: bool) -> list[Case]:
    """More and more nodes that use the run's store, by memory strategy."""
    section = "a run whose nodes each set a small record and get it back, per node"
    cases = []
    for nodes in SIZES:
        records = {f"key:{i}": record(i, RECORD) for i in range(nodes)}
        plan, layout = writing(records), flow.memory.Layout(records)
        for memory in STRATEGIES:
            for protocol in PROTOCOLS:
                make = partial(store, memory, layout if memory == "slots" else None)
                operation = partial(_running, plan, prepare_by(protocol, make))
                cases.append(
                    Case(
                        memory, operation, partial(_all_written, records), section=section,
                        fresh=True, per=nodes, size=nodes, series=protocol,
                    )
                )  # fmt: skip
    return cases


def writing(records: Mapping[str, Any]) -> flow.Plan:
    """Return a plan of independent nodes that each set a record under a key of its own and return what they get."""
    dag = flow.Dag("writing")
    for i, (key, value) in enumerate(records.items()):
        dag.add(f"n{i}", partial(_write, key, value))
    return dag.compile()


def _write(key: str, value: Any, ctx: flow.Context) -> Any:
    data = ctx.data
    data.set(key, value)
    return data.get(key)


def _running(plan: flow.Plan, prepare: Prepare) -> Operation:
    give = prepare()
    return lambda: flow.run(plan, data=give())


def _all_written(records: Mapping[str, Any], result: flow.Result) -> str | None:
    if not result.ok or list(result.outputs.values()) != list(records.values()):
        return "a node did not get back what it had set"
    held = dict(result.data.items())
    return None if held == records else f"its store holds {len(held)} of {len(records)} records, or others"


# -- tests -----------------------------------------------------------------------------------


@table(keys_cases)
def test_keys(bench: Measure, case: Case) -> None:
    """Set and get every key."""
    bench(case)


@table(strings_cases)
def test_strings(bench: Measure, case: Case) -> None:
    """Set and get strings."""
    bench(case)


@table(nodes_cases)
def test_nodes(bench: Measure, case: Case) -> None:
    """Run nodes that use the store."""
    bench(case)
