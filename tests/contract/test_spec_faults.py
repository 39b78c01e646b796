"""Every kind of fault of a workflow file: the whole text, with file, line and column.

A case is the text of a file and its faults. The text ``w`` calls functions of docs/examples/faulty/shop.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TypeAlias

import pytest
from conftest import ROOT

from flow.errors import SpecError

pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -e '.[spec]'")

import flow
from flow import spec
from flow.types import NAME_RULE

FOLDER = ROOT / "docs" / "examples" / "faulty"
Case: TypeAlias = tuple[str, list[str]]

NODES = "flow: 1\nnodes:\n"
BEFORE = "flow: 1\ninputs: {shop: {type: string}, shops: {type: array}}\nnodes:\n"
GOODS = "  goods: {call: shop:fetch, with: {shop: eu}}\n"
AFTER = "nodes:\n  b: {timer: 1}\n"
KINDS = "it needs one of call, map, route, merge, loop, signal, timer, set, file, llm, agent"
ALLOWED = (
    'is not allowed: if this file may run it, say --allow {0}, or allow=["{0}"] where the file is loaded; '
    "a flow.toml beside the file has [spec] allow = [...]"
)
WRITTEN = "a function of yours is written module:function, as in deploy.steps:ship"
CYCLE = "(each node waits for the one before it: drop one of these dependencies)"
EACH = ": write NAME: and no '-' before each"
BELOW = "; what belongs to it stands below it, indented"
YAQL = (
    "'<% %>' is of YAQL: write expressions in {{ }}, where ctx(x) is inputs.x, vars.x or data.x; flow convert converts "
    "files of Orquesta; for the sign itself write {{ '<%' }}"
)
JINJA = (
    "'{% %}' is of Jinja, and there are no statements here: write {{ a if test else b }}; for the sign itself "
    "write {{ '{%' }}"
)
GITHUB = "'${{ }}' is of GitHub Actions: write {{ }}; for a dollar before a value write {{ '$' }}{{ value }}"
LITERAL = "is a literal, and expressions are not read there"

YAML: dict[str, Case] = {
    "unclosed": (
        NODES + "  a: {set: {b: [1, 2}\n",
        ["3:21: this is no YAML: while parsing a flow sequence, did not find expected ',' or ']'"],
    ),
    "unclosed-above": (
        NODES + "  a: {set: {b: 1}\n  c: {timer: 1}\n",
        [
            (
                "4:3: this is no YAML: while parsing a flow mapping that begins in line 3, column 6, did not "
                "find expected ',' or '}'"
            )
        ],
    ),
    "tab": (
        NODES + "  a:\n\ttimer: 1\n",
        [
            (
                "4:1: this is no YAML: while scanning for the next token, found character that cannot start "
                "any token; this is a tab: indent with blanks"
            )
        ],
    ),
    "colon in text": (
        "flow: 1\ndescription: a: b\n",
        [
            (
                "2:15: this is no YAML: mapping values are not allowed in this context; text with ': ' in it "
                "needs quotes, and keys of one mapping the same indent"
            )
        ],
    ),
    "expression without quotes": (
        NODES + "  a:\n    set: {b: {{ inputs.x }}}\n",
        ["4:15: a key is a text, not a list or a mapping: put quotes around an expression in {{ }}"],
    ),
    "indent": (
        NODES + "  a: {timer: 1}\n b: {timer: 1}\n",
        [
            (
                "4:2: this is no YAML: while parsing a block mapping that begins in line 1, column 1, did "
                "not find expected key; keys of one mapping need the same indent"
            )
        ],
    ),
    "twice": (NODES + "  a: {timer: 1}\n  a: {timer: 2}\n", ["4:3: key 'a' is there twice: first in line 3, column 3"]),
    "tag": (
        NODES + "  a: {set: {b: !!python/name:os.system x}}\n",
        [
            (
                "3:16: tags are not read, and this has 'tag:yaml.org,2002:python/name:os.system': write the "
                "value itself, text in quotes"
            )
        ],
    ),
    "merge key": (
        NODES + "  a: &a {timer: 1}\n  b: {<<: *a}\n",
        ["4:7: merge keys ('<<') are not read: write the keys out, or use 'defaults'"],
    ),
    "key that is no text": (NODES + "  a: {set: {1: x}}\n", ["3:13: a key is a text: put 1 in quotes"]),
    "list as a key": (NODES + "  a: {set: {[1]: x}}\n", ["3:13: a key is a text, not a list or a mapping"]),
    "alias": (NODES + "  a: {timer: *b}\n", ["3:14: there is no anchor 'b' before this alias"]),
    "alias of itself": (
        NODES + "  a: &a {set: {b: *a}}\n",
        ["3:19: the alias 'a' stands in what it means: this has no end"],
    ),
    "second document": (
        NODES + "  a: {timer: 1}\n---\na: 1\n",
        ["4:1: a file holds one workflow, and this begins a second document: remove '---'"],
    ),
    "empty": ("", ["1:1: the file is empty: it begins with 'flow: 1'"]),
    "no mapping": ("- a\n", ["1:1: a workflow is a mapping, not a list"]),
    "control character": ("flow: 1\nname: a\0b\n", ["2:8: the character #x0000 is not allowed in a file"]),
    "long key": (
        "flow: 1\n" + "k" * 1_001 + ": 1\n",
        ["1:1: a workflow has 'nodes', one at least", "2:1: a key has at most 1,000 characters, not 1,001"],
    ),
    "list as a key by alias": (
        NODES + "  a: {set: {b: &l [1], *l : 2}}\n",
        ["3:24: a key is a text, not a list, a mapping or a number"],
    ),
    "large number": (NODES + "  a: {timer: 1e999}\n", ["3:14: the number '1e999' is too large"]),
}

WORKFLOW: dict[str, Case] = {
    "no version": ("nodes:\n  a: {timer: 1}\n", ["1:1: a workflow begins with 'flow: 1', the version of its format"]),
    "another version": (
        "flow: 2\nnodes:\n  a: {timer: 1}\n",
        ["1:7: this reads version 1 of the format, not 2: write flow: 1"],
    ),
    "no nodes": ("flow: 1\n", ["1:1: a workflow has 'nodes', one at least"]),
    "no nodes in nodes": ("flow: 1\nnodes: {}\n", ["2:1: a workflow has 'nodes', one at least"]),
    "nodes in a list": ("flow: 1\nnodes: [a]\n", [f"2:8: nodes is a mapping, not a list{EACH}"]),
    "near key": (
        NODES + "  a: {timer: 1}\noutput: {b: 1}\ninput: {}\n",
        ["4:1: a workflow has no key 'output': write outputs", "5:1: a workflow has no key 'input': write inputs"],
    ),
    "another engine's key": ("flow: 1\ntasks:\n  a: {timer: 1}\n", ["2:1: a workflow has no key 'tasks': write nodes"]),
    "unknown key": (
        NODES + "  a: {timer: 1}\nschedule: daily\n",
        [
            (
                "4:1: a workflow has no key 'schedule'; there are flow, name, description, inputs, vars, "
                "config, defaults, nodes, outputs"
            )
        ],
    ),
    "name": ("flow: 1\nname: a b\nnodes:\n  a: {timer: 1}\n", [f"2:7: 'a b' is no name of a workflow: {NAME_RULE}"]),
    "name of a variable": (
        "flow: 1\nvars: {a-b: 1}\nnodes:\n  a: {timer: 1}\n",
        ["2:8: 'a-b' is no name of a variable: letters, digits and '_'"],
    ),
    "config": (
        "flow: 1\nconfig: {limit: 0}\nnodes:\n  a: {timer: 1}\n",
        ["2:10: limit must be an integer of at least 1, 'auto', or None for unbounded, not 0"],
    ),
    "expression in config": (
        "flow: 1\nconfig: {limit: '{{ 1 }}'}\nnodes:\n  a: {timer: 1}\n",
        ["2:9: config holds literals, and expressions are not read there"],
    ),
    "defaults": (
        "flow: 1\ndefaults: {retry: 3, timeuot: 1}\nnodes:\n  a: {timer: 1}\n  b: {set: {c: 1}}\n",
        [
            "2:19: retry of defaults: expected a mapping, not 3: write {attempts: 3}",
            "2:22: defaults has no key 'timeuot' (did you mean 'timeout'?)",
        ],
    ),
}

INPUTS: dict[str, Case] = {
    "type alone": ("flow: 1\ninputs: {a: string}\n" + AFTER, ["2:13: input 'a' is a mapping: write {type: string}"]),
    "unknown type": (
        "flow: 1\ninputs: {a: {type: str}}\n" + AFTER,
        [
            (
                "2:20: type of input 'a': expected one of string, integer, number, boolean, array, object, "
                "any, not 'str' (did you mean 'string'?)"
            )
        ],
    ),
    "near key": (
        "flow: 1\ninputs: {a: {defualt: 1}}\n" + AFTER,
        ["2:14: input 'a' has no key 'defualt' (did you mean 'default'?)"],
    ),
    "items of no array": (
        "flow: 1\ninputs: {a: {type: string, items: {}}}\n" + AFTER,
        ["2:35: input 'a' has 'items', which say what is in an array, and its type is string"],
    ),
    "minimum of a text": (
        "flow: 1\ninputs: {a: {type: string, minimum: 3}}\n" + AFTER,
        ["2:37: input 'a' has 'minimum', which is for integer and number, and its type is string"],
    ),
    "enum of another type": (
        "flow: 1\ninputs: {a: {type: integer, enum: [x]}}\n" + AFTER,
        ["2:35: input 'a': enum lists 'x', and its type is integer"],
    ),
    "empty enum": (
        "flow: 1\ninputs: {a: {enum: []}}\n" + AFTER,
        ["2:20: input 'a': enum lists the values that it may have, one at least"],
    ),
    "default of another type": (
        "flow: 1\ninputs: {a: {type: integer, default: x}}\n" + AFTER,
        ["2:38: the default of input 'a' does not fit its type: expected an integer, got text"],
    ),
    "expression as default": (
        "flow: 1\ninputs: {a: {default: '{{ now() }}'}}\n" + AFTER,
        [f"2:23: the default of input 'a' {LITERAL}"],
    ),
    "enum of lists": (
        "flow: 1\ninputs: {a: {enum: [[1]]}}\n" + AFTER,
        ["2:20: input 'a': enum lists texts or integers, not a list"],
    ),
    "items within items": (
        "flow: 1\ninputs: {a: {type: array, items: {type: array, items: {type: text}}}}\n" + AFTER,
        [
            (
                "2:62: type of items of items of input 'a': expected one of string, integer, number, "
                "boolean, array, object, any, not 'text' (did you mean 'string'?)"
            )
        ],
    ),
    "list of inputs": ("flow: 1\ninputs: [a]\n" + AFTER, [f"2:9: inputs is a mapping, not a list{EACH}"]),
    "required with a default": (
        "flow: 1\ninputs: {a: {default: 1, required: true}}\n" + AFTER,
        ["2:36: input 'a' has a default, so it is not required: drop one of the two"],
    ),
    "pattern": (
        "flow: 1\ninputs: {a: {type: string, pattern: '^('}}\n" + AFTER,
        ["2:37: input 'a': pattern '^(' is no regular expression: a group is not closed"],
    ),
    "name": (
        "flow: 1\ninputs: {a-b: {}}\n" + AFTER,
        ["2:10: input 'a-b' is no name: letters, digits and '_', a letter first"],
    ),
}

KEYS: dict[str, Case] = {
    "no mapping": (NODES + "  a: 3\n", ["3:6: node 'a' is a mapping, not a number"]),
    "no kind": (NODES + "  a: {retry: {attempts: 2}}\n", [f"3:3: node 'a' does not say what it does: {KINDS}"]),
    "kind of another engine": (
        NODES + "  a: {action: core.local}\n",
        [f"3:3: node 'a' does not say what it does: {KINDS}; for 'action' write call"],
    ),
    "two kinds": (
        NODES + "  a: {timer: 1, set: {b: 1}}\n",
        ["3:3: node 'a' is of one kind, and this has 'timer' and 'set'"],
    ),
    "words of other engines": (
        NODES + "  a: {timer: 1, needs: b, if: c, with_items: d}\n",
        [
            "3:17: node 'a' has no key 'needs': write after",
            "3:27: node 'a' has no key 'if': write when",
            "3:34: node 'a' has no key 'with_items': write map, over",
        ],
    ),
    "near key": (NODES + "  a: {timer: 1, aftr: b}\n", ["3:17: node 'a' has no key 'aftr' (did you mean 'after'?)"]),
    "unknown key": (
        NODES + "  a: {timer: 1, colour: red}\n",
        [
            (
                "3:17: node 'a' has no key 'colour'; there are description, after, join, when, cost, "
                "continue_on_error, timer, fallback"
            )
        ],
    ),
    "key of other kinds": (
        NODES + "  a: {timer: 1, over: [1]}\n",
        ["3:17: node 'a' has no key 'over': only map has it, and this is a timer"],
    ),
    "missing key": (NODES + "  a: {map: shop:price}\n", ["3:6: node 'a' needs 'over'"]),
    "name": (
        NODES + "  a b: {timer: 1}\n",
        [
            (
                "3:3: 'a b' is no name of a node: a name is 1 to 255 characters: a letter, digit or '_' "
                "first, then letters, digits and any of '_.:+#@-', without '..'"
            )
        ],
    ),
    "reserved name": (
        NODES + "  inputs: {timer: 1}\n  upper: {timer: 1}\n",
        [
            "3:3: 'inputs' is no name of a node: expressions mean something else by it",
            "4:3: 'upper' is no name of a node: expressions mean a function by it",
        ],
    ),
    "name of an input": (
        BEFORE + "  shop: {timer: 1}\n",
        ["4:3: 'shop' is the name of an input, too: names must differ"],
    ),
    "option of another type": (
        NODES + "  a: {set: {b: 1}, priority: high, cleanup: yes}\n",
        [
            "3:30: priority of node 'a': expected an integer, not 'high'",
            ("3:45: cleanup of node 'a': expected true or false, not 'yes', which is text: write true or false"),
        ],
    ),
    "option out of range": (
        NODES + "  a: {call: shop:price, with: {item: x}, retry: {attempts: 0, jitter: 2}}\n",
        [
            "3:60: attempts of retry of node 'a': expected an integer >= 1, not 0",
            "3:71: jitter of retry of node 'a': expected a number <= 1, not 2",
        ],
    ),
    "unknown choice": (
        NODES + "  a: {timer: 1, join: every}\n",
        [("3:23: join of node 'a': expected one of all, some, none_failed, done, failed, or an integer, not 'every'")],
    ),
    "unknown condition": (
        NODES + "  a: {timer: 1}\n  b: {timer: 1, after: {a: ok}}\n",
        ["4:28: 'a' in after of node 'b': expected one of completed, failed, done, not 'ok'"],
    ),
    "expression as an option": (
        BEFORE + "  a: {call: shop:price, with: {item: x}, timeout: '{{ inputs.shop }}'}\n",
        [f"4:51: timeout of node 'a' {LITERAL}"],
    ),
    "expression as fallback": (
        BEFORE + "  a: {call: shop:price, with: {item: x}, fallback: '{{ inputs.shop }}'}\n",
        [f"4:52: fallback {LITERAL}"],
    ),
    "value for a mapping": (
        NODES + "  a: {call: shop:price, with: {item: x}, retry: 3}\n",
        ["3:49: retry of node 'a': expected a mapping, not 3: write {attempts: 3}"],
    ),
    "retry_if": (
        NODES + "  a: {call: shop:price, with: {item: x}, retry: {retry_if: [OSError, OsError]}}\n",
        [
            (
                "3:70: retry_if: 'OsError' is no built-in exception (did you mean 'OSError', 'IOError' or "
                "'EOFError'?); another one is module:Class"
            )
        ],
    ),
    "retry_if of what ends a run": (
        NODES + "  a: {call: shop:price, with: {item: x}, retry: {retry_if: KeyboardInterrupt}}\n",
        [
            "3:60: retry_if: 'KeyboardInterrupt' ends the run and is never tried again: name classes of Exception",
        ],
    ),
    "name in a list of another type": (
        NODES + "  a: {merge: [b, 3]}\n",
        ["3:18: merge of node 'a': expected text, not 3"],
    ),
    "name in after of another type": (
        NODES + "  a: {timer: 1, after: [3]}\n",
        ["3:25: after of node 'a': expected text, not 3"],
    ),
    "unknown node in after": (
        NODES + GOODS + "  a: {timer: 1, after: [goods, gods]}\n",
        ["4:32: there is no node 'gods' (did you mean 'goods'?)"],
    ),
    "unknown node in to": (
        NODES + GOODS + "  a: {route: len(goods), to: {'1': good}, default: goods}\n",
        ["4:36: there is no node 'good' (did you mean 'goods'?)"],
    ),
    "unknown node in merge": (
        NODES + GOODS + "  a: {merge: [goods, gods]}\n",
        ["4:22: there is no node 'gods' (did you mean 'goods'?)"],
    ),
    "unknown setup": (
        NODES + GOODS + "  a: {call: shop:price, with: {item: x}, teardown: gods}\n",
        ["4:52: there is no node 'gods' (did you mean 'goods'?)"],
    ),
    "merge of one twice": (
        NODES + GOODS + "  a: {merge: [goods, goods]}\n",
        ["4:14: a merge names each node once, and one at least"],
    ),
    "text in over": (
        BEFORE + "  a: {map: shop:price, over: shops}\n",
        ["4:30: over is a list, a mapping, or an expression in {{ }}, not text: write '{{ shops }}'"],
    ),
    "text around an expression in over": (
        BEFORE + "  a: {map: shop:price, over: 'x {{ inputs.shops }}'}\n",
        ["4:30: over is one expression in {{ }}, without text around it: text is no list of items"],
    ),
    "pipelined": (
        BEFORE + ("  a: {map: shop:price, over: '{{ inputs.shops }}', pipelined: true, with: {item: '{{ item }}'}}\n"),
        ["4:63: a pipelined map goes over a node, {{ NODE }}, and has no with or publish"],
    ),
    "route with text": (
        BEFORE + "  a: {route: 'x {{ inputs.shop }}', to: {x: a}}\n",
        ["4:15: a route is one expression, without text around it"],
    ),
    "signal of no type": (
        NODES + "  a: {signal: {type: bool}}\n",
        ["3:22: there is no type 'bool' (did you mean 'boolean'?); a class is module:Class"],
    ),
    "signal without its mapping": (
        NODES + "  a: {signal: boolean}\n",
        ["3:15: signal of node 'a': expected a mapping, not 'boolean': write {type: boolean}"],
    ),
    "timer of nothing": (NODES + "  a: {timer: {}}\n", ["3:14: a timer has seconds or at, and one of them only"]),
    "timer without a zone": (
        NODES + "  a: {timer: {at: '2027-01-31 12:00'}}\n",
        ["3:19: at has no time zone: write 2027-01-31T12:00:00Z for UTC"],
    ),
    "timer of no date": (
        NODES + "  a: {timer: {at: noon}}\n",
        ["3:19: at is a date and a time, as in 2027-01-31T09:00:00Z, not 'noon'"],
    ),
    "timer that is a date": (
        NODES + "  a: {timer: 2027-01-31T12:00:00Z}\n",
        [
            (
                "3:14: timer of node 'a': expected a number or a mapping, not '2027-01-31T12:00:00Z': write "
                "{at: 2027-01-31T12:00:00Z}"
            )
        ],
    ),
    "key of data": (
        NODES + "  a: {set: {b: 1}, publish: {a-b: 1}}\n",
        ["3:30: 'a-b' is no key of data: letters, digits and '_', a letter first"],
    ),
}

EXPRESSIONS: dict[str, Case] = {
    "filter": (
        BEFORE + "  a: {set: {b: '{{ inputs.shop | upper }}'}}\n",
        ["4:20: '|' is not allowed: filters are functions; write upper(inputs.shop)"],
    ),
    "method": (
        BEFORE + "  a: {set: {b: '{{ inputs.shop.upper() }}'}}\n",
        ["4:20: methods are not called; write upper(inputs.shop)"],
    ),
    "comprehension": (
        BEFORE + "  a: {set: {b: '{{ [x.y for x in inputs.shops] }}'}}\n",
        ["4:20: 'for' is not allowed; write pluck(inputs.shops, 'y')"],
    ),
    "unknown function": (
        BEFORE + "  a: {set: {b: '{{ uper(inputs.shop) }}'}}\n",
        ["4:20: there is no function 'uper' (did you mean 'upper'?)"],
    ),
    "open braces": (
        BEFORE + "  a: {set: {b: '{{ inputs.shop'}}\n",
        ["4:17: '{{' is not closed by '}}'; write '\\{{' for the braces themselves"],
    ),
    "empty": (BEFORE + "  a: {set: {b: '{{ }}'}}\n", ["4:20: the expression is empty"]),
    "key as a template": (
        BEFORE + "  a: {set: {'{{ inputs.shop }}': 1}}\n",
        ["4:13: a key is no template: '{{ inputs.shop }}'; the values of a mapping are"],
    ),
    "braces in when": (
        BEFORE + "  a: {timer: 1, when: '{{ inputs.shop == 1 }}'}\n",
        ["4:24: when is an expression by itself: write it without {{ }}"],
    ),
    "true as when": (BEFORE + "  a: {timer: 1, when: true}\n", ["4:23: when of node 'a': expected text, not true"]),
    "assignment": (
        BEFORE + "  a: {timer: 1, when: inputs.shop = 1}\n",
        ["4:35: '=' is not allowed: an expression assigns nothing; write '==' to compare"],
    ),
    "unknown node": (
        BEFORE + GOODS + "  a: {set: {b: '{{ gods }}'}}\n",
        ["5:20: there is no node 'gods' (did you mean 'goods'?)"],
    ),
    "input without its root": (
        BEFORE + GOODS + "  a: {set: {b: '{{ shop }}'}}\n",
        ["5:20: there is no node 'shop': write inputs.shop"],
    ),
    "unknown input": (
        BEFORE + "  a: {set: {b: '{{ inputs.shp }}'}}\n",
        ["4:20: there is no input 'shp' (did you mean 'shop' or 'shops'?)"],
    ),
    "unknown variable": (
        "flow: 1\nvars: {day: 1}\nnodes:\n  a: {set: {b: '{{ vars.days }}'}}\n",
        ["4:20: there is no variable 'days' (did you mean 'day'?)"],
    ),
    "unknown data": (
        NODES + "  c: {set: {b: 1}, publish: {count: 1}}\n  a: {set: {b: '{{ data.cuont }}'}}\n",
        ["4:20: there is no published key 'cuont' (did you mean 'count'?)"],
    ),
    "data as a whole": (
        NODES + "  a: {set: {b: '{{ data }}'}}\n",
        ["3:20: data is read by a key that stands there: data.x, or data['x']"],
    ),
    "unknown key of system": (
        NODES + "  a: {set: {b: '{{ system.nod }}'}}\n",
        ["3:20: there is no key of system 'nod' (did you mean 'node' or 'now'?)"],
    ),
    "unknown node by its name": (
        NODES + "  build-image: {timer: 1}\n  a: {set: {b: \"{{ nodes['build_image'] }}\"}}\n",
        ["4:20: there is no node 'build_image' (did you mean 'build-image'?)"],
    ),
    "node by a value": (
        BEFORE + "  a: {set: {b: '{{ nodes[inputs.shop] }}'}}\n",
        ["4:20: nodes are named by a text: nodes['build-image']"],
    ),
    "vars of a file without": (NODES + "  a: {set: {b: '{{ vars }}'}}\n", ["3:20: the file has no vars"]),
    "near a variable without its root": (
        "flow: 1\nvars: {colour: red}\nnodes:\n  a: {set: {b: '{{ color }}'}}\n",
        ["4:20: there is no node 'color'; vars has one that is near (did you mean 'vars.colour'?)"],
    ),
    "index outside of a map": (
        NODES + "  a: {set: {b: '{{ index }}'}}\n",
        ["3:20: 'index' is known in 'with' of a map alone"],
    ),
    "unknown node of a status": (
        NODES + "  b: {timer: 1}\n  a: {timer: 1, when: failed(c)}\n",
        ["4:30: there is no node 'c'"],
    ),
    "item outside of a map": (
        NODES + "  a: {set: {b: '{{ item }}'}}\n",
        ["3:20: 'item' is known in 'with' of a map alone, and in its 'key'"],
    ),
    "index in the key of a map": (
        BEFORE + "  a: {map: shop:price, over: '{{ inputs.shops }}', key: index}\n",
        ["4:57: 'key' of a map reads 'item' alone"],
    ),
    "result outside of publish": (
        NODES + "  a: {set: {b: '{{ result }}'}}\n",
        ["3:20: 'result' is known in 'publish' alone"],
    ),
    "node in a variable": (
        "flow: 1\nvars: {day: '{{ a }}'}\nnodes:\n  a: {timer: 1}\n",
        ["2:17: variables are computed before all nodes, and 'a' is a node"],
    ),
    "later variable": (
        "flow: 1\nvars: {a: '{{ vars.b }}', b: 1}\nnodes:\n  c: {timer: 1}\n",
        ["2:15: variable 'b' is computed later: a variable reads those before it"],
    ),
    "variable of itself": (
        "flow: 1\nvars: {a: '{{ vars.a }}'}\nnodes:\n  c: {timer: 1}\n",
        ["2:15: variable 'a' reads itself: it reads those before it"],
    ),
    "place in double quotes": (
        BEFORE + '  a: {set: {b: "x {{ inputs.shp }}"}}\n',
        ["4:22: there is no input 'shp' (did you mean 'shop' or 'shops'?)"],
    ),
    "place in a block": (
        BEFORE + "  a:\n    set:\n      b: |\n        one\n        two {{ inputs.shp }}\n",
        ["8:16: there is no input 'shp' (did you mean 'shop' or 'shops'?)"],
    ),
    "place in a folded block": (
        BEFORE + "  a:\n    set:\n      b: >-\n        one\n        two {{ inputs.shp }}\n",
        ["8:16: there is no input 'shp' (did you mean 'shop' or 'shops'?)"],
    ),
    "place in a text of two lines": (
        BEFORE + "  a:\n    set:\n      b: 'one\n        two {{ inputs.shp }}'\n",
        ["7:16: there is no input 'shp' (did you mean 'shop' or 'shops'?)"],
    ),
    "place in outputs": (NODES + "  a: {timer: 1}\noutputs:\n  b: '{{ c }}'\n", ["5:10: there is no node 'c'"]),
}

GRAPH: dict[str, Case] = {
    "cycle": (NODES + "  a: {set: {x: '{{ b }}'}}\n  b: {set: {x: '{{ a }}'}}\n", [f"3:3: cycle: a -> b -> a {CYCLE}"]),
    "self edge": (NODES + "  a: {set: {x: '{{ a }}'}}\n", [f"3:3: self edge: a -> a {CYCLE}"]),
    "bypassed under none_failed": (
        BEFORE + "  a: {set: {x: 1}, when: inputs.shop == 'eu'}\n  b: {set: {x: '{{ a }}'}, join: none_failed}\n",
        ["5:20: 'a' may be bypassed: write default(a, ...), or join: all to be bypassed with it"],
    ),
    "bypassed beside a default": (
        BEFORE
        + (
            "  a: {set: {x: 1}, when: inputs.shop == 'eu'}\n  c: {set: {x: 1}, when: inputs.shop == "
            "'us'}\n  b: {set: {x: '{{ default(a, 1) }}', y: '{{ c }}'}}\n"
        ),
        ["6:46: 'c' may be bypassed: write default(c, ...), or join: all to be bypassed with it"],
    ),
    "bypassed in outputs": (
        BEFORE
        + (
            "  a: {set: {x: 1}, when: inputs.shop == 'eu'}\n  c: {set: {x: 1}, when: inputs.shop == "
            "'us'}\noutputs: {x: '{{ default(a, 1) }}', y: '{{ c }}'}\n"
        ),
        ["6:44: 'c' may be bypassed: write default(c, ...)"],
    ),
    "join that does not wait for all": (
        NODES + GOODS + "  a: {set: {x: '{{ goods }}'}, join: some}\n",
        ["4:20: with 'join: some' the output of 'goods' may not be there: write default(goods, ...)"],
    ),
    "output of a failed node": (
        NODES + GOODS + "  a: {set: {x: '{{ goods }}'}, after: {goods: failed}}\n",
        [("4:20: 'after' waits for 'goods' to be failed, so its output may not be there: write default(goods, ...)")],
    ),
    "output in cleanup": (
        NODES + GOODS + "  a: {set: {x: '{{ goods }}'}, cleanup: true}\n",
        [
            (
                "4:20: cleanup runs however the run ends, and the output of 'goods' may not be there: write "
                "default(goods, ...)"
            )
        ],
    ),
    "data of one that may be bypassed": (
        BEFORE
        + (
            "  a: {set: {x: 1}, when: inputs.shop == 'eu', publish: {k: 1}}\n  b: {set: {x: '{{ data.k "
            "}}'}, join: none_failed}\n"
        ),
        ["5:20: 'a' may not have published 'k': write default(data.k, ...)"],
    ),
    "data of a failed node": (
        NODES + "  a: {set: {x: 1}, publish: {k: 1}}\n  b: {set: {x: '{{ data.k }}'}, after: {a: failed}}\n",
        ["4:20: 'a' may not have published 'k': write default(data.k, ...)"],
    ),
    "data in cleanup": (
        NODES + "  a: {set: {x: 1}, publish: {k: 1}}\n  b: {set: {x: '{{ data.k }}'}, cleanup: true}\n",
        ["4:20: 'a' may not have published 'k': write default(data.k, ...)"],
    ),
    "after cleanup": (
        NODES + "  a: {set: {x: 1}, cleanup: true}\n  b: {timer: 1, after: a}\n",
        [
            (
                "4:3: node 'b': an ordinary node depends on the cleanup node 'a': cleanup runs after all "
                "ordinary nodes; make both cleanup=True, or drop this dependency"
            )
        ],
    ),
    "join of no edges": (
        NODES + "  a: {timer: 1, join: some}\n",
        ["3:3: node 'a': join='some' looks at the nodes before this one, and there is none"],
    ),
    "join of too many": (
        NODES + GOODS + "  a: {timer: 1, after: goods, join: 2}\n",
        ["4:3: node 'a': join=2 waits for 2 live edges, and 1 lead to this node"],
    ),
    "until": (
        NODES + ("  a: {loop: shop:send, with: {text: x}, carry: text, until: len(txt) > 3, max_iterations: 3}\n"),
        [
            (
                "3:61: node 'a': until takes 'txt', which is no parameter of the function; its return value "
                "is 'text' (did you mean 'text'?)"
            )
        ],
    ),
    "carry": (
        NODES + ("  a: {loop: shop:send, with: {text: x}, carry: txt, until: len(text) > 3, max_iterations: 3}\n"),
        [("3:3: node 'a': carry names the input 'txt', which is no parameter of the function (did you mean 'text'?)")],
    ),
    "batch_wait alone": (
        BEFORE + "  a: {map: shop:price, over: '{{ inputs.shops }}', batch_wait: 3}\n",
        ["4:3: node 'a': batch_wait needs batch_size, the most items of a batch: give both"],
    ),
}

CALLED: dict[str, Case] = {
    "not allowed": (
        NODES + "  a: {call: os:system, with: {command: ls}}\n",
        ["3:13: 'os:system' " + ALLOWED.format("os:system")],
    ),
    "shell.run": (
        NODES + "  a: {call: shell.run, with: {command: ls}}\n",
        ["3:13: 'shell.run' " + ALLOWED.format("shell.run")],
    ),
    "no action": (
        NODES + "  a: {call: http.requests}\n",
        [f"3:13: there is no action 'http.requests' (did you mean 'http.request'?); {WRITTEN}"],
    ),
    "a dot for a colon": (
        NODES + "  a: {call: shop.fetch}\n",
        [f"3:13: there is no action 'shop.fetch' (did you mean shop:fetch?); {WRITTEN}"],
    ),
    "private": (
        NODES + "  a: {call: shop:_fetch}\n",
        ["3:13: in 'shop:_fetch', '_fetch' is private: it begins with an underscore"],
    ),
    "a file": (
        NODES + "  a: {call: shop.py}\n",
        ["3:13: 'shop.py' names a file: write the module and the function, as in deploy.steps:ship"],
    ),
    "not in __all__": (
        NODES + "  a: {call: shop:remove}\n",
        [
            (
                "3:13: module 'shop' does not offer 'remove' to files: list 'remove' in its __all__, or mark "
                "the function @flow.action"
            )
        ],
    ),
    "near": (NODES + "  a: {call: shop:fetsh}\n", ["3:13: module 'shop' offers no 'fetsh' (did you mean 'fetch'?)"]),
    "no type": (NODES + "  a: {signal: {type: shop:fetch}}\n", ["3:22: 'shop:fetch' is no type, but of type function"]),
    "no module": (
        NODES + "  a: {call: shops:fetch}\n",
        ["3:13: there is no module 'shops': is it installed, or its folder on the path (PYTHONPATH)?"],
    ),
    "unknown argument": (
        NODES + "  a: {call: shop:fetch, with: {shop: eu, page: 1}}\n",
        ["3:42: shop:fetch has no parameter 'page' (did you mean 'pages'?): it takes shop, pages"],
    ),
    "missing argument": (
        NODES + "  a: {call: shop:fetch, with: {pages: 1}}\n",
        ["3:31: shop:fetch needs 'shop', which with does not give"],
    ),
    "literal of another type": (
        NODES + "  a: {call: shop:fetch, with: {shop: eu, pages: many}}\n",
        ["3:42: shop:fetch: parameter 'pages' takes int, and got a str"],
    ),
    "no with": (
        NODES + "  a: {call: shop:fetch}\n",
        ["3:3: node 'a': takes 'shop', which is neither a node nor a declared input: give it in 'with'"],
    ),
    "argument of a map": (
        BEFORE + "  a: {map: shop:price, over: '{{ inputs.shops }}', with: {itm: 1}}\n",
        [
            "4:58: shop:price needs 'item', which with does not give",
            "4:59: shop:price has no parameter 'itm' (did you mean 'item'?): it takes item",
        ],
    ),
    "text that is not allowed as a name of a file": (
        NODES + '  a: {file: "a\\0.yaml"}\n',
        ["3:13: file 'a\\x00.yaml' is no name of a file"],
    ),
    "empty name of a file": (NODES + "  a: {file: ''}\n", ["3:13: file '' is no name of a file"]),
    "outside": (
        NODES + "  a: {file: ../goods.yaml}\n",
        [("3:13: file '../goods.yaml' lies outside of the folder of the file that runs it: '..' is not read")],
    ),
    "absolute": (
        NODES + "  a: {file: /goods.yaml}\n",
        ["3:13: file '/goods.yaml' is an absolute path: it is relative to the file that runs it"],
    ),
    "no file": (
        NODES + "  a: {file: parts/gods.yaml}\n",
        [("3:13: file 'parts/gods.yaml' cannot be read: No such file or directory (did you mean 'goods.yaml'?)")],
    ),
    "no workflow file": (
        NODES + "  a: {file: shop.py}\n",
        ["3:13: file 'shop.py' is no workflow file: it ends in .yaml, .yml or .json"],
    ),
    "unknown input": (
        NODES + "  a: {file: parts/goods.yaml, with: {shop: eu, page: 3}}\n",
        ["3:48: parts/goods.yaml has no input 'page'"],
    ),
    "input of another type": (
        NODES + "  a: {file: parts/goods.yaml, with: {shop: 3}}\n",
        ["3:44: input 'shop' of parts/goods.yaml is of another type: expected text, got an integer"],
    ),
    "missing input": (
        NODES + "  a: {file: parts/goods.yaml, with: {}}\n",
        ["3:37: node 'a' gives no 'shop' in 'with', and it is required"],
    ),
}

ENGINES: dict[str, Case] = {
    "YAQL in text": (NODES + "  a: {set: {b: 'at <% ctx().x %>'}}\n", [f"3:20: {YAQL}"]),
    "YAQL in a list": (NODES + "  a: {set: {b: [1, ['<% x %>']]}}\n", [f"3:22: {YAQL}"]),
    "YAQL beside an expression": (NODES + "  a: {set: {b: '{{ 1 }} <% x %>'}}\n", [f"3:25: {YAQL}"]),
    "YAQL over several lines": (
        NODES + "  a:\n    set:\n      b: |\n        one\n         <% two\n        %>\n",
        [f"7:10: {YAQL}"],
    ),
    "YAQL in a condition": (NODES + "  a: {timer: 1, when: <% succeeded() %>}\n", [f"3:23: {YAQL}"]),
    "YAQL in a route": (NODES + "  a: {route: <% x %>, to: {b: c}}\n  c: {timer: 1}\n", [f"3:14: {YAQL}"]),
    "YAQL for items": (NODES + "  a: {map: shop:price, over: <% x %>}\n", [f"3:30: {YAQL}"]),
    "YAQL in outputs": (NODES + "  a: {timer: 1}\noutputs: {b: <% x %>}\n", [f"4:14: {YAQL}"]),
    "YAQL by an alias": (
        "flow: 1\nvars: {x: &x '<% y %>'}\nnodes:\n  a: {set: {b: [*x]}}\n",
        [f"2:15: {YAQL}"],
    ),
    "statements of Jinja": (NODES + "  a: {set: {b: '{% if x %}'}}\n", [f"3:17: {JINJA}"]),
    "a comment of Jinja": (
        NODES + "  a: {set: {b: '{# x #} {{ 1 }}'}}\n",
        ["3:17: '{# #}' is a comment of Jinja: in YAML one begins with '#'; for the sign itself write {{ '{#' }}"],
    ),
    "a comment of Jinja alone": (
        NODES + "  a: {set: {b: ['{# x #}']}}\n",
        ["3:18: '{# #}' is a comment of Jinja: in YAML one begins with '#'; for the sign itself write {{ '{#' }}"],
    ),
    "expressions of GitHub": (NODES + "  a: {set: {b: '${{ 1 }}'}}\n", [f"3:17: {GITHUB}"]),
    "names": (
        BEFORE + "  a: {set: {b: '{{ ctx.x }}', c: '{{ steps.a }}', d: '{{ secrets.x }}', e: '{{ none }}'}}\n",
        [
            "4:20: there is no node 'ctx': write inputs.x, vars.x, or data.x for what is published",
            "4:38: there is no node 'steps': write the name of the node alone: it is its output",
            "4:58: there is no node 'secrets': write inputs.x, and secret: true at the input",
            "4:80: there is no node 'none': write null",
        ],
    ),
    "functions": (
        BEFORE + "  a: {set: {b: '{{ ctx(x) }}', c: '{{ item() }}'}, when: always()}\n",
        [
            "4:20: there is no function 'ctx'; write inputs.x, vars.x or data.x",
            "4:39: there is no function 'item'; write item",
            "4:58: there is no function 'always'; write after: {NODE: done} and join: done",
        ],
    ),
    "numbers of retries, and times": (
        NODES + "  a: {call: shop:send, with: {text: b}, retry: {limit: 3}, timeout: 5 min}\n",
        [
            "3:49: retry of node 'a' has no key 'limit': write attempts, which counts the first one, too",
            "3:69: timeout of node 'a': expected a number or a mapping, not '5 min': write 300, in seconds",
        ],
    ),
    "indents": (
        NODES + "  a:\n  b:\n    call: shop:send\n    with:\n",
        [
            f"3:5: node 'a' is a mapping, not null{BELOW}",
            f"6:10: with of node 'b': expected a mapping, not null{BELOW}",
        ],
    ),
    "names with a comma": (NODES + "  a: {timer: 1}\n  b: {timer: 1}\n  c: {timer: 1, after: 'a, b'}\n",
        ["5:24: there is no node 'a, b': write [a, b]"]),
}  # fmt: skip


@pytest.fixture(autouse=True)
def shop(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield
    sys.modules.pop("shop", None)


def every() -> list[object]:
    groups = [YAML, WORKFLOW, INPUTS, KEYS, EXPRESSIONS, GRAPH, CALLED, ENGINES]
    return [pytest.param(*case, id=name) for group in groups for name, case in group.items()]


@pytest.mark.parametrize(("text", "faults"), every())
def test_all_faults_of_a_file(text: str, faults: list[str]) -> None:
    with pytest.raises(SpecError) as refused:
        spec.loads(text, name="w", folder=FOLDER, allow=["shop:*", "shops:*"])
    assert list(refused.value.faults) == [f"w:{fault}" for fault in faults]


def test_signs_of_other_engines_may_be_text() -> None:
    text = """
flow: 1
inputs: {a: {type: string, default: "<% a %>"}}
nodes:
  x:
    set: {b: "{{ '<%' }} a %>", c: "100 % <% {%Y-%m}", d: "costs ${{ 3 }}", e: "{{ '{%' }} x %}", f: "{{ '$' }}{{ 3 }}"}
  y: {call: shop:send, with: {text: "{{ inputs.a }}"}, fallback: ["{% b %}", "<% c %>"]}
"""
    result = flow.run(spec.loads(text, folder=FOLDER, allow="shop:*"))
    assert result["x"] == {
        "b": "<% a %>", "c": "100 % <% {%Y-%m}", "d": "costs $3", "e": "{% x %}", "f": "$3",
    }  # fmt: skip
    assert "<% a %>" in str(result["y"])
