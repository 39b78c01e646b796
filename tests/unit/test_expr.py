"""Expressions and templates: every form, every refusal, every function, the names that they use, their errors."""

from __future__ import annotations

import ast
import collections
import copy
import dataclasses
import pickle
import re
import subprocess
import sys
import threading
from collections import defaultdict, namedtuple
from enum import IntEnum, StrEnum
from importlib import import_module
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import msgspec
import numpy as np
import pytest
from conftest import ROOT

from flow.errors import EvaluationError, ExpressionError, ExpressionSyntaxError, UsageError
from flow.expr.faults import Refusal
from flow.expr.library import STANDARD, patterns
from flow.expr.limits import MAX_DEPTH, MAX_SOURCE
from flow.expr.syntax import analysis
from flow.expr.syntax.analysis import ALLOWED, CODE

expr: Any = import_module("flow.expr")  # the room: `flow.expr` may be a function


class Job(msgspec.Struct):
    name: str
    size: int = 1
    _secret: int = 7


@dataclasses.dataclass
class Host:
    name: str
    port: int = 80
    kind: ClassVar[str] = "host"
    _key: str = "k"

    @property
    def url(self) -> str:
        raise AssertionError("a property was read")


@dataclasses.dataclass
class FastHost(Host):
    speed: int = 9


class Point(NamedTuple):
    x: int
    y: int


class Opaque:
    value = 3


class Colour(StrEnum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


SCOPE: dict[str, Any] = {
    "inputs": {
        "env": "prod",
        "n": 3,
        "ratio": 0.5,
        "tags": ["a", "b"],
        "none": None,
        "_id": 9,
        "deep": {"er": {"est": 1}},
    },
    "nodes": {"build-image": {"id": 7}},
    "users": [{"name": "ada", "age": 36}, {"name": "bob", "age": 17}, {"name": "eve", "age": 36}],
    "a": 3,
    "b": 4,
    "f": 2.5,
    "t": "text",
    "yes": True,
    "none": None,
    "job": Job("build"),
    "host": Host("web"),
    "fast": FastHost("cdn"),
    "point": Point(1, 2),
    "opaque": Opaque(),
    "pairs": (1, 2, 3),
    "view": MappingProxyType({"k": 1}),
    "auto": defaultdict(list, k=1),
    "chosen": {"a", "b"},
    "colour": Colour.RED,
    "level": Level.HIGH,
    "raw": b"raw",
}


def value(source: str, **names: Any) -> Any:
    return expr.compile(source).evaluate({**SCOPE, **names})


def fails(source: str, **names: Any) -> ExpressionError:
    """Return the error of a source that must not work."""
    with pytest.raises(ExpressionError) as caught:
        value(source, **names)
    return caught.value


# -- forms -------------------------------------------------------------------------------------

FORMS: dict[str, Any] = {
    # names and constants
    "a": 3, "true": True, "false": False, "null": None, "True": True, "False": False, "None": None, "1": 1,
    "1_000": 1000, "2.5": 2.5, "1e3": 1000.0, "'x'": "x", '"x"': "x",
    "'a' 'b'": "ab", "'it\\'s'": "it's", "'\\n\\t\\x41\\u00e9'": "\n\tAé", "r'\\d'": "\\d", "  a  ": 3, "(a)": 3,
    "a\n+\nb": 7, "'größe'": "größe",
    # reading
    "inputs.env": "prod", "inputs['env']": "prod", "inputs.deep.er.est": 1, "inputs['deep'].er['est']": 1,
    "nodes['build-image'].id": 7, "inputs['_id']": 9, "inputs.tags[0]": "a", "inputs.tags[-1]": "b",
    "inputs.tags[a - 3]": "a", "t[0]": "t", "t[1:3]": "ex", "t[::-1]": "txet", "inputs.tags[1:]": ["b"],
    "inputs.tags[:]": ["a", "b"], "pairs[1]": 2, "pairs[1:]": [2, 3], "pairs[:2][0]": 1, "users[1].name": "bob",
    "view.k": 1, "view['k']": 1, "auto.k": 1, "inputs[t] if t in inputs else 0": 0, "{'k': 1}['k']": 1,
    "'abc'[1]": "b", "[1, 2][1]": 2, "range(9)[2:4]": [2, 3],
    "job.name": "build", "job['size']": 1, "host.name": "web", "host.port": 80, "fast.speed": 9, "fast.name": "cdn",
    "point.x": 1, "point[1]": 2, "point['y']": 2,
    # logic
    "yes and a": 3, "none or 'x'": "x", "not yes": False, "not none": True, "a and none and b": None,
    "none or false or 0": 0, "'x' if yes else 'y'": "x", "1 if none else 2 if none else 3": 3,
    # comparisons
    "a == 3": True, "a != 3": False, "a == 3.0": True, "f == 2.5": True, "f > 2": True, "a == 'x'": False,
    "3 == a": True, "t == 'text'": True, "t != 'text'": False, "t < 'u'": True, "a < b <= 4 < f * 2": True,
    "a < b > 9": False, "a == a == 3": True, "none == null": True, "none != null": False, "a == null": False,
    "null == none": True, "yes == true": True, "1 == true": True, "yes != false": True, "yes == 'true'": False,
    "inputs.tags == ['a', 'b']": True, "inputs.tags != ['a']": True, "users[0] == {'name': 'ada', 'age': 36}": True,
    "job == job": True, "a in [1, 2, 3]": True, "a not in [1, 2]": True, "t in ['text']": True,
    "none in [null]": True,
    "inputs.tags in [['a', 'b']]": True, "'env' in inputs": True, "'x' not in inputs": True,
    "'a' in inputs.tags": True, "'ex' in t": True, "t in inputs": False, "3 in pairs": True, "a in range(5)": True,
    "'a' in chosen": True, "[a] in [[3], 4]": True,
    "'k' in view": True, "a in []": False, "a in [b, 3]": True, "a in [1] in [false]": False, "level == 3": True,
    "colour == 'red'": True, "level > 2": True, "level in [3]": True, "2 <= a": True, "f >= a": False,
    # arithmetic
    "a + b": 7, "a - b": -1, "a * b": 12, "a / b": 0.75, "7 // 2": 3, "b // a": 1, "7 % 4": 3, "-7 % 4": 1,
    "-7 // 2": -4, "b % a": 1, "-a": -3, "+a": 3, "--a": 3, "- 5": -5, "-2.5": -2.5, "f + 1": 3.5, "1 + f": 3.5,
    "f * 2": 5.0, "2 * f": 5.0,
    "f - 1.5": 1.0, "f / 2": 1.25, "f % 2": 0.5, "f // 2": 1.0, "f * f": 6.25, "f + f": 5.0, "a * 2.0": 6.0,
    "t + '!'": "text!", "'<' + t": "<text", "t + t": "texttext", "t + '' + t": "texttext", "[1] + [2]": [1, 2],
    "pairs + [4]": [1, 2, 3, 4],
    "a * 5000000000": 15000000000, "5000000000 * 5000000000": 25000000000000000000, "2 + 3 * 4": 14,
    "(2 + 3) * 4": 20, "level + 1": 4, "1.5 % 1.0": 0.5, "colour + '!'": "red!", "b - f": 1.5,
    "f * 1e300 - 1": 2.5e300, "1e300 * f": 2.5e300,
    # displays
    "[]": [], "[a, [b]]": [3, [4]], "{}": {}, "{'a': a, t: {'b': [b]}}": {"a": 3, "text": {"b": [4]}},
    "[a, b,]": [3, 4],
    # default
    "default(a, 1)": 3, "default(nope, 1)": 1, "default(none, 1)": 1, "default(nope.x.y, 1)": 1,
    "default(inputs.nope, 1)": 1, "default(inputs.none.x, 1)": 1, "default(inputs.env, 1)": "prod",
    "default(inputs['nope'], [])": [],
    "default(users[9].name, 'x')": "x", "default(users[0].nope, 'x')": "x", "default(users[0].name, 'x')": "ada",
    "default(inputs[t], 2)": 2, "default(inputs.tags[0], 2)": "a", "default(false, 1)": False, "default(0, 1)": 0,
    "default('', 1)": "",
    "default(default(x, y.z), 5)": 5, "default(upper(t), 1)": "TEXT", "default(job.nope, 1)": 1,
    "default(job.name, 1)": "build", "default(nope[0][1:], 1)" if False else "default(t[1:], 1)": "ext",
    "default(none, nope2 if false else 4)": 4,
    "default((nope), 3)": 3, "default(null, 3)": 3, "default(view.x, 3)": 3, "default(point.z, 3)": 3,
    "default([1][3], 9)": 9,
}  # fmt: skip


@pytest.mark.parametrize("source", FORMS)
def test_forms(source: str) -> None:
    found = value(source)
    assert (found, type(found)) == (FORMS[source], type(FORMS[source]))
    one = expr.compile(source)
    assert one.evaluate(SCOPE) == one.evaluate(MappingProxyType(SCOPE)) == FORMS[source]  # again, and another mapping


def test_every_kind_of_node_that_is_allowed_is_tested() -> None:
    seen = {type(node) for source in FORMS for node in ast.walk(ast.parse(f"({source}\n)", mode="eval"))}
    seen |= {type(node) for source in CALLS for node in ast.walk(ast.parse(source, mode="eval"))}
    assert set(ALLOWED) <= seen


def test_generated_code_can_name_nothing_but_what_it_needs() -> None:
    assert CODE["__builtins__"] == {}
    for name, held in CODE.items():
        module = getattr(held, "__module__", "builtins")
        assert (
            name == "__builtins__"
            or module in ("builtins", "flow.types")
            or module.startswith("flow.expr.")
            or name == "M"
        )


# -- what is refused ---------------------------------------------------------------------------

REFUSED = {
    "a ** 2": (3, "write x * x"),
    "a << 2": (3, "write x * 2"),
    "a >> 2": (3, "write x // 2"),
    "a & b": (3, "write 'and'"),
    "a ^ b": (3, "'^' is not allowed"),
    "~a": (1, "write 'not x'"),
    "a @ b": (3, "'@' is not allowed"),
    "a && b": (3, "write 'and'"),
    "a || b": (3, "write 'or'"),
    "!a": (1, "write 'not x'"),
    "a <> b": (3, "write '!='"),
    "a ? 1 : 2": (3, "write 'a if test else b'"),
    "a -> b": (3, "'->' is not allowed"),
    "$a": (1, "a name stands alone"),
    "a; b": (2, "there is one expression"),
    "a # why": (3, "no comments"),
    "`a`": (1, "write '...' for text"),
    "a \\\n b": (3, "a line needs no mark"),
    "...": (1, "'...' is not allowed"),
    "[1, ...]": (5, "'...' is not allowed"),
    "1j": (1, "decimal digits"),
    "0x1f": (1, "decimal digits"),
    "12ab": (1, "decimal digits"),
    "t | upper": (1, "write upper(t)"),
    "inputs.tags | join(', ')": (1, "write join(inputs.tags, ', ')"),
    "users | map(attribute='name') | list": (1, "write pluck(users, 'name')"),
    "users | first": (1, "write first(users)"),
    "t | length": (1, "write len(t)"),
    "t | default('x') | upper": (1, "write upper(default(t, 'x'))"),
    "a | round(digits=1)": (1, "write round(a, digits=1)"),
    "a | 3": (1, "filters are functions"),
    "a | isnull": (1, "x == null"),
    "t.upper()": (1, "write upper(t)"),
    "t.replace('a', 'b')": (1, "write replace(t, 'a', 'b')"),
    "', '.join(inputs.tags)": (1, "write join(inputs.tags, ', ')"),
    "inputs.get('env', 'x')": (1, "write default(inputs.env, 'x')"),
    "inputs.get('env')": (1, "write default(inputs.env, null)"),
    "inputs.get(t)": (1, "write get(inputs, t)"),
    "t.strip()": (1, "write trim(t)"),
    "t.uper()": (1, "no function 'uper' (did you mean 'upper'?)"),
    "(x := 3)": (4, "assigns nothing"),
    "x = 3": (3, "write '==' to compare"),
    "not (x = 3)": (8, "write '==' to compare"),
    "lambda: 1": (1, "'lambda' is not allowed"),
    "f'{a}'": (1, "format('Hello {}', name)"),
    "b'a'": (1, "write the text alone"),
    "'''a'''": (1, "three quotes"),
    "'a": (1, "a quote is not closed"),
    "'\\d'": (2, "write '\\\\d' for a backslash"),
    "[u.name for u in users]": (1, "write pluck(users, 'name')"),
    "[u for u in users if u.age > 17]": (1, "write where(users, 'age', '>', 17)"),
    "[u.name for u in users if u.age]": (1, "write pluck(where(users, 'age'), 'name')"),
    "[x for x in users if f(x)]": (1, "where(users, 'key', '==', value)"),
    "[x + 1 for x in users]": (1, "do it in a map"),
    "any(u.age > 17 for u in users)": (4, "write where(users, 'age', '>', 17)"),
    "{u.name for u in users}": (1, "write pluck(users, 'name')"),
    "{a: b for a in users}": (1, "'for' is not allowed"),
    "(x for x, y in users)": (1, "'for' is not allowed"),
    "await a": (1, "'await' is not allowed"),
    "(yield a)": (2, "'yield' is not allowed"),
    "(yield from a)": (2, "'yield' is not allowed"),
    "[*users]": (2, "write a + b"),
    "{**inputs}": (4, "write merge(a, b)"),
    "len(*users)": (1, "give len each by itself"),
    "get(**inputs)": (1, "give get each by itself"),
    "{1, 2}": (1, "write a list: [a, b]"),
    "(1, 2)": (1, "write a list: [1, 2]"),
    "a, b": (1, "write a list: [a, b]"),
    "a is null": (1, "write a == null"),
    "a is not None": (1, "write a != null"),
    "'a' * 3": (1, "not text; text and lists are not repeated"),
    "a * 'a'": (5, "not text"),
    "[0] * 9": (1, "not a list"),
    "'%s' % a": (1, "write format('{}', x)"),
    "a - 'b'": (5, "'-' takes numbers, not text"),
    "{} + {}": (1, "write merge(a, b)"),
    "import os": (1, "without statements"),
    "inputs.class": (8, "write ['class'] to read this key"),
    "a.__class__": (3, "begins with '_' is private"),
    "inputs._id": (8, "of a dict, ['_id'] reads it"),
    "_a": (1, "names do not begin with '_'"),
    "users.0": (6, "write [0] to read an item"),
    "upper": (1, "call it, as in upper(text)"),
    "nope(a)": (1, "there is no function 'nope'"),
    "lenght(a)": (1, "(did you mean 'len'?)"),
    "length(a)": (1, "write len(x)"),
    "zzz(a)": (1, "there are abs, all,"),
    "users[0](a)": (1, "only functions are called"),
    "upper()": (1, "upper needs 'text' too: it is upper(text)"),
    "upper(t, t)": (1, "upper takes at most 1 arguments, not 2"),
    "upper(t, text=t)": (1, "gets 'text' twice"),
    "join(users, sep=',')": (1, "has no argument 'sep': it is join(items, separator='')"),
    "format('{}', _x=1)": (1, "no argument that begins with '_'"),
    "default(a)": (1, "default needs 'other' too"),
    "{1: 2}": (2, "the keys of a dict are text; write '1'"),
    "1e400": (1, "too large for a float"),
    "9" * 400: (1, "ints have at most 1,024 bits"),
    "1" * 4000 + "1" * 95: (1, "ints have at most 1,024 bits"),
    "9" * 5000: (1, "at most 4,096 are read"),
    "a b": (1, "two values follow each other"),
    "a +": (4, "something is wrong at its end"),
    "a if b": (1, "'if' needs an 'else'"),
    "a.": (3, "something is wrong at its end"),
    "007": (1, "a number does not begin with 0"),
    "f(a=1, b)": (9, "an argument without a name stands before"),
    "(a": (1, "'(' is not closed"),
    "a)": (2, "')' closes nothing"),
    "(a]": (3, "']' closes nothing"),
    "": (1, "the expression is empty"),
    "  \n ": (1, "the expression is empty"),
    "“a”": (1, 'U+201C (left double quotation mark) is not allowed; write "\'"'),
    "a ≤ b": (3, "write '<='"),
    "a § b": (3, "U+00A7 (section sign) is not allowed"),
    "іnputs": (1, "mixes alphabets: U+0456"),
    "ﬁle": (1, "unusual characters; write 'file'"),
    "a\0": (2, "U+0000 is not allowed; in text write it as \\x00"),
    "'\u202e'": (2, "U+202E is not allowed; in text write it as \\u202e"),
    "'\\ud800'": (1, "half of a surrogate pair"),
    "(" * 51 + "a" + ")" * 51: (51, "brackets nest more than 50 deep"),
    "-" * 51 + "a": (51, "more than 50 signs follow each other"),
    "a" + ".b" * 60: (1, "nests more than 50 deep"),
    "default(a" + ".b" * 60 + ", 1)": (9, "nests more than 50 deep"),
    "1" + " if a else 0" * 60: (589, "nests more than 50 deep"),
    "x[1:2, 3]": (3, "write a list"),
    "none\n  .x\n  .class": (4, "write ['class']"),
}


@pytest.mark.parametrize("source", REFUSED, ids=lambda source: source[:40].encode("ascii", "backslashreplace").decode())
def test_refusals(source: str) -> None:
    error = fails(source)
    assert type(error) is ExpressionSyntaxError
    column, says = REFUSED[source]
    assert says in error.problem
    assert error.column == column
    assert error.source == source and error.place == ""


def test_a_refusal_in_a_later_line_says_the_line() -> None:
    error = fails("a +\n  len([b,\n 'é' + __x])")
    assert (error.line, error.column) == (3, 8)
    assert str(error).startswith("expression \" 'é' + __x])\", line 3, column 8: ")


def test_depth_and_length_that_are_just_allowed() -> None:
    deep = "(" * MAX_DEPTH + "a" + ")" * MAX_DEPTH
    assert value(deep) == 3
    assert value("a" + " " * (MAX_SOURCE - 1)) == 3
    fails("a" + " " * MAX_SOURCE)
    inner = "a"
    for _ in range(MAX_DEPTH - 2):
        inner = f"not {inner}"
    assert value(inner) is True


@pytest.mark.parametrize(
    ("pattern", "start"),
    [
        ("({}) == a", "a"), ("a == ({})", "a"), ("({}) in [a]", "a"), ("t in [({})]", "t"), ("({}) < a < b", "a"),
        ("({}) + a", "a"), ("a * ({})", "a"), ("({}) * b", "a"), ("({}) % 7", "a"),
        ("({}) and a", "a"), ("not ({})", "a"), ("-({})", "a"), ("[({})][0]", "a"), ("{{'k': ({})}}.k", "a"),
        ("abs({})", "a"), ("default({}, 1)", "a"), ("default(1, {})", "a"), ("(a if ({}) else b)", "a"),
        ("({} if a else b)", "a"), ("(a if a else {})", "a"), ("[a, b][0:({})]", "a"), ("str({}) + 'x'", "a"),
        ("'x' in [({})]", "a"), ("({}) == null", "a"), ("[a][({}) - a]", "a"), ("get({}, 'k')", "inputs"),
    ],
)  # fmt: skip
def test_the_code_of_the_deepest_expressions_compiles(pattern: str, start: str) -> None:
    """Python's parser takes 200 brackets in each other."""
    source, deepest = start, start
    while True:
        source = pattern.replace("{{", "{").replace("}}", "}").replace("{}", source)
        try:
            expr.compile(source)
        except ExpressionSyntaxError as error:
            assert "nest" in error.problem
            break
        deepest = source
    try:
        value(deepest)
    except EvaluationError as error:
        assert "call stack" not in error.problem


# -- failures ----------------------------------------------------------------------------------

FAILURES = {
    "nope": (1, "there is no name 'nope' here"),
    "inputz.env": (1, "(did you mean 'inputs'?)"),
    "inputs.evn": (8, "there is no key 'evn' in a dict (did you mean 'env'?); default(..., other)"),
    "inputs['evn']": (8, "there is no key 'evn'"),
    "a + inputs.deep.er.rest": (20, "(did you mean 'est'?)"),
    "auto.nope": (6, "there is no key 'nope' in a defaultdict"),
    "view.nope": (6, "there is no key 'nope'"),
    "job.nmae": (5, "there is no key 'nmae' in a Job (did you mean 'name'?)"),
    "host.url": (6, "there is no key 'url'"),
    "host.kind": (6, "there is no key 'kind'"),
    "point['z']": (7, "there is no key 'z'"),
    "opaque.value": (8, "an Opaque has no keys"),
    "opaque['value']": (8, "an Opaque has no keys"),
    "none.x": (6, "null has no keys; default("),
    "users.name": (7, "a key of all by pluck(x, 'key')"),
    "t.size": (3, "a str has no keys"),
    "users[3]": (1, "a list of 3 has no item at this index"),
    "users[a]": (1, "a list of 3 has no item at this index"),
    "pairs[9]": (1, "a tuple of 3 has no item"),
    "t[9]": (1, "a str of 4 has no item"),
    "users[1.5]": (1, "read by an int, not by a float"),
    "users[true]": (1, "read by an int, not by a bool"),
    "users[t]": (1, "read by an int, not by a str"),
    "inputs[a]": (1, "there is no such key in a dict"),
    "inputs[users]": (1, "a key must be a str or a number, not a list"),
    "opaque[0]": (1, "an Opaque has no items"),
    "raw[0]": (1, "a bytes has no items"),
    "opaque[1:]": (1, "cannot be sliced"),
    "t['a':]": (1, "the ends of a slice are ints"),
    "t[::0]": (1, "the step of a slice cannot be 0"),
    "a < t": (1, "not an int and a str; int(x), float(x) or str(x)"),
    "a < none": (1, "not an int and null; default(x, other)"),
    "none > 3": (1, "compares two numbers or two texts"),
    "users >= users": (1, "not a list and a list"),
    "yes < 2": (1, "not a bool and an int"),
    "1 < a < t": (1, "'<' compares"),
    "a in t": (1, "'in' looks for text in text, not for an int"),
    "users in inputs": (1, "not for a list"),
    "a in a": (1, "'in' looks into text, lists and dicts, not into an int"),
    "t in opaque": (1, "not into an Opaque"),
    "a + t": (1, "int(x), float(x) or str(x)"),
    "t + none": (1, "default(x, other)"),
    "t + users": (1, "json(x) of anything else"),
    "a + yes": (1, "not an int and a bool"),
    "inputs + view": (1, "write merge(a, b)"),
    "users - users": (1, "'-' takes two numbers"),
    "t * a": (1, "text and lists are not repeated"),
    "users * 2": (1, "text and lists are not repeated"),
    "t % a": (1, "write format('{}', x)"),
    "a / 0": (1, "division by zero"),
    "a // (a - 3)": (1, "division by zero"),
    "a % 0": (1, "division by zero"),
    "f % 0": (1, "division by zero"),
    "-t": (1, "'-' takes a number, not a str"),
    "+none": (1, "'+' takes a number, not null"),
    "f * 1e300 * 1e300": (1, "too large for a float"),
    "f * " + "9" * 308 + " * 10": (1, "too large"),
    "9" * 150 + " * a * " + "9" * 150 + " * 999999999": (1, "ints have at most 1,024 bits"),
    "1e308 + 1e308": (1, "too large"),
    "{a: 1}": (2, "the keys of a dict are text, not an int"),
    "upper(a)": (1, "upper: text must be a str, not an int; str(x)"),
    "a + upper(none)": (5, "upper: text must be a str, not null"),
    "yes and upper(a)": (9, "upper: text"),
    "b if upper(a) else a": (6, "upper: text"),
    "[1, upper(a)]": (5, "upper: text"),
    "{'k': upper(a)}": (7, "upper: text"),
    "default(upper(a), 1)": (9, "upper: text"),
    "default(t.x, 1)": (11, "a str has no keys"),
    "default(inputs[nope], 1)": (16, "there is no name 'nope'"),
    "a\n+ b\n+ upper(b)": (3, "upper: text"),
    "'é' + inputs.x": (14, "there is no key 'x'"),
    "now()": (1, "there is no clock here"),
}


@pytest.mark.parametrize("source", FAILURES)
def test_failures(source: str) -> None:
    error = fails(source)
    column, says = FAILURES[source]
    assert type(error) is EvaluationError
    assert says in error.problem
    assert error.column == column, error
    assert error.line == source.count("\n") + 1
    assert error.__cause__ is None and error.__suppress_context__


class Broken(collections.UserDict):  # type: ignore[type-arg]
    def __getitem__(self, key: str) -> Any:
        raise ZeroDivisionError("secret")

    def __contains__(self, key: object) -> bool:
        return True

    def get(self, key: str, default: Any = None) -> Any:
        raise LookupError("secret")

    def __len__(self) -> int:
        raise KeyError("secret")


def test_what_a_values_own_code_raises_is_the_cause() -> None:
    for source, cause in {"x.y": LookupError, "x['y']": LookupError, "not x": KeyError, "x[0]": LookupError}.items():
        error = fails(source, x=Broken())
        assert type(error.__cause__) is cause
        assert f"raised {cause.__name__}" in error.problem and "secret" not in str(error)
    scope = Broken()
    with pytest.raises(EvaluationError) as caught:
        expr.compile("x").evaluate(scope)
    assert type(caught.value.__cause__) is ZeroDivisionError


def test_comparisons_that_give_no_bool() -> None:
    array = np.array([1, 2])
    assert "gave a ndarray, not true or false" in fails("x == y", x=array, y=array).problem
    assert "raised ValueError" in fails("x and 1", x=array).problem
    assert value("x + 1", x=np.float64(1.5)) == 2.5
    assert "not an int64 and an int" in fails("x + 1", x=np.int64(1)).problem


def test_values_that_nest_without_end() -> None:
    loop: list[Any] = []
    loop.append(loop)
    other: list[Any] = []
    other.append(other)
    for source in ("x == y", "json(x)", "unique([x, y])", "x in [y]", "flatten(x, 50)"):
        try:
            value(source, x=loop, y=other)
        except EvaluationError as error:
            assert "steps" in error.problem or "nested" in error.problem


def test_interrupts_are_not_caught() -> None:
    class Interrupting(collections.UserDict):  # type: ignore[type-arg]
        def get(self, key: str, default: Any = None) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        value("x.y", x=Interrupting())


def test_errors_say_the_place_in_the_file() -> None:
    where = expr.Place(14, 9, "deploy.yaml", indent=6)
    with pytest.raises(EvaluationError) as caught:
        expr.compile("inputs.evn", where=where).evaluate(SCOPE)
    assert str(caught.value).startswith("deploy.yaml:14:16: in 'inputs.evn': there is no key 'evn'")
    assert caught.value.place == "deploy.yaml:14:16"
    with pytest.raises(ExpressionSyntaxError) as refused:
        expr.compile("a +\nb ** 2", where=where)
    assert str(refused.value).startswith("deploy.yaml:15:9: in 'b ** 2': ")
    assert str(expr.Place(3, 4)) == "line 3, column 4"


def test_errors_show_the_part_of_a_long_source() -> None:
    error = fails("none or " * 30 + "nope + 1" + " or a" * 30)
    assert len(str(error)) < 400 and "nope" in str(error).partition("column")[0]
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), copied.column) == (EvaluationError, str(error), error.column)


def test_no_message_repeats_a_value() -> None:
    secret = "hunter2"
    for source in (
        "x < 1",
        "x.y",
        "x[9]",
        "upper([x])",
        "int(x)",
        "float(x)",
        "bool(x)",
        "parse_json(x)",
        "format('{}', [x])",
        "{'a': 1}[x]",
        "sum([x])",
        "x + 1",
        "range(x)",
        "x in 1",
        "where([], 'a', x, 1)",
    ):
        assert secret not in str(fails(source, x=secret)), source


# -- functions ---------------------------------------------------------------------------------

CALLS: dict[str, Any] = {
    "len('abc')": 3, "len([1])": 1, "len({'a': 1})": 1, "len(pairs)": 3, "len(view)": 1, "len(chosen)": 2,
    "upper('aé')": "AÉ", "lower('AB')": "ab", "trim('  a ')": "a", "trim('--a-', '-')": "a",
    "split('a b  c')": ["a", "b", "c"], "split('a,b,', ',')": ["a", "b", ""], "split('a', separator=',')": ["a"],
    "join(['a', 'b'])": "ab", "join(['a', 1, 2.5, true], '-')": "a-1-2.5-true", "join([], ',')": "",
    "join(pairs, ',')": "1,2,3",
    "join([colour, 'x'], ' ')": "red x", "join(split('" + "a," * 40 + "', ','), ';')": "a;" * 40,
    "replace('aXbX', 'X', '--')": "a--b--", "contains('abc', 'b')": True, "contains([1, 2], 3)": False,
    "contains(inputs, 'env')": True, "startswith('abc', 'ab')": True, "endswith('abc', 'ab')": False,
    "keys({'a': 1, 'b': 2})": ["a", "b"], "values({'a': 1})": [1], "items({'a': 1})": [["a", 1]],
    "keys(job)": ["name", "size"], "values(point)": [1, 2], "get(inputs, 'env')": "prod", "get(inputs, 'x')": None,
    "get(inputs, 'x', 5)": 5, "get([1, 2], 1)": 2, "get([1], 7, 'no')": "no",
    "get(none, 'x', 1)": 1, "get(job, 'name')": "build", "merge({'a': 1, 'b': 2}, {'b': 3})": {"a": 1, "b": 3},
    "merge()": {}, "merge(view, {'x': 1})": {"k": 1, "x": 1}, "first([1, 2])": 1, "last([1, 2])": 2,
    "first([], 'none')": "none", "last([], null)": None,
    "sort([3, 1, 2])": [1, 2, 3], "sort(['b', 'a'])": ["a", "b"], "sort([3, 1], reverse=true)": [3, 1],
    "sort([])": [], "pluck(sort(users, 'age'), 'name')": ["bob", "ada", "eve"],
    "pluck(sort(users, by='name', reverse=true), 'name')": ["eve", "bob", "ada"], "sort(pairs)": [1, 2, 3],
    "reverse([1, 2])": [2, 1], "reverse(pairs)": [3, 2, 1], "unique([1, 2, 1, 1.0, true])": [1, 2],
    "unique([[1], [1], {'a': [1]}, {'a': [1]}, {'a': 2}])": [[1], {"a": [1]}, {"a": 2}],
    "len(unique([job, job, host, pairs, pairs]))": 3, "flatten([1, [2, [3]], pairs])": [1, 2, [3], 1, 2, 3],
    "flatten([[1, [2, [3]]]], 2)": [1, 2, [3]], "flatten([[1]], depth=5)": [1],
    "zip([1, 2], ['a', 'b', 'c'])": [[1, "a"], [2, "b"]], "zip([1], [2, 3], pad=null)": [[1, 2], [None, 3]],
    "product([1, 2], ['a', 'b'])": [[1, "a"], [1, "b"], [2, "a"], [2, "b"]], "product([1], [])": [], "product()": [],
    "dict(zip(['a', 'b'], [1, 2]))": {"a": 1, "b": 2}, "dict([])": {}, "dict(items({'x': [1]}))": {"x": [1]},
    "zip()": [], "pluck(users, 'name')": ["ada", "bob", "eve"], "pluck([job, {'name': 'x'}], 'name')": ["build", "x"],
    "pluck([{'a': 1}, {}, null], 'a', 0)": [1, 0, 0], "pluck([], 'a')": [],
    "pluck(where(users, 'age', 36), 'name')": ["ada", "eve"], "len(where(users, 'age', '!=', 36))": 1,
    "len(where(users, 'age', '<', 18))": 1, "len(where(users, 'age', '<=', 17))": 1,
    "len(where(users, 'age', '>=', 17.0))": 3,
    "len(where(users, 'name', '>', 'b'))": 2, "len(where(users, 'name', 'in', ['ada', 'bob']))": 2,
    "len(where(users, 'name', 'contains', 'a'))": 1, "where([{'a': 1}, {'a': 0}, {}], 'a')": [{"a": 1}],
    "where([{'a': 1}, {}], 'a', '>', 0)": [{"a": 1}], "where([{'a': null}, {}], 'a', null)": [{"a": None}, {}],
    "where([{'a': 1}, {'a': 2.0}, {'a': 'x'}], 'a', '!=', 1)": [{"a": 2.0}, {"a": "x"}],
    "len(where([job], 'name', 'build'))": 1, "any([0, 1])": True, "any([])": False, "all([1, 0])": False,
    "all([])": True, "format('{} and {}', 1, 'x')": "1 and x", "format('{1}{0}', 1, 2)": "21",
    "format('{n:>4}|', n=3)": "   3|",
    "format('{:.2f} {:,} {:05d}', 3.14159, 12345, 42)": "3.14 12,345 00042", "format('{{}} {}', yes)": "{} true",
    "format('{:>6}', 'ab')": "    ab", "format('{:x}', 255)": "ff", "format('')": "",
    "format('{:^5}|{:<5}|', 'a', yes)": "  a  |true |", "format('{:.1%}', 0.256)": "25.6%",
    "format('{:d}', level)": "3",
    "abs(-3)": 3, "abs(-2.5)": 2.5, "round(2.5)": 2, "round(3.7)": 4, "round(2.567, 1)": 2.6, "round(1234, -2)": 1200,
    "floor(2.9)": 2, "floor(-2.1)": -3, "ceil(2.1)": 3, "ceil(3)": 3, "min(3, 1, 2)": 1, "min([3, 1])": 1,
    "max('a', 'b')": "b", "max([1, 2.5])": 2.5, "sum([1, 2, 3])": 6, "sum([])": 0, "sum([0.5, 1])": 1.5,
    "sum(pairs)": 6, "range(3)": [0, 1, 2], "range(1, 7, 2)": [1, 3, 5], "range(3, 0, -1)": [3, 2, 1], "range(0)": [],
    "int('42')": 42, "int(' -7 ')": -7, "int(3.9)": 3, "int(-3.9)": -3, "int(true)": 1, "float('2.5')": 2.5,
    "float('1e3')": 1000.0, "float(2)": 2.0, "float('.5')": 0.5, "float(yes)": 1.0, "str(1)": "1",
    "str(2.50)": "2.5", "str(true)": "true", "str('x')": "x", "str(colour)": "red", "str(level)": "3",
    "bool(1)": True, "bool(0)": False, "bool('true')": True, "bool(' False ')": False, "bool([])": False,
    "bool({'a': 1})": True, "bool(null)": False, "type(null)": "null", "type(1)": "int", "type(1.5)": "float",
    "type('')": "str",
    "type([])": "list", "type({})": "dict", "type(true)": "bool", "type(job)": "object",
    "json({'a': [1, 2.5, true, null, 'é']})": '{"a": [1, 2.5, true, null, "é"]}',
    "json(job)": '{"name": "build", "size": 1}', "json(point)": '{"x": 1, "y": 2}',
    "json([host, pairs, chosen == 1])": '[{"name": "web", "port": 80}, [1, 2, 3], false]',
    "json(colour)": '"red"', "json(level)": "3", "parse_json('{\"a\": [1, 2.5, null]}')": {"a": [1, 2.5, None]},
    "parse_json('\"x\"')": "x", "parse_json(json(users)) == users": True, "parse_json('-12')": -12,
}  # fmt: skip


@pytest.mark.parametrize("source", CALLS)
def test_functions(source: str) -> None:
    found = value(source)
    assert (found, type(found)) == (CALLS[source], type(CALLS[source]))


BAD_CALLS = {
    "len(a)": "len: x must be text, a list or a dict, not an int",
    "len(none)": "default(x, []) gives an empty list",
    "len(result)": "write len(x.values)",
    "keys(a)": "keys: x must be a dict, not an int",
    "merge(inputs, none)": "merge: dicts must be a dict, not null",
    "first([])": "first: the list is empty; first(x, other)",
    "last(t)": "last: items must be a list, not a str; [x] makes a list of it",
    "sort(users)": "numbers alone, or of text alone",
    "sort([1, 'a'])": "numbers alone",
    "sort([1], reverse=1)": "reverse must be true or false",
    "sort(users, by='nmae')": "there is no such key in a dict (did you mean 'name'?)",
    "sort(inputs)": "values(x), keys(x) or items(x)",
    "any(none)": "any: items must be a list, not null; default(x, [])",
    "join(result)": "write x.values",
    "join([none])": "join: items holds null",
    "join([1], 2)": "join: separator must be a str, not an int",
    "split(t, '')": "split: separator must not be empty",
    "trim(t, '" + "x" * 101 + "')": "at most 100",
    "replace(t, '', 'a')": "old must not be empty",
    "flatten([], 0)": "depth must be between 1 and 50",
    "flatten([], 'a')": "depth must be an int, not a str",
    "pluck(users, 3)": "pluck: key must be a str",
    "pluck(users, 'nmae')": "no such key in a dict (did you mean 'name'?)",
    "pluck([1], 'a')": "an int has no keys",
    "where(users, 'age', '=>', 3)": "where: the test is one of ==, !=",
    "where(users, 'age', '>', 3, 4)": "takes a list, a key",
    "where(users, 'age', '>', 'x')": "'>' compares",
    "format('{', 1)": "a single '{'",
    "format('}', 1)": "a single '}'",
    "format('{}')": "takes more values than the 0",
    "format('{x}')": "a name that is not given",
    "format('{}', none)": "format: null is no text",
    "format('{:zz}', 1)": "is not understood",
    "format('{:.2f}', 'x')": "does not fit a str",
    "format('{:200}', 'x')": "wider than 100",
    "abs(t)": "abs: x must be a number, not a str; int(x) or float(x)",
    "abs(yes)": "must be a number, not a bool",
    "round(f, 0.5)": "digits must be an int",
    "round(f, 999)": "digits must be between -300 and 300",
    "round(inf)": "no finite number",
    "floor(inf)": "no finite number",
    "min([])": "min: an empty list has none",
    "max(1, 'a')": "numbers alone, or text alone",
    "sum([1, 'a'])": "sum: items must be numbers, not a str; join(x)",
    "sum([yes])": "must be numbers, not a bool",
    "range('a')": "range: stop must be an int",
    "range(1, 2, 0)": "step must not be 0",
    "int('1.5')": "int: the text is no int",
    "int('" + "1" * 400 + "')": "int: the text is no int",
    "int(none)": "must be a number, a bool or text in digits, not null",
    "int(inf)": "too large for a float, or none",
    "float('nan')": "the text is no number in digits",
    "float(users)": "must be a number, a bool or text",
    "float(" + "9" * 308 + " * 10)": "too large",
    "str(none)": "default(x, 'none')",
    "str(users)": "json(x) makes text of it",
    "bool('yes')": "the text must be true or false",
    "bool(opaque)": "not an Opaque",
    "json(opaque)": "an Opaque cannot be written",
    "json({'a': raw})": "a bytes cannot be written",
    "json([inf])": "no finite number",
    "json(numbered)": "a key that is no str",
    "parse_json('{')": "the text is no JSON",
    "parse_json('[1e999]')": "too large for a float",
    "parse_json('NaN')": "NaN is no JSON",
    "parse_json('" + "1" * 300 + "')": "too many digits",
    "parse_json('" + "[" * 2000 + "')": "parse_json: the text is ",
    "contains(a, 1)": "'in' looks into",
    "dict([['a']])": "pairs[0] has 1 items, and a pair has a key and a value",
    "dict([[1, 2]])": "the key of pairs[0] must be a str, not an int",
    "product(range(1000), range(1000), range(1000))": "more than 1,000,000 steps",
}


@pytest.mark.parametrize("source", BAD_CALLS, ids=lambda source: source[:40])
def test_functions_say_what_is_wrong_with_their_arguments(source: str) -> None:
    class Result:
        values: list[int] = []

    expr.readable(Result, ["values"])
    error = fails(source, result=Result(), inf=float("inf"), numbered={1: 2})
    assert type(error) is EvaluationError
    assert BAD_CALLS[source] in error.problem


def test_every_function_is_tested_well_and_badly() -> None:
    def called(cases: Any) -> set[str]:
        return {name for source in cases for name in re.findall(r"\b([a-z_]+)\(", source)}

    told = {"default", "now", "matches"}  # elsewhere
    assert set(STANDARD) - told <= called(CALLS)
    total = {
        "get",
        "reverse",
        "items",
        "values",
        "unique",
        "zip",
        "type",
        "all",
        "upper",
        "lower",
        "startswith",
        "endswith",
        "ceil",
    }
    assert set(STANDARD) - told - total <= called(BAD_CALLS)


def test_now_is_the_clock_that_is_given() -> None:
    assert value("now() + 1", now=lambda: 41.5) == 42.5
    assert "there is no clock here" in fails("now()", now=3).problem
    assert expr.compile("now()").calls == {"now"} and not expr.compile("now()").names


class FakeRe2:
    class error(Exception):
        pass

    class Options:
        log_errors = True

    @classmethod
    def compile(cls, pattern: str, options: Any) -> re.Pattern[str]:
        assert options.log_errors is False
        try:
            return re.compile(pattern)
        except re.error:
            raise cls.error from None


def test_regular_expressions_need_re2(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "re2", None)
    assert "needs the package google-re2" in fails("matches(t, 'x')").problem
    monkeypatch.setattr(patterns, "re2", FakeRe2)
    patterns._compiled.cache_clear()
    assert value("matches(t, r'^te.t$')") is True
    assert value("matches(t, 'no')") is False
    assert "no regular expression of RE2" in fails("matches(t, '(')").problem
    assert "at most 1,000 characters" in fails("matches(t, '" + "a" * 1_001 + "')").problem
    patterns._compiled.cache_clear()


def test_regular_expressions_by_re2_itself() -> None:
    pytest.importorskip("re2")
    assert value(r"matches(t, r'^(te)\wt$')") is True
    assert value("matches(replace('" + "a" * 100 + "', 'a', 'aaaaaaaaaa'), '(a*)*b')") is False  # at once
    assert "no regular expression of RE2" in fails("matches(t, '(')").problem


def test_what_is_made_is_new() -> None:
    rows = [3, 1]
    for source in ("sort(x)", "reverse(x)", "x + []", "x[:]", "unique(x)", "flatten(x)"):
        made = value(source, x=rows)
        made.append(9)
        assert rows == [3, 1]


# -- functions of others -----------------------------------------------------------------------


def _doubled(x: int, times: int = 2) -> int:
    """Twice as much.

    More of it.
    """
    return x * times


def _succeeded(scope: Any, *nodes: str) -> bool:
    """True if these nodes succeeded."""
    return all(scope["status"][node] == "ok" for node in nodes)


def _failing(x: Any) -> Any:
    raise expr.Fault("failing: it never works")


def _raising(x: Any) -> Any:
    raise OSError("no")


OWN = STANDARD.extended(
    expr.function(_doubled, name="doubled"),
    expr.function(_succeeded, name="succeeded", given="nodes"),
    expr.function(_failing, name="failing"),
    expr.function(_raising, name="raising"),
    expr.function(lambda scope, x: scope["a"] + x, name="more", given="scope", about="More."),
)


def own(source: str, **names: Any) -> Any:
    return expr.compile(source, functions=OWN).evaluate({**SCOPE, **names})


def test_own_functions() -> None:
    assert own("doubled(a) + doubled(a, times=3)") == 15
    assert own("more(1)") == 4
    assert own("upper(t)") == "TEXT"
    assert OWN["doubled"].signature == "doubled(x, times=2)" and OWN["doubled"].about == "Twice as much."
    with pytest.raises(EvaluationError, match="failing: it never works") as caught:
        own("1 + failing(2)")
    assert caught.value.column == 5
    with pytest.raises(EvaluationError, match="raised OSError") as raised:
        own("raising(2)")
    assert type(raised.value.__cause__) is OSError
    with pytest.raises(ExpressionSyntaxError, match="there is no function 'doubled'"):
        expr.compile("doubled(1)")
    assert len(OWN) == len(STANDARD) + 5 and repr(OWN) == f"<{len(OWN)} functions of expressions>"


def test_functions_that_take_nodes_get_their_names() -> None:
    made = expr.compile("succeeded(build, nodes['build-image']) and a", functions=OWN)
    assert made.evaluate({"status": {"build": "ok", "build-image": "ok"}, "a": 1}) == 1
    assert [(u.name, u.key, u.by, u.guarded) for u in made.uses] == [
        ("build", None, "succeeded", True), ("nodes", "build-image", "succeeded", True), ("a", None, "", False),
    ]  # fmt: skip
    assert dict(made.names) == {"a": ()}
    for bad in (
        "succeeded('build')",
        "succeeded(build.x)",
        "succeeded(nodes[a])",
        "succeeded(true)",
        "succeeded(nodes)" if False else "succeeded(a + b)",
    ):
        with pytest.raises(ExpressionSyntaxError, match="takes the name of a node"):
            expr.compile(bad, functions=OWN)
    for bad, says in {
        "succeeded(_x)": "begin with '_'",
        "succeeded(upper)": "is a function",
        "succeeded(x=a)": "no argument 'x'",
    }.items():
        with pytest.raises(ExpressionSyntaxError, match=says):
            expr.compile(bad, functions=OWN)


def test_functions_must_be_plain() -> None:
    for bad in (len, print, Opaque, 3):
        with pytest.raises(UsageError, match="is a Python function"):
            expr.function(bad)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="given= one of plain, steps"):
        expr.function(_doubled, given="all")
    with pytest.raises(UsageError, match="is no name"):
        expr.function(lambda x: x)


def test_own_types_become_readable() -> None:
    class Result:
        def __init__(self) -> None:
            self.values = [1, 2]
            self.hidden = 3

        @property
        def failed(self) -> int:
            return 4

    class Special(Result):
        pass

    assert "has no keys" in fails("x.values", x=Result()).problem
    expr.readable(Result, ["values", "failed"])
    assert value("len(x.values) + x.failed", x=Special()) == 6
    assert "there is no key 'hidden' in a Special" in fails("x.hidden", x=Special()).problem
    assert value("json(x)", x=Result()) == '{"values": [1, 2], "failed": 4}'
    for bad in ("_x", "a.b", ""):
        with pytest.raises(ValueError, match="must be public names"):
            expr.readable(Result, [bad])


def test_old_named_tuples_and_plain_tuples() -> None:
    old = namedtuple("old", "x y")
    assert value("o.x + o[1]", o=old(1, 2)) == 3
    assert "a tuple has no keys" in fails("o.x", o=(1,)).problem


def test_the_fields_of_many_classes() -> None:
    for n in range(1_100):
        made = msgspec.defstruct(f"S{n}", [("x", int)])
        assert value("o.x", o=made(n)) == n


# -- names -------------------------------------------------------------------------------------


def test_names_are_those_that_are_read() -> None:
    made = expr.compile(
        "inputs.env == 'prod' and inputs['n'] + a > nodes['build-image'].id and users[0].name and users[i] "
        "and upper(t) or true"
    )
    assert dict(made.names) == {
        "inputs": ("env", "n"), "a": (), "nodes": ("build-image",), "users": (), "i": (), "t": (),
    }  # fmt: skip
    assert made.calls == {"upper"}
    assert dict(expr.compile("1 + 2").names) == {}


def test_uses_say_where_each_stands() -> None:
    made = expr.compile("default(a.x, b)\n + é.y + a")
    assert [tuple(use) for use in made.uses] == [
        ("a", "x", True, "", 1, 9), ("b", None, False, "", 1, 14), ("é", "y", False, "", 2, 4),
        ("a", None, False, "", 2, 10),
    ]  # fmt: skip
    assert expr.compile("a", where=expr.Place(3, 5, "f")).place(1, 2) == expr.Place(3, 6, "f")
    assert expr.compile("a").place(2, 2) == expr.Place(2, 2)


def test_names_that_there_are_not_are_refused() -> None:
    expr.compile("inputs.x + a", names=["inputs", "a"])
    expr.compile("succeeded(nodes['x'])", names=["a"], functions=OWN)
    for source in ("inptus.x", "default(inptus.x, 1)", "succeeded(inptus)"):
        with pytest.raises(ExpressionSyntaxError, match=r"no name 'inptus' here \(did you mean 'inputs'\?\)") as caught:
            expr.compile(source, names=["inputs", "a"], functions=OWN)
        assert caught.value.column == source.index("inptus") + 1


# -- expressions as objects --------------------------------------------------------------------


def test_expressions_are_values() -> None:
    one, two, other = expr.compile("a + 1"), expr.compile("a + 1", where=expr.Place(2, 2, "f")), expr.compile("a + 2")
    assert one == two != other and hash(one) == hash(two) and len({one, two, other}) == 2
    assert one != "a + 1" and expr.compile("a + 1", functions=OWN) != one
    assert repr(one) == "Expression('a + 1')" and one.source == "a + 1"
    assert one(a=4) == 5
    assert one.evaluate(SCOPE) == 4
    for copied in (pickle.loads(pickle.dumps(one)), copy.copy(one), copy.deepcopy(one)):
        assert copied == one and copied.evaluate(SCOPE) == 4
    assert pickle.loads(pickle.dumps(two)).where == two.where
    named = expr.compile("doubled(a)", functions=STANDARD.extended(expr.function(_doubled, name="doubled")))
    assert pickle.loads(pickle.dumps(named)) == named and pickle.loads(pickle.dumps(named)).evaluate(SCOPE) == 6


def test_the_method_is_kept_however_it_is_looked_up() -> None:
    made = expr.compile("a + 1")
    early = made.evaluate
    assert early(SCOPE) == early(SCOPE) == made.evaluate(SCOPE) == 4
    assert made.evaluate is made.evaluate is not early


def test_refusals_that_the_scan_comes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("flow.expr.syntax.analysis"), "check", lambda source: None)
    monkeypatch.setattr(import_module("flow.expr.expression"), "MAX_CACHED_SOURCE", -1)
    for source, says in {
        "~a": "write 'not x'", "a ** b": "'**' is not allowed", "a << b": "'<<' is not allowed", "b'a'": "bytes is not",
        "1j": "a complex number", "...": "'...' is not allowed", "f'{a}'": "format('Hello {}', name)",
        "[(x := 1)]": "':='",
        "a\0": "", "'\ud800'": "", "a @ b": "'@' is not allowed",
    }.items():  # fmt: skip
        error = fails(source)
        assert type(error) is ExpressionSyntaxError and says in error.problem, source


SAME_FORMS = [
    ("a", "inputs"), (" a.b ", " inputs.environment "), ("a + 1", "retries + 123456789"), ("a % 3", "bb % 20"),
    ("a.b['x'] > 5 and not c", "x1.y_2['x'] > 77 and not z"), ("x[1]", "xs[1234]"), ("-5 * a", "-12345 * abc"),
    ("upper(a) in [b, 'a b', 3]", "upper(longname) in [c, 'a b', 300]"), ("a if b else c", "x if yy else zzz"),
    ("default(a.b, 4)", "default(aa.bb, 44)"), ("a[b.c:3]", "aaaa[bbb.c:33]"), ("a < b < 3", "aaa < b < 333"),
    ("nodes['a-b'].x + a", "nodes['a-b'].xxx + bbb"), ("a + nodes['b']", "aaaa + nodes['b']"),
    ("a + 1.5 + 0", "bb + 1.5 + 0"), ("{'k': a, b: 1}", "{'k': aa, bb: 11}"),
    ("'it' + a + \"x\"", "'it' + aaa + \"x\""),
]  # fmt: skip


@pytest.mark.parametrize(("first", "second"), SAME_FORMS)
def test_sources_of_one_form_are_analysed_once(first: str, second: str) -> None:
    functions = expr.STANDARD.extended()
    assert _known(second, functions) == _known_of(analysis._written(second, functions).filled())
    assert list(functions.shapes) and None not in functions.shapes.values()
    assert _known(first, functions) == _known_of(analysis._written(first, functions).filled())
    assert len(functions.shapes) == 1


@pytest.mark.parametrize(
    "source",
    [
        "format('{a}', a=b)", "r'a' + b", "aé + 1", "a +\n1", "a\t+ 1", "_a", "a._b", "a.class", "lenght(a)", "1a",
        "a.5", "'\\\\a' + b", "[1, 2.5e]", "'Qz000z' + a", "987654000.5 + a", "a b", "f'{a}'", "a 'b'", "a" * 201,
        "+".join("abcdefghijklmnopqrstuvwxyz" * 2),
    ],
)  # fmt: skip
def test_sources_that_are_analysed_one_by_one(source: str) -> None:
    functions = expr.STANDARD.extended()
    assert _known(source, functions) == _known(source, functions) == _wholly(source, functions)
    assert not any(functions.shapes.values())


def test_names_that_differ_in_what_they_mean_have_other_forms() -> None:
    functions = expr.STANDARD.extended()
    numbers = ("1", "0", "01", "1234567890", "1e-5", "1.5e+10", ".5")
    for source in ("a", "true", "null", "len", "nodes", "None", "_a", "a.b", "a.len", *numbers):
        assert _known(source, functions) == _wholly(source, functions)


def test_forms_are_forgotten_when_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "MAX_CACHED", 3)
    functions = expr.STANDARD.extended()
    for n in range(9):
        assert analysis.analysed("a" + " " * n, functions).uses[0].name == "a"
        assert len(functions.shapes) <= 3


def _known(source: str, functions: Any) -> Any:
    try:
        return _known_of(analysis.analysed(source, functions))
    except Refusal as refusal:
        return refusal.args, refusal.line, refusal.column


def _wholly(source: str, functions: Any) -> Any:
    try:
        return _known_of(analysis._written(source, functions).filled())
    except Refusal as refusal:
        return refusal.args, refusal.line, refusal.column


def _known_of(found: Any) -> Any:
    return found.uses, found.calls, found.code, [found.spot(at) for at in range(found.code.count("\n"))]


@pytest.mark.parametrize("source", ["-((inputs.env if 1 else a) if a else a)", "upper((a if 1 else b) if a else b)"])
def test_errors_of_conditions_are_ours_whatever_the_compiler_makes_of_their_lines(source: str) -> None:
    with pytest.raises(EvaluationError, match="takes a number|must be"):
        expr.compile(source).evaluate({"inputs": {"env": "prod"}, "a": 1, "b": 2})


def test_threads_share_an_expression() -> None:
    made = expr.compile("a + len(t)")
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(made.evaluate(SCOPE))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [7] * 8


def test_equal_sources_share_what_is_known_of_them() -> None:
    one, two = expr.compile("a + 41"), expr.compile("a + 41")
    assert one.uses is two.uses
    for n in range(600):  # more than are kept
        assert expr.compile(f"a + {n}").evaluate(SCOPE) == 3 + n


def test_a_full_call_stack_when_the_code_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> Any:
        raise RecursionError

    made = expr.compile("a + 987")
    module = import_module("flow.expr.expression")
    with monkeypatch.context() as patched, pytest.raises(EvaluationError, match="the call stack is nearly full"):
        patched.setattr(module, "_code", full)
        made.evaluate(SCOPE)
    assert made.evaluate(SCOPE) == 990
    with monkeypatch.context() as patched, pytest.raises(ExpressionSyntaxError, match="nests more than 50 deep"):
        patched.setattr(analysis.ast, "parse", full)
        expr.compile("a + 988 + ((1))")


def test_a_scope_whose_own_code_lacks_a_key() -> None:
    class Scope(collections.UserDict):  # type: ignore[type-arg]
        pass

    with pytest.raises(EvaluationError, match=r"there is no name 'inptus' here"):
        expr.compile("inptus").evaluate(Scope(inputs=1))


def test_memory_that_there_is_not() -> None:
    class Full(collections.UserDict):  # type: ignore[type-arg]
        def get(self, key: str, default: Any = None) -> Any:
            raise MemoryError

    assert "not enough memory" in fails("x.y", x=Full()).problem


def test_values_that_nest_deeper_than_the_stack() -> None:
    def nested() -> list[Any]:
        found: list[Any] = []
        for _ in range(100_000):
            found = [found]
        return found

    try:
        assert value("x == y", x=nested(), y=nested()) is True  # from 3.14 on, where the stack is as large as it can be
    except ExpressionError as error:
        assert "nested too deeply" in error.problem


def test_a_full_call_stack_is_our_error() -> None:
    def deep(n: int) -> Any:
        return value("a + upper(t)") if n == 0 else deep(n - 1)

    def deepest() -> None:
        n = 0
        while True:
            n += 1
            try:
                deep(n)
            except ExpressionError:
                pass

    with pytest.raises(RecursionError):
        deepest()


# -- templates ---------------------------------------------------------------------------------

TEMPLATES: dict[str, Any] = {
    "": "", "text": "text", "}} { } {": "}} { } {", "{{ a }}": 3, "{{a}}": 3, "{{ users }}": SCOPE["users"],
    "{{ none }}": None, "{{ job }}": SCOPE["job"], "{{\n  a\n}}": 3, "Hello {{ t }}!": "Hello text!",
    "{{ a }}{{ b }}": "34", " {{ a }}": " 3",
    "{{ a }}\n": "3\n", "{{ yes }}, {{ f }}, {{ a == 1 }}": "true, 2.5, false",
    "{{ {'a': {'b': 1}} }}": {"a": {"b": 1}}, "{{ {'a': {'b': 1}}.a.b }}": 1, "{{ '}}' }} {{ \"{{\" }}": "}} {{",
    r"\{{ a }}": "{{ a }}", r"\\{{ a }}": "\\3", r"\\\{{ a }}": "\\{{ a }}", r"a\b {{ a }}": r"a\b 3",
    r"C:\\{{ t }}\x": "C:\\text\\x", "{{ [1, [2]][1] }}": [2], "{ {{ a }} }": "{ 3 }",
    "{{ colour }}-{{ level }}": "red-3",
    "{{ join(inputs.tags, ', ') }} and {{ json(inputs.tags) }}": 'a, b and ["a", "b"]', "é{{ t }}é": "étexté",
    "{{ 'é' }}": "é", "{% if x %}": "{% if x %}",
}  # fmt: skip


@pytest.mark.parametrize("text", TEMPLATES)
def test_templates(text: str) -> None:
    made = expr.template(text)
    for _ in range(2):
        found = made.evaluate(SCOPE)
        assert (found, type(found)) == (TEMPLATES[text], type(TEMPLATES[text]))
    assert made(**SCOPE) == TEMPLATES[text]
    assert made.is_text == (not made.expressions)


def test_what_cannot_stand_in_text() -> None:
    for text, says in {
        "x {{ none }}": "null cannot stand in text; write default(x, 'none'), or json(x)",
        "x {{ users }}": "a list cannot stand in text; write json(x), or join(x, ', ') of a list",
        "{{ inputs }} ": "the expression alone keeps its type",
        "{{ opaque }}{{ a }}": "an Opaque cannot stand in text",
    }.items():
        with pytest.raises(EvaluationError) as caught:
            expr.template(text).evaluate(SCOPE)
        assert says in caught.value.problem


def test_a_template_says_where_its_expressions_stand() -> None:
    where = expr.Place(10, 5, "deploy.yaml", indent=4)
    with pytest.raises(EvaluationError) as caught:
        expr.template("Hello\n  {{ t }} {{ inputs.evn }}", where=where).evaluate(SCOPE)
    assert str(caught.value).startswith("deploy.yaml:11:25: in 'inputs.evn': there is no key 'evn'")
    with pytest.raises(ExpressionSyntaxError) as refused:
        expr.template("x {{ a ** 2 }}", where=where)
    assert refused.value.place == "deploy.yaml:10:12"
    with pytest.raises(ExpressionSyntaxError) as unclosed:
        expr.template("ab {{ a }} {{ b }", where=where)
    assert unclosed.value.place == "deploy.yaml:10:16" and r"write '\{{'" in unclosed.value.problem
    with pytest.raises(ExpressionSyntaxError) as plain:
        expr.template("x {{ }}")
    assert "the expression is empty" in plain.value.problem


def test_templates_are_values() -> None:
    one, two = expr.template("x {{ a }}"), expr.template("x {{ a }}")
    assert one == two and hash(one) == hash(two) and one != expr.template("y {{ a }}") and one != "x {{ a }}"
    assert repr(one) == "Template('x {{ a }}')"
    assert pickle.loads(pickle.dumps(one)) == one and pickle.loads(pickle.dumps(one)).evaluate(SCOPE) == "x 3"
    made = expr.template("{{ inputs.env }} {{ upper(inputs.t) }} {{ a }}")
    assert dict(made.names) == {"inputs": ("env", "t"), "a": ()} and made.calls == {"upper"} and len(made.uses) == 3
    assert expr.template("x").names == {} and expr.template("x").calls == frozenset()
    with pytest.raises(ExpressionSyntaxError, match="no name 'nope'"):
        expr.template("{{ nope }}", names=["a"])


def test_the_text_that_a_template_makes_is_bounded() -> None:
    made = expr.template("{{ big }}{{ big }}")
    assert len(made.evaluate({"big": "x" * 500_000})) == 1_000_000
    with pytest.raises(EvaluationError, match="more than 1,000,000 characters"):
        made.evaluate({"big": "x" * 500_001})


# -- structures --------------------------------------------------------------------------------


def test_structures_render_as_a_whole() -> None:
    nested = {
        "env": "{{ inputs.env }}",
        "n": 3,
        "list": ["{{ a }}", "x{{ b }}", None, ("{{ users[0].name }}", "plain")],
        "sub": {"k": [True, {}]},
        5: "{{ a }}",
    }
    made = expr.structure(nested)
    expected = {"env": "prod", "n": 3, "list": [3, "x4", None, ["ada", "plain"]], "sub": {"k": [True, {}]}, 5: 3}
    first, second = made.evaluate(SCOPE), made(**SCOPE)
    assert first == second == expr.render(nested, SCOPE) == expected
    assert first["sub"] is not second["sub"] and first["list"] is not second["list"]  # new each time
    assert dict(made.names) == {"inputs": ("env",), "a": (), "b": (), "users": ()} and made.calls == frozenset()
    assert len(made.expressions) == len(made.uses) == 5
    assert (
        made == expr.structure(nested)
        and made != expr.structure([])
        and made != nested
        and hash(made) == hash(expr.structure(nested))
    )
    assert repr(expr.structure(["x"])) == "Structure(['x'])"
    assert pickle.loads(pickle.dumps(made)).evaluate(SCOPE) == expected


def test_structures_take_templates_that_are_made() -> None:
    made = expr.structure([expr.template("x{{ a }}"), expr.compile("a + 1"), expr.template("x"), "{{ b }}"])
    assert made.evaluate(SCOPE) == made.evaluate(SCOPE) == ["x3", 4, "x", 4]
    assert expr.structure("{{ a }}").evaluate(SCOPE) == 3 and expr.structure(7).evaluate({}) == 7


def test_structures_are_checked() -> None:
    with pytest.raises(ExpressionSyntaxError, match="a key is no template"):
        expr.structure({"{{ a }}": 1})
    deep: Any = "x"
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    with pytest.raises(ExpressionSyntaxError, match="nest more than 50 deep"):
        expr.structure(deep)
    expr.structure(deep[0])
    with pytest.raises(ExpressionSyntaxError, match="no name 'nope'"):
        expr.structure({"a": ["{{ nope }}"]}, names=["a"])
    with pytest.raises(EvaluationError, match="no key 'x'"):
        expr.render(["{{ inputs.x }}"], SCOPE)


def test_structures_count_what_they_share() -> None:
    """A value that stands in many places is many values."""
    bomb: Any = ["{{ a }}"]
    for _ in range(20):
        bomb = [bomb, bomb]
    with pytest.raises(ExpressionSyntaxError, match="more than 100,000 values"):
        expr.structure(bomb)


def test_the_expressions_of_a_whole_share_its_steps() -> None:
    one = "{{ len(sort(range(90000))) }}"
    assert expr.template(one).evaluate({}) == expr.structure([one]).evaluate({})[0] == 90_000
    assert expr.template(f"{one} {one}").evaluate({}) == "90000 90000"
    for whole in (
        expr.template(f"{one} {one} {one}"),
        expr.structure([one, one, one]),
        expr.structure({"a": [f"{one}{one}", one]}),
    ):
        with pytest.raises(EvaluationError, match="more than 1,000,000 steps"):
            whole.evaluate({})
    left = [1_000_000]
    expr.compile("sort(range(90000))").evaluate({}, left)
    assert left == [1_000_000 - 5 * 90_000]
    with pytest.raises(TypeError):
        expr.compile("1").evaluate(scope={})  # the same for the first call and those after it


def test_names_of_every_spelling_can_be_given() -> None:
    made = expr.compile("self + scope + steps + b + s")
    assert made(self=1, scope=2, steps=3, b=4, s=5) == 15
    assert expr.template("{{ self }}-{{ steps }}")(self=1, steps=2) == "1-2"
    assert expr.structure(["{{ self }}"])(self=1) == [1]


# -- the room ----------------------------------------------------------------------------------


def test_the_room_imports_errors_reprs_types_and_exports_alone() -> None:
    allowed = {"expr", "errors", "reprs", "types", "exports", "tracebacks"}
    for path in (ROOT / "flow" / "expr").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "flow":
                rooms = [a.name for a in node.names] if node.module == "flow" else [node.module.split(".")[1]]
                assert set(rooms) <= allowed, path


def test_flow_alone_does_not_import_it() -> None:
    code = "import sys, flow; print([m for m in sys.modules if m.startswith('flow.expr')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


def test_the_page_lists_every_function() -> None:
    section = (ROOT / "docs" / "expressions.md").read_text("utf-8").partition("## Functions\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(.+?)` \| (.+) \|$", section, re.MULTILINE)
    assert rows == [(one.signature, one.about.replace("``", "`")) for one in STANDARD.values()]
    assert all(one.about.endswith(".") for one in STANDARD.values())


def test_the_page_names_the_limits() -> None:
    text = " ".join((ROOT / "docs" / "expressions.md").read_text("utf-8").split())
    limits = import_module("flow.expr.limits")
    for words in (
        f"at most {limits.MAX_SOURCE:,} characters", f"at most {limits.MAX_DEPTH} deep", f"{limits.MAX_STEPS:,} steps",
        f"shorter than {limits.FREE} is free", f"{limits.MAX_BITS:,} bits", f"at most {limits.MAX_RANGE:,} numbers",
    ):  # fmt: skip
        assert words in text


def test_what_the_page_says_to_write_is_right() -> None:
    section = (
        (ROOT / "docs" / "expressions.md").read_text("utf-8").partition("## What is refused")[2].partition("\n## ")[0]
    )
    for row in re.findall(r"^\| (`.+) \| (.+) \|$", section, re.MULTILINE):
        refused, instead = (re.findall(r"`([^`]+)`", cell.replace("\\|", "|")) for cell in row)
        for source in refused:
            assert isinstance(fails(source, name="a", x=Opaque()), ExpressionSyntaxError), source
        for source in instead:
            expr.compile(source)


class TestReviewed:
    """What a reader of the whole change found."""

    def test_default_by_name(self) -> None:
        assert expr.compile("default(x, other=5)")() == 5
        assert expr.compile("default(other=5, x=x)")(x=None) == 5
        assert expr.compile("default(default(x, other=y), 3)")() == 3

    def test_a_function_of_ones_own_called_default(self) -> None:
        functions = STANDARD.extended(expr.function(lambda x, other: "mine", name="default"))
        assert expr.compile("default(1, 2)", functions=functions)() == "mine"

    def test_a_structure_does_not_follow_what_it_was_made_of(self) -> None:
        source = {"a": ["{{ x }}"]}
        made = expr.structure(source)
        source["a"].append("{{ y }}")
        assert made.source == {"a": ["{{ x }}"]}
        assert pickle.loads(pickle.dumps(made)).evaluate({"x": 1}) == {"a": [1]}


@pytest.mark.parametrize(
    ("source", "scope", "text"),
    [
        ("a{{ x }}b{{ y }}", {"x": "1", "y": 2}, "a1b2"), ("{{ x }}{{ y }}", {"x": -5, "y": "'{v}\\"}, "-5'{v}\\"),
        ("{{ x }} {v1}", {"x": True}, "true {v1}"), ("{{ x }}!", {"x": 2**70}, f"{2**70}!"),
        ("{{ x }}!", {"x": 1.5}, "1.5!"), ("{{ x }}!", {"x": "t" * 70_000}, "t" * 70_000 + "!"),
        ("-".join(["{{ x }}"] * 9), {"x": 1}, "-".join("111111111")),
        ("t" * 500_001 + "{{ x }}", {"x": 1}, "t" * 500_001 + "1"),
    ],
)  # fmt: skip
def test_a_template_gives_the_same_text_each_time(source: str, scope: dict[str, Any], text: str) -> None:
    made = expr.template(source)
    early = made.evaluate
    assert made.evaluate(scope) == made.evaluate(scope) == early(scope) == made(**scope) == text
    again = pickle.loads(pickle.dumps(made))
    assert again == made and again.evaluate(scope) == text


def test_what_cannot_stand_in_text_is_told_each_time() -> None:
    made = expr.template("a {{ x }} b {{ y }}")
    assert made.evaluate({"x": 1, "y": 2}) == "a 1 b 2"
    for scope, name in (({"x": None, "y": 1}, "x"), ({"x": 1, "y": []}, "y")):
        with pytest.raises(EvaluationError, match="cannot stand in text") as caught:
            made.evaluate(scope)
        assert caught.value.source == name
    with pytest.raises(EvaluationError, match="more than 1,000,000 characters"):
        made.evaluate({"x": "t" * 600_000, "y": "t" * 600_000})
    with pytest.raises(EvaluationError, match="steps"):
        expr.template("{{ len(range(9)) }}{{ join(split(x)) }}").evaluate({"x": "a " * 1_000_000})


def test_models_of_pydantic_have_the_fields_that_they_declare() -> None:
    pydantic = pytest.importorskip("pydantic")

    class Inner(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        names: list[str]

    class Model(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        n: int
        inner: Inner

        @property
        def other(self) -> int:
            raise AssertionError("read")

    model = Model(n=4, inner=Inner(names=["a"]))
    assert value("x.n + 1", x=model) == 5
    assert value("x.inner.names[0]", x=model) == "a"
    assert value("json(x)", x=model) == '{"n": 4, "inner": {"names": ["a"]}}'
    for hidden in ("other", "model_dump", "model_fields"):
        assert "there is no key" in str(fails(f"x.{hidden}", x=model))
    assert "cannot be written" in str(fails("json(x)", x=Model))  # the class itself is no record
