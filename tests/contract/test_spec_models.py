"""Nodes of workflow files that ask language models: what they ask and give, and each fault with its place."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from spec_tools import Note

import flow
from flow import spec
from flow.errors import DumpError, RunError, SpecError
from flow.spec.loading import Session
from flow.testing import FakeClock

pytest.importorskip("yaml")
ai = pytest.importorskip("flow.ai")
from flow.ai import ProviderUnavailable, RateLimited, Reply, Scripted, ToolCall  # noqa: E402

ALLOW = ["spec_tools:*", "spec_steps:*"]


class Script:
    """A model by the name ``fast`` that answers what a test says. :ivar asked: the texts of each request."""

    def __init__(self) -> None:
        self.provider = Scripted()

    def answers(self, *replies: Any) -> None:
        self.provider = Scripted(*replies)
        ai.models({"fast": ai.Model(self.provider, "m", input_price="1", output_price="1", max_output_tokens=100)})

    @property
    def asked(self) -> list[list[tuple[str, Any]]]:
        return [[(one.role, one.content) for one in request.messages] for request in self.provider.requests]


@pytest.fixture
def script() -> Iterator[Script]:
    with ai.models({"fast": "openai:none"}):
        yield Script()


def load(text: str, **options: Any) -> flow.Dag:
    return spec.loads("flow: 1\n" + textwrap.dedent(text), name="w", allow=ALLOW, **options)


def calls(name: str, arguments: str) -> Reply:
    return Reply(tool_calls=(ToolCall("1", name, arguments),), finish="tools")


# -- llm --------------------------------------------------------------------------------------


def test_a_prompt_reads_what_all_expressions_read(script: Script) -> None:
    script.answers("Hello", "Bye")
    dag = load("""
        inputs: {name: {type: string}}
        vars: {lang: English}
        nodes:
          before: {set: {n: 2}, publish: {key: "{{ result.n + 1 }}"}}
          hello:
            llm: fast
            system: "Be {{ vars.lang }}"
            prompt: "Greet {{ inputs.name }} {{ before.n }} times, {{ data.key }} at most {{ '{{' }}"
          bye: {llm: fast, prompt: "{{ hello }}", messages: [{role: user, content: "{{ inputs.name }}"},
                                                             {role: assistant, content: Hm}]}
        outputs: {said: "{{ hello }} {{ bye }}"}
    """)
    assert flow.run(dag, {"name": "{{ Bob }}"})["outputs"] == {"said": "Hello Bye"}
    assert script.asked == [
        [("system", "Be English"), ("user", "Greet {{ Bob }} 2 times, 3 at most {{")],
        [("user", "{{ Bob }}"), ("assistant", "Hm"), ("user", "Hello")],
    ]


def test_what_it_says_is_what_is_asked(script: Script) -> None:
    script.answers("yes")
    dag = load("""
        nodes:
          ask: {llm: {model: fast}, prompt: Well?, temperature: 0.5, max_output_tokens: 7, stop: [END],
                options: {seed: 3}}
    """)
    flow.run(dag)
    (request,) = script.provider.requests
    assert (request.temperature, request.max_output_tokens, request.stop, dict(request.options)) == (
        0.5, 7, ("END",), {"seed": 3},
    )  # fmt: skip


def test_it_publishes_and_may_be_left_out(script: Script) -> None:
    script.answers("red")
    dag = load("""
        inputs: {ask: {type: boolean}}
        nodes:
          colour: {llm: fast, prompt: Which?, when: inputs.ask, publish: {colour: "{{ upper(result) }}"}}
          told: {set: {it: "{{ default(colour, 'none') }} {{ default(data.colour, '-') }}"}}
    """)
    assert flow.run(dag, {"ask": True})["told"] == {"it": "red RED"}
    assert flow.run(dag, {"ask": False})["told"] == {"it": "none -"}


def test_it_is_tried_again_and_falls_back(script: Script) -> None:
    clock = FakeClock()
    script.answers(RateLimited, "late", RateLimited, RateLimited)
    dag = load("""
        nodes:
          one: {llm: fast, prompt: a, retry: {attempts: 2, delay: 1}}
          two: {llm: fast, prompt: "{{ one }}", retry: {attempts: 2, delay: 1}, fallback: nothing}
    """)
    result = flow.run(dag, config=flow.Config(clock=clock))
    assert (result["one"], result["two"]) == ("late", "nothing") and len(script.asked) == 4


def test_each_item_of_a_map_asks(script: Script, tmp_path: Path) -> None:
    script.answers(lambda request: request.messages[-1].content.upper())
    (tmp_path / "one.yaml").write_text(
        'flow: 1\ninputs: {item: {}}\nnodes: {ask: {llm: fast, prompt: "{{ inputs.item }}"}}\n'
        'outputs: {a: "{{ ask }}"}',
        encoding="utf-8",
    )
    dag = load("nodes: {each: {map: {file: one.yaml}, over: [a, b]}}", folder=tmp_path)
    result = flow.run(dag)
    assert result["each"] == [{"a": "A"}, {"a": "B"}]
    assert ai.usage(result).by_node["each"].requests == 2


# -- answers of a type -------------------------------------------------------------------------

SCHEMA = """
    type: object
    properties:
      title: {type: string, description: In a few words, maxLength: 20}
      kind: {enum: [good, bad]}
      points: {type: array, items: {type: object, properties: {n: {type: integer, minimum: 1}}, required: [n]}}
      note: {type: [string, "null"]}
      score: {anyOf: [{type: number}, {const: unknown}]}
    required: [title, kind, points]
"""


def of_type(output: str) -> flow.Dag:
    return load("nodes:\n  ask:\n    llm: fast\n    prompt: x\n    output:" + output)


@pytest.mark.parametrize(
    ("output", "reply", "value"),
    [
        (" string", "text", "text"), (" integer", {"value": 3}, 3), (" boolean", {"value": True}, True),
        (" number", {"value": 0.5}, 0.5), (" spec_tools:Note", {"title": "T"}, Note("T")),
        (" {type: array, items: {type: string, minLength: 1}, maxItems: 3}", {"value": ["a", "b"]}, ["a", "b"]),
        (textwrap.indent("\n" + textwrap.dedent(SCHEMA), "      "),
         {"title": "T", "kind": "bad", "points": [{"n": 1}], "note": None, "score": "unknown"},
         {"title": "T", "kind": "bad", "points": [{"n": 1}], "note": None, "score": "unknown"}),
    ],
)  # fmt: skip
def test_an_answer_has_the_type_that_the_file_says(script: Script, output: str, reply: Any, value: Any) -> None:
    script.answers(reply)
    assert flow.run(of_type(output))["ask"] == value


def test_a_schema_is_what_the_model_is_told(script: Script) -> None:
    script.answers({"title": "T", "kind": "good", "points": [], "note": None, "score": 1})
    flow.run(of_type(textwrap.indent("\n" + textwrap.dedent(SCHEMA), "      ")))
    told = script.provider.requests[0].output
    assert told is not None
    properties = told.schema["properties"]
    assert told.name == "ask" and list(properties) == ["title", "kind", "points", "note", "score"]
    assert properties["kind"]["enum"] == ["bad", "good"] and "In a few words" in properties["title"]["description"]


def test_an_answer_of_another_form_is_repaired(script: Script) -> None:
    script.answers({"value": "many"}, {"value": 3})
    assert flow.run(of_type(" integer"))["ask"] == 3
    assert len(script.asked) == 2


def test_a_stored_answer_has_its_type_again(script: Script) -> None:
    script.answers({"title": "T", "words": 3})
    dag = load("""
        nodes:
          note: {llm: fast, prompt: x, output: "spec_tools:Note"}
          wait: {signal: {}, after: note}
          end: {set: {title: "{{ note.title }}"}, after: wait}
    """)
    store = flow.store.memory()
    flow.run(dag, store=store, run_id="r", on_wait="return")
    store.send("r", "wait", 1)
    result = flow.run(dag, store=store, run_id="r")
    assert result["note"] == Note("T", 3) and result["end"] == {"title": "T"} and len(script.asked) == 1


# -- agent -------------------------------------------------------------------------------------


def test_an_agent_calls_tools_and_publishes(script: Script, tmp_path: Path) -> None:
    (tmp_path / "count.yaml").write_text(
        'flow: 1\nname: count\ninputs: {text: {type: string}}\nnodes: {n: {set: {n: "{{ len(inputs.text) }}"}}}',
        encoding="utf-8",
    )
    script.answers(calls("search", '{"query": "flow"}'), calls("count", '{"text": "abc"}'), {"title": "T"})
    dag = load(
        """
        inputs: {about: {type: string}}
        nodes:
          research:
            agent: fast
            system: Look it up.
            prompt: "What is {{ inputs.about }}?"
            tools: [spec_tools:search, {file: count.yaml}]
            output: spec_tools:Note
            max_rounds: 4
            publish: {title: "{{ result.title }}"}
          told: {set: {of: "{{ research.title }} {{ data.title }}"}}
    """,
        folder=tmp_path,
    )
    result = flow.run(dag, {"about": "flow"})
    assert result["research"] == Note("T") and result["told"] == {"of": "T T"}
    first, second, third = script.asked
    assert first == [("system", "Look it up."), ("user", "What is flow?")]
    assert second[-1] == ("tool", "found flow") and "3" in str(third[-1][1])
    assert ai.usage(result).by_node["research"].requests == 3


def test_a_conversation_goes_on(script: Script) -> None:
    script.answers(calls("search", '{"query": "flow"}'), "Found.", "I said: found.")
    dag = load("""
        inputs: {history: {type: array, default: []}, text: {type: string}}
        nodes:
          reply:
            agent: fast
            system: Be brief.
            messages: "{{ inputs.history }}"
            prompt: "{{ inputs.text }}"
            tools: [spec_tools:search]
            conversation: true
        outputs: {answer: "{{ reply.answer }}", history: "{{ reply.messages }}"}
    """)
    first = flow.run(dag, {"text": "Look."})["outputs"]
    assert first["answer"] == "Found."
    history = msgspec.json.decode(msgspec.json.encode(first["history"]))  # as a service gives it
    second = flow.run(dag, {"history": history, "text": "What?"})["outputs"]
    assert second["answer"] == "I said: found."
    roles = [role for role, _ in script.asked[-1]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "user"]
    assert script.provider.requests[-1].messages[2].tool_calls == (ToolCall("1", "search", '{"query": "flow"}'),)


def test_each_request_of_an_agent_is_tried_again_and_not_its_rounds(script: Script) -> None:
    script.answers(calls("fails", '{"query": "x"}'), RateLimited, "sorry")
    dag = load("""
        nodes:
          work: {agent: fast, prompt: x, tools: [spec_tools:fails], retry: {attempts: 2, delay: 1}}
    """)
    assert flow.run(dag, config=flow.Config(clock=FakeClock()))["work"] == "sorry"
    assert [len(asked) for asked in script.asked] == [1, 3, 3], "the second round alone was asked again"
    script.answers(*[RateLimited] * 9)
    dag = load("nodes: {work: {agent: fast, prompt: x, retry: {attempts: 2, delay: 1}, continue_on_error: true}}")
    flow.run(dag, config=flow.Config(clock=FakeClock()))
    assert len(script.asked) == 2


def test_rounds_are_bounded(script: Script) -> None:
    script.answers(lambda _: calls("search", '{"query": "x"}'))
    dag = load(
        "nodes: {work: {agent: fast, prompt: x, tools: [spec_tools:search], max_rounds: 2, continue_on_error: true}}"
    )
    result = flow.run(dag)
    assert type(result.errors["work"]).__name__ == "LoopLimit" and len(script.asked) == 2


def test_a_call_waits_for_a_person(script: Script) -> None:
    script.answers(calls("search", '{"query": "x"}'), "done")
    dag = load("nodes: {work: {agent: fast, prompt: x, tools: [spec_tools:search], approve: [search]}}")
    store = flow.store.memory()
    flow.run(dag, store=store, run_id="r", on_wait="return")
    assert store.send("r", "work#1.approve#0.answer", {"yes": False, "comment": "not that"})
    assert flow.run(dag, store=store, run_id="r")["work"] == "done"
    assert "not that" in str(script.asked[-1][-1])


# -- what limits them ----------------------------------------------------------------------------


def test_limits_and_budgets_hold(script: Script) -> None:
    script.answers(lambda _: "one two three")
    dag = load("""
        nodes:
          limited: {llm: fast, prompt: x, limits: {cost: 0.000001}, continue_on_error: true}
          bought: {llm: fast, prompt: x, max_output_tokens: 10, budget: {day: "0.00002"}}
          refused: {llm: fast, prompt: x, max_output_tokens: 10, budget: {day: "0.00002"}, after: bought,
                    continue_on_error: true}
          other: {llm: fast, prompt: x, max_output_tokens: 10, after: refused,
                  budget: [{day: "0.00002", name: own}, {run: 1}]}
    """)
    result = flow.run(dag)
    kinds = {name: type(error).__name__ for name, error in result.errors.items()}
    assert kinds == {"limited": "LimitExceeded", "refused": "BudgetExceeded"}, "nodes that say the same share a budget"
    assert len(script.asked) == 2


def test_a_cache_is_shared_by_nodes_that_say_the_same(script: Script) -> None:
    script.answers("once", "again")
    dag = load("""
        nodes:
          a: {llm: fast, prompt: x, cache: {ttl: 60}}
          b: {llm: fast, prompt: x, cache: {ttl: 60}, after: a}
          c: {llm: fast, prompt: x, cache: true, after: b}
    """)
    result = flow.run(dag)
    assert [result[name] for name in "abc"] == ["once", "once", "again"]


def test_a_model_may_have_prices(script: Script) -> None:
    dag = load('nodes: {a: {llm: {model: "openai:mine", input_price: 0.4, output_price: "1.60"}, prompt: x}}')
    (model,) = dag._definition.fns[-1].fn._call._asking.caller.models
    assert str(model.rates.cost(ai.Tokens(1_000_000, 1_000_000))) == "2.00000000"


def test_a_breaker_and_a_rate_are_those_of_the_node(script: Script) -> None:
    script.answers(*[ProviderUnavailable] * 9)
    dag = load("""
        nodes:
          a: {llm: fast, prompt: x, breaker: {failures: 2}, rate: {requests_per_minute: 6000},
              retry: {attempts: 4, delay: 0}, continue_on_error: true}
    """)
    result = flow.run(dag, config=flow.Config(clock=FakeClock()))
    assert type(result.errors["a"]).__name__ == "BreakerOpen" or len(script.asked) > 2
    assert len(script.asked) >= 2


# -- faults ----------------------------------------------------------------------------------------

NODE = "flow: 1\nnodes:\n  a: {%s}\n"
FAULTS = {
    "no prompt": ("llm: ^'openai:x'", ["llm 'a': it needs a prompt=..., or messages=..."]),
    "no provider": ("llm: ^'opnai:x', prompt: x", ["llm 'a': model: 'opnai:x': there is no provider 'opnai'"]),
    "no model of this name": ("llm: ^slow, prompt: x", ["llm 'a': model: "]),
    "a fallback model": (
        "llm: 'openai:x', prompt: x, fallback_models: ^['opnai:y']",
        ["llm 'a': fallback_models: 'opnai:y': there is no provider"],
    ),
    "an unknown key": ("llm: 'openai:x', prompt: x, ^temprature: 1", ["node 'a' has no key 'temprature' (did"]),
    "tools of an llm": (
        "llm: 'openai:x', prompt: x, ^tools: []", ["node 'a' has no key 'tools': only agent has it, and this is a llm"],
    ),
    "a thread": ("llm: 'openai:x', prompt: x, ^thread: true", ["node 'a' has no key 'thread': only call, map"]),
    "with": ("llm: 'openai:x', ^with: {x: 1}, prompt: x", ["node 'a' has no key 'with': only call, map"]),
    "no node": ("llm: 'openai:x', prompt: 'About {{ ^b }}'", ["there is no node 'b'"]),
    "no input": ("llm: 'openai:x', prompt: x, system: '{{ ^inputs.y }}'", ["there is no input 'y'"]),
    "a prompt": ("llm: 'openai:x', prompt: ^3", ["prompt of llm 'a' is a text, or an expression, not a number"]),
    "a system": ("llm: 'openai:x', prompt: x, system: ^[x]", ["system of llm 'a' is a text, or an expression, not"]),
    "an option": (
        "llm: 'openai:x', prompt: x, options: ^{seed: '{{ inputs.x }}'}",
        ["options is a literal, and expressions are not read there"],
    ),
    "a literal": (
        "llm: 'openai:x', prompt: x, temperature: ^'{{ a }}'",
        ["temperature of node 'a' is a literal, and expressions are not read there"],
    ),
    "a limit": ("llm: 'openai:x', prompt: x, limits: {^tokens: 3}", ["limits of node 'a' has no key 'tokens'"]),
    "a cost": ("llm: 'openai:x', prompt: x, limits: {cost: ^-1}", ["limits of llm 'a': cost"]),
    "a budget": ("llm: 'openai:x', prompt: x, budget: ^{name: n}", ["budget of llm 'a': it limits nothing"]),
    "a rate": ("llm: 'openai:x', prompt: x, rate: ^{name: n}", ["rate of llm 'a': "]),
    "a price alone": (
        "llm: ^{model: 'openai:x', input_price: 1}, prompt: x", ["llm of llm 'a': output_price is missing"],
    ),
    "prices of a name": (
        "llm: {model: ^fast, input_price: 1, output_price: 1}, prompt: x",
        ["a model of which more is said is provider:model, not 'fast'"],
    ),
    "a type": ("llm: 'openai:x', prompt: x, output: ^strng", ["there is no type 'strng' (did you mean 'string'?)"]),
    "a type that is not allowed": (
        "llm: 'openai:x', prompt: x, output: ^'os:PathLike'", ["'os:PathLike' is not allowed"],
    ),
    "a schema": (
        "llm: 'openai:x', prompt: x, output: {type: object, ^propertes: {}, properties: {a: {type: ^strng}, b: ^{}, "
        "c: {type: ^array}, d: {type: string, maxLength: ^-1}, e: ^3, f: {enum: ^[true]}, g: {anyOf: ^[]}, "
        "h: ^{type: object}, i: {type: ^[]}, j: {anyOf: ^[{type: object, properties: {x: {type: string}}}, "
        "{type: object, properties: {y: {type: string}}}]}}, required: [^z], additionalProperties: ^true}",
        [
            "output of llm 'a': a schema of a file has no key 'propertes' (did you mean 'properties'?)",
            "output of llm 'a': a schema has no type 'strng' (did you mean 'string'?)",
            "output of llm 'a': a schema needs a type",
            "output of llm 'a': an array says in 'items' what is in it",
            "output of llm 'a': maxLength is an integer, not -1",
            "output of llm 'a': a schema is a mapping, not a number",
            "output of llm 'a': enum lists texts or integers, not true",
            "output of llm 'a': anyOf lists schemas, one at least",
            "output of llm 'a': an object has 'properties', one at least",
            "output of llm 'a': no type to choose from",
            "output of llm 'a': several objects to choose from",
            "output of llm 'a': required names 'z', which is no property",
            "output of llm 'a': an answer has the properties that it lists, and no others",
        ],
    ),
    "a tool that is not allowed": (
        "agent: 'openai:x', prompt: x, tools: [spec_tools:search, ^'os:remove']", ["'os:remove' is not allowed"],
    ),
    "a tool that is no tool": (
        "agent: 'openai:x', prompt: x, tools: ^[spec_steps:numbers]", ["agent 'a': tool"],
    ),
    "approval of no tool": (
        "agent: 'openai:x', prompt: x, tools: [spec_tools:search], approve: ^[serch]",
        ["agent 'a': approve names 'serch', which is none of the tools (did you mean 'search'?)"],
    ),
    "no rounds": ("agent: 'openai:x', prompt: x, max_rounds: ^0", ["max_rounds of node 'a'"]),
    "two kinds": ("^agent: 'openai:x', llm: 'openai:x', prompt: x", ["node 'a' is of one kind, and this has"]),
}  # fmt: skip
"""What stands in a node, with a ^ where each fault is, and what is said there."""


@pytest.mark.parametrize("case", FAULTS)
def test_faults_have_their_places(case: str) -> None:
    marked, said = FAULTS[case]
    text = NODE % marked.replace("^", "")
    columns = [
        len((marked[:at]).replace("^", "")) + len("  a: {") + 1 for at in range(len(marked)) if marked[at] == "^"
    ]
    if case == "two kinds":
        columns = [3]
    with pytest.raises(SpecError) as raised:
        spec.loads(text, name="w", allow=ALLOW)
    found = sorted(raised.value.faults, key=lambda fault: int(fault.split(":")[2]))
    assert len(found) == len(said), found
    for fault, column, start in zip(found, columns, said, strict=True):
        assert fault.startswith(f"w:3:{column}: {start}"), found


def test_a_run_says_where_a_prompt_stands(script: Script) -> None:
    script.answers("x")
    dag = load('inputs: {n: {type: integer}}\nnodes:\n  a: {llm: fast, prompt: "{{ 1 / inputs.n }}"}')
    with pytest.raises(RunError) as raised:
        flow.run(dag, {"n": 0})
    assert "w:4:30: in '1 / inputs.n'" in str(raised.value.exceptions[0])


def test_without_flow_ai_a_fault_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flow.ai", None)
    monkeypatch.delattr(flow, "ai", raising=False)
    with pytest.raises(SpecError, match=r"w:3:12: llm needs flow.ai: pip install 'flow-dag\[ai\]'"):
        spec.loads(NODE % "llm: 'openai:x', prompt: x", name="w")


# -- checks, pictures, writing ------------------------------------------------------------------------


def test_a_check_imports_nothing_that_the_file_names() -> None:
    text = """
        nodes:
          a: {llm: fast, prompt: x, fallback_models: [slow], output: "no_module:Type"}
          b: {agent: fast, prompt: "{{ a }}", tools: ["no_module:tool"], approve: [tool]}
    """
    dag = Session(["no_module:*"], imports=False).loads("flow: 1\n" + textwrap.dedent(text), "w", None)
    assert list(dag.compile().names) == ["a", "b"]


def test_files_without_such_nodes_load_nothing_of_it() -> None:
    code = """
import sys, flow.spec
flow.spec.loads("flow: 1\\nnodes: {a: {set: {x: 1}}}")
flow.spec.schema()
assert not [name for name in sys.modules if name.startswith("flow.ai")]
flow.spec.loads("flow: 1\\nnodes: {a: {llm: 'openai:x', prompt: x}}")
assert "flow.ai" in sys.modules and "httpx2" not in sys.modules and "genai_prices" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_they_are_drawn_as_what_they_are() -> None:
    dag = load("nodes: {ask: {llm: 'openai:x', prompt: y}, work: {agent: 'openai:x', prompt: '{{ ask }}'}}")
    plan = dag.compile()
    assert plan.successors["ask"] == ("work",) and "ask" in flow.render.to_mermaid(dag)
    assert repr(plan._nodes.fns[plan.find("ask")]) == "<request to openai:x>"


def test_nodes_of_python_are_not_written_and_this_says_what_to_do() -> None:
    dag = flow.Dag("d")
    ai.llm(dag, "ask", model="openai:x", prompt="y")
    ai.agent(dag, "work", model="openai:x", prompt="{{ ask }}")
    with pytest.raises(DumpError) as raised:
        spec.dump(dag)
    assert len(raised.value.faults) == 2
    assert all(
        "it asks a language model: write it in the file, as llm: or agent:" in one for one in raised.value.faults
    )
