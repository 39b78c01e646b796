"""What operations of a store cost: contenders interleaved, each set of them in a process of its own.

CPython adapts a method's code to the classes it is called with. A program that uses one kind of store has the
figures of a process that uses one; where kinds share theirs, some take up to a tenth longer.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any, TypeAlias

import flow
from flow_bench.harness.allocations import Allocated, traced_peak
from flow_bench.harness.child import child
from flow_bench.harness.contender import Contender, Refused, fresh, ready
from flow_bench.harness.interleave import Samples, interleave
from flow_bench.harness.rows import US, Row, Target, ratios
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
        """Store a value."""
        self._values[key] = value

    def get(self, key: str, default: Any = None, /) -> Any:
        """Return a value."""
        try:
            return self._values[key]
        except KeyError:
            return default

    def items(self) -> list[tuple[str, Any]]:
        """Return keys and values."""
        return list(self._values.items())


class Decremented(Plain):
    """The same after one decrement of a slot and one test."""

    __slots__ = ()

    def set(self, key: str, value: Any) -> None:
        """Store a value."""
        self._left -= 1.0
        if self._left > 0.0:
            self._values[key] = value

    def get(self, key: str, default: Any = None, /) -> Any:
        """Return a value."""
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
        """Store a value."""
        for _ in self._ticks:
            self._values[key] = value
            return

    def get(self, key: str, default: Any = None, /) -> Any:
        """Return a value."""
        for _ in self._ticks:
            try:
                return self._values[key]
            except KeyError:
                return default
        return default


BY_HAND: dict[str, type[Plain]] = {
    "by hand": Plain, "by hand, a decrement and a test": Decremented, "by hand, an iterator's step": Stepped,
}  # fmt: skip
"""What stands beside stores; see :func:`cost_rows`."""


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
    if workload == "mixed" and dict(found) != last:
        return False
    if workload == "reads" and found != last[KEYS[8]]:
        return False
    return dict(data.items()) == last == {key: data.get(key) for key in KEYS}


def of_a_run(kind: str) -> flow.WorkflowData:
    """Return the store of a run of ten nodes."""
    dag = flow.Dag("ten")
    for key in KEYS:
        dag.add(key, partial(str, key))
    result = flow.run(dag, config=flow.Config(data=config_of(kind)))
    data = result.data
    if dict(data.outputs) != {key: key for key in KEYS} or set(data.statuses.values()) != {flow.Status.COMPLETED}:
        raise Refused(kind, ["its run's outputs and statuses are not to be seen"])
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
    if len(data) != count + 1 or any(data.get(key) != _value(what, i) for i, key in enumerate(keys)):
        raise Refused(kind, ["it does not hold what was set"])
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
    off = samples["metrics=off"]
    rows = [_row(section, kind, samples, kind, DICT) for kind in samples]
    rows[1].target = Target(2.5)
    for metrics, at_most in (("counting", 1.5), ("sampled", 1.15)):
        price = ratios(samples[f"metrics={metrics}"], off)
        rows.append(Row(section, f"  {metrics} / off", "x", price, target=Target(at_most, of="figure")))
    for others in ([RARELY, "metrics=off"], ["metrics=timing"]):
        samples = timed("pairs", [DICT, *others], effort)
        rows.append(_row(section, others[0], samples, others[0], DICT))
        if others[0] == RARELY:
            rows.append(Row(section, "  sampled at 0.001 / off", "x", ratios(samples[RARELY], samples["metrics=off"])))
    samples = timed("pairs", [DICT, *OFTEN, "metrics=off"], effort)
    for often in OFTEN:
        rows.append(_row(section, often, samples, often, DICT))
        price = ratios(samples[often], samples["metrics=off"])
        rows.append(Row(section, f"  {often.partition(' ')[2]} / off", "x", price))
    yield rows
    yield by_hand_rows(effort)
    rows = []
    settings = {f"{kind} metrics=off": kind for kind in KINDS}
    for group in [[one] for one in settings] if effort.apart else [list(settings)]:
        samples = timed("pairs", [DICT, *group], effort)
        rows += [_row(f"{section}, metrics off", settings[one], samples, one, DICT) for one in group]
    yield rows


def by_hand_rows(effort: Effort) -> list[Row]:
    """What a countdown must cost: the fewest lines that count each call, beside the same without."""
    section = "set + get of one key, methods over a dict by hand, ratio to those that count nothing"
    samples = timed("pairs", list(BY_HAND), effort)
    return [_row(section, kind, samples, kind, "by hand") for kind in samples]


def mixed_rows(effort: Effort) -> Iterator[list[Row]]:
    """The mixed workload by preset."""
    section = "10 set, 10 get, 5 statuses, 5 outputs, 1 snapshot of the store of a run of 10 nodes, ratio to default"
    samples = timed("mixed", PRESETS, effort)
    yield [_row(section, preset, samples, preset, "default") for preset in samples]


def preset_rows(effort: Effort) -> Iterator[list[Row]]:
    """Every preset beside default on the workload that it is named for."""
    section = "presets on the workload each is named for, ratio to default"
    samples = {
        "reads": timed("reads", ["default", "read_optimized"], effort),
        "pairs": timed("pairs", ["default", "metrics_disabled", SAMPLED], effort),
        "texts": timed("texts", ["default", "metrics=timing", "production"], effort),
    }
    rows = []
    for preset, workload, what, base in (
        ("read_optimized", "reads", "95 % get", "default"),
        ("metrics_disabled", "pairs", "set + get", "default"),
        (SAMPLED, "pairs", "set + get", "default"),
        ("production", "texts", "a fresh string set, got 10 times", "default"),
        ("production", "texts", "the same beside metrics=timing, which shows as much", "metrics=timing"),
    ):
        row = _row(section, f"{preset}: {what}", samples[workload], preset, base)
        row.target = Target(1.0) if preset not in (SAMPLED, "production") or base != "default" else None
        rows.append(row)
    for preset, what, label in (
        ("production", "texts", "strings held, half of them repeated"),
        ("low_memory", "records", "small records held"),
    ):
        usual, mine = ([each] for each in child("suites.store.cost", "held", what, effort.held, "default", preset))
        note, over = f"traced; default: {usual[0]:,.0f}", ratios(mine, usual)
        label = f"{preset}: {label}"
        rows.append(Row(section, label, "bytes per value", mine, ratios=over, target=Target(1.0), note=note))
    yield rows


def _row(section: str, label: str, samples: Samples, kind: str, base: str) -> Row:
    seconds = samples[kind]
    over, memory = ratios(seconds, samples[base]), samples.memory(kind)
    return Row(section, label, "us", [s * US for s in seconds], ratios=over, figures=memory)


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
