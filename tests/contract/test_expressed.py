"""Expressions and templates where a Dag takes functions, in every mode and on every loop."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import pytest
from conftest import ROOT

import flow
from flow.errors import EvaluationError, ExpressionSyntaxError, LoopLimit

MODES: Mapping[str, dict[str, Any]] = {
    "inline": {},
    "asyncio": {"backend": "asyncio", "waits": True},
    "bounded": {"limit": 1, "waits": True},
    "workers": {"mode": "workers", "limit": 2},
    "threads": {"executor": "thread"},
    "trio": {"backend": "trio", "waits": True},
    "uvloop": {"backend": "uvloop", "waits": True},
    "collect": {"on_error": "collect"},
    "freeing": {"keep": "targets"},
}


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    if request.param in ("trio", "uvloop"):
        pytest.importorskip(request.param)
    return dict(MODES[request.param])


def run(dag: flow.Dag, mode: Mapping[str, Any], inputs: Mapping[str, Any] | None = None, **more: Any) -> flow.Result:
    """Run it; a run that is not ok gives its Result as well."""
    settings = {**mode, **more}
    if settings.pop("waits", False):
        dag.add("waits", _waits)
    try:
        return flow.run(dag, inputs, config=flow.Config(**settings))
    except flow.RunError as error:
        return error.result


async def _waits() -> None: ...


def fails() -> int:
    raise ValueError("no")


def faults_of(dag: flow.Dag) -> str:
    with pytest.raises(flow.DefinitionError) as caught:
        dag.compile()
    return "\n".join(caught.value.faults)


# -- the room and the function ---------------------------------------------------------------


@pytest.mark.parametrize(
    "first",
    [
        "import flow.expr",
        "from flow import expr",
        "from flow.expr import compile",
        "import flow; flow.template('{{ a }}')",
        "import flow; flow.expr('a')",
        "import flow.policy.expressed",
        "import flow.policy.scope",
    ],
)
def test_it_is_the_room_and_is_called_whatever_is_imported_first(first: str) -> None:
    code = f"""
import sys
import flow
assert "flow.expr" not in sys.modules
assert not any(name in sys.modules for name in ("flow.policy.scope", "flow.policy.expressed"))
{first}
import flow.expr as room
assert flow.expr is room is sys.modules["flow.expr"]
from flow.expr import compile, template
assert flow.expr.compile is compile and compile("a")(a=2) == 2
assert flow.expr("a + 1")(a=2) == room("a + 1")(a=2) == 3
assert flow.template("x {{{{ a }}}}")(a=2) == "x 2"
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert ran.returncode == 0, ran.stderr


def test_what_it_is() -> None:
    made, text = flow.expr("inputs.env == 'prod'"), flow.template("Hello {{ name }}")
    assert repr(made) == "flow.expr(\"inputs.env == 'prod'\")"
    assert repr(text) == "flow.template('Hello {{ name }}')"
    assert made(inputs={"env": "prod"}) is True
    assert text(name="Ada") == "Hello Ada"
    assert made == flow.expr("inputs.env == 'prod'") != flow.expr("inputs.env == 'dev'")
    assert made != text
    assert made != 3
    assert len({made, flow.expr("inputs.env == 'prod'"), text}) == 2
    for again in (pickle.loads(pickle.dumps(made)), copy.deepcopy(made)):
        assert again == made
        assert again.location == made.location
        assert again(inputs={"env": "dev"}) is False
    file, _, line = made.location.rpartition(":")
    assert (file, line.isdigit()) == (__file__, True)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: flow.expr("a +"), "expression 'a +', column 4: this is no expression"),
        (lambda: flow.expr(3), "an expression is a str, not int"),  # type: ignore[arg-type]
        (lambda: flow.expr("a.b()"), "column 1"),
        (lambda: flow.expr("system.nod"), "there is no key 'nod' in system (did you mean 'node' or 'now'?)"),
        (lambda: flow.expr("1 < 2 and\n nodes[x]"), "line 2, column 2: 'nodes' is read by the name of a node"),
        (lambda: flow.expr("suceeded(a)"), "did you mean 'succeeded'"),
        (lambda: flow.template("Hello {{ name | upper }}"), "filters are functions"),
        (lambda: flow.template("Hello {{ system.nod }}"), "there is no key 'nod' in system"),
        (lambda: flow.template(3), "a template is a str, not int"),  # type: ignore[arg-type]
    ],
)
def test_refused_at_the_line_of_the_user(make: Callable[[], Any], text: str) -> None:
    with pytest.raises(ExpressionSyntaxError) as caught:
        make()
    assert text in str(caught.value)
    assert {frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)} == {__file__}


# -- functions of nodes ----------------------------------------------------------------------


def test_as_a_function(mode: dict[str, Any]) -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 3)
    dag.add("build-image", lambda: {"tag": 7})
    dag.add("total", flow.expr("a + b + inputs.b + nodes['build-image'].tag"))
    dag.add("text", flow.template("{{ name }}: {{ total }}"))
    dag.add("same", flow.template("{{ [total, a] }}"))
    dag.add("constant", flow.expr("1 + 1"))
    dag.add("renamed", flow.expr("left * right"), needs={"left": "a", "right": "total"})
    dag.add("by_place", flow.expr("left - right"), needs=["a", "total"])
    text = "[default(inputs.lacking, 5), default(lacking2, 6), default(a, 7), default(inputs.b, 8)]"
    dag.add("default", flow.expr(text))
    result = run(dag, mode, {"b": 10, "name": "n"}, keep="all")
    assert {name: result[name] for name in dag.names[2:9]} == {
        "total": 30, "text": "n: 30", "same": [30, 3], "constant": 2, "renamed": 90, "by_place": -27,
        "default": [5, 6, 3, 10],
    }  # fmt: skip
    plan = dag.compile()
    assert {*plan.inputs} == {"b", "name", "lacking", "lacking2"}
    assert {*plan.required_inputs} == {"b", "name"}


def test_what_the_run_tells(mode: dict[str, Any]) -> None:
    def publish(ctx: flow.Context) -> int:
        ctx.data["k"] = {"x": 4}
        return 1

    dag = flow.Dag("told", inputs=["env", "more"])
    dag.add("published", publish)
    said = "[data.k.x, inputs.env, len(inputs), system.workflow, system.node, system.attempt, now() >= system.started]"
    dag.add("it", flow.expr(f"{said} + [system.now >= system.started, type(system.run_id), published]"))
    when = flow.expr("data.k.x == 4 and system.node == 'asked' and now() > 0")
    dag.add("asked", lambda: 1, after="published", when=when)
    dag.add("all", flow.expr("[keys(system), keys(data), inputs]"), after="published")
    result = run(dag, mode, {"env": "prod", "more": 2}, keep="all")
    assert result["it"] == [4, "prod", 2, "told", "it", 1, True, True, "str", 1]
    assert result["asked"] == 1
    named = ["run_id", "workflow", "started", "now", "node", "attempt"]
    assert result["all"] == [named, ["k"], {"env": "prod", "more": 2}]


def test_on_maps(mode: dict[str, Any]) -> None:
    dag = flow.Dag("d")
    dag.add("rate", lambda: 10)
    dag.map("scaled", flow.expr("{'x': item.x * rate + index + inputs.plus}"), over="rows", key=flow.expr("item.name"))
    dag.filter("large", flow.expr("item.x > inputs.plus"), over="rows", when=flow.expr("len(inputs.rows) > 1"))
    dag.map("never", flow.expr("item"), over="rows", when=flow.expr("len(rows) > 2"))
    rows = [{"name": "a", "x": 1}, {"name": "b", "x": 5}]
    result = run(dag, mode, {"rows": rows, "plus": 2}, keep="all")
    assert result["scaled"] == {"a": {"x": 12}, "b": {"x": 53}}
    assert result["large"] == rows[1:]
    assert str(result.status["never"]) == "bypassed"


def test_a_key_that_cannot_be_made(mode: dict[str, Any]) -> None:
    dag = flow.Dag("d")
    dag.map("m", flow.expr("item"), over="rows", key=flow.expr("item.name"))
    result = run(dag, mode, {"rows": [{"nam": 1}]})
    error = result.errors["m"]
    assert isinstance(error, EvaluationError)
    assert "no key 'name' in a dict (did you mean 'nam'?)" in str(error)
    assert any("from the map's key= for item 0" in note for note in error.__notes__)


# -- when ------------------------------------------------------------------------------------


def test_when(mode: dict[str, Any]) -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 3)
    dag.add("yes", lambda: 1, when=flow.expr("a > 2 and inputs.env == 'prod'"))
    dag.add("no", lambda: 1, when=flow.expr("a > 3"))
    dag.add("templated", lambda: 1, when=flow.template("{{ a > 2 }}"))
    dag.route("choose", flow.expr("'x' if a > 2 else 'y'"), to={"x": "x", "y": "y"})
    dag.add("x", flow.expr("a * 2"))
    dag.add("y", flow.expr("a * 3"))
    result = run(dag, mode, {"env": "prod"}, keep="all")
    told = {name: str(result.status[name]) for name in ("yes", "no", "templated", "x", "y")}
    assert told == {"yes": "completed", "no": "bypassed", "templated": "completed", "x": "completed", "y": "bypassed"}
    assert result.why("no") == "node 'no' was bypassed: its condition (a > 3) said no"


@pytest.mark.parametrize("text", ["a", "errors(a)", "{{ 'true' }}"])
def test_one_that_gives_no_bool_fails_the_node(mode: dict[str, Any], text: str) -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 3)
    when = flow.template(text) if "{" in text else flow.expr(text)
    dag.add("it", lambda: 1, when=when, retry=flow.Retry(3, delay=0.0), fallback=5)
    error = run(dag, mode).errors["it"]
    assert isinstance(error, flow.UsageError)
    assert str(error).startswith(f"when ({text!r} at {when.location}) returns True or False, not ")


def test_one_that_fails_fails_the_node_and_shows_no_frame_of_ours(mode: dict[str, Any]) -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 3)
    dag.add("it", lambda: 1, when=flow.expr("a.x == 1"))
    dag.add("other", flow.expr("a + 'x'"))
    result = run(dag, mode, on_error="collect")
    for name, text in (("it", "column 3: an int has no keys"), ("other", "column 1: '+' adds numbers")):
        error = result.errors[name]
        assert isinstance(error, EvaluationError)
        assert text in str(error)
        assert any(f"in node {name!r}" in note for note in error.__notes__)
        assert [frame.filename for frame in traceback.extract_tb(error.__traceback__)] == []
    assert "its condition (a.x == 1) could not be asked" in result.why("it")


ASKED = {
    "failed(bad)": "completed", "failed(ok)": "bypassed", "failed(left)": "bypassed", "failed(skipped)": "skipped",
    "succeeded(bad)": "skipped", "succeeded(ok)": "completed", "succeeded(left)": "bypassed",
    "not failed(bad)": "bypassed", "not failed(ok)": "completed", "not failed(skipped)": "completed",
    "bypassed(left)": "completed", "bypassed(ok)": "bypassed", "bypassed(left, ok)": "bypassed",
    "failed(ok, bad)": "completed", "failed(ok) or failed(bad)": "completed", "succeeded(ok, bad)": "skipped",
    "failed(bad) and errors(bad) == ['ValueError: no']": "completed", "errors(ok) == []": "completed",
    "timed_out(bad)": "bypassed", "timed_out(slow)": "completed", "failed(nodes['b-c'])": "completed",
    "succeeded(ok) and ok == 1": "completed", "bypassed(left) and default(left, 5) == 5": "completed",
    "len(errors(collected)) == 1": "completed", "succeeded(soft)": "bypassed", "failed(soft)": "completed",
}  # fmt: skip


@pytest.mark.parametrize("text", ASKED)
def test_how_nodes_ended(mode: dict[str, Any], text: str) -> None:
    dag = flow.Dag("d")
    dag.add("ok", lambda: 1)
    dag.add("bad", fails)
    dag.add("b-c", fails)
    dag.add("soft", fails, continue_on_error=True)
    dag.add("left", lambda: 1, when=lambda: False)
    dag.add("skipped", lambda bad: bad)
    dag.add("slow", _times_out)
    dag.map("collected", _odd, over="items", on_error="collect")
    dag.add("it", lambda: "ran", when=flow.expr(text))
    result = run(dag, mode, {"items": [1, 2]}, on_error="collect")
    assert str(result.status["it"]) == ASKED[text]


def _odd(item: int) -> int:
    if item % 2:
        raise ValueError("odd")
    return item


def _times_out() -> None:
    raise flow.NodeTimeout("too long")


def test_a_failure_that_a_condition_asks_for_is_handled(mode: dict[str, Any]) -> None:
    """``failed(x)`` alone or in a top-level ``and`` handles it; elsewhere the run goes on, and it is not handled."""
    for text, ok in (
        ("failed(bad)", True),
        ("not bypassed(bad) and (failed(bad) and len(errors(bad)) == 1)", True),
        ("failed(bad) or true", False),
        ("not succeeded(bad)", False),
        ("timed_out(bad)", True),
        ("timed_out(bad) or true", False),
    ):
        dag = flow.Dag("d")
        dag.add("bad", _times_out if "timed_out" in text else fails)
        dag.add("it", lambda: "ran", when=flow.expr(text))
        result = run(dag, mode)
        assert (str(result.status["it"]), result.ok) == ("completed", ok)


def test_after_says_otherwise(mode: dict[str, Any]) -> None:
    dag = flow.Dag("d")
    dag.add("bad", fails)
    dag.add("done", lambda: 1, after={"bad": "done"}, when=flow.expr("failed(bad)"))
    dag.add("failed", lambda: 1, after={"bad": "failed"}, when=flow.expr("not bypassed(bad)"))
    routes = dag.compile()._nodes.routes
    assert routes is not None
    assert routes.conditions == {1: {0: "done"}, 2: {0: "failed"}}
    assert run(dag, mode).ok


def test_a_function_takes_outcomes_too(mode: dict[str, Any]) -> None:
    seen: list[flow.Outcome[int]] = []

    def when(bad: flow.Outcome[int], *, ok: flow.Outcome[int], ctx: flow.Context, plain: int = 3) -> bool:
        seen.extend([bad, ok])
        return bad.error is not None and ok.value == 1 and plain == 3 and ctx.node == "it"

    dag = flow.Dag("d")
    dag.add("ok", lambda: 1)
    dag.add("bad", fails)
    dag.add("it", lambda: 1, when=when)
    result = run(dag, mode)
    assert str(result.status["it"]) == "completed"
    assert [str(outcome.status) for outcome in seen] == ["failed", "completed"]
    assert not result.ok  # it is told of the failure, and handles none


def test_a_join_of_k_has_no_outcome_yet() -> None:
    seen = []

    def when(quick: flow.Outcome[int] | None = None, late: flow.Outcome[int] | None = None) -> bool:
        seen.append((quick, late))
        return True

    dag = flow.Dag("d")
    dag.add("quick", lambda: 1)
    dag.add("late", lambda quick: 2)
    dag.add("it", lambda: 1, when=when, join=1)
    flow.run(dag, config=flow.Config(order="critical_path"))
    ((quick, late),) = seen
    assert quick is not None and quick.value == 1
    assert late is None
    dag.add("text", lambda: 1, when=flow.expr("failed(late)"), join=1)
    assert "when asks how 'late' ended, and join=1 may start this node before" in faults_of(dag)


def test_cleanup_handles_nothing(mode: dict[str, Any]) -> None:
    dag = flow.Dag("d")
    dag.add("bad", fails)
    dag.add("if_failed", lambda: 1, cleanup=True, when=flow.expr("failed(bad)"))
    dag.add("if_not", lambda: 1, cleanup=True, when=flow.expr("succeeded(bad)"))
    result = run(dag, mode)
    told = {name: str(result.status[name]) for name in ("if_failed", "if_not")}
    assert told == {"if_failed": "completed", "if_not": "bypassed"}
    assert not result.ok


# -- until -----------------------------------------------------------------------------------


def test_until(mode: dict[str, Any]) -> None:
    inner = flow.Dag("inner")
    inner.add("better", flow.expr("text + '!'"))
    inner.add("score", flow.expr("len(better)"))
    dag = flow.Dag("d")
    dag.loop("carried", flow.expr("n * by"), carry="n", until=flow.expr("n > 30 and inputs.n <= 30"), max_iterations=9)
    until = flow.expr("out == inputs.n + 1 and system.node == 'free'")
    dag.loop("free", lambda n: n + 1, until=until, max_iterations=2)
    dag.loop(
        "nested", inner, carry={"text": "better"}, max_iterations=9,
        until=flow.expr("score >= 4 and nodes['score'] == score and len(inputs.text) == 3 and len(inputs) == 1"),
    )  # fmt: skip
    dag.loop("ever", lambda n: n, until=flow.expr("n > 9"), carry="n", max_iterations=2)
    dag.loop("odd", lambda n: n, until=flow.expr("n"), carry="n", max_iterations=2)
    result = run(dag, mode, {"n": 1, "by": 2, "text": "a"}, on_error="collect", keep="all")
    assert (result["carried"], result["free"]) == (32, 2)
    assert result["nested"] == {"better": "a!!!", "score": 4}
    assert isinstance(result.errors["ever"], LoopLimit)
    assert "'n > 9' at " in str(result.errors["ever"])
    assert str(result.errors["odd"]).startswith("until ('n' at ")


# -- faults ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("add", "text"),
    [
        (lambda d: d.add("x", flow.expr("biuld + 1")),
         "node 'x' ({here}) reads 'biuld', which is neither a node nor a declared input (did you mean 'build'?)"),
        (lambda d: d.add("x", flow.expr("default(biuld, 1)")), "reads 'biuld', which is neither a node nor a declared"),
        (lambda d: d.add("x", len, needs=["build"], when=flow.expr("inputs.evn == 1")),
         "its when reads inputs.evn, which is no declared input (did you mean 'env'?)"),
        (lambda d: d.add("x", flow.expr("default(inputs.evn, 1)")), "inputs.evn, which is no declared input"),
        (lambda d: d.add("x", flow.expr("inputs.build")),
         "reads inputs.build, and 'build' is a node of this dag: write "
         "build for the output of the node"),
        (lambda d: d.add("x", flow.expr("nodes['biuld']")),
         "'biuld', which is no node of this dag (did you mean 'build"),
        (lambda d: d.add("x", flow.expr("nodes['env']")), "reads 'env', which is no node of this dag"),
        (lambda d: d.add("x", flow.template("{{ 1 }}"), when=flow.expr("failed(env)")), "'env', which is no node of"),
        (lambda d: d.add("x", flow.expr("build"), when=flow.expr("failed(build)")),
         "takes the output of 'build', which may not come under 'failed': write default(..., other) around it"),
        (lambda d: d.add("x", flow.expr("1"), after="build", join="done", when=flow.expr("build > 1")),
         "when takes the output of 'build', which may not come: write default(..., other) around it"),
        (lambda d: d.map("x", flow.expr("env * 2"), over="build"), "must read its item as 'item'"),
        (lambda d: d.map("x", flow.expr("item"), over="build", when=lambda *a: True), "takes *args: let it name"),
        (lambda d: d.add("x", lambda: 1, when=lambda **k: True), "takes **kwargs: let it name"),
        (lambda d: d.map("x", flow.expr("item if failed(build) else 1"), over="env"), "a map gives outputs"),
        (lambda d: d.map("x", flow.expr("item"), over="build", key=flow.expr("item.name + env")),
         "key is an expression of 'item' alone, and flow.expr('item.name + env') reads 'env'"),
        (lambda d: d.map("x", flow.expr("item"), over="build", key=flow.expr("now()")), "reads 'the Context'"),
        (lambda d: d.map("x", flow.expr("item"), over="build", key=flow.expr("'a'")), "reads nothing"),
        (lambda d: d.reduce("x", flow.expr("a + b"), over="build", start=0), "reduce calls a function of two values"),
        (lambda d: _loop(d, "stat > 1 and state"), "takes 'state', which is no parameter of the function; its return"),
        (lambda d: _loop(d, "inputs.nn > out"), "takes 'inputs.nn', which is no parameter of the function"),
        (lambda d: _loop(d, "default(inputs.nn, out)"), "takes 'inputs.nn', which is no parameter of the function"),
        (lambda d: _loop(d, "failed(out)"), "takes outputs, not a flow.Outcome: do not ask how 'out' ended"),
        (lambda d: d.loop("x", lambda n: n, carry="n", until=lambda **k: True, max_iterations=2), "takes **kwargs"),
    ],
)  # fmt: skip
def test_faults(add: Callable[[flow.Dag], Any], text: str) -> None:
    dag = flow.Dag("d", inputs=["env", "n"])
    dag.add("build", lambda: [1])
    add(dag)
    here = str(getattr(dag._definition.fns[-1], "location", ""))
    assert text.format(here=here) in faults_of(dag) if "{here}" in text else text in faults_of(dag)


def _loop(dag: flow.Dag, until: str) -> None:
    dag.loop("x", lambda n: n, until=flow.expr(until), max_iterations=2)


def test_undeclared_names_are_run_inputs() -> None:
    dag = flow.Dag("d")
    dag.add("x", flow.expr("anything + inputs.other"), when=flow.expr("third"))
    assert set(dag.compile().required_inputs) == {"anything", "other", "third"}


def test_declared_inputs(mode: dict[str, Any]) -> None:
    import msgspec

    class Inputs(msgspec.Struct):
        env: str
        count: int = 3

    dag = flow.Dag("d", inputs=Inputs)
    dag.add("it", flow.template("{{ inputs.env }} {{ inputs.count }} {{ default(inputs.count, 4) }}"))
    assert run(dag, mode, {"env": "x"})["it"] == "x 3 3"


def test_similar_names_are_warned_of() -> None:
    dag = flow.Dag("d")
    dag.add("customers", lambda: [1])
    dag.add("it", flow.expr("inputs.custmoers"))
    assert [(found.parameter, found.source) for found in dag.compile().warnings()] == [("custmoers", "customers")]


# -- parts, copies, pictures, threads --------------------------------------------------------


def _whole() -> flow.Dag:
    dag = flow.Dag("inner")
    dag.add("a", flow.expr("2 + inputs.x"))
    when = flow.expr("inputs.x < a and not failed(a) and system.attempt == 1")
    dag.add("b", flow.expr("default(a, 0) + default(inputs.y, 1)"), when=when)
    dag.add("c", flow.expr("default(b, 0)"), when=flow.expr("succeeded(b)"), join="none_failed")
    return dag


def test_as_a_part_of_another(mode: dict[str, Any]) -> None:
    dag = flow.Dag("outer")
    dag.add("given", lambda: 10)
    dag.include(_whole(), prefix="p", inputs={"x": "given"})
    dag.add("nested", _whole(), needs={"x": "given"})
    result = run(dag, mode, keep="all")
    assert (result["p.b"], result["p.c"], result["nested"]["c"]) == (13, 13, 13)
    part = run(_whole().subgraph("b"), mode, {"x": 1})
    assert part["b"] == 4
    known = flow.run(_whole(), {"x": 1}, known={"a": 7})
    assert known["c"] == 8
    dag.add("x", lambda: 1)
    dag.include(_whole(), prefix="q")
    assert "include(inputs={'x': ...})" in faults_of(dag)


def test_plans_are_pickled_and_copied() -> None:
    plan = _whole().compile()
    flow.run(plan, {"x": 1})
    for other in (pickle.loads(pickle.dumps(plan)), copy.deepcopy(plan)):
        assert dict(flow.run(other, {"x": 1}).outputs) == {"a": 3, "b": 4, "c": 4}


@pytest.mark.slow
def test_in_other_processes() -> None:
    dag = flow.Dag("d")
    dag.map("m", flow.expr("item * default(factor, 2)"), over="xs", executor="p")
    dag.add("n", flow.template("{{ m[0] }}!"), executor="p")
    with ProcessPoolExecutor(1) as pool:
        result = flow.run(dag, {"xs": [1, 2]}, config=flow.Config(executors={"p": pool}))
    assert (result["m"], result["n"]) == ([2, 4], "2!")


def test_pictures_show_the_text() -> None:
    dag = flow.Dag("d")
    dag.add("a", fails)
    dag.add("b", flow.expr("1"), when=flow.expr("failed(a) and\n  'x' < 'y'"))
    dag.add("c", lambda: 1, when=flow.expr("true or " + "true or " * 20 + "failed(a)"))
    plan = dag.compile()
    card = plan._repr_html_()
    assert "when failed(a) and &#x27;x&#x27; &lt; &#x27;y&#x27;" in card
    assert f"when {('true or ' * 20)[:59]}\u2026" in card
    from flow.cli import show

    assert show._kind(plan, 1) == "sync, when failed(a) and 'x' < 'y'"
    assert show._routing(plan, 1)["when"] == "failed(a) and 'x' < 'y'"
    assert '|"failed"|' in flow.render.to_mermaid(plan)


def test_many_threads_may_be_the_first() -> None:
    for _ in range(20):
        made = flow.expr("a.x + inputs.y if not default(b, false) else c")
        gate, found = threading.Barrier(8), []

        def call(made: Any = made, gate: Any = gate, found: Any = found) -> None:
            gate.wait()
            found.append(made(a={"x": 1}, inputs={"y": 2}))

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [3] * 8


def test_of_many_names_and_of_a_hot_plan() -> None:
    names = [f"n{k}" for k in range(20)]
    dag = flow.Dag("d")
    for k, name in enumerate(names):
        dag.add(name, lambda k=k: k)
    dag.add("all", flow.expr(" + ".join(names) + " + inputs.x"))
    dag.add("few", flow.expr("n1 + n2"))
    dag.add("text", flow.template("{{ few }}!"))
    plan = dag.compile()
    for x in range(2_500):  # its code is generated meanwhile
        result = flow.run(plan, {"x": x})
        assert (result["all"], result["few"], result["text"]) == (190 + x, 3, "3!")


def test_tolerated_failures_signals_and_teardowns(mode: dict[str, Any]) -> None:
    dag = flow.Dag("d")
    dag.add("soft", fails, continue_on_error=True)
    dag.add("default", flow.expr("default(soft, 3) + 1"))
    dag.add("told", flow.expr("[failed(soft), succeeded(soft), default(soft, 0), errors(soft)]"))
    dag.signal("left", timeout=60, when=flow.expr("succeeded(soft)"))
    dag.timer("due", seconds=0.0, when=flow.expr("failed(soft)"))
    dag.add("setup", lambda: 1)
    dag.teardown("down", flow.expr("[default(setup, 0), system.node]"), of="setup", when=flow.expr("bypassed(left)"))
    result = run(dag, mode, keep="all")
    assert (result["default"], result["told"]) == (4, [True, False, 0, ["ValueError: no"]])
    assert result["down"] == [1, "down"]
    assert (str(result.status["left"]), str(result.status["due"])) == ("bypassed", "completed")


def test_reads() -> None:
    """What workflow files use of it: several expressions, names that the caller adds, and scopes by themselves."""
    from flow.expr import structure
    from flow.policy.scope import ALL, Reads, decided
    from flow.signature import Source

    made = structure({"a": "{{ build.tag }}", "b": ["{{ inputs.env }} {{ item.x }}", "{{ default(build, 1) }}"]})
    reads = Reads(made.uses, made.calls, local=("item",))
    assert (reads.nodes, reads.inputs, reads.statuses, reads.needs_context) == ({"build": False}, ("env",), (), False)
    assert [p.source for p in reads.parameters] == [Source("build"), Source("env", "input")]
    scope = reads.maker()([{"tag": 1}, "prod"])
    assert scope == {"build": {"tag": 1}, "inputs": {"env": "prod"}}
    assert made.evaluate({**scope, "item": {"x": 2}}) == {"a": 1, "b": ["prod 2", {"tag": 1}]}
    assert reads.caller(structure(["{{ build }}{{ inputs.env }}"]))(1, 2) == ["12"]

    asked = flow.expr.compile("failed(nodes['a-b']) and (succeeded(c, d) and x) and (failed(e) or y)", functions=ALL)
    assert decided(asked) == {"a-b": "failed", "c": "completed", "d": "completed"}
    other = Reads(asked.uses, asked.calls, conditions=decided(asked))
    assert [(p.name, p.source.condition) for p in other.parameters if p.is_outcome and p.source is not None] == [
        ("a-b", "failed"), ("c", "completed"), ("d", "completed"), ("e", ""),
    ]  # fmt: skip
    both = flow.expr("nodes['inputs.x'] + inputs.x")
    assert [p.name for p in both.shape().parameters] == ["nodes['inputs.x']", "inputs.x"]
    assert both(3, 4) == 7
    empty = flow.expr("[inputs, data.k, keys(system)]").reads
    assert (empty.whole_inputs, empty.data, empty.needs_context) == (True, ("k",), True)


@pytest.mark.parametrize("text", ["failed(a, b)", "failed(a) or failed(b)", "true and (timed_out(a) or failed(a, b))"])
def test_asking_for_one_failure_of_several_handles_it(text: str) -> None:
    def dag_of(bad: str) -> flow.Dag:
        dag = flow.Dag("d")
        for name in ("a", "b"):
            dag.add(name, lambda name=name: 1 / (name != bad), needs={})
        dag.add("handler", lambda: "handled", when=flow.expr(text))
        return dag

    for bad in ("a", "b"):
        result = flow.run(dag_of(bad))
        assert result.ok
        assert result["handler"] == "handled"
    assert str(flow.run(dag_of("none")).status["handler"]) == "bypassed"


@pytest.mark.parametrize("targets", [None, ["handler"]])
def test_asking_for_one_failure_of_several_handles_it_in_a_part_too(targets: list[str] | None) -> None:
    dag = flow.Dag("d")
    dag.add("before", lambda: 0)
    dag.add("a", lambda: 1 / 0, needs={})
    dag.add("b", lambda: 1)
    dag.add("handler", lambda: "handled", when=flow.expr("failed(a, b)"), join="done")
    result = flow.run(dag, targets=targets, config=flow.Config(on_error="collect"))
    assert (str(result.status["handler"]), result.ok) == ("completed", True)


def test_asking_for_a_failure_or_something_else_does_not_handle_it() -> None:
    dag = flow.Dag("d")
    dag.add("a", lambda: 1 / 0)
    dag.add("other", lambda: 1, when=flow.expr("failed(a) or true"))
    with pytest.raises(flow.RunError) as caught:
        flow.run(dag)
    assert str(caught.value.result.status["other"]) == "completed"
