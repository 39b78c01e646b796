"""The JSON Schema of workflow files takes what the reader takes, and refuses what is wrong in structure."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

import flow.spec

yaml = pytest.importorskip("yaml")
jsonschema = pytest.importorskip("jsonschema")

SCHEMA = flow.spec.schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

DOCS = ROOT / "docs"
FAULTY_FILES = DOCS / "examples" / "faulty"


def examples() -> dict[str, str]:
    """The workflow files of the documentation, and those that stand on its pages."""
    others = {FAULTY_FILES, DOCS / "monitoring"}
    paths = [path for path in sorted(DOCS.rglob("*.y*ml")) if others.isdisjoint(path.parents)]
    found = {path.name: path.read_text("utf-8") for path in paths}
    for page in sorted(DOCS.glob("*.md")):
        blocks = re.findall(r"^```yaml\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
        for k, block in enumerate(blocks if page.name != "spec-errors.md" else ()):
            if re.search(r"^flow: 1", block, re.MULTILINE):
                found[f"{page.stem}-{k}"] = block
    return found


EXAMPLES = examples()

OF_MEANING = {
    "allowed", "bypassed", "circle", "cleanup", "cycle", "edges", "files", "filters", "itself", "joins", "names",
    "no-nodes", "offered", "places", "retry-if", "templates", "with", "without",
}  # fmt: skip
"""Faulty files of the documentation whose structure is right: expressions, names, edges, functions."""

OF_YAML = {
    "alias", "braces", "colon", "documents", "keys", "merge-key", "quotes", "tab", "tags", "twice", "unclosed",
}  # fmt: skip
"""Those that are no YAML, or YAML that is not read: a validator gets to see no data of them."""

WHOLE = """
flow: 1
name: deploy
description: All that a file can say.
inputs:
  env: {type: string, enum: [dev, prod], description: where to}
  regions: {type: array, items: {type: string, min_length: 2}, default: [eu, us]}
  count: {type: integer, minimum: 1, maximum: 9}
  token: {type: string, secret: true, pattern: "^[a-z]+$"}
  note: {required: false}
  anything:
vars:
  greeting: "{{ 'Deploying to ' + upper(inputs.env) }}"
config: {limit: 8, timeout: 600, keep: [ship], data: {preset: low_memory, slow_after: none}}
defaults: {retry: {attempts: 2}, timeout: 30, thread: true, store: pickle, join: all, concurrency: auto}
nodes:
  validate:
    call: deploy.steps:validate
    with: {env: "{{ inputs.env }}", nested: {list: [1, "{{ vars.greeting }}"]}}
    retry: {attempts: 3, delay: 5, retry_if: [ConnectionError, "deploy.types:Busy"]}
    timeout: {attempt: 3, node: 10.5}
    publish: {checked: "{{ result }}"}
    store: pickle
  approve: {signal: {type: "deploy.types:Approval"}, when: inputs.env == 'prod', timeout: 3600}
  bare: {signal: {}, fallback: {yes: true}}
  later: {timer: {at: "2027-01-31T09:00:00Z"}, after: {approve: failed}}
  soon: {timer: 3, after: validate}
  ship:
    map: deploy.steps:ship
    over: "{{ inputs.regions }}"
    with: {region: "{{ item }}"}
    concurrency: null
    batch_size: 3
    batch_wait: 0.5
    on_error: collect
    key: item.name
    take: 10
    join: none_failed
    after: [approve, bare]
  numbers: {map: deploy.steps:ship, over: [1, 2], pipelined: false}
  verdict: {route: ship.ok, to: {"true": good, "false": bad}, default: good, store: true}
  good: {set: {text: "{{ data.checked }}", n: 1}, store: false}
  bad: {file: undo.yaml, with: {env: "{{ inputs.env }}"}, continue_on_error: true, priority: 3, cost: 1.5}
  one: {merge: [good, bad], pick: first, store: false}
  again: {loop: "deploy.steps:poll", until: again.done, max_iterations: 5, carry: state, on_limit: return}
  rounds: {loop: {file: round.yaml}, until: check, max_iterations: 3, carry: {x: y}, history: true}
  notes:
    llm: {model: "openai:gpt-4.1-mini", input_price: "0.4", output_price: 1.6, cached_price: 0.1, cache_write_price: 0,
          max_output_tokens: 9000, context: 100000}
    system: Be brief.
    prompt: "Release notes of {{ inputs.env }}"
    messages: [{role: user, content: Hi}, {role: assistant, content: Hello}]
    output: {type: object, properties: {title: {type: string}, points: {type: array, items: {type: string}}}}
    limits: {requests: 3, input_tokens: 900, output_tokens: 800, total_tokens: 1500, cost: 0.05, on_unknown: ignore}
    budget: {run: "0.50", hour: 1, day: "20.00", month: 99.5, name: notes, by: workflow, alerts: [0.8]}
    rate: {requests_per_minute: 60, tokens_per_minute: 9000, concurrency: 4, name: mini}
    breaker: {failures: 3, successes: 1, seconds: 30}
    cache: {ttl: 3600, size: 100}
    fallback_models: ["anthropic:claude-sonnet-4"]
    temperature: 0
    max_output_tokens: 300
    stop: [END]
    options: {seed: 7}
    stream: false
    repair: 2
    capture: true
    on_truncated: keep
    retry: {attempts: 4}
    publish: {notes: "{{ result.title }}"}
  research: {agent: fast, prompt: "What of {{ notes.title }}?", tools: ["deploy.steps:search", {file: look.yaml}],
             conversation: true,
             approve: [search], max_rounds: 4, on_limit: answer, concurrency: null, budget: [{run: 1}], cache: true}
  close: {call: deploy.steps:close, cleanup: true, join: 1}
  undo: {call: log, with: {message: gone}, teardown: validate, executor: pool, abandon_on_timeout: true}
outputs:
  regions: "{{ ship.values }}"
"""

FAULTY = {
    "no version": "nodes: {a: {call: x:y}}",
    "another version": "{flow: 2, nodes: {a: {call: x:y}}}",
    "version as text": "{flow: '1', nodes: {a: {call: x:y}}}",
    "no nodes": "flow: 1",
    "empty nodes": "{flow: 1, nodes: {}}",
    "nodes as a list": "{flow: 1, nodes: [{call: x:y}]}",
    "a key of another engine": "{flow: 1, tasks: {a: {call: x:y}}, nodes: {a: {call: x:y}}}",
    "no kind": "{flow: 1, nodes: {a: {with: {x: 1}}}}",
    "two kinds": "{flow: 1, nodes: {a: {call: x:y, set: {x: 1}}}}",
    "an empty node": "{flow: 1, nodes: {a: }}",
    "a reserved name": "{flow: 1, nodes: {inputs: {call: x:y}}}",
    "the name of a function": "{flow: 1, nodes: {len: {call: x:y}}}",
    "a path as a name": "{flow: 1, nodes: {a/b: {call: x:y}}}",
    "two dots in a name": "{flow: 1, nodes: {a..b: {call: x:y}}}",
    "an option of maps for a call": "{flow: 1, nodes: {a: {call: x:y, concurrency: 3}}}",
    "a map over nothing": "{flow: 1, nodes: {a: {map: x:y}}}",
    "concurrency of none": "{flow: 1, nodes: {a: {map: x:y, over: [1], concurrency: 0}}}",
    "an unknown word for on_error": "{flow: 1, nodes: {a: {map: x:y, over: [1], on_error: ignore}}}",
    "an expression in a literal": "{flow: 1, nodes: {a: {call: x:y, timeout: '{{ inputs.t }}'}}}",
    "a timeout of none": "{flow: 1, nodes: {a: {call: x:y, timeout: 0}}}",
    "an unknown option of retry": "{flow: 1, nodes: {a: {call: x:y, retry: {count: 3}}}}",
    "retries as a number": "{flow: 1, nodes: {a: {call: x:y, retry: 3}}}",
    "an unknown word for store": "{flow: 1, nodes: {a: {call: x:y, store: json}}}",
    "a number for store": "{flow: 1, nodes: {a: {call: x:y, store: 1}}}",
    "a store of a timer": "{flow: 1, nodes: {a: {timer: 1, store: false}}}",
    "an unknown join": "{flow: 1, nodes: {a: {call: x:y, join: any}}}",
    "a model of another kind": "{flow: 1, nodes: {a: {llm: 3, prompt: x}}}",
    "tools of an llm": "{flow: 1, nodes: {a: {llm: x:y, prompt: x, tools: []}}}",
    "limits of another name": "{flow: 1, nodes: {a: {llm: x:y, prompt: x, limits: {tokens: 3}}}}",
    "a budget of none": "{flow: 1, nodes: {a: {llm: x:y, prompt: x, budget: {day: [1]}}}}",
    "rounds of none": "{flow: 1, nodes: {a: {agent: x:y, prompt: x, max_rounds: 0}}}",
    "a thread for an llm": "{flow: 1, nodes: {a: {llm: x:y, prompt: x, thread: true}}}",
    "an unknown condition": "{flow: 1, nodes: {a: {call: x:y, after: {b: ok}}}}",
    "a route to nowhere": "{flow: 1, nodes: {a: {route: x}}}",
    "a merge of one name": "{flow: 1, nodes: {a: {merge: b}}}",
    "a loop without an end": "{flow: 1, nodes: {a: {loop: x:y, until: x}}}",
    "a timer of a text": "{flow: 1, nodes: {a: {timer: soon}}}",
    "with as a list": "{flow: 1, nodes: {a: {call: x:y, with: [1, 2]}}}",
    "an unknown type of input": "{flow: 1, inputs: {a: {type: str}}, nodes: {a1: {call: x:y}}}",
    "a bare type of input": "{flow: 1, inputs: {a: string}, nodes: {a1: {call: x:y}}}",
    "an unknown key of an input": "{flow: 1, inputs: {a: {kind: string}}, nodes: {a1: {call: x:y}}}",
    "an input with a bad name": "{flow: 1, inputs: {a-b: {}}, nodes: {a1: {call: x:y}}}",
    "a variable with a bad name": "{flow: 1, vars: {_x: 1}, nodes: {a1: {call: x:y}}}",
    "a key of data with a bad name": "{flow: 1, nodes: {a: {call: x:y, publish: {a.b: 1}}}}",
    "an unknown default": "{flow: 1, defaults: {retries: 3}, nodes: {a: {call: x:y}}}",
    "outputs as a text": "{flow: 1, outputs: '{{ a }}', nodes: {a: {call: x:y}}}",
    "an unknown setting": "{flow: 1, config: {limits: 3}, nodes: {a: {call: x:y}}}",
    "a setting of another type": "{flow: 1, config: {mode: threads}, nodes: {a: {call: x:y}}}",
}


def faults_of(document: Any) -> list[str]:
    return [error.message for error in VALIDATOR.iter_errors(document)]


def test_it_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"].endswith("2020-12/schema")
    assert ":" in SCHEMA["$id"] and "//" not in SCHEMA["$id"]


def test_it_takes_all_that_a_file_can_say() -> None:
    assert faults_of(yaml.safe_load(WHOLE)) == []


def test_the_whole_file_uses_every_key() -> None:
    """Else the test above says nothing of a key."""
    said = {key for part in (SCHEMA, *SCHEMA["$defs"].values()) for key in part.get("properties", {})}
    settings = {*SCHEMA["$defs"]["Config"]["properties"], *SCHEMA["$defs"]["DataConfig"]["properties"]}
    found: set[str] = set()

    def look(value: Any) -> None:
        if isinstance(value, dict):
            found.update(value)
        for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            look(inner)

    look(yaml.safe_load(WHOLE))
    assert said - settings - found - {"multiplier", "backoff", "max_delay", "jitter", "max_length", "seconds"} == set()


@pytest.mark.parametrize("text", EXAMPLES.values(), ids=EXAMPLES)
def test_it_takes_the_examples_of_the_documentation(text: str) -> None:
    assert faults_of(yaml.safe_load(text)) == []


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 5


@pytest.mark.parametrize("path", sorted(FAULTY_FILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_it_refuses_the_faulty_examples_of_the_documentation(path: Path) -> None:
    if path.stem not in OF_YAML:
        assert bool(faults_of(yaml.safe_load(path.read_text("utf-8")))) is (path.stem not in OF_MEANING)


@pytest.mark.parametrize("text", FAULTY.values(), ids=FAULTY)
def test_it_refuses_what_is_wrong(text: str) -> None:
    assert faults_of(yaml.safe_load(text))


@pytest.mark.parametrize("text", FAULTY.values(), ids=FAULTY)
def test_so_does_the_reader(text: str) -> None:
    with pytest.raises(flow.errors.SpecError):
        flow.spec.loads(text.replace("x:y", "operator:neg"), name="faulty.yaml", allow="operator:*")


def test_every_key_says_what_it_is() -> None:
    for name, part in SCHEMA["$defs"].items():
        if "Config" not in name:
            assert [key for key, one in part.get("properties", {}).items() if not one.get("description")] == [], name
            assert part.get("description"), name
    assert [key for key, one in SCHEMA["properties"].items() if not one.get("description") and key != "config"] == []


def test_each_call_makes_its_own() -> None:
    flow.spec.schema()["properties"].clear()
    assert flow.spec.schema() == SCHEMA
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA
