"""``Config(data=rule)``: a function of the Plan chooses how the run's store is kept and measured."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

import pytest
from conftest import loops, modes

import flow
from flow import Config, DataConfig

COUNTED = DataConfig()
SAMPLED = DataConfig(metrics="sampled", sample_rate=0.2)
IMPORTANT = {"checkout", "payment"}


MODES = modes("auto", "inline", "tasks", "workers-2", "threads", "observed")


def run_with(dag: flow.Dag, mode: dict[str, Any], **settings: Any) -> flow.Result:
    return flow.run(dag, config=Config(**mode, **settings))


class Rule:
    """Important workflows count each operation, others sample; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[flow.Plan] = []

    def __call__(self, plan: flow.Plan) -> DataConfig:
        self.asked.append(plan)
        return COUNTED if plan.name in IMPORTANT else SAMPLED


def noting(name: str) -> flow.Dag:
    dag = flow.Dag(name)

    @dag.node
    def note(ctx: flow.Context) -> int:
        ctx.data["seen"] = 1
        total: int = ctx.data.increment("total")
        return total

    return dag


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("name", "metrics"), [("checkout", "counting"), ("newsletter", "sampled")])
def test_the_workflow_chooses(mode: dict[str, Any], name: str, metrics: str) -> None:
    rule = Rule()
    result = run_with(noting(name), mode, data=rule)
    assert (result["note"], result.data.statistics().metrics) == (1, metrics)
    assert [plan.name for plan in rule.asked] == [name]


@pytest.mark.parametrize("backend", loops(), indirect=True)
def test_execute_asks_as_well(on_loop: Callable[..., Any]) -> None:
    rule = Rule()

    async def main() -> flow.Result:
        return await flow.execute(noting("mail"), config=Config(data=rule))

    result = on_loop(main)
    assert (result.data.statistics().metrics, len(rule.asked)) == ("sampled", 1)


def test_each_outermost_run_asks_anew() -> None:
    """So an answer may change while the service runs."""
    answers = iter([COUNTED, SAMPLED])
    config = Config(data=lambda plan: next(answers))
    dag = noting("mail")
    found = [flow.run(dag, config=config).data.statistics().metrics for _ in range(2)]
    assert found == ["counting", "sampled"]
    assert config.data is not None
    assert not isinstance(config.data, DataConfig)  # the Config itself is as it was


@pytest.mark.parametrize("mode", MODES)
def test_a_dag_as_a_node_follows_the_store_around_it(mode: dict[str, Any]) -> None:
    rule = Rule()
    outer = flow.Dag("newsletter")
    outer.add("inner", noting("checkout"))

    @outer.node(after="inner")
    def last(ctx: flow.Context) -> str:
        return ctx.data.statistics().metrics

    result = run_with(outer, mode, data=rule)
    assert (result["inner"]["note"], result["last"]) == (1, "sampled")
    assert [plan.name for plan in rule.asked] == ["newsletter"]


@pytest.mark.parametrize("mode", MODES)
def test_items_of_maps_follow_the_run(mode: dict[str, Any]) -> None:
    rule = Rule()
    dag = flow.Dag("payment")

    def one(item: int, ctx: flow.Context) -> int:
        ctx.data["item"] = item
        return item

    dag.add("items", lambda: [1, 2, 3])
    dag.map("functions", one, "items")
    part = flow.Dag("mail")
    part.add("double", lambda item: item * 2)
    dag.map("dags", part, "items")
    result = run_with(dag, mode, data=rule)
    assert list(result["functions"]) == [1, 2, 3]
    assert result.data.statistics().metrics == "counting"
    assert [plan.name for plan in rule.asked] == ["payment"]


def test_the_rule_sees_the_whole_plan() -> None:
    rule = Rule()
    dag = noting("mail")
    dag.add("other", lambda: 1)
    flow.run(dag, targets="note", config=Config(data=rule))
    flow.run(dag, known={"other": 2}, config=Config(data=rule))
    assert [len(plan) for plan in rule.asked] == [2, 2]


def test_a_run_that_is_given_a_store_does_not_ask() -> None:
    rule, store = Rule(), flow.WorkflowData(DataConfig(metrics="off"))
    flow.run(noting("mail"), data=store, config=Config(data=rule))
    assert (rule.asked, store["total"]) == ([], 1)


def test_values_stay_hidden_in_stores_of_a_rule() -> None:
    result = flow.run(noting("mail"), config=Config(data=lambda plan: SAMPLED, show_values=False))
    with pytest.raises(flow.errors.WrongType) as caught:
        result.data.get_str("seen")
    assert "(1)" not in str(caught.value)


# -- refused before anything runs ----------------------------------------------------------


def ran_nothing(rule: Any, kind: type[BaseException], **settings: Any) -> BaseException:
    ran: list[int] = []
    dag = flow.Dag("orders")
    dag.add("first", lambda: ran.append(1))
    with pytest.raises(kind) as caught:
        flow.run(dag, config=Config(data=rule, **settings))
    with pytest.raises(kind):
        asyncio.run(flow.execute(dag, config=Config(data=rule, **settings)))
    assert not ran
    return caught.value


@pytest.mark.parametrize("given", [None, "production", {"metrics": "off"}, DataConfig])
def test_what_is_no_config_is_refused(given: Any) -> None:
    error = ran_nothing(lambda plan: given, flow.errors.ConfigError)
    assert "data is a rule, <function" in str(error)
    assert "must return a flow.DataConfig for dag 'orders', not " in str(error)
    assert ("the default is flow.DataConfig()" in str(error)) == (given is None)


def test_a_value_that_is_no_config_is_hidden() -> None:
    error = ran_nothing(lambda plan: "secret", flow.errors.ConfigError, show_values=False)
    assert "secret" not in str(error)
    assert "not a str" in str(error)


def test_what_the_rule_raises_names_the_workflow() -> None:
    def lookup(plan: flow.Plan) -> DataConfig:
        raise LookupError(plan.name)

    error = ran_nothing(lookup, LookupError)
    assert any("the rule in Config.data, for dag 'orders': no node has run" in note for note in error.__notes__)


def test_a_rule_that_returns_a_coroutine() -> None:
    async def later(plan: flow.Plan) -> DataConfig:
        return COUNTED

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        error = ran_nothing(lambda plan: later(plan), flow.errors.ConfigError)
    assert "is async, and nothing awaits" in str(error)
    assert "'orders'" in str(error)


def no_parameter() -> DataConfig:
    return COUNTED


def two_parameters(plan: flow.Plan, node: str) -> DataConfig:
    return COUNTED


async def is_async(plan: flow.Plan) -> DataConfig:
    return COUNTED


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("production", r"not 'production' \(did you mean flow\.DataConfig\.preset\('production'\)\?\)"),
        ({"metrics": "off"}, r"data must be a flow\.DataConfig, a function of the Plan that returns one, or None"),
        (DataConfig, r"not <class 'flow\.config\.data\.DataConfig'> \(call it: DataConfig\(\)\)"),
        (no_parameter, "data must be callable with one argument, the Plan, and .* is not: too many positional"),
        (two_parameters, "data must be callable with one argument, .* missing a required argument: 'node'"),
        (is_async, "data is async, and nothing awaits what it returns"),
    ],
)
def test_a_rule_is_checked_when_it_is_given(rule: Any, fault: str) -> None:
    with pytest.raises(flow.errors.ConfigError, match=fault):
        Config(data=rule)
    with pytest.raises(flow.errors.ConfigError, match=fault):
        Config().replace(data=rule)


def test_all_faults_are_listed_at_once() -> None:
    with pytest.raises(flow.errors.ConfigError) as caught:
        Config(data=no_parameter, limit=0)  # type: ignore[arg-type]
    assert len(caught.value.faults) == 2


def test_inputs_are_checked_before_the_rule_is_asked() -> None:
    rule, dag = Rule(), flow.Dag("mail")
    dag.add("a", lambda missing: missing)
    with pytest.raises(flow.InputError):
        flow.run(dag, config=Config(data=rule))
    assert not rule.asked


# -- around it -----------------------------------------------------------------------------


def test_a_file_leaves_a_rule_out() -> None:
    from flow.config.writing import to_toml

    text = to_toml(Config(data=Rule(), limit=3))
    assert "# data: not written, give to flow.Config" in text
    assert "[flow.data]" not in text
    assert "limit = 3" in text


def test_tuning_asks_once_and_tunes_what_it_was_told() -> None:
    rule = Rule()
    report = flow.tune(noting("mail"), config=Config(data=rule), budget=0.3)
    assert report.default.data == SAMPLED
    assert isinstance(report.best.data, DataConfig)
    assert len(rule.asked) == 1
