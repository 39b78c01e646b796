"""Hostile expressions and templates: each is refused, in few steps and little memory, and touches nothing."""

from __future__ import annotations

import sys
import tracemalloc
from importlib import import_module
from typing import Any, NamedTuple

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from watching import watched

from flow.errors import ExpressionError, ExpressionSyntaxError
from flow.expr.library import STANDARD

expr: Any = import_module("flow.expr")  # the room: `flow.expr` may be a function


class Spy:
    """Has all that an attack would like to reach. Whoever reads an attribute of it is caught."""

    secret = "s3cret"

    def __getattribute__(self, name: str) -> Any:
        if name not in ("__class__", "__dict__"):
            raise AssertionError(f"an attribute was read: {name}")
        return object.__getattribute__(self, name)

    def __call__(self) -> None:
        raise AssertionError("a value was called")


class Point(NamedTuple):
    x: int
    y: int


def a_function() -> None:
    raise AssertionError("a function was called")


SCOPE: dict[str, Any] = {
    "a": 3,
    "b": 2.5,
    "t": "some text",
    "big": "x" * 100_000,
    "inputs": {"env": "prod", "_id": 7, "n": 5},
    "rows": [{"name": "x", "age": 3}, {"name": "y", "age": 30}],
    "many": list(range(50_000)),
    "spy": Spy(),
    "fn": a_function,
    "cls": Point,
    "mod": sys,
    "point": Point(1, 2),
    "none": None,
    "huge": 10**5000,
    "endless": range(10**12),
}

WALKS = [
    "a.__class__", "''.__class__.__mro__[1].__subclasses__()", "().__class__.__base__", "[].__len__()",
    "t.__init__.__globals__",
    "spy.secret", "spy['secret']", "spy.__dict__", "spy()", "fn()", "fn.__globals__", "fn.__code__.co_code",
    "fn['__globals__']",
    "cls.__subclasses__", "cls.mro", "cls(1, 2)", "cls._make", "point._fields", "point._replace(x=3)", "point.count",
    "point.index",
    "mod.modules", "mod.exit()", "mod['modules']", "a.real", "a.bit_length", "b.hex", "b.is_integer()", "t.format",
    "t.upper", "rows.append",
    "inputs.keys", "inputs.pop('env')", "inputs.update", "inputs.__getitem__('env')", "inputs._id",
    "inputs['__class__']", "none.__class__",
    "getattr(a, 'real')", "globals()", "locals()", "vars()", "dir()", "eval('1')", "exec('1')", "open('/etc/passwd')",
    "__import__('os')",
    "compile('1', '', 'eval')", "type(a).__name__", "type(a, [], {})", "breakpoint()", "input()", "exit()",
    "__builtins__", "__name__", "_1", "b._", "s",
    "M", "f_upper(t)", "read(a, 'real')", "len.__self__", "upper.__globals__", "default.x", "json.loads",
    "str.format('{0.__class__}', a)",
    "format('{0.__class__}', a)", "format('{0[__class__]}', a)", "format('{x.y}', x=a)", "format('{!r}', spy)",
    "format('{}', spy)",
    "format('{:{}}', a, 9)", "format('{:1000000000}', a)", "format('{:.1000000000f}', b)", "format('{:>99999}', t)",
    "format('{9999999999}', a)",
    "pluck([spy], 'secret')", "pluck([a], '__class__')", "pluck([point], '_fields')", "sort([point], by='__class__')",
    "get(a, '__class__')", "get(point, '_fields').x", "default(a.__class__, 1)", "default(spy.secret, 1)",
    "keys(spy)", "values(fn)", "items(mod)",
    "json(spy)", "json(fn)", "json(mod)", "str(spy)", "join([spy])", "len(spy)", "int(spy)", "float(fn)", "bool(spy)",
    "sum([spy])", "-spy", "spy + spy",
    "spy < spy", "a in spy", "spy in t", "spy[0]", "spy[1:]", "min(spy)", "flatten(spy)", "zip(spy)", "range(spy)",
    "replace(spy, 'a', 'b')",
]  # fmt: skip

LOOKALIKES = [
    "іnputs.env", "inputs.еnv == 1", "ａ", "𝐚", "a．b", "a.＿＿class＿＿", "a.__ｃlass__", "ﬁ", "“a”", "‘a’", "a − b",
    "a × b", "a ≤ b",
    "a\u200b", "a\u202e == b", "\ufeffa", "'\u202e'", "a\u00a0+ b", "a\u2028b", "a\x0cb", "a\0", "\0", "'\0'",
    "a\x1b[31m", "\ud800", "'\udfff'",
    "'\\ud800'", "'\\N{BULLET}'", "a;b", "٣", "²", "1_٣", "ⅷ", "trueﾠ",
]  # fmt: skip

SIZES = [
    "range(1000000000)", "range(0, 100000000000000, 1)", "range(100001)", "range(-99999999999999999999, 0)",
    "'a' * 1000000000", "[0] * 1000000000",
    "1000000000 * 'a'", "t * 1000000000", "rows * 100000000", "10 ** 10 ** 10", "9 ** 9", "1 << 1000000", "1e400",
    "-1e400", "1e400 - 1e400",
    "'%1000000000d' % 1", "t % a", "huge * huge", "huge + huge - huge * 2", "huge % (huge - 1)", "huge // 3.5",
    "float(huge)", "int(b * 1e308 * 10)",
    "str(huge)", "format('{}', huge)", "json(huge)", "int('9' + '9' * 5000)", "round(huge)",
    "int('" + "9" * 3000 + "')", "parse_json('" + "9" * 3000 + "')",
    "parse_json('1e400')", "parse_json('NaN')", "parse_json('[' + '[')", "1" * 4000, "0x" + "f" * 300, "1" * 400,
    "b * 1e308 * 1e308", "round(b, 999999999)",
    "replace(big, 'x', big)", "replace(replace(replace(t, 'e', big), 'x', big), 'x', big)",
    "join([big, big, big, big, big, big, big, big, big, big, big], big)",
    "join(many, big)", "split(big + big + big + big + big + big, 'x')",
    "big + big + big + big + big + big + big + big + big + big + big",
    f"flatten([{', '.join(['many'] * 20)}])",
    "many + many + many + many + many + many + many + many + many", "items(merge({}, spy))",
    "sort(many + many + many + many + many)",
    "matches(big + big, '" + "a" * 2000 + "')",
    "where(where(where(many, 'x'), 'y'), 'z')", "startswith(t, 3)", "parse_json(replace(big, 'x', '[],'))",
    f"json([{', '.join(['many'] * 21)}])",
    "sum(many, many)", "max([])", "min()", "range(1, 2, 0)", "t[::0]", "t[0:1:'a']", "many[999999999999999999999]",
    "many[1e3]", "many[true]", "t['a']",
]  # fmt: skip

ANSWERED = {
    "where([point], '__class__')": [],
    "len(zip(many, many, many))": 50_000,
    "len(unique(zip(many)))": 50_000,
    "len(unique(zip(range(50000))))": 50_000,
    "many == many + [1] or [many] == [many + [1]] or [many, many, many] == [1]": False,
    "contains(many, many) or contains([many, many, many, many], [many, 1])": False,
    "len(unique([many, many, many]))": 1,
    "len(many + many)": 100_000,
    "inputs['_id']": 7,
    "keys(point)": ["x", "y"],
    "huge == huge": True,
    "endless[5:8]": [5, 6, 7],
    "endless[7]": 7,
    "len(endless)": 10**12,
    "huge > 1": True,
}
"""Large or odd, and still within the limits."""

ENDLESS = [
    "join(endless)", "flatten(endless)", "sort(endless)", "sum(endless)", "reverse(endless)", "unique(endless)",
    "'a' in endless", "endless[1:]", "zip(endless, endless)",
    "any(endless)", "all(endless)", "min(endless)", "pluck(endless, 'a')", "where(endless, 'a')", "json(endless)",
    "endless + [1]", "first(endless) + last(endless) + endless[10000000000000]", "[endless] == [endless, 1] + endless",
    "values(endless)", "contains(endless, 'a')", "where([endless], 0)",
]  # fmt: skip

NESTING = [
    "(" * 20_000 + ")" * 20_000, "(" * 2_000 + "1" + ")" * 2_000, "[" * 1_000 + "]" * 1_000,
    "{'a':" * 700 + "1" + "}" * 700, "(" * 60 + "1" + ")" * 60,
    "-" * 4_000 + "1", "not " * 1_000 + "a", "+" * 60 + "1", "- - " * 900 + "1", "a" + ".b" * 2_000,
    "a" + "[0]" * 1_000, "1" + "+1" * 2_000,
    "a" + " if a else a" * 300, "a" + "(" * 1_000, "upper(" * 40 + "t" + ")" * 60, "len([" * 400 + "1" + "])" * 400,
    "a == " * 600 + "(", "a or " * 900 + "lambda: 1",
    "x" * 300_000, "a." + "b" * 300_000, "'" + "x" * 300_000 + "'", " " * 300_000 + "a b", "(" * 100, ")" * 100,
    "[" + "a," * 2_040 + "(", "{" * 49 + "}" * 49,
    "default(" * 60 + "a" + ", 1)" * 60, "a" + "[1:]" * 60, "lambda: " * 500 + "1", "a if " * 800 + "b", "*" * 3_000,
    "a," * 2_000, "'" * 4_001, "\\" * 4_000,
]  # fmt: skip

SYNTAX = [
    "", " ", "\n", "#", "a # b", "lambda: 1", "lambda x=a: x", "[x for x in many]", "{x for x in many}",
    "{x: 1 for x in many}", "(x for x in many)", "f'{a}'",
    "f'{a.__class__}'", "F\"{spy}\"", "rf'{a}'", "b'a'", "u'a'", "t'{a}'", "(x := 1)", "x = 1", "a += 1", "a; b",
    "import os", "from os import *", "del a", "await a",
    "yield a", "(yield)", "(yield from many)", "*many", "[*many]", "{**inputs}", "{*many}", "len(*rows)",
    "format(**inputs)", "a, b", "(a,)", "()", "{1, 2}", "a is b", "a is not b",
    "a @ b", "a & b", "a | b", "a ^ b", "~a", "a << 1", "a >> 1", "a ** b", "...", "1j", "a ? b : c", "a && b",
    "a || b", "!a", "a -> b", "$a", "`a`", "@a", "a\\\nb", "'a\nb'",
    "'''a'''", '"""a"""', "'a", "a b", "a.", ".a", "a..b", "a.1", "1a", "0x1f", "0b1", "1__0", "007", "a[", "a]",
    "a[]", "a[1,2]", "a[1:2,3]", "a(b)(c)", "upper(t)(t)", "[upper][0](t)",
    "print(a)", "len", "true()", "null.x.y", "True = 1", "and", "a and", "or a", "if a", "a if b", "for x in a",
    "async a", "global a", "with a", "try", "raise a", "assert a",
    "def f(): 1", "class A: 1", "return a", "len(x=1, x=2)", "upper(text=t, text=t)", "upper(t, t)", "upper()",
    "upper(_x=t)", "format('{}', __class__=1)", "a)(b", "1) or (1", ")(", "a}}{{b",
    "a)\n(b", "'a' 'b", "eval", "a.b.c.d.e.f.g", "{'a': }", "{a}", "{'a' 'b'}", "{1: 2}", "{[1]: 2}", "{null: 2}",
    "{a: 1}",
]  # fmt: skip

ALL = [*WALKS, *LOOKALIKES, *SIZES, *ENDLESS, *NESTING, *SYNTAX]


def tried(source: str, template: bool = False) -> Any:
    """Compile and evaluate a source: return its value or its error."""
    try:
        made = expr.template(source) if template else expr.compile(source)
        return made.evaluate(SCOPE)
    except ExpressionError as error:
        return error


@pytest.mark.parametrize("source", ANSWERED)
def test_what_is_within_the_limits_is_answered(source: str) -> None:
    tracemalloc.start()
    try:
        assert tried(source) == ANSWERED[source]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50_000_000


@pytest.mark.parametrize("source", ALL, ids=lambda source: source[:30].encode("ascii", "backslashreplace").decode())
def test_hostile_expressions_are_refused(source: str) -> None:
    with watched() as seen:
        tracemalloc.start()
        try:
            error = tried(source)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(error, ExpressionError), f"{source[:60]!r} gave {str(error)[:60]}"
    assert peak < 50_000_000
    assert seen == []
    assert len(str(error)) < 1_200 and "s3cret" not in str(error)
    assert str(error).isprintable() and error.line >= 1 and error.column >= 1
    assert error.__cause__ is None and error.problem


@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("source", WALKS + LOOKALIKES + SYNTAX + NESTING, ids=lambda source: ascii(source)[:30])
def test_the_allow_list_alone_is_safe(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scan of the characters before says what to write instead. What is safe does not depend on it."""
    monkeypatch.setattr(import_module("flow.expr.syntax.analysis"), "check", lambda source: None)
    monkeypatch.setattr(import_module("flow.expr.expression"), "MAX_CACHED_SOURCE", -1)
    with watched() as seen:
        found = tried(source)
    assert seen == []
    assert isinstance(found, (ExpressionError, *_PLAIN)) and found is not SCOPE["spy"].__class__


def test_the_list_is_long() -> None:
    assert len(set(ALL)) == len(ALL) > 300


@pytest.mark.parametrize(
    "text",
    [
        "{{", "{{ a", "{{ a }", "{{ }}", "{{}}", "{{ {{ a }} }}", "{{ a }} {{", "{{ 'a }}", "{{ a.__class__ }}",
        "{{ spy }} x", "x {{ none }}", "x {{ rows }}", "x {{ inputs }}",
        "x {{ huge }}", "{{ a }}" * 1_000, "{{ a + " + "a + " * 1_000 + "a }}", ("{{ " + "a" * 4_000 + " }}") * 10,
        "{{" * 400_000, "x" * 1_000_001, "{{ '" + "x" * 1_000_000 + "' }}",
        "{{ a }}\0{{ b c }}", "{{ {'a': {'b': 1}} }} x", "{{ \\'a }}", "\\\\{{ a", "{{ big }}" * 11, "{{ (a }}",
        "{{ a) }}", "{{ } }}", "{{ lambda: 1 }}",
    ],
    ids=lambda text: text[:30],
)  # fmt: skip
def test_hostile_templates_are_refused(text: str) -> None:
    with watched() as seen:
        tracemalloc.start()
        try:
            error = tried(text, template=True)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert isinstance(error, ExpressionError), f"{text[:60]!r} gave {str(error)[:60]}"
    assert peak < 50_000_000 and seen == []


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\\" * 900_000, "\\" * 900_000),
        ("\\{{" * 200_000, "{{" * 200_000),
        ("{ " * 400_000, "{ " * 400_000),
        ("{{ a" + " " * 4_000 + "}}", 3),
        ("{{ {'a': a" + " " * 4_000 + "}.a }}", 3),
        ("}}" * 400_000, "}}" * 400_000),
    ],
    ids=lambda text: str(text)[:9],
)
def test_long_templates_take_no_more_than_their_length(text: str, value: Any) -> None:
    assert tried(text, template=True) == value


def test_a_source_is_text() -> None:
    for bad in (None, 3, b"a", ["a"]):
        with pytest.raises(ExpressionSyntaxError, match="is a str, not"):
            expr.compile(bad)  # type: ignore[arg-type]
        with pytest.raises(ExpressionSyntaxError, match="is a str, not"):
            expr.template(bad)  # type: ignore[arg-type]


class Text(str):
    """Text that lies."""

    def __str__(self) -> str:
        return "1"

    def __len__(self) -> int:
        return 1

    def strip(self, *a: Any) -> str:
        return "1"


def test_a_subclass_of_str_is_read_as_the_text_it_is() -> None:
    assert isinstance(tried(Text("a.__class__")), ExpressionSyntaxError)
    made = expr.compile(Text("a + 1"))
    assert type(made.source) is str and made.source == "a + 1"


# -- fuzz --------------------------------------------------------------------------------------

_PIECES = [
    *SCOPE, *STANDARD, "true", "false", "null", "None", "and", "or", "not", "in", "is", "if", "else", "for", "lambda",
    "await", "yield", "import", "__class__", "_x", "é", "ﬁ",
    "0", "1", "-1", "2.5", "1e400", "9" * 50, "''", "'a'", "'env'", '"b"', "r'\\d'", "f'{a}'", "'\\n'", "'\\d'",
    "'{}'", "'\\ud800'", "{{", "}}", "{", "}", "(", ")", "[", "]", ",", ":", ".", "..", "=",
    "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "//", "%", "**", "<<", "|", "&", "^", "~", "@", ":=", "->",
    "?", "!", ";", "#", "$", "\\", "'", '"', " ", "\n", "\0", "\ud800", "\u202e",
    ".env", ".age", ".__class__", "[0]", "['env']", "[1:]", "(a)", "(rows)", "(t, 'e')", "(many, 'age')",
]  # fmt: skip
_names = st.sampled_from(
    [
        "a",
        "b",
        "t",
        "rows",
        "many",
        "inputs",
        "none",
        "point",
        "spy",
        "fn",
        "inputs.env",
        "rows[0].age",
        "1",
        "2.5",
        "'a'",
        "null",
        "true",
        "[]",
        "{}",
        "x",
    ]
)


def _larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    one, two = inner, st.tuples(inner, inner)
    operators = st.sampled_from(
        ["+", "-", "*", "/", "//", "%", "==", "!=", "<", ">=", " in ", " not in ", " and ", " or "]
    )
    calls = st.tuples(st.sampled_from(sorted(STANDARD)), st.lists(inner, max_size=4))
    return st.one_of(
        st.tuples(two, operators).map(lambda t: f"({t[0][0]}{t[1]}{t[0][1]})"),
        calls.map(lambda t: f"{t[0]}({', '.join(t[1])})"),
        one.map(lambda e: f"not {e}"),
        one.map(lambda e: f"-{e}"),
        two.map(lambda t: f"[{t[0]}, {t[1]}]"),
        two.map(lambda t: f"{{'a': {t[0]}, str({t[1]}): 1}}"),
        two.map(lambda t: f"{t[0]}[{t[1]}]"),
        one.map(lambda e: f"({e}).env"),
        two.map(lambda t: f"({t[0]})[{t[1]}:]"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} if {t[1]} else {t[2]})"),
        two.map(lambda t: f"default({t[0]}, {t[1]})"),
    )


_sensible = st.recursive(_names, _larger, max_leaves=12)
_sources = st.one_of(
    st.lists(st.sampled_from(_PIECES), max_size=25).map("".join),
    st.lists(st.sampled_from(_PIECES), max_size=25).map(" ".join),
    _sensible,
    st.text(max_size=60),
)
_PLAIN = (range, str, int, float, bool, type(None), list, dict, Spy, Point, type, type(sys), type(a_function))


def _only_ours(source: str, template: bool) -> None:
    with watched() as seen:
        found = tried(source, template)
    assert seen == []
    assert isinstance(found, (ExpressionError, *_PLAIN))
    if isinstance(found, ExpressionError):
        assert str(found).isprintable() and "s3cret" not in str(found)
        lines = found.source.split("\n")
        assert 1 <= found.line <= len(lines) and 1 <= found.column <= len(lines[found.line - 1]) + 1


@given(_sources, st.booleans())
@examples(3_000)
def test_nothing_but_our_errors_comes_out(source: str, template: bool) -> None:
    _only_ours(source, template)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@given(_sources, st.booleans())
@examples(20_000)  # five times as many with --long
def test_nothing_but_our_errors_comes_out_of_very_many(source: str, template: bool) -> None:
    _only_ours(source, template)
