"""Workflow files: what each kind of node and each name means, in every way to run."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

import pytest
import spec_steps
from conftest import MODES

import flow
from flow import spec
from flow.errors import RunError, SpecError

pytest.importorskip("yaml")

ALLOW = "spec_steps:*"


def load(text: str, folder: Path | None = None) -> flow.Dag:
    return spec.loads(textwrap.dedent(text), allow=ALLOW, folder=folder)


def run(text: str, inputs: dict[str, Any] | None = None, folder: Path | None = None, **config: Any) -> flow.Result:
    """Load and run it; a run that is not ok gives its Result as well."""
    try:
        return flow.run(load(text, folder), inputs or {}, config=flow.Config(**config))
    except RunError as error:
        return error.result


def statuses(result: flow.Result) -> dict[str, str]:
    return {name: str(status) for name, status in result.status.items()}


@pytest.fixture(params=list(MODES))
def mode(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(MODES[request.param])


EVERY_KIND = """
    flow: 1
    name: every
    inputs:
      n: {type: integer, default: 3}
      words: {type: array, items: {type: string}, default: [a, b]}
    vars: {twice: "{{ inputs.n * 2 }}", four: "{{ vars.twice * 2 }}", word: text}
    nodes:
      plus: {call: spec_steps:add, with: {a: "{{ vars.four }}"}}
      asum: {call: spec_steps:add_async, with: {a: "{{ plus }}", b: "{{ inputs.n }}"}}
      build-image:
        call: spec_steps:shout
        with: {text: "v{{ plus }} {{ vars.word }}"}
        publish: {image: "{{ result }}", size: "{{ len(data.image) }}"}
      read: {set: {image: "{{ data.image }}", size: "{{ data.size }}", same: "{{ nodes['build-image'] }}"}}
      numbers: {call: spec_steps:numbers, with: {n: "{{ inputs.n }}"}}
      mapped: {map: spec_steps:add, over: "{{ numbers }}", with: {a: "{{ item }}", b: "{{ index * 10 + plus }}"}}
      direct: {map: spec_steps:pair, over: "{{ inputs.words }}"}
      amapped: {map: spec_steps:add_async, over: "{{ direct[0] + ['c'] }}", with: {a: "{{ item }}", b: "!"}}
      keyed: {map: spec_steps:shout, over: "{{ rows }}", key: item.name, with: {text: "{{ item.name }}{{ key }}"}}
      rows: {call: spec_steps:rows}
      literal: {map: spec_steps:inc, over: [1, 2, 3], publish: {total: "{{ sum(result) + plus }}"}}
      again: {loop: spec_steps:inc, with: {n: "{{ plus }}"}, carry: n, until: n > 15, max_iterations: 5}
      choice: {route: "again > 3", to: {"true": yes-node, "false": no-node}}
      yes-node: {set: {v: 1}}
      no-node: {set: {v: 2}}
      merged: {merge: [yes-node, no-node]}
      ctx: {call: spec_steps:context, with: {x: "{{ data.total }}"}}
      pause: {timer: 0.0}
      ending: {call: spec_steps:rows, after: [pause, ctx], cleanup: true}
    outputs:
      merged: "{{ merged.v }}"
      text: "{{ system.workflow }} {{ nodes['build-image'] }}"
      later: "{{ now() >= system.started and system.now >= system.started }}"
"""


def test_every_kind_in_every_mode(mode: dict[str, Any]) -> None:
    if mode.get("mode") == "inline":
        pytest.skip("a timer needs an event loop")
    result = run(EVERY_KIND, **mode)
    outputs = {name: result.outputs[name] for name in result.plan if name in result.outputs and name != "numbers"}
    expected = {
        "vars": {"twice": 6, "four": 12, "word": "text"},
        "plus": 13, "asum": 16, "build-image": "V13 TEXT",
        "read": {"image": "V13 TEXT", "size": 8, "same": "V13 TEXT"},
        "mapped": [13, 24, 35], "direct": [["a", "a"], ["b", "b"]], "amapped": ["a!", "a!", "c!"],
        "keyed": {"ada": "ADAADA", "bob": "BOBBOB"}, "rows": [{"name": "ada", "n": 1}, {"name": "bob", "n": 2}],
        "literal": [2, 3, 4], "again": 16, "choice": ("yes-node",), "yes-node": {"v": 1}, "merged": {"v": 1},
        "ctx": (22, "ctx", 1), "pause": None, "ending": [{"name": "ada", "n": 1}, {"name": "bob", "n": 2}],
        "outputs": {"merged": 1, "text": "every V13 TEXT", "later": True},
    }  # fmt: skip
    assert outputs == {name: expected[name] for name in outputs}
    assert "outputs" in outputs
    assert outputs.keys() == expected.keys() or "keep" in mode
    assert statuses(result)["no-node"] == "bypassed"


def test_inline_runs_what_does_not_wait() -> None:
    without = "\n".join(line for line in EVERY_KIND.split("\n") if "pause" not in line and "asum" not in line)
    without = without.replace("amapped: {map: spec_steps:add_async", "amapped: {map: spec_steps:add")
    result = run(without, mode="inline")
    assert result.ok
    assert result["outputs"] == {"merged": 1, "text": "every V13 TEXT", "later": True}


def test_json_is_read_by_the_same_reader() -> None:
    text = json.dumps({"flow": 1, "nodes": {"a": {"set": {"x": "{{ 1 + 1 }}", "y": "\U0001f600 {{ 'x' }}"}}}})
    assert flow.run(spec.loads(text, name="a.json"))["a"] == {"x": 2, "y": "\U0001f600 x"}
    escaped = text.encode("ascii").decode()
    assert "\\ud83d\\ude00" in escaped
    assert flow.run(spec.loads(escaped, name="a.json"))["a"]["y"] == "\U0001f600 x"


def test_an_async_generator_is_gone_over_with_arguments() -> None:
    result = run("""
        flow: 1
        nodes:
          s: {call: spec_steps:stream, with: {n: 3}}
          m: {map: spec_steps:add, over: "{{ s }}", with: {a: "{{ item }}", b: "{{ k.v }}"}}
          k: {set: {v: 5}}
    """)
    assert result["m"] == [5, 6, 7]


def test_a_generator_that_a_map_leaves_is_closed() -> None:
    result = run("""
        flow: 1
        nodes:
          s: {call: spec_steps:numbers, with: {n: 3}}
          m: {map: spec_steps:boom, over: "{{ s }}", with: {text: "{{ 'no ' + str(item) }}"}}
    """, on_error="collect")  # fmt: skip
    assert str(result.errors["m"]) == "no 0"
    assert result.outputs["s"].gi_frame is None


def test_items_have_contexts_of_their_own() -> None:
    result = run("""
        flow: 1
        nodes:
          m: {map: spec_steps:item_context, over: [5, 6], with: {x: "{{ item }}"}}
    """)
    assert result["m"] == [(5, 0), (6, 1)]


class TestFiles:
    def test_a_file_is_a_node(self, tmp_path: Path) -> None:
        (tmp_path / "child.yaml").write_text(textwrap.dedent("""
            flow: 1
            inputs: {n: {type: integer}, name: {type: string, default: x}}
            nodes:
              square: {set: {v: "{{ inputs.n * inputs.n }}"}}
            outputs: {square: "{{ square.v }}", name: "{{ inputs.name }}"}
        """))
        result = run("""
            flow: 1
            inputs: {n: {type: integer}}
            nodes:
              a: {file: child.yaml, with: {n: "{{ inputs.n + 1 }}"}, publish: {square: "{{ result.square }}"}}
              b: {file: child.yaml}
              c: {set: {sum: "{{ a.square + data.square }}", name: "{{ b.name }}"}}
        """, {"n": 4}, tmp_path)  # fmt: skip
        assert result["a"] == {"square": 25, "name": "x"}
        assert result["b"] == {"square": 16, "name": "x"}
        assert result["c"] == {"sum": 50, "name": "x"}

    def test_a_file_without_outputs_gives_those_of_its_nodes(self, tmp_path: Path) -> None:
        (tmp_path / "child.yml").write_text("flow: 1\nnodes: {a: {set: {v: 1}}}")
        result = run("flow: 1\nnodes: {c: {file: child.yml}}", folder=tmp_path)
        assert dict(result["c"]) == {"a": {"v": 1}}

    def test_a_file_is_the_body_of_a_loop(self, tmp_path: Path) -> None:
        (tmp_path / "body.yaml").write_text(textwrap.dedent("""
            flow: 1
            inputs: {text: {type: string}}
            nodes:
              better: {call: spec_steps:add, with: {a: "{{ inputs.text }}", b: "!"}}
              score: {set: {v: "{{ len(better) }}"}}
        """))
        result = run("""
            flow: 1
            nodes:
              polish:
                loop: {file: body.yaml}
                with: {text: hi}
                carry: {text: better}
                until: score.v > 4
                max_iterations: 5
                history: true
            outputs: {all: "{{ pluck(polish, 'better') }}"}
        """, folder=tmp_path)  # fmt: skip
        assert result["outputs"] == {"all": ["hi!", "hi!!", "hi!!!"]}

    @pytest.mark.parametrize(
        ("written", "said"),
        [
            ("../up.yaml", "lies outside of the folder of the file that runs it: '..' is not read"),
            ("a/../../up.yaml", "lies outside of the folder of the file that runs it: '..' is not read"),
            ("/etc/passwd.yaml", "is an absolute path: it is relative to the file that runs it"),
            ("~/x.yaml", "is an absolute path: it is relative to the file that runs it"),
            ("C:/x.yaml", "is an absolute path: it is relative to the file that runs it"),
            ("x.txt", "is no workflow file: it ends in .yaml, .yml or .json"),
            ("link.yaml", "lies outside of the folder of the file that runs it"),
            ("nothing.yaml", "cannot be read: No such file or directory (did you mean 'link.yaml'?)"),
        ],
    )
    def test_only_files_beside_it(self, tmp_path: Path, written: str, said: str) -> None:
        inner = tmp_path / "inner"
        inner.mkdir()
        (tmp_path / "up.yaml").write_text("flow: 1\nnodes: {a: {set: {v: 1}}}")
        (inner / "link.yaml").symlink_to(tmp_path / "up.yaml")
        with pytest.raises(SpecError) as caught:
            load(f"flow: 1\nnodes:\n  a: {{file: '{written}'}}", inner)
        assert caught.value.faults == (f"workflow:3:13: file {written!r} {said}",)

    def test_circles_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("flow: 1\nnodes:\n  n: {file: b.yaml}\n")
        (tmp_path / "b.yaml").write_text("flow: 1\nnodes:\n  n: {file: a.yaml}\n")
        with pytest.raises(SpecError) as caught:
            spec.load(tmp_path / "a.yaml")
        (fault,) = caught.value.faults
        assert fault.endswith("the files run each other in a circle (a.yaml -> b.yaml -> a.yaml)")
        assert fault.startswith(f"{tmp_path / 'b.yaml'}:3:13: ")

    def test_faults_of_all_files_are_told(self, tmp_path: Path) -> None:
        (tmp_path / "a.yaml").write_text("flow: 1\nnodes:\n  n: {set: {v: '{{ x }}'}}\n")
        with pytest.raises(SpecError) as caught:
            load("flow: 1\nnodes:\n  a: {file: a.yaml}\n  b: {set: {v: '{{ y }}'}}", tmp_path)
        assert caught.value.faults == (
            f"{tmp_path / 'a.yaml'}:3:20: there is no node 'x'",
            "workflow:4:20: there is no node 'y'",
        )


class TestRouting:
    def test_default_lets_a_node_run_without_a_bypassed_one(self) -> None:
        result = run("""
            flow: 1
            inputs: {go: {type: boolean}}
            nodes:
              a: {set: {v: 1}, when: inputs.go}
              with-it: {set: {v: "{{ a.v }}"}}
              without: {set: {v: "{{ default(a.v, 10) }}"}}
              ordered: {set: {v: 3}, after: a}
            outputs: {v: "{{ default(a.v, 7) }}", w: "{{ without.v }}"}
        """, {"go": False})  # fmt: skip
        assert statuses(result) == {
            "a": "bypassed", "with-it": "bypassed", "without": "completed", "ordered": "bypassed",
            "outputs": "completed",
        }  # fmt: skip
        assert result["outputs"] == {"v": 7, "w": 10}

    def test_a_publisher_that_is_bypassed(self) -> None:
        result = run("""
            flow: 1
            inputs: {go: {type: boolean}}
            nodes:
              a: {set: {v: 1}, when: inputs.go, publish: {x: "{{ result.v }}"}}
              b: {set: {v: "{{ default(data.x, 5) }}"}}
              c: {set: {v: "{{ data.x }}"}}
        """, {"go": False})  # fmt: skip
        assert statuses(result) == {"a": "bypassed", "b": "completed", "c": "bypassed"}
        assert result["b"] == {"v": 5}

    @pytest.mark.parametrize(("join", "word"), [("none_failed", "may be bypassed"), ("some", "may not be there"),
                                                ("done", "may not be there"), ("1", "may not be there")])  # fmt: skip
    def test_outputs_that_may_not_come_need_default(self, join: str, word: str) -> None:
        with pytest.raises(SpecError, match=word) as caught:
            load(f"""
                flow: 1
                inputs: {{go: {{type: boolean}}}}
                nodes:
                  a: {{set: {{v: 1}}, when: inputs.go}}
                  b: {{set: {{v: "{{{{ a.v }}}}"}}, join: {join}}}
            """)
        assert caught.value.faults[0].startswith("workflow:6:20: ")

    def test_a_failure_is_handled_and_told(self, mode: dict[str, Any]) -> None:
        result = run("""
            flow: 1
            nodes:
              a: {call: spec_steps:boom}
              b: {set: {why: "{{ errors(a) }}", failed: "{{ failed(a) }}"}, after: {a: failed}}
              c: {set: {v: "{{ default(a, 4) }}"}, join: done}
        """, **mode)  # fmt: skip
        assert result.ok
        assert result["b"] == {"why": ["ValueError: no"], "failed": True}
        assert result["c"] == {"v": 4}

    def test_teardown_and_cleanup(self, mode: dict[str, Any]) -> None:
        result = run("""
            flow: 1
            nodes:
              setup: {call: spec_steps:rows}
              use: {call: spec_steps:boom, after: setup}
              down: {call: spec_steps:add, with: {a: "{{ setup }}", b: [1]}, teardown: setup}
              ending: {set: {v: "{{ default(use, 'none') }}"}, cleanup: true}
        """, **mode)  # fmt: skip
        assert not result.ok
        assert result["down"][-1] == 1
        assert result["ending"] == {"v": "none"}


class TestOptions:
    def test_retries_by_the_names_of_exceptions(self) -> None:
        for names, attempts in (("[ConnectionError]", 3), ("[OSError, ValueError]", 3), ("ValueError", 1)):
            spec_steps.calls.clear()
            result = run(f"""
                flow: 1
                nodes:
                  a:
                    call: spec_steps:counted
                    with: {{text: x}}
                    retry: {{attempts: 3, delay: 0, retry_if: {names}}}
            """)
            assert len(spec_steps.calls) == attempts
            assert result.ok is (attempts == 3)

    def test_an_expression_that_fails_is_not_tried_again(self) -> None:
        spec_steps.calls.clear()
        result = run("""
            flow: 1
            inputs: {x: {type: object}}
            nodes:
              a: {call: spec_steps:add, with: {a: "{{ inputs.x.y }}"}, retry: {attempts: 3, delay: 100}}
        """, {"x": {}}, on_error="collect")  # fmt: skip
        assert result.attempts["a"] == 1
        assert str(result.errors["a"]).startswith("workflow:5:52: in 'inputs.x.y': there is no key 'y'")

    def test_publishing_that_fails_does_not_call_again(self) -> None:
        spec_steps.calls.clear()
        result = run("""
            flow: 1
            nodes:
              a:
                call: spec_steps:context
                with: {x: 1}
                publish: {v: "{{ result.x }}"}
                retry: {attempts: 3, delay: 100}
        """, on_error="collect")  # fmt: skip
        assert result.attempts["a"] == 1
        assert "in 'result.x'" in str(result.errors["a"])

    def test_defaults_are_for_kinds_that_take_them(self) -> None:
        dag = load("""
            flow: 1
            defaults: {retry: {attempts: 4, delay: 0}, concurrency: 2, timeout: 9}
            nodes:
              a: {call: spec_steps:inc, with: {n: 1}}
              b: {set: {v: 1}}
              c: {call: spec_steps:inc, with: {n: 1}, retry: {attempts: 2}}
              d: {map: spec_steps:inc, over: [1]}
        """)
        nodes = dag.compile()._nodes
        assert {nodes.names[i]: retry.attempts for i, retry in nodes.retries.items()} == {"a": 4, "c": 2}
        mapped: Any = nodes.binders[3].fn
        assert (mapped.options.concurrency, mapped.retry.attempts, mapped.timeout.attempt) == (2, 4, 9)

    def test_the_usual_rule_without_with(self) -> None:
        result = run("""
            flow: 1
            inputs: {b: {type: integer, default: 2}}
            nodes:
              a: {call: spec_steps:add, with: {a: 4, b: 0}}
              total: {call: spec_steps:add}
        """)
        assert result["total"] == 6


class TestFailedItems:
    @pytest.mark.parametrize("key, failed", [("", [1, 2]), ("key: item, ", ["x", "y"])])
    def test_they_are_read_by_their_keys(self, key: str, failed: list[Any]) -> None:
        result = run(f"""
            flow: 1
            nodes:
              parse: {{map: json.parse, over: ["1", x, y], with: {{text: "{{{{ item }}}}"}}, {key}on_error: collect}}
              told: {{set: {{failed: "{{{{ parse.failed_keys }}}}", count: "{{{{ parse.failed }}}}"}}}}
        """)
        assert result["told"] == {"failed": failed, "count": 2}
        assert result["parse"].failed_keys == failed


class TestSignals:
    @pytest.mark.anyio
    async def test_a_signal_is_converted_and_read(self) -> None:
        dag = load("""
            flow: 1
            inputs: {ask: {type: boolean}}
            nodes:
              approve: {signal: {type: spec_steps:Approval}, when: inputs.ask, timeout: 3600}
              plain: {signal: {type: integer}, timeout: 3600}
              go: {set: {by: "{{ default(approve.by, 'nobody') }}", n: "{{ plain }}"}}
        """)
        async with flow.start(dag, {"ask": True}) as handle:
            handle.send("approve", {"by": "ada"})
            handle.send("plain", 3)
            result = await handle.result()
        assert result["go"] == {"by": "ada", "n": 3}

    def test_nodes_that_wait_stand_in_the_file(self) -> None:
        dag = spec.loads("flow: 1\nnodes:\n  a: {signal: {}}\n  b: {timer: 1, after: a}", name="waits")
        assert [fn.location for fn in dag._definition.fns] == ["waits:3:3", "waits:4:3"]

    def test_timers_at_a_date(self) -> None:
        assert run("flow: 1\nnodes: {t: {timer: {at: '2020-01-01T00:00:00Z'}}}").ok


class TestConfig:
    def test_a_file_has_the_config_of_its_runs(self) -> None:
        settings = "{limit: 2, on_error: collect, data: {preset: low_memory}}"
        dag = load(f"flow: 1\nconfig: {settings}\nnodes: {{a: {{set: {{v: 1}}}}}}")
        config = flow.run(dag)._run.config
        assert (config.limit, config.on_error) == (2, "collect")
        assert config.data == flow.DataConfig(**flow.config.DATA_PRESETS["low_memory"])

    @pytest.mark.parametrize(
        ("config", "said"),
        [
            ("{limt: 2}", "2:10: no setting is called 'limt' (did you mean 'limit'?)"),
            ("{limit: 0}", "2:10: limit must be"),
            ("{observers: []}", "2:10: observers cannot stand in a file: give it to flow.Config"),
            ("{timeout: '{{ 3 }}'}", "2:9: config holds literals, and expressions are not read there"),
            ("{data: {memry: arena}}", "2:17: no setting is called 'memry'"),
            ("3", "2:9: config is a mapping, not a number"),
        ],
    )
    def test_its_faults_have_places(self, config: str, said: str) -> None:
        with pytest.raises(SpecError) as caught:
            load(f"flow: 1\nconfig: {config}\nnodes: {{a: {{set: {{v: 1}}}}}}")
        assert caught.value.faults[0].startswith(f"workflow:{said}")


class TestSecrets:
    TEXT = """
        flow: 1
        inputs: {token: {type: string, secret: true}, name: {type: string, default: x}}
        vars: {header: "Bearer {{ inputs.token }}"}
        nodes:
          a: {call: spec_steps:boom, with: {text: "no {{ vars.header }}"}}
    """

    def test_they_are_masked_in_errors(self, mode: dict[str, Any]) -> None:
        try:
            result = flow.run(load(self.TEXT), {"token": "s3cr3t-t0ken"}, config=flow.Config(**mode))
        except RunError as error:
            assert "s3cr3t" not in f"{error!s} {error!r} {error.exceptions!r}"
            result = error.result
        assert str(result.errors["a"]) == "no Bearer ***"
        assert "s3cr3t" not in repr(result)

    def test_they_are_masked_in_errors_of_inputs(self) -> None:
        with pytest.raises(flow.InputError) as caught:
            flow.run(load(self.TEXT), {"token": 55667788, "name": 3})
        assert "55667788" not in str(caught.value)
        assert "token" in str(caught.value)


def test_files_run_in_other_processes() -> None:
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    dag = load("""
        flow: 1
        inputs: {n: {type: integer, default: 3}}
        defaults: {executor: pool}
        nodes:
          a: {call: spec_steps:add, with: {a: "{{ inputs.n + 1 }}", b: 2}}
          m: {map: spec_steps:add, over: [1, 2], with: {a: "{{ item + a }}"}}
    """)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        result = flow.run(dag, config=flow.Config(executors={"pool": pool}))
    assert (result["a"], result["m"]) == (6, [8, 9])


def test_literals_are_made_anew_for_each_call() -> None:
    dag = load("""
        flow: 1
        nodes:
          a: {set: {x: [1, {y: 2}]}}
          b: {call: spec_steps:context, with: {x: [1, [2]]}}
    """)
    flow.run(dag)["a"]["x"].append(5)
    flow.run(dag)["b"][0][1].append(5)
    assert flow.run(dag)["a"] == {"x": [1, {"y": 2}]}
    assert flow.run(dag)["b"][0] == [1, [2]]


def test_defaults_of_inputs_are_made_anew_for_each_run() -> None:
    dag = load("flow: 1\ninputs: {x: {default: [1, {y: 2}]}}\nnodes: {a: {set: {v: '{{ inputs.x }}'}}}")
    flow.run(dag)["a"]["v"][1]["y"] = 5
    assert flow.run(dag)["a"] == {"v": [1, {"y": 2}]}


def test_a_map_over_an_expression_fills_parameters_by_the_usual_rule() -> None:
    text = """
        flow: 1
        inputs: {b: {type: integer, default: 10}}
        nodes:
          m: {map: spec_steps:add, over: "{{ [1, 2] + [3] }}"}
    """
    assert run(text)["m"] == [11, 12, 13]
    assert run(text.replace("inputs: {b: {type: integer, default: 10}}", "inputs: {}"))["m"] == [2, 3, 4]
    with pytest.raises(SpecError) as caught:
        load(text.replace("spec_steps:add, over", "spec_steps:needs_two, over"))
    assert caught.value.faults == ("workflow:5:12: spec_steps:needs_two needs 'other', which 'with' does not give",)


def test_a_loop_of_a_file_gives_its_outputs(tmp_path: Path) -> None:
    (tmp_path / "body.yaml").write_text(textwrap.dedent("""
        flow: 1
        inputs: {n: {type: integer}}
        nodes: {p: {set: {n: "{{ inputs.n + 1 }}"}}, q: {call: spec_steps:inc, with: {n: "{{ inputs.n }}"}}}
        outputs: {n: "{{ p.n }}"}
    """))
    text = """
        flow: 1
        nodes:
          a: {loop: {file: body.yaml}, with: {n: 1}, carry: {n: q}, until: q > 2, max_iterations: 5}
          b: {loop: {file: body.yaml}, with: {n: 1}, carry: {n: q}, until: q > 2, max_iterations: 5, history: true}
    """
    result = run(text, folder=tmp_path)
    assert result["a"] == {"n": 3}
    assert result["b"] == ({"n": 2}, {"n": 3})


class TestMapsOfFiles:
    CHILD = """
        flow: 1
        inputs: {n: {type: integer}, by: {type: integer, default: 2}}
        nodes: {p: {set: {v: "{{ inputs.n * inputs.by }}"}}}
        outputs: {v: "{{ p.v }}"}
    """

    def test_a_file_is_run_for_each_item(self, tmp_path: Path, mode: dict[str, Any]) -> None:
        (tmp_path / "child.yaml").write_text(textwrap.dedent(self.CHILD))
        result = run("""
            flow: 1
            inputs: {by: {type: integer, default: 5}}
            nodes:
              a: {map: {file: child.yaml}, over: [1, 2]}
              b: {map: {file: child.yaml}, over: "{{ a }}", with: {n: "{{ item.v + index }}", by: 10}}
              c: {map: {file: child.yaml}, over: [1], with: {n: "{{ item }}"}, publish: {k: "{{ len(result) }}"}}
              d: {set: {k: "{{ data.k }}"}}
        """, folder=tmp_path, **mode)  # fmt: skip
        assert result["d"] == {"k": 1}
        if "keep" not in mode:
            assert result["a"] == [{"v": 5}, {"v": 10}]
            assert result["b"] == [{"v": 50}, {"v": 110}]
            assert result["c"] == [{"v": 2}]

    @pytest.mark.parametrize(
        ("node", "said"),
        [
            ("{map: {file: child.yaml}, over: [1], with: {by: 3}}", "49: node 'a' gives no 'n' in 'with'"),
            ("{map: {file: child.yaml}, over: [1], with: {m: 3, n: 1}}", "50: child.yaml has no input 'm'"),
            ("{map: {file: two.yaml}, over: [1]}", "12: two.yaml has no input 'item', so say in 'with' what it gets"),
        ],
    )
    def test_its_inputs_are_checked(self, tmp_path: Path, node: str, said: str) -> None:
        (tmp_path / "child.yaml").write_text(textwrap.dedent(self.CHILD))
        (tmp_path / "two.yaml").write_text("flow: 1\ninputs: {x: {}, y: {}}\nnodes: {p: {set: {v: 1}}}")
        with pytest.raises(SpecError) as caught:
            load(f"flow: 1\nnodes:\n  a: {node}", tmp_path)
        assert said in " ".join(caught.value.faults)


class TestOutputs:
    def test_what_reads_in_default_alone_comes_though_nodes_failed(self) -> None:
        text = """
            flow: 1
            nodes:
              a: {call: spec_steps:boom}
              b: {set: {v: 1}, after: {a: failed}}
            outputs: {a: "{{ default(a, 'none') }}", b: "{{ default(b.v, 0) }}"}
        """
        assert run(text)["outputs"] == {"a": "none", "b": 1}
        unhandled = run(text.replace("after: {a: failed}", "after: a"), on_error="collect")
        assert unhandled["outputs"] == {"a": "none", "b": 0}

    def test_else_a_failure_skips_them(self) -> None:
        result = run("""
            flow: 1
            nodes:
              a: {call: spec_steps:boom}
            outputs: {a: "{{ a }}"}
        """, on_error="collect")  # fmt: skip
        assert statuses(result)["outputs"] == "skipped"
