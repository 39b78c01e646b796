"""`flow convert`: expressions, notes, faults, and workflows that show each construct."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import flow
from flow.errors import UsageError
from flow.spec import Conversion, convert, load, loads

pytest.importorskip("yaml")
DATA = Path(__file__).parents[1] / "data"


def orquesta(tasks: str, head: str = "") -> Conversion:
    return convert(f"version: 1.0\n{head}\ntasks:\n{tasks}", name="w")


def expression(text: str, head: str = "input: [x, y, users, name]\nvars: [{n: 1}]") -> str:
    """What one expression becomes, as an argument of a task."""
    made = orquesta(f"  a: {{action: p.a, input: {{v: {text!r}}}}}", head)
    line = next(line for line in made.text.splitlines() if "v: " in line)
    assert [note for note in made.notes if "written" not in note.text] == [], made.notes
    value = line.split("v: ", 1)[1]  # of {call: ..., with: {v: ...}}, or of a line of its own
    return value[: value.rindex(" }}")].removeprefix('"{{ ').removeprefix("'{{ ")


YAQL = {
    "ctx().x": "inputs.x",
    "ctx(x)": "inputs.x",
    "ctx('x')": "inputs.x",
    'ctx("x")': "inputs.x",
    "ctx().n": "vars.n",
    "ctx()['x']": "inputs.x",
    "ctx().x.y.z": "inputs.x.y.z",
    "ctx().x.get(k)": "get(inputs.x, 'k')",
    "ctx().x.get(k, 3)": "get(inputs.x, 'k', 3)",
    "ctx().x[0].name": "inputs.x[0].name",
    "ctx().x['a-b']": "inputs.x['a-b']",
    "ctx().x = 1 and not ctx().y": "inputs.x == 1 and not inputs.y",
    "ctx().x != null or ctx().y > 2.5": "inputs.x != null or inputs.y > 2.5",
    "not ctx().x in list(a, b)": "inputs.x not in ['a', 'b']",
    "ctx().x + ctx().y * 2": "inputs.x + inputs.y * 2",
    "(ctx().x + 1) * 2": "(inputs.x + 1) * 2",
    "ctx().x - (ctx().y - 1)": "inputs.x - (inputs.y - 1)",
    "-ctx().x": "-inputs.x",
    "ctx().x mod 2": "inputs.x % 2",
    "7 / 2": "7 // 2",
    "ctx().x.len()": "len(inputs.x)",
    "len(ctx().x)": "len(inputs.x)",
    "ctx().x.toUpper()": "upper(inputs.x)",
    "ctx().x.toLower().trim()": "trim(lower(inputs.x))",
    "ctx().x.split(',')": "split(inputs.x, ',')",
    "ctx().x.join(', ')": "join(inputs.x, ', ')",
    "', '.join(ctx().x)": "join(inputs.x, ', ')",
    "ctx().x.replace(a, b)": "replace(inputs.x, 'a', 'b')",
    "ctx().x.startsWith(a)": "startswith(inputs.x, 'a')",
    "ctx().x.substring(1, 3)": "inputs.x[1:4]",
    "ctx().x.skip(1).limit(2)": "inputs.x[1:][:2]",
    "ctx().x.isEmpty()": "len(inputs.x) == 0",
    "ctx().users.where($.age > 17)": "where(inputs.users, 'age', '>', 17)",
    "ctx().users.where($.age > 17 and $.up)": "where(where(inputs.users, 'age', '>', 17), 'up')",
    "ctx().users.where($.name = ctx().name)": "where(inputs.users, 'name', inputs.name)",
    "ctx().users.where(not $.up)": "where(inputs.users, 'up', '==', false)",
    "ctx().users.select($.name)": "pluck(inputs.users, 'name')",
    "ctx().users.select($.get(name)).toList()": "pluck(inputs.users, 'name')",
    "ctx().users.orderBy($.age)": "sort(inputs.users, by='age')",
    "ctx().users.orderByDescending($)": "sort(inputs.users, reverse=true)",
    "ctx().users.any($.up)": "(len(where(inputs.users, 'up')) > 0)",
    "ctx().users.all($.up)": "(len(where(inputs.users, 'up')) == len(inputs.users))",
    "ctx().x.distinct()": "unique(inputs.x)",
    "zip(ctx().x, ctx().y)": "zip(inputs.x, inputs.y)",
    "dict(a => 1, b => ctx().x)": "{'a': 1, 'b': inputs.x}",
    "{a => 1}": "{'a': 1}",
    "ctx().x.set(a, 1)": "merge(inputs.x, {'a': 1})",
    "[1, ctx().x]": "[1, inputs.x]",
    "coalesce(ctx().x, ctx().y, 1)": "default(inputs.x, default(inputs.y, 1))",
    "str(ctx().n)": "str(vars.n)",
    "int('3')": "int('3')",
    "concat(ctx().x, b)": "inputs.x + 'b'",
    "ctx().x.append(1)": "inputs.x + [1]",
    "json_dump(ctx().x)": "json(inputs.x)",
    "ctx().x + dict(a => 1)": "merge(inputs.x, {'a': 1})",
    "ctx().x.any()": "len(inputs.x) > 0",
    "format('{0}!', ctx().x)": "format('{0}!', inputs.x)",
    "ctx().x =~ 'a+'": "matches(inputs.x, 'a+')",
    "true": "true",
}
JINJA = {
    "ctx().x": "inputs.x",
    "ctx('x')": "inputs.x",
    "ctx().x == 'a' and ctx().y": "inputs.x == 'a' and inputs.y",
    "ctx().x | join(', ')": "join(inputs.x, ', ')",
    "ctx().x | length > 0": "len(inputs.x) > 0",
    "ctx().users | map(attribute='name') | list": "pluck(inputs.users, 'name')",
    "ctx().x | default('a')": "default(inputs.x, 'a')",
    "ctx().x | default('a', true)": "default(inputs.x, 'a')",
    "ctx().x | d": "default(inputs.x, '')",
    "ctx().x | first": "first(inputs.x)",
    "(ctx().x | first).name": "first(inputs.x).name",
    "ctx().users | selectattr('up') | list": "where(inputs.users, 'up')",
    "ctx().users | selectattr('age', 'gt', 17) | list": "where(inputs.users, 'age', '>', 17)",
    "ctx().users | rejectattr('age', 'equalto', 17) | list": "where(inputs.users, 'age', '!=', 17)",
    "ctx().users | rejectattr('up') | list": "where(inputs.users, 'up', false)",
    "ctx().users | sort(attribute='age', reverse=true)": "sort(inputs.users, by='age', reverse=true)",
    "ctx().x is defined": "default(inputs.x, null) != null",
    "ctx().x is not defined": "not default(inputs.x, null) != null",
    "ctx().x is none": "inputs.x == null",
    "ctx().x is not none": "inputs.x != null",
    "-ctx().x | abs": "abs(-inputs.x)",
    "ctx().x is even": "inputs.x % 2 == 0",
    "ctx().x is string": "type(inputs.x) == 'str'",
    "ctx().x is eq 3": "inputs.x == 3",
    "ctx().x ~ '-' ~ ctx().y": "str(inputs.x) + '-' + str(inputs.y)",
    "'a' if ctx().x else 'b'": "'a' if inputs.x else 'b'",
    "ctx().x ? 'a' : 'b'": "'a' if inputs.x else 'b'",
    "ctx().x[1:]": "inputs.x[1:]",
    "ctx().x[:2]": "inputs.x[:2]",
    "ctx().x.upper()": "upper(inputs.x)",
    "ctx().x.get('a', none)": "get(inputs.x, 'a', null)",
    "ctx().x not in ['a', 'b']": "inputs.x not in ['a', 'b']",
    "not (ctx().x or ctx().y)": "not (inputs.x or inputs.y)",
    "ctx().x | tojson": "json(inputs.x)",
    "ctx().x && !ctx().y": "inputs.x and not inputs.y",
}


@pytest.mark.parametrize("source", YAQL)
def test_yaql(source: str) -> None:
    assert expression(f"<% {source} %>") == YAQL[source]


@pytest.mark.parametrize("source", JINJA)
def test_jinja(source: str) -> None:
    assert expression("{{ " + source + " }}") == JINJA[source]


REFUSED = {
    "<% getpass() %>": "the function 'getpass' has no counterpart",
    "<% ctx().x.where($.a.b > 1) %>": "a counterpart for $.key",
    "<% $ %>": "'$' has a counterpart only",
    "<% ctx() %>": "ctx() as a whole",
    "<% ctx().x +* 1 %>": "is not understood here",
    "<% ctx().x ; %>": "is not understood",
    "<% (ctx().x %>": "is missing before",
    "<% ctx().x + %>": "it ends too early",
    "<% switch(ctx().x => 1) %>": "a key that is computed",
    "<% dict(ctx().x) %>": "'key => value' only",
    "<% task(a) %>": "task(a).result",
    "<% result() %>": "known after a task only",
    "{{ ctx().x ** 2 }}": "'**' has no counterpart",
    "{{ '%s' % ctx().x }}": "write a template",
    "{{ ctx().x | map('upper') }}": "attribute= only",
    "{{ ctx().x | title }}": "the function 'title'",
    "{{ ctx().x is divisibleby(3) }}": "the test 'is divisibleby'",
    "{% if x %}a{% endif %}": "what Jinja writes in {% %} or {# #} has no counterpart",
    "<% " + "(" * 60 + "1" + ")" * 60 + " %>": "nests more than 50 deep",
    "<% task(b).result %>": "there is no task 'b'",
    "<% zip(a => 1) %>": "no arguments by name",
    "<% now().format('%Y') %>": "a text with '{0}'",
    "<% ctx().x.sum(0) %>": "sum takes at most 1 arguments",
    "<% ctx().x.replace(a, b, 1) %>": "replace takes at most 3 arguments",
    "<% ctx().x.items().where($[1] > 1) %>": "a counterpart for $.key",
}


@pytest.mark.parametrize("source", REFUSED)
def test_what_has_no_counterpart_is_noted_with_its_place_and_an_input_stands_for_it(source: str) -> None:
    made = orquesta(f"  a:\n    action: p.a\n    input:\n      v: {source!r}", "input: [x]")
    notes = [note for note in made.notes if "written" not in note.text]
    assert [(note.line, note.column) for note in notes] in ([(7, 10)], [(7, 10)] * 2, [(7, 10)] * 3, [(7, 10)] * 4)
    assert any(REFUSED[source] in note.text for note in notes), notes
    assert "inputs.todo_1" in made.text
    assert str(notes[0]).startswith("7:10: ")


def test_text_around_expressions_stays_and_braces_are_escaped() -> None:
    made = orquesta(
        "  a: {action: p.a, input: {v: 'a <% ctx().x %> {b} c', w: '<% ctx().x %>.<% ctx().x %>'}}", "input: [x]"
    )
    assert 'v: "a {{ inputs.x }} {b} c"' in made.text
    assert 'w: "{{ inputs.x }}.{{ inputs.x }}"' in made.text


def test_inline_parameters_are_read() -> None:
    made = orquesta(
        """  a: {action: 'p.a n=3 f=1.5 b=true s="x y" t=''z'' l=[1,2] e=<% ctx().x %> j={{ ctx().x }}'}""",
        "input: [x]",
    )
    for part in (
        "n: 3",
        "f: 1.5",
        "b: true",
        "s: x y",
        "t: z",
        "l: [1, 2]",
        'e: "{{ inputs.x }}"',
        'j: "{{ inputs.x }}"',
    ):
        assert part in made.text


CONVERTED = {
    "a: {action: p.a, delay: 5}": ["a.delay: {timer: 5}", "a: {call: actions:p_a, after: a.delay}"],
    "a: {action: p.a, retry: {count: 2, delay: 3}}": ["retry: {attempts: 3, delay: 3, backoff: constant}"],
    "a: {action: p.a, next: [{when: '<% failed() %>', do: retry}]}": ["retry: {attempts: 4, delay: 0}"],
    "a: {action: p.a, next: [{when: '<% failed() %>', do: a}]}": ["retry: {attempts: 100, delay: 0}"],
    "a: {action: p.a, next: [{when: '<% succeeded() and not result() %>', do: a}]}": [
        "loop: actions:p_a",
        "until: not (not value)",
        "max_iterations: 1000",
    ],
    "a: {action: p.a, next: [{when: '<% succeeded() and result() < 3 and result() > 1 %>', do: a}]}": [
        "until: not (value < 3 and value > 1)"
    ],
    "a: {action: p.a, with: 'x, y in <% zip([1], [2]) %>', input: {v: '<% item(y) %>'}}": [
        'over: "{{ zip([1], [2]) }}"',
        'v: "{{ item[1] }}"',
    ],
    "a: {action: p.a, with: {items: 'x in <% [1] %>', concurrency: 3}, input: {v: '<% item(x) %>'}}": [
        "concurrency: 3",
        'v: "{{ item }}"',
    ],
    "a: {action: p.a, with: '<% [1] %>'}": ["map: actions:p_a", "with: {}"],
    "a: {action: core.ask, input: {prompt: 'Go?', ttl: 2}}": ["signal: {}", "timeout: 120", 'description: "Go?"'],
    "sum: {next: [{do: b}]}\n  b: {}": ["sum_task: {set: {}}", "b: {set: {}, after: sum_task}"],
    "a: {next: [{do: fail}]}": ["a.fail:", "call: fail", "after: a"],
    "a: {action: p.a, next: [{when: '<% failed() %>', do: noop}]}": ["a.handled: {set: {}, after: {a: failed}}"],
    "a: {action: p.a, next: [{do: b}]}\n  b: {}": [
        "a: {call: actions:p_a, continue_on_error: true}",
        "b: {set: {}, after: a}",
    ],
    "a: {action: p.a, next: [{when: '<% failed() %>', publish: [{e: '<% result() %>'}], do: b}]}"
    "\n  b: {action: p.b, input: {e: '<% ctx().e %>'}}": [
        'a.to.b: {set: {}, after: {a: failed}, publish: {e: "{{ errors(a)[0] }}"}}',
        'with: {e: "{{ data.e }}"}',
    ],
    "a: {action: p.a, next: [{when: '<% succeeded() %>', do: b}]}"
    "\n  b: {action: p.b, input: {v: '<% task(a).result.id %>'}}": ['v: "{{ a.id }}"'],
    "a: {action: p.a, next: [{do: [b, c]}]}"
    "\n  b: {action: p.b}\n  c: {next: [{when: '<% task_status(b) = failed %>', do: d}]}\n  d: {}": ["when: failed(b)"],
}


@pytest.mark.parametrize("tasks", CONVERTED)
def test_constructs(tasks: str) -> None:
    made = orquesta(f"  {tasks}")
    for line in CONVERTED[tasks]:
        assert line in made.text, made.text


NOTED = {
    "a: {action: p.a, delay: '<% 3 %>'}": "the delay of a task is a number here",
    "a: {action: p.a, with: {items: '<% [1] %>', concurrency: '<% 3 %>'}}": "concurrency is a number",
    "a: {action: p.a, retry: {count: '<% 3 %>', delay: '<% 1 %>'}}": "the count of a retry is a number",
    "a: {action: p.a, retry: {count: 3, when: '<% completed() %>'}}": "a retry follows a failure only",
    "a: {action: p.a, retry: {count: 3, when: '<% failed() and result().x %>'}}": "name exceptions in 'retry_if'",
    "a: {action: p.a, next: [{do: retry}]}": "'do: retry' follows a failure only",
    "a: {action: p.a, next: [{do: lost}]}": "there is no task 'lost'",
    "a: {action: p.a, pause: 1}": "'pause' of a task has no counterpart",
    "a: {action: p.a, input: {v: '/tmp/<% str(random(1, 9)) %>'}}": "random() is the id of the run here",
    "a: {action: '<% ctx().x %>'}": "the action of 'a' is computed",
    "a: {action: p.a, input: '<% ctx().x %>'}": "an input that is one expression",
    "a: {action: p.a, input: {v: '<% ctx().other %>'}}": "'other' is known to no part of the file",
    "a: {action: p.a, input: {v: '<% st2kv.system.k %>'}}": "'st2kv.system.k' is known to no part",
    "a: {action: p.a}\n  b: {next: [{do: c}]}\n  c: {next: [{do: b}]}": "a cycle that nothing leads to",
    "a: {action: p.a, next: [{when: '<% succeeded( %>', do: b}]}\n  b: {}": "is not converted",
    "sum: {}": "task 'sum' is called 'sum_task' here",
    "x: {}": "an input has this name, too",
}


@pytest.mark.parametrize("tasks", NOTED)
def test_notes(tasks: str) -> None:
    made = orquesta(f"  {tasks}", "input: [x]")
    assert any(NOTED[tasks] in note.text for note in made.notes), made.notes
    assert list(made.notes) == sorted(made.notes, key=lambda note: (note.line, note.column))


FAULTS = {
    "": "a workflow is a mapping",
    "a: [": "this is no YAML",
    "version: 1.0": "there are no tasks",
    "tasks: {a: {with: '<% [1] %>'}}": "task 'a' has items and no action",
    "tasks: {a: &x {}, b: *x}": "write out the alias '*x' first",
    "tasks: " + "[" * 70 + "]" * 70: "nests too deep",
    "tasks: [{action: p.a}]": "a task has no name",
    "tasks: {[a]: {}}": "a key is a text",
    "tasks: [{name: a.end}, {name: a, type: parallel, tasks: []}]": "there are two tasks 'a.end'",
    "tasks: [{name: a}, {name: a}]": "there are two tasks 'a'",
    "tasks: {s: {next: [{do: 'a, b'}]}, a: {next: [{do: b}]}, b: {next: [{do: a}]}}": "is entered at a and at b",
}


@pytest.mark.parametrize("text", FAULTS)
def test_faults(text: str) -> None:
    with pytest.raises(UsageError, match=FAULTS[text].replace("*", r"\*").replace("(", r"\(")):
        convert(text, name="w")


def test_so_many_ways_that_too_many_nodes_would_be_made_are_refused() -> None:
    tasks = "".join(
        f"  a{at}: {{action: p.a, next: [{{do: 'b{at}, c{at}'}}]}}\n"
        f"  b{at}: {{next: [{{do: a{at + 1}}}]}}\n  c{at}: {{next: [{{do: a{at + 1}}}]}}\n"
        for at in range(12)
    )
    with pytest.raises(UsageError, match="more than 2,000 nodes"):
        orquesta(tasks + "  a12: {}")


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Writes a conversion to files, and loads it with the module that it has."""
    monkeypatch.syspath_prepend(str(tmp_path))
    names = []

    def write(made: Conversion, actions: str = "") -> flow.Dag:
        for name, text in {"w.yaml": made.text, **made.files, f"{made.module_name}.py": made.module + actions}.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        names.append(made.module_name)
        return load(tmp_path / "w.yaml", allow=[f"{made.module_name}:*"])

    yield write
    for name in names:
        sys.modules.pop(name, None)


def test_a_converted_workflow_runs_with_the_module_that_comes_with_it(written: Any) -> None:
    made = convert((DATA / "orquesta_like" / "greet.yaml").read_text("utf-8"), name="w", module="greet_actions")
    result = flow.run(written(made), {"names": ["ada", "grace"]})
    assert result["outputs"] == {"greetings": ["hello ada", "hello grace"], "count": 2, "said": "2 greetings"}


def test_what_is_not_written_yet_says_so(written: Any) -> None:
    made = convert("tasks: {a: {action: web.update host=x}}", name="w", module="unwritten_actions")
    with pytest.raises(flow.RunError) as raised:
        flow.run(written(made))
    assert "write the action web.update" in str(raised.value.exceptions[0])


def test_a_cycle_is_a_loop_that_carries_its_variables(written: Any) -> None:
    made = convert((DATA / "orquesta_like" / "poll.yaml").read_text("utf-8"), name="w", module="poll_actions")
    assert list(made.files) == ["w.poll.yaml"]
    result = flow.run(written(made), {"most": 4})
    assert result["outputs"] == {"count": 4, "seen": "0123"}


def test_a_workflow_of_attune_runs(written: Any) -> None:
    made = convert((DATA / "attune_like" / "deploy.yaml").read_text("utf-8"), name="w", module="deploy_actions")
    actions = """
def site_deploy(region: Any = None) -> Any:
    if region == "moon":
        raise ConnectionError("no answer")
    return {"url": f"https://{region}.example"}
"""
    dag = written(made, actions)
    inputs = {"env": "dev", "regions": ["eu", "us"]}
    assert flow.run(dag, inputs)["outputs"] == {"urls": ["https://eu.example", "https://us.example"], "status": "done"}
    result = flow.run(dag, {"env": "dev", "regions": ["eu", "moon"]})
    assert result["outputs"] == {"urls": ["https://eu.example"], "status": "rolled back"}
    assert result["tell"] == "1 failed"

    async def approved() -> flow.Result:
        async with flow.start(dag, {"env": "prod", "regions": ["eu"]}) as run:
            run.send("approve", {"yes": True})
            return await run.result()

    assert asyncio.run(approved())["outputs"]["status"] == "done"


def test_groups_of_attune_join_what_is_in_them(written: Any) -> None:
    source = """
parameters: {}
tasks:
  - name: checks
    type: parallel
    tasks:
      - {name: one, action: core.noop}
      - {name: two, action: p.fails}
    on_success: good
    on_failure: bad
  - {name: good, action: core.noop}
  - {name: bad, action: core.noop}
"""
    made = convert(source, name="w", module="group_actions")
    result = flow.run(written(made))
    assert (str(result.status["good"]), str(result.status["bad"])) == ("bypassed", "completed")


def test_attune_notes_what_it_leaves_out() -> None:
    source = """
label: demo
parameters:
  n: {type: integer, minimum: 1, required: true, format: int64}
  names: {type: array, minItems: 1, items: {type: string}}
tasks:
  - name: a
    action: p.a
    with-items: "{{ parameters.names }}"
    batch_size: "{{ 3 }}"
    retry: {count: 2, delay: 5, backoff: linear, max_delay: 60, when: "{{ x }}"}
    timeout: 30
    input: {v: "{{ config.key }}", w: "{{ index }}", s: "{{ system.execution_id }}"}
    next:
      - {when: "{{ succeeded() and parameters.n > 1 }}", publish: [{x: "{{ result }}"}], do: [b]}
    notify: someone
  - {name: b, action: core.echo, input: {message: "{{ task.a.result | length }}"}}
"""
    made = convert(source, name="w")
    texts = " ".join(note.text for note in made.notes)
    for part in (
        "'format' of a parameter",
        "'notify' of a task",
        "'batch_size' is a number",
        "'retry_if'",
        "'config.key' is known",
    ):
        assert part in texts
    for part in (
        "retry: {attempts: 3, delay: 5, backoff: linear, max_delay: 60}", "timeout: 30", "min_length: 1", "minimum: 1",
        'w: "{{ index }}"', 's: "{{ system.run_id }}"', 'message: "{{ len(a) }}"', "when: inputs.n > 1",
    ):  # fmt: skip
        assert part in made.text, made.text


def test_parameters_as_a_schema_and_tasks_by_name() -> None:
    source = """
parameters:
  type: object
  required: [a]
  properties:
    a: {type: string}
    b: {type: [string, "null"], secret: true, maxItems: 3}
version: 2
pack: demo
tasks:
  first: {action: core.noop, next: [{do: [second, third]}]}
  second: {action: p.a, timeout: true}
  third:
    action: p.b
    on_failure:
      - when: "{{ parameters.a == 'x' }}"
        do:
          - {when: "{{ parameters.b is defined }}", next: first_try}
          - {do: second_try}
      - {when: "{{ parameters.a != 'x' }}", publish: {lost: true}, do: second_try}
  first_try: {action: core.noop}
  second_try: {action: core.noop, join: never}
"""
    made = convert(source, name="w")
    texts = " ".join(note.text for note in made.notes)
    for part in ("'pack' has no counterpart", "'timeout' is a number", "the join of 'second_try'"):
        assert part in texts
    assert "a: {type: string}" in made.text
    assert "b: {secret: true, max_length: 3, required: false}" in made.text
    assert "third.to.second_try" in made.text
    assert "join: 1" in made.text
    with pytest.raises(UsageError, match="there are no tasks"):
        convert("parameters: {}", name="w")


def test_wrong_numbers_of_attune_are_noted() -> None:
    made = convert("parameters: {}\ntasks: [{name: a, action: p.a, retry: {count: '{{ x }}'}}, 3]", name="w")
    assert "3 attempts are taken" in " ".join(note.text for note in made.notes)
    assert "retry: {attempts: 3, delay: 0}" in made.text


EXCLUSIVE = {
    ("ctx().x > 0", "ctx().x = 0"): True,
    ("ctx().x > 0", "ctx().x <= 0"): True,
    ("ctx().x > 0", "ctx().x < 1"): False,
    ("ctx().x >= 1", "ctx().x <= 1"): False,
    ("ctx().x > 1", "ctx().x < 1"): True,
    ("ctx().x = a", "ctx().x = b"): True,
    ("ctx().x = a", "ctx().x != a"): True,
    ("ctx().x = a", "ctx().x != b"): False,
    ("ctx().x != a", "ctx().x != b"): False,
    ("ctx().x < a", "ctx().x > b"): False,
    ("ctx().x = a", "ctx().x > 3"): False,
    ("ctx().x > 3", "ctx().x > 5"): False,
    ("ctx().x in [1]", "not ctx().x in [1]"): True,
    ("ctx().x", "ctx().y"): False,
    ("ctx().x and ctx().y", "not ctx().x"): True,
    ("now() > 3", "now() <= 3"): False,
}


@pytest.mark.parametrize("tests", EXCLUSIVE)
def test_ways_that_exclude_each_other_lead_to_one_node(tests: tuple[str, str]) -> None:
    """Behind different tasks, so that only what the conditions say can tell."""
    first, second = tests
    made = orquesta(
        f"  s: {{next: [{{do: 'a, b'}}]}}\n"
        f"  a: {{next: [{{when: '<% {first} %>', do: c}}]}}\n"
        f"  b: {{next: [{{when: '<% {second} %>', do: c}}]}}\n  c: {{}}",
        "input: [x, y]",
    )
    assert ("c__r1" not in made.text) is EXCLUSIVE[tests], made.text


def test_what_a_variable_is_may_change_between_two_tasks() -> None:
    made = orquesta(
        "  s: {next: [{do: 'a, b'}]}\n  a: {next: [{when: '<% ctx().x %>', do: c}, {publish: [{x: 1}], do: d}]}\n"
        "  b: {next: [{when: '<% not ctx().x %>', do: c}]}\n  c: {}\n  d: {}",
        "input: [x]",
    )
    assert "c__r1" in made.text
    assert "c__r2" in made.text


def test_joins_of_what_runs_once_per_way() -> None:
    split = "  s: {next: [{do: 'a, b, z'}]}\n  a: {next: [{do: c}]}\n  b: {next: [{do: c}]}\n  c: {next: [{do: j}]}\n"
    made = orquesta(split + "  z: {next: [{do: j}]}\n  j: {join: all}")
    assert "joins tasks that are run once per way" in " ".join(note.text for note in made.notes)
    made = orquesta(split + "  z: {next: [{do: j}]}\n  j: {join: 4}")
    assert "it never runs" in " ".join(note.text for note in made.notes)
    made = orquesta(split + "  z: {next: [{do: j}]}\n  j: {join: 1}")
    assert "j__r" in made.text


def test_loops_in_loops_and_what_a_body_reads_from_outside(written: Any) -> None:
    source = """
version: 1.0
input: [most, word]
vars: [n: 0, m: 0, log: ""]
tasks:
  start: {next: [{do: outer}]}
  outer: {next: [{publish: [m: 0], do: inner}]}
  inner:
    action: core.echo message=<% ctx().word %>
    next:
      - when: <% succeeded() %>
        publish:
          - log: "<% ctx().log %><% result() %><% ctx().n %><% ctx().m %> "
          - m: <% ctx().m + 1 %>
        do: more
  more:
    next:
      - {when: "<% ctx().m < ctx().most %>", do: inner}
      - {when: "<% ctx().m >= ctx().most %>", publish: [n: "<% ctx().n + 1 %>"], do: again}
  again:
    next:
      - {when: "<% ctx().n < ctx().most %>", do: outer}
output: [log: "<% ctx().log %>"]
"""
    made = convert(source, name="w", module="nested_actions")
    assert sorted(made.files) == ["w.inner.yaml", "w.outer.yaml"]
    result = flow.run(written(made), {"most": 2, "word": "x"})
    assert result["outputs"] == {"log": "x00 x01 x10 x11 "}


def test_a_loop_of_attune_takes_its_parameters_along(written: Any) -> None:
    source = """
parameters:
  most: {type: integer, required: true}
  note: {type: string}
vars: {n: 0}
tasks:
  - {name: begin, action: core.noop, on_success: count}
  - name: count
    action: core.echo
    input: {message: "{{ parameters.note }} {{ config.key }} {{ uuid() }}"}
    publish:
      - n: "{{ workflow.n + 1 }}"
    on_success:
      - {when: "{{ workflow.n < parameters.most }}", do: count}
      - {when: "{{ workflow.n >= parameters.most }}", do: finish}
  - {name: finish, action: core.noop, join: all}
output_map: {n: "{{ workflow.n }}", twice: "{{ workflow.n * 2 }}", text: done}
"""
    made = convert(source, name="w", module="counting_actions")
    inputs = {"most": 3, "note": "a", "config_key": "b"}
    assert flow.run(written(made), inputs)["outputs"] == {"n": 3, "twice": 6, "text": "done"}


def test_names_that_are_none_here() -> None:
    made = orquesta("  'a b': {next: [{do: _c}]}\n  _c: {}", "input: [a-b]\nvars: [c-d: 1]")
    texts = " ".join(note.text for note in made.notes)
    for part in ("task 'a b' is called 'task_a_b'", "the input 'a-b'", "the variable 'c-d'"):
        assert part in texts
    assert "_c: {set: {}, after: task_a_b}" in made.text


def test_conditions_of_every_kind() -> None:
    made = orquesta(
        "  a:\n    action: p.a\n    next:\n"
        "      - {when: '<% succeeded() and failed() %>', do: b}\n"
        "      - {when: '<% not failed() %>', do: c}\n"
        "      - {when: '<% not succeeded() %>', do: d}\n"
        "      - {when: '<% failed() or ctx().x %>', do: e}\n"
        "      - {when: true, do: f}\n      - {when: [1], do: g}\n"
        "  b: {}\n  c: {}\n  d: {}\n  e: {}\n  f: {}\n  g: {}",
        "input: [x]",
    )
    assert "c: {set: {}, after: a}" in made.text
    assert "d: {set: {}, after: {a: failed}}" in made.text
    assert "when: not not (failed(a) or inputs.x)" in made.text
    assert "f: {set: {}, after: {a: done}}" in made.text
    assert "\n  b: " not in made.text
    assert "a condition is an expression" in " ".join(note.text for note in made.notes)


PLACES = {
    "a: {action: p.a, input: {v: '<% item() %>'}}": "an item is known in the input of a task with items only",
    "a: {action: p.a, with: '<% [item()] %>'}": "an item is known in the input of a task with items only",
    "a: {action: p.a, with: 'i in <% [1] %>', input: {v: '<% item(j) %>'}}": "items have no name 'j': there are i",
    "a: {action: p.a, input: {v: '<% succeeded() %>'}}": "the status of a task is known after the task only",
    "a: {action: p.a, input: {v: '<% succeeded(b) %>'}}": "there is no task 'b'",
    "a: {next: [{do: b}]}\n"
    "  b: {next: [{when: '<% task_status(a) = paused %>', do: c}]}\n  c: {}": "no status 'paused' here",
}


@pytest.mark.parametrize("tasks", PLACES)
def test_what_is_not_known_at_a_place(tasks: str) -> None:
    made = orquesta(f"  {tasks}")
    assert any(PLACES[tasks] in note.text for note in made.notes), made.notes


KNOWN = {
    "<% item(a) %>": "item.a",
    "<% item().a %>": "item.a",
    "{{ item.a }}": "item.a",
    "{{ item }}": "item",
}


@pytest.mark.parametrize("source", KNOWN)
def test_items(source: str) -> None:
    made = orquesta(f"  a: {{action: p.a, with: '<% [1] %>', input: {{v: {source!r}}}}}")
    assert f'v: "{{{{ {KNOWN[source]} }}}}"' in made.text


def test_what_tasks_have_given() -> None:
    source = """
parameters: {}
tasks:
  - {name: a, action: p.a, on_complete: [b, c], on_success: d}
  - name: b
    action: p.b
    input:
      {r: "{{ task.a.result.x }}", e: "{{ task.a.error.message }}", l: "{{ tasks.a.errors }}", o: "{{ task.a.other }}"}
  - {name: c, action: p.c, input: {s: "{{ system.identity.login }}", w: "{{ system.workflow_start }}"}}
  - {name: d, action: p.d, input: {r: "{{ task.a.output }}", k: "{{ task['a'].x }}"}}
"""
    text = convert(source, name="w").text
    for part in (
        'r: "{{ default(a.x, null) }}"', 'e: "{{ errors(a)[0] }}"', 'l: "{{ errors(a) }}"',
        'o: "{{ default(a.other, null) }}"',
        's: "{{ inputs.system_identity_login }}"', 'w: "{{ system.started }}"', 'r: "{{ a }}"',
    ):  # fmt: skip
        assert part in text, text


def test_a_run_is_refused_while_an_expression_is_to_be_converted() -> None:
    made = orquesta("  a:\n    action: core.echo message=<% let(a => 1) -> $a %>")
    with pytest.raises(flow.InputError, match="input 'todo_1' is missing"):
        flow.run(loads(made.text.replace("actions:core_echo", "json").replace("message:", "value:")))


def test_a_dollar_before_a_value_stays_text() -> None:
    made = orquesta("  a:\n    action: core.echo message='$<% ctx(x) %>'", "input: [x]")
    text = made.text.replace("actions:core_echo", "json").replace("message:", "value:")
    assert flow.run(loads(text), {"x": 3})["a"] == '"$3"'


def ran(written: Any, source: str, module: str, actions: str = "", **inputs: Any) -> flow.Result:
    return flow.run(written(convert(source, name="w", module=module), actions), inputs)


def test_no_name_that_is_made_takes_that_of_a_task(written: Any) -> None:
    """Each of these tasks was lost, without a word, when another one got its name."""
    source = """
vars: [n: 0]
tasks:
  s: {next: [{do: [a, a.delay, a.join, 'b/c', 'b c', task_b_c, sum, sum_task, d, e, f, f__r1, g, g.loop]}]}
  a: {action: core.noop, delay: 0.001}
  a.delay: {}
  a.join: {}
  'b/c': {}
  'b c': {}
  task_b_c: {}
  sum: {}
  sum_task: {}
  d: {next: [{do: f}]}
  e: {next: [{do: f}]}
  f: {}
  f__r1: {}
  g: {next: [{publish: [n: <% ctx().n + 1 %>], do: h}]}
  h: {next: [{when: <% ctx().n < 2 %>, do: g}]}
  g.loop: {}
output: [n: <% ctx().n %>]
"""
    result = ran(written, source, "named_actions")
    assert set(result.status) >= {
        "s", "a", "a.delay", "a.delay.2", "a.join", "task_b_c", "task_b_c_", "task_b_c__", "sum_task", "sum_task_", "d",
        "e", "f__r1", "f__r1x", "f__r2", "g.loop", "g.loop_",
    }  # fmt: skip
    assert set(map(str, result.status.values())) == {"completed"}
    assert result["outputs"] == {"n": 2}


def test_the_state_of_a_loop_keeps_variables_and_ways_out_apart(written: Any) -> None:
    source = """
input: [state: 3]
vars: [n: 0, to_a: 5]
tasks:
  s: {next: [{do: [a, x.y, x_y]}]}
  a: {next: [{publish: [n: <% ctx().n + ctx().state %>, to_a: <% ctx().to_a + 1 %>], do: b}]}
  b:
    next:
      - {when: <% ctx().n < 6 %>, do: a}
      - {when: <% ctx().n >= 6 %>, do: x.y}
      - {when: <% ctx().n = 100 %>, do: x_y}
  x.y: {join: 2}
  x_y: {join: 1}
output: [n: <% ctx().n %>, to: <% ctx().to_a %>]
"""
    result = ran(written, source, "state_actions")
    assert result["outputs"] == {"n": 6, "to": 7}
    assert str(result.status["x.y"]) == "completed"
    assert str(result.status["a.loop.to.x_y"]) == "bypassed"


def test_a_parameter_of_attune_may_be_called_state(written: Any) -> None:
    source = """
parameters: {state: {type: integer, default: 3}}
vars: {n: 0}
tasks:
  - {name: s, next: [{do: a}]}
  - {name: a, next: [{publish: [n: '{{ workflow.n + parameters.state }}'], do: b}]}
  - {name: b, next: [{when: '{{ workflow.n < 8 }}', do: a}]}
output_map: {n: '{{ workflow.n }}'}
"""
    assert ran(written, source, "state_parameter_actions")["outputs"] == {"n": 9}


def polls(count: int) -> str:
    """Tasks that each follow themselves, one behind the other."""
    return "vars: [n: 0]\ntasks:\n  s: {next: [{do: p0}]}\n" + "".join(
        f"  p{at}: {{next: [{{when: '<% ctx().n < {at} %>', publish: [n: '<% ctx().n + 1 %>'], do: p{at}}}, "
        f"{{when: '<% ctx().n >= {at} %>', do: p{at + 1}}}]}}\n"
        for at in range(count)
    )


def test_cycles_behind_each_other_are_as_many_as_can_be_loaded(written: Any) -> None:
    written(convert(polls(20), name="w", module="poll20_actions"))
    with pytest.raises(UsageError, match=r"w:24:3: more than 20 cycles are behind each other"):
        convert(polls(300), name="w")


def test_what_is_behind_a_cycle_that_nothing_leads_to_does_not_run() -> None:
    tasks = "  a: {next: [{do: b}]}\n  b: {next: [{do: 'a, c'}]}\n  c: {next: [{do: d}]}\n  d: {join: 2}\n  e: {}"
    made = orquesta(tasks)
    assert "nodes:\n  e: {set: {}}\n" in made.text
    assert len(made.notes) == 4
    with pytest.raises(UsageError, match="no task begins"):
        orquesta("  a: {next: [{do: b}]}\n  b: {next: [{do: a}]}")


LEFT_OUT = {
    "a: {action: p.a, retry: 3}": ("4:3", "'retry': 3 is no mapping"),
    "a: {next: [b]}\n  b: {}": ("4:14", "'next': 'b' is no mapping"),
    "a: {action: p.a, retry: {delay: .nan}}": ("4:35", "the delay of a retry is a number"),
    "a: {action: p.a, retry: {count: true}}": ("4:35", "the count of a retry is a number"),
    "a: {action: p.a, with: {items: '<% [1] %>', concurrency: 2.5}}": ("4:60", "concurrency is a number"),
    "a: {delay: .inf}": ("4:3", "the delay of a task is a number"),
}


@pytest.mark.parametrize("tasks", LEFT_OUT)
def test_what_is_left_out_is_noted_and_the_rest_loads(tasks: str, written: Any) -> None:
    made = orquesta(f"  {tasks}")
    assert any(str(note).startswith(": ".join(LEFT_OUT[tasks])) for note in made.notes), made.notes
    written(made)


def test_numbers_of_attune_are_what_options_take(written: Any) -> None:
    task = "name: a, action: p.a, with_items: '{{ [1] }}', concurrency: 2.5, batch_size: 1.5, timeout: .inf"
    made = convert(f"parameters: {{}}\ntasks: [{{{task}, retry: {{count: 1, max_delay: -3}}}}]", name="w")
    assert [note.column for note in made.notes if "is a number here" in note.text] == [70, 87, 101]
    written(made)


def test_a_list_of_one_may_be_written_without_the_list() -> None:
    made = orquesta("  a: {next: {do: b}}\n  b: {}", "input: {x: 3}")
    assert "x: {default: 3}" in made.text
    assert "b: {set: {}, after: a}" in made.text


@pytest.mark.parametrize("when", ["<% ctx().x +* 1 %>", "{% if x %}", "<% $ %>"])
def test_a_condition_that_is_not_converted_does_not_become_always(when: str, written: Any) -> None:
    made = orquesta(f"  a: {{next: [{{when: '{when}', do: b}}]}}\n  b: {{}}", "input: [x]")
    dag = written(made)
    assert str(flow.run(dag, {"todo_1": False}).status["b"]) == "bypassed"
    assert str(flow.run(dag, {"todo_1": True}).status["b"]) == "completed"


def test_groups_in_groups(written: Any) -> None:
    source = """
parameters: {}
tasks:
  - name: g
    type: parallel
    tasks:
      - {name: one, action: core.noop, on_success: more}
      - {name: h, type: parallel, tasks: [{name: two, action: core.noop}, {name: three, action: p.fails}]}
      - {name: none, type: parallel, tasks: [], on_failure: never, on_success: more}
    on_success: good
    on_failure: bad
  - {name: more, action: core.noop}
  - {name: never, action: core.noop}
  - {name: good, action: core.noop}
  - {name: bad, action: core.noop}
"""
    status = ran(written, source, "nested_group_actions").status
    assert {name: str(status[name]) for name in ("three", "h.end", "g.end", "more", "never", "good", "bad")} == {
        "three": "failed", "h.end": "completed", "g.end": "completed", "more": "completed", "never": "bypassed",
        "good": "bypassed", "bad": "completed",
    }  # fmt: skip


def test_a_run_that_fails_has_outputs(written: Any) -> None:
    source = """
input: [x: 3]
vars: [n: 0, m: 1]
tasks:
  a: {action: core.noop, next: [{when: <% succeeded() %>, publish: [n: 5], do: b}]}
  b: {action: p.fails, next: [{when: <% succeeded() %>, publish: [n: 7, m: 7], do: c}]}
  c: {}
output: [n: <% ctx().n %>, m: <% ctx().m %>, x: <% ctx().x %>]
"""
    with pytest.raises(flow.RunError) as raised:
        ran(written, source, "failing_actions")
    assert raised.value.result["outputs"] == {"n": 5, "m": 1, "x": 3}


def test_outputs_of_what_is_published_in_many_places_can_be_read(written: Any) -> None:
    tasks = "".join(
        f"  t{at}: {{action: core.noop, next: "
        f"[{{when: <% succeeded() %>, publish: [n: <% ctx().n + 1 %>], do: t{at + 1}}}]}}\n"
        for at in range(100)
    )
    source = f"vars: [n: 0]\ntasks:\n{tasks}  t100: {{}}\noutput: [n: <% ctx().n %>]"
    assert ran(written, source, "counter_actions")["outputs"] == {"n": 100}


def test_a_join_of_so_many_ways_that_no_expression_can_ask_for_them_is_refused() -> None:
    names = [f"t{at}" for at in range(200)]
    tasks = "".join(
        f"  {one}: {{action: p.a, next: [{{when: <% ctx().x = 1 %>, do: j}}, {{when: <% failed() %>, do: j}}]}}\n"
        for one in names
    )
    with pytest.raises(UsageError, match="what an expression of it becomes is refused"):
        orquesta(f"  s: {{next: [{{do: [{', '.join(names)}]}}]}}\n{tasks}  j: {{join: all}}", "input: [x]")


def test_what_is_only_nearly_the_same_is_noted(written: Any) -> None:
    made = orquesta("  a: {action: p.a, input: {v: <% ctx().x / 2 %>, w: <% 7 / 2.0 %>}}", "input: [x]")
    assert ["whole numbers" in note.text for note in made.notes] == [False, True]
    made = orquesta(
        "  a: {action: p.a, next: [{when: <% failed() %>, publish: [e: <% result().stderr %>], do: b}]}\n  b: {}"
    )
    assert "the text of the error only, which has no keys" in made.notes[-1].text
    assert 'publish: {e: "{{ inputs.todo_1 }}"}' in made.text


def test_outputs_read_those_before_them() -> None:
    made = orquesta(
        "  a: {}",
        "input: [x: 2]\n"
        "output: [a1: <% ctx().x + 1 %>, b1: <% ctx().a1 * 2 %>, c1: 'v<% ctx().b1 %>', d1: <% ctx().c1 %>,"
        " e1: 7, f1: <% ctx().e1 %>]",
    )
    for line in (
        'b1: "{{ (inputs.x + 1) * 2 }}"',
        'c1: "v{{ ((inputs.x + 1) * 2) }}"',
        "inputs.todo_1",
        'f1: "{{ 7 }}"',
    ):
        assert line in made.text
    assert [note.text for note in made.notes if "'c1' is read, whose value is no single expression" in note.text]


def test_outputs_that_double_do_not_grow_without_an_end() -> None:
    doubled = "".join(f", o{at + 1}: <% ctx().o{at} + ctx().o{at} %>" for at in range(40))
    made = orquesta("  a: {}", f"input: [x: 2]\noutput: [o0: <% ctx().x %>{doubled}]")
    assert len(made.text) < 40_000
    assert any("is not converted" in note.text for note in made.notes)


def test_a_failure_that_goes_back_to_the_head_of_its_loop_leaves_out_what_it_was_on_the_way_to(written: Any) -> None:
    source = """
tasks:
  zero: {action: x.n, next: [{do: start}]}
  start: {action: x.n, next: [{do: a}]}
  a: {action: x.y, next: [{when: <% succeeded() %>, do: b}, {when: <% failed() %>, do: start}]}
  b: {action: x.b, next: [{do: c}, {when: <% succeeded() %>, do: d}]}
  c: {action: x.c}
  d: {action: x.d}
"""
    actions = """
def x_n(): pass
def x_y():
    seen.append("a")
    if len(seen) < 3:
        raise ValueError("again")
def x_b(): seen.append("b")
def x_c(): seen.append("c")
def x_d(): seen.append("d")
seen = []
"""
    assert ran(written, source, "heading_actions", actions).ok
    seen = sys.modules["heading_actions"].seen
    assert seen[:4] == ["a", "a", "a", "b"]
    assert sorted(seen[4:]) == ["c", "d"]


def test_what_never_happens_is_left_out() -> None:
    for rest in ("publish: [{x: 1}], do: b", "do: fail"):
        text = orquesta(f"  a: {{next: [{{when: <% succeeded() and failed() %>, {rest}}}]}}\n  b: {{join: all}}").text
        assert "never" not in text
        loads(text)


@pytest.mark.parametrize("text", ["sort()", "join()", "isEmpty()", "take(1)", "format()", "task_status() = 1"])
def test_functions_without_their_arguments_are_noted(text: str) -> None:
    made = orquesta(f"  a: {{action: core.echo, input: {{message: <% {text} %>}}}}")
    assert "todo_1" in made.text
    assert made.notes


def test_texts_of_brackets_are_texts() -> None:
    orquesta("  a: {action: core.echo, delay: '" + "[" * 100_000 + "'}")
    orquesta("  a: {action: 'core.echo message=" + "[" * 1_900 + "'}")


def test_a_member_of_a_group_without_a_name_is_refused_or_noted() -> None:
    with pytest.raises(UsageError, match="name"):
        convert("tasks:\n- {name: g, type: parallel, tasks: [{action: x.y}]}\n", name="w")
