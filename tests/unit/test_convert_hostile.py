"""Hostile workflows of other engines: what is made of them holds none of their code, and it takes little time."""

from __future__ import annotations

import ast
import json
import time

import pytest
from watching import watched

from flow.errors import UsageError
from flow.spec.converting import convert

pytest.importorskip("yaml", reason="PyYAML is not installed: pip install -e '.[spec]'")

TASKS = "version: 1.0\ntasks:\n"


def calling(action: str, given: dict[str, object] | None = None) -> str:
    return f"{TASKS}  a: {{action: {json.dumps(action)}, input: {json.dumps(given or {})}}}\n"


def holding(text: str) -> str:
    return calling("core.noop", {"m": text})


@pytest.mark.parametrize(
    ("action", "given"),
    [
        ('x"""\nimport\tos;os.system("id")\n"""', {}),
        ('x"""+__import__("os").system("id")+"""', {}),
        ('x"+__import__("os").system("id")+"', {}),
        ('x\\"""\nimport\tos\n"""', {}),
        ("x'''\nimport\tos\n'''", {}),
        ("x.y():\tpass\nimport\tos\ndef\tz", {}),
        ("x\r\nimport\tos", {}), ("x\u2028import\tos", {}), ("x\x85import", {}), ("x\\", {}),
        ("\\N{BULLET}", {}), ("{x}", {}),
        ("x.y", {"a): pass\nimport os\ndef z(": 1}),
        ("x.y", {"None": 1, "import": 2, "lambda": 3, "more": 4, "a=__import__('os')": 5, "é": 6, "__debug__x": 7}),
        ("class", {}), ("None", {}), ("__import__", {}), ("eval", {}), ("x²", {}), ("9", {}), ("", {}), ("é.ü", {}),
        ("x" * 5_000, {}), ("\u202ex", {}),
    ],
)  # fmt: skip
def test_the_module_holds_functions_alone(action: str, given: dict[str, object]) -> None:
    made = convert(calling(action, given))
    head, typing, names, *functions = ast.parse(made.module).body
    assert isinstance(head, ast.Expr) and isinstance(typing, ast.ImportFrom) and typing.module == "typing"
    assert isinstance(names, ast.Assign) and isinstance(ast.literal_eval(names.value), list)
    for one in functions:
        assert isinstance(one, ast.FunctionDef) and not one.decorator_list and len(one.body) == 2
        said, what = one.body
        assert isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant)
        assert isinstance(what, (ast.Raise, ast.Return))
        assert all(isinstance(default, ast.Constant) and default.value is None for default in one.args.defaults)
        calls = [node for node in ast.walk(one) if isinstance(node, ast.Call)]
        assert [ast.unparse(call.func) for call in calls] == ["NotImplementedError"] * len(calls)
    assert made.module.isascii() and made.module.replace("\n", "").isprintable()


@pytest.mark.parametrize(
    "text",
    [
        holding("<% " * 20_000), holding("{{ " * 20_000), holding("{% " * 20_000), holding("{# " * 20_000),
        holding("<% " + "(" * 3_000 + "1" + " %>"), holding("<% " + "not " * 3_000 + "1 %>"),
        holding("<% " + "-" * 3_000 + "1 %>"), holding("{{ " + "+" * 3_000 + "1 }}"),
        holding("<% " + "1+" * 3_000 + "1 %>"),
        holding("{{ a" + "|upper" * 3_000 + " }}"), holding("<% ctx()" + ".a" * 3_000 + " %>"),
        holding("<% " + "9" * 5_000 + " %>"), holding("<% a." + "9" * 400 + ".5 %>"), holding("{{ default() }}"),
        calling("core.local " + "a" * 60_000), calling("core.local " + "a=<%" * 10_000),
        calling("core.local " + "a=[ " * 10_000),
        calling("core.local " + 'a=" ' * 10_000), calling("core.local " + "a={ " * 10_000),
        "".join(f"%TAG !a{i}! x\n" for i in range(20_000)) + "---\n" + TASKS,
        "a: &a [x]\nb: [*a, *a]\n" + TASKS, "a: " + "[" * 3_000,
        TASKS + "  a: !!python/object/apply:os.system ['id']\n",
    ],
    ids=lambda text: ascii(text[40:80]),
)  # fmt: skip
def test_hostile_workflows_take_no_time(text: str) -> None:
    begin = time.process_time()
    with watched(("object.__getattr__", "sys._getframe", "import")) as seen:
        try:
            assert convert(text).text
        except UsageError as error:
            assert str(error)
    assert [event for event in seen if event[0] != "open" or ".py" not in event[1]] == []
    assert time.process_time() - begin < 3.0
