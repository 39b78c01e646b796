"""Names from outside go by one documented pattern."""

from __future__ import annotations

from enum import Enum, StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.types import MAX_NAME, NAME_PATTERN, NAME_RULE, is_name

REFUSED = [
    "", " ", "a b", "/", "a/b", "/etc/passwd", "..", "a..b", "../x", ".", ".hidden", "%2e%2e", "a%2e%2eb", "\0", "a\0b",
    "\n", "a\n", "a\nb", "\na", "a\r", "a\tb", "'", '"', "a'b", 'a"b', "a;b", "a\\b", "-a", "+a", "#a", "a|b", "a<b>",
    "\u2028",
    "a\u202eb", "\ud800", "a\u00b7b", "e\u0301", "x" * (MAX_NAME + 1), "x" * 10_240, "../" * 3_000,
]  # fmt: skip
ACCEPTED = [
    "a", "_", "1", "007", "a.b", "a-b", "a:b", "a+b", "a#1", "a@b", "a.b.c", "class", "None",
    "größe", "日本", "имя", "ñ",
    "x" * MAX_NAME, "merge_ID0000001", "a.",
]  # fmt: skip


def nothing() -> None: ...


def compiled(*names: Any) -> flow.Plan:
    dag = flow.Dag()
    for name in names:
        dag.add(name, nothing)
    return dag.compile()


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: ascii(name)[:20])
def test_refused(name: str) -> None:
    assert not is_name(name)
    for names in ((name,), ("a", name), (name, "b"), ("a", name, "b")):
        with pytest.raises(ValueError) as caught:
            compiled(*names)
        assert isinstance(caught.value, flow.DefinitionError)
        assert len(caught.value.faults) == 1
        assert NAME_RULE in caught.value.faults[0]
        text = str(caught.value)
        assert len(text) < 600
        assert not set(text) & {"\0", "\n", "\r", "\u2028", "\u202e", "\ud800"}


@pytest.mark.parametrize("name", REFUSED, ids=lambda name: ascii(name)[:20])
def test_dag_names_are_held_to_it_too(name: str) -> None:
    dag = flow.Dag(name)
    dag.add("a", nothing)
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    assert [fault.startswith("dag name ") for fault in caught.value.faults] == [True]
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ACCEPTED, ids=lambda name: ascii(name)[:20])
def test_accepted(name: str) -> None:
    assert is_name(name)
    assert list(compiled(name)) == [name]
    dag = flow.Dag(name)
    dag.add("a", nothing)
    assert dag.compile().name == name


@pytest.mark.parametrize("name", [7, None, b"a", ("a",), ["a"], {}, 1.5, object])
def test_no_string(name: Any) -> None:
    assert not is_name(name)
    with pytest.raises(flow.DefinitionError, match=r"of type .*, not a string") as caught:
        compiled("a", name, name)
    assert len(caught.value.faults) == 2
    with pytest.raises(flow.DefinitionError, match="dag name"):
        dag = flow.Dag(name)
        dag.add("a", nothing)
        dag.compile()


ANY_TEXT = st.one_of(st.text(), st.text(alphabet="ab._/\n-é·"), st.from_regex(NAME_PATTERN, fullmatch=True))


@given(st.lists(ANY_TEXT, min_size=1, unique=True))
def test_many_at_once_are_held_to_the_same_pattern(names: list[str]) -> None:
    refused = [name for name in names if not is_name(name)]
    try:
        plan = compiled(*names)
    except flow.DefinitionError as error:
        assert len(error.faults) == len(refused) > 0
    else:
        assert refused == []
        assert list(plan) == names


def test_subclasses_of_str_become_plain() -> None:
    class Step(StrEnum):
        LOAD = "load"

    class Old(str, Enum):  # noqa: UP042  f"{Old.SAVE}" would print Old.SAVE
        SAVE = "save"

    class Sly(str):
        __slots__ = ()

        def __hash__(self) -> int:
            raise ValueError("hash")

    dag = flow.Dag()
    dag.add(Step.LOAD, nothing)
    dag.add(Old.SAVE, lambda x, y: None, needs=[Step.LOAD, Sly("sly")], after=Old.SAVE.value.replace("save", "load"))
    dag.add(Sly("sly"), nothing)
    plan = dag.compile()
    assert plan.names == ["load", "save", "sly"]
    assert {type(name) for name in plan.names} == {str}
    assert (plan.find(Old.SAVE), plan.find(Sly("sly")), plan._nodes.dependencies[1]) == (1, 2, (0, 2))


def test_an_unknown_name_is_shortened_too() -> None:
    dag = flow.Dag()
    dag.add("a", nothing, after=["x" * 100_000, "line\nbreak"])
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    assert len(str(caught.value)) < 800
    assert "line\\nbreak" in str(caught.value)


class TestNames:
    """Names from outside are refused by the one documented pattern."""

    BAD = ("a/b", "..", "a..b", "%2e%2e", "a\0b", "a\nb", "a'b", 'a"b', "", " a", "x" * 10_240, ".hidden", "-rf")

    @pytest.mark.parametrize("name", BAD)
    def test_node_names_and_run_ids(self, name: str) -> None:
        dag = flow.Dag("d")
        dag.add(name, lambda: 1)
        with pytest.raises(ValueError, match=r"is refused: a name is 1 to 255 characters"):
            flow.run(dag)
        good = flow.Dag("d")
        good.add("a", lambda: 1)
        with pytest.raises(ValueError, match=r"run id .* is refused: a name is 1 to 255 characters"):
            flow.run(good, run_id=name)

    @pytest.mark.parametrize("name", ["a", "A-1", "ns:task#3", "größe", "x.y+z@2", "7", "_", "n" * 255])
    def test_accepted(self, name: str) -> None:
        dag = flow.Dag("d")
        dag.add(name, lambda: 1)
        assert flow.run(dag, run_id=name).run_id == name

