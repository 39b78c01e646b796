"""The exception tree: bases, texts, pickling, ``except*``, nearest names."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import flow
from flow import errors
from flow.errors import MAX_FAULTS_SHOWN, described, nearest, shown


@pytest.mark.parametrize(
    ("kind", "bases"),
    [
        (errors.DefinitionError, (ValueError,)),
        (errors.CycleError, (errors.DefinitionError,)),
        (errors.ConfigError, (ValueError,)),
        (errors.UnknownSetting, (errors.ConfigError, TypeError)),
        (errors.InputError, (ValueError,)),
        (errors.TraceError, (ValueError,)),
        (errors.UsageError, (RuntimeError,)),
        (errors.TransitionError, (errors.UsageError,)),
        (errors.MissingOutput, (KeyError,)),
        (errors.NodeTimeout, (TimeoutError,)),
        (errors.NodeCancelled, ()),
        (errors.ExpressionError, (ValueError,)),
        (errors.ExpressionSyntaxError, (errors.ExpressionError,)),
        (errors.EvaluationError, (errors.ExpressionError,)),
        (errors.NodeAborted, ()),
        (errors.RunError, (ExceptionGroup,)),
    ],
)
def test_tree(kind: type[Exception], bases: tuple[type, ...]) -> None:
    assert issubclass(kind, (errors.FlowError, *bases))
    for base in bases:
        assert issubclass(kind, base)
    assert f" {kind.__name__} " in (errors.__doc__ or "")


@pytest.mark.parametrize("kind", [errors.DefinitionError, errors.ConfigError, errors.InputError])
def test_listings(kind: Any) -> None:
    one = kind("x", ["only this"])
    assert str(one).endswith(": only this")
    two = kind("x", ["this", "that"])
    assert str(two).endswith(": 2 faults\n  - this\n  - that")
    many = kind("x", [f"fault {i}" for i in range(MAX_FAULTS_SHOWN + 7)])
    assert str(many).endswith("  - ... and 7 more (see .faults)")
    assert len(many.faults) == MAX_FAULTS_SHOWN + 7
    for error in (one, two, many):
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), copy.faults, str(copy)) == (kind, error.faults, str(error))


def test_a_missing_output_prints_its_text() -> None:
    assert str(errors.MissingOutput("node 'a' was skipped")) == "node 'a' was skipped"


class TestRunError:
    def failed(self) -> errors.RunError:
        inner = ExceptionGroup("inner", [KeyError("k"), ValueError("w")])
        raised = [ValueError("v"), inner, TypeError("t")]
        return errors.RunError("3 nodes failed", raised, "result", ["a", "b", "c"], timed_out=True)

    def test_except_star_keeps_result_and_names(self) -> None:
        seen: dict[str, Any] = {}
        try:
            try:
                raise self.failed()
            except* KeyError as group:
                seen["key"] = group
            except* TypeError as group:
                seen["type"] = group
        except errors.RunError as rest:
            seen["rest"] = rest
        assert (seen["key"].nodes, seen["type"].nodes, seen["rest"].nodes) == (("b",), ("c",), ("a", "b"))
        for part in seen.values():
            assert (part.result, part.timed_out, type(part)) == ("result", True, errors.RunError)

    def test_the_exceptions_are_the_very_objects(self) -> None:
        error = ValueError("v")
        assert errors.RunError("m", [error]).exceptions[0] is error

    def test_pickle_leaves_the_result_behind(self) -> None:
        copy = pickle.loads(pickle.dumps(self.failed()))
        assert (copy.result, copy.nodes, copy.timed_out, len(copy.exceptions)) == (None, ("a", "b", "c"), True, 3)
        assert str(copy) == str(self.failed())

    def test_deeply_nested_groups(self) -> None:
        error: Exception = ValueError("deep")
        for _ in range(50):
            error = ExceptionGroup("g", [error])
        matched, rest = errors.RunError("m", [error, KeyError("k")], None, ["a", "b"]).split(ValueError)
        assert isinstance(matched, errors.RunError) and isinstance(rest, errors.RunError)
        assert (matched.nodes, rest.nodes) == (("a",), ("b",))


class TestNearest:
    def test_names(self) -> None:
        assert nearest("scor", ["users", "score"]) == " (did you mean 'score'?)"
        assert nearest("load1", ["load2", "load3", "x"]) in (
            " (did you mean 'load2' or 'load3'?)", " (did you mean 'load3' or 'load2'?)",
        )  # fmt: skip
        assert nearest("zzz", ["users"]) == ""

    @pytest.mark.parametrize("name", [5, None, "", "x" * 10_000])
    def test_nothing_to_compare(self, name: Any) -> None:
        assert nearest(name, ["users", 5, None]) == ""

    def test_among_a_million(self) -> None:
        known = [f"node{i}" for i in range(200_000)]
        assert "'node199999'" in nearest("nodes199999", known)


class TestShown:
    def test_short_values_are_their_repr(self) -> None:
        assert (shown("a\n"), shown(5), shown(None)) == ("'a\\n'", "5", "None")

    def test_long_values_are_cut(self) -> None:
        assert shown("x" * 10_000).endswith("... (10000 characters)")
        assert len(shown("\0" * 10_000)) < 120
        assert len(shown(list(range(1_000)))) < 120

    def test_a_failing_repr(self) -> None:
        class Bad:
            def __repr__(self) -> str:
                raise RuntimeError

        assert shown(Bad()) == "<Bad without a usable repr>"


def test_groups_keep_their_notes_when_they_travel() -> None:
    error = flow.errors.MapError("two failed", [ValueError(1), KeyError(2)], [3, 4])
    error.add_note("in node 'm'")
    there = pickle.loads(pickle.dumps(error))
    assert (there.indices, there.__notes__, str(there)) == ((3, 4), ["in node 'm'"], str(error))
    run = flow.RunError("failed", [ValueError(1)], None, ["a"])
    assert not hasattr(pickle.loads(pickle.dumps(run)), "__notes__")


def test_a_group_is_described_by_what_is_within() -> None:
    inner = ExceptionGroup("two", [KeyError("k"), ValueError("v")])
    assert described(flow.errors.MapError("2 items failed", [inner], [3])) == (
        "MapError: 2 items failed (1 sub-exception); KeyError: 'k'"
    )


def test_settings_that_do_not_exist_name_the_nearest() -> None:
    with pytest.raises(flow.errors.ConfigError, match=r"no setting is called 'limt' \(did you mean 'limit'\?\)"):
        flow.Config().replace(limt=3)


def test_an_input_that_a_map_goes_over_is_called_that() -> None:
    dag = flow.Dag("d")
    dag.add("records", lambda: [1])
    dag.map("m", str, over="record")
    with pytest.raises(flow.InputError) as caught:
        flow.run(dag)
    assert "goes over that, which is no node (did you mean 'records'?); pass inputs=" in str(caught.value)
