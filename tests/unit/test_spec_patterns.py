"""Regular expressions of inputs: those that Python's engine takes linear time for, and no others."""

from __future__ import annotations

import re
import time

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

import flow
import flow.spec
from flow.spec.form.patterns import MAX_COUNT, MAX_PATTERN, Refused, as_written, check_pattern, whole

TAKEN = [
    "^", "^$", "^x", r"^[a-z][a-z0-9-]*$", r"^v\d+\.\d+\.\d+$", r"^v[0-9]+(\.[0-9]+)*$", r"^\d{4}-\d{2}-\d{2}$",
    "^(dev|prod)$", "^[A-Z]{2,3}-[0-9]{1,5}$", "^a{3}b{2,}$", "^(?:[a-f0-9]{2}:){5}[a-f0-9]{2}$", "^a|^b$",
    r"^\w+@\w+\.com$", r"^\{x\}$", "^é+$", "^[^/]+/[^/]+$", "^sha256:[0-9a-f]{64}$", "^ab?c?$", "^(a|bc)*d", "^[]a]x",
    "^https://[a-z0-9.]+(/[a-z]*)?$", "^()$", "^(a|)b", r"^[\w.-]+$", r"^[^\s]+$", "^.*$", r"^\t", r"^[\]\\]+x",
]  # fmt: skip

REFUSED = {
    "two ways": [
        "^(a+)+$", "^a*a*a*b", "^(a|a)*b", "^(a|ab)*c$", "^.*.*x", "^(.*)x", "^((ab)+c?)+", "^(?:(a|b)+)+",
        "^[^a]*[^b]", r"^\w*\d", r"^\s*\W", "^é*[ü]", "^é|^ü", "^(a+b?){3}", "^ab|^ac", "^(a{1,3}){2}",
        "^(?:a{0,9}b?c){9}a*a",
        "^" + "a?" * 200,
    ],
    "must begin with '^'": ["a", "", "(a+)+", "[", r"\Aa", " ^a"],
    "each of its alternatives": ["^a|b", "^a|"],
    "repeats what may be empty": ["^(a*)*", "^(a?){5}", "^(a?b?)*c", "^()*", "^(a|)+"],
    "which is not read here": [
        "^(?i:a)", "^(?=a)", "^(?P<x>a)", "^(?#x)a", "^(?>a)", r"^(a)\1", "^a??", "^a*+", "^a{2}{3}", "^a$b", "^a^b",
        "^(^a)", "^($)", r"^\bfoo", r"^\Afoo", r"^a\Z", "^[[a]x", "^a{,5}b", "^*", "^+", "^{2}", "^a{", "^a}", "^\\",
        "^a)", r"^\p{L}", r"^\x41", "^[a",
    ],
    "in [] is enough": ["^[a--b]", "^[a&&b]", "^[a||b]", "^[a~~b]"],
    "is no regular expression": ["^a{3,2}", "^[z-a]", "^(a", "^(", r"^[\c]"],
    f"must count from 1 to {MAX_COUNT:,}": ["^a{0}", "^a{0,0}", "^a{9999}", "^a{1,9999}"],
    "must not nest groups more than 20 deep": ["^" + "(" * 30 + "a" + ")" * 30],
    "characters and classes": ["^(a{1000}){1000}", "^(a{1000}b{900}){2}c", "^((((a{9}){9}){9}){9}){9}"],
    f"must have at most {MAX_PATTERN} characters": ["^" + "a" * MAX_PATTERN, "(" * 100_000],
}  # fmt: skip


@pytest.mark.parametrize("pattern", TAKEN)
def test_what_says_what_a_text_looks_like_is_taken(pattern: str) -> None:
    check_pattern(pattern)


@pytest.mark.parametrize(("said", "pattern"), [(said, one) for said, many in REFUSED.items() for one in many])
def test_others_are_refused(said: str, pattern: str) -> None:
    with pytest.raises(Refused, match=re.escape(said)):
        check_pattern(pattern)


_part = st.sampled_from(["a", "b", "c", "-", ".", "[ab]", "[^a]", "[^b]", r"\w", r"\d", "é"])
_pattern = st.recursive(
    _part,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}"])).map(lambda t: f"(?:{t[0]}){t[1]}"),
    ),
    max_leaves=10,
).flatmap(lambda pattern: st.sampled_from([f"^{pattern}", f"^{pattern}$"]))
_texts = [f"{part * 4_000}{end}" for part in ("a", "ab", "b", "-a", "abc", "aab", "é") for end in ("", "!", "\n", "-")]


@given(_pattern)
@examples(1_000)
def test_what_is_taken_takes_linear_time(pattern: str) -> None:
    """Quadratic time would be a second for such a text, and exponential time for ever."""
    try:
        check_pattern(pattern)
    except Refused:
        return
    compiled = re.compile(pattern)
    begin = time.process_time()
    for text in _texts:
        compiled.search(text)
    assert time.process_time() - begin < 3.0


def test_a_file_has_such_a_pattern() -> None:
    spec = pytest.importorskip("flow.spec")
    pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -e '.[spec]'")
    text = "flow: 1\ninputs: {a: {type: string, pattern: '%s'}}\nnodes: {n: {set: {x: '{{ inputs.a }}'}}}\n"
    dag = spec.loads(text % "^[a-z]+(-[a-z]+)*$")
    assert flow.run(dag, {"a": "eu-west"})["n"] == {"x": "eu-west"}
    with pytest.raises(flow.InputError, match="input 'a'"):
        flow.run(dag, {"a": "eu-"})
    with pytest.raises(flow.errors.SpecError, match=re.escape("w:2:37: input 'a': pattern '^(a+)+$' could be")):
        spec.loads(text % "^(a+)+$", name="w")


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        ("^[a-z]+$", "ab", ["ab\n", "ab\nc", ""]),
        ("^a$|^b$", "b", ["b\n", "c"]),
        (r"^\$[$]$", "$$", ["$$\n", "$"]),
        ("^a", "a\n", ["b"]),
    ],
)
def test_an_end_is_the_very_end(pattern: str, fits: str, does_not: list[str]) -> None:
    inputs = f"{{x: {{type: string, pattern: '{pattern}'}}}}"
    dag = flow.spec.loads(f"flow: 1\ninputs: {inputs}\nnodes: {{n: {{set: {{v: 1}}}}}}")
    assert flow.run(dag, {"x": fits}).ok
    for text in does_not:
        with pytest.raises(flow.InputError):
            flow.run(dag, {"x": text})
    assert as_written(whole(pattern)) == pattern
