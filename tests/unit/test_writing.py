"""Plain data as YAML: read back as it was meant, by our reader and by PyYAML, in the style of workflow files."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import UsageError
from flow.spec.dumping.writing import WIDTH, write
from flow.spec.text.compose import compose
from flow.spec.text.faults import Faults
from flow.spec.text.places import Source

yaml = pytest.importorskip("yaml")

TRICKY = [
    "", " ", "a", " a", "a ", "true", "True", "null", "~", "yes", "no", "on", "off", "12", "1.5", "1e3", "0x1f", "0o7",
    "010", "12:30:45", "2026-01-01", "-", "- a", "a: b", "a:b", "a:", ":a", "a #b", "#a", "a,b", "[a]", "{a}",
    "{{ a }}", "\\{{ a", "'", '"', "it's", 'say "x"', "it's \"x\"", "a\\b", "*a", "&a", "!a", "%a", "@a", "`a", "|",
    ">", "?", "? a", "a\nb", "a\nb\n", "a\n\nb\n\n", "\na", " a\nb", "a \nb", "\t", "a\tb", "é", "🐦", "\x00",
    "\x7f", "\u2028", "\ufeff", "<<", "=", "a'b", "---", "...", "a - b", ".inf", "NaN", "+1", ".5", "1_000", "x" * 200,
    "word " * 40 + "end",
]  # fmt: skip


def read(text: str) -> Any:
    faults = Faults(Source("made.yaml", text))
    made = compose(faults)
    assert not faults, faults.texts
    return made


@pytest.mark.parametrize("text", TRICKY)
def test_every_text_is_read_back_wherever_it_stands(text: str) -> None:
    value = {"a": text, "b": [text], "c": {"d": {"e": text}}, "nodes": {"f": {"g": text, "h": [{"i": text}]}}}
    if text and text != "<<":
        short = len(text) < 100 and "\n" not in text
        value |= {text: 1} if text not in value and short else {}
    made = write(value)
    assert read(made) == value
    assert yaml.safe_load(made) == value


texts = st.text(st.characters(exclude_categories=["Cs"]))
plain = st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False) | texts
keys = st.text("ab:# -1'\"{", max_size=4)
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=20
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), values, max_size=4))
def test_all_data_is_read_back(value: dict[str, Any]) -> None:
    made = write(value)
    assert read(made) == value


def test_short_mappings_stand_in_a_line_and_long_ones_in_blocks() -> None:
    long = {f"key{at}": "value" * 3 for at in range(8)}
    made = write({"flow": 1, "nodes": {"a": {"call": "m:f", "with": {"x": "{{ b }}"}}, "b": long, "c": [1, 2]}})
    assert made.startswith('flow: 1\nnodes:\n  a: {call: m:f, with: {x: "{{ b }}"}}\n  b:\n    key0: valuevaluevalue\n')
    assert "  c: [1, 2]\n" in made
    assert max(map(len, made.splitlines())) <= WIDTH


def test_comments_stand_above_what_they_are_about() -> None:
    made = write(
        {"nodes": {"a": {"call": "m:f", "after": ["b", "c"]}}},
        comments={("nodes",): "all", ("nodes", "a", "call"): "first\nsecond", ("nodes", "a", "after", 1): "item"},
    )
    assert made == (
        "# all\nnodes:\n  a:\n    # first\n    # second\n    call: m:f\n"
        "    after:\n      - b\n      # item\n      - c\n"
    )
    assert read(made) == {"nodes": {"a": {"call": "m:f", "after": ["b", "c"]}}}


def test_numbers_and_nothing() -> None:
    made = write({"a": math.inf, "b": -math.inf, "c": 1e300, "d": 1.0, "e": [], "f": {}, "g": None, "h": math.nan})
    back = read(made)
    assert math.isnan(back.pop("h"))
    assert back == {"a": math.inf, "b": -math.inf, "c": 1e300, "d": 1.0, "e": [], "f": {}, "g": None}
    assert write({}) == "{}\n"


def test_what_cannot_be_written_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for value, why in (
        ({1: 2}, "keys are texts"),
        ({"a": object()}, "cannot be written"),
        ({"a": endless}, "holds itself"),
    ):
        with pytest.raises(UsageError, match=why):
            write(value)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="a file is a mapping"):
        write([1])  # type: ignore[arg-type]
