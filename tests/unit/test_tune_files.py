"""Files that tuning reads and writes: faults are told by line, and nothing of a user's is overwritten."""

from __future__ import annotations

import enum
import functools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.config import DATA_PRESETS
from flow.config.writing import to_toml
from flow.testing import FakeClock


@pytest.fixture(autouse=True)
def collects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flow.tuning.measure.gc", SimpleNamespace(collect=lambda *_: 0))


def one_node(fn: Callable[..., Any]) -> flow.Dag:
    dag = flow.Dag("one")
    dag.add("node", fn)
    return dag


@pytest.fixture
def saved(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def save(text: str | bytes) -> Path:
        path = tmp_path / "flow.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return save


def report_of(config: flow.Config) -> flow.tuning.TuneReport:
    clock = FakeClock()
    dag = one_node(lambda: clock.sleep(0.1))
    return flow.tune(dag, config=config, candidates=[config], budget=2, timer=clock.now)


class TestReading:
    def test_a_byte_order_mark(self, saved: Any) -> None:
        assert flow.Config.load(saved(b"\xef\xbb\xbf[flow]\r\nlimit = 3\r\n")).limit == 3

    @pytest.mark.parametrize("text", ["[flow]\nx = " + "[" * 100_000, "[flow]\nlimit = " + "9" * 5_000])
    def test_what_the_parser_does_not_call_an_error_of_its_own(self, saved: Any, text: str) -> None:
        with pytest.raises(flow.errors.ConfigError, match="it is not TOML: "):
            flow.Config.load(saved(text))

    @pytest.mark.parametrize("path", [None, 3, object()])
    def test_what_is_no_path(self, path: Any) -> None:
        with pytest.raises(flow.errors.ConfigError, match="its path must be a str or a Path, not "):
            flow.Config.load(path)

    def test_a_name_that_no_file_can_have(self) -> None:
        with pytest.raises(flow.errors.ConfigError, match="it cannot be read: embedded null"):
            flow.Config.load("a\0b")

    def test_inline_tables_have_their_line(self, saved: Any) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
            flow.Config.load(saved("\n[flow]\ndata = {metrics = 'of'}\n"))
        assert caught.value.faults[0].startswith("line 3: metrics must be ")

    def test_lines_are_those_of_settings_not_of_texts(self, saved: Any) -> None:
        with pytest.raises(flow.errors.ConfigError) as caught:
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
    except flow.errors.ConfigError:
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
        with tempfile.TemporaryDirectory() as folder:  # Windows opens no file that another has open
            file = Path(folder) / "flow.toml"
            file.write_bytes(to_toml(config, [comment], notes).encode())
            assert flow.Config.load(file) == config

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

    @pytest.mark.parametrize("text", ["", "[flow]\nlimit = 2\nexecutor = 'thread'\n", "[flow]\ntimeout = 5\n"])
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
