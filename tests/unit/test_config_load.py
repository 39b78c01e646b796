"""Settings from TOML: what is read; every fault at once, with its line; what is written comes back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import DRIVERS
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.config.writing import to_toml


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(text: str, name: str = "flow.toml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def faults_of(path: Path) -> tuple[str, ...]:
    with pytest.raises(flow.errors.ConfigError) as caught:
        flow.Config.load(path)
    assert str(path)[:40] in str(caught.value)
    return caught.value.faults


class TestReading:
    def test_all_plain_fields(self, written: Any) -> None:
        path = written(
            '[flow]\nmode = "workers"\nlimit = 32\non_error = "collect"\ntimeout = 5\nexecutor = "thread"\n'
            'threads = 4\norder = "critical_path"\ntiming = true\nkeep = ["a", "b"]\nblocking_after = "none"\n'
            'backend = "trio"\nshow_values = false\ncleanup_timeout = 5\n'
            '[flow.data]\nmemory = "slots"\nmetrics = "off"\nlocked = true\nshow_values = false\n[other]\nx = 1\n'
        )
        assert flow.Config.load(path) == flow.Config(
            mode="workers", limit=32, on_error="collect", timeout=5, executor="thread", threads=4,
            order="critical_path", timing=True, show_values=False, keep=["a", "b"], blocking_after=None, backend="trio",
            cleanup_timeout=5,
            data=flow.DataConfig(memory="slots", metrics="off", locked=True, show_values=False),
        )  # fmt: skip

    def test_an_empty_table_is_the_default(self, written: Any) -> None:
        assert flow.Config.load(written("[flow]\n")) == flow.Config()

    def test_a_preset_and_settings_over_it(self, written: Any) -> None:
        config = flow.Config.load(written('[flow.data]\npreset = "production"\nslow_after = "none"\n'))
        assert config.data == flow.DataConfig.preset("production").replace(slow_after=None)

    def test_pyproject(self, written: Any) -> None:
        text = "[flow]\nlimit = 1\n[tool.flow]\nlimit = 7\n"
        assert flow.Config.load(written(text, "pyproject.toml")).limit == 7
        assert flow.Config.load(written(text)).limit == 1

    def test_the_default_name(self, written: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(written("[flow]\nlimit = 3\n").parent)
        assert flow.Config.load().limit == 3


class TestFaults:
    def test_all_at_once_with_their_lines(self, written: Any) -> None:
        path = written(
            '# comment\n[flow]\nlimt = 3\nmode = "fast"\nlimit = 0\n\nobservers = []\ntimeout = "none"\n'
            '[flow.data]\npreset = "low_memry"\nmetrics = "of"\nmemry = "arena"\n'
        )
        *found, last = faults_of(path)
        assert found == [
            "line 3: no setting is called 'limt' (did you mean 'limit'?)",
            "line 7: observers cannot stand in a file: give it to flow.Config",
            "line 12: no setting is called 'memry' (did you mean 'memory'?)",
            "line 10: no preset is called 'low_memry'; there are default, read_optimized, low_memory, production, "
            "metrics_disabled (did you mean 'low_memory'?)",
            "line 11: metrics must be one of 'off', 'counting', 'sampled', 'timing', not 'of'",
            "line 4: mode must be one of 'auto', 'inline', 'tasks', 'workers', not 'fast'",
        ]
        assert last.startswith("line 5: limit must be ") and last.endswith("not 0")

    def test_what_no_file_can_hold(self, written: Any) -> None:
        objects = "observers = []\non_outcome = 1\nbefore_call = 1\nclock = 1"
        path = written(f"[flow]\n{objects}\n[flow.executors]\npool = 1\n")
        assert faults_of(path) == tuple(
            f"line {line}: {name} cannot stand in a file: give it to flow.Config"
            for line, name in enumerate(["observers", "on_outcome", "before_call", "clock", "executors"], 2)
        )

    def test_the_name_of_an_executor_that_a_file_cannot_bring(self, written: Any) -> None:
        assert faults_of(written('[flow]\nlimit = 2\nexecutor = "pool"\n')) == (
            "line 3: executor must be 'inline', 'thread' or a name in executors (it is empty), not 'pool'",
        )

    @pytest.mark.parametrize(
        ("text", "fault"),
        [
            ("", "it has no table [flow]: its settings stand below that line"),
            ("limit = 3\n", "it has no table [flow]: its settings stand below that line"),
            ("[flwo]\n", "it has no table [flow] (did you mean 'flwo'?): its settings stand below that line"),
            ("flow = 3\n", "line 1: flow must be a table [flow], not 3"),
            ("[flow]\ndata = 'low_memory'\n", "line 2: data must be a table [flow.data], not a str"),
            ("[flow]\ndata.metrcs = 'off'\n", "line 2: no setting is called 'metrcs' (did you mean 'metrics'?)"),
            ("[flow]\nlimit = true\n", "line 2: limit must be an integer"),
            ("[flow]\ntimeout = 2020-01-01\n", "line 2: timeout must be a number of seconds"),
            ("[flow]\nkeep = [1]\n", "line 2: keep must be 'all'"),
            ("[flow.data]\ndirect_reads = true\n", "line 2: direct_reads needs metrics='off'"),
            ("[flow\n", "it is not TOML: "),
        ],
    )
    def test_one(self, written: Any, text: str, fault: str) -> None:
        (found,) = faults_of(written(text))
        assert found.startswith(fault)

    def test_files_that_cannot_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "flow.toml").write_bytes(b"\xff\xfe")
        assert faults_of(tmp_path / "flow.toml") == ("it cannot be read: it is not UTF-8 text",)
        assert faults_of(tmp_path / "flw.toml") == ("there is no such file (did you mean 'flow.toml'?)",)
        assert faults_of(tmp_path) == ("it cannot be read: Is a directory",)

    def test_importing_flow_reads_no_toml(self) -> None:
        import subprocess
        import sys

        code = "import flow, sys; assert not {'tomllib', 'flow.config.files', 'flow.tuning'} & set(sys.modules)"
        subprocess.run([sys.executable, "-c", code], check=True)


LIMITS = st.none() | st.integers(1, 10**6)
CONFIGS = st.builds(
    flow.Config,
    mode=st.sampled_from(DRIVERS),
    limit=LIMITS,
    on_error=st.sampled_from(["fail_fast", "collect"]),
    timeout=st.none() | st.floats(1e-6, 1e6),
    cleanup_timeout=st.floats(1e-6, 1e6),
    executor=st.sampled_from(["inline", "thread"]),
    threads=st.integers(1, 500),
    timing=st.booleans(),
    show_values=st.booleans(),
    keep=st.sampled_from(["all", "targets"]) | st.lists(st.sampled_from(["a", "b.c", "d-1"])),
    blocking_after=st.none() | st.floats(0.001, 10),
    data=st.none()
    | st.builds(
        flow.DataConfig,
        memory=st.sampled_from(["standard", "slots"]),
        metrics=st.sampled_from(["off", "counting", "timing"]),
        locked=st.none() | st.booleans(),
        show_values=st.booleans(),
        block_size=st.integers(64, 10**6),
    ),
)


class TestWriting:
    @given(CONFIGS)
    def test_what_is_written_comes_back(self, config: flow.Config) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:  # Windows opens no file that another has open
            file = Path(folder) / "flow.toml"
            file.write_text(to_toml(config, ["a heading"], {"limit": "a note"}), encoding="utf-8")
            assert flow.Config.load(file) == config

    def test_the_text(self) -> None:
        def b() -> None: ...

        config = flow.Config(
            limit=4, keep=("a", b, flow.types.NodeRef("c")), observers=(print,), data=flow.DataConfig(metrics="off")
        )
        assert to_toml(config, ["by hand"], {"limit": "measured", "data.metrics": "faster"}) == (
            '# by hand\n[flow]\nlimit = 4  # measured\nkeep = ["a", "b", "c"]\n'
            "# observers: not written, give to flow.Config\n\n"
            '[flow.data]\nmetrics = "off"  # faster\n'
        )

    def test_a_named_executor_is_left_out_with_its_name(self, tmp_path: Path) -> None:
        config = flow.Config(limit=4, executor="pool", executors={"pool": ThreadPoolExecutor(1)}, on_outcome=list)
        text = to_toml(config)
        assert text == "[flow]\nlimit = 4\n# on_outcome and executors and executor: not written, give to flow.Config\n"
        (tmp_path / "flow.toml").write_text(text)
        assert flow.Config.load(tmp_path / "flow.toml") == flow.Config(limit=4)

    def test_a_callable_without_a_name_is_left_out_with_keep(self) -> None:
        config = flow.Config(keep=["a", partial(print)])
        assert to_toml(config) == "[flow]\n# keep: not written, give to flow.Config\n"
