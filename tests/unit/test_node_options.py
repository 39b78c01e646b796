"""Options of nodes, maps and reduces: what is taken, what is refused, and that copies keep them."""

from __future__ import annotations

import inspect
import operator
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from conftest import named

import flow
from flow.graph.options import CommonOptions, ItemOptions, NodeOptions, PolicyOptions
from flow.plan.definition import PLAIN, Policy
from flow.policy.mapping import Mapped


def one(item: int = 1) -> int:
    return item


async def aone(item: int = 1) -> int:
    return item


def rows(item: int = 1) -> Any:
    yield item


async def arows(item: int = 1) -> Any:
    yield item


def admit(ctx: flow.Context) -> None: ...
async def aadmit(ctx: flow.Context) -> None: ...


class Admits:
    def __call__(self, ctx: flow.Context) -> None: ...


Adds = Callable[..., flow.Dag]


def with_node(fn: Any = one, **options: Any) -> flow.Dag:
    dag = flow.Dag("d")
    dag.add("it", fn, **options)
    return dag


def with_decorated(fn: Any = one, **options: Any) -> flow.Dag:
    dag = flow.Dag("d")
    dag.node(name="it", **options)(fn)
    return dag


def _with(method: str) -> Adds:
    def make(fn: Any = one, **options: Any) -> flow.Dag:
        dag = flow.Dag("d")
        getattr(dag, method)("it", fn, "items", **options)
        return dag

    return make


async def asum(so_far: int, item: int) -> int:
    return so_far + item


def with_reduce(fn: Any = one, **options: Any) -> flow.Dag:
    dag = flow.Dag("d")
    dag.reduce("it", asum if fn is aone else operator.add, "items", start=0, **options)
    return dag


MAPS = {method: _with(method) for method in ("map", "filter", "flat_map")}
NODES = {"add": with_node, "node": with_decorated, **MAPS}
ALL = {**NODES, "reduce": with_reduce}
every_node = pytest.mark.parametrize("make", NODES.values(), ids=NODES)
everywhere = pytest.mark.parametrize("make", ALL.values(), ids=ALL)


def faults_of(dag: flow.Dag) -> list[str]:
    """The faults without the node and the place before each."""
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    return [re.sub(r"^node 'it' \(.*?\): ", "", fault) for fault in caught.value.faults]


def policy_of(dag: flow.Dag, i: int = 0) -> Policy:
    return dag._definition.policies.get(i, PLAIN)


def runs_in_thread(dag: flow.Dag, name: str = "it") -> bool:
    plan = dag.compile()
    binder = plan._nodes.binders.get(plan.find(name))
    if binder is None:
        return False
    return (binder.fn if isinstance(binder.fn, Mapped) else binder).executor == "thread"


class TestExecutor:
    @everywhere
    @pytest.mark.parametrize("executor", [None, "inline", "thread"])
    def test_what_every_node_takes(self, make: Adds, executor: str | None) -> None:
        dag = make(executor=executor)
        dag.compile()
        assert policy_of(dag).runs_in == executor

    @every_node
    def test_a_name_is_taken_by_all_but_reduce(self, make: Adds) -> None:
        dag = make(executor="pool")
        dag.compile()  # whether the config has it is found when a run starts
        assert policy_of(dag).runs_in == "pool"
        assert not runs_in_thread(dag)

    @everywhere
    @pytest.mark.parametrize(
        "options", [{"executor": "thread"}, {"thread": True}, {"thread": True, "executor": "thread"}]
    )
    def test_thread_is_its_short_word(self, make: Adds, options: dict[str, Any]) -> None:
        dag = make(**options)
        assert runs_in_thread(dag)
        assert policy_of(dag).runs_in == "thread"

    @everywhere
    @pytest.mark.parametrize(
        "options", [{}, {"executor": "inline"}, {"thread": False}, {"thread": False, "executor": "inline"}]
    )
    def test_elsewhere_is_no_thread(self, make: Adds, options: dict[str, Any]) -> None:
        assert not runs_in_thread(make(**options))

    def test_a_node_in_a_thread_runs_there(self) -> None:
        import threading

        dag = flow.Dag("d")
        dag.add("here", threading.get_ident, executor="inline")
        dag.add("there", threading.get_ident, executor="thread")
        result = flow.run(dag)
        assert result["there"] != threading.get_ident() == result["here"]

    def test_a_member_of_a_str_enum_is_its_value(self) -> None:
        import enum

        class Where(enum.StrEnum):
            THREAD = "thread"
            POOL = "pool"

        assert runs_in_thread(with_node(executor=Where.THREAD))
        assert type(policy_of(with_node(executor=Where.POOL)).runs_in) is str

    @everywhere
    @pytest.mark.parametrize("executor", ["", 5, True, ["pool"], object], ids=named)
    def test_what_is_no_name(self, make: Adds, executor: Any) -> None:
        (fault,) = faults_of(make(executor=executor))
        assert fault.startswith("executor must be 'inline', 'thread' or a name in Config(executors=...), not ")

    @everywhere
    def test_thread_beside_another(self, make: Adds) -> None:
        (fault,) = faults_of(make(thread=True, executor="inline"))
        assert fault == "thread=True means executor='thread', and executor='inline' says otherwise: drop one of them"

    @everywhere
    @pytest.mark.parametrize("executor", ["inline", "thread", "pool"])
    def test_async_functions(self, make: Adds, executor: str) -> None:
        (fault,) = faults_of(make(aone, executor=executor))
        assert fault == f"executor={executor!r} is for sync functions, and this one is async: drop it"

    def test_all_that_is_wrong_on_an_async_function(self) -> None:
        found = faults_of(with_node(aone, thread=True, executor="pool", admission=3))
        assert len(found) == 4
        assert found[0].startswith("thread=True means executor='thread', and executor='pool'")
        assert found[1] == "thread=True is for sync functions, and this one is async: drop it"
        assert found[2] == "executor='pool' is for sync functions, and this one is async: drop it"
        assert found[3].startswith("admission must be")

    @pytest.mark.parametrize("fn", [rows, arows])
    @pytest.mark.parametrize("executor", ["inline", "thread", "pool"])
    def test_generator_functions(self, fn: Any, executor: str) -> None:
        nothing_done = [fault for fault in faults_of(with_node(fn, executor=executor)) if "would do nothing" in fault]
        assert [fault.partition(" would")[0] for fault in nothing_done] == ["executor"]

    def test_generator_functions_of_maps(self) -> None:
        (fault,) = faults_of(MAPS["map"](rows, executor="pool", retry=flow.Retry(2)))
        assert fault.startswith("retry and executor would do nothing on a generator function")
        MAPS["flat_map"](rows, executor="pool").compile()  # its items' calls go over them

    def test_a_name_on_reduce(self) -> None:
        text = "executor='pool' is for nodes and maps, and a reduce runs inline or in a thread: drop it"
        assert faults_of(with_reduce(executor="pool")) == [text]
        assert faults_of(with_reduce(executor="pool", thread=True))[1:] == [text]

    @everywhere
    @pytest.mark.parametrize("options", [{"executor": "thread"}, {"thread": True}])
    def test_a_thread_can_be_abandoned(self, make: Adds, options: dict[str, Any]) -> None:
        make(**options, timeout=1.0, abandon_on_timeout=True).compile()

    @every_node
    @pytest.mark.parametrize("executor", ["inline", "pool"])
    def test_nothing_else_can(self, make: Adds, executor: str) -> None:
        (fault,) = faults_of(make(executor=executor, timeout=1.0, abandon_on_timeout=True))
        assert fault.startswith("abandon_on_timeout=True needs thread=True")


class TestAdmission:
    @everywhere
    @pytest.mark.parametrize("admission", [None, admit, aadmit, Admits(), Admits().__call__, [], [admit, aadmit]])
    @pytest.mark.parametrize("fn", [one, aone])
    def test_what_is_taken(self, make: Adds, admission: Any, fn: Any) -> None:
        dag = make(fn, admission=admission)
        dag.compile()
        assert policy_of(dag).admission is admission

    @everywhere
    @pytest.mark.parametrize("admission", [0, False, "limit", [admit, 3]], ids=named)
    def test_what_cannot_be_called(self, make: Adds, admission: Any) -> None:
        (fault,) = faults_of(make(admission=admission))
        assert fault.startswith("admission must be a callable (ctx), a list of them, or None, not ")


class TestCopies:
    """What copies nodes keeps all their options."""

    FULL = Policy(
        flow.Retry(2), 3.0, True, False, 4, (lambda next, ctx: next(),), 5.0, 6, False, "thread", admit, store=False
    )  # fmt: skip

    def full(self) -> flow.Dag:
        dag = flow.Dag("full")
        dag.add("first", lambda: 0)
        dag.add("it", one, **msgspec.structs.asdict(self.FULL))
        dag.map("each", one, "items", executor="pool", admission=aadmit, store="pickle")
        return dag

    def test_adding_takes_every_one(self) -> None:
        assert policy_of(self.full(), 1) == self.FULL

    def test_include(self) -> None:
        whole = flow.Dag("whole")
        whole.include(self.full(), prefix="p")
        assert policy_of(whole, 1) == self.FULL
        assert policy_of(whole, 2) == Policy(executor="pool", admission=aadmit, store="pickle")
        assert whole.compile()._nodes.storing == {1: False, 2: "pickle"}
        assert runs_in_thread(whole, "p.it")

    def test_include_under_middleware(self) -> None:
        def around(next: Any, ctx: flow.Context) -> Any:
            return next()

        inner = flow.Dag("inner", middleware=[around])
        inner.add("it", one, executor="pool", admission=admit, store=False)
        whole = flow.Dag("whole")
        whole.include(inner, prefix="p")
        assert policy_of(whole) == Policy(middleware=(around,), executor="pool", admission=admit, store=False)

    def test_subgraph(self) -> None:
        part = self.full().subgraph("each", "it")
        assert part.names == ("it", "each")
        assert policy_of(part, 0) == self.FULL
        assert policy_of(part, 1) == Policy(executor="pool", admission=aadmit, store="pickle")
        assert part.compile()._nodes.storing == {0: False, 1: "pickle"}

    def test_graphs_of_networkx(self) -> None:
        networkx = pytest.importorskip("networkx")
        graph = networkx.DiGraph()
        graph.add_node("plain")
        graph.add_node("it", cost=2, priority=1)
        dag = flow.interop.from_networkx(graph)
        assert [policy_of(dag, i) for i in range(2)] == [PLAIN, Policy(cost=2, priority=1)]
        assert list(dag._definition.policies) == [1]  # what has only defaults has no Policy


class TestNames:
    def test_every_list_of_options_is_the_same(self) -> None:
        policy = set(Policy.__struct_fields__) - {"routing"}  # which methods make of other arguments
        assert set(PolicyOptions.__annotations__) == policy
        assert set(CommonOptions.__annotations__) == policy | {"after", "replace"}
        assert set(NodeOptions.__annotations__) == policy | {"after", "replace", "needs"}
        assert set(ItemOptions.__annotations__) >= policy | {"after", "replace", "needs"}

    def test_add_documents_every_one(self) -> None:
        documented = set(re.findall(r":param (\w+):", inspect.getdoc(flow.Dag.add) or ""))
        assert documented == {"name", "fn", *NodeOptions.__annotations__}

    @everywhere
    def test_an_unknown_one_adds_nothing(self, make: Adds) -> None:
        with pytest.raises(flow.UsageError) as caught:
            make(exekutor="pool", admision=admit, priority=1)
        assert str(caught.value) == (
            "node 'it' takes none of these options: 2 faults\n"
            "  - 'exekutor' (did you mean 'executor'?)\n"
            "  - 'admision' (did you mean 'admission'?)"
        )  # fmt: skip

    def test_an_unknown_one_leaves_the_dag_as_it_was(self) -> None:
        dag = flow.Dag("d")
        with pytest.raises(flow.UsageError, match="takes no option 'retrys'"):
            dag.add("it", one, retrys=flow.Retry(2))  # type: ignore[call-overload]
        assert (len(dag), dag._definition.policies) == (0, {})

    def test_defaults_make_no_policy(self) -> None:
        dag = with_node(**msgspec.structs.asdict(PLAIN))
        assert dag._definition.policies == {}


TYPED = """
from __future__ import annotations
import flow

dag = flow.Dag("d")
def one(item: int = 1) -> int: return item
def add(a: int, b: int) -> int: return a + b
def admit(ctx: flow.Context) -> None: ...
async def aadmit(ctx: flow.Context) -> bool: return True
def misses() -> None: ...
def wants(ctx: str) -> None: ...

dag.add("a", one, executor="pool", admission=admit)
dag.node(name="b", executor="inline", admission=aadmit)(one)
dag.map("c", one, over="xs", executor="thread", admission=aadmit)
dag.filter("d", one, over="xs", executor=None, admission=None)
dag.flat_map("e", one, over="xs", executor="pool", admission=lambda ctx: print(ctx.node))
dag.reduce("f", add, over="xs", start=0, executor="thread", admission=admit)
dag.add("a", one, replace=True)
dag.node(name="b", replace=True)(one)
dag.map("c", one, over="xs", replace=True)
dag.reduce("f", add, over="xs", start=0, replace=True)
dag.add("a", one, store=False)
dag.node(name="b", store="pickle")(one)
dag.map("c", one, over="xs", store=True)
dag.reduce("f", add, over="xs", start=0, store=False)
dag.merge("m", of=["a", "b"], store=False)
dag.route("r", one, to={1: "a"}, store="pickle")
dag.teardown("t", one, of="a", store=False)
dag.add("a", one, store="json")  # type: ignore[call-overload]
dag.map("c", one, over="xs", store=1)  # type: ignore[call-overload]
dag.signal("s", store=False)  # type: ignore[call-overload]
dag.add("a", one, replace="yes")  # type: ignore[call-overload]
dag.add("g", one, executor=5)  # type: ignore[call-overload]
dag.add("h", one, admission=misses)  # type: ignore[arg-type]
dag.add("i", one, admission=wants)  # type: ignore[arg-type]
dag.add("j", one, exekutor="pool")  # type: ignore[call-overload]
dag.filter("k", one, over="xs", admission=misses)  # type: ignore[arg-type]
"""


def test_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    file = tmp_path / "typed.py"
    file.write_text(TYPED, "utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", str(file)],
        cwd=Path(__file__).parents[1], capture_output=True, text=True, timeout=280,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
