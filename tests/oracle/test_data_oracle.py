"""A store of any kind, and a child of one, behaves as a dict under any sequence of operations."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule
from memories import Copied, Pickled, Values

import flow

KEYS = st.sampled_from(["a", "b", "c", "ключ", "", "long " * 60])
VALUES = st.one_of(st.integers(-3, 3), st.text(max_size=3), st.lists(st.integers(0, 3), max_size=2))


class Machine(RuleBasedStateMachine):
    """``data`` against ``model``; snapshots and clones against what the model was."""

    config = flow.DataConfig()
    parent: dict[str, Any] | None = None
    snapshots = Bundle("snapshots")

    def __init__(self) -> None:
        super().__init__()
        self.root = flow.WorkflowData(self.config)
        for key, value in (self.parent or {}).items():
            self.root[key] = value
        self.model: dict[str, Any] = dict(self.parent or {})
        self.data = self.root if self.parent is None else self.root.child()
        self.others: list[tuple[flow.WorkflowData, dict[str, Any]]] = []

    @rule(key=KEYS, value=VALUES)
    def set(self, key: str, value: Any) -> None:
        self.data[key] = value
        self.model[key] = value

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        assert self.data.delete(key) == (key in self.model)
        self.model.pop(key, None)

    @rule(key=KEYS, value=VALUES)
    def update(self, key: str, value: Any) -> None:
        expected = self.model[key] = [self.model.get(key, 0), value]
        assert self.data.update(key, lambda old: [old, value], 0) == expected

    @rule(key=KEYS, by=st.integers(-2, 2))
    def increment(self, key: str, by: int) -> None:
        old = self.model.get(key, 0)
        if isinstance(old, int):
            self.model[key] = old + by
            assert self.data.increment(key, by) == old + by
        else:
            with pytest.raises(flow.errors.WrongType):
                self.data.increment(key, by)

    @rule(target=snapshots)
    def snapshot(self) -> tuple[flow.data.Snapshot, dict[str, Any]]:
        return self.data.snapshot(), dict(self.model)

    @rule(pair=snapshots)
    def restore(self, pair: tuple[flow.data.Snapshot, dict[str, Any]]) -> None:
        snapshot, then = pair
        assert dict(snapshot) == then
        self.data.restore(snapshot)
        self.model = dict(then)

    @rule()
    def clone(self) -> None:
        self.others = self.others[-2:] + [(self.data.clone(), dict(self.model))]

    @rule()
    def swap_with_a_clone(self) -> None:
        if self.others:
            data, model = self.others.pop(0)
            self.others.append((self.data, self.model))
            self.data, self.model = data, model

    @rule()
    def clear(self) -> None:
        self.data.clear()
        self.model = {}

    @rule()
    def reset(self) -> None:
        self.data.reset()
        self.model = dict(self.parent or {})

    @invariant()
    def same(self) -> None:
        assert dict(self.data.items()) == self.model
        assert (set(self.data), len(self.data)) == (set(self.model), len(self.model))
        for key in ("a", "", "nope"):
            assert (self.data.get(key, "none"), key in self.data) == (self.model.get(key, "none"), key in self.model)

    @invariant()
    def nobody_else_changes(self) -> None:
        for data, model in self.others:
            assert dict(data.items()) == model
        if self.parent is not None:
            assert dict(self.root.items()) == self.parent

    @invariant()
    def order(self) -> None:
        if self.config.memory == "standard" and self.parent is None:
            assert self.data.keys() == list(self.model)


def machine(name: str, parent: dict[str, Any] | None = None, **config: Any) -> Any:
    kind = type(name, (Machine,), {"config": flow.DataConfig(**config), "parent": parent})
    case = kind.TestCase
    case.settings = settings(examples(40), stateful_step_count=30)
    return case


TestStandard = machine("Standard")
TestStandardOff = machine("StandardOff", metrics="off")
TestStandardLocked = machine("StandardLocked", locked=True, metrics="timing")
TestDirectReads = machine("DirectReads", direct_reads=True, metrics="off")
TestStandardSampled = machine("StandardSampled", metrics="sampled", sample_rate=0.1)
TestSlots = machine("Slots", memory="slots", metrics="sampled")
TestArena = machine("Arena", memory="arena")
TestPooledStrings = machine("PooledStrings", interning="pool", intern="both", intern_capacity=2)
TestArenaStrings = machine("ArenaStrings", interning="arena", intern_capacity=2)
TestOwn = machine("Own", memory=Values)
TestOwnCopied = machine("OwnCopied", memory=Copied, metrics="timing")
TestOwnUnlocked = machine("OwnUnlocked", memory=Copied, metrics="sampled", sample_rate=0.5, locked=False)
TestOwnPickled = machine("OwnPickled", memory=Pickled, interning="pool", intern="both", locked=False)
TestChildOfOwn = machine("ChildOfOwn", {"a": 1, "c": [1]}, memory=Values)
TestChild = machine("Child", {"a": 1, "b": "x"})
TestChildOfArena = machine("ChildOfArena", {"a": 1, "c": [1]}, memory="arena")
