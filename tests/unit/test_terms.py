"""Names that other engines have for a setting or preset are answered with what serves here, never with the contrary."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow import terms
from flow.config import DATA_PRESETS
from flow.keywords import PLACES, alike
from flow.terms import Given, Term

TYPED_PRESETS = sorted({name for names, _ in terms._PRESETS for name in names.split()})
TYPED_SETTINGS = sorted({name for names, _ in terms._SETTINGS for name in names.split()})


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(flow.FlowError) as caught:
        call()
    return str(caught.value)


def preset(name: str) -> str:
    return refused(lambda: flow.DataConfig.preset(name))


def option(name: str, value: Any) -> str:
    return refused(lambda: flow.Dag().add("n", len, **{name: value}))


def keyword_of_run(name: str, value: Any) -> str:
    dag = flow.Dag()
    dag.add("n", lambda: 1)
    return refused(lambda: flow.run(dag, **{name: value}))


def in_file(tmp_path: Path, text: str) -> str:
    path = tmp_path / "flow.toml"
    path.write_text(text, "utf-8")
    return refused(lambda: flow.Config.load(path))


PLACES_TO_TYPE: dict[str, Callable[[str, Any], str]] = {
    "DataConfig": lambda name, value: refused(lambda: flow.DataConfig(**{name: value})),
    "Config": lambda name, value: refused(lambda: flow.Config(**{name: value})),
    "replace": lambda name, value: refused(lambda: flow.Config().replace(**{name: value})),
    "node": option,
    "run": keyword_of_run,
    "map": lambda name, value: refused(lambda: flow.Dag().map("n", len, "items", **{name: value})),
}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("high_concurrency", "write flow.DataConfig.preset('default'): no preset beats it with many threads"),
        ("HighConcurrencyWorkflowDataConfig", "write flow.DataConfig.preset('default')"),
        ("metrics_sampled", "write flow.DataConfig(metrics='sampled', sample_rate=0.1): one operation in ten is timed"),
        ("MetricsSampled", "write flow.DataConfig(metrics='sampled', sample_rate=0.1)"),
        ("metrics_enabled", "write flow.DataConfig(metrics='counting'): every operation is counted"),
        ("DisabledMetricsConfig", "write flow.DataConfig.preset('metrics_disabled')"),
        ("development", "write flow.DataConfig(metrics='timing', slow_after=0.001)"),
        ("arena", "write flow.DataConfig.preset('low_memory'): its memory='arena'"),
        ("ProductionConfig", "did you mean 'production'?"),
        ("LowMemory", "did you mean 'low_memory'?"),
        ("read-optimized", "did you mean 'read_optimized'?"),
        ("read_optimised", "did you mean 'read_optimized'?"),
        ("metrics_disbled", "did you mean 'metrics_disabled'?"),
    ],
)
def test_presets_of_other_engines(name: str, meant: str) -> None:
    said = preset(name)
    assert f"no preset is called '{name}'; there are default," in said
    assert f"({meant}" in said


@pytest.mark.parametrize("name", ["default", "read_optimized", "low_memory", "production", "metrics_disabled"])
def test_presets_of_the_same_name_are_given(name: str) -> None:
    assert isinstance(flow.DataConfig.preset(name), flow.DataConfig)


@pytest.mark.parametrize(
    ("place", "name", "value", "meant"),
    [
        ("DataConfig", "arena", True, "write memory='arena': it saves memory"),
        ("DataConfig", "arena", False, "write memory='standard': this is the default"),
        ("DataConfig", "UseArena", True, "write memory='arena'"),
        ("DataConfig", "arena_block_size", 8192, "write memory='arena', block_size=8192: bytes per block of an arena"),
        ("DataConfig", "arena_block_size", 1, "write memory='arena', block_size=65536"),
        ("DataConfig", "string_interning", True, "write interning='pool'"),
        ("DataConfig", "string_interning", False, "write interning='none'"),
        ("DataConfig", "expected_nodes", 100, "no size is given ahead"),
        ("DataConfig", "ExpectedData", 100, "no size is given ahead"),
        ("DataConfig", "max_concurrency", 8, "a setting of the run: config=flow.Config(limit=8)"),
        ("DataConfig", "workers", 8, "a setting of the run: config=flow.Config(limit=8)"),
        ("DataConfig", "metrics_enabled", True, "write metrics='counting'"),
        ("DataConfig", "metrics_enabled", False, "write metrics='off'"),
        ("DataConfig", "disable_metrics", True, "write metrics='off'"),
        ("DataConfig", "disable_metrics", False, "write metrics='counting'"),
        ("DataConfig", "metrics_sampling_rate", 0.2, "write metrics='sampled', sample_rate=0.2"),
        ("DataConfig", "metrics_sampling_rate", 20, "write metrics='sampled', sample_rate=0.1"),
        ("DataConfig", "slow_operation_threshold", 0.1, "write metrics='timing', slow_after=0.1: in seconds"),
        ("DataConfig", "pool", True, "write interning='pool': a pool of strings; one of stores is flow.Work"),
        ("DataConfig", "lock_free", True, "there is no lock to divide"),
        ("DataConfig", "preset", "production", "write flow.DataConfig.preset('production')"),
        ("DataConfig", "low_memory", True, "write flow.DataConfig.preset('low_memory')"),
        ("DataConfig", "rate_limit", 5, "an option of a node: dag.node(admission=...)"),
        ("Config", "arena", True, "of flow.DataConfig: config=flow.Config(data=flow.DataConfig(memory='arena'))"),
        ("Config", "metrics_enabled", True, "config=flow.Config(data=flow.DataConfig(metrics='counting'))"),
        ("Config", "max_workers", 8, "did you mean limit=8?"),
        ("Config", "max_concurrent", 8, "did you mean limit=8?"),
        ("Config", "max_workers", True, "did you mean limit=...?"),
        ("Config", "worker_threads", 8, "write executor='thread', threads=8: most threads"),
        ("Config", "keep_alive", 75, "it is no setting of a run: give it to your HTTP server or client"),
        ("Config", "body_limit", 2**20, "it is no setting of a run: give it to your HTTP server or client"),
        ("Config", "batch_size", 100, "an option of a map: dag.map(..., batch_size=100)"),
        ("Config", "poll_interval", 0.1, "nothing is polled"),
        ("Config", "adaptive_concurrency", True, "write limit='auto'"),
        ("Config", "adaptive_concurrency", False, "write limit=None"),
        ("Config", "topology_aware", True, "write order='critical_path'"),
        ("Config", "workflow_cache", True, "plan = dag.compile() once"),
        ("Config", "no_timing", True, None),
        ("replace", "adaptive", True, "write limit='auto'"),
        ("node", "arena", True, "config=flow.Config(data=flow.DataConfig(memory='arena'))"),
        ("node", "circuit_breaker", ..., "write admission=...: a function of yours"),
        ("run", "workers", 8, "a setting of the run: config=flow.Config(limit=8)"),
        ("run", "keep_alive", 75, "it is no setting of a run"),
    ],
)
def test_settings_of_other_engines(place: str, name: str, value: Any, meant: str | None) -> None:
    said = PLACES_TO_TYPE[place](name, value)
    answer = said.partition(f"'{name}'")[2]
    assert meant in answer if meant else not answer


def test_a_map_takes_its_own_words_first() -> None:
    said = refused(lambda: flow.Dag().map("n", len, "items", max_workers=3))  # type: ignore[call-overload]
    assert "did you mean concurrency=3?" in said
    said = refused(lambda: flow.Dag().map("n", len, "items", adaptive=True))  # type: ignore[call-overload]
    assert "write concurrency='auto': it follows the latency" in said
    said = refused(lambda: flow.Dag().map("n", len, "items", arena=True))  # type: ignore[call-overload]
    assert "config=flow.Config(data=flow.DataConfig(memory='arena'))" in said


@pytest.mark.parametrize(
    ("place", "name", "raises", "goes_on"),
    [
        ("Config", "fail_fast", "on_error='fail_fast'", "on_error='collect'"),
        ("run", "raise_on_error", "on_error='fail_fast'", "on_error='collect'"),
        ("node", "fail_fast", "continue_on_error=False", "continue_on_error=True"),
        ("map", "stop_on_error", "on_error='fail'", "on_error='collect'"),
    ],
)
def test_who_asks_for_an_error_is_not_told_to_go_on(place: str, name: str, raises: str, goes_on: str) -> None:
    typed = PLACES_TO_TYPE[place]
    for asked, meant, contrary in ((True, raises, goes_on), (False, goes_on, raises)):
        said = typed(name, asked)
        assert meant in said
        assert contrary not in said
        said = typed("ignore_errors", not asked)
        assert meant in said
        assert contrary not in said


def test_a_thread_that_is_not_wanted() -> None:
    assert "thread=True" in option("use_thread", True)
    assert "thread=False" in option("use_thread", False)


def test_files_are_told_what_to_write_in_which_table(tmp_path: Path) -> None:
    text = (
        '[flow]\narena = true\nworker_threads = 8\nkeep_alive = 75\n[flow.data]\npreset = "metrics_sampled"\n'
        "metrics_sampling_rate = 0.2\nuse_arena = false\nadaptive = false\n"
    )
    said = in_file(tmp_path, text)
    assert 'line 2: no setting is called \'arena\' (write memory = "arena" in [flow.data]: ' in said
    assert "line 3: " in said
    assert "'worker_threads' (write executor = \"thread\" and threads = 8 in [flow]: " in said
    assert "line 4: no setting is called 'keep_alive' (it is no setting of a run" in said
    assert '(write metrics = "sampled" and sample_rate = 0.1 in [flow.data]: one operation in ten' in said
    assert 'line 7: ' in said
    assert '\'metrics_sampling_rate\' (write metrics = "sampled" and sample_rate = 0.2' in said
    assert 'line 8: no setting is called \'use_arena\' (write memory = "standard" in [flow.data]' in said
    assert "(a setting of the run: config=flow.Config(limit=None); unbounded" in said  # TOML has no None

    said = in_file(tmp_path, '[flow]\npreset = "production"\n')
    assert '(write preset = "production" in [flow.data]' in said


def test_the_table_of_a_pyproject_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.flow]\narena = true\n", "utf-8")
    assert 'write memory = "arena" in [tool.flow.data]' in refused(lambda: flow.Config.load(path))


# -- the tables ----------------------------------------------------------------------------


def all_terms() -> list[tuple[str, Term]]:
    own = (terms._IN_STORES, terms._IN_MAPS, terms._OF_RUNS, terms._OF_NODES, terms._OF_MAPS)
    rows = [*terms._SETTINGS, *terms._PRESETS, *(row for table in own for row in table)]
    return [(name, each) for names, one in rows for name in names.split() for each in (one, one.off) if each]


def test_what_is_to_be_written_is_taken() -> None:
    """The code of each answer is valid: settings that there are, values that go together, presets that there are."""
    for name, found in all_terms():
        if found.place == "preset":
            assert found.preset in (*DATA_PRESETS, "..."), name
            continue
        assert set(found.settings) <= set(PLACES.get(found.place, ())), name
        settings = {
            key: (setting.otherwise if setting.otherwise is not ... else 8) if isinstance(setting, Given) else setting
            for key, setting in found.settings.items()
        }
        if found.place == "DataConfig":
            flow.DataConfig(**settings)
        elif found.place == "Config" and ... not in settings.values():
            flow.Config(**settings)


def test_no_name_stands_in_two_rows() -> None:
    for table in (terms._SETTINGS, terms._PRESETS):
        names = [terms.plain(name) for names, _ in table for name in names.split()]
        assert len(names) == len(set(names))


def test_a_name_of_ours_is_never_a_term() -> None:
    for place in ("Config", "DataConfig"):
        assert not {terms.plain(name) for name in PLACES[place]} & set(terms.SETTINGS)
    assert not {terms.plain(name) for name in DATA_PRESETS} & set(terms.PRESETS)


# -- never the contrary --------------------------------------------------------------------

SWITCHED_OFF = (
    "metrics='off'", "metrics_disabled", "interning='none'", "memory='standard'", "optimize=False", "locked=False",
    "limit=1", "direct_reads=False", "timing=False", "show_values=False",
)  # fmt: skip
ASKS_FOR_LESS = re.compile("minimal|latency|fast|performance|benchmark|write|off|disable|no_|without|read")
"""Names whose subject is speed: no metrics is what they ask for."""


def suggests_the_contrary(said: str) -> list[str]:
    said = said.replace("there are default, read_optimized, low_memory, production, metrics_disabled", "")
    return [off for off in SWITCHED_OFF if off in said]


@pytest.mark.parametrize("name", [name for name in TYPED_PRESETS if not ASKS_FOR_LESS.search(name)])
def test_presets_never_switch_off_what_they_ask_for(name: str) -> None:
    assert not suggests_the_contrary(preset(name))


@pytest.mark.parametrize("name", [name for name in TYPED_SETTINGS if not ASKS_FOR_LESS.search(name)])
def test_settings_never_switch_off_what_they_ask_for(name: str) -> None:
    for place, typed in PLACES_TO_TYPE.items():
        if (place, name) != ("map", "batch_size"):
            assert not suggests_the_contrary(typed(name, True)), place


FEATURES = ["metrics", "timing", "interning", "arena", "locked", "optimize", "direct_reads", "sampling", "keep", "cost"]
WORDS = ["enabled", "on", "sampled", "full", "all", "detailed", "enable", "use", "with", "counted", "abled", "high", ""]


@given(st.sampled_from(FEATURES), st.sampled_from(WORDS), st.sampled_from(WORDS))
def test_no_name_that_asks_for_something_is_answered_with_its_contrary(feature: str, before: str, after: str) -> None:
    name = "_".join(filter(None, (before, feature, after)))
    if name not in DATA_PRESETS:
        assert not suggests_the_contrary(preset(name))
    for place in ("DataConfig", "Config"):
        if name not in PLACES[place]:
            assert not suggests_the_contrary(PLACES_TO_TYPE[place](name, True))


@given(st.sampled_from(["no_", "disable_", "without_", "un", "non_"]), st.sampled_from(PLACES["Config"]))
def test_what_denies_a_setting_is_not_answered_with_the_setting(denial: str, setting: str) -> None:
    """``Config(no_timing=True)`` must not lead to ``timing=True``."""
    said = PLACES_TO_TYPE["Config"](f"{denial}{setting}", True)
    assert f"'{setting}'?" not in said


def test_what_is_spelled_alike() -> None:
    assert alike("metrics_sampled", DATA_PRESETS) == [name for name in DATA_PRESETS if name != "metrics_disabled"]
    assert alike("metrics_disbaled", DATA_PRESETS) == ["metrics_disabled"]
    assert alike("unlocked", ["locked"]) == alike("lock_free", ["locked"]) == []


def test_odd_names() -> None:
    assert "there are default" in preset("")
    assert "(" not in preset("x" * 10_000).rpartition("metrics_disabled")[2]
    assert terms.term("") is terms.preset_term("Config") is None


# -- the page ------------------------------------------------------------------------------


def rows_of_the_page() -> list[tuple[str, str]]:
    text = (ROOT / "docs/data.md").read_text("utf-8").partition("#### Names of other engines")[2].partition("\n##")[0]
    rows = re.findall(r"^\| (`.+?) \| (.+?) \|", text, re.MULTILINE)
    return [(name, code) for names, code in rows for name in re.findall(r"`([^`]+)`", names)]


@pytest.mark.parametrize(("name", "code"), rows_of_the_page())
def test_what_the_page_says_is_what_the_error_says(name: str, code: str) -> None:
    written = re.findall(r"`([^`]+)`", code)
    if found := re.fullmatch(r'preset\("(\w+)"\)', name):
        said = preset(found[1])
    else:
        said = PLACES_TO_TYPE["DataConfig"](name.partition("=")[0], True)
    assert all(each.replace('"', "'") in said for each in written), said
    assert written or "no setting" in code


def test_the_page_has_its_rows() -> None:
    assert len(rows_of_the_page()) >= 15
