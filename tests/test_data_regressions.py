"""Faults of the data store that were found by breaking it, each with the smallest program that showed it."""

from __future__ import annotations

import copy
import dis
import pickle
import sys
from collections.abc import Callable
from threading import Thread
from types import CodeType, FrameType
from typing import Any, Final

import pytest

import flow
from flow.data.measures import MeteredLock, Recorder

CONFIGS: Final[dict[str, flow.DataConfig]] = {
    "standard": flow.DataConfig(),
    "off": flow.DataConfig(metrics="off"),
    "timing": flow.DataConfig(metrics="timing"),
    "direct": flow.DataConfig(metrics="off", direct_reads=True),
    "slots": flow.DataConfig(memory="slots"),
    "arena": flow.DataConfig(memory="arena"),
    "small blocks": flow.DataConfig(memory="arena", block_size=64, metrics="timing"),
    "texts": flow.DataConfig(interning="arena"),
    "locked": flow.DataConfig(locked=True, metrics="timing"),
}


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def config(request: pytest.FixtureRequest) -> flow.DataConfig:
    return request.param  # type: ignore[no-any-return]


class Interrupt(BaseException):
    """As KeyboardInterrupt, which pytest would take for its own."""


_names: Final[dict[CodeType, dict[int, str]]] = {}


def interrupted(fn: Callable[[], object], at: int) -> bool:
    """Call ``fn`` and raise in it at the ``at``-th place of flow/data where CPython would handle Ctrl-C; tell whether.

    Those are: after a call of C code, at a jump back, and at the beginning of a function.
    """
    passed, returned = 0, False
    last: dict[int, str] = {}

    def within(frame: FrameType, event: str, _: object) -> Any:
        nonlocal passed, returned
        if event == "return":
            returned = True
        if event == "opcode":
            code = frame.f_code
            if code not in _names:
                _names[code] = {one.offset: one.opname for one in dis.get_instructions(code)}
            before = last.get(id(frame), "")
            last[id(frame)] = _names[code].get(frame.f_lasti, "")
            from_python, returned = returned, False
            if before in ("RESUME", "JUMP_BACKWARD") or (before.startswith("CALL") and not from_python):
                passed += 1
                if passed == at:
                    raise Interrupt
        return within

    def begun(frame: FrameType, event: str, _: object) -> Any:
        if "data" not in frame.f_globals.get("__name__", "").split(".")[1:2]:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        last.pop(id(frame), None)
        return within

    outer = sys.gettrace()
    sys.settrace(begun)
    try:
        fn()
    except Interrupt:
        return True
    finally:
        sys.settrace(outer)
    return False


def in_a_thread(fn: Callable[[], object]) -> bool:
    """Tell whether another thread can do this: not if a lock is still held."""
    thread = Thread(target=fn, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


def grow(data: flow.WorkflowData) -> None:
    for number in range(9):
        data[f"new {number}"] = f"{number}" * number


def churn(data: flow.WorkflowData) -> None:
    for number in range(12):
        data["a"] = "x" * (30 + number % 5)


def share(data: flow.WorkflowData) -> None:
    data.snapshot()
    data["a"] = "other"


INTERRUPTED: Final[dict[str, Callable[[flow.WorkflowData], object]]] = {
    "grow": grow,
    "churn": churn,
    "share": share,
    "delete": lambda data: data.delete("a"),
    "update": lambda data: data.update("n", lambda n: n + 1),
    "clear": lambda data: data.clear(),
    "clone": lambda data: data.clone(),
}


@pytest.mark.parametrize("write", INTERRUPTED.values(), ids=INTERRUPTED)
def test_an_interrupt_leaves_the_store_whole(config: flow.DataConfig, write: Callable[[Any], object]) -> None:
    """It left locks held, arrays of unequal length, and an index of blocks that had been given up."""

    def made() -> flow.WorkflowData:
        data = flow.WorkflowData(config)
        for key in ("a", "b", "c"):
            data[key] = key * 3
        data["n"] = 1
        return data

    def use(data: flow.WorkflowData) -> None:
        values = dict(data.items())
        assert len(data) == len(data.keys()) == len(values)
        assert all(key in data for key in values)
        assert write is INTERRUPTED["clear"] or (values["b"], values["c"]) == ("bbb", "ccc")
        for number in range(30):
            data[f"later {number}"] = f"{number}" * (number % 7)
        assert [data[f"later {number}"] for number in range(30)] == [f"{n}" * (n % 7) for n in range(30)]
        before = data.snapshot()
        held = dict(before)
        data["b"] = "changed"
        assert dict(before) == held
        data.clear()
        assert data.items() == []
        used.append(data)

    for _ in range(2):  # the first time a function is traced, its opcodes are not
        interrupted(lambda: write(made()), 0)
    at = 1
    while interrupted(lambda data=made(): (kept.append(data), write(data)), at) if (kept := []) == [] else False:  # type: ignore[var-annotated,misc]
        used: list[flow.WorkflowData] = []
        assert in_a_thread(lambda: use(kept[0])), f"a lock is still held after an interrupt at {at}"
        assert used == kept, f"interrupt at {at}"
        at += 1
    assert at > 1
