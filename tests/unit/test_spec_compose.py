"""From text to lists and mappings: the scalars of YAML 1.2, places, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.spec.text.compose import compose
from flow.spec.text.faults import Broken, Faults
from flow.spec.text.limits import MAX_DEPTH, MAX_KEY, MAX_VALUES
from flow.spec.text.places import Row, Source, Table

yaml = pytest.importorskip("yaml")


TAGGED = "tags are not read, and this has"
INSTEAD = ": write the value itself, text in quotes"
APPLY = "tag:yaml.org,2002:python/object/apply:os.system"
NO_YAML = "this is no YAML:"
TAB = "this is a tab: indent with blanks"
TOKEN = "while scanning for the next token, found character that cannot start any token"


def composed(text: str, name: str = "f.yaml") -> Any:
    faults = Faults(Source(name, text))
    value = compose(faults)
    assert faults.texts == []
    return value


def refused(text: str) -> list[str]:
    faults = Faults(Source("f.yaml", text))
    try:
        compose(faults)
    except Broken:
        assert faults.texts
    return [fault.removeprefix("f.yaml:") for fault in faults.texts]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("no", "no"), ("yes", "yes"), ("Off", "Off"), ("12:30:45", "12:30:45"), ("010", 10), ("0o17", 15),
        ("0x1F", 31), ("1_000", "1_000"), ("2026-01-31", "2026-01-31"), ("=", "="), ("null", None), ("~", None),
        ("", None), ("Null", None), ("true", True), ("TRUE", True), ("false", False), ("tRue", "tRue"), ("1.5", 1.5),
        (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-3", -3), ("+3", 3), (".inf", math.inf), ("-.INF", -math.inf),
        ("1.2.3", "1.2.3"), ("-", None), ("'5'", "5"), ('"true"', "true"), ("+", "+"), ("0b1", "0b1"), ("1e", "1e"),
        ("<<", "<<"), ("'<<'", "<<"), ("a b", "a b"), ("|\n  x\n  y\n", "x\ny\n"), (">-\n  x\n  y\n", "x y"),
    ],
)  # fmt: skip
def test_scalars(text: str, value: Any) -> None:
    if text == "-":
        assert composed("k: [-x]")["k"] == ["-x"]
        return
    found = composed(f"k: {text}")["k"]
    assert found == value
    assert type(found) is type(value)


def test_nan() -> None:
    assert math.isnan(composed("k: .nan")["k"])


def test_places() -> None:
    table = composed("a: 1\nb:\n  - x\n  - c: {d: y}\n")
    marks = table.marks
    assert [(marks[key][0].line, marks[key][1].column) for key in table] == [(0, 3), (1, 2)]
    row: Row = table["b"]
    assert [event.line for event in row.marks] == [2, 3]
    inner: Table = row[1]["c"]
    assert inner.marks["d"][1].column == 11


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("k: 'ab'", 1, 5), ('k: "ab"', 1, 5), ("k: ab", 1, 4), ("k: |\n  ab\n", 2, 3), ("k: >-\n    ab\n", 2, 5),
        ("k:\n  - |\n    ab\n", 3, 5),
    ],
)  # fmt: skip
def test_places_of_texts(text: str, line: int, column: int) -> None:
    source = Source("f.yaml", text)
    value = compose(Faults(source))
    is_row = isinstance(value["k"], Row)
    place = source.place_of_text(*((value["k"].marks[0], "ab") if is_row else (value.marks["k"][1], value["k"])))
    assert (place.line, place.column) == (line, column)


def test_anchors_and_aliases() -> None:
    table = composed("a: &x {k: [1, 2]}\nb: *x\nc: &y t\nd: *y\n*y : 3\n")
    assert table == {"a": {"k": [1, 2]}, "b": {"k": [1, 2]}, "c": "t", "d": "t", "t": 3}


def test_what_may_hold_expressions_is_marked() -> None:
    table = composed("a: {b: [{c: '{{ x }}'}]}\nd: {e: 1}\nf: &t '{{ y }}'\ng: [*t]\n")
    assert (table.templated, table["a"].templated, table["a"]["b"][0].templated, table["d"].templated) == (
        True, True, True, False,
    )  # fmt: skip
    assert table["g"].templated


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: the file is empty: it begins with 'flow: 1'"),
        ("# nothing\n", "2:1: the file is empty: it begins with 'flow: 1'"),
        ("a: 1\na: 2", "2:1: key 'a' is there twice: first in line 1, column 1"),
        ("a: {b: 1, b: 2}", "1:11: key 'b' is there twice: first in line 1, column 5"),
        ("1: a", "1:1: a key is a text: put 1 in quotes"),
        ("true: a", "1:1: a key is a text: put true in quotes"),
        ("null: a", "1:1: a key is a text: put null in quotes"),
        ("? [a]\n: b", "1:3: a key is a text, not a list or a mapping"),
        ("<<: {a: 1}", "1:1: merge keys ('<<') are not read: write the keys out, or use 'defaults'"),
        ("a: 1\n---\nb: 2", "2:1: a file holds one workflow, and this begins a second document: remove '---'"),
        ("a: !!str 5", f"1:4: {TAGGED} 'tag:yaml.org,2002:str'{INSTEAD}"),
        ("a: !x {}", f"1:4: {TAGGED} '!x'{INSTEAD}"),
        ("a: !!python/object/apply:os.system [ls]", f"1:4: {TAGGED} '{APPLY}'{INSTEAD}"),
        ("!!map {a: 1}", f"1:1: {TAGGED} 'tag:yaml.org,2002:map'{INSTEAD}"),
        ("a: *b", "1:4: there is no anchor 'b' before this alias"),
        ("a: &b [*b]", "1:8: the alias 'b' stands in what it means: this has no end"),
        ("a: &b {c: *b}", "1:11: the alias 'b' stands in what it means: this has no end"),
        ("a: 1e400", "1:4: the number '1e400' is too large"),
        ("a: " + "9" * 400, "1:4: the number has 400 digits, and at most 308 are read"),
        ("x" * (MAX_KEY + 1) + ": 1", f"1:1: a key has at most 1,000 characters, not {MAX_KEY + 1:,}"),
        ("a: \0", "1:4: the character #x0000 is not allowed in a file"),
        ("a: [", "2:1: this is no YAML: while parsing a flow node, did not find expected node content"),
        ("[" * (MAX_DEPTH + 1), f"1:{MAX_DEPTH + 1}: lists and mappings nest more than {MAX_DEPTH} deep"),
        ("a:\n\t- b", f"2:1: {NO_YAML} {TOKEN}; {TAB}"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, said: str) -> None:
    assert refused(text) == [said]


def test_too_many_values_are_counted_as_aliases_repeat_them() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 10)}]\n" for i in range(9)
    )
    (said,) = refused(bomb)
    assert said.endswith(f"the file holds more than {MAX_VALUES:,} values, each counted where aliases repeat it")
    assert refused("[" + "1," * MAX_VALUES + "1]")


def test_several_faults_are_told_in_the_order_of_the_file() -> None:
    assert [said.partition(": ")[0] for said in refused("a: !x 1\nb: {c: 1, c: 2}\n1: 2\n<<: {}\n")] == [
        "1:4", "2:11", "3:1", "4:1",
    ]  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_json_reads_as_itself(value: Any) -> None:
    import json

    text = json.dumps({"k": value})
    assert composed(text, "f.json")["k"] == value


@given(st.dictionaries(st.text(st.characters(exclude_categories=["C"])), JSON, max_size=4))
def test_what_pyyaml_writes_reads_as_itself(value: dict[str, Any]) -> None:
    """With texts in quotes: plain ones mean other things in YAML 1.1."""
    text = yaml.safe_dump(value, default_style='"', allow_unicode=True)
    faults = Faults(Source("f.yaml", text))
    try:
        compose(faults)
    except Broken:
        pass
    assert all("tags are not read" in fault for fault in faults.texts)  # it writes !!int "5"
