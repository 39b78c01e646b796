"""Expressions give what Python gives for the same source, on the part of the language that both have."""

from __future__ import annotations

import math
from importlib import import_module
from typing import Any

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import EvaluationError, ExpressionSyntaxError
from flow.expr.faults import Refusal
from flow.expr.library import STANDARD
from flow.expr.syntax import analysis

expr: Any = import_module("flow.expr")  # the room: `flow.expr` may be a function


def _text(value: Any) -> str:
    if not isinstance(value, (str, int, float)):
        raise TypeError
    return str(value).lower() if isinstance(value, bool) else str(value)


PYTHON: dict[str, Any] = {
    "__builtins__": {},
    "true": True,
    "false": False,
    "null": None,
    "len": len, "abs": abs, "sum": sum, "min": min, "max": max, "sort": sorted, "any": any, "all": all, "round": round,
    "upper": str.upper, "lower": str.lower, "trim": str.strip, "split": str.split, "replace": str.replace,
    "startswith": str.startswith, "endswith": str.endswith, "reverse": lambda x: list(x)[::-1], "str": str, "int": int,
    "first": lambda x: x[0], "last": lambda x: x[-1], "keys": lambda x: list(x), "values": lambda x: list(x.values()),
    "merge": lambda *x: {k: v for one in x for k, v in one.items()}, "contains": lambda x, y: y in x,
    "join": lambda x, sep="": sep.join(map(_text, x)), "pluck": lambda x, k: [one[k] for one in x],
    "range": lambda *x: list(range(*x)),
    "zip": lambda *x: [list(one) for one in zip(*x)], "default": lambda x, y: y if x is None else x,
    "unique": lambda x: [one for n, one in enumerate(x) if one not in x[:n]],
    "flatten": lambda x: [b for a in x for b in (a if isinstance(a, list) else [a])],
}  # fmt: skip
"""What the names in the sources mean to Python."""

SCOPE: dict[str, Any] = {
    "i": 7, "j": -3, "z": 0, "big": 2**80, "f": 2.5, "g": -0.1, "s": "some text", "e": "", "n": None, "t": True,
    "xs": [3, 1, 2],
    "ys": ["b", "a"], "no": [], "d": {"a": 1, "b": "x", "c": [1, 2], "d": {"e": None}},
    "rows": [{"k": 1, "v": "p"}, {"k": 2, "v": "q"}],
}  # fmt: skip

_atoms = {
    "number": ["i", "j", "z", "big", "f", "g", "1", "0", "2.5", "100", "d['a']", "xs[0]", "rows[1]['k']", "-4"],
    "text": ["s", "e", "'x'", "'a b'", "d['b']", "ys[1]", "rows[0]['v']", '"it\'s"'],
    "list": ["xs", "ys", "no", "[]", "[1, 2]", "['b', 'a']", "d['c']", "[n, t]"],
    "dict": ["d", "{}", "{'a': i}", "rows[0]", "d['d']"],
    "truth": ["t", "true", "false", "n", "null", "True", "None"],
}


def _pick(*kinds: str) -> st.SearchStrategy[str]:
    return st.sampled_from([one for kind in kinds for one in _atoms[kind]])


@st.composite
def _sources(draw: st.DrawFn, kind: str, depth: int = 3) -> str:
    """A source of one kind of value; now and then of another, which must fail in both."""
    if draw(st.integers(0, 19)) == 0:
        kind = draw(st.sampled_from(list(_atoms)))
    if depth == 0 or draw(st.integers(0, 3)) == 0:
        return draw(_pick(kind))

    def part(of: str) -> str:
        return draw(_sources(of, depth - 1))

    some = draw(st.sampled_from(list(_atoms)))
    shapes = {
        "number": lambda: draw(st.sampled_from([
            "({n}) + ({m})", "({n}) - ({m})", "({n}) * ({m})", "({n}) / ({m})", "({n}) // ({m})", "({n}) % ({m})",
            "({n}) + 2", "3 * ({n})", "({n}) * 1.5",
            "({n}) % 5", "({n}) // 4", "2.0 - ({n})", "-({n})", "+({n})", "len({l})", "len({s})", "len({d})",
            "abs({n})", "min({n}, {m})", "max([{n}, {m}])",
            "sum([{n}, {m}])", "({l})[0]", "({d})['a']", "({n}) if ({t}) else ({m})", "round({n})",
        ])),
        "text": lambda: draw(st.sampled_from([
            "({s}) + ({u})", "({s}) + 'x'", "'x' + ({s})", "upper({s})", "lower({s})", "trim({s})",
            "replace({s}, 'e', {u})", "join(['a', {s}], '-')", "({s})[0]", "({s})[1:]",
            "({s})[::-1]", "({s}) if ({t}) else ({u})", "default(n, {s})", "join(split({s}), {u})",
        ])),
        "list": lambda: draw(st.sampled_from([
            "({l}) + ({k})", "[({a}), ({b})]", "({l})[1:]", "({l})[:2]", "reverse({l})", "sort([{n}, {m}])",
            "sort([{s}, {u}])", "split({s})", "split({s}, 'e')", "keys({d})", "values({d})",
            "zip({l}, {k})", "pluck(rows, 'v')", "flatten([{l}, {k}])", "range(4)", "unique([{n}, {s}, {n}])",
            "({l}) if ({t}) else ({k})",
        ])),
        "dict": lambda: draw(st.sampled_from([
            "{{'a': {a}, 'b': {b}}}", "merge({d}, {{'z': {a}}})", "({d}) if ({t}) else {{}}", "{{{s}: {a}}}",
        ])),
        "truth": lambda: draw(st.sampled_from([
            "({n}) == ({m})", "({n}) < ({m})", "({n}) >= ({m})", "({s}) < ({u})", "({n}) < ({m}) <= ({n})",
            "({a}) == ({b})", "({a}) != ({b})", "({a}) == 1", "({a}) == null", "({a}) != 'x'",
            "({n}) > 2", "({s}) == 'x'", "2.5 <= ({n})", "({a}) in ({l})", "({a}) not in ({l})", "({s}) in ({u})",
            "({s}) in ({d})", "'e' in ({s})", "'a' not in ({d})", "({n}) in [1, 2.5, 7]", "({s}) in ['x', 'p']",
            "not ({a})", "({a}) and ({b})", "({a}) or ({b})", "({t}) and ({v})", "any({l})", "all({l})",
            "contains({l}, {a})", "startswith({s}, {u})", "endswith({s}, 'x')", "({a}) == ({a})",
        ])),
    }  # fmt: skip
    form = shapes[kind]()
    names = {
        "n": "number",
        "m": "number",
        "s": "text",
        "u": "text",
        "l": "list",
        "k": "list",
        "d": "dict",
        "t": "truth",
        "v": "truth",
        "a": some,
        "b": some,
    }
    used = {name: part(of) for name, of in names.items() if f"{{{name}}}" in form}
    return str(form.format(**used))


_any = st.sampled_from(list(_atoms)).flatmap(_sources)


def same(one: Any, two: Any) -> bool:
    if isinstance(one, float) and isinstance(two, float):
        return one == two or (math.isnan(one) and math.isnan(two))
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    return type(one) is type(two) and one == two


STRICTER = (
    "not a bool", "a bool and", "and a bool", "null", "repeated", "'<'", "'>'", "'<='", "'>='", "too large",
    "by a bool", "keys of a dict are text", "format('{}', x)", "must be", "cannot be sliced", "'in' looks for",
    "numbers alone", "steps", "separator must not", "old must not", "'+' adds",
)  # fmt: skip
"""Where expressions refuse what Python does: bools as numbers, text repeated, lists in order, and the like."""


@given(_any)
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")  # Python's compiler, of what can only fail
@examples(1_000)
def test_expressions_are_python(source: str) -> None:
    try:
        made = expr.compile(source)
    except ExpressionSyntaxError as error:
        assert "nests" in error.problem or "takes numbers, not" in error.problem or "keys of a dict" in error.problem, (
            error
        )
        return
    try:
        expected, fails = eval(source, dict(PYTHON), dict(SCOPE)), None
    except Exception as error:
        expected, fails = None, error
    for _ in range(2):
        try:
            found = made.evaluate(SCOPE)
        except EvaluationError as error:
            assert fails is not None or any(words in error.problem for words in STRICTER), (source, error, expected)
        else:
            assert fails is None and same(found, expected), (source, found, expected, fails)


@given(
    st.integers(-(2**70), 2**70),
    st.integers(-(2**70), 2**70),
    st.sampled_from(["+", "-", "*", "/", "//", "%", "==", "<", ">="]),
)
@examples(500)
def test_arithmetic_of_ints_is_exact(one: int, two: int, sign: str) -> None:
    scope = {"x": one, "y": two}
    for source in (f"x {sign} y", f"x {sign} {two}", f"({one}) {sign} y", f"({one}) {sign} ({two})"):
        try:
            expected = eval(source, {}, dict(scope))
        except ZeroDivisionError:
            with pytest.raises(EvaluationError, match="division by zero"):
                expr.compile(source).evaluate(scope)
        else:
            found = expr.compile(source).evaluate(scope)
            assert type(found) is type(expected) and found == expected


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["+", "-", "*", "/", "//", "%", "<", "=="]),
)
@examples(500)
def test_arithmetic_of_floats(one: float, two: float, sign: str) -> None:
    scope = {"x": one, "y": two}
    for source in (f"x {sign} y", f"x {sign} {two!r}", f"({one!r}) {sign} y"):
        try:
            expected = eval(source, {}, dict(scope))
        except ZeroDivisionError:
            expected = math.inf
        made = expr.compile(source)
        if isinstance(expected, float) and not math.isfinite(expected):
            with pytest.raises(EvaluationError):
                made.evaluate(scope)
        else:
            found = made.evaluate(scope)
            assert type(found) is type(expected) and found == expected


_keys = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
_flat = st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
_json: st.SearchStrategy[Any] = _flat | _keys
for _ in range(3):
    _json = _flat | _keys | st.lists(_json, max_size=4) | st.dictionaries(_keys, _json, max_size=4)


@given(_json, _json)
@examples(300)
def test_values_of_every_shape(one: Any, two: Any) -> None:
    scope = {"x": one, "y": two}
    assert expr.compile("x == y").evaluate(scope) == (one == two)
    assert expr.compile("x in [y, x]").evaluate(scope) is True
    assert expr.compile("[x, y] != [y, x]").evaluate(scope) == ([one, two] != [two, one])
    assert same(expr.compile("parse_json(json(x))").evaluate(scope), one)
    assert same(expr.template("{{ x }}").evaluate(scope), one)
    unique = expr.compile("unique([x, y, x, [x], [x]])").evaluate(scope)
    assert unique == ([one, [one]] if one == two else [one, two, [one]] if two != [one] else [one, two])


_NAMES = st.sampled_from(["a", "bc", "retries", "_u", "len", "true", "null", "None", "and", "nodes", "x9", "Qz000z"])
_PIECES = st.one_of(
    _NAMES, _NAMES,
    st.sampled_from(["0", "1", "7", "42", "007", "123456789", "1234567890", "1.5", ".5", "1e3", "2e-", "987654000"]),
    st.sampled_from(["'x'", '"it\'s"', "'Qz000z'", "'a b'", "'{'", "r'x'", "'\\n'"]),
    st.sampled_from([*"+-*/%<>()[]{},.:= ", "==", " and ", " if ", " else ", "not ", " in ", "//", "upper(", "."]),
)  # fmt: skip


@given(st.one_of(_any, st.lists(_PIECES, min_size=1, max_size=12).map("".join)))
@examples(400)
def test_what_is_filled_into_a_known_form_is_what_analysing_the_source_gives(source: str) -> None:
    def known(of: Any) -> Any:
        try:
            found = of()
        except Refusal as refusal:
            return refusal.args, refusal.line, refusal.column
        return found.uses, found.calls, found.code, [found.spot(at) for at in range(found.code.count("\n"))]

    whole = known(lambda: analysis._written(source, STANDARD).filled())
    assert known(lambda: analysis.analysed(source, STANDARD)) == whole
