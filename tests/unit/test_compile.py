"""Compiling: every fault in one error, cycles, growing Dags, and random definitions against an oracle."""

from __future__ import annotations

import pickle
import random
from functools import partial
from itertools import pairwise
from typing import Any, cast

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.errors import MAX_FAULTS_SHOWN
from flow.plan.compile import compile_definition
from flow.plan.plan import Plan


def nothing() -> None: ...
def takes_one(x: Any) -> None: ...
def anything(*values: Any) -> None: ...
async def waiting(*values: Any) -> None: ...


# mypy knows that it cannot be called
TOO_FULL: Any = partial(cast("Any", takes_one), 1, 2)


def faults_of(dag: flow.Dag) -> tuple[str, ...]:
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    for fault in caught.value.faults[:MAX_FAULTS_SHOWN]:
        assert fault in str(caught.value)
    return caught.value.faults


def only_fault(*, nodes: str = "users scores", **options: Any) -> str:
    dag = flow.Dag()
    for name in nodes.split():
        dag.add(name, nothing)
    dag.add("it", **{"fn": anything, **options})
    (fault,) = faults_of(dag)
    return fault


class TestFaults:
    """A5: one error lists all faults, each with its node and place; nothing runs."""

    def test_all_at_once(self) -> None:
        ran = []

        def run(a: Any) -> None:
            ran.append(a)

        dag = flow.Dag("bad/dag", middleware=(3,))  # type: ignore[arg-type]
        dag.add("users", run)
        dag.add("users", nothing)
        dag.add("a/b", nothing)
        dag.add(7, nothing)  # type: ignore[arg-type]
        dag.add("x", run, needs=["nope"], after="user", timeout=-1, retry=flow.Retry(0, delay=-1), priority=1.5)  # type: ignore[arg-type]
        dag.add("y", None, needs={"p": None})  # type: ignore[arg-type,dict-item]
        dag.add("z", waiting, thread=True)
        dag.edge("users", "nowhere")
        dag.add("p", anything, needs=["q"])
        dag.add("q", anything, needs=["p"])
        faults = faults_of(dag)
        for text in (
            "dag name 'bad/dag' is refused",
            "dag middleware must be callables (next, ctx), not 3",
            "node 'users' is defined twice",
            "node name 'a/b' (",
            "node name 7 (",
            "needs names 'nope', which is no node",
            "after names 'user', which is no node of this dag (did you mean 'users'?)",
            "timeout must be a number of seconds > 0, not -1",
            "retry attempts must be an integer of at least 1, not 0",
            "retry delay must be",
            "priority must be an integer, not 1.5",
            "node 'y' (None): None is not callable",
            "needs names None",
            "node 'z'",
            "edge('users', 'nowhere') names 'nowhere'",
        ):
            assert any(text in fault for fault in faults), text
        assert f"{run.__code__.co_filename}:{run.__code__.co_firstlineno}" in str(faults)
        assert ran == []
        assert len(faults) == 15

    def test_a_cycle_is_listed_beside_other_faults(self) -> None:
        dag = flow.Dag()
        dag.add("p", anything, needs=["q"])
        dag.add("q", anything, needs=["p", "nope"])
        with pytest.raises(flow.DefinitionError) as caught:
            dag.compile()
        assert type(caught.value) is flow.DefinitionError
        assert len(caught.value.faults) == 2
        assert set(caught.value.cycle) == {"p", "q"}

    def test_a_missing_dependency_makes_no_cycle(self) -> None:
        dag = flow.Dag()
        dag.add("first", anything, needs=["nope"])
        dag.add("second", anything, needs=["nope", "first"])
        dag.add("third", takes_one, needs={"x": "nope"})
        with pytest.raises(flow.DefinitionError) as caught:
            dag.compile()
        assert caught.value.cycle == ()
        assert len(caught.value.faults) == 3

    def test_a_missing_parameter_makes_no_cycle(self) -> None:
        dag = flow.Dag()
        dag.add("first", takes_one, needs={"x": "nope"})
        assert len(faults_of(dag)) == 1

    def test_empty(self) -> None:
        assert faults_of(flow.Dag()) == ("the dag is empty: add a node first",)
        dag = flow.Dag()
        dag.edge("a", "b")
        assert len(faults_of(dag)) == 3

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"needs": 5}, "needs names 5 (of type int), which is no node"),
            ({"needs": [None]}, "needs names None (of type NoneType), which is no node"),
            ({"needs": {"users", "scores"}}, "needs is a set, which has no order"),
            ({"needs": ["user"]}, "(did you mean 'users'?)"),
            ({"needs": {1: "users"}}, "needs maps 1, but its keys must be parameter names"),
            ({"needs": [["users"]]}, "needs names ['users'] (of type list)"),
            ({"after": [["users"]]}, "after names ['users'] (of type list)"),
            ({"after": 5}, "after names 5"),
            ({"after": None}, "after names None"),
            ({"after": flow.types.NodeRef("x")}, "after names 'x'"),
            ({"after": flow.types.NodeRef([])}, "after names [] (of type list)"),  # type: ignore[arg-type]
            ({"after": len}, "after names the function len, which is no node of this dag"),
            ({"after": nothing}, "several nodes run: say which one ('users', 'scores')"),
            ({"needs": [nothing]}, "several nodes run"),
            ({"fn": None}, "None is not callable"),
            ({"fn": "users"}, "'users' is not callable"),
            ({"fn": lambda x: None, "needs": ["users", "scores"]}, "passes 2 outputs by position"),
            (
                {"fn": lambda left: None, "needs": {"lft": "users"}},
                "needs gives parameter 'lft', which its function does not have (did you mean 'left'?)",
            ),
            ({"fn": TOO_FULL}, "binds 2 positional values, but its function takes 1"),
            ({"retry": 3}, "retry must be a flow.Retry or None, not 3"),
            ({"retry": flow.Retry(-1)}, "retry attempts must be"),
            ({"retry": flow.Retry(jitter=2)}, "retry jitter must be"),
            ({"timeout": 0}, "timeout must be"),
            ({"timeout": -1.5}, "timeout must be"),
            ({"timeout": float("nan")}, "timeout must be"),
            ({"timeout": float("inf")}, "timeout must be"),
            ({"timeout": "2"}, "timeout must be"),
            ({"timeout": True}, "timeout must be"),
            ({"thread": 1}, "thread must be True or False, not 1"),
            ({"fn": waiting, "thread": True}, "thread=True is for sync functions"),
            ({"continue_on_error": "no"}, "continue_on_error must be True or False"),
            ({"priority": "high"}, "priority must be an integer"),
            ({"priority": True}, "priority must be an integer"),
            ({"store": "yes"}, "store must be True, False or 'pickle', not 'yes'"),
            ({"store": None}, "store must be True, False or 'pickle', not None"),
            ({"store": 0}, "store must be True, False or 'pickle', not 0"),
            ({"store": ["pickle"]}, "store must be True, False or 'pickle', not ['pickle']"),
            ({"cost": -1}, "cost must be"),
            ({"cost": float("nan")}, "cost must be"),
            ({"middleware": 5}, "middleware must be callables (next, ctx), not 5"),
            ({"middleware": [nothing, None]}, "middleware must be callables (next, ctx), not None"),
        ],
    )  # fmt: skip
    def test_one(self, options: dict[str, Any], text: str) -> None:
        fault = only_fault(**options)
        assert text in fault
        assert "node 'it' (" in fault

    def test_two_contexts(self) -> None:
        def fn(one: flow.Context, two: flow.Context) -> None: ...

        assert "asks for the Context twice" in only_fault(fn=fn)

    @pytest.mark.parametrize(
        ("refs", "count"), [(("users", "nowhere"), 1), ((5, "users"), 1), ((["users"], None), 2), ((len, "users"), 1)]
    )
    def test_edges(self, refs: tuple[Any, Any], count: int) -> None:
        dag = flow.Dag()
        dag.add("users", nothing)
        dag.edge(*refs)
        faults = faults_of(dag)
        assert len(faults) == count
        assert all(fault.startswith("edge(") for fault in faults)

    def test_every_node_of_a_bad_function_is_named(self) -> None:
        dag = flow.Dag()
        for i in range(3):
            dag.add(f"n{i}", None)  # type: ignore[arg-type]
        dag.add("fine", nothing)
        assert [fault[:9] for fault in faults_of(dag)] == ["node 'n0'", "node 'n1'", "node 'n2'"]

    def test_a_name_used_thrice_is_one_fault(self) -> None:
        dag = flow.Dag()
        for _ in range(3):
            dag.add("same", nothing)
        (fault,) = faults_of(dag)
        assert "is defined 3 times" in fault

    @pytest.mark.slow
    def test_long_lists_are_cut_in_the_message_only(self) -> None:
        dag = flow.Dag()
        for i in range(3_000):
            dag.add(f"n{i}", anything, needs=[f"m{i}"])
        with pytest.raises(flow.DefinitionError, match=r"\.\.\. and 2950 more \(see \.faults\)") as caught:
            dag.compile()
        assert len(caught.value.faults) == 3_000
        assert len(str(caught.value)) < 20_000

    def test_a_hostile_repr_or_hash_stays_out(self) -> None:
        class Hostile:
            def __repr__(self) -> str:
                raise ValueError("repr")

            def __hash__(self) -> int:
                raise ValueError("hash")

        assert "Hostile without a usable repr" in only_fault(needs=[Hostile()])
        assert "Hostile without a usable repr" in only_fault(fn=Hostile())
        assert "Hostile without a usable repr" in only_fault(priority=Hostile())
        dag = flow.Dag(Hostile())  # type: ignore[arg-type]
        dag.add("a", nothing)
        assert "dag name <Hostile" in faults_of(dag)[0]
        assert "Hostile" in repr(dag)

    def test_no_inner_error_is_shown(self) -> None:
        dag = flow.Dag()
        dag.add("a", anything, needs=["b"])
        with pytest.raises(flow.DefinitionError) as caught:
            dag.compile()
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None

    def test_pickle(self) -> None:
        error = flow.errors.CycleError("d", ["cycle: a -> a"], ["a", "a"])
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), copy.faults, copy.cycle, str(copy)) == (
            flow.errors.CycleError, error.faults, ("a", "a"), str(error),
        )  # fmt: skip


class TestCycles:
    """A4: refused at compile, with one cycle's path."""

    def cycle_of(self, dag: flow.Dag) -> flow.errors.CycleError:
        with pytest.raises(flow.errors.CycleError) as caught:
            dag.compile()
        assert caught.value.cycle[0] == caught.value.cycle[-1]
        return caught.value

    def test_self_edge(self) -> None:
        for add in (
            lambda dag: dag.add("a", anything, needs=["a"]),
            lambda dag: dag.add("a", nothing, after="a"),
            lambda dag: (dag.add("a", nothing), dag.edge("a", "a")),
        ):
            dag = flow.Dag()
            add(dag)
            error = self.cycle_of(dag)
            assert error.cycle == ("a", "a")
            assert "self edge: a -> a" in str(error)

    def test_two(self) -> None:
        dag = flow.Dag()
        dag.add("tail", anything, needs=["b"])
        dag.add("a", anything, needs=["b"])
        dag.add("b", nothing, after="a")
        assert set(self.cycle_of(dag).cycle) == {"a", "b"}

    def test_the_path_runs_downstream(self) -> None:
        dag = flow.Dag()
        dag.add("a", nothing, after="c")
        dag.add("b", anything, needs=["a"])
        dag.add("c", anything, needs=["b"])
        cycle = self.cycle_of(dag).cycle
        following = {"a": "b", "b": "c", "c": "a"}
        assert all(following[x] == y for x, y in pairwise(cycle))
        assert len(cycle) == 4

    def test_ten_thousand(self) -> None:
        dag = flow.Dag()
        dag.add("n0", nothing, after="n9999")
        for i in range(1, 10_000):
            dag.add(f"n{i}", anything, needs=[f"n{i - 1}"])
        error = self.cycle_of(dag)
        assert len(error.cycle) == 10_001
        assert set(error.cycle) == {f"n{i}" for i in range(10_000)}
        assert len(str(error)) < 500
        assert "more (see .cycle)" in str(error)

    def test_with_priorities(self) -> None:
        dag = flow.Dag()
        dag.add("a", anything, needs=["b"], priority=2)
        dag.add("b", anything, needs=["a"])
        self.cycle_of(dag)


class TestOrder:
    def test_definition_order_is_a_range_wherever_it_will_do(self) -> None:
        dag = flow.Dag()
        dag.add("a", lambda x: None)
        dag.add("b", takes_one, needs={"x": "a"})
        dag.add("c", nothing)
        dag.edge("a", "c")
        assert dag.compile()._nodes.order == range(3)
        dag.add("d", lambda c, y=1: None)
        assert dag.compile()._nodes.order == range(4)

    def test_data_comes_before_edges(self) -> None:
        dag = flow.Dag()
        for name in "abc":
            dag.add(name, nothing)
        dag.add("d", anything, needs=["c"], after="b")
        for name in "acb":
            dag.edge(name, "d")
        assert dag.compile()._nodes.dependencies[3] == (2, 1, 0)


class TestGrowing:
    def test_an_unchanged_dag_is_compiled_once(self) -> None:
        dag = flow.Dag()
        dag.add("a", nothing)
        plan = dag.compile()
        assert dag.compile() is plan
        dag.add("b", nothing)
        assert dag.compile() is not plan

    def test_a_refused_dag_can_be_completed(self) -> None:
        dag = flow.Dag()
        dag.add("a", nothing)
        older = dag.compile()
        dag.add("b", anything, needs=["c"])
        for _ in range(2):
            assert "'c'" in faults_of(dag)[0]
        assert (len(older), list(older), "b" in older) == (1, ["a"], False)
        dag.add("c", anything, needs=["a"])
        plan = dag.compile()
        assert plan.topological_order() == ["a", "c", "b"]

    def test_a_failed_growth_leaves_the_older_plan_as_it_was(self) -> None:
        dag = flow.Dag()
        dag.add("a", lambda x=1: None)
        dag.add("b", lambda a, y: None)
        older = dag.compile()
        before = fields(older)
        dag.add("a", None)  # type: ignore[arg-type]
        dag.add("y", lambda z: None)
        faults_of(dag)
        assert fields(older) == before
        assert older.find("a") == 0
        assert "y" not in older
        with pytest.raises(flow.UsageError):
            older.find("y")
        assert older.ancestors("b") == ["a"]
        assert older.subgraph("a").names == ["a"]

    def test_an_older_plan_knows_no_later_nodes(self) -> None:
        dag = flow.Dag()
        dag.add("a", nothing)
        older = dag.compile()
        dag.add("b", anything, needs=["a"])
        newer = dag.compile()
        assert ("b" in older, "b" in newer) == (False, True)
        assert older.descendants("a") == [] and newer.descendants("a") == ["b"]
        with pytest.raises(flow.UsageError, match="no node 'b'"):
            older.find("b")

    def test_growing_a_plan_that_is_not_in_order(self) -> None:
        dag = flow.Dag()
        dag.add("b", lambda a: None)
        dag.add("a", nothing)
        assert list(dag.compile()._nodes.order) == [1, 0]
        dag.add("c", nothing)
        assert list(dag.compile()._nodes.order) == [1, 0, 2]
        dag.add("e", anything, needs=["d"])
        dag.add("d", nothing)
        assert list(dag.compile()._nodes.order) == [1, 0, 2, 4, 3]

    def test_a_new_node_takes_over_an_input(self) -> None:
        dag = flow.Dag()
        dag.add("a", lambda x: None)
        assert dag.compile().required_inputs == ("x",)
        dag.add("x", nothing)
        plan = dag.compile()
        assert (plan.inputs, plan._nodes.arguments[0], list(plan._nodes.order)) == ((), (1,), [1, 0])

    def test_an_edge_added_later_counts(self) -> None:
        dag = flow.Dag()
        dag.add("a", nothing)
        dag.add("b", nothing)
        assert list(dag.compile()._nodes.order) == [0, 1]
        dag.edge("b", "a")
        assert list(dag.compile()._nodes.order) == [1, 0]

    def test_interrupted_in_the_middle(self) -> None:
        class Interrupting:
            @property
            def __signature__(self) -> Any:
                raise KeyboardInterrupt

            def __call__(self) -> None: ...

        dag = flow.Dag()
        dag.add("a", nothing)
        older = dag.compile()
        dag.add("b", anything, needs=["c"])
        dag.add("c", Interrupting())
        with pytest.raises(KeyboardInterrupt):
            dag.compile()
        assert list(older._nodes.index) == ["a"]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("how", ["needs", "after", "edge"])
@pytest.mark.slow
def test_a_chain_of_30_000(backwards: bool, how: str) -> None:
    """A3: no recursion anywhere."""
    count = 30_000
    names = [f"n{i}" for i in range(count)]
    pairs = [(names[i], [names[i - 1]] if i else []) for i in range(count)]
    dag = flow.Dag()
    for name, upstream in reversed(pairs) if backwards else pairs:
        if how == "edge":
            dag.add(name, nothing)
            if upstream:
                dag.edge(upstream[0], name)
        else:
            dag.add(name, anything, **{how: upstream})  # type: ignore[arg-type]
    plan = dag.compile()
    assert plan.topological_order() == names
    assert (plan.depth, plan.width, plan.critical_path().length) == (count, 1, count)
    assert len(plan.ancestors(names[-1])) == count - 1
    assert len(plan.subgraph(names[count // 2])) == count // 2 + 1


# -- random definitions against a brute-force oracle -----------------------------------------


@st.composite
def definitions(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Nodes of a random DAG in random order of definition, their edges in every notation."""
    count = draw(st.integers(1, 24))
    seed = draw(st.integers(0, 2**32))
    rng = random.Random(seed)
    names = [f"n{i}" for i in range(count)]
    rng.shuffle(names)
    nodes: list[dict[str, Any]] = []
    for i, name in enumerate(names):
        upstream = rng.sample(names[:i], min(i, rng.randint(0, 4)))
        cut = rng.randint(0, len(upstream))
        data, order = upstream[:cut], upstream[cut:]
        node: dict[str, Any] = {"name": name, "after": order, "edges": [], "fn": anything, "needs": data}
        style = rng.choice(["needs", "infer", "mapping", "edge", "repeat"])
        if style == "infer":
            inputs = rng.sample(["x", "y", "n3", "n7"], rng.randint(0, 2))
            inputs = [p for p in inputs if p not in data and (p not in names or p in names[:i])]
            node["fn"] = eval(f"lambda {', '.join(data + inputs)}: None")
            node["needs"] = None
        elif style == "mapping":
            node["fn"] = eval(f"lambda *, {', '.join(f'p{k}' for k in range(len(data)))}: None") if data else nothing
            node["needs"] = {f"p{k}": ref for k, ref in enumerate(data)}
        elif style == "edge":
            node["after"], node["edges"] = [], order
        elif style == "repeat" and data:
            node["needs"] = [*data, data[0]]
        if rng.random() < 0.2:
            node["priority"] = rng.randint(-2, 2)
        if rng.random() < 0.2:
            node["cost"] = float(rng.randint(0, 5))
        nodes.append(node)
    rng.shuffle(nodes)
    return nodes


def add(dag: flow.Dag, node: dict[str, Any]) -> None:
    options = {k: v for k, v in node.items() if k not in ("name", "fn", "edges")}
    dag.add(node["name"], node["fn"], **options)
    for upstream in node["edges"]:
        dag.edge(upstream, node["name"])


def upstream_of(node: dict[str, Any], names: set[str]) -> set[str]:
    needs = node["needs"]
    if needs is None:
        code = node["fn"].__code__
        needs = [p for p in code.co_varnames[: code.co_argcount] if p in names]
    elif isinstance(needs, dict):
        needs = needs.values()
    return {*needs, *node["after"], *node["edges"]}


def smallest_order(upstream: list[set[int]], priority: list[int]) -> list[int]:
    done: list[int] = []
    left = set(range(len(upstream)))
    while left:
        ready = [i for i in left if not upstream[i] & left]
        done.append(min(ready, key=lambda i: (-priority[i], i)))
        left.remove(done[-1])
    return done


def fields(plan: Plan) -> dict[str, Any]:
    found = {name: getattr(plan, name) for name in Plan.__slots__ if not name.startswith("_")}
    found["shapes"] = set(plan._nodes.shapes)
    return {name: list(v) if isinstance(v, (list, range, bytearray)) else v for name, v in found.items()} | {
        "index": dict(plan._nodes.index),
        "ordered": isinstance(plan._nodes.order, range),
        "ranks": plan._nodes.ranks(),
    }


@examples(300)
@given(definitions())
def test_random_definitions_against_the_oracle(nodes: list[dict[str, Any]]) -> None:
    dag = flow.Dag()
    for node in nodes:
        add(dag, node)
    plan = dag.compile()
    names = [node["name"] for node in nodes]
    place = {name: i for i, name in enumerate(names)}
    upstream = [{place[u] for u in upstream_of(node, set(names))} for node in nodes]
    assert list(plan) == names
    assert [set(deps) for deps in plan._nodes.dependencies] == upstream
    assert all(len(set(deps)) == len(deps) for deps in plan._nodes.dependencies)
    assert plan.edge_count == sum(map(len, upstream))
    assert list(plan._nodes.order) == smallest_order(upstream, [node.get("priority", 0) for node in nodes])
    everyone = range(len(names))
    assert [list(s) for s in plan._nodes.successors] == [[i for i in everyone if u in upstream[i]] for u in everyone]


@examples(200)
@given(definitions(), st.randoms(use_true_random=False))
def test_growing_equals_compiling_from_scratch(nodes: list[dict[str, Any]], rng: random.Random) -> None:
    dag = flow.Dag()
    older: list[tuple[Plan, dict[str, Any]]] = []
    for node in nodes:
        add(dag, node)
        if rng.random() < 0.5:
            try:
                plan = dag.compile()
            except flow.DefinitionError:
                continue
            older.append((plan, fields(plan)))
    assert fields(dag.compile()) == fields(compile_definition(dag._definition))
    for plan, before in older:
        assert fields(plan) == before
