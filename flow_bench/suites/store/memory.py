"""Where memory strategies and interning win and where they lose: time, peak memory, garbage-collector pause.

Times are taken here, contenders interleaved, the collector off within a round. Memory and pauses are taken in child
processes, one per figure, each holding what it is measured for; they print one JSON object. All stores have metrics
off. Keys are made beforehand, as the names in a plan are, except in the store of a million records.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from operator import methodcaller
from time import perf_counter
from typing import Any, TypeAlias

import flow
from flow_bench.harness.child import answer, child
from flow_bench.harness.contender import require
from flow_bench.harness.interleave import Samples, schedule
from flow_bench.harness.processes import peak_mb
from flow_bench.harness.rows import Row, Target, ratios
from flow_bench.harness.stores import STRATEGIES, record, store, text

Found: TypeAlias = dict[str, float]
Use: TypeAlias = Callable[[Sequence[str], Sequence[Any]], list[Any]]
"""Sets every value under its key, then gets them all and returns them."""

BASE = "standard, new"
PAGE = 0.004096
"""MB that memory is given out by: less than that cannot be told from nothing."""
INTERNING = ("none", "individual", "batch", "native", "arena")
HOT = 50
"""Strings of a batch that every batch has; the other half of it is new."""


@dataclass(frozen=True)
class Effort:
    """What is measured how often."""
    sizes: tuple[int, ...] = (8, 64, 256, 1024, 4096)
    counts: tuple[int, ...] = (10, 1_000, 100_000)
    rounds: int = 7
    values: int = 20_000  # set and got per sample, at least
    held: int = 20_000  # values held at once, at least, while memory is measured; 0: it is not measured
    million: int = 1_000_000
    million_rounds: int = 3
    batches: int = 100


QUICK = Effort((64,), (1_000,), rounds=3, values=2_000, held=0, million=20_000, million_rounds=1, batches=10)


KINDS: dict[str, Callable[[int, int], Any]] = {"text": text, "record": record}


def _fill(data: flow.WorkflowData, keys: Sequence[str], values: Sequence[Any]) -> list[Any]:
    put, get = data.set, data.get
    for key, value in zip(keys, values, strict=True):
        put(key, value)
    return [get(key) for key in keys]


def uses(keys: Sequence[str]) -> dict[str, Use]:
    """Every strategy as a function: with a new store each time, and with one that is reset."""
    layout = flow.memory.Layout(keys)
    found: dict[str, Use] = {}
    for memory in STRATEGIES:
        make = partial(store, memory, layout if memory == "slots" else None)
        found[f"{memory}, new"] = partial(_new, make)
        found[f"{memory}, reset"] = partial(_again, make())
    found["pooled"] = partial(_pooled, flow.memory.ObjectPool(partial(store, "standard"), reset=methodcaller("reset")))
    return found


def _new(make: Callable[[], flow.WorkflowData], keys: Sequence[str], values: Sequence[Any]) -> list[Any]:
    return _fill(make(), keys, values)


def _again(data: flow.WorkflowData, keys: Sequence[str], values: Sequence[Any]) -> list[Any]:
    data.reset()
    return _fill(data, keys, values)


def _pooled(pool: flow.memory.ObjectPool[flow.WorkflowData], keys: Sequence[str], values: Sequence[Any]) -> list[Any]:
    with pool.acquire() as data:
        return _fill(data, keys, values)


def time_uses(effort: Effort, kind: str, size: int, count: int) -> Samples:
    """Seconds per value that is set and got, by strategy, round after round."""
    keys = [f"key:{i}" for i in range(count)]
    values = [KINDS[kind](i, size) for i in range(count)]
    contenders = uses(keys)
    labels = list(contenders)
    repeat = max(1, effort.values // count)
    samples = Samples(labels)
    for turn, which in schedule(len(labels), effort.rounds):
        use, got = contenders[labels[which]], []
        began = perf_counter()
        for _ in range(repeat):
            got = use(keys, values)
        took = perf_counter() - began
        _require(got == values, labels[which])
        if turn >= 0:
            samples[labels[which]].append(took / repeat / count)
    return samples


def hold(memory: str, kind: str, size: int, count: int, copies: int) -> Found:
    """Peak MB (10**6 bytes) and pause in ms while ``copies`` stores of ``count`` values are held."""
    keys = [f"key:{i}" for i in range(count)]
    layout, make = flow.memory.Layout(keys) if memory == "slots" else None, KINDS[kind]
    before, stores = _started(), []
    for _ in range(copies):
        data = store(memory, layout)
        for i, key in enumerate(keys):
            data.set(key, make(i, size))
        stores.append(data)
    found = _peak_and_pause(before)
    _require(all(len(data) == count for data in stores), memory)
    _require(all(data.get(keys[-1]) == make(count - 1, size) for data in stores), memory)
    return found


def million(memory: str, count: int) -> Found:
    """As :func:`hold`: one store of ``count`` small dicts whose keys nothing else holds."""
    before, data = _started(), store(memory)
    for i in range(count):
        data.set(f"user:{i}", {"id": i, "name": f"user {i}", "score": i / 2})
    found = _peak_and_pause(before)
    last = count - 1
    _require(data.get(f"user:{last}") == {"id": last, "name": f"user {last}", "score": last / 2}, memory)
    _require(len(data) == count, memory)
    return found


def strings(way: str, batches: int) -> Found:
    """As :func:`hold`: what each interning leaves of ``batches`` batches, of which all strings are needed later."""
    intern, read = interning(way)
    intern(batch(0)), gc.collect()
    before = _started()
    kept = [intern(batch(number)) for number in range(batches)]
    found = _peak_and_pause(before)
    _require(all(read(strings) == batch(number) for number, strings in enumerate(kept)), way)
    return found


def _started() -> float:
    store("standard").set("key", text(1, 8))  # whatever is imported at first use
    store("arena").set("key", text(1, 8))
    gc.collect()
    return peak_mb()


def _peak_and_pause(before: float) -> Found:
    pauses = []
    peak = peak_mb() - before
    for _ in range(5):
        began = perf_counter()
        gc.collect()
        pauses.append(perf_counter() - began)
    return {"MB": max(peak, PAGE), "ms": min(pauses) * 1e3}  # what is above the least is the machine


def _require(true: bool, label: str) -> None:
    require(true, label, "it did not give back what was put in")


def batch(number: int) -> list[str]:
    """Return 100 fresh strings, of which every other is in each batch and the rest only in this one."""
    return [made for i in range(HOT) for made in (f"status of node {i:04d}", f"user {number:06d} at {i:06d}")]


def interning(way: str) -> tuple[Callable[[list[str]], Any], Callable[[Any], list[str]]]:
    """Return how a batch is interned, and how its strings are read back."""
    if way == "arena":
        arena = flow.memory.ArenaStrings()
        return arena.add_many, lambda handles: [arena.get(handle) for handle in handles]
    pool = flow.memory.StringPool()
    ways: dict[str, Callable[[list[str]], list[str]]] = {
        "none": list,
        "individual": lambda texts: [pool.intern(one) for one in texts],
        "batch": pool.intern_many,
        "native": lambda texts: [sys.intern(one) for one in texts],
    }
    return ways[way], list


def time_interning(effort: Effort) -> Samples:
    """Seconds per string, by way; each round with a new pool and fresh strings. ``arena, read`` is reading back."""
    samples = Samples((*INTERNING, "arena, read"))
    for turn, which in schedule(len(INTERNING), effort.rounds):
        way = INTERNING[which]
        intern, read = interning(way)
        batches = [batch(turn * effort.batches + number) for number in range(effort.batches)]
        began = perf_counter()
        kept = [intern(texts) for texts in batches]
        took = perf_counter() - began
        began = perf_counter()
        back = [read(one) for one in kept]
        took_back = perf_counter() - began
        _require(back == batches, way)
        if way not in ("none", "arena"):
            _require(all(a is b for a, b in zip(kept[0][::2], kept[-1][::2], strict=True)), way)
        if turn >= 0:
            samples[way].append(took / effort.batches / (2 * HOT))
            if way == "arena":
                samples["arena, read"].append(took_back / effort.batches / (2 * HOT))
    return samples


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield one table per kind of value and number of values, then those of a million records and of interning."""
    for kind in KINDS:
        for count in effort.counts:
            yield [row for size in effort.sizes for row in _matrix_rows(effort, kind, size, count)]
    yield _million_rows(effort)
    yield _interning_rows(effort)


def _matrix_rows(effort: Effort, kind: str, size: int, count: int) -> list[Row]:
    section = f"{kind} values, {count:,} per store: set + get of one, ratio to the first"
    samples = time_uses(effort, kind, size, count)
    copies = max(1, effort.held // count)
    held = {
        one: child("suites.store.memory", "hold", one, kind, size, count, copies) for one in STRATEGIES if effort.held
    }
    rows = samples.rows(section, "us", BASE, prefix=f"{size:,} bytes: ")
    for row, label in zip(rows, samples, strict=True):
        if held and label.endswith("new"):
            row.note = _memory_note(held[label.split(",")[0]], held["standard"], count * copies)
    return rows


def _memory_note(found: Found, standard: Found, values: int) -> str:
    each = found["MB"] * 1e6 / values
    size, pause = (f"{found[what] / standard[what]:.2f}x" if standard[what] else "-" for what in ("MB", "ms"))
    return f"{each:,.0f} bytes per value ({size}), pause {found['ms']:.2f} ms ({pause})"


def _million_rows(effort: Effort) -> list[Row]:
    section = f"one store of {effort.million:,} small dicts"
    found: dict[str, list[Found]] = {"standard": [], "arena": []}
    for _ in range(effort.million_rounds):
        for memory, rounds in found.items():
            rounds.append(child("suites.store.memory", "million", memory, effort.million))
    rows = []
    for label, unit, at_most in (("peak memory above before", "MB", 0.333), ("full collection pause", "ms", 0.1)):
        base, mine = ([one[unit] for one in rounds] for rounds in found.values())
        target = Target(at_most, binding=True) if effort.million >= 1_000_000 else None
        rows.append(Row(section, f"standard: {label}", unit, base))
        rows.append(Row(section, f"arena: {label}", unit, mine, ratios=ratios(mine, base), target=target))
    return rows


def _interning_rows(effort: Effort) -> list[Row]:
    section = "interning 100 strings, half of them in every batch: time per string, ratio to individual"
    samples = time_interning(effort)
    batches = 20 * effort.batches
    held = {way: child("suites.store.memory", "strings", way, batches) for way in INTERNING if effort.held}
    rows = samples.rows(section, "us", "individual")
    for row in rows:
        if found := held.get(row.label):
            each = found["MB"] * 1e6 / (batches * 2 * HOT)
            row.note = f"{each:,.0f} bytes per string, pause {found['ms']:.2f} ms"
    return rows


if __name__ == "__main__":
    answer(hold, million, strings)
