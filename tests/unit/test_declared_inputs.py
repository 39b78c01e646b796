"""``flow.Dag(inputs=...)``: which run inputs there are, of what types, with what defaults."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import pickle
import warnings
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NotRequired, Protocol, Required, TypedDict

import msgspec
import numpy as np
import pytest

import flow


class Settings(msgspec.Struct, rename="camel"):
    how_many: int
    limit: float = 2.5
    tags: list[str] = msgspec.field(default_factory=list)


@dataclasses.dataclass
class Base:
    region: str
    kind: ClassVar[str] = "x"


@dataclasses.dataclass
class Data(Base):
    when: datetime.date = datetime.date(2024, 1, 1)
    found: list[int] = dataclasses.field(default_factory=list)
    made: int = dataclasses.field(default=0, init=False)


class Half(TypedDict, total=False):
    must: Required[int]
    may: str


class Keys(Half):
    also: int
    perhaps: NotRequired[int]


class Odd(Protocol):
    def look(self) -> int: ...


def dag_of(inputs: Any, **fns: Any) -> flow.Dag:
    dag = flow.Dag("d", inputs=inputs)
    for name, fn in fns.items():
        dag.add(name, fn)
    return dag


def faults_of(inputs: Any, **fns: Any) -> tuple[str, ...]:
    with pytest.raises(flow.DefinitionError) as caught:
        dag_of(inputs, **fns).compile()
    return caught.value.faults


def refused(dag: flow.Dag | flow.Plan, inputs: Any = None, **options: Any) -> tuple[str, ...]:
    with pytest.raises(flow.InputError) as caught:
        flow.run(dag, inputs, **options)
    return caught.value.faults


class TestNames:
    def test_a_required_parameter_that_nothing_fills_is_a_fault_with_its_place_and_what_was_meant(self) -> None:
        faults = faults_of(["customers", "region"], a=lambda custmers, regon: 1, b=lambda a, customers: 1)
        assert len(faults) == 2
        assert faults[0].startswith("node 'a' (") and "test_declared_inputs.py:" in faults[0]
        assert "takes 'custmers', which is neither a node nor a declared input (did you mean 'customers'?)" in faults[0]
        assert "'regon'" in faults[1] and "'region'" in faults[1]

    def test_it_is_listed_with_all_other_faults(self) -> None:
        dag = dag_of(["x"], a=lambda y: 1)
        dag.add("b", lambda: 1, after="c")
        with pytest.raises(flow.DefinitionError) as caught:
            dag.compile()
        assert len(caught.value.faults) == 2

    def test_keywords_and_contexts_are_seen(self) -> None:
        def fn(ctx: flow.Context, *, nothing: int) -> int:
            return nothing

        (fault,) = faults_of(["x"], a=fn)
        assert "takes 'nothing'" in fault

    def test_a_map_goes_over_a_declared_input(self) -> None:
        dag = dag_of(("urls",))
        dag.map("sizes", len, over="urls")
        assert flow.run(dag, {"urls": ["a", "bc"]})["sizes"] == [1, 2]

    def test_a_map_over_what_is_not_declared_is_a_fault(self) -> None:
        dag = dag_of(["urls"])
        dag.map("sizes", len, over="urlz")
        with pytest.raises(flow.DefinitionError, match="goes over 'urlz', which is neither"):
            dag.compile()

    def test_parameters_with_a_default_are_left_out(self) -> None:
        dag = dag_of(["x"], a=lambda x, extra=5: (x, extra))
        assert flow.run(dag, {"x": 1})["a"] == (1, 5)
        assert dag.compile().inputs == ("x",)
        (fault,) = refused(dag, {"x": 1, "extra": 2})
        assert fault == "input 'extra' is none that the dag declares"

    def test_one_named_nearly_as_a_node_or_input_is_warned_of_at_the_users_line(self) -> None:
        dag = dag_of(["customers"], orders=lambda customers: 1, a=lambda custmers=1, oders=2: (custmers, oders))
        with pytest.warns(flow.DefinitionWarning) as caught:
            dag.compile()
        assert [w.filename for w in caught] == [__file__, __file__]
        assert "parameter 'custmers', which no node fills: is the declared input 'customers' meant?" in str(
            caught[0].message
        )
        assert "is node 'orders' (" in str(caught[1].message)
        dag.compile()  # (warnings are errors here) of the same plan nothing is said again
        dag.add("later", lambda: 1)
        dag.compile()

    def test_a_declared_input_that_no_node_takes_is_allowed_and_must_be_given(self) -> None:
        def reads(ctx: flow.Context) -> Any:
            return ctx.inputs["x"]

        dag = dag_of(["x"], a=reads)
        assert flow.run(dag, {"x": 3})["a"] == 3
        assert refused(dag) == ("input 'x' is missing: the dag declares it, without a default; pass inputs={'x': ...}",)

    def test_a_dag_without_inputs(self) -> None:
        assert flow.run(dag_of([], a=lambda: 1))["a"] == 1
        assert "neither a node" in faults_of([], a=lambda x: 1)[0]

    @pytest.mark.parametrize("inputs", ["customers", 3, {"x"}, int, list[int]])
    def test_what_declares_nothing_is_a_fault(self, inputs: Any) -> None:
        assert faults_of(inputs, a=lambda: 1)[0].startswith("inputs must be the names of the run inputs in a list")

    def test_faults_of_names(self) -> None:
        faults = faults_of(["a", 3, "x", "x", ""], a=lambda: 1)
        assert faults == (
            "inputs names run inputs by strings, not by 3",
            "inputs names 'x' twice",
            "inputs names '', which is no name: it is empty",
            "input 'a' is declared, and is the name of a node as well: names must differ",
        )


class TestAnythingGoes:
    def test_alone(self) -> None:
        def reads(ctx: flow.Context, needed: int, maybe: int = 2) -> Any:
            return needed, maybe, ctx.inputs["extra"]

        dag = dag_of(..., a=reads)
        assert dag.compile().required_inputs == ("needed",)
        assert flow.run(dag, {"needed": 1, "extra": 4})["a"] == (1, 2, 4)
        assert "'needed' is missing" in refused(dag)[0]
        assert "5 is no parameter of any node" in refused(dag, {"needed": 1, 5: 4})[0]
        assert refused(dag, {"needed": 1, "a": 4}) == (
            "input 'a' is the name of a node, which provides that value itself",
        )

    def test_at_the_end_of_a_list(self) -> None:
        dag = dag_of(["x", ...], a=lambda x: x)
        assert flow.run(dag, {"x": 1, "other": 2}).inputs == {"x": 1, "other": 2}
        assert "'x' is missing" in refused(dag)[0]


class TestClasses:
    def test_a_struct(self) -> None:
        dag = dag_of(Settings, a=lambda how_many, limit, tags: (how_many, limit, tags))
        assert dag.compile().inputs == ("how_many", "limit", "tags")
        assert dag.compile().required_inputs == ("how_many",)
        first, second = flow.run(dag, {"how_many": 3}), flow.run(dag, {"how_many": 3})
        assert first["a"] == (3, 2.5, [])
        assert first["a"][2] is not second["a"][2], "each run has a default of its own"
        assert first.inputs == {"how_many": 3, "limit": 2.5, "tags": []}

    def test_a_declared_default_goes_over_the_parameters(self) -> None:
        assert flow.run(dag_of(Settings, a=lambda limit=9: limit), {"how_many": 1})["a"] == 2.5

    def test_a_dataclass_with_inherited_fields(self) -> None:
        dag = dag_of(Data, a=lambda region, when, found: (region, when, found))
        assert dag.compile().inputs == ("region", "when", "found")
        assert flow.run(dag, {"region": "eu"})["a"] == ("eu", datetime.date(2024, 1, 1), [])
        assert "date" in refused(dag, {"region": "eu", "when": "2024-01-01"})[0]

    def test_a_typed_dict(self) -> None:
        dag = dag_of(Keys, a=lambda must, also, may="x", perhaps=7: (must, also, may, perhaps))
        assert dag.compile().inputs == ("must", "may", "also", "perhaps")
        assert set(dag.compile().required_inputs) == {"must", "also"}
        assert flow.run(dag, {"must": 1, "also": 2})["a"] == (1, 2, "x", 7)
        assert flow.run(dag, {"must": 1, "also": 2, "perhaps": 3})["a"] == (1, 2, "x", 3)
        assert len(refused(dag, {"must": 1, "also": 2, "perhaps": "3"})) == 1

    def test_what_need_not_be_given_must_be_where_a_parameter_has_no_default(self) -> None:
        assert set(dag_of(Keys, a=lambda perhaps: perhaps).compile().required_inputs) == {"must", "also", "perhaps"}

    def test_all_faults_at_once_before_anything_runs(self) -> None:
        ran: list[int] = []
        dag = dag_of(Settings, a=lambda how_many: ran.append(1))
        faults = refused(dag, {"how_many": "3", "limit": "x", "tags": ["a", 1], "lim": 2})
        assert faults == (
            "input 'lim' is none that the dag declares",
            "input 'how_many' is not of its declared type int: Expected `int`, got `str`",
            "input 'limit' is not of its declared type float: Expected `float`, got `str`",
            "input 'tags' is not of its declared type list[str]: Expected `str`, got `int` - at `$[1]`",
        )
        assert not ran

    def test_values_stay_out_of_messages_if_they_are_to(self) -> None:
        faults = refused(dag_of(Settings, a=lambda: 1), {"how_many": "s3cret"}, config=flow.Config(show_values=False))
        assert faults == ("input 'how_many' is not of its declared type int: it is a str",)

    def test_values_that_pass(self) -> None:
        dag = dag_of(Wide, a=lambda: 1)
        array = np.zeros(2)
        given = {
            "number": np.float64(1), "path": Path("x"), "array": array, "either": array, "odd": 3,
            "date": datetime.date(2024, 1, 1), "nested": [{"howMany": 1}],
        }  # fmt: skip
        inputs = flow.run(dag, given).inputs
        assert inputs["array"] is array and inputs["nested"] == [Settings(1)]
        faults = refused(dag, {**given, "either": 3, "path": "x", "date": "2024-01-01"})
        assert [fault.split("'")[1] for fault in faults] == ["path", "either", "date"]

    def test_a_whole_that_is_refused(self) -> None:
        dag = dag_of(Ordered, a=lambda low, high: (low, high))
        assert flow.run(dag, {"low": 1, "high": 2})["a"] == (1, 20)
        assert refused(dag, {"low": 3, "high": 2}) == ("Ordered refuses the inputs: ValueError: low is above high",)

    def test_a_default_that_cannot_be_made(self) -> None:
        dag = dag_of(Failing, a=lambda x: x)
        assert "the default of input 'x' cannot be made: ZeroDivisionError" in refused(dag)[0]

    @pytest.mark.parametrize("name", ["LostStruct", "LostData", "LostDict"])
    def test_annotations_that_cannot_be_resolved(self, name: str) -> None:
        (fault,) = faults_of(globals()[name], a=lambda x: x)
        assert f"inputs: the annotations of {name} cannot be resolved: NameError" in fault

    def test_a_class_whose_instances_take_more_than_fields(self) -> None:
        assert faults_of(Further, a=lambda: 1) == (
            "inputs cannot be Further: its 'x' is an InitVar, so make it a field",
        )

    def test_a_generic_alias_is_none(self) -> None:
        assert "not list[int]" in faults_of(list[int], a=lambda: 1)[0]

    @pytest.mark.parametrize(
        ("kind", "value", "fits"),
        [
            (Path | Odd, 3, True), (Path | np.ndarray | None, None, True), (Annotated[Path | np.ndarray, 1], 3, False),
            (Path | Any, 3, True), (list[Path | np.ndarray], 3, False), (list[Path | np.ndarray], [], True),
            (None, 1, False), (None, None, True), (bool, 1, False), (int, True, False), (float, 1, True),
            (Annotated[int, msgspec.Meta(ge=1)], 0, False), (bytes, "eA==", False), (Literal["a"], "b", False),
        ],
    )  # fmt: skip
    def test_types(self, kind: Any, value: Any, fits: bool) -> None:
        values = dataclasses.make_dataclass("Made", [("x", kind)])
        dag = dag_of(values, a=lambda x: x)
        if fits:
            assert flow.run(dag, {"x": value})["a"] == value
        else:
            assert len(refused(dag, {"x": value})) == 1

    def test_a_plan_can_be_copied_and_sent(self) -> None:
        plan = dag_of(Settings, a=max_of).compile()
        for other in (copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
            assert flow.run(other, {"how_many": 3})["a"] == 3
            assert len(refused(other, {"how_many": "3"})) == 1


def max_of(how_many: int) -> int:
    return how_many


class Wide(msgspec.Struct):
    number: float
    path: Path
    array: np.ndarray
    either: Path | np.ndarray
    odd: Odd
    date: datetime.date
    nested: list[Settings]


@dataclasses.dataclass
class Ordered:
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is above high")
        self.high *= 10


@dataclasses.dataclass
class Failing:
    x: int = dataclasses.field(default_factory=lambda: 1 // 0)


@dataclasses.dataclass
class Further:
    x: dataclasses.InitVar[int]
    y: int = 1


class LostStruct(msgspec.Struct):
    x: Nowhere  # type: ignore[name-defined]  # noqa: F821


@dataclasses.dataclass
class LostData:
    x: Nowhere  # type: ignore[name-defined]  # noqa: F821


class LostDict(TypedDict):
    x: Nowhere  # type: ignore[name-defined]  # noqa: F821


class TestGrowing:
    def test_nodes_added_after_compiling(self) -> None:
        dag = dag_of(Settings, a=lambda how_many: how_many)
        dag.compile()
        dag.add("b", lambda a, limit: a * limit)
        assert flow.run(dag, {"how_many": 2})["b"] == 5.0
        dag.add("c", lambda nothing: 1)
        with pytest.raises(flow.DefinitionError, match="'nothing'"):
            dag.compile()

    def test_a_node_that_takes_an_inputs_name(self) -> None:
        dag = dag_of(["x"], a=lambda x: x)
        dag.compile()
        dag.add("x", lambda: 1)
        with pytest.raises(flow.DefinitionError, match="input 'x' is declared, and is the name of a node"):
            dag.compile()

    def test_a_later_node_fills_what_was_left_out(self) -> None:
        dag = dag_of([], a=lambda extra=1: extra)
        assert flow.run(dag)["a"] == 1
        dag.add("extra", lambda: 5)
        assert flow.run(dag)["a"] == 5


class TestParts:
    def test_targets_need_only_their_own_inputs(self) -> None:
        dag = dag_of(["x", "y"], a=lambda x: x, b=lambda y: y)
        assert flow.run(dag, {"x": 1}, targets="a")["a"] == 1
        assert flow.run(dag, {"x": 1, "y": 2}, targets="a")["a"] == 1
        assert "'z'" in refused(dag, {"x": 1, "z": 1}, targets="a")[0]
        assert "'x' is missing" in refused(dag, targets="a")[0]

    def test_known_nodes_need_none(self) -> None:
        dag = dag_of(Settings, a=lambda how_many: how_many, b=lambda a, limit: (a, limit))
        assert flow.run(dag, known={"a": 7})["b"] == (7, 2.5)

    def test_a_subgraph_keeps_the_declaration(self) -> None:
        dag = dag_of(Settings, a=lambda how_many: how_many, b=lambda limit: limit)
        part = dag.subgraph("b")
        assert flow.run(part)["b"] == 2.5
        assert len(refused(part, {"limit": "x", "how_many": "y"})) == 2
        part.add("c", lambda how_many: how_many)
        assert "'how_many' is missing" in refused(part)[0]


class TestDagsInDags:
    def inner(self) -> flow.Dag:
        return dag_of(Settings, a=lambda how_many, limit: (how_many, limit))

    def test_as_a_node(self) -> None:
        outer = flow.Dag("outer")
        outer.add("how_many", lambda: 3)
        outer.add("inner", self.inner())
        assert flow.run(outer)["inner"]["a"] == (3, 2.5)
        assert flow.run(outer, {"limit": 4})["inner"]["a"] == (3, 4.0)

    def test_what_does_not_fit_fails_the_node(self) -> None:
        outer = flow.Dag("outer")
        outer.add("how_many", lambda: "3")
        outer.add("inner", self.inner())
        result = flow.run(outer, config=flow.Config(on_error="collect"))
        assert isinstance(result.errors["inner"], flow.InputError)

    async def _slow(self) -> int:
        return 3

    def test_on_a_loop_and_for_each_item(self) -> None:
        outer = flow.Dag("outer")
        inner = self.inner()
        inner.add("b", self._slow)
        outer.add("counts", lambda: [1, 2])
        outer.map("each", inner, over="counts")
        assert [each["a"] for each in flow.run(outer)["each"]] == [(1, 2.5), (2, 2.5)]

    def test_included(self) -> None:
        outer = flow.Dag("outer")
        outer.include(self.inner(), prefix="in")
        outer.add("b", lambda free: free)
        assert outer.compile().inputs == ("how_many", "limit", "tags", "free")
        assert flow.run(outer, {"how_many": 1, "free": 2})["in.a"] == (1, 2.5)
        assert len(refused(outer, {"how_many": "1", "free": 2})) == 1
        outer.add("how_many", lambda: "from a node")
        assert flow.run(outer, {"free": 2})["in.a"] == ("from a node", 2.5)

    def test_included_with_inputs_given(self) -> None:
        outer = flow.Dag("outer", inputs=["limit"])
        outer.add("n", lambda: 5)
        outer.include(self.inner(), prefix="in", inputs={"how_many": "n"})
        assert flow.run(outer, {"limit": "as the outer one declares"})["in.a"] == (5, "as the outer one declares")

    def test_included_where_parameters_were_left_out(self) -> None:
        outer = flow.Dag("outer")
        outer.include(dag_of([], a=lambda extra=3: extra), prefix="in")
        assert flow.run(outer)["in.a"] == 3


def test_nothing_is_checked_where_nothing_is_declared() -> None:
    plan = flow.Dag("d")
    plan.add("a", lambda x: x)
    assert plan.compile()._nodes.declared is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = [1]
        assert flow.run(plan, {"x": given})["a"] is given


def test_types_are_told_in_pythons_words() -> None:
    """msgspec has those of JSON: null, object, array; what the value says stays as it is."""

    class Wanted(msgspec.Struct):
        maybe: str | None
        table: dict[str, int]
        rows: list[dict[str, int]]
        kind: Literal["`null`"]

    dag = dag_of(Wanted, a=lambda maybe, table, rows, kind: 1)
    with pytest.raises(flow.InputError) as caught:
        flow.run(dag, {"maybe": 1, "table": None, "rows": [[]], "kind": "got `null`"})
    maybe, table, rows, kind = caught.value.faults
    assert maybe.endswith("Expected `str | None`, got `int`")
    assert table.endswith("Expected `mapping`, got `None`")
    assert rows.endswith("Expected `mapping`, got `sequence` - at `$[0]`")
    assert "null" in kind


@pytest.mark.parametrize(
    ("inputs", "given", "meant"),
    [
        (Settings, Settings(1), " (its fields are one: msgspec.structs.asdict(...))"),
        (Data, Data("eu"), " (its fields are one: dataclasses.asdict(...))"),
        (Settings, flow.Config(), " (did you mean config=...?)"),
        (Settings, [1], ""),
        (None, Settings(1), ""),
    ],
)
def test_what_is_no_mapping_is_told_what_was_meant(inputs: Any, given: Any, meant: str) -> None:
    with pytest.raises(flow.InputError, match="inputs must be a mapping by parameter name, not ") as caught:
        flow.run(dag_of(inputs, a=lambda: 1), given)
    text = str(caught.value)
    assert text.endswith(meant) and (meant or "(its fields" not in text)
