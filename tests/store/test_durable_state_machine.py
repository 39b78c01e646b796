"""Durable runs under all that may happen to them, beside a plain model of what is stored of them.

The model knows of each run which nodes have ended and how: for sure, if that was acknowledged or a call has returned;
or maybe, if they were called by a process that died before it could say. What is maybe stored shows in the next run: a
node is called again, or it is not.
"""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from conftest import examples
from durable_work import Dying
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import flow
from flow.errors import RunConflict, StoreError, UnknownRun
from flow.store.in_memory import MemoryBackend
from flow.store.owner import this_process
from flow.store.store import Store

NEEDS: dict[str, tuple[str, ...]] = {
    "a": (), "b": ("a",), "c": ("b",), "gate": ("b",), "d": ("c", "gate"), "src": ("a",), "m": ("src",), "t": ("m",),
    "n": ("b",), "k": ("n",), "conn": ("a",), "e": ("conn",), "r": ("a",), "left": ("r",), "right": ("r",),
    "j": ("left", "right"),
}  # fmt: skip
ITEMS = ("m0", "m1", "m2")
CHANGING = ("a", "b", "c", "d", "m", "p", "q", "conn", "e", "r", "left", "k")
FAILING = ("c", "m0", "m1", "q", "e")
ENDED = ("completed", "failed", "cancelled")
CHOSEN = {1: ("left",), 2: ("right",)}  # by the version of the router
IDS = ("one", "two", "three")


@dataclass
class Out:
    """How a node has ended. ``version``: that of its code."""

    status: str
    value: Any = None
    version: int = 1


@dataclass
class Model:
    """What a run must be."""

    x: int
    sure: dict[str, Out] = field(default_factory=dict)
    maybe: dict[str, Out] = field(default_factory=dict)
    status: str = "running"
    signal: str | None = None
    told: bool | None = False  # how it has ended, or what it waits for, is stored, and nothing was reset since

    cancel: bool = False  # somebody has asked for its end

    def forget(self, *names: str) -> None:
        for name in names:
            self.sure.pop(name, None)
            self.maybe.pop(name, None)

    def forget_from(self, name: str) -> None:
        """A node and all that depends on it, and what is within those."""
        todo = [name]
        while todo:
            at = todo.pop()
            self.forget(at, *{"m": ITEMS, "n": ("p", "q")}.get(at, ()))
            todo += [other for other, needs in NEEDS.items() if at in needs]

    def forget_changed(self, versions: dict[str, int]) -> bool:
        """Completed nodes whose code has changed, and what depends on them. Tell whether there are some for sure."""
        found = [
            (name, name in self.sure)
            for name, out in {**self.maybe, **self.sure}.items()
            if out.status == "completed" and out.version != versions.get(code_of(name), out.version)
        ]
        for name, _ in found:
            self.forget_from({"p": "n", "q": "n"}.get(name, code_of(name)))
        return any(sure for _, sure in found)

    def forget_failed(self) -> None:
        self.forget(*[name for name, out in {**self.maybe, **self.sure}.items() if out.status == "failed"])


def code_of(name: str) -> str:
    return "m" if name in ITEMS else name


class World:
    """What the functions of the dag do: they say that they were called, and fail if they are told to."""

    def __init__(self) -> None:
        self.log: list[tuple[str, Out]] = []
        self.failing: set[str] = set()
        self.versions = dict.fromkeys((*NEEDS, "p", "q"), 1)

    def call(self, name: str, version: int, *values: Any) -> Any:
        if name in self.failing:
            self.log.append((name, Out("failed", None, version)))
            raise OSError(f"{name} fails")
        value = made(name, version, values)
        self.log.append((name, Out("completed", value, version)))
        return value

    def dag(self, is_gated: bool) -> flow.Dag:
        dag, call, fn = flow.Dag("world"), self.call, self._function
        dag.add("a", (lambda x: call("a", 1, x)) if self.versions["a"] == 1 else (lambda x: call("a", 2, x)))
        dag.add("b", fn("b"), needs=["a"])

        def c1(b: str, ctx: flow.Context) -> Any:
            ctx.data.set("c", f"written by c1({b})")
            return call("c", 1, b)

        def c2(b: str, ctx: flow.Context) -> Any:
            ctx.data.set("c", f"written by c2({b})")
            return call("c", 2, b)

        dag.add("c", c1 if self.versions["c"] == 1 else c2)
        if is_gated:
            dag.signal("gate", after="b")
            dag.add("d", fn("d"), needs=["c", "gate"])
        dag.add("src", lambda a: call("src", 1, a) and [0, 1, 2])
        dag.map(
            "m",
            (lambda i: call(f"m{i}", 1, i)) if self.versions["m"] == 1 else (lambda i: call(f"m{i}", 2, i)),
            over="src",
        )
        dag.add("t", lambda m: call("t", 1, *m))
        inner = flow.Dag("inner")
        p1, p2 = (lambda b: call("p", 1, b)), (lambda b: call("p", 2, b))
        inner.add("p", p1 if self.versions["p"] == 1 else p2)
        inner.add("q", fn("q"), needs=["p"])
        dag.add("n", inner)
        dag.add("k", (lambda n: call("k", 1, n["q"])) if self.versions["k"] == 1 else (lambda n: call("k", 2, n["q"])))
        dag.add("conn", fn("conn"), needs=["a"], store=False)
        dag.add("e", fn("e"), needs=["conn"])
        r1, r2 = (lambda a: call("r", 1, a) and "left"), (lambda a: call("r", 2, a) and "right")
        dag.route("r", r1 if self.versions["r"] == 1 else r2, to={"left": "left", "right": "right"})
        dag.add("left", fn("left"))
        dag.add("right", fn("right"))
        dag.add("j", fn("j"), after=["left", "right"], join="some")
        return dag

    def _function(self, name: str) -> Callable[..., Any]:
        call = self.call
        return (lambda *values: call(name, 1, *values)) if self.versions[name] == 1 else (
            lambda *values: call(name, 2, *values)
        )


def made(name: str, version: int, values: Any) -> str:
    return f"{name}{version}({','.join(map(str, values))})"


class Oracle:
    """Says what one undisturbed run must give, and call."""

    def __init__(self, model: Model, world: World, is_gated: bool) -> None:
        self.model, self.world, self.is_gated = model, world, is_gated
        self.calls = Counter(name for name, _ in world.log)
        self.found: dict[str, Out] = {}
        self.fresh: set[str] = set()  # computed in this run

    def settle(self) -> dict[str, Out]:
        """Return how all nodes must have ended, and let the model know."""
        for name in NEEDS:
            if self.is_gated or name not in ("gate", "d"):
                self.found[name] = getattr(self, f"_{name}", self._plain)(name)
        assert not set(self.calls) - self.fresh, "called without need"
        model = self.model
        model.maybe.clear()
        kept = {name: out for name, out in self.found.items() if out.status in ("completed", "failed")}
        model.sure.update(kept)
        return self.found

    def _called(self, name: str, needs: tuple[str, ...], values: Any) -> Out:
        """The outcome of something that is called, unless that is known."""
        model, calls = self.model, self.calls[name]
        if name in model.sure:
            assert calls == 0, f"{name} is stored, and was called again"
            assert self.fresh.isdisjoint(needs), f"{name} is stored, and what it needs was computed again"
            return model.sure[name]
        if name in model.maybe and calls == 0 and self.fresh.isdisjoint(needs):
            return model.maybe[name]
        assert calls == 1, f"{name} is called {calls} times"
        self.fresh.add(name)
        version = self.world.versions[code_of(name)]
        if name in self.world.failing:
            return Out("failed", None, version)
        return Out("completed", made(name, version, values), version)

    def _plain(self, name: str) -> Out:
        needs = NEEDS[name]
        parents = [self.found[need] for need in needs]
        if any(parent.status in ("failed", "skipped") for parent in parents):
            assert not self.calls[name]
            return Out("skipped")
        if any(parent.status in ("waiting", "pending") for parent in parents):
            assert not self.calls[name]
            return Out("pending")
        return self._called(name, needs, [parent.value for parent in parents] if needs else [self.model.x])

    def _gate(self, name: str) -> Out:
        if name in self.model.sure:
            return self.model.sure[name]
        signal = self.model.signal
        return Out("waiting") if signal is None else Out("completed", signal)

    def _src(self, name: str) -> Out:
        out = self._plain(name)
        return Out(out.status, [0, 1, 2], out.version)

    def _m(self, name: str) -> Out:
        if name in self.model.sure and self.model.sure[name].status == "failed":
            return self.model.sure[name]
        values = []
        for k, item in enumerate(ITEMS):
            out = self._called(item, ("src", "m0", "m1")[: k + 1], [k])
            self.model.sure[item] = out
            if out.status == "failed":
                return Out("failed", None, out.version)
            values.append(out.value)
        return Out("completed", values, self.world.versions["m"])

    def _t(self, name: str) -> Out:
        m = self.found["m"]
        return Out("skipped") if m.status == "failed" else self._called(name, ("m", *ITEMS), m.value)

    def _n(self, name: str) -> Out:
        if name in self.model.sure and self.model.sure[name].status == "failed":
            return self.model.sure[name]
        p = self.model.sure["p"] = self._called("p", ("b",), [self.found["b"].value])
        q = self.model.sure["q"] = self._called("q", ("b", "p"), [p.value])
        return Out("failed") if q.status == "failed" else Out("completed", {"p": p.value, "q": q.value})

    def _k(self, name: str) -> Out:
        n = self.found["n"]
        return Out("skipped") if n.status == "failed" else self._called(name, ("b", "p", "q"), [n.value["q"]])

    def _conn(self, name: str) -> Out:
        """It is not stored, and is called again if what needs it is."""
        model, needed = self.model, self.calls["e"] > 0
        known = model.sure.get(name) or model.maybe.get(name)
        if known is None or needed:
            assert self.calls[name] == 1, f"{name} is called {self.calls[name]} times"
        if not self.calls[name]:
            assert known is not None
            return Out("completed", None, known.version)
        if name not in model.sure:
            model.maybe.pop("e", None)
        self.again = True
        version = self.world.versions[name]
        return Out("completed", made(name, version, [self.found["a"].value]), version)

    def _e(self, name: str) -> Out:
        out = self._called(name, (), [self.found["conn"].value])
        if self.calls["conn"]:
            self.fresh.add("conn")
            assert self.calls[name], "conn was called, and nothing needs it"
        return out

    def _r(self, name: str) -> Out:
        out = self._plain(name)
        return Out(out.status, CHOSEN[out.version], out.version)

    def _left(self, name: str) -> Out:
        if self.found["r"].value != (name,):
            assert not self.calls[name]
            return Out("bypassed")
        return self._called(name, ("r",), [])

    _right = _left

    def _j(self, name: str) -> Out:
        return self._called(name, ("left", "right"), [])


class Acknowledged:
    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.names: list[str] = []

    def __call__(self, event: Any) -> None:
        if self.mode == "sync":
            if isinstance(event, flow.events.ItemFinished):
                self.names.append(f"m{event.index}")
            elif isinstance(event, flow.events.NodeFinished):
                self.names.append(event.node)
            elif isinstance(event, flow.events.NodeFailed) and isinstance(event.error, OSError):
                self.names.append(event.node)  # else the death of the store has ended it
        elif isinstance(event, flow.events.NodeStored):
            self.names.append(event.node if event.index is None else f"m{event.index}")


class Runs(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.backend = MemoryBackend()
        self.world = World()
        self.models: dict[str, Model] = {}
        self.caught = warnings.catch_warnings()
        self.caught.__enter__()
        warnings.simplefilter("ignore")

    def teardown(self) -> None:
        self.caught.__exit__(None, None, None)

    @initialize(mode=st.sampled_from(["sync", "async", "exit"]), is_gated=st.booleans(), threads=st.booleans())
    def begin(self, mode: Any, is_gated: bool, threads: bool) -> None:
        self.mode, self.is_gated = mode, is_gated
        executor = "thread" if threads else "inline"
        self.settings: dict[str, Any] = {"on_error": "collect", "limit": 1, "executor": executor}
        self.store = Store(self.backend, mode)

    # -- what happens around the runs --------------------------------------------------------

    @rule(name=st.sampled_from(FAILING))
    def breaks(self, name: str) -> None:
        self.world.failing ^= {name}

    @rule(name=st.sampled_from(CHANGING))
    def code_changes(self, name: str) -> None:
        self.world.versions[name] = 3 - self.world.versions[name]

    # -- runs ---------------------------------------------------------------------------------

    def _run(self, run_id: str, inputs: Any, backend: Any = None, **how: Any) -> tuple[Any, Acknowledged]:
        self.world.log.clear()
        acknowledged = Acknowledged(self.mode)
        config = flow.Config(observers=(acknowledged,), **self.settings)
        store = self.store if backend is None else Store(backend, self.mode)
        try:
            dag = self.world.dag(self.is_gated)
            result: Any = flow.run(dag, inputs, run_id=run_id, store=store, config=config, on_wait="return", **how)
        except StoreError as error:
            result = error
        return result, acknowledged

    def _how(self, model: Model | None, conflict: str, change: str) -> tuple[str, str]:
        """Return how to call: where it cannot be told what a call resets, otherwise."""
        if model is None:
            return conflict, change
        if model.told is None and conflict == "retry":
            conflict = "attach"
        return conflict, "fail" if model.maybe and (model.cancel or model.status in ENDED) else change

    def _expects(self, model: Model, conflict: str, change: str) -> bool:
        """Let the model know what a call resets; tell whether the run has ended, and nothing is driven."""
        ended = model.status in ENDED
        retries = conflict == "retry" and (ended or model.told)
        resets = False
        if change == "rerun":
            maybe = len(model.maybe)
            resets = model.forget_changed(self.world.versions)
            model.told = False if resets else None if len(model.maybe) < maybe else model.told
        if retries:
            model.told = False
            resets = resets or model.status == "cancelled" or any(o.status == "failed" for o in model.sure.values())
            model.forget_failed()
        model.cancel = model.cancel and not resets and conflict != "retry"
        return ended and not resets

    def _ends(self, run_id: str, result: Any) -> None:
        """A run has ended as it was to."""
        model = self.models[run_id]
        if not model.cancel:
            self._compare(run_id, result, Oracle(model, self.world, self.is_gated).settle())
            return
        assert not self.world.log, "its end was asked for before, and something was called"
        assert not result.ok
        model.status, model.told = "cancelled", True

    @rule(
        run_id=st.sampled_from(IDS), gives=st.booleans(), conflict=st.sampled_from(["attach", "attach", "retry"]),
        change=st.sampled_from(["fail", "rerun"]),
    )  # fmt: skip
    def runs(self, run_id: str, gives: bool, conflict: str, change: str) -> None:
        model = self.models.get(run_id)
        gives = gives or model is None
        model = self.models.setdefault(run_id, Model(1))
        conflict, change = self._how(model, conflict, change)
        stands = self._expects(model, conflict, change)
        before = self.backend.load(run_id)
        result, _ = self._run(run_id, {"x": model.x} if gives else None, on_conflict=conflict, on_change=change)
        if stands:
            assert not self.world.log, "it had ended, and something was called"
            assert self.backend.load(run_id) == before
            if model.status != "cancelled":
                self._compare(run_id, result, {**model.sure})
            else:
                assert not result.ok
            return
        self._ends(run_id, result)

    def _compare(self, run_id: str, result: Any, found: dict[str, Out]) -> None:
        model, row = self.models[run_id], self.backend.row(run_id)
        assert isinstance(result, flow.Result), result
        assert row is not None and not row.owner
        outer = {name: out for name, out in found.items() if name in NEEDS}
        status = {name: str(status) for name, status in result.status.items()}
        assert {name: status[name] for name in outer} == {name: out.status for name, out in outer.items()}
        outputs = {name: dict(value) if name == "n" else value for name, value in result.items() if name != "conn"}
        done = {name: out.value for name, out in outer.items() if out.status == "completed" and name != "conn"}
        assert {name: value for name, value in outputs.items()} == done
        model.status = (
            "waiting" if "waiting" in status.values() else "failed" if "failed" in status.values() else "completed"
        )
        assert row.status == model.status
        model.told = True
        assert result.ok == (model.status == "completed")
        assert result.waiting == (("gate",) if model.status == "waiting" else ())
        assert set(result.errors) == {name for name, out in outer.items() if out.status == "failed"}
        c = model.sure.get("c")
        if c is not None and c.status == "completed":
            assert result.data["c"] == f"written by {c.value}"

    @rule(
        run_id=st.sampled_from(IDS), at=st.integers(1, 30), applies=st.booleans(),
        conflict=st.sampled_from(["attach", "attach", "retry", "restart"]), change=st.sampled_from(["fail", "rerun"]),
    )  # fmt: skip
    def dies(self, run_id: str, at: int, applies: bool, conflict: str, change: str) -> None:
        model = self.models.get(run_id)
        dying = Dying(self.backend, at, applies)
        before = copy.deepcopy(model)
        is_new = model is None or conflict == "restart"
        conflict, change = self._how(model, conflict, change)
        if is_new:
            model = Model(1)
        assert model is not None
        stands = not is_new and self._expects(model, conflict, change)
        result, acknowledged = self._run(run_id, {"x": model.x}, dying, on_conflict=conflict, on_change=change)
        if not dying.dead:
            self.models[run_id] = model
            if stands:
                assert not self.world.log
            else:
                self._ends(run_id, result)
            return
        assert isinstance(result, StoreError)
        row = self.backend.row(run_id)
        if row is not None and row.owner == this_process():  # that process is dead
            self.backend.claim(run_id, row.token, "", 0.0, 0.0)
        self._died(run_id, before, model, is_new, at - (not applies), acknowledged)

    def _died(
        self, run_id: str, before: Model | None, model: Model, is_new: bool, writes: int, acknowledged: Acknowledged
    ) -> None:
        """Note what is sure of a run whose process died after so many writes, and what may be."""
        first = 2 if before is not None else 1  # one claims a run, the next resets, or makes it anew
        if writes < first:
            assert not self.world.log
            if before is not None:
                self.models[run_id] = before
                before.status = "running" if writes else before.status
            if is_new and self.backend.row(run_id) is None:  # it was to be forgotten, and is
                self.models.pop(run_id, None)
            return
        self.models[run_id], row = model, self.backend.row(run_id)
        assert row is not None
        model.status = row.status
        if model.cancel:
            assert not self.world.log
            return
        if row.status != "running":  # it was the last write, and has come
            Oracle(model, self.world, self.is_gated).settle()
            model.told = True
            return
        counts = Counter(name for name, _ in self.world.log)
        for name, out in self.world.log:
            assert counts[name] == 1
            assert name not in model.sure or name == "conn", f"{name} is stored, and was called again"
            out.value = {"src": [0, 1, 2], "r": CHOSEN[out.version]}.get(name, out.value)
            model.maybe[name] = out
        for name in acknowledged.names:
            if name in model.maybe:
                model.sure[name] = model.maybe.pop(name)
            elif name == "gate":
                model.sure[name] = Out("completed", model.signal)

    @rule(run_id=st.sampled_from(IDS))
    def restarts(self, run_id: str) -> None:
        model = self.models[run_id] = Model(1 if run_id not in self.models else 3 - self.models[run_id].x)
        result, _ = self._run(run_id, {"x": model.x}, on_conflict="restart")
        self._compare(run_id, result, Oracle(model, self.world, self.is_gated).settle())

    # -- what is refused, and changes nothing --------------------------------------------------

    @contextmanager
    def _changes_nothing(self, run_id: str) -> Iterator[None]:
        before = self.backend.load(run_id)
        self.world.log.clear()
        yield
        assert self.backend.load(run_id) == before
        assert not self.world.log

    @precondition(lambda self: self.models)
    @rule(data=st.data(), how=st.sampled_from(["inputs", "fail", "dag"]))
    def conflicts(self, data: Any, how: str) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.models)))
        with self._changes_nothing(run_id):
            if how == "inputs":
                result, _ = self._run(run_id, {"x": 99})
            elif how == "fail":
                result, _ = self._run(run_id, None, on_conflict="fail")
            else:
                other = flow.Dag("other")
                other.add("a", lambda x: x)
                try:
                    result = flow.run(other, {"x": 1}, run_id=run_id, store=self.store)
                except RunConflict as error:
                    result = error
            assert isinstance(result, RunConflict)

    # -- what an operator does -----------------------------------------------------------------

    @rule(run_id=st.sampled_from(IDS))
    def sends(self, run_id: str) -> None:
        model, payload = self.models.get(run_id), f"sent to {run_id}"
        try:
            taken: Any = self.store.send(run_id, "gate", payload)
        except UnknownRun:
            assert model is None
        except StoreError:
            assert model is not None and model.status in ENDED
        else:
            assert model is not None
            assert taken == (model.signal is None)
            if taken:
                model.signal = payload

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def cancels(self, data: Any) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.models)))
        model = self.models[run_id]
        if model.status not in ENDED:
            model.status, model.cancel = "cancelled", True
        assert self.store.cancel(run_id).status == model.status

    @rule(run_id=st.sampled_from(IDS))
    def deletes(self, run_id: str) -> None:
        assert self.store.delete([run_id]) == (self.models.pop(run_id, None) is not None)

    @precondition(lambda self: self.models)
    @rule(data=st.data(), new=st.sampled_from(IDS))
    def forks(self, data: Any, new: str) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.models)))
        if new in self.models:
            with self._changes_nothing(new):
                try:
                    self.store.fork(run_id, new)
                    raise AssertionError("a fork took the place of a run")
                except RunConflict:
                    pass
            return
        with self._changes_nothing(run_id):
            self.store.fork(run_id, new)
        self.models[new] = copy.deepcopy(self.models[run_id])
        self.models[new].cancel = False

    @precondition(lambda self: self.models)
    @rule(data=st.data(), node=st.sampled_from([None, *NEEDS]))
    def resets(self, data: Any, node: str | None) -> None:
        run_id = data.draw(st.sampled_from(sorted(self.models)))
        model, plan = self.models[run_id], self.world.dag(self.is_gated).compile()
        if node is not None and node not in plan:
            return
        self.store.reset(run_id, plan, node)
        model.status, model.told, model.cancel = "running", False, False
        if node is None:
            model.forget_failed()
        else:
            model.forget_from(node)

    @invariant()
    def the_store_has_these_runs(self) -> None:
        assert {row.id: row.status for row in self.backend.runs()} == {
            run_id: model.status for run_id, model in self.models.items()
        }


TestRuns = pytest.mark.slow(Runs.TestCase)
TestRuns.settings = settings(examples(25), stateful_step_count=25)
