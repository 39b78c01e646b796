"""Hostile workflow files: each is refused at its place, in little time and memory, and touches nothing.

What is refused at the limits of size (100,000 values, 2 MiB) takes as long as reading so much takes; all else takes
a few milliseconds. Time is CPU time, the best of several tries, against a limit with room for slow machines.
"""

from __future__ import annotations

import gc
import json
import os
import re
import sys
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from conftest import examples
from hypothesis import given
from hypothesis import strategies as st
from watching import watched

import flow
from flow import spec
from flow.errors import SpecError
from flow.expr.library import STANDARD
from flow.spec.text.limits import MAX_BYTES, MAX_DEPTH, MAX_EDGES, MAX_FAULTS, MAX_FILES, MAX_NESTED, MAX_VALUES

pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -e '.[spec]'")

SECONDS = 0.6 if sys.gettrace() is None else 6.0
"""CPU seconds that a refusal may take: six times 100 ms, for slow machines; more where a tracer counts lines."""

OF_OURS = ("object.__getattr__", "sys._getframe")
"""Audit events of reading a function's code, and of looking for the line of a caller."""

BYTES = 50_000_000
HEAD = "flow: 1\nnodes:\n"
NODE = "nodes: {z: {set: {}}}\n"
ESCAPES = '"a\\x1b[31m\\u202e\\r\\nb"'
BIG = "x" * 300_000
APPLY = "!!python/object/apply:os.system ['id']"
PAIRS = list(zip("abcdefghijklmnopqrst", "bcdefghijklmnopqrstu", strict=True))


def of(node: str) -> str:
    """A file with one node."""
    return f"{HEAD}  a: {node}\n"


def setting(value: str) -> str:
    return of(f"{{set: {{x: {value}}}}}")


def having(declared: str) -> str:
    """A file with an input."""
    return f"flow: 1\ninputs: {{a: {declared}}}\n{NODE}"


def called(options: str) -> str:
    return of(f"{{call: json, with: {{value: 1}}, {options}}}")


YAML = {
    "alias bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{two}: &{two} [{','.join([f'*{one}'] * 9)}]\n" for one, two in PAIRS),
    "alias bomb of mappings": "a: &a {x: 1, y: 2}\n"
    + "".join(
        f"{two}: &{two} {{{', '.join(f'k{i}: *{one}' for i in range(9))}}}\n"
        for one, two in PAIRS
    ),
    "alias of itself": "a: &a [*a]\n",
    "alias of itself in a mapping": "a: &a {b: {c: *a}}\n",
    "alias of nothing": "a: *b\n",
    "long alias": f"a: *{'b' * 300_000}\n",
    "levels by aliases": "a0: &a0 " + "[" * 58 + "]" * 58 + "\n"
    + "".join(f"a{k}: &a{k} {'[' * 58}*a{k - 1}{']' * 58}\n" for k in range(1, 50)) + HEAD + "  z: {set: {x: *a49}}\n",
    "long text by aliases": setting("&x '{{ 1 }}" + "x" * 300_000 + "'") + "  b: {set: {x: [" + "*x," * 3_000 + "]}}\n",
    "expressions by aliases": setting("&x '" + "{{ 1 }}" * 190 + "'") + "  b: {set: {x: [" + "*x," * 9_000 + "]}}\n",
    "conditions by aliases": of("{set: {}, when: &x '" + "1 or " * 800 + "1'}")
    + "".join(f"  m{i}: {{set: {{}}, when: *x}}\n" for i in range(1_000)),
    "key by an alias of a list": "a: &x [1]\nb: {*x : 1}\n",
    "key by an alias of a mapping": "a: &x {c: 1}\nb: {*x : 1}\n",
    "key by an alias of a number": "a: &x 12\nb: {*x : 1}\n",
    "object": f"flow: {APPLY}\n",
    "object as a node": of(APPLY),
    "name of Python": setting("!!python/name:os.system ''"),
    "module of Python": setting("!!python/module:os ''"),
    "new object of Python": setting("!!python/object/new:os.system [id]"),
    "tuple of Python": setting("!!python/tuple [1, 2]"),
    "binary": setting("!!binary aGk="),
    "set": setting("!!set {a, b}"),
    "timestamp": setting("!!timestamp 2026-01-01"),
    "float by tag": setting("!!float 1"),
    "own tag": setting("!call os.system"),
    "long tag": f"a: !{'t' * 300_000} x\n",
    "odd tag": "a: !<a%1b> x\n",
    "tag that is no UTF-8": "a: !%C3%28 x\n",
    "directives": "".join(f"%TAG !a{i}! x\n" for i in range(20_000)) + "---\nflow: 1\n",
    "directives of a second document": "flow: 1\n...\n" + "".join(f"%TAG !a{i}! x\n" for i in range(20_000)),
    "directive after a mark": "\ufeff%TAG ! tag:yaml.org,2002:python/\n---\nflow: 1\n",
    "version of YAML": f"%YAML {'9' * 300}.1\n---\nflow: 1\n",
    "brackets": "[" * 300_000,
    "brackets in a node": setting("[" * 4_000 + "]" * 4_000),
    "braces": "{a: " * 100_000,
    "blocks": "- " * 200_000,
    "keys of keys": "? " * 200_000,
    "indents": "".join(" " * i + "a:\n" for i in range(2_000)),
    "commas": f"a: [{',' * 300_000}]\n",
    "colons": ":" * 300_000,
    "question marks": "?" * 300_000,
    "merge key": of("{<<: {call: json}, set: {}}"),
    "merge keys": f"k: {{{'<<: 1,' * 3_000}}}\n",
    "twice the same key": f"{HEAD}  a: {{set: {{}}}}\n  a: {{call: 'os:system'}}\n",
    "key twice by escapes": f'{HEAD}  a: {{set: {{}}, "s\\x65t": {{}}}}\n',
    "many times the same key": f"k: {{{'a: 1,' * 9_000}}}\n",
    "number as a key": "1: 2\n",
    "null as a key": "~: 2\n",
    "true as a key": "true: 2\n",
    "list as a key": "[a]: 2\n",
    "long key": f'"{BIG}": 1\n',
    "long plain key": f"{BIG}: 1\n",
    "two documents": f"flow: 1\n{NODE}---\nflow: 1\n",
    "many documents": "--- a\n" * 50_000,
    "empty": "",
    "comment": "#" * 300_000,
    "blanks": " " * 300_000,
    "empty lines": "\n" * 300_000,
    "tabs": "\t" * 300_000,
    "tab as indent": "flow: 1\nnodes:\n\ta: {set: {}}\n",
    "marks of the byte order": "\ufeff" * 100_000,
    "NUL": "flow: 1\0\n",
    "half a character": "a: \ud800\n",
    "half a character by an escape": 'a: "\\ud800"\n',
    "no character by an escape": 'a: "\\UFFFFFFFF"\n',
    "escape of a terminal": "flow: \x1b[31m1\n",
    "delete": "flow: 1\x7f\n",
    "not closed": 'flow: "1\n',
    "list": "- flow: 1\n",
    "text": BIG,
    "number": "1",
    "null": "null",
    "large number": setting("9" * 300_000),
    "1e400": setting("1e400"),
    "-1e400": setting("-1e400"),
    "long fraction that is too large": setting("9" * 400 + ".5"),
    "hexadecimal number": setting("0x" + "f" * 400),
    "many large numbers": setting("[" + "1e400," * 9_000 + "]"),
}  # fmt: skip

STRUCTURE = {
    "no version": NODE,
    "another version": f"flow: 2\n{NODE}",
    "version as text": f"flow: '1'\n{NODE}",
    "version as a bool": f"flow: true\n{NODE}",
    "many unknown keys": "flow: 1\n" + "".join(f"k{i}: 1\n" for i in range(3_000)),
    "unknown keys of a node": of(f"{{set: {{}}, {ESCAPES}: 1, __class__: 2}}"),
    "allow in the file": f"flow: 1\nallow: ['os:*']\n{NODE}",
    "imports in the file": f"flow: 1\nimports: [os]\n{NODE}",
    "no nodes": "flow: 1\nnodes: {}\n",
    "nodes as a list": "flow: 1\nnodes: [a]\n",
    "node of no kind": of("{after: b}"),
    "node of two kinds": of("{call: json, set: {}}"),
    "node as a text": of(BIG),
    "name with escapes": f"{HEAD}  {ESCAPES}: {{set: {{}}}}\n",
    "name with NUL": f'{HEAD}  "a\\0": {{set: {{}}}}\n',
    "name that turns the text": f'{HEAD}  "a\\u202eb": {{set: {{}}}}\n',
    "name of two alphabets": f"{HEAD}  \u0430dmin: {{set: {{}}}}\n  admin: {{set: {{}}}}\n",
    "name of wide letters": f"{HEAD}  \uff53\uff45\uff54: {{set: {{}}}}\n",
    "name of 300 KB": f"{HEAD}  ? {BIG}\n  : {{set: {{}}}}\n",
    "name of 999 characters": f"{HEAD}  {'n' * 999}: {{set: {{}}}}\n",
    "name of a path": f"{HEAD}  ../a: {{set: {{}}}}\n",
    "name of a function": f"{HEAD}  len: {{set: {{}}}}\n",
    "name of inputs": f"{HEAD}  inputs: {{set: {{}}}}\n",
    "name of a keyword": f"{HEAD}  'None': {{set: {{}}}}\n",
    "names of workflow with escapes": f"flow: 1\nname: {ESCAPES}\n{NODE}",
    "name of workflow as a list": f"flow: 1\nname: [a]\n{NODE}",
    "input of two alphabets": f"flow: 1\ninputs: {{tok\u0435n: {{}}}}\n{NODE}",
    "input that is private": f"flow: 1\ninputs: {{__class__: {{}}}}\n{NODE}",
    "variable of two alphabets": f"flow: 1\nvars: {{\u0430b: 1}}\n{NODE}",
    "variable that is private": f"flow: 1\nvars: {{_x: 1}}\n{NODE}",
    "published key that is private": of("{set: {}, publish: {__class__: 1}}"),
    "published key of two alphabets": of("{set: {}, publish: {k\u0435y: 1}}"),
    "unknown nodes": HEAD + "".join(f"  n{i}: {{set: {{}}, after: [x{i}]}}\n" for i in range(1_000)),
    "unknown names": HEAD + "".join(f"  n{i}: {{set: {{a: '{{{{ x{i} }}}}'}}}}\n" for i in range(1_000)),
    "cycle": f"{HEAD}  a: {{set: {{}}, after: b}}\n  b: {{set: {{}}, after: a}}\n",
    "long cycle": HEAD + "".join(f"  n{i}: {{set: {{}}, after: n{(i + 1) % 1_000}}}\n" for i in range(1_000)),
    "cycle of data": of("{set: {x: '{{ data.k }}'}, publish: {k: 1}, after: a}"),
    "edges of data": HEAD + "".join(f"  n{i}: {{set: {{}}, publish: {{k: 1}}}}\n" for i in range(600))
    + "".join(f"  m{i}: {{set: {{a: '{{{{ data.k }}}}'}}}}\n" for i in range(600)),
    "bad defaults": "flow: 1\ndefaults: {timeout: -1}\nnodes:\n"
    + "".join(f"  m{i}: {{set: {{}}}}\n" for i in range(500)),
    "list to go over": of(f"{{map: json, over: {BIG}}}"),
    "executor of the file": f"flow: 1\nconfig: {{executor: 'os:system'}}\n{NODE}",
    "observers of the file": f"flow: 1\nconfig: {{observers: ['os:system'], clock: time}}\n{NODE}",
    "config with an expression": f"flow: 1\nconfig: {{limit: '{{{{ 1 }}}}'}}\n{NODE}",
    "config with a large number": f"flow: 1\nconfig: {{timeout: .nan, limit: {'9' * 300}}}\n{NODE}",
    "option with an expression": called("retry: {attempts: '{{ 3 }}'}"),
    "fallback with an expression": called("fallback: ['{{ a }}']"),
    "key with an expression": of("{set: {'{{ 1 }}': '{{ 2 }}'}}"),
    "retry_if": called(f"retry: {{retry_if: ['os:system()', __class__, print, {ESCAPES}, '{BIG}', ':', 'a..b:c']}}"),
    "attempts": called(f"retry: {{attempts: {'9' * 300}, jitter: .nan}}"),
    "timeout": called("timeout: .nan"),
    "timeout of a text": called(f"timeout: {ESCAPES}"),
    "join": of(f"{{set: {{}}, join: {'9' * 300}}}"),
    "signal of a text": of(f"{{signal: {ESCAPES}}}"),
    "signal of a long text": of(f"{{signal: {BIG}}}"),
    "join of a text": of(f"{{set: {{}}, join: {ESCAPES}}}"),
    "timer that never ends": of("{timer: .nan}"),
    "timer in the past": of("{timer: -1}"),
    "date": of("{timer: {at: '99999-99-99T00:00:00Z'}}"),
    "date without a zone": of("{timer: {at: '2026-01-01T00:00:00'}}"),
    "long date": of(f"{{timer: {{at: '2026-01-01T00:00:00.{'0' * 300_000}'}}}}"),
    "loop without an end": of("{loop: json, until: 'false', max_iterations: 0}"),
    "loop of text": of(f"{{loop: json, until: 'false', max_iterations: {ESCAPES}}}"),
    "batch size": of(f"{{map: json, over: [1], batch_size: {'9' * 300}}}"),
    "parameters": of("{call: json, with: {self: 1, '*a': 2, __class__: 3, '': 4}}"),
    "context as a parameter": of("{call: log, with: {message: x, ctx: 1}}"),
}  # fmt: skip

INPUTS = {
    f"pattern {text[:24]}": having(f"{{type: string, pattern: {json.dumps(text)}}}")
    for text in [
        "^(a+)+$", "^(a|a)*$", "^(a|ab)*c$", "^([a-zA-Z]+)*$", "^(.*a){20}$", "^a*a*a*a*b", "a+b", "(x+x+)+y",
        "^(?i:k)",
        "^(?=a)", r"^(a)\1", "^a??b", "^[a", "^(", "^a{9999}", "^" + "(" * 40 + "a" + ")" * 40, "^" + "a?" * 249,
        "^(?:a{0,9}){1000}b", "^" + "x" * 600, "(?i)" + "[\u0100-\uff00]" * 40, "^(a?){9}", "^a|b", r"^\bx", "^\\p{L}",
    ]
} | {
    "minimum": having("{type: integer, minimum: .inf}"),
    "maximum": having("{type: number, maximum: .nan}"),
    "length": having(f"{{type: string, max_length: {'9' * 300}}}"),
    "negative length": having("{type: string, min_length: -1}"),
    "type": having(f"{{type: {ESCAPES}}}"),
    "type of Python": having("{type: 'os:system'}"),
    "default": having(f"{{type: integer, default: {ESCAPES}}}"),
    "default with an expression": having("{default: '{{ 1 }}'}"),
    "enum": having("{enum: [a, 1.5, [b]]}"),
    "levels of items": having("{type: array, items: " * 70 + "{}" + "}" * 70),
}  # fmt: skip

_SOURCES = [
    "x.__class__", "''.__class__.__mro__", "x.__init__.__globals__", "__import__('os').system('id')",
    "open('/etc/passwd')",
    "eval('1')", "(lambda: 1)()", "[x for x in y]", "f'{x}'", "x.format(y)", "9 ** 9 ** 9", "'a' * 999999999",
    "1 << 99999",
    "1e400", "9" * 400, "(" * 3_000, "-" * 3_000 + "1", "x" + ".y" * 1_500, "x := 1", "x = 1", "import os", "x; y",
    "\u0456nputs.env", "x\u200b", "x.\uff3f_class__", "'\u202e'", "range(1, 2, 3, 4, 5)", "x | upper", "x ? y : z", "",
    "a" * 5_000, "1 + " * 1_200 + "1", "system.__dict__", "nodes", "nodes[x]", "data", "data['k' + 'l']", "result",
    "item",
    "failed(1)", "failed('x')", "succeeded(*x)", "vars.x", "inputs.x", "self", "s['x']", "M", "await x",
    "default(x)", "len()", "getattr(x, 'y')", "json.loads('1')", "x[y](z)", "{**x}", "[*x]", "x, y", "{1, 2}",
    "b'x'", "1j",
]  # fmt: skip

_PLACES = {
    "text": lambda one, text: setting(text),
    "when": lambda one, text: of(f"{{set: {{}}, when: {one}}}"),
    "route": lambda one, text: of(f"{{route: {one}, to: {{a: a}}}}"),
    "until": lambda one, text: of(f"{{loop: json, max_iterations: 3, until: {one}}}"),
    "publish": lambda one, text: of(f"{{set: {{}}, publish: {{k: [{text}]}}}}"),
    "over": lambda one, text: of(f"{{map: json, over: {text}, key: {one}}}"),
    "vars": lambda one, text: f"flow: 1\nvars: {{v: {text}}}\n{NODE}",
    "outputs": lambda one, text: f"flow: 1\noutputs: {{v: [{text}]}}\n{NODE}",
    "with": lambda one, text: of(f"{{call: json, with: {{value: {{a: {text}}}}}}}"),
    "with of a map": lambda one, text: of(f"{{map: json, over: [1], with: {{value: {text}}}}}"),
    "cleanup": lambda one, text: of(f"{{call: json, with: {{value: {text}}}, cleanup: true, when: {one}}}"),
    "default": lambda one, text: having(f"{{default: {text}}}"),
    "fallback": lambda one, text: called(f"fallback: {text}"),
    "config": lambda one, text: f"flow: 1\nconfig: {{limit: {text}}}\n{NODE}",
    "description": lambda one, text: of(f"{{set: {{}}, description: {text}}}"),
}


def standing(place: str, source: str) -> str:
    """A file in which an expression stands at a place."""
    return _PLACES[place](json.dumps(source), json.dumps(f"{{{{ {source} }}}}"))


EXPRESSIONS = {
    f"{place}: {source[:24]}": standing(place, source)
    for at, source in enumerate(_SOURCES)
    for place in [[*_PLACES][at % 8]]
}

_CALLS = [
    "os:system", "os.path:join", "builtins:eval", "builtins:__import__", "subprocess:run", "subprocess:Popen",
    "sys:exit",
    "importlib:import_module", "pickle:loads", "flow:run", "flow.spec:load", "deploy:steps", "deploy.steps",
    "deploy.steps:",
    ":ship", "deploy.steps:ship:x", "deploy.steps:ship.x", "deploy.steps:Ship.mro", "deploy..steps:ship", ".steps:ship",
    "..steps:ship", "deploy.stepsx:ship", "deploy.steps.x:ship", "xdeploy.steps:ship", "deploy.steps:_ship",
    "deploy._x:ship",
    "deploy.steps:__class__", "deploy.steps:__all__", "Deploy.steps:ship", "d\u0435ploy.steps:ship",
    "deploy.steps\uff1aship",
    "deploy.steps:sh\u200bip", " deploy.steps:ship", "deploy.steps:ship ", "deploy.steps: ship", "deploy.steps:ship\n",
    "deploy.steps:ship\0", "deploy/steps:ship", "deploy.steps.py:ship", "/etc/x.py:ship", "..\\steps.py:ship",
    "deploy.steps:*",
    "*", "*:*", "deploy.*:ship", "deploy.steps:ship()", "deploy.steps:ship;os.system", "{{ inputs.f }}",
    "deploy.steps:\u202epihs",
    "json.loads", "json.dumps", "shell.run", "shell", "shell.run ", "SHELL.RUN", "http", "sleep.__class__", "log:log",
    "flow.spec.actions.shell:run", "x" * 300, BIG, "\x1b[31m:x", "lambda:x", "a" * 130 + ":" + "b" * 130,
]  # fmt: skip

CALLS = {
    f"{kind}: {name[:24]}": of(pattern % json.dumps(name))
    for at, name in enumerate(_CALLS)
    for kind, pattern in [
        [
            ("call", "{call: %s}"),
            ("map", "{map: %s, over: [1]}"),
            ("loop", "{loop: %s, until: 'true', max_iterations: 2}"),
            ("signal", "{signal: {type: %s}}"),
        ][at % 4]
    ]
}

ALL = YAML | STRUCTURE | INPUTS | EXPRESSIONS | CALLS
FAULT = re.compile(r"w\.yaml:[1-9][0-9]*:[1-9][0-9]*: \S")

LARGE = {
    "list": f"a: [{'1,' * (MAX_VALUES + 1)}]\n",
    "anchors": "".join(f"k{i}: &a{i} 1\n" for i in range(30_000)),
    "tags": "a: [" + "!x 1," * 90_000 + "]",
    "one text": f"flow: {'x' * (MAX_BYTES - 10)}\n",
    "comment": "#" * (MAX_BYTES - 1),
    "empty lines": "\n" * MAX_BYTES,
    "escapes": 'a: "' + "\\x41" * 1_000_000 + '"',
    "lines in quotes": 'a: "' + "x\n " * 1_000_000 + '"',
    "indented lines": "a: x\n" + (" " * 3_000 + "x\n") * 1_300,
    "unknown nodes": HEAD + "".join(f"  n{i}: {{set: {{}}, after: [x{i}]}}\n" for i in range(9_000)),
    "unknown names": HEAD + "".join(f"  n{i}: {{set: {{a: '{{{{ x{i} }}}}'}}}}\n" for i in range(9_000)),
    "expressions": setting("[" + ",".join(["'" + "{{ 1 }}" * 190 + "'"] * 2_000) + "]"),
    "edges of data": HEAD + "".join(f"  n{i}: {{set: {{}}, publish: {{k: 1}}}}\n" for i in range(3_000))
    + "".join(f"  m{i}: {{set: {{a: '{{{{ data.k }}}}'}}}}\n" for i in range(3_000)),
    "more than may be read": "#" * (MAX_BYTES + 1),
}  # fmt: skip
"""Files of about the largest size that is read."""


def loaded(text: str, name: str = "w.yaml", **options: Any) -> Any:
    """Load a text: return its Dag, or the SpecError."""
    try:
        return spec.loads(text, name=name, **options)
    except SpecError as error:
        return error


@pytest.fixture(autouse=True, scope="module")
def warm() -> None:
    """Import what a load, and a refusal, need."""
    loaded(GOOD)
    loaded(f"{HEAD}  a: {{cal: 1}}\n  b: {{set: {{x: '{{{{ foo + y. }}}}'}}, after: c}}\n  len: {{call: 'a:b'}}\n")
    loaded(having("{pattern: '(', enum: [], default: '{{'}"))


def best_of(text: str, most: float) -> float:
    """Return the CPU seconds of a load: of the first try within the limit, or the best of five."""
    times = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            begin = time.process_time()
            loaded(text, allow=["deploy.steps:ship"])
            times.append(time.process_time() - begin)
            if times[-1] < most:
                break
    finally:
        gc.enable()
    return min(times)


def is_told(error: Any) -> bool:
    """Tell whether a refusal has places, is short, and holds nothing that a terminal acts upon."""
    return (
        isinstance(error, SpecError)
        and 0 < len(error.faults) <= MAX_FAULTS + 1
        and all(FAULT.match(fault) and len(fault) < 1_000 for fault in error.faults)
        and str(error).replace("\n", "").isprintable()
        and all(fault.isprintable() for fault in error.faults)
    )


@pytest.mark.parametrize("name", ALL, ids=ascii)
def test_hostile_files_are_refused(name: str) -> None:
    text = ALL[name]
    with watched(OF_OURS) as seen:
        tracemalloc.start()
        try:
            error = loaded(text, allow=["deploy.steps:ship"])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert is_told(error), f"{error!s:.2000}"
    assert seen == []
    assert peak < BYTES
    assert best_of(text, SECONDS) < SECONDS


_ODD = [
    "system", "data.x", "vars", "vars.v", "inputs", "index", "key", "nodes['a']", "nodes['zz']", "failed(nodes)", "a.b",
    "a", "failed(nodes['zz'])", "succeeded(a)", "errors()", "now()", "result.x", "default(nodes, 1)",
    "default(system.x, 1)", "default(data, 1)", "default(vars.zz, 1)", "default(inputs.zz, 1)", "true", "1", "null.x",
    "item.x",
]  # fmt: skip
"""Expressions that are right in some places alone."""


@pytest.mark.parametrize("place", _PLACES)
def test_no_expression_of_any_place_does_more(place: str) -> None:
    for source in [*_SOURCES, *_ODD]:
        with watched(OF_OURS) as seen:
            found = loaded(standing(place, source))
        assert seen == []
        assert isinstance(found, flow.Dag) or is_told(found), f"{source}: {found!s:.2000}"


def test_there_are_many() -> None:
    assert len(ALL) > 250 and len(set(ALL.values())) == len(ALL)
    assert not {"deploy", "deploy.steps", "xdeploy"} & {*sys.modules}


@pytest.mark.slow
@pytest.mark.parametrize("name", LARGE)
def test_the_largest_files_take_time_in_proportion(name: str) -> None:
    """About a second at most: 100,000 values are composed in 0.2 s."""
    error = loaded(LARGE[name])
    assert is_told(error), f"{error!s:.2000}"
    assert best_of(LARGE[name], 10 * SECONDS) < 10 * SECONDS


def test_edges_that_data_makes_have_a_limit() -> None:
    error = loaded(STRUCTURE["edges of data"])
    assert len(error.faults) == 1 and f"{MAX_EDGES:,} edges" in error.faults[0]


def test_very_many_faults_are_not_all_told() -> None:
    error = loaded(STRUCTURE["many unknown keys"])
    assert len(error.faults) == MAX_FAULTS + 1
    assert error.faults[-1] == (
        f"w.yaml:{MAX_FAULTS + 2}:1: here is another fault, and there may be more: mend those before first"
    )


def test_no_hint_is_looked_for_among_very_many_names_again_and_again() -> None:
    error = loaded(HEAD + "".join(f"  node{i}: {{set: {{}}, after: [nod{i}]}}\n" for i in range(5_000)))
    hints = [fault for fault in error.faults if "did you mean" in fault]
    assert 0 < len(hints) < MAX_FAULTS


def test_levels_that_aliases_add_count() -> None:
    deep = "[" * (MAX_DEPTH // 2) + "x" + "]" * (MAX_DEPTH // 2)

    def around(levels: int) -> Any:
        return loaded(f"{HEAD}  a: {{set: {{x: &a {deep}}}}}\n  b: {{set: {{x: {'[' * levels}*a{']' * levels}}}}}\n")

    fits = MAX_DEPTH // 2 - 4  # beside the mappings of file, nodes, node and set
    assert isinstance(around(fits), flow.Dag)
    assert is_told(around(fits + 1))


@pytest.mark.parametrize("text", [3, None, b"flow: 1", ["flow: 1"]])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(flow.UsageError, match="a workflow is a text, not"):
        spec.loads(text)


@pytest.mark.parametrize("text", ['a: "\\UFFFFFFFF"', 'a: "\\ud800"', "a: &a [*a]", "a: [", "\0", "a: !!binary x"])
def test_the_parser_in_python_does_no_worse(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    assert is_told(loaded(text))
    assert isinstance(loaded(GOOD), flow.Dag)


# -- files that run others --------------------------------------------------------------------

CHILD = "flow: 1\nnodes: {a: {set: {x: 1}}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files, and around it others that must not be read."""
    inside = tmp_path / "in"
    (inside / "sub").mkdir(parents=True)
    (tmp_path / "in-other").mkdir()
    for place in ("secret.yaml", "in-other/x.yaml", "in/ok.yaml", "in/sub/s.yaml"):
        (tmp_path / place).write_text(CHILD)
    (inside / "link.yaml").symlink_to(tmp_path / "secret.yaml")
    (inside / "up").symlink_to(tmp_path)
    (inside / "loop.yaml").symlink_to("loop.yaml")
    (inside / "zero.yaml").symlink_to("/dev/zero")
    (inside / "inner.yaml").symlink_to("ok.yaml")
    (inside / "folder.yaml").mkdir()
    (inside / "again.yaml").write_text(f"{HEAD}  a: {{file: ./once.yaml}}\n")
    (inside / "once.yaml").write_text(f"{HEAD}  a: {{file: again.yaml}}\n")
    (inside / "utf16.yaml").write_bytes(CHILD.encode("utf-16"))
    (inside / "large.yaml").write_text("#" * (MAX_BYTES + 1))
    (inside / "esc\x1b[31m.yaml").write_text("flow: 2\n")
    if hasattr(os, "mkfifo"):
        os.mkfifo(inside / "fifo.yaml")
    return inside


needs_links = pytest.mark.skipif(os.name == "nt", reason="Windows has other links and names")


@needs_links
@pytest.mark.parametrize(
    "name",
    [
        "../secret.yaml", "sub/../../secret.yaml", "./../in/ok.yaml", "../in-other/x.yaml", "link.yaml",
        "up/secret.yaml",
        "loop.yaml", "zero.yaml", "fifo.yaml", "folder.yaml", "once.yaml", "utf16.yaml", "large.yaml", "/etc/passwd",
        "/etc/passwd.yaml", "//etc/x.yaml", "..\\secret.yaml", "C:x.yaml", "\\\\host\\x.yaml", "~/x.yaml",
        "ok.yaml\0.json",
        "ok.yaml\0", "", ".", "..", "sub", "ok.yaml/", "ok.yaml/.", "ok.yaml/x.yaml", "ok.py", "a" * 999 + ".yaml",
        "a" * 300 + ".yaml", "a/" * 400 + "b.yaml", "https://x/y.yaml", "/proc/self/fd/0", "{{ inputs.x }}.yaml",
        "%2e%2e/secret.yaml", "\uff0e\uff0e/secret.yaml", "esc\x1b[31m.yaml", "\u202ex.yaml", BIG,
    ],
    ids=lambda name: ascii(name)[:40],
)  # fmt: skip
@pytest.mark.parametrize("pattern", ["{file: %s}", "{loop: {file: %s}, until: 'true', max_iterations: 2}"])
def test_files_outside_of_the_folder_are_not_read(folder: Path, name: str, pattern: str) -> None:
    with watched(OF_OURS) as seen:
        error = loaded(of(pattern % json.dumps(name)), folder=folder)
    opened = [event for event in seen if event[0] == "open"]
    assert not [event for event in opened if "secret" in event[1] or "/etc" in event[1] or "zero" in event[1]]
    assert isinstance(error, SpecError) and error.faults
    assert all(re.search(r"\.yaml:[1-9][0-9]*:[1-9][0-9]*: ", fault) and len(fault) < 1_500 for fault in error.faults)
    assert all(fault.isprintable() for fault in error.faults)


@needs_links
@pytest.mark.parametrize("name", ["ok.yaml", "./ok.yaml", "sub/s.yaml", "sub//s.yaml", "inner.yaml", "up/in/ok.yaml"])
def test_files_inside_are_read(folder: Path, name: str) -> None:
    assert isinstance(loaded(of(f"{{file: {name}}}"), folder=folder), flow.Dag)


def test_files_run_each_other_so_deep(tmp_path: Path) -> None:
    for i in range(MAX_NESTED + 2):
        (tmp_path / f"f{i}.yaml").write_text(of(f"{{file: f{i + 1}.yaml}}") if i <= MAX_NESTED else CHILD)
    assert isinstance(spec.load(tmp_path / "f1.yaml"), flow.Dag)
    with pytest.raises(SpecError, match=f"is too far down: files run each other {MAX_NESTED} deep at most"):
        spec.load(tmp_path / "f0.yaml")


def test_so_many_files_are_read(tmp_path: Path) -> None:
    for i in range(MAX_FILES + 1):
        (tmp_path / f"f{i}.yaml").write_text(CHILD)
    text = HEAD + "".join(f"  n{i}: {{file: f{i}.yaml}}\n  m{i}: {{file: f{i}.yaml}}\n" for i in range(MAX_FILES))
    assert isinstance(loaded(text, folder=tmp_path), flow.Dag)
    error = loaded(f"{text}  z: {{file: f{MAX_FILES}.yaml}}\n", folder=tmp_path)
    assert [fault.partition(": ")[2] for fault in error.faults] == [
        f"file 'f{MAX_FILES}.yaml' is one file too many: {MAX_FILES} are read at most"
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("#" * (MAX_BYTES // 2) + "\n" + CHILD, "with the files before it, it is larger than 2 MiB"),
        (CHILD + "  b: {set: {x: [" + "1," * (MAX_VALUES // 3) + "]}}\n", "more than 100,000 values"),
    ],
    ids=["bytes", "values"],
)
def test_all_files_of_a_load_share_its_limits(tmp_path: Path, text: str, said: str) -> None:
    text = text.replace("nodes: {a: {set: {x: 1}}}\n", "nodes:\n  a: {set: {x: 1}}\n")
    for i in range(4):
        (tmp_path / f"f{i}.yaml").write_text(text)
    error = loaded(HEAD + "".join(f"  n{i}: {{file: f{i}.yaml}}\n" for i in range(4)), folder=tmp_path)
    assert isinstance(error, SpecError) and all(said in fault for fault in error.faults)


# -- fuzzing ----------------------------------------------------------------------------------

GOOD = """\
flow: 1
name: deploy
inputs:
  env: {type: string, enum: [dev, prod], pattern: "^[a-z]+$"}
  regions: {type: array, items: {type: string}, default: [eu, us]}
  token: {type: string, secret: true}
vars:
  greeting: "{{ 'Deploying to ' + upper(inputs.env) }}"
config: {limit: 8, timeout: 600}
defaults: {timeout: 30, retry: {attempts: 2}}
nodes:
  validate:
    call: json
    with: {value: &v {env: "{{ inputs.env }}", deep: [1, {a: "x {{ inputs.env }} y"}]}}
    retry: {attempts: 3, delay: 5, retry_if: [ConnectionError]}
    publish: {text: "{{ result }}", again: "{{ data.text }}"}
  approve: {signal: {type: string}, when: "inputs.env == 'prod' and succeeded(validate)", timeout: 3600}
  ship:
    map: json
    over: "{{ inputs.regions }}"
    with: {value: "{{ [item, index] }}"}
    concurrency: 2
    after: [approve]
    join: none_failed
    on_error: collect
    key: str(item)
  verdict: {route: "{{ 'bad' if len(ship.errors) > 0 else 'good' }}", to: {good: announce, bad: back}}
  announce: {call: log, with: {message: "{{ vars.greeting }} {{ data.text }}", data: *v}}
  back: {set: {failed: "{{ pluck(ship.errors, 'type') }}"}}
  both: {merge: [announce, back], pick: first}
  pause: {timer: {seconds: 0.5}, after: {both: done}}
  close:
    call: log
    cleanup: true
    with:
      message: |
        The end of
        {{ inputs.env }}
outputs:
  regions: "{{ default(ship.values, []) }}"
"""
_LINES = GOOD.splitlines(keepends=True)
_PIECES = [
    *dict.fromkeys(re.findall(r"[\w.]+|[^\w\s]+", GOOD)), "- ", ": ", ", ", "{{ ", " }}", "\n", "\n  ", "\n    ", "&a ",
    "*a", "*v", "!!int ", "!x ", "<<: ", "? ", "| ", ">-\n", "---\n", "...\n", "%TAG ", "'", '"', "#", "\t", "\0",
    "\x1b",
    "\u202e", "\ufeff", "\ud800", "\x85", "1e400", ".nan", ".inf", "-1", "0x1F", "9" * 400, "~", "null", "true",
    "a" * 300,
    "__class__", "os:system", "loop: ", "file: ", "until: ", "max_iterations: 3", "../x.yaml", "fallback: ",
    "teardown: ",
    "[" * 70, "{" * 70, "\u0430", "\\{{", "nodes['a']", "system.now", "failed(", "batch_size: ", "executor: ",
]  # fmt: skip
_piece = st.one_of(st.sampled_from(_PIECES), st.sampled_from(sorted(STANDARD)), st.text(max_size=4))


@st.composite
def _mutated(draw: st.DrawFn) -> str:
    """A good file, with something of it left out, put in, repeated or exchanged."""
    text = GOOD
    for _ in range(draw(st.integers(1, 4))):
        how = draw(st.integers(0, 5))
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 30)))
        if how == 0:
            text = text[:start] + text[end:]
        elif how == 1:
            text = text[:start] + draw(_piece) + text[start:]
        elif how == 2:
            text = text[:start] + draw(_piece) + text[end:]
        elif how == 3:
            text = text[:start] + text[start:end] * 2 + text[end:]
        elif how == 4:
            line = draw(st.sampled_from(_LINES))
            at = text.rfind("\n", 0, start) + 1
            text = text[:at] + line + text[at:]
        else:
            word = draw(st.sampled_from(_PIECES))
            text = text.replace(word, draw(_piece), draw(st.integers(1, 3))) if word else text
    return text


_scalar = st.one_of(
    st.sampled_from(_PIECES), st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=6),
    st.sampled_from(["{{ a }}", "{{ inputs.x }}", "{{ item }}", "x {{ b.c }} y", "a", "b", "json", "log", "a:b",
    "failed(a)"]),
    st.sampled_from(["nodes", "system.x", "system", "data", "vars.x", "result", "item", "index", "nodes[a]",
    "{{ nodes }}"]),
)  # fmt: skip
_WORDS = [
    "call", "map", "route", "merge", "loop", "signal", "timer", "set", "file", "with", "over", "to", "default",
    "after", "join",
    "when", "retry", "timeout", "fallback", "publish", "cleanup", "teardown", "until", "max_iterations", "carry",
    "type",
    "attempts", "delay", "seconds", "at", "a", "b", "x", "value", "message", "key", "take", "pick", "concurrency",
    "on_error",
    "retry_if", "executor", "thread", "priority", "cost", "history", "pattern", "items", "enum", "minimum", "required",
]  # fmt: skip
_value = st.recursive(
    _scalar,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(_WORDS), inner, max_size=4)
    ),
    max_leaves=8,
)
_node = st.dictionaries(st.sampled_from(_WORDS), _value, min_size=1, max_size=5)
_built = st.fixed_dictionaries(
    {"flow": st.just(1), "nodes": st.dictionaries(st.sampled_from(["a", "b", "c", "len", "d-e"]), _node, max_size=4)},
    optional={
        "inputs": st.dictionaries(st.sampled_from(["x", "y", "_z"]), _node, max_size=2),
        "vars": st.dictionaries(st.sampled_from(["v", "w"]), _value, max_size=2),
        "outputs": st.dictionaries(st.sampled_from(["o", "p"]), _value, max_size=2),
        "defaults": _node, "config": _node, "name": _scalar,
    },
).map(json.dumps)  # fmt: skip
_files = st.one_of(
    _mutated(),
    _mutated(),
    _built,
    st.lists(_piece, max_size=30).map("".join),
    st.lists(_piece, max_size=20).map(lambda pieces: HEAD + "  a: {" + ", ".join(pieces) + "}\n"),
    st.text(max_size=60),
)


def _only_ours(text: str) -> None:
    with watched(OF_OURS) as seen:
        found = loaded(text)
    assert seen == []
    assert isinstance(found, flow.Dag) or is_told(found), f"{found!s:.2000}"


def test_the_file_to_be_changed_is_good() -> None:
    assert isinstance(loaded(GOOD), flow.Dag)


@given(_files)
@examples(500)
def test_nothing_but_our_errors_comes_out(text: str) -> None:
    _only_ours(text)


@pytest.mark.long
@pytest.mark.timeout(1_800)
@given(_files)
@examples(2_000)  # five times as many with --long
def test_nothing_but_our_errors_comes_out_of_very_many(text: str) -> None:
    _only_ours(text)
