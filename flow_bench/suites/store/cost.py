"""What operations of a store cost: contenders interleaved, each set of them in a process of its own.

CPython adapts a method's code to the classes it is called with. A program that uses one kind of store has the
figures of a process that uses one; where kinds share theirs, some take up to a tenth longer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import repeat
from typing import Any, TypeAlias

import flow
from flow_bench.harness.allocations import Allocated, traced_peak
from flow_bench.harness.child import child
from flow_bench.harness.contender import Contender, fresh, ready, require
from flow_bench.harness.interleave import Samples, interleave
from flow_bench.harness.rows import Row, Target, ratios
from flow_bench.harness.stores import PRESETS, config_of, made

DICT = "dict"
"""Stands for a bare dict among the kinds of stores."""

KEYS = [f"key:{i}" for i in range(10)]
TIMES = 200
"""Times that all keys are used in one sample."""

Loop: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True)
class Effort:
    """How much to measure."""
    rounds: int = 61
    held: int = 20_000  # values held while memory is traced
    apart: bool = True  # memories and internings in a process each


QUICK = Effort(rounds=9, held=2_000, apart=False)


class Plain:
    """Set and get of a dict as methods, and nothing else."""

    __slots__ = ("_left", "_ticks", "_values")

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._left = 1e15
        self._ticks = repeat(None)

    def set(self, key: str, value: Any) -> None:
        self._values[key] = value

    def get(self, key: str, default: Any = None, /) -> Any:
        try:
            return self._values[key]
        except KeyError:
            return default

    def items(self) -> list[tuple[str, Any]]:
        return list(self._values.items())


class Decremented(Plain):
    """The same after one decrement of a slot and one test."""

    __slots__ = ()

    def set(self, key: str, value: Any) -> None:
        self._left -= 1.0
        if self._left > 0.0:
            self._values[key] = value

    def get(self, key: str, default: Any = None, /) -> Any:
        self._left -= 1.0
        if self._left > 0.0:
            try:
                return self._values[key]
            except KeyError:
                pass
        return default


class Stepped(Plain):
    """The same after one step of an iterator, which counts and tests at once."""

    __slots__ = ()

    def set(self, key: str, value: Any) -> None:
        for _ in self._ticks:
            self._values[key] = value
            return

    def get(self, key: str, default: Any = None, /) -> Any:
        for _ in self._ticks:
            try:
                return self._values[key]
            except KeyError:
                return default
        return default


BY_HAND: dict[str, type[Plain]] = {
    "by hand": Plain, "by hand, a decrement and a test": Decremented, "by hand, an iterator's step": Stepped,
}  # fmt: skip
"""What a countdown must cost: the fewest lines that count each call, beside the same without."""


def dict_pairs(data: Any) -> Any:
    """Set and get, of a dict."""
    for number in range(TIMES):
        for key in KEYS:
            data[key] = number
            data.get(key)


def pairs(data: Any) -> Any:
    """Set and get."""
    for number in range(TIMES):
        for key in KEYS:
            data.set(key, number)
            data.get(key)


def reads(data: Any) -> Any:
    """Set one key, get 19: 95 % reads."""
    got: Any = None
    for number in range(TIMES):
        data.set(KEYS[number % 10], number)
        for key in KEYS:
            got = data.get(key)
        for key in KEYS[:9]:
            got = data.get(key)
    return got


def mixed(data: Any) -> Any:
    """10 set, 10 get, 5 statuses, 5 outputs, 1 snapshot."""
    snapshot: Any = None
    for number in range(TIMES // 10):
        for key in KEYS:
            data.set(key, number)
        for key in KEYS:
            data.get(key)
        for key in KEYS[:5]:
            data.statuses[key]
        for key in KEYS[:5]:
            data.outputs[key]
        snapshot = data.snapshot()
    return snapshot


def texts(data: Any) -> Any:
    """Set fresh strings, half of them seen before, and get each ten times, as a service does with states and labels."""
    for number in range(TIMES // 10):
        for i, key in enumerate(KEYS):
            data.set(key, bytes(TEXT % (i % 2 * number), "ascii").decode())
            for _ in KEYS:
                data.get(key)


TEXT = "state of the worker: %06d"
LOOPS: dict[str, tuple[Loop, int]] = {
    "pairs": (pairs, TIMES * 10),
    "reads": (reads, TIMES * 20),
    "mixed": (mixed, TIMES // 10),
    "texts": (texts, TIMES * 11),
}
"""The loop of each workload, and the operations that one call does (calls of ``mixed``: 31 operations each)."""


def way(workload: str, kind: str) -> Contender:
    """Run the loop of ``workload`` on a store of ``kind``."""
    if kind == DICT:
        bare: dict[str, Any] = {}
        written = dict.fromkeys(KEYS, TIMES - 1)
        return ready(kind, partial(fresh(dict_pairs), bare), lambda _: bare == written, TIMES * 10)
    data: Any = BY_HAND[kind]() if kind in BY_HAND else of_a_run(kind) if workload == "mixed" else made(kind)
    loop, operations = LOOPS[workload]
    return ready(kind, partial(fresh(loop), data), partial(_as_left_by, workload, data), operations)


def _as_left_by(workload: str, data: Any, found: Any) -> bool:
    """Tell whether the store holds what the workload's last turn left there."""
    by_workload: dict[str, dict[str, Any]] = {
        "pairs": dict.fromkeys(KEYS, TIMES - 1),
        "reads": {key: TIMES - 10 + i for i, key in enumerate(KEYS)},
        "mixed": dict.fromkeys(KEYS, TIMES // 10 - 1),
        "texts": {key: TEXT % (i % 2 * (TIMES // 10 - 1)) for i, key in enumerate(KEYS)},
    }
    last = by_workload[workload]
    seen = dict(found) == last if workload == "mixed" else found == last[KEYS[8]] if workload == "reads" else True
    return seen and dict(data.items()) == last == {key: data.get(key) for key in KEYS}


def of_a_run(kind: str) -> flow.WorkflowData:
    """Return the store of a run of ten nodes."""
    dag = flow.Dag("ten")
    for key in KEYS:
        dag.add(key, partial(str, key))
    result = flow.run(dag, config=flow.Config(data=config_of(kind)))
    data = result.data
    seen = dict(data.outputs) == {key: key for key in KEYS} and set(data.statuses.values()) == {flow.Status.COMPLETED}
    require(seen, kind, "its run's outputs and statuses are not to be seen")
    return data


def held(kind: str, what: str, count: int) -> float:
    """Peak bytes per value, traced, while a store holds ``count`` small records or strings of which half repeat."""
    data = made(kind)
    data.set("warm", "up")
    keys = [f"value:{i}" for i in range(count)]

    def fill() -> None:
        for i, key in enumerate(keys):
            data.set(key, _value(what, i))

    peak, _ = traced_peak(fill)
    whole = len(data) == count + 1 and all(data.get(key) == _value(what, i) for i, key in enumerate(keys))
    require(whole, kind, "it does not hold what was set")
    return peak / count


def _value(what: str, number: int) -> Any:
    if what == "texts":  # a fresh object each time, as one that was received
        return bytes(TEXT % (number if number % 2 else 0), "ascii").decode()
    return {"id": number, "name": f"user {number}", "score": number / 2}


METRICS = [f"metrics={metrics}" for metrics in ("off", "counting", "sampled")]
KINDS = (
    "memory=standard", "memory=slots", "memory=arena", "direct_reads=True", "locked=True",
    "interning=native intern=keys", "interning=pool intern=keys", "interning=pool", "interning=arena",
)  # fmt: skip
RARELY = "metrics=sampled sample_rate=0.001"
OFTEN = ("metrics=sampled sample_rate=0.1", "metrics=sampled sample_rate=0.2")
"""As others recommend for production."""
SAMPLED = "metrics=sampled"
"""No preset: it wins nothing over default, as its row shows."""


def timed(workload: str, kinds: Sequence[str], effort: Effort) -> Samples:
    """Seconds per operation of each kind, interleaved, in a process of their own."""
    seconds, memory = child("suites.store.cost", workload, effort.rounds, *kinds)
    samples = Samples()
    samples.update(seconds)
    samples.allocated = {kind: Allocated(*found) for kind, found in memory.items()}
    return samples


def cost_rows(effort: Effort) -> Iterator[list[Row]]:
    """Metrics beside one another and a dict; then every other kind beside a dict."""
    section = "set + get of one key, ratio to a bare dict's"
    samples = timed("pairs", [DICT, *METRICS], effort)
    rows = samples.rows(section, "us")
    rows[1].target = Target(2.5)
    for metrics, at_most in (("counting", 1.5), ("sampled", 1.15)):
        price = samples.over(f"metrics={metrics}", "metrics=off")
        rows.append(Row(section, f"  {metrics} / off", "x", price, target=Target(at_most, of="figure")))
    for others in ([RARELY, "metrics=off"], ["metrics=timing"]):
        samples = timed("pairs", [DICT, *others], effort)
        rows.append(samples.rows(section, "us")[1])
        if others[0] == RARELY:
            rows.append(Row(section, "  sampled at 0.001 / off", "x", samples.over(RARELY, "metrics=off")))
    samples = timed("pairs", [DICT, *OFTEN, "metrics=off"], effort)
    for often, row in zip(OFTEN, samples.rows(section, "us")[1:], strict=False):
        rows += [row, Row(section, f"  {often.partition(' ')[2]} / off", "x", samples.over(often, "metrics=off"))]
    yield rows
    by_hand = "set + get of one key, methods over a dict by hand, ratio to those that count nothing"
    yield timed("pairs", list(BY_HAND), effort).rows(by_hand, "us")
    rows = []
    settings = {f"{kind} metrics=off": kind for kind in KINDS}
    for group in [[one] for one in settings] if effort.apart else [list(settings)]:
        samples = timed("pairs", [DICT, *group], effort)
        for one, row in zip(group, samples.rows(f"{section}, metrics off", "us")[1:], strict=True):
            rows.append(replace(row, label=settings[one]))
    yield rows


def mixed_rows(effort: Effort) -> Iterator[list[Row]]:
    """The mixed workload by preset."""
    section = "10 set, 10 get, 5 statuses, 5 outputs, 1 snapshot of the store of a run of 10 nodes, ratio to default"
    yield timed("mixed", PRESETS, effort).rows(section, "us", "default")


def preset_rows(effort: Effort) -> Iterator[list[Row]]:
    """Every preset beside default on the workload that it is named for."""
    section = "presets on the workload each is named for, ratio to default"
    samples = {
        "reads": timed("reads", ["default", "read_optimized"], effort),
        "pairs": timed("pairs", ["default", "metrics_disabled", SAMPLED], effort),
        "texts": timed("texts", ["default", "metrics=timing", "production"], effort),
    }
    rows: list[Row] = []
    for preset, workload, what, base in (
        ("read_optimized", "reads", "95 % get", "default"),
        ("metrics_disabled", "pairs", "set + get", "default"),
        (SAMPLED, "pairs", "set + get", "default"),
        ("production", "texts", "a fresh string set, got 10 times", "default"),
        ("production", "texts", "the same beside metrics=timing, which shows as much", "metrics=timing"),
    ):
        target = Target(1.0) if preset not in (SAMPLED, "production") or base != "default" else None
        (row,) = samples[workload].only(preset).rows(section, "us", samples[workload][base])
        rows.append(replace(row, label=f"{preset}: {what}", target=target))
    for preset, what, label in (
        ("production", "texts", "strings held, half of them repeated"),
        ("low_memory", "records", "small records held"),
    ):
        usual, mine = ([each] for each in child("suites.store.cost", "held", what, effort.held, "default", preset))
        note, over = f"traced; default: {usual[0]:,.0f}", ratios(mine, usual)
        label = f"{preset}: {label}"
        rows.append(Row(section, label, "bytes per value", mine, ratios=over, target=Target(1.0), note=note))
    yield rows


def answer(workload: str, *arguments: str) -> Any:
    """What the child process prints: bytes held by kind; or seconds, and what one operation allocates, by kind."""
    if workload == "held":
        what, count, *kinds = arguments
        return [held(kind, what, int(count)) for kind in kinds]
    rounds, *kinds = arguments
    samples = interleave([way(workload, kind) for kind in kinds], int(rounds))
    return samples, {kind: (one.bytes, one.blocks) for kind, one in samples.allocated.items()}


if __name__ == "__main__":
    print(json.dumps(answer(*sys.argv[1:])))
