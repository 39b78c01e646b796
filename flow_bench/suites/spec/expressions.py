"""What an expression costs, beside a Python lambda and other languages of expressions that run what a stranger wrote.

Jinja's sandbox, jmespath and simpleeval are each given what they call the same; their parsing is done before. A library
that is not installed, or has no such expression, has no figure.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flow.expr import compile, template
from flow_bench.harness.contender import Contender, expect, fresh
from flow_bench.harness.interleave import interleave
from flow_bench.harness.rows import UNITS, Row, Target, ratios

SCOPE: Mapping[str, Any] = {
    "inputs": {"env": "prod", "count": 12, "limit": 5, "tags": ["blue", "green"], "name": "Ada"},
    "build": {"image": {"tag": "v1.2", "size": 1_200}, "ok": True},
    "users": [{"name": name, "age": len(name)} for name in ("ada", "grace", "linus", "margaret")],
    "a": 3, "b": 4,
}  # fmt: skip
OF_LAMBDA = Target(3.0)
"""What an expression may cost."""
Evaluate = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True)
class Effort:
    """How much to measure."""

    rounds: int = 31
    times: int = 2_000


QUICK = Effort(rounds=7, times=500)


@dataclass(frozen=True)
class Case:
    """One expression, in Python and in other languages. ``is_template``: it is text with an expression in it."""

    source: str
    python: Evaluate
    jinja: str = ""
    jmespath: str = ""
    simpleeval: str = ""
    is_template: bool = False


CASES = (
    Case("a", lambda s: s["a"], "a", "a", "a"),
    Case("build.image.tag", lambda s: s["build"]["image"]["tag"], "build.image.tag", "build.image.tag",
         "build['image']['tag']"),
    Case("a + b * 2", lambda s: s["a"] + s["b"] * 2, "a + b * 2", "", "a + b * 2"),
    Case("inputs.env == 'prod'", lambda s: s["inputs"]["env"] == "prod", "inputs.env == 'prod'", "inputs.env == 'prod'",
         "inputs['env'] == 'prod'"),
    Case("inputs.count > inputs.limit and build.ok",
         lambda s: s["inputs"]["count"] > s["inputs"]["limit"] and s["build"]["ok"],
         "inputs['count'] > inputs.limit and build.ok", "inputs.count > inputs.limit && build.ok",
         "inputs['count'] > inputs['limit'] and build['ok']"),
    Case("'blue' in inputs.tags", lambda s: "blue" in s["inputs"]["tags"], "'blue' in inputs.tags",
         "contains(inputs.tags, 'blue')", "'blue' in inputs['tags']"),
    Case("'big' if build.image.size > 1000 else 'small'",
         lambda s: "big" if s["build"]["image"]["size"] > 1000 else "small",
         "'big' if build.image.size > 1000 else 'small'", "",
         "'big' if build['image']['size'] > 1000 else 'small'"),
    Case("len(users)", lambda s: len(s["users"]), "users | length", "length(users)", "len(users)"),
    Case("upper(inputs.name)", lambda s: s["inputs"]["name"].upper(), "inputs.name | upper", "",
         "upper(inputs['name'])"),
    Case("pluck(users, 'name')", lambda s: [one["name"] for one in s["users"]],
         "users | map(attribute='name') | list", "users[].name", ""),
    Case("default(build.missing, 'none')", lambda s: s["build"].get("missing", "none"),
         "build.missing | default('none')", "build.missing || 'none'", ""),
    Case("Hello {{ inputs.name }} on {{ inputs.env }}",
         lambda s: f"Hello {s['inputs']['name']} on {s['inputs']['env']}",
         "Hello {{ inputs.name }} on {{ inputs.env }}", "", "", is_template=True),
    Case("{{ a }} of {{ inputs.count }}", lambda s: f"{s['a']} of {s['inputs']['count']}",
         "{{ a }} of {{ inputs.count }}", "", "", is_template=True),
)  # fmt: skip


def ours(case: Case) -> Evaluate:
    """Make what evaluates a case with :mod:`flow.expr`."""
    made: Any = template(case.source) if case.is_template else compile(case.source)
    made.evaluate(SCOPE)  # the first call writes the code
    found: Evaluate = made.evaluate
    return found


def in_jinja(case: Case) -> Evaluate:
    """Make what evaluates a case in Jinja's sandbox."""
    environment: Any = importlib.import_module("jinja2.sandbox").SandboxedEnvironment()
    if case.is_template:
        render: Evaluate = environment.from_string(case.jinja).render
        return render
    made: Evaluate = environment.compile_expression(case.jinja)
    return made


def in_jmespath(case: Case) -> Evaluate:
    """Make what evaluates a case in jmespath."""
    made: Evaluate = importlib.import_module("jmespath").compile(case.jmespath).search
    return made


def in_simpleeval(case: Case) -> Evaluate:
    """Make what evaluates a case in simpleeval."""
    module: Any = importlib.import_module("simpleeval")
    evaluator = module.EvalWithCompoundTypes(functions={"len": len, "upper": str.upper})
    parsed = evaluator.parse(case.simpleeval)

    def evaluate(scope: Mapping[str, Any]) -> Any:
        evaluator.names = scope
        return evaluator.eval(case.simpleeval, previously_parsed=parsed)

    return evaluate


PEERS: Mapping[str, tuple[Callable[[Case], str], Callable[[Case], Evaluate]]] = {
    "jinja2": (lambda case: case.jinja, in_jinja),
    "jmespath": (lambda case: case.jmespath, in_jmespath),
    "simpleeval": (lambda case: case.simpleeval, in_simpleeval),
}


def repeated(evaluate: Evaluate, times: int) -> Callable[[], Any]:
    """Return what evaluates so often, and returns the last value."""

    def run() -> Any:
        scope, value = SCOPE, None
        for _ in range(times):
            value = evaluate(scope)
        return value

    made: Callable[[], Any] = fresh(run)
    return made


def run(effort: Effort) -> Iterator[list[Row]]:
    """Yield a table of our expressions beside lambdas, and one of other libraries beside lambdas."""
    mine: list[Row] = []
    theirs: list[Row] = []
    section = "one expression, ratio to a Python lambda"
    others = "the same in other libraries, ratio to a Python lambda"
    for case in CASES:
        ways: dict[str, Evaluate] = {"lambda": case.python, "flow": ours(case)}
        notes: dict[str, str] = {}
        for library, (source, make) in PEERS.items():
            if not source(case):
                notes[library] = "n/a: it has no such expression"
                continue
            try:
                ways[library] = make(case)
            except ModuleNotFoundError:
                notes[library] = f"n/a: {library} is not installed: pip install '.[peers]'"
        check = expect(case.python(SCOPE))
        contenders = [
            Contender(label, lambda way=way: repeated(way, effort.times), check, effort.times)
            for label, way in ways.items()
        ]
        samples = interleave(contenders, effort.rounds, memory=False)
        for label in ("flow", *PEERS):
            rows, title = (mine, section) if label == "flow" else (theirs, others)
            name = case.source if label == "flow" else f"{label}: {case.source}"
            if label in notes:
                rows.append(Row(title, name, "ns", note=notes[label]))
                continue
            times = [one * UNITS["ns"] for one in samples[label]]
            beside = ratios(samples[label], samples["lambda"])
            rows.append(Row(title, name, "ns", times, ratios=beside, target=OF_LAMBDA if label == "flow" else None))
    yield mine
    yield theirs
