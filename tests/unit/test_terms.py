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
from flow.keywords import _OTHER_NAMES, PLACES, Wrong, alike
from flow.terms import Given, Term
from flow.testing import FakeClock

TYPED_PRESETS = sorted({name for names, _ in terms._PRESETS for name in names.split()})
CAMEL = ["MaxConcurrency", "WorkerCount", "SampleRate", "ArenaBlockSize", "BatchSize", "TimeoutSeconds"]
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
        ("DataConfig", "metrics_sampling_rate", 20, "write metrics='sampled', sample_rate=0.2"),
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
        ("node", "circuit_breaker", ..., "write admission=...: flow.Breaker(...) lets nothing in while"),
        ("node", "rate_limit", 5, "write admission=...: flow.RateLimiter(count, seconds) lets"),
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
    assert '(write limit = "none" in [flow]: unbounded' in said  # TOML has no None

    said = in_file(tmp_path, '[flow]\npreset = "production"\n')
    assert '(write preset = "production" in [flow.data]' in said


def test_the_table_of_a_pyproject_is_named(tmp_path: Path) -> None:
    path = tmp_path / "pyproject.toml"
    path.write_text("[tool.flow]\narena = true\n", "utf-8")
    assert 'write memory = "arena" in [tool.flow.data]' in refused(lambda: flow.Config.load(path))


# -- the tables ----------------------------------------------------------------------------


def all_terms() -> list[tuple[str, Term]]:
    own = (terms._IN_STORES, terms._IN_MAPS, terms._OF_RUNS, terms._OF_NODES, terms._OF_MAPS)
    own = (*own, terms._STORING, terms._IN_RUNS)
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


# -- every answer, written out ----------------------------------------------------------------

WORDS_TYPED = sorted({*TYPED_SETTINGS, *(word for words in _OTHER_NAMES.values() for word in words.split()),
                      *(name for names in PLACES.values() for name in names), *CAMEL})
VALUES_TYPED = [True, False, None, 0, -1, 4, 15, 0.1, 2.5, 4096, float("inf"), "off", "Arena"]
IN_CODE = {"flow": flow, "ConnectionError": ConnectionError}
FILLED: dict[str, Any] = {
    "limit": 3, "concurrency": 3, "threads": 3, "timeout": 1.0, "batch_size": 2, "batch_wait": 0.5, "take": 2,
    "attempts": 2, "delay": 1.0, "max_delay": 9.0, "multiplier": 2.0, "jitter": 0.1, "priority": 1, "cost": 1.0,
    "attempt": 1.0, "order": "definition", "backend": "asyncio", "blocking_after": 1.0, "sample_rate": 0.5, "node": 3.0,
    "slow_after": 1.0, "memory": "slots", "metrics": "timing", "interning": "pool", "intern": "keys", "mode": "auto",
    "intern_capacity": 9, "block_size": 4096, "intern_max_length": 9, "backoff": "linear", "executor": "thread",
    "keep": "all", "pipelined": False, "locked": True, "capacity": 5, "max_length": 5, "start": 0, "run_id": "r",
    "targets": "n", "admission": lambda: None, "on_outcome": lambda: None, "before_call": lambda: None, "observers": (),
    "executors": {}, "clock": FakeClock(), "data": None, "middleware": (), "after": (), "needs": None, "thread": True,
    "cleanup": True, "cleanup_timeout": 5.0,
    "replace": False, "show_values": True, "direct_reads": False, "abandon_on_timeout": False, "known": None,
    "inputs": None, "config": None, "timing": True, "optimize": True, "fallback": 0, "key": None, "layout": None,
    "name": "n", "on_error": "collect", "preset": "default", "when": lambda: True, "join": "all", "store": "pickle",
}  # fmt: skip


def try_settings(place: str, code: str) -> None:
    """Give ``place`` the settings that are written there; ``...`` is filled in."""
    settings = eval(f"dict({code})", IN_CODE)  # noqa: S307
    filled = {**FILLED, "store": None, "on_conflict": None, "on_change": "fail", "on_wait": "block"}
    filled = filled if place == "run" else FILLED
    settings = {name: filled[name] if value is ... else value for name, value in settings.items()}
    made: Any
    if place in ("Config", "DataConfig"):
        made = getattr(flow, place)(**settings)
        assert {name: getattr(made, name) for name in settings} == settings
        if place == "DataConfig":
            assert_has_an_effect(made, settings)
    elif place in ("Retry", "Timeout"):
        made = getattr(flow, place)(**settings)
        assert not made.faults()
    elif place == "run":
        dag = flow.Dag()
        name = settings.get("targets", "n")  # (whatever was typed is taken for the name of a node)
        dag.add(name, lambda: 1)
        assert flow.run(dag, **settings).ok
    elif place in ("node", "map", "reduce"):
        dag = flow.Dag()
        method = {"node": dag.add, "map": dag.map, "reduce": dag.reduce}[place]
        name, needs = settings.pop("name", "n"), {} if place == "node" else {"over": "xs"}
        fn = (lambda so_far, item: so_far) if place == "reduce" else (lambda item=0: item)
        if place == "reduce":
            settings.setdefault("start", 0)
        if isinstance(settings.get("after"), str):
            dag.add(settings["after"], lambda: 1)
        if settings.get("pipelined"):
            dag.map("xs", lambda item: item, "ys")
        method(name, fn, **needs, **settings)
        dag.compile()


def assert_has_an_effect(config: flow.DataConfig, settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        if name == "sample_rate":
            assert config.metrics == "sampled"
        if name == "slow_after" and value is not None:
            assert config.metrics in ("sampled", "timing")
        if name in ("intern", "intern_capacity", "intern_max_length"):
            assert config.interning != "none"
        if name == "block_size":
            assert "arena" in (config.memory, config.interning)


WHERE = re.compile(r"(?:flow\.(DataConfig|Config|Retry|Timeout)|dag\.(node|map|reduce)|flow\.(run))\(")


def arguments(text: str) -> str:
    """What stands before the bracket that closes a call; within it are calls too."""
    depth = 0
    for at, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if depth < 0:
            return text[:at]
    return text


def written_in(answer: str, place: str) -> list[tuple[str, str]]:
    """The settings that an answer tells to write, each with the place where."""
    found = []
    if (own := re.match(r" \((?:write|did you mean) ([a-z_]+=.*?)(?:\?|:|\)$)", answer)) is not None:
        found += [(place, code) for code in own[1].split(" or ")]  # (a suggestion has no " or " in a text)
    for match in WHERE.finditer(answer):
        code = arguments(answer[match.end() :]).removeprefix("..., ").removeprefix("dag, ")
        if "data=flow.DataConfig(" not in code and not code.startswith("plan,"):  # (the former is another match)
            found.append((match[1] or match[2] or match[3], code))
    return found


@pytest.mark.parametrize("place", ["Config", "DataConfig", "node", "map", "reduce", "run", "Retry", "Timeout"])
def test_all_that_an_answer_tells_to_write_is_taken(place: str) -> None:
    """Whatever name is typed, with whatever value: what is written in the answer is valid, and is what it says."""
    tried: set[tuple[str, str]] = set()
    for word in WORDS_TYPED:
        for value in () if word in PLACES[place] else VALUES_TYPED:
            answer = Wrong(place, PLACES[place]).meant(word, value)
            for kind, code in set(written_in(answer, place)) - tried:
                try:
                    try_settings(kind, code)
                except Exception as error:
                    pytest.fail(f"{place}({word}={value!r}): {answer}: {error}")
                tried.add((kind, code))
    assert len(tried) > 50


@pytest.mark.parametrize("place", ["Config", "DataConfig"])
def test_all_that_an_answer_tells_to_write_in_a_file_is_taken(place: str, tmp_path: Path) -> None:
    tables, path = {"Config": "flow", "DataConfig": "flow.data"}, tmp_path / "flow.toml"
    tried: set[str] = set()
    for word in WORDS_TYPED:
        for value in () if word in PLACES[place] else VALUES_TYPED:
            wrong = Wrong(place, PLACES[place])
            wrong.tables = tables
            answer = wrong.meant(word, value)
            if "..." in answer or "dag." in answer or "flow.run" in answer or "flow.Retry" in answer:
                continue
            told = re.match(r" \((?:write|did you mean) ([a-z_]+ = .*?)(?: in \[([a-z.]+)\])?(?:\?|:|\)$)", answer)
            if told is not None:
                lines = "\n".join(re.split(" and (?=[a-z_]+ = )", told[1].split(" or ")[0]))
                table = told[2] or tables[place]
                text = f"[{table}]\n{lines}" if table == "flow" else f"[flow]\n[{table}]\n{lines}"
                if text not in tried:
                    path.write_text(text, "utf-8")
                    flow.Config.load(path)
                tried.add(text)
    assert len(tried) > 40


@pytest.mark.parametrize(
    ("setting", "value", "meant"),
    [
        ("metrics", "disabled", "off"), ("metrics", "Enabled", "counting"), ("metrics", False, "off"),
        ("metrics", True, "counting"), ("metrics", None, "off"), ("interning", True, "pool"),
        ("interning", "off", "none"),
        ("memory", "Arena", "arena"), ("intern", "all", "both"), ("metrics", "fast", None), ("metrics", 3, None),
        ("memory", [], None),
    ],
)  # fmt: skip
def test_values_of_other_engines(setting: str, value: Any, meant: str | None) -> None:
    said = refused(lambda: flow.DataConfig(**{setting: value}))
    assert f"(write {setting}={meant!r})" in said if meant else "write" not in said


def test_a_preset_where_its_table_stands(tmp_path: Path) -> None:
    assert '(write preset = "production" in [flow.data])' in in_file(tmp_path, '[flow]\ndata = "production"\n')


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: flow.Dag("d", expected_nodes=5), "flow.Dag takes no keyword 'expected_nodes' (no size is given ahead"),  # type: ignore[call-arg]
        (lambda: flow.Dag("d", max_concurrency=5), "(a setting of the run: config=flow.Config(limit=5))"),  # type: ignore[call-arg]
        (lambda: flow.WorkflowData(arena=True), "flow.WorkflowData(config=flow.DataConfig(memory='arena'))"),  # type: ignore[call-arg]
        (lambda: flow.memory.StringPool(size=5), "StringPool takes no keyword 'size' (did you mean capacity=5?)"),  # type: ignore[call-arg]
    ],
)
def test_calls_that_make_things(call: Callable[[], object], says: str) -> None:
    assert says in refused(call)


def test_what_is_given_need_not_be_written() -> None:
    typed: Any = {"batch_size": 5, "linger": 0.5}
    assert "(did you mean batch_wait=0.5?)" in refused(lambda: flow.Dag().map("n", len, "items", **typed))
    typed = {"metrics": "timing", "slowAfter": 0.5}
    assert "(did you mean slow_after=0.5?)" in refused(lambda: flow.DataConfig(**typed))


def test_the_presets_are_those_that_there_are() -> None:
    assert set(terms.PRESET_NAMES) == set(DATA_PRESETS)


# -- never the contrary --------------------------------------------------------------------

SWITCHED_OFF = (
    "metrics='off'", "metrics_disabled", "interning='none'", "memory='standard'", "optimize=False", "locked=False",
    "limit=1", "direct_reads=False", "timing=False", "show_values=False",
)  # fmt: skip
ASKS_FOR_LESS = re.compile("minimal|latency|fast|performance|benchmark|write|off|disable|no_|without|read")
"""Names whose subject is speed: no metrics is what they ask for."""


def suggests_the_contrary(said: str) -> list[str]:
    said = said.replace("there are default, read_optimized, low_memory, production, metrics_disabled", "")
    said = said.replace("metrics='off', direct_reads=True", "")  # (which goes without)
    return [off for off in SWITCHED_OFF if off in said]


@pytest.mark.parametrize("name", [name for name in TYPED_PRESETS if not ASKS_FOR_LESS.search(name)])
def test_presets_never_switch_off_what_they_ask_for(name: str) -> None:
    assert not suggests_the_contrary(preset(name))


@pytest.mark.parametrize("name", [name for name in TYPED_SETTINGS if not ASKS_FOR_LESS.search(name)])
def test_settings_never_switch_off_what_they_ask_for(name: str) -> None:
    for place, typed in PLACES_TO_TYPE.items():
        if place != "map" or name not in ("batch_size", "batch_wait"):
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
