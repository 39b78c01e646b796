"""Random Dags of nodes with defaults, tolerated failures and fallbacks, against a brute-force account."""

from __future__ import annotations

from random import Random
from typing import Any

import anyio.lowlevel
import msgspec
import pytest
from conftest import DRIVERS, examples, loops
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow import Config, Status


class Slot(msgspec.Struct):
    """A parameter: the node it takes, and how."""

    source: int
    optional: bool
    keyword_only: bool


class Spec(msgspec.Struct):
    slots: list[Slot]
    after: list[int]
    waits: bool
    is_async: bool
    fails: int
    attempts: int
    tolerant: bool
    fallback: str
    priority: int
    context: bool


def specs_of(seed: int) -> list[Spec]:
    random = Random(seed)
    trouble = random.choice([0.1, 0.3, 0.6])
    style = random.choice(["sync", "async", "both"])
    priorities = random.choice([[0], [0, 0, 1, -1]])
    specs = []
    for i in range(random.randint(1, random.choice([4, 12, 40]))):
        wanted = [random.randrange(max(0, i - 8), i) for _ in range(random.randint(0, 4))] if i else []
        cut = random.randint(0, len(wanted))
        tolerant = random.random() < 0.5
        is_async = style == "async" or (style == "both" and random.random() < 0.5)
        specs.append(
            Spec(
                slots=[Slot(d, random.random() < 0.5, random.random() < 0.3) for d in wanted[:cut]],
                after=wanted[cut:],
                waits=is_async and random.random() < 0.6,
                is_async=is_async,
                fails=random.choice([1, 99, 99]) if random.random() < trouble else 0,
                attempts=random.choice([1, 1, 2]),
                tolerant=tolerant,
                fallback="" if tolerant else random.choice(["", "", "value", "function", "broken"]),
                priority=random.choice(priorities),
                context=random.random() < 0.2,
            )
        )
    return specs


class World:
    def __init__(self, specs: list[Spec]) -> None:
        self.specs = specs
        self.calls = [0] * len(specs)
        self.passed: dict[int, dict[str, Any]] = {}
        self.dag = flow.Dag("world")
        for i, spec in enumerate(specs):
            options: dict[str, Any] = {}
            if spec.fallback:
                options["fallback"] = {"value": ["fallback", i], "function": self._stand_in(i), "broken": _broken}[
                    spec.fallback
                ]
            self.dag.add(
                f"n{i}",
                self._function(i, spec),
                needs={f"p{k}": f"n{slot.source}" for k, slot in enumerate(spec.slots)} or None,
                after=[f"n{d}" for d in spec.after],
                retry=flow.Retry(spec.attempts, delay=0.0) if spec.attempts > 1 else None,
                continue_on_error=spec.tolerant,
                priority=spec.priority,
                **options,
            )

    def _stand_in(self, i: int) -> Any:
        def stand_in(error: Exception) -> list[Any]:
            assert error.args == (i,)
            return ["fallback", i]

        return stand_in

    def _function(self, i: int, spec: Spec) -> Any:
        """A function of the parameters p0, p1, ... of which the optional ones have a default that says so."""
        free = sorted((slot.optional, k) for k, slot in enumerate(spec.slots) if not slot.keyword_only)
        named = [k for k, slot in enumerate(spec.slots) if slot.keyword_only]
        default = {k: "='default'" if slot.optional else "" for k, slot in enumerate(spec.slots)}
        parameters = [f"p{k}{default[k]}" for _, k in free]
        if named or spec.context:
            parameters += ["*", *[f"p{k}{default[k]}" for k in named], *(["ctx: flow.Context"] if spec.context else [])]
        given = ", ".join(f"p{k}=p{k}" for k in range(len(spec.slots)))
        lines = [
            f"{'async ' if spec.is_async else ''}def node({', '.join(parameters)}):",
            f"    {'await pause()' if spec.waits else 'pass'}",
            f"    return call({given})",
        ]

        def call(**values: Any) -> Any:
            self.calls[i] += 1
            self.passed[i] = values
            if self.calls[i] <= spec.fails:
                raise ValueError(i)
            return ["out", i]

        async def pause() -> None:
            for _ in range(i % 3):
                await anyio.lowlevel.checkpoint()

        names: dict[str, Any] = {"call": call, "pause": pause, "flow": flow}
        exec("\n".join(lines), names)
        return names["node"]

    def expected(self) -> tuple[list[Status], list[Any]]:
        """Every node's status and output. Definition order is topological, and nothing depends on when it runs."""
        status: list[Status] = []
        forgiven: list[bool] = []  # it has no output, for tolerated failures only
        outputs: list[Any] = []
        for spec in self.specs:
            i = len(status)
            deps = {slot.source for slot in spec.slots} | set(spec.after)
            lost = {d for d in deps if status[d] is not Status.COMPLETED}
            needed = {slot.source for slot in spec.slots if not slot.optional}
            optional = {slot.source for slot in spec.slots} - needed
            blocked = {d for d in lost if d in needed or (status[d] is Status.SKIPPED and d not in optional)}
            if blocked or not all(forgiven[d] for d in lost):
                status.append(Status.SKIPPED)
                forgiven.append(all(forgiven[d] for d in lost))
                outputs.append(None)
                continue
            failed = spec.fails >= spec.attempts
            fell = failed and spec.fallback in ("value", "function")
            status.append(Status.FAILED if failed and not fell else Status.COMPLETED)
            forgiven.append(failed and spec.tolerant)
            outputs.append(["fallback", i] if fell else ["out", i])
        return status, outputs

    def check(self, result: flow.Result) -> None:
        status, outputs = self.expected()
        specs = self.specs
        assert list(result.status.values()) == status
        for i, spec in enumerate(specs):
            ran = status[i] is not Status.SKIPPED
            assert self.calls[i] == (min(spec.fails + 1, spec.attempts) if ran else 0)
            if ran:
                assert self.passed[i] == {
                    f"p{k}": outputs[slot.source] if status[slot.source] is Status.COMPLETED else "default"
                    for k, slot in enumerate(spec.slots)
                }
        failed = [i for i, s in enumerate(status) if s is Status.FAILED]
        assert {name: e.args for name, e in result.errors.items()} == {f"n{i}": (i,) for i in failed}
        fell = [i for i, s in enumerate(status) if s is Status.COMPLETED and outputs[i][0] == "fallback"]
        assert {name: e.args for name, e in result.fallbacks.items()} == {f"n{i}": (i,) for i in fell}
        fatal = [i for i in failed if not specs[i].tolerant]
        assert result.ok == (not fatal and Status.SKIPPED not in status)
        error = result.error()
        assert (error is None) == result.ok
        assert error is None or set(error.nodes) == {f"n{i}" for i in failed}
        error = result.error(tolerated=False)
        assert (error is None) == (not fatal)
        for name, output in result.outputs.items():
            assert output == outputs[int(name[1:])]


def _broken(error: Exception) -> Any:
    raise LookupError("no stand-in")


options_of = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(DRIVERS),
        "limit": st.sampled_from([None, 1, 2, 5]),
        "timing": st.booleans(),
        "optimize": st.sampled_from(["at_once", True]),
        "order": st.sampled_from(["definition", "critical_path"]),
        "keep": st.sampled_from(["all", "all", "targets"]),
        "observers": st.sampled_from([[], [], [lambda event: None]]),
        "executor": st.sampled_from(["inline"] * 7 + ["thread"]),
        "timeout": st.sampled_from([None, None, 600.0]),
    }
)


def _config(options: dict[str, Any], **more: Any) -> Config:
    if options["mode"] == "inline" and options["executor"] == "thread":
        options = options | {"executor": "inline"}
    return Config(**options, **more)


@pytest.mark.parametrize("backend", loops())
def test_collect_matches_the_oracle(backend: str) -> None:
    @examples(500 if backend == "asyncio" else 150)
    @given(st.integers(0, 2**32), options_of)
    def check(seed: int, options: dict[str, Any]) -> None:
        world = World(specs_of(seed))
        world.check(flow.run(world.dag, config=_config(options, on_error="collect", backend=backend)))

    check()


@examples(300)
@given(st.integers(0, 2**32), options_of)
def test_fail_fast_raises_for_what_is_not_tolerated_alone(seed: int, options: dict[str, Any]) -> None:
    world = World(specs_of(seed))
    status, _ = world.expected()
    fatal = {f"n{i}" for i, s in enumerate(status) if s is Status.FAILED and not world.specs[i].tolerant}
    try:
        result = flow.run(world.dag, config=_config(options))
    except flow.RunError as error:
        assert fatal & set(error.nodes)
        assert not any(world.specs[int(name[1:])].tolerant for name in error.nodes)
    else:
        assert not fatal
        world.check(result)


@examples(100)
@given(st.integers(0, 2**32), st.integers(0, 39))
def test_parts_and_grown_dags_know_the_same_defaults(seed: int, at: int) -> None:
    specs = specs_of(seed)
    world, whole = World(specs), World(specs).dag.compile()
    grown = flow.Dag("world")
    d = world.dag._definition
    for i in range(len(specs)):
        for column in ("names", "fns", "needs", "after"):
            getattr(grown._definition, column).append(getattr(d, column)[i])
        if i in d.policies:
            grown._definition.policies[i] = d.policies[i]
        plan = grown.compile()
    assert plan._nodes.spared == whole._nodes.spared
    world.check(flow.run(plan, config=Config(on_error="collect")))
    target = f"n{at % len(specs)}"
    part = flow.run(World(specs).dag, targets=target, config=Config(on_error="collect"))
    status, _ = world.expected()
    assert part.status[target] is status[at % len(specs)]
