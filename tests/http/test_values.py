"""Inputs as they come over HTTP: what is made of them, and all that is wrong with them at once."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict
from uuid import UUID

import msgspec
import pytest
from client import serving

import flow
from flow.errors import MAX_FAULTS_SHOWN
from flow.http.problems import Problem
from flow.http.values import Inputs, converted, inputs_of, pointer


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Point(msgspec.Struct):
    x: int
    y: int = 0


@dataclass
class Box:
    corner: Point
    name: str = "box"


class Opened(msgspec.Struct):
    path: str

    def __post_init__(self) -> None:
        raise ValueError(f"cannot open /srv/private/{self.path}")


@dataclass
class Settings:
    n: int
    mode: str = "fast"
    tags: list[str] = field(default_factory=list)


class Own:
    """A class that no JSON makes."""


class Declared(TypedDict):
    n: int
    when: datetime
    color: Color
    points: list[Point]
    box: Box
    mode: Literal["fast", "slow"]
    maybe: NotRequired[int | None]
    by_name: NotRequired[dict[str, float]]
    anything: NotRequired[Any]


GIVEN = {
    "n": 3, "when": "2024-05-06T07:08:09Z", "color": "red", "points": [{"x": 1}, {"x": 2, "y": 3}],
    "box": {"corner": {"x": 0}}, "mode": "slow",
}  # fmt: skip


def declared() -> flow.Dag:
    dag = flow.Dag("declared", inputs=Declared)

    def node(n: int, when: datetime, color: Color, points: list[Point], box: Box, mode: str, ctx: flow.Context) -> Any:
        return [type(one).__name__ for one in (n, when, color, points[1], box, box.corner, mode)]

    dag.add("node", node)
    return dag


def read(dag: flow.Dag, given: Any) -> dict[str, Any]:
    return Inputs(dag.compile()).read(given)


def faults(dag: flow.Dag, given: Any) -> list[tuple[str, str]]:
    with pytest.raises(Problem) as caught:
        read(dag, given)
    assert caught.value.status == 422
    assert caught.value.title == "The inputs do not fit the workflow"
    return [(fault.pointer, fault.detail) for fault in caught.value.faults]


def taking(function: Any) -> flow.Dag:
    dag = flow.Dag("taking")
    dag.add("node", function)
    return dag


class TestTypes:
    def test_declared_ones_are_made(self) -> None:
        with serving({"declared": declared()}) as client:
            for _ in range(2):  # in a thread, and here
                got = client.start("declared", {"inputs": GIVEN})
                kinds = ["int", "datetime", "Color", "Point", "Box", "Point", "str"]
                assert got.json["outputs"] == {"node": kinds}, got

    def test_annotated_ones_are_made(self) -> None:
        def node(when: datetime, color: Color, box: Optional[Box] = None, points: tuple[Point, ...] = ()) -> Any:  # noqa: UP045
            return (when, color, box, points)

        found = read(taking(node), {"when": "2024-01-01T00:00:00Z", "color": "blue", "box": {"corner": {"x": 1}}})
        when = datetime(2024, 1, 1, tzinfo=UTC)
        assert found == {"when": when, "color": Color.BLUE, "box": Box(Point(1))}
        assert read(taking(node), {"when": "2024-01-01T00:00:00Z", "color": "red", "box": None, "points": []}) == {
            "when": when, "color": Color.RED, "box": None, "points": (),
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("kind", "given", "made"),
        [
            (float, 1, 1.0), (bytes, "YWI=", b"ab"), (set[int], [1, 1], {1}), (Decimal, "1.50", Decimal("1.50")),
            (UUID, "12345678123456781234567812345678", UUID(int=0x12345678123456781234567812345678)),
            (Path, "a/b", Path("a/b")), (int | str, "x", "x"), (tuple[int, str], [1, "a"], (1, "a")),
            (dict[str, Point], {"a": {"x": 1}}, {"a": Point(1)}), (Annotated[int, "note"], 5, 5),
        ],
    )  # fmt: skip
    def test_others(self, kind: Any, given: Any, made: Any) -> None:
        value, fault = converted(given, kind)
        assert (value, type(value), fault) == (made, type(made), None)

    @pytest.mark.parametrize(
        ("kind", "given"), [(int, True), (int, 1.5), (str, 1), (bool, 1), (float, "1"), (int, None)]
    )
    def test_nothing_is_guessed(self, kind: Any, given: Any) -> None:
        assert converted(given, kind)[1] is not None

    def test_a_class_that_no_json_makes(self) -> None:
        def node(own: Own, either: Point | Box) -> None: ...

        assert faults(taking(node), {"own": {"x": 1}, "either": {"x": 1}}) == [
            ("/inputs/own", "Expected `Own`, got `dict`"),
            ("/inputs/either", f"it must be of the type {__name__}.Point | {__name__}.Box, which no JSON makes"),
        ]

    def test_values_of_plain_types_are_not_copied(self) -> None:
        def node(n: int, free) -> None: ...  # type: ignore[no-untyped-def]

        given = {"n": 1, "free": [1]}
        assert read(taking(node), given) is given


class TestFaults:
    def test_all_at_once_with_pointers(self) -> None:
        given = {
            "n": "three", "color": "green", "points": [{"x": 1}, {"x": "two"}, 5], "box": {"corner": {}},
            "mode": "medium", "maybe": "x", "by_name": {"a/b": "c"}, "colour": "red", "zzz": 0,
        }  # fmt: skip
        takes = "n, when, color, points, box, mode, maybe, by_name, anything"
        assert faults(declared(), given) == [
            ("/inputs/n", "Expected `int`, got `str`"),
            ("/inputs/color", "Invalid enum value 'green'"),
            ("/inputs/points/1/x", "Expected `int`, got `str`"),
            ("/inputs/box/corner", "Object missing required field `x`"),
            ("/inputs/mode", "Invalid enum value 'medium'"),
            ("/inputs/maybe", "Expected `int | null`, got `str`"),
            ("/inputs/by_name", "Expected `float`, got `str`"),
            ("/inputs/colour", "there is no such input (did you mean 'color'?)"),
            ("/inputs/zzz", f"there is no such input; the workflow takes: {takes}"),
            ("/inputs/when", "the input 'when' is missing"),
        ]

    def test_a_request_with_faults_of_all_kinds(self) -> None:
        with serving({"declared": declared()}) as client:
            body = {"inputs": {"n": "x"}, "target": ["a"], "targets": ["nodes", "node", "other"], "n": 1}
            got = client.start("declared", body)
            assert got.status == 422
            found = {fault["pointer"]: fault["detail"] for fault in got.json["errors"]}
            assert list(found)[:5] == ["/target", "/n", "/targets/0", "/targets/2", "/inputs/n"]
            assert found["/target"] == "a request has no 'target' (did you mean 'targets'?)"
            assert found["/n"] == 'a request has no \'n\': inputs are given as {"inputs": {"n": ...}}'
            assert found["/targets/0"] == "there is no node 'nodes' (did you mean 'node'?)"
            assert got.headers["content-type"] == "application/problem+json"

    def test_names_are_escaped_in_pointers(self) -> None:
        assert pointer("inputs", "a/b~c") == "/inputs/a~1b~0c"
        assert faults(taking(lambda x: None), {"a/b~": 1, "x": 1})[0][0] == "/inputs/a~1b~0"

    @pytest.mark.parametrize("given", [None, [], "x", 5, True])
    def test_inputs_are_an_object(self, given: Any) -> None:
        ((place, detail),) = faults(taking(lambda x: None), given)
        assert place == "/inputs"
        assert detail.startswith("inputs are an object by name, not ")

    def test_a_workflow_that_takes_nothing(self) -> None:
        assert faults(taking(lambda: None), {"x": 1}) == [
            ("/inputs/x", "there is no such input; the workflow takes: none")
        ]

    def test_very_many_unknown_names_are_told_in_part_and_compared_no_further(self) -> None:
        def node(**inputs: Any) -> None: ...

        node.__signature__ = __import__("inspect").signature(  # type: ignore[attr-defined]
            eval(f"lambda {', '.join(f'input_number_{i}' for i in range(200))}: None")
        )
        found = faults(taking(node), {f"input_numbers_{i}" * 3: 0 for i in range(20_000)})
        unknown = [place for place, detail in found if detail.startswith("there is no such input")]
        assert len(unknown) == MAX_FAULTS_SHOWN
        assert ("/inputs", f"and {20_000 - MAX_FAULTS_SHOWN:,} more that there are not") in found

    def test_very_many_members_and_targets_are_told_in_part(self) -> None:
        with serving({"taking": taking(lambda: 0)}) as client:
            many = {f"member_{i}": 0 for i in range(5_000)}
            got = client.start("taking", {**many, "targets": [f"nodes_{i}" for i in range(5_000)]})
            assert len(got.json["errors"]) == 2 * MAX_FAULTS_SHOWN

    def test_what_classes_of_the_user_say_is_without_paths(self) -> None:
        def node(opened: Opened) -> None: ...

        assert faults(taking(node), {"opened": {"path": "x.txt"}}) == [("/inputs/opened", "cannot open x.txt")]

    def test_faults_of_secret_inputs_do_not_repeat_them(self) -> None:
        Secrets = TypedDict("Secrets", {  # noqa: UP013
            "key": Annotated[Literal["first-key", "second-key"], flow.Secret], "pin": Annotated[int, flow.Secret],
        })  # fmt: skip
        dag = flow.Dag("secrets", inputs=Secrets)
        dag.add("node", lambda key, pin: None)
        found = faults(dag, {"key": "hunter2-hunter2", "pin": "1234-5678"})
        assert [place for place, _ in found] == ["/inputs/key", "/inputs/pin"]
        assert "hunter2" not in str(found)
        assert "5678" not in str(found)


class TestTold:
    def test_what_is_known_of_inputs(self) -> None:
        def first(a: int, b: str = "x", c=None) -> None: ...  # type: ignore[no-untyped-def]
        def second(a: int, b: int = 3) -> None: ...

        dag = flow.Dag("two")
        dag.add("first", first)
        dag.add("second", second)
        found = inputs_of(dag.compile())
        assert (found["a"].type, found["a"].required, found["a"].default) == (int, True, ())
        assert (found["b"].type, found["b"].required) == (Any, False)  # they do not agree
        assert (found["c"].type, found["c"].default) == (Any, (None,))

    def test_what_a_class_declares(self) -> None:
        dag = flow.Dag("settings", inputs=Settings)
        dag.add("node", lambda n, mode, tags: [n, mode, tags])
        found = inputs_of(dag.compile())
        assert (found["n"].type, found["n"].required) == (int, True)
        assert (found["mode"].required, found["mode"].default) == (False, ("fast",))
        assert (found["tags"].required, found["tags"].default) == (False, ())  # each run makes its own
        with serving({"settings": dag}) as client:
            for _ in range(2):
                assert client.start("settings", {"inputs": {"n": 1}}).json["outputs"] == {"node": [1, "fast", []]}
            assert client.start("settings", {"inputs": {"n": 1, "extra": 2}}).status == 422

    def test_a_dag_that_takes_anything_besides(self) -> None:
        dag = flow.Dag("open", inputs=...)

        def node(ctx: flow.Context) -> dict[str, Any]:
            return dict(ctx.inputs)

        dag.add("node", node)
        with serving({"open": dag}) as client:
            told = client.start("open", {"inputs": {"x": 1, "y/z": [2]}}).json
            assert told["outputs"] == {"node": {"x": 1, "y/z": [2]}}
        assert Inputs(dag.compile()).read({"x": 1, "y/z": [2]}) == {"x": 1, "y/z": [2]}

    def test_annotations_that_cannot_be_read_are_none(self) -> None:
        def node(x: "Missing", y: "Missing | int" = 3) -> None: ...  # noqa: F821, UP037

        found = inputs_of(taking(node).compile())
        assert (found["x"].type, found["y"].type) == (Any, Any)
        assert read(taking(node), {"x": {"a": 1}}) == {"x": {"a": 1}}

    def test_defaults_are_the_dags_own(self) -> None:
        dag = flow.Dag("d")
        dag.add("node", lambda x=5, y=6: [x, y])
        with serving({"d": dag}) as client:
            for body in ({}, {"inputs": {}}, None):
                assert client.start("d", body).json["outputs"] == {"node": [5, 6]}
            assert client.start("d", {"inputs": {"y": 1}}).json["outputs"] == {"node": [5, 1]}
            assert client.start("d", b"").json["outputs"] == {"node": [5, 6]}
