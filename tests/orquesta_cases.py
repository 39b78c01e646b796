"""Runs converted workflows with mocked actions, and tells what ran: for the tests that compare it with Orquesta."""

from __future__ import annotations

import asyncio
import re
import sys
import types
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import flow
from flow.spec import Conversion, convert, load

COMMANDS = {"continue", "noop", "fail"}


@dataclass
class Ran:
    """What a run of a converted workflow did. :ivar tasks: how often each task of the source ran."""

    tasks: Counter[str]
    status: str
    output: Any
    conversion: Conversion
    routes: list[str] = field(default_factory=list)


class Mocked(Exception):
    """A mocked failure."""


class Mocks:
    """Mocked outcomes, as ``cases.json`` of Orquesta lists them: by task, and item, or number in the sequence."""

    def __init__(
        self, mocks: Sequence[Mapping[str, Any]], sequence: Sequence[str], clock: flow.testing.FakeClock
    ) -> None:
        self.clock = clock
        self.ran: list[str] = []
        self.names: Sequence[str] = ()  # of the functions
        self.loop = ""  # the loop whose round began last
        self.still_running = False
        self.counts: Counter[str] = Counter()
        self.left: dict[tuple[str, Any], list[Mapping[str, Any]]] = {}
        self.numbered: dict[tuple[str, int], Mapping[str, Any]] = {}  # by task, and which of its runs
        for mock in mocks:
            if "seq_id" in mock:
                before = [source_name(one) for one in sequence[: mock["seq_id"] + 1]]
                self.numbered[mock["task_id"], before.count(mock["task_id"])] = mock
            else:
                self.left.setdefault((mock["task_id"], mock.get("item_id")), []).append(mock)

    async def __call__(self, ctx: flow.Context) -> Any:
        node = self.loop if ctx.node in self.names else ctx.node  # in a round a function has its own name
        task = source_name(node)
        item = ctx.index
        if not item and ctx.attempt == 1:
            self.ran.append(node)
            self.counts[task] += 1
        found = self.left.get((task, item)) or self.left.get((task, None)) or []
        mock = self.numbered.get((task, self.counts[task]), {})
        if found and not mock:
            mock = found.pop(0) if len(found) > 1 else found[0]
        if mock.get("status") == "running":  # it ends when all else has ended, to let the test see that
            await self.clock.wait(1e6)
            self.still_running = True
        await self.clock.wait(0.5 if mock.get("status") == "failed" else 1.0)
        if mock.get("status") in ("failed", "running"):
            raise Mocked(str(mock.get("result", "")))
        return mock.get("result")


def source_name(node: str) -> str:
    """Return the name of the task that a node was made of."""
    return re.sub(r"__r\d+x*$|\.loop$", "", node)


@contextmanager
def actions(conversion: Conversion, mocks: Mocks) -> Iterator[None]:
    """Let all actions of a conversion be mocks."""
    module = types.ModuleType(conversion.module_name)
    names = mocks.names = re.findall(r"^def (\w+)\(", conversion.module, re.MULTILINE)

    def make() -> Any:
        async def action(ctx: flow.Context, **given: Any) -> Any:
            return await mocks(ctx)

        return action

    for name in names:
        action = make()
        action.__name__ = action.__qualname__ = name
        setattr(module, name, action)
    module.__all__ = names  # type: ignore[attr-defined]
    sys.modules[conversion.module_name] = module
    try:
        yield
    finally:
        del sys.modules[conversion.module_name]


def run(
    text: str, folder: Path, name: str, inputs: Mapping[str, Any], mocks: Sequence[Mapping[str, Any]],
    sequence: Sequence[str] = (),
) -> Ran:  # fmt: skip
    """Convert a workflow, run it, and tell what it did."""
    conversion = convert(text, name=name, module="mocked_actions")
    path = folder / f"{name}.yaml"
    for file, body in {path.name: conversion.text, **conversion.files}.items():
        (folder / file).write_text(body, encoding="utf-8")
    clock = flow.testing.FakeClock()
    mocked = Mocks(mocks, sequence, clock)
    others: list[str] = []  # tasks without an action that completed

    def tell(outcome: Any) -> None:
        if outcome.status == flow.Status.COMPLETED and outcome.node in sets:
            others.append(outcome.node)

    with actions(conversion, mocked):

        def observe(event: object) -> None:
            if isinstance(event, flow.events.RoundStarted):
                mocked.loop = event.node

        sets = _sets(conversion)
        dag = load(path, allow=["mocked_actions:*"])
        status = "succeeded"
        try:
            result = asyncio.run(_run(dag, inputs, clock, lambda: tell, observe))
        except flow.RunError as error:
            result, status = error.result, "failed"
    if mocked.still_running:
        status = "running"
    ran = Counter(source_name(node) for node in [*mocked.ran, *others])
    outputs = None if result is None else result.outputs.get("outputs", result.outputs.get("output"))
    return Ran(ran, status, outputs, conversion, [*mocked.ran])


async def _run(
    dag: flow.Dag, inputs: Mapping[str, Any], clock: flow.testing.FakeClock, hook: Any, observe: Any
) -> flow.Result:
    return await flow.execute(dag, dict(inputs), config=flow.Config(clock=clock, on_outcome=hook, observers=(observe,)))


def _sets(conversion: Conversion) -> set[str]:
    """The tasks without an action: nodes with ``set: {}``, whose names have no dot."""
    texts = "\n".join([conversion.text, *conversion.files.values()])
    return {
        name for name in re.findall(r"^  (\w+): ?\{set: \{\}", texts, re.MULTILINE) if name not in ("output", "next")
    }


def expected_tasks(sequence: Sequence[str]) -> Counter[str]:
    """What a case says that ran: tasks, not the commands of the engine."""
    names = [source_name(name) for name in sequence]
    return Counter(name for name in names if name not in COMMANDS)
