"""Faults that tuning and its files had: each would come back as a failure here."""

from __future__ import annotations

import asyncio
import enum
import functools
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.config import DATA_PRESETS
from flow.settings import to_toml
from flow.testing import FakeClock
from flow.tuning.search import gain


@pytest.fixture(autouse=True)
def collects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.tuning.measure.gc", SimpleNamespace(collect=lambda *_: 0))


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def save(text: str | bytes) -> Path:
        path = tmp_path / "flow.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return save


def one_node(fn: Callable[..., Any]) -> flow.Dag:
    dag = flow.Dag("one")
    dag.add("node", fn)
    return dag


def report_of(config: flow.Config) -> flow.TuneReport:
    clock = FakeClock()
    dag = one_node(lambda: clock.sleep(0.1))
    return flow.tune(dag, config=config, candidates=[config], budget=2, timer=clock.now)


class TestReading:
    def test_a_byte_order_mark(self, saved: Any) -> None:
        assert flow.Config.load(saved(b"\xef\xbb\xbf[flow]\r\nlimit = 3\r\n")).limit == 3

    @pytest.mark.parametrize("text", ["[flow]\nx = " + "[" * 100_000, "[flow]\nlimit = " + "9" * 5_000])
    def test_what_the_parser_does_not_call_an_error_of_its_own(self, saved: Any, text: str) -> None:
        with pytest.raises(flow.ConfigError, match="it is not TOML: "):
            flow.Config.load(saved(text))

    @pytest.mark.parametrize("path", [None, 3, object()])
    def test_what_is_no_path(self, path: Any) -> None:
        with pytest.raises(flow.ConfigError, match="its path must be a str or a Path, not "):
            flow.Config.load(path)

    def test_a_name_that_no_file_can_have(self) -> None:
        with pytest.raises(flow.ConfigError, match="it cannot be read: embedded null"):
            flow.Config.load("a\0b")

    def test_inline_tables_have_their_line(self, saved: Any) -> None:
        with pytest.raises(flow.ConfigError) as caught:
            flow.Config.load(saved("\n[flow]\ndata = {metrics = 'of'}\n"))
        assert caught.value.faults[0].startswith("line 3: metrics must be ")

    def test_lines_are_those_of_settings_not_of_texts(self, saved: Any) -> None:
        with pytest.raises(flow.ConfigError) as caught:
            flow.Config.load(saved('[a]\nb = """\n[flow]\nlimit = 3\n"""\n# \u2028\n[flow]\nlimit = 0\n'))
        assert caught.value.faults[0].startswith("line 8: limit must be ")


class Enumerated(enum.IntEnum):
    THREE = 3


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
STORES = st.fixed_dictionaries(
    {},
    optional={
        "memory": st.sampled_from(["standard", "slots", "arena"]),
        "metrics": st.sampled_from(["off", "counting", "sampled", "timing"]),
        "sample_rate": st.floats(1e-9, 1),
        "slow_after": st.none() | st.floats(1e-9, 1e9),
        "interning": st.sampled_from(["none", "native", "pool", "arena"]),
        "intern": st.sampled_from(["keys", "values", "both"]),
        "intern_capacity": st.integers(1, 2**70),
        "direct_reads": st.booleans(),
        "locked": st.none() | st.booleans(),
    },
)


@st.composite
def stores(draw: Any) -> flow.DataConfig:
    """Any that go together."""
    try:
        return flow.DataConfig(**draw(STORES))
    except flow.ConfigError:
        return flow.DataConfig.preset(draw(st.sampled_from(list(DATA_PRESETS))))


CONFIGS = st.builds(
    flow.Config,
    limit=st.none() | st.just("auto") | st.integers(1, 2**70),
    timeout=st.none() | st.floats(min_value=0, exclude_min=True, allow_infinity=False) | st.integers(1, 10**40),
    keep=st.sampled_from(["all", "targets"]) | st.lists(TEXTS),
    order=st.sampled_from(["definition", "critical_path"]),
    optimize=st.sampled_from([True, False, "at_once"]),
    backend=st.sampled_from(["asyncio", "uvloop", "trio"]),
    data=st.none() | stores(),
)


class TestWriting:
    @given(CONFIGS, TEXTS)
    def test_any_config_comes_back_whatever_the_comments(self, config: flow.Config, comment: str) -> None:
        import tempfile

        notes = dict.fromkeys(["limit", "timeout", "keep", "data.metrics"], comment)
        with tempfile.NamedTemporaryFile("wb", suffix=".toml") as file:
            file.write(to_toml(config, [comment], notes).encode())
            file.flush()
            assert flow.Config.load(file.name) == config

    def test_enumerations(self, saved: Any) -> None:
        assert flow.Config.load(saved(to_toml(flow.Config(limit=Enumerated.THREE)))).limit == 3

    def test_nodes_without_a_name_are_left_out(self) -> None:
        text = to_toml(flow.Config(limit=3, keep=["a", functools.partial(print)]))
        assert text == "[flow]\nlimit = 3\n# keep: not written, give to flow.Config\n"


class TestWhatIsThereAlready:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("[flow]\nlimit = 2\n[other]\nx = 1\n", "is not overwritten: it also holds 'other'"),
            ("[flow]\ntimeout = 5\n", "is not overwritten: its timeout would be lost"),
            ("[flow]\nlimt = 5\n", "which would be overwritten, is not valid: |no setting is called 'limt'"),
            ("notes to myself", "which would be overwritten, is not valid: it is not TOML"),
        ],
    )
    def test_nothing_is_lost(self, saved: Any, text: str, reason: str) -> None:
        path = saved(text)
        with pytest.raises(flow.FlowError, match=reason):
            report_of(flow.Config(limit=3)).write(path)
        assert path.read_text() == text

    @pytest.mark.parametrize("text", ["", "[flow]\nlimit = 2\nsync = 'thread'\n", "[flow]\ntimeout = 5\n"])
    def test_what_tuning_wrote_or_started_from_is_replaced(self, saved: Any, text: str) -> None:
        path, config = saved(text), flow.Config(limit=3, timeout=5)
        report_of(config).write(path)
        assert flow.Config.load(path) == config

    def test_the_command_refuses_before_it_runs(self, saved: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        testing = pytest.importorskip("click.testing")
        from flow.cli.commands import cli

        path = saved("[other]\n")
        monkeypatch.chdir(path.parent)
        (path.parent / "dags.py").write_text(
            "import flow, sys\ndag = flow.Dag('d')\ndag.add('ends', lambda: sys.exit(0))\n"
        )
        result = testing.CliRunner().invoke(cli, ["tune", "dags.py", "--write", "flow.toml"])
        assert result.exit_code == 2 and "'flow.toml' is not overwritten: it also holds 'other'" in result.stderr
        assert "runs the nodes" not in result.stderr
        result = testing.CliRunner().invoke(cli, ["tune", "dags.py"])
        assert result.exit_code == 1, "a node's sys.exit(0) is no success of tuning"
        assert "Error: a node ended the tuning: SystemExit: 0 (dags.py:3)" in result.stderr


class TestArguments:
    @pytest.mark.parametrize("candidates", [flow.Config(limit=3), 5, [], [3], {"limit": 3}])
    def test_candidates_are_a_list_of_configs(self, candidates: Any) -> None:
        with pytest.raises(flow.ConfigError, match="candidates must be a list of flow.Configs"):
            flow.tune(one_node(lambda: 1), candidates=candidates)

    def test_inputs_that_the_first_run_uses_up(self) -> None:
        def rows() -> Iterator[int]:
            yield 1

        with pytest.raises(flow.ConfigError, match="input 'rows' is used up by the first of many runs"):
            flow.tune(one_node(lambda rows: sum(rows)), {"rows": rows()})

    def test_functions_that_make_no_inputs(self) -> None:
        async def later() -> dict[str, Any]:
            return {}

        for make in (lambda day: {"rows": day}, later):
            with pytest.raises(flow.ConfigError, match="inputs must be a mapping, or a plain function without arg"):
                flow.tune(one_node(lambda rows: rows), make)  # type: ignore[arg-type]

    def test_the_default_as_the_only_candidate(self) -> None:
        assert report_of(flow.Config()).notes == ("there is nothing to try: the default is the only candidate",)

    def test_one_node_is_not_1_nodes(self) -> None:
        assert " runs of 1 node in " in str(report_of(flow.Config()))


class TestMeasuring:
    def test_a_run_that_is_far_too_long_is_not_repeated(self) -> None:
        clock, calls = FakeClock(), []
        with pytest.raises(flow.UsageError, match="takes 9.00 s, more than an eighth of the budget of 15.00 s"):
            flow.tune(one_node(lambda: calls.append(1) or clock.sleep(9.0)), budget=15, timer=clock.now)
        assert len(calls) == 1

    def test_outputs_that_change_with_time_are_no_candidates_fault(self) -> None:
        """The time in seconds is the same in two runs that follow one another, and not later."""
        clock, faster = FakeClock(), flow.Config(sync="thread")

        def node() -> int:
            import threading

            clock.time += 0.1 if threading.current_thread() is threading.main_thread() else 0.04
            return int(clock.time + 0.79)  # 0 in the first two runs

        report = flow.tune(one_node(node), candidates=[faster], budget=8, timer=clock.now)
        assert report.best == faster, report

    def test_nodes_that_wait_for_one_another_do_not_hang_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("flow.tuning.search.PATIENT", 0.05)
        dag = flow.Dag("meet")
        queues: list[asyncio.Queue[int]] = []

        async def begin() -> None:
            queues[:] = [asyncio.Queue()]

        async def take() -> int:
            return await queues[0].get()

        async def give() -> None:
            await queues[0].put(1)

        first = dag.add("begin", begin)
        dag.add("take", take, after=[first])
        dag.add("give", give, after=[first])
        report = flow.tune(dag, candidates=[flow.Config(limit=1)], budget=5)
        one = next(t for t in report.trials if t.settings == {"limit": 1})
        assert one.note.startswith("not usable: one run had not ended after ")

    def test_equal_peaks_are_shown_as_equal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The default is the first to run after a full collection, which empties CPython's free lists."""
        monkeypatch.undo()  # collections are what this is about
        dag = flow.Dag("wide")

        async def node(*_: Any) -> list[list[int]]:
            return [[1] for _ in range(60)]

        for i in range(10):
            dag.add(f"n{i}", node)
        tried = [flow.Config(limit=n) for n in (100, 200, 300)]
        report = flow.tune(dag, objective="memory", candidates=tried, budget=5)
        assert report.is_default
        assert [t.gain for t in report.trials] == [pytest.approx(1.0, abs=0.05)] * 4, report

    def test_a_cold_first_run_is_not_what_a_config_is_judged_by(self) -> None:
        """Its imports and threads take long once."""
        clock, warm = FakeClock(), []

        def node() -> None:
            import threading

            if threading.current_thread() is threading.main_thread():
                clock.time += 0.01
            else:
                clock.time += 0.005 if warm else 0.3
                warm.append(1)

        report = flow.tune(one_node(node), candidates=[flow.Config(sync="thread")], budget=4, timer=clock.now)
        assert report.best.sync == "thread" and report.gain.times == pytest.approx(2.0)


class TestNoise:
    @pytest.mark.parametrize("rounds", [3, 4, 6, 9])
    @pytest.mark.parametrize("spread", [0.3, 1.0])
    def test_noise_alone_hardly_ever_wins(self, rounds: int, spread: float) -> None:
        drawn = random.Random(rounds)

        def ratio() -> float:
            return drawn.lognormvariate(0, spread) / drawn.lognormvariate(0, spread)

        tries = 200  # with seeds of their own: no luck is left
        assert sum(gain([ratio() for _ in range(rounds)]).sure for _ in range(tries)) <= 0.02 * tries

    def test_a_clear_gain_of_few_rounds_still_counts(self) -> None:
        assert gain([2.1, 2.4, 3.0, 2.2]).sure and gain([1.15, 1.2, 1.12, 1.2]).sure
        assert not gain([1.2, 2.4, 3.0, 2.2]).sure

    def test_ties_are_the_default(self) -> None:
        clock, drawn = FakeClock(), random.Random(2)
        found = []
        for _ in range(10):
            dag = one_node(lambda: clock.sleep(drawn.lognormvariate(-2, 0.5)))
            tried = [flow.Config(timing=True), flow.Config(optimize=False), flow.Config(order="critical_path")]
            found.append(flow.tune(dag, candidates=tried, budget=random.Random(1).choice([5, 20]), timer=clock.now))
        assert all(report.is_default for report in found)


def test_a_thread_may_tune() -> None:
    dag = flow.topologies.linear(3)

    async def beside_a_loop() -> flow.TuneReport:
        return await asyncio.to_thread(flow.tune, dag, candidates=[flow.Config()], budget=5)

    assert asyncio.run(beside_a_loop()).nodes == 3
