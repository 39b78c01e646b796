"""Rows of the data suite that run under pytest-benchmark: a store of 10 to 1,000 keys, a run of as many nodes.

Each memory strategy is used in both protocols: with a store made for each use, and with one that is reset before
each. In a table of one protocol no strategy is spared what another pays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import Any

import msgspec

import flow
from flow_bench.harness.contender import Operation, expect, fresh
from flow_bench.harness.stores import PRESETS, STRATEGIES, made, record, store, text
from flow_bench.micro.case import Case, table

SIZES = (10, 100, 1_000)
BYTES = (8, 64, 256, 1_024, 4_096)
STRINGS = 100  # in a store whose size in bytes is varied
RECORD = 64  # bytes of the record that a node sets
PROTOCOLS = ("new", "reset")
KEPT = "kept"  # of a store that is used again as it was left: all its keys are there already
STALE = "stale"  # the key of what a store holds before it is reset
USED = 10  # keys of the store that is used in every way

Prepare = Callable[[], Callable[[], flow.WorkflowData]]


def prepare_by(protocol: str, make: Callable[[], flow.WorkflowData]) -> Prepare:
    """Return what prepares, untimed, a function that gives a store: a new one, or the same, as it is or reset."""
    if protocol == "new":
        return lambda: make
    kept = make()
    if protocol == KEPT:
        return lambda: lambda: kept

    def again() -> flow.WorkflowData:
        kept.reset()
        return kept

    def prepare() -> Callable[[], flow.WorkflowData]:
        kept.set(STALE, STALE)  # so that one that is not reset is found out
        return again

    return prepare


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

    more: dict[str, Any] = {"fresh": True, "per": len(values), "size": size, "series": series}
    return Case(label, lambda: partial(use, prepare(), by_key), check, section=section, **more)


@table
def test_keys(quick: bool) -> list[Case]:
    """More and more keys, by preset."""
    section, label = "set + get by number of keys, per key", "every key set, then every key got"
    return [
        _stored(section, label, preset, count, prepare_by(KEPT, partial(made, preset)), range(count))
        for preset, count in product(PRESETS, SIZES)
    ]


@table
def test_strings(quick: bool) -> Iterator[Case]:
    """Longer and longer strings: arena beside standard."""
    section = f"{STRINGS} strings set + got by bytes of each, per string"
    for memory, protocol, size in product(("standard", "arena"), PROTOCOLS, BYTES):
        strings, prepare = [text(i, size) for i in range(STRINGS)], prepare_by(protocol, partial(store, memory))
        yield _stored(section, memory, protocol, size, prepare, strings)


# -- a run -----------------------------------------------------------------------------------


@table
def test_nodes(quick: bool) -> Iterator[Case]:
    """More and more nodes that use the run's store, by memory strategy."""
    for nodes in SIZES:
        records = {f"key:{i}": record(i, RECORD) for i in range(nodes)}
        plan, layout = writing(records), flow.memory.Layout(records)
        for memory, protocol in product(STRATEGIES, PROTOCOLS):
            make = partial(store, memory, layout if memory == "slots" else None)
            yield Case(
                memory, partial(_running, plan, prepare_by(protocol, make)), partial(_all_written, records),
                section="a run whose nodes each set a small record and get it back, per node",
                fresh=True, per=nodes, size=nodes, series=protocol,
            )  # fmt: skip


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


# -- a store used in every way ---------------------------------------------------------------

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "read_optimized": flow.config.DATA_PRESETS["read_optimized"],
    "high concurrency: a lock for each operation": {"locked": True},
    "metrics_disabled": flow.config.DATA_PRESETS["metrics_disabled"],
    **{f"metrics sampled, {part} %": {"metrics": "sampled", "sample_rate": part / 100} for part in (1, 10, 20)},
    "low_memory": flow.config.DATA_PRESETS["low_memory"],
}
"""By label: the settings, also where no preset has them."""


def use_in_every_way(data: Any, statuses: flow.plan.StatusTracker, size: int) -> tuple[Any, ...]:
    """Set and get keys; set and look up statuses and outputs of half as many nodes; turn all into JSON."""
    for j in range(size):
        data.set(f"key-{j}", f"value-{j}")
    got = [data.get(f"key-{j}") for j in range(size)]
    seen, outputs = [], []
    for j in range(size // 2):
        statuses.set(f"node-{j}", flow.Status.READY)
        seen.append(statuses[f"node-{j}"])
    for j in range(size // 2):
        data.set(f"node-{j}", f"output-{j}")
        outputs.append(data.get(f"node-{j}"))
    return got, seen, outputs, data.to_json()


@table
def test_configurations(quick: bool) -> Iterator[Case]:
    """The mix that the tables of Flow Orchestrator time by configuration."""
    half = USED // 2
    values = [f"value-{j}" for j in range(USED)]
    outputs = [f"output-{j}" for j in range(half)]
    keys = [*[f"key-{j}" for j in range(USED)], *[f"node-{j}" for j in range(half)]]
    written = dict(zip(keys, [*values, *outputs], strict=True))
    for label, settings in CONFIGURATIONS.items():
        yield Case(
            label, partial(_used, fresh(use_in_every_way), flow.DataConfig(**settings)),
            expect((values, [flow.Status.READY] * half, outputs, written), _read),
            section=f"a new store, {USED} keys and {half} nodes: set, get, status, output, JSON, all of it",
            fresh=True, size=USED,
        )  # fmt: skip


def _used(use: Callable[..., Any], config: flow.DataConfig) -> Operation:
    statuses = flow.plan.StatusTracker([f"node-{j}" for j in range(USED // 2)])
    return partial(use, flow.WorkflowData(config), statuses, USED)


def _read(made: tuple[Any, ...]) -> tuple[Any, ...]:
    return (*made[:-1], msgspec.json.decode(made[-1]))


# -- arena beside standard -------------------------------------------------------------------


def block_for(nodes: int) -> int:
    """Bytes of a block that grows with the nodes, as the tables of Flow Orchestrator choose it."""
    return 4_096 * (nodes // 10 + 1)


MEMORIES: dict[str, Callable[[int], flow.DataConfig]] = {
    "standard": lambda nodes: flow.DataConfig(),
    "arena": lambda nodes: flow.DataConfig(memory="arena"),
    "arena, custom block": lambda nodes: flow.DataConfig(memory="arena", block_size=block_for(nodes)),
}


def note_nodes(give: Callable[[], Any], statuses: flow.plan.StatusTracker, nodes: int) -> tuple[Any, ...]:
    """Set and get a key, a status and an output for each of so many nodes; return what was got, and the store."""
    data = give()
    found = []
    for j in range(nodes):
        key, name = f"key{j}", f"node{j}"
        data.set(key, f"value{j}")
        value = data.get(key)
        statuses.set(name, flow.Status.READY)
        status = statuses[name]
        data.set(name, f"output{j}")
        found.append((value, status, data.get(name)))
    return found, data


@table
def test_arena(quick: bool) -> Iterator[Case]:
    """Every memory new and reset; standard also kept, which is how the tables of Flow Orchestrator time it."""
    section = "a key, a status and an output set + got for every node, per node"
    for nodes, (memory, settings) in product(SIZES, MEMORIES.items()):
        for protocol in (*PROTOCOLS, *([KEPT] if memory == "standard" else [])):
            prepare = prepare_by(protocol, partial(flow.WorkflowData, settings(nodes)))
            yield Case(
                memory, partial(_noting, fresh(note_nodes), prepare, nodes), partial(_noted, nodes), section=section,
                fresh=True, per=nodes, size=nodes, series=protocol,
            )  # fmt: skip


def _noting(note: Callable[..., Any], prepare: Prepare, nodes: int) -> Operation:
    statuses = flow.plan.StatusTracker([f"node{j}" for j in range(nodes)])
    return partial(note, prepare(), statuses, nodes)


def _noted(nodes: int, made: tuple[Any, ...]) -> str | None:
    found, data = made
    if found != [(f"value{j}", flow.Status.READY, f"output{j}") for j in range(nodes)]:
        return f"it did not give back what was set for {nodes} nodes"
    return None if len(data) == 2 * nodes else f"the store holds {len(data)} keys, not {2 * nodes}"


# -- to bytes and back -----------------------------------------------------------------------

BYTES_AND_BACK, SNAPSHOT = "to_json(), then from_json()", "snapshot(), then restore() into a new store"
FRESH, BACK = "to_json(): a fresh buffer", "from_json()"
ENCODED, REUSED = "msgspec alone, unchecked: a fresh buffer", "msgspec alone, unchecked: a reused buffer"


@table
def test_saved(quick: bool) -> Iterator[Case]:
    """All of a store that holds a key and an output of every node."""
    for nodes in SIZES:
        values = {f"key{i}": i for i in range(nodes)} | {f"node{i}": f"{i}" for i in range(nodes)}
        data = flow.WorkflowData()
        for key, value in values.items():
            data.set(key, value)
        encoder = msgspec.json.Encoder()
        of_store, of_bytes = expect(values, lambda store: dict(store.items())), expect(values, msgspec.json.decode)
        operations: dict[str, tuple[Operation, Callable[[Any], object]]] = {
            BYTES_AND_BACK: (partial(_there_and_back, data), of_store),
            SNAPSHOT: (partial(_restored, data), of_store),
            FRESH: (data.to_json, of_bytes),
            ENCODED: (partial(_encoded, encoder, data), of_bytes),
            REUSED: (partial(_into, encoder, data, bytearray()), of_bytes),
            BACK: (partial(flow.WorkflowData.from_json, data.to_json()), of_store),
        }
        section = "a store to bytes and back, a key and an output per node, all of it"
        for label, (operation, check) in operations.items():
            yield Case(label, partial(partial, operation), check, section=section, size=nodes)


def _there_and_back(data: flow.WorkflowData) -> flow.WorkflowData:
    return flow.WorkflowData.from_json(data.to_json())


def _restored(data: flow.WorkflowData) -> flow.WorkflowData:
    snapshot, made = data.snapshot(), flow.WorkflowData()
    made.restore(snapshot)
    return made


def _encoded(encoder: msgspec.json.Encoder, data: flow.WorkflowData) -> bytes:
    return encoder.encode(dict(data.items()))


def _into(encoder: msgspec.json.Encoder, data: flow.WorkflowData, buffer: bytearray) -> bytearray:
    encoder.encode_into(dict(data.items()), buffer)
    return buffer
