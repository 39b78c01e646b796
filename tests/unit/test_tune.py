"""Tuning: the search on workloads whose cost is known, candidates that change nothing else, reports, the command."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import DATA

import flow
from flow.testing import FakeClock
from flow.tuning.candidates import differences, factors, put_back
from flow.tuning.measure import Refused, Trial
from flow.tuning.search import Gain, Search, gain
from flow.tuning.standin import stand_in


@pytest.fixture(autouse=True)
def collects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection takes long beside the tests of a whole suite, and on a fake clock no time at all."""
    monkeypatch.setattr("flow.tuning.measure.gc", SimpleNamespace(collect=lambda *_: 0))


class Workload:
    """A DAG of one node that takes, on a fake clock, the seconds that the run's config is said to cost."""

    def __init__(self, cost: Callable[[flow.Config], float], width: int = 40, noise: float = 0.0) -> None:
        self.clock = FakeClock()
        self.cost = cost
        self.noise = noise
        self.drawn = random.Random(1)
        self.calls = 0
        self.width = width
        self.seen: list[flow.Config] = []

    def first(self, trial: Trial, most: float = 0) -> None:
        trial.once = self.sample(trial)

    def sample(self, trial: Trial) -> float:
        self.calls += 1
        self.seen.append(trial.config)
        seconds = self.cost(trial.config) * (1 + self.noise * self.drawn.uniform(-1, 1))
        self.clock.time += seconds
        return seconds

    def now(self) -> float:
        return self.clock.now()

    def settle(self) -> None: ...

    def tune(self, monkeypatch: pytest.MonkeyPatch, budget: float = 100.0, **options: Any) -> flow.tuning.TuneReport:
        """Tune a wide DAG whose runs are replaced by this."""
        from flow.tuning import api

        monkeypatch.setattr(api, "Bench", lambda plan, *_: _FakeBench(self, plan))

        async def node() -> None: ...

        dag = flow.Dag("fake")
        for i in range(self.width):
            dag.add(f"n{i}", node)
        dag.add("last", lambda: 1, after=["n0"])
        return flow.tune(dag, budget=budget, timer=self.clock.now, **options)


class _FakeBench:
    def __init__(self, workload: Workload, plan: flow.Plan) -> None:
        self.first, self.sample, self.batch, self.now = workload.first, workload.sample, workload.sample, workload.now
        self.uses_data = True
        self.workload = workload

    @property
    def runs(self) -> int:
        return self.workload.calls

    def probe(self, default: Trial, most: float) -> None:
        self.first(default)

    def forget(self) -> None: ...

    def settle(self) -> None: ...


def costs(**worth: float) -> Callable[[flow.Config], float]:
    """0.1 s; a limit costs by its distance from 8, threads are worth ``executor``, quiet data ``data``."""

    def cost(config: flow.Config) -> float:
        seconds = 0.1
        if "limit" in worth:
            limit = config.limit if isinstance(config.limit, int) else 40
            seconds *= 1 + worth["limit"] * abs(limit - 8) / 32
        if config.executor == "thread":
            seconds /= worth.get("executor", 0.9)
        if config.data is not None and config.data.metrics == "off":
            seconds /= worth.get("data", 0.9)
        return seconds

    return cost


class TestSearch:
    @pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
    def test_finds_one_setting(self, monkeypatch: pytest.MonkeyPatch, noise: float) -> None:
        report = Workload(costs(limit=1.0), noise=noise).tune(monkeypatch)
        assert isinstance(report.best.limit, int) and 6 <= report.best.limit <= 12
        assert report.best == report.default.replace(limit=report.best.limit)
        assert report.gain.low > 1.5
        (reason,) = report.why
        assert (reason.setting, reason.default, reason.gain) == ("limit", None, report.gain)

    @pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
    def test_combines_settings_and_explains_each(self, monkeypatch: pytest.MonkeyPatch, noise: float) -> None:
        report = Workload(costs(limit=1.0, executor=3.0, data=2.0), noise=noise).tune(monkeypatch, budget=300.0)
        assert report.best.executor == "thread" and report.best.data.metrics == "off"
        assert isinstance(report.best.limit, int) and 6 <= report.best.limit <= 12
        gains = {reason.setting: reason.gain.times for reason in report.why}
        assert gains.keys() == {"limit", "executor", "data.metrics"}
        assert gains["executor"] == pytest.approx(3.0, rel=3 * noise + 1e-9)
        assert gains["data.metrics"] == pytest.approx(2.0, rel=3 * noise + 1e-9)
        assert report.gain.times == pytest.approx(12.0, rel=0.15)

    @pytest.mark.parametrize("noise", [0.0, 0.02, 0.1, 0.5])
    def test_the_default_where_nothing_helps(self, monkeypatch: pytest.MonkeyPatch, noise: float) -> None:
        report = Workload(lambda _: 0.1, noise=noise).tune(monkeypatch)
        assert report.is_default and report.best == flow.Config() and report.why == ()
        assert report.gain == Gain(1.0, 1.0, 1.0, 0)
        assert "the default is as good" in str(report)

    def test_a_gain_within_the_margin_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert Workload(costs(executor=1.02)).tune(monkeypatch).is_default
        assert Workload(costs(executor=1.05)).tune(monkeypatch).best.executor == "thread"

    def test_a_useless_setting_is_put_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Threads help alone, and bring nothing once the limit is there."""

        def cost(config: flow.Config) -> float:
            return 0.05 if config.limit == 8 else 0.08 if config.executor == "thread" else 0.1

        assert differences(flow.Config(), Workload(cost).tune(monkeypatch).best) == {"limit": 8}

    def test_the_budget_is_kept(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for budget in (3.0, 10.0, 60.0):
            workload = Workload(costs(limit=1.0, executor=3.0))
            report = workload.tune(monkeypatch, budget=budget)
            assert workload.now() <= budget + 10 * 0.2
            assert report.runs == workload.calls and report.seconds == workload.now()

    def test_what_is_far_too_slow_is_run_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of limits, those below one that is too slow are not run at all."""

        def cost(config: flow.Config) -> float:
            return 0.1 * max(1.0, 32 / config.limit) ** 2 if isinstance(config.limit, int) else 0.1

        workload = Workload(cost)
        report = workload.tune(monkeypatch)
        assert [c.limit for c in workload.seen].count(8) == 1
        assert not [c for c in workload.seen if c.limit in (4, 2, 1)]
        notes = {t.settings["limit"]: t.note for t in report.trials if t.settings.keys() == {"limit"}}
        assert notes[8] == "given up: one run took 16.0 times as long as the default's"
        assert notes[32] == ""

    def test_a_refused_candidate_is_left_out(self) -> None:
        class Fails(Workload):
            def first(self, trial: Trial, most: float = 0) -> None:
                if trial.config.limit == 2:
                    raise Refused("OSError: no")
                super().first(trial)

            def sample(self, trial: Trial) -> float:
                if trial.config.limit == 3 and self.calls > 5:
                    raise Refused("OSError: later")
                return super().sample(trial)

        bench = Fails(costs())
        default = Trial(flow.Config())
        bench.first(default)
        search = Search(bench, default, 4.0)
        two, three, four = (search.trial(flow.Config(limit=n)) for n in (2, 3, 4))
        assert two.note == "not usable: OSError: no"
        assert search.halve([three, four], until=1e9) == [four]
        assert three.note == "not usable: OSError: later"
        assert search.compare(three, default, 1e9) == Gain(0.0, 0.0, 0.0, 0)
        assert search.trial(flow.Config(limit=4)) is four and search.trial(flow.Config()) is default


@pytest.mark.slow
class TestGain:
    def test_of_few_rounds_it_is_all_of_them(self) -> None:
        assert gain([1.2, 1.4, 1.3, 1.3]) == Gain(1.3, 1.2, 1.4, 4)
        assert gain([1.2, 1.4, 1.3, 1.3]).sure and not gain([1.05, 1.4, 1.3, 1.3]).sure
        assert not gain([2.0, 2.0, 2.0]).sure

    def test_of_many_it_is_a_bootstrap_interval(self) -> None:
        drawn = random.Random(3)
        found = gain([drawn.gauss(1.2, 0.1) for _ in range(31)])
        assert 1.1 < found.low < found.times < found.high < 1.3 and found.sure

    def test_noise_alone_is_rarely_sure(self) -> None:
        drawn = random.Random(5)
        sure = sum(gain([drawn.lognormvariate(0, 0.1) for _ in range(31)]).sure for _ in range(100))
        assert sure <= 1


def names_of(plan: flow.Plan, config: flow.Config | None = None, **options: Any) -> dict[str, int]:
    options = {"objective": "throughput", "uses_data": False} | options
    return {f.name: len(f.options) for f in factors(plan, config or flow.Config(), **options)}


class TestCandidates:
    def test_sync_dags(self) -> None:
        plan = flow.topologies.linear(5).compile()
        assert names_of(plan) == {"mode": 1, "executor": 1}
        assert names_of(plan, objective="memory") == {"mode": 1, "executor": 1, "keep": 1}
        assert names_of(plan, flow.Config(keep="targets"), objective="memory").keys() == {"mode", "executor"}
        assert names_of(plan, flow.Config(executor="thread")) == {"limit": 0, "executor": 1, "threads": 3}
        assert "data" in names_of(plan, uses_data=True)

    def test_limits_end_at_the_width(self) -> None:
        async def node() -> None: ...

        dag = flow.Dag("wide")
        for i in range(20):
            dag.add(f"n{i}", node)
        (limits,) = factors(dag.compile(), flow.Config(limit=16), "latency", False)
        tried = [change["limit"] for change in limits.options]
        assert tried[0] is None and tried[-3:] == [4, 2, 1] and 16 not in tried and 32 not in tried
        dag.map("items", lambda item: item, over="rows")
        (limits, *_) = factors(dag.compile(), flow.Config(), "latency", False)
        assert {"limit": 256} in limits.options

    def test_metrics_that_were_asked_for_stay(self) -> None:
        plan = flow.topologies.linear(5).compile()
        config = flow.Config(data=flow.DataConfig(metrics="timing"))
        for factor in factors(plan, config, "throughput", True):
            for changes in factor.options:
                assert config.replace(**changes).data.metrics == "timing"

    def test_what_a_run_means_is_never_changed(self) -> None:
        async def node(ctx: flow.Context) -> None: ...

        dag = flow.Dag("d")
        dag.add("a", node)
        dag.add("b", lambda: 1, thread=True)
        dag.add("c", lambda: 1)
        base = flow.Config(on_error="collect", timeout=9, timing=True, backend="trio", limit=8)
        for factor in factors(dag.compile(), base, "memory", True):
            for changes in factor.options:
                assert changes.keys() <= {"mode", "limit", "executor", "threads", "order", "data", "keep"}

    def test_differences_and_putting_back(self) -> None:
        base = flow.Config()
        config = flow.Config(limit=3, data=flow.DataConfig(metrics="off", direct_reads=True))
        assert differences(base, config) == {"limit": 3, "data.metrics": "off", "data.direct_reads": True}
        assert put_back(config, base, "limit") == config.replace(limit=None)
        assert put_back(config, base, "data.direct_reads").data == flow.DataConfig(metrics="off")
        assert put_back(config, base, "data.metrics") is None  # direct_reads needs it
        assert put_back(flow.Config(data=flow.DataConfig(metrics="off")), base, "data.metrics") == base


def ticking(clock: FakeClock, by: Callable[[], float], **options: Any) -> flow.Dag:
    dag = flow.Dag("ticking")
    dag.add("tick", lambda: clock.sleep(by()) or 7, **options)
    return dag


class TestTune:
    def test_given_candidates_and_what_is_reported(self) -> None:
        clock, said = FakeClock(), []
        dag = flow.Dag("threads")

        @dag.node
        def work() -> int:
            import threading

            clock.time += 0.1 if threading.current_thread() is threading.main_thread() else 0.04
            return 7

        faster = flow.Config(executor="thread")
        report = flow.tune(dag, candidates=[faster], timer=clock.now, say=said.append, budget=4)
        assert report.best == faster and report.gain.times == pytest.approx(2.5)
        assert (report.dag, report.nodes, report.objective) == ("threads", 1, "throughput")
        assert [t.settings for t in report.trials] == [{}, {"executor": "thread"}]
        assert [t.figure for t in report.trials] == [pytest.approx(0.1), pytest.approx(0.04)]
        assert report.seconds <= 4.5
        assert said == [
            "one run of threads takes 100.00 ms; its 1 node will be run again and again for at most 3.80 s: "
            "up to 38 times, more where a run is faster"
        ]
        by = f"(2.50 to 2.50, {report.gain.rounds} rounds)"
        assert str(report).splitlines()[:2] == [
            f"threads: for throughput, 2.50 times as good as the default {by}",
            f"  executor=thread  2.50 times as good as inline {by}; "
            "sync functions then run beside one another, so they must be thread-safe",
        ]

    def test_runs_are_counted(self) -> None:
        clock, calls = FakeClock(), []
        report = flow.tune(ticking(clock, lambda: calls.append(1) or 0.1), budget=4, timer=clock.now)
        assert report.runs == len(calls) > 10 and report.is_default

    def test_a_plain_chain_with_nothing_to_vary(self) -> None:
        async def node(*_: Any) -> int:
            return 1

        report = flow.tune(flow.topologies.linear(20, fn=node), budget=2)
        assert report.is_default
        assert report.notes == ("there is nothing to vary: no two of its nodes can be in flight, and it uses no data",)

    def test_latency_is_the_95th_percentile_of_single_runs(self) -> None:
        clock, count = FakeClock(), iter(range(10**6))
        dag = ticking(clock, lambda: 0.1 if next(count) % 10 == 0 else 0.001)
        report = flow.tune(dag, objective="latency", budget=3, timer=clock.now, candidates=[flow.Config(limit=2)])
        assert report.is_default and report.trials[0].figure == pytest.approx(0.1)

    def test_memory_is_the_peak_of_a_run(self) -> None:
        dag = flow.Dag("memory")
        dag.add("n0", lambda: bytearray(50_000))
        for i in range(1, 10):
            dag.add(f"n{i}", lambda before: bytearray(before), needs=[f"n{i - 1}"])
        report = flow.tune(dag, objective="memory", budget=10)
        assert report.best.keep == "targets" and 3 < report.gain.times < 6
        assert 500_000 < report.trials[0].figure < 520_000
        assert any(note.startswith("a run takes ") for note in report.notes)
        assert "the Result then holds the targets' outputs alone" in str(report)

    def test_a_candidate_that_leaves_something_else_is_not_usable(self) -> None:
        clock = FakeClock()
        dag = flow.Dag("shared")

        @dag.node
        def fill(ctx: flow.Context) -> int:
            ctx.data["rows"] = []
            ctx.data["rows"].append(1)  # an arena gives a copy
            return clock.sleep(0.01) or 1

        @dag.node
        def read(fill: int, ctx: flow.Context) -> int:
            return len(ctx.data["rows"])

        arena = flow.Config(data=flow.DataConfig(memory="arena"))
        report = flow.tune(dag, candidates=[arena], timer=clock.now, budget=1)
        assert report.is_default and report.trials[1].note == "not usable: it changes output 'read'"

    def test_a_candidate_that_fails_is_not_usable(self) -> None:
        clock = FakeClock()
        dag = flow.Dag("objects")

        @dag.node
        def fill(ctx: flow.Context) -> int:
            ctx.data["it"] = object()
            return clock.sleep(0.01) or 1

        arena = flow.Config(data=flow.DataConfig(memory="arena"))
        report = flow.tune(dag, candidates=[arena], timer=clock.now, budget=1)
        assert report.trials[1].note.startswith("not usable: RunError: ")
        assert "DataError" in report.trials[1].note

    @pytest.mark.parametrize("on_error", ["fail_fast", "collect"])
    def test_ones_own_failure_is_raised(self, on_error: Any) -> None:
        clock, count = FakeClock(), iter(range(100))

        def tick() -> float:
            if next(count) == 7:
                raise ValueError("mine")
            return 0.1

        with pytest.raises(flow.RunError) as caught:
            flow.tune(ticking(clock, tick), timer=clock.now, config=flow.Config(on_error=on_error), candidates=[
                flow.Config(timing=True, on_error=on_error)])  # fmt: skip
        assert isinstance(caught.value.exceptions[0], ValueError)
        (note,) = caught.value.__notes__
        assert note.startswith("flow.tune was running dag 'ticking' by its default config, run ")

    def test_a_budget_that_is_too_small(self) -> None:
        clock = FakeClock()
        with pytest.raises(flow.UsageError, match=r"takes 2.00 s, .* \(--budget\) of at least 80.00 s"):
            flow.tune(ticking(clock, lambda: 2.0), timer=clock.now, budget=15)

    def test_inputs_can_be_made_for_each_run(self) -> None:
        clock, made = FakeClock(), []

        def make() -> dict[str, Any]:
            made.append(1)
            return {"rows": iter([1, 2])}

        dag = flow.Dag("uses_them_up")
        dag.add("total", lambda rows: clock.sleep(0.1) or sum(rows))
        report = flow.tune(dag, make, timer=clock.now, budget=5)
        assert report.runs == len(made)
        with pytest.raises(flow.InputError, match="'rows' is missing"):
            flow.tune(dag, timer=clock.now)

    def test_targets(self) -> None:
        clock = FakeClock()
        dag = ticking(clock, lambda: 0.1)
        ref = dag.add("never", lambda: 1 / 0)
        report = flow.tune(dag, targets="tick", timer=clock.now, budget=5)
        assert report.nodes == 1 and report.is_default
        with pytest.raises(flow.RunError):
            flow.tune(dag, targets=[ref], timer=clock.now)

    def test_arguments(self) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
            flow.tune(flow.Dag("d"), objective="speed", budget=0, config=3, candidates=[])  # type: ignore[arg-type]
        assert [fault.split()[0] for fault in caught.value.faults] == ["objective", "budget", "config", "candidates"]
        with pytest.raises(flow.UsageError, match="takes a flow.Dag"):
            flow.tune(print)  # type: ignore[arg-type]
        with pytest.raises(flow.errors.ConfigError, match="work must be one of"):
            flow.tune(flow.topologies.linear(3), work="busy", scale=-1)  # type: ignore[arg-type]

    def test_not_on_a_loop(self) -> None:
        async def inside() -> None:
            flow.tune(flow.Dag("d"))

        with pytest.raises(flow.UsageError, match="anyio.to_thread.run_sync"):
            asyncio.run(inside())
        trio = pytest.importorskip("trio")
        with pytest.raises(flow.UsageError, match="anyio.to_thread.run_sync"):
            trio.run(inside)

    def test_the_file_says_what_was_measured(self, tmp_path: Path) -> None:
        dag = flow.topologies.linear(3, fn=lambda before=None: bytearray(200_000))
        report = flow.tune(dag, objective="memory", budget=10)
        path = tmp_path / "flow.toml"
        report.write(path)
        assert flow.Config.load(path) == report.best
        lines = path.read_text(encoding="utf-8").splitlines()
        assert lines[0] == f"# by flow tune, {report.headline()}"
        assert lines[2] == "[flow]" and lines[3].startswith('keep = "targets"  # 1.')
        with pytest.raises(flow.UsageError, match="is not overwritten"):
            report.write(tmp_path / "pyproject.toml")
        with pytest.raises(flow.UsageError, match="cannot be written: No such file"):
            report.write(tmp_path / "no" / "flow.toml")


@pytest.mark.slow
class TestStandIns:
    def dag(self) -> flow.Dag:
        dag = flow.Dag("effects")

        async def call(token: str) -> int:
            raise AssertionError("the real node")

        dag.add("fetch", call, cost=3.0)
        dag.add("write", lambda fetch: 1 / 0, cost=2.0, priority=4)
        dag.add("mail", lambda: 1 / 0, after=["write"], thread=True)
        return dag

    def test_shape_kinds_and_costs(self) -> None:
        plan = self.dag().compile()
        other = stand_in(plan, "sleep", 0.5)
        assert other.names == plan.names and list(other.dependencies) == list(plan.dependencies)
        assert other._nodes.is_async == plan._nodes.is_async
        assert other._nodes.priorities == plan._nodes.priorities
        assert list(other.costs.values()) == [1.5, 1.0]
        assert other.required_inputs == ()

    @pytest.mark.parametrize("work", ["noop", "sleep", "cpu"])
    def test_each_runs_in_place_of_the_nodes(self, work: Any) -> None:
        report = flow.tune(self.dag(), work=work, scale=1e-4, budget=0.5)
        assert report.nodes == 3
        assert f"measured on stand-ins ({work}), not on your functions" in report.notes

    def test_a_scale_without_work_and_other_faults_are_told_at_once(self) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
            flow.tune(self.dag(), scale=2, budget=0)
        assert caught.value.faults == (
            "budget must be a number of seconds > 0, not 0",
            "scale=2 is a factor on the stand-ins' seconds: give work too, 'sleep' or 'cpu'",
        )

    def test_seconds_must_be_known(self) -> None:
        dag = flow.topologies.linear(3)
        with pytest.raises(flow.UsageError, match="no node of dag 'linear' has a cost"):
            flow.tune(dag, work="sleep")
        assert flow.tune(dag, work="noop", budget=0.5).is_default


GOOD = """
import flow

dag = flow.Dag("held")
dag.add("n0", lambda size=100_000: bytearray(size))
for i in range(1, 8):
    dag.add(f"n{i}", lambda before: print("working") or bytearray(before), needs=[f"n{i - 1}"])

bad = flow.Dag("bad")
bad.add("fails", lambda: 1 / 0)
"""


@pytest.fixture
def invoke(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    testing = pytest.importorskip("click.testing")
    from flow.cli.commands import cli

    monkeypatch.chdir(tmp_path)
    (tmp_path / "held.py").write_text(GOOD)
    return lambda *words: testing.CliRunner().invoke(cli, list(words), prog_name="flow")


class TestCommand:
    def test_tune_write_run(self, invoke: Callable[..., Any], tmp_path: Path) -> None:
        result = invoke(
            "tune",
            "held.py",
            "--objective",
            "memory",
            "--budget",
            "10s",
            "--write",
            "flow.toml",
            "--input",
            "size=50000",
        )
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("held: for memory, ") and "working" not in result.output
        assert "keep=targets" in result.stdout
        runs, one, written = result.stderr.splitlines()
        assert runs.startswith("this runs the nodes of held, with all that they do, for up to 10.00 s (--work ")
        assert one.startswith("one run of held takes ") and written == "written: flow.toml"
        assert flow.Config.load(tmp_path / "flow.toml").keep == "targets"
        kept = invoke("run", "held.py", "--config", "flow.toml", "--json")
        assert kept.exit_code == 0 and kept.stdout.count('"output"') == 1
        assert invoke("run", "held.py", "--json").stdout.count('"output"') == 8

    def test_options_go_over_the_file(self, invoke: Callable[..., Any], tmp_path: Path) -> None:
        (tmp_path / "flow.toml").write_text('[flow]\non_error = "collect"\ntiming = true\n')
        assert invoke("run", "held.py:bad", "--config", "flow.toml").stdout.startswith("bad: FAILED")
        found = invoke("run", "held.py:bad", "--config", "flow.toml", "--on-error", "fail_fast")
        assert found.exit_code == 1

    def test_config_from(self, tmp_path: Path) -> None:
        click = pytest.importorskip("click")
        from flow.cli.commands import run as command
        from flow.cli.options import config_from

        path = tmp_path / "flow.toml"
        path.write_text('[flow]\nlimit = 3\nexecutor = "thread"\ntiming = true\n')
        context = command.make_context("run", ["held.py", "--config", str(path), "--limit", "5", "--mode", "auto"])
        assert isinstance(context, click.Context)
        assert config_from(context, context.params, []) == flow.Config(limit=5, executor="thread", timing=True)

    def test_a_trace(self, invoke: Callable[..., Any]) -> None:
        trace = str(DATA / "helloworld-chain-5-chameleon.json")
        result = invoke("tune", trace, "--work", "sleep", "--scale", "1e-6", "--budget", "1s")
        assert result.exit_code == 0 and "the default is as good" in result.stdout
        assert "with all that they do" not in result.stderr

    def test_a_dag_that_fails(self, invoke: Callable[..., Any]) -> None:
        result = invoke("tune", "held.py:bad")
        assert result.exit_code == 1
        assert "Error: the DAG fails by itself, so there is nothing to tune" in result.stderr
        assert "by its default config, run 1" in result.stderr
        assert "ZeroDivisionError: division by zero  held.py:10" in result.stderr

    @pytest.mark.parametrize(
        ("words", "text"),
        [
            (["--budget", "soon"], "'soon' is no time: write it as in 30s, 500ms or 2m"),
            (["--budget", "0s"], "'0s' is no time"),
            (["--write", "flow.txt"], "'flow.txt' must end in .toml"),
            (["--write", "no/flow.toml"], "there is no folder 'no'"),
            (["--write", "pyproject.toml"], "a pyproject.toml is not overwritten"),
            (["--scale", "2"], "--scale is for --work sleep and --work cpu"),
            (["--config", "flw.toml"], "config file 'flw.toml' is not valid: there is no such file"),
            (["--work", "sleep"], "no node of dag 'held' has a cost"),
        ],
    )
    def test_wrong_usage(self, invoke: Callable[..., Any], words: list[str], text: str) -> None:
        result = invoke("tune", "held.py", *words)
        assert result.exit_code == 2 and text in result.output.replace("\n", " ")

    @pytest.mark.parametrize(
        ("text", "seconds"), [("30s", 30.0), ("500ms", 0.5), ("2m", 120.0), ("1.5", 1.5), ("1 h", 3600.0)]
    )
    def test_budgets(self, text: str, seconds: float) -> None:
        pytest.importorskip("click")
        from flow.cli.tune import seconds_of

        assert seconds_of(None, None, text) == seconds  # type: ignore[arg-type]
