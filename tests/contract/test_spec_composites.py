"""Maps, loops and files as nodes of a file: as teardowns, in other processes, and in plans that are pickled."""

from __future__ import annotations

import pickle
import textwrap
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import flow
from flow import spec
from flow.errors import RunError, SpecError
from flow.expr import Use, compile
from flow.policy.scope import ALL, LOCAL, Narrowed
from flow.spec.loading import Session

pytest.importorskip("yaml")

CHILD = """
    flow: 1
    inputs: {x: {type: integer}}
    nodes: {more: {call: spec_steps:inc, with: {n: "{{ inputs.x }}"}}}
    outputs: {y: "{{ more }}"}
"""

KINDS = {
    "call": ("call: spec_steps:inc, with: {n: '{{ start }}'}", 2),
    "map": ("map: spec_steps:inc, over: '{{ [start, 5] }}', with: {n: '{{ item }}'}", [2, 6]),
    "plain map": ("map: spec_steps:inc, over: [1, 2]", [2, 3]),
    "map of a file": ("map: {file: child.yaml}, over: [4], with: {x: '{{ item + start }}'}", [{"y": 6}]),
    "loop": ("loop: spec_steps:inc, with: {n: '{{ start }}'}, carry: n, until: n > 3, max_iterations: 9", 4),
    "file": ("file: child.yaml, with: {x: '{{ start }}'}", {"y": 2}),
    "set": ("set: {x: '{{ start }}'}", {"x": 1}),
}


def load(text: str, folder: Path) -> flow.Dag:
    (folder / "child.yaml").write_text(textwrap.dedent(CHILD), encoding="utf-8")
    return spec.loads("flow: 1\n" + textwrap.dedent(text), allow="spec_steps:*", folder=folder)


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("when", ["teardown: start", "cleanup: true", "publish: {k: '{{ result }}'}"])
def test_each_kind_cleans_up_and_publishes(kind: str, when: str, tmp_path: Path) -> None:
    text, output = KINDS[kind]
    text = text if "cleanup" not in when else text.replace("'{{ start", "'{{ default(start, 0)").replace("[start", "[1")
    text = text.replace("item + start", "item + default(start, 0)") if "cleanup" in when else text
    nodes = f"""
        nodes:
          start: {{set: {{n: 1}}}}
          done: {{{text}, {when}}}
    """.replace("start: {set: {n: 1}}", "start: {call: spec_steps:inc, with: {n: 0}}")
    assert flow.run(load(nodes, tmp_path))["done"] == output


@pytest.mark.parametrize("kind", list(KINDS))
def test_plans_of_files_are_pickled(kind: str, tmp_path: Path) -> None:
    text, output = KINDS[kind]
    nodes = f"""
        nodes:
          start: {{call: spec_steps:inc, with: {{n: 0}}}}
          done: {{{text}, publish: {{k: '{{{{ result }}}}'}}}}
        outputs: {{k: "{{{{ data.k }}}}"}}
    """
    plan = pickle.loads(pickle.dumps(load(nodes, tmp_path).compile()))
    assert flow.run(plan)["outputs"] == {"k": output}


class Pickled(ProcessPoolExecutor):
    """Another process, as far as what goes there is concerned."""

    def __init__(self) -> None:
        super().__init__(1)
        self.sizes: list[int] = []

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        sent = pickle.dumps((fn, args, kwargs))
        self.sizes.append(len(sent))
        fn, args, kwargs = pickle.loads(sent)
        future: Future[Any] = Future()
        future.set_result(fn(*args, **kwargs))
        return future


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{a: '{{ item }}', b: '{{ data.k }}'}", [4, 5]),
        ("{a: '{{ item }}', b: '{{ inputs.n }}'}", [3, 4]),
        ("{a: '{{ item }}', b: '{{ inputs[\"n\"] + len(inputs) }}'}", [5, 6]),
        ("{a: '{{ item }}', b: '{{ nodes[\"other-one\"].x }}'}", [2, 3]),
        ("{a: '{{ item }}', b: '{{ 1 if succeeded(nodes[\"other-one\"]) else 7 }}'}", [2, 3]),
        ("{a: '{{ item }}', b: '{{ default(data.none, 5) }}'}", [6, 7]),
        ("{a: '{{ system.node }}', b: '{{ str(item) }}'}", ["done1", "done2"]),
        ("{a: '{{ item }}', b: '{{ int(now() < system.started) }}'}", [1, 2]),
    ],
)
def test_items_in_other_processes_read_the_run(given: str, expected: list[Any], tmp_path: Path) -> None:
    nodes = f"""
        inputs: {{n: {{default: 2}}, more: {{default: 1}}}}
        nodes:
          other-one: {{set: {{x: 1}}, publish: {{k: 3}}}}
          none: {{set: {{x: 1}}, when: "false", publish: {{none: 1}}}}
          done:
            map: spec_steps:add
            over: [1, 2]
            with: {given}
            executor: there
            after: {{other-one: completed, none: done}}
            publish: {{z: "{{{{ result }}}}"}}
    """
    with Pickled() as there:
        result = flow.run(load(nodes, tmp_path), config=flow.Config(executors={"there": there}))
    assert result["done"] == expected


def test_items_take_no_more_to_another_process_than_they_read(tmp_path: Path) -> None:
    nodes = """
        inputs: {many: {type: array}, n: {default: 2}}
        nodes:
          big: {call: spec_steps:pair, with: {item: "{{ inputs.many }}"}}
          done:
            map: spec_steps:add
            over: "{{ zip(inputs.many, big[0]) }}"
            with: {a: "{{ item[0] }}", b: "{{ inputs.n }}"}
            executor: there
            publish: {k: "{{ len(big) + len(inputs.many) }}"}
    """
    sizes = []
    for count in (10, 1_000):
        with Pickled() as there:
            flow.run(load(nodes, tmp_path), {"many": [0] * count}, config=flow.Config(executors={"there": there}))
        sizes.append(max(there.sizes))
    assert len(there.sizes) == 1_000
    assert sizes[1] < sizes[0] + 20


def test_a_narrow_scope_has_what_expressions_read() -> None:
    made = compile("x.y + nodes['b-c'] + inputs.n + item", functions=ALL)
    scope = {"x": 1, "z": 2, "nodes": {"b-c": 3, "d": 4}, "inputs": {"n": 5, "m": 6}, "item": 7, "data": {}}
    assert Narrowed(made.uses, made.calls, LOCAL).evaluate(scope) == {"x": 1, "nodes": {"b-c": 3}, "inputs": {"n": 5}}
    whole = compile("inputs.n == len(inputs)", functions=ALL)
    assert isinstance(whole.uses[0], Use)
    assert Narrowed(whole.uses, whole.calls, ()).evaluate(scope) == {"inputs": {"n": 5, "m": 6}}


def test_a_map_goes_over_what_is_known_of_the_run(tmp_path: Path) -> None:
    node = "{map: spec_steps:shout, over: '{{ system }}', with: {text: '{{ key }}'}}"
    result = flow.run(load(f"nodes: {{m: {node}}}", tmp_path))
    assert result["m"].keys() == {"run_id", "workflow", "started", "now", "node", "attempt"}


@pytest.mark.parametrize("kind", ["map of a file", "file"])
def test_an_error_of_a_file_within_names_the_place_of_its_node(kind: str, tmp_path: Path) -> None:
    text = KINDS[kind][0].replace("{{ start }}", "{{ [][0] }}").replace("item + start", "[][0]")
    with pytest.raises(RunError) as caught:
        flow.run(load(f"nodes:\n  done: {{{text}}}\n", tmp_path))
    assert "in node 'done' (workflow:3:3)" in caught.value.exceptions[0].__notes__


SECRET = """
    flow: 1
    inputs: {token: {secret: true}, other: {default: 1}}
    nodes: {a: {set: {x: "{{ len(inputs.token) }}"}}}
"""


@pytest.mark.parametrize(
    ("node", "secret"),
    [
        ("file: secret.yaml, with: {token: '{{ inputs.key }}', other: '{{ inputs.open }}'}", {"key"}),
        ("file: secret.yaml, with: {token: 'of {{ inputs.key }} {{ inputs.open }}'}", {"key", "open"}),
        ("file: secret.yaml, with: {token: none, other: '{{ inputs.open }}'}", set()),
        ("map: {file: secret.yaml}, over: '{{ inputs.keys }}', with: {token: '{{ item }}'}", {"keys"}),
        ("map: {file: secret.yaml}, over: '{{ [inputs.open] }}', with: {token: '{{ inputs.key }}'}", {"key"}),
        ("map: {file: secret.yaml}, over: '{{ [inputs.open] }}', with: {token: none, other: '{{ item }}'}", set()),
    ],
)
def test_inputs_that_become_secret_ones_of_a_file_are_secret(node: str, secret: set[str], tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text(textwrap.dedent(SECRET), encoding="utf-8")
    inputs = {"key": "from the safe", "open": "to be seen", "keys": ["from the bank"]}
    dag = load(f"inputs: {{key: {{}}, open: {{}}, keys: {{}}}}\nnodes: {{n: {{{node}}}}}\n", tmp_path)
    result = flow.run(dag, inputs)
    assert result.inputs == {name: "***" if name in secret else value for name, value in inputs.items()}


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        ("set: {x: '{{ data.k }}'}, publish: {k: 1}", "workflow:3:20: only this node publishes 'k', and after this"),
        ("set: {}, publish: {a: '{{ data.b }}', b: 1}", "workflow:3:33: only this node publishes 'b', and after this"),
        ("set: {}, publish: {a: '{{ data.a }}'}", "workflow:3:33: only this node publishes 'a', and after this"),
        ("set: {x: '{{ default(data.k, 1) }}'}, publish: {k: 1, b: '{{ data.k }}'}", ""),
    ],
)
def test_data_of_its_own_is_read_after_it_is_published(node: str, fault: str, tmp_path: Path) -> None:
    text = f"nodes:\n  n: {{{node}}}\n"
    if not fault:
        assert flow.run(load(text, tmp_path)).ok
        return
    with pytest.raises(SpecError) as caught:
        load(text, tmp_path)
    assert [one.partition(": write")[0] for one in caught.value.faults] == [fault]


TAKER = """
    flow: 1
    inputs: {left: {}}
    nodes: {a: {set: {x: "{{ inputs.left }}"}}}
"""


@pytest.mark.parametrize(
    "taker",
    [
        "call: spec_steps:inc",
        "call: spec_steps:inc, with: {n: '{{ n }}'}",
        "call: spec_steps:inc, publish: {k: 1}",
        "map: spec_steps:needs_two, over: [1]",
        "loop: spec_steps:inc, until: n > 1, carry: n, max_iterations: 2",
        "file: taker.yaml",
        "map: {file: taker.yaml}, over: [1], with: {left: '{{ left }}'}",
        "loop: {file: taker.yaml}, until: len(a) > 0, max_iterations: 2",
    ],
)
@pytest.mark.parametrize("go", [True, False])
def test_what_takes_a_bypassed_output_by_name_may_be_bypassed(taker: str, go: bool, tmp_path: Path) -> None:
    (tmp_path / "taker.yaml").write_text(textwrap.dedent(TAKER), encoding="utf-8")
    nodes = f"""
        inputs: {{go: {{}}}}
        nodes:
          n: {{call: spec_steps:inc, with: {{n: 1}}, when: inputs.go}}
          other: {{call: spec_steps:inc, with: {{n: 1}}, when: inputs.go}}
          left: {{call: spec_steps:inc, with: {{n: 1}}, when: inputs.go}}
          taker: {{{taker}}}
          after-it: {{set: {{got: "{{{{ default(taker, none_got) }}}}"}}}}
          none_got: {{set: {{}}}}
    """
    result = flow.run(load(nodes, tmp_path), {"go": go})
    assert result.status["taker"] == ("completed" if go else "bypassed")
    assert result["after-it"] == {"got": result["taker"] if go else {}}


def test_a_wrong_callee_without_with_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"flow: 1 # \xe9")
    with pytest.raises(SpecError) as caught:
        load("nodes: {a: {call: spec_steps:nope, when: 'true'}, b: {file: latin.yaml}, c: {file: no.yaml}}", tmp_path)
    assert len(caught.value.faults) == 3


@pytest.mark.parametrize(
    ("timer", "fault"),
    [
        ("{at: '2027-01-31'}", "at has no time zone: write 2027-01-31T00:00:00Z for UTC"),
        ("'5'", "timer of node 'a': expected a number or a mapping, not '5'"),
    ],
)
def test_what_to_write_for_a_timer(timer: str, fault: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        load(f"nodes: {{a: {{timer: {timer}}}}}", tmp_path)
    assert [one.partition(": ")[2] for one in caught.value.faults] == [fault]


@pytest.mark.parametrize(
    "loop",
    [
        "with: {n: 1}, carry: n, until: n > 4",
        "with: {n: 1}, until: out > n",
        "with: {n: 1}, until: out > n and n > most",
        "carry: n, until: inputs.n > 4, publish: {k: 1}",
        "until: out > 4",
        "until: 'true'",
    ],
)
def test_loops_are_checked_without_importing_what_they_call(loop: str, tmp_path: Path) -> None:
    text = f"flow: 1\nnodes:\n  a: {{loop: 'nowhere:more', max_iterations: 9, {loop}}}\n"
    assert len(Session(imports=False).loads(text, "w", None).compile()) == 1


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("when", ["teardown: start", "publish: {k: '{{ result }}'}"])
def test_each_kind_is_checked_without_imports(kind: str, when: str, tmp_path: Path) -> None:
    (tmp_path / "child.yaml").write_text(textwrap.dedent(CHILD), encoding="utf-8")
    text = f"flow: 1\nnodes:\n  start: {{set: {{}}}}\n  done: {{{KINDS[kind][0]}, {when}}}\n"
    assert len(Session(imports=False).loads(text, "w", str(tmp_path)).compile()) == 2


BYPASSED = """
    flow: 1
    inputs: {go: {type: boolean}}
    nodes: {a: {set: {x: 1}, when: inputs.go}}
    outputs: {y: "{{ a.x }}"}
"""


def test_a_file_whose_outputs_are_bypassed_gives_null(tmp_path: Path) -> None:
    (tmp_path / "go.yaml").write_text(textwrap.dedent(BYPASSED), encoding="utf-8")
    nodes = """
        nodes:
          f: {file: go.yaml, with: {go: false}}
          m: {map: {file: go.yaml}, over: [true, false], with: {go: "{{ item }}"}}
          d: {set: {y: "{{ default(f.y, 2) }}"}}
    """
    result = flow.run(load(nodes, tmp_path))
    assert [result[name] for name in ("f", "m", "d")] == [None, [{"y": 1}, None], {"y": 2}]


def test_a_fault_of_outputs_has_their_place(tmp_path: Path) -> None:
    text = "nodes:\n  c: {set: {x: 1}, cleanup: true}\noutputs: {x: '{{ c }}'}\n"
    with pytest.raises(SpecError) as caught:
        load(text, tmp_path)
    assert caught.value.faults[0].startswith("workflow:4:1: node 'outputs': an ordinary node depends on the cleanup")


def test_expressions_of_an_included_dag_read_its_nodes(tmp_path: Path) -> None:
    inner = load(f"nodes:\n  start: {{call: spec_steps:boom}}\n  done: {{{KINDS['file'][0]}, when: failed(start)}}\n"
                 .replace("{{ start }}", "{{ len(errors(start)) }}"), tmp_path)  # fmt: skip
    outer = flow.Dag("outer")
    outer.include(inner, prefix="p")
    result = flow.run(outer, config=flow.Config(on_error="collect"))
    assert result["p.done"] == {"y": 2}


def test_a_fault_of_data_that_many_publish_is_short(tmp_path: Path) -> None:
    nodes = "".join(f"  n{i}: {{set: {{}}, publish: {{k: 1}}, when: 'true'}}\n" for i in range(1_000))
    reader = "  m: {set: {x: '{{ data.k }}', y: '{{ data.k }}'}, join: none_failed}\n"
    with pytest.raises(SpecError) as caught:
        load(f"nodes:\n{nodes}{reader}", tmp_path)
    why = "'n0' and 'n1' and 'n2' and 'n3' and 'n4' and 995 more may not have published 'k'"
    assert [fault.split(": ")[1] for fault in caught.value.faults] == [why, why]
