"""A place in a text of a file is that of its character, however YAML writes the text."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -e '.[spec]'")

import yaml

from flow.spec.text.compose import compose
from flow.spec.text.faults import Faults
from flow.spec.text.places import Source
from flow.spec.text.spots import Spot, spots_of

WORDS = st.lists(
    st.sampled_from(["one", "two's", '"three"', "a\\b", "\u00e9t\u00e9", "\U0001f600", "\t", "{{", "x"]),
    min_size=1,
    max_size=12,
)
TEXTS = st.lists(WORDS.map(" ".join), min_size=1, max_size=4).map("\n".join)


def place_of(text: str, source: Source) -> tuple[str, object]:
    """Return the text at ``a.b`` as it is read, and the place of its first character."""
    table = compose(Faults(source))["a"]
    return table["b"], source.place_of_text(table.marks["b"][1], table["b"])


@given(TEXTS, st.sampled_from(["'", '"', "|", ">", None]), st.integers(min_value=10, max_value=40), st.booleans())
def test_each_character_stands_where_it_is(text: str, style: str | None, width: int, unicode: bool) -> None:
    written = yaml.dump({"a": {"b": text}}, default_style=style, width=width, allow_unicode=unicode)
    source = Source("f.yaml", written)
    value, begin = place_of(written, source)
    assert value == text
    lines = written.split("\n")
    for number, line in enumerate(text.split("\n"), 1):
        for column, character in enumerate(line, 1):
            if character.isspace():
                continue
            at = begin.at(number, column)  # type: ignore[attr-defined]
            there = lines[at.line - 1][at.column - 1 :]
            assert there.startswith((character, "\\")), (written, character, at)


@pytest.mark.parametrize(
    ("written", "offset", "place"),
    [
        ("b: 'it''s x'", 5, (1, 11)),
        (r'b: "\u0041\tx"', 2, (1, 13)),
        (r'b: "say \"x\" now"', 5, (1, 11)),
        ("b: >\n  one\n\n  x", 4, (4, 3)),
        ("b: >-\n  one\n  two\n  x", 8, (4, 3)),
        ("b: |\n\n  one\n  x", 5, (4, 3)),
        ("b: one\n  two\n  x", 8, (3, 3)),
        ('b: "one\n  x"', 4, (2, 3)),
        ('b: "one\\\n  x"', 3, (2, 3)),
    ],
)
def test_places(written: str, offset: int, place: tuple[int, int]) -> None:
    source = Source("f.yaml", written)
    table = compose(Faults(source))
    value, begin = table["b"], source.place_of_text(table.marks["b"][1], table["b"])
    assert value[offset] == "x"
    line = value.count("\n", 0, offset) + 1
    at = begin.at(line, offset - (value.rfind("\n", 0, offset) + 1) + 1)
    assert (at.line, at.column) == place
    inner = begin.at(1, 2).at(1, offset) if line == 1 else at  # of an expression within the text
    assert (inner.line, inner.column) == place


def test_what_is_not_there_has_no_spots() -> None:
    assert spots_of("other", ["b: >", "  text"], 0, 3, ">") is None
    assert spots_of("text and more", ["b: >", "  text"], 0, 3, ">") is None
    assert spots_of(" \n", ["b: >", ""], 0, 3, ">") is None


def test_a_spot_is_pickled() -> None:
    source = Source("f.yaml", "b: >\n  one\n  two x")
    table = compose(Faults(source))
    begin = source.place_of_text(table.marks["b"][1], table["b"])
    assert isinstance(begin, Spot)
    again = pickle.loads(pickle.dumps(begin))
    assert again.at(1, 9) == begin.at(1, 9) == (3, 7, "f.yaml", 0)
