"""Whatever a definition is made of, compiling lists all that is wrong, and raises nothing else."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from conftest import named

import flow


class RaisingAttributes:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __call__(self, a: Any) -> int:
        return 1


class RaisingClass:  # as proxies of web frameworks do outside of a request
    @property
    def __class__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("working outside of a request")

    def __call__(self) -> int:
        return 1


class RaisingAll:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __call__(self) -> int:
        return 1


class RaisingSignature:
    @property
    def __signature__(self) -> Any:
        raise ValueError

    def __call__(self) -> int:
        return 1


class BadSignature:
    __signature__ = 5

    def __call__(self) -> int:
        return 1


class NoEquality:
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise RuntimeError

    def __call__(self) -> int:
        return 1


class NoHash:
    def __hash__(self) -> int:
        raise RuntimeError

    def __call__(self) -> int:
        return 1


class NoRepr:
    def __repr__(self) -> str:
        raise RuntimeError

    def __call__(self) -> int:
        return 1


class WrapsItself:
    @property
    def __wrapped__(self) -> Any:
        return self

    def __call__(self) -> int:
        return 1


class NoTruth:
    """As an array: what ``==`` gives has no truth."""

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    def __eq__(self, other: object) -> Any:
        return self

    __ne__ = __lt__ = __le__ = __gt__ = __ge__ = __eq__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


class CallableWithoutTruth(NoTruth):
    def __call__(self) -> int:
        return 1


def wrapping(a: Any) -> None: ...
def annotated(a: Any) -> None: ...
def signed(a: Any) -> None: ...


wrapping.__wrapped__ = RaisingAttributes()  # type: ignore[attr-defined]
annotated.__annotations__ = {"a": RaisingAttributes()}
signed.__signature__ = RaisingAttributes()  # type: ignore[attr-defined]

OBJECTS: dict[str, Any] = {
    "attributes": RaisingAttributes(), "class": RaisingClass(), "all": RaisingAll(), "signature": RaisingSignature(),
    "bad signature": BadSignature(), "equality": NoEquality(), "hash": NoHash(), "repr": NoRepr(),
    "wraps itself": WrapsItself(), "truth": NoTruth(), "callable without truth": CallableWithoutTruth(),
    "wrapping": wrapping, "annotated": annotated, "signed": signed, "partial": functools.partial(RaisingAttributes()),
    "partial of class": functools.partial(RaisingClass()), "partial of signed": functools.partial(signed),
}  # fmt: skip


WAYS: dict[str, Any] = {
    "node": lambda d, o: d.add("n", o),
    "node with needs": lambda d, o: d.add("n", o, needs=["users"]),
    "node with retry": lambda d, o: d.add("n", o, retry=flow.Retry(2)),
    "node in a thread": lambda d, o: d.add("n", o, thread=True),
    "node with middleware": lambda d, o: d.add("n", o, middleware=[lambda next, ctx: next()]),
    "map": lambda d, o: d.map("n", o, over="users"),
    "map with retry": lambda d, o: d.map("n", o, over="users", retry=flow.Retry(2)),
    "map with a limit": lambda d, o: d.map("n", o, over="users", timeout=1),
    "map with priority": lambda d, o: d.map("n", o, over="users", priority=1),
    "map with middleware": lambda d, o: d.map("n", o, over="users", middleware=[lambda next, ctx: next()]),
    "flat_map": lambda d, o: d.flat_map("n", o, over="users", cost=1),
    "filter": lambda d, o: d.filter("n", o, over="users", continue_on_error=True),
    "reduce": lambda d, o: d.reduce("n", o, over="users", start=0, retry=flow.Retry(2)),
    "loop": lambda d, o: d.loop("n", o, until=lambda x: True, max_iterations=1),
    "loop with retry": lambda d, o: d.loop("n", o, until=lambda x: True, max_iterations=1, retry=flow.Retry(2)),
    "until": lambda d, o: d.loop("n", _inner(), until=o, max_iterations=1),
    "until of a function": lambda d, o: d.loop("n", lambda a: a, until=o, max_iterations=1, carry="a"),
    "max_iterations": lambda d, o: d.loop("n", _inner(), until=lambda x: True, max_iterations=o),
    "carry": lambda d, o: d.loop("n", _inner(), until=lambda x: True, max_iterations=1, carry=o),
    "carry of a function": lambda d, o: d.loop("n", lambda a: a, until=lambda x: True, max_iterations=1, carry=o),
    "carried output": lambda d, o: d.loop("n", _inner(), until=lambda x: True, max_iterations=1, carry={"a": o}),
    "on_limit": lambda d, o: d.loop("n", _inner(), until=lambda x: True, max_iterations=1, on_limit=o),
    "history": lambda d, o: d.loop("n", _inner(), until=lambda x: True, max_iterations=1, history=o),
    "name of a loop": lambda d, o: d.loop(o, lambda a: a, until=lambda x: True, max_iterations=1),
    "key": lambda d, o: d.map("n", lambda item: 1, over="users", key=o),
    "middleware": lambda d, o: d.add("n", lambda: 1, middleware=[o]),
    "retry_if": lambda d, o: d.add("n", lambda: 1, retry=flow.Retry(retry_if=o)),
    "needs": lambda d, o: d.add("n", lambda a: 1, needs=[o]),
    "two needs": lambda d, o: d.add("n", lambda a, b: 1, needs=["users", o]),
    "named needs": lambda d, o: d.add("n", lambda a: 1, needs={"a": o}),
    "after": lambda d, o: d.add("n", lambda: 1, after=[o]),
    "name": lambda d, o: d.add(o, lambda: 1),
    "retry": lambda d, o: d.add("n", lambda: 1, retry=o),
    "timeout": lambda d, o: d.add("n", lambda: 1, timeout=o),
    "priority": lambda d, o: d.add("n", lambda: 1, priority=o),
    "cost": lambda d, o: d.add("n", lambda: 1, cost=o),
    "thread": lambda d, o: d.add("n", lambda: 1, thread=o),
    "continue_on_error": lambda d, o: d.add("n", lambda: 1, continue_on_error=o),
    "store": lambda d, o: d.add("n", lambda: 1, store=o),
    "store of a merge": lambda d, o: d.merge("n", of=["users"], store=o),
}


def _inner() -> flow.Dag:
    dag = flow.Dag("inner")
    dag.add("x", lambda a: a)
    return dag


@pytest.mark.parametrize("kind", OBJECTS)
@pytest.mark.parametrize("way", WAYS)
def test_another_fault_is_found_whatever_is_given(way: str, kind: str) -> None:
    value = OBJECTS[kind]
    dag = flow.Dag()
    dag.add("users", lambda: [1])
    WAYS[way](dag, value)
    dag.add("oops", lambda: 1, after="nope")
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    assert any("'oops'" in fault for fault in caught.value.faults)
    assert str(caught.value)


@pytest.mark.parametrize(
    ("fn", "options"),
    [
        (lambda: 1, {"retry": flow.Retry(3)}), (lambda: 1, {"timeout": 1}), (5, {"cost": 1}),
        (lambda: 1, {"priority": 1}), (lambda: 1, {"continue_on_error": True}), (lambda: 1, {"thread": True}),
        (5, {"middleware": [lambda next, ctx: next()]}), (lambda: 1, {}),
        (functools.partial(annotated, 1, 2), {"retry": flow.Retry(3)}),
    ],
    ids=named,
)  # fmt: skip
@pytest.mark.parametrize("dag_middleware", [(), [lambda next, ctx: next()]], ids=["", "dag middleware"])
def test_a_faulty_map_with_a_policy(fn: Any, options: dict[str, Any], dag_middleware: Any) -> None:
    dag = flow.Dag("etl", middleware=dag_middleware)
    dag.add("users", lambda: [1])
    dag.map("sent", fn, over="users", concurrency=0, **options)
    dag.add("oops", lambda: 1, after="nope")
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    faults = caught.value.faults
    assert len(faults) == 3
    assert len([fault for fault in faults if fault.startswith("node 'sent' (")]) == 2
    assert any("concurrency" in fault for fault in faults)


def test_a_faulty_map_with_a_faulty_policy() -> None:
    dag = flow.Dag()
    dag.map("sent", lambda: 1, over="users", retry=flow.Retry(0), priority="high")
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    assert len(caught.value.faults) == 3


def test_an_object_that_raises_when_read_says_so() -> None:
    dag = flow.Dag()
    dag.add("it", RaisingClass())
    with pytest.raises(flow.DefinitionError, match=r"cannot be read: RuntimeError: working outside of a request"):
        dag.compile()


def settings_without_truth() -> list[Any]:
    value = NoTruth()
    found: list[Any] = []
    for kind in (flow.Config, flow.DataConfig):
        for name in kind.__struct_fields__:
            found.append(pytest.param(lambda kind=kind, name=name: kind(**{name: value}), id=f"{kind.__name__}.{name}"))
    for name in flow.Retry.__struct_fields__:
        found.append(pytest.param(lambda name=name: compiled(retry=flow.Retry(**{name: value})), id=f"Retry.{name}"))
    for name in flow.Timeout.__struct_fields__:
        give = lambda name=name: compiled(timeout=flow.Timeout(**{name: value}))  # noqa: E731
        found.append(pytest.param(give, id=f"Timeout.{name}"))
    for name in (
        "retry", "timeout", "thread", "continue_on_error", "priority", "middleware", "cost", "needs", "after", "store",
    ):  # fmt: skip
        found.append(pytest.param(lambda name=name: compiled(**{name: value}), id=name))
    for name in ("concurrency", "batch_size", "on_error", "key", "take", "pipelined", "needs"):
        found.append(pytest.param(lambda name=name: mapped(**{name: value}), id=f"map.{name}"))
    found += [
        pytest.param(lambda: flow.DataConfig.preset(value), id="preset"),
        pytest.param(lambda: flow.run(ran()[0], config=flow.Config(timing=True)).timeline(value), id="timeline"),
        pytest.param(lambda: flow.tune(ran()[0], objective=value, budget=0.1), id="tune.objective"),
        pytest.param(lambda: flow.tune(ran()[0], work=value, budget=0.1), id="tune.work"),
        pytest.param(lambda: flow.tune(ran()[0], scale=value, budget=0.1), id="tune.scale"),
        pytest.param(lambda: flow.traces.load("nowhere", work=value), id="traces.work"),
        pytest.param(lambda: flow.traces.load("nowhere", scale=value), id="traces.scale"),
        pytest.param(lambda: flow.run(ran()[0], run_id=value), id="run_id"),
        pytest.param(lambda: flow.run(ran()[0], value), id="inputs"),
        pytest.param(lambda: flow.run(ran()[0], targets=value), id="targets"),
        pytest.param(lambda: flow.Dag(value).compile(), id="dag name"),
        pytest.param(lambda: flow.topologies.linear(value), id="topology"),
    ]
    return found


def ran() -> tuple[flow.Dag]:
    dag = flow.Dag()
    dag.add("it", lambda: 1)
    return (dag,)


def compiled(**options: Any) -> None:
    dag = flow.Dag()
    dag.add("it", lambda a=1: 1, **options)
    dag.compile()


def mapped(**options: Any) -> None:
    dag = flow.Dag()
    dag.map("it", lambda item: 1, "items", **options)
    dag.compile()


@pytest.mark.parametrize("give", settings_without_truth())
def test_a_value_without_truth_is_refused_by_the_settings_name(give: Any) -> None:
    with pytest.raises(flow.FlowError):
        give()


def test_arrays() -> None:
    np = pytest.importorskip("numpy")
    array = np.array([1, 2])
    with pytest.raises(flow.errors.ConfigError) as caught:
        flow.Config(mode=array, limit=array, optimize=array, keep=array)
    assert len(caught.value.faults) == 4
    with pytest.raises(flow.DefinitionError, match="pipelined must be True or False, not array"):
        mapped(pipelined=array)


def test_a_dags_name_is_plain_text() -> None:
    class Name(str):
        __slots__ = ()

    dag = flow.Dag(Name("etl"))
    dag.add("it", lambda: 1)
    assert type(dag.name) is type(dag.compile().name) is str


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda n: flow.topologies.linear(n), "n"), (lambda n: flow.topologies.diamond(n), "n"),
        (lambda n: flow.topologies.tree(3, n), "arity"), (lambda n: flow.topologies.layered(n, 1, 1), "layers"),
        (lambda n: flow.topologies.layered(1, n, 1), "width"), (lambda n: flow.topologies.random_dag(n, p=0.5), "n"),
        (lambda n: flow.topologies.sparse_random(3, max_in_degree=n), "max_in_degree"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("n", [2**63, 10**400, 10**5000], ids=["2**63", "10**400", "10**5000"])
def test_topologies_have_a_largest_size(make: Any, what: str, n: int) -> None:
    with pytest.raises(flow.errors.ConfigError, match=f"{what} must be at most 9,223,372,036,854,775,807"):
        make(n)


def test_so_have_layers_times_width() -> None:
    with pytest.raises(flow.errors.ConfigError, match="layers \\* width must be at most"):
        flow.topologies.layered(2**40, 2**40, 1)


@pytest.mark.parametrize(
    "config",
    [*(flow.DataConfig.preset(name) for name in ("default", "low_memory", "production", "metrics_disabled")),
     flow.DataConfig(memory="slots"), flow.DataConfig(interning="arena"), flow.DataConfig(metrics="timing"),
     flow.DataConfig(locked=True)],
    ids=named,
)  # fmt: skip
@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("shared", [False, True])
def test_keys_that_no_store_can_look_up(config: flow.DataConfig, depth: int, shared: bool) -> None:
    data = flow.WorkflowData(config)
    data.set("a", 1)
    for _ in range(depth):
        data = data.child()
        data.set("b", 2)
    if shared:
        data.snapshot()
    key: Any = []
    for call in (data.get, data.has, data.delete, data.__getitem__, data.__contains__, data.__delitem__):
        with pytest.raises(flow.errors.DataError, match=r"a key must be a string, not \[\]"):
            call(key)
    other: Any = 5
    assert (data.get(other), data.has(other), data.delete(other), other in data) == (None, False, False, False)
    assert data["a"] == 1
